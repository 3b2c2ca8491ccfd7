//! A call, its legs, its media and its flows, as the admin socket's views. Pure: what the planes say goes in.

use std::net::SocketAddr;

use contract::{FlowEntry, Payload, Timestamp};
use controlplane::b2bua::{CallDetail, CallSummary, LegView};
use controlplane::session::{FlowView, PartyView, SessionView, StreamState, StreamView};
use dataplane::report::FlowTally;

use crate::admin::views::{Call, CallLine, Flow, FlowWorker, Leg, Stream, StreamParty};
use crate::reception;

/// One call in the list.
pub(crate) fn call_line(call: &CallSummary, now: Timestamp) -> CallLine {
    CallLine {
        id: call.id.0,
        state: call.state.to_string(),
        from: call.from.clone(),
        to: call.to.clone(),
        from_trunk: call.from_trunk.clone(),
        to_trunk: call.to_trunk.clone(),
        age_seconds: now.since(call.started).as_secs_f64(),
        talk_seconds: call
            .answered
            .map(|answered| now.since(answered).as_secs_f64()),
    }
}

/// One call in full.
pub(crate) fn call(detail: &CallDetail, now: Timestamp) -> Call {
    let streams = |media: &SessionView| media.streams.iter().map(stream).collect();
    Call {
        line: call_line(&detail.summary, now),
        caller: leg(&detail.caller),
        callees: detail.callees.iter().map(leg).collect(),
        streams: detail.media.as_ref().map(streams).unwrap_or_default(),
    }
}

fn leg(leg: &LegView) -> Leg {
    Leg {
        trunk: leg.trunk.clone(),
        remote: leg.remote.to_string(),
        call_id: leg.call_id.clone(),
        local_tag: leg.local_tag.clone(),
        remote_tag: leg.remote_tag.clone(),
        remote_target: leg.remote_target.clone(),
    }
}

fn stream(stream: &StreamView) -> Stream {
    let [caller, callee] = &stream.parties;
    let state = match stream.state {
        StreamState::Offered => "offered",
        StreamState::Active => "active",
        StreamState::Held => "held",
        StreamState::Rejected => "rejected",
    };
    Stream {
        media: stream.media.clone(),
        transport: stream.profile.name().to_owned(),
        state: state.to_owned(),
        caller: stream_party(caller),
        callee: stream_party(callee),
    }
}

fn stream_party(party: &PartyView) -> StreamParty {
    StreamParty {
        local_rtp: spell(party.local_rtp),
        local_rtcp: spell(party.local_rtcp),
        remote_rtp: spell(party.remote_rtp),
        remote_rtcp: spell(party.remote_rtcp),
        latched_rtp: spell(party.latched_rtp),
        direction: party.direction.to_owned(),
        codecs: party.codecs.clone(),
        silent: party.silent,
    }
}

fn spell(address: Option<SocketAddr>) -> Option<String> {
    address.map(|address| address.to_string())
}

/// One flow with what the workers counted for it.
pub(crate) fn flow(
    view: &FlowView,
    tallies: &[FlowTally],
    devices: &[String],
    now: Timestamp,
) -> Flow {
    let ago = |seen: Option<Timestamp>| seen.map(|seen| now.since(seen).as_secs_f64());
    let entry = view.entry.as_ref();
    let egress = entry.and_then(|entry| entry.rtp.or(entry.rtcp));
    let link = egress.and_then(|egress| egress.link);
    let device = link.and_then(|link| devices.get(usize::from(link.device.0)));
    let latched = || tallies.iter().find_map(|tally| tally.latched);
    let worker = |tally: &FlowTally| FlowWorker {
        worker: tally.worker.0,
        packets: tally.packets,
        bytes: tally.bytes,
        wrong_source: tally.wrong_source,
        last_seen_seconds: ago(tally.last_seen),
        latched: spell(tally.latched),
    };
    Flow {
        local: view.key.to_string(),
        carries: carries(entry).to_owned(),
        signalled: spell(entry.and_then(|entry| entry.latch.signalled)),
        latched: spell(entry.and_then(|entry| entry.latch.latched).or_else(latched)),
        leaves_from: egress.map(|egress| egress.source.to_string()),
        destination: spell(egress.and_then(|egress| egress.destination)),
        next_hop: link.map(|link| link.destination.to_string()),
        egress_device: device.cloned(),
        acknowledged: view.acknowledged as u64,
        packets: tallies.iter().map(|tally| tally.packets).sum(),
        bytes: tallies.iter().map(|tally| tally.bytes).sum(),
        wrong_source: tallies.iter().map(|tally| tally.wrong_source).sum(),
        last_seen_seconds: ago(tallies.iter().filter_map(|tally| tally.last_seen).max()),
        reception: reception::combined(tallies)
            .map(|combined| reception::view(&combined, view.clock_rate, now)),
        workers: tallies.iter().map(worker).collect(),
    }
}

fn carries(entry: Option<&FlowEntry>) -> &'static str {
    if entry.is_some_and(|entry| entry.payload == Payload::Datagrams) {
        return "udptl";
    }
    match entry.map(|entry| (entry.rtp.is_some(), entry.rtcp.is_some())) {
        None => "removing",
        Some((true, true)) => "rtp+rtcp",
        Some((_, true)) => "rtcp",
        Some((_, false)) => "rtp",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::{FlowKey, WorkerId};

    #[test]
    fn flows_sum_their_workers_and_tell_the_last_packet() {
        let key = FlowKey {
            address: "10.1.0.1".parse().expect("an address"),
            port: 20_000,
        };
        let tally = |worker, packets, seen: Option<u64>| FlowTally {
            worker: WorkerId(worker),
            packets,
            bytes: packets * 172,
            last_seen: seen.map(Timestamp::from_nanos),
            wrong_source: 1,
            latched: None,
            reception: None,
        };
        let view = FlowView {
            key,
            entry: None,
            acknowledged: 2,
            clock_rate: None,
        };
        let tallies = [tally(0, 10, Some(1_000_000_000)), tally(1, 5, None)];
        let now = Timestamp::from_nanos(3_500_000_000);
        let flow = flow(&view, &tallies, &[], now);
        assert_eq!(flow.local, "10.1.0.1:20000");
        assert_eq!(flow.carries, "removing");
        assert_eq!((flow.packets, flow.wrong_source), (15, 2));
        assert_eq!(flow.last_seen_seconds, Some(2.5));
        assert_eq!(flow.workers[1].last_seen_seconds, None);
    }
}
