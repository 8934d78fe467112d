//! What a reload can change: the sections that requests take a snapshot of, and every part that gets
//! ready for another section.

use super::{Args, Stories, apply_args, warn_of_missing_mail};
use crate::clock::Clock;
use crate::config::{Config, Defaults, DnsBackend, EmailConfig};
use crate::model::notice::Mails;
use crate::reload::{Commit, Parts, Problem, Reload, Source};
use crate::{http, logging, serve};
use anyhow::Context as _;
use arc_swap::ArcSwap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tracing::warn;

/// The sections that are looked at anew each time. Clones share them.
#[derive(Clone)]
pub(super) struct Sections {
    pub(super) front: Arc<ArcSwap<http::FrontSettings>>,
    pub(super) connections: Arc<ArcSwap<serve::ConnectionSettings>>,
    pub(super) defaults: Arc<ArcSwap<Defaults>>,
    /// Which mails are sent.
    pub(super) mails: Arc<ArcSwap<Mails>>,
    /// How long an update waits for hosts that somebody else is changing.
    pub(super) patience: Arc<ArcSwap<Duration>>,
    pub(super) sweep_every: watch::Sender<Duration>,
    pub(super) forget_every: watch::Sender<Duration>,
}

impl Sections {
    /// As configured at the start.
    pub(super) fn new(config: &Config) -> anyhow::Result<Self> {
        let connections =
            serve::ConnectionSettings::new(&config.http).context("cannot set up TLS")?;
        Ok(Self {
            front: Arc::new(ArcSwap::from_pointee(front(config))),
            connections: Arc::new(ArcSwap::from_pointee(connections)),
            defaults: Arc::new(ArcSwap::from_pointee(config.defaults)),
            mails: Arc::new(ArcSwap::from_pointee(mails(config.email.as_ref()))),
            patience: Arc::new(ArcSwap::from_pointee(patience(config))),
            sweep_every: watch::Sender::new(config.dns.cleanup_interval),
            forget_every: watch::Sender::new(config.limits.cleanup_interval),
        })
    }

    fn prepare(&self, config: &Config) -> Result<Commit, Problem> {
        let connections = serve::ConnectionSettings::new(&config.http)
            .map_err(|why| format!("cannot set up TLS: {why}"))?;
        let (front, patience) = (front(config), patience(config));
        let (defaults, sweep_every) = (config.defaults, config.dns.cleanup_interval);
        let email = config.email.clone();
        let (forget_every, sections) = (config.limits.cleanup_interval, self.clone());
        Ok(Box::new(move || {
            sections.front.store(Arc::new(front));
            sections.connections.store(Arc::new(connections));
            sections.defaults.store(Arc::new(defaults));
            sections.mails.store(Arc::new(mails(email.as_ref())));
            warn_of_missing_mail(email.as_ref());
            sections.patience.store(Arc::new(patience));
            sections.sweep_every.send_replace(sweep_every);
            sections.forget_every.send_replace(forget_every);
        }))
    }
}

fn front(config: &Config) -> http::FrontSettings {
    http::FrontSettings { endpoints: Arc::clone(&config.endpoints), http: config.http.clone() }
}

/// A mail without a template is not sent.
fn mails(email: Option<&EmailConfig>) -> Mails {
    Mails {
        change: email.is_some_and(|email| email.change_template.is_some()),
        expiry: email.is_some_and(|email| email.expiry_template.is_some()),
    }
}

/// What a request has left while its change may still take all of its own time.
fn patience(config: &Config) -> Duration {
    let DnsBackend::Rfc2136(rfc2136) = &config.dns.backend else {
        return config.http.request_timeout;
    };
    config.http.request_timeout.saturating_sub(rfc2136.timeout)
}

/// All parts that can change while the daemon runs.
pub(super) fn reloadable(
    args: &Args,
    running: Config,
    log: logging::Handle,
    stories: &Stories,
    sections: &Sections,
) -> Reload {
    let (reopened, debug) = (log.clone(), args.clone());
    let source = Source {
        file: args.config.clone(),
        apply_args: Box::new(move |config| apply_args(config, &debug)),
        // logrotate has moved the file, whatever became of the configuration
        always: Box::new(move || {
            if let Err(problem) = reopened.reopen() {
                warn!("reload: the log could not be reopened: {}", logging::with_causes(&problem));
            }
        }),
    };
    let (sections, limits) = (sections.clone(), stories.authenticate.limits.clone());
    let (passwords, republish) =
        (stories.authenticate.passwords.clone(), stories.republish.clone());
    let parts = Parts::none()
        .and(move |config| sections.prepare(config))
        .and(move |config| {
            let (limits, section) = (limits.clone(), config.limits);
            Ok(Box::new(move || limits.reconfigure(section)))
        })
        .and(move |config| {
            let prepared = passwords.prepare(config.auth).map_err(sentence)?;
            Ok(Box::new(move || prepared.commit()))
        })
        .and(move |config| {
            let (log, prepared) = (log.clone(), log.prepare(&config.log).map_err(sentence)?);
            Ok(Box::new(move || log.commit(prepared)))
        })
        .and_last(move |config| {
            let republish = republish.clone();
            async move {
                let DnsBackend::Rfc2136(section) = &config.dns.backend else {
                    return Ok(Box::new(|| ()) as Commit);
                };
                let prepared = republish.prepare(section, Clock.now().wall).await;
                let prepared = prepared.map_err(sentence)?;
                Ok(Box::new(move || prepared.commit()) as Commit)
            }
        });
    Reload::new(source, parts, running)
}

fn sentence(problem: impl Error) -> Problem {
    logging::with_causes(&problem)
}
