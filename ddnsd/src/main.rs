//! Arguments → configuration → logging → app → exit code.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "before logging is up")]

use clap::Parser;
use ddnsd::args::Args;
use ddnsd::{app, config, logging};
use std::process::ExitCode;

/// `EX_CONFIG` of sysexits.
const WRONG_CONFIGURATION: u8 = 78;

fn main() -> ExitCode {
    let args = Args::parse();
    let loaded = match config::load::load(&args.config) {
        Ok(loaded) => loaded,
        Err(problems) => {
            eprintln!("{problems}");
            return ExitCode::from(WRONG_CONFIGURATION);
        }
    };
    if args.check_config {
        for warning in &loaded.warnings {
            eprintln!("warning: {warning}");
        }
        println!("{}: the configuration is good", args.config.display());
        return ExitCode::SUCCESS;
    }
    match start(&args, loaded) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("ddnsd: {}", logging::with_causes(problem.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn start(args: &Args, loaded: config::load::Loaded) -> anyhow::Result<()> {
    let mut config = loaded.config;
    app::overrule(&mut config, args);
    let log = logging::init(&config.log)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let lines = log.clone();
    let ended = if args.init_db { app::init_db(&config) } else { app::run(args, config, log) };
    lines.flush();
    ended
}
