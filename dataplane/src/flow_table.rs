//! The flows of one worker: which flow is at a local port, and everything that is kept of it.
//!
//! ```text
//!   (address, port) ─ address index ─► ports[..] ─► slot ─► hot[slot]    one cache line: gate and headers
//!                                     4 bytes a port     ├─► wide[slot]   a second one for IPv6
//!                                                        ├─► apart[slot]  RTCP's egress, if it is another
//!                                                        ├─► watch[slot]  for the idle sweep
//!                                                        └─► cold[slot]   the control plane's word, the latch
//! ```
//!
//! A port holds a slot's number rather than the flow itself, so that memory follows the number of
//! flows and not that of ports. All arrays are allocated once, by [`crate::storage`]. Decides nothing:
//! what goes into a slot is [`crate::commands`]' business.

mod packed;

use contract::{FlowEntry, FlowId, FlowKey, Timestamp};

use packed::{Kinds, Packed};

use crate::address_index::AddressIndex;
use crate::cache;
use crate::classify::{Content, Family};
use crate::latch::{Gate, Latching};
use crate::rewrite::{self, Front, Headers, Window};

/// Where a flow is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub u32);

impl Slot {
    /// As an index.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Which prepared egress a kind of packets takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Lane {
    /// None: such packets are not expected.
    #[default]
    Closed,
    /// The one in [`Hot`].
    Main,
    /// The one in [`Apart`], prepared for each packet anew.
    Apart,
}

/// [`Gate`] in two bits; the source is beside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum GateKind {
    /// The latch is asked about every packet.
    #[default]
    Ask,
    /// One source is accepted unasked.
    Source,
    /// Every source is.
    Any,
}

/// What every packet of a flow needs: one cache line, which is all for IPv4.
///
/// ```text
///   0  source address and port, as they stand in a packet | difference | headers: plan, label, tail   64
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub struct Hot {
    source_v4: [u8; 4],
    source_port: [u8; 2],
    /// What the main egress's [`rewrite::difference`] is for packets from the source.
    difference: u16,
    /// How packets leave, and the gate in its label.
    headers: Headers,
}

const _: () = assert!(size_of::<Hot>() == 64, "one cache line");

/// The bits of a [`Hot`]'s label. RTP and RTCP pass unasked when the gate is a source, their lane is the main
/// one and the flow is not idle: what most packets need to know, in one bit.
mod label {
    use crate::classify::Content;

    pub(super) const UNASKED_RTP: u8 = Content::Rtp as u8;
    pub(super) const UNASKED_RTCP: u8 = Content::Rtcp as u8;
    pub(super) const GATE: u32 = 2;
    pub(super) const RTP_OPEN: u8 = 1 << 4;
    pub(super) const RTCP: u32 = 5;
    pub(super) const IDLE: u8 = 1 << 7;
}

impl Hot {
    /// Whether packets of this content need only come from the source to be forwarded by the main egress.
    #[inline(always)]
    pub const fn is_unasked(&self, content: Content) -> bool {
        self.headers.label & (content as u8) & (label::UNASKED_RTP | label::UNASKED_RTCP) != 0
    }

    /// What is decided here about sources.
    pub const fn gate(&self) -> GateKind {
        match self.headers.label >> label::GATE & 3 {
            0 => GateKind::Ask,
            1 => GateKind::Source,
            _ => GateKind::Any,
        }
    }

    /// RTP's and RTCP's egress.
    pub const fn lanes(&self) -> (Lane, Lane) {
        let rtp = match self.headers.label & label::RTP_OPEN {
            0 => Lane::Closed,
            _ => Lane::Main,
        };
        let rtcp = match self.headers.label >> label::RTCP & 3 {
            0 => Lane::Closed,
            1 => Lane::Main,
            _ => Lane::Apart,
        };
        (rtp, rtcp)
    }

    /// Whether no packet came for so long that the flow counts as idle.
    pub const fn is_idle(&self) -> bool {
        self.headers.label & label::IDLE != 0
    }

