//! The layout of the product as a test: who may import whom, circles of files, how long a file may
//! be, names that stand for one thing, what pure code may not name and where the clock is read.
//! In: the source files. Out: one line per violation.

mod checks;
mod graph;
mod names;
mod source;
mod table;

use graph::{Circle, circles, mutual_modules};
use source::Source;
use std::path::Path;

/// Longest file: product lines, without blank lines, comments and tests.
const LONGEST: usize = 300;
/// What pure code may not name: I/O, runtime, logging, chance.
const IMPURE: [&[&str]; 6] = [
    &["tokio"],
    &["tracing"],
    &["rand"],
    &["std", "fs"],
    &["std", "net", "TcpStream"],
    &["std", "env"],
];
/// The one name of these that is a value like any other.
const LOG_LEVEL: [&str; 2] = ["tracing", "Level"];
/// The types whose `now` reads a clock.
const CLOCKS: [&str; 4] = ["SystemTime", "Instant", "Timestamp", "Zoned"];

/// Longest comment line, in characters.
const WIDEST_COMMENT: usize = 100;

fn sources(crate_name: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(crate_name).join("src");
    Source::read_all(&root)
}

/// Fails with all violations at once.
#[track_caller]
fn none(violations: &[String]) {
    assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));
}

#[test]
fn imports_go_one_way_as_the_table_allows() {
    for (name, table) in
        [("ddnsd", table::DDNSD), ("ddnsctl", table::DDNSCTL), ("proto", table::PROTO)]
    {
        let sources = sources(name);
        none(&graph::violations(&sources, table));
    }
}

#[test]
fn no_two_modules_import_each_other() {
    for name in ["ddnsd", "ddnsctl", "proto"] {
        let sources = sources(name);
        none(&mutual_modules(&sources));
    }
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    for name in ["ddnsd", "ddnsctl", "proto"] {
        let circles = circles(&sources(name));
        let line = |circle: &Circle| {
            format!("{name}: {} import each other in {}", circle.files.join(", "), circle.folder)
        };
        none(&circles.iter().map(line).collect::<Vec<_>>());
    }
}

#[test]
fn a_type_name_stands_for_one_thing() {
    let shared = names::shared(&sources("ddnsd"));
    none(&shared.iter().map(ToString::to_string).collect::<Vec<_>>());
}

#[test]
fn comment_lines_fit_the_width() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let crates = ["ddnsd", "ddnsctl", "proto", "tests"];
    let wide = crates.into_iter().flat_map(|name| {
        let texts = source::read_texts(&root.join(name)).into_iter();
        texts.flat_map(move |(path, text)| wide_comments(&format!("{name}/{path}"), &text))
    });
    none(&wide.collect::<Vec<_>>());
}

#[test]
fn no_file_exceeds_the_maximum_length() {
    let all = ["ddnsd", "ddnsctl", "proto"].into_iter().flat_map(sources);
    let long = all.filter(|source| source.product_lines() > LONGEST);
    let lines = |s: Source| {
        format!("{} has {} product lines, at most {LONGEST}", s.path, s.product_lines())
    };
    none(&long.map(lines).collect::<Vec<_>>());
}

#[test]
fn model_rules_and_config_checks_are_pure() {
    let pure = |source: &Source| {
        source.path.starts_with("model/")
            || source.path.starts_with("rules/")
            || source.path.starts_with("config/check")
    };
    let sources = sources("ddnsd");
    none(&sources.iter().filter(|s| pure(s)).flat_map(impurities).collect::<Vec<_>>());
}

#[test]
fn the_clock_is_read_in_one_place() {
    let sources = sources("ddnsd");
    let elsewhere = sources.iter().filter(|source| source.path != "clock.rs");
    let readings = elsewhere.flat_map(clock_readings);
    // a log line is stamped where it is written; no story sees that time
    let stamps = |line: &String| line.starts_with("logging/") && line.contains("Zoned::now");
    none(&readings.filter(|line| !stamps(line)).collect::<Vec<_>>());
}

fn wide_comments(path: &str, text: &str) -> Vec<String> {
    let is_wide =
        |line: &&str| line.trim_start().starts_with("//") && line.chars().count() > WIDEST_COMMENT;
    let wide = text.lines().enumerate().map(|(number, line)| (number + 1, line));
    let wide = wide.filter(|(_, line)| is_wide(line));
    wide.map(|(number, line)| format!("{path}:{number}: {line}")).collect()
}

fn impurities(source: &Source) -> Vec<String> {
    let paths = source.paths();
    let named = paths
        .iter()
        .filter(|path| !path.starts_with_words(&LOG_LEVEL))
        .filter(|path| IMPURE.iter().any(|impure| path.starts_with_words(impure)));
    let named = named.map(|path| format!("{} names {path}, but is pure", source.path));
    let waits = source.tokens().iter().any(|token| token == "async");
    named.chain(waits.then(|| format!("{} has async code, but is pure", source.path))).collect()
}

fn clock_readings(source: &Source) -> Vec<String> {
    let paths = source.paths();
    let reads =
        paths.iter().filter(|path| CLOCKS.iter().any(|clock| path.has_words(&[clock, "now"])));
    let reads =
        reads.map(|path| format!("{} calls {path}; only clock.rs reads the clock", source.path));
    let tokens = source.tokens();
    let elapsed = tokens.windows(3).any(|three| three == [".", "elapsed", "("]);
    let elapsed =
        elapsed.then(|| format!("{} calls elapsed(), which reads the clock", source.path));
    reads.chain(elapsed).collect()
}
