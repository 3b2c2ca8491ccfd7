//! Flows in a pipeline, and batches for a shuffled order of them.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use af_xdp::{Doorbell, Frame, HugePages, Umem, UmemConfig};
use contract::{
    Command, DeviceId, DropReason, DscpMarking, Egress, Event, FlowEntry, FlowId, FlowKey, Latch,
    Link, MacAddress, Timestamp, VlanTag, VlanTags,
};
use dataplane::injection::Services;
use dataplane::pipeline::{Origin, Pipeline, Verdict};
use dataplane::port::{BATCH, Frames};
use dataplane::settings::MediaAddress;
use dataplane::storage;
use dataplane::tally::FlowTallies;
use dataplane::tap;
use dataplane::xsk_port::XskPort;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use crate::packets::Packet;
use crate::shape::{Crossing, Damage, Rtcp, Shape, Way};

const FRAME: u32 = 2048;
const FIRST_PORT: u16 = 2;
const LAST_PORT: u16 = 65_535;
/// An MTU that no packet of ours fits.
const NARROW: u16 = 48;

/// Flows, in pairs that face each other: an even one takes what arrives on device 0 to device 1, the odd one
/// after it the other way.
#[derive(Debug)]
pub struct Scene {
    shape: Shape,
    pipeline: Pipeline,
    tallies: FlowTallies,
    port: XskPort,
    /// As many as were asked for, a whole number of batches.
    frames: Vec<Frame>,
    /// Which flows are visited, by device.
    order: [Vec<usize>; 2],
    at: [usize; 2],
    templates: [Packet; 2],
    /// The batch that is processed next, and the device that each arrived on.
    next: usize,
    devices: Vec<u16>,
    now: Timestamp,
    verdicts: [Verdict; BATCH],
}

impl Scene {
    /// A scene of `flows` flows, visited in an order shuffled by a fixed seed, whose packets lie in `batches`
    /// batches of frames by turns.
    ///
    /// # Panics
    /// When the flows cannot be installed, or there is no memory: the benchmark would measure nothing.
    pub fn new(flows: usize, shape: Shape, batches: usize) -> Self {
        let pairs = flows.div_ceil(2);
        let media: Vec<_> = (0..pairs.div_ceil(PORTS))
            .flat_map(|index| {
                [0, 1].map(|device| MediaAddress {
                    device: DeviceId(device),
                    address: local(shape.crossing, device, index),
                    ports: (FIRST_PORT, LAST_PORT),
                })
            })
            .collect();
        let mut umem = Umem::create(&UmemConfig {
            frame_count: (batches * BATCH) as u32,
            frame_size: FRAME,
            headroom: 0,
            huge_pages: HugePages::IfAvailable,
        })
        .expect("memory for frames");
        let frames = std::iter::from_fn(|| umem.take_frame()).collect();
        let bell = Doorbell::new().expect("an eventfd");
        let [one, two] = [0, 1].map(|device| {
            let flow = usize::from(device);
            Packet::new(
                remote(shape.crossing, device),
                key(shape.crossing, flow),
                shape.tags,
                shape.content,
            )
        });
        let mut scene = Self {
            pipeline: Pipeline::new(
                storage::flow_table(&media, flows).expect("the addresses differ"),
                storage::news(flows),
                [DeviceId(0), DeviceId(1)].into(),
                Services::new(tap::tap(1).0),
            ),
            tallies: FlowTallies::new(&media, flows).expect("the addresses differ"),
            port: XskPort::new(umem, Vec::new(), bell),
            frames,
            order: [0, 1].map(|device| visits(flows, device)),
            at: [0; 2],
            templates: [one, two],
            next: 0,
            devices: Vec::with_capacity(batches),
            now: Timestamp::from_nanos(1),
            verdicts: [Verdict::Drop(DropReason::Truncated); BATCH],
            shape,
        };
        if shape.installed {
            for flow in 0..flows {
                scene.install(flow);
            }
        }
        scene
    }

    fn install(&mut self, flow: usize) {
        let shape = &self.shape;
        let to = 1 - device_of(flow);
        let egress = Egress {
            source: key(shape.crossing, flow ^ 1),
            destination: (shape.way != Way::Unknown).then(|| remote(shape.crossing, to)),
            link: matches!(shape.way, Way::Known | Way::Narrow).then(|| link(shape, to)),
            dscp: DscpMarking::Set(46),
        };
        let entry = FlowEntry {
            id: FlowId(flow as u64),
            key: key(shape.crossing, flow),
            payload: shape.payload,
            latch: Latch {
                policy: shape.policy,
                signalled: shape
                    .signalled
                    .then(|| remote(shape.crossing, device_of(flow))),
                latched: None,
                armed: 1,
            },
            rtp: (shape.rtcp != Rtcp::Only).then_some(egress),
            rtcp: (shape.rtcp != Rtcp::None).then_some(egress),
            idle_after: Some(Duration::from_secs(60)),
            handling: contract::Handling::default(),
        };
        let event = self
            .pipeline
            .command(&self.tallies, &Command::Install(entry), self.now);
        assert_eq!(event, Event::Installed(entry.id));
    }

