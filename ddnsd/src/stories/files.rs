//! Files that age: the certificate's dates, and files that changed on disk after they were read.
//! In: the files in use. Out: warnings, and whether TSIG keys are to be read again.

use super::publisher::Publisher;
use crate::clock::Clock;
use crate::config::{FileChange, ReadFile};
use crate::counters::ReloadCounters;
use crate::model::certificate::Certificate;
use crate::rules::certificate;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tracing::warn;

/// Between two warnings of the same certificate.
const DAY: Duration = Duration::from_hours(24);

/// The story; clones share everything.
#[derive(Clone)]
pub struct Files {
    publisher: Publisher,
    counters: Arc<ReloadCounters>,
    clock: Clock,
    in_use: Arc<Mutex<FilesInUse>>,
}

struct FilesInUse {
    files: Vec<WatchedFile>,
    warned_of_certificate: Instant,
}

#[derive(Clone)]
struct WatchedFile {
    file: ReadFile,
    /// The last change that was logged.
    logged: Option<FileChange>,
}

impl Files {
    /// Warns of the certificate if need be.
    pub fn new(
        publisher: Publisher,
        counters: Arc<ReloadCounters>,
        clock: Clock,
        files: &[ReadFile],
        certificate: Option<Certificate>,
    ) -> Self {
        let warned_of_certificate = clock.now().mono;
        let in_use = FilesInUse { files: Vec::new(), warned_of_certificate };
        let story = Self { publisher, counters, clock, in_use: Arc::new(Mutex::new(in_use)) };
        story.replace(files, certificate);
        story
    }

    /// Other files are in use: after a reload.
    pub fn replace(&self, files: &[ReadFile], certificate: Option<Certificate>) {
        self.counters.certificate.store(certificate.map(Arc::new));
        self.replace_files(files);
        self.warn_of_certificate();
    }

    /// The same certificate, and other files.
    pub fn replace_files(&self, files: &[ReadFile]) {
        let watched = |file: &ReadFile| WatchedFile { file: file.clone(), logged: None };
        self.in_use().files = files.iter().map(watched).collect();
    }

    fn in_use(&self) -> MutexGuard<'_, FilesInUse> {
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn warn_of_certificate(&self) {
        let now = self.clock.now();
        self.in_use().warned_of_certificate = now.mono;
        let certificate = self.counters.certificate.load();
        let warning = certificate.as_ref().and_then(|it| certificate::warning(it, now.wall));
        if let Some(warning) = warning {
            warn!("{warning}");
        }
    }

    /// Logs what has changed on disk, once. Returns whether the TSIG keys are to be read again:
    /// one of them changed, and the name server refuses the old ones.
    pub async fn look(&self) -> bool {
        let now = self.clock.now().mono;
        let warned = self.in_use().warned_of_certificate;
        if now.saturating_duration_since(warned) >= DAY {
            self.warn_of_certificate();
        }
        let files = self.in_use().files.clone();
        // the files may be on a slow file system
        let look = move || files.into_iter().map(with_change).collect();
        let found: Vec<_> = tokio::task::spawn_blocking(look).await.unwrap_or_default();
        let has_new_key =
            found.iter().any(|(watched, change)| watched.file.is_tsig_key() && change.is_some());
        self.log(found);
        // asked in any case, so that no old refusal counts
        self.publisher.take_key_refusal() && has_new_key
    }

    fn log(&self, found: Vec<(WatchedFile, Option<FileChange>)>) {
        let mut named = HashSet::new();
        let mut logged = Vec::with_capacity(found.len());
        for (WatchedFile { file, logged: before }, change) in found {
            // a file that several keys name is one line
            if change.is_some() && change != before && named.insert(file.path.clone()) {
                warn!("{}", sentence(&file, change.as_ref()));
            }
            logged.push(change);
        }
        let mut in_use = self.in_use();
        // after a reload meanwhile, these are other files
        if in_use.files.len() == logged.len() {
            for (watched, change) in in_use.files.iter_mut().zip(logged) {
                watched.logged = change;
            }
        }
    }
}

fn with_change(watched: WatchedFile) -> (WatchedFile, Option<FileChange>) {
    let change = watched.file.change();
    (watched, change)
}

fn sentence(file: &ReadFile, change: Option<&FileChange>) -> String {
    let (name, key) = (file.path.display(), &file.key);
    if let Some(FileChange::Unreadable(why)) = change {
        return format!(
            "{name} ({key}) {why}; what was read from it stays in use (put it back before a reload or restart)"
        );
    }
    let next = if file.is_tsig_key() {
        "it is read again by `ddnsctl reload`, or as soon as the name server refuses the old key"
    } else if key.starts_with("database.") {
        "it is read again when ddnsd starts"
    } else {
        "`ddnsctl reload` reads it again"
    };
    format!("{name} ({key}) has changed since it was read; {next}")
}
