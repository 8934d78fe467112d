//! The only file that sees everything: open and bind all parts, report ready, serve, drain.

mod handles;
mod reload;
mod service_status;
mod serving_dns;

use crate::admin::socket::{self, BoundSocket};
use crate::admin::{self, AdminStories};
use crate::args::Args;
use crate::clock::Clock;
use crate::config::{self, Config, DnsBackend};
use crate::db::Db;
use crate::http::Front;
use crate::lifecycle::{Ending, Lifecycle, Tasks};
use crate::observe::{self, ObserverTasks};
use crate::reload::channel as reload_requests;
use crate::serve::listen::{Bound, bind_later};
use crate::serve::{self, ConnectionLimits, HttpServer};
use crate::stories::hosts::Hosts;
use crate::stories::large_hashes::warn_of_large_hashes;
use crate::stories::mail_queue::MailQueue;
use crate::stories::served_zones;
use crate::stories::status::Counters;
use crate::stories::unsigned::warn_of_zones_without_key;
use crate::stories::users::Users;
use crate::timers;
use crate::{lifecycle, logging};
use anyhow::{Context as _, bail};
use futures::future::LocalBoxFuture;
use handles::{Handles, Services};
use reload::Reloader;
use serving_dns::BoundDns;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tracing::{info, warn};

/// How long the database may take to close; the next start repeats what was not written.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// What serves once the start is complete.
pub struct Started {
    pub users: Users,
    pub hosts: Hosts,
    pub http: Vec<SocketAddr>,
    /// Of the built-in name server.
    pub dns: Vec<SocketAddr>,
}

/// What runs once every part serves, before the daemon is ready. Boxed, so that the daemon is
/// compiled once and not for each caller.
pub type WhenStarted<'a> = Box<dyn FnOnce(Started) -> LocalBoxFuture<'a, anyhow::Result<()>> + 'a>;

/// Runs the daemon until a signal stops it.
///
/// # Errors
/// A part cannot be opened or bound, a service failed, or `when_started` did; the sentence names
/// it.
pub fn run(
    args: &Args,
    config: Config,
    log: logging::Handle,
    when_started: WhenStarted<'_>,
) -> anyhow::Result<()> {
    let runtime = runtime()?;
    let ending = runtime.block_on(run_async(args, config, log, when_started));
    // tasks that still run have used up their time
    runtime.shutdown_background();
    match ending? {
        Ending::Stopped => Ok(()),
        Ending::Failed => bail!("a part of the daemon failed; its log says which"),
    }
}

/// Applies what the command line overrides.
pub fn apply_args(config: &mut Config, args: &Args) {
    if args.debug {
        config.force_debug();
    }
}

/// Creates or migrates the database.
///
/// # Errors
/// It cannot be opened, or a running daemon uses it; the sentence names it.
pub fn init_db(config: &Config) -> anyhow::Result<()> {
    runtime()?.block_on(async { Ok(Db::init(&config.database).await?) })
}

fn runtime() -> anyhow::Result<Runtime> {
    // others may not read the files that the daemon creates
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o027));
    let mut threads = tokio::runtime::Builder::new_multi_thread();
    threads.enable_all().build().context("cannot start the runtime")
}

async fn run_async(
    args: &Args,
    config: Config,
    log: logging::Handle,
    when_started: WhenStarted<'_>,
) -> anyhow::Result<Ending> {
    let mut life = Lifecycle::new().context("cannot install the signal handlers")?;
    let start = Box::pin(start(args, config, log.clone(), life.tasks(), when_started));
    let (handles, services) = match life.unless_stopped(start).await {
        Ok(started) => started?,
        // as safe as a kill: the next start repeats what was begun
        Err(name) => {
            info!("{name} while starting: stopped");
            return Ok(Ending::Stopped);
        }
    };
    let tasks = life.tasks();
    let hung_up = || {
        // the terminal of the demo is closed
        if args.demo { tasks.stop.cancel() } else { services.reload.trigger() }
    };
    let ending = life.run(hung_up).await;
    match life.unless_stopped(tokio::time::timeout(CLOSE_TIMEOUT, close(&handles))).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => warn!("the database took too long to close"),
        Err(name) => warn!("second {name}: the database is not closed"),
    }
    info!("stopped");
    log.hurry(life.is_urgent());
    Ok(ending)
}

