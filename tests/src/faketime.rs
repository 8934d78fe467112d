//! libfaketime, preloaded into the programs whose wall clock a test sets. Debian's program
//! `faketime` is not used: it fails when a killed process with the same ID left its semaphore.

/// The library, where Debian's package has it.
///
/// # Panics
/// When it is not installed.
pub fn library() -> String {
    let folders = std::fs::read_dir("/usr/lib").unwrap();
    let files = folders.map(|folder| folder.unwrap().path().join("faketime/libfaketimeMT.so.1"));
    let found = files.into_iter().find(|file| file.exists());
    found.expect("libfaketime; tests/run installs the package faketime").display().to_string()
}
