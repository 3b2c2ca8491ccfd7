//! [`crate::port::Port`] in plain memory: the rings and the kernel's part in them, so that a worker can
//! be driven in a test packet by packet. Rings have the capacities that they are given and behave as the
//! kernel's when full or empty; nothing is ever lost but what a test loses on purpose.

use std::collections::VecDeque;
use std::time::Duration;

use crate::port::{BATCH, Frames, Place, Port, RingLevels};
use crate::report::KernelStatistics;

/// Bytes of a frame.
pub const FRAME_SIZE: usize = 2048;
/// Bytes before a received packet: what the kernel leaves (`XDP_PACKET_HEADROOM`).
pub const HEADROOM: usize = 256;

/// A packet in a frame of a [`MemoryPort`].
#[derive(Debug, PartialEq, Eq)]
pub struct MemoryPacket {
    frame: usize,
    start: usize,
    len: usize,
}

#[derive(Debug, Default)]
struct Rings {
    fill: VecDeque<usize>,
    rx: VecDeque<MemoryPacket>,
    tx: VecDeque<MemoryPacket>,
    completion: VecDeque<usize>,
    sent: Vec<Vec<u8>>,
    statistics: KernelStatistics,
}

impl Rings {
    fn new(size: usize) -> Self {
        Self {
            fill: VecDeque::with_capacity(2 * size),
            rx: VecDeque::with_capacity(size),
            tx: VecDeque::with_capacity(size),
            completion: VecDeque::with_capacity(size),
            ..Self::default()
        }
    }
}

/// Frames and sockets in memory.
#[derive(Debug)]
pub struct MemoryPort {
    memory: Vec<u8>,
    free: Vec<usize>,
    places: Vec<Place>,
    rings: Vec<Rings>,
    ring_size: usize,
    /// Packets that a kick sends: 32 in the kernel's copy mode.
    pub kick_budget: usize,
    /// Whether the kernel tells its counters.
    pub statistics_told: bool,
    /// How often the worker went to sleep.
    pub sleeps: usize,
}

impl MemoryPort {
    /// A port with as many free frames, and one socket at each place, its rings of `ring_size` and the
    /// fill ring of twice that.
    pub fn new(frames: usize, ring_size: usize, places: Vec<Place>) -> Self {
        Self {
            memory: vec![0; frames * FRAME_SIZE],
            free: (0..frames).collect(),
            rings: places.iter().map(|_| Rings::new(ring_size)).collect(),
            places,
            ring_size,
            kick_budget: 32,
            statistics_told: true,
            sleeps: 0,
        }
    }

    /// The wire's side: a packet arrives at a socket's queue. `false` when there was no frame for it, or
    /// the RX ring was full, and it was lost.
    pub fn deliver(&mut self, socket: usize, packet: &[u8]) -> bool {
        let rings = &mut self.rings[socket];
        if packet.len() > FRAME_SIZE - HEADROOM {
            rings.statistics.rx_dropped += 1;
            return false;
        }
        if rings.rx.len() == self.ring_size {
            rings.statistics.rx_ring_full += 1;
            return false;
        }
        let Some(frame) = rings.fill.pop_front() else {
            rings.statistics.fill_ring_empty += 1;
            return false;
        };
        let at = frame * FRAME_SIZE + HEADROOM;
        self.memory[at..at + packet.len()].copy_from_slice(packet);
        rings.rx.push_back(MemoryPacket {
            frame,
            start: HEADROOM,
            len: packet.len(),
        });
        true
    }

    /// The wire's side: what a socket has sent since the last call.
    pub fn take_sent(&mut self, socket: usize) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.rings[socket].sent)
    }

    /// Every frame that is somewhere, sorted: with no packet in anybody's hands, each exactly once.
    pub fn census(&self) -> Vec<usize> {
        let in_rings = self.rings.iter().flat_map(|rings| {
            let packets = rings.rx.iter().chain(&rings.tx).map(|packet| packet.frame);
            packets.chain(rings.fill.iter().chain(&rings.completion).copied())
        });
        let mut all: Vec<usize> = in_rings.chain(self.free.iter().copied()).collect();
        all.sort_unstable();
        all
    }
}

impl Frames for MemoryPort {
    type Packet = MemoryPacket;

    fn frame_mut<'a>(&'a mut self, packet: &'a mut MemoryPacket) -> (&'a mut [u8], usize, usize) {
        let at = packet.frame * FRAME_SIZE;
        let frame = &mut self.memory[at..at + FRAME_SIZE];
        (frame, packet.start, packet.len)
    }

    fn len_of(&self, packet: &MemoryPacket) -> usize {
        packet.len
    }

    fn set_extent(&mut self, packet: &mut MemoryPacket, start: usize, len: usize) {
        assert!(start + len <= FRAME_SIZE, "a packet lies within its frame");
        packet.start = start;
        packet.len = len;
    }
}

