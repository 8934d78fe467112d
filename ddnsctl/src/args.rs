//! The command line. Everything that can be refused without the daemon is refused here, with exit
//! code 2.

use clap::{
    ArgGroup, Args as ClapArgs, ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand,
    ValueEnum,
};
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

impl Args {
    /// Reads the command line.
    ///
    /// # Errors
    /// It is wrong, or asks for help: what is to be printed.
    pub(crate) fn read() -> Result<Self, clap::Error> {
        Self::from_arg_matches_mut(&mut command().try_get_matches()?)
    }
}

/// An empty `DDNSD_SOCKET` is none, as in a shell; clap would take it for an empty path. Another one is a
/// default: clap would show what it took from the environment as required.
fn command() -> clap::Command {
    let command = Args::command();
    match std::env::var_os("DDNSD_SOCKET") {
        Some(path) if path.is_empty() => {
            command.mut_arg("socket", |socket| socket.env(None::<&str>))
        }
        Some(path) => {
            let path: &'static std::ffi::OsStr = Box::leak(path.into_boxed_os_str());
            command.mut_arg("socket", |socket| socket.env(None::<&str>).default_value(path))
        }
        None => command,
    }
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
    /// Compare what the name server answers with the database, and repair what differs
    #[command(
        after_help = "Each host that was ever updated is asked for at the name server; its records are published again
where they differ. Hosts that are pending are left out: they are on their way. Exit code 1 if
something could not be repaired or compared, and with --check if anything differs.

Examples:
  ddnsctl sync --check
  ddnsctl sync dyn.example.org"
    )]
    Sync {
        /// Only this zone's hosts
        zone: Option<String>,
        /// Only look, and change nothing
        #[arg(long)]
        check: bool,
    },
    /// Show how the daemon does: version, database, zones, queues and counters
    Status,
    /// Read the daemon's configuration again and put it in force
    #[command(
        after_help = "What needs a restart is named, and stays as it was. If anything is wrong, everything that is wrong
is named, nothing is changed, and the exit code is 1. SIGHUP does the same; the daemon's log says what."
    )]
    Reload,
    /// Print all users with their password hashes, and all hosts, as JSON lines
    #[command(
        after_help = "Users come first, then hosts. Who has the file can guess passwords: keep it to yourself.

Examples:
  (umask 077; ddnsctl export > backup.jsonl)
  ddnsctl export | ssh new-server ddnsctl import -"
    )]
    Export,
    /// Store the users and hosts of an export, all or nothing
    #[command(
        after_help = "If a line cannot be stored, every problem is named with its line, nothing is stored, and the
exit code is 1. Hosts with addresses are published by themselves.

A user's line needs user, email and password_hash (Argon2), a host's line hostname, zone and user:
  {\"user\":\"alice\",\"email\":\"alice@example.org\",\"password_hash\":\"$argon2id$...\"}
  {\"hostname\":\"pc\",\"zone\":\"dyn.example.org\",\"user\":\"alice\",\"ipv4\":\"192.0.2.1\"}

Examples:
  ddnsctl import backup.jsonl
  ddnsctl import - --skip-existing < backup.jsonl"
    )]
    Import {
        /// The file, or - for standard input
        file: PathBuf,
        /// Leave users and hosts alone that are there already, instead of refusing the file
        #[arg(long)]
        skip_existing: bool,
    },
    /// Print a script that completes ddnsctl's words in a shell
    #[command(after_help = "Examples:
  ddnsctl completions bash > /usr/share/bash-completion/completions/ddnsctl
  ddnsctl completions zsh > /usr/local/share/zsh/site-functions/_ddnsctl
  ddnsctl completions fish > ~/.config/fish/completions/ddnsctl.fish")]
    Completions {
        /// The shell: bash, zsh or fish
        // its variants' comments would be a help of many lines
        #[arg(hide_possible_values = true)]
        shell: Shell,
    },
}

/// Shells that can be completed in.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Shell {
    /// GNU Bash.
    Bash,
    /// Z shell.
    Zsh,
    /// fish.
    Fish,
}

