//! [`Wire`] over AF_XDP: the devices with their XDP programs, and for each thread a UMEM and its sockets.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use af_xdp::{
    AttachMode, BindMode, Device, Error, Frame, Kick, Link, Program, RingSizes, Socket,
    SocketConfig, Umem, UmemConfig,
};

use super::wire::Wire;
use crate::cli::{DeviceQueues, XdpMode};
use crate::packet::Side;

/// Frames looked at between two batches of a side.
const RECEIVE_BATCH: usize = 64;
/// How often a batch is kicked before what is left waits for the next turn. In copy mode one kick sends all of a
/// batch; a driver that is busy is not waited for.
const KICKS: usize = 16;
/// How many frames ahead of its turn a frame is asked for from the cache. Another core has just written it: with 8 the
/// misses of some 30 lines overlap, which is what a core can have outstanding; with more they wait for each other.
const PREFETCH: usize = 8;
/// The longest packet with two VLAN tags is 1,470 bytes, behind 256 of headroom. Frames of 4096 bytes would lie in half
/// as many sets of the caches.
const FRAME_SIZE: u32 = 2048;

/// A clock that all threads share.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// One that starts at 0 now.
    pub fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    /// Nanoseconds since it was started.
    #[inline]
    pub fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }
}

/// What to open.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    /// A's device and B's.
    pub devices: [&'a DeviceQueues; 2],
    /// How frames reach the tool.
    pub mode: XdpMode,
    /// Threads; the queues are dealt out to them in turn.
    pub threads: usize,
    /// The depth of the rings.
    pub ring: u32,
    /// Packets handed to the kernel at a time.
    pub batch: u32,
    /// Whose media is taken from the kernel.
    pub parties: &'a [(Side, SocketAddr)],
}

/// A device whose media comes to the tool, for as long as it lives.
pub struct OpenDevice {
    /// The device.
    pub device: Device,
    /// `zero-copy`, `copy` or `generic`.
    pub mode: &'static str,
    program: Program,
    _link: Link,
}

/// Everything that was opened.
pub struct Opened {
    /// A's device and B's; one when they are the same.
    pub devices: Vec<OpenDevice>,
    /// One for each thread.
    pub wires: Vec<XskWire>,
}

/// Opens devices and sockets.
pub fn open(opening: &Opening<'_>, clock: Clock) -> Result<Opened, Error> {
    let mut devices = Vec::new();
    for side in Side::BOTH {
        let wanted = opening.devices[side.index()];
        if side == Side::B && wanted.name == opening.devices[0].name {
            break;
        }
        devices.push(open_device(wanted, opening)?);
    }
    let copy = opening.mode == XdpMode::Copy || devices.iter().any(|device| device.mode == GENERIC);
    let first = if copy {
        BindMode::Copy
    } else {
        BindMode::ZeroCopy
    };
    let wires = match open_wires(opening, &mut devices, first, clock) {
        Err(Error::NoZeroCopy { .. }) if opening.mode == XdpMode::Best => {
            open_wires(opening, &mut devices, BindMode::Copy, clock)?
        }
        opened => opened?,
    };
    Ok(Opened { devices, wires })
}

const GENERIC: &str = "generic";

fn open_device(wanted: &DeviceQueues, opening: &Opening<'_>) -> Result<OpenDevice, Error> {
    let device = Device::by_name(&wanted.name)?;
    let mut program = Program::load()?;
    for (address, (first, last)) in ranges(opening, &wanted.name) {
        program.set_media_range(address, first, last)?;
    }
    let generic = |program: &mut Program| program.attach(&device, AttachMode::Generic);
    let (mode, link) = match opening.mode {
        XdpMode::Generic => (GENERIC, generic(&mut program)?),
        wanted => match program.attach(&device, AttachMode::Native) {
            Err(Error::NoNativeXdp { .. } | Error::NativeRefused { .. })
                if wanted == XdpMode::Best =>
            {
                (GENERIC, generic(&mut program)?)
            }
            attached => ("", attached?),
        },
    };
    Ok(OpenDevice {
        device,
        mode,
        program,
        _link: link,
    })
}

/// The parties' addresses behind a device, each with the ports from its lowest to its highest.
fn ranges(opening: &Opening<'_>, device: &str) -> BTreeMap<IpAddr, (u16, u16)> {
    let mut ranges = BTreeMap::new();
    let mut widen = |party: SocketAddr| {
        let range = ranges
            .entry(party.ip())
            .or_insert((party.port(), party.port()));
        range.0 = range.0.min(party.port());
        range.1 = range.1.max(party.port());
    };
    for (side, party) in opening.parties {
        if opening.devices[side.index()].name == device {
            widen(*party);
        }
    }
    ranges
}

