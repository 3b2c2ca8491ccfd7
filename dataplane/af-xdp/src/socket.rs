//! AF_XDP sockets: one for each (device, queue), several on one UMEM.
//!
//! Receiving, transmitting, refilling and reclaiming take batches, allocate nothing and make no system
//! call. Calls into the kernel are the caller's decision, by batch: [`Socket::kick`] for TX,
//! [`Socket::wake_rx`] for RX, when [`Socket::tx_needs_wakeup`] and [`Socket::rx_needs_wakeup`] say so.
//!
//! Which frame goes where is decided elsewhere; no packet is looked into here.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;
use std::sync::Arc;

use crate::Error;
use crate::device::Device;
use crate::frame::Frame;
use crate::options;
use crate::ring::{Consumer, Producer};
use crate::setup;
use crate::umem::{Bound, Umem, UmemId};

/// How frames pass between the driver and the UMEM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BindMode {
    /// The driver's DMA reads and writes the UMEM.
    ZeroCopy,
    /// The kernel copies each frame. Works with every driver.
    Copy,
}

impl BindMode {
    /// The mode's name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ZeroCopy => "zero-copy",
            Self::Copy => "copy",
        }
    }
}

impl fmt::Display for BindMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The depths of a socket's four rings, in entries; powers of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingSizes {
    /// Received packets that wait for us. At least as deep as the fill ring if a stalled process shall
    /// lose nothing before its fill ring runs dry.
    pub rx: u32,
    /// Packets that wait for the kernel.
    pub tx: u32,
    /// Frames that the kernel may receive into: how long the process may stall.
    pub fill: u32,
    /// Sent frames that wait for us; at least as deep as the TX ring.
    pub completion: u32,
}

/// The least that the fill ring holds beyond the RX ring, in frames: a batch, and again.
const LEAST_MARGIN: u32 = 128;

impl RingSizes {
    /// RX, TX and completion rings of `size`, and a fill ring with room for twice as many: how much of it is used
    /// [`Socket::fill_depth`] says.
    pub const fn balanced(size: u32) -> Self {
        Self {
            rx: size,
            tx: size,
            fill: size * 2,
            completion: size,
        }
    }

    /// The most frames that one socket can hold at a time, those in the kernel included.
    pub const fn frames(&self) -> u32 {
        self.rx + self.tx + self.fill + self.completion
    }

    /// See [`Socket::fill_depth`]. The margin, an eighth or [`LEAST_MARGIN`], is for frames that are received and not yet
    /// made up for: with too little of it, a full RX ring would be counted as a want of frames.
    pub(crate) const fn fill_depth(&self, mode: BindMode) -> u32 {
        let margin = if self.rx / 8 > LEAST_MARGIN {
            self.rx / 8
        } else {
            LEAST_MARGIN
        };
        match mode {
            BindMode::Copy if self.rx + margin < self.fill => self.rx + margin,
            _ => self.fill,
        }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        const MAX_RING: u32 = 1 << 20;
        for (name, size) in [
            ("RX", self.rx),
            ("TX", self.tx),
            ("fill", self.fill),
            ("completion", self.completion),
        ] {
            if !size.is_power_of_two() || size > MAX_RING {
                return Err(Error::Geometry(format!(
                    "the {name} ring's size must be a power of two up to {MAX_RING}, not {size}"
                )));
            }
        }
        Ok(())
    }
}

/// Busy polling: the process drives the driver's NAPI poll from its own core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusyPoll {
    /// `SO_BUSY_POLL`: how long one call may poll, in microseconds.
    pub usecs: u32,
    /// `SO_BUSY_POLL_BUDGET`: packets a poll.
    pub budget: u16,
    /// `SO_PREFER_BUSY_POLL`: interrupts stay off while the process polls (needs the device's
    /// `napi_defer_hard_irqs` and `gro_flush_timeout`).
    pub prefer: bool,
}

/// What a socket is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketConfig {
    /// The depths of its rings.
    pub rings: RingSizes,
    /// Taken at its word: the kernel never falls back by itself.
    pub mode: BindMode,
    /// `XDP_USE_NEED_WAKEUP`: the kernel says in the ring when it wants to be called. The first socket of a
    /// UMEM decides for all of them.
    pub need_wakeup: bool,
    /// `None`: interrupts.
    pub busy_poll: Option<BusyPoll>,
    /// `XDP_MAX_TX_SKB_BUDGET` (Linux 6.17): packets that one [`Socket::kick`] sends at the most in copy mode,
    /// instead of 32. `None` leaves the default; [`Socket::tx_budget`] says what is in force.
    pub tx_budget: Option<u32>,
}