    /// Fills all batches with fresh packets for the next flows, from the two devices by turns. With
    /// `one_sided` all packets arrive on device 0.
    pub fn prepare(&mut self, one_sided: bool) {
        self.next = 0;
        self.devices.clear();
        for (batch, frames) in self.frames.chunks_mut(BATCH).enumerate() {
            let other = !one_sided && batch % 2 == 1 && !self.order[1].is_empty();
            let device = usize::from(other);
            let template = &self.templates[device];
            let order = &self.order[device];
            for frame in frames {
                let flow = order[self.at[device] % order.len()];
                self.at[device] += 1;
                let start = START;
                self.port
                    .set_extent(frame, start, len(template, self.shape));
                let (bytes, start, _) = self.port.frame_mut(frame);
                let to = key(self.shape.crossing, flow);
                template.write(&mut bytes[start..], &to, self.shape.damage);
            }
            self.devices.push(device as u16);
        }
    }

    /// Processes the next of the prepared batches.
    #[inline(never)]
    pub fn process(&mut self) {
        let from = self.next * BATCH;
        self.pipeline.process(
            &mut self.port,
            &self.tallies,
            Origin {
                device: DeviceId(self.devices[self.next]),
                checksums: self.shape.checksums,
            },
            &mut self.frames[from..from + BATCH],
            &mut self.verdicts,
            self.now,
        );
    }

    /// Goes on to the next batch.
    ///
    /// # Panics
    /// When the last one was not decided on as it must be: the benchmark would measure something else.
    pub fn next_batch(&mut self) {
        let right = self.shape.verdict(self.devices[self.next]);
        let wrong = self.verdicts.iter().find(|verdict| **verdict != right);
        assert_eq!(wrong, None, "all must be {right:?}");
        self.next += 1;
        self.now = self.now + Duration::from_micros(50);
    }
}

/// Where packets start in their frames: what the kernel leaves (`XDP_PACKET_HEADROOM`).
const START: usize = 256;
/// Ports of an address.
const PORTS: usize = (LAST_PORT - FIRST_PORT) as usize + 1;

/// A cut packet ends in its payload.
fn len(packet: &Packet, shape: Shape) -> usize {
    match shape.damage {
        Damage::Cut => packet.len() - 10,
        _ => packet.len(),
    }
}

/// The flows that packets from a device are for, shuffled.
fn visits(flows: usize, device: u16) -> Vec<usize> {
    let mut order: Vec<_> = (0..flows)
        .filter(|flow| device_of(*flow) == device)
        .collect();
    order.shuffle(&mut StdRng::seed_from_u64(20));
    order
}

const fn device_of(flow: usize) -> u16 {
    flow as u16 & 1
}

fn is_v6(crossing: Crossing, device: u16) -> bool {
    match crossing {
        Crossing::V4 => false,
        Crossing::V6 => true,
        Crossing::V4ToV6 => device == 1,
        Crossing::V6ToV4 => device == 0,
    }
}

fn local(crossing: Crossing, device: u16, index: usize) -> IpAddr {
    let (number, index) = (device as u8, index as u8);
    if is_v6(crossing, device) {
        [0xfd, 0, 0, 0, 0, 0, 0, number, 0, 0, 0, 0, 0, 0, 1, index].into()
    } else {
        [10, number, 1, index].into()
    }
}

fn remote(crossing: Crossing, device: u16) -> SocketAddr {
    let number = device as u8;
    let ip: IpAddr = if is_v6(crossing, device) {
        [0xfd, 0, 0, 0, 0, 0, 0, number, 0, 0, 0, 0, 0, 0, 2, 1].into()
    } else {
        [10, number, 2, 1].into()
    };
    SocketAddr::new(ip, 4_000)
}

fn key(crossing: Crossing, flow: usize) -> FlowKey {
    let pair = flow / 2;
    FlowKey {
        address: local(crossing, device_of(flow), pair / PORTS),
        port: FIRST_PORT + (pair % PORTS) as u16,
    }
}

fn link(shape: &Shape, device: u16) -> Link {
    let tag = VlanTag {
        tpid: 0x8100,
        tci: 9,
    };
    Link {
        device: DeviceId(device),
        source: MacAddress([2, 0, 0, 0, 1, device as u8]),
        destination: MacAddress([2, 0, 0, 0, 2, device as u8]),
        vlan: match shape.tags {
            0 => VlanTags::None,
            1 => VlanTags::Single(tag),
            _ => VlanTags::Double(tag, tag),
        },
        mtu: match shape.way {
            Way::Narrow => NARROW,
            _ => 1500,
        },
    }
}
