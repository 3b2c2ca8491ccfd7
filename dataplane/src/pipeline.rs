//! A batch in, a verdict a packet out: classify, look up, latch, rewrite in place.
//!
//! ```text
//!   all packets:  glance (or headers, classify) ─► address and port ours? ─► sound?      asks for the port's entry
//!   a few ahead:  port's entry ─► flow                                                   asks for the flow's lines
//!   each packet:  from the source? ─► count ─► new headers ─► Forward(device)
//!                 └─ anything else: content expected? ─► gate, or the latch ─► count ─► new headers
//! ```
//!
//! The passes are apart so that the cache misses of many flows overlap: each asks for what the next will read, and
//! nothing waits for it. A transform of the payload (SRTP) has its place between latch and rewrite. Pure: no
//! socket, clock, lock or allocation; the worker brings packets and time, and carries verdicts out.

use std::net::SocketAddr;

use contract::{Command, DeviceId, DropReason, Event, FlowEntry, Link, Timestamp};

use crate::classify::{self, Content, Destination, Family};
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

/// How many packets ahead of its turn a packet's first bytes are asked for.
const PACKETS_AHEAD: usize = 4;
/// How many packets ahead of its turn a packet's flow is asked for.
const FLOWS_AHEAD: usize = 16;

/// What is found of a packet.
type Found = Result<Media, DropReason>;

/// A packet for one of our ports.
#[derive(Clone, Copy, Debug)]
struct Media {
    /// The port's place in the table, then the flow's slot.
    at: u32,
    /// Where the UDP payload starts in the frame.
    payload: u16,
    family: Family,
    content: Content,
}

