//! A batch in, a verdict a packet out: classify, look up, latch, rewrite in place.
//!
//! ```text
//!   all packets:  headers ─► address and port ours? ─► sound? ─► flow at the port
//!   all flows:    touch their cache lines
//!   each packet:  content expected? ─► gate, or the latch ─► count ─► new headers ─► Forward(device)
//! ```
//!
//! The passes are apart so that the cache misses of many flows overlap: the second is a loop so short that
//! the processor has dozens of its loads under way at a time. A transform of the payload (SRTP)
//! has its place between latch and rewrite. Pure: no socket, clock, lock or allocation; the worker
//! brings packets and time, and carries verdicts out.

use contract::{Command, DeviceId, DropReason, Event, FlowEntry, Link, Timestamp};

use crate::classify::{self, Arrival, Content};
use crate::commands;
use crate::flow_table::{FlowTable, GateKind, Lane, Slot};
use crate::latch::Judgement;
use crate::news::News;
use crate::port::{BATCH, Frames};
use crate::rewrite;
use crate::settings::ReceivedChecksums;
use crate::tally::FlowTallies;
use crate::wire::ethernet;

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

/// The MTU of a link that only a latch knows: what Ethernet takes.
const ETHERNET_MTU: u16 = 1500;

/// What the first pass finds of a packet.
type Found = Result<(Arrival, Slot), DropReason>;

/// One worker's packet logic and flows.
#[derive(Debug)]
pub struct Pipeline {
    table: FlowTable,
    news: News,
    /// The devices that packets can leave by.
    devices: Box<[DeviceId]>,
    found: [Found; BATCH],
    sweep_at: usize,
}

