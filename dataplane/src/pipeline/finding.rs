//! The first pass over a batch: what each packet is, and for which flow.
//!
//! ```text
//!   glance (or headers, classify) ─► address and port ours? ─► sound? ─► flow    asks for its lines
//! ```
//!
//! Packets of the usual shape have a loop of their own, without a call and without a detour; it hands over to
//! the loop for all others at the first one that is not.

use contract::DropReason;

use super::found::Found;
use crate::classify::{self, Family, Glance, Seen};
use crate::flow_table::{FlowTable, Slot};
use crate::port::{BATCH, Frames};
use crate::settings::ReceivedChecksums;
use crate::tally::FlowTallies;

/// How many packets ahead of its turn a packet's first bytes are asked for.
const PACKETS_AHEAD: usize = 4;

/// Finds the flows of a batch's packets. With `FINISH` UDP checksums are verified, and finished where they are
/// not.
pub(super) fn find_all<F: Frames, const FINISH: bool>(
    table: &FlowTable,
    tallies: &FlowTallies,
    memory: &mut F,
    packets: &mut [F::Packet],
    found: &mut [Found; BATCH],
) {
    let count = packets.len().min(BATCH);
    let (mut packets, mut found) = (&mut packets[..count], &mut found[..count]);
    loop {
        let usual = find_usual::<F, FINISH>(table, tallies, memory, packets, found);
        if usual == packets.len() {
            return;
        }
        (packets, found) = (&mut packets[usual..], &mut found[usual..]);
        let others = find_others::<F, FINISH>(table, tallies, memory, packets, found);
        (packets, found) = (&mut packets[others..], &mut found[others..]);
    }
}

/// Goes through packets as long as they have the usual shape, and says how many that are.
#[inline(never)]
fn find_usual<F: Frames, const FINISH: bool>(
    table: &FlowTable,
    tallies: &FlowTallies,
    memory: &mut F,
    packets: &mut [F::Packet],
    found: &mut [Found],
) -> usize {
    let count = packets.len().min(found.len());
    let (packets, found) = (&mut packets[..count], &mut found[..count]);
    // What is left is the one thing counted, for the loop and for what lies ahead.
    let (mut packets, mut found) = (packets, found);
    while let [place, places @ ..] = found {
        if let Some(next) = packets.get(PACKETS_AHEAD) {
            memory.prefetch(next);
        }
        let Some((packet, later)) = packets.split_first_mut() else {
            break;
        };
        let (packet, start) = memory.packet_mut(packet);
        if !find_if_usual::<FINISH>(table, tallies, packet, start, place) {
            return count - 1 - later.len();
        }
        (packets, found) = (later, places);
    }
    count
}

/// Finds the flow of a packet if it has the usual shape and one of the addresses that most packets are for. Says whether
/// it has.
#[inline(always)]
fn find_if_usual<const FINISH: bool>(
    table: &FlowTable,
    tallies: &FlowTallies,
    packet: &mut [u8],
    start: usize,
    found: &mut Found,
) -> bool {
    let Some(seen) = classify::usual(packet) else {
        return false;
    };
    let Some(slot) = table.near_v4(seen.destination, seen.port) else {
        return false;
    };
    if FINISH && let Err(reason) = classify::finish(packet, Family::V4, seen.payload) {
        *found = Found::dropped(reason);
        return true;
    }
    found.set_usual(slot, start + seen.payload);
    ask_for(table, tallies, slot, Family::V4);
    true
}

/// Goes through packets up to one of the usual shape, and says how many that are. It is one at least.
#[inline(never)]
fn find_others<F: Frames, const FINISH: bool>(
    table: &FlowTable,
    tallies: &FlowTallies,
    memory: &mut F,
    packets: &mut [F::Packet],
    found: &mut [Found],
) -> usize {
    let count = packets.len().min(found.len());
    let (packets, found) = (&mut packets[..count], &mut found[..count]);
    for index in 0..count {
        if let Some(next) = packets.get(index + PACKETS_AHEAD) {
            memory.prefetch(next);
        }
        let (packet, start) = memory.packet_mut(&mut packets[index]);
        let is_usual = find::<FINISH>(table, tallies, packet, start, &mut found[index]);
        if is_usual {
            return index + 1;
        }
    }
    count
}

/// What a packet is, and for which flow. Says whether it may have the usual shape.
#[inline(always)]
fn find<const FINISH: bool>(
    table: &FlowTable,
    tallies: &FlowTallies,
    packet: &mut [u8],
    start: usize,
    found: &mut Found,
) -> bool {
    let (checked, is_usual) = match classify::glance(packet) {
        Some(Glance::V4(seen)) => {
            let place = table.place_v4(seen.destination, seen.port);
            let checked = check::<FINISH, _>(table, packet, Family::V4, &seen, place);
            let noted = checked.map(|slot| note(table, tallies, Family::V4, start, &seen, slot));
            (noted, seen.is_usual())
        }
        Some(Glance::V6(seen)) => {
            let place = table.place_v6(seen.destination, seen.port);
            let checked = check::<FINISH, _>(table, packet, Family::V6, &seen, place);
            let noted = checked.map(|slot| note(table, tallies, Family::V6, start, &seen, slot));
            (noted, false)
        }
        None => (
            find_thoroughly(table, tallies, packet, start, FINISH),
            false,
        ),
    };
    *found = checked.unwrap_or_else(Found::dropped);
    is_usual
}

/// Whether a packet is for this place of ours, and sound; the flow there.
#[inline(always)]
fn check<const FINISH: bool, A>(
    table: &FlowTable,
    packet: &mut [u8],
    family: Family,
    seen: &Seen<A>,
    place: Option<usize>,
) -> Result<Slot, DropReason> {
    let place = place.ok_or(DropReason::NotMedia)?;
    if FINISH {
        classify::finish(packet, family, seen.payload)?;
    }
    Ok(table.maybe_at(place))
}

/// Notes which flow a packet is for, and asks for its lines.
#[inline(always)]
fn note<A>(
    table: &FlowTable,
    tallies: &FlowTallies,
    family: Family,
    start: usize,
    seen: &Seen<A>,
    slot: Slot,
) -> Found {
    ask_for(table, tallies, slot, family);
    Found::media(slot, start + seen.payload, family, seen.content)
}

/// Asks the cache for a flow's lines. Whether there is a flow the second pass sees: what is not there can be asked
/// for as well.
#[inline(always)]
fn ask_for(table: &FlowTable, tallies: &FlowTallies, slot: Slot, family: Family) {
    table.prefetch(slot, family);
    tallies.prefetch(slot);
}

/// The same for packets of unusual shapes, which are brought into the usual one.
#[cold]
#[inline(never)]
fn find_thoroughly(
    table: &FlowTable,
    tallies: &FlowTallies,
    packet: &mut [u8],
    start: usize,
    finish: bool,
) -> Result<Found, DropReason> {
    let checksums = match finish {
        true => ReceivedChecksums::MayBeUnfinished,
        false => ReceivedChecksums::Finished,
    };
    let headers = classify::headers(packet)?;
    let place = table
        .place(headers.family, headers.destination, headers.port)
        .ok_or(DropReason::NotMedia)?;
    let arrival = classify::classify(packet, &headers, checksums)?;
    classify::straighten(packet, &headers, &arrival);
    let slot = table.maybe_at(place);
    ask_for(table, tallies, slot, arrival.family);
    let payload = start + usize::from(arrival.payload);
    let (family, content) = (arrival.family, arrival.content);
    Ok(Found::media(slot, payload, family, content))
}
