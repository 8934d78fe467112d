//! The command line. Everything that can be refused without the daemon is refused here, with exit
//! code 2.

use clap::{ArgGroup, Args as ClapArgs, ColorChoice, Parser, Subcommand};
use std::path::PathBuf;

/// RFC 2181, 8: the largest TTL.
const MAX_TTL: i64 = 2_147_483_647;

/// Administers ddnsd, the dynamic DNS daemon.
#[derive(Debug, Parser)]
#[command(
    version,
    color = ColorChoice::Never,
    disable_help_subcommand = true,
    after_help = "Examples:
  ddnsctl user add alice alice@example.org
  ddnsctl hostname add alice pc dyn.example.org
  ddnsctl --json hostname list --user alice

Exit codes: 0 done, 1 refused by the daemon, 2 usage, 69 no daemon, 77 not permitted."
)]
pub(crate) struct Args {
    /// The daemon's admin socket
    #[arg(
        long,
        global = true,
        display_order = 900,
        value_name = "PATH",
        env = "DDNSD_SOCKET",
        default_value = "/run/ddnsd/admin.sock"
    )]
    pub(crate) socket: PathBuf,
    /// Print JSON instead of tables
    #[arg(long, global = true, display_order = 901)]
    pub(crate) json: bool,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The nouns.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Users: who may update which hosts
    #[command(subcommand)]
    User(User),
    /// Hosts: names that users may point at their addresses
    #[command(subcommand)]
    Hostname(Hostname),
    /// Take down the records of hosts that have expired, now
    #[command(
        after_help = "Exit code 1 if records could not be taken down; they are tried again by themselves."
    )]
    Cleanup,
    /// Show how the daemon does: version, database, zones, queues and counters
    Status,
}

/// `user …`
#[derive(Debug, Subcommand)]
pub(crate) enum User {
    /// List all users
    List,
    /// Add a user; asks for the password twice on a terminal
    #[command(after_help = "Examples:
  ddnsctl user add alice alice@example.org
  ddnsctl user add alice alice@example.org --generate
  ddnsctl user add alice alice@example.org --password-stdin < password.txt")]
    Add {
        /// The name to log in with: 1 to 64 characters, case-sensitive, no colon
        name: String,
        /// Where mail about the user's hosts goes
        email: String,
        /// Where the password comes from.
        #[command(flatten)]
        password: PasswordFlags,
    },
    /// Delete a user who owns no hosts any more
    Delete {
        /// The user's name
        name: String,
    },
}

/// Where a password comes from; a prompt when no flag is given.
#[derive(Debug, ClapArgs)]
#[command(group = ArgGroup::new("source").multiple(false))]
pub(crate) struct PasswordFlags {
    /// Read the password from the first line of standard input
    #[arg(long, group = "source")]
    pub(crate) password_stdin: bool,
    /// Make up a password of 20 letters and digits, and print it
    #[arg(long, group = "source")]
    pub(crate) generate: bool,
}

/// `hostname …`
#[derive(Debug, Subcommand)]
pub(crate) enum Hostname {
    /// List hosts with their addresses, last updates and state
    List {
        /// Only this user's hosts
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
        /// Only this zone's hosts
        #[arg(long)]
        zone: Option<String>,
    },
    /// Show everything about one host
    Show(Host),
    /// Add a host; its records appear with its first update
    #[command(after_help = "Examples:
  ddnsctl hostname add alice pc dyn.example.org
  ddnsctl hostname add alice @ alice.example.org --dns-ttl 30 --expiry-ttl 0")]
    Add {
        /// The user who may update it
        user: String,
        /// The host.
        #[command(flatten)]
        host: Host,
        /// TTL of its records in seconds, instead of the daemon's default
        #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(0..=MAX_TTL))]
        dns_ttl: Option<u32>,
        /// Seconds without an update until its records are taken down, instead of the daemon's
        /// default; 0 for never
        #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(0..=MAX_TTL))]
        expiry_ttl: Option<u32>,
    },
    /// Take a host's records down and delete it; if DNS refuses, nothing is deleted
    Delete {
        /// The host.
        #[command(flatten)]
        host: Host,
        /// Delete it even if DNS does not take the records down, and name what may be left there
        #[arg(long)]
        force: bool,
    },
}

/// Names a host.
#[derive(Debug, ClapArgs)]
pub(crate) struct Host {
    /// The name within the zone, or @ for the zone's own name
    pub(crate) hostname: String,
    /// The zone
    pub(crate) zone: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn ttls_outside_their_range_and_two_sources_of_a_password_are_usage_errors() {
        let add = [
            "ddnsctl",
            "hostname",
            "add",
            "alice",
            "pc",
            "example.org",
            "--dns-ttl",
        ];
        for (ttl, fits) in [
            ("0", true),
            ("2147483647", true),
            ("2147483648", false),
            ("x", false),
        ] {
            assert_eq!(
                Args::try_parse_from(add.iter().chain([&ttl])).is_ok(),
                fits,
                "{ttl}"
            );
        }
        let add = [
            "ddnsctl",
            "user",
            "add",
            "alice",
            "a@example.org",
            "--generate",
        ];
        assert!(Args::try_parse_from(add).is_ok());
        assert!(Args::try_parse_from(add.iter().chain([&"--password-stdin"])).is_err());
    }
}
