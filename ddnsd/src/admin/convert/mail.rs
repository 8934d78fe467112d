//! Mails of the queue into replies.

use super::bounds::cut;
use crate::model::mail::{MailId, QueuedMail};
use crate::model::notice::NoticeKind;
use crate::model::text::first_chars;
use crate::stories::deliver::host;
use ddnsd_proto::Page;
use ddnsd_proto::mail::MailView;

/// Characters of a mail address or a host name.
const MAX_NAME: usize = 254;

/// The key after which a page begins. What is no key is not after any.
pub(in crate::admin) fn after(after: Option<&str>) -> MailId {
    MailId(after.and_then(|text| text.parse().ok()).unwrap_or(i64::MIN))
}

pub(in crate::admin) fn page(mails: Vec<QueuedMail>, limit: u32) -> Page<MailView> {
    let full = u32::try_from(mails.len()).is_ok_and(|count| count >= limit);
    let next = mails.last().filter(|_| full).map(|mail| mail.id.0.to_string());
    Page { rows: mails.into_iter().map(view).collect(), next }
}

fn view(mail: QueuedMail) -> MailView {
    MailView {
        id: mail.id.0,
        kind: mail.kind.map_or("unknown", NoticeKind::as_str).to_owned(),
        host: first_chars(&host(&mail), MAX_NAME).to_owned(),
        recipient: first_chars(&mail.recipient, MAX_NAME).to_owned(),
        created_at: mail.created_at.0,
        attempts: mail.attempts,
        next_at: mail.failed_at.is_none().then_some(mail.next_at.0),
        failed_at: mail.failed_at.map(|at| at.0),
        last_error: mail.last_error.map(cut),
    }
}
