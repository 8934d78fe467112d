//! Programs that are configured by a file or run by a script.

use super::quoting::{compose, ddclient as ddclient_quoted, double, shell};
use super::{Content, PASSWORD, Snippet, Target};

/// What most scripts share.
const OF_THE_CONNECTION: &str = "ddnsd takes the address of the connection, IPv4 or IPv6; for both run it twice, with -4 and with -6";

fn text(place: &'static str, text: String, notes: &[&str]) -> Snippet {
    let notes = notes.iter().map(|note| (*note).to_owned()).collect();
    Snippet { place, content: Content::Text(text), notes }
}

pub(super) fn openwrt(target: &Target<'_>) -> Snippet {
    let section = |family: &str, use_ipv6: u8, network: &str| {
        openwrt_section(target, family, use_ipv6, network)
    };
    let sections = section("ipv4", 0, "wan") + "\n" + &section("ipv6", 1, "wan6");
    text(
        "the file /etc/config/ddns, below what it holds; then `service ddns restart`",
        sections,
        &[
            "it needs the package ddns-scripts, and curl or wget-ssl with ca-bundle for https",
            "leave the second section out if the host has no IPv6",
        ],
    )
}

fn openwrt_section(target: &Target<'_>, family: &str, use_ipv6: u8, network: &str) -> String {
    let Target { url, fqdn, .. } = target;
    let (user, password) = (shell(target.user), shell(PASSWORD));
    let (scheme, server, path) = (url.scheme(), url.server(), url.path());
    let use_https = u8::from(url.is_tls());
    let minutes = target.interval() / 60;
    format!(
        "config service 'ddnsd_{family}'
	option enabled '1'
	option update_url '{scheme}://[USERNAME]:[PASSWORD]@{server}{path}?hostname=[DOMAIN]&myip=[IP]'
	option lookup_host '{fqdn}'
	option domain '{fqdn}'
	option username {user}
	option password {password}
	option use_ipv6 '{use_ipv6}'
	option interface '{network}'
	option ip_source 'network'
	option ip_network '{network}'
	option use_https '{use_https}'
	option cacert '/etc/ssl/certs'
	option check_interval '{minutes}'
	option check_unit 'minutes'
	option force_interval '{minutes}'
	option force_unit 'minutes'
"
    )
}

pub(super) fn ddclient(target: &Target<'_>) -> Snippet {
    let Target { url, fqdn, .. } = target;
    let every = target.interval();
    let file = format!(
        "# /etc/ddclient.conf, mode 600
daemon={every}
ssl={}
usev4=webv4, webv4=ipify-ipv4
protocol=dyndns2, max-interval={every}
server={}
script={}
login={}
password={}
{fqdn}
",
        if url.is_tls() { "yes" } else { "no" },
        url.server(),
        url.path(),
        ddclient_quoted(target.user),
        ddclient_quoted(PASSWORD),
    );
    text(
        "the file /etc/ddclient.conf; then `systemctl restart ddclient`",
        file,
        &[
            "on a machine that has the public address itself, write usev4=ifv4, ifv4=eth0 with its interface",
            "for IPv6 too, add usev6=ifv6, ifv6=eth0",
        ],
    )
}

pub(super) fn inadyn(target: &Target<'_>) -> Snippet {
    let Target { url, fqdn, .. } = target;
    let every = target.interval();
    let file = format!(
        "# /etc/inadyn.conf, mode 600
period = {every}
forced-update = {every}
custom ddnsd {{
    username = {}
    password = {}
    hostname = \"{fqdn}\"
    ddns-server = \"{}\"
    ddns-path = \"{}?hostname=%h&myip=%i\"
    ssl = {}
}}
",
        double(target.user),
        double(PASSWORD),
        url.server(),
        url.path(),
        url.is_tls(),
    );
    text(
        "the file /etc/inadyn.conf; then `systemctl restart inadyn`",
        file,
        &["inadyn ends after a wrong password or host name: look at its log after a change"],
    )
}

pub(super) fn curl(target: &Target<'_>) -> Snippet {
    let credentials = double(&format!("{}:{PASSWORD}", target.user));
    let commands = format!(
        "(umask 077; cat > \"$HOME/.ddns.curlrc\") <<'END'
user = {credentials}
END
curl -fsS --max-time 60 -K \"$HOME/.ddns.curlrc\" '{}'
",
        target.update_url()
    );
    text(
        "a shell; repeat the last line with cron",
        commands,
        &[OF_THE_CONNECTION, "the file keeps the password out of the list of processes"],
    )
}

pub(super) fn wget(target: &Target<'_>) -> Snippet {
    let commands = format!(
        "(umask 077; cat > \"$HOME/.ddns.wgetrc\") <<'END'
user = {}
password = {PASSWORD}
END
wget --config=\"$HOME/.ddns.wgetrc\" -nv -T 60 -O - '{}'
",
        target.user,
        target.update_url()
    );
    text(
        "a shell; repeat the last line with cron",
        commands,
        &[OF_THE_CONNECTION, "the file keeps the password out of the list of processes"],
    )
}

pub(super) fn systemd_timer(target: &Target<'_>) -> Snippet {
    let credentials = double(&format!("{}:{PASSWORD}", target.user));
    let (fqdn, every) = (target.fqdn, target.interval());
    let commands = format!(
        "(umask 077; cat > /etc/ddns-update.curlrc) <<'END'
user = {credentials}
END
cat > /etc/systemd/system/ddns-update.service <<'END'
[Unit]
Description=Report the address of {fqdn}
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
DynamicUser=yes
LoadCredential=curlrc:/etc/ddns-update.curlrc
ExecStart=/usr/bin/curl -fsS --max-time 60 -K ${{CREDENTIALS_DIRECTORY}}/curlrc {}
END
cat > /etc/systemd/system/ddns-update.timer <<'END'
[Unit]
Description=Report the address of {fqdn} every {every} s

[Timer]
OnBootSec=30s
OnUnitActiveSec={every}s
AccuracySec=10s

[Install]
WantedBy=timers.target
END
systemctl daemon-reload
systemctl enable --now ddns-update.timer
",
        target.update_url()
    );
    text(
        "a shell, as root; then look at `journalctl -u ddns-update`",
        commands,
        &[OF_THE_CONNECTION, "it needs curl and systemd 247 or newer"],
    )
}

pub(super) fn docker(target: &Target<'_>) -> Snippet {
    let credentials = compose(&format!("{}:{PASSWORD}", target.user));
    let (update, every) = (target.update_url(), target.interval());
    let file = format!(
        "# compose.yaml, mode 600
services:
  ddns-update:
    image: curlimages/curl
    restart: unless-stopped
    network_mode: host
    environment:
      CREDENTIALS: {credentials}
    entrypoint: [\"sh\", \"-c\"]
    command:
      - >-
        while :; do
        curl -fsS --max-time 60 -u \"$$CREDENTIALS\" '{update}';
        sleep {every};
        done
"
    );
    text("the file compose.yaml; then `docker compose up -d`", file, &[OF_THE_CONNECTION])
}
