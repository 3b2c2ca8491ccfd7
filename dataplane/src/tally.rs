//! What workers count. Every counter has one writer, the worker's thread, and is read by others while
//! it counts: relaxed loads and stores, no read-modify-write, no lock.
//!
//! A flow's counters fill one cache line, beside nothing else that anybody writes.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering, fence};

use af_xdp::numa::span;
use contract::{DropReason, FlowId, FlowKey, Timestamp, WorkerId};

use crate::address_index::{self, AddressIndex};
use crate::cache;
use crate::classify::Family;
use crate::flow_table::Slot;
use crate::histogram::Histogram;
use crate::port::RingLevels;
use crate::reception::Receptions;
use crate::report::{FlowTally, KernelStatistics};
use crate::settings::MediaAddress;
use crate::storage::{self, StorageError};
use crate::wire::udp;

/// A counter with one writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds; only the one writer may.
    #[inline]
    pub fn add(&self, amount: u64) {
        let now = self.0.load(Ordering::Relaxed).wrapping_add(amount);
        self.0.store(now, Ordering::Relaxed);
    }

    /// Replaces; only the one writer may.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The count so far.
    #[inline]
    pub fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One flow's line.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Line {
    flow: AtomicU64,
    packets: Counter,
    /// UDP's, headers included: one addition less a packet, and one subtraction more a reading.
    bytes: Counter,
    /// Nanoseconds; 0: never.
    last_seen: Counter,
    wrong_source: Counter,
    remote_high: AtomicU64,
    remote_low: AtomicU64,
    remote_port: AtomicU16,
    /// Which address is latched: [`NOT_LATCHED`], [`LATCHED_V4`] or [`LATCHED_V6`] in the two low bits, above
    /// them how often it has changed, so that a reader sees a change under its hands.
    remote_state: AtomicU32,
}

const NOT_LATCHED: u32 = 0;
const LATCHED_V4: u32 = 1;
const LATCHED_V6: u32 = 2;
const LATCHED: u32 = 3;

const _: () = assert!(size_of::<Line>() == 64, "one cache line");

/// What packets are counted in.
#[derive(Clone, Copy, Debug)]
pub struct Lines<'a>(&'a [Line]);

impl Lines<'_> {
    /// For how many slots.
    pub const fn len(self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The first so many.
    ///
    /// # Panics
    /// When there are fewer.
    #[inline(always)]
    pub fn first(self, slots: usize) -> Self {
        Self(&self.0[..slots])
    }

    /// Counts an accepted packet whose UDP header and payload are so long.
    #[inline(always)]
    pub fn accepted(self, slot: Slot, udp_len: u16, now: Timestamp) {
        let Some(line) = self.0.get(slot.index()) else {
            return;
        };
        line.packets.add(1);
        line.bytes.add(u64::from(udp_len));
        line.last_seen.set(now.as_nanos());
    }
}

/// The counters of a worker's flows, by slot, and which slot a port holds.
#[derive(Debug)]
pub struct FlowTallies {
    lines: Box<[Line]>,
    /// What RTCP says of the flows.
    pub receptions: Receptions,
    addresses: AddressIndex,
    /// The slot's number plus one, or 0; one for each port of each media address.
    ports: Box<[AtomicU32]>,
}

impl FlowTallies {
    /// For as many flows as a worker's table holds.
    pub fn new(media: &[MediaAddress], capacity: usize) -> Result<Self, StorageError> {
        let ports = address_index::ports(media);
        Ok(Self {
            lines: storage::filled(capacity, Line::default),
            receptions: Receptions::new(capacity),
            addresses: storage::address_index(media)?,
            ports: storage::filled(ports, || AtomicU32::new(0)),
        })
    }

    /// The addresses of all that RTP is counted in.
    pub fn spans(&self) -> [Range<usize>; 2] {
        [span(&self.lines), storage::within_margins(&self.ports)]
    }

