//! Measures ddnsd beside its floors: a constant reply over HTTP, raw signed updates, one password
//! hash. In: options. Out: a table, or JSON. Each scenario is a process of its own with its own
//! servers, so that one that fails or hangs ends no other.

mod dns_floor;
mod http_floor;
mod load;
mod process_tree;
mod report;
mod request;
mod scenarios;
mod servers;

use clap::Parser;
use report::{Report, Row};
use scenarios::{SCENARIOS, Scenario};
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

/// Measure ddnsd beside its floors
///
/// Needs named, knotd, mariadbd, tsig-keygen, dig, nsupdate, openssl and sqlite3, which
/// `tests/run --install-only` installs. Only ratios within one run mean something, and only on a
/// machine that does nothing else. Exits with 1 if a scenario failed or a target was missed.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Options {
    /// How often each measurement is repeated, floor and ddnsd in turn
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// How long each measurement takes, in seconds
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: u32,
    /// Three rounds of one second: at most 8 minutes in all
    #[arg(long, conflicts_with_all = ["rounds", "seconds"])]
    quick: bool,
    /// Run only this scenario; may be repeated
    #[arg(long, value_name = "SCENARIO")]
    only: Vec<String>,
    /// List the scenarios and end
    #[arg(long)]
    list: bool,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Run one scenario in this process and print its rows as JSON
    #[arg(long, hide = true, value_name = "SCENARIO")]
    scenario: Option<String>,
    /// Serve a constant reply on a free port, which is printed
    #[arg(long, hide = true)]
    http_floor: bool,
    /// The certificate and the key of the constant reply
    #[arg(long, hide = true, num_args = 2, value_name = "PEM")]
    tls: Vec<PathBuf>,
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) rounds: u32,
    pub(crate) each: Duration,
}

fn main() -> ExitCode {
    let mut options = Options::parse();
    if options.quick {
        (options.rounds, options.seconds) = (3, 1);
    }
    let effort =
        Effort { rounds: options.rounds, each: Duration::from_secs(u64::from(options.seconds)) };
    if options.http_floor {
        http_floor::serve(&options.tls);
    }
    if let Some(name) = &options.scenario {
        let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name);
        return scenario.map_or(ExitCode::from(2), |scenario| run_here(scenario, effort));
    }
    if options.list {
        for Scenario { name, about, .. } in SCENARIOS {
            println!("{name:<10} {about}");
        }
        return ExitCode::SUCCESS;
    }
    match chosen(&options.only) {
        Ok(chosen) => run_all(&chosen, effort, options.json),
        Err(unknown) => {
            eprintln!("bench: there is no scenario `{unknown}` (--list shows all)");
            ExitCode::from(2)
        }
    }
}

fn chosen(only: &[String]) -> Result<Vec<&'static Scenario>, &String> {
    let known = |name: &&String| SCENARIOS.iter().any(|scenario| scenario.name == **name);
    match only.iter().find(|name| !known(name)) {
        Some(unknown) => Err(unknown),
        None => Ok(SCENARIOS
            .iter()
            .filter(|scenario| only.is_empty() || only.iter().any(|name| name == scenario.name))
            .collect()),
    }
}

fn run_here(scenario: &Scenario, effort: Effort) -> ExitCode {
    (scenario.run)(effort, &mut Report);
    ExitCode::SUCCESS
}

fn run_all(chosen: &[&Scenario], effort: Effort, as_json: bool) -> ExitCode {
    if cfg!(debug_assertions) {
        eprintln!("bench: this is a debug build; measure with `cargo run --release`");
    }
    let mut rows: Vec<Row> = Vec::new();
    let mut failed = Vec::new();
    for (number, scenario) in chosen.iter().enumerate() {
        progress(&format!("{} of {}: {} …", number + 1, chosen.len(), scenario.name));
        if let Err(why) = run_apart(scenario, effort, &mut rows) {
            progress("");
            eprintln!("bench: scenario {} {why}", scenario.name);
            failed.push(scenario.name);
        }
    }
    progress("");
    if as_json {
        println!("{}", report::json(&rows, &failed, effort));
    } else {
        print!("{}", report::table(&rows));
    }
    if failed.is_empty() && rows.iter().all(|row| row.met() != Some(false)) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs a scenario as a process of its own, and ends it with all that it started when it takes too
/// long.
fn run_apart(scenario: &Scenario, effort: Effort, rows: &mut Vec<Row>) -> Result<(), String> {
    let longest = scenario.longest(effort);
    let mut out = tempfile::tempfile().map_err(|error| error.to_string())?;
    let mut command = Command::new(std::env::current_exe().map_err(|error| error.to_string())?);
    command.args(["--scenario", scenario.name, "--rounds", &effort.rounds.to_string()]);
    command.args(["--seconds", &effort.each.as_secs().to_string()]);
    command.stdin(Stdio::null()).stdout(out.try_clone().map_err(|error| error.to_string())?);
    let child = command.spawn().map_err(|error| format!("did not start: {error}"))?;
    let ended = process_tree::wait(child, longest);
    rows.extend(report::read(&mut out));
    let status = ended.ok_or_else(|| format!("was ended: it took over {} s", longest.as_secs()))?;
    if !status.success() {
        return Err(format!("failed ({status}); see above"));
    }
    Ok(())
}

/// One line of a terminal that the next one replaces.
pub(crate) fn progress(text: &str) {
    let mut err = std::io::stderr();
    if err.is_terminal() {
        let _closed = write!(err, "\r\x1b[K{text}").and_then(|()| err.flush());
    }
}