impl Default for SocketConfig {
    fn default() -> Self {
        Self {
            rings: RingSizes::balanced(1024),
            mode: BindMode::Copy,
            need_wakeup: true,
            busy_poll: None,
            tx_budget: None,
        }
    }
}

/// The kernel's counters of one socket (`XDP_STATISTICS`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Received frames dropped for other reasons than the next ones.
    pub rx_dropped: u64,
    /// Fill ring entries that name no frame.
    pub rx_invalid_descriptors: u64,
    /// TX ring entries that name no frame, or more than fits in one.
    pub tx_invalid_descriptors: u64,
    /// Received frames dropped because the RX ring was full.
    pub rx_ring_full: u64,
    /// Received frames dropped because the fill ring was empty.
    pub fill_ring_empty: u64,
    /// How often the kernel looked for a frame to send and found none.
    pub tx_ring_empty: u64,
}

/// How full a socket's rings are, in entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingLevels {
    /// Received packets that wait for us.
    pub rx: u32,
    /// Packets that wait for the kernel.
    pub tx: u32,
    /// Frames that the kernel may receive into.
    pub fill: u32,
}

/// What a [`Socket::kick`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kick {
    /// The kernel took what there was, or will.
    Done,
    /// The kernel stopped early (its budget, its buffers, the driver's queue): reclaim, and kick again.
    Again,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Descriptor {
    pub(crate) address: u64,
    pub(crate) length: u32,
    pub(crate) options: u32,
}

/// A bound AF_XDP socket and its four rings.
///
/// It belongs to the thread that owns its UMEM. The frames in its rings are lost to the UMEM when it is
/// dropped: it is meant to live as long.
pub struct Socket {
    // Declared before the mappings that they point into, so dropped before them.
    rx: Consumer<Descriptor>,
    tx: Producer<Descriptor>,
    fill: Producer<u64>,
    completion: Consumer<u64>,
    // Kept for their Drop.
    _mappings: [crate::mapping::Mapping; 4],
    fd: Arc<OwnedFd>,
    umem: UmemId,
    /// Where the UMEM's first frame starts.
    frames: usize,
    /// log2 of the frame size.
    frame_shift: u32,
    need_wakeup: bool,
    busy_polls: bool,
    rings: RingSizes,
    fill_depth: u32,
    mode: BindMode,
    tx_budget: Option<u32>,
    device: Box<str>,
    queue: u32,
}

/// What [`crate::setup`] hands over.
pub(crate) struct Parts {
    pub(crate) fd: Arc<OwnedFd>,
    pub(crate) rings: setup::Rings,
    pub(crate) sizes: RingSizes,
    pub(crate) mode: BindMode,
    pub(crate) need_wakeup: bool,
    pub(crate) busy_polls: bool,
    pub(crate) tx_budget: Option<u32>,
}

impl Socket {
    /// Makes a socket on a queue of a device, fills its fill ring from the UMEM and binds it.
    ///
    /// The UMEM's first socket registers it with the kernel and fixes the mode and `need_wakeup`; later
    /// ones, on any device and queue, share it (`XDP_SHARED_UMEM`). On an error the UMEM's frames are back.
    pub fn open(
        device: &Device,
        queue: u32,
        umem: &mut Umem,
        config: &SocketConfig,
    ) -> Result<Self, Error> {
        let parts = setup::open(device, queue, umem, config)?;
        Ok(Self::assemble(device, queue, umem, parts))
    }

    /// Takes over a bound socket of another process, given its file descriptor, after its UMEM has been claimed.
    ///
    /// Nothing in its rings is touched: receiving, transmitting and the rest go on where the predecessor
    /// stopped.
    pub fn adopt(fd: OwnedFd, device: &Device, queue: u32, umem: &mut Umem) -> Result<Self, Error> {
        let parts = setup::adopt(fd, device, queue, umem)?;
        Ok(Self::assemble(device, queue, umem, parts))
    }

