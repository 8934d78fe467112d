//! Arguments → configuration → logging → app → exit code.

use clap::Parser;
use ddnsd::args::Args;
use ddnsd::{app, config, demo, logging};
use nix::sys::resource::{Resource, setrlimit};
use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

/// `EX_CONFIG` of sysexits.
const WRONG_CONFIGURATION: u8 = 78;

fn main() -> ExitCode {
    let args = Args::parse();
    // a core would hold passwords; lowering a limit cannot fail
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    if args.demo {
        return exit_code(demo::run(&args));
    }
    let loaded = match config::load::load(&args.config) {
        Ok(loaded) => loaded,
        Err(problems) => {
            print(std::io::stderr(), problems);
            return ExitCode::from(WRONG_CONFIGURATION);
        }
    };
    if args.check_config {
        for warning in &loaded.warnings {
            print(std::io::stderr(), format_args!("warning: {warning}"));
        }
        let good = format_args!("{}: the configuration is good", args.config.display());
        print(std::io::stdout(), good);
        return ExitCode::SUCCESS;
    }
    exit_code(start(&args, loaded))
}

fn exit_code(ended: anyhow::Result<()>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            let problem = logging::with_causes(problem.as_ref());
            print(std::io::stderr(), format_args!("ddnsd: {problem}"));
            ExitCode::FAILURE
        }
    }
}

/// For messages without logging. If the stream is closed, the exit code remains.
fn print(mut stream: impl Write, message: impl Display) {
    let _ = writeln!(stream, "{message}");
}

fn start(args: &Args, loaded: config::load::Loaded) -> anyhow::Result<()> {
    let mut config = loaded.config;
    app::apply_args(&mut config, args);
    let log = logging::init(&config.log)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let lines = log.clone();
    let ended = if args.init_db {
        app::init_db(&config)
    } else {
        app::run(args, config, log, Box::new(|_| Box::pin(async { Ok(()) })))
    };
    lines.flush();
    ended
}
