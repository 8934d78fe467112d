//! The only file that sees everything: open and bind all parts, report ready, serve, drain.

mod reload;

use crate::admin::{self, AdminStories};
use crate::args::Args;
use crate::clock::Clock;
use crate::config::{Config, DnsBackend, EmailConfig, Rfc2136};
use crate::db::Db;
use crate::dns::Dns;
use crate::http::Front;
use crate::lifecycle::{self, End, Hangups, Lifecycle, Signals};
use crate::limits::Limits;
use crate::logging;
use crate::model::time::Now;
use crate::passwords::Passwords;
use crate::reload::Reload;
use crate::serve::{self, ConnectionLimits, HttpServer};
use crate::stories::authenticate::Authenticate;
use crate::stories::expire::Expire;
use crate::stories::host_locks::HostLocks;
use crate::stories::hosts::Hosts;
use crate::stories::import::Transfer;
use crate::stories::last_requests::LastRequests;
use crate::stories::notices::Notices;
use crate::stories::publisher::Publisher;
use crate::stories::rehash::Rehash;
use crate::stories::republish::Republish;
use crate::stories::status::{Counters, Status};
use crate::stories::update::{self, Update};
use crate::stories::users::Users;
use crate::timers;
use anyhow::{Context as _, bail};
use reload::{Sections, reloadable};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tracing::{info, warn};

/// How long the database may take to close: what it has not written is only done again.
const CLOSING: Duration = Duration::from_secs(2);

/// Everything that was opened and bound; nothing is served yet.
struct Bound {
    db: Db,
    socket: admin::socket::BoundSocket,
    listeners: Vec<TcpListener>,
}

/// The exits, and the state in memory.
struct Exits {
    dns: Dns,
    publisher: Publisher,
    passwords: Passwords,
    limits: Limits,
    host_locks: HostLocks,
}

/// The stories over their exits.
struct Stories {
    update: Update,
    users: Users,
    hosts: Hosts,
    transfer: Transfer,
    expire: Expire,
    republish: Republish,
    last_requests: LastRequests,
    notices: Notices,
    status: Status,
    authenticate: Authenticate,
}

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// A part could not be opened or bound, or broke down; the sentence names it.
pub fn run(args: &Args, config: Config, log: logging::Handle) -> anyhow::Result<()> {
    let runtime = runtime()?;
    let ended = runtime.block_on(run_async(args, config, log));
    // what still runs was given its time
    runtime.shutdown_background();
    match ended? {
        End::Stopped => Ok(()),
        End::Broke => bail!("a part of the daemon broke down; its log says which"),
    }
}

/// What the command line has the last word on.
pub fn apply_args(config: &mut Config, args: &Args) {
    if args.debug {
        config.force_debug();
    }
}

/// Makes or migrates the database, and ends.
///
/// # Errors
/// It cannot be opened, or a running daemon owns it; the sentence names it.
pub fn init_db(config: &Config) -> anyhow::Result<()> {
    runtime()?.block_on(async { Ok(Db::init(&config.database).await?) })
}

fn runtime() -> anyhow::Result<Runtime> {
    // what the daemon makes is nobody else's to read
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o027));
    let mut threads = tokio::runtime::Builder::new_multi_thread();
    threads.enable_all().build().context("cannot start the runtime")
}

async fn run_async(args: &Args, config: Config, log: logging::Handle) -> anyhow::Result<End> {
    let mut signals = Signals::new().context("cannot wait for signals")?;
    let hangups = Hangups::new().context("cannot wait for SIGHUP")?;
    let lines = log.clone();
    let life = Lifecycle::default();
    let started = tokio::select! {
        started = start(args, config, log, &life) => started?,
        // as good as killed: what was begun is done again by the next start
        name = signals.next() => {
            info!("{name} while starting: stopped");
            return Ok(End::Stopped);
        }
    };
    let Started { db, expire, reload } = started;
    lifecycle::ready(&life);
    info!(version = env!("CARGO_PKG_VERSION"), "ready");
    reload_on_hangup(hangups, reload, &life);
    let end = life.until_stopped(&mut signals).await;
    let closed = async {
        // a heartbeat that fails only makes the downtime look longer
        let _ = expire.stop().await;
        db.close().await;
    };
    tokio::select! {
        () = closed => {}
        () = tokio::time::sleep(CLOSING) => warn!("the database took too long to close"),
        name = signals.next() => warn!("{name} again: the database is not closed"),
    }
    info!("stopped");
    lines.hurry(signals.are_urgent());
    Ok(end)
}

