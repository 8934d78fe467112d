//! The database exit against a real MariaDB: what other clients of a server can do to it.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use ddnsd::clock::Clock;
use ddnsd::config::{Database, DatabaseTls, MariaDb};
use ddnsd::counters::DatabaseCounters;
use ddnsd::db::{
    Db, DbError, MailClaim, MailDrop, NewHost, NewUser, NextCheck, PublishResult, Store, Want,
};
use ddnsd::model::host::{Host, HostId, Lan, Seen};
use ddnsd::model::last_request::LastRequest;
use ddnsd::model::mail::{Delivery, MailId};
use ddnsd::model::name::{Email, Fqdn, Label, UserName, Zone};
use ddnsd::model::record::{Wanted, WantedRecords};
use ddnsd::model::secret::Secret;
use ddnsd::model::time::{Millis, Uptime};
use ddnsd::model::user::PasswordHash;
use ddnsd_tests::mariadb::{Account, Mariadb};
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Row};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

/// Longer than anything here takes, on a busy machine.
const LONG: Duration = Duration::from_secs(30);

fn configured(account: &Account) -> Database {
    Database::Mariadb(MariaDb {
        host: "127.0.0.1".to_owned(),
        port: account.port,
        socket: None,
        user: account.user.clone(),
        password: Secret::new(account.password.clone()),
        name: account.database.clone(),
        tls: DatabaseTls::Preferred,
        tls_ca_file: None,
        pool_size: 2,
    })
}

async fn opened(account: &Account) -> Db {
    Db::open(&configured(account), "test".into(), Arc::default()).await.unwrap()
}

/// An administrator of the server, in the account's database.
async fn administrator(account: &Account) -> MySqlConnection {
    let options = MySqlConnectOptions::new().socket(&account.socket).username("root");
    options.database(&account.database).connect().await.unwrap()
}

async fn say(conn: &mut MySqlConnection, text: &str) {
    sqlx::raw_sql(AssertSqlSafe(text.to_owned())).execute(conn).await.unwrap();
}

async fn number(conn: &mut MySqlConnection, text: &str) -> i64 {
    let row = sqlx::query(AssertSqlSafe(text.to_owned())).fetch_one(conn).await.unwrap();
    row.get(0)
}

/// Alice with the hosts a and b.
async fn with_hosts(db: &Db) -> [Arc<Host>; 2] {
    let user = UserName::parse("alice").unwrap();
    let email = Email::parse("alice@example.org").unwrap();
    let hash = PasswordHash("x".into());
    db.add_user(NewUser { name: user.clone(), email, hash, at: Millis(1) }).await.unwrap();
    let mut hosts = Vec::new();
    for name in ["a", "b"] {
        let (label, zone) = (Label::parse(name).unwrap(), Zone::parse("dyn.example").unwrap());
        let fqdn = Fqdn::parse(&format!("{name}.dyn.example")).unwrap();
        let new = NewHost {
            user: user.clone(),
            label,
            zone,
            fqdn: fqdn.clone(),
            dns_ttl: None,
            expiry_ttl: None,
            suffix: None,
            leader: None,
            at: Millis(1),
        };
        assert!(db.add_host(new).await.unwrap());
        hosts.push(db.host(&fqdn).await.unwrap().unwrap());
    }
    hosts.try_into().unwrap()
}

/// Both hosts at 192.0.2.1, in one transaction that writes a first.
fn both(hosts: &[Arc<Host>; 2]) -> Vec<Want> {
    let records = WantedRecords {
        v4: Wanted::Present("192.0.2.1".parse().unwrap()),
        ..WantedRecords::default()
    };
    let want = |host: &Arc<Host>| Want {
        host: Arc::clone(host),
        records,
        seen: Seen { v4: Some(Millis(2)), v6: None },
        check_at: None,
        is_expiry: false,
        notices: None,
        lan: Lan::default(),
        publish: true,
        at: Millis(2),
        uptime: Uptime(2),
        is_sent: true,
    };
    hosts.iter().map(want).collect()
}

