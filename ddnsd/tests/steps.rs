//! What each step of a change leaves in the rows, on both databases: what the model says, and each
//! mail once.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use arc_swap::ArcSwap;
use ddnsd::clock::Clock;
use ddnsd::config::{Database, DatabaseTls, DnsTransport, MariaDb, Rfc2136, ZoneKeys};
use ddnsd::db::{Db, HostPage, NewHost, NewUser, PublishResult, SetTtls, Store, Want};
use ddnsd::dns::Dns;
use ddnsd::model::family::PerFamily;
use ddnsd::model::host::{Defaults, Host, HostId, Lan, Seen};
use ddnsd::model::name::{Email, Fqdn, Label, UserName, Zone};
use ddnsd::model::notice::{FamilyNotice, Notice, PendingNotices};
use ddnsd::model::record::{Wanted, WantedRecords};
use ddnsd::model::secret::Secret;
use ddnsd::model::time::{Millis, Uptime};
use ddnsd::model::user::PasswordHash;
use ddnsd::stories::publisher::Publisher;
use ddnsd_tests::mariadb::{Account, Mariadb};
use futures::future::join_all;
use sqlx::mysql::MySqlConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, MySqlConnection, SqliteConnection};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// A second connection to the database.
enum Look {
    Sqlite(SqliteConnection),
    Mariadb(MySqlConnection),
}

impl Look {
    async fn say(&mut self, text: &'static str) {
        match self {
            Look::Sqlite(conn) => drop(sqlx::raw_sql(text).execute(conn).await.unwrap()),
            Look::Mariadb(conn) => drop(sqlx::raw_sql(text).execute(conn).await.unwrap()),
        }
    }

    async fn number(&mut self, text: &'static str) -> i64 {
        match self {
            Look::Sqlite(conn) => sqlx::query_scalar(text).fetch_one(conn).await.unwrap(),
            Look::Mariadb(conn) => sqlx::query_scalar(text).fetch_one(conn).await.unwrap(),
        }
    }
}

/// An open database, and what it lives in.
struct Place {
    db: Db,
    look: Look,
    _folder: Option<TempDir>,
    _account: Option<Account>,
}

async fn sqlite() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("db");
    let config = Database::Sqlite { path: path.clone(), pool_size: 1 };
    let db = Db::open(&config, "test".into(), Arc::default()).await.unwrap();
    let look = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
    Place { db, look: Look::Sqlite(look), _folder: Some(folder), _account: None }
}

async fn mariadb() -> Place {
    let account = Mariadb::shared().account();
    let config = Database::Mariadb(MariaDb {
        host: "127.0.0.1".to_owned(),
        port: account.port,
        socket: Some(account.socket.clone()),
        user: account.user.clone(),
        password: Secret::new(account.password.clone()),
        name: account.database.clone(),
        tls: DatabaseTls::Preferred,
        tls_ca_file: None,
        pool_size: 1,
    });
    let db = Db::open(&config, "test".into(), Arc::default()).await.unwrap();
    let options = MySqlConnectOptions::new().socket(&account.socket).username("root");
    let look = options.database(&account.database).connect().await.unwrap();
    Place { db, look: Look::Mariadb(look), _folder: None, _account: Some(account) }
}

impl Place {
    /// Alice's host of this label, new.
    async fn host(&self, label: &str) -> Arc<Host> {
        let user = UserName::parse("alice").unwrap();
        let email = Email::parse("alice@example.org").unwrap();
        let hash = PasswordHash("x".into());
        let alice = NewUser { name: user.clone(), email, hash, at: Millis(1) };
        let _there_already = self.db.add_user(alice).await;
        let fqdn = Fqdn::parse(&format!("{label}.dyn.example")).unwrap();
        let new = NewHost {
            user,
            label: Label::parse(label).unwrap(),
            zone: Zone::parse("dyn.example").unwrap(),
            fqdn: fqdn.clone(),
            dns_ttl: None,
            expiry_ttl: None,
            suffix: None,
            leader: None,
            at: Millis(1),
        };
        assert!(self.db.add_host(new).await.unwrap());
        self.db.host(&fqdn).await.unwrap().unwrap()
    }

    /// Reads the row past the cache. The row, the cache and the step's result must equal the model.
    async fn is(&self, returned: &Host, modelled: &Host) {
        assert_eq!(returned, modelled, "what the step returns");
        let page = HostPage { user: None, zone: None, after: String::new(), limit: 9 };
        let rows = self.db.host_page(&page).await.unwrap();
        let row = rows.into_iter().find(|row| row.host.id == returned.id).unwrap();
        assert_eq!(&*row.host, modelled, "the row");
        let read = self.db.host(&returned.fqdn).await.unwrap().unwrap();
        assert_eq!(&*read, modelled, "what is read");
    }

