//! `ddnsctl user …`

use super::session::{Session, all_rows, print};
use crate::client::{CALL_TIMEOUT, Client};
use crate::exit::{Failure, message};
use crate::output::{Format, json, local, quoted, table, text_or_empty, utc};
use crate::password::{self, NewPassword, PasswordFlags};
use clap::Subcommand;
use ddnsd_proto::MAX_PAGE;
use ddnsd_proto::user::{
    AddUser, DeleteUser, FindUser, ListUsers, Password, SetEmail, SetPassword, UserChange, UserView,
};
use serde::Serialize;

/// `user …`
#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// List all users with their mail addresses and numbers of hosts
    List,
    /// Add a user; asks for the password twice on a terminal
    #[command(after_help = "Examples:
  ddnsctl user add alice alice@example.org
  ddnsctl user add alice alice@example.org --generate
  ddnsctl user add alice alice@example.org --password-stdin < password.txt")]
    Add {
        /// The login name: 1 to 64 characters, case-sensitive, no colon
        name: String,
        /// The address for mail about the user's hosts
        email: String,
        #[command(flatten)]
        password: PasswordFlags,
    },
    /// Change a user's password; the old password is rejected at once
    #[command(after_help = "Examples:
  ddnsctl user passwd alice
  ddnsctl user passwd alice --generate
  ddnsctl user passwd alice --password-stdin < password.txt")]
    Passwd {
        /// The user's name
        name: String,
        #[command(flatten)]
        password: PasswordFlags,
    },
    /// Change a user's mail address
    #[command(after_help = "Example:
  ddnsctl user email alice alice@example.net")]
    Email {
        /// The user's name
        name: String,
        /// The new address for mail about the user's hosts
        email: String,
    },
    /// Reject every login of a user; their records stay and do not expire
    #[command(
        after_help = "What clients get is as for a wrong password. To remove the records, too, use hostname suspend
with --take-down for each host.

Example:
  ddnsctl user suspend alice"
    )]
    Suspend {
        /// The user's name
        name: String,
    },
    /// Accept the logins of a suspended user again; the time to expire of their hosts starts again
    #[command(after_help = "Example:
  ddnsctl user resume alice")]
    Resume {
        /// The user's name
        name: String,
    },
    /// Delete a user who owns no hosts
    #[command(after_help = "Example:
  ddnsctl hostname list --user alice
  ddnsctl user delete alice")]
    Delete {
        /// The user's name
        name: String,
    },
}

pub(super) async fn run(session: &Session, command: UserCommand) -> Result<(), Failure> {
    match command {
        UserCommand::List => list(session).await,
        UserCommand::Add { name, email, password } => add(session, name, email, &password).await,
        UserCommand::Passwd { name, password } => passwd(session, name, &password).await,
        UserCommand::Email { name, email } => set_email(session, name, email).await,
        UserCommand::Suspend { name } => suspend(session, name).await,
        UserCommand::Resume { name } => resume(session, name).await,
        UserCommand::Delete { name } => delete(session, name).await,
    }
}

async fn list(session: &Session) -> Result<(), Failure> {
    let client = session.client().await?;
    let users = all_rows(async |after| {
        let query = ListUsers { after, limit: MAX_PAGE };
        client.call(CALL_TIMEOUT, async |rpc, ctx| rpc.user_list(ctx, query).await).await
    });
    print(&render(&users.await?, &session.format))
}

async fn add(
    session: &Session,
    name: String,
    email: String,
    flags: &PasswordFlags,
) -> Result<(), Failure> {
    let (new, client) = password_for(session, flags).await?;
    let password = Password::new(new.text.to_string());
    let user = AddUser { name: name.clone(), email, password };
    let added = client.call(CALL_TIMEOUT, async |rpc, ctx| rpc.user_add(ctx, user).await).await?;
    let password = new.generated.then_some(new.text.as_str());
    match session.format {
        Format::Json => reveal(&name, new.generated, &json(&Added { user: row(&added), password })),
        Format::Table(_) => {
            message(&format!("added user {name}"));
            password.map_or(Ok(()), |password| reveal(&name, true, &format!("{password}\n")))
        }
    }
}

async fn passwd(session: &Session, name: String, flags: &PasswordFlags) -> Result<(), Failure> {
    let (new, client) = password_for(session, flags).await?;
    let password = Password::new(new.text.to_string());
    let user = SetPassword { name: name.clone(), password };
    client.call(CALL_TIMEOUT, async |rpc, ctx| rpc.user_passwd(ctx, user).await).await?;
    let password = new.generated.then_some(new.text.as_str());
    match session.format {
        Format::Json => {
            reveal(&name, new.generated, &json(&Changed { name: &name, email: None, password }))
        }
        Format::Table(_) => {
            message(&format!("changed the password of user {name}"));
            password.map_or(Ok(()), |password| reveal(&name, true, &format!("{password}\n")))
        }
    }
}

/// Before a prompt, checks that the daemon answers. Connects again afterwards, because the daemon
/// may have closed the idle connection meanwhile.
async fn password_for(
    session: &Session,
    flags: &PasswordFlags,
) -> Result<(NewPassword, Client), Failure> {
    if password::will_prompt(flags) {
        drop(session.client().await?);
    }
    let new = password::obtain(flags)?;
    Ok((new, session.client().await?))
}