const _: () = assert!(size_of::<Found>() == 8, "a batch's fill eight cache lines");

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
        let count = packets.len().min(BATCH);
        for index in 0..count {
            if let Some(next) = packets.get(index + PACKETS_AHEAD) {
                memory.prefetch(next);
            }
            let (frame, start, len) = memory.frame_mut(&mut packets[index]);
            self.found[index] = self.find(frame, start, len, origin.checksums);
        }
        for index in 0..count.min(FLOWS_AHEAD) {
            self.look_up(tallies, index);
        }
        let decided = packets.iter_mut().zip(verdicts).take(count);
        for (index, (packet, verdict)) in decided.enumerate() {
            let ahead = index + FLOWS_AHEAD;
            if ahead < count {
                self.look_up(tallies, ahead);
            }
            let found = self.found[index];
            let forwarded = found.and_then(|media| {
                self.forward(memory, tallies, origin.device, &media, packet, now)
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
            if idle && !hot.is_idle() {
                hot.set_idle(true);
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

    /// What a packet is, and for which port.
    #[inline(always)]
    fn find(
        &self,
        frame: &mut [u8],
        start: usize,
        len: usize,
        checksums: ReceivedChecksums,
    ) -> Found {
        // A packet outside its frame counts as truncated.
        let packet = frame.get_mut(start..start + len).unwrap_or_default();
        let Some(glance) = classify::glance(packet) else {
            return self.find_thoroughly(packet, start, checksums);
        };
        let (family, place) = match glance.destination {
            Destination::V4(to) => (Family::V4, self.table.place_v4(to, glance.port)),
            Destination::V6(to) => (Family::V6, self.table.place_v6(to, glance.port)),
        };
        let place = place.ok_or(DropReason::NotMedia)?;
        if checksums == ReceivedChecksums::MayBeUnfinished {
            classify::finish(packet, family, glance.payload)?;
        }
        self.table.prefetch_place(place);
        Ok(Media {
            at: place as u32,
            payload: (start + glance.payload) as u16,
            family,
            content: glance.content,
        })
    }

    /// The same for packets of unusual shapes, which are brought into the usual one.
    #[inline(never)]
    fn find_thoroughly(
        &self,
        packet: &mut [u8],
        start: usize,
        checksums: ReceivedChecksums,
    ) -> Found {
        let headers = classify::headers(packet)?;
        let place = self
            .table
            .place(headers.family, headers.destination, headers.port)
            .ok_or(DropReason::NotMedia)?;
        let arrival = classify::classify(packet, &headers, checksums)?;
        classify::straighten(packet, &headers, &arrival);
        self.table.prefetch_place(place);
        Ok(Media {
            at: place as u32,
            payload: start as u16 + arrival.payload,
            family: arrival.family,
            content: arrival.content,
        })
    }

    /// Finds a packet's flow.
    #[inline(always)]
    fn look_up(&mut self, tallies: &FlowTallies, index: usize) {
        let Some(found) = self.found.get_mut(index) else {
            return;
        };
        let Ok(media) = found else {
            return;
        };
        match self.table.at_place(media.at as usize) {
            Some(slot) => {
                media.at = slot.0;
                self.table.prefetch(slot, media.family);
                tallies.prefetch(slot);
            }
            None => *found = Err(DropReason::NoFlow),
        }
    }

    /// Decides on a packet of a flow, and rewrites it if it is to be forwarded.
    #[inline(always)]
    fn forward<F: Frames>(
        &mut self,
        memory: &mut F,
        tallies: &FlowTallies,
        device: DeviceId,
        media: &Media,
        packet: &mut F::Packet,
        now: Timestamp,
    ) -> Result<DeviceId, DropReason> {
        let slot = Slot(media.at);
        let payload = usize::from(media.payload);
        let (frame, start, _) = memory.frame_mut(packet);
        let hot = self.table.hot(slot).ok_or(DropReason::NoFlow)?;
        let (window, rest) = rewrite::window(frame, payload).ok_or(DropReason::TooBig)?;
        let (device, extent) = if hot.is_unasked(media.content)
            && self.table.is_from_source(slot, hot, media.family, window)
        {
            tallies.accepted(slot, rewrite::payload_len(window), now);
            let headers = hot.headers();
            let front = || self.table.front(slot);
            let difference = |_: &rewrite::Window| hot.difference();
            // Twice, so that each family has code of its own.
            let extent = match media.family {
                Family::V4 => rewrite::apply(headers, front, Family::V4, difference, window, rest),
                Family::V6 => rewrite::apply(headers, front, Family::V6, difference, window, rest),
            };
            (headers.device, extent?)
        } else {
            self.forward_thoroughly(tallies, device, media, frame, start, now)?
        };
        memory.set_extent(packet, payload - extent.lead, extent.len);
        Ok(device)
    }

    /// The same for whatever has to be asked about.
    #[inline(never)]
    fn forward_thoroughly(
        &mut self,
        tallies: &FlowTallies,
        device: DeviceId,
        media: &Media,
        frame: &mut [u8],
        start: usize,
        now: Timestamp,
    ) -> Result<(DeviceId, rewrite::Extent), DropReason> {
        let slot = Slot(media.at);
        let lane = self.lane(slot, media.content)?;
        let link = arrival_link(device, frame.get(start..).unwrap_or_default());
        let (window, rest) =
            rewrite::window(frame, usize::from(media.payload)).ok_or(DropReason::TooBig)?;
        self.admit(tallies, media, window, link, now)?;
        let (headers, front) = match lane {
            Lane::Side => {
                let side = &self.table.arrays.side[slot.index()];
                (side.headers, side.front)
            }
            Lane::Main | Lane::Closed => {
                let hot = &self.table.arrays.hot[slot.index()];
                (*hot.headers(), self.table.front(slot))
            }
        };
        let new = headers.endpoints_sum();
        let difference = |window: &rewrite::Window| {
            rewrite::difference(new, rewrite::arrived_sum(media.family, window))
        };
        let front = || front;
        let extent = rewrite::apply(&headers, front, media.family, difference, window, rest)?;
        Ok((headers.device, extent))
    }

    /// The egress that packets of this content take.
    fn lane(&self, slot: Slot, content: Content) -> Result<Lane, DropReason> {
        let (rtp, rtcp) = self.table.arrays.hot[slot.index()].lanes();
        let lane = match content {
            Content::Rtp => rtp,
            Content::Rtcp => rtcp,
            Content::Stun => return Err(DropReason::Stun),
            Content::Unknown => return Err(DropReason::NotRtp),
        };
        match lane {
            Lane::Closed => Err(DropReason::NotExpected),
            Lane::Main | Lane::Side => Ok(lane),
        }
    }

    /// Whether the flow believes the packet's source; counts it if so. `link` is the way back to it.
    fn admit(
        &mut self,
        tallies: &FlowTallies,
        media: &Media,
        window: &rewrite::Window,
        link: Option<Link>,
        now: Timestamp,
    ) -> Result<(), DropReason> {
        let slot = Slot(media.at);
        let hot = &self.table.arrays.hot[slot.index()];
        let believed = match hot.gate() {
            GateKind::Source => self.table.is_from_source(slot, hot, media.family, window),
            GateKind::Any => true,
            GateKind::Ask => false,
        };
        if !believed {
            let remote = rewrite::remote(media.family, window);
            self.ask(tallies, remote, media.content, slot, link, now)?;
        }
        tallies.accepted(slot, rewrite::payload_len(window), now);
        let hot = &mut self.table.arrays.hot[slot.index()];
        if hot.is_idle() {
            hot.set_idle(false);
            self.announce(slot);
        }
        Ok(())
    }

    /// The latch decides, and may change its mind.
    #[cold]
    #[inline(never)]
    fn ask(
        &mut self,
        tallies: &FlowTallies,
        remote: SocketAddr,
        content: Content,
        slot: Slot,
        link: Option<Link>,
        now: Timestamp,
    ) -> Result<(), DropReason> {
        let Some(flow) = self.table.flow_mut(slot) else {
            return Err(DropReason::NoFlow);
        };
        let may_latch = match content {
            Content::Rtp => link.is_some(),
            // RTCP shows where RTCP comes from, and on a muxed port RTP decides.
            _ => link.is_some() && flow.entry.rtp.is_none(),
        };
        let judgement = flow.latching.judge(remote, may_latch, now);
        match judgement {
            Judgement::Accept => {
                let gate = flow.latching.gate(now);
                self.table.set_gate(slot, gate);
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
                self.table.set_gate(slot, gate);
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
        let idle = self.table.arrays.hot[slot.index()].is_idle();
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
        let idle = self.table.arrays.hot[slot.index()].is_idle();
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
