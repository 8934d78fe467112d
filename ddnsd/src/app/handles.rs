//! What the daemon is made of: the handles that stories share, the settings that a reload changes,
//! and the services over them.

use crate::clock::Clock;
use crate::config::{Config, Defaults, DnsBackend, EmailConfig};
use crate::db::Db;
use crate::dns::Dns;
use crate::lifecycle::Tasks;
use crate::limits::Limits;
use crate::mail::Mailer;
use crate::model::notice::Mails;
use crate::model::time::Now;
use crate::passwords::Passwords;
use crate::reload::ReloadRequests;
use crate::rules::verify::VerifyTimes;
use crate::stories::authenticate::Authenticate;
use crate::stories::deliver::Deliver;
use crate::stories::expire::Expire;
use crate::stories::export::Export;
use crate::stories::files::Files;
use crate::stories::host_locks::HostLocks;
use crate::stories::hosts::Hosts;
use crate::stories::import::Imports;
use crate::stories::last_requests::LastRequests;
use crate::stories::notices::Notices;
use crate::stories::publisher::Publisher;
use crate::stories::rehash::Rehash;
use crate::stories::republish::Republish;
use crate::stories::status::{Counters, Status};
use crate::stories::update::{self, Update};
use crate::stories::users::Users;
use crate::stories::verify::{Verify, VerifyHandles};
use crate::{http, serve};
use anyhow::Context as _;
use arc_swap::ArcSwap;
use std::sync::{Arc, Once};
use std::time::Duration;
use tokio::sync::watch;

/// The exits and the state in memory.
pub(super) struct Handles {
    pub(super) db: Db,
    pub(super) dns: Dns,
    pub(super) publisher: Publisher,
    pub(super) passwords: Passwords,
    pub(super) limits: Limits,
    pub(super) host_locks: HostLocks,
    pub(super) deliver: Deliver,
    pub(super) settings: LiveSettings,
    pub(super) clock: Clock,
    pub(super) started: Now,
    pub(super) counters: Counters,
    pub(super) tasks: Tasks,
}

/// The stories.
pub(super) struct Services {
    pub(super) update: Update,
    pub(super) users: Users,
    pub(super) hosts: Hosts,
    pub(super) export: Export,
    pub(super) imports: Imports,
    pub(super) expire: Expire,
    pub(super) republish: Republish,
    pub(super) verify: Verify,
    pub(super) last_requests: LastRequests,
    pub(super) deliver: Deliver,
    pub(super) status: Status,
    pub(super) authenticate: Authenticate,
    pub(super) reload: ReloadRequests,
    pub(super) files: Files,
}

/// Settings that are read at each use, so that a reload changes them. Clones share them.
#[derive(Clone)]
pub(super) struct LiveSettings {
    pub(super) front: Arc<ArcSwap<http::FrontSettings>>,
    pub(super) connections: Arc<ArcSwap<serve::ConnectionSettings>>,
    pub(super) defaults: Arc<ArcSwap<Defaults>>,
    /// The kinds of mail that are sent.
    pub(super) mails: Arc<ArcSwap<Mails>>,
    /// How long an update waits for hosts that another request changes.
    pub(super) lock_timeout: Arc<ArcSwap<Duration>>,
    /// Within which every host is checked once; zero for never.
    pub(super) verify_every: Arc<ArcSwap<Duration>>,
    pub(super) sweep_every: watch::Sender<Duration>,
    pub(super) forget_every: watch::Sender<Duration>,
}

impl Handles {
    pub(super) fn new(
        config: &Config,
        dns: Dns,
        db: Db,
        counters: Counters,
        tasks: Tasks,
    ) -> anyhow::Result<Self> {
        let clock = Clock;
        let started = clock.now();
        let settings = LiveSettings::new(config)?;
        let defaults = Arc::clone(&settings.defaults);
        Ok(Self {
            publisher: Publisher::new(db.clone(), dns.clone(), clock, defaults),
            passwords: Passwords::new(config.auth, Arc::clone(&counters.passwords))?,
            limits: Limits::new(config.limits, Arc::clone(&counters.limits), started.mono),
            host_locks: HostLocks::default(),
            deliver: Deliver::new(db.clone(), clock, Arc::clone(&counters.mail), mailer(config)),
            db,
            dns,
            settings,
            clock,
            started,
            counters,
            tasks,
        })
    }
}

impl Services {
    pub(super) async fn new(
        handles: &Handles,
        reload: ReloadRequests,
        config: &Config,
    ) -> anyhow::Result<Self> {
        let Handles { db, publisher, passwords, host_locks, clock, .. } = handles;
        let republish = Republish::new(db.clone(), publisher.clone(), host_locks.clone(), *clock);
        let last_requests = LastRequests::new(db.clone(), handles.tasks.work.clone());
        let authenticate = authenticate(handles, &last_requests);
        let notices = notices(handles);
        let expire = Expire::start(
            db.clone(),
            publisher.clone(),
            notices.clone(),
            host_locks.clone(),
            *clock,
        );
        Ok(Self {
            update: update(handles, &authenticate, &last_requests, &notices),
            expire: expire.await?,
            status: status(handles),
            users: Users { db: db.clone(), passwords: passwords.clone(), clock: *clock },
            export: Export { db: db.clone() },
            imports: Imports::new(db.clone(), handles.dns.clone(), *clock),
            hosts: hosts(handles, &last_requests),
            republish,
            verify: verify(handles),
            last_requests,
            deliver: handles.deliver.clone(),
            authenticate,
            reload,
            files: Files::new(
                publisher.clone(),
                Arc::clone(&handles.counters.reloads),
                *clock,
                &config.files,
                config.http.certificate.clone(),
            ),
        })
    }
}