/// `user …`
#[derive(Debug, Subcommand)]
pub(crate) enum User {
    /// List all users with their mail addresses and how many hosts they own
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
    /// Give a user another password; the old one ends at once
    #[command(after_help = "Examples:
  ddnsctl user passwd alice
  ddnsctl user passwd alice --generate
  ddnsctl user passwd alice --password-stdin < password.txt")]
    Passwd {
        /// The user's name
        name: String,
        /// Where the password comes from.
        #[command(flatten)]
        password: PasswordFlags,
    },
    /// Give a user another mail address
    #[command(after_help = "Example:
  ddnsctl user email alice alice@example.net")]
    Email {
        /// The user's name
        name: String,
        /// Where mail about the user's hosts goes from now on
        email: String,
    },
    /// Delete a user who owns no hosts any more
    #[command(after_help = "Example:
  ddnsctl hostname list --user alice
  ddnsctl user delete alice")]
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
    #[command(
        after_help = "States: never updated; published: DNS holds the addresses; pending: DNS does not hold them yet;
absent: the records were taken down.

Examples:
  ddnsctl hostname list
  ddnsctl hostname list --user alice --zone dyn.example.org
  ddnsctl --json hostname list | jq -r '.[] | select(.state == \"pending\") | .fqdn'"
    )]
    List {
        /// Only this user's hosts
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
        /// Only this zone's hosts
        #[arg(long)]
        zone: Option<String>,
    },
    /// Show everything about one host
    #[command(after_help = "Example:
  ddnsctl hostname show pc dyn.example.org")]
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
        #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
        dns_ttl: Option<u32>,
        /// Seconds without an update until its records are taken down, instead of the daemon's
        /// default; 0 for never
        #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
        expiry_ttl: Option<u32>,
    },
    /// Give a host other TTLs; a new TTL of its records is published at once
    #[command(
        group = ArgGroup::new("ttls").required(true).multiple(true),
        after_help = "If the name server does not take the new TTL, the exit code is 0 all the same: it is published by
itself as soon as that is possible.

Examples:
  ddnsctl hostname modify pc dyn.example.org --dns-ttl 30
  ddnsctl hostname modify pc dyn.example.org --dns-ttl default --expiry-ttl 0"
    )]
    Modify {
        /// The host.
        #[command(flatten)]
        host: Host,
        /// TTL of its records in seconds, or `default` for the daemon's default
        #[arg(long, value_name = "SECONDS", value_parser = ttl, allow_negative_numbers = true, group = "ttls")]
        dns_ttl: Option<Ttl>,
        /// Seconds without an update until its records are taken down, 0 for never, or `default` for
        /// the daemon's default
        #[arg(long, value_name = "SECONDS", value_parser = ttl, allow_negative_numbers = true, group = "ttls")]
        expiry_ttl: Option<Ttl>,
    },
    /// Take a host's records down and delete it; if DNS refuses, nothing is deleted
    #[command(after_help = "Examples:
  ddnsctl hostname delete pc dyn.example.org
  ddnsctl hostname delete @ alice.example.org --force")]
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

/// A TTL as `hostname modify` takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ttl {
    /// The daemon's.
    Default,
    /// Its own.
    Seconds(u32),
}

fn ttl(text: &str) -> Result<Ttl, String> {
    if text == "default" {
        return Ok(Ttl::Default);
    }
    seconds(text).map(Ttl::Seconds).map_err(|why| format!("{why}, or `default`"))
}

fn seconds(text: &str) -> Result<u32, String> {
    let seconds = text.parse().ok().filter(|seconds| i64::from(*seconds) <= MAX_TTL);
    seconds.ok_or_else(|| format!("it is 0 to {MAX_TTL}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn ttls_outside_their_range_and_two_sources_of_a_password_are_usage_errors() {
        let add = ["ddnsctl", "hostname", "add", "alice", "pc", "example.org", "--dns-ttl"];
        for (ttl, fits) in [("0", true), ("2147483647", true), ("2147483648", false), ("x", false)]
        {
            assert_eq!(Args::try_parse_from(add.iter().chain([&ttl])).is_ok(), fits, "{ttl}");
        }
        let modify = ["ddnsctl", "hostname", "modify", "pc", "example.org"];
        assert!(Args::try_parse_from(modify).is_err());
        for (words, fit) in [
            (["--dns-ttl", "0"].as_slice(), true),
            (&["--expiry-ttl", "default"], true),
            (&["--dns-ttl", "default", "--expiry-ttl", "2147483647"], true),
            (&["--dns-ttl", "2147483648"], false),
            (&["--expiry-ttl", "-1"], false),
            (&["--dns-ttl", "soon"], false),
        ] {
            assert_eq!(Args::try_parse_from(modify.iter().chain(words)).is_ok(), fit, "{words:?}");
        }
        let add = ["ddnsctl", "user", "add", "alice", "a@example.org", "--generate"];
        assert!(Args::try_parse_from(add).is_ok());
        assert!(Args::try_parse_from(add.iter().chain([&"--password-stdin"])).is_err());
    }
}