    async fn want(
        &self,
        host: &Arc<Host>,
        records: WantedRecords,
        owed: Option<PendingNotices>,
    ) -> Arc<Host> {
        let want = change(Arc::clone(host), records, owed);
        self.db.want(vec![want]).await.unwrap().remove(0).unwrap()
    }

    async fn acknowledge(&self, host: &Arc<Host>, is_final: bool) -> Option<Arc<Host>> {
        let (host, at) = (Arc::clone(host), Millis(4));
        self.db
            .settle(PublishResult::Acknowledged { host, ttl: 60, is_final, at }, Store::Now)
            .await
            .unwrap()
    }

    /// Of a name server that does not answer.
    fn publisher(&self) -> Publisher {
        let server = "127.0.0.1:9".parse().unwrap();
        let (timeout, transport) = (Duration::from_millis(100), DnsTransport::Auto);
        let config = Rfc2136 { server, timeout, transport, keys: ZoneKeys::default() };
        let dns = Dns::new(config, Arc::default(), Clock);
        let defaults = Arc::new(ArcSwap::from_pointee(Defaults { dns_ttl: 60, expiry_ttl: 3600 }));
        Publisher::new(self.db.clone(), dns, Clock, defaults)
    }

    async fn mails(&mut self) -> i64 {
        self.look.number("SELECT COUNT(*) FROM outbox").await
    }
}

fn change(host: Arc<Host>, records: WantedRecords, owed: Option<PendingNotices>) -> Want {
    let seen = Seen { v4: Some(Millis(2)), v6: None };
    let (at, uptime) = (Millis(2), Uptime(2));
    Want {
        host,
        records,
        seen,
        check_at: None,
        is_expiry: false,
        notices: owed,
        lan: Lan::default(),
        publish: true,
        at,
        uptime,
        is_sent: true,
    }
}

/// The host as another version than the row is.
fn of_another_version(host: &Host) -> Arc<Host> {
    Arc::new(Host { version: host.version + 7, ..host.clone() })
}

/// A change and an expiry.
fn two_mails() -> PendingNotices {
    let address = "192.0.2.1".parse().ok();
    let v4 = FamilyNotice { included: true, address, updated_at: Some(Millis(2)) };
    let v6 = FamilyNotice { included: false, address: None, updated_at: None };
    let change = Some(Notice { families: PerFamily { v4, v6 }, expiry_ttl: 60 });
    PendingNotices { change, expiry: change }
}

fn at(address: &str) -> WantedRecords {
    let v4 = Wanted::Present(address.parse().unwrap());
    WantedRecords { v4, ..WantedRecords::default() }
}

/// Runs each of these functions on both.
macro_rules! on_both {
    ($($test:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test] async fn $test() { super::$test(super::sqlite().await).await; })*
        }
        mod on_mariadb {
            $(#[tokio::test] async fn $test() { super::$test(super::mariadb().await).await; })*
        }
    };
}

on_both!(
    each_step_leaves_in_the_row_what_the_model_says,
    a_mail_is_queued_by_the_settle_that_holds_and_by_no_other,
    a_change_decided_before_its_mail_was_queued_does_not_queue_it_again,
    a_change_is_stored_though_its_row_was_marked_unpublished_meanwhile,
    an_acknowledgement_that_is_not_final_queues_the_mail_once,
    keepalives_of_deleted_hosts_hold_up_no_others,
    changes_and_results_that_are_queued_together_have_each_its_own_outcome,
);

