//! Where packets really arrive, and whether that is where they were foretold to.
//!
//! Every worker counts each flow's packets anyway; those counts side by side say which worker saw most of a flow,
//! and what strayed from it. So looking costs the workers nothing. A pass goes over all ports, a bounded number
//! at a time; at its end the foretelling that fits is believed, and one that does not fit is given up.
//!
//! ```text
//!              enough flows, nearly all at home               too many elsewhere
//!   foretold ───────────────────────────────────► confirmed ─────────────────────► refuted
//!       └──────────────── too many elsewhere ─────────────────────────────────────────▲
//! ```
//!
//! A later pass may confirm what was refuted: the operator may have changed the table back.

use std::collections::HashMap;

use contract::{DeviceId, FlowKey, Homes, WorkerId};

use af_xdp::UdpOver;

use super::Family;
use super::foretelling::{Foretold, Layout};
use crate::settings::{MediaAddress, Settings};

/// Flows in a pass without which nothing is decided. With two workers, 32 flows are where a wrong foretelling
/// puts them once in 2^27 passes at the level of [`CONFIRMING`].
const ENOUGH: u64 = 32;
/// Of a hundred flows, those that must be at home to confirm a foretelling: a few may have moved when the table
/// was changed under them.
const CONFIRMING: u64 = 95;
/// Of a hundred flows, those that must be at home to go on believing in it.
const BELIEVING: u64 = 80;
/// Of a hundred packets of a flow, those that must be at one worker for the flow to be there.
const SETTLED: u64 = 99;

/// How far the homes of a device's ports are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knowledge {
    /// There is one worker.
    OneWorker,
    /// They cannot be foretold.
    Unknown,
    /// They are, and too little has arrived to tell whether it is right.
    Foretold,
    /// Packets arrive where they were foretold to.
    Confirmed,
    /// They do not.
    Refuted,
}

impl Knowledge {
    /// Its name in tables and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OneWorker => "one worker",
            Self::Unknown => "unknown",
            Self::Foretold => "foretold",
            Self::Confirmed => "confirmed",
            Self::Refuted => "refuted",
        }
    }
}

/// What a pass saw. A flow's home is what is foretold and confirmed, else the worker that saw most of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Flows that had packets.
    pub flows: u64,
    /// Those of them that had packets at more than one worker.
    pub split: u64,
    /// Their packets.
    pub packets: u64,
    /// Those of them that arrived at the flow's home.
    pub at_home: u64,
}

/// A device and family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The device.
    pub device: DeviceId,
    /// The packets.
    pub over: UdpOver,
    /// What is known.
    pub knowledge: Knowledge,
    /// What the last whole pass saw or, before one is through, the first so far.
    pub seen: Seen,
}

/// The ports of all media addresses, gone over again and again.
#[derive(Debug)]
pub struct Arrivals {
    workers: usize,
    addresses: Vec<Address>,
    groups: Vec<Group>,
    /// The next port to look at: of which address, and how many after its first.
    next: (usize, u32),
    passes: u64,
    changed: bool,
    /// Packets of one flow, by worker.
    counts: Vec<u64>,
}

#[derive(Debug)]
struct Address {
    media: MediaAddress,
    group: usize,
    /// By [`Layout::ALL`]; empty when they cannot be foretold.
    foretold: Vec<Foretold>,
}

/// All addresses of one device and family: they are hashed alike.
#[derive(Debug)]
struct Group {
    device: DeviceId,
    over: UdpOver,
    knowledge: Knowledge,
    /// The index of the layout that is believed.
    believed: Option<usize>,
    now: Count,
    last: Option<Seen>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    flows: u64,
    split: u64,
    packets: u64,
    at_busiest: u64,
    /// By layout: packets, and flows, where they were foretold to be.
    at_foretold: [u64; 2],
    flows_at_foretold: [u64; 2],
}

impl Arrivals {
    /// Nothing seen yet. `families` are those of each device.
    pub fn new(settings: &Settings, families: &[&[Family]]) -> Self {
        let mut arrivals = Self {
            workers: settings.workers.len(),
            addresses: Vec::with_capacity(settings.media.len()),
            groups: Vec::new(),
            next: (0, 0),
            passes: 0,
            changed: false,
            counts: vec![0; settings.workers.len()],
        };
        for media in &settings.media {
            let over = over(media);
            let of_device = families.get(usize::from(media.device.0));
            let family = of_device.and_then(|all| all.iter().find(|family| family.over == over));
            let foretold = family.map_or_else(Vec::new, |family| foretell(settings, media, family));
            let group = arrivals.group(media.device, over, !foretold.is_empty());
            arrivals.addresses.push(Address {
                media: *media,
                group,
                foretold,
            });
        }
        arrivals
    }

