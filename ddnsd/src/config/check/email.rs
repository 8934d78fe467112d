//! `[email]`: the relay, the sender and the templates. Nothing is required unless it is enabled.

use super::section::Section;
use crate::config::files::{NamedFile, NamedFiles};
use crate::config::text::shown;
use crate::config::{EmailConfig, Sender};
use crate::model::name::Email;
use crate::model::notice::NoticeKind;
use std::net::IpAddr;

/// RFC 8314, 7.3.
const IMPLICIT_TLS: u16 = 465;

/// Without the content of the files.
pub(super) fn read(section: &mut Section<'_>, files: &mut NamedFiles) -> Option<EmailConfig> {
    let enabled = section.flag("enabled", false);
    let when = enabled.then_some("when email.enabled is true");
    let smtp_host = section.required("smtp_host", when);
    let from_address = section.required("from_address", when);
    let smtp_port = section.number("smtp_port", 1..=u16::MAX, 25);
    let starttls = section.flag("smtp_starttls", false);
    if enabled && smtp_port == IMPLICIT_TLS {
        let what = "is usually the port of TLS from the start, which is not supported (use 587 with smtp_starttls)";
        section.warn("smtp_port", what);
    }
    let is_host = smtp_host.parse::<IpAddr>().is_ok()
        || smtp_host.chars().all(|c| c.is_alphanumeric() || ".-_".contains(c));
    if enabled && !is_host {
        let got = shown(&smtp_host);
        section.problem("smtp_host", format!("must be a host name or an address, got {got}"));
    }
    let ca_file = section.file("smtp_ca_file");
    let login = login(section, enabled);
    let change_template = section.file("change_notification_template");
    let expiry_template = section.file("expiry_notification_template");
    if !enabled {
        return None;
    }

    let has_ca_file = ca_file.is_some();
    files.smtp_authorities = ca_file.filter(|_| starttls);
    files.smtp_login = login;
    files.templates.extend(change_template.map(|file| (NoticeKind::Change, file)));
    files.templates.extend(expiry_template.map(|file| (NoticeKind::Expiry, file)));
    warn(section, starttls, has_ca_file, files);
    let sender = sender(section, &from_address)?;
    Some(EmailConfig {
        smtp_host,
        smtp_port,
        starttls,
        authorities: None,
        login: None,
        sender,
        change_template: None,
        expiry_template: None,
    })
}

fn login(section: &mut Section<'_>, enabled: bool) -> Option<(String, NamedFile)> {
    let username = section.text("smtp_username", "");
    let file = section.file("smtp_password_file");
    if !enabled {
        return None;
    }
    match (username.is_empty(), file) {
        (false, Some(file)) => return Some((username, file)),
        (false, None) => section.problem("smtp_username", "needs email.smtp_password_file too"),
        (true, Some(_)) => section.problem("smtp_password_file", "needs email.smtp_username too"),
        (true, None) => {}
    }
    None
}

/// `ddns@example.org` or `Dynamic DNS <ddns@example.org>`.
fn sender(section: &mut Section<'_>, from: &str) -> Option<Sender> {
    let within = from.strip_suffix('>').and_then(|rest| rest.rsplit_once('<'));
    let (name, address) = within.unwrap_or(("", from));
    match Email::parse(address) {
        Ok(address) => {
            let name = name.trim();
            let quoted = name.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            let name = quoted.unwrap_or(name).to_owned();
            Some(Sender { name: Some(name).filter(|name| !name.is_empty()), address })
        }
        Err(_) if from.is_empty() => None,
        Err(_) => {
            section.problem("from_address", format!("must be a mail address, got {}", shown(from)));
            None
        }
    }
}

fn warn(section: &mut Section<'_>, starttls: bool, has_ca_file: bool, files: &NamedFiles) {
    if files.templates.is_empty() {
        section.warn("enabled", "has no effect, because no template is set, so no mail is sent");
    }
    if files.smtp_login.is_some() && !starttls {
        section.warn("smtp_starttls", "is off, so the SMTP password travels unencrypted");
    }
    if has_ca_file && !starttls {
        section.warn("smtp_ca_file", "has no effect, because smtp_starttls is off");
    }
}
