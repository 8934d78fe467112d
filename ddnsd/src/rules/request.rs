//! Checks a request. In: its parameters and the connection. Out: names, addresses, or the reason
//! why there are none. The return codes for the reasons are in `reply.rs`.

use crate::model::address::Addresses;
use crate::model::client::ClientKey;
use crate::model::family::Families;
use crate::model::name::{Fqdn, UserName};
use crate::model::notice::Notify;
use crate::model::secret::Secret;
use crate::model::text::first_chars;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// Hosts in one request (the number of the Dyn Remote Access API).
pub const MAX_HOSTS: usize = 20;

/// Characters of the User-Agent header that are kept.
pub const MAX_USER_AGENT: usize = 200;

/// One checked update request.
#[derive(Clone, Debug)]
pub struct UpdateRequest {
    /// For the log.
    pub client: IpAddr,
    /// Cut to [`MAX_USER_AGENT`] characters.
    pub user_agent: Option<Arc<str>>,
    /// For the limits.
    pub key: ClientKey,
    pub login: Login,
    pub update: RequestedUpdate,
    pub notify: Notify,
}

/// What a request asks for, as it was sent. It is read once the caller is known: host names cost
/// time.
#[derive(Clone, Debug)]
pub struct RequestedUpdate {
    /// A comma list.
    pub hosts: Option<String>,
    /// A comma list of either family.
    pub ipv4: Option<String>,
    /// As `ipv4`.
    pub ipv6: Option<String>,
    pub is_offline: bool,
    pub origin: RequestOrigin,
}

impl RequestedUpdate {
    /// # Errors
    /// No host at all, or more than [`MAX_HOSTS`].
    pub fn read_hosts(&self) -> Result<Vec<RequestedHost>, NoHosts> {
        hosts(self.hosts.as_deref())
    }

    /// # Errors
    /// The first address that cannot be used, with the reason.
    pub fn read_change(&self) -> Result<Change, BadAddress> {
        if self.is_offline {
            return Ok(Change::Offline);
        }
        addresses(self.ipv4.as_deref(), self.ipv6.as_deref(), self.origin).map(Change::Set)
    }

    /// Whether the client's own address decides, and is one of this machine itself.
    pub fn is_loopback(&self) -> bool {
        let is_given = self.is_offline || self.ipv4.is_some() || self.ipv6.is_some();
        let RequestOrigin::Client(address) = self.origin else { return false };
        !is_given && address.to_canonical().is_loopback()
    }
}

/// The credentials of a request.
#[derive(Clone, Debug)]
pub enum Login {
    /// None: the first request of clients that wait for a challenge.
    Missing,
    /// No name and password, or a name that no user can have.
    Unreadable {
        /// What was readable of the name, for the log.
        name: String,
    },
    Given {
        user: UserName,
        /// Empty if only a name was given.
        password: Secret,
    },
}

/// One host of the request's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestedHost {
    /// As it was sent, for the JSON reply.
    pub sent: String,
    /// `None` if it is not legal.
    pub name: Option<Fqdn>,
}

/// Why a request names no hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoHosts {
    None,
    /// More than [`MAX_HOSTS`].
    TooMany,
}

/// What the hosts should point at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// These addresses; a family that is not given stays as it is.
    Set(Addresses),
    /// `offline=YES`: nothing.
    Offline,
}

impl Change {
    /// The families that it updates.
    pub fn families(self) -> Families {
        match self {
            Change::Set(addresses) => addresses.families(),
            Change::Offline => Families::BOTH,
        }
    }

    /// The addresses that the reply shows.
    pub fn addresses(self) -> Addresses {
        match self {
            Change::Set(addresses) => addresses,
            Change::Offline => Addresses::default(),
        }
    }
}

/// What one update does to each of its hosts.
#[derive(Clone, Copy, Debug)]
pub struct UpdateChange {
    pub change: Change,
    pub notify: Notify,
}

