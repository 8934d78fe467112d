//! The options for a host's place in a router's network.

use clap::Args;
use ddnsd_proto::host::NewText;

/// A host's place in a router's network.
#[derive(Debug, Args)]
pub(in crate::commands) struct Lan {
    /// The part of the host's IPv6 address that stays when the provider changes the prefix, like
    /// `::211:22ff:fe33:4455`, or mac:00:11:22:33:44:55 for the address made of a MAC address
    #[arg(long, value_name = "SUFFIX")]
    ipv6_suffix: Option<String>,
    /// The host whose updates bring the prefix: usually the router
    #[arg(long, value_name = "FQDN")]
    follows: Option<String>,
}

/// Another place in a router's network.
#[derive(Debug, Args)]
pub(in crate::commands) struct NewLan {
    /// The part of the host's IPv6 address that stays when the provider changes the prefix, like
    /// `::211:22ff:fe33:4455`, or mac:00:11:22:33:44:55 for the address made of a MAC address; or
    /// `none`
    #[arg(long, value_name = "SUFFIX", group = "settings")]
    ipv6_suffix: Option<String>,
    /// The host whose updates bring the prefix: usually the router; or `none`
    #[arg(long, value_name = "FQDN", group = "settings")]
    follows: Option<String>,
}

impl Lan {
    /// The suffix and the leader.
    pub(super) fn given(self) -> (Option<String>, Option<String>) {
        (given(self.ipv6_suffix), given(self.follows))
    }
}

impl NewLan {
    pub(super) fn suffix(&self) -> Option<NewText> {
        self.ipv6_suffix.clone().map(new_text)
    }

    pub(super) fn leader(&self) -> Option<NewText> {
        self.follows.clone().map(new_text)
    }
}

/// `none` is no suffix, and no host.
fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| text != "none")
}

fn new_text(text: String) -> NewText {
    NewText { text: given(Some(text)) }
}