    /// How packets leave by the main egress.
    #[inline(always)]
    pub const fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The main egress's difference for packets from the source.
    #[inline(always)]
    pub const fn difference(&self) -> u16 {
        self.difference
    }

    fn set_label(&mut self, gate: GateKind, (rtp, rtcp): (Lane, Lane), idle: bool) {
        let mut label = (gate as u8) << label::GATE | (rtcp as u8) << label::RTCP;
        if rtp != Lane::Closed {
            label |= label::RTP_OPEN;
        }
        if idle {
            label |= label::IDLE;
        } else if gate == GateKind::Source {
            if rtp == Lane::Main {
                label |= label::UNASKED_RTP;
            }
            if rtcp == Lane::Main {
                label |= label::UNASKED_RTCP;
            }
        }
        self.headers.label = label;
    }

    /// Says whether the flow counts as idle.
    pub fn set_idle(&mut self, idle: bool) {
        self.set_label(self.gate(), self.lanes(), idle);
    }
}

/// What IPv6 needs beside [`Hot`]: the source address, then the main egress's first bytes. Plain bytes, because
/// memory for these comes zeroed from the kernel when it is first used: a relay without IPv6 has none.
pub type Wide = [[u8; 16]; 4];

const WIDE_SOURCE: usize = 0;
const WIDE_FRONT: std::ops::Range<usize> = 16..36;

/// RTCP's egress, packed, on a port that is muxed on one side only. Memory for these comes as for [`Wide`].
pub type Apart = [[u8; 16]; 4];

/// What the idle sweep reads: 16 bytes a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// Silence counts from here, or from the last packet.
    pub from: Timestamp,
    /// After how many nanoseconds the flow is idle; 0: never.
    pub after: u64,
}

/// What is needed only when something changes.
#[derive(Clone, Debug)]
pub struct Flow {
    /// The control plane's word.
    pub entry: FlowEntry,
    /// Whom the flow believes.
    pub latching: Latching,
}

/// A slot's part that few packets touch.
#[derive(Clone, Debug, Default)]
pub struct Cold {
    flow: Packed,
    next_free: u32,
    /// What the control plane has not been told yet.
    pub untold: Untold,
}

const _: () = assert!(size_of::<Cold>() <= 192, "three cache lines");

/// News of a flow that wait for room in the event mailbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Untold {
    /// The slot waits in [`crate::news::News`].
    pub queued: bool,
    /// This worker's own latch is to be reported.
    pub latched: bool,
    /// What was last said about idleness: the truth is [`Hot::is_idle`].
    pub said_idle: bool,
}

/// The arrays, allocated by [`crate::storage`] to the sizes that the settings say.
#[derive(Debug)]
pub struct Arrays {
    /// One for each port of each media address: the slot's number plus one, or 0.
    pub ports: Box<[u32]>,
    /// One for each slot, like the following.
    pub hot: Box<[Hot]>,
    /// IPv6.
    pub wide: Box<[Wide]>,
    /// RTCP's egress, where it is another than RTP's.
    pub apart: Box<[Apart]>,
    /// The idle sweep's.
    pub watch: Box<[Watch]>,
    /// The rest.
    pub cold: Box<[Cold]>,
}

/// The flows of one worker.
#[derive(Debug)]
pub struct FlowTable {
    addresses: AddressIndex,
    /// The slots, public to the modules that fill them.
    pub arrays: Arrays,
    first_free: u32,
    installed: usize,
}

const NO_SLOT: u32 = u32::MAX;

/// Why a flow cannot be placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unplaced {
    /// Not one of our addresses and ports.
    UnknownKey,
    /// The port is in use.
    Taken,
    /// No slot is free.
    Full,
}

impl FlowTable {
    /// An empty table. The arrays of slots are of one length, below 2^32.
    pub fn new(addresses: AddressIndex, mut arrays: Arrays) -> Self {
        let count = arrays.cold.len();
        for (index, cold) in arrays.cold.iter_mut().enumerate() {
            let next = index + 1;
            cold.next_free = if next < count { next as u32 } else { NO_SLOT };
        }
        Self {
            addresses,
            first_free: if count > 0 { 0 } else { NO_SLOT },
            installed: 0,
            arrays,
        }
    }

