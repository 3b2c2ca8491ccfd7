//! [`crate::port::Port`] over AF_XDP: one UMEM, and the sockets that share it.
//!
//! Calls into the kernel are made here, a few for each batch; errors of running sockets (a device that
//! went down) are survived and said once, since the worker has other devices to serve.

use std::thread;
use std::time::Duration;

use af_xdp::{BindMode, Doorbell, Frame, Kick, Socket, Umem};
use std::os::fd::AsFd;
use tracing::{error, info, warn};

use crate::port::{BATCH, Frames, Place, Port, RingLevels};
use crate::report::KernelStatistics;

/// How many frames a socket owes its fill ring, or is owed by its completion ring, before the worker looks at
/// that ring. Each look moves a cache line that the kernel writes on another core, so one for each packet at a
/// time costs as much as the packet. Half a batch leaves the rings all but their whole depth.
const LAZY: u32 = 32;

/// A worker's UMEM and sockets.
#[derive(Debug)]
pub struct XskPort {
    umem: Umem,
    sockets: Vec<Socket>,
    debts: Vec<Debt>,
    places: Vec<Place>,
    /// The kernel copies packets to send them, so that their every byte is read on this core: asked for ahead, the
    /// misses overlap, where the kernel's copy would wait for each.
    copies: bool,
    /// By socket: its last kick failed, so that kicking again at once is of no use.
    stuck: Vec<bool>,
    bell: Doorbell,
}

/// What a socket's fill ring lacks, as far as we know.
#[derive(Clone, Copy, Debug)]
struct Debt {
    /// Frames received since the fill ring was last filled, and what was lacking then.
    fill: u32,
    /// How much is worth a look, of frames in flight as well.
    lazy: u32,
}

impl Debt {
    fn of(socket: &Socket) -> Self {
        let rings = socket.rings();
        Self {
            // It may come from another process, and lack anything.
            fill: rings.fill,
            // Never so much of a small ring that the kernel runs short.
            lazy: LAZY.min(rings.fill / 4).min(rings.completion / 4),
        }
    }
}

impl XskPort {
    /// A port over bound sockets, each with its place. Ringing `bell` ends a sleep.
    pub fn new(umem: Umem, sockets: Vec<(Place, Socket)>, bell: Doorbell) -> Self {
        let (places, sockets): (Vec<_>, Vec<_>) = sockets.into_iter().unzip();
        Self {
            copies: sockets.iter().any(|socket| socket.mode() == BindMode::Copy),
            stuck: vec![false; sockets.len()],
            debts: sockets.iter().map(Debt::of).collect(),
            umem,
            sockets,
            places,
            bell,
        }
    }

    fn reclaim(&mut self, socket: usize) {
        self.sockets[socket].reclaim(&mut self.umem);
    }

    /// Fills the fill ring up; frames that are sent by now count as free.
    fn refill(&mut self, socket: usize) {
        if self.umem.free_count() < self.debts[socket].fill {
            for socket in 0..self.sockets.len() {
                self.reclaim(socket);
            }
        }
        let refilled = &mut self.sockets[socket];
        refilled.refill(&mut self.umem);
        let filled = refilled.levels().fill;
        self.debts[socket].fill = refilled.fill_depth().saturating_sub(filled);
    }
}

impl XskPort {
    /// Its sockets, with their places.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = (Place, &Socket)> {
        self.places.iter().copied().zip(&self.sockets)
    }
}

impl Frames for XskPort {
    type Packet = Frame;

    #[inline]
    fn frame_mut<'a>(&'a mut self, packet: &'a mut Frame) -> (&'a mut [u8], usize, usize) {
        let (start, len) = (packet.offset(), packet.len());
        (self.umem.chunk_mut(packet), start, len)
    }

    #[inline]
    fn packet_mut<'a>(&'a mut self, packet: &'a mut Frame) -> (&'a mut [u8], usize) {
        let start = packet.offset();
        (self.umem.packet_mut(packet), start)
    }

    #[inline]
    fn prefetch(&self, packet: &Frame) {
        if self.copies {
            self.umem.prefetch_packet(packet);
        } else {
            self.umem.prefetch(packet);
        }
    }

    #[inline]
    fn len_of(&self, packet: &Frame) -> usize {
        packet.len()
    }

    #[inline]
    fn set_extent(&mut self, packet: &mut Frame, start: usize, len: usize) {
        self.umem.set_packet(packet, start, len);
    }
}

