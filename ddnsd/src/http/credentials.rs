//! The credentials of a request. In: the Authorization header and the parameters. Out: a login, the
//! header before the parameters.

use crate::model::name::UserName;
use crate::model::secret::Secret;
use crate::model::text::first_chars;
use crate::rules::request::Login;
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

/// Some clients omit the padding.
static BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A header without a user name, or of another scheme, counts as not given.
pub(super) fn login(header: Option<&[u8]>, user: Option<&str>, password: Option<&str>) -> Login {
    let by_parameters =
        || user.map_or(Login::Missing, |user| given(user, password.unwrap_or_default()));
    let Some(token) = header.and_then(basic_token) else { return by_parameters() };
    let mut decoded = Zeroizing::new(Vec::with_capacity(token.len()));
    let legal = BASE64.decode_vec(token, &mut decoded).ok();
    let text = legal.and_then(|()| std::str::from_utf8(&decoded).ok());
    let Some(text) = text else { return Login::Unreadable { name: String::new() } };
    // RFC 7617, 2: the user name ends at the first colon
    match text.split_once(':').unwrap_or((text, "")) {
        ("", _) => by_parameters(),
        (user, password) => given(user, password),
    }
}

fn given(name: &str, password: &str) -> Login {
    match UserName::parse(name) {
        Ok(user) => Login::Given { user, password: Secret::new(password.to_owned()) },
        // such a user cannot exist; the log shows the start of the name
        Err(_) => Login::Unreadable { name: first_chars(name, 64).to_owned() },
    }
}

/// What a Basic header (RFC 7617) holds; `None` for another scheme.
fn basic_token(header: &[u8]) -> Option<&[u8]> {
    let header = header.trim_ascii();
    let end = header.iter().position(|byte| *byte == b' ').unwrap_or(header.len());
    let (scheme, token) = header.split_at_checked(end)?;
    scheme.eq_ignore_ascii_case(b"basic").then_some(token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(header: Option<&str>, user: Option<&str>, password: Option<&str>) -> String {
        match login(header.map(str::as_bytes), user, password) {
            Login::Missing => "missing".into(),
            Login::Unreadable { name } => format!("unreadable {name}"),
            Login::Given { user, password } => format!("{user} {}", password.expose()),
        }
    }

    #[test]
    fn the_header_comes_before_the_parameters() {
        // alice:se:cret
        let alice = Some("Basic YWxpY2U6c2U6Y3JldA==");
        assert_eq!(read(alice, Some("bob"), Some("x")), "alice se:cret");
        assert_eq!(read(Some("bAsIc  YWxpY2U6c2U6Y3JldA"), None, None), "alice se:cret");
        assert_eq!(read(None, Some("bob"), Some("x")), "bob x");
        assert_eq!(read(None, Some("bob"), None), "bob ");
    }

    #[test]
    fn a_header_without_credentials_counts_as_not_given() {
        // ":" is what inadyn sends without credentials
        for nothing in ["Basic Og==", "Basic ", "Basic", "Bearer abc", "Digest username=\"a\""] {
            assert_eq!(read(Some(nothing), None, None), "missing", "{nothing}");
            assert_eq!(read(Some(nothing), Some("bob"), Some("x")), "bob x", "{nothing}");
        }
        assert_eq!(read(None, None, Some("x")), "missing");
    }

    #[test]
    fn a_header_that_cannot_be_decoded_is_wrong_whatever_the_parameters_say() {
        for wrong in ["Basic ???", "Basic /////w=="] {
            assert_eq!(read(Some(wrong), Some("bob"), Some("x")), "unreadable ", "{wrong}");
        }
        // "a\nb:x" is no user's name
        assert_eq!(read(Some("Basic YQpiOng="), None, None), "unreadable a\nb");
    }
}