fn is_new_file(database: &config::Database) -> bool {
    let config::Database::Sqlite { path, .. } = database else { return false };
    !path.metadata().is_ok_and(|file| file.len() > 0)
}

async fn close(handles: &Handles) {
    if let Some(server) = handles.dns.own_server()
        && let Err(problem) = served_zones::end_serials(server, &handles.db).await
    {
        warn!("cannot store the last SOA serial: {problem}");
    }
    handles.db.close().await;
}

/// The name by which several daemons on one database know each other. It is the same after a
/// restart: no other daemon of this machine has this socket.
fn name_of_daemon(socket: &Path) -> Arc<str> {
    let machine = nix::unistd::gethostname().unwrap_or_default();
    format!("{} {}", machine.display(), socket.display()).into()
}

/// Opens and binds every part, so that a failure ends the start, and only then serves.
async fn start(
    args: &Args,
    config: Config,
    log: logging::Handle,
    tasks: Tasks,
    when_started: WhenStarted<'_>,
) -> anyhow::Result<(Handles, Services)> {
    let counters = Counters::default();
    let name = name_of_daemon(&config.admin.socket);
    let is_new = is_new_file(&config.database);
    let db = Db::open(&config.database, name, Arc::clone(&counters.database)).await?;
    if is_new && !args.demo {
        warn!("{} is new and empty (if there was one before, look where it is)", config.database);
    }
    let socket = socket::bind(&config.admin)?;
    let listeners = listeners(&config.http).await?;
    let bound_dns = BoundDns::new(&config, &counters.dns, Clock)?;
    let observed = match config.metrics {
        Some(address) => Some(serve::listen::bind_one("metrics.listen", address).await?),
        None => None,
    };

    let (reload, requests) = reload_requests();
    let handles = Handles::new(&config, bound_dns.dns.clone(), db, counters, tasks)?;
    let cannot_start = || format!("cannot start on {}", config.database);
    let services = Services::new(&handles, reload, &config).await.with_context(cannot_start)?;
    services.republish.start().await.with_context(cannot_start)?;
    services.deliver.free_claims().await.with_context(cannot_start)?;
    let dns = bound_dns.serve(&config, &handles, &services).await.with_context(cannot_start)?;
    if let DnsBackend::Rfc2136(rfc2136) = &config.dns.backend {
        warn_of_zones_without_key(&rfc2136.keys, &handles.db).await;
    }
    warn_of_large_hashes(&handles.db).await;

    let tasks = &handles.tasks;
    let reloader = Reloader::new(args, config, log, &handles, &services);
    if lifecycle::has_systemd() {
        let reloads = handles.counters.reloads.follow();
        let report = service_status::report(handles.db.clone(), reloads, tasks.stop.clone());
        tasks.service("the status line", report);
    }
    tasks.service("the reloader", reloader.run(requests, tasks.stop.clone()));
    start_timers(&handles, &services);
    let http = serve_http(&handles, &services, listeners)?;
    serve_admin(&handles, &services, socket);
    if let Some(listener) = observed {
        serve_metrics(&handles, &services, listener)?;
    }
    let (users, hosts) = (services.users.clone(), services.hosts.clone());
    when_started(Started { users, hosts, http, dns }).await?;
    Ok((handles, services))
}

/// The sockets of `ddnsd.socket` if systemd started the daemon with it, else those of the
/// configuration.
async fn listeners(config: &config::Http) -> anyhow::Result<Bound> {
    let inherited = serve::listen::inherited()?;
    if inherited.listeners.is_empty() {
        return Ok(serve::listen::bind(&config.host, config.port).await?);
    }
    info!("systemd opened the sockets; daemon.host and daemon.port are not used");
    Ok(inherited)
}

