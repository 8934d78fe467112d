//! Names, checked once at the edge: host names and zones as lower-case A-labels without a trailing
//! dot, user names in NFC, mail addresses. IDNA 2008, non-transitional UTS 46.

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Why a text is not the name it should be. Prints as the end of a sentence about that text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("it is empty")]
    Empty,
    /// Over 253 octets, or a label over 63.
    #[error("it is longer than DNS allows (253 octets, 63 per label)")]
    TooLong,
    /// A character, hyphen or empty label that host names may not have.
    #[error(
        "it is not a legal host name (letters, digits and inner hyphens, labels separated by dots)"
    )]
    Illegal,
    /// `pc` instead of `pc.example.org`.
    #[error("it is a single label, not a fully qualified name")]
    SingleLabel,
    /// `1.2.3.4`, or any name whose last label is a number.
    #[error("its last label is a number, so it looks like an address")]
    NumericTop,
    /// User name: over 64 characters.
    #[error("it is longer than 64 characters")]
    UserTooLong,
    /// User name: a control character, a colon or a space at an end.
    #[error("it has a control character, a colon, or a space at an end")]
    UserIllegal,
    /// Not one local part, `@` and a domain.
    #[error("it is not a mail address like user@example.org")]
    NotMail,
}

/// Bytes. A longer text is rejected at once; U-labels may be longer than their A-labels.
const MAX_INPUT: usize = 1024;

/// RFC 1123, 2.1 allows `my--host`, and DNS has such names; what begins with `xn--` must still be a
/// whole A-label, whatever this says.
const HYPHENS: Hyphens = Hyphens::CheckFirstLast;

fn to_a_labels(text: &str) -> Result<Cow<'_, str>, NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if is_in_a_labels(text) {
        return Ok(Cow::Borrowed(text));
    }
    if text.len() > MAX_INPUT || is_too_long(text) {
        return Err(NameError::TooLong);
    }
    let ascii = Uts46::new()
        .to_ascii(text.as_bytes(), AsciiDenyList::STD3, HYPHENS, DnsLength::Ignore)
        .map_err(|_| NameError::Illegal)?;
    let name = ascii.strip_suffix('.').unwrap_or(&ascii);
    if name.len() > 253 || name.split('.').any(|label| label.len() > 63) {
        return Err(NameError::TooLong);
    }
    if name.split('.').any(str::is_empty) {
        return Err(NameError::Illegal);
    }
    Ok(Cow::Owned(name.to_owned()))
}

