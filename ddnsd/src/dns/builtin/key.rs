//! Names as keys: labels in reverse order, lower case, joined by dots, so that the names of a zone,
//! and those below a name, are neighbours. `pc.dyn.example` is `example.dyn.pc`.

use hickory_proto::rr::Name;

/// A name's key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct NameKey(Vec<u8>);

impl NameKey {
    /// Of a checked name without a trailing dot.
    pub(super) fn of_text(name: &str) -> Self {
        let mut key = Vec::with_capacity(name.len());
        for label in name.rsplit('.') {
            push(&mut key, label.as_bytes());
        }
        Self(key)
    }

    /// Of a name in a message.
    pub(super) fn of_name(name: &Name) -> Self {
        let mut key = Vec::with_capacity(usize::from(u8::MAX));
        for label in name.iter().rev() {
            push(&mut key, label);
        }
        Self(key)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// See [`and_above`].
    pub(super) fn and_above(&self) -> impl Iterator<Item = &[u8]> {
        and_above(&self.0)
    }
}

/// A key, and that of each name above it, the longest first; not the root's.
pub(super) fn and_above(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(key).filter(|key| !key.is_empty());
    std::iter::from_fn(move || {
        let key = rest?;
        let dot = key.iter().rposition(|byte| *byte == b'.');
        rest = dot.and_then(|dot| key.get(..dot));
        Some(key)
    })
}

impl std::borrow::Borrow<[u8]> for NameKey {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

fn push(key: &mut Vec<u8>, label: &[u8]) {
    if !key.is_empty() {
        key.push(b'.');
    }
    // a dot within a label must not look like two labels; no checked name has this byte
    let byte = |byte: &u8| if *byte == b'.' { 0xff } else { byte.to_ascii_lowercase() };
    key.extend(label.iter().map(byte));
}

/// The part of a key below a zone's; empty for the zone's own name. `None` if it lies elsewhere.
pub(super) fn below<'a>(key: &'a [u8], zone: &[u8]) -> Option<&'a [u8]> {
    match key.strip_prefix(zone)? {
        [] => Some(&[]),
        [b'.', rest @ ..] => Some(rest),
        _ => None,
    }
}

/// The labels of a key's name, in the order of the name.
pub(super) fn labels(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    key.rsplit(|byte| *byte == b'.').filter(|label| !label.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_its_text_have_the_same_key() {
        let name = Name::from_ascii("PC.Dyn.example.").unwrap();
        let key = NameKey::of_name(&name);
        assert_eq!(key, NameKey::of_text("pc.dyn.example"));
        assert_eq!(key.as_bytes(), b"example.dyn.pc");
        let above: Vec<_> = key.and_above().map(<[u8]>::to_vec).collect();
        assert_eq!(above, [&b"example.dyn.pc"[..], b"example.dyn", b"example"]);
        assert_eq!(NameKey::of_name(&Name::root()).and_above().count(), 0);
        assert_eq!(labels(b"b.a").collect::<Vec<_>>(), [b"a", b"b"]);
    }

    #[test]
    fn a_dot_within_a_label_is_not_a_separator() {
        let name = Name::from_labels([&b"pc.dyn"[..], b"example"]).unwrap();
        assert_ne!(NameKey::of_name(&name), NameKey::of_text("pc.dyn.example"));
        assert_eq!(NameKey::of_name(&name).and_above().count(), 2);
    }

    #[test]
    fn only_whole_labels_lie_below_a_zone() {
        assert_eq!(below(b"example.dyn.pc", b"example.dyn"), Some(&b"pc"[..]));
        assert_eq!(below(b"example.dyn", b"example.dyn"), Some(&b""[..]));
        assert_eq!(below(b"example.dynamic", b"example.dyn"), None);
        assert_eq!(below(b"example", b"example.dyn"), None);
    }
}