/// Waits until a transaction of ours waits for a row, another one than `before`; says which.
async fn waiting_for_a_row(
    look: &mut MySqlConnection,
    account: &Account,
    before: Option<String>,
) -> Option<String> {
    let waiting = format!(
        "SELECT MAX(CAST(t.trx_id AS CHAR)) FROM information_schema.innodb_trx t
         JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id
         WHERE t.trx_state = 'LOCK WAIT' AND p.user = '{}'",
        account.user
    );
    let wait = async {
        loop {
            let row = sqlx::query(AssertSqlSafe(waiting.clone())).fetch_one(&mut *look).await;
            let found: Option<String> = row.unwrap().get(0);
            if found.is_some() && found != before {
                return found;
            }
            // the table is a copy that is renewed only when no client has read it for 100 ms
            sleep(Duration::from_millis(150)).await;
        }
    };
    timeout(LONG, wait).await.unwrap()
}

#[tokio::test]
async fn a_batch_that_loses_a_deadlock_is_written_on_retry() {
    let server = Mariadb::start(); // the test reads its transactions
    let account = server.account();
    let db = opened(&account).await;
    let hosts = with_hosts(&db).await;
    let (mut other, mut look) = (administrator(&account).await, administrator(&account).await);
    // the transaction with more changed rows is not the victim
    say(&mut other, "CREATE TABLE heavy (n BIGINT) ENGINE = InnoDB").await;
    say(&mut other, "BEGIN; INSERT INTO heavy SELECT seq FROM seq_1_to_1000").await;
    say(&mut other, "UPDATE hosts SET attempts = attempts + 5 WHERE fqdn = 'b.dyn.example'").await;
    let wanted = tokio::spawn({
        let (db, wants) = (db.clone(), both(&hosts));
        async move { db.want(wants).await }
    });
    waiting_for_a_row(&mut look, &account, None).await;
    say(&mut other, "UPDATE hosts SET attempts = attempts + 5 WHERE fqdn = 'a.dyn.example'").await;
    say(&mut other, "COMMIT").await;
    let wanted = timeout(LONG, wanted).await.unwrap().unwrap().unwrap();
    assert!(wanted.iter().all(Option::is_some), "{wanted:?}");
    let stored = "SELECT COUNT(*) FROM hosts WHERE ipv4 = '192.0.2.1' AND version = 2";
    assert_eq!(number(&mut look, stored).await, 2);
}

#[tokio::test]
async fn a_batch_that_waits_too_long_for_a_row_is_tried_again() {
    let server = Mariadb::start(); // the test reads its transactions
    let account = server.account();
    let db = opened(&account).await;
    let hosts = with_hosts(&db).await;
    let (mut other, mut look) = (administrator(&account).await, administrator(&account).await);
    say(&mut other, "BEGIN; UPDATE hosts SET attempts = 7 WHERE fqdn = 'b.dyn.example'").await;
    let wanted = tokio::spawn({
        let (db, wants) = (db.clone(), both(&hosts));
        async move { db.want(wants).await }
    });
    let first = waiting_for_a_row(&mut look, &account, None).await;
    waiting_for_a_row(&mut look, &account, first).await;
    say(&mut other, "COMMIT").await;
    let wanted = timeout(LONG, wanted).await.unwrap().unwrap().unwrap();
    assert!(wanted.iter().all(Option::is_some), "{wanted:?}");
}

