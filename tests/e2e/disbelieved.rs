//! Answers of the name server that are not believed: log, status and host name what came.

use ddnsd_tests::daemon::Daemon;
use ddnsd_tests::eventually::eventually;
use ddnsd_tests::named::{Named, ZONE};
use ddnsd_tests::secondary::{Secondary, SecondaryProgram};
use std::time::Duration;

/// Longest time until a check of the record was tried, on a busy machine.
const SECONDS: Duration = Duration::from_secs(20);

#[test]
fn an_update_that_goes_to_a_resolver_is_reported_with_what_the_resolver_answered() {
    let named = Named::start();
    let mut resolver = Secondary::new(SecondaryProgram::Unbound);
    resolver.start(named.port());
    let daemon = Daemon::builder(&named)
        .set("dns_service.dns_port", i64::from(resolver.port()))
        .set("dns_service.dns_timeout", 1)
        .start();
    daemon.ctl().add_user("alice");
    daemon.ctl().add_host("alice", "pc", ZONE, &[]);
    daemon.update("alice", "hostname=pc.dyn.example&myip=192.0.2.1").is(503, "dnserr\n");
    let came = "NOTIMP came and was dropped, because it repeats the TSIG of the request";
    let log = daemon.log();
    let down = log.lines().find(|line| line.contains("zone is down")).expect("a warning");
    assert!(down.contains(came), "{down}");
    daemon.ctl().run(&["status"]).ok().prints(&["zone dyn.example is down", came]);
    eventually(SECONDS, "the host to show why it is pending", || {
        let shown = daemon.ctl().run(&["hostname", "show", "pc", ZONE]).ok().output();
        if shown.contains(came) { Ok(()) } else { Err(shown) }
    });
}
