//! The parameters of a request. In: query string and form body, undecoded. Out: the value each
//! endpoint parameter has by its accepted names.

use crate::config::is_param;
use std::borrow::Cow;
use std::net::IpAddr;

/// Decoded parameters: those of the query, then those of the form.
#[derive(Default)]
pub(super) struct Parameters<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Parameters<'a> {
    /// What is not UTF-8 decodes to U+FFFD, which no name, address or password contains.
    pub(super) fn read(query: &'a str, form: &'a [u8]) -> Self {
        let query = form_urlencoded::parse(query.as_bytes());
        Self(query.chain(form_urlencoded::parse(form)).collect())
    }

    /// The value of the first name that has one. An empty value counts as not given.
    pub(super) fn value(&self, names: &[String]) -> Option<&str> {
        names.iter().find_map(|name| self.named(name))
    }

    /// The comma list of the first name that has one. A list without items counts as not given.
    pub(super) fn list(&self, names: &[String]) -> Option<&str> {
        let has_items = |value: &str| value.split(',').any(|item| !item.trim().is_empty());
        names.iter().find_map(|name| self.values(name).find(|value| has_items(value)))
    }

    pub(super) fn named(&self, name: &str) -> Option<&str> {
        self.values(name).find(|value| !value.trim().is_empty())
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        let named = move |(given, _): &&(Cow<'a, str>, _)| is_param(given, name);
        self.0.iter().filter(named).map(|(_, value)| value.as_ref())
    }

    /// The first name whose value is an address, of those that `is_known` does not take.
    pub(super) fn unknown_address(&self, is_known: impl Fn(&str) -> bool) -> Option<&str> {
        let is_address = |value: &str| value.trim().parse::<IpAddr>().is_ok();
        let mut unknown = self.0.iter().filter(|(name, _)| !is_known(name));
        unknown.find(|(_, value)| is_address(value)).map(|(name, _)| name.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_first_name_that_has_a_value_wins() {
        let given = Parameters::read("ip4=&myip=&ipv4=192.0.2.1&myip=192.0.2.2", b"");
        assert_eq!(given.value(&names(&["myip", "ipv4"])), Some("192.0.2.2"));
        assert_eq!(given.value(&names(&["ip4", "ipv4"])), Some("192.0.2.1"));
        assert_eq!(given.value(&names(&["ip4"])), None);
        assert_eq!(given.value(&[]), None);
    }

    #[test]
    fn a_name_counts_in_any_case_and_after_a_leading_amp() {
        let given = Parameters::read("a=1&amp;MyIp=192.0.2.1&AMP;token=x&amp;amp;b=2", b"");
        assert_eq!(given.value(&names(&["myip"])), Some("192.0.2.1"));
        assert_eq!(given.value(&names(&["Token"])), Some("x"));
        assert_eq!(given.value(&names(&["b", "p;b"])), None);
    }

    #[test]
    fn an_address_under_an_unknown_name_is_found() {
        let given = Parameters::read("user=a&x=no&wan6=+2001:db8::1&ip=192.0.2.1", b"");
        assert_eq!(given.unknown_address(|name| name == "ip"), Some("wan6"));
        assert_eq!(given.unknown_address(|name| name == "wan6"), Some("ip"));
        assert_eq!(given.unknown_address(|_| true), None);
    }

    #[test]
    fn a_list_without_items_counts_as_not_given() {
        let given = Parameters::read("myip=,&myip=+,%20,&ipv4=,192.0.2.1&pass=,", b"");
        assert_eq!(given.list(&names(&["myip", "ipv4"])), Some(",192.0.2.1"));
        assert_eq!(given.list(&names(&["myip"])), None);
        assert_eq!(given.value(&names(&["pass"])), Some(","), "a password is no list");
    }

    #[test]
    fn the_query_comes_before_the_form() {
        let given = Parameters::read("hostname=q.example", b"hostname=f.example&myip=192.0.2.1");
        assert_eq!(given.named("hostname"), Some("q.example"));
        assert_eq!(given.named("myip"), Some("192.0.2.1"));
    }

    #[test]
    fn escapes_are_decoded_and_broken_ones_kept() {
        let given = Parameters::read("myip=2001%3adb8%3A%3A1&a=x+y&b=%zz&c=%ff", b"");
        assert_eq!(given.named("myip"), Some("2001:db8::1"));
        assert_eq!(given.named("a"), Some("x y"));
        assert_eq!(given.named("b"), Some("%zz"));
        assert_eq!(given.named("c"), Some("\u{fffd}"));
    }
}