async fn each_step_leaves_in_the_row_what_the_model_says(place: Place) {
    let new = place.host("a").await;
    let wanted = place.want(&new, at("192.0.2.1"), Some(two_mails())).await;
    let lease = wanted.lease.as_deref().cloned();
    place.is(&wanted, &new.wanting(at("192.0.2.1"), Some(two_mails()), Millis(2), lease)).await;
    let once = place.acknowledge(&wanted, false).await.unwrap();
    place.is(&once, &wanted.acknowledged(60, false, once.lease.as_deref().cloned())).await;
    assert_eq!((once.unpublished_since, once.notices.clone()), (Some(Millis(2)), None));
    let published = place.acknowledge(&once, true).await.unwrap();
    place.is(&published, &once.acknowledged(60, true, None)).await;
    assert_eq!(published.unpublished_since, None);
    let lan = Lan { is_offline: true, ..Lan::default() };
    let kept = change(published, at("192.0.2.1"), Some(two_mails()));
    let kept = Want { publish: false, lan, ..kept };
    let placed = place.db.want(vec![kept.clone()]).await.unwrap().remove(0).unwrap();
    let notices = Some(Box::new(two_mails()));
    place.is(&placed, &Host { notices, ..kept.host.placed(lan) }).await;
    let published = place.acknowledge(&placed, true).await.unwrap();
    place.is(&published, &placed.acknowledged(60, true, None)).await;
    let doubted =
        place.db.mark_unpublished(Arc::clone(&published), Millis(5)).await.unwrap().unwrap();
    place
        .is(&doubted, &published.marked_unpublished(Millis(5), doubted.lease.as_deref().cloned()))
        .await;
    place.db.clamp_unpublished_since(Millis(5)).await.unwrap();
    place.is(&doubted, &doubted).await;
    place.db.clamp_unpublished_since(Millis(3)).await.unwrap();
    let doubted = place.db.host(&doubted.fqdn).await.unwrap().unwrap();
    place.is(&doubted, &Host { unpublished_since: Some(Millis(3)), ..Host::clone(&doubted) }).await;
    let (host, at) = (Arc::clone(&doubted), Millis(6));
    let ttls =
        SetTtls { host, dns_ttl: Some(7), expiry_ttl: None, publish: true, check_now: true, at };
    let other = place.db.set_ttls(ttls).await.unwrap().unwrap();
    place
        .is(
            &other,
            &doubted.with_ttls(Some(7), None, Some(Millis(6)), other.lease.as_deref().cloned()),
        )
        .await;
}

async fn a_mail_is_queued_by_the_settle_that_holds_and_by_no_other(mut place: Place) {
    let (a, b) = (place.host("a").await, place.host("b").await);
    let a = place.want(&a, at("192.0.2.1"), Some(two_mails())).await;
    let b = place.want(&b, at("192.0.2.1"), Some(two_mails())).await;
    // a notice that DNS did not accept stays pending; one that another change superseded does not
    let (host, error) = (Arc::clone(&a), "no answer".to_owned());
    place
        .db
        .settle(PublishResult::Failed { host, error, at: Millis(3) }, Store::Now)
        .await
        .unwrap();
    place.look.say("UPDATE hosts SET version = version + 1 WHERE label = 'b'").await;
    assert!(place.acknowledge(&b, true).await.is_none());
    assert_eq!(place.mails().await, 0);
    // read by a republisher and settled twice, as if the first answer was lost
    let read = place.db.host(&a.fqdn).await.unwrap().unwrap();
    assert_eq!(read.notices.as_deref(), Some(&two_mails()));
    let settled = place.acknowledge(&read, true).await.unwrap();
    assert_eq!(settled.notices, None);
    assert_eq!(place.mails().await, 2, "a change and an expiry");
    assert!(place.acknowledge(&read, true).await.is_none());
    assert_eq!(place.mails().await, 2);
    let again = place.db.host(&a.fqdn).await.unwrap().unwrap();
    assert_eq!((again.notices.as_deref(), again.unpublished_since), (None, Some(Millis(4))));
    assert!(place.acknowledge(&again, true).await.is_some());
    assert_eq!(place.mails().await, 2);
}

/// What a daemon does that was killed while its result was committed, and started again at once.
async fn a_change_decided_before_its_mail_was_queued_does_not_queue_it_again(mut place: Place) {
    let new = place.host("a").await;
    let before = place.want(&new, at("192.0.2.1"), Some(two_mails())).await;
    let published = place.acknowledge(&before, true).await.unwrap();
    let again = change(before, at("192.0.2.1"), Some(two_mails()));
    assert_eq!(place.db.want(vec![again.clone()]).await.unwrap(), [None]);
    assert_eq!(place.publisher().want(vec![again]).await.unwrap(), [None]);
    let now = place.db.host(&new.fqdn).await.unwrap().unwrap();
    assert_eq!(now, published);
    assert_eq!(place.mails().await, 2);
}

/// A move of every record to another name server marks it.
async fn a_change_is_stored_though_its_row_was_marked_unpublished_meanwhile(place: Place) {
    let new = place.host("a").await;
    let before = place.want(&new, at("192.0.2.1"), Some(two_mails())).await;
    let marked = place.db.mark_unpublished(Arc::clone(&before), Millis(5)).await.unwrap().unwrap();
    let next = change(before, at("192.0.2.2"), Some(two_mails()));
    let stored = place.publisher().want(vec![next]).await.unwrap().remove(0).unwrap();
    assert_eq!((stored.wanted, stored.version), (at("192.0.2.2"), marked.version + 1));
}