#[tokio::test]
async fn a_row_that_another_session_holds_fails_no_other_change() {
    let server = Mariadb::start(); // the test reads its transactions
    let account = server.account();
    let counters = Arc::new(DatabaseCounters::default());
    let db = Db::open(&configured(&account), "test".into(), Arc::clone(&counters)).await.unwrap();
    let [a, b] = with_hosts(&db).await;
    let (mut other, mut look) = (administrator(&account).await, administrator(&account).await);
    say(&mut other, "BEGIN; UPDATE hosts SET attempts = 7 WHERE fqdn = 'b.dyn.example'").await;
    let want = |host: &Arc<Host>| {
        let (db, mut wants) = (db.clone(), both(&[Arc::clone(host), Arc::clone(host)]));
        wants.truncate(1);
        tokio::spawn(async move { db.want(wants).await })
    };
    // while the first waits, the others gather
    let first = want(&b);
    waiting_for_a_row(&mut look, &account, None).await;
    let (neighbour, second) = (want(&a), want(&b));
    let all = timeout(LONG, futures::future::join3(first, neighbour, second)).await.unwrap();
    assert_eq!(all.0.unwrap().unwrap_err(), DbError::Locked);
    assert!(all.1.unwrap().unwrap().iter().all(Option::is_some));
    assert_eq!(all.2.unwrap().unwrap_err(), DbError::Locked);
    // the last one failed, but not because nothing can be written
    assert_eq!((counters.failed.get(), counters.writing.failing()), (2, None));
}

#[tokio::test]
async fn a_table_that_another_session_locks_is_reported_as_a_database_that_cannot_be_written() {
    let account = Mariadb::shared().account();
    let counters = Arc::new(DatabaseCounters::default());
    let db = Db::open(&configured(&account), "test".into(), Arc::clone(&counters)).await.unwrap();
    let (mut other, mut look) = (administrator(&account).await, administrator(&account).await);
    say(&mut other, "LOCK TABLES meta READ").await;
    let refused = db.set_meta("target", "x".to_owned()).await;
    assert_eq!(refused, Err(DbError::NoAnswer));
    assert!(counters.writing.failing().is_some());
    // a statement that was given up does not wait for ever in the server
    let waits = format!(
        "SELECT COUNT(*) FROM information_schema.processlist
         WHERE user = '{}' AND state LIKE 'Waiting for table%'",
        account.user
    );
    let given_up = async {
        while number(&mut look, &waits).await > 0 {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(LONG, given_up).await.unwrap();
    say(&mut other, "UNLOCK TABLES").await;
    db.set_meta("target", "y".to_owned()).await.unwrap();
    assert_eq!(counters.writing.failing(), None);
}

/// A relay in front of the server. A connection that exists when a hole opens gets no data any
/// more, and no end of the connection either; who comes later is served.
struct Relay {
    port: u16,
    /// Whether new connections get no data.
    deaf: Arc<AtomicBool>,
    hole: tokio::sync::watch::Sender<u32>,
}

impl Relay {
    async fn before(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let (hole, _) = tokio::sync::watch::channel(0);
        let (port_here, deaf) = (listener.local_addr().unwrap().port(), Arc::default());
        let relay = Self { port: port_here, deaf: Arc::clone(&deaf), hole: hole.clone() };
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (mut hole, is_deaf) = (hole.subscribe(), deaf.load(Ordering::SeqCst));
                tokio::spawn(async move {
                    if is_deaf {
                        return std::future::pending().await;
                    }
                    let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                    tokio::select! {
                        // an end that is reached is as good as one that is not
                        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                        _ = hole.changed() => std::future::pending().await,
                    }
                });
            }
        });
        relay
    }
}

#[tokio::test]
async fn connections_without_answers_are_given_up() {
    let mut account = Mariadb::shared().account();
    let relay = Relay::before(account.port).await;
    account.port = relay.port;
    let db = opened(&account).await;
    for hole in 1..=2 {
        let answers = futures::future::join_all((0..4).map(|_| db.counts())).await;
        assert!(answers.iter().all(Result::is_ok), "before hole {hole}: {answers:?}");
        relay.hole.send_replace(hole);
        let fallen = futures::future::join_all((0..2).map(|_| db.counts())).await;
        assert!(fallen.contains(&Err(DbError::NoAnswer)), "{fallen:?}");
    }
    assert!(db.counts().await.is_ok());
    // the writing connection is in the hole too, before anything was sent on it
    db.set_meta("target", "x".to_owned()).await.unwrap();
}

