//! Routers and storage devices that are configured by a form or on their console.

use super::quoting::{routeros, shell};
use super::{Content, PASSWORD, Snippet, Target};

/// Placeholders are put into the URL as they are typed.
const NOT_ESCAPED: &str = "the device does not escape the user name and the password in the URL: use only letters and digits, as `ddnsctl user passwd --generate` makes them";

fn form(place: &'static str, fields: Vec<(&'static str, String)>, notes: &[&str]) -> Snippet {
    let notes = notes.iter().map(|note| (*note).to_owned()).collect();
    Snippet { place, content: Content::Form(fields), notes }
}

/// Fields that most forms have.
fn credentials(target: &Target<'_>) -> [(&'static str, String); 2] {
    [("Username", target.user.to_owned()), ("Password", PASSWORD.to_owned())]
}

pub(super) fn fritzbox(target: &Target<'_>) -> Snippet {
    let url = target.url;
    let update = format!(
        "{url}?hostname=<domain>&myip=<ipaddr>&myip6=<ip6addr>&ip6lanprefix=<ip6lanprefix>"
    );
    let [user, password] = credentials(target);
    form(
        "Internet > Permit Access > DynDNS, with \"Use DynDNS\" checked",
        vec![
            ("DynDNS provider", "User-defined".to_owned()),
            ("Update URL", update),
            ("Domain name", target.fqdn.to_owned()),
            user,
            password,
        ],
        &[
            "type the URL with <domain>, <ipaddr>, <ip6addr> and <ip6lanprefix> as shown; the FRITZ!Box fills them",
        ],
    )
}

pub(super) fn unifi(target: &Target<'_>) -> Snippet {
    let url = target.url;
    let [user, password] = credentials(target);
    form(
        "Settings > Internet > WAN > Dynamic DNS > Create New",
        vec![
            ("Service", "custom".to_owned()),
            ("Hostname", target.fqdn.to_owned()),
            user,
            password,
            ("Server", format!("{}{}?hostname=%h&myip=%i", url.server(), url.path())),
        ],
        &["the server has no https:// in front; %h and %i stay as they are"],
    )
}

pub(super) fn opnsense(target: &Target<'_>) -> Snippet {
    let url = target.url;
    let mut fields = vec![("Service", "Custom".to_owned())];
    // its DynDNS 2 asks for a fixed path
    if url.path() == "/nic/update" {
        fields.push(("Protocol", "DynDNS 2".to_owned()));
        fields.push(("Server", url.server().to_owned()));
    } else {
        let update = format!("{url}?hostname=__HOSTNAME__&myip=__MYIP__");
        fields.push(("Protocol", "Custom GET".to_owned()));
        fields.push(("Server", update));
    }
    fields.extend(credentials(target));
    fields.push(("Hostname(s)", target.fqdn.to_owned()));
    fields.push(("Check ip method", "Interface [IPv4]".to_owned()));
    fields.push(("Interface to monitor", "WAN".to_owned()));
    fields.push(("Force SSL", if url.is_tls() { "checked" } else { "not checked" }.to_owned()));
    form(
        "Services > Dynamic DNS > Settings > Accounts > +",
        fields,
        &["for IPv6 add a second account with \"Interface [IPv6]\""],
    )
}

pub(super) fn pfsense(target: &Target<'_>) -> Snippet {
    let [user, password] = credentials(target);
    form(
        "Services > Dynamic DNS > Dynamic DNS Clients > Add",
        vec![
            ("Service Type", "Custom".to_owned()),
            ("Interface to monitor", "WAN".to_owned()),
            user,
            password,
            ("Update URL", format!("{}&myip=%IP%", target.update_url())),
            ("Result Match", "good %IP%|nochg %IP%".to_owned()),
        ],
        &["for IPv6 add a second client with the service type Custom (v6)"],
    )
}

pub(super) fn synology(target: &Target<'_>) -> Snippet {
    let url = target.url;
    let query = "hostname=__HOSTNAME__&myip=__MYIP__&username=__USERNAME__&password=__PASSWORD__";
    let [user, password] = credentials(target);
    form(
        "Control Panel > External Access > DDNS: first Customize Provider, then Add",
        vec![
            ("Customize: Service Provider", "ddnsd".to_owned()),
            ("Customize: Query URL", format!("{url}?{query}")),
            ("Add: Service Provider", "*ddnsd".to_owned()),
            ("Add: Hostname", target.fqdn.to_owned()),
            ("Add: Username/Email", user.1),
            ("Add: Password/Key", password.1),
        ],
        &[NOT_ESCAPED, "DSM reports IPv4 only"],
    )
}

pub(super) fn qnap(target: &Target<'_>) -> Snippet {
    let url = target.url;
    let query = "hostname=%HOST%&myip=%IP%&username=%USER%&password=%PASS%";
    let [user, password] = credentials(target);
    form(
        "Network & Virtual Switch > DDNS > Add",
        vec![
            ("DDNS server", "Customized".to_owned()),
            ("URL", format!("{url}?{query}")),
            user,
            password,
            ("Host name", target.fqdn.to_owned()),
        ],
        &[NOT_ESCAPED],
    )
}

pub(super) fn mikrotik(target: &Target<'_>) -> Snippet {
    let url = routeros(&target.update_url());
    let (user, password) = (routeros(target.user), routeros(PASSWORD));
    let (mode, every) = (target.url.scheme(), target.interval());
    let text = format!(
        r#"/system script add name=ddnsd policy=read,write,test source={{
  :local reply [/tool fetch url={url} user={user} password={password} mode={mode} output=user as-value]
  :log info ("ddnsd: " . ($reply->"data"))
}}
/system scheduler add name=ddnsd interval={every}s on-event=ddnsd
"#
    );
    let note = "ddnsd takes the address of the connection, so the router must reach it by its WAN";
    Snippet {
        place: "the terminal of RouterOS",
        content: Content::Text(text),
        notes: vec![note.to_owned()],
    }
}

pub(super) fn edgeos(target: &Target<'_>) -> Snippet {
    let set = "set service dns dynamic interface eth0 service custom-ddnsd";
    let (server, user) = (target.url.server(), shell(target.user));
    let text = format!(
        "configure\n{set} host-name {}\n{set} login {user}\n{set} password {}\n{set} protocol dyndns2\n\
         {set} server {server}\ncommit\nsave\nexit\n",
        target.fqdn,
        shell(PASSWORD)
    );
    let mut notes = vec!["replace eth0 by the interface of the WAN".to_owned()];
    if target.url.path() != "/nic/update" {
        notes.push(format!(
            "it asks for /nic/update and not for {}: add [[endpoints]] with path = \"/nic/update\" to the configuration of ddnsd",
            target.url.path()
        ));
    }
    Snippet { place: "the command line of the router", content: Content::Text(text), notes }
}

pub(super) fn merlin(target: &Target<'_>) -> Snippet {
    let credentials = shell(&format!("{}:{PASSWORD}", target.user));
    let update = target.update_url();
    let text = format!(
        r#"#!/bin/sh
# /jffs/scripts/ddns-start, mode 700; the router calls it with the address of the WAN
if curl -fsS --max-time 60 -u {credentials} "{update}&myip=$1" | grep -qE '^(good|nochg)'; then
    /sbin/ddns_custom_updated 1
else
    /sbin/ddns_custom_updated 0
fi
"#
    );
    let notes = [
        "in WAN > DDNS choose the server Custom",
        "in Administration > System enable JFFS custom scripts",
    ];
    let notes = notes.map(str::to_owned).to_vec();
    Snippet { place: "the file /jffs/scripts/ddns-start", content: Content::Text(text), notes }
}
