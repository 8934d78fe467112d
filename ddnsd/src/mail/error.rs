//! Why a mail was not accepted, and whether that concerns the mail or the server.

use crate::model::text::first_chars;
use lettre::transport::smtp::Error as SmtpError;
use std::error::Error;
use std::time::Duration;

/// Characters of a server's own words.
const MAX_TEXT: usize = 300;

/// `openssl req -x509` makes such a certificate by default.
const OWN_CA: &str = " (its certificate is one of a CA, not of a server; a self-signed one is made \
                      with `-addext basicConstraints=critical,CA:FALSE`)";

/// Why a mail was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The server does not take any mail at the moment: it is not reached, does not answer, or
    /// rejects the login or the sender.
    #[error("{0}")]
    Server(String),
    /// The server does not take this mail.
    #[error("{reason}")]
    Mail {
        /// Whether it never will.
        is_final: bool,
        reason: String,
    },
}

/// What the server was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Greeting,
    Tls,
    Login,
    Sender,
    Recipient,
    Message,
}

impl Step {
    fn rejected(self) -> &'static str {
        match self {
            Step::Greeting => "does not serve us",
            Step::Tls => "does not offer the TLS that email.smtp_starttls requires",
            Step::Login => "rejected the login (see email.smtp_username and smtp_password_file)",
            Step::Sender => "rejected the sender (see email.from_address)",
            Step::Recipient => "rejected the recipient",
            Step::Message => "rejected the message",
        }
    }

    fn failed(self) -> &'static str {
        match self {
            Step::Tls => "TLS failed (see email.smtp_starttls and smtp_ca_file)",
            Step::Login => "the login failed (see email.smtp_username and smtp_password_file)",
            Step::Greeting | Step::Sender | Step::Recipient | Step::Message => {
                "the connection failed"
            }
        }
    }
}

/// Sorts an error of lettre. `server` names the server.
pub(super) fn sort(server: &str, step: Step, error: &SmtpError) -> SendError {
    let source = error.source().map(ToString::to_string);
    let text = source.unwrap_or_else(|| error.to_string());
    let text = first_chars(&text, MAX_TEXT);
    let Some(code) = error.status().map(u16::from) else {
        let hint = if text.contains("CaUsedAsEndEntity") { OWN_CA } else { "" };
        return SendError::Server(format!("mail server {server}: {}: {text}{hint}", step.failed()));
    };
    let reason = format!("mail server {server} {}: {code} {text}", step.rejected());
    match (step, code) {
        // RFC 5321, 3.8: it closes the connection. RFC 4954, 6: it wants another login.
        (_, 421) | (Step::Recipient | Step::Message, 530 | 534 | 535 | 538) => {
            SendError::Server(reason)
        }
        (Step::Recipient | Step::Message, _) => {
            SendError::Mail { is_final: error.is_permanent(), reason }
        }
        _ => SendError::Server(reason),
    }
}

pub(super) fn no_answer(server: &str, within: Duration) -> SendError {
    let seconds = within.as_secs();
    SendError::Server(format!("mail server {server} did not answer within {seconds} s"))
}