/// Prints text that contains a generated password, if `is_generated`: if that fails, it is lost.
fn reveal(name: &str, is_generated: bool, text: &str) -> Result<(), Failure> {
    print(text).map_err(|failure| match failure {
        Failure::Output(error) if is_generated => Failure::Unfinished(format!(
            "cannot write to standard output: {error}; the new password of user {name} is lost (set another one: ddnsctl user passwd {} --generate)",
            quoted(name)
        )),
        failure => failure,
    })
}

async fn set_email(session: &Session, name: String, email: String) -> Result<(), Failure> {
    let client = session.client().await?;
    let user = SetEmail { name: name.clone(), email: email.clone() };
    client.call(CALL_TIMEOUT, async |rpc, ctx| rpc.user_email(ctx, user).await).await?;
    match session.format {
        Format::Json => print(&json(&Changed { name: &name, email: Some(&email), password: None })),
        Format::Table(_) => {
            message(&format!("changed the mail address of user {name} to {email}"));
            Ok(())
        }
    }
}

async fn suspend(session: &Session, name: String) -> Result<(), Failure> {
    let user = FindUser { name: name.clone() };
    let client = session.client().await?;
    let UserChange { changed } =
        client.call(CALL_TIMEOUT, async |rpc, ctx| rpc.user_suspend(ctx, user).await).await?;
    let done = if changed {
        format!(
            "suspended user {name}: every login is rejected, records stay and do not expire (to undo: ddnsctl user resume {})",
            quoted(&name)
        )
    } else {
        format!("nothing to do: user {name} is suspended already")
    };
    report(session, &Suspension { name: &name, suspended: true, changed }, &done)
}

async fn resume(session: &Session, name: String) -> Result<(), Failure> {
    let user = FindUser { name: name.clone() };
    let client = session.client().await?;
    let UserChange { changed } =
        client.call(CALL_TIMEOUT, async |rpc, ctx| rpc.user_resume(ctx, user).await).await?;
    let done = if changed {
        format!("resumed user {name}; the time to expire of their hosts starts again")
    } else {
        format!("nothing to do: user {name} is not suspended")
    };
    report(session, &Suspension { name: &name, suspended: false, changed }, &done)
}

fn report(session: &Session, data: &impl Serialize, done: &str) -> Result<(), Failure> {
    match session.format {
        Format::Json => print(&json(data)),
        Format::Table(_) => {
            message(done);
            Ok(())
        }
    }
}

async fn delete(session: &Session, name: String) -> Result<(), Failure> {
    let user = DeleteUser { name: name.clone() };
    let client = session.client().await?;
    client.call(CALL_TIMEOUT, async |rpc, ctx| rpc.user_delete(ctx, user).await).await?;
    match session.format {
        Format::Json => print(&json(&Deleted { name: &name })),
        Format::Table(_) => {
            message(&format!("deleted user {name}"));
            Ok(())
        }
    }
}

//----- Output -----

#[derive(Serialize)]
struct Added<'a> {
    #[serde(flatten)]
    user: Row<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<&'a str>,
}

#[derive(Serialize)]
struct Changed<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<&'a str>,
}

#[derive(Serialize)]
struct Suspension<'a> {
    name: &'a str,
    suspended: bool,
    changed: bool,
}

#[derive(Serialize)]
struct Deleted<'a> {
    name: &'a str,
}

#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    email: &'a str,
    hostnames: u32,
    created_at: String,
    suspended_at: Option<String>,
}

fn render(users: &[UserView], format: &Format) -> String {
    match format {
        Format::Json => json(&users.iter().map(row).collect::<Vec<_>>()),
        Format::Table(zone) => {
            let cells = |user: &UserView| {
                let UserView { name, email, hostnames, created_at, suspended_at } = user.clone();
                let suspended = suspended_at.map(|at| local(at, zone));
                let created = local(created_at, zone);
                [name, email, hostnames.to_string(), created, text_or_empty(suspended)]
            };
            let rows: Vec<_> = users.iter().map(cells).collect();
            table(["NAME", "E-MAIL", "HOSTNAMES", "CREATED", "SUSPENDED"], &rows)
        }
    }
}

fn row(user: &UserView) -> Row<'_> {
    let UserView { name, email, hostnames, created_at, suspended_at } = user;
    let suspended_at = suspended_at.map(utc);
    Row { name, email, hostnames: *hostnames, created_at: utc(*created_at), suspended_at }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::TimeZone;

    fn alice() -> UserView {
        UserView {
            name: "alice".to_owned(),
            email: "alice@example.org".to_owned(),
            hostnames: 2,
            created_at: 1_795_428_000_000,
            suspended_at: None,
        }
    }

    #[test]
    fn users_are_a_table() {
        assert_eq!(
            render(&[alice()], &Format::Table(TimeZone::UTC)),
            "NAME   E-MAIL             HOSTNAMES  CREATED              SUSPENDED\n\
             alice  alice@example.org  2          2026-11-23 10:00:00  -\n"
        );
    }

    #[test]
    fn users_are_a_json_array() {
        assert_eq!(render(&[], &Format::Json), "[]\n");
        assert_eq!(
            render(&[alice()], &Format::Json),
            r#"[
  {
    "name": "alice",
    "email": "alice@example.org",
    "hostnames": 2,
    "created_at": "2026-11-23T10:00:00.000Z",
    "suspended_at": null
  }
]
"#
        );
    }
}