    /// The place of a port, if it is one of ours.
    #[inline]
    pub fn place(&self, family: Family, address: u128, port: u16) -> Option<usize> {
        self.addresses.find(family, address, port)
    }

    /// The same for an IPv4 address as it stands in a packet.
    #[inline(always)]
    pub fn place_v4(&self, address: [u8; 4], port: u16) -> Option<usize> {
        self.addresses.find_v4(address, port)
    }

    /// The same for an IPv6 address as it stands in a packet.
    #[inline(always)]
    pub fn place_v6(&self, address: [u8; 16], port: u16) -> Option<usize> {
        self.addresses.find_v6(address, port)
    }

    /// What every packet of a flow needs.
    #[inline(always)]
    pub fn hot(&self, slot: Slot) -> Option<&Hot> {
        self.arrays.hot.get(slot.index())
    }

    /// The first bytes of the main egress, if that is IPv6.
    #[inline(always)]
    pub fn front(&self, slot: Slot) -> Front {
        let wide = self.arrays.wide.get(slot.index());
        let front = wide.and_then(|wide| wide.as_flattened()[WIDE_FRONT].first_chunk());
        front.map_or(Front::default(), |front| *front)
    }

    /// The flow at a place.
    #[inline]
    pub fn at_place(&self, place: usize) -> Option<Slot> {
        let slot = self.arrays.ports.get(place)?.checked_sub(1)?;
        Some(Slot(slot))
    }

    /// Asks the cache for what a packet of the flow will need.
    #[inline(always)]
    pub fn prefetch(&self, slot: Slot, family: Family) {
        cache::prefetch(&self.arrays.hot, slot.index());
        if family == Family::V6 {
            cache::prefetch(&self.arrays.wide, slot.index());
        }
    }

    /// Whether a packet comes from the one source that the flow's gate accepts unasked.
    #[inline(always)]
    pub fn is_from_source(&self, slot: Slot, hot: &Hot, family: Family, window: &Window) -> bool {
        let port = rewrite::source_port(window) == hot.source_port;
        port && match family {
            Family::V4 => rewrite::source_v4(window) == hot.source_v4,
            Family::V6 => {
                let wide = self.arrays.wide.get(slot.index());
                wide.is_some_and(|wide| rewrite::source_v6(window) == wide[WIDE_SOURCE])
            }
        }
    }

    /// Says what is decided at a glance about a flow's packets, and how they leave by the main egress. The
    /// gate of a flow only ever sees packets of its key's family.
    pub fn set_hot(&mut self, slot: Slot, gate: Gate, lanes: (Lane, Lane), main: (Headers, Front)) {
        let (hot, wide) = match (
            self.arrays.hot.get_mut(slot.index()),
            self.arrays.wide.get_mut(slot.index()),
        ) {
            (Some(hot), Some(wide)) => (hot, wide),
            _ => return,
        };
        let idle = hot.is_idle();
        let (headers, front) = main;
        hot.headers = headers;
        hot.set_label(GateKind::Ask, lanes, idle);
        if headers.is_v6() {
            wide.as_flattened_mut()[WIDE_FRONT].copy_from_slice(&front);
        }
        self.set_gate(slot, gate);
    }

