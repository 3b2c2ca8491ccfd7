//! A batch in, a verdict a packet out: classify, look up, latch, rewrite in place.
//!
//! ```text
//!   all packets:  glance (or headers, classify) ─► address and port ours? ─► sound? ─► flow    asks for its lines
//!   each packet:  from the source? ─► count ─► new headers ─► Forward(device)
//!                 └─ anything else: content expected? ─► gate, or the latch ─► count ─► new headers
//! ```
//!
//! The passes are apart so that the cache misses of many flows overlap: the first asks for what the second will
//! read, and does not wait for it. A transform of the payload (SRTP) has its place between latch and rewrite. Pure: no
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

/// What the first pass finds of a packet.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Found {
    slot: Slot,
    /// Where the UDP payload starts in the frame.
    payload: u16,
    content: Content,
    next: Next,
}

/// What becomes of a packet next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// It came as IPv4 for a flow.
    V4,
    /// It came as IPv6 for a flow.
    V6,
    Drop(DropReason),
}

const _: () = assert!(size_of::<Found>() == 8, "a batch's fill eight cache lines");

impl Found {
    const fn dropped(reason: DropReason) -> Self {
        Self {
            slot: Slot(0),
            payload: 0,
            content: Content::Unknown,
            next: Next::Drop(reason),
        }
    }