#[tokio::test]
async fn connections_that_the_server_closed_are_replaced() {
    let account = Mariadb::shared().account();
    let db = opened(&account).await;
    let hosts = with_hosts(&db).await;
    let mut look = administrator(&account).await;
    say(&mut look, &format!("KILL USER {}", account.user)).await;
    assert!(db.want(both(&hosts)).await.unwrap().iter().all(Option::is_some));
    say(&mut look, &format!("KILL USER {}", account.user)).await;
    assert_eq!(db.counts().await.unwrap().unpublished, 2);
}

#[tokio::test]
async fn a_row_that_changed_meanwhile_is_not_overwritten_but_published_again() {
    let account = Mariadb::shared().account();
    let db = opened(&account).await;
    let [a, b] = with_hosts(&db).await;
    let mine = db.want(both(&[Arc::clone(&a), b])).await.unwrap().remove(0).unwrap();
    // another daemon: wants something else, publishes and settles it
    let theirs = opened(&account).await;
    let host = theirs.host(&a.fqdn).await.unwrap().unwrap();
    let records = WantedRecords { v4: Wanted::Absent, ..WantedRecords::default() };
    let (at, is_final) = (Millis(3), true);
    let seen = Seen::default();
    let want = Want {
        host,
        records,
        seen,
        check_at: None,
        is_expiry: false,
        notices: None,
        lan: Lan::default(),
        publish: true,
        at,
        uptime: Uptime(3),
        is_sent: true,
    };
    let other = theirs.want(vec![want]).await.unwrap().remove(0).unwrap();
    theirs
        .settle(PublishResult::Acknowledged { host: other, ttl: 60, is_final, at }, Store::Now)
        .await
        .unwrap();
    assert_eq!(theirs.host(&a.fqdn).await.unwrap().unwrap().unpublished_since, None);
    // ours came after it to DNS
    let at = Millis(4);
    let settled = db
        .settle(PublishResult::Acknowledged { host: mine, ttl: 60, is_final, at }, Store::Now)
        .await;
    assert!(settled.unwrap().is_none());
    let now = db.host(&a.fqdn).await.unwrap().unwrap();
    assert_eq!((now.wanted, now.unpublished_since), (records, Some(Millis(4))));
}

/// Twenty mails in the queue, due at 1.
async fn with_mails(account: &Account) {
    let mut look = administrator(account).await;
    say(
        &mut look,
        "INSERT INTO outbox (kind, recipient, variables, message_id, created_at, next_at)
         SELECT 'change', 'a@b.example', '{}', CONCAT('m', seq), 1, 1 FROM seq_1_to_20",
    )
    .await;
}

fn claim(by: &str, now: i64) -> MailClaim {
    MailClaim { by: by.to_owned(), now: Millis(now), until: Millis(now + 100) }
}

#[tokio::test]
async fn two_daemons_claim_each_mail_once_and_a_claim_runs_out() {
    let account = Mariadb::shared().account();
    let (one, two) = (opened(&account).await, opened(&account).await);
    with_mails(&account).await;
    let mut claimed = Vec::new();
    for _ in 0..5 {
        let both =
            tokio::join!(one.claim_mails(claim("1", 5), 3), two.claim_mails(claim("2", 5), 3));
        claimed.extend(both.0.unwrap().into_iter().map(|mail| (mail.id, "1")));
        claimed.extend(both.1.unwrap().into_iter().map(|mail| (mail.id, "2")));
    }
    let last = one.claim_mails(claim("1", 5), 100).await.unwrap();
    claimed.extend(last.into_iter().map(|mail| (mail.id, "1")));
    let ids: HashSet<_> = claimed.iter().map(|(id, _)| *id).collect();
    assert_eq!((ids.len(), claimed.len()), (20, 20), "{claimed:?}");
    // what the other claimed cannot be ended
    let (mail, owner) = claimed[0];
    let (mine, other) = if owner == "1" { ("1", "2") } else { ("2", "1") };
    two.record_deliveries(other.to_owned(), vec![(mail, Delivery::Sent)]).await.unwrap();
    assert_eq!(two.mails(MailId(0), 100).await.unwrap().len(), 20);
    one.record_deliveries(mine.to_owned(), vec![(mail, Delivery::Sent)]).await.unwrap();
    assert_eq!(two.mails(MailId(0), 100).await.unwrap().len(), 19);
    // nothing is freed while another daemon may be sending; at last the claims run out
    two.free_mail_claims().await.unwrap();
    assert!(two.claim_mails(claim("2", 104), 100).await.unwrap().is_empty());
    assert_eq!(two.claim_mails(claim("2", 105), 100).await.unwrap().len(), 19);
}