    fn group(&mut self, device: DeviceId, over: UdpOver, foretold: bool) -> usize {
        let is_it = |group: &Group| (group.device, group.over) == (device, over);
        if let Some(known) = self.groups.iter().position(is_it) {
            return known;
        }
        self.groups.push(Group {
            device,
            over,
            knowledge: match (self.workers, foretold) {
                (..=1, _) => Knowledge::OneWorker,
                (_, true) => Knowledge::Foretold,
                (_, false) => Knowledge::Unknown,
            },
            believed: None,
            now: Count::default(),
            last: None,
        });
        self.groups.len() - 1
    }

    /// Looks at the flows of some ports more; `packets` says what a worker has counted at a key. Each port costs a
    /// question to each worker, of which there are at the most `questions`. Ends early with a pass.
    pub fn look(&mut self, questions: usize, packets: impl Fn(WorkerId, &FlowKey) -> u64) {
        for _ in 0..questions / self.workers.max(1) {
            let (index, offset) = self.next;
            let Some(address) = self.addresses.get(index) else {
                self.end_pass();
                return;
            };
            let (first, last) = address.media.ports;
            let port = u32::from(first) + offset;
            self.next = match port < u32::from(last) {
                true => (index, offset + 1),
                false => (index + 1, 0),
            };
            let key = FlowKey {
                address: address.media.address,
                port: port as u16,
            };
            for (count, worker) in self.counts.iter_mut().zip(0..) {
                *count = packets(WorkerId(worker), &key);
            }
            let foretold = Layout::ALL.iter().enumerate().map(|(layout, _)| {
                let foretold = address.foretold.get(layout)?;
                foretold.home(key.port)
            });
            let mut homes = [None; 2];
            for (home, foretold) in homes.iter_mut().zip(foretold) {
                *home = foretold;
            }
            self.groups[address.group].now.add(&self.counts, homes);
        }
    }

    /// The homes, when what is known of them has changed since this was last asked.
    pub fn news(&mut self) -> Option<Homes> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let mut homes = Homes::default();
        for address in &self.addresses {
            let believed = self.groups[address.group].believed;
            let Some(foretold) = believed.and_then(|layout| address.foretold.get(layout)) else {
                continue;
            };
            let (first, last) = address.media.ports;
            let of_ports: Option<Vec<_>> = (first..=last).map(|port| foretold.home(port)).collect();
            // A queue without a worker has no home to offer, and its device is warned of at the start.
            if let Some(of_ports) = of_ports {
                homes.set(address.media.address, first, of_ports);
            }
        }
        Some(homes)
    }

    /// What is known of each device and family that has media.
    pub fn standings(&self) -> Vec<Standing> {
        let standing = |group: &Group| Standing {
            device: group.device,
            over: group.over,
            knowledge: group.knowledge,
            seen: group.last.unwrap_or_else(|| group.now.seen(group.believed)),
        };
        self.groups.iter().map(standing).collect()
    }

    /// How often all ports have been looked at.
    pub const fn passes(&self) -> u64 {
        self.passes
    }

    fn end_pass(&mut self) {
        for group in &mut self.groups {
            let before = group.believed;
            group.judge();
            self.changed |= group.believed != before;
            group.last = Some(group.now.seen(group.believed));
            group.now = Count::default();
        }
        self.next = (0, 0);
        self.passes += 1;
    }
}

impl Group {
    fn judge(&mut self) {
        let can_be = !matches!(self.knowledge, Knowledge::OneWorker | Knowledge::Unknown);
        if !can_be || self.now.flows < ENOUGH {
            return;
        }
        let at_home = |layout: usize, percent: u64| {
            self.now.flows_at_foretold[layout] * 100 >= self.now.flows * percent
        };
        if self
            .believed
            .is_some_and(|layout| at_home(layout, BELIEVING))
        {
            return;
        }
        let fits = (0..Layout::ALL.len()).find(|layout| at_home(*layout, CONFIRMING));
        self.believed = fits;
        self.knowledge = match fits {
            Some(_) => Knowledge::Confirmed,
            None => Knowledge::Refuted,
        };
    }
}

