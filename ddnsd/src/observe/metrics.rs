//! `/metrics`. In: a snapshot and what the kernel knows of the process. Out: the text that
//! Prometheus reads. Pure. Names follow the Prometheus rules: base units, `_total` for counters.

use super::exposition::{Exposition, MetricFamily};
use super::process::ProcessFacts;
use crate::stories::status::{Figure, Snapshot, ZoneState};

/// Zones with series of their own. Sums over all zones have names of their own.
const MAX_ZONES: usize = 200;

pub(super) fn render(snapshot: &Snapshot, process: Option<&ProcessFacts>) -> String {
    let mut text = Exposition::default();
    daemon(&mut text, snapshot);
    updates(&mut text, snapshot);
    counters(&mut text, snapshot);
    database(&mut text, snapshot);
    zones(&mut text, snapshot);
    if let Some(facts) = process {
        of_process(&mut text, snapshot, facts);
    }
    text.into_text()
}

fn daemon(text: &mut Exposition, snapshot: &Snapshot) {
    let version = env!("CARGO_PKG_VERSION");
    text.gauge("ddnsd_build_info", "The version, with the value 1")
        .sample(&[("version", version)], 1);
    let reload = snapshot.last_reload;
    let (at, succeeded) =
        reload.map_or((snapshot.started, true), |reload| (reload.at, reload.succeeded));
    text.gauge(
        "ddnsd_config_last_reload_successful",
        "Whether the last reload changed all it should",
    )
    .sample(&[], u8::from(succeeded));
    let help = "When the configuration was last reloaded, or the start";
    text.gauge("ddnsd_config_last_reload_timestamp_seconds", help).sample(&[], seconds(at.0));
    if let Some(certificate) = &snapshot.certificate {
        text.gauge("ddnsd_certificate_not_after_timestamp_seconds", "When the certificate ends")
            .sample(&[], seconds(certificate.until.0));
    }
    let connections = snapshot.connections;
    text.gauge("ddnsd_connections_open", "Open HTTP connections").sample(&[], connections.open);
    text.gauge("ddnsd_connections_max", "HTTP connections that may be open")
        .sample(&[], connections.max);
    let mut queues = text.gauge("ddnsd_queue_length", "What waits, by queue");
    for Figure { name, value, .. } in &snapshot.queues {
        queues.sample(&[("queue", name)], value);
    }
}

fn updates(text: &mut Exposition, snapshot: &Snapshot) {
    let codes = || of_group(snapshot, "updates");
    let help = codes().next().map_or("", |(_, figure)| figure.help);
    let mut family = text.counter("ddnsd_updates_total", help);
    for (code, figure) in codes() {
        family.sample(&[("code", code)], figure.value);
    }
    let mut family = text.counter("ddnsd_http_replies_total", "HTTP replies by status");
    for (status, count) in &snapshot.replies {
        let status = if *status == 0 { "other".to_owned() } else { status.to_string() };
        family.sample(&[("status", &status)], count);
    }
}

fn of_group<'a>(
    snapshot: &'a Snapshot,
    group: &'a str,
) -> impl Iterator<Item = (&'a str, &'a Figure)> {
    snapshot.counters.iter().filter_map(move |figure| {
        let (of, name) = figure.name.split_once('.')?;
        (of == group).then_some((name, figure))
    })
}

fn counters(text: &mut Exposition, snapshot: &Snapshot) {
    let others = snapshot.counters.iter().filter(|figure| !figure.name.starts_with("updates."));
    for Figure { name, help, value } in others {
        text.counter(&format!("ddnsd_{}_total", name.replace('.', "_")), help).sample(&[], value);
    }
    for durations in &snapshot.durations {
        let name = format!("ddnsd_{}_duration_seconds", durations.name.replace('.', "_"));
        text.histogram(&name, durations.help).durations(&[], &durations.reading);
    }
}