#[tokio::test]
async fn old_mails_fail_and_failed_ones_are_dropped_in_time() {
    let account = Mariadb::shared().account();
    let db = opened(&account).await;
    with_mails(&account).await;
    assert_eq!(db.give_up_mails(Millis(0), Millis(9), "off").await.unwrap(), 0);
    assert_eq!(db.give_up_mails(Millis(1), Millis(9), "off").await.unwrap(), 20);
    let failed = db.mails(MailId(0), 1).await.unwrap().remove(0);
    assert_eq!((failed.failed_at, failed.last_error.as_deref()), (Some(Millis(9)), Some("off")));
    assert!(db.claim_mails(claim("1", 10), 100).await.unwrap().is_empty());
    assert_eq!(db.drop_failed_mails(Millis(8)).await.unwrap(), 0);
    // one is tried again, by a clock that is far ahead
    assert!(db.retry_mail(failed.id, Millis(1_000_000)).await.unwrap());
    assert!(db.claim_mails(claim("1", 10), 100).await.unwrap().is_empty());
    db.clamp_mails(Millis(10), Millis(20)).await.unwrap();
    assert_eq!(db.claim_mails(claim("1", 10), 100).await.unwrap().len(), 1);
    assert_eq!(db.drop_failed_mails(Millis(9)).await.unwrap(), 19);
    for (now, dropped) in
        [(10, MailDrop::BeingSent), (110, MailDrop::Deleted), (110, MailDrop::NoSuchMail)]
    {
        assert_eq!(db.drop_mail(failed.id, Millis(now)).await.unwrap(), dropped);
    }
    assert!(!db.retry_mail(failed.id, Millis(1)).await.unwrap());
}

/// How many statements the server has received so far.
async fn statements(look: &mut MySqlConnection) -> i64 {
    let received = "SELECT CAST(variable_value AS SIGNED) FROM information_schema.global_status
                 WHERE variable_name = 'COM_STMT_EXECUTE'";
    number(look, received).await
}

fn request(at: i64) -> LastRequest {
    // a first row without a text must not decide for those after it
    let agent = (at % 3 == 1).then(|| "rüuter/1.0 \u{1f4e1}".repeat(9).into());
    let reason =
        (at % 2 == 1).then(|| "because of this".repeat(usize::try_from(at % 40).unwrap()).into());
    let client = "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap();
    LastRequest {
        at: Millis(at),
        client,
        updated_from: Some(client),
        user_agent: agent,
        return_code: "good".into(),
        reason,
    }
}