fn start_timers(handles: &Handles, services: &Services) {
    let tasks = &handles.tasks;
    let stop = || tasks.stop.clone();
    let sweep_every = handles.settings.sweep_every.subscribe();
    let forget_every = handles.settings.forget_every.subscribe();
    let Services { expire, republish, verify, last_requests, deliver, .. } = services;
    let Services { imports, authenticate, .. } = services;

    let running = stop();
    let db = handles.db.clone();
    tasks.service("the database", async move {
        running.run_until_cancelled(db.ended()).await;
    });
    tasks.service("keepalives", timers::flush_keepalives(expire.clone(), stop()));
    tasks.service("the last requests", timers::write_last_requests(last_requests.clone(), stop()));
    tasks.service("the republisher", timers::republish(republish.clone(), stop()));
    if verify.is_needed() {
        let verify = || verify.clone();
        tasks.service("the check of changes", timers::check_changes(verify(), stop()));
        tasks.service("the check of suspects", timers::check_suspects(verify(), stop()));
        tasks.service("the check of all hosts", timers::check_all(verify(), stop()));
    }
    tasks.service("the sweep", timers::sweep(expire.clone(), sweep_every, stop()));
    tasks.service("the limits", timers::forget_idle(authenticate.clone(), forget_every, stop()));
    tasks.service("mails", timers::deliver(deliver.clone(), stop()));
    tasks.service("old mails", timers::clean_up_mails(deliver.clone(), stop()));
    let (files, reload) = (services.files.clone(), services.reload.clone());
    let reread_keys = move || reload.reread_keys();
    tasks.service("the files", timers::watch_files(files, reread_keys, stop()));
    tasks.service("imports", timers::forget_imports(imports.clone(), stop()));
}

fn serve_http(
    handles: &Handles,
    services: &Services,
    bound: Bound,
) -> anyhow::Result<Vec<SocketAddr>> {
    let Handles { settings, tasks, counters, .. } = handles;
    let update = services.update.clone();
    let front_settings = Arc::clone(&settings.front);
    let front = Front::new(update, handles.clock, front_settings, Arc::clone(&counters.http));
    let server = HttpServer {
        service: front.service(),
        settings: Arc::clone(&settings.connections),
        limits: ConnectionLimits::of_all_files(Arc::clone(&counters.connections)),
        stop: tasks.stop.clone(),
        cut: tasks.cut.clone(),
        tasks: tasks.work.clone(),
    };
    let scheme = settings.connections.load().scheme();
    let mut addresses = Vec::with_capacity(bound.listeners.len());
    for listener in bound.listeners {
        let address = listener.local_addr()?;
        info!("listening on {scheme}://{address}");
        tasks.service("the HTTP front end", server.clone().run(listener));
        addresses.push(address);
    }
    for address in bound.missing {
        warn!(
            "daemon.host: cannot listen on {address} now, because this machine does not have that address (it is tried again every 5 s)"
        );
        tasks.service("the HTTP front end", serve_later(server.clone(), address, scheme));
    }
    Ok(addresses)
}

async fn serve_later(server: HttpServer, address: SocketAddr, scheme: &'static str) {
    if let Some(listener) = bind_later(address, &server.stop).await {
        info!("listening on {scheme}://{address}");
        server.run(listener).await;
    }
}

fn serve_admin(handles: &Handles, services: &Services, socket: BoundSocket) {
    let mails = MailQueue {
        db: handles.db.clone(),
        deliver: services.deliver.clone(),
        clock: handles.clock,
    };
    let stories = AdminStories {
        mails,
        users: services.users.clone(),
        hosts: services.hosts.clone(),
        status: services.status.clone(),
        expire: services.expire.clone(),
        export: services.export.clone(),
        imports: services.imports.clone(),
        reload: services.reload.clone(),
    };
    let tasks = &handles.tasks;
    let service = admin::serve(socket, stories, tasks.stop.clone(), tasks.work.clone());
    tasks.service("the admin socket", service);
}

fn serve_metrics(
    handles: &Handles,
    services: &Services,
    listener: TcpListener,
) -> anyhow::Result<()> {
    let Tasks { stop, cut, work, .. } = handles.tasks.clone();
    let server =
        observe::server(services.status.clone(), handles.clock, ObserverTasks { stop, cut, work });
    info!("metrics and health on http://{}", listener.local_addr()?);
    handles.tasks.service("the metrics listener", server.run(listener));
    Ok(())
}