    #[inline(always)]
    const fn media(slot: Slot, payload: usize, family: Family, content: Content) -> Self {
        Self {
            slot,
            payload: payload as u16,
            content,
            next: match family {
                Family::V4 => Next::V4,
                Family::V6 => Next::V6,
            },
        }
    }
}

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
            found: [Found::dropped(DropReason::Truncated); BATCH],
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
        self.find_all(memory, tallies, origin.checksums, packets);
        self.forward_all(memory, tallies, origin.device, packets, verdicts, now);
    }

    /// The first pass. A function of its own, like the second, for its own share of the registers.
    #[inline(never)]
    fn find_all<F: Frames>(
        &mut self,
        memory: &mut F,
        tallies: &FlowTallies,
        checksums: ReceivedChecksums,
        packets: &mut [F::Packet],
    ) {
        let count = packets.len().min(BATCH);
        let packets = &mut packets[..count];
        for index in 0..count {
            if let Some(next) = packets.get(index + PACKETS_AHEAD) {
                memory.prefetch(next);
            }
            let (frame, start, len) = memory.frame_mut(&mut packets[index]);
            if let Err(reason) = self.find(index, tallies, frame, start, len, checksums) {
                self.found[index] = Found::dropped(reason);
            }
        }
    }

    /// The second pass.
    #[inline(never)]
    fn forward_all<F: Frames>(
        &mut self,
        memory: &mut F,
        tallies: &FlowTallies,
        device: DeviceId,
        packets: &mut [F::Packet],
        verdicts: &mut [Verdict],
        now: Timestamp,
    ) {
        let count = packets.len().min(verdicts.len()).min(BATCH);
        let (packets, verdicts) = (&mut packets[..count], &mut verdicts[..count]);
        for index in 0..count {
            let packet = &mut packets[index];
            let forwarded = match self.found[index].next {
                Next::V4 => self.forward(memory, tallies, device, index, Family::V4, packet, now),
                Next::V6 => self.forward(memory, tallies, device, index, Family::V6, packet, now),
                Next::Drop(reason) => Err(reason),
            };
            verdicts[index] = match forwarded {
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

    /// What a packet is, and for which flow.
    #[inline(always)]
    fn find(
        &mut self,
        index: usize,
        tallies: &FlowTallies,
        frame: &mut [u8],
        start: usize,
        len: usize,
        checksums: ReceivedChecksums,
    ) -> Result<(), DropReason> {
        let Some(glance) = classify::glance(frame, start, len) else {
            self.found[index] = self.find_thoroughly(tallies, frame, start, len, checksums)?;
            return Ok(());
        };
        let (family, place) = match glance.destination {
            Destination::V4(to) => (Family::V4, self.table.place_v4(to, glance.port)),
            Destination::V6(to) => (Family::V6, self.table.place_v6(to, glance.port)),
        };
        let place = place.ok_or(DropReason::NotMedia)?;
        if checksums == ReceivedChecksums::MayBeUnfinished {
            classify::finish(frame, family, glance.payload)?;
        }
        let slot = self.table.at_place(place).ok_or(DropReason::NoFlow)?;
        self.table.prefetch(slot, family);
        tallies.prefetch(slot);
        self.found[index] = Found::media(slot, glance.payload, family, glance.content);
        Ok(())
    }

    /// The same for packets of unusual shapes, which are brought into the usual one.
    #[cold]
    #[inline(never)]
    fn find_thoroughly(
        &self,
        tallies: &FlowTallies,
        frame: &mut [u8],
        start: usize,
        len: usize,
        checksums: ReceivedChecksums,
    ) -> Result<Found, DropReason> {
        // A packet outside its frame counts as truncated.
        let packet = frame.get_mut(start..start + len).unwrap_or_default();
        let headers = classify::headers(packet)?;
        let place = self
            .table
            .place(headers.family, headers.destination, headers.port)
            .ok_or(DropReason::NotMedia)?;
        let arrival = classify::classify(packet, &headers, checksums)?;
        classify::straighten(packet, &headers, &arrival);
        let slot = self.table.at_place(place).ok_or(DropReason::NoFlow)?;
        self.table.prefetch(slot, arrival.family);
        tallies.prefetch(slot);
        let payload = start + usize::from(arrival.payload);
        Ok(Found::media(slot, payload, arrival.family, arrival.content))
    }

    /// Decides on a packet of a flow, and rewrites it if it is to be forwarded.
    #[allow(
        clippy::too_many_arguments,
        reason = "what there is to know of one packet"
    )]
    #[inline(always)]
    fn forward<F: Frames>(
        &mut self,
        memory: &mut F,
        tallies: &FlowTallies,
        device: DeviceId,
        index: usize,
        family: Family,
        packet: &mut F::Packet,
        now: Timestamp,
    ) -> Result<DeviceId, DropReason> {
        let found = &self.found[index];
        let payload = usize::from(found.payload);
        let (frame, start, _) = memory.frame_mut(packet);
        let hot = self.table.hot(found.slot).ok_or(DropReason::NoFlow)?;
        let (window, rest) = rewrite::window(frame, payload).ok_or(DropReason::TooBig)?;
        let (device, extent) = if hot.is_unasked(found.content)
            && self.table.is_from_source(found.slot, hot, family, window)
        {
            let udp_len = rewrite::udp_len(window);
            tallies.accepted(found.slot, rewrite::payload_len(udp_len), now);
            let headers = hot.headers();
            let front = || self.table.front(found.slot);
            let difference = |_: &rewrite::Window| hot.difference();
            let extent = rewrite::apply(headers, front, family, udp_len, difference, window, rest)?;
            (headers.device, extent)
        } else {
            let found = *found;
            self.forward_thoroughly(tallies, device, found, family, frame, start, now)?
        };
        memory.set_extent(packet, payload - extent.lead, extent.len);
        Ok(device)
    }

    /// The same for whatever has to be asked about.
    #[allow(
        clippy::too_many_arguments,
        reason = "what there is to know of one packet"
    )]
    #[inline(never)]
    fn forward_thoroughly(
        &mut self,
        tallies: &FlowTallies,
        device: DeviceId,
        found: Found,
        family: Family,
        frame: &mut [u8],
        start: usize,
        now: Timestamp,
    ) -> Result<(DeviceId, rewrite::Extent), DropReason> {
        let slot = found.slot;
        let lane = self.lane(slot, found.content)?;
        let link = arrival_link(device, frame.get(start..).unwrap_or_default());
        let (window, rest) =
            rewrite::window(frame, usize::from(found.payload)).ok_or(DropReason::TooBig)?;
        self.admit(tallies, found, family, window, link, now)?;
        let (headers, front) = match lane {
            Lane::Apart => commands::prepare_apart(&self.table, slot),
            Lane::Main | Lane::Closed => {
                let hot = &self.table.arrays.hot[slot.index()];
                (*hot.headers(), self.table.front(slot))
            }
        };
        let new = headers.endpoints_sum();
        let difference = |window: &rewrite::Window| {
            rewrite::difference(new, rewrite::arrived_sum(family, window))
        };
        let front = || front;
        let udp_len = rewrite::udp_len(window);
        let extent = rewrite::apply(&headers, front, family, udp_len, difference, window, rest)?;
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
            Lane::Main | Lane::Apart => Ok(lane),
        }
    }

    /// Whether the flow believes the packet's source; counts it if so. `link` is the way back to it.
    fn admit(
        &mut self,
        tallies: &FlowTallies,
        found: Found,
        family: Family,
        window: &rewrite::Window,
        link: Option<Link>,
        now: Timestamp,
    ) -> Result<(), DropReason> {
        let slot = found.slot;
        let hot = &self.table.arrays.hot[slot.index()];
        let believed = match hot.gate() {
            GateKind::Source => self.table.is_from_source(slot, hot, family, window),
            GateKind::Any => true,
            GateKind::Ask => false,
        };
        if !believed {
            let remote = rewrite::remote(family, window);
            self.ask(tallies, remote, found.content, slot, link, now)?;
        }
        tallies.accepted(slot, rewrite::payload_len(rewrite::udp_len(window)), now);
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
        let Some(mut flow) = self.table.flow(slot) else {
            return Err(DropReason::NoFlow);
        };
        let may_latch = match content {
            Content::Rtp => link.is_some(),
            // RTCP shows where RTCP comes from, and on a muxed port RTP decides.
            _ => link.is_some() && flow.entry.rtp.is_none(),
        };
        match flow.latching.judge(remote, may_latch, now) {
            Judgement::Accept => self.table.set_gate(slot, flow.latching.gate(now)),
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
                self.table.keep(slot, &flow);
                self.table.set_gate(slot, flow.latching.gate(now));
                self.table.arrays.cold[slot.index()].untold.latched = true;
                tallies.set_latched(slot, Some(remote));
                commands::prepare_facing(&mut self.table, &flow.entry, now);
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
        let id = self.table.id(slot)?;
        if std::mem::take(&mut self.table.arrays.cold[slot.index()].untold.latched)
            && let Some(flow) = self.table.flow(slot)
            && let Some((remote, way_back)) = flow.latching.own()
        {
            return Some(Event::Latched {
                flow: id,
                armed: flow.latching.armed(),
                remote,
                next_hop: way_back.destination,
            });
        }
        let said_idle = &mut self.table.arrays.cold[slot.index()].untold.said_idle;
        if idle == *said_idle {
            return None;
        }
        *said_idle = idle;
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
