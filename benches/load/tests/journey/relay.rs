//! A relay over AF_XDP that is as simple as can be, does wrong on purpose, and counts what it did.
//!
//! It knows nothing of the tool's packets but their addresses, and computes every checksum anew.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use af_xdp::{
    AttachMode, BindMode, Device, Frame, Link, Program, RingSizes, Socket, SocketConfig, Umem,
    UmemConfig, wait,
};
use tandem_load::streams::Stream;

use crate::netns::Netns;

/// Each fault is done to one packet in so many.
const PERIOD: u64 = 100;
/// A packet that is to be late is held until so many others have passed, some of each flow among them.
const HELD_FOR: u64 = 90;
/// How long the wire may be silent before a held packet goes.
const SILENCE: Duration = Duration::from_millis(50);

/// What a relay can do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Lose,
    Double,
    Reorder,
    Corrupt,
    Checksum,
    Ttl,
    Address,
}

impl Fault {
    pub(crate) const ALL: [Self; 7] = [
        Self::Lose,
        Self::Double,
        Self::Reorder,
        Self::Corrupt,
        Self::Checksum,
        Self::Ttl,
        Self::Address,
    ];
}

/// What a relay did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Done {
    /// Packets that it received.
    pub(crate) relayed: u64,
    /// By the order of [`Fault::ALL`].
    pub(crate) faults: [u64; 7],
}

/// A relay on a thread of its own.
pub(crate) struct Relay {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Done>,
}

impl Relay {
    /// Starts it; it is ready when this returns.
    pub(crate) fn start(netns: &Netns, streams: &[Stream], faults: &[Fault]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (ready, is_ready) = mpsc::channel();
        let thread = thread::scope(|scope| {
            let (stop, streams, faults) = (stop.clone(), streams.to_vec(), faults.to_vec());
            // The namespace is entered where nothing else runs; the threads made there stay in it.
            let made = scope.spawn(move || {
                netns.enter("relay");
                thread::spawn(move || Path::open(&streams, faults, &ready).run(&stop))
            });
            made.join().unwrap()
        });
        is_ready.recv_timeout(Duration::from_secs(10)).unwrap();
        Self { stop, thread }
    }

    /// Ends it.
    pub(crate) fn stop(self) -> Done {
        self.stop.store(true, Ordering::Release);
        self.thread.join().unwrap()
    }
}

/// From where and to where packets leave that arrive at an address.
#[derive(Clone, Copy)]
struct Leg {
    out: usize,
    source: SocketAddr,
    destination: SocketAddr,
}

struct Side {
    socket: Socket,
    own: [u8; 6],
    peer: [u8; 6],
    _program: Program,
    _link: Link,
}

struct Path {
    umem: Umem,
    sides: Vec<Side>,
    legs: HashMap<SocketAddr, Leg>,
    faults: Vec<Fault>,
    held: Option<(u64, usize, Frame)>,
    done: Done,
}

fn v4(address: SocketAddr) -> [u8; 4] {
    match address.ip() {
        IpAddr::V4(address) => address.octets(),
        IpAddr::V6(_) => panic!("this relay is for IPv4"),
    }
}

impl Path {
    fn open(streams: &[Stream], faults: Vec<Fault>, ready: &mpsc::Sender<()>) -> Self {
        let config = SocketConfig {
            rings: RingSizes::balanced(1024),
            mode: BindMode::Copy,
            ..SocketConfig::default()
        };
        let mut umem = Umem::create(&UmemConfig {
            frame_count: 4 * config.rings.frames(),
            ..UmemConfig::default()
        })
        .unwrap();
        let mut legs = HashMap::new();
        for stream in streams {
            for (arrives, out, source, destination) in [
                (stream.relay_a, 1, stream.relay_b, stream.b),
                (stream.relay_b, 0, stream.relay_a, stream.a),
            ] {
                let leg = Leg {
                    out,
                    source,
                    destination,
                };
                legs.insert(arrives, leg);
            }
        }
        let sides = [("in0", [10, 1, 0, 1]), ("out0", [10, 2, 0, 1])].map(|(name, address)| {
            let device = Device::by_name(name).unwrap();
            let mut program = Program::load().unwrap();
            program
                .set_media_range(address.into(), 1024, 65_535)
                .unwrap();
            let link = program.attach(&device, AttachMode::Native).unwrap();
            let socket = Socket::open(&device, 0, &mut umem, &config).unwrap();
            program.register(&socket).unwrap();
            Side {
                socket,
                own: device.mac(),
                peer: [0; 6],
                _program: program,
                _link: link,
            }
        });
        ready.send(()).unwrap();
        Self {
            umem,
            sides: sides.into(),
            legs,
            faults,
            held: None,
            done: Done::default(),
        }
    }

