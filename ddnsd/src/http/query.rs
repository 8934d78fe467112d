//! The parameters of a request. In: query string and form body, undecoded. Out: the value each
//! endpoint parameter has by its accepted names.

use std::borrow::Cow;

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
        self.0.iter().filter(move |(given, _)| given == name).map(|(_, value)| value.as_ref())
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