    /// The flows' lines, to count a batch in.
    #[inline(always)]
    pub fn lines(&self) -> Lines<'_> {
        Lines(&self.lines)
    }

    /// Asks the cache for the flow's line.
    #[inline(always)]
    pub fn prefetch(&self, slot: Slot) {
        cache::prefetch(&self.lines, slot.index());
    }

    /// Counts a packet from a wrong source.
    pub fn wrong_source(&self, slot: Slot) {
        if let Some(line) = self.lines.get(slot.index()) {
            line.wrong_source.add(1);
        }
    }

    /// When the flow's last packet was accepted; the clock's origin if none was.
    pub fn last_seen(&self, slot: Slot) -> Timestamp {
        let line = self.lines.get(slot.index());
        Timestamp::from_nanos(line.map_or(0, |line| line.last_seen.read()))
    }

    /// Starts a flow's line at zero and makes it findable.
    pub fn open(&self, slot: Slot, flow: FlowId, key: &FlowKey) {
        let Some(line) = self.lines.get(slot.index()) else {
            return;
        };
        line.flow.store(flow.0, Ordering::Relaxed);
        fence(Ordering::Release);
        line.packets.set(0);
        line.bytes.set(0);
        line.last_seen.set(0);
        line.wrong_source.set(0);
        self.set_latched(slot, None);
        self.receptions.forget(slot);
        if let Some(port) = self
            .addresses
            .find_key(key)
            .and_then(|at| self.ports.get(at))
        {
            port.store(slot.0 + 1, Ordering::Release);
        }
    }

    /// Makes a flow's line unfindable.
    pub fn close(&self, key: &FlowKey) {
        if let Some(port) = self
            .addresses
            .find_key(key)
            .and_then(|at| self.ports.get(at))
        {
            port.store(0, Ordering::Release);
        }
    }

    /// Notes the latched source.
    pub fn set_latched(&self, slot: Slot, remote: Option<SocketAddr>) {
        let Some(line) = self.lines.get(slot.index()) else {
            return;
        };
        let changed = (line.remote_state.load(Ordering::Relaxed) | LATCHED).wrapping_add(1);
        line.remote_state
            .store(changed | NOT_LATCHED, Ordering::Relaxed);
        let Some(remote) = remote else {
            return;
        };
        // A reader that sees any of what follows sees the change above too (its fence pairs with this).
        fence(Ordering::Release);
        let (family, number) = Family::number(remote.ip());
        line.remote_high
            .store((number >> 64) as u64, Ordering::Relaxed);
        line.remote_low.store(number as u64, Ordering::Relaxed);
        line.remote_port.store(remote.port(), Ordering::Relaxed);
        let family = match family {
            Family::V4 => LATCHED_V4,
            Family::V6 => LATCHED_V6,
        };
        line.remote_state.store(changed | family, Ordering::Release);
    }

    /// Packets accepted for the flow that is at a key just now; 0 without one.
    pub fn packets_at(&self, key: &FlowKey) -> u64 {
        let port = self
            .addresses
            .find_key(key)
            .and_then(|at| self.ports.get(at));
        let slot = port.and_then(|port| port.load(Ordering::Acquire).checked_sub(1));
        let line = slot.and_then(|slot| self.lines.get(slot as usize));
        line.map_or(0, |line| line.packets.read())
    }

    /// What was counted for the flow at a key; `None` when there is none, or it changed just now.
    pub fn read(&self, worker: WorkerId, key: &FlowKey) -> Option<FlowTally> {
        let port = self.ports.get(self.addresses.find_key(key)?)?;
        let slot = port.load(Ordering::Acquire).checked_sub(1)?;
        let line = self.lines.get(slot as usize)?;
        let flow = line.flow.load(Ordering::Acquire);
        let last_seen = line.last_seen.read();
        // In the order in which they are written, so that there is no packet whose bytes are missing.
        let packets = line.packets.read();
        let bytes = line.bytes.read();
        let tally = FlowTally {
            worker,
            packets,
            bytes: bytes.saturating_sub(packets * udp::HEADER_LEN as u64),
            last_seen: (last_seen > 0).then(|| Timestamp::from_nanos(last_seen)),
            wrong_source: line.wrong_source.read(),
            latched: line.latched(),
            reception: self.receptions.read(Slot(slot)),
        };
        fence(Ordering::Acquire);
        let same_flow = line.flow.load(Ordering::Relaxed) == flow;
        (same_flow && port.load(Ordering::Relaxed) == slot + 1).then_some(tally)
    }
}

