//! [`crate::port::Port`] over AF_XDP: one UMEM, and the sockets that share it.
//!
//! Calls into the kernel are made here, a few for each batch; errors of running sockets (a device that
//! went down) are survived and said once, since the worker has other devices to serve.

use std::thread;
use std::time::Duration;

use af_xdp::{Doorbell, Frame, Kick, Socket, Umem};
use std::os::fd::AsFd;
use tracing::{error, info, warn};

use crate::port::{Frames, Place, Port, RingLevels};
use crate::report::KernelStatistics;

/// A worker's UMEM and sockets.
#[derive(Debug)]
pub struct XskPort {
    umem: Umem,
    sockets: Vec<Socket>,
    places: Vec<Place>,
    /// By socket: its last kick failed, so that kicking again at once is of no use.
    stuck: Vec<bool>,
    bell: Doorbell,
}

impl XskPort {
    /// A port over bound sockets, each with its place. Ringing `bell` ends a sleep.
    pub fn new(umem: Umem, sockets: Vec<(Place, Socket)>, bell: Doorbell) -> Self {
        let (places, sockets): (Vec<_>, Vec<_>) = sockets.into_iter().unzip();
        Self {
            stuck: vec![false; sockets.len()],
            umem,
            sockets,
            places,
            bell,
        }
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
    fn prefetch(&self, packet: &Frame) {
        self.umem.prefetch(packet);
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
        let socket = &mut self.sockets[socket];
        socket.reclaim(&mut self.umem);
        socket.refill(&mut self.umem);
        if socket.rx_needs_wakeup() {
            // Fails only with the device; the TX side, or the statistics, then tell.
            let _ = socket.wake_rx();
        }
    }

    fn receive(&mut self, socket: usize, packets: &mut Vec<Frame>) {
        self.sockets[socket].receive(&self.umem, packets);
    }

    fn transmit(&mut self, socket: usize, packets: &mut Vec<Frame>) -> usize {
        self.sockets[socket].transmit(packets)
    }

    fn kick(&mut self, socket: usize) {
        let stuck = &mut self.stuck[socket];
        let socket = &mut self.sockets[socket];
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
            Ok(Kick::Again) => {
                socket.reclaim(&mut self.umem);
            }
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
        let sockets = self.sockets.iter().map(AsFd::as_fd);
        let watched = sockets.chain([self.bell.as_fd()]);
        if let Err(error) = af_xdp::wait(watched, Some(timeout)) {
            error!("{error}");
            thread::sleep(timeout);
        }
        self.bell.clear();
    }
}
