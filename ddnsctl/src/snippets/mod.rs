//! What to paste into update clients. In: a host, its user and the URL of the server. Out: where to
//! type what. Pure. The daemon does not know the password, so a placeholder stands for it.

mod devices;
mod programs;
mod quoting;
mod url;

pub(crate) use url::ServerUrl;

use clap::ValueEnum;

/// Stands for the password.
pub(crate) const PASSWORD: &str = "YOUR_PASSWORD";

/// Pauses between two updates of a client that sends them by the clock, seconds.
const SHORTEST: u32 = 60;
const LONGEST: u32 = 600;

/// An update client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum UpdateClient {
    Fritzbox,
    Openwrt,
    Ddclient,
    Inadyn,
    Unifi,
    Opnsense,
    Pfsense,
    Synology,
    Qnap,
    Mikrotik,
    Edgeos,
    Merlin,
    Curl,
    Wget,
    SystemdTimer,
    Docker,
}

/// The host that a client updates.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    pub(crate) url: &'a ServerUrl,
    /// In A-labels.
    pub(crate) fqdn: &'a str,
    /// The name within the zone, or `@`.
    pub(crate) hostname: &'a str,
    pub(crate) zone: &'a str,
    pub(crate) user: &'a str,
    /// Seconds without an update until the records are removed; `None` for never.
    pub(crate) expiry_ttl: Option<u32>,
}

/// How to configure a client.
#[derive(Debug)]
pub(crate) struct Snippet {
    /// The screen, the file, or how to run it.
    pub(crate) place: &'static str,
    pub(crate) content: Content,
    /// What the person who pastes it must know, each a sentence without full stop.
    pub(crate) notes: Vec<String>,
}

#[derive(Debug)]
pub(crate) enum Content {
    /// A file or commands.
    Text(String),
    /// Fields of a form: name and value.
    Form(Vec<(&'static str, String)>),
}

/// Where the text for a client comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// ddnsd's tests run the client or its rules with this text.
    Tested,
    /// Its source code.
    Source,
    /// The vendor's documentation.
    Documentation,
    /// Texts of other people; it was not verified.
    ThirdParty,
}

impl Origin {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Tested => "tested with ddnsd",
            Self::Source => "from its source code",
            Self::Documentation => "from its documentation",
            Self::ThirdParty => "from other people's texts, not verified",
        }
    }
}

impl UpdateClient {
    /// As `--client` takes it.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// What people call it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Fritzbox => "FRITZ!Box",
            Self::Openwrt => "OpenWrt, ddns-scripts",
            Self::Ddclient => "ddclient 3.10 or newer",
            Self::Inadyn => "inadyn 2",
            Self::Unifi => "UniFi OS gateways",
            Self::Opnsense => "OPNsense, os-ddclient with the native backend",
            Self::Pfsense => "pfSense",
            Self::Synology => "Synology DSM",
            Self::Qnap => "QNAP QTS",
            Self::Mikrotik => "MikroTik RouterOS",
            Self::Edgeos => "EdgeOS and VyOS before 1.4",
            Self::Merlin => "Asuswrt-Merlin",
            Self::Curl => "curl, for scripts and cron",
            Self::Wget => "GNU Wget, for scripts and cron",
            Self::SystemdTimer => "systemd timer with curl",
            Self::Docker => "Docker Compose with curl",
        }
    }

    pub(crate) fn origin(self) -> Origin {
        match self {
            Self::Openwrt
            | Self::Ddclient
            | Self::Inadyn
            | Self::Curl
            | Self::Wget
            | Self::SystemdTimer
            | Self::Docker => Origin::Tested,
            Self::Opnsense => Origin::Source,
            Self::Fritzbox | Self::Pfsense | Self::Merlin => Origin::Documentation,
            Self::Unifi | Self::Synology | Self::Qnap | Self::Mikrotik | Self::Edgeos => {
                Origin::ThirdParty
            }
        }
    }

    /// How to configure it for this host.
    pub(crate) fn snippet(self, target: &Target<'_>) -> Snippet {
        let mut snippet = match self {
            Self::Fritzbox => devices::fritzbox(target),
            Self::Openwrt => programs::openwrt(target),
            Self::Ddclient => programs::ddclient(target),
            Self::Inadyn => programs::inadyn(target),
            Self::Unifi => devices::unifi(target),
            Self::Opnsense => devices::opnsense(target),
            Self::Pfsense => devices::pfsense(target),
            Self::Synology => devices::synology(target),
            Self::Qnap => devices::qnap(target),
            Self::Mikrotik => devices::mikrotik(target),
            Self::Edgeos => devices::edgeos(target),
            Self::Merlin => devices::merlin(target),
            Self::Curl => programs::curl(target),
            Self::Wget => programs::wget(target),
            Self::SystemdTimer => programs::systemd_timer(target),
            Self::Docker => programs::docker(target),
        };
        if self.sends_changes_only()
            && let Some(seconds) = target.expiry_ttl
        {
            let Target { hostname, zone, .. } = target;
            snippet.notes.push(format!(
                "it may send an update only when the address changes, but ddnsd removes the records {seconds} s after the last update; to keep them: `ddnsctl hostname modify {hostname} {zone} --expiry-ttl 0`"
            ));
        }
        if !target.url.is_tls() {
            snippet.notes.push("the password travels unencrypted, because the URL is http".into());
        }
        snippet
    }

    /// Whether nothing in the snippet makes it send updates by the clock.
    fn sends_changes_only(self) -> bool {
        matches!(
            self,
            Self::Fritzbox
                | Self::Unifi
                | Self::Opnsense
                | Self::Pfsense
                | Self::Synology
                | Self::Qnap
                | Self::Edgeos
                | Self::Merlin
        )
    }
}

