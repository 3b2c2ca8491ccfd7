//! `tandem status`: is it well?

use std::process::ExitCode;

use super::duration::{spell_nanos, spell_seconds};
use super::output::{print, print_json};
use super::table::{Columns, properties, spell_counts};
use super::{Failure, Query};
use crate::admin::protocol::Request;
use crate::admin::views::{Residence, Status};

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
    [summary(status), listeners(status), devices(status)].join("\n")
}

fn summary(status: &Status) -> String {
    let (calls, sip, media) = (&status.calls, &status.sip, &status.media);
    let (hops, workers) = (&status.next_hops, &status.workers);
    let memory = if workers.huge_pages {
        "huge pages"
    } else {
        "4 KB pages"
    };
    properties(&[
        (
            "tandem",
            format!(
                "{} {}, up {}, process {}, {}",
                status.version,
                status.state,
                spell_seconds(status.uptime_seconds),
                status.pid,
                status.config
            ),
        ),
        (
            "calls",
            format!(
                "{} of {} up; {} offered, {} answered, {} failovers",
                calls.active, calls.limit, calls.offered, calls.answered, calls.failovers
            ),
        ),
        ("  failed", spell_counts(&calls.failed)),
        ("  ended", spell_counts(&calls.ended)),
        (
            "sip",
            format!("{} dialogs, {} transactions", sip.dialogs, sip.transactions),
        ),
        ("  refused", spell_counts(&sip.requests_refused)),
        ("  dropped", spell_counts(&sip.messages_dropped)),
        ("  not sip", spell_counts(&sip.parse_errors)),
        ("  events", spell_counts(&sip.events)),
        (
            "media",
            format!("{} sessions, {} flows", media.sessions, media.flows),
        ),
        (
            "  ports",
            format!(
                "{} pairs in use, {} resting, {} free",
                media.ports_in_use, media.ports_resting, media.ports_free
            ),
        ),
        ("  refused", spell_counts(&media.refused)),
        ("  not installed", spell_counts(&media.installs_failed)),
        ("  events", spell_counts(&media.events)),
        (
            "  next hops",
            format!(
                "{} watched, {} solicitations, {} changes",
                hops.watched, hops.solicitations, hops.changes
            ),
        ),
        (
            "workers",
            format!("{} of {} run, {memory}", workers.running, workers.count),
        ),
        (
            "  packets",
            format!(
                "{} received, {} sent, {} dropped",
                workers.rx_packets, workers.tx_packets, workers.dropped
            ),
        ),
        ("  drops", spell_counts(&workers.drops)),
        ("  residence", residence(&workers.residence_ns)),
    ])
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
        "address",
        ">received",
        ">sent",
        ">send failures",
        ">receive errors",
    ]);
    for listener in &status.listeners {
        columns.row([
            listener.name.clone(),
            listener.address.clone(),
            listener.received.to_string(),
            listener.sent.to_string(),
            listener.send_failures.to_string(),
            listener.receive_errors.to_string(),
        ]);
    }
    columns.render()
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
