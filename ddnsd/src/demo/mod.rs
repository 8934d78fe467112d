//! `ddnsd --demo`: the whole service on free loopback ports, with the built-in name server and a
//! temporary folder that is removed at the end. In: nothing. Out: lines to paste into another
//! terminal, then a line for each update.

mod intro;
mod update_line;

use crate::app::{self, Started};
use crate::args::Args;
use crate::config;
use crate::logging;
use crate::model::name::{Email, HostNames, Label, UserName, Zone};
use crate::model::secret::Secret;
use crate::stories::hosts::HostInput;
use anyhow::{Context as _, anyhow, bail};
use futures::future::LocalBoxFuture;
use intro::{Ctl, Intro};
use nix::sys::signal::{SigSet, Signal};
use rand::RngExt as _;
use rand::distr::Alphanumeric;
use std::io::{IsTerminal as _, Write as _};
use std::path::Path;

const USER: &str = "demo";
const LABEL: &str = "home";
/// RFC 2606 reserves the top-level domain.
const ZONE: &str = "demo.example";
const SOCKET: &str = "admin.sock";
/// unix(7): bytes, without the NUL at the end.
const MAX_SOCKET_PATH: usize = 107;
const PASSWORD_CHARACTERS: usize = 16;

/// Runs the demo until a signal stops it, and removes its folder.
///
/// # Errors
/// The folder cannot be made, or a part of the daemon failed; the sentence names it.
pub fn run(args: &Args) -> anyhow::Result<()> {
    // a signal that comes before the daemon handles it would leave the folder behind
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    signals.thread_block().context("cannot hold back signals")?;
    let folder = tempfile::Builder::new().prefix("ddnsd-demo-").tempdir();
    let folder = folder.context("cannot make a temporary folder (TMPDIR names another place)")?;
    let ended = run_in(folder.path(), args, signals);
    let path = folder.path().to_owned();
    folder.close().with_context(|| format!("cannot remove {}", path.display()))?;
    ended
}

fn run_in(folder: &Path, args: &Args, signals: SigSet) -> anyhow::Result<()> {
    let socket = folder.join(SOCKET);
    if socket.as_os_str().len() > MAX_SOCKET_PATH {
        let path = socket.display();
        bail!("the path of the socket {path} would be too long (TMPDIR names another place)");
    }
    let file = folder.join("config.toml");
    std::fs::write(&file, configuration(folder)?).context("cannot write the configuration")?;
    let args = Args { config: file, ..args.clone() };
    let loaded = config::load::load(&args.config).map_err(|problems| anyhow!("{problems}"))?;
    let mut config = loaded.config;
    app::apply_args(&mut config, &args);
    let log = if args.debug {
        logging::init(&config.log)?
    } else {
        let has_colour = has_colour();
        logging::init_for_person(&config.log, move |event| update_line::text(event, has_colour))?
    };
    let lines = log.clone();
    let set_up = Box::new(|started| -> LocalBoxFuture<'_, anyhow::Result<()>> {
        Box::pin(async move {
            signals.thread_unblock().context("cannot take signals")?;
            set_up(folder, started).await
        })
    });
    let ended = app::run(&args, config, log, set_up);
    lines.flush();
    ended
}

/// Port 0 is a free one.
fn configuration(folder: &Path) -> anyhow::Result<String> {
    let path = |name| {
        let path = folder.join(name).into_os_string().into_string();
        let path = path.map_err(|path| anyhow!("the folder {} is not UTF-8", path.display()))?;
        Ok::<_, anyhow::Error>(toml::Value::from(path).to_string())
    };
    Ok(format!(
        "[daemon]
host = \"127.0.0.1\"
port = 0
log_requests = true

[database]
path = {}

[dns_service]
backend = \"builtin\"

[dns_service.builtin]
listen = [\"127.0.0.1:0\"]
zones = [\"{ZONE}\"]
nameservers = [\"ns.{ZONE}\"]
nameserver_addresses = {{ \"ns.{ZONE}\" = [\"127.0.0.1\"] }}

[admin]
socket = {}

[rate_limit]
good_max_requests = 60
bad_max_requests = 10
",
        path("ddnsd.db")?,
        path(SOCKET)?
    ))
}

/// Adds the user and the host, and prints what to paste.
async fn set_up(folder: &Path, started: Started) -> anyhow::Result<()> {
    let password: String =
        rand::rng().sample_iter(Alphanumeric).take(PASSWORD_CHARACTERS).map(char::from).collect();
    let user = UserName::parse(USER)?;
    let email = Email::parse("demo@example.org")?;
    started.users.add(user.clone(), email, Secret::new(password.clone())).await?;
    let names = HostNames::new(Label::parse(LABEL)?, Zone::parse(ZONE)?)?;
    let host = names.fqdn.to_string();
    let (suffix, leader) = (None, None);
    let new = HostInput { user, names, dns_ttl: None, expiry_ttl: None, suffix, leader };
    started.hosts.add(new).await?;
    let intro = Intro {
        user: USER,
        password: &password,
        host: &host,
        http: *started.http.first().context("there is no HTTP address")?,
        dns: *started.dns.first().context("there is no DNS address")?,
        ctl: Ctl::find(),
        socket: &folder.join(SOCKET),
    };
    // without a reader the demo still serves
    let _ = std::io::stdout().write_all(intro.text(has_colour()).as_bytes());
    Ok(())
}

/// A terminal, unless <https://no-color.org> asks for none.
fn has_colour() -> bool {
    let asks_for_none = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stdout().is_terminal() && !asks_for_none
}