impl Pipeline {
    /// A pipeline over an empty table; `news` has a place for each of its slots.
    pub const fn new(table: FlowTable, news: News, devices: Box<[DeviceId]>) -> Self {
        Self {
            table,
            news,
            devices,
            found: [Err(DropReason::Truncated); BATCH],
            sweep_at: 0,
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
        for index in 0..packets.len().min(BATCH) {
            let (frame, start, len) = memory.frame_mut(&mut packets[index]);
            self.found[index] = self.find(packet_in(frame, start, len), origin.checksums);
        }
        self.touch(tallies, packets.len());
        let decided = packets.iter_mut().zip(verdicts).take(BATCH);
        for (index, (packet, verdict)) in decided.enumerate() {
            let forwarded = self.found[index].and_then(|(arrival, slot)| {
                let lane = self.lane(slot, arrival.content)?;
                let (frame, start, len) = memory.frame_mut(packet);
                self.admit(tallies, origin.device, &arrival, slot, now, || {
                    packet_in(frame, start, len)
                })?;
                let (device, new) = self.rewrite(&arrival, slot, lane, frame, start)?;
                let end = start + usize::from(arrival.payload) + usize::from(arrival.payload_len);
                memory.set_extent(packet, new, end - new);
                Ok(device)
            });
            *verdict = match forwarded {
                Ok(device) => Verdict::Forward(device),
                Err(reason) => Verdict::Drop(reason),
            };
        }
    }

    /// Carries out a command, and gives its acknowledgement.
    pub fn command(&mut self, tallies: &FlowTallies, command: &Command, now: Timestamp) -> Event {
        let answer = commands::carry_out(&mut self.table, tallies, &self.devices, command, now);
        if let (Command::Update(entry), Event::Updated(_)) = (command, answer) {
            self.say_idleness(entry);
        }
        answer
    }

    /// Looks at the next `slots` slots for flows that have become idle, and begins again after the last.
    pub fn sweep(&mut self, tallies: &FlowTallies, slots: usize, now: Timestamp) {
        let count = self.table.arrays.watch.len();
        for _ in 0..slots.min(count) {
            let slot = Slot(self.sweep_at as u32);
            self.sweep_at += 1;
            if self.sweep_at >= count {
                self.sweep_at = 0;
            }
            let watch = self.table.arrays.watch[slot.index()];
            if watch.after == 0 {
                continue;
            }
            let since = watch.from.max(tallies.last_seen(slot));
            let idle = now.as_nanos().saturating_sub(since.as_nanos()) >= watch.after;
            let hot = &mut self.table.arrays.hot[slot.index()];
            if idle && !hot.idle {
                hot.idle = true;
                self.announce(slot);
            }
        }
    }

    /// The next thing that the control plane must know beside acknowledgements. To be asked for only
    /// when there is room for it.
    pub fn next_event(&mut self) -> Option<Event> {
        loop {
            let slot = self.news.front()?;
            if let Some(event) = self.untold(slot) {
                return Some(event);
            }
            self.news.pop();
            self.table.arrays.cold[slot.index()].untold.queued = false;
        }
    }

    /// Whether [`Pipeline::next_event`] may have something.
    pub const fn has_news(&self) -> bool {
        !self.news.is_empty()
    }

    /// Flows installed.
    pub const fn flows(&self) -> usize {
        self.table.len()
    }

    /// Slots for flows.
    pub const fn capacity(&self) -> usize {
        self.table.arrays.watch.len()
    }

    #[inline]
    fn find(&self, bytes: &[u8], checksums: ReceivedChecksums) -> Found {
        let headers = classify::headers(bytes)?;
        let place = self
            .table
            .place(headers.family, headers.destination, headers.port)
            .ok_or(DropReason::NotMedia)?;
        let arrival = classify::classify(bytes, &headers, checksums)?;
        let slot = self.table.at_place(place).ok_or(DropReason::NoFlow)?;
        Ok((arrival, slot))
    }

    /// Loads the cache lines that the flows of a batch need, for nothing but their being there soon.
    #[inline]
    fn touch(&self, tallies: &FlowTallies, count: usize) {
        let mut sum = 0;
        for (_, slot) in self.found.iter().take(count).flatten() {
            sum ^= self.table.touch(*slot) ^ tallies.touch(*slot);
        }
        std::hint::black_box(sum);
    }

    /// The egress that packets of this content take.
    #[inline]
    fn lane(&self, slot: Slot, content: Content) -> Result<Lane, DropReason> {
        let hot = &self.table.arrays.hot[slot.index()];
        let lane = match content {
            Content::Rtp => hot.rtp,
            Content::Rtcp => hot.rtcp,
            Content::Stun => return Err(DropReason::Stun),
            Content::Unknown => return Err(DropReason::NotRtp),
        };
        match lane {
            Lane::Closed => Err(DropReason::NotExpected),
            Lane::Main | Lane::Side => Ok(lane),
        }
    }

    /// Whether the flow believes the packet's source; counts it if so. `packet` gives its bytes, should
    /// the latch need them.
    #[inline]
    fn admit<'a>(
        &mut self,
        tallies: &FlowTallies,
        device: DeviceId,
        arrival: &Arrival,
        slot: Slot,
        now: Timestamp,
        packet: impl FnOnce() -> &'a [u8],
    ) -> Result<(), DropReason> {
        let hot = &self.table.arrays.hot[slot.index()];
        let believed = match hot.gate {
            GateKind::Source => hot.is_from_source(arrival),
            GateKind::Any => true,
            GateKind::Ask => false,
        };
        if !believed {
            let link = arrival_link(device, packet());
            self.ask(tallies, arrival, slot, link, now)?;
        }
        tallies.accepted(slot, arrival.payload_len, now);
        if self.table.arrays.hot[slot.index()].idle {
            self.table.arrays.hot[slot.index()].idle = false;
            self.announce(slot);
        }
        Ok(())
    }

    /// Gives the packet, which starts at `start`, its new headers: the device to leave by and the new start.
    #[inline]
    fn rewrite(
        &self,
        arrival: &Arrival,
        slot: Slot,
        lane: Lane,
        frame: &mut [u8],
        start: usize,
    ) -> Result<(DeviceId, usize), DropReason> {
        let hot = &self.table.arrays.hot[slot.index()];
        let side = &self.table.arrays.side[slot.index()];
        let (plan, template) = match lane {
            Lane::Side => (&side.plan, &side.template),
            Lane::Main | Lane::Closed => (&hot.plan, &hot.template),
        };
        let old_sum = hot.endpoints_sum(arrival);
        let payload = start + usize::from(arrival.payload);
        let new = rewrite::apply(plan, template, arrival, old_sum, frame, payload)?;
        Ok((plan.device, new))
    }

