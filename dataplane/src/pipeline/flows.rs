//! One worker's flows and the news of them: what is decided about packets that do not pass in the usual way,
//! and what the control plane is told.
//!
//! ```text
//!   content expected? ─► from the source? ─► count ─► new headers ─► Forward(device)
//!                        └─ or: gate open, or the latch ─┘
//! ```

use contract::{DeviceId, DropReason, Event, FlowEntry, Link, Timestamp};

use super::found::Found;
use super::hearing::hear;
use super::treating::Accepted;
use super::{Batch, Verdict};
use crate::classify::{Content, Family};
use crate::commands;
use crate::flow_table::{FlowTable, GateKind, Lane, Slot, packed};
use crate::injection::{Copies, Services};
use crate::latch::Judgement;
use crate::news::News;
use crate::port::Frames;
use crate::rewrite::{self, Extent, Window};
use crate::tally::FlowTallies;
use crate::wire::{ethernet, udptl};

/// The MTU of a link that only a latch knows: what Ethernet takes.
const ETHERNET_MTU: u16 = 1500;

/// The flows, and which of them have something to tell.
#[derive(Debug)]
pub(super) struct Flows {
    pub(super) table: FlowTable,
    news: News,
    sweep_at: usize,
    /// Packets that are to arrive elsewhere as well.
    pub(super) copies: Copies,
    pub(super) services: Services,
}

impl Flows {
    pub(super) fn new(table: FlowTable, news: News, services: Services) -> Self {
        Self {
            table,
            news,
            sweep_at: 0,
            copies: Copies::default(),
            services,
        }
    }

    /// Decides on a packet about which there is more to ask.
    #[inline(never)]
    pub(super) fn decide<F: Frames>(
        &mut self,
        memory: &mut F,
        batch: &Batch<'_>,
        found: &Found,
        packet: &mut F::Packet,
    ) -> Verdict {
        let (family, content) = match found.read() {
            Ok(media) => media,
            Err(reason) => return Verdict::Drop(reason),
        };
        let (frame, start, _) = memory.frame_mut(packet);
        match self.forward(batch, found, family, content, frame, start) {
            Ok((device, extent)) => {
                let start = usize::from(found.window) + extent.skip;
                memory.set_extent(packet, start, extent.len);
                Verdict::Forward(device)
            }
            Err(reason) => Verdict::Drop(reason),
        }
    }

    /// Asks everything that there is to ask, and rewrites the packet if it is to be forwarded. It starts at
    /// `start` in the frame.
    #[inline(always)]
    fn forward(
        &mut self,
        batch: &Batch<'_>,
        found: &Found,
        family: Family,
        content: Content,
        frame: &mut [u8],
        start: usize,
    ) -> Result<(DeviceId, Extent), DropReason> {
        let slot = found.slot;
        let hot = self.table.hot(slot).ok_or(DropReason::NoFlow)?;
        let lane = hot.lane(content)?;
        let window = rewrite::window(frame, found.window).ok_or(DropReason::TooBig)?;
        let is_from_source = self.table.is_from_source(slot, hot, family, window);
        let is_handled = hot.gate() == GateKind::Handled;
        let gate = match is_handled {
            true => self.handled_gate(slot),
            false => hot.gate(),
        };
        let believed = match gate {
            GateKind::Source => is_from_source,
            GateKind::Any => true,
            GateKind::Ask | GateKind::Handled => false,
        };
        if !believed {
            let may_latch = match hot.takes_anything() {
                // RTCP shows where RTCP comes from, and on a muxed port RTP decides.
                false => content == Content::Rtp || hot.lane(Content::Rtp).is_err(),
                true => can_be_udptl(content, frame, found.window),
            };
            let arrived = Arrived {
                family,
                may_latch,
                frame,
                start,
                window: found.window,
            };
            self.ask(batch, slot, &arrived)?;
        }
        let (window, payload) =
            rewrite::window_and_rest(frame, found.window).ok_or(DropReason::TooBig)?;
        let udp_len = rewrite::udp_len(window);
        batch.tallies.lines().accepted(slot, udp_len, batch.now);
        if content == Content::Rtcp {
            let compound = payload.get(..rewrite::payload_len(window));
            let compound = compound.unwrap_or_default();
            hear(&self.table, batch.tallies, slot, compound, batch.now);
        }
        if self.table.hot(slot).is_some_and(|hot| hot.is_idle()) {
            self.wake(slot);
        }
        if is_handled {
            let mut accepted = Accepted {
                slot,
                family,
                content,
                frame,
                window: found.window,
            };
            self.treat(batch, &mut accepted)?;
        }
        let (window, payload) =
            rewrite::window_and_rest(frame, found.window).ok_or(DropReason::TooBig)?;
        if lane == Lane::Apart {
            return self.leave_apart(slot, family, window, payload);
        }
        let hot = self.table.hot(slot).ok_or(DropReason::NoFlow)?;
        let headers = hot.headers();
        let front = self.table.front(slot);
        let adjustment = |window: &Window| {
            if believed && is_from_source {
                hot.adjustment()
            } else {
                headers.adjustment(family, window)
            }
        };
        let extent = rewrite::apply(headers, front, family, adjustment, window, payload)?;
        Ok((headers.device, extent))
    }

