//! The daemon's stories over a real database and the model's name server, without HTTP and the
//! admin socket. Dropping its runtime kills it.

use super::{host_names, name};
use crate::clock::Clock;
use crate::config::{self, Database, DnsTransport, Rfc2136, ZoneKeys};
use crate::db::{Db, NewUser};
use crate::dns::Dns;
use crate::limits::Limits;
use crate::model::host::Defaults;
use crate::model::name::{Email, Fqdn, UserName};
use crate::model::notice::{Mails, Notify};
use crate::model::prefix::{Ipv6Prefix, Ipv6Suffix};
use crate::model::secret::Secret;
use crate::model::time::Millis;
use crate::model::user::PasswordHash;
use crate::passwords::Passwords;
use crate::rules::reply::{Reply, ReturnCode};
use crate::rules::request::{Change, Login, RequestOrigin, RequestedUpdate, UpdateRequest};
use crate::rules::verify::VerifyTimes;
use crate::stories::authenticate::Authenticate;
use crate::stories::expire::Expire;
use crate::stories::host_locks::HostLocks;
use crate::stories::hosts::{HostInput, Hosts};
use crate::stories::last_requests::LastRequests;
use crate::stories::notices::Notices;
use crate::stories::publisher::Publisher;
use crate::stories::rehash::Rehash;
use crate::stories::republish::Republish;
use crate::stories::update::{Update, UpdateHandles};
use crate::stories::verify::{Verify, VerifyHandles};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// The hosts' zone.
pub(super) const ZONE: &str = "dyn.example";

/// One run of the daemon.
#[derive(Clone)]
pub(super) struct Daemon {
    pub(super) db: Db,
    pub(super) update: Update,
    pub(super) hosts: Hosts,
    expire: Expire,
    republish: Republish,
    verify: Verify,
}

/// Shorter than the product's.
const TIMES: VerifyTimes = VerifyTimes {
    first_round: Duration::from_millis(100),
    after_change: Duration::from_millis(30),
    confirm: Duration::from_millis(100),
    hidden: Duration::from_millis(200),
    cached: Duration::from_millis(300),
    recheck: Duration::from_millis(100),
    max_recheck: Duration::from_millis(400),
};
/// `verify_interval`.
const VERIFY_INTERVAL: Duration = Duration::from_millis(300);

impl Daemon {
    /// Starts it, as `app` does, once the previous run has released the file.
    pub(super) async fn start(file: &Path, server: SocketAddr, timeout: Duration) -> Self {
        let database = Database::Sqlite { path: PathBuf::from(file), pool_size: 1 };
        Self::start_on(&database, "model", server, timeout).await
    }

    /// The same on any database, under this name.
    pub(super) async fn start_on(
        database: &Database,
        daemon: &str,
        server: SocketAddr,
        timeout: Duration,
    ) -> Self {
        let mut tries = 0;
        let db = loop {
            match Db::open(database, daemon.into(), Arc::default()).await {
                Ok(db) => break db,
                Err(problem) if tries > 2000 => panic!("{problem}"),
                Err(_) => sleep(Duration::from_millis(5)).await,
            }
            tries += 1;
        };
        let (clock, host_locks) = (Clock, HostLocks::default());
        let keys = ZoneKeys::default();
        let aim = Rfc2136 { server, timeout, transport: DnsTransport::Auto, keys };
        let dns = Dns::new(aim, Arc::default(), clock);
        let defaults = Defaults { dns_ttl: 60, expiry_ttl: 3600 };
        let defaults = Arc::new(arc_swap::ArcSwap::from_pointee(defaults));
        let publisher = Publisher::new(db.clone(), dns, clock, Arc::clone(&defaults));
        let last_requests = LastRequests::new(db.clone(), tokio_util::task::TaskTracker::new());
        let mails = Mails { change: true, expiry: true };
        let mails = Arc::new(arc_swap::ArcSwap::from_pointee(mails));
        let notices = Notices { db: db.clone(), mails, defaults: Arc::clone(&defaults) };
        let republish = Republish::new(db.clone(), publisher.clone(), host_locks.clone(), clock);
        republish.start().await.unwrap();
        let update = Update::new(UpdateHandles {
            db: db.clone(),
            publisher: publisher.clone(),
            authenticate: authenticate(&db, &last_requests),
            last_requests: last_requests.clone(),
            notices: notices.clone(),
            host_locks: host_locks.clone(),
            clock,
            counters: Arc::default(),
            tasks: tokio_util::task::TaskTracker::new(),
            lock_timeout: Arc::new(arc_swap::ArcSwap::from_pointee(4 * timeout)),
        });
        let expire =
            Expire::start(db.clone(), publisher.clone(), notices, host_locks.clone(), clock);
        let expire = expire.await.unwrap();
        let verify = verify(&db, &publisher, &host_locks);
        let hosts = Hosts { db: db.clone(), publisher, last_requests, host_locks, clock };
        Self { db, update, hosts, expire, republish, verify }
    }

