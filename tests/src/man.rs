//! Manual pages in files/man, generated from the command lines and from the example of the
//! configuration. A test compares them with the files; `DDNSD_BLESS=1` writes the files again.

use crate::setup::source;
use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use std::fmt::Write as _;

/// The date of the pages: of the last change that their readers should notice.
const DATE: &str = "2026-11-29";

/// Compares a page with its file.
///
/// # Panics
/// When they differ.
#[track_caller]
pub fn check(name: &str, page: &str) {
    let file = source(&format!("files/man/{name}"));
    if std::fs::read_to_string(&file).is_ok_and(|text| text == page) {
        return;
    }
    assert!(
        std::env::var_os("DDNSD_BLESS").is_some(),
        "{} is not up to date: run this test again with DDNSD_BLESS=1",
        file.display()
    );
    std::fs::write(&file, page).unwrap();
}

/// The page of a program: its options, its commands if it has any, and then `rest`, in roff.
pub fn of_program(mut command: Command, section: &str, rest: &str) -> String {
    command.build();
    let version = command.get_version().unwrap_or_default().to_owned();
    let man = Man::new(command.clone().subcommand_value_name("command"));
    let man = man.section(section).date(DATE).source(format!("ddnsd {version}"));
    let mut page = Vec::new();
    man.render_title(&mut page).unwrap();
    man.render_name_section(&mut page).unwrap();
    man.render_synopsis_section(&mut page).unwrap();
    man.render_description_section(&mut page).unwrap();
    man.render_options_section(&mut page).unwrap();
    let mut page = without_preamble(&page);
    if command.has_subcommands() {
        page += ".SH COMMANDS\n";
        commands(&command, &mut page);
    }
    tidy(page + rest)
}

/// Each command that can be run, with its own options; those that all commands share come first
/// in the page.
fn commands(parent: &Command, page: &mut String) {
    for command in parent.get_subcommands().filter(|command| !command.is_hide_set()) {
        if command.has_subcommands() {
            commands(command, page);
            continue;
        }
        let name = command.get_bin_name().unwrap_or(command.get_name());
        let globals: Vec<_> = parent.get_arguments().filter(|arg| arg.is_global_set()).collect();
        let own = command.clone().mut_args(|arg| {
            let is_global = globals.iter().any(|global| global.get_id() == arg.get_id());
            let is_shared = is_global || ["help", "version"].contains(&arg.get_id().as_str());
            if is_shared { arg.hide(true) } else { arg }
        });
        let man = Man::new(own);
        let part = |render: fn(&Man, &mut dyn std::io::Write) -> std::io::Result<()>| {
            let mut part = Vec::new();
            render(&man, &mut part).unwrap();
            let part = without_preamble(&part);
            part.lines().filter(|line| !line.starts_with(".SH")).fold(String::new(), with_line)
        };
        writeln!(page, ".SS \"{}\"", name.replace('-', "\\-")).unwrap();
        *page += &part(|man, to| man.render_synopsis_section(to));
        *page += ".PP\n";
        *page += &part(|man, to| man.render_description_section(to));
        *page += &part(|man, to| man.render_options_section(to));
        if let Some(more) = command.get_after_long_help().or(command.get_after_help()) {
            *page += ".PP\n";
            *page += &verbatim(&more.to_string());
        }
    }
}

/// The page of the configuration file, from the comments of its example; then `rest`, in roff.
///
/// In the example, a comment above a section or a key explains it, and keys that belong together
/// follow each other without an empty line.
pub fn of_configuration(example: &str, version: &str, rest: &str) -> String {
    let mut page = Roff::default();
    page.control("TH", ["ddnsd.toml", "5", DATE, &format!("ddnsd {version}"), ""]);
    page.control("SH", ["NAME"]);
    page.text([roman("ddnsd.toml - the configuration of ddnsd")]);
    page.control("SH", ["SYNOPSIS"]);
    page.text([bold("/etc/ddnsd/config.toml")]);
    page.control("SH", ["DESCRIPTION"]);
    let mut lines = example.lines().peekable();
    let mut comment = Vec::new();
    let mut is_introduction = true;
    while let Some(line) = lines.next() {
        let bare = line.strip_prefix('#').unwrap_or(line);
        if bare.starts_with(|first: char| first.is_ascii_lowercase() || first == '"') {
            let mut keys = vec![bare];
            while let Some(next) = lines.next_if(|line| !line.is_empty() && !line.starts_with("# "))
            {
                keys.push(next.strip_prefix('#').unwrap_or(next));
            }
            for (index, key) in keys.into_iter().enumerate() {
                page.control(if index == 0 { "TP" } else { "TQ" }, []);
                page.text([bold(key)]);
            }
            paragraph(&mut page, &mut comment);
        } else if bare.starts_with('[') {
            if std::mem::take(&mut is_introduction) {
                page.control("SH", ["SECTIONS AND KEYS"]);
            }
            page.control("SS", [bare]);
            paragraph(&mut page, &mut comment);
        } else if line.is_empty() || line == "#" {
            if is_introduction {
                paragraph(&mut page, &mut comment);
                page.control("PP", []);
            }
        } else {
            comment.push(bare.trim_start());
        }
    }
    tidy(without_preamble(page.render().as_bytes()) + rest)
}

fn paragraph(page: &mut Roff, comment: &mut Vec<&str>) {
    for line in comment.drain(..) {
        page.text([roman(line)]);
    }
}

/// What is laid out already: examples and tables.
fn verbatim(text: &str) -> String {
    let mut roff = Roff::default();
    for line in text.lines() {
        roff.text([roman(line)]);
    }
    let body = without_preamble(roff.render().as_bytes());
    // an empty line stays one
    format!(".nf\n{body}.fi\n")
}

/// Without the definitions for apostrophes that the generator puts before each part.
fn without_preamble(part: &[u8]) -> String {
    let part = String::from_utf8_lossy(part);
    let body = part
        .lines()
        .filter(|line| !line.starts_with(".ie \\n(.g") && !line.starts_with(".el .ds Aq"));
    body.fold(String::new(), with_line)
}

fn with_line(mut text: String, line: &str) -> String {
    text += line;
    text.push('\n');
    text
}

/// Apostrophes as characters, no spaces at the ends of lines, no empty lines or paragraphs.
fn tidy(page: String) -> String {
    // mandoc finds an empty line between two breaks wrong
    let page = page.replace("\\*(Aq", "\\(aq").replace(".br\n\n.br\n", ".br\n");
    let mut lines: Vec<&str> = Vec::new();
    for line in page.lines().map(str::trim_end) {
        let starts_a_part = [".SH", ".SS", ".TP", ".PP"].iter().any(|it| line.starts_with(it));
        if starts_a_part && lines.last() == Some(&".PP") {
            lines.pop();
        }
        lines.push(line);
    }
    lines.into_iter().fold(String::new(), with_line)
}