fn open_wires(
    opening: &Opening<'_>,
    devices: &mut [OpenDevice],
    mode: BindMode,
    clock: Clock,
) -> Result<Vec<XskWire>, Error> {
    let config = SocketConfig {
        rings: RingSizes::balanced(opening.ring),
        mode,
        tx_budget: Some(opening.batch.max(32)),
        ..SocketConfig::default()
    };
    let mut wires = Vec::with_capacity(opening.threads);
    for thread in 0..opening.threads {
        // The queues of a thread, by device.
        let queues: Vec<Vec<u32>> = (0..devices.len())
            .map(|device| {
                let all = &opening.devices[device].queues;
                all.iter()
                    .copied()
                    .skip(thread)
                    .step_by(opening.threads)
                    .collect()
            })
            .collect();
        let sockets = queues.iter().map(Vec::len).sum::<usize>() as u32;
        let mut umem = Umem::create(&UmemConfig {
            frame_count: sockets * config.rings.frames(),
            frame_size: FRAME_SIZE,
            ..UmemConfig::default()
        })?;
        let mut sides = Vec::with_capacity(devices.len());
        for (open, queues) in devices.iter_mut().zip(&queues) {
            let mut sockets = Vec::with_capacity(queues.len());
            for queue in queues {
                let socket = Socket::open(&open.device, *queue, &mut umem, &config)?;
                open.program.register(&socket)?;
                if open.mode != GENERIC {
                    open.mode = socket.mode().name();
                }
                sockets.push(socket);
            }
            sides.push(Queues { sockets, next: 0 });
        }
        wires.push(XskWire {
            clock,
            umem,
            devices: sides,
            received: Vec::with_capacity(RECEIVE_BATCH),
            outgoing: Vec::with_capacity(opening.batch as usize),
        });
    }
    Ok(wires)
}

/// A thread's sockets of a device, taken in turn.
struct Queues {
    sockets: Vec<Socket>,
    next: usize,
}

impl Queues {
    #[inline]
    fn next(&mut self) -> &mut Socket {
        self.next = (self.next + 1) % self.sockets.len();
        &mut self.sockets[self.next]
    }
}

/// A thread's sockets and the memory that they share.
pub struct XskWire {
    clock: Clock,
    umem: Umem,
    /// A's and B's; one when they are the same.
    devices: Vec<Queues>,
    received: Vec<Frame>,
    outgoing: Vec<Frame>,
}

impl Wire for XskWire {
    type Error = Error;

    #[inline]
    fn now(&mut self) -> u64 {
        self.clock.now()
    }

    #[inline]
    fn send(
        &mut self,
        side: Side,
        count: usize,
        mut write: impl FnMut(&mut [u8]) -> usize,
    ) -> Result<usize, Error> {
        let device = side.index().min(self.devices.len() - 1);
        let socket = self.devices[device].next();
        socket.reclaim(&mut self.umem);
        let room = (socket.rings().tx - socket.tx_pending()) as usize;
        for _ in 0..count.min(room) {
            let Some(mut frame) = self.umem.take_frame() else {
                break;
            };
            let start = frame.offset();
            let length = write(&mut self.umem.chunk_mut(&mut frame)[start..]);
            self.umem.set_packet(&mut frame, start, length);
            self.outgoing.push(frame);
        }
        let sent = socket.transmit(&mut self.outgoing);
        debug_assert!(self.outgoing.is_empty(), "there was room");
        kick(socket)?;
        Ok(sent)
    }

    #[inline]
    fn receive(&mut self, side: Side, mut see: impl FnMut(&[u8])) -> Result<usize, Error> {
        let Some(device) = self.devices.get_mut(side.index()) else {
            // The same device as A's, which has shown it all.
            return Ok(0);
        };
        let mut count = 0;
        for socket in &mut device.sockets {
            socket.receive(&self.umem, &mut self.received);
            if self.received.is_empty() {
                continue;
            }
            count += self.received.len();
            for frame in self.received.iter().take(PREFETCH) {
                self.umem.prefetch_packet(frame);
            }
            for (index, frame) in self.received.iter().enumerate() {
                if let Some(ahead) = self.received.get(index + PREFETCH) {
                    self.umem.prefetch_packet(ahead);
                }
                see(self.umem.packet(frame));
            }
            for frame in self.received.drain(..) {
                self.umem.free_frame(frame);
            }
            socket.refill(&mut self.umem);
        }
        Ok(count)
    }

    #[inline]
    fn tend(&mut self) -> Result<(), Error> {
        for socket in self
            .devices
            .iter_mut()
            .flat_map(|device| &mut device.sockets)
        {
            if socket.tx_pending() > 0 {
                kick(socket)?;
            }
            socket.reclaim(&mut self.umem);
            socket.refill(&mut self.umem);
            if socket.rx_needs_wakeup() {
                socket.wake_rx()?;
            }
        }
        Ok(())
    }

    fn own_drops(&mut self) -> Result<u64, Error> {
        let mut sum = 0;
        for socket in self.devices.iter().flat_map(|device| &device.sockets) {
            // An empty fill ring is among `rx_dropped`.
            let statistics = socket.statistics()?;
            sum += statistics.rx_dropped + statistics.rx_ring_full;
        }
        Ok(sum)
    }
}

/// Makes the kernel send what is on the TX ring.
#[inline]
fn kick(socket: &mut Socket) -> Result<(), Error> {
    for _ in 0..KICKS {
        if socket.tx_pending() == 0 || !socket.tx_needs_wakeup() {
            break;
        }
        if socket.kick()? == Kick::Again && socket.mode() == BindMode::ZeroCopy {
            break;
        }
    }
    Ok(())
}
