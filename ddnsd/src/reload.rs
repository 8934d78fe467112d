//! Reads the configuration again while the daemon runs. In: SIGHUP or `ddnsctl reload`. Out: what has
//! changed and what needs a restart; or everything that is in the way, and nothing has changed. Every
//! part is prepared first, and only if all can be, they are committed.

use crate::config::load::{self, Loaded};
use crate::config::{Config, Difference, Differences};
use crate::lifecycle;
use futures::FutureExt;
use futures::future::BoxFuture;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Mutex;
use tracing::{error, info, warn};

/// Puts a prepared part in force; cannot fail. Dropped, the part stays as it was.
pub type Commit = Box<dyn FnOnce() + Send>;

/// Why a part cannot be as the file says; a sentence for the administrator.
pub type Problem = String;

/// Gets a part ready for a configuration.
type Prepare =
    Box<dyn Fn(Arc<Config>) -> BoxFuture<'static, Result<Commit, Problem>> + Send + Sync>;

/// What a reload needs besides the parts.
pub struct Source {
    /// The file.
    pub file: PathBuf,
    /// What the command line has the last word on.
    pub overrule: Box<dyn Fn(&mut Config) + Send + Sync>,
    /// Done first, whatever is wrong with the file.
    pub always: Box<dyn Fn() + Send + Sync>,
}

/// Reloads, one at a time. Clones share everything.
#[derive(Clone)]
pub struct Reload(Arc<Shared>);

struct Shared {
    source: Arc<Source>,
    parts: Vec<Part>,
    running: Mutex<Config>,
}

/// Collects the parts that can be reloaded.
pub struct Parts(Vec<Part>);

struct Part {
    prepare: Prepare,
    /// Prepared only if all others could be.
    last: bool,
}

impl Parts {
    /// None yet.
    pub fn none() -> Self {
        Self(Vec::new())
    }

    /// One more.
    #[must_use]
    pub fn and(
        mut self,
        prepare: impl Fn(&Config) -> Result<Commit, Problem> + Send + Sync + 'static,
    ) -> Self {
        let prepare: Prepare = Box::new(move |config| std::future::ready(prepare(&config)).boxed());
        self.0.push(Part { prepare, last: false });
        self
    }

    /// One that is costly to prepare in vain: that is done only if all others could be prepared.
    #[must_use]
    pub fn and_last<F>(mut self, prepare: impl Fn(Arc<Config>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Commit, Problem>> + Send + 'static,
    {
        let prepare: Prepare = Box::new(move |config| prepare(config).boxed());
        self.0.push(Part { prepare, last: true });
        self
    }
}

impl Reload {
    /// Reloads `source` into `parts`, which run by `running`.
    pub fn new(source: Source, parts: Parts, running: Config) -> Self {
        let running = Mutex::new(running);
        Self(Arc::new(Shared { source: Arc::new(source), parts: parts.0, running }))
    }

    /// Reads the file again and puts it in force. What came of it is logged, too.
    ///
    /// # Errors
    /// Everything that is in the way; nothing has changed.
    pub async fn run(&self) -> Result<Differences, Vec<Problem>> {
        let mut running = self.0.running.lock().await;
        lifecycle::reloading();
        let done = self.reload(&mut running).await;
        lifecycle::reloaded();
        match &done {
            Ok(differences) => log(differences),
            Err(problems) => {
                for problem in problems {
                    error!("reload: {problem}");
                }
                error!("reload: nothing was changed; mend the configuration and reload again");
            }
        }
        done
    }

    async fn reload(&self, running: &mut Config) -> Result<Differences, Vec<Problem>> {
        let source = Arc::clone(&self.0.source);
        // files may lie on something slow
        let loaded = tokio::task::spawn_blocking(move || source.load()).await;
        let broken = |panic| vec![format!("reading the configuration broke: {panic}")];
        let Loaded { config, warnings } = loaded.map_err(broken)??;
        let differences = config.differences(running);
        let next = Arc::new(config.without_restart(running));
        for commit in self.prepare(&next).await? {
            commit();
        }
        *running = Config::clone(&next);
        for warning in warnings {
            warn!("{warning}");
        }
        Ok(differences)
    }

    async fn prepare(&self, next: &Arc<Config>) -> Result<Vec<Commit>, Vec<Problem>> {
        let (mut commits, mut problems) = (Vec::new(), Vec::new());
        for part in &self.0.parts {
            if part.last && !problems.is_empty() {
                break;
            }
            match (part.prepare)(Arc::clone(next)).await {
                Ok(commit) => commits.push(commit),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok(commits) } else { Err(problems) }
    }
}

impl Source {
    fn load(&self) -> Result<Loaded, Vec<Problem>> {
        (self.always)();
        let mut loaded = load::load(&self.file).map_err(|wrong| wrong.sentences())?;
        (self.overrule)(&mut loaded.config);
        Ok(loaded)
    }
}

fn log(differences: &Differences) {
    let Differences { changed, needs_restart } = differences;
    for difference in changed {
        info!("reload: {}", sentence(difference));
    }
    for difference in needs_restart {
        warn!("reload: {} needs a restart of ddnsd", sentence(difference));
    }
    info!(changed = changed.len(), needs_restart = needs_restart.len(), "configuration reloaded");
}

fn sentence(difference: &Difference) -> String {
    let key = &difference.key;
    match &difference.values {
        Some((old, new)) => format!("{key}: {old:?} -> {new:?}"),
        None => format!("{key}: changed"),
    }
}
