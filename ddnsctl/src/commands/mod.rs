//! The command line and its commands. Whatever can be rejected without the daemon is rejected while
//! the command line is parsed, with exit code 2.

mod cleanup;
mod completions;
mod export;
mod hostname;
mod import;
mod mail;
mod reload;
mod session;
mod status;
mod sync;
mod user;

use crate::exit::Failure;
use crate::output::Format;
use clap::{ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand};
use jiff::tz::TimeZone;
use session::Session;
use std::path::PathBuf;

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
    socket: PathBuf,
    /// Print JSON instead of tables
    #[arg(long, global = true, display_order = 901)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

impl Args {
    /// Reads the command line.
    ///
    /// # Errors
    /// It is not valid, or it requests help or the version.
    pub(crate) fn read() -> Result<Self, clap::Error> {
        Self::from_arg_matches_mut(&mut command().try_get_matches()?)
    }
}

/// The parser for the current environment. An empty `DDNSD_SOCKET` counts as unset, as in a shell;
/// clap would take it for an empty path. A set one becomes the default value, because clap would
/// print a value from the environment in the usage as if it were required.
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

#[derive(Debug, Subcommand)]
enum Command {
    /// Users: who may update which hosts
    #[command(subcommand)]
    User(user::UserCommand),
    /// Hosts: names that users may point at their addresses
    #[command(subcommand)]
    Hostname(hostname::HostnameCommand),
    /// Mails to the owners of hosts: what waits, and what failed
    #[command(subcommand)]
    Mail(mail::MailCommand),
    /// Remove the DNS records of expired hosts now
    #[command(
        after_help = "Exit code 1 if records could not be removed; ddnsd retries automatically."
    )]
    Cleanup,
    Sync(sync::SyncArgs),
    Status(status::StatusArgs),
    /// Reload the daemon's configuration
    #[command(
        after_help = "Keys that need a restart are listed and keep their old values. If the configuration has errors,
all of them are printed, nothing is changed, and the exit code is 1. SIGHUP does the same."
    )]
    Reload,
    /// Print all users with their password hashes, and all hosts, as JSON lines
    #[command(
        after_help = "Users come first, then hosts. The password hashes allow guessing passwords: protect the file.

Examples:
  (umask 077; ddnsctl export > backup.jsonl)
  ddnsctl export | ssh new-server ddnsctl import -"
    )]
    Export,
    Import(import::ImportArgs),
    /// Print a shell script that completes ddnsctl's commands and options
    #[command(after_help = "Examples:
  ddnsctl completions bash > /usr/share/bash-completion/completions/ddnsctl
  ddnsctl completions zsh > /usr/local/share/zsh/site-functions/_ddnsctl
  ddnsctl completions fish > ~/.config/fish/completions/ddnsctl.fish")]
    Completions {
        /// The shell: bash, zsh or fish
        // without this, clap would print each variant on a line of its own
        #[arg(hide_possible_values = true)]
        shell: completions::Shell,
    },
}

/// Executes the command.
///
/// # Errors
/// Why it failed; the message is not printed yet.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let format = if args.json { Format::Json } else { Format::Table(TimeZone::system()) };
    let session = Session { socket: args.socket, format };
    match args.command {
        Command::User(command) => user::run(&session, command).await,
        Command::Hostname(command) => hostname::run(&session, command).await,
        Command::Mail(command) => mail::run(&session, command).await,
        Command::Cleanup => cleanup::run(&session).await,
        Command::Sync(args) => sync::run(&session, args).await,
        Command::Status(args) => status::run(&session, args).await,
        Command::Reload => reload::run(&session).await,
        Command::Export => export::run(&session).await,
        Command::Import(args) => import::run(&session, args).await,
        Command::Completions { shell } => completions::run(shell, Args::command()),
    }
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

    #[test]
    fn the_manual_page_is_up_to_date() {
        let rest = include_str!("../../tests/ddnsctl.roff");
        // as it is without DDNSD_SOCKET in the environment
        let command = Args::command().mut_arg("socket", |arg| arg.hide_env_values(true));
        ddnsd_tests::man::check("ddnsctl.1", &ddnsd_tests::man::of_program(command, "1", rest));
    }

    #[test]
    fn a_completion_script_contains_every_noun_and_verb() {
        for shell in [completions::Shell::Bash, completions::Shell::Zsh, completions::Shell::Fish] {
            let script = completions::script(shell, Args::command());
            for word in ["hostname", "passwd", "modify", "skip-existing", "completions"] {
                assert!(script.contains(word), "{shell:?} {word}");
            }
        }
    }
}
