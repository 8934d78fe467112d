//! Reloads the configuration while the daemon runs. In: a request. Out: what has changed and what
//! needs a restart; or every problem, and nothing has changed. All parts are prepared before any is
//! committed. The log file is opened again in both cases.

use super::handles::{Handles, LiveSettings, Services, mailer};
use super::{Args, apply_args};
use crate::clock::Clock;
use crate::config::load::{self, Loaded};
use crate::config::{Config, Difference, Differences, DnsBackend};
use crate::counters::{LastReload, ReloadCounters};
use crate::db::Db;
use crate::dns::Dns;
use crate::limits::Limits;
use crate::model::certificate::Certificate;
use crate::passwords::Passwords;
use crate::reload::{ReloadRequest, ReloadResult};
use crate::rules::certificate;
use crate::stories::deliver::Deliver;
use crate::stories::files::Files;
use crate::stories::republish::Republish;
use crate::stories::served_zones::mark_unserved;
use crate::stories::unsigned::warn_of_zones_without_key;
use crate::{lifecycle, logging, serve};
use std::error::Error;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// Everything that a reload can change.
pub(super) struct Reloader {
    args: Args,
    running: Config,
    log: logging::Handle,
    settings: LiveSettings,
    limits: Limits,
    passwords: Passwords,
    republish: Republish,
    deliver: Deliver,
    db: Db,
    counters: Arc<ReloadCounters>,
    dns: Dns,
    files: Files,
}

impl Reloader {
    /// `running` is the configuration in force.
    pub(super) fn new(
        args: &Args,
        running: Config,
        log: logging::Handle,
        handles: &Handles,
        services: &Services,
    ) -> Self {
        Self {
            args: args.clone(),
            running,
            log,
            settings: handles.settings.clone(),
            limits: handles.limits.clone(),
            passwords: handles.passwords.clone(),
            republish: services.republish.clone(),
            deliver: services.deliver.clone(),
            db: handles.db.clone(),
            counters: Arc::clone(&handles.counters.reloads),
            dns: handles.dns.clone(),
            files: services.files.clone(),
        }
    }

    /// Serves requests one at a time until `stop`; a reload in progress is finished.
    pub(super) async fn run(
        mut self,
        mut requests: mpsc::Receiver<ReloadRequest>,
        stop: CancellationToken,
    ) {
        while let Some(Some(request)) = stop.run_until_cancelled(requests.recv()).await {
            let answer = match request {
                ReloadRequest::All(answer) => answer,
                ReloadRequest::Keys => {
                    self.reread_keys().await;
                    continue;
                }
            };
            lifecycle::reloading();
            // first, even if the configuration is bad: logrotate has moved the file
            let mut log_problem = self.reopen_log().await.err();
            let configuration = self.reload(&mut log_problem).await;
            let result = ReloadResult { configuration, log_problem };
            lifecycle::reloaded();
            let succeeded = result.configuration.is_ok() && result.log_problem.is_none();
            self.counters.record(LastReload { at: Clock.now().wall, succeeded });
            log_result(&result);
            answer.give(result);
        }
    }

    async fn reopen_log(&self) -> Result<(), String> {
        let log = self.log.clone();
        let reopened = tokio::task::spawn_blocking(move || log.reopen());
        match reopened.await {
            Ok(reopened) => reopened.map_err(|problem| sentence(&problem)),
            Err(panic) => Err(panic.to_string()),
        }
    }

    /// `log_problem` is cleared if another log target replaces the file.
    async fn reload(
        &mut self,
        log_problem: &mut Option<String>,
    ) -> Result<Differences, Vec<String>> {
        let Loaded { config, warnings } = self.load().await?;
        let differences = config.differences(&self.running);
        let next = config.without_restart(&self.running);
        let conflict = next.conflict().or_else(|| self.invalid_certificate(&next));
        if let Some(problem) = conflict {
            return Err(vec![problem]);
        }

        // prepare: nothing changes before all parts are ready
        let mut problems = Vec::new();
        let mut failed = |problem| problems.push(problem);
        let connections = serve::ConnectionSettings::new(&next.http)
            .map_err(|problem| failed(format!("cannot set up TLS: {problem}")));
        let passwords =
            self.passwords.prepare(next.auth).map_err(|problem| failed(sentence(&problem)));
        let log = self.log.prepare(&next.log).map_err(|problem| failed(sentence(&problem)));
        let (Ok(connections), Ok(passwords), Ok(log)) = (connections, passwords, log) else {
            return Err(problems);
        };
        // last, because another name server makes every record unpublished in the database
        let publishing = self.republish.prepare(&next.dns.backend, Clock.now().wall).await;
        let publishing = publishing.map_err(|problem| vec![sentence(&problem)])?;

        // commit: cannot fail
        self.settings.store(&next, connections);
        self.limits.reconfigure(next.limits);
        self.deliver.reconfigure(mailer(&next));
        passwords.commit();
        if log.replaces_the_target() {
            *log_problem = None;
        }
        self.log.commit(log);
        publishing.commit();
        self.files.replace(&next.files, next.http.certificate.clone());
        self.running = next;
        self.warn(&warnings).await;
        Ok(differences)
    }

