//! `ddnsctl user …`

use super::{Session, every, print};
use crate::args::{PasswordFlags, User};
use crate::client::{CALL_TIMEOUT, Client};
use crate::exit::{Failure, say};
use crate::output::{Format, json, local, quoted, table, utc};
use crate::password::{self, NewPassword};
use ddnsd_proto::MAX_PAGE;
use ddnsd_proto::user::{
    AddUser, DeleteUser, ListUsers, Password, SetEmail, SetPassword, UserView,
};
use serde::Serialize;

/// Carries a command out.
pub(super) async fn run(session: &Session, command: User) -> Result<(), Failure> {
    match command {
        User::List => list(session).await,
        User::Add { name, email, password } => add(session, name, email, &password).await,
        User::Passwd { name, password } => passwd(session, name, &password).await,
        User::Email { name, email } => set_email(session, name, email).await,
        User::Delete { name } => delete(session, name).await,
    }
}

async fn list(session: &Session) -> Result<(), Failure> {
    let client = session.client().await?;
    let users = every(async |after| {
        let query = ListUsers { after, limit: MAX_PAGE };
        client.call(CALL_TIMEOUT, async |rpc, ctx| rpc.user_list(ctx, query).await).await
    });
    print(&rendered(&users.await?, &session.format))
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
        Format::Json => {
            let user = added.user.as_ref().map(row);
            // an older daemon does not say what it stores
            let typed = added.user.is_none().then_some(name.as_str());
            reveal(&name, new.generated, &json(&Added { name: typed, user, password }))
        }
        Format::Table(_) => {
            say(&format!("added user {name}"));
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
            say(&format!("changed the password of user {name}"));
            password.map_or(Ok(()), |password| reveal(&name, true, &format!("{password}\n")))
        }
    }
}

/// Nobody is asked for a password that no daemon would take; while somebody thinks of one, the daemon may have
/// hung up.
async fn password_for(
    session: &Session,
    flags: &PasswordFlags,
) -> Result<(NewPassword, Client), Failure> {
    if password::asks(flags) {
        drop(session.client().await?);
    }
    let new = password::obtain(flags)?;
    Ok((new, session.client().await?))
}

/// Prints what may hold a password that nobody else knows: if that fails, it is lost.
fn reveal(name: &str, is_new: bool, text: &str) -> Result<(), Failure> {
    print(text).map_err(|failure| match failure {
        Failure::Output(error) if is_new => Failure::Unfinished(format!(
            "cannot write to standard output: {error}, so nobody knows the new password of user {name} (give another one: ddnsctl user passwd {} --generate)",
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
            say(&format!("changed the mail address of user {name} to {email}"));
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
            say(&format!("deleted user {name}"));
            Ok(())
        }
    }
}

//----- Output -----

#[derive(Serialize)]
struct Added<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(flatten)]
    user: Option<Row<'a>>,
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
struct Deleted<'a> {
    name: &'a str,
}

#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    email: &'a str,
    hostnames: u32,
    created_at: String,
}

fn rendered(users: &[UserView], format: &Format) -> String {
    match format {
        Format::Json => json(&users.iter().map(row).collect::<Vec<_>>()),
        Format::Table(zone) => {
            let cells = |user: &UserView| {
                let UserView { name, email, hostnames, created_at } = user.clone();
                [name, email, hostnames.to_string(), local(created_at, zone)]
            };
            let rows: Vec<_> = users.iter().map(cells).collect();
            table(["NAME", "E-MAIL", "HOSTNAMES", "CREATED"], &rows)
        }
    }
}

fn row(user: &UserView) -> Row<'_> {
    let UserView { name, email, hostnames, created_at } = user;
    Row { name, email, hostnames: *hostnames, created_at: utc(*created_at) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::TimeZone;

    fn alice() -> UserView {
        let (name, email) = ("alice".to_owned(), "alice@example.org".to_owned());
        UserView { name, email, hostnames: 2, created_at: 1_795_428_000_000 }
    }

    #[test]
    fn users_are_a_table() {
        assert_eq!(
            rendered(&[alice()], &Format::Table(TimeZone::UTC)),
            "NAME   E-MAIL             HOSTNAMES  CREATED\n\
             alice  alice@example.org  2          2026-11-23 10:00:00\n"
        );
    }

    #[test]
    fn users_are_a_json_array() {
        assert_eq!(rendered(&[], &Format::Json), "[]\n");
        assert_eq!(
            rendered(&[alice()], &Format::Json),
            r#"[
  {
    "name": "alice",
    "email": "alice@example.org",
    "hostnames": 2,
    "created_at": "2026-11-23T10:00:00.000Z"
  }
]
"#
        );
    }
}