#[tokio::test]
async fn a_lease_costs_no_statement_holds_for_others_and_ends_with_the_result() {
    let server = Mariadb::start(); // the test counts its statements
    let account = server.account();
    let db = opened(&account).await;
    let other = Db::open(&configured(&account), "other".into(), Arc::default()).await.unwrap();
    let mut look = administrator(&account).await;
    let [a, b] = with_hosts(&db).await;
    // counting is a statement too
    let before = statements(&mut look).await + 1;
    let wanted = db.want(both(&[Arc::clone(&a), b])).await.unwrap();
    assert_eq!(statements(&mut look).await - before, 2, "one for each host");
    let wanted: Vec<_> = wanted.into_iter().flatten().collect();
    let now = Clock.now().wall;
    assert!(db.holds_lease(&wanted[0], now));
    let read = other.host(&a.fqdn).await.unwrap().unwrap();
    let lease = other.others_lease(read.lease.as_deref());
    assert!(lease.is_some_and(|lease| lease.holds(now)) && !other.holds_lease(&read, now));
    assert!(db.others_lease(read.lease.as_deref()).is_none(), "it is its own");
    let before = statements(&mut look).await + 1;
    for (host, is_final) in wanted.into_iter().zip([true, false]) {
        let at = Millis(3);
        let result = PublishResult::Acknowledged { host, ttl: 60, is_final, at };
        let settled = db.settle(result, Store::Now).await.unwrap().unwrap();
        assert_eq!(settled.lease.is_none(), is_final, "else it is sent again by this daemon");
        assert!(!db.holds_lease(&settled, Clock.now().wall), "others need not wait");
    }
    assert_eq!(statements(&mut look).await - before, 2, "one for each host");
}

#[tokio::test]
async fn many_rows_are_written_in_few_statements_and_each_as_it_is() {
    const HOSTS: i64 = 3_000;
    let server = Mariadb::start(); // the test counts its statements
    let account = server.account();
    let db = opened(&account).await;
    let mut look = administrator(&account).await;
    say(&mut look, "INSERT INTO users (id, name, email, password_hash, created_at, changed_at) VALUES (1, 'alice', 'a@b.example', 'x', 1, 1)").await;
    say(&mut look, &format!(
        "INSERT INTO hosts (id, user_id, label, zone, fqdn, state4, ipv4, check_at, created_at, changed_at)
         SELECT seq, 1, CONCAT('h', seq), 'dyn.example', CONCAT('h', seq, '.dyn.example'), 1, '192.0.2.1', seq, 1, 1
         FROM seq_1_to_{HOSTS}"
    )).await;
    let at = |n: i64| Seen {
        v4: (n % 2 == 0).then_some(Millis(n * 10)),
        v6: (n % 3 == 0).then_some(Millis(n << 40)),
    };
    for n in 1..=HOSTS + 1 {
        // the last one's host is gone
        db.touch(HostId(n), at(n), Uptime(n));
        db.record_request(HostId(n), request(n));
    }
    let look_again = |n: i64| NextCheck {
        host: HostId(n),
        was: Uptime(n),
        at: (n % 2 == 0).then_some(Uptime(n << 40)),
        version: i64::from(n % 5 != 0),
    };
    let version = number(&mut look, "SELECT MAX(version) FROM hosts").await;
    assert_eq!((version, number(&mut look, "SELECT MIN(version) FROM hosts").await), (1, 1));
    let before = statements(&mut look).await;
    db.flush_touches().await.unwrap();
    db.flush_requests().await.unwrap();
    db.schedule_checks((1..=HOSTS).map(look_again).collect()).await.unwrap();
    let received = statements(&mut look).await - before;
    assert!(received < 100, "{received} statements");
    for n in 1..=HOSTS {
        assert_eq!(db.last_seen(HostId(n)).await.unwrap(), at(n), "touch {n}");
        assert_eq!(db.last_request(HostId(n)).await.unwrap(), Some(request(n)), "request {n}");
    }
    assert_eq!(db.last_seen(HostId(HOSTS + 1)).await.unwrap(), Seen::default());
    let moved = "SELECT COUNT(*) FROM hosts
                 WHERE check_at <=> CASE WHEN id % 5 = 0 THEN id WHEN id % 2 = 0 THEN id << 40 END";
    assert_eq!(number(&mut look, moved).await, HOSTS);
    // a later one of one family leaves the other as it is
    db.touch(HostId(6), Seen { v4: Some(Millis(7)), v6: None }, Uptime(700));
    db.flush_touches().await.unwrap();
    assert_eq!(db.last_seen(HostId(6)).await.unwrap(), Seen { v4: Some(Millis(7)), v6: at(6).v6 });
}