    fn assemble(device: &Device, queue: u32, umem: &mut Umem, parts: Parts) -> Self {
        umem.bound.retain(|socket| socket.fd.strong_count() > 0);
        umem.bound.push(Bound {
            ifindex: device.ifindex(),
            queue,
            fd: Arc::downgrade(&parts.fd),
        });
        umem.mode = Some((parts.mode, parts.need_wakeup));
        let setup::Rings {
            rx,
            tx,
            fill,
            completion,
            mappings,
        } = parts.rings;
        Self {
            rx,
            tx,
            fill,
            completion,
            _mappings: mappings,
            fd: parts.fd,
            umem: umem.id(),
            frames: umem.span().start,
            frame_shift: umem.frame_size().trailing_zeros(),
            need_wakeup: parts.need_wakeup,
            busy_polls: parts.busy_polls,
            fill_depth: parts.sizes.fill_depth(parts.mode),
            rings: parts.sizes,
            mode: parts.mode,
            tx_budget: parts.tx_budget,
            device: device.name().into(),
            queue,
        }
    }

    /// Moves received packets to `batch`, oldest first, as many as it has spare capacity for. Says how many.
    #[inline]
    pub fn receive(&mut self, umem: &Umem, batch: &mut Vec<Frame>) -> usize {
        self.check(umem);
        let spare = batch.capacity() - batch.len();
        let (shift, mask) = (self.frame_shift, umem.frame_size() as u64 - 1);
        let most = u32::try_from(spare).unwrap_or(u32::MAX);
        let received = self.rx.consume(most, |descriptor| {
            let index = (descriptor.address >> shift) as u32;
            let offset = (descriptor.address & mask) as u16;
            batch.push(umem.frame_at(index, offset, descriptor.length as u16));
        });
        received as usize
    }

    /// Puts frames from the front of `frames` on the TX ring, as many as fit, and says how many; the others
    /// stay. The kernel may wait for a [`Socket::kick`] before it sends.
    ///
    /// # Panics
    /// When a frame is another UMEM's.
    #[inline]
    pub fn transmit(&mut self, frames: &mut Vec<Frame>) -> usize {
        let wanted = u32::try_from(frames.len()).unwrap_or(u32::MAX);
        let accepted = self.tx.room(wanted).min(wanted);
        let (umem, start) = (self.umem, self.frames);
        let mut accepted_frames = frames.drain(..accepted as usize);
        self.tx.produce(accepted, || {
            let frame = accepted_frames.next()?;
            assert!(frame.umem == umem, "a frame of another UMEM");
            Some(Descriptor {
                address: (frame.start - start) as u64 + u64::from(frame.offset),
                length: u32::from(frame.length),
                options: 0,
            })
        }) as usize
    }

    /// Puts free frames on the fill ring until [`Socket::fill_depth`] wait there or none is free. Says how many.
    #[inline]
    pub fn refill(&mut self, umem: &mut Umem) -> usize {
        self.check(umem);
        let shift = self.frame_shift;
        let waiting = self.rings.fill - self.fill.room(self.rings.fill);
        let missing = self.fill_depth.saturating_sub(waiting);
        self.fill.produce(missing, || {
            umem.pop().map(|index| u64::from(index) << shift)
        }) as usize
    }

    /// How many frames the fill ring is kept at. In zero-copy mode all that it takes, since the driver moves them on to a
    /// ring of its own. In copy mode a little more than the RX ring: a frame is taken for a packet that has arrived, so
    /// what is beyond is never used, and as the kernel takes the frames in turn, every one of them is the colder for it.
    #[inline]
    pub fn fill_depth(&self) -> u32 {
        self.fill_depth
    }

    /// Frees the frames that the kernel has sent. Says how many.
    #[inline]
    pub fn reclaim(&mut self, umem: &mut Umem) -> usize {
        self.check(umem);
        let shift = self.frame_shift;
        self.completion.consume(self.rings.completion, |address| {
            umem.push((address >> shift) as u32)
        }) as usize
    }

    /// Whether the kernel wants a [`Socket::kick`] before it sends what is on the TX ring. In copy mode it
    /// always does.
    #[inline]
    pub fn tx_needs_wakeup(&self) -> bool {
        !self.need_wakeup || self.tx.needs_wakeup()
    }

    /// Whether the kernel wants a call ([`Socket::wake_rx`] or a poll) before it looks at the fill ring again.
    /// When busy polling it always does: the driver is polled in that call.
    #[inline]
    pub fn rx_needs_wakeup(&self) -> bool {
        self.busy_polls || self.need_wakeup && self.fill.needs_wakeup()
    }

