//! In: a row of the outbox. Out: the letter, rendered by its template.

use crate::mail::{Letter, Mailer, SendError};
use crate::model::mail::QueuedMail;
use crate::model::name::Email;
use crate::model::notice::NoticeKind;
use crate::template::Variables;
use jiff::tz::TimeZone;

/// Renders a mail.
///
/// # Errors
/// [`SendError::Mail`].
pub(super) fn render(
    mailer: &Mailer,
    mail: &QueuedMail,
    zone: &TimeZone,
) -> Result<Letter, SendError> {
    let failed = |is_final, reason: String| SendError::Mail { is_final, reason };
    let unknown = || failed(true, "this version of ddnsd does not know its kind".to_owned());
    let kind = mail.kind.ok_or_else(unknown)?;
    let to = Email::parse(&mail.recipient)
        .map_err(|why| failed(true, format!("its recipient cannot be used: {why}")))?;
    let variables: Variables = serde_json::from_str(&mail.variables)
        .map_err(|why| failed(true, format!("its row is damaged: {why}")))?;
    let name = kind.as_str();
    let template = mailer
        .template(kind)
        .ok_or_else(|| failed(false, format!("email.{name}_notification_template is not set")))?;
    let rendered = template.render(&variables, zone).map_err(|why| {
        failed(false, format!("email.{name}_notification_template cannot be rendered: {why}"))
    })?;
    let subject = rendered.subject.unwrap_or_else(|| match kind {
        NoticeKind::Change => format!("{}: the address changed", host(mail)),
        NoticeKind::Expiry => format!("{} expired", host(mail)),
    });
    let (id, at) = (mail.message_id.clone(), mail.created_at);
    Ok(Letter { to, subject, body: rendered.body, id, at })
}

pub(super) fn kind(mail: &QueuedMail) -> &'static str {
    mail.kind.map_or("unknown", NoticeKind::as_str)
}

/// The host that a mail is about, in U-labels.
pub fn host(mail: &QueuedMail) -> String {
    let variables: Variables = serde_json::from_str(&mail.variables).unwrap_or_default();
    variables.get("fqdn").and_then(|name| name.as_str()).unwrap_or_default().to_owned()
}
