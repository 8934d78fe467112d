//! From a reply to HTTP: status, headers, text or JSON. The one place that maps return codes to
//! statuses.

use crate::model::address::Addresses;
use crate::rules::reply::{HostLine, Reply, ReturnCode};
use crate::serve::Response;
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// Retry-After where no limit gives one, seconds.
const DEFAULT_RETRY_AFTER: u64 = 30;

/// Bytes of most lines: a return code and an address.
const LINE: usize = 32;

static TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
static JSON: HeaderValue = HeaderValue::from_static("application/json");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReplyFormat {
    /// As DynDNS2 has it: a return code and addresses on each line.
    Text,
    Json,
}

impl ReplyFormat {
    /// What the Accept header prefers (RFC 9110, 12.5.1); text unless it asks for JSON.
    pub(super) fn accepted(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(http::header::ACCEPT).iter();
        let ranges: Vec<(&str, f32)> =
            lines.filter_map(|line| line.to_str().ok()).flat_map(ranges).collect();
        let quality = |names: [&str; 2]| {
            let named =
                |name: &str| ranges.iter().find(|(range, _)| range.eq_ignore_ascii_case(name));
            names.iter().find_map(|name| named(name)).map(|(_, quality)| *quality)
        };
        let any = quality(["*/*", "*/*"]);
        let json = quality(["application/json", "application/*"]).unwrap_or(0.0);
        let text = quality(["text/plain", "text/*"]).or(any).unwrap_or(0.0);
        if json > 0.0 && json >= text { ReplyFormat::Json } else { ReplyFormat::Text }
    }
}

/// The media ranges of an Accept line with their qualities.
fn ranges(line: &str) -> impl Iterator<Item = (&str, f32)> {
    line.split(',').map(|element| {
        let mut parts = element.split(';').map(str::trim);
        let range = parts.next().unwrap_or_default();
        let quality = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
        (range, quality.map_or(1.0, |quality| quality.parse().unwrap_or(0.0)))
    })
}