impl Target<'_> {
    /// The URL of an update without an address: ddnsd takes that of the connection.
    fn update_url(&self) -> String {
        format!("{}?hostname={}", self.url, self.fqdn)
    }

    /// Seconds between two updates, so that two may be lost before the records are removed.
    fn interval(&self) -> u32 {
        self.expiry_ttl.map_or(LONGEST, |seconds| (seconds / 3).clamp(SHORTEST, LONGEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &ServerUrl, expiry_ttl: Option<u32>) -> Target<'_> {
        Target { url, fqdn: "h.z", hostname: "h", zone: "z", user: "u", expiry_ttl }
    }

    fn text(snippet: &Snippet) -> String {
        match &snippet.content {
            Content::Text(text) => text.clone(),
            Content::Form(fields) => format!("{fields:?}"),
        }
    }

    #[test]
    fn every_snippet_names_the_server_the_host_the_user_and_a_placeholder() {
        let url = ServerUrl::parse("https://ddns.example.com/nic/update").unwrap();
        let (fqdn, user) = ("pc.dyn.example.com", "alice");
        for client in UpdateClient::value_variants() {
            let target = Target { url: &url, fqdn, user, ..target(&url, None) };
            let snippet = client.snippet(&target);
            let text = text(&snippet);
            for part in ["ddns.example.com", fqdn, user, PASSWORD] {
                assert!(text.contains(part), "{client:?}: {part} is not in {text}");
            }
            assert!(snippet.notes.iter().all(|note| !note.ends_with('.')), "{client:?}");
        }
    }

    #[test]
    fn no_host_expires_between_two_updates_by_the_clock() {
        let url = ServerUrl::parse("https://x.example").unwrap();
        let every = |expiry_ttl| target(&url, expiry_ttl).interval();
        assert_eq!([None, Some(86_400), Some(900), Some(10)].map(every), [600, 600, 300, 60]);
    }

    #[test]
    fn a_note_warns_where_records_would_expire_or_passwords_are_readable() {
        let url = ServerUrl::parse("http://x.example").unwrap();
        let target = target(&url, Some(3600));
        let notes = UpdateClient::Fritzbox.snippet(&target).notes.join("\n");
        assert!(notes.contains("3600 s after") && notes.contains("modify h z --exp"), "{notes}");
        assert!(notes.contains("unencrypted"), "{notes}");
        let notes = UpdateClient::Curl.snippet(&target).notes.join("\n");
        assert!(!notes.contains("3600 s after"), "{notes}");
    }
}
