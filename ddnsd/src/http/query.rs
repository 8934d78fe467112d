//! The parameters of a request. In: query string and form body, undecoded. Out: the value of each
//! endpoint parameter, by its accepted names. Nothing else of the request is kept.

use crate::config::{Params, param_name};
use crate::model::text::first_chars;
use crate::rules::request::is_placeholder;
use std::borrow::Cow;
use std::net::IpAddr;

/// Parameters of one request, those of the query and the form together.
pub(super) const MAX_PARAMETERS: usize = 256;
/// Bytes of the longest text that can be an address.
const MAX_ADDRESS: usize = 64;

/// Decoded values; `None` was not given. The query comes before the form.
#[derive(Default)]
pub(super) struct Parameters<'a> {
    pub(super) hostname: Option<Cow<'a, str>>,
    pub(super) ipv4: Option<Cow<'a, str>>,
    pub(super) ipv6: Option<Cow<'a, str>>,
    pub(super) prefix6: Option<Cow<'a, str>>,
    pub(super) username: Option<Cow<'a, str>>,
    pub(super) password: Option<Cow<'a, str>>,
    pub(super) notify_change: Option<Cow<'a, str>>,
    pub(super) is_offline: bool,
    /// The first name without a meaning whose value is an address, cut to 64 characters.
    pub(super) unknown_address: Option<String>,
    /// The first name of an address parameter with a placeholder of the client's template.
    pub(super) unfilled: Option<Box<str>>,
}

/// A request has more than [`MAX_PARAMETERS`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooManyParameters;

/// The value found so far for one endpoint parameter.
struct GivenValue<'a, 'n> {
    names: &'n [String],
    kind: ValueKind,
    /// The place of the name in the list of names, and its value. An earlier name wins.
    found: Option<(usize, Cow<'a, str>)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ValueKind {
    Single,
    /// A comma list; one without items counts as not given.
    List,
    /// As a list; an item that is a placeholder counts as empty.
    Addresses,
}

impl<'a, 'n> GivenValue<'a, 'n> {
    fn new(kind: ValueKind, names: &'n [String]) -> Self {
        Self { names, kind, found: None }
    }

    fn is_unfilled(&self, value: &str) -> bool {
        let has_one = || value.split(',').any(|item| is_placeholder(item.trim()));
        self.kind == ValueKind::Addresses && value.contains('<') && has_one()
    }

    /// The place of this name in the list of names.
    fn place(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|own| name.eq_ignore_ascii_case(own))
    }

    /// Whether this value is better than the one found so far.
    fn wants(&self, place: usize, value: &str) -> bool {
        self.found.as_ref().is_none_or(|(best, _)| place < *best) && self.is_given(value)
    }

    /// An empty value counts as not given.
    fn is_given(&self, value: &str) -> bool {
        let has_text = |item: &str| !item.trim().is_empty();
        match self.kind {
            ValueKind::Single => has_text(value),
            ValueKind::List => value.split(',').any(has_text),
            ValueKind::Addresses => {
                value.split(',').any(|item| has_text(item) && !is_placeholder(item.trim()))
            }
        }
    }

    fn value(self) -> Option<Cow<'a, str>> {
        self.found.map(|(_, value)| value)
    }
}

impl<'a> Parameters<'a> {
    /// What is not UTF-8 decodes to U+FFFD, which no name, address or password contains.
    pub(super) fn read(
        query: &'a str,
        form: &'a [u8],
        names: &Params,
    ) -> Result<Self, TooManyParameters> {
        let Params { hostname, ipv4, ipv6, prefix6, username, password, notify_change } = names;
        let mut slots = [
            GivenValue::new(ValueKind::List, hostname),
            GivenValue::new(ValueKind::Addresses, ipv4),
            GivenValue::new(ValueKind::Addresses, ipv6),
            GivenValue::new(ValueKind::Addresses, prefix6),
            GivenValue::new(ValueKind::Single, username),
            GivenValue::new(ValueKind::Single, password),
            GivenValue::new(ValueKind::Single, notify_change),
        ];
        let (mut offline, mut unknown_address, mut unfilled) = (None, None, None);
        for (index, (name, value)) in pairs(query.as_bytes()).chain(pairs(form)).enumerate() {
            if index >= MAX_PARAMETERS {
                return Err(TooManyParameters);
            }
            let name = param_name(&name);
            if put(&mut slots, name, &value, &mut unfilled) {
                continue;
            }
            if offline.is_none() && is_offline(name, &value) {
                offline = Some(value.eq_ignore_ascii_case("yes"));
            } else if unknown_address.is_none() && is_address(&value) {
                unknown_address = Some(first_chars(name, 64).to_owned());
            }
        }
        let [hostname, ipv4, ipv6, prefix6, username, password, notify_change] =
            slots.map(GivenValue::value);
        Ok(Self {
            hostname,
            ipv4,
            ipv6,
            prefix6,
            username,
            password,
            notify_change,
            is_offline: offline.unwrap_or(false),
            unknown_address,
            unfilled,
        })
    }
}

/// Puts a value where its name belongs. Returns whether it has a place.
#[expect(
    clippy::ptr_arg,
    reason = "what is kept must borrow from the request, as a clone of the Cow does"
)]
fn put<'a>(
    slots: &mut [GivenValue<'a, '_>],
    name: &str,
    value: &Cow<'a, str>,
    unfilled: &mut Option<Box<str>>,
) -> bool {
    let mut is_alias = false;
    for slot in slots {
        let Some(place) = slot.place(name) else { continue };
        is_alias = true;
        if unfilled.is_none() && slot.is_unfilled(value) {
            *unfilled = Some(Box::from(first_chars(name, 64)));
        }
        if slot.wants(place, value) {
            slot.found = Some((place, value.clone()));
        }
        // only the address parameters may share a name: config/check/endpoints.rs
        if slot.kind != ValueKind::Addresses {
            break;
        }
    }
    is_alias
}