/// Without the numbers of rows while the database does not answer.
fn database(text: &mut Exposition, snapshot: &Snapshot) {
    let is_up = snapshot.database.is_none();
    text.gauge("ddnsd_database_up", "Whether the database answers").sample(&[], u8::from(is_up));
    text.gauge("ddnsd_database_writable", "Whether the last write to the database succeeded")
        .sample(&[], u8::from(is_up && snapshot.writing.is_none()));
    if !is_up {
        return;
    }
    text.gauge("ddnsd_users", "Users").sample(&[], snapshot.users);
    text.gauge("ddnsd_hostnames", "Hosts").sample(&[], snapshot.hosts);
    text.gauge("ddnsd_pending_hosts", "Hosts whose records DNS does not hold yet")
        .sample(&[], snapshot.pending);
    let help = "Hosts that DNS does not serve although it acknowledged them";
    text.gauge("ddnsd_unserved_hosts", help).sample(&[], snapshot.unserved);
    if let Some(took) = snapshot.check_round {
        text.gauge("ddnsd_check_round_seconds", "How long the last check of all hosts took")
            .sample(&[], took.as_secs());
    }
    let age = snapshot.pending_since.map_or(0, |since| snapshot.at.since(since).max(0));
    text.gauge("ddnsd_pending_oldest_seconds", "How long the first of them has been pending")
        .sample(&[], seconds(age));
}

fn zones(text: &mut Exposition, snapshot: &Snapshot) {
    let down = snapshot.zones.iter().filter(|zone| zone.down).count();
    text.gauge("ddnsd_zones_down", "Zones whose name server does not answer").sample(&[], down);
    // those with counters first: their number is bounded, so that their series go on
    let mut zones: Vec<_> = snapshot.zones.iter().collect();
    zones.sort_by_key(|zone| zone.messages.is_none());
    zones.truncate(MAX_ZONES);
    let each = |mut family: MetricFamily<'_>, sample: fn(&mut MetricFamily<'_>, &ZoneState)| {
        for zone in &zones {
            sample(&mut family, zone);
        }
    };
    let family = text.gauge("ddnsd_zone_up", "Whether the name server answers for the zone");
    each(family, |family, zone| family.sample(&label(zone), u8::from(!zone.down)));
    let family = text.gauge("ddnsd_zone_pending_hosts", "Hosts that are pending, by zone");
    each(family, |family, zone| family.sample(&label(zone), zone.pending));
    let help = "Hosts that DNS does not serve although it acknowledged them, by zone";
    let family = text.gauge("ddnsd_zone_unserved_hosts", help);
    each(family, |family, zone| family.sample(&label(zone), zone.unserved));
    let help = "When publishing to the zone last failed";
    let family = text.gauge("ddnsd_zone_last_error_timestamp_seconds", help);
    each(family, |family, zone| {
        if let Some(at) = zone.last_error.as_ref().and_then(|error| error.at) {
            family.sample(&label(zone), seconds(at.0));
        }
    });
    let help = "Messages to the name server without their retries, by RCODE";
    let family = text.counter("ddnsd_zone_messages_total", help);
    each(family, |family, zone| {
        let results = zone.messages.iter().flat_map(|messages| &messages.results);
        for (rcode, count) in results.filter(|(rcode, count)| *rcode == "NOERROR" || *count > 0) {
            family.sample(&[("zone", &zone.zone), ("rcode", rcode)], count);
        }
    });
    let family = text.counter("ddnsd_zone_hosts_total", "Hosts in these messages");
    each(family, |family, zone| {
        if let Some(messages) = &zone.messages {
            family.sample(&label(zone), messages.hosts);
        }
    });
    let help = "Messages to the name server, from the first try to the answer or the time-out";
    let family = text.histogram("ddnsd_zone_message_duration_seconds", help);
    each(family, |family, zone| {
        if let Some(messages) = &zone.messages {
            family.durations(&label(zone), &messages.durations);
        }
    });
}

fn label(zone: &ZoneState) -> [(&str, &str); 1] {
    [("zone", &zone.zone)]
}

/// By the names that all Prometheus clients use.
fn of_process(text: &mut Exposition, snapshot: &Snapshot, facts: &ProcessFacts) {
    text.counter("process_cpu_seconds_total", "User and system time")
        .sample(&[], facts.cpu_seconds);
    for (name, help, value) in [
        ("process_resident_memory_bytes", "Resident memory", facts.resident_bytes),
        ("process_virtual_memory_bytes", "Virtual memory", facts.virtual_bytes),
        ("process_threads", "Threads", facts.threads),
        ("process_open_fds", "Open files", facts.open_files),
        ("process_max_fds", "Files that may be open", facts.max_files),
    ] {
        text.gauge(name, help).sample(&[], value);
    }
    text.gauge("process_start_time_seconds", "When the process started, seconds since 1970")
        .sample(&[], seconds(snapshot.started.0));
}

/// Milliseconds as seconds, exactly.
fn seconds(millis: i64) -> String {
    format!("{}.{:03}", millis / 1000, (millis % 1000).abs())
}
