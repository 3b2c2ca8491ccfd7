//! The flows of one worker: which flow is at a local port, and everything that is kept of it.
//!
//! ```text
//!   (address, port) ─ address index ─► ports[..] ─► slot ─► hot[slot]    one cache line: gate and headers
//!                                     4 bytes a port     ├─► wide[slot]   a second one for IPv6
//!                                                        ├─► apart[slot]  RTCP's egress, if it is another
//!                                                        ├─► watch[slot]  for the idle sweep
//!                                                        ├─► cold[slot]   the control plane's word, the latch
//!                                                        └─► handled      what else is done, of few flows
//! ```
//!
//! A port holds a slot's number rather than the flow itself, so that memory follows the number of
//! flows and not that of ports. All arrays are allocated once, by [`crate::storage`]. Decides nothing:
//! what goes into a slot is [`crate::commands`]' business.

mod handled;
mod hot;
pub mod packed;

use std::net::SocketAddr;

use contract::{FlowEntry, FlowId, FlowKey, Link, Payload, Timestamp};

use packed::{Kinds, Packed};

pub use handled::{Handled, Treatment};
pub use hot::{GateKind, Hot, Lane, Lanes};

use crate::address_index::AddressIndex;
use crate::cache;
use crate::classify::Family;
use crate::latch::{Gate, Judgement, Latching};
use crate::rewrite::{self, Front, Headers, Window};
use crate::wire::checksum;

/// Where a flow is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub u32);

impl Slot {
    /// No slot: there are fewer.
    pub const NONE: Self = Self(u32::MAX);

    /// As an index.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
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
    /// One for each port of each media address.
    pub ports: Box<[Slot]>,
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
    /// What else is done to packets, of the few flows that have it.
    pub handled: Handled,
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
            cold.next_free = if next < count {
                next as u32
            } else {
                Slot::NONE.0
            };
        }
        Self {
            addresses,
            first_free: if count > 0 { 0 } else { Slot::NONE.0 },
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

    /// The flow at a port of an IPv4 address as it stands in a packet: of most of those that are ours. If there is none it
    /// is [`Slot::NONE`], as in [`FlowTable::maybe_at`].
    #[inline(always)]
    pub fn near_v4(&self, address: [u8; 4], port: u16) -> Option<Slot> {
        let place = self.addresses.find_near_v4(address, port)?;
        self.arrays.ports.get(place).copied()
    }

    /// The place for an IPv6 address as it stands in a packet.
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
    pub fn front(&self, slot: Slot) -> &Front {
        const NONE: &Front = &[0; _];
        let wide = self.arrays.wide.get(slot.index());
        let front = wide.and_then(|wide| wide.as_flattened()[WIDE_FRONT].first_chunk());
        front.unwrap_or(NONE)
    }

    /// The flow at a place.
    #[inline]
    pub fn at_place(&self, place: usize) -> Option<Slot> {
        let slot = self.maybe_at(place);
        (slot != Slot::NONE).then_some(slot)
    }

    /// The same, and [`Slot::NONE`] if there is none: nothing is found in that slot.
    #[inline(always)]
    pub fn maybe_at(&self, place: usize) -> Slot {
        self.arrays.ports.get(place).copied().unwrap_or(Slot::NONE)
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
        match family {
            Family::V4 => hot.is_source_v4(window),
            Family::V6 => {
                let wide = self.arrays.wide.get(slot.index());
                rewrite::source_port(window) == hot.source_port
                    && wide.is_some_and(|wide| rewrite::source_v6(window) == wide[WIDE_SOURCE])
            }
        }
    }

    /// Says what is decided at a glance about a flow's packets, and how they leave by the main egress. The
    /// gate of a flow only ever sees packets of its key's family.
    pub fn set_hot(
        &mut self,
        slot: Slot,
        key: &FlowKey,
        gate: Gate,
        lanes: Lanes,
        main: (Headers, Front),
    ) {
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
        self.set_gate(slot, key, gate);
    }

    /// Takes over what the latch says.
    pub fn set_gate(&mut self, slot: Slot, key: &FlowKey, gate: Gate) {
        let handled = self.arrays.handled.get_mut(slot);
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
                let difference = rewrite::difference(hot.headers.endpoints_sum(), old);
                hot.adjustment = checksum::adjustment(difference);
                if source_family == family {
                    GateKind::Source
                } else {
                    // Signalling named a source that can never be seen here.
                    GateKind::Ask
                }
            }
        };
        let kind = match handled {
            Some(treatment) => {
                treatment.gate = kind;
                GateKind::Handled
            }
            None => kind,
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

    /// The flow in a slot, without what is done to its packets beside forwarding ([`Handled`]).
    pub fn flow(&self, slot: Slot) -> Option<Flow> {
        let cold = self.arrays.cold.get(slot.index())?;
        let apart = match cold.flow.kinds() {
            Kinds::Apart => self.arrays.apart.get(slot.index())?.as_flattened(),
            _ => &[0; 64],
        };
        let watch = self.arrays.watch.get(slot.index())?;
        cold.flow.flow(apart.first_chunk()?, watch.after)
    }

    /// The source that this worker has latched itself for the flow in a slot, and the way back to it.
    pub fn own_latch(&self, slot: Slot) -> Option<(SocketAddr, Link)> {
        self.arrays.cold.get(slot.index())?.flow.own_latch()
    }

    /// What the latch of the flow in a slot says of a packet from `source`.
    pub fn judge(
        &self,
        slot: Slot,
        source: &packed::Socket,
        may_latch: bool,
        now: Timestamp,
    ) -> Option<Judgement> {
        let cold = self.arrays.cold.get(slot.index())?;
        cold.flow.judge(source, may_latch, now)
    }

    /// The flow that faces whom the RTCP of the flow in a slot goes to.
    pub fn facing_rtcp(&self, slot: Slot) -> Option<Slot> {
        let cold = self.arrays.cold.get(slot.index())?;
        let apart = self.arrays.apart.get(slot.index())?.as_flattened();
        self.at_key(&cold.flow.rtcp_source(apart.first_chunk()?)?)
    }

    /// What the packets of the flow in a slot carry.
    pub fn payload(&self, slot: Slot) -> Option<Payload> {
        self.arrays.cold.get(slot.index())?.flow.payload()
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
        if *port != Slot::NONE {
            return Err(Unplaced::Taken);
        }
        let slot = Slot(self.first_free);
        let cold = self
            .arrays
            .cold
            .get_mut(slot.index())
            .ok_or(Unplaced::Full)?;
        self.first_free = cold.next_free;
        *port = slot;
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
        self.arrays.handled.forget(slot);
        self.arrays.watch[slot.index()] = Watch::default();
        if let Some(place) = self.place_of(&flow.entry.key) {
            self.arrays.ports[place] = Slot::NONE;
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
