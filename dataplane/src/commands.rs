//! Carries out the control plane's commands on a worker's table, and keeps what is prepared for the
//! fast path in step with it.
//!
//! Two words meet in an egress: the control plane's entry, and a latch that this worker has made on the
//! flow that faces the receiver. The entry is kept as it was said; what packets leave with is derived
//! from both, anew whenever either changes ([`prepare`]), so no order of updates leaves anything stale.
//!
//! Sees no packets, sends nothing; time is an argument.

use contract::{Command, DeviceId, DscpMarking, Egress, Event, FlowEntry, FlowId, FlowKey, Link};
use contract::{Payload, Refusal, Timestamp};

use crate::flow_table::{Flow, FlowTable, Lane, Lanes, Slot, Unplaced};
use crate::latch::Latching;
use crate::rewrite::{self, Front, Headers};
use crate::tally::FlowTallies;

/// Carries a command out, and gives its acknowledgement.
pub fn carry_out(
    table: &mut FlowTable,
    tallies: &FlowTallies,
    devices: &[DeviceId],
    command: &Command,
    now: Timestamp,
) -> Event {
    let flow = command.flow();
    let done = match command {
        Command::Install(entry) => check(entry, devices)
            .and_then(|()| install(table, tallies, entry, now))
            .map(|()| Event::Installed(flow)),
        Command::Update(entry) => find(table, flow, &entry.key)
            .and_then(|slot| check(entry, devices).map(|()| slot))
            .map(|slot| update(table, tallies, slot, entry, now))
            .map(|()| Event::Updated(flow)),
        Command::Remove { id, key } => find(table, *id, key)
            .map(|slot| remove(table, tallies, slot, now))
            .map(|()| Event::Removed(flow)),
    };
    done.unwrap_or_else(|refusal| Event::Refused(flow, refusal))
}

/// Derives what a slot's packets need from the flow's entry and the latches.
pub fn prepare(table: &mut FlowTable, slot: Slot, now: Timestamp) {
    if let Some(flow) = table.flow(slot) {
        prepare_flow(table, slot, &flow, now);
    }
}

/// The same for the flow that is in the slot.
fn prepare_flow(table: &mut FlowTable, slot: Slot, flow: &Flow, now: Timestamp) {
    let gate = flow.latching.gate(now);
    let (rtp, rtcp) = (flow.entry.rtp, flow.entry.rtcp);
    let is_same = rtp == rtcp;
    let prepared = |egress: Egress| rewrite::prepare(&resolved(table, &egress));
    let rtp = rtp.map(prepared);
    let rtcp = if is_same { rtp } else { rtcp.map(prepared) };
    let others = match flow.entry.payload {
        Payload::Datagrams => Lane::Main,
        Payload::Rtp | Payload::Srtp => Lane::Closed,
    };
    let (rtp_lane, rtcp_lane) = match (rtp, rtcp) {
        // On a port that is muxed on both sides RTCP goes where RTP goes.
        (Some(rtp), Some(rtcp)) if is_same || rtp == rtcp => (Lane::Main, Lane::Main),
        (Some(_), Some(_)) => (Lane::Main, Lane::Apart),
        // What looks like RTCP among datagrams goes where all of them go.
        (Some(_), None) => (Lane::Main, others),
        (None, Some(_)) => (Lane::Closed, Lane::Main),
        (None, None) => (Lane::Closed, Lane::Closed),
    };
    let lanes = Lanes {
        rtp: rtp_lane,
        rtcp: rtcp_lane,
        others,
    };
    let main = rtp.or(rtcp).unwrap_or_default();
    table.set_hot(slot, &flow.entry.key, gate, lanes, main);
}

/// Prepares RTCP's egress of a slot, where it is another than RTP's.
pub fn prepare_apart(table: &FlowTable, slot: Slot) -> (Headers, Front) {
    let rtcp = table.flow(slot).and_then(|flow| flow.entry.rtcp);
    let prepared = rtcp.map(|egress| rewrite::prepare(&resolved(table, &egress)));
    prepared.unwrap_or_default()
}

/// Derives anew what the flows that send towards this slot's party need.
pub fn prepare_facing(table: &mut FlowTable, entry: &FlowEntry, now: Timestamp) {
    let source = |egress: Option<Egress>| egress.map(|egress| egress.source);
    let (rtp, rtcp) = (source(entry.rtp), source(entry.rtcp));
    let rtcp = rtcp.filter(|rtcp| rtp != Some(*rtcp));
    for source in [rtp, rtcp].into_iter().flatten() {
        let Some(other) = table.at_key(&source) else {
            continue;
        };
        if let Some(flow) = table.flow(other)
            && sends_from(&flow.entry, &entry.key)
        {
            prepare_flow(table, other, &flow, now);
        }
    }
}