/// Whether the text is a legal name as it stands, without anything to map. Nearly every one is.
fn is_in_a_labels(text: &str) -> bool {
    let is_allowed = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(is_allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
            && !label.starts_with("xn--")
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

/// Whether no A-label form of the text fits into DNS. Checked first, because the time for punycode
/// grows with the square of its length.
fn is_too_long(text: &str) -> bool {
    let is_long = |label: &str| label.is_ascii() && label.len() > 63;
    // 253 octets and a trailing dot
    // the other dots are those of UTS 46
    let mut labels = text.split(['.', '\u{3002}', '\u{ff0e}', '\u{ff61}']);
    text.is_ascii() && text.len() > 254 || labels.any(is_long)
}

fn to_u_labels(a_labels: &str) -> String {
    let (unicode, valid) =
        Uts46::new().to_unicode(a_labels.as_bytes(), AsciiDenyList::STD3, HYPHENS);
    if valid.is_ok() { unicode.into_owned() } else { a_labels.to_owned() }
}

/// A fully qualified host name: lower-case A-labels, no trailing dot, two labels or more, at most
/// 253 octets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fqdn(Arc<str>);

impl Fqdn {
    /// Reads a name as people and clients write it: any case, U-labels or A-labels, with or without
    /// a trailing dot.
    ///
    /// # Errors
    /// Says what about the text is not a legal host name.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let name = to_a_labels(text)?;
        let (_, top) = name.rsplit_once('.').ok_or(NameError::SingleLabel)?;
        // RFC 3696, 2: top-level names are not all-numeric, so that names and addresses differ
        if top.bytes().all(|b| b.is_ascii_digit()) {
            return Err(NameError::NumericTop);
        }
        Ok(Self(name.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The readable form, with U-labels.
    pub fn to_unicode(&self) -> String {
        to_u_labels(&self.0)
    }
}

impl fmt::Display for Fqdn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where the zone begins in the name of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZoneStart(u8);

impl ZoneStart {
    /// `None` if the name is not made of these two; `@` is the label of the zone's own name.
    pub fn find(name: &Fqdn, label: &str, zone: &str) -> Option<Self> {
        let above = name.as_str().strip_suffix(zone)?;
        let is_label =
            if label == "@" { above.is_empty() } else { above.strip_suffix('.')? == label };
        u8::try_from(above.len()).ok().filter(|_| is_label && !zone.is_empty()).map(Self)
    }

    /// The zone of this name, which shares its text.
    pub fn zone_of(self, name: &Fqdn) -> Zone {
        Zone { text: Arc::clone(&name.0), start: self.0 }
    }

    /// This name within its zone.
    pub fn label_of(self, name: &Fqdn) -> Label {
        let above = name.as_str().get(..self.0.into()).and_then(|above| above.strip_suffix('.'));
        Label(above.unwrap_or("@").into())
    }
}

/// A DNS zone's name, as [`Fqdn`], but one label is enough. The zone of a host shares the text of
/// the host's name.
#[derive(Clone)]
pub struct Zone {
    text: Arc<str>,
    /// Where the zone begins in the text.
    start: u8,
}

impl Zone {
    /// Reads a zone name as people write it.
    ///
    /// # Errors
    /// Says what about the text is not a legal name.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        to_a_labels(text).map(|name| Self { text: name.into(), start: 0 })
    }

    /// The A-labels, without a trailing dot.
    pub fn as_str(&self) -> &str {
        self.text.get(self.start.into()..).unwrap_or_default()
    }

    /// The readable form, with U-labels.
    pub fn to_unicode(&self) -> String {
        to_u_labels(self.as_str())
    }

    /// Whether `other` is this zone or below it.
    pub fn holds(&self, other: &Zone) -> bool {
        let rest = other.as_str().strip_suffix(self.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Zone {}

impl PartialOrd for Zone {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Zone {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl Hash for Zone {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Zone").field(&self.as_str()).finish()
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A host's name within its zone: one label or more, or `@` for the zone's own name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Label(Arc<str>);

impl Label {
    /// Reads the name below the zone, `@` for the zone itself.
    ///
    /// # Errors
    /// Says what about the text is not a legal name.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text == "@" {
            return Ok(Self("@".into()));
        }
        if text.ends_with('.') {
            return Err(NameError::Illegal);
        }
        to_a_labels(text).map(|name| Self(name.into()))
    }

    /// The A-labels, or `@`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The readable form, with U-labels.
    pub fn to_unicode(&self) -> String {
        if &*self.0 == "@" { "@".to_owned() } else { to_u_labels(&self.0) }
    }

    /// The host's full name.
    ///
    /// # Errors
    /// Label and zone together are no legal FQDN (too long, or a single label).
    pub fn in_zone(&self, zone: &Zone) -> Result<Fqdn, NameError> {
        if &*self.0 == "@" {
            Fqdn::parse(zone.as_str())
        } else {
            Fqdn::parse(&format!("{}.{zone}", self.0))
        }
    }
}

/// Where a host is: its name within its zone, and the FQDN of both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostNames {
    pub label: Label,
    pub zone: Zone,
    pub fqdn: Fqdn,
}

impl HostNames {
    /// # Errors
    /// See [`Label::in_zone`].
    pub fn new(label: Label, zone: Zone) -> Result<Self, NameError> {
        let fqdn = label.in_zone(&zone)?;
        Ok(Self { label, zone, fqdn })
    }
}

/// A user's name: 1 to 64 characters, NFC, case-sensitive.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserName(Arc<str>);

impl UserName {
    /// Reads a name and brings it into NFC.
    ///
    /// # Errors
    /// Empty, over 64 characters, a control character, a colon (Basic credentials end the name
    /// there, RFC 7617, 2), or a space at an end.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > MAX_INPUT {
            return Err(NameError::UserTooLong);
        }
        // ASCII is in NFC
        let name = if text.is_ascii() {
            Cow::Borrowed(text)
        } else {
            icu_normalizer::ComposingNormalizerBorrowed::new_nfc().normalize(text)
        };
        if name.chars().count() > 64 {
            return Err(NameError::UserTooLong);
        }
        let illegal = name.chars().any(|c| c.is_control() || c == ':') || name.trim() != name;
        if illegal { Err(NameError::UserIllegal) } else { Ok(Self(name.as_ref().into())) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A mail address whose form was checked; it may still take no mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email(Box<str>);

impl Email {
    /// Checks for a local part, one `@` and a legal domain.
    ///
    /// # Errors
    /// [`NameError::NotMail`].
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let (local, domain) = text.rsplit_once('@').ok_or(NameError::NotMail)?;
        // RFC 5321, 4.5.3.1: 64 octets before the @, 254 for all of it
        let fits = !local.is_empty() && local.len() <= 64 && text.len() <= 254;
        // RFC 5321, 4.1.2: a dot-string; RFC 6531 adds everything beyond ASCII
        let atom = |part: &str| {
            !part.is_empty()
                && part.chars().all(|c| {
                    c.is_alphanumeric()
                        || !c.is_ascii() && !c.is_control() && !c.is_whitespace()
                        || "!#$%&'*+-/=?^_`{|}~".contains(c)
                })
        };
        if fits && local.split('.').all(atom) && to_a_labels(domain).is_ok() {
            Ok(Self(text.into()))
        } else {
            Err(NameError::NotMail)
        }
    }

    /// The address as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The local part, and the domain in A-labels, which every mail server understands.
    pub fn parts(&self) -> (&str, String) {
        let (local, domain) = self.0.rsplit_once('@').unwrap_or((&self.0, ""));
        // checked by `parse`
        let domain = to_a_labels(domain).map_or_else(|_| domain.to_owned(), Cow::into_owned);
        (local, domain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_that_is_too_long_is_rejected_before_punycode_is_decoded() {
        let label = format!("xn--{}", "a".repeat(59));
        for long in [
            format!("{label}a.example"),
            format!("\u{fc}\u{3002}{label}a\u{3002}example"),
            format!("{}example.org", "a1.".repeat(90)),
            // decoding would find it illegal
            format!("xn--a.{label}a.example"),
        ] {
            assert!(is_too_long(&long), "{long}");
            assert_eq!(Fqdn::parse(&long), Err(NameError::TooLong), "{long}");
        }
        let longest = format!("{}a.", "b.".repeat(126));
        assert_eq!(Fqdn::parse(&longest).map(|name| name.as_str().len()), Ok(253));
    }

    proptest! {
        #[test]
        fn a_name_that_is_legal_as_it_stands_is_what_idna_makes_of_it(
            text in "[a-z0-9.-]{0,3}(xn--)?[a-z0-9]{1,3}[a-z0-9.-]{0,70}"
        ) {
            let mapped = Uts46::new()
                .to_ascii(text.as_bytes(), AsciiDenyList::STD3, HYPHENS, DnsLength::Ignore);
            if is_in_a_labels(&text) {
                prop_assert_eq!(mapped.unwrap_or_default(), text.as_str());
            } else if text.len() <= 253 && mapped.is_ok() {
                let is_odd = |label: &str| {
                    label.is_empty() || label.len() > 63 || label.starts_with("xn--")
                };
                prop_assert!(text.split('.').any(is_odd), "{}", text);
            }
        }
    }

    #[test]
    fn a_host_name_is_read_in_any_case_and_form() {
        for text in ["Home.Example.ORG", "home.example.org.", "ｈｏｍｅ.example.org"] {
            assert_eq!(Fqdn::parse(text).unwrap().as_str(), "home.example.org", "{text}");
        }
        let idn = Fqdn::parse("Bücher.example").unwrap();
        assert_eq!(idn.as_str(), "xn--bcher-kva.example");
        assert_eq!(idn.to_unicode(), "bücher.example");
        assert_eq!(Fqdn::parse("xn--bcher-kva.example").unwrap(), idn);
        assert_eq!(Fqdn::parse("faß.example").unwrap().as_str(), "xn--fa-hia.example");
    }

    #[test]
    fn two_hyphens_are_legal_anywhere_but_in_a_broken_a_label() {
        for name in ["my--host.example", "r3---sn-x.example", "a-b--c.example"] {
            assert_eq!(Fqdn::parse(name).unwrap().as_str(), name);
            assert_eq!(Fqdn::parse(name).unwrap().to_unicode(), name);
        }
        for name in ["xn--.example", "xn--a.example", "xn--abc-.example", "XN--\u{fc}.example"] {
            assert_eq!(Fqdn::parse(name), Err(NameError::Illegal), "{name}");
        }
    }

    #[test]
    fn an_illegal_host_name_is_rejected_with_the_reason() {
        let long = format!("{}.example", "a".repeat(64));
        let too_long = format!("{}example", "abcdefg.".repeat(32));
        for (text, why) in [
            ("", NameError::Empty),
            ("pc", NameError::SingleLabel),
            ("pc.", NameError::SingleLabel),
            ("a_b.example", NameError::Illegal),
            ("-a.example", NameError::Illegal),
            ("a..example", NameError::Illegal),
            ("a.example..", NameError::Illegal),
            (".a.example", NameError::Illegal),
            ("*.example", NameError::Illegal),
            ("a b.example", NameError::Illegal),
            ("1.2.3.4", NameError::NumericTop),
            (&long, NameError::TooLong),
            (&too_long, NameError::TooLong),
        ] {
            assert_eq!(Fqdn::parse(text), Err(why), "{text}");
        }
    }

    #[test]
    fn the_zone_itself_is_a_host_called_at() {
        let zone = Zone::parse("Dyn.Example.com.").unwrap();
        assert_eq!(Label::parse("@").unwrap().in_zone(&zone).unwrap().as_str(), "dyn.example.com");
        let deep = Label::parse("a.B").unwrap().in_zone(&zone).unwrap();
        assert_eq!(deep.as_str(), "a.b.dyn.example.com");
        assert!(Label::parse("@").unwrap().in_zone(&Zone::parse("lan").unwrap()).is_err());
    }

    #[test]
    fn a_zone_holds_itself_and_its_subdomains_but_no_lookalike() {
        let zone = Zone::parse("example.com").unwrap();
        assert!(zone.holds(&zone));
        assert!(zone.holds(&Zone::parse("dyn.example.com").unwrap()));
        assert!(!zone.holds(&Zone::parse("badexample.com").unwrap()));
    }

    #[test]
    fn the_zone_of_a_host_is_the_rest_of_its_name() {
        let name = Fqdn::parse("a.b.example.org").unwrap();
        for (label, zone) in [("a", "b.example.org"), ("a.b", "example.org"), ("@", name.as_str())]
        {
            let start = ZoneStart::find(&name, label, zone).unwrap();
            assert_eq!(start.zone_of(&name), Zone::parse(zone).unwrap());
            assert_eq!(start.label_of(&name).as_str(), label);
        }
        for (label, zone) in [
            ("a", "example.org"),
            ("b", "b.example.org"),
            ("@", "b.example.org"),
            ("a.", "b.example.org"),
            ("", name.as_str()),
            (name.as_str(), ""),
            ("a.b.example.or", "g"),
        ] {
            assert!(ZoneStart::find(&name, label, zone).is_none(), "{label} {zone}");
        }
    }

    #[test]
    fn user_names_are_nfc_and_keep_their_case() {
        assert_eq!(UserName::parse("Zoe\u{308}").unwrap().as_str(), "Zoë");
        for bad in ["", "a:b", " a", "a ", "a\nb", &"x".repeat(65)] {
            assert!(UserName::parse(bad).is_err(), "{bad:?}");
        }
        assert!(UserName::parse(&"ü".repeat(64)).is_ok());
    }

    #[test]
    fn mail_addresses_need_both_sides_of_the_at() {
        for good in ["a@example.org", "a.b+c@example.org", "ü@bücher.example", "root@localhost"] {
            assert!(Email::parse(good).is_ok(), "{good}");
        }
        for bad in
            ["", "a", "@example.org", "a@", "a b@example.org", "a@b@c", "a@x\r\ny", "a..b@c.d"]
        {
            assert!(Email::parse(bad).is_err(), "{bad:?}");
        }
    }
}
