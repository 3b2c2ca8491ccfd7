//! A batch in, a verdict a packet out: classify, look up, latch, rewrite in place.
//!
//! ```text
//!   finding     all packets:  glance (or headers, classify) ─► address and port ours? ─► sound? ─► flow
//!   forwarding  each packet:  from the source? ─► count ─► new headers ─► Forward(device)
//!   flows                     └─ anything else: content expected? ─► gate, or the latch ─► count ─► new headers
//!   hearing                     RTCP, once accepted: what its reports say
//! ```
//!
//! The passes are apart so that the cache misses of many flows overlap: the first asks for what the second will
//! read, and does not wait for it. In each of them what most packets are has a loop of its own, straight through; it
//! hands over to a loop for all others and back, so that packets keep their order. A transform of the payload (SRTP)
//! has its place between latch and rewrite. Pure: no socket, clock, lock or allocation; the worker brings packets and
//! time, and carries verdicts out.

mod finding;
mod flows;
mod forwarding;
mod found;
mod hearing;
mod treating;

use contract::{Command, DeviceId, DropReason, Event, Timestamp};

use self::finding::find_all;
use self::flows::Flows;
use self::forwarding::forward_all;
use self::found::Found;
use crate::commands;
use crate::flow_table::FlowTable;
use crate::injection::{Injected, Services};
use crate::news::News;
use crate::port::{BATCH, Frames};
use crate::settings::ReceivedChecksums;
use crate::tally::FlowTallies;

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was rewritten in its frame, and leaves by this device.
    Forward(DeviceId),
    /// Its frame is free.
    Drop(DropReason),
}

/// Where a batch came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The device.
    pub device: DeviceId,
    /// What is known of its checksums.
    pub checksums: ReceivedChecksums,
}

/// What the packets of a batch have in common.
struct Batch<'a> {
    tallies: &'a FlowTallies,
    /// The device that they came by.
    device: DeviceId,
    now: Timestamp,
}

/// One worker's packet logic and flows.
#[derive(Debug)]
pub struct Pipeline {
    flows: Flows,
    /// The devices that packets can leave by.
    devices: Box<[DeviceId]>,
    found: [Found; BATCH],
}

impl Pipeline {
    /// A pipeline over an empty table; `news` has a place for each of its slots.
    pub fn new(table: FlowTable, news: News, devices: Box<[DeviceId]>, services: Services) -> Self {
        Self {
            flows: Flows::new(table, news, services),
            devices,
            found: [Found::NOTHING; BATCH],
        }
    }

    /// Decides on at the most [`BATCH`] packets, and rewrites those to be forwarded. There are as many
    /// verdicts as packets.
    pub fn process<F: Frames>(
        &mut self,
        memory: &mut F,
        tallies: &FlowTallies,
        origin: Origin,
        packets: &mut [F::Packet],
        verdicts: &mut [Verdict],
        now: Timestamp,
    ) {
        debug_assert!(packets.len() <= BATCH && packets.len() == verdicts.len());
        let Self { flows, found, .. } = self;
        let table = &flows.table;
        match origin.checksums {
            ReceivedChecksums::Finished => {
                find_all::<_, false>(table, tallies, memory, packets, found);
            }
            ReceivedChecksums::MayBeUnfinished => {
                find_all::<_, true>(table, tallies, memory, packets, found);
            }
        }
        let batch = Batch {
            tallies,
            device: origin.device,
            now,
        };
        forward_all(flows, &batch, memory, packets, found, verdicts);
    }

    /// The next copy that the last batch has led to, in the order in which they came to be.
    pub fn next_copy(&mut self) -> Option<Injected> {
        self.flows.copies.pop()
    }

    /// Whether the last batch has led to copies.
    pub fn has_copies(&self) -> bool {
        !self.flows.copies.is_empty()
    }

    /// Writes a packet that was not received into a frame, and says by which device it leaves.
    pub fn make<F: Frames>(
        &self,
        memory: &mut F,
        packet: &mut F::Packet,
        made: &Injected,
        now: Timestamp,
    ) -> Result<DeviceId, DropReason> {
        self.flows.make(memory, packet, made, now)
    }

    /// Carries out a command, and gives its acknowledgement.
    pub fn command(&mut self, tallies: &FlowTallies, command: &Command, now: Timestamp) -> Event {
        let table = &mut self.flows.table;
        let answer = commands::carry_out(table, tallies, &self.devices, command, now);
        if let (Command::Update(entry), Event::Updated(_)) = (command, answer) {
            self.flows.say_idleness(entry);
        }
        answer
    }

    /// Looks at the next `slots` slots for flows that have become idle, and begins again after the last.
    pub fn sweep(&mut self, tallies: &FlowTallies, slots: usize, now: Timestamp) {
        self.flows.sweep(tallies, slots, now);
    }

    /// The next thing that the control plane must know beside acknowledgements. To be asked for only
    /// when there is room for it.
    pub fn next_event(&mut self) -> Option<Event> {
        self.flows.next_event()
    }

    /// Whether [`Pipeline::next_event`] may have something.
    pub const fn has_news(&self) -> bool {
        self.flows.has_news()
    }

    /// Flows installed.
    pub const fn flows(&self) -> usize {
        self.flows.table.len()
    }

    /// Slots for flows.
    pub const fn capacity(&self) -> usize {
        self.flows.table.arrays.watch.len()
    }
}
