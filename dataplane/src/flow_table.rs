//! The flows of one worker: which flow is at a local port, and everything that is kept of it.
//!
//! ```text
//!   (address, port) ─ address index ─► ports[..] ─► slot ─► hot[slot]    two cache lines: gate, plan, headers
//!                                     4 bytes a port     ├─► side[slot]   the same of RTCP on a muxed port
//!                                                        ├─► watch[slot]  for the idle sweep
//!                                                        └─► cold[slot]   the control plane's word, the latch
//! ```
//!
//! A port holds a slot's number rather than the flow itself, so that memory follows the number of
//! flows and not that of ports. All arrays are allocated once, by [`crate::storage`]. Decides nothing:
//! what goes into a slot is [`crate::commands`]' business.

use std::net::SocketAddr;

use contract::{FlowEntry, FlowKey, Timestamp};

use crate::address_index::AddressIndex;
use crate::classify::{Arrival, Family};
use crate::latch::{Gate, Latching};
use crate::rewrite::{Plan, Template};

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
    /// The one in [`Side`].
    Side,
}

/// [`Gate`] in one byte; the source is beside it.
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

/// What every packet of a flow needs: a pair of cache lines, which the hardware fetches together.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(128))]
pub struct Hot {
    source: u128,
    source_port: u16,
    endpoints_sum: u16,
    /// What is decided here about sources.
    pub gate: GateKind,
    /// RTP's egress.
    pub rtp: Lane,
    /// RTCP's egress.
    pub rtcp: Lane,
    /// Whether no packet came for so long that the flow counts as idle.
    pub idle: bool,
    /// How packets leave.
    pub plan: Plan,
    /// What they leave with.
    pub template: Template,
}

const _: () = assert!(size_of::<Hot>() == 128, "two cache lines");

impl Hot {
    /// Whether the packet comes from the one source that is accepted unasked.
    #[inline]
    pub fn is_from_source(&self, arrival: &Arrival) -> bool {
        self.source == arrival.source && self.source_port == arrival.source_port
    }

    /// The packet's [`Arrival::endpoints_sum`], known beforehand when its source is.
    #[inline]
    pub fn endpoints_sum(&self, arrival: &Arrival) -> u16 {
        match self.gate {
            GateKind::Source => self.endpoints_sum,
            GateKind::Ask | GateKind::Any => arrival.endpoints_sum(),
        }
    }

    /// Takes over what the latch says. The gate of a flow only ever sees packets of its key's family.
    pub fn set_gate(&mut self, gate: Gate, key: &FlowKey) {
        let source = match gate {
            Gate::Ask => {
                self.gate = GateKind::Ask;
                return;
            }
            Gate::Any => {
                self.gate = GateKind::Any;
                return;
            }
            Gate::Source(source) => source,
        };
        let (family, number) = Family::number(source.ip());
        let (key_family, local) = Family::number(key.address);
        if family != key_family {
            // Signalling named a source that can never be seen here.
            self.gate = GateKind::Ask;
            return;
        }
        self.gate = GateKind::Source;
        self.source = number;
        self.source_port = source.port();
        self.endpoints_sum = crate::rewrite::endpoints_sum(source.port(), number, key.port, local);
    }
}

/// The second egress of a muxed port.
#[derive(Clone, Copy, Debug, Default)]
pub struct Side {
    /// How packets leave.
    pub plan: Plan,
    /// What they leave with.
    pub template: Template,
}

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
    /// The flow, or nothing.
    pub flow: Option<Flow>,
    /// What the control plane has not been told yet.
    pub untold: Untold,
    next_free: u32,
}

/// News of a flow that wait for room in the event mailbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Untold {
    /// The slot waits in [`crate::news::News`].
    pub queued: bool,
    /// This latch is to be reported.
    pub latched: Option<SocketAddr>,
    /// What was last said about idleness: the truth is [`Hot::idle`].
    pub said_idle: bool,
}

/// The arrays, allocated by [`crate::storage`] to the sizes that the settings say.
#[derive(Debug)]
pub struct Arrays {
    /// One for each port of each media address: the slot's number plus one, or 0.
    pub ports: Box<[u32]>,
    /// One for each slot, like the following.
    pub hot: Box<[Hot]>,
    /// RTCP of muxed ports.
    pub side: Box<[Side]>,
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

    /// The flow at a place.
    #[inline]
    pub fn at_place(&self, place: usize) -> Option<Slot> {
        let slot = self.arrays.ports.get(place)?.checked_sub(1)?;
        Some(Slot(slot))
    }

    /// Reads one byte of each line that a packet of the flow needs.
    #[inline]
    pub fn touch(&self, slot: Slot) -> u64 {
        let hot = self.arrays.hot.get(slot.index());
        hot.map_or(0, |hot| hot.gate as u64 ^ u64::from(hot.template.last()))
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
    pub fn flow(&self, slot: Slot) -> Option<&Flow> {
        self.arrays.cold.get(slot.index())?.flow.as_ref()
    }

    /// The flow in a slot, to change it.
    pub fn flow_mut(&mut self, slot: Slot) -> Option<&mut Flow> {
        self.arrays.cold.get_mut(slot.index())?.flow.as_mut()
    }

    /// Puts a flow in a free slot and its port.
    pub fn insert(&mut self, flow: Flow) -> Result<Slot, Unplaced> {
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
        cold.flow = Some(flow);
        // The slot may still wait in the news of the flow that it held before.
        cold.untold = Untold {
            queued: cold.untold.queued,
            ..Untold::default()
        };
        self.installed += 1;
        Ok(slot)
    }

    /// Empties a slot and its port, and gives the flow that was there.
    pub fn remove(&mut self, slot: Slot) -> Option<Flow> {
        let cold = self.arrays.cold.get_mut(slot.index())?;
        let flow = cold.flow.take()?;
        cold.next_free = self.first_free;
        cold.untold.latched = None;
        cold.untold.said_idle = false;
        self.first_free = slot.0;
        self.installed -= 1;
        self.arrays.hot[slot.index()] = Hot::default();
        self.arrays.side[slot.index()] = Side::default();
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