    fn run(mut self, stop: &AtomicBool) -> Done {
        let mut batch = Vec::with_capacity(32);
        let mut active = Instant::now();
        while !stop.load(Ordering::Acquire) {
            let sockets = self.sides.iter().map(|side| side.socket.as_fd());
            wait(sockets, Some(Duration::from_millis(20))).unwrap();
            for side in 0..self.sides.len() {
                let socket = &mut self.sides[side].socket;
                socket.reclaim(&mut self.umem);
                socket.receive(&self.umem, &mut batch);
                if !batch.is_empty() {
                    active = Instant::now();
                }
                for frame in batch.drain(..) {
                    self.relay(side, frame);
                }
                self.sides[side].socket.refill(&mut self.umem);
            }
            let is_due =
                |number: u64| self.done.relayed > number + HELD_FOR || active.elapsed() > SILENCE;
            if let Some((_, out, frame)) = self.held.take_if(|(number, ..)| is_due(*number)) {
                self.send(out, frame);
            }
        }
        self.done
    }

    /// The fault that is due to the packet of that number, if it is among those that are to be done.
    fn fault(&self, number: u64) -> Option<Fault> {
        let turn = (number % PERIOD) as usize;
        let fault = turn.checked_sub(10).and_then(|turn| Fault::ALL.get(turn))?;
        self.faults.contains(fault).then_some(*fault)
    }

    fn relay(&mut self, side: usize, mut frame: Frame) {
        let number = self.done.relayed;
        let fault = self.fault(number);
        let start = frame.offset();
        let length = frame.len();
        let packet = &mut self.umem.chunk_mut(&mut frame)[start..start + length];
        let port = u16::from_be_bytes([packet[36], packet[37]]);
        let arrived = SocketAddr::from(([packet[30], packet[31], packet[32], packet[33]], port));
        let Some(leg) = self.legs.get(&arrived).copied() else {
            self.umem.free_frame(frame);
            return;
        };
        self.done.relayed += 1;
        self.sides[side].peer.copy_from_slice(&packet[6..12]);
        let out = &self.sides[leg.out];
        // Until its party has sent something a side does not know it: veth takes what is for nobody else.
        let peer = if out.peer == [0; 6] {
            party(leg.out)
        } else {
            out.peer
        };
        packet[..6].copy_from_slice(&peer);
        packet[6..12].copy_from_slice(&out.own);
        packet[26..30].copy_from_slice(&v4(leg.source));
        packet[30..34].copy_from_slice(&v4(leg.destination));
        let wrong = u16::from(fault == Some(Fault::Address));
        packet[34..36].copy_from_slice(&leg.source.port().wrapping_add(wrong).to_be_bytes());
        packet[36..38].copy_from_slice(&leg.destination.port().to_be_bytes());
        packet[22] = 64 - u8::from(fault == Some(Fault::Ttl));
        finish_checksums(packet);
        match fault {
            Some(Fault::Corrupt) => packet[length - 7] ^= 0x40,
            Some(Fault::Checksum) => packet[40] ^= 0x01,
            _ => {}
        }
        if let Some(index) = Fault::ALL.iter().position(|each| Some(*each) == fault) {
            self.done.faults[index] += 1;
        }
        match fault {
            Some(Fault::Lose) => self.umem.free_frame(frame),
            Some(Fault::Reorder) => {
                if let Some((_, out, held)) = self.held.replace((number, leg.out, frame)) {
                    self.send(out, held);
                }
            }
            Some(Fault::Double) => {
                let copy = self.copy(&frame);
                self.send(leg.out, frame);
                self.send(leg.out, copy);
            }
            _ => self.send(leg.out, frame),
        }
    }

    fn copy(&mut self, frame: &Frame) -> Frame {
        let packet = self.umem.packet(frame).to_vec();
        let mut copy = self.umem.take_frame().unwrap();
        let start = copy.offset();
        self.umem.chunk_mut(&mut copy)[start..start + packet.len()].copy_from_slice(&packet);
        self.umem.set_packet(&mut copy, start, packet.len());
        copy
    }

    fn send(&mut self, out: usize, frame: Frame) {
        let socket = &mut self.sides[out].socket;
        assert_eq!(socket.transmit(&mut vec![frame]), 1, "the TX ring has room");
        while socket.tx_pending() > 0 {
            socket.kick().unwrap();
            socket.reclaim(&mut self.umem);
        }
    }
}

/// The MAC address of the party behind a device, as the kernel knows it.
fn party(out: usize) -> [u8; 6] {
    let (device, address) = [("in0", "10.1.0.2"), ("out0", "10.2.0.2")][out];
    tandem_load::neighbours::next_hop(device, 'a', address.parse().unwrap())
        .unwrap()
        .0
}

/// Computes both checksums as RFC 1071 says it.
fn finish_checksums(packet: &mut [u8]) {
    packet[24..26].fill(0);
    let ip = !sum(&packet[14..34], 0);
    packet[24..26].copy_from_slice(&ip.to_be_bytes());
    packet[40..42].fill(0);
    let length = (packet.len() - 34) as u32;
    let pseudo = u32::from(sum(&packet[26..34], 17 + length));
    let udp = match !sum(&packet[34..], pseudo) {
        0 => 0xffff,
        udp => udp,
    };
    packet[40..42].copy_from_slice(&udp.to_be_bytes());
}

fn sum(bytes: &[u8], start: u32) -> u16 {
    let mut total = start;
    for pair in bytes.chunks(2) {
        total += u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low));
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}
