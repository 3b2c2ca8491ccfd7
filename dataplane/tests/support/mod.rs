//! Packets made and taken apart by the book, without a line of the code under test, and a worker over
//! memory to send them through.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test binary uses its part; a failed unwrap fails the test"
)]

pub mod netns;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use contract::*;
use dataplane::injection::Services;
use dataplane::mailbox::Mailbox;
use dataplane::memory_port::MemoryPort;
use dataplane::pipeline::{Origin, Pipeline};
use dataplane::port::Place;
use dataplane::settings::{MediaAddress, ReceivedChecksums};
use dataplane::tally::{FlowTallies, WorkerTally};
use dataplane::tap::TapReader;
use dataplane::worker::{Polled, Shared, Worker};

/// A UDP packet on an Ethernet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    pub mac_to: [u8; 6],
    pub mac_from: [u8; 6],
    /// (tpid, tci), outermost first.
    pub tags: Vec<(u16, u16)>,
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub traffic_class: u8,
    pub hop_limit: u8,
    pub payload: Vec<u8>,
}

/// What stands in the UDP checksum field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    Right,
    /// The pseudo-header's sum, as a kernel leaves it to hardware.
    Unfinished,
    Zero,
    /// Off by one.
    Wrong,
}

impl Datagram {
    pub fn new(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Self {
        Self {
            mac_to: [2, 0, 0, 0, 0, 0xaa],
            mac_from: [2, 0, 0, 0, 0, 0xbb],
            tags: Vec::new(),
            from,
            to,
            traffic_class: 0,
            hop_limit: 63,
            payload: payload.to_vec(),
        }
    }

    pub fn bytes(&self, field: Field) -> Vec<u8> {
        let mut out = [self.mac_to, self.mac_from].concat();
        for (tpid, tci) in &self.tags {
            out.extend(tpid.to_be_bytes());
            out.extend(tci.to_be_bytes());
        }
        let udp_len = (self.payload.len() + 8) as u16;
        match self.from {
            SocketAddr::V4(_) => {
                out.extend([8, 0]);
                let mut ip = vec![0x45, self.traffic_class];
                ip.extend((udp_len + 20).to_be_bytes());
                ip.extend([0x77, 0x77, 0x40, 0, self.hop_limit, 17, 0, 0]);
                ip.extend(octets(self.from.ip()));
                ip.extend(octets(self.to.ip()));
                let sum = !sum_of(&[&ip]);
                ip[10..12].copy_from_slice(&sum.to_be_bytes());
                out.extend(ip);
            }
            SocketAddr::V6(_) => {
                out.extend([
                    0x86,
                    0xdd,
                    0x60 | self.traffic_class >> 4,
                    self.traffic_class << 4,
                ]);
                out.extend([0, 0]);
                out.extend(udp_len.to_be_bytes());
                out.extend([17, self.hop_limit]);
                out.extend(octets(self.from.ip()));
                out.extend(octets(self.to.ip()));
            }
        }
        let mut udp = self.from.port().to_be_bytes().to_vec();
        udp.extend(self.to.port().to_be_bytes());
        udp.extend(udp_len.to_be_bytes());
        udp.extend([0, 0]);
        udp.extend(&self.payload);
        let pseudo = pseudo_header(self.from.ip(), self.to.ip(), udp_len);
        let right = match !sum_of(&[&pseudo, &udp]) {
            0 => 0xffff,
            right => right,
        };
        let checksum = match field {
            Field::Right => right,
            Field::Unfinished => sum_of(&[&pseudo]),
            Field::Zero => 0,
            Field::Wrong => match right.wrapping_add(1) {
                0 => 1,
                wrong => wrong,
            },
        };
        udp[6..8].copy_from_slice(&checksum.to_be_bytes());
        out.extend(udp);
        out
    }

    /// Takes a frame apart, insisting on every length, checksum, and constant of what the relay sends.
    /// Gives also whether there is a UDP checksum.
    pub fn parse(frame: &[u8]) -> (Self, bool) {
        let mut at = 12;
        let mut tags = Vec::new();
        let word = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
        while matches!(word(at), 0x8100 | 0x88a8) {
            tags.push((word(at), word(at + 2)));
            at += 4;
        }
        let ethertype = word(at);
        let ip = &frame[at + 2..];
        let (from, to, traffic_class, hop_limit, udp): (IpAddr, IpAddr, u8, u8, &[u8]) =
            match ethertype {
                0x0800 => {
                    assert_eq!(ip[0], 0x45);
                    assert_eq!(usize::from(u16::from_be_bytes([ip[2], ip[3]])), ip.len());
                    assert_eq!(sum_of(&[&ip[..20]]), 0xffff, "IPv4 header checksum");
                    assert_eq!(ip[4..8], [0, 0, 0x40, 0], "an atomic datagram");
                    assert_eq!(ip[9], 17);
                    let from: [u8; 4] = ip[12..16].try_into().unwrap();
                    let to: [u8; 4] = ip[16..20].try_into().unwrap();
                    (from.into(), to.into(), ip[1], ip[8], &ip[20..])
                }
                0x86dd => {
                    assert_eq!(ip[0] >> 4, 6);
                    assert_eq!(
                        usize::from(u16::from_be_bytes([ip[4], ip[5]])),
                        ip.len() - 40
                    );
                    assert_eq!((ip[1] & 15, ip[2], ip[3]), (0, 0, 0), "no flow label");
                    assert_eq!(ip[6], 17);
                    let from: [u8; 16] = ip[8..24].try_into().unwrap();
                    let to: [u8; 16] = ip[24..40].try_into().unwrap();
                    let class = ip[0] << 4 | ip[1] >> 4;
                    (from.into(), to.into(), class, ip[7], &ip[40..])
                }
                other => panic!("ethertype {other:#06x}"),
            };
        let port = |at: usize| u16::from_be_bytes([udp[at], udp[at + 1]]);
        assert_eq!(usize::from(port(4)), udp.len(), "UDP length");
        let has_checksum = port(6) != 0;
        if has_checksum {
            let pseudo = pseudo_header(from, to, port(4));
            assert_eq!(sum_of(&[&pseudo, udp]), 0xffff, "UDP checksum");
        } else {
            assert!(from.is_ipv4(), "IPv6 demands a UDP checksum");
        }
        let datagram = Self {
            mac_to: frame[..6].try_into().unwrap(),
            mac_from: frame[6..12].try_into().unwrap(),
            tags,
            from: SocketAddr::new(from, port(0)),
            to: SocketAddr::new(to, port(2)),
            traffic_class,
            hop_limit,
            payload: udp[8..].to_vec(),
        };
        (datagram, has_checksum)
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn pseudo_header(from: IpAddr, to: IpAddr, udp_len: u16) -> Vec<u8> {
    let mut pseudo = octets(from);
    pseudo.extend(octets(to));
    pseudo.extend([0, 17]);
    pseudo.extend(udp_len.to_be_bytes());
    pseudo
}

/// RFC 1071 over pieces; only the last may be of odd length.
fn sum_of(pieces: &[&[u8]]) -> u16 {
    let mut total = 0_u32;
    for pair in pieces.iter().flat_map(|piece| piece.chunks(2)) {
        total += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}

/// An RTP packet.
pub fn rtp(sequence: u16, len: usize) -> Vec<u8> {
    let mut packet = vec![0x80, 8];
    packet.extend(sequence.to_be_bytes());
    packet.extend([0, 0, 0, 160, 0xde, 0xad, 0xbe, 0xef]);
    packet.extend((0..len).map(|index| (index as u8).wrapping_mul(31)));
    packet
}

/// An RTCP receiver report without blocks.
pub fn rtcp() -> Vec<u8> {
    vec![0x80, 201, 0, 1, 0xde, 0xad, 0xbe, 0xef]
}

/// A STUN binding request.
pub fn stun() -> Vec<u8> {
    let mut packet = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    packet.extend([7; 12]);
    packet
}

pub fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub fn key(text: &str) -> FlowKey {
    let local = addr(text);
    FlowKey {
        address: local.ip(),
        port: local.port(),
    }
}

pub fn link(device: u16) -> Link {
    Link {
        device: DeviceId(device),
        source: MacAddress([2, 0, 0, 0, 1, device as u8]),
        destination: MacAddress([2, 0, 0, 0, 2, device as u8]),
        vlan: VlanTags::None,
        mtu: 1500,
    }
}

pub fn egress(source: &str, destination: Option<&str>, device: u16) -> Egress {
    Egress {
        source: key(source),
        destination: destination.map(addr),
        link: destination.map(|_| link(device)),
        dscp: DscpMarking::Preserve,
    }
}

pub fn latch(policy: LatchPolicy, signalled: Option<&str>) -> Latch {
    Latch {
        policy,
        signalled: signalled.map(addr),
        latched: None,
        armed: 1,
    }
}

/// A worker over memory: device 0 has the inside addresses, device 1 the outside ones.
pub struct Bench {
    pub worker: Worker<MemoryPort>,
    pub shared: Shared,
    pub taps: TapReader,
    pub now: Timestamp,
    pub frames: usize,
}

pub const RING: usize = 64;

impl Bench {
    pub fn new(checksums: ReceivedChecksums) -> Self {
        Self::sized(checksums, 64, 64)
    }

    pub fn sized(checksums: ReceivedChecksums, flows: usize, mailbox: usize) -> Self {
        let media = [
            (0, "10.0.0.1"),
            (0, "fd00::1"),
            (1, "10.1.0.1"),
            (1, "fd01::1"),
        ];
        let media = media.map(|(device, address)| MediaAddress {
            device: DeviceId(device),
            address: address.parse().unwrap(),
            ports: (20_000, 20_999),
        });
        let places = vec![
            Place {
                device: DeviceId(0),
                queue: QueueId(0),
            },
            Place {
                device: DeviceId(1),
                queue: QueueId(0),
            },
        ];
        let frames = 8 * RING;
        let (tap, taps) = dataplane::tap::tap(64);
        let services = Services::new(tap);
        let shared = Shared {
            services: services.clone(),
            commands: Arc::new(Mailbox::new(mailbox)),
            events: Arc::new(Mailbox::new(mailbox)),
            flows: Arc::new(FlowTallies::new(&media, flows).unwrap()),
            tally: Arc::new(WorkerTally::new(places.len())),
        };
        let pipeline = Pipeline::new(
            dataplane::storage::flow_table(&media, flows).unwrap(),
            dataplane::storage::news(flows),
            [DeviceId(0), DeviceId(1)].into(),
            services,
        );
        let origins = places
            .iter()
            .map(|place| Origin {
                device: place.device,
                checksums,
            })
            .collect();
        let port = MemoryPort::new(frames, RING, places);
        let mut bench = Self {
            worker: Worker::new(port, pipeline, shared.clone(), origins),
            shared,
            taps,
            now: Timestamp::from_nanos(1_000),
            frames,
        };
        bench.poll();
        bench
    }

    pub fn poll(&mut self) -> Polled {
        let now = self.now;
        self.worker.poll(&|| now)
    }

    /// Carries out one command and gives its acknowledgement; events that waited are forgotten.
    pub fn command(&mut self, command: Command) -> Event {
        self.events();
        let _ = self.shared.commands.push(command).unwrap();
        self.poll();
        let event = self.shared.events.pop().unwrap();
        assert_eq!(event.flow(), command.flow());
        event
    }

    pub fn install(&mut self, entry: FlowEntry) {
        assert_eq!(
            self.command(Command::Install(entry)),
            Event::Installed(entry.id)
        );
    }

    pub fn update(&mut self, entry: FlowEntry) {
        assert_eq!(
            self.command(Command::Update(entry)),
            Event::Updated(entry.id)
        );
    }

    /// Delivers one packet to a device and gives what left, by device.
    pub fn send(&mut self, device: usize, frame: &[u8]) -> Vec<(usize, Vec<u8>)> {
        assert!(self.worker.port_mut().deliver(device, frame));
        self.poll();
        let mut left = Vec::new();
        for socket in 0..2 {
            let sent = self.worker.port_mut().take_sent(socket);
            left.extend(sent.into_iter().map(|frame| (socket, frame)));
        }
        left
    }

    /// The reason why a packet is dropped, which must be exactly one.
    pub fn dropped(&mut self, device: usize, frame: &[u8]) -> DropReason {
        let before = self.shared.tally.drops();
        let left = self.send(device, frame);
        assert!(left.is_empty(), "{left:?}");
        let after = self.shared.tally.drops();
        let mut reasons = DropReason::ALL
            .iter()
            .filter(|reason| after[reason.index()] != before[reason.index()]);
        let reason = *reasons.next().unwrap();
        assert_eq!(after[reason.index()], before[reason.index()] + 1);
        assert_eq!(reasons.next(), None);
        reason
    }

    pub fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.shared.events.pop()).collect()
    }

    /// Every frame is in exactly one place.
    pub fn assert_conserved(&mut self) {
        let frames = self.frames;
        let census = self.worker.port_mut().census();
        assert_eq!(census, (0..frames).collect::<Vec<_>>());
    }
}
