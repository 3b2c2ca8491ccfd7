//! A pipeline with flows and the packets to send through it: what the benchmarks measure.
//!
//! Packets lie in plain memory, and only the pipeline's own work is between a batch and its verdicts: no
//! ring, no kernel. [`Scene::run_batch`] restores the packets' headers before it processes them, so every
//! batch is the first that they are in.

#![forbid(unsafe_code)]

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use contract::{
    Command, DeviceId, DropReason, DscpMarking, Egress, Event, FlowEntry, FlowId, FlowKey, Latch,
    LatchPolicy, Link, MacAddress, Timestamp, VlanTags,
};
use dataplane::pipeline::{Origin, Pipeline, Verdict};
use dataplane::port::{BATCH, Frames};
use dataplane::settings::{MediaAddress, ReceivedChecksums};
use dataplane::storage;
use dataplane::tally::FlowTallies;
use etherparse::PacketBuilder;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

/// Bytes of RTP in a packet: 20 ms of G.711 and the header.
pub const PAYLOAD: usize = 172;
const FRAME: usize = 2048;
const HEADROOM: usize = 256;
const FIRST_PORT: u16 = 2;
const LAST_PORT: u16 = 65_535;

/// Which way the packets cross.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crossing {
    /// IPv4 on both sides.
    V4,
    /// IPv6 on both sides.
    V6,
    /// From IPv4 to IPv6.
    V4ToV6,
}

/// Flows in a pipeline, and a packet for each of a shuffled order of them.
#[derive(Debug)]
pub struct Scene {
    pipeline: Pipeline,
    tallies: FlowTallies,
    origin: Origin,
    frames: Memory,
    /// The order in which flows are visited.
    order: Vec<usize>,
    at: usize,
    now: Timestamp,
    verdicts: [Verdict; BATCH],
    packets: Vec<Packet>,
}

/// A packet's place in [`Memory`].
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    frame: usize,
    start: usize,
    len: usize,
}

/// One frame for each packet of a batch, and the template that they are all made from.
#[derive(Debug)]
struct Memory {
    frames: Vec<u8>,
    template: Vec<u8>,
}

impl Frames for Memory {
    type Packet = Packet;

    fn frame_mut<'a>(&'a mut self, packet: &'a mut Packet) -> (&'a mut [u8], usize, usize) {
        let at = packet.frame * FRAME;
        (&mut self.frames[at..at + FRAME], packet.start, packet.len)
    }

    fn len_of(&self, packet: &Packet) -> usize {
        packet.len
    }

    fn set_extent(&mut self, packet: &mut Packet, start: usize, len: usize) {
        packet.start = start;
        packet.len = len;
    }
}

impl Scene {
    /// A scene of `flows` flows, visited in an order shuffled by a fixed seed.
    ///
    /// # Panics
    /// When the flows cannot be installed: the benchmark would measure nothing.
    pub fn new(flows: usize, crossing: Crossing, checksums: ReceivedChecksums) -> Self {
        let ports = usize::from(LAST_PORT - FIRST_PORT) + 1;
        let addresses = flows.div_ceil(ports);
        let media: Vec<_> = (0..addresses)
            .flat_map(|index| {
                [0, 1].map(|device| MediaAddress {
                    device: DeviceId(device),
                    address: local(crossing, device, index),
                    ports: (FIRST_PORT, LAST_PORT),
                })
            })
            .collect();
        let mut scene = Self {
            pipeline: Pipeline::new(
                storage::flow_table(&media, flows).expect("the addresses differ"),
                storage::news(flows),
                [DeviceId(0), DeviceId(1)].into(),
            ),
            tallies: FlowTallies::new(&media, flows).expect("the addresses differ"),
            origin: Origin {
                device: DeviceId(0),
                checksums,
            },
            frames: Memory {
                frames: vec![0; BATCH * FRAME],
                template: Vec::new(),
            },
            order: (0..flows).collect(),
            at: 0,
            now: Timestamp::from_nanos(1),
            verdicts: [Verdict::Drop(DropReason::Truncated); BATCH],
            packets: Vec::with_capacity(BATCH),
        };
        for flow in 0..flows {
            scene.install(crossing, flow);
        }
        scene.order.shuffle(&mut StdRng::seed_from_u64(20));
        scene.frames.template = packet(crossing, flow_key(crossing, 0, 0));
        // A batch visits as many different flows as there are, in turns.
        scene.order = scene
            .order
            .iter()
            .copied()
            .cycle()
            .take(flows.max(BATCH))
            .collect();
        scene
    }

    fn install(&mut self, crossing: Crossing, flow: usize) {
        let entry = FlowEntry {
            id: FlowId(flow as u64),
            key: flow_key(crossing, 0, flow),
            latch: Latch {
                policy: LatchPolicy::Sdp,
                signalled: Some(remote(crossing, 0)),
                latched: None,
                armed: 1,
            },
            rtp: Some(Egress {
                source: flow_key(crossing, 1, flow),
                destination: Some(remote(crossing, 1)),
                link: Some(Link {
                    device: DeviceId(1),
                    source: MacAddress([2, 0, 0, 0, 1, 1]),
                    destination: MacAddress([2, 0, 0, 0, 2, 1]),
                    vlan: VlanTags::None,
                    mtu: 1500,
                }),
                dscp: DscpMarking::Set(46),
            }),
            rtcp: None,
            idle_after: Some(Duration::from_secs(60)),
        };
        let event = self
            .pipeline
            .command(&self.tallies, &Command::Install(entry), self.now);
        assert_eq!(event, Event::Installed(entry.id));
    }