    /// Starts the timers, with shorter periods than the product's.
    pub(super) fn run_timers(&self) {
        let (expire, republish) = (self.expire.clone(), self.republish.clone());
        tokio::spawn(async move {
            loop {
                republish.run().await.unwrap();
                sleep(Duration::from_millis(25)).await;
            }
        });
        let (changes, suspects, round) =
            (self.verify.clone(), self.verify.clone(), self.verify.clone());
        tokio::spawn(async move {
            loop {
                changes.check_changes().await.unwrap();
                sleep(Duration::from_millis(25)).await;
            }
        });
        tokio::spawn(async move {
            loop {
                suspects.check_suspects().await.unwrap();
                sleep(Duration::from_millis(25)).await;
            }
        });
        tokio::spawn(async move {
            loop {
                let pause = round.go_round().await.unwrap();
                sleep(pause.clamp(Duration::from_millis(5), Duration::from_millis(50))).await;
            }
        });
        tokio::spawn(async move {
            loop {
                sleep(Duration::from_millis(60)).await;
                expire.sweep().await.unwrap();
            }
        });
    }

    /// Adds the user if it does not exist.
    pub(super) async fn add_user(&self, hash: &PasswordHash) {
        let name = UserName::parse("alice").unwrap();
        let email = Email::parse("alice@example.org").unwrap();
        let hash = hash.clone();
        let _may_exist = self.db.add_user(NewUser { name, email, hash, at: Millis(1) }).await;
    }

    /// Adds a host if it does not exist.
    pub(super) async fn add_host(&self, label: &str, expiry_ttl: Option<u32>) {
        let (user, names) = (UserName::parse("alice").unwrap(), host_names(label));
        let new = HostInput { user, names, dns_ttl: None, expiry_ttl, suffix: None, leader: None };
        let _may_exist = self.hosts.add(new).await;
    }

    /// Adds a host with a suffix if it does not exist.
    pub(super) async fn add_placed(&self, label: &str, suffix: Ipv6Suffix, leader: Option<&str>) {
        let (user, names) = (UserName::parse("alice").unwrap(), host_names(label));
        let leader = leader.map(|leader| Fqdn::parse(&name(leader)).unwrap());
        let suffix = Some(suffix);
        let new = HostInput { user, names, dns_ttl: None, expiry_ttl: None, suffix, leader };
        let _may_exist = self.hosts.add(new).await;
    }

    /// Updates hosts; returns the return code of each.
    pub(super) async fn update(&self, names: &[String], change: Change) -> Vec<ReturnCode> {
        self.update_in(names, change, None).await
    }

    /// As [`Self::update`], with the prefix of a router.
    pub(super) async fn update_in(
        &self,
        names: &[String],
        change: Change,
        prefix: Option<Ipv6Prefix>,
    ) -> Vec<ReturnCode> {
        let client = IpAddr::from(Ipv4Addr::LOCALHOST);
        let (ipv4, ipv6) = (change.addresses().v4, change.addresses().v6);
        let request = UpdateRequest {
            client,
            user_agent: None,
            key: client.into(),
            login: Login::Given {
                user: UserName::parse("alice").unwrap(),
                password: Secret::new("x".to_owned()),
            },
            update: RequestedUpdate {
                hosts: Some(names.join(",")),
                ipv4: ipv4.map(|address| address.to_string()),
                ipv6: ipv6.map(|address| address.to_string()),
                prefix6: prefix.map(|prefix| prefix.to_string()),
                unfilled: None,
                is_offline: matches!(change, Change::Offline),
                origin: RequestOrigin::Client(client),
            },
            notify: Notify::Yes,
        };
        match self.update.run(Arc::new(request), Clock.now()).await {
            Reply::Hosts { lines } => lines.iter().map(|line| line.code).collect(),
            Reply::Whole { code, .. } => names.iter().map(|_| code).collect(),
        }
    }
}

fn verify(db: &Db, publisher: &Publisher, host_locks: &HostLocks) -> Verify {
    let handles = VerifyHandles {
        db: db.clone(),
        publisher: publisher.clone(),
        host_locks: host_locks.clone(),
        clock: Clock,
        counters: Arc::default(),
        interval: Arc::new(arc_swap::ArcSwap::from_pointee(VERIFY_INTERVAL)),
    };
    Verify::new(handles, TIMES)
}

fn authenticate(db: &Db, last_requests: &LastRequests) -> Authenticate {
    let second = Duration::from_secs(1);
    let limits = config::LimitsConfig {
        enabled: false,
        good_window: second,
        good_max: 1,
        bad_window: second,
        bad_max: 1,
        cleanup_interval: second,
    };
    let (passwords, tasks) = (passwords(), tokio_util::task::TaskTracker::new());
    Authenticate {
        db: db.clone(),
        last_requests: last_requests.clone(),
        limits: Limits::new(limits, Arc::default(), Clock.mono()),
        rehash: Rehash::new(db.clone(), passwords.clone(), Clock, tasks),
        passwords,
        clock: Clock,
    }
}

fn passwords() -> Passwords {
    let auth = config::Auth { cache_ttl: Duration::from_hours(1), threads: 1 };
    Passwords::new(auth, Arc::default()).unwrap()
}

/// The hash of the user's password. All worlds share it, because hashing takes long.
pub(super) async fn hash() -> PasswordHash {
    passwords().hash(Secret::new("x".to_owned())).await.unwrap()
}