#[tokio::test]
async fn a_request_that_is_recorded_late_leaves_a_newer_one_unless_the_clock_was_set_back() {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = Database::Sqlite { path: folder.path().join("db"), pool_size: 1 };
    for config in [sqlite, configured(&Mariadb::shared().account())] {
        let db = Db::open(&config, "test".into(), Arc::default()).await.unwrap();
        let host = with_hosts(&db).await[0].id;
        let day = 86_400_000;
        for (at, then) in [(day, day), (day - 1, day), (day + 1, day + 1), (9, 9)] {
            db.record_request(host, request(at));
            db.flush_requests().await.unwrap();
            assert_eq!(db.last_request(host).await.unwrap(), Some(request(then)), "{at}");
        }
        db.close().await;
    }
}

#[tokio::test]
async fn an_unreachable_database_is_waited_for_once() {
    // a server of its own: reading the waiting transactions delays what other readers see
    let server = Mariadb::start();
    let mut account = server.account();
    let (mut other, mut look) = (administrator(&account).await, administrator(&account).await);
    let relay = Relay::before(account.port).await;
    account.port = relay.port;
    let db = opened(&account).await;
    let [_, b] = with_hosts(&db).await;
    say(&mut other, "BEGIN; UPDATE hosts SET attempts = 7 WHERE fqdn = 'b.dyn.example'").await;
    let want = || {
        let (db, mut wants) = (db.clone(), both(&[Arc::clone(&b), Arc::clone(&b)]));
        wants.truncate(1);
        tokio::spawn(async move { db.want(wants).await })
    };
    // while the first waits, and waits again, the others gather
    let first = want();
    let waits = waiting_for_a_row(&mut look, &account, None).await;
    let others: Vec<_> = (0..10).map(|_| want()).collect();
    let again = waiting_for_a_row(&mut look, &account, waits).await;
    waiting_for_a_row(&mut look, &account, again).await;
    relay.deaf.store(true, Ordering::SeqCst);
    say(&mut look, &format!("KILL USER {}", account.user)).await;
    // one after the other they would wait for 20 s
    let others = timeout(Duration::from_secs(10), futures::future::join_all(others)).await;
    for failed in others.unwrap() {
        assert_eq!(failed.unwrap().unwrap_err(), DbError::NoAnswer);
    }
    assert!(first.await.unwrap().is_err());
}

#[tokio::test]
async fn a_transaction_on_a_connection_of_its_own_is_counted_too() {
    let counters = Arc::new(DatabaseCounters::default());
    let config = configured(&Mariadb::shared().account());
    let db = Db::open(&config, "test".into(), Arc::clone(&counters)).await.unwrap();
    let before = (counters.commits.get(), counters.writes.get());
    db.check_all_now().await.unwrap();
    assert_eq!((counters.commits.get(), counters.writes.get()), (before.0 + 1, before.1 + 1));
}

#[tokio::test]
async fn a_schema_in_use_is_not_changed_though_its_daemon_lost_the_connection() {
    let account = Mariadb::shared().account();
    let config = configured(&account);
    Db::init(&config).await.unwrap();
    let db = opened(&account).await;
    let mut look = administrator(&account).await;
    for _ in 0..2 {
        let refused = Db::init(&config).await.unwrap_err().to_string();
        assert!(refused.contains("in use by a running ddnsd"), "{refused}");
        say(&mut look, &format!("KILL USER {}", account.user)).await;
        db.set_meta("target", "x".to_owned()).await.unwrap();
    }
    db.close().await;
    Db::init(&config).await.unwrap();
}