impl Line {
    /// `None` also while it changes.
    fn latched(&self) -> Option<SocketAddr> {
        let state = self.remote_state.load(Ordering::Acquire);
        let family = match state & LATCHED {
            LATCHED_V4 => Family::V4,
            LATCHED_V6 => Family::V6,
            _ => return None,
        };
        let high = u128::from(self.remote_high.load(Ordering::Relaxed));
        let low = u128::from(self.remote_low.load(Ordering::Relaxed));
        let address: IpAddr = family.address(high << 64 | low);
        let port = self.remote_port.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        let same = self.remote_state.load(Ordering::Relaxed) == state;
        same.then(|| SocketAddr::new(address, port))
    }
}

/// One socket's counters.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct SocketTally {
    /// Frames received.
    pub rx_packets: Counter,
    /// Bytes of them.
    pub rx_bytes: Counter,
    /// Frames handed to the kernel.
    pub tx_packets: Counter,
    /// Bytes of them.
    pub tx_bytes: Counter,
    /// Packets that waited in the RX ring at the last poll, those included that it then took.
    rx_level: Counter,
    /// The most that ever waited there.
    rx_level_max: Counter,
    /// Packets left in the TX ring by the last poll.
    tx_level: Counter,
    /// Frames left in the fill ring by the last poll.
    fill_level: Counter,
    kernel: [Counter; 6],
}

impl SocketTally {
    /// Publishes how full the rings are after a poll that received so many packets.
    #[inline]
    pub fn set_levels(&self, after: RingLevels, received: u32) {
        let rx = u64::from(after.rx) + u64::from(received);
        self.rx_level.set(rx);
        if rx > self.rx_level_max.read() {
            self.rx_level_max.set(rx);
        }
        self.tx_level.set(u64::from(after.tx));
        self.fill_level.set(u64::from(after.fill));
    }

    /// The rings' levels as last published, and the most that ever waited in the RX ring.
    pub fn levels(&self) -> (RingLevels, u32) {
        let level = |counter: &Counter| counter.read() as u32;
        let levels = RingLevels {
            rx: level(&self.rx_level),
            tx: level(&self.tx_level),
            fill: level(&self.fill_level),
        };
        (levels, level(&self.rx_level_max))
    }

    /// Publishes the kernel's counters.
    pub fn set_kernel(&self, statistics: &KernelStatistics) {
        let values = [
            statistics.rx_dropped,
            statistics.rx_ring_full,
            statistics.fill_ring_empty,
            statistics.rx_invalid_descriptors,
            statistics.tx_invalid_descriptors,
            statistics.tx_ring_empty,
        ];
        for (counter, value) in self.kernel.iter().zip(values) {
            counter.set(value);
        }
    }

    /// The kernel's counters as last published.
    pub fn kernel(&self) -> KernelStatistics {
        let [dropped, full, empty, invalid_rx, invalid_tx, tx_empty] =
            [0, 1, 2, 3, 4, 5].map(|index: usize| self.kernel[index].read());
        KernelStatistics {
            rx_dropped: dropped,
            rx_ring_full: full,
            fill_ring_empty: empty,
            rx_invalid_descriptors: invalid_rx,
            tx_invalid_descriptors: invalid_tx,
            tx_ring_empty: tx_empty,
        }
    }
}