impl Port for XskPort {
    fn places(&self) -> &[Place] {
        &self.places
    }

    fn tend(&mut self, socket: usize) {
        if self.stuck[socket] {
            self.kick(socket);
        }
        let Debt { fill, lazy } = self.debts[socket];
        if self.sockets[socket].in_flight() >= lazy {
            self.reclaim(socket);
        }
        if fill >= lazy {
            self.refill(socket);
        }
        let socket = &mut self.sockets[socket];
        if socket.rx_needs_wakeup() {
            // Fails only with the device; the TX side, or the statistics, then tell.
            let _ = socket.wake_rx();
        }
    }

    fn receive(&mut self, socket: usize, packets: &mut Vec<Frame>) {
        let received = self.sockets[socket].receive(&self.umem, packets);
        self.debts[socket].fill += received as u32;
    }

    fn transmit(&mut self, socket: usize, packets: &mut Vec<Frame>) -> usize {
        self.sockets[socket].transmit(packets)
    }

    fn kick(&mut self, at: usize) {
        let stuck = &mut self.stuck[at];
        let socket = &mut self.sockets[at];
        if socket.tx_pending() == 0 || !socket.tx_needs_wakeup() {
            return;
        }
        match socket.kick() {
            Ok(Kick::Done | Kick::Again) if *stuck => {
                info!("{} queue {} sends again", socket.device(), socket.queue());
                *stuck = false;
            }
            Ok(Kick::Done) => {}
            // The completion ring may be what is full.
            Ok(Kick::Again) => self.reclaim(at),
            Err(error) if !*stuck => {
                warn!("{error}");
                *stuck = true;
            }
            Err(_) => {}
        }
    }

    fn is_transmitting(&self, socket: usize) -> bool {
        !self.stuck[socket] && self.sockets[socket].tx_pending() > 0
    }

    fn take(&mut self) -> Option<Frame> {
        match self.umem.free_count() as usize > BATCH {
            true => self.umem.take_frame(),
            false => None,
        }
    }

    fn release(&mut self, packet: Frame) {
        self.umem.free_frame(packet);
    }

    #[inline]
    fn levels(&self, socket: usize) -> RingLevels {
        let levels = self.sockets[socket].levels();
        RingLevels {
            rx: levels.rx,
            tx: levels.tx,
            fill: levels.fill,
        }
    }

    fn free_frames(&self) -> u32 {
        self.umem.free_count()
    }

    fn statistics(&self, socket: usize) -> Option<KernelStatistics> {
        let kernel = self.sockets[socket].statistics().ok()?;
        Some(KernelStatistics {
            rx_dropped: kernel.rx_dropped,
            rx_ring_full: kernel.rx_ring_full,
            fill_ring_empty: kernel.fill_ring_empty,
            rx_invalid_descriptors: kernel.rx_invalid_descriptors,
            tx_invalid_descriptors: kernel.tx_invalid_descriptors,
            tx_ring_empty: kernel.tx_ring_empty,
        })
    }

    fn sleep(&mut self, timeout: Duration) {
        // Who wakes up to a burst shall have every frame in place.
        for socket in 0..self.sockets.len() {
            self.reclaim(socket);
        }
        for socket in 0..self.sockets.len() {
            self.refill(socket);
        }
        let sockets = self.sockets.iter().map(AsFd::as_fd);
        let watched = sockets.chain([self.bell.as_fd()]);
        if let Err(error) = af_xdp::wait(watched, Some(timeout)) {
            error!("{error}");
            thread::sleep(timeout);
        }
        self.bell.clear();
    }
}