    /// The slow way: the latch decides, and may change its mind.
    #[cold]
    #[inline(never)]
    fn ask(
        &mut self,
        tallies: &FlowTallies,
        arrival: &Arrival,
        slot: Slot,
        link: Option<Link>,
        now: Timestamp,
    ) -> Result<(), DropReason> {
        let Some(flow) = self.table.flow_mut(slot) else {
            return Err(DropReason::NoFlow);
        };
        let remote = arrival.remote();
        let may_latch = match arrival.content {
            Content::Rtp => link.is_some(),
            // RTCP shows where RTCP comes from, and on a muxed port RTP decides.
            _ => link.is_some() && flow.entry.rtp.is_none(),
        };
        let judgement = flow.latching.judge(remote, may_latch, now);
        let key = flow.entry.key;
        match judgement {
            Judgement::Accept => {
                let gate = flow.latching.gate(now);
                self.table.arrays.hot[slot.index()].set_gate(gate, &key);
            }
            Judgement::Reject(reason) => {
                if reason == DropReason::WrongSource {
                    tallies.wrong_source(slot);
                }
                return Err(reason);
            }
            Judgement::Latch => {
                if let Some(link) = link {
                    flow.latching.set_way_back(link);
                }
                let entry: FlowEntry = flow.entry;
                let gate = flow.latching.gate(now);
                self.table.arrays.hot[slot.index()].set_gate(gate, &key);
                self.table.arrays.cold[slot.index()].untold.latched = Some(remote);
                tallies.set_latched(slot, Some(remote));
                commands::prepare_facing(&mut self.table, &entry, now);
                self.announce(slot);
            }
        }
        Ok(())
    }

    /// After an update: what was said of the flow's idleness may no longer be so, or no longer be known.
    fn say_idleness(&mut self, entry: &FlowEntry) {
        let Some(slot) = self.table.at_key(&entry.key) else {
            return;
        };
        let idle = self.table.arrays.hot[slot.index()].idle;
        if idle != self.table.arrays.cold[slot.index()].untold.said_idle {
            self.announce(slot);
        }
    }

    fn announce(&mut self, slot: Slot) {
        let untold = &mut self.table.arrays.cold[slot.index()].untold;
        if !untold.queued {
            untold.queued = true;
            self.news.push(slot);
        }
    }

    /// One thing of this slot that has not been told.
    fn untold(&mut self, slot: Slot) -> Option<Event> {
        let idle = self.table.arrays.hot[slot.index()].idle;
        let cold = &mut self.table.arrays.cold[slot.index()];
        let flow = cold.flow.as_ref()?;
        let id = flow.entry.id;
        if let (Some(_), Some((remote, way_back))) =
            (cold.untold.latched.take(), flow.latching.own())
        {
            return Some(Event::Latched {
                flow: id,
                armed: flow.latching.armed(),
                remote,
                next_hop: way_back.destination,
            });
        }
        if idle == cold.untold.said_idle {
            return None;
        }
        cold.untold.said_idle = idle;
        Some(if idle {
            Event::Idle(id)
        } else {
            Event::Active(id)
        })
    }
}

/// A packet's bytes; none if it lies outside its frame, which classification then calls truncated.
#[inline]
fn packet_in(frame: &[u8], start: usize, len: usize) -> &[u8] {
    frame.get(start..start + len).unwrap_or(&[])
}

/// The way back to where a packet came from, as its own link-layer header tells it. `None` when it was
/// not sent to one host: a flooded or multicast frame shows no way.
fn arrival_link(device: DeviceId, packet: &[u8]) -> Option<Link> {
    let (destination, source, vlan) = ethernet::link(packet)?;
    let is_group = destination.0[0] & 1 == 1 || source.0[0] & 1 == 1;
    (!is_group).then_some(Link {
        device,
        source: destination,
        destination: source,
        vlan,
        mtu: ETHERNET_MTU,
    })
}