/// One worker's counters beside those of its flows, on lines that nothing else is on.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct WorkerTally {
    drops: [Counter; DropReason::COUNT],
    /// Batches with at least one frame.
    pub batches: Counter,
    /// Times it slept.
    pub sleeps: Counter,
    /// Nanoseconds in polls that found work.
    pub busy: Counter,
    /// Nanoseconds in polls that found none.
    pub idle: Counter,
    /// Nanoseconds asleep.
    pub asleep: Counter,
    /// Frames on the free list.
    pub free_frames: Counter,
    /// Flows installed.
    pub flows: Counter,
    /// Times an event had to wait for room.
    pub events_delayed: Counter,
    /// Nanoseconds from the RX ring's read to the TX kick's return.
    pub residence: Histogram,
    /// One for each socket.
    pub sockets: Box<[SocketTally]>,
    /// Set by the thread as it ends.
    pub ended: AtomicBool,
}

impl WorkerTally {
    /// For a worker of so many sockets.
    pub fn new(sockets: usize) -> Self {
        Self {
            sockets: (0..sockets).map(|_| SocketTally::default()).collect(),
            ..Self::default()
        }
    }

    /// Counts a dropped frame.
    #[inline]
    pub fn dropped(&self, reason: DropReason) {
        self.drops[reason.index()].add(1);
    }

    /// The drops by [`DropReason::index`].
    pub fn drops(&self) -> [u64; DropReason::COUNT] {
        std::array::from_fn(|index| self.drops[index].read())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::DeviceId;

    #[test]
    fn a_flows_line_is_found_by_its_key_while_it_is_open() {
        let media = [MediaAddress {
            device: DeviceId(0),
            address: [10, 0, 0, 1].into(),
            ports: (100, 109),
        }];
        let tallies = FlowTallies::new(&media, 4).expect("one address");
        let key = FlowKey {
            address: [10, 0, 0, 1].into(),
            port: 104,
        };
        let slot = Slot(2);
        let worker = WorkerId(1);
        assert_eq!(tallies.read(worker, &key), None);
        tallies.open(slot, FlowId(7), &key);
        tallies
            .lines()
            .accepted(slot, 180, Timestamp::from_nanos(5));
        tallies.lines().accepted(slot, 20, Timestamp::from_nanos(9));
        tallies.wrong_source(slot);
        let remote: SocketAddr = "[fd00::2]:4000".parse().expect("an address");
        tallies.set_latched(slot, Some(remote));
        let expected = FlowTally {
            worker,
            packets: 2,
            bytes: 184,
            last_seen: Some(Timestamp::from_nanos(9)),
            wrong_source: 1,
            latched: Some(remote),
            reception: None,
        };
        assert_eq!(tallies.read(worker, &key), Some(expected));
        tallies.close(&key);
        assert_eq!(tallies.read(worker, &key), None);
        tallies.open(slot, FlowId(8), &key);
        let fresh = tallies.read(worker, &key).expect("open");
        assert_eq!((fresh.packets, fresh.latched), (0, None));
    }

    #[test]
    fn a_latched_address_is_read_whole_or_not_at_all_while_it_changes() {
        let media = [MediaAddress {
            device: DeviceId(0),
            address: [10, 0, 0, 1].into(),
            ports: (100, 100),
        }];
        let tallies = FlowTallies::new(&media, 1).expect("one address");
        let key = FlowKey {
            address: [10, 0, 0, 1].into(),
            port: 100,
        };
        tallies.open(Slot(0), FlowId(1), &key);
        // Every part of an address is the same number.
        let address = |number: u16| -> SocketAddr { ([number; 8], number).into() };
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut number = 1_u16;
                while !stop.load(Ordering::Relaxed) {
                    tallies.set_latched(Slot(0), Some(address(number)));
                    number = number.wrapping_add(1);
                }
            });
            let (mut last, mut changes) = (None, 0);
            while changes < 50_000 {
                let tally = tallies.read(WorkerId(0), &key).expect("the flow stays");
                if let Some(remote) = tally.latched.filter(|remote| Some(*remote) != last) {
                    let right = remote == address(remote.port());
                    if !right {
                        stop.store(true, Ordering::Relaxed);
                    }
                    assert!(right, "{remote}");
                    last = Some(remote);
                    changes += 1;
                }
            }
            stop.store(true, Ordering::Relaxed);
        });
    }
}