/// An egress with the latch of the flow that faces its receiver taken into account.
fn resolved(table: &FlowTable, egress: &Egress) -> Egress {
    let facing = table.at_key(&egress.source);
    let Some((remote, way_back)) = facing.and_then(|slot| table.own_latch(slot)) else {
        return *egress;
    };
    if egress.destination == Some(remote) && egress.link.is_some() {
        return *egress;
    }
    let mtu = match egress.link {
        Some(link) if link.device == way_back.device => link.mtu,
        _ => way_back.mtu,
    };
    Egress {
        destination: Some(remote),
        link: Some(Link { mtu, ..way_back }),
        ..*egress
    }
}

fn sends_from(entry: &FlowEntry, key: &FlowKey) -> bool {
    let mut egresses = [entry.rtp, entry.rtcp].into_iter().flatten();
    egresses.any(|egress| egress.source == *key)
}

fn check(entry: &FlowEntry, devices: &[DeviceId]) -> Result<(), Refusal> {
    let goes_nowhere = entry.rtp.is_none() && entry.rtcp.is_none();
    if goes_nowhere || entry.payload == Payload::Datagrams && entry.rtcp.is_some() {
        return Err(Refusal::Malformed);
    }
    for egress in [entry.rtp, entry.rtcp].into_iter().flatten() {
        let other_family = egress
            .destination
            .is_some_and(|to| to.is_ipv4() != egress.source.address.is_ipv4());
        let no_code_point = matches!(egress.dscp, DscpMarking::Set(64..));
        if other_family || no_code_point {
            return Err(Refusal::Malformed);
        }
        if egress
            .link
            .is_some_and(|link| !devices.contains(&link.device))
        {
            return Err(Refusal::UnknownDevice);
        }
    }
    Ok(())
}

fn find(table: &FlowTable, id: FlowId, key: &FlowKey) -> Result<Slot, Refusal> {
    let place = table.place_of(key).ok_or(Refusal::UnknownKey)?;
    table
        .at_place(place)
        .filter(|slot| table.id(*slot) == Some(id))
        .ok_or(Refusal::UnknownFlow)
}

fn install(
    table: &mut FlowTable,
    tallies: &FlowTallies,
    entry: &FlowEntry,
    now: Timestamp,
) -> Result<(), Refusal> {
    let flow = Flow {
        entry: *entry,
        latching: Latching::new(entry.latch, now),
    };
    let slot = table.insert(&flow).map_err(|unplaced| match unplaced {
        Unplaced::UnknownKey => Refusal::UnknownKey,
        Unplaced::Taken => Refusal::KeyTaken,
        Unplaced::Full => Refusal::TableFull,
    })?;
    tallies.open(slot, entry.id, &entry.key);
    table.arrays.watch[slot.index()].from = now;
    settle(table, tallies, slot, entry, now);
    Ok(())
}

fn update(
    table: &mut FlowTable,
    tallies: &FlowTallies,
    slot: Slot,
    entry: &FlowEntry,
    now: Timestamp,
) {
    let Some(mut flow) = table.flow(slot) else {
        return;
    };
    let before = flow.entry;
    flow.entry = *entry;
    flow.latching.update(entry.latch, now);
    table.keep(slot, &flow);
    let is_own = flow.latching.own().is_some();
    // Silence counts anew where nothing was expected before, or something else was.
    if before.idle_after.is_none() || before.latch.armed != entry.latch.armed {
        table.arrays.watch[slot.index()].from = now;
        table.arrays.hot[slot.index()].set_idle(false);
    } else {
        // The control plane may have forgotten: of its entries this worker sees the last, not each.
        table.arrays.cold[slot.index()].untold.said_idle = false;
    }
    let untold = &mut table.arrays.cold[slot.index()].untold;
    // An update leaves the own latch or takes it away; it never makes another.
    untold.latched &= is_own;
    settle(table, tallies, slot, entry, now);
    // The entry may have faced other flows before.
    prepare_facing(table, &before, now);
}

fn remove(table: &mut FlowTable, tallies: &FlowTallies, slot: Slot, now: Timestamp) {
    let Some(flow) = table.remove(slot) else {
        return;
    };
    tallies.close(&flow.entry.key);
    prepare_facing(table, &flow.entry, now);
}

/// Brings everything beside the flow itself in step with a new entry.
fn settle(
    table: &mut FlowTable,
    tallies: &FlowTallies,
    slot: Slot,
    entry: &FlowEntry,
    now: Timestamp,
) {
    let Some(flow) = table.flow(slot) else {
        return;
    };
    let latched = flow.latching.latched();
    let after = entry.idle_after.map_or(0, |after| {
        // An `idle_after` of nothing is the shortest that can be told from "never".
        u64::try_from(after.as_nanos()).unwrap_or(u64::MAX).max(1)
    });
    table.arrays.watch[slot.index()].after = after;
    if after == 0 {
        // What is not watched is not idle, and what was said of it is over.
        table.arrays.hot[slot.index()].set_idle(false);
        table.arrays.cold[slot.index()].untold.said_idle = false;
    }
    tallies.set_latched(slot, latched);
    table.arrays.handled.set(slot, &entry.handling, now);
    prepare(table, slot, now);
    prepare_facing(table, entry, now);
}
