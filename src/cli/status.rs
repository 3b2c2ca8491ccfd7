//! `tandem status`: is it well?

use std::process::ExitCode;

use super::duration::{spell_nanos, spell_seconds};
use super::output::{print, print_json};
use super::table::{Columns, properties, spell_counts};
use super::{Failure, Query};
use crate::admin::protocol::Request;
use crate::admin::views::{
    CallCounts, DnsCounts, MediaCounts, MediaServices, NextHops, Ng, Numa, Overload,
    RegistrationCounts, Residence, SipCounts, Status, WorkerTotals,
};

pub(super) fn show(query: &Query) -> Result<ExitCode, Failure> {
    let client = query.client();
    let answer = client.ask(&Request::Status {})?;
    if query.json {
        print_json(&answer)?;
    } else {
        print(&render(&client.understand(answer)?))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn render(status: &Status) -> String {
    let ng = status.ng.as_ref();
    [
        summary(status),
        listeners(status) + &ng.map_or_else(String::new, controls),
        devices(status),
        numa(&status.numa),
    ]
    .join("\n")
}

fn summary(status: &Status) -> String {
    let rows = [
        process(status),
        calls(&status.calls),
        sip(&status.sip),
        vec![("  overload", overload(&status.overload))],
        dns(&status.dns),
        registrations(&status.registrations),
        status.ng.as_ref().map_or_else(Vec::new, ng),
        status.services.as_ref().map_or_else(Vec::new, services),
        media(&status.media, &status.next_hops),
        workers(&status.workers),
        seen(status),
    ];
    properties(&rows.concat())
}

/// A name and what there is to say of it.
type Row = (&'static str, String);

fn process(status: &Status) -> Vec<Row> {
    let up = spell_seconds(status.uptime_seconds);
    let line = format!(
        "{} {}, up {up}, process {}, {}",
        status.version, status.state, status.pid, status.config
    );
    vec![("tandem", line)]
}

fn calls(calls: &CallCounts) -> Vec<Row> {
    let line = format!(
        "{} of {} up; {} offered, {} answered, {} failovers",
        calls.active, calls.limit, calls.offered, calls.answered, calls.failovers
    );
    vec![
        ("calls", line),
        ("  failed", spell_counts(&calls.failed)),
        ("  ended", spell_counts(&calls.ended)),
        (
            "  targets",
            format!(
                "{} given up in silence, {} passed by as full",
                calls.silent_targets, calls.full_targets
            ),
        ),
    ]
}

fn sip(sip: &SipCounts) -> Vec<Row> {
    let line = format!("{} dialogs, {} transactions", sip.dialogs, sip.transactions);
    vec![
        ("sip", line),
        ("  refused", spell_counts(&sip.requests_refused)),
        ("  dropped", spell_counts(&sip.messages_dropped)),
        ("  not sip", spell_counts(&sip.parse_errors)),
        ("  events", spell_counts(&sip.events)),
    ]
}

fn overload(overload: &Overload) -> String {
    let now = match overload.calls_per_second {
        Some(rate) => format!("new calls beyond {rate:.0} a second are refused"),
        None => "none".to_owned(),
    };
    format!(
        "{now}; {} refused in {} episodes, {:.1} ms waited last",
        overload.refused, overload.episodes, overload.waited_ms
    )
}

fn dns(dns: &DnsCounts) -> Vec<Row> {
    let line = format!(
        "{} of {} names resolved, {} records, {} name servers",
        dns.resolved, dns.names, dns.records, dns.servers
    );
    vec![("dns", line), ("  events", spell_counts(&dns.events))]
}

fn registrations(counts: &RegistrationCounts) -> Vec<Row> {
    if counts.configured == 0 {
        return Vec::new();
    }
    let line = format!(
        "{} of {} stand; {} REGISTERs, {} rounds failed",
        counts.registered, counts.configured, counts.sent, counts.failed
    );
    vec![("registrations", line)]
}

fn ng(ng: &Ng) -> Vec<Row> {
    let line = format!(
        "{} calls, {} dialogues, {} replies wait for workers, {} remembered",
        ng.calls, ng.dialogues, ng.waiting, ng.remembered
    );
    vec![
        ("ng", line),
        ("  commands", spell_counts(&ng.commands)),
        ("  errors", spell_counts(&ng.errors)),
        ("  events", spell_counts(&ng.events)),
    ]
}

/// Recordings, forwarding, announcements.
fn services(services: &MediaServices) -> Vec<Row> {
    let mut rows = Vec::new();
    if let Some(recordings) = &services.recordings {
        let line = format!(
            "{} open in {}; {} begun, {} failed, {} packets, {} bytes, {} of the metadata lost",
            recordings.active,
            recordings.directory,
            recordings.begun,
            recordings.failed,
            recordings.packets,
            recordings.bytes,
            recordings.metadata_lost
        );
        rows.push(("recordings", line));
    }
    if let Some(forwarding) = &services.forwarding {
        let line = format!(
            "{} parties to {} by {} connections; {} packets, {} lost, {} late, {} not decoded, {} refused, {} connections failed",
            forwarding.parties,
            forwarding.to,
            forwarding.streams,
            forwarding.packets,
            forwarding.lost,
            forwarding.late,
            forwarding.unknown,
            forwarding.refused,
            forwarding.connections_failed
        );
        rows.push(("forwarding", line));
    }
    let plays = &services.plays;
    let line = format!(
        "{} played now; {} begun, {} failed, {} packets, {} refused by workers",
        plays.active, plays.begun, plays.failed, plays.packets, plays.injections_refused
    );
    rows.push(("announcements", line));
    let line = format!(
        "{} copies of packets, {} orders, {} events",
        services.lost_at_tap, services.orders_refused, services.events_lost
    );
    rows.push(("  lost", line));
    rows
}

fn media(media: &MediaCounts, hops: &NextHops) -> Vec<Row> {
    let ports = format!(
        "{} pairs in use, {} resting, {} free",
        media.ports_in_use, media.ports_resting, media.ports_free
    );
    let hops = format!(
        "{} watched, {} solicitations, {} changes",
        hops.watched, hops.solicitations, hops.changes
    );
    let line = format!(
        "{} sessions ({} without a call), {} flows",
        media.sessions, media.provisioned, media.flows
    );
    vec![
        ("media", line),
        ("  ports", ports),
        ("  refused", spell_counts(&media.refused)),
        ("  not installed", spell_counts(&media.installs_failed)),
        ("  events", spell_counts(&media.events)),
        ("  next hops", hops),
    ]
}

fn workers(workers: &WorkerTotals) -> Vec<Row> {
    let memory = if workers.huge_pages {
        "2 MB pages"
    } else {
        "4 KB pages"
    };
    let packets = format!(
        "{} received, {} sent, {} dropped",
        workers.rx_packets, workers.tx_packets, workers.dropped
    );
    let line = format!("{} of {} run, {memory}", workers.running, workers.count);
    vec![
        ("workers", line),
        ("  packets", packets),
        ("  drops", spell_counts(&workers.drops)),
        ("  handled", spell_counts(&workers.handled)),
        ("  residence", residence(&workers.residence_ns)),
    ]
}

/// What is written down, remembered and sent away of calls.
fn seen(status: &Status) -> Vec<Row> {
    let stories = &status.stories;
    let whole = match stories.keeps_messages {
        true => ", with whole messages",
        false => "",
    };
    let mut rows = vec![(
        "stories",
        format!(
            "{} of calls that are up, {} remembered, {} KB{whole}; {} forgotten",
            stories.live,
            stories.finished,
            stories.bytes / 1024,
            stories.forgotten
        ),
    )];
    if let Some(cdr) = &status.cdr {
        let lost = cdr.lost_queue_full + cdr.lost_write_failed;
        let line = format!(
            "{} written to {}, {} not on the disk yet, {} waiting, {lost} lost ({} queue full, {} not writable), {} files put aside",
            cdr.written,
            cdr.file,
            cdr.unsynced,
            cdr.queued,
            cdr.lost_queue_full,
            cdr.lost_write_failed,
            cdr.rotated
        );
        rows.push(("cdr", line));
    }
    if let Some(collector) = &status.collector {
        let line = format!(
            "{} messages to {}, {} failed, {} too long",
            collector.sent, collector.address, collector.failed, collector.too_long
        );
        rows.push(("hep", line));
    }
    rows
}

/// `p50 12.3 us, p99 45.6 us, max 1.20 ms`.
pub(super) fn residence(residence: &Residence) -> String {
    if residence.count == 0 {
        return "-".to_owned();
    }
    format!(
        "p50 {}, p99 {}, max {}",
        spell_nanos(residence.p50),
        spell_nanos(residence.p99),
        spell_nanos(residence.max)
    )
}

fn listeners(status: &Status) -> String {
    let mut columns = Columns::new(&[
        "listener",
        "transport",
        "address",
        ">received",
        ">sent",
        ">send failures",
        ">receive errors",
    ]);
    for listener in &status.listeners {
        columns.row([
            listener.name.clone(),
            listener.transport.clone(),
            listener.address.clone(),
            listener.received.to_string(),
            listener.sent.to_string(),
            listener.send_failures.to_string(),
            listener.receive_errors.to_string(),
        ]);
    }
    let mut text = columns.render();
    text.push_str(&connections(status));
    text
}

/// A table of its own, where there are some: what a listener without them could only leave blank.
fn connections(status: &Status) -> String {
    let mut columns = Columns::new(&[
        "connections of",
        ">open",
        ">accepted",
        ">opened",
        ">turned away",
        ">failed",
        ">TLS failed",
        ">no SIP",
        ">stalled",
        ">idle",
        ">closed",
        ">broken",
    ]);
    let mut some = false;
    for listener in &status.listeners {
        let Some(counts) = &listener.connections else {
            continue;
        };
        some = true;
        let figures = [
            counts.open,
            counts.accepted,
            counts.opened,
            counts.turned_away,
            counts.failed,
            counts.tls_failed,
            counts.framing_errors,
            counts.stalled,
            counts.idle,
            counts.closed,
            counts.broken,
        ];
        let mut row = vec![listener.name.clone()];
        row.extend(figures.map(|figure| figure.to_string()));
        columns.row(row);
    }
    match some {
        true => format!("\n{}", columns.render()),
        false => String::new(),
    }
}

/// The second door's sockets.
fn controls(ng: &Ng) -> String {
    let mut columns = Columns::new(&[
        "ng listener",
        "transport",
        "address",
        ">requests",
        ">replies",
        ">refused",
        ">malformed",
        ">too large",
        ">connections",
        "not sent",
    ]);
    for listener in &ng.listeners {
        let connections = listener.connections.as_ref();
        columns.row([
            listener.name.clone(),
            listener.transport.clone(),
            listener.address.clone(),
            listener.requests.to_string(),
            listener.replies.to_string(),
            listener.refused.to_string(),
            listener.malformed.to_string(),
            listener.too_large.to_string(),
            connections.map_or_else(|| "-".to_owned(), |counts| counts.open.to_string()),
            spell_counts(&listener.unsent),
        ]);
    }
    format!("\n{}", columns.render())
}

fn devices(status: &Status) -> String {
    let mut columns = Columns::new(&["device", "driver", "xdp mode", ">queues", "verdicts"]);
    for device in &status.devices {
        columns.row([
            device.name.clone(),
            device.driver.clone(),
            device.xdp_mode.clone(),
            device.queues.to_string(),
            spell_counts(&device.verdicts),
        ]);
    }
    columns.render()
}

/// The nodes, and what crosses between them.
fn numa(numa: &Numa) -> String {
    let mut columns = Columns::new(&[
        ">numa node",
        "devices",
        "cores of workers",
        "frames of workers",
        "tables of workers",
    ]);
    for node in &numa.nodes {
        let workers = |workers: &[u16]| match spell_ranges(workers) {
            none if none.is_empty() => "-".to_owned(),
            some => some,
        };
        let devices = match node.devices.as_slice() {
            [] => "-".to_owned(),
            devices => devices.join(", "),
        };
        columns.row([
            node.node
                .map_or_else(|| "unknown".to_owned(), |node| node.to_string()),
            devices,
            workers(&node.cores_of),
            workers(&node.umem_of),
            workers(&node.tables_of),
        ]);
    }
    let warnings = numa.warnings.iter();
    let warnings: String = warnings.map(|text| format!("warning: {text}\n")).collect();
    columns.render() + &warnings
}

/// `0-3, 8`.
fn spell_ranges(numbers: &[u16]) -> String {
    crate::config::spell_ranges(&numbers.iter().copied().map(usize::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::views::{Forwarding, NumaNode, Plays, Recordings};

    #[test]
    fn the_media_services_have_rows_as_far_as_they_are_configured() {
        let mut view = MediaServices {
            lost_at_tap: 9,
            plays: Plays {
                packets: 50,
                ..Plays::default()
            },
            ..MediaServices::default()
        };
        let names =
            |view: &MediaServices| -> Vec<_> { services(view).iter().map(|row| row.0).collect() };
        assert_eq!(names(&view), ["announcements", "  lost"]);
        view.recordings = Some(Recordings {
            directory: "/calls".to_owned(),
            active: 2,
            ..Recordings::default()
        });
        view.forwarding = Some(Forwarding::default());
        let all = ["recordings", "forwarding", "announcements", "  lost"];
        assert_eq!(names(&view), all);
        let rows = services(&view);
        assert!(rows[0].1.starts_with("2 open in /calls; 0 begun"));
        assert!(rows[2].1.contains("50 packets"));
        assert!(rows[3].1.starts_with("9 copies of packets"));
    }

    #[test]
    fn nodes_are_a_table_and_warnings_follow_it() {
        let node = |node, device: &str, workers: &[u16]| NumaNode {
            node,
            devices: vec![device.to_owned()],
            cores_of: workers.into(),
            umem_of: workers.into(),
            tables_of: workers.into(),
        };
        let text = numa(&Numa {
            nodes: vec![
                node(Some(0), "ens1", &[0, 1, 2, 5]),
                node(None, "bond0", &[]),
            ],
            warnings: vec!["worker 5 is far".to_owned()],
        });
        assert_eq!(
            text,
            "NUMA NODE  DEVICES  CORES OF WORKERS  FRAMES OF WORKERS  TABLES OF WORKERS\n\
             \x20       0  ens1     0-2, 5            0-2, 5             0-2, 5\n\
             \x20 unknown  bond0    -                 -                  -\n\
             warning: worker 5 is far\n"
        );
    }
}
