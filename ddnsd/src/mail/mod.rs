//! The mail server. In: letters. Out: the server's reply to each. Many letters share a connection.
//! Every wait has a time-out, and every reply a bound.

mod error;
mod stream;

pub use error::SendError;

use crate::clock::Clock;
use crate::config::EmailConfig;
use crate::model::name::Email;
use crate::model::notice::NoticeKind;
use crate::model::time::Millis;
use crate::template::Template;
use error::{Step, no_answer, sort};
use lettre::address::{Address, AddressError};
use lettre::message::header::{ContentType, HeaderName, HeaderValue, MIME_VERSION_1_0};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{
    AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters,
};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt, Rset};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use lettre::transport::smtp::response::Response;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use stream::BoundedStream;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// For connection, TLS and login together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// For one letter. Long, because a server may look for viruses before it accepts: a letter whose
/// acceptance is missed arrives twice.
pub const SEND_TIMEOUT: Duration = Duration::from_mins(2);
/// For the commands between two letters and at the end.
const RESET_TIMEOUT: Duration = Duration::from_secs(5);
/// Letters of one connection: many servers allow a hundred.
const MAX_LETTERS: u32 = 50;
/// Bytes of a reply, and of the server's part of a TLS handshake.
const MAX_REPLY: usize = 16 << 10;

/// The settings of `[email]`.
#[derive(Debug)]
pub struct Mailer {
    config: EmailConfig,
}

/// One mail to one recipient.
#[derive(Clone, Debug)]
pub struct Letter {
    pub to: Email,
    /// One line.
    pub subject: String,
    pub body: String,
    /// The left part of the Message-ID.
    pub id: String,
    /// Its Date.
    pub at: Millis,
}

/// A connection to the server, after the login.
pub struct SmtpSession {
    mailer: Arc<Mailer>,
    connection: AsyncSmtpConnection,
    letters: u32,
    is_broken: bool,
}

impl Mailer {
    pub fn new(config: EmailConfig) -> Self {
        Self { config }
    }

    /// The template of these mails, if they are sent.
    pub fn template(&self, kind: NoticeKind) -> Option<&Template> {
        match kind {
            NoticeKind::Change => self.config.change_template.as_deref(),
            NoticeKind::Expiry => self.config.expiry_template.as_deref(),
        }
    }

    /// The server's name and port.
    pub fn server(&self) -> String {
        let EmailConfig { smtp_host, smtp_port, .. } = &self.config;
        format!("{smtp_host}:{smtp_port}")
    }

    /// Connects, encrypts and logs in, as configured.
    ///
    /// # Errors
    /// [`SendError::Server`].
    pub async fn connect(self: &Arc<Self>) -> Result<SmtpSession, SendError> {
        let connected = timeout(CONNECT_TIMEOUT, self.log_in()).await;
        let connection = connected.map_err(|_| no_answer(&self.server(), CONNECT_TIMEOUT))??;
        Ok(SmtpSession { mailer: Arc::clone(self), connection, letters: 0, is_broken: false })
    }

    async fn log_in(&self) -> Result<AsyncSmtpConnection, SendError> {
        let EmailConfig { smtp_host, smtp_port, starttls, login, .. } = &self.config;
        let server = self.server();
        let failed = |step| {
            let server = server.clone();
            move |error| sort(&server, step, &error)
        };
        let stream = TcpStream::connect((smtp_host.as_str(), *smtp_port)).await;
        let stream = stream.map_err(|error| {
            SendError::Server(format!("cannot reach the mail server {server}: {error}"))
        })?;
        let stream = Box::new(BoundedStream::new(stream, MAX_REPLY, *starttls));
        let name = ClientId::default();
        let connected = AsyncSmtpConnection::connect_with_transport(stream, &name).await;
        let mut connection = connected.map_err(failed(Step::Greeting))?;
        if *starttls {
            if Clock.is_before_1970() {
                return Err(SendError::Server(format!(
                    "mail server {server}: TLS needs the time, and the clock shows one before 1970"
                )));
            }
            let tls = self.tls().await?;
            connection.starttls(tls, &name).await.map_err(failed(Step::Tls))?;
        }
        if let Some((user, password)) = login {
            let credentials = Credentials::new(user.clone(), password.expose().to_owned());
            let mechanisms = [Mechanism::Plain, Mechanism::Login];
            let logged_in = connection.auth(&mechanisms, &credentials).await;
            logged_in.map_err(failed(Step::Login))?;
        }
        Ok(connection)
    }

    /// Reads the system's roots at each connection, because few are made and idle roots take
    /// memory.
    async fn tls(&self) -> Result<TlsParameters, SendError> {
        let mut tls = TlsParameters::builder(self.config.smtp_host.clone());
        if let Some(authorities) = &self.config.authorities {
            tls = tls.certificate_store(CertificateStore::None);
            for authority in authorities.iter() {
                let authority = Certificate::from_der(authority.to_vec());
                tls = tls.add_root_certificate(
                    authority.map_err(|error| sort(&self.server(), Step::Tls, &error))?,
                );
            }
        }
        let built = tokio::task::spawn_blocking(move || tls.build()).await;
        let built = built.map_err(|panic| SendError::Server(format!("TLS failed: {panic}")))?;
        built.map_err(|error| sort(&self.server(), Step::Tls, &error))
    }

