//! What an accepted RTCP packet says: its sender's word of how it receives what it is sent. RTCP is a packet in
//! seconds, and none of this is on RTP's way.

use contract::{Payload, Timestamp};

use crate::flow_table::{FlowTable, Slot};
use crate::tally::FlowTallies;
use crate::wire::rtcp;

/// Takes note of a compound that came for the flow in a slot. What is encrypted says nothing.
#[cold]
#[inline(never)]
pub(super) fn hear(
    table: &FlowTable,
    tallies: &FlowTallies,
    slot: Slot,
    compound: &[u8],
    now: Timestamp,
) {
    if table.payload(slot) != Some(Payload::Rtp) {
        return;
    }
    let receptions = &tallies.receptions;
    let facing = table.facing_rtcp(slot);
    for report in rtcp::reports(compound) {
        receptions.note_sender(slot, report.sender, report.sent, now);
        // About the stream that the other party sends now, if that is known: some tell of former ones as well.
        let current = facing.and_then(|facing| receptions.sender(facing));
        let about = report
            .blocks()
            .find(|block| Some(block.about) == current)
            .or_else(|| report.blocks().next());
        if let Some(block) = about {
            let trip = facing.and_then(|facing| receptions.round_trip(facing, &block, now));
            receptions.note(slot, &block, trip, now);
        }
    }
}
