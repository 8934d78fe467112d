//! `ddnsctl reload`

use super::session::{Session, print};
use crate::client::DNS_TIMEOUT;
use crate::exit::{Failure, message};
use crate::output::{Format, json, table};
use ddnsd_proto::reload::{ChangedKey, Reloaded};

pub(super) async fn run(session: &Session) -> Result<(), Failure> {
    let client = session.client().await?;
    let done = client.call(DNS_TIMEOUT, async |rpc, ctx| rpc.reload(ctx).await).await?;
    let printed = print(&render(&done, &session.format));
    if done.problems_total > 0 {
        return Err(problems(&done));
    }
    if let Format::Table(_) = session.format {
        message(&summary(&done));
    }
    match done.log_problem {
        Some(problem) => Err(Failure::Unfinished(still_old_log(&problem))),
        None => printed,
    }
}

/// Prints the problems.
fn problems(done: &Reloaded) -> Failure {
    for problem in &done.problems {
        message(problem);
    }
    let more = done.problems_total.saturating_sub(done.problems.len() as u64);
    if more > 0 {
        message(&format!("and {more} more"));
    }
    if let Some(problem) = &done.log_problem {
        message(&still_old_log(problem));
    }
    Failure::Unfinished("nothing was changed; fix the configuration and reload again".to_owned())
}

fn still_old_log(problem: &str) -> String {
    format!("the log file is still the old one: {problem} (fix that and reload again)")
}

//----- Output -----

fn summary(done: &Reloaded) -> String {
    let changed = match done.changed_total {
        0 => "nothing has changed".to_owned(),
        1 => "1 key has changed".to_owned(),
        more => format!("{more} keys have changed"),
    };
    match done.needs_restart.len() {
        0 => changed,
        1 => format!("{changed}; 1 needs a restart of ddnsd"),
        more => format!("{changed}; {more} need a restart of ddnsd"),
    }
}

/// JSON of the reply itself, because it contains no times.
fn render(done: &Reloaded, format: &Format) -> String {
    if let Format::Json = format {
        return json(done);
    }
    let changed = done.changed.iter().map(|key| row(key, "changed"));
    let waiting = done.needs_restart.iter().map(|key| row(key, "needs a restart"));
    let rows: Vec<_> = changed.chain(waiting).collect();
    if rows.is_empty() { String::new() } else { table(["KEY", "OLD", "NEW", "RESULT"], &rows) }
}

fn row(key: &ChangedKey, result: &str) -> [String; 4] {
    let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "(not shown)".to_owned());
    [key.key.clone(), shown(&key.old), shown(&key.new), result.to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::TimeZone;

    fn key(key: &str, old: Option<&str>, new: Option<&str>) -> ChangedKey {
        ChangedKey { key: key.into(), old: old.map(Into::into), new: new.map(Into::into) }
    }

    #[test]
    fn changed_keys_precede_those_that_need_a_restart_and_secrets_are_hidden() {
        let done = Reloaded {
            changed: vec![
                key("defaults.dns_ttl", Some("60"), Some("30")),
                key("daemon.proxy_header", Some(""), Some("forwarded")),
            ],
            changed_total: 2,
            needs_restart: vec![key("database.password", None, None)],
            ..Reloaded::default()
        };
        assert_eq!(
            render(&done, &Format::Table(TimeZone::UTC)),
            "KEY                  OLD          NEW          RESULT\n\
             defaults.dns_ttl     60           30           changed\n\
             daemon.proxy_header  -            forwarded    changed\n\
             database.password    (not shown)  (not shown)  needs a restart\n"
        );
        assert_eq!(summary(&done), "2 keys have changed; 1 needs a restart of ddnsd");
        assert_eq!(render(&Reloaded::default(), &Format::Table(TimeZone::UTC)), "");
        assert_eq!(summary(&Reloaded::default()), "nothing has changed");
    }
}