/// Why the addresses of a request cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAddress {
    /// Neither an IPv4 nor an IPv6 address, but written like one.
    #[error("{0:?} is not an address")]
    NotAnAddress(String),
    /// Something else. It is not shown: if a router's template has its parameters swapped, it is
    /// the password.
    #[error("the {parameter} parameter holds {length} characters that are no address")]
    NotLikeAnAddress {
        /// Which of the address parameters.
        parameter: &'static str,
        /// How long it is.
        length: usize,
    },
    #[error("two different addresses of one family: {0} and {1}")]
    Two(IpAddr, IpAddr),
    #[error("{0} can never be reached ({1})")]
    Unreachable(IpAddr, &'static str),
    /// None given, and the connection comes from a trusted proxy that does not name its client.
    #[error("no address given, and the proxy {0} sent no usable client address")]
    ProxyWithoutClient(IpAddr),
}

/// Where the request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestOrigin {
    /// The client's own address, by the connection or a trusted proxy's header.
    Client(IpAddr),
    /// A trusted proxy that did not name its client.
    ProxyWithoutClient(IpAddr),
}

impl RequestOrigin {
    /// The address that limits count by and logs show.
    pub fn address(self) -> IpAddr {
        match self {
            RequestOrigin::Client(address) | RequestOrigin::ProxyWithoutClient(address) => address,
        }
    }
}

/// The User-Agent header; what is not UTF-8 becomes U+FFFD.
pub fn user_agent(header: &[u8]) -> Option<Arc<str>> {
    let text = String::from_utf8_lossy(header.trim_ascii());
    let text = first_chars(&text, MAX_USER_AGENT);
    Some(text).filter(|text| !text.is_empty()).map(Arc::from)
}

/// Reads `notify_change`: `1`, `yes`, `true` or `on` in any case asks for a mail.
pub fn notify(value: Option<&str>) -> Notify {
    let asks =
        |value: &str| ["1", "yes", "true", "on"].iter().any(|v| value.eq_ignore_ascii_case(v));
    if value.map(str::trim).is_some_and(asks) { Notify::Yes } else { Notify::No }
}

/// Reads the host list. Empty items are skipped.
///
/// # Errors
/// No host at all, or more than [`MAX_HOSTS`].
pub fn hosts(list: Option<&str>) -> Result<Vec<RequestedHost>, NoHosts> {
    let items = || list.into_iter().flat_map(|list| list.split(',')).map(str::trim);
    let items = || items().filter(|item| !item.is_empty());
    match items().take(MAX_HOSTS + 1).count() {
        0 => Err(NoHosts::None),
        count if count > MAX_HOSTS => Err(NoHosts::TooMany),
        _ => Ok(items()
            .map(|item| RequestedHost { sent: item.to_owned(), name: Fqdn::parse(item).ok() })
            .collect()),
    }
}

/// Reads the address parameters; either may name either family. Without any, the origin decides its
/// own family; it may be loopback, because it did reach this machine.
///
/// # Errors
/// The first value that cannot be used, with the reason.
pub fn addresses(
    ipv4: Option<&str>,
    ipv6: Option<&str>,
    origin: RequestOrigin,
) -> Result<Addresses, BadAddress> {
    let mut found = Addresses::default();
    let items = [("ipv4", ipv4), ("ipv6", ipv6)].into_iter().flat_map(|(parameter, list)| {
        list.into_iter().flat_map(|list| list.split(',')).map(move |item| (parameter, item.trim()))
    });
    for (parameter, item) in items.filter(|(_, item)| !item.is_empty()) {
        let address =
            item.parse::<IpAddr>().map_err(|_| no_address(parameter, item))?.to_canonical();
        add(&mut found, reachable(address)?)?;
    }
    match origin {
        _ if !found.is_empty() => Ok(found),
        RequestOrigin::Client(address) if address.to_canonical().is_loopback() => {
            Ok(Addresses::only(address))
        }
        RequestOrigin::Client(address) => reachable(address.to_canonical()).map(Addresses::only),
        RequestOrigin::ProxyWithoutClient(proxy) => Err(BadAddress::ProxyWithoutClient(proxy)),
    }
}