    /// Puts a batch of fresh packets for the next flows into the frames.
    pub fn prepare(&mut self, crossing: Crossing) {
        self.packets.clear();
        for frame in 0..BATCH {
            let flow = self.order[self.at];
            self.at = (self.at + 1) % self.order.len();
            let at = frame * FRAME + HEADROOM;
            let len = self.frames.template.len();
            let bytes = &mut self.frames.frames[at..at + len];
            bytes.copy_from_slice(&self.frames.template);
            readdress(bytes, crossing, flow);
            self.packets.push(Packet {
                frame,
                start: HEADROOM,
                len,
            });
        }
        self.now = self.now + Duration::from_micros(50);
    }

    /// Processes the prepared batch.
    pub fn process(&mut self) {
        self.pipeline.process(
            &mut self.frames,
            &self.tallies,
            self.origin,
            &mut self.packets,
            &mut self.verdicts,
            self.now,
        );
    }

    /// Whether all of the last batch was forwarded.
    pub fn forwarded_all(&self) -> bool {
        self.verdicts
            .iter()
            .all(|verdict| *verdict == Verdict::Forward(DeviceId(1)))
    }
}

/// Directs a copy of flow 0's packet to another flow, keeping its UDP checksum right (RFC 1624).
fn readdress(frame: &mut [u8], crossing: Crossing, flow: usize) {
    let key = flow_key(crossing, 0, flow);
    let (address, udp) = match key.address {
        IpAddr::V4(_) => (14 + 16, 34),
        IpAddr::V6(_) => (14 + 24, 54),
    };
    let mut sum = u32::from(!u16::from_be_bytes([frame[udp + 6], frame[udp + 7]]));
    let mut put = |frame: &mut [u8], at: usize, new: &[u8]| {
        for (offset, pair) in new.chunks_exact(2).enumerate() {
            let at = at + 2 * offset;
            sum += u32::from(!u16::from_be_bytes([frame[at], frame[at + 1]]));
            sum += u32::from(u16::from_be_bytes([pair[0], pair[1]]));
            frame[at..at + 2].copy_from_slice(pair);
        }
    };
    match key.address {
        IpAddr::V4(v4) => put(frame, address, &v4.octets()),
        IpAddr::V6(v6) => put(frame, address, &v6.octets()),
    }
    put(frame, udp + 2, &key.port.to_be_bytes());
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let checksum = match !(sum as u16) {
        0 => 0xffff,
        right => right,
    };
    frame[udp + 6..udp + 8].copy_from_slice(&checksum.to_be_bytes());
    if key.address.is_ipv4() {
        frame[24..26].fill(0);
        let mut sum: u32 = frame[14..34]
            .chunks_exact(2)
            .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
            .sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        frame[24..26].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    }
}

fn packet(crossing: Crossing, to: FlowKey) -> Vec<u8> {
    let from = remote(crossing, 0);
    let ethernet = PacketBuilder::ethernet2([2, 0, 0, 0, 2, 0], [2, 0, 0, 0, 1, 0]);
    let network = match (from.ip(), to.address) {
        (IpAddr::V4(from), IpAddr::V4(to)) => ethernet.ipv4(from.octets(), to.octets(), 63),
        (IpAddr::V6(from), IpAddr::V6(to)) => ethernet.ipv6(from.octets(), to.octets(), 63),
        _ => unreachable!("both are on the receiving side"),
    };
    let mut rtp = vec![0x80, 8, 0, 1, 0, 0, 0, 160, 0xde, 0xad, 0xbe, 0xef];
    let mut rng = StdRng::seed_from_u64(8);
    rtp.resize_with(PAYLOAD, || rng.random());
    let mut bytes = Vec::new();
    network
        .udp(from.port(), to.port)
        .write(&mut bytes, &rtp)
        .expect("a vector takes any packet");
    bytes
}

fn is_v6(crossing: Crossing, device: u16) -> bool {
    crossing == Crossing::V6 || (crossing == Crossing::V4ToV6 && device == 1)
}

fn local(crossing: Crossing, device: u16, index: usize) -> IpAddr {
    let (device, index) = (device as u8, index as u8);
    if is_v6(crossing, u16::from(device)) {
        [0xfd, 0, 0, 0, 0, 0, 0, device, 0, 0, 0, 0, 0, 0, 1, index].into()
    } else {
        [10, device, 1, index].into()
    }
}

fn remote(crossing: Crossing, device: u16) -> SocketAddr {
    let ip: IpAddr = if is_v6(crossing, device) {
        [0xfd, 0, 0, 0, 0, 0, 0, device as u8, 0, 0, 0, 0, 0, 0, 2, 1].into()
    } else {
        [10, device as u8, 2, 1].into()
    };
    SocketAddr::new(ip, 4_000)
}

fn flow_key(crossing: Crossing, device: u16, flow: usize) -> FlowKey {
    let ports = usize::from(LAST_PORT - FIRST_PORT) + 1;
    FlowKey {
        address: local(crossing, device, flow / ports),
        port: FIRST_PORT + (flow % ports) as u16,
    }
}