#[tokio::test]
async fn a_daemon_takes_its_lock_again_once_the_server_drops_its_lost_connection() {
    let mut account = Mariadb::shared().account();
    let mut look = administrator(&account).await;
    let config = configured(&account);
    let relay = Relay::before(account.port).await;
    account.port = relay.port;
    let db = opened(&account).await;
    db.set_meta("target", "x".to_owned()).await.unwrap();
    // for the server the previous connection still exists
    relay.hole.send_replace(1);
    db.set_meta("target", "y".to_owned()).await.unwrap();
    let holder = format!("SELECT IS_USED_LOCK('ddnsd daemon {}')", account.database);
    let holder = number(&mut look, &holder).await;
    say(&mut look, &format!("KILL {holder}")).await;
    let known = async {
        while Db::init(&config).await.is_ok() {
            db.set_meta("target", "z".to_owned()).await.unwrap();
            sleep(Duration::from_millis(200)).await;
        }
    };
    timeout(LONG, known).await.unwrap();
}

#[tokio::test]
async fn an_interrupted_migration_is_run_again() {
    let account = Mariadb::shared().account();
    opened(&account).await.close().await;
    let mut look = administrator(&account).await;
    say(&mut look, "DROP TABLE meta, outbox").await;
    say(&mut look, "UPDATE _sqlx_migrations SET success = FALSE WHERE version = 1").await;
    let db = opened(&account).await;
    db.set_meta("target", "x".to_owned()).await.unwrap();
    // it holds nothing that keeps the next daemon from starting
    assert_eq!(opened(&account).await.meta("target").await.unwrap().as_deref(), Some("x"));
}

#[tokio::test]
async fn a_migration_that_fails_names_the_statement_that_failed() {
    let account = Mariadb::shared().account();
    opened(&account).await.close().await;
    let mut admin = administrator(&account).await;
    say(&mut admin, "DROP TABLE last_requests, touches, hosts").await;
    say(&mut admin, "CREATE TABLE hosts (n BIGINT) ENGINE = InnoDB").await;
    say(&mut admin, "UPDATE _sqlx_migrations SET success = FALSE WHERE version = 1").await;
    let error = Db::open(&configured(&account), "test".into(), Arc::default())
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("`touches`") && error.contains("Foreign key"), "{error}");
    assert!(error.contains("failed at `CREATE TABLE IF NOT EXISTS touches`"), "{error}");
    assert!(error.contains("the statements before it are applied"), "{error}");
}

#[tokio::test]
async fn daemons_that_start_together_on_an_empty_database_all_open_it() {
    let account = Mariadb::shared().account();
    let opening = (0..4).map(|_| opened(&account));
    for db in futures::future::join_all(opening).await {
        assert_eq!(db.counts().await.unwrap().hosts, 0);
    }
}

#[tokio::test]
async fn the_tables_of_another_program_are_left_alone() {
    let account = Mariadb::shared().account();
    let mut look = administrator(&account).await;
    say(&mut look, "CREATE TABLE users (password TEXT)").await;
    let refused = Db::open(&configured(&account), "test".into(), Arc::default())
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(refused.contains("belongs to another program"), "{refused}");
    let tables = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE()";
    assert_eq!(number(&mut look, tables).await, 1);
}

#[tokio::test]
async fn of_several_daemons_one_checks_all_hosts_until_its_claim_ends() {
    let account = Mariadb::shared().account();
    let (first, second) = (opened(&account).await, opened(&account).await);
    let claim = async |db: &Db, daemon: &str, now: i64| {
        db.claim_checks(daemon, Uptime(now), Uptime(now + 60_000)).await.unwrap()
    };
    assert!(claim(&first, "a", 1_000).await);
    assert!(!claim(&second, "b", 2_000).await, "the first has them");
    assert!(claim(&first, "a", 30_000).await, "it claims them again");
    assert!(!claim(&second, "b", 89_999).await);
    assert!(claim(&second, "b", 90_001).await, "the first has ended");
    assert!(!claim(&first, "a", 90_002).await);
}