    /// Packets on the TX ring that the kernel has not taken yet. Never sleep while there are some: one kick
    /// sends a bounded number.
    #[inline]
    pub fn tx_pending(&self) -> u32 {
        self.tx.pending()
    }

    /// How full the rings are: TX now, RX and fill as they were when receiving and refilling last looked, so that
    /// asking costs no cache line that the kernel writes to meanwhile.
    #[inline]
    pub fn levels(&self) -> RingLevels {
        RingLevels {
            rx: self.rx.known_waiting(),
            tx: self.tx.pending(),
            fill: self.fill.known_pending(),
        }
    }

    /// Packets handed to the kernel whose frames have not been reclaimed. Costs no look at shared memory.
    #[inline]
    pub fn in_flight(&self) -> u32 {
        // Each descriptor sent comes back as one entry of the completion ring.
        self.tx.index().wrapping_sub(self.completion.index())
    }

    /// Makes the kernel send: one `sendto`.
    pub fn kick(&mut self) -> Result<Kick, Error> {
        // SAFETY: no buffer, no address; a plain call on our own descriptor.
        let sent = unsafe {
            libc::sendto(
                self.fd.as_raw_fd(),
                ptr::null(),
                0,
                libc::MSG_DONTWAIT,
                ptr::null(),
                0,
            )
        };
        self.woken("sendto(AF_XDP)", sent)
    }

    /// Makes the kernel look at the fill ring, and poll the driver when busy polling: one `recvfrom`.
    pub fn wake_rx(&mut self) -> Result<Kick, Error> {
        // SAFETY: as in `kick`.
        let received = unsafe {
            libc::recvfrom(
                self.fd.as_raw_fd(),
                ptr::null_mut(),
                0,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        self.woken("recvfrom(AF_XDP)", received)
    }

    fn woken(&self, call: &'static str, result: isize) -> Result<Kick, Error> {
        if result >= 0 {
            return Ok(Kick::Done);
        }
        let source = io::Error::last_os_error();
        match source.raw_os_error() {
            Some(libc::EAGAIN | libc::EBUSY | libc::ENOBUFS | libc::EINTR) => Ok(Kick::Again),
            Some(libc::ENETDOWN) => Err(Error::DeviceDown {
                device: self.device.to_string(),
                queue: self.queue,
            }),
            _ => Err(Error::System {
                call,
                device: Some(self.device.to_string()),
                queue: Some(self.queue),
                source,
            }),
        }
    }

    /// The kernel's counters.
    pub fn statistics(&self) -> Result<Statistics, Error> {
        options::statistics(self.fd.as_fd()).map_err(|source| Error::System {
            call: "getsockopt(XDP_STATISTICS)",
            device: Some(self.device.to_string()),
            queue: Some(self.queue),
            source,
        })
    }

    /// The mode that the kernel says is in force (`XDP_OPTIONS`).
    pub fn mode(&self) -> BindMode {
        self.mode
    }

    /// Whether the kernel says in the rings when it wants to be called (`XDP_USE_NEED_WAKEUP`).
    pub fn uses_need_wakeup(&self) -> bool {
        self.need_wakeup
    }

    /// Whether it was opened for busy polling, or adopted with `SO_BUSY_POLL` set.
    pub fn busy_polls(&self) -> bool {
        self.busy_polls
    }

    /// The id of the queue's NAPI as the kernel knows it for this socket (`SO_INCOMING_NAPI_ID`). Without one nobody can
    /// busy poll: since Linux 6.14 the kernel asks the driver for it at the bind, and a driver that has not told it
    /// (`netif_queue_set_napi`; veth up to 6.18 at least) never will. Older kernels know it after the first packet.
    pub fn napi_id(&self) -> Option<u32> {
        options::napi_id(self.fd.as_fd()).ok().flatten()
    }

    /// Packets that one kick sends at the most, when the kernel lets it be chosen and it was.
    pub fn tx_budget(&self) -> Option<u32> {
        self.tx_budget
    }

    /// The depths of its rings.
    pub fn rings(&self) -> RingSizes {
        self.rings
    }

    /// The device's name.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// The queue that it is bound to.
    pub fn queue(&self) -> u32 {
        self.queue
    }

    #[inline]
    fn check(&self, umem: &Umem) {
        assert!(umem.id() == self.umem, "the UMEM of another socket");
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("device", &self.device)
            .field("queue", &self.queue)
            .field("mode", &self.mode)
            .field("rings", &self.rings)
            .finish_non_exhaustive()
    }
}
