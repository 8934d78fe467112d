//! `[email]`: the relay, the sender and the templates. Nothing is required unless it is enabled.

use super::section::Section;
use crate::config::EmailConfig;
use crate::config::files::NamedFiles;
use crate::config::text::shown;
use crate::model::name;

pub(super) fn read(section: &mut Section<'_>, files: &mut NamedFiles) -> Option<EmailConfig> {
    let enabled = section.flag("enabled", false);
    let when = enabled.then_some("when email.enabled is true");
    let smtp_host = section.required("smtp_host", when);
    let from_address = section.required("from_address", when);
    let ca_file = section.file("smtp_ca_file");
    let change_template = section.file("change_notification_template");
    let expiry_template = section.file("expiry_notification_template");
    let username = section.text("smtp_username", "");
    let password_file = section.file("smtp_password_file");
    let email = EmailConfig {
        smtp_host,
        smtp_port: section.number("smtp_port", 1..=u16::MAX, 25),
        starttls: section.flag("smtp_starttls", false),
        ca_file: ca_file.as_ref().map(|file| file.path.clone()),
        login: None,
        from_address,
        change_template: change_template.as_ref().map(|file| file.path.clone()),
        expiry_template: expiry_template.as_ref().map(|file| file.path.clone()),
    };
    if !enabled {
        return None;
    }

    check_sender(section, &email.from_address);
    match (username.is_empty(), password_file) {
        (false, Some(file)) => files.smtp_login = Some((username, file)),
        (false, None) => section.problem("smtp_username", "needs email.smtp_password_file too"),
        (true, Some(_)) => section.problem("smtp_password_file", "needs email.smtp_username too"),
        (true, None) => {}
    }
    files.authorities.extend(ca_file.filter(|_| email.starttls));
    files.templates.extend(change_template.into_iter().chain(expiry_template));
    warn(section, &email, files);
    Some(email)
}

/// `ddns@example.org` or `Dynamic DNS <ddns@example.org>`.
fn check_sender(section: &mut Section<'_>, from: &str) {
    let within = from.strip_suffix('>').and_then(|rest| rest.rsplit_once('<'));
    let address = within.map_or(from, |(_, address)| address);
    if !from.is_empty() && name::Email::parse(address).is_err() {
        section.problem("from_address", format!("must be a mail address, got {}", shown(from)));
    }
}

fn warn(section: &mut Section<'_>, email: &EmailConfig, files: &NamedFiles) {
    if files.templates.is_empty() {
        section.warn("enabled", "has no effect, because no template is set, so no mail is sent");
    }
    if files.smtp_login.is_some() && !email.starttls {
        section.warn("smtp_starttls", "is off, so the SMTP password travels unencrypted");
    }
    if email.ca_file.is_some() && !email.starttls {
        section.warn("smtp_ca_file", "has no effect, because smtp_starttls is off");
    }
}