async fn an_acknowledgement_that_is_not_final_queues_the_mail_once(mut place: Place) {
    let new = place.host("a").await;
    let wanted = place.want(&new, at("192.0.2.1"), Some(two_mails())).await;
    let once = place.acknowledge(&wanted, false).await.unwrap();
    assert_eq!(place.mails().await, 2, "the client was answered `good`");
    // the final one, for a row that was read before and after
    assert!(place.acknowledge(&wanted, true).await.is_none());
    let once = place.db.host(&once.fqdn).await.unwrap().unwrap();
    assert!(place.acknowledge(&once, true).await.is_some());
    assert_eq!(place.mails().await, 2);
    // and an update that owes nothing takes nothing back
    let again = place.want(&once, at("192.0.2.2"), None).await;
    assert!(place.acknowledge(&again, true).await.is_some());
    assert_eq!(place.mails().await, 2);
}

/// More than one statement takes.
async fn keepalives_of_deleted_hosts_hold_up_no_others(mut place: Place) {
    let hosts = [place.host("a").await.id, place.host("b").await.id];
    let seen = Seen { v4: Some(Millis(7)), v6: None };
    for host in hosts.into_iter().chain((1_000..1_200).map(HostId)) {
        place.db.touch(host, seen, Uptime(7));
    }
    place.db.flush_touches().await.unwrap();
    assert_eq!(place.look.number("SELECT count(*) FROM touches WHERE ipv4_at = 7").await, 2);
    for host in hosts {
        assert_eq!(place.db.last_seen(host).await.unwrap(), seen);
    }
}

async fn changes_and_results_that_are_queued_together_have_each_its_own_outcome(mut place: Place) {
    const HOSTS: usize = 45;
    let mut hosts = Vec::new();
    for n in 0..HOSTS {
        hosts.push(place.host(&format!("h{n}")).await);
    }
    let wants = hosts.iter().enumerate().map(|(n, host)| {
        let host = if n % 9 == 4 { of_another_version(host) } else { Arc::clone(host) };
        place.db.want(vec![change(host, at(&format!("192.0.2.{n}")), None)])
    });
    let mut sent = Vec::new();
    for (n, wanted) in join_all(wants).await.into_iter().enumerate() {
        let wanted = wanted.unwrap().remove(0);
        assert_eq!(wanted.is_none(), n % 9 == 4, "h{n}");
        let address = wanted.as_ref().map(|host| host.wanted.v4);
        assert_eq!(address, wanted.as_ref().map(|_| at(&format!("192.0.2.{n}")).v4));
        sent.extend(wanted);
    }
    assert_eq!(sent.len(), 40);
    let results = sent.iter().enumerate().map(|(n, host)| {
        let (host, at) = (Arc::clone(host), Millis(4));
        let result = match n % 4 {
            0 => PublishResult::Failed { host, error: format!("no {n}"), at },
            1 => {
                let host = of_another_version(&host);
                PublishResult::Acknowledged { host, ttl: 60, is_final: true, at }
            }
            _ => PublishResult::Acknowledged { host, ttl: 60, is_final: true, at },
        };
        place.db.settle(result, if n % 2 == 0 { Store::Now } else { Store::Soon })
    });
    for (n, settled) in join_all(results).await.into_iter().enumerate() {
        let settled = settled.unwrap();
        assert_eq!(settled.is_none(), n % 4 == 1, "{n}");
        let is_unpublished = settled.map(|host| host.unpublished_since.is_some());
        assert!(is_unpublished.is_none_or(|it| it == (n % 4 == 0)), "{n}");
    }
    let mut count = async |rows| {
        let sql = format!("SELECT COUNT(*) FROM hosts WHERE {rows}");
        place.look.number(Box::leak(sql.into_boxed_str())).await
    };
    assert_eq!(count("unpublished_since IS NULL AND acked_ipv4 = ipv4").await, 20);
    assert_eq!(count("last_error LIKE 'no %' AND attempts = 1 AND version = 2").await, 10);
    assert_eq!(count("unpublished_since IS NOT NULL AND version = 3").await, 10, "overtaken");
    assert_eq!(count("ipv4 IS NULL AND version = 1").await, 5, "not wanted");
}
