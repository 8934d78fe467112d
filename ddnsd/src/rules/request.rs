//! Checks a request. In: its parameters and the connection. Out: names, addresses, or the reason
//! why there are none. The return codes for the reasons are in `reply.rs`.

use crate::model::address::Addresses;
use crate::model::client::ClientKey;
use crate::model::name::{Fqdn, UserName};
use crate::model::notice::Notify;
use crate::model::prefix::{AddressOrPrefix, BadPrefix, Ipv6Prefix};
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
    /// A comma list.
    pub prefix6: Option<String>,
    /// The first address parameter that the client sent as it stands in its template.
    pub unfilled: Option<Box<str>>,
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
    pub fn read_change(&self) -> Result<GivenAddresses, BadAddress> {
        if self.is_offline {
            return Ok(GivenAddresses { change: Change::Offline, prefix: None, bad_prefix: None });
        }
        let parameters = AddressParameters {
            ipv4: self.ipv4.as_deref(),
            ipv6: self.ipv6.as_deref(),
            prefix6: self.prefix6.as_deref(),
        };
        addresses(parameters, self.origin)
    }

    /// Whether the client's own address decides, and is one of this machine itself.
    pub fn is_loopback(&self) -> bool {
        let RequestOrigin::Client(address) = self.origin else { return false };
        let is_local = address.to_canonical().is_loopback();
        is_local && self.read_change().is_ok_and(|given| given.change.addresses().is_loopback())
    }
}

/// The address parameters, if they have items.
#[derive(Clone, Copy, Debug, Default)]
pub struct AddressParameters<'a> {
    pub ipv4: Option<&'a str>,
    pub ipv6: Option<&'a str>,
    pub prefix6: Option<&'a str>,
}

/// What the address parameters, or the client's own address, ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenAddresses {
    pub change: Change,
    pub prefix: Option<RequestedPrefix>,
    /// Why the prefix is ignored.
    pub bad_prefix: Option<BadPrefix>,
}

/// The prefix of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestedPrefix {
    pub prefix: Ipv6Prefix,
    /// Whether the request names an IPv6 address, too.
    pub with_address: bool,
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
    pub prefix: Option<RequestedPrefix>,
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
    /// Nothing else is given.
    #[error("the prefix cannot be used: {0}")]
    Prefix(BadPrefix),
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

/// Whether a router sent a placeholder of its template instead of a value.
pub fn is_placeholder(item: &str) -> bool {
    item.starts_with('<') && item.ends_with('>')
}

/// Reads the address parameters; either may name either family, or the prefix. Without any address,
/// the origin decides its own family; it may be loopback, because it did reach this machine.
///
/// # Errors
/// The first address that cannot be used, with the reason; or the prefix, if it is all there is.
pub fn addresses(
    given: AddressParameters<'_>,
    origin: RequestOrigin,
) -> Result<GivenAddresses, BadAddress> {
    let mut found = Addresses::default();
    let mut prefix = Ok(None);
    for (parameter, item) in items("ipv4", given.ipv4).chain(items("ipv6", given.ipv6)) {
        let address = match AddressOrPrefix::parse(item) {
            Some(AddressOrPrefix::Prefix(another)) => {
                prefix = add_prefix(prefix, another);
                continue;
            }
            Some(AddressOrPrefix::Address(address)) => IpAddr::V6(address),
            None => item.parse().map_err(|_| no_address(parameter, item))?,
        };
        add(&mut found, reachable(address.to_canonical())?)?;
    }
    for (_, item) in items("prefix6", given.prefix6) {
        prefix = add_prefix(prefix, Ipv6Prefix::parse(item));
    }
    let with_address = found.v6.is_some();
    let found = if found.is_empty() { own_address(&prefix, origin)? } else { found };
    let change = Change::Set(found);
    Ok(match prefix {
        Ok(prefix) => {
            let prefix = prefix.map(|prefix| RequestedPrefix { prefix, with_address });
            GivenAddresses { change, prefix, bad_prefix: None }
        }
        Err(bad) => GivenAddresses { change, prefix: None, bad_prefix: Some(bad) },
    })
}