impl Count {
    fn add(&mut self, counts: &[u64], homes: [Option<WorkerId>; 2]) {
        let packets: u64 = counts.iter().sum();
        if packets == 0 {
            return;
        }
        self.flows += 1;
        self.packets += packets;
        self.at_busiest += counts.iter().max().copied().unwrap_or(0);
        self.split += u64::from(counts.iter().filter(|count| **count > 0).count() > 1);
        for (layout, home) in homes.into_iter().enumerate() {
            let home = home.and_then(|home| counts.get(usize::from(home.0)));
            let there = home.copied().unwrap_or(0);
            self.at_foretold[layout] += there;
            self.flows_at_foretold[layout] += u64::from(there * 100 >= packets * SETTLED);
        }
    }

    fn seen(&self, believed: Option<usize>) -> Seen {
        Seen {
            flows: self.flows,
            split: self.split,
            packets: self.packets,
            at_home: believed.map_or(self.at_busiest, |layout| self.at_foretold[layout]),
        }
    }
}

const fn over(media: &MediaAddress) -> UdpOver {
    match media.address.is_ipv4() {
        true => UdpOver::V4,
        false => UdpOver::V6,
    }
}

fn foretell(settings: &Settings, media: &MediaAddress, family: &Family) -> Vec<Foretold> {
    let (Ok(rss), Some(fields)) = (&family.rss, family.fields) else {
        return Vec::new();
    };
    let owners: HashMap<u32, WorkerId> = settings
        .workers
        .iter()
        .zip(0..)
        .flat_map(|(worker, number)| {
            let queues = worker.queues.iter();
            let of_device = queues.filter(|(device, _)| *device == media.device);
            of_device.map(move |(_, queue)| (queue.0, WorkerId(number)))
        })
        .collect();
    Layout::ALL
        .iter()
        .map(|layout| Foretold::new(*layout, media.address, fields, rss, &owners))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Device, IdlePolicy, ReceivedChecksums, Steering, Worker, XdpMode};
    use crate::steering::{OURS, Unknown};
    use af_xdp::{HashFunction, Rss};
    use contract::QueueId;

    const PORTS: (u16, u16) = (20_000, 20_199);

    fn settings(workers: u16) -> Settings {
        let media = |device, address: &str| MediaAddress {
            device: DeviceId(device),
            address: address.parse().expect("an address"),
            ports: PORTS,
        };
        let device = |name: &str| Device {
            name: name.into(),
            mode: XdpMode::Best,
            checksums: ReceivedChecksums::Finished,
            steering: Steering::Best,
        };
        Settings {
            devices: vec![device("in0"), device("out0")],
            media: vec![
                media(0, "10.0.0.1"),
                media(0, "fd00::1"),
                media(1, "10.1.0.1"),
            ],
            workers: (0..workers)
                .map(|worker| Worker {
                    core: usize::from(worker),
                    queues: [0, 1]
                        .map(|device| (DeviceId(device), QueueId(u32::from(worker))))
                        .into(),
                })
                .collect(),
            idle: IdlePolicy::Spin,
            busy_poll: None,
            flow_capacity: 64,
            mailbox_capacity: 64,
            frames: 64,
            ring_size: 64,
        }
    }

    /// Both families of `in0` can be foretold; nothing of `out0`.
    fn families() -> Vec<Family> {
        let rss = Rss {
            function: HashFunction::Toeplitz,
            symmetric: false,
            indirection: (0..128).map(|entry| entry % 4).collect(),
            key: (0..40_u8)
                .map(|byte| byte.wrapping_mul(91) ^ 0x35)
                .collect(),
        };
        let family = |over| Family {
            over,
            fields: Some(OURS),
            before: None,
            rss: Ok(rss.clone()),
        };
        vec![family(UdpOver::V4), family(UdpOver::V6)]
    }

    fn unknown() -> Vec<Family> {
        vec![Family {
            over: UdpOver::V4,
            fields: None,
            before: None,
            rss: Err(Unknown::DriverCannot),
        }]
    }

    fn arrivals(workers: u16) -> Arrivals {
        Arrivals::new(&settings(workers), &[&families(), &unknown()])
    }

    /// Where a NIC of this layout puts packets.
    fn nic(layout: Layout) -> impl Fn(&FlowKey) -> WorkerId {
        let (settings, families) = (settings(4), families());
        let owners = (0..4)
            .map(|queue| (queue, WorkerId(queue as u16)))
            .collect();
        let foretold: HashMap<_, _> = settings
            .media
            .iter()
            .map(|media| {
                let family = &families[usize::from(over(media) == UdpOver::V6)];
                let rss = family.rss.as_ref().expect("known");
                let foretold = Foretold::new(layout, media.address, OURS, rss, &owners);
                (media.address, foretold)
            })
            .collect();
        move |key| {
            foretold[&key.address]
                .home(key.port)
                .expect("a worker each")
        }
    }

    fn pass(arrivals: &mut Arrivals, packets: impl Fn(WorkerId, &FlowKey) -> u64) {
        let before = arrivals.passes();
        for _ in 0..1_000 {
            if arrivals.passes() > before {
                return;
            }
            arrivals.look(64, &packets);
        }
        panic!("a pass takes too long");
    }

    #[test]
    fn what_arrives_where_it_was_foretold_to_is_confirmed_in_either_layout() {
        for layout in Layout::ALL {
            let mut arrivals = arrivals(4);
            assert_eq!(arrivals.standings()[0].knowledge, Knowledge::Foretold);
            let nic = nic(layout);
            pass(&mut arrivals, |worker, key| {
                10 * u64::from(worker == nic(key) && key.port % 2 == 0)
            });
            let standings = arrivals.standings();
            let [in4, in6, out4] = &standings[..] else {
                panic!("three groups")
            };
            assert_eq!(
                (in4.knowledge, in6.knowledge),
                (Knowledge::Confirmed, Knowledge::Confirmed)
            );
            let seen = Seen {
                flows: 100,
                split: 0,
                packets: 1_000,
                at_home: 1_000,
            };
            assert_eq!((in4.seen, in6.seen, out4.seen), (seen, seen, seen));
            assert_eq!(
                (out4.device, out4.knowledge),
                (DeviceId(1), Knowledge::Unknown)
            );
            let homes = arrivals.news().expect("news");
            for port in PORTS.0..=PORTS.1 {
                let key = |address: &str| FlowKey {
                    address: address.parse().expect("an address"),
                    port,
                };
                for known in ["10.0.0.1", "fd00::1"].map(key) {
                    assert_eq!(homes.home(&known), Some(nic(&known)), "{known}");
                }
                assert_eq!(homes.home(&key("10.1.0.1")), None);
            }
            assert_eq!(arrivals.news(), None, "said once");
        }
    }

    #[test]
    fn what_arrives_elsewhere_is_refuted_and_may_be_confirmed_again() {
        let mut arrivals = arrivals(4);
        let nic = nic(Layout::Packed);
        let elsewhere = |worker: WorkerId, key: &FlowKey| u64::from(worker.0 == key.port % 4);
        pass(&mut arrivals, elsewhere);
        assert_eq!(arrivals.standings()[0].knowledge, Knowledge::Refuted);
        assert_eq!(arrivals.news(), None, "nothing was believed before");
        let right = |worker: WorkerId, key: &FlowKey| u64::from(worker == nic(key));
        pass(&mut arrivals, right);
        assert!(!arrivals.news().expect("news").is_empty());
        pass(&mut arrivals, elsewhere);
        let standing = &arrivals.standings()[0];
        assert_eq!(standing.knowledge, Knowledge::Refuted);
        assert_eq!(
            standing.seen.at_home, standing.seen.packets,
            "each flow has one worker still"
        );
        assert!(arrivals.news().expect("news").is_empty());
    }

    #[test]
    fn few_flows_and_a_few_strays_decide_nothing() {
        let mut arrivals = arrivals(4);
        let nic = nic(Layout::InPlace);
        pass(&mut arrivals, |worker, key| {
            u64::from(worker == nic(key) && key.port < PORTS.0 + 31)
        });
        assert_eq!(arrivals.standings()[0].knowledge, Knowledge::Foretold);
        pass(&mut arrivals, |worker, key| u64::from(worker == nic(key)));
        assert_eq!(arrivals.standings()[0].knowledge, Knowledge::Confirmed);
        // One flow in ten goes its own way, half here and half there.
        let strays = |worker: WorkerId, key: &FlowKey| match key.port % 10 {
            0 => u64::from(worker.0 < 2),
            _ => 2 * u64::from(worker == nic(key)),
        };
        pass(&mut arrivals, strays);
        let standing = &arrivals.standings()[0];
        assert_eq!(
            (standing.knowledge, standing.seen.split),
            (Knowledge::Confirmed, 20)
        );
        assert!(standing.seen.at_home < standing.seen.packets);
    }

    #[test]
    fn one_worker_is_everybodys_home() {
        let mut arrivals = arrivals(1);
        pass(&mut arrivals, |_, _| 3);
        for standing in arrivals.standings() {
            assert_eq!(standing.knowledge, Knowledge::OneWorker);
            assert_eq!((standing.seen.packets, standing.seen.at_home), (600, 600));
        }
        assert_eq!(arrivals.news(), None);
    }
}