/// What is needed of a running daemon to reload and to stop it.
struct Started {
    db: Db,
    expire: Expire,
    reload: Reload,
}

/// Everything up to where it is served.
async fn start(
    args: &Args,
    config: Config,
    log: logging::Handle,
    life: &Lifecycle,
) -> anyhow::Result<Started> {
    let DnsBackend::Rfc2136(rfc2136) = config.dns.backend.clone() else {
        bail!("dns_service.backend: the built-in name server is not supported by this version");
    };
    warn_of_what_is_missing(&config);
    let (clock, counters) = (Clock, Counters::default());
    let bound = bind(&config, &counters).await?;
    let db = bound.db.clone();
    let sections = Sections::new(&config)?;
    let context = Context {
        db: db.clone(),
        clock,
        started: clock.now(),
        counters,
        sections: sections.clone(),
        life: life.clone(),
    };
    let stories = stories(&config, rfc2136, &context).await;
    let stories = stories.with_context(|| format!("cannot start on {}", config.database))?;
    let expire = stories.expire.clone();
    let reload = reloadable(args, config, log, &stories, &sections);
    serve(&sections, bound, stories, reload.clone(), life)?;
    Ok(Started { db, expire, reload })
}

fn reload_on_hangup(hangups: Hangups, reload: Reload, life: &Lifecycle) {
    hangups.each(life, move || {
        let reload = reload.clone();
        // what came of it is in the log
        async move { drop(reload.run().await) }
    });
}

fn warn_of_what_is_missing(config: &Config) {
    warn_of_missing_mail(config.email.as_ref());
    if config.metrics.is_some() {
        warn!("metrics.listen: this version has no metrics yet");
    }
}

fn warn_of_missing_mail(email: Option<&EmailConfig>) {
    if email.is_some() {
        warn!(
            "email.enabled: this version sends no mail yet; what is due waits for 3 days, then it is dropped"
        );
    }
}

async fn bind(config: &Config, counters: &Counters) -> anyhow::Result<Bound> {
    let db = Db::open(&config.database, Arc::clone(&counters.database)).await?;
    let socket = admin::socket::bind(&config.admin)?;
    let listeners = serve::listen::bind(&config.http.host, config.http.port).await?;
    Ok(Bound { db, socket, listeners })
}

/// What every story stands on.
struct Context {
    db: Db,
    clock: Clock,
    started: Now,
    counters: Counters,
    sections: Sections,
    life: Lifecycle,
}

fn exits(config: &Config, rfc2136: Rfc2136, context: &Context) -> anyhow::Result<Exits> {
    let Context { db, clock, started, counters, sections, .. } = context;
    let dns = Dns::new(rfc2136, Arc::clone(&counters.dns), *clock);
    let defaults = Arc::clone(&sections.defaults);
    Ok(Exits {
        publisher: Publisher::new(db.clone(), dns.clone(), *clock, defaults),
        passwords: Passwords::new(config.auth, Arc::clone(&counters.passwords))?,
        limits: Limits::new(config.limits, Arc::clone(&counters.limits), *started),
        host_locks: HostLocks::default(),
        dns,
    })
}

fn authenticate(context: &Context, exits: &Exits, last: &LastRequests) -> Authenticate {
    let Exits { passwords, limits, .. } = exits;
    let Context { db, clock, life, .. } = context;
    Authenticate {
        db: db.clone(),
        rehash: Rehash::new(db.clone(), passwords.clone(), *clock, life.work.clone()),
        last_requests: last.clone(),
        limits: limits.clone(),
        passwords: passwords.clone(),
        clock: *clock,
        tasks: life.work.clone(),
    }
}

