//! Requests that a page of another site makes a browser send, with the password that the browser
//! remembers. In: the headers. Out: whether it is one.

use http::header::{HOST, ORIGIN, REFERER};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use std::net::Ipv6Addr;

/// W3C Fetch Metadata, 2.3. Browsers send it to https and to loopback addresses only.
static SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// `host_is_kept`: no proxy may have replaced `Host`.
pub(super) fn is_from_foreign_site(headers: &HeaderMap, host_is_kept: bool) -> bool {
    match headers.get(&SEC_FETCH_SITE).map(HeaderValue::as_bytes) {
        // the hosts of other users are of the same site
        Some(site) => matches!(site, b"cross-site" | b"same-site"),
        None => host_is_kept && names_foreign_page(headers),
    }
}

/// Whether the page that made the browser send it is of another host than `Host`.
fn names_foreign_page(headers: &HeaderMap) -> bool {
    let lower = |name| {
        let value: &HeaderValue = headers.get(name)?;
        value.to_str().ok().map(str::to_ascii_lowercase)
    };
    // update clients send neither
    let (origin, referer) = (lower(ORIGIN), lower(REFERER));
    if origin.is_none() && referer.is_none() {
        return false;
    }
    let Some(Ok(asked)) = lower(HOST).map(|host| host.parse::<Authority>()) else { return false };
    let is_foreign = |page: &String| {
        let page = page.parse::<Uri>().ok().filter(|page| page.scheme().is_some())?;
        Some(name(page.host()?) != name(asked.host()))
    };
    // of a sandboxed page it is "null"
    let by_origin = origin.is_some_and(|page| page == "null" || is_foreign(&page) == Some(true));
    by_origin || referer.is_some_and(|page| is_foreign(&page) == Some(true))
}

/// A host without what two spellings of it differ in.
fn name(host: &str) -> Result<Ipv6Addr, &str> {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let address = address.and_then(|address| address.parse().ok());
    address.ok_or(host.strip_suffix('.').unwrap_or(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_foreign(lines: &[(&'static str, &'static str)], host_is_kept: bool) -> bool {
        let line = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let host = ("host", "DDNS.example:8443");
        let headers = [host].iter().chain(lines).map(line).collect();
        is_from_foreign_site(&headers, host_is_kept)
    }

    #[test]
    fn a_browser_says_whether_it_asks_for_another_site() {
        for (site, foreign) in [
            ("cross-site", true),
            ("same-site", true),
            ("same-origin", false),
            ("none", false),
            ("later-than-this", false),
        ] {
            for host_is_kept in [true, false] {
                let lines = [("sec-fetch-site", site), ("referer", "https://evil.example/")];
                assert_eq!(is_foreign(&lines, host_is_kept), foreign, "{site}");
            }
        }
    }

    #[test]
    fn an_older_browser_names_the_page() {
        for (name, page, foreign) in [
            ("origin", "https://ddns.example:8443", false),
            ("origin", "http://ddns.EXAMPLE", false),
            ("referer", "https://ddns.example/nic/update?a=b", false),
            ("origin", "https://evil.example", true),
            ("origin", "https://ddns.example.evil.example", true),
            ("origin", "null", true),
            ("referer", "http://evil.example/ddns.example", true),
            ("referer", "http://ddns.example@evil.example/", true),
            ("referer", "", false),
            ("referer", "other.example", false),
            ("referer", "https://ddns.example.:8443/", false),
            ("origin", "https://[0:0::1]", true),
        ] {
            assert_eq!(is_foreign(&[(name, page)], true), foreign, "{name}: {page}");
            assert!(!is_foreign(&[(name, page)], false), "a proxy may have replaced Host");
        }
    }

    #[test]
    fn an_update_client_names_nothing() {
        assert!(!is_foreign(&[("user-agent", "ddclient/3.10.0")], true));
    }
}