/// The items of a comma list, with the parameter's name.
fn items<'a>(
    parameter: &'static str,
    list: Option<&'a str>,
) -> impl Iterator<Item = (&'static str, &'a str)> {
    let items = list.into_iter().flat_map(|list| list.split(',')).map(str::trim);
    let items = items.filter(|item| !item.is_empty() && !is_placeholder(item));
    items.map(move |item| (parameter, item))
}

/// What is used if the request names no address.
fn own_address(
    prefix: &Result<Option<Ipv6Prefix>, BadPrefix>,
    origin: RequestOrigin,
) -> Result<Addresses, BadAddress> {
    let own = match origin {
        _ if let Err(bad) = prefix => return Err(BadAddress::Prefix(bad.clone())),
        RequestOrigin::Client(address) if address.to_canonical().is_loopback() => {
            Ok(Addresses::only(address))
        }
        RequestOrigin::Client(address) => reachable(address.to_canonical()).map(Addresses::only),
        RequestOrigin::ProxyWithoutClient(proxy) => Err(BadAddress::ProxyWithoutClient(proxy)),
    };
    match (own, prefix) {
        // a prefix is enough
        (Err(_), Ok(Some(_))) => Ok(Addresses::default()),
        (own, _) => own,
    }
}

fn add_prefix(
    found: Result<Option<Ipv6Prefix>, BadPrefix>,
    another: Result<Ipv6Prefix, BadPrefix>,
) -> Result<Option<Ipv6Prefix>, BadPrefix> {
    match (found?, another?) {
        (Some(found), another) if found != another => Err(BadPrefix::Two(found, another)),
        (_, another) => Ok(Some(another)),
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

    fn found(
        ipv4: &str,
        ipv6: &str,
        prefix6: &str,
        origin: RequestOrigin,
    ) -> Result<GivenAddresses, BadAddress> {
        let (ipv4, ipv6, prefix6) = (Some(ipv4), Some(ipv6), Some(prefix6));
        addresses(AddressParameters { ipv4, ipv6, prefix6 }, origin)
    }

    fn read(ipv4: &str, ipv6: &str) -> Result<String, String> {
        let text = found(ipv4, ipv6, "", CLIENT);
        text.map(|found| found.change.addresses().to_string()).map_err(|bad| bad.to_string())
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
        assert_eq!(read("192.0.2.1/24", ""), Err("\"192.0.2.1/24\" is not an address".into()));
        assert_eq!(read("2001:db8::/129", ""), Err("\"2001:db8::/129\" is not an address".into()));
        assert_eq!(read("[fe80::1%1]", ""), Err("\"[fe80::1%1]\" is not an address".into()));
        for secret in ["hunter2", "c0ffee", "p4ss.word", "12345678", "fe80::1%eth0"] {
            let message = read(secret, "").unwrap_err();
            assert!(message.starts_with("the ipv4 parameter holds"), "{message}");
            assert!(!message.contains(secret), "{message}");
        }
        let two = read("192.0.2.1", "192.0.2.2").unwrap_err();
        assert_eq!(two, "two different addresses of one family: 192.0.2.1 and 192.0.2.2");
    }

    /// The addresses, the prefix, and why a prefix is ignored.
    fn with_prefix(ipv4: &str, ipv6: &str, prefix6: &str) -> (String, String, String) {
        let given = found(ipv4, ipv6, prefix6, CLIENT).unwrap();
        let prefix = given.prefix.map(|given| (given.prefix.to_string(), given.with_address));
        let prefix = match prefix {
            None => String::new(),
            Some((prefix, false)) => prefix,
            Some((prefix, true)) => format!("{prefix} beside an address"),
        };
        let bad = given.bad_prefix.map(|bad| bad.to_string()).unwrap_or_default();
        (given.change.addresses().to_string(), prefix, bad)
    }

    #[test]
    fn a_prefix_is_read_from_its_parameter_and_from_an_address_parameter() {
        for (ipv4, ipv6, prefix6, addresses, prefix) in [
            ("192.0.2.1", "", "2001:db8:1:2ff::/56", "192.0.2.1", "2001:db8:1:200::/56"),
            ("192.0.2.1,2001:db8:1::/64", "", "", "192.0.2.1", "2001:db8:1::/64"),
            ("", "2001:db8:1::/59", "", "198.51.100.7", "2001:db8:1::/59"),
            // with bits behind the length, or with a greater one, it is the address
            ("192.0.2.1", "2001:db8::1/64", "", "192.0.2.1 2001:db8::1", ""),
            ("192.0.2.1", "2001:db8::/65", "", "192.0.2.1 2001:db8::", ""),
            ("192.0.2.1", "2001:db8::1/128", "", "192.0.2.1 2001:db8::1", ""),
            ("", "2001:db8::1", "fd00::/8", "2001:db8::1", "fd00::/8 beside an address"),
            (
                "2001:db8:1::/64",
                "2001:db8:1::/64",
                "2001:db8:1::9/64",
                "198.51.100.7",
                "2001:db8:1::/64",
            ),
            ("192.0.2.1", "<ip6addr>", "<ip6lanprefix>", "192.0.2.1", ""),
            ("<ipaddr>", "", "", "198.51.100.7", ""),
        ] {
            let expected = (addresses.to_owned(), prefix.to_owned(), String::new());
            assert_eq!(with_prefix(ipv4, ipv6, prefix6), expected, "{ipv4} {ipv6} {prefix6}");
        }
    }

    #[test]
    fn a_bad_prefix_is_ignored_beside_an_address_and_rejects_a_request_without_one() {
        for bad in ["x", "::/0", "fe80::/64", "2001:db8::/129", "2001:db8:1::/64,2001:db8:2::/64"] {
            let (addresses, prefix, why) = with_prefix("192.0.2.1", "", bad);
            assert_eq!((addresses.as_str(), prefix.as_str()), ("192.0.2.1", ""), "{bad}");
            assert!(!why.is_empty(), "{bad}");
            assert!(matches!(found("", "", bad, CLIENT), Err(BadAddress::Prefix(_))), "{bad}");
        }
        let two = with_prefix("192.0.2.1,2001:db8:1::/64", "", "2001:db8:2::/64").2;
        assert_eq!(two, "there are two different ones, 2001:db8:1::/64 and 2001:db8:2::/64");
    }

    #[test]
    fn a_prefix_is_enough_from_a_client_without_a_usable_address() {
        let proxy = RequestOrigin::ProxyWithoutClient("10.0.0.1".parse().unwrap());
        let given = found("", "", "2001:db8:1::/64", proxy).unwrap();
        assert!(given.change.addresses().is_empty() && given.prefix.is_some());
    }

    #[test]
    fn a_proxy_that_names_no_client_is_not_the_client() {
        let proxy = RequestOrigin::ProxyWithoutClient("10.0.0.1".parse().unwrap());
        assert!(matches!(found("", "", "", proxy), Err(BadAddress::ProxyWithoutClient(_))));
        assert!(found("192.0.2.1", "", "", proxy).is_ok());
    }

    #[test]
    fn a_loopback_client_may_use_its_own_address() {
        let local = RequestOrigin::Client("::ffff:127.0.0.1".parse().unwrap());
        let own = found("", "", "", local).unwrap();
        assert_eq!(own.change.addresses().to_string(), "127.0.0.1");
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
            let refused = found("", "", "", client).unwrap_err().to_string();
            assert!(
                refused.ends_with(&format!("can never be reached ({why})")),
                "{own}: {refused}"
            );
            assert!(found("192.0.2.1", "", "", client).is_ok(), "{own}");
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
