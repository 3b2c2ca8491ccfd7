//! `tandem flows`: what the workers carry for one call.

use std::process::ExitCode;

use super::duration::spell_seconds;
use super::output::{print, print_json};
use super::table::{Columns, or_dash};
use super::{Failure, FlowsArgs};
use crate::admin::protocol::Request;
use crate::admin::views::{Flow, Flows};

pub(super) fn show(args: &FlowsArgs) -> Result<ExitCode, Failure> {
    let client = args.query.client();
    let answer = client.ask(&Request::Flows { id: args.id })?;
    if args.query.json {
        print_json(&answer)?;
    } else {
        let view: Flows = client.understand(answer)?;
        print(&render(&view.flows))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Flows, and what each worker has counted for them.
pub(super) fn render(flows: &[Flow]) -> String {
    let mut columns = Columns::new(&[
        "arrives at",
        "carries",
        "signalled",
        "latched",
        "leaves from",
        "goes to",
        "next hop",
        ">acknowledged",
    ]);
    for flow in flows {
        let next_hop = match (&flow.next_hop, &flow.egress_device) {
            (Some(mac), Some(device)) => format!("{mac} by {device}"),
            (mac, _) => or_dash(mac.as_deref()),
        };
        columns.row([
            flow.local.clone(),
            flow.carries.clone(),
            or_dash(flow.signalled.as_deref()),
            or_dash(flow.latched.as_deref()),
            or_dash(flow.leaves_from.as_deref()),
            or_dash(flow.destination.as_deref()),
            next_hop,
            flow.acknowledged.to_string(),
        ]);
    }
    let mut tables = vec![columns.render(), by_worker(flows)];
    if flows.iter().any(|flow| flow.reception.is_some()) {
        tables.push(receptions(flows));
    }
    tables.join("\n")
}

/// What the parties say of what they are sent.
fn receptions(flows: &[Flow]) -> String {
    let mut columns = Columns::new(&[
        "reports at",
        "of",
        ">reports",
        ">loss",
        ">lost",
        ">jitter",
        ">round trip",
        ">last report",
    ]);
    for flow in flows {
        let Some(reception) = &flow.reception else {
            continue;
        };
        let millis = |value: f64| format!("{value:.1} ms");
        let units = || format!("{} units", reception.jitter_units);
        let party = flow.latched.as_deref().or(flow.signalled.as_deref());
        columns.row([
            flow.local.clone(),
            or_dash(party),
            reception.reports.to_string(),
            format!("{:.1} %", 100.0 * reception.loss),
            reception.lost.to_string(),
            reception.jitter_ms.map_or_else(units, millis),
            or_dash(reception.round_trip_ms.map(millis)),
            format!("{} ago", spell_seconds(reception.last_report_seconds)),
        ]);
    }
    columns.render()
}

fn by_worker(flows: &[Flow]) -> String {
    let mut columns = Columns::new(&[
        "arrives at",
        ">worker",
        ">packets",
        ">bytes",
        ">wrong source",
        ">last packet",
        "latched",
    ]);
    for flow in flows {
        for worker in &flow.workers {
            let ago = worker.last_seen_seconds.map(spell_seconds);
            columns.row([
                flow.local.clone(),
                worker.worker.to_string(),
                worker.packets.to_string(),
                worker.bytes.to_string(),
                worker.wrong_source.to_string(),
                ago.map_or_else(|| "-".to_owned(), |ago| format!("{ago} ago")),
                or_dash(worker.latched.as_deref()),
            ]);
        }
    }
    columns.render()
}