/// The names and values of a query or a form, decoded.
fn pairs(text: &[u8]) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    // a loop without an early end lets the compiler compare many bytes at once
    let is_encoded = text.iter().fold(false, |is, byte| is | matches!(byte, b'%' | b'+'));
    let pairs = text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
    pairs.map(move |pair| match str::from_utf8(pair) {
        Ok(plain) if !is_encoded => {
            let (name, value) = plain.split_once('=').unwrap_or((plain, ""));
            (Cow::Borrowed(name), Cow::Borrowed(value))
        }
        _ => form_urlencoded::parse(pair).next().unwrap_or_default(),
    })
}

/// Whether it is `offline` with a value.
fn is_offline(name: &str, value: &str) -> bool {
    name.eq_ignore_ascii_case("offline") && !value.trim().is_empty()
}

fn is_address(value: &str) -> bool {
    value.len() <= MAX_ADDRESS && value.trim().parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    fn read<'a>(query: &'a str, form: &'a str, names: &Params) -> Parameters<'a> {
        Parameters::read(query, form.as_bytes(), names).unwrap()
    }

    #[test]
    fn the_first_name_that_has_a_value_wins() {
        let given = "ip4=&myip=&ipv4=192.0.2.1&myip=192.0.2.2";
        let value = |list: &[&str]| {
            let params = Params { ipv4: names(list), ..Params::default() };
            read(given, "", &params).ipv4.map(Cow::into_owned)
        };
        assert_eq!(value(&["myip", "ipv4"]).as_deref(), Some("192.0.2.2"));
        assert_eq!(value(&["ip4", "ipv4"]).as_deref(), Some("192.0.2.1"));
        assert_eq!(value(&["ip4"]), None);
        assert_eq!(value(&[]), None);
    }

    #[test]
    fn a_name_counts_in_any_case_and_after_a_leading_amp() {
        let params = Params { username: names(&["b", "p;b"]), ..Params::default() };
        let given = read("a=1&amp;MyIp=192.0.2.1&AMP;token=x&amp;amp;b=2", "", &params);
        assert_eq!(given.ipv4.as_deref(), Some("192.0.2.1"));
        assert_eq!(given.password.as_deref(), Some("x"));
        assert_eq!(given.username, None);
    }

    #[test]
    fn an_address_under_an_unknown_name_is_found() {
        let unknown = |given: &str| read(given, "", &Params::default()).unknown_address;
        let given = "user=a&x=no&wan6=+2001:db8::1&ip=192.0.2.1&wan4=192.0.2.2";
        assert_eq!(unknown(given).as_deref(), Some("wan6"));
        assert_eq!(unknown("ip=192.0.2.1&user=192.0.2.2&url=x"), None);
    }

    #[test]
    fn a_list_without_items_counts_as_not_given() {
        let given = read("myip=,&myip=+,%20,&ipv4=,192.0.2.1&pass=,", "", &Params::default());
        assert_eq!(given.ipv4.as_deref(), Some(",192.0.2.1"));
        assert_eq!(given.password.as_deref(), Some(","), "a password is no list");
        assert_eq!(read("myip=,", "", &Params::default()).ipv4, None);
    }

    #[test]
    fn a_placeholder_counts_as_not_given_where_an_address_is_expected() {
        let query = "myip=<ipaddr>&ipv4=192.0.2.1&prefix=<ip6lanprefix>&token=<pass>";
        let given = read(query, "", &Params::default());
        assert_eq!((given.ipv4.as_deref(), given.prefix6), (Some("192.0.2.1"), None));
        assert_eq!(given.unfilled.as_deref(), Some("myip"));
        assert_eq!(given.password.as_deref(), Some("<pass>"));
        assert_eq!(read("myip=192.0.2.1", "", &Params::default()).unfilled, None);
    }

    #[test]
    fn the_query_comes_before_the_form() {
        let form = "hostname=f.example&myip=192.0.2.1";
        let given = read("hostname=q.example", form, &Params::default());
        assert_eq!(given.hostname.as_deref(), Some("q.example"));
        assert_eq!(given.ipv4.as_deref(), Some("192.0.2.1"));
    }

    #[test]
    fn escapes_are_decoded_and_broken_ones_kept() {
        let given =
            read("myip=2001%3adb8%3A%3A1&user=x+y&pass=%zz&host=%ff", "", &Params::default());
        assert_eq!(given.ipv4.as_deref(), Some("2001:db8::1"));
        assert_eq!(given.username.as_deref(), Some("x y"));
        assert_eq!(given.password.as_deref(), Some("%zz"));
        assert_eq!(given.hostname.as_deref(), Some("\u{fffd}"));
    }

    #[test]
    fn offline_asks_to_take_the_host_down_unless_it_is_the_name_of_a_parameter() {
        let alias = Params { notify_change: names(&["offline"]), ..Params::default() };
        assert!(read("offline=YES", "", &Params::default()).is_offline);
        assert!(read("", "offline=yes", &Params::default()).is_offline);
        assert!(!read("offline=no", "", &Params::default()).is_offline);
        assert!(!read("offline=YES", "", &alias).is_offline);
    }

    #[test]
    fn more_than_256_parameters_are_refused() {
        let many = |count| "a&".repeat(count);
        let read = |query: &str, form: &str| {
            Parameters::read(query, form.as_bytes(), &Params::default()).is_ok()
        };
        assert!(read(&many(MAX_PARAMETERS), ""));
        assert!(!read(&many(MAX_PARAMETERS + 1), ""));
        assert!(!read(&many(MAX_PARAMETERS), "user=a"));
    }
}
