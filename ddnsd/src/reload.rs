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
    pub apply_args: Box<dyn Fn(&mut Config) + Send + Sync>,
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
        if let Some(problem) = next.conflict() {
            return Err(vec![problem]);
        }
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
        (self.apply_args)(&mut loaded.config);
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex as Record;

    /// A configuration file, and what became of the parts.
    struct Scene {
        folder: tempfile::TempDir,
        log: Arc<Record<Vec<String>>>,
    }

    impl Scene {
        fn new() -> Self {
            Self { folder: tempfile::tempdir().unwrap(), log: Arc::default() }
        }

        fn write(&self, text: &str) {
            let path = self.folder.path().join("config.toml");
            std::fs::write(path, format!("database.path = \"a\"\n{text}")).unwrap();
        }

        /// Two parts and a last one; any of them fails on the TTL of its number.
        fn reload(&self) -> Reload {
            self.write("");
            let file = self.folder.path().join("config.toml");
            let running = load::load(&file).unwrap().config;
            let note =
                |log: &Arc<Record<Vec<String>>>, what: String| log.lock().unwrap().push(what);
            let part = |number: u32| {
                let log = Arc::clone(&self.log);
                move |config: &Config| {
                    if config.defaults.dns_ttl == number || config.defaults.dns_ttl == 9 {
                        return Err(format!("part {number} cannot"));
                    }
                    let (log, ttl) = (Arc::clone(&log), config.defaults.dns_ttl);
                    Ok(Box::new(move || note(&log, format!("{number}: {ttl}"))) as Commit)
                }
            };
            let (last, prepared) = (part(3), Arc::clone(&self.log));
            let parts = Parts::none().and(part(1)).and_last(move |config| {
                note(&prepared, "last is prepared".to_owned());
                std::future::ready(last(&config))
            });
            let always = Arc::clone(&self.log);
            let source = Source {
                file,
                apply_args: Box::new(|config| config.defaults.expiry_ttl = 7),
                always: Box::new(move || note(&always, "always".to_owned())),
            };
            Reload::new(source, parts, running)
        }

        fn noted(&self) -> Vec<String> {
            std::mem::take(&mut *self.log.lock().unwrap())
        }
    }

    fn keys(differences: &[Difference]) -> Vec<&str> {
        differences.iter().map(|difference| difference.key.as_str()).collect()
    }

    #[tokio::test]
    async fn all_parts_are_committed_and_the_command_line_has_the_last_word() {
        let scene = Scene::new();
        let reload = scene.reload();
        scene.write("defaults.dns_ttl = 30\ndefaults.expiry_ttl = 5\ndaemon.port = 1");
        let done = reload.run().await.unwrap();
        assert_eq!(keys(&done.changed), ["defaults.dns_ttl", "defaults.expiry_ttl"]);
        assert_eq!(keys(&done.needs_restart), ["daemon.port"]);
        assert_eq!(scene.noted(), ["always", "last is prepared", "1: 30", "3: 30"]);
        let again = reload.run().await.unwrap();
        assert_eq!(
            (keys(&again.changed), keys(&again.needs_restart)),
            (vec![], vec!["daemon.port"])
        );
    }

    #[tokio::test]
    async fn if_one_part_cannot_nothing_is_committed_and_the_next_good_file_is() {
        let scene = Scene::new();
        let reload = scene.reload();
        scene.write("defaults.dns_ttl = 1");
        assert_eq!(reload.run().await.unwrap_err(), ["part 1 cannot"]);
        assert_eq!(scene.noted(), ["always"], "the last is not prepared in vain");
        scene.write("defaults.dns_ttl = 3");
        assert_eq!(reload.run().await.unwrap_err(), ["part 3 cannot"]);
        assert_eq!(scene.noted(), ["always", "last is prepared"]);
        scene.write("defaults.dns_ttl = 4");
        assert_eq!(reload.run().await.unwrap().changed.len(), 2);
        assert_eq!(scene.noted(), ["always", "last is prepared", "1: 4", "3: 4"]);
    }

    #[tokio::test]
    async fn every_problem_of_a_bad_file_is_said_and_no_part_is_asked() {
        let scene = Scene::new();
        let reload = scene.reload();
        scene.write("defaults.dns_ttl = -1\nauth.cache_tll = 3");
        let problems = reload.run().await.unwrap_err();
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].contains("config.toml:2: defaults.dns_ttl: must be"), "{problems:?}");
        assert!(problems[1].contains("did you mean `cache_ttl`?"), "{problems:?}");
        assert_eq!(scene.noted(), ["always"]);
    }
}
