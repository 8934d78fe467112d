//! `ddnsctl mail …`

use super::session::{Session, all_rows, print};
use crate::client::{CALL_TIMEOUT, DNS_TIMEOUT};
use crate::exit::{Failure, message};
use crate::output::{Format, json, local, table, utc};
use clap::Subcommand;
use ddnsd_proto::MAX_PAGE;
use ddnsd_proto::mail::{FindMail, ListMails, MailView, TestMail};
use jiff::tz::TimeZone;
use serde::Serialize;

/// `mail …`
#[derive(Debug, Subcommand)]
pub(super) enum MailCommand {
    /// List the mails that wait for being sent, and those that failed
    #[command(
        after_help = "A mail is tried for 3 days. One that the mail server rejects for good, and one that is too old, is
kept as failed for 30 days. A mail that was sent is not listed any more."
    )]
    List,
    /// Try a mail now, also one that failed
    #[command(after_help = "Example:
  ddnsctl mail list
  ddnsctl mail retry 17")]
    Retry {
        /// The mail's number in the list
        id: i64,
    },
    /// Delete a mail without sending it
    Drop {
        /// The mail's number in the list
        id: i64,
    },
    /// Send a test mail now and print the reply of the mail server
    #[command(
        after_help = "Uses the settings in force: after a change of the configuration run `ddnsctl reload` first.
Exit code 1 with the reason if the mail server does not accept the mail.

Example:
  ddnsctl mail test admin@example.org"
    )]
    Test {
        /// The recipient
        address: String,
    },
}

pub(super) async fn run(session: &Session, command: MailCommand) -> Result<(), Failure> {
    match command {
        MailCommand::List => list(session).await,
        MailCommand::Retry { id } => retry(session, id).await,
        MailCommand::Drop { id } => drop(session, id).await,
        MailCommand::Test { address } => test(session, address).await,
    }
}

async fn list(session: &Session) -> Result<(), Failure> {
    let client = session.client().await?;
    let mails = all_rows(async |after| {
        let query = ListMails { after, limit: MAX_PAGE };
        client.call(CALL_TIMEOUT, async |rpc, ctx| rpc.mail_list(ctx, query).await).await
    });
    print(&render(&mails.await?, &session.format))
}

async fn retry(session: &Session, id: i64) -> Result<(), Failure> {
    let client = session.client().await?;
    let mail = FindMail { id };
    client.call(CALL_TIMEOUT, async |rpc, ctx| rpc.mail_retry(ctx, mail).await).await?;
    done(
        session,
        &Done { id },
        &format!("mail {id} is tried now (`ddnsctl mail list` shows it until it is sent)"),
    )
}

async fn drop(session: &Session, id: i64) -> Result<(), Failure> {
    let client = session.client().await?;
    let mail = FindMail { id };
    client.call(CALL_TIMEOUT, async |rpc, ctx| rpc.mail_drop(ctx, mail).await).await?;
    done(session, &Done { id }, &format!("dropped mail {id}"))
}

async fn test(session: &Session, address: String) -> Result<(), Failure> {
    let client = session.client().await?;
    let mail = TestMail { address: address.clone() };
    // the daemon waits for the mail server, but not that long
    let tested = client.call(DNS_TIMEOUT, async |rpc, ctx| rpc.mail_test(ctx, mail).await).await?;
    let text = format!("the mail server accepted the mail to {address}: {}", tested.reply);
    done(session, &Tested { address: &address, reply: &tested.reply }, &text)
}

//----- Output -----

#[derive(Serialize)]
struct Done {
    id: i64,
}

#[derive(Serialize)]
struct Tested<'a> {
    address: &'a str,
    reply: &'a str,
}

#[derive(Serialize)]
struct Row<'a> {
    id: i64,
    kind: &'a str,
    recipient: &'a str,
    host: &'a str,
    created_at: String,
    attempts: u32,
    next_at: Option<String>,
    failed_at: Option<String>,
    last_error: Option<&'a str>,
}

fn done(session: &Session, value: &impl Serialize, text: &str) -> Result<(), Failure> {
    match session.format {
        Format::Json => print(&json(value)),
        Format::Table(_) => {
            message(text);
            Ok(())
        }
    }
}

fn render(mails: &[MailView], format: &Format) -> String {
    match format {
        Format::Json => json(&mails.iter().map(row).collect::<Vec<_>>()),
        Format::Table(zone) => {
            let rows: Vec<_> = mails.iter().map(|mail| cells(mail, zone)).collect();
            let header =
                ["ID", "KIND", "RECIPIENT", "HOSTNAME", "CREATED", "ATTEMPTS", "NEXT TRY", "ERROR"];
            table(header, &rows)
        }
    }
}

fn row(mail: &MailView) -> Row<'_> {
    Row {
        id: mail.id,
        kind: &mail.kind,
        recipient: &mail.recipient,
        host: &mail.host,
        created_at: utc(mail.created_at),
        attempts: mail.attempts,
        next_at: mail.next_at.map(utc),
        failed_at: mail.failed_at.map(utc),
        last_error: mail.last_error.as_deref(),
    }
}

fn cells(mail: &MailView, zone: &TimeZone) -> [String; 8] {
    let failed = mail.failed_at.map(|at| format!("failed {}", local(at, zone)));
    let next = failed.or(mail.next_at.map(|at| local(at, zone)));
    [
        mail.id.to_string(),
        mail.kind.clone(),
        mail.recipient.clone(),
        mail.host.clone(),
        local(mail.created_at, zone),
        mail.attempts.to_string(),
        next.unwrap_or_default(),
        mail.last_error.clone().unwrap_or_default(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting() -> MailView {
        MailView {
            id: 7,
            kind: "change".to_owned(),
            recipient: "alice@example.org".to_owned(),
            host: "büro.example.org".to_owned(),
            created_at: 1_795_428_000_000,
            next_at: Some(1_795_428_010_000),
            ..MailView::default()
        }
    }

    fn failed() -> MailView {
        let last_error = Some("550 no such user".to_owned());
        let failed_at = Some(1_795_428_020_000);
        MailView { id: 8, attempts: 1, next_at: None, failed_at, last_error, ..waiting() }
    }

    #[test]
    fn mails_are_a_table_with_their_next_try_or_their_end() {
        assert_eq!(
            render(&[waiting(), failed()], &Format::Table(TimeZone::UTC)),
            "\
ID  KIND    RECIPIENT          HOSTNAME          CREATED              ATTEMPTS  NEXT TRY                    ERROR
7   change  alice@example.org  büro.example.org  2026-11-23 10:00:00  0         2026-11-23 10:00:10         -
8   change  alice@example.org  büro.example.org  2026-11-23 10:00:00  1         failed 2026-11-23 10:00:20  550 no such user
"
        );
    }

    #[test]
    fn mails_are_a_json_array() {
        assert_eq!(render(&[], &Format::Json), "[]\n");
        let value: serde_json::Value =
            serde_json::from_str(&render(&[failed()], &Format::Json)).unwrap();
        let expected = serde_json::json!([{
            "id": 8, "kind": "change", "recipient": "alice@example.org",
            "host": "büro.example.org", "created_at": "2026-11-23T10:00:00.000Z", "attempts": 1,
            "next_at": null, "failed_at": "2026-11-23T10:00:20.000Z",
            "last_error": "550 no such user",
        }]);
        assert_eq!(value, expected);
    }
}
