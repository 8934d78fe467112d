//! The body of a POST. In: head and body. Out: the form, undecoded, or the response that refuses
//! it. Reading is bounded in time and size.

use super::reply;
use crate::serve::UnfinishedForm;
use bytes::{Buf, Bytes, BytesMut};
use futures::{Stream, StreamExt};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use std::pin::pin;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};
use warp::reply::Response;

/// Bytes.
const MAX_FORM: usize = 16 * 1024;
/// How much of a body is read after its request was refused, and for how long.
const MAX_SKIPPED: usize = 256 * 1024;
const SKIP_TIMEOUT: Duration = Duration::from_millis(500);

/// A body of another type is read too, so that its sender gets the reply, but it is not kept.
pub(super) async fn read_form<B: Buf>(
    headers: &HeaderMap,
    deadline: Instant,
    body: impl Stream<Item = Result<B, warp::Error>>,
    mut unfinished: UnfinishedForm,
) -> Result<Bytes, Response> {
    let mut body = pin!(body);
    let is_form = is_form(headers);
    if declared_length(headers).is_some_and(|length| length > MAX_FORM as u64) {
        return Err(refused(is_form));
    }
    let mut length = 0;
    let mut form = BytesMut::new();
    loop {
        let Ok(part) = timeout_at(deadline, body.next()).await else {
            let text = "the form did not come in time\n";
            return Err(reply::sentence(StatusCode::REQUEST_TIMEOUT, text));
        };
        let Some(part) = part else { break };
        let Ok(mut part) = part else {
            return Err(reply::sentence(StatusCode::BAD_REQUEST, "the body broke off\n"));
        };
        length += part.remaining();
        if length > MAX_FORM {
            break;
        }
        if is_form {
            unfinished.add(part.remaining());
            form.extend_from_slice(&part.copy_to_bytes(part.remaining()));
        }
    }
    if length > MAX_FORM || length > 0 && !is_form {
        return Err(refused(is_form));
    }
    Ok(form.freeze())
}

fn declared_length(headers: &HeaderMap) -> Option<u64> {
    // hyper has refused what is not a number
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads what is on its way after a request was refused. Closing a connection with unread bytes
/// resets it, and the reply is lost; in HTTP/2 some clients report the reset of the stream only.
pub(super) async fn skip<B: Buf>(body: &mut (impl Stream<Item = Result<B, warp::Error>> + Unpin)) {
    let skipped = async {
        let mut length = 0;
        while let Some(Ok(part)) = body.next().await {
            length += part.remaining();
            if length > MAX_SKIPPED {
                break;
            }
        }
    };
    let _ = timeout(SKIP_TIMEOUT, skipped).await;
}

/// The response to a body that is too long, or not a form.
fn refused(is_form: bool) -> Response {
    if is_form {
        reply::sentence(StatusCode::PAYLOAD_TOO_LARGE, "the form is over 16 KiB\n")
    } else {
        let text = "send parameters as application/x-www-form-urlencoded\n";
        reply::sentence(StatusCode::UNSUPPORTED_MEDIA_TYPE, text)
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = value.and_then(|value| value.split(';').next());
    let form = "application/x-www-form-urlencoded";
    media_type.is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case(form))
}