    /// What is decided about the sources of a flow to whose packets more is done.
    #[cold]
    #[inline(never)]
    fn handled_gate(&self, slot: Slot) -> GateKind {
        let treatment = self.table.arrays.handled.get(slot);
        treatment.map_or(GateKind::Ask, |treatment| treatment.gate)
    }

    /// RTCP leaves by another egress than RTP, which is prepared for each packet anew.
    #[cold]
    #[inline(never)]
    fn leave_apart(
        &self,
        slot: Slot,
        family: Family,
        window: &mut Window,
        payload: &[u8],
    ) -> Result<(DeviceId, Extent), DropReason> {
        let (headers, front) = commands::prepare_apart(&self.table, slot);
        let adjustment = |window: &Window| headers.adjustment(family, window);
        let extent = rewrite::apply(&headers, &front, family, adjustment, window, payload)?;
        Ok((headers.device, extent))
    }

    /// The latch decides, and may change its mind. What it says of a packet that it refuses must be said in a few
    /// instructions: whoever attacks a flow sends many.
    #[cold]
    #[inline(never)]
    fn ask(
        &mut self,
        batch: &Batch<'_>,
        slot: Slot,
        arrived: &Arrived<'_>,
    ) -> Result<(), DropReason> {
        let window = arrived.frame.get(usize::from(arrived.window)..);
        let window = window.and_then(|rest| rest.first_chunk());
        let window = window.ok_or(DropReason::TooBig)?;
        let source = packed::source(arrived.family, window);
        let may_latch = arrived.may_latch && shows_a_way_back(arrived.packet());
        let judgement = self.table.judge(slot, &source, may_latch, batch.now);
        match judgement.ok_or(DropReason::NoFlow)? {
            Judgement::Reject(reason) => {
                if reason == DropReason::WrongSource {
                    batch.tallies.wrong_source(slot);
                }
                Err(reason)
            }
            Judgement::Accept => {
                self.settle(slot, batch.now);
                Ok(())
            }
            Judgement::Latch => {
                self.latch(batch, slot, arrived, window);
                Ok(())
            }
        }
    }

    /// The latch decides what the gate can decide from now on.
    #[cold]
    #[inline(never)]
    fn settle(&mut self, slot: Slot, now: Timestamp) {
        if let Some(flow) = self.table.flow(slot) {
            let gate = flow.latching.gate(now);
            self.table.set_gate(slot, &flow.entry.key, gate);
        }
    }

