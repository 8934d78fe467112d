//! The expiry story during an outage of the database: no client can update then, so no host expires
//! because of it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking"
)]

use arc_swap::ArcSwap;
use ddnsd::clock::Clock;
use ddnsd::config::{Database, DnsTransport, Rfc2136, ZoneKeys};
use ddnsd::db::{Db, NewHost, NewUser, Want};
use ddnsd::dns::Dns;
use ddnsd::model::host::{Defaults, Lan, Seen};
use ddnsd::model::name::{Email, Fqdn, Label, UserName, Zone};
use ddnsd::model::record::{Wanted, WantedRecords};
use ddnsd::model::user::PasswordHash;
use ddnsd::stories::expire::{Expire, Swept};
use ddnsd::stories::host_locks::HostLocks;
use ddnsd::stories::notices::Notices;
use ddnsd::stories::publisher::Publisher;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// How long the only host lives.
const TTL: u32 = 2;
/// An outage that is longer.
const AWAY: Duration = Duration::from_secs(3);

struct Scene {
    folder: tempfile::TempDir,
    db: Db,
}

impl Scene {
    /// With a host that was updated just now.
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let db = open(folder.path()).await;
        let user = UserName::parse("alice").unwrap();
        let email = Email::parse("alice@example.org").unwrap();
        let (at, hash) = (Clock.now().wall, PasswordHash("x".into()));
        db.add_user(NewUser { name: user.clone(), email, hash, at }).await.unwrap();
        let fqdn = Fqdn::parse("pc.example.org").unwrap();
        let new = NewHost {
            user,
            label: Label::parse("pc").unwrap(),
            zone: Zone::parse("example.org").unwrap(),
            fqdn: fqdn.clone(),
            dns_ttl: None,
            expiry_ttl: Some(TTL),
            suffix: None,
            leader: None,
            at,
        };
        assert!(db.add_host(new).await.unwrap());
        let host = db.host(&fqdn).await.unwrap().unwrap();
        let v4 = Wanted::Present(Ipv4Addr::new(192, 0, 2, 1));
        let records = WantedRecords { v4, v6: Wanted::Untouched };
        let seen = Seen { v4: Some(at), v6: None };
        let uptime = db.tick(Clock.now()).await.unwrap();
        let want = Want {
            host,
            records,
            seen,
            check_at: Some(uptime),
            is_expiry: false,
            notices: None,
            lan: Lan::default(),
            publish: true,
            at,
            uptime,
            is_sent: true,
        };
        assert!(db.want(vec![want]).await.unwrap()[0].is_some());
        Self { folder, db }
    }

    /// As when the daemon stops and starts.
    async fn restart(self) -> Self {
        let Self { folder, db } = self;
        db.close().await;
        drop(db);
        Self { db: open(folder.path()).await, folder }
    }

    /// As at a start of the daemon.
    async fn expire(&self) -> Expire {
        let server = "127.0.0.1:9".parse().unwrap();
        let (timeout, transport) = (Duration::from_millis(100), DnsTransport::Auto);
        let config = Rfc2136 { server, timeout, transport, keys: ZoneKeys::default() };
        let dns = Dns::new(config, Arc::default(), Clock);
        let defaults = Arc::new(ArcSwap::from_pointee(Defaults { dns_ttl: 60, expiry_ttl: 3600 }));
        let publisher = Publisher::new(self.db.clone(), dns, Clock, Arc::clone(&defaults));
        let (db, mails) = (self.db.clone(), Arc::default());
        let notices = Notices { db, mails, defaults };
        let (db, host_locks) = (self.db.clone(), HostLocks::default());
        Expire::start(db, publisher, notices, host_locks, Clock).await.unwrap()
    }

    /// The database fails a sweep, and is back when the host would have expired.
    async fn outage(&self, expire: &Expire) {
        self.say("ALTER TABLE hosts RENAME TO away").await;
        assert!(expire.sweep().await.is_err(), "the sweep notices");
        sleep(AWAY).await;
        self.say("ALTER TABLE away RENAME TO hosts").await;
    }

    async fn say(&self, text: &'static str) {
        let options = SqliteConnectOptions::new().filename(path(self.folder.path()));
        let mut conn = options.connect().await.unwrap();
        sqlx::raw_sql(text).execute(&mut conn).await.unwrap();
        conn.close().await.unwrap();
    }
}

async fn open(folder: &Path) -> Db {
    let file = Database::Sqlite { path: path(folder), pool_size: 1 };
    let mut tries = 0;
    loop {
        match Db::open(&file, "test".into(), Arc::default()).await {
            Ok(db) => return db,
            Err(problem) if tries > 1000 => panic!("{problem}"),
            // the previous handle gives its lock back a little later
            Err(_) => sleep(Duration::from_millis(5)).await,
        }
        tries += 1;
    }
}

fn path(folder: &Path) -> PathBuf {
    folder.join("ddnsd.sqlite")
}

#[tokio::test]
async fn a_stop_right_after_an_outage_of_the_database_expires_no_host_because_of_it() {
    let scene = Scene::new().await;
    let expire = scene.expire().await;
    scene.outage(&expire).await;
    drop(expire);
    let scene = scene.restart().await;
    assert_eq!(scene.expire().await.sweep().await.unwrap(), Swept::default());
}

#[tokio::test]
async fn an_outage_of_the_database_does_not_count_and_the_time_after_it_does() {
    let scene = Scene::new().await;
    let expire = scene.expire().await;
    scene.outage(&expire).await;
    expire.flush_keepalives().await.unwrap();
    assert_eq!(expire.sweep().await.unwrap(), Swept::default());
    sleep(AWAY).await;
    assert_eq!(expire.sweep().await.unwrap().failed.len(), 1);
}
