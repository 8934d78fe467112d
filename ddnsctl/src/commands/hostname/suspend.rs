//! `ddnsctl hostname suspend` and `resume`

use super::Modified;
use crate::client::{CALL_TIMEOUT, DNS_TIMEOUT};
use crate::commands::session::{Session, print};
use crate::exit::{Failure, message};
use crate::output::{Format, json, quoted};
use ddnsd_proto::host::{self as proto, FindHost, SuspendHost};

pub(super) async fn suspend(session: &Session, host: SuspendHost) -> Result<(), Failure> {
    let request = host.clone();
    let client = session.client().await?;
    let modified =
        client.call(DNS_TIMEOUT, async |rpc, ctx| rpc.host_suspend(ctx, request).await).await?;
    let SuspendHost { hostname, zone, take_down } = host;
    let done = match (modified.changed, take_down) {
        (false, _) => format!("nothing to do: {hostname} in {zone} is suspended already"),
        (true, taken_down) => format!(
            "suspended {hostname} in {zone}: updates are rejected{} (to undo: ddnsctl hostname resume {} {})",
            match (taken_down, &modified.not_yet_published) {
                (false, _) => ", records stay",
                (true, None) => ", records are taken down",
                (true, Some(_)) => "",
            },
            quoted(&hostname),
            quoted(&zone)
        ),
    };
    report(session, &modified, &done, "taken down")
}

pub(super) async fn resume(session: &Session, host: FindHost) -> Result<(), Failure> {
    let request = host.clone();
    let client = session.client().await?;
    let modified =
        client.call(CALL_TIMEOUT, async |rpc, ctx| rpc.host_resume(ctx, request).await).await?;
    let FindHost { hostname, zone } = host;
    let done = if modified.changed {
        format!("resumed {hostname} in {zone}; its time to expire starts again")
    } else {
        format!("nothing to do: {hostname} in {zone} is not suspended")
    };
    report(session, &modified, &done, "published")
}

fn report(
    session: &Session,
    modified: &proto::Modified,
    done: &str,
    pending: &str,
) -> Result<(), Failure> {
    let not_yet_published = modified.not_yet_published.as_deref();
    if let Format::Table(_) = session.format {
        message(done);
    }
    if let Some(why) = not_yet_published {
        message(&format!("not yet {pending}: {why}; ddnsd retries automatically"));
    }
    match session.format {
        Format::Json => {
            let changed = modified.changed;
            print(&json(&Modified { host: &modified.host, changed, not_yet_published }))
        }
        Format::Table(_) => Ok(()),
    }
}