fn no_address(parameter: &'static str, item: &str) -> BadAddress {
    let is_written_like_one = item.contains(['.', ':'])
        && item.chars().all(|c| c.is_ascii_hexdigit() || ".:/%[]".contains(c));
    if is_written_like_one {
        BadAddress::NotAnAddress(first_chars(item, 64).to_owned())
    } else {
        BadAddress::NotLikeAnAddress { parameter, length: item.chars().count() }
    }
}

fn add(found: &mut Addresses, address: IpAddr) -> Result<(), BadAddress> {
    let previous = match address {
        IpAddr::V4(v4) => found.v4.replace(v4).map(IpAddr::V4),
        IpAddr::V6(v6) => found.v6.replace(v6).map(IpAddr::V6),
    };
    match previous {
        Some(previous) if previous != address => Err(BadAddress::Two(previous, address)),
        _ => Ok(()),
    }
}

fn reachable(address: IpAddr) -> Result<IpAddr, BadAddress> {
    unreachable(address).map_or(Ok(address), |why| Err(BadAddress::Unreachable(address, why)))
}

/// Why no host can be reached at an address; private ones can be, within their network.
pub(super) fn unreachable(address: IpAddr) -> Option<&'static str> {
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    // RFC 1122, 3.2.1.3: 0.0.0.0/8 is "this network" and never a destination
    let this_network = matches!(address, IpAddr::V4(v4) if matches!(v4.octets(), [0, ..]));
    if address.is_unspecified() || this_network {
        Some("unspecified")
    } else if address.is_loopback() {
        Some("loopback")
    } else if address.is_multicast() {
        Some("multicast")
    } else if address == IpAddr::V4(Ipv4Addr::BROADCAST) {
        Some("broadcast")
    } else if link_local {
        Some("link-local")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notify_change_asks_for_a_mail_with_four_values() {
        for yes in ["1", "yes", "TRUE", " On "] {
            assert_eq!(notify(Some(yes)), Notify::Yes, "{yes}");
        }
        for no in [None, Some(""), Some("0"), Some("no"), Some("11"), Some("yes please")] {
            assert_eq!(notify(no), Notify::No, "{no:?}");
        }
    }

    const CLIENT: RequestOrigin = RequestOrigin::Client(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7)));

    fn read(ipv4: &str, ipv6: &str) -> Result<String, String> {
        let text = addresses(Some(ipv4), Some(ipv6), CLIENT);
        text.map(|found| found.to_string()).map_err(|bad| bad.to_string())
    }

    #[test]
    fn either_parameter_takes_either_family_alone_or_in_a_list() {
        for (ipv4, ipv6, found) in [
            ("192.0.2.1", "", "192.0.2.1"),
            ("2001:db8::1", "", "2001:db8::1"),
            ("", "192.0.2.1", "192.0.2.1"),
            (" 2001:db8::1 , 192.0.2.1", "", "192.0.2.1 2001:db8::1"),
            ("192.0.2.1", "2001:DB8:0::1", "192.0.2.1 2001:db8::1"),
            ("192.0.2.1,192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1"),
            ("", "", "198.51.100.7"),
            (",", " ", "198.51.100.7"),
        ] {
            assert_eq!(read(ipv4, ipv6), Ok(found.to_owned()), "{ipv4:?} {ipv6:?}");
        }
    }

    #[test]
    fn an_unreachable_address_is_rejected_with_the_reason() {
        for (given, why) in [
            ("0.0.0.0", "unspecified"),
            ("0.1.2.3", "unspecified"),
            ("::", "unspecified"),
            ("127.0.0.1", "loopback"),
            ("::1", "loopback"),
            ("::ffff:127.0.0.1", "loopback"),
            ("224.0.0.1", "multicast"),
            ("ff02::1", "multicast"),
            ("255.255.255.255", "broadcast"),
            ("169.254.1.1", "link-local"),
            ("fe80::1", "link-local"),
        ] {
            let refused = read(given, "").unwrap_err();
            assert!(refused.ends_with(&format!("({why})")), "{given}: {refused}");
        }
        for fine in ["10.1.2.3", "192.168.1.1", "100.64.0.1", "fd00::1"] {
            assert!(read(fine, "").is_ok(), "{fine}");
        }
    }

    #[test]
    fn one_bad_value_rejects_the_request() {
        let length = "the ipv6 parameter holds 2 characters that are no address";
        assert_eq!(read("192.0.2.1", "no"), Err(length.into()));
        assert_eq!(read("192.0.2.300", ""), Err("\"192.0.2.300\" is not an address".into()));
        assert_eq!(read("2001:db8::1/64", ""), Err("\"2001:db8::1/64\" is not an address".into()));
        assert_eq!(read("[fe80::1%1]", ""), Err("\"[fe80::1%1]\" is not an address".into()));
        for secret in ["hunter2", "c0ffee", "p4ss.word", "12345678", "fe80::1%eth0", "<ipaddr>"] {
            let message = read(secret, "").unwrap_err();
            assert!(message.starts_with("the ipv4 parameter holds"), "{message}");
            assert!(!message.contains(secret), "{message}");
        }
        let two = read("192.0.2.1", "192.0.2.2").unwrap_err();
        assert_eq!(two, "two different addresses of one family: 192.0.2.1 and 192.0.2.2");
    }

    #[test]
    fn a_proxy_that_names_no_client_is_not_the_client() {
        let proxy = RequestOrigin::ProxyWithoutClient("10.0.0.1".parse().unwrap());
        assert!(matches!(addresses(None, None, proxy), Err(BadAddress::ProxyWithoutClient(_))));
        assert!(addresses(Some("192.0.2.1"), None, proxy).is_ok());
    }

    #[test]
    fn a_loopback_client_may_use_its_own_address() {
        let local = RequestOrigin::Client("::ffff:127.0.0.1".parse().unwrap());
        assert_eq!(addresses(None, None, local).unwrap().to_string(), "127.0.0.1");
    }

    #[test]
    fn a_client_that_can_never_be_reached_has_no_address_of_its_own() {
        for (own, why) in [
            ("0.0.0.0", "unspecified"),
            ("::", "unspecified"),
            ("::ffff:0.0.0.0", "unspecified"),
            ("224.1.1.1", "multicast"),
            ("255.255.255.255", "broadcast"),
            ("169.254.1.1", "link-local"),
            ("fe80::1", "link-local"),
        ] {
            let client = RequestOrigin::Client(own.parse().unwrap());
            let refused = addresses(None, None, client).unwrap_err().to_string();
            assert!(
                refused.ends_with(&format!("can never be reached ({why})")),
                "{own}: {refused}"
            );
            assert!(addresses(Some("192.0.2.1"), None, client).is_ok(), "{own}");
        }
    }

    #[test]
    fn a_host_list_skips_empty_items_and_keeps_order_and_spelling() {
        let list = hosts(Some(",B.example.org,, a_b.example.org ,B.example.org")).unwrap();
        let sent: Vec<_> = list.iter().map(|host| host.sent.as_str()).collect();
        assert_eq!(sent, ["B.example.org", "a_b.example.org", "B.example.org"]);
        assert!(list[0].name.is_some() && list[1].name.is_none());
        assert_eq!(hosts(None), Err(NoHosts::None));
        assert_eq!(hosts(Some(" , ")), Err(NoHosts::None));
        assert_eq!(hosts(Some(&"a.example,".repeat(20))).unwrap().len(), 20);
        assert_eq!(hosts(Some(&"a.example,".repeat(21))), Err(NoHosts::TooMany));
    }

    #[test]
    fn a_user_agent_is_cut() {
        assert_eq!(user_agent(b" inadyn/2.12 ").as_deref(), Some("inadyn/2.12"));
        assert_eq!(user_agent(b" "), None);
        assert_eq!(user_agent(b"\xff").as_deref(), Some("\u{fffd}"));
        assert_eq!(user_agent("ü".repeat(999).as_bytes()).unwrap().chars().count(), MAX_USER_AGENT);
    }
}
