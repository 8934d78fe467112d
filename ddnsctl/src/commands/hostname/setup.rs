//! `ddnsctl hostname setup`

use crate::client::CALL_TIMEOUT;
use crate::commands::session::{Session, print};
use crate::exit::{Failure, message};
use crate::output::{Format, clean, json, pairs, quoted, table};
use crate::snippets::{Content, Origin, PASSWORD, ServerUrl, Snippet, Target, UpdateClient};
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use ddnsd_proto::host::FindHost;
use serde::Serialize;
use std::collections::BTreeMap;

/// Print what to type into an update client, and where
#[derive(Debug, Args)]
#[command(
    after_help = "ddnsd does not know passwords: put the user's password where YOUR_PASSWORD stands.

Examples:
  ddnsctl hostname setup --client list
  ddnsctl hostname setup pc dyn.example.org --client fritzbox --url https://ddns.example.org
  ddnsctl hostname setup pc dyn.example.org --client curl --url https://ddns.example.org/nic/update"
)]
pub(in crate::commands) struct SetupArgs {
    /// The name within the zone, or @ for the zone's own name
    hostname: Option<String>,
    /// The zone
    zone: Option<String>,
    /// The client, or `list` for what each is
    #[arg(long, value_name = "NAME", value_parser = chosen())]
    client: Chosen,
    /// How clients reach ddnsd: https:// or http://, the host, and the path if it is not /update
    #[arg(long)]
    url: Option<String>,
}

#[derive(Clone, Copy, Debug)]
enum Chosen {
    List,
    One(UpdateClient),
}

fn chosen() -> impl TypedValueParser<Value = Chosen> {
    let clients = UpdateClient::value_variants().iter();
    let names = clients.filter_map(ValueEnum::to_possible_value);
    PossibleValuesParser::new(names.chain([PossibleValue::new("list")])).map(|name| {
        let client = UpdateClient::value_variants().iter().find(|client| client.name() == name);
        client.map_or(Chosen::List, |client| Chosen::One(*client))
    })
}

pub(super) async fn run(session: &Session, args: SetupArgs) -> Result<(), Failure> {
    let Chosen::One(client) = args.client else {
        return print(&list(&session.format));
    };
    let (Some(hostname), Some(zone), Some(url)) = (args.hostname, args.zone, args.url) else {
        let missing = "HOSTNAME, ZONE and --url are required, except with `--client list`";
        return Err(Failure::Usage(missing.to_owned()));
    };
    // not by clap, which would repeat a URL that holds a password
    let url = ServerUrl::parse(&url).map_err(|why| Failure::Usage(format!("--url {why}")))?;
    let find = FindHost { hostname, zone };
    let daemon = session.client().await?;
    let found = daemon.call(CALL_TIMEOUT, async |rpc, ctx| rpc.host_show(ctx, find).await).await?;
    let expiry_ttl = (found.expiry_ttl > 0).then_some(found.expiry_ttl);
    let target = Target {
        url: &url,
        fqdn: &found.fqdn,
        hostname: &found.hostname,
        zone: &found.zone,
        user: &found.user,
        expiry_ttl,
    };
    let snippet = client.snippet(&target);
    if let Format::Json = session.format {
        return print(&json(&view(client, &target, &snippet)));
    }
    let content = match &snippet.content {
        Content::Text(text) => text.lines().map(|line| tabbed(line) + "\n").collect(),
        Content::Form(fields) => pairs(fields),
    };
    message(&format!("{}: {}", client.title(), snippet.place));
    print(&content)?;
    for note in notes(client, &target, &snippet) {
        message(&format!("note: {note}"));
    }
    Ok(())
}

/// A line without control characters but the tabs of OpenWrt's files.
fn tabbed(line: &str) -> String {
    line.split('\t').map(clean).collect::<Vec<_>>().join("\t")
}

fn notes(client: UpdateClient, target: &Target<'_>, snippet: &Snippet) -> Vec<String> {
    let user = target.user;
    let password = format!(
        "replace {PASSWORD} by the password of {user}, which ddnsd does not know (a new one: `ddnsctl user passwd {} --generate`)",
        quoted(user)
    );
    let origin = client.origin();
    let origin = (origin != Origin::Tested)
        .then(|| format!("not tried on the device; this is {}", origin.text()));
    std::iter::once(password).chain(snippet.notes.iter().cloned()).chain(origin).collect()
}

//----- Output -----

#[derive(Serialize)]
struct Listed {
    client: String,
    title: &'static str,
    origin: &'static str,
}

fn list(format: &Format) -> String {
    let listed = UpdateClient::value_variants().iter().map(|client| Listed {
        client: client.name(),
        title: client.title(),
        origin: client.origin().text(),
    });
    match format {
        Format::Json => json(&listed.collect::<Vec<_>>()),
        Format::Table(_) => {
            let rows: Vec<_> = listed
                .map(|Listed { client, title, origin }| [client, title.into(), origin.into()])
                .collect();
            table(["CLIENT", "WHAT IT IS", "ITS TEXT IS"], &rows)
        }
    }
}

#[derive(Serialize)]
struct SnippetView<'a> {
    client: String,
    fqdn: &'a str,
    user: &'a str,
    url: String,
    place: &'a str,
    /// A file or commands.
    text: Option<&'a str>,
    /// Fields of a form.
    fields: Option<BTreeMap<&'a str, &'a str>>,
    password_placeholder: &'static str,
    notes: Vec<String>,
}

fn view<'a>(client: UpdateClient, target: &Target<'a>, snippet: &'a Snippet) -> SnippetView<'a> {
    let (text, fields) = match &snippet.content {
        Content::Text(text) => (Some(text.as_str()), None),
        Content::Form(fields) => {
            (None, Some(fields.iter().map(|(name, value)| (*name, value.as_str())).collect()))
        }
    };
    SnippetView {
        client: client.name(),
        fqdn: target.fqdn,
        user: target.user,
        url: target.url.to_string(),
        place: snippet.place,
        text,
        fields,
        password_placeholder: PASSWORD,
        notes: notes(client, target, snippet),
    }
}