    /// Why clients would refuse the next certificate, though they accept the running one.
    fn invalid_certificate(&self, next: &Config) -> Option<String> {
        let now = Clock.now().wall;
        let is_valid = |it: &Certificate| certificate::state(it.validity, now).is_valid();
        let running = self.running.http.certificate.as_ref().filter(|running| is_valid(running));
        let next = next.http.certificate.as_ref().filter(|next| !is_valid(next));
        let warning = certificate::warning(running.and(next)?, now)?;
        Some(format!("daemon.ssl_cert_file: {warning}; the previous certificate stays in use"))
    }

    /// Reads the TSIG keys again, and publishes with them.
    async fn reread_keys(&mut self) {
        let running = self.running.clone();
        let read = tokio::task::spawn_blocking(move || load::reread_keys(&running)).await;
        let read = read.unwrap_or_else(|panic| Err(vec![panic.to_string()]));
        let prepared = match read {
            Ok(next) => match self.republish.prepare(&next.dns.backend, Clock.now().wall).await {
                Ok(publishing) => Ok((next, publishing)),
                Err(problem) => Err(vec![sentence(&problem)]),
            },
            Err(problems) => Err(problems),
        };
        match prepared {
            Ok((next, publishing)) => {
                publishing.commit();
                self.files.replace_files(&next.files);
                self.running = next;
                info!(
                    "the name server refused a TSIG key whose file had changed; the keys were read again"
                );
            }
            Err(problems) => {
                let problems = problems.join("; ");
                warn!("cannot read the TSIG keys again, which the name server refuses: {problems}");
            }
        }
    }

    async fn load(&self) -> Result<Loaded, Vec<String>> {
        let args = self.args.clone();
        // the files may be on a slow file system
        let loaded = tokio::task::spawn_blocking(move || {
            let mut loaded = load::load(&args.config).map_err(|problems| problems.sentences())?;
            apply_args(&mut loaded.config, &args);
            Ok(loaded)
        });
        loaded.await.map_err(|panic| vec![format!("reading the configuration failed: {panic}")])?
    }

    async fn warn(&self, warnings: &[String]) {
        for warning in warnings {
            warn!("{warning}");
        }
        if let DnsBackend::Rfc2136(section) = &self.running.dns.backend {
            warn_of_zones_without_key(&section.keys, &self.db).await;
        }
        if let Some(server) = self.dns.own_server() {
            mark_unserved(server, &self.db, Clock).await;
        }
    }
}

fn sentence(problem: &dyn Error) -> String {
    logging::with_causes(problem)
}

fn log_result(result: &ReloadResult) {
    if let Some(problem) = &result.log_problem {
        error!("reload: the log file is still the old one: {problem}");
    }
    match &result.configuration {
        Ok(Differences { changed, needs_restart }) => {
            for difference in changed {
                info!("reload: {}", describe(difference));
            }
            for difference in needs_restart {
                warn!("reload: {} needs a restart of ddnsd", describe(difference));
            }
            let changed = changed.len();
            info!(changed, needs_restart = needs_restart.len(), "configuration reloaded");
        }
        Err(problems) => {
            for problem in problems {
                error!("reload: {problem}");
            }
            error!("reload: nothing was changed; fix the configuration and reload again");
        }
    }
}

fn describe(difference: &Difference) -> String {
    let key = &difference.key;
    match &difference.values {
        Some((old, new)) => format!("{key}: {old:?} -> {new:?}"),
        None => format!("{key}: changed"),
    }
}
