//! `tandem workers`: what each worker, device and queue has carried.

use std::process::ExitCode;

use super::output::{print, print_json};
use super::status::residence;
use super::table::{Columns, or_dash, spell_counts};
use super::{Failure, Query};
use crate::admin::protocol::Request;
use crate::admin::views::{Socket, Workers};

pub(super) fn show(query: &Query) -> Result<ExitCode, Failure> {
    let client = query.client();
    let answer = client.ask(&Request::Workers {})?;
    if query.json {
        print_json(&answer)?;
    } else {
        print(&render(&client.understand(answer)?))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn render(view: &Workers) -> String {
    [workers(view), sockets(view), steering(view), drops(view)].join("\n")
}

fn workers(view: &Workers) -> String {
    let mut columns = Columns::new(&[
        ">worker",
        ">core",
        "state",
        ">flows",
        ">received",
        ">sent",
        ">dropped",
        ">batches",
        ">sleeps",
        ">free frames",
        "residence",
    ]);
    for worker in &view.workers {
        let state = if worker.running { "runs" } else { "DEAD" };
        columns.row([
            worker.worker.to_string(),
            worker.core.to_string(),
            state.to_owned(),
            worker.flows.to_string(),
            worker.rx_packets.to_string(),
            worker.tx_packets.to_string(),
            worker.dropped.to_string(),
            worker.batches.to_string(),
            worker.sleeps.to_string(),
            format!("{}/{}", worker.free_frames, worker.frames),
            residence(&worker.residence_ns),
        ]);
    }
    columns.render()
}

fn sockets(view: &Workers) -> String {
    let mut columns = Columns::new(&[
        "device",
        ">queue",
        ">worker",
        "bound",
        ">received",
        ">sent",
        ">rx dropped",
        ">rx ring full",
        ">fill ring empty",
        ">invalid",
        ">tx ring empty",
    ]);
    let mut rows: Vec<_> = view
        .workers
        .iter()
        .flat_map(|worker| worker.sockets.iter().map(|socket| (worker.worker, socket)))
        .collect();
    rows.sort_by_key(|(_, socket)| (socket.device.clone(), socket.queue));
    for (worker, socket) in rows {
        let kernel = &socket.xdp_statistics;
        columns.row([
            socket.device.clone(),
            socket.queue.to_string(),
            worker.to_string(),
            binding(socket),
            socket.rx_packets.to_string(),
            socket.tx_packets.to_string(),
            kernel.rx_dropped.to_string(),
            kernel.rx_ring_full.to_string(),
            kernel.rx_fill_ring_empty_descs.to_string(),
            (kernel.rx_invalid_descs + kernel.tx_invalid_descs).to_string(),
            kernel.tx_ring_empty_descs.to_string(),
        ]);
    }
    columns.render()
}

/// `copy, need-wakeup, tx budget 256`.
fn binding(socket: &Socket) -> String {
    let mut words = vec![
        if socket.zero_copy {
            "zero-copy"
        } else {
            "copy"
        }
        .to_owned(),
    ];
    if socket.need_wakeup {
        words.push("need-wakeup".to_owned());
    }
    if socket.busy_poll {
        words.push("busy-poll".to_owned());
    }
    // What a driver takes by DMA is not counted in calls.
    if let (false, Some(budget)) = (socket.zero_copy, socket.tx_budget) {
        words.push(format!("tx budget {budget}"));
    }
    words.join(", ")
}

fn steering(view: &Workers) -> String {
    let mut columns = Columns::new(&[
        "device",
        "packets",
        "steering",
        "hash fields",
        "mapping",
        ">flows seen",
        ">split",
        ">at home",
    ]);
    let rows = view.steering.iter();
    for (device, family) in rows.flat_map(|of| of.families.iter().map(move |family| (of, family))) {
        let fields = match (&family.hash_fields, &family.hash_fields_before) {
            (Some(now), Some(before)) => format!("{now} (was {before})"),
            (now, _) => or_dash(now.as_ref()),
        };
        let mapping = match &family.why {
            Some(why) => format!("{}: {why}", family.mapping),
            None => family.mapping.clone(),
        };
        let share = family
            .home_share
            .map(|share| format!("{:.1} %", share * 100.0));
        columns.row([
            device.device.clone(),
            family.family.clone(),
            device.wanted.clone(),
            fields,
            mapping,
            family.flows_seen.to_string(),
            family.flows_split.to_string(),
            or_dash(share),
        ]);
    }
    columns.render()
}

fn drops(view: &Workers) -> String {
    let mut text = String::new();
    for worker in &view.workers {
        let drops = spell_counts(&worker.drops);
        text.push_str(&format!("drops of worker {}: {drops}\n", worker.worker));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::views::{Steering, SteeringFamily};

    #[test]
    fn steering_is_a_row_for_each_device_and_family() {
        let steered = SteeringFamily {
            family: "udp4".to_owned(),
            hash_fields: Some("dn".to_owned()),
            hash_fields_before: Some("sdfn".to_owned()),
            mapping: "confirmed".to_owned(),
            why: None,
            flows_seen: 200,
            flows_split: 1,
            home_share: Some(0.995),
        };
        let cannot = SteeringFamily {
            family: "udp6".to_owned(),
            mapping: "unknown".to_owned(),
            why: Some("the driver cannot".to_owned()),
            ..SteeringFamily::default()
        };
        let view = Workers {
            steering: vec![Steering {
                device: "ens1".to_owned(),
                wanted: "best".to_owned(),
                families: vec![steered, cannot],
            }],
            ..Workers::default()
        };
        assert_eq!(
            steering(&view),
            "DEVICE  PACKETS  STEERING  HASH FIELDS    MAPPING                     FLOWS SEEN  SPLIT  AT HOME\n\
             ens1    udp4     best      dn (was sdfn)  confirmed                          200      1   99.5 %\n\
             ens1    udp6     best      -              unknown: the driver cannot           0      0        -\n"
        );
    }
}
