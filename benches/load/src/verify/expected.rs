//! What must arrive: for each flow its addresses and its window, for each side its MAC addresses and rules.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::Window;
use crate::packet::build::{sum_of_pseudo_header, sum_of_udp};
use crate::packet::{FlowNumber, Side};
use crate::streams::{Content, Stream};

/// What is asked of the frames that a side receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The device's own MAC address: where they must be going.
    pub own: [u8; 6],
    /// Where they must come from, if that matters.
    pub from: Option<[u8; 6]>,
    /// Their TTL or hop limit, if that matters.
    pub ttl: Option<u8>,
    /// Their DSCP, if that matters.
    pub dscp: Option<u8>,
    /// Whether a UDP checksum may be left as the pseudo-header's sum.
    pub unfinished: bool,
}

/// One flow as its receiver knows it.
#[derive(Debug)]
pub(super) struct Incoming {
    /// Source and destination, at the front.
    pub(super) addresses: [u8; 32],
    /// Source and destination.
    pub(super) ports: [u8; 4],
    pub(super) v4: bool,
    pub(super) content: Content,
    pub(super) receiver: Side,
    /// Of the pseudo-header and the UDP header.
    pub(super) sum: u64,
    pub(super) pseudo_sum: u64,
    pub(super) window: Window,
}

/// Everything that must arrive. Threads share it: a flow's packets may come by any queue, and its lock is free
/// as long as they come by one.
#[derive(Debug)]
pub struct Expectations {
    run: u32,
    payload_len: usize,
    rules: [Rules; 2],
    /// Both sides are behind one device, which does not tell for whom of them a frame came.
    one_device: bool,
    /// By [`FlowNumber`].
    flows: Box<[Mutex<Incoming>]>,
    /// When the first packet of each flow arrived that came later; 0 until then. By [`FlowNumber`], less the number
    /// of the flows that were there from the beginning.
    first_arrivals: Box<[AtomicU64]>,
    /// For frames that do not tell their flow.
    by_address: HashSet<(Side, [u8; 32], [u8; 4])>,
}

/// When the first packets of flows arrived.
impl Expectations {
    /// Of a run with packets of `payload_len` bytes; `rules` are A's and B's.
    pub fn new(run: u32, payload_len: usize, rules: [Rules; 2], streams: &[Stream]) -> Self {
        let mut flows = Vec::with_capacity(2 * streams.len());
        let mut by_address = HashSet::with_capacity(2 * streams.len());
        for stream in streams {
            for sender in Side::BOTH {
                let flow = Incoming::new(stream, sender, payload_len);
                by_address.insert((flow.receiver, flow.addresses, flow.ports));
                flows.push(Mutex::new(flow));
            }
        }
        Self {
            run,
            payload_len,
            rules,
            one_device: false,
            first_arrivals: Box::default(),
            flows: flows.into(),
            by_address,
        }
    }

    /// The same, received by one device for both sides: as A, whoever it is for.
    pub fn of_one_device(self) -> Self {
        Self {
            one_device: true,
            ..self
        }
    }

    /// The same, with room for so many streams that come later; until [`Expectations::replace`] they are like
    /// `stream`.
    pub fn with_slots(self, slots: usize, stream: &Stream) -> Self {
        let mut flows = self.flows.into_vec();
        for _ in 0..slots {
            for sender in Side::BOTH {
                flows.push(Mutex::new(Incoming::new(stream, sender, self.payload_len)));
            }
        }
        Self {
            flows: flows.into(),
            first_arrivals: (0..2 * slots).map(|_| AtomicU64::new(0)).collect(),
            ..self
        }
    }

    /// From now on the stream of that number is this one. Its sequences must be above its predecessor's.
    pub fn replace(&self, number: u32, stream: &Stream) {
        for sender in Side::BOTH {
            let number = FlowNumber::of(number, sender);
            if let (Some(flow), Some(first)) = (self.flow(number), self.first(number)) {
                let mut flow = flow.lock().unwrap_or_else(PoisonError::into_inner);
                *flow = Incoming::new(stream, sender, self.payload_len);
                first.store(0, Ordering::Relaxed);
            }
        }
    }

    /// When the first packet of a flow that came later arrived.
    pub fn first_arrival(&self, number: FlowNumber) -> Option<u64> {
        let at = self.first(number)?.load(Ordering::Relaxed);
        (at > 0).then_some(at)
    }

    pub(super) fn note_arrival(&self, number: FlowNumber, now: u64) {
        if let Some(first) = self.first(number) {
            let _ = first.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    fn first(&self, number: FlowNumber) -> Option<&AtomicU64> {
        let from_the_beginning = self.flows.len() - self.first_arrivals.len();
        let index = (number.0 as usize).checked_sub(from_the_beginning)?;
        self.first_arrivals.get(index)
    }

    /// The run's number, which every packet carries.
    pub fn run(&self) -> u32 {
        self.run
    }

    /// Bytes of UDP payload.
    pub fn payload_len(&self) -> usize {
        self.payload_len
    }

    /// Whether a side's device may receive what is for `receiver`.
    #[inline]
    pub(super) fn serves(&self, side: Side, receiver: Side) -> bool {
        side == receiver || self.one_device
    }

    #[inline]
    pub(super) fn rules(&self, side: Side) -> &Rules {
        &self.rules[side.index()]
    }

    #[inline]
    pub(super) fn flow(&self, number: FlowNumber) -> Option<&Mutex<Incoming>> {
        self.flows.get(number.0 as usize)
    }

    pub(super) fn is_expected(&self, side: Side, addresses: [u8; 32], ports: [u8; 4]) -> bool {
        let expected = |side| self.by_address.contains(&(side, addresses, ports));
        expected(side) || self.one_device && expected(side.other())
    }
}

impl Incoming {
    fn new(stream: &Stream, sender: Side, payload_len: usize) -> Self {
        let (source, destination) = match sender {
            Side::A => (stream.relay_b, stream.b),
            Side::B => (stream.relay_a, stream.a),
        };
        let mut ports = [0; 4];
        ports[..2].copy_from_slice(&source.port().to_be_bytes());
        ports[2..].copy_from_slice(&destination.port().to_be_bytes());
        let udp_len = 8 + payload_len as u16;
        Self {
            addresses: octets(source, destination),
            ports,
            v4: destination.is_ipv4(),
            content: stream.content,
            receiver: sender.other(),
            sum: sum_of_udp(source, destination, udp_len),
            pseudo_sum: sum_of_pseudo_header(source, destination, udp_len),
            window: Window::default(),
        }
    }
}

fn octets(source: SocketAddr, destination: SocketAddr) -> [u8; 32] {
    let mut octets = [0; 32];
    let mut at = 0;
    for address in [source, destination] {
        match address.ip() {
            IpAddr::V4(address) => {
                octets[at..at + 4].copy_from_slice(&address.octets());
                at += 4;
            }
            IpAddr::V6(address) => {
                octets[at..at + 16].copy_from_slice(&address.octets());
                at += 16;
            }
        }
    }
    octets
}