fn authenticate(handles: &Handles, last_requests: &LastRequests) -> Authenticate {
    let Handles { db, passwords, clock, tasks, .. } = handles;
    Authenticate {
        db: db.clone(),
        rehash: Rehash::new(db.clone(), passwords.clone(), *clock, tasks.work.clone()),
        last_requests: last_requests.clone(),
        limits: handles.limits.clone(),
        passwords: passwords.clone(),
        clock: *clock,
    }
}

fn notices(handles: &Handles) -> Notices {
    Notices {
        db: handles.db.clone(),
        mails: Arc::clone(&handles.settings.mails),
        defaults: Arc::clone(&handles.settings.defaults),
    }
}

fn update(
    handles: &Handles,
    authenticate: &Authenticate,
    last_requests: &LastRequests,
    notices: &Notices,
) -> Update {
    Update::new(update::UpdateHandles {
        db: handles.db.clone(),
        publisher: handles.publisher.clone(),
        authenticate: authenticate.clone(),
        last_requests: last_requests.clone(),
        notices: notices.clone(),
        host_locks: handles.host_locks.clone(),
        clock: handles.clock,
        counters: Arc::clone(&handles.counters.updates),
        tasks: handles.tasks.work.clone(),
        lock_timeout: Arc::clone(&handles.settings.lock_timeout),
    })
}

fn verify(handles: &Handles) -> Verify {
    let handles = VerifyHandles {
        db: handles.db.clone(),
        publisher: handles.publisher.clone(),
        host_locks: handles.host_locks.clone(),
        clock: handles.clock,
        counters: Arc::clone(&handles.counters.dns.checks),
        interval: Arc::clone(&handles.settings.verify_every),
    };
    Verify::new(handles, VerifyTimes::DEFAULT)
}

fn status(handles: &Handles) -> Status {
    Status {
        db: handles.db.clone(),
        dns: handles.dns.clone(),
        passwords: handles.passwords.clone(),
        clock: handles.clock,
        started: handles.started,
        counters: handles.counters.clone(),
    }
}

fn hosts(handles: &Handles, last_requests: &LastRequests) -> Hosts {
    Hosts {
        db: handles.db.clone(),
        publisher: handles.publisher.clone(),
        last_requests: last_requests.clone(),
        host_locks: handles.host_locks.clone(),
        clock: handles.clock,
    }
}

impl LiveSettings {
    fn new(config: &Config) -> anyhow::Result<Self> {
        let connections =
            serve::ConnectionSettings::new(&config.http).context("cannot set up TLS")?;
        Ok(Self {
            front: Arc::new(ArcSwap::from_pointee(front(config))),
            connections: Arc::new(ArcSwap::from_pointee(connections)),
            defaults: Arc::new(ArcSwap::from_pointee(config.defaults)),
            mails: Arc::new(ArcSwap::from_pointee(mails(config.email.as_ref()))),
            lock_timeout: Arc::new(ArcSwap::from_pointee(lock_timeout(config))),
            verify_every: Arc::new(ArcSwap::from_pointee(config.dns.verify_interval)),
            sweep_every: watch::Sender::new(config.dns.cleanup_interval),
            forget_every: watch::Sender::new(config.limits.cleanup_interval),
        })
    }

    /// Changes all settings. Building `connections` can fail, so the caller does it.
    pub(super) fn store(&self, config: &Config, connections: serve::ConnectionSettings) {
        self.front.store(Arc::new(front(config)));
        self.connections.store(Arc::new(connections));
        self.defaults.store(Arc::new(config.defaults));
        self.mails.store(Arc::new(mails(config.email.as_ref())));
        self.lock_timeout.store(Arc::new(lock_timeout(config)));
        self.verify_every.store(Arc::new(config.dns.verify_interval));
        self.sweep_every.send_replace(config.dns.cleanup_interval);
        self.forget_every.send_replace(config.limits.cleanup_interval);
    }
}

fn front(config: &Config) -> http::FrontSettings {
    http::FrontSettings {
        endpoints: Arc::clone(&config.endpoints),
        http: config.http.clone(),
        proxy_warning: Arc::new(Once::new()),
    }
}

/// What sends mails; `None` if mail is disabled.
pub(super) fn mailer(config: &Config) -> Option<Mailer> {
    config.email.clone().map(Mailer::new)
}

/// A mail without a template is not sent.
fn mails(email: Option<&EmailConfig>) -> Mails {
    Mails {
        change: email.is_some_and(|email| email.change_template.is_some()),
        expiry: email.is_some_and(|email| email.expiry_template.is_some()),
    }
}

/// The part of `request_timeout` that is left when a change takes all of `dns_timeout`.
fn lock_timeout(config: &Config) -> Duration {
    let DnsBackend::Rfc2136(rfc2136) = &config.dns.backend else {
        return config.http.request_timeout;
    };
    config.http.request_timeout.saturating_sub(rfc2136.timeout)
}