impl Port for MemoryPort {
    fn places(&self) -> &[Place] {
        &self.places
    }

    fn tend(&mut self, socket: usize) {
        let rings = &mut self.rings[socket];
        self.free.extend(rings.completion.drain(..));
        while rings.fill.len() < 2 * self.ring_size {
            let Some(frame) = self.free.pop() else {
                break;
            };
            rings.fill.push_back(frame);
        }
    }

    fn receive(&mut self, socket: usize, packets: &mut Vec<MemoryPacket>) {
        let rx = &mut self.rings[socket].rx;
        let count = rx.len().min(BATCH);
        packets.extend(rx.drain(..count));
    }

    fn transmit(&mut self, socket: usize, packets: &mut Vec<MemoryPacket>) -> usize {
        let tx = &mut self.rings[socket].tx;
        let count = packets.len().min(self.ring_size - tx.len());
        tx.extend(packets.drain(..count));
        count
    }

    fn kick(&mut self, socket: usize) {
        let rings = &mut self.rings[socket];
        for _ in 0..self.kick_budget {
            if rings.completion.len() == self.ring_size {
                break;
            }
            let Some(packet) = rings.tx.pop_front() else {
                break;
            };
            let at = packet.frame * FRAME_SIZE + packet.start;
            rings.sent.push(self.memory[at..at + packet.len].to_vec());
            rings.completion.push_back(packet.frame);
        }
    }

    fn is_transmitting(&self, socket: usize) -> bool {
        !self.rings[socket].tx.is_empty()
    }

    fn take(&mut self) -> Option<MemoryPacket> {
        let frame = match self.free.len() > BATCH {
            true => self.free.pop()?,
            false => return None,
        };
        Some(MemoryPacket {
            frame,
            start: 0,
            len: 0,
        })
    }

    fn release(&mut self, packet: MemoryPacket) {
        self.free.push(packet.frame);
    }

    fn levels(&self, socket: usize) -> RingLevels {
        let rings = &self.rings[socket];
        RingLevels {
            rx: rings.rx.len() as u32,
            tx: rings.tx.len() as u32,
            fill: rings.fill.len() as u32,
        }
    }

    fn free_frames(&self) -> u32 {
        self.free.len() as u32
    }

    fn statistics(&self, socket: usize) -> Option<KernelStatistics> {
        self.statistics_told.then(|| self.rings[socket].statistics)
    }

    fn sleep(&mut self, _timeout: Duration) {
        self.sleeps += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::{DeviceId, QueueId};

    fn port(frames: usize) -> MemoryPort {
        let place = |queue| Place {
            device: DeviceId(0),
            queue: QueueId(queue),
        };
        MemoryPort::new(frames, 4, vec![place(0), place(1)])
    }

    #[test]
    fn a_frame_goes_round_and_none_is_lost() {
        let mut port = port(32);
        let mut packets = Vec::new();
        for round in 0..20_u8 {
            port.tend(0);
            assert!(port.deliver(0, &[round; 60]));
            port.receive(0, &mut packets);
            assert_eq!(port.transmit(1, &mut packets), 1);
            port.kick(1);
            assert_eq!(port.take_sent(1), [vec![round; 60]]);
            port.tend(1);
            assert_eq!(port.census(), (0..32).collect::<Vec<_>>());
        }
    }

    #[test]
    fn full_rings_take_no_more() {
        let mut port = port(32);
        port.tend(0);
        let delivered = (0..9).filter(|_| port.deliver(0, &[1; 60])).count();
        assert_eq!((delivered, port.rings[0].statistics.rx_ring_full), (4, 5));
        let mut packets = Vec::new();
        port.receive(0, &mut packets);
        port.tend(0);
        assert!(port.deliver(0, &[2; 60]));
        port.receive(0, &mut packets);
        assert_eq!(port.transmit(1, &mut packets), 4);
        assert!(port.is_transmitting(1));
        for packet in packets {
            port.release(packet);
        }
        assert_eq!(port.census(), (0..32).collect::<Vec<_>>());
    }

    #[test]
    fn an_empty_fill_ring_loses_the_packet() {
        let mut port = port(1);
        port.tend(0);
        assert!(port.deliver(0, &[1; 60]));
        assert!(!port.deliver(0, &[1; 60]));
        assert_eq!(port.rings[0].statistics.fill_ring_empty, 1);
    }
}