    /// The flow believes this source from now on, and sends there by the way that the packet came.
    #[cold]
    #[inline(never)]
    fn latch(&mut self, batch: &Batch<'_>, slot: Slot, arrived: &Arrived<'_>, window: &Window) {
        let link = arrival_link(batch.device, arrived.packet());
        let (Some(mut flow), Some(link)) = (self.table.flow(slot), link) else {
            return;
        };
        let remote = rewrite::remote(arrived.family, window);
        flow.latching.believe(remote, link, batch.now);
        self.table.keep(slot, &flow);
        let gate = flow.latching.gate(batch.now);
        self.table.set_gate(slot, &flow.entry.key, gate);
        self.table.arrays.cold[slot.index()].untold.latched = true;
        batch.tallies.set_latched(slot, Some(remote));
        commands::prepare_facing(&mut self.table, &flow.entry, batch.now);
        self.announce(slot);
    }

    /// A packet has come for a flow that counts as idle.
    #[cold]
    #[inline(never)]
    fn wake(&mut self, slot: Slot) {
        self.table.arrays.hot[slot.index()].set_idle(false);
        self.announce(slot);
    }

    /// After an update: what was said of the flow's idleness may no longer be so, or no longer be known.
    pub(super) fn say_idleness(&mut self, entry: &FlowEntry) {
        let Some(slot) = self.table.at_key(&entry.key) else {
            return;
        };
        let idle = self.table.arrays.hot[slot.index()].is_idle();
        if idle != self.table.arrays.cold[slot.index()].untold.said_idle {
            self.announce(slot);
        }
    }

    /// Looks at the next `slots` slots for flows that have become idle, and begins again after the last.
    pub(super) fn sweep(&mut self, tallies: &FlowTallies, slots: usize, now: Timestamp) {
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

    /// The next thing that the control plane must know beside acknowledgements.
    pub(super) fn next_event(&mut self) -> Option<Event> {
        loop {
            let slot = self.news.front()?;
            if let Some(event) = self.untold(slot) {
                return Some(event);
            }
            self.news.pop();
            self.table.arrays.cold[slot.index()].untold.queued = false;
        }
    }

    /// Whether [`Flows::next_event`] may have something.
    pub(super) const fn has_news(&self) -> bool {
        !self.news.is_empty()
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

/// Whether a datagram shows where the party is: what can be UDPTL does and nothing else, not the RTP that is still on
/// its way when a call has gone over to fax, nor STUN.
#[cold]
#[inline(never)]
fn can_be_udptl(content: Content, frame: &mut [u8], window: u16) -> bool {
    let Some((window, rest)) = rewrite::window_and_rest(frame, window) else {
        return false;
    };
    let payload = rest.get(..rewrite::payload_len(window));
    content == Content::Unknown && payload.is_some_and(udptl::is_valid)
}

/// A packet that the latch is asked about.
struct Arrived<'a> {
    family: Family,
    /// Whether its content may latch.
    may_latch: bool,
    frame: &'a [u8],
    /// Where it starts in the frame.
    start: usize,
    /// And the window before its payload.
    window: u16,
}

impl Arrived<'_> {
    fn packet(&self) -> &[u8] {
        self.frame.get(self.start..).unwrap_or_default()
    }
}

/// Whether a packet was sent from one host to one host: a flooded or multicast frame shows no way back.
fn shows_a_way_back(packet: &[u8]) -> bool {
    let [destination, source] = [0, 6].map(|at| packet.get(at));
    let is_one = |first: Option<&u8>| first.is_some_and(|byte| byte & 1 == 0);
    is_one(destination) && is_one(source)
}

/// The way back to where a packet came from, as its own link-layer header tells it.
fn arrival_link(device: DeviceId, packet: &[u8]) -> Option<Link> {
    let (destination, source, vlan) = ethernet::link(packet)?;
    Some(Link {
        device,
        source: destination,
        destination: source,
        vlan,
        mtu: ETHERNET_MTU,
    })
}
