//! The command line of ddnsd.

use clap::Parser;
use std::path::PathBuf;

/// Dynamic DNS: takes DynDNS2 updates from routers and publishes them to your name server.
///
/// Runs in the foreground until SIGTERM or SIGINT. Administer it with ddnsctl.
#[derive(Clone, Debug, Parser)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
#[command(name = "ddnsd", version, after_help = AFTER)]
pub struct Args {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = "/etc/ddnsd/config.toml")]
    pub config: PathBuf,

    /// Check the configuration and every file it names, then exit
    #[arg(long)]
    pub check_config: bool,

    /// Create or migrate the database, then exit
    #[arg(long, conflicts_with = "check_config")]
    pub init_db: bool,

    /// Try it out: everything on free local ports and in a temporary folder, until Ctrl-C
    #[arg(long, conflicts_with_all = ["check_config", "init_db", "config"])]
    pub demo: bool,

    /// Log at level DEBUG, whatever `daemon.log_level` is
    #[arg(long)]
    pub debug: bool,

    /// Accepted for the original ddns-service; does nothing
    #[arg(long, hide = true)]
    pub daemon: bool,
}

const AFTER: &str = "\
Exit status: 0 stopped by a signal, 1 cannot start or failed, 2 wrong usage, 78 wrong configuration.";
