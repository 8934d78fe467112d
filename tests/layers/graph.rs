//! Who imports whom. In: parsed sources and the table. Out: violations as sentences, modules that
//! import each other, and circles of files.

use crate::source::{Path, Source};
use crate::table::Table;
use std::collections::{BTreeMap, BTreeSet};

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

/// A circle of files: each imports every other one, directly or through others of the circle.
#[derive(Debug, PartialEq, Eq)]
pub struct Circle {
    /// The folder that all its files are in, directly or below; empty for `src`.
    pub folder: String,
    pub files: Vec<String>,
}

/// The circles of files. An import between a module file and the files below it does not count:
/// `mod.rs` re-exports its children, and the children use its types.
pub fn circles(sources: &[Source]) -> Vec<Circle> {
    let reachable: BTreeMap<_, _> =
        sources.iter().map(|source| (source.path.as_str(), reachable(source, sources))).collect();
    let mut circles: Vec<Circle> = Vec::new();
    for (path, reached) in &reachable {
        let back =
            |other: &&String| reachable.get(other.as_str()).is_some_and(|it| it.contains(*path));
        let files: Vec<_> = reached.iter().filter(back).cloned().collect();
        if files.len() > 1 && !circles.iter().any(|circle| circle.files == files) {
            circles.push(Circle { folder: common_folder(&files), files });
        }
    }
    circles
}

/// The files that a file imports, and those that these import, and so on.
fn reachable(source: &Source, all: &[Source]) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut open = vec![source.path.clone()];
    while let Some(path) = open.pop() {
        let Some(source) = all.iter().find(|source| source.path == path) else { continue };
        for file in imports_of(source, all).into_iter().filter_map(|import| import.file) {
            if !is_family(&path, &file) && reached.insert(file.clone()) {
                open.push(file);
            }
        }
    }
    reached
}

/// Whether one of two files declares the other, directly or through its children.
fn is_family(one: &str, other: &str) -> bool {
    let one = place_of(one);
    let other = place_of(other);
    one.starts_with(&other) || other.starts_with(&one)
}

fn common_folder(files: &[String]) -> String {
    let folder = |file: &String| -> Vec<String> {
        let mut words: Vec<_> = file.split('/').map(str::to_owned).collect();
        words.pop();
        words
    };
    let common = files.iter().map(folder).reduce(|one, other| {
        one.into_iter().zip(other).take_while(|(a, b)| a == b).map(|(a, _)| a).collect()
    });
    common.unwrap_or_default().join("/")
}

fn mutual(edges: &BTreeSet<(String, String)>) -> Vec<(String, String)> {
    let back =
        |(from, to): &&(String, String)| from < to && edges.contains(&(to.clone(), from.clone()));
    edges.iter().filter(back).cloned().collect()
}