fn notices(context: &Context) -> Notices {
    let Context { db, clock, sections, .. } = context;
    let (mails, defaults) = (Arc::clone(&sections.mails), Arc::clone(&sections.defaults));
    Notices { db: db.clone(), clock: *clock, mails, defaults }
}

async fn stories(config: &Config, rfc2136: Rfc2136, context: &Context) -> anyhow::Result<Stories> {
    let aim = rfc2136.clone();
    let exits = exits(config, rfc2136, context)?;
    let Context { db, clock, started, counters, sections, life } = context;
    let (db, clock) = (db.clone(), *clock);
    let republish =
        Republish::new(db.clone(), exits.publisher.clone(), exits.host_locks.clone(), clock);
    republish.aim_at(&aim, started.wall).await?;
    let last = LastRequests::new(db.clone(), life.work.clone());
    let authenticate = authenticate(context, &exits, &last);
    let Exits { dns, publisher, passwords, host_locks: locks, .. } = exits;
    let notices = notices(context);
    let update = Update::new(update::UpdateHandles {
        db: db.clone(),
        publisher: publisher.clone(),
        authenticate: authenticate.clone(),
        last_requests: last.clone(),
        notices: notices.clone(),
        host_locks: locks.clone(),
        clock,
        counters: Arc::clone(&counters.updates),
        tasks: life.work.clone(),
        lock_timeout: Arc::clone(&sections.patience),
    });
    Ok(Stories {
        update,
        republish,
        expire: Expire::start(db.clone(), publisher.clone(), notices.clone(), locks.clone(), clock)
            .await?,
        notices,
        status: Status {
            db: db.clone(),
            dns,
            clock,
            started: *started,
            counters: counters.clone(),
        },
        users: Users { db: db.clone(), passwords, clock },
        transfer: Transfer::new(db.clone(), clock),
        hosts: Hosts { db, publisher, last_requests: last.clone(), host_locks: locks, clock },
        last_requests: last,
        authenticate,
    })
}

fn serve(
    sections: &Sections,
    bound: Bound,
    stories: Stories,
    reload: Reload,
    life: &Lifecycle,
) -> anyhow::Result<()> {
    let stop = || life.stop.clone();
    let Stories { update, users, hosts, transfer, expire, republish, .. } = stories;
    let Stories { last_requests, notices, status, authenticate, .. } = stories;
    let Sections { sweep_every, forget_every, front, connections, .. } = sections;
    let db = bound.db;
    let running = stop();
    life.service("the database", async move {
        running.run_until_cancelled(db.ended()).await;
    });
    life.service("keepalives", timers::flush_keepalives(expire.clone(), stop()));
    life.service("the last requests", timers::write_last_requests(last_requests, stop()));
    life.service("the republisher", timers::republish(republish, stop()));
    life.service("the sweep", timers::sweep(expire.clone(), sweep_every.subscribe(), stop()));
    life.service("the limits", timers::forget_idle(authenticate, forget_every.subscribe(), stop()));
    life.service("old mails", timers::give_up_mails(notices, stop()));
    life.service("imports", timers::forget_imports(transfer.clone(), stop()));
    let admin = AdminStories { users, hosts, status, expire, transfer, reload };
    life.service("the admin socket", admin::serve(bound.socket, admin, stop(), life.work.clone()));
    let front = Front::new(update, Clock, Arc::clone(front));
    let server = HttpServer {
        service: front.service(),
        settings: Arc::clone(connections),
        limits: ConnectionLimits::of_all_files(),
        stop: stop(),
        cut: life.cut.clone(),
        tasks: life.work.clone(),
    };
    let scheme = connections.load().scheme();
    for listener in bound.listeners {
        info!("listening on {scheme}://{}", listener.local_addr()?);
        life.service("the HTTP front end", server.clone().run(listener));
    }
    Ok(())
}