    /// The letter with its headers.
    ///
    /// # Errors
    /// The recipient is an address that mail does not allow.
    fn message(&self, letter: &Letter) -> Result<Message, SendError> {
        let refused = |what: String| SendError::Mail { is_final: true, reason: what };
        let sender = &self.config.sender;
        let from = address(&sender.address).map_err(|error| {
            SendError::Server(format!("email.from_address is no legal address: {error}"))
        })?;
        let to = address(&letter.to)
            .map_err(|error| refused(format!("the recipient is no legal address: {error}")))?;
        let at = Duration::from_millis(letter.at.0.unsigned_abs());
        let automatic = HeaderValue::new(
            HeaderName::new_from_ascii_str("Auto-Submitted"),
            "auto-generated".to_owned(),
        );
        let id: String =
            letter.id.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '.').collect();
        Message::builder()
            .message_id(Some(format!("<{id}@{}>", from.domain())))
            .date(UNIX_EPOCH + at)
            .from(Mailbox::new(sender.name.clone(), from))
            .to(Mailbox::new(None, to))
            .subject(one_line(&letter.subject))
            .raw_header(automatic)
            .header(MIME_VERSION_1_0)
            .header(ContentType::TEXT_PLAIN)
            .body(lines(&letter.body))
            .map_err(|error| refused(format!("cannot build the message: {error}")))
    }
}

impl SmtpSession {
    /// Whether another letter can be sent.
    pub fn is_usable(&self) -> bool {
        !self.is_broken && self.letters < MAX_LETTERS
    }

    /// Sends a letter. Returns the server's reply.
    ///
    /// # Errors
    /// The server did not accept it, as far as we know: without an answer it may have.
    pub async fn send(&mut self, letter: &Letter) -> Result<String, SendError> {
        let message = self.mailer.message(letter)?;
        self.letters += 1;
        let sent = timeout(SEND_TIMEOUT, self.transact(&message)).await;
        let sent = sent.unwrap_or_else(|_| Err(no_answer(&self.mailer.server(), SEND_TIMEOUT)));
        match &sent {
            Ok(_) => {}
            Err(SendError::Server(_)) => self.is_broken = true,
            Err(SendError::Mail { .. }) => {
                let reset = timeout(RESET_TIMEOUT, self.connection.command(Rset)).await;
                self.is_broken = !matches!(reset, Ok(Ok(_)));
            }
        }
        sent
    }

    async fn transact(&mut self, message: &Message) -> Result<String, SendError> {
        let Self { mailer, connection, .. } = self;
        let server = mailer.server();
        let failed = |step| {
            let server = &server;
            move |error| sort(server, step, &error)
        };
        let bytes = message.formatted();
        let envelope = message.envelope();
        let is_ascii = envelope.to().iter().chain(envelope.from()).all(|address| {
            let text: &str = address.as_ref();
            text.is_ascii()
        });
        let has = |feature| connection.server_info().supports_feature(feature);
        if !is_ascii && !has(Extension::SmtpUtfEight) {
            let reason = format!("mail server {server} takes no address beyond ASCII (SMTPUTF8)");
            return Err(SendError::Mail { is_final: false, reason });
        }
        let mut options = Vec::new();
        if !is_ascii {
            options.push(MailParameter::SmtpUtfEight);
        }
        if !bytes.is_ascii() && has(Extension::EightBitMime) {
            options.push(MailParameter::Body(MailBodyParameter::EightBitMime));
        }
        let from = Mail::new(envelope.from().cloned(), options);
        connection.command(from).await.map_err(failed(Step::Sender))?;
        for to in envelope.to() {
            let to = Rcpt::new(to.clone(), Vec::new());
            connection.command(to).await.map_err(failed(Step::Recipient))?;
        }
        connection.command(Data).await.map_err(failed(Step::Message))?;
        // the end of the message brings its own end of line
        let bytes = bytes.strip_suffix(b"\r\n").unwrap_or(&bytes);
        let accepted = connection.message(bytes).await.map_err(failed(Step::Message))?;
        Ok(reply(&accepted))
    }

    /// Says goodbye.
    pub async fn close(mut self) {
        if !self.is_broken {
            // the letters are accepted, whatever it replies
            let _ = timeout(RESET_TIMEOUT, self.connection.quit()).await;
        }
    }
}

fn address(email: &Email) -> Result<Address, AddressError> {
    let (local, domain) = email.parts();
    Address::new(local, domain)
}

fn reply(response: &Response) -> String {
    const MAX_TEXT: usize = 300;
    let text = response.first_line().unwrap_or_default();
    format!("{} {}", response.code(), crate::model::text::first_chars(text, MAX_TEXT))
}

/// Without what would end a header.
fn one_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).collect()
}

/// Without characters that mail does not allow (RFC 5322, 2.3). Lines end in LF; lettre makes it
/// CRLF.
fn lines(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n").replace('\0', "")
}
