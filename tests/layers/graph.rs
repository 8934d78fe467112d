//! Who imports whom. In: parsed sources and the table. Out: violations as sentences, and the pairs
//! that import each other.

use crate::source::{Path, Source};
use crate::table::Table;
use std::collections::BTreeSet;

/// One import of another part of the same crate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Import {
    /// The top-level module that is imported.
    pub module: String,
    /// The file it stands for, if the path leads to one.
    pub file: Option<String>,
}

/// The top-level module a file belongs to: `dns` for `dns/tsig.rs`, `clock` for `clock.rs`.
fn module_of(path: &str) -> &str {
    path.split(['/', '.']).next().unwrap_or(path)
}

/// The modules that a file's own path stands for: `["dns", "tsig"]`; none for the crate's root.
fn place_of(path: &str) -> Vec<String> {
    let stem = path.trim_end_matches(".rs");
    let stem = stem.strip_suffix("/mod").unwrap_or(stem);
    if ["lib", "main"].contains(&stem) {
        return Vec::new();
    }
    stem.split('/').map(str::to_owned).collect()
}

/// The path from the crate's root, if it leads into this crate.
fn absolute(path: &Path, source: &Source) -> Option<Vec<String>> {
    let mut place = place_of(&source.path);
    place.extend(path.inside.iter().cloned());
    let mut words = path.words.iter().peekable();
    match words.peek()?.as_str() {
        "crate" => place.clear(),
        // main.rs is a crate of its own and sees the library by its name
        "ddnsd" if source.path == "main.rs" => place.clear(),
        "self" => {}
        "super" => {
            place.pop();
        }
        child if source.children().contains(&child) => {
            place.extend(path.words.iter().cloned());
            return Some(place);
        }
        _ => return None,
    }
    words.next();
    while words.next_if(|word| *word == "super").is_some() {
        place.pop();
    }
    place.extend(words.cloned());
    Some(place)
}

/// What a file imports of its own crate, itself left out.
pub fn imports_of(source: &Source, all: &[Source]) -> BTreeSet<Import> {
    let paths = source.paths();
    let absolute = paths.iter().filter_map(|path| absolute(path, source));
    let imports = absolute.filter_map(|words| {
        let file = file_of(&words, all);
        Some(Import { module: words.into_iter().next()?, file })
    });
    imports.filter(|import| import.file.as_ref() != Some(&source.path)).collect()
}

/// The file that the longest beginning of a path names.
fn file_of(words: &[String], all: &[Source]) -> Option<String> {
    let named = |end: usize| {
        let stem = words.get(..end)?.join("/");
        let exists = |path: &String| all.iter().any(|source| source.path == *path);
        [format!("{stem}.rs"), format!("{stem}/mod.rs")].into_iter().find(exists)
    };
    (1..=words.len()).rev().find_map(named)
}

/// Each import that the table does not allow, and each module it does not know.
pub fn violations(sources: &[Source], table: Table) -> Vec<String> {
    sources.iter().flat_map(|source| violations_of(source, sources, table)).collect()
}

fn violations_of(source: &Source, sources: &[Source], table: Table) -> Vec<String> {
    let module = module_of(&source.path);
    let Some((_, allowed)) = table.iter().find(|(name, _)| *name == module) else {
        return vec![format!("{}: the layout has no module `{module}`", source.path)];
    };
    let modules: BTreeSet<_> =
        imports_of(source, sources).into_iter().map(|import| import.module).collect();
    let wrong = modules.into_iter().filter(|other| {
        // an item of the root itself, such as a constant in lib.rs, is no module
        let is_module = table.iter().any(|(name, _)| name == other);
        is_module && other != module && !allowed.contains(&other.as_str())
    });
    let may = if allowed.is_empty() { "nothing".to_owned() } else { allowed.join(", ") };
    wrong
        .map(|other| format!("{} imports {other}; {module} may import {may}", source.path))
        .collect()
}

/// Top-level modules that import each other.
pub fn mutual_modules(sources: &[Source]) -> Vec<String> {
    let edges = sources.iter().flat_map(|source| {
        let from = module_of(&source.path).to_owned();
        imports_of(source, sources).into_iter().map(move |import| (from.clone(), import.module))
    });
    let pairs = mutual(&edges.filter(|(from, to)| from != to).collect());
    pairs.iter().map(|(one, other)| format!("{one} and {other} import each other")).collect()
}

/// Files that import each other, inside a folder or across folders.
pub fn mutual_files(sources: &[Source]) -> Vec<String> {
    let edges = sources.iter().flat_map(|source| {
        let files = imports_of(source, sources).into_iter().filter_map(|import| import.file);
        files.map(|file| (source.path.clone(), file))
    });
    mutual(&edges.collect()).iter().map(|(one, other)| format!("{one} and {other}")).collect()
}

fn mutual(edges: &BTreeSet<(String, String)>) -> Vec<(String, String)> {
    let back =
        |(from, to): &&(String, String)| from < to && edges.contains(&(to.clone(), from.clone()));
    edges.iter().filter(back).cloned().collect()
}
