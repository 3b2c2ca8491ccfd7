//! The second pass over a batch: each packet's verdict, and its new headers.
//!
//! What passes in the usual way has a loop of its own, without a call and without a detour. At the first packet
//! about which there is more to ask it hands over to the loop for all others, so that packets are decided on in
//! their order.

use contract::{DeviceId, DropReason, Timestamp};

use super::flows::Flows;
use super::found::Found;
use super::{Batch, Verdict};
use crate::classify::{Content, Family};
use crate::flow_table::{FlowTable, Hot};
use crate::port::{BATCH, Frames};
use crate::rewrite;
use crate::tally::Lines;

/// Decides on a batch's packets, one after the other, and rewrites those to be forwarded.
pub(super) fn forward_all<F: Frames>(
    flows: &mut Flows,
    batch: &Batch<'_>,
    memory: &mut F,
    packets: &mut [F::Packet],
    found: &[Found; BATCH],
    verdicts: &mut [Verdict],
) {
    let count = packets.len().min(verdicts.len()).min(BATCH);
    let (mut packets, mut verdicts) = (&mut packets[..count], &mut verdicts[..count]);
    let mut found = &found[..count];
    loop {
        let usual = forward_usual(&flows.table, batch, memory, packets, found, verdicts);
        if usual == packets.len() {
            return;
        }
        (packets, verdicts) = (&mut packets[usual..], &mut verdicts[usual..]);
        found = &found[usual..];
        let others = forward_others(flows, batch, memory, packets, found, verdicts);
        (packets, verdicts) = (&mut packets[others..], &mut verdicts[others..]);
        found = &found[others..];
    }
}

/// Forwards packets as long as they pass in the usual way, and says how many that were.
#[inline(never)]
fn forward_usual<F: Frames>(
    table: &FlowTable,
    batch: &Batch<'_>,
    memory: &mut F,
    packets: &mut [F::Packet],
    found: &[Found],
    verdicts: &mut [Verdict],
) -> usize {
    let (hots, lines, now) = (&table.arrays.hot, batch.tallies.lines(), batch.now);
    // Of one length, so that one look at it serves for both.
    let slots = hots.len().min(lines.len());
    let (hots, lines) = (&hots[..slots], lines.first(slots));
    let mut forwarded = 0;
    for ((packet, verdict), found) in packets.iter_mut().zip(verdicts).zip(found) {
        match forward(hots, lines, now, memory, found, packet) {
            Some(device) => *verdict = Verdict::Forward(device),
            None => break,
        }
        forwarded += 1;
    }
    forwarded
}

/// Decides on packets up to one that passes in the usual way, and says how many that were. It is one at least.
#[inline(never)]
fn forward_others<F: Frames>(
    flows: &mut Flows,
    batch: &Batch<'_>,
    memory: &mut F,
    packets: &mut [F::Packet],
    found: &[Found],
    verdicts: &mut [Verdict],
) -> usize {
    let mut decided = 0;
    for ((packet, verdict), found) in packets.iter_mut().zip(verdicts).zip(found) {
        decided += 1;
        let (family, content) = match found.read() {
            Ok(media) => media,
            Err(reason) => {
                *verdict = Verdict::Drop(reason);
                continue;
            }
        };
        let unasked = forward_unasked(&flows.table, batch, memory, found, family, content, packet);
        match unasked {
            Some(Ok(device)) => *verdict = Verdict::Forward(device),
            Some(Err(reason)) => {
                *verdict = Verdict::Drop(reason);
                continue;
            }
            None => {
                *verdict = flows.decide(memory, batch, found, packet);
                continue;
            }
        }
        let hot = flows.table.hot(found.slot);
        if found.usual != 0 && hot.is_some_and(|hot| hot.is_usual(found.usual)) {
            break;
        }
    }
    decided
}

/// Forwards a packet of a flow in the usual way, and says by which device. `None`: it is not that simple, and
/// nothing has been done.
#[inline(always)]
fn forward<F: Frames>(
    hots: &[Hot],
    lines: Lines<'_>,
    now: Timestamp,
    memory: &mut F,
    found: &Found,
    packet: &mut F::Packet,
) -> Option<DeviceId> {
    let hot = hots.get(found.slot.index())?;
    if !hot.is_usual(found.usual) {
        return None;
    }
    let (frame, ..) = memory.frame_mut(packet);
    let window = rewrite::window(frame, found.window)?;
    if !hot.is_source_v4(window) {
        return None;
    }
    let headers = hot.headers();
    let usual = rewrite::usual(headers, window)?;
    lines.accepted(found.slot, usual.udp_len, now);
    let extent = rewrite::apply_usual(headers, hot.adjustment(), &usual, window);
    let start = usize::from(found.window) + extent.skip;
    memory.set_extent(packet, start, extent.len);
    Some(headers.device)
}

/// Forwards a packet of either family, if it need only come from the source, or says why it does not leave. `None`: there
/// is more to ask, and nothing has been done.
#[inline(always)]
fn forward_unasked<F: Frames>(
    table: &FlowTable,
    batch: &Batch<'_>,
    memory: &mut F,
    found: &Found,
    family: Family,
    content: Content,
    packet: &mut F::Packet,
) -> Option<Result<DeviceId, DropReason>> {
    let hot = table.hot(found.slot)?;
    if !hot.is_unasked(content) {
        return hot.lane(content).err().map(Err);
    }
    let (frame, ..) = memory.frame_mut(packet);
    let (window, payload) = rewrite::window_and_rest(frame, found.window)?;
    if !table.is_from_source(found.slot, hot, family, window) {
        return None;
    }
    let (headers, front) = (hot.headers(), table.front(found.slot));
    let lines = batch.tallies.lines();
    lines.accepted(found.slot, rewrite::udp_len(window), batch.now);
    let adjustment = |_: &rewrite::Window| hot.adjustment();
    let applied = rewrite::apply(headers, front, family, adjustment, window, payload);
    Some(applied.map(|extent| {
        let start = usize::from(found.window) + extent.skip;
        memory.set_extent(packet, start, extent.len);
        headers.device
    }))
}