    /// Takes over what the latch says.
    pub fn set_gate(&mut self, slot: Slot, gate: Gate) {
        let Some(key) = self.flow(slot).map(|flow| flow.entry.key) else {
            return;
        };
        let (hot, wide) = match (
            self.arrays.hot.get_mut(slot.index()),
            self.arrays.wide.get_mut(slot.index()),
        ) {
            (Some(hot), Some(wide)) => (hot, wide),
            _ => return,
        };
        let (family, local) = Family::number(key.address);
        let kind = match gate {
            Gate::Ask => GateKind::Ask,
            Gate::Any => GateKind::Any,
            Gate::Source(source) => {
                let (source_family, number) = Family::number(source.ip());
                hot.source_port = source.port().to_be_bytes();
                match family {
                    Family::V4 => hot.source_v4 = (number as u32).to_be_bytes(),
                    Family::V6 => wide[WIDE_SOURCE] = number.to_be_bytes(),
                }
                let old = rewrite::endpoints_sum(source.port(), number, key.port, local);
                hot.difference = rewrite::difference(hot.headers.endpoints_sum(), old);
                if source_family == family {
                    GateKind::Source
                } else {
                    // Signalling named a source that can never be seen here.
                    GateKind::Ask
                }
            }
        };
        hot.set_label(kind, hot.lanes(), hot.is_idle());
    }

    /// The place of a key, if it is one of ours.
    pub fn place_of(&self, key: &FlowKey) -> Option<usize> {
        self.addresses.find_key(key)
    }

    /// The flow at a key.
    pub fn at_key(&self, key: &FlowKey) -> Option<Slot> {
        self.at_place(self.place_of(key)?)
    }

    /// The flow in a slot.
    pub fn flow(&self, slot: Slot) -> Option<Flow> {
        let cold = self.arrays.cold.get(slot.index())?;
        let apart = match cold.flow.kinds() {
            Kinds::Apart => self.arrays.apart.get(slot.index())?.as_flattened(),
            _ => &[0; 64],
        };
        let watch = self.arrays.watch.get(slot.index())?;
        cold.flow.flow(apart.first_chunk()?, watch.after)
    }

    /// The id of the flow in a slot.
    pub fn id(&self, slot: Slot) -> Option<FlowId> {
        self.arrays.cold.get(slot.index())?.flow.id()
    }

    /// Replaces the flow in a slot by what became of it.
    pub fn keep(&mut self, slot: Slot, flow: &Flow) {
        let (packed, apart) = Packed::new(flow);
        if let Some(cold) = self.arrays.cold.get_mut(slot.index()) {
            cold.flow = packed;
        }
        if let (Some(apart), Some(place)) = (apart, self.arrays.apart.get_mut(slot.index())) {
            place.as_flattened_mut().copy_from_slice(&apart);
        }
    }

    /// Puts a flow in a free slot and its port.
    pub fn insert(&mut self, flow: &Flow) -> Result<Slot, Unplaced> {
        let place = self.place_of(&flow.entry.key).ok_or(Unplaced::UnknownKey)?;
        let port = self
            .arrays
            .ports
            .get_mut(place)
            .ok_or(Unplaced::UnknownKey)?;
        if *port != 0 {
            return Err(Unplaced::Taken);
        }
        let slot = Slot(self.first_free);
        let cold = self
            .arrays
            .cold
            .get_mut(slot.index())
            .ok_or(Unplaced::Full)?;
        self.first_free = cold.next_free;
        *port = slot.0 + 1;
        // The slot may still wait in the news of the flow that it held before.
        cold.untold = Untold {
            queued: cold.untold.queued,
            ..Untold::default()
        };
        self.installed += 1;
        self.keep(slot, flow);
        Ok(slot)
    }

    /// Empties a slot and its port, and gives the flow that was there.
    pub fn remove(&mut self, slot: Slot) -> Option<Flow> {
        let flow = self.flow(slot)?;
        let cold = self.arrays.cold.get_mut(slot.index())?;
        cold.flow = Packed::default();
        cold.next_free = self.first_free;
        cold.untold.latched = false;
        cold.untold.said_idle = false;
        self.first_free = slot.0;
        self.installed -= 1;
        self.arrays.hot[slot.index()] = Hot::default();
        self.arrays.watch[slot.index()] = Watch::default();
        if let Some(place) = self.place_of(&flow.entry.key) {
            self.arrays.ports[place] = 0;
        }
        Some(flow)
    }

    /// Flows installed.
    pub const fn len(&self) -> usize {
        self.installed
    }

    /// Whether no flow is installed.
    pub const fn is_empty(&self) -> bool {
        self.installed == 0
    }
}