pub(super) fn response(reply: &Reply, form: ReplyFormat) -> Response {
    let code = reply.decisive_code();
    let status = status(code, form);
    let (kind, body) = match form {
        ReplyFormat::Text => (&TEXT, text(reply)),
        ReplyFormat::Json => (&JSON, json(reply)),
    };
    let mut response = plain(status, kind, body);
    if code == ReturnCode::Badauth {
        let challenge = HeaderValue::from_static("Basic realm=\"ddns\"");
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    if let Some(seconds) = retry_after(reply, status) {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

pub(super) fn method_not_allowed() -> Response {
    let mut response = sentence(StatusCode::METHOD_NOT_ALLOWED, "use GET or POST\n");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, POST"));
    response
}

pub(super) fn no_request() -> Response {
    sentence(StatusCode::INTERNAL_SERVER_ERROR, "no request\n")
}

/// A response outside the protocol: a status and a sentence.
pub(super) fn sentence(status: StatusCode, text: &'static str) -> Response {
    let mut response = plain(status, &TEXT, text);
    response.extensions_mut().insert(RefusalText(text.trim_end()));
    response
}

/// Why a request was refused; an extension of its reply.
#[derive(Clone, Copy)]
pub(super) struct RefusalText(pub(super) &'static str);

fn plain(status: StatusCode, kind: &HeaderValue, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(body.into().into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind.clone());
    response
}

/// In text, an error that only the user can fix is 200, because old clients show the reply on no
/// other status. A temporary error is 503, because some clients retry on nothing else.
fn status(code: ReturnCode, form: ReplyFormat) -> StatusCode {
    match (code, form) {
        (ReturnCode::Badauth, _) => StatusCode::UNAUTHORIZED,
        (ReturnCode::Abuse, ReplyFormat::Json) => StatusCode::TOO_MANY_REQUESTS,
        (ReturnCode::Dnserr | ReturnCode::ServerError | ReturnCode::Abuse, _) => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        (ReturnCode::Good | ReturnCode::Nochg, _) | (_, ReplyFormat::Text) => StatusCode::OK,
        (ReturnCode::Nohost, ReplyFormat::Json) => StatusCode::NOT_FOUND,
        (ReturnCode::Notfqdn | ReturnCode::Numhost | ReturnCode::Badip, ReplyFormat::Json) => {
            StatusCode::BAD_REQUEST
        }
    }
}

fn retry_after(reply: &Reply, status: StatusCode) -> Option<u64> {
    let given = match reply {
        Reply::Whole { retry_after, .. } => retry_after.map(whole_seconds),
        Reply::Hosts { .. } => None,
    };
    let busy = matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS);
    busy.then(|| given.unwrap_or(DEFAULT_RETRY_AFTER))
}

/// Rounded up, so that no client comes back too early.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

fn text(reply: &Reply) -> String {
    match reply {
        Reply::Whole { code, .. } => format!("{}\n", code.as_str()),
        Reply::Hosts { lines } => {
            let mut text = String::with_capacity(lines.len() * LINE);
            for line in lines {
                let shown = shown(line.code, &line.addresses);
                text.push_str(line.code.as_str());
                if !shown.is_empty() {
                    // writing into a string cannot fail
                    let _ = write!(text, " {shown}");
                }
                text.push('\n');
            }
            text
        }
    }
}

/// The addresses a line shows: with success only.
fn shown(code: ReturnCode, addresses: &Addresses) -> Addresses {
    match code {
        ReturnCode::Good | ReturnCode::Nochg => *addresses,
        _ => Addresses::default(),
    }
}

#[derive(Serialize)]
struct JsonList<'a> {
    status: &'static str,
    results: Vec<JsonLine<'a>>,
}

#[derive(Serialize)]
struct JsonLine<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<&'a str>,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ipv4: Option<Ipv4Addr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ipv6: Option<Ipv6Addr>,
}

fn json(reply: &Reply) -> String {
    let line = |hostname, code: ReturnCode, addresses: &Addresses| {
        let Addresses { v4: ipv4, v6: ipv6 } = shown(code, addresses);
        JsonLine { hostname, status: code.as_str(), ipv4, ipv6 }
    };
    let text = match reply {
        Reply::Whole { code, .. } => {
            serde_json::to_string(&line(None, *code, &Addresses::default()))
        }
        Reply::Hosts { lines } => match lines.as_slice() {
            [HostLine { code, addresses, .. }] => {
                serde_json::to_string(&line(None, *code, addresses))
            }
            lines => serde_json::to_string(&JsonList {
                status: reply.summary().as_str(),
                results: lines
                    .iter()
                    .map(|one| line(Some(one.hostname.as_str()), one.code, &one.addresses))
                    .collect(),
            }),
        },
    };
    // nothing in these types can fail to serialize
    text.unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(lines: &[(&str, ReturnCode)]) -> Reply {
        let addresses = Addresses { v4: "192.0.2.1".parse().ok(), v6: "2001:db8::1".parse().ok() };
        let line = |(name, code): &(&str, ReturnCode)| {
            let (hostname, code) = ((*name).into(), *code);
            HostLine { hostname, code, addresses, is_suspended: false }
        };
        Reply::Hosts { lines: lines.iter().map(line).collect() }
    }

    fn accept(value: &'static str) -> ReplyFormat {
        let mut headers = HeaderMap::new();
        headers.insert(http::header::ACCEPT, HeaderValue::from_static(value));
        ReplyFormat::accepted(&headers)
    }

    #[test]
    fn text_has_a_line_per_host_and_never_a_name() {
        let reply = hosts(&[("a.example", ReturnCode::Good), ("b.example", ReturnCode::Nohost)]);
        assert_eq!(text(&reply), "good 192.0.2.1 2001:db8::1\nnohost\n");
        assert_eq!(text(&Reply::whole(ReturnCode::Numhost)), "numhost\n");
        assert_eq!(text(&Reply::whole(ReturnCode::ServerError)), "911\n");
    }

    #[test]
    fn json_is_an_object_for_one_host_and_a_list_for_more() {
        let one = hosts(&[("a.example", ReturnCode::Good)]);
        let object = "{\"status\":\"good\",\"ipv4\":\"192.0.2.1\",\"ipv6\":\"2001:db8::1\"}\n";
        assert_eq!(json(&one), object);
        let two = hosts(&[("A.example", ReturnCode::Nochg), ("b", ReturnCode::Notfqdn)]);
        assert_eq!(
            json(&two),
            "{\"status\":\"notfqdn\",\"results\":[{\"hostname\":\"A.example\",\"status\":\"nochg\",\"ipv4\":\"192.0.2.1\",\"ipv6\":\"2001:db8::1\"},{\"hostname\":\"b\",\"status\":\"notfqdn\"}]}\n"
        );
        assert_eq!(json(&Reply::whole(ReturnCode::Badauth)), "{\"status\":\"badauth\"}\n");
    }

    #[test]
    fn each_return_code_has_its_status_in_text_and_json() {
        for (code, in_text, in_json) in [
            (ReturnCode::Good, 200, 200),
            (ReturnCode::Nochg, 200, 200),
            (ReturnCode::Badauth, 401, 401),
            (ReturnCode::Nohost, 200, 404),
            (ReturnCode::Notfqdn, 200, 400),
            (ReturnCode::Numhost, 200, 400),
            (ReturnCode::Badip, 200, 400),
            (ReturnCode::Dnserr, 503, 503),
            (ReturnCode::Abuse, 503, 429),
            (ReturnCode::ServerError, 503, 503),
        ] {
            assert_eq!(status(code, ReplyFormat::Text), in_text, "{code:?}");
            assert_eq!(status(code, ReplyFormat::Json), in_json, "{code:?}");
        }
    }

    #[test]
    fn a_list_with_a_success_is_200_and_any_other_has_its_first_lines_status() {
        let code = |codes: &[ReturnCode]| {
            let named: Vec<_> = codes.iter().map(|code| ("a.example", *code)).collect();
            response(&hosts(&named), ReplyFormat::Json).status().as_u16()
        };
        assert_eq!(code(&[ReturnCode::Nohost, ReturnCode::Good]), 200);
        assert_eq!(code(&[ReturnCode::Nochg, ReturnCode::Nochg]), 200);
        assert_eq!(code(&[ReturnCode::Nohost, ReturnCode::Dnserr]), 404);
        assert_eq!(code(&[ReturnCode::Dnserr, ReturnCode::Dnserr]), 503);
    }

    #[test]
    fn json_is_sent_only_if_the_client_prefers_it() {
        for json in [
            "application/json",
            "application/json, text/plain, */*",
            "text/plain;q=0.5, application/json;q=0.9",
            "Application/JSON; charset=utf-8",
        ] {
            assert_eq!(accept(json), ReplyFormat::Json, "{json}");
        }
        for text in [
            "*/*",
            "text/html",
            "text/plain, application/json;q=0.5",
            "application/json;q=0",
            "application/json;q=0.5, */*",
        ] {
            assert_eq!(accept(text), ReplyFormat::Text, "{text}");
        }
        assert_eq!(ReplyFormat::accepted(&HeaderMap::new()), ReplyFormat::Text);
    }

    #[test]
    fn retry_after_is_rounded_up() {
        let abuse = Reply::Whole {
            code: ReturnCode::Abuse,
            retry_after: Some(Duration::from_millis(1500)),
        };
        assert_eq!(response(&abuse, ReplyFormat::Text).headers()[RETRY_AFTER], "2");
        let dnserr = hosts(&[("a.example", ReturnCode::Dnserr)]);
        assert_eq!(response(&dnserr, ReplyFormat::Text).headers()[RETRY_AFTER], "30");
        assert!(
            response(&Reply::whole(ReturnCode::Nohost), ReplyFormat::Text)
                .headers()
                .get(RETRY_AFTER)
                .is_none()
        );
    }
}
