//! Next hops against the real kernel: two network namespaces joined by veth pairs, one the relay's, one
//! its peer's. Each lives as long as the thread that made it, so nothing is left behind.
//!
//! Needs root, and fails without it.

use std::net::IpAddr;
use std::process::Command;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use contract::{DeviceId, Link, MacAddress, Timestamp, VlanTag, VlanTags};
use controlplane::installer::NextHopQuery;
use controlplane::neighbours::{Action, Neighbours, NextHop, Unreachable};
use controlplane::netlink::{Netlink, Notice};
use controlplane::transport::solicit;
use nix::sched::{CloneFlags, unshare};

/// Longer than the kernel takes to give a neighbour up (three times a second apart).
const PATIENCE: Duration = Duration::from_secs(8);

/// Runs `ip` in the namespace of the calling thread.
fn ip(arguments: &str) {
    let output = Command::new("ip")
        .args(arguments.split_whitespace())
        .output()
        .expect("iproute2 is installed");
    assert!(
        output.status.success(),
        "ip {arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Sets a parameter of the namespace of the calling thread, by its path below /proc/sys/net.
fn sysctl(path: &str, value: &str) {
    std::fs::write(format!("/proc/sys/net/{path}"), value)
        .unwrap_or_else(|error| panic!("{path}: {error}"));
}

/// Something to do in the other namespace.
type Task = Box<dyn FnOnce() + Send>;

/// The other namespace: a thread that does things there.
struct Peer {
    tasks: Sender<(Task, Sender<()>)>,
}

impl Peer {
    fn run(&self, task: impl FnOnce() + Send + 'static) {
        let (done, wait) = channel();
        self.tasks
            .send((Box::new(task), done))
            .expect("the peer's thread lives");
        wait.recv().expect("the peer's task succeeds");
    }

    fn ip(&self, arguments: &'static str) {
        self.run(move || ip(arguments));
    }
}

/// The relay's side: what the server does with netlink and neighbours, without the server.
struct Relay {
    netlink: Netlink,
    neighbours: Neighbours,
    origin: Instant,
    answers: Vec<(NextHopQuery, NextHop)>,
}

impl Relay {
    fn new() -> Self {
        Self {
            netlink: Netlink::open().expect("netlink sockets"),
            neighbours: Neighbours::new(vec!["in0".to_owned(), "out0".to_owned()], 1000),
            origin: Instant::now(),
            answers: Vec::new(),
        }
    }

    fn step(&mut self) {
        let now = Timestamp::ZERO + self.origin.elapsed();
        let mut notices = Vec::new();
        self.netlink.read(&mut notices).expect("netlink is read");
        for notice in notices {
            match notice {
                Notice::Change(change) => self.neighbours.change(change, now),
                Notice::Route(query, route) => self.neighbours.route(query, route, now),
                Notice::BeginAgain => self.neighbours.begin_again(),
                Notice::Complete => self.neighbours.told_everything(now),
                Notice::RoutesLost => self.neighbours.routes_lost(now),
            }
        }
        self.neighbours.on_time(now);
        while let Some(action) = self.neighbours.poll() {
            match action {
                Action::AskRoute(query) => self.netlink.ask_route(query).expect("asked"),
                Action::Solicit { query, link } => {
                    // A link that is down refuses, as it may.
                    let _ = solicit(query.source, query.destination, link);
                }
                Action::Answer(query, answer) => self.answers.push((query, answer)),
            }
        }
    }

    /// Waits until the answer to `query` is as wanted, and gives it.
    fn wait(&mut self, query: NextHopQuery, wanted: impl Fn(NextHop) -> bool) -> NextHop {
        let until = Instant::now() + PATIENCE;
        loop {
            self.step();
            let found = self.neighbours.answers();
            let answer = found.iter().find(|(asked, _)| *asked == query);
            if let Some((_, Some(answer))) = answer
                && wanted(*answer)
            {
                return *answer;
            }
            assert!(
                Instant::now() < until,
                "{query:?}: still {answer:?}; so far {:?}",
                self.answers
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn wait_for_mac(&mut self, query: NextHopQuery, mac: MacAddress) -> Link {
        let answer = self.wait(query, |answer| {
            answer.link().is_some_and(|link| link.destination == mac)
        });
        answer.link().expect("it has been waited for")
    }

    fn wait_unreachable(&mut self, query: NextHopQuery, why: Unreachable) {
        self.wait(query, |answer| answer == NextHop::Unreachable(why));
    }
}

const IN0: MacAddress = MacAddress([2, 0, 0, 0, 1, 1]);
const PEER_IN: MacAddress = MacAddress([2, 0, 0, 0, 2, 1]);
const OUT0: MacAddress = MacAddress([2, 0, 0, 0, 1, 2]);
const PEER_OUT: MacAddress = MacAddress([2, 0, 0, 0, 2, 2]);
const MOVED: MacAddress = MacAddress([2, 0, 0, 0, 2, 9]);

/// ```text
///   relay  in0  10.1.0.1/24 fd01::1/64 ── pin0   10.1.0.2, fd01::2, fe80::2   peer
///          out0 10.2.0.1/24 fd02::1/64 ── pout0  10.2.0.2, fd02::2
/// ```
fn between_namespaces(test: impl FnOnce(&Peer, &mut Relay) + Send + 'static) {
    assert!(
        nix::unistd::geteuid().is_root(),
        "network namespaces need root"
    );
    let (tell_tid, peer_tid) = channel();
    let (tasks, todo) = channel::<(Task, Sender<()>)>();
    let peer = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a namespace for the peer");
        tell_tid
            .send(nix::unistd::gettid())
            .expect("the test waits");
        for (task, done) in todo {
            task();
            let _ = done.send(());
        }
    });
    let relay = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a namespace for the relay");
        let tid = peer_tid.recv().expect("the peer has a namespace");
        for (name, peer_name, mac, peer_mac) in [
            ("in0", "pin0", IN0, PEER_IN),
            ("out0", "pout0", OUT0, PEER_OUT),
        ] {
            ip(&format!(
                "link add {name} address {mac} type veth \
                 peer name {peer_name} address {peer_mac} netns {tid}"
            ));
            ip(&format!("link set {name} up"));
        }
        ip("link set lo up");
        let peer = Peer { tasks };
        for arguments in [
            "link set pin0 up",
            "link set pout0 up",
            "addr add 10.1.0.2/24 dev pin0",
            "addr add fd01::2/64 dev pin0 nodad",
            "addr add fe80::2/64 dev pin0 nodad",
            "addr add 10.2.0.2/24 dev pout0",
            "addr add fd02::2/64 dev pout0 nodad",
        ] {
            peer.ip(arguments);
        }
        ip("addr add 10.1.0.1/24 dev in0");
        ip("addr add fd01::1/64 dev in0 nodad");
        ip("addr add 10.2.0.1/24 dev out0");
        ip("addr add fd02::1/64 dev out0 nodad");
        test(&peer, &mut Relay::new());
    });
    let outcome = relay.join();
    let peer_outcome = peer.join();
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
    peer_outcome.expect("the peer's tasks succeed");
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address of the test")
}

fn query(destination: &str, source: &str) -> NextHopQuery {
    NextHopQuery {
        destination: address(destination),
        source: address(source),
    }
}

#[test]
fn on_link_neighbours_of_both_families_are_resolved_by_solicitation() {
    between_namespaces(|_, relay| {
        let v4 = query("10.1.0.2", "10.1.0.1");
        let v6 = query("fd02::2", "fd02::1");
        relay.neighbours.resolve(v4);
        relay.neighbours.resolve(v6);
        let expected = |device, source, destination| Link {
            device: DeviceId(device),
            source,
            destination,
            vlan: VlanTags::None,
            mtu: 1500,
        };
        assert_eq!(relay.wait_for_mac(v4, PEER_IN), expected(0, IN0, PEER_IN));
        assert_eq!(
            relay.wait_for_mac(v6, PEER_OUT),
            expected(1, OUT0, PEER_OUT)
        );
        assert!(relay.neighbours.counts().solicitations >= 2);
    });
}

#[test]
fn gateways_of_both_families_and_link_local_ones_are_the_next_hop() {
    between_namespaces(|_, relay| {
        ip("route add 192.0.2.0/24 via 10.1.0.2");
        ip("route add 2001:db8:1::/64 via fd02::2");
        ip("route add default via fe80::2 dev in0");
        ip("route add 198.51.100.0/24 via inet6 fe80::2 dev in0");
        ip("route add 203.0.113.0/24 via 10.2.0.2 mtu 1280");
        for (destination, source, mac, mtu) in [
            ("192.0.2.7", "10.1.0.1", PEER_IN, 1500),
            ("2001:db8:1::7", "fd02::1", PEER_OUT, 1500),
            ("2001:db8:2::7", "fd01::1", PEER_IN, 1500),
            ("198.51.100.7", "10.1.0.1", PEER_IN, 1500),
            ("203.0.113.7", "10.2.0.1", PEER_OUT, 1280),
        ] {
            let query = query(destination, source);
            relay.neighbours.resolve(query);
            assert_eq!(relay.wait_for_mac(query, mac).mtu, mtu, "{destination}");
        }
    });
}

#[test]
fn a_mac_change_while_watched_is_told() {
    between_namespaces(|peer, relay| {
        let v4 = query("10.1.0.2", "10.1.0.1");
        let v6 = query("fd01::2", "fd01::1");
        relay.neighbours.resolve(v4);
        relay.neighbours.resolve(v6);
        relay.wait_for_mac(v4, PEER_IN);
        relay.wait_for_mac(v6, PEER_IN);
        // The neighbour announces itself, as the fail-over of a router would: a gratuitous ARP, an
        // unsolicited neighbour advertisement.
        peer.run(|| {
            sysctl("ipv4/conf/pin0/arp_notify", "1");
            sysctl("ipv6/conf/pin0/ndisc_notify", "1");
            ip("link set pin0 address 02:00:00:00:02:09");
        });
        relay.wait_for_mac(v4, MOVED);
        relay.wait_for_mac(v6, MOVED);
        let told = relay.answers.iter().filter(|(asked, answer)| {
            *asked == v4 && answer.link().is_some_and(|link| link.destination == MOVED)
        });
        assert_eq!(told.count(), 1, "told once: {:?}", relay.answers);
    });
}

#[test]
fn a_neighbour_that_changes_its_mac_in_silence_is_found_out() {
    between_namespaces(|peer, relay| {
        // The kernel's 30 s until an entry goes stale, 5 s until it probes, and three probes, made short.
        sysctl("ipv4/neigh/in0/base_reachable_time_ms", "1000");
        sysctl("ipv4/neigh/in0/delay_first_probe_time", "1");
        sysctl("ipv4/neigh/in0/ucast_solicit", "1");
        let query = query("10.1.0.2", "10.1.0.1");
        relay.neighbours.resolve(query);
        relay.wait_for_mac(query, PEER_IN);
        peer.ip("link set pin0 address 02:00:00:00:02:09");
        relay.wait_for_mac(query, MOVED);
        let lost = relay
            .answers
            .iter()
            .any(|(_, answer)| answer.link().is_none());
        assert!(
            !lost,
            "the old MAC stays until the new: {:?}",
            relay.answers
        );
    });
}

#[test]
fn routes_that_change_move_the_next_hop() {
    between_namespaces(|_, relay| {
        ip("route add 192.0.2.0/24 via 10.1.0.2");
        let query = query("192.0.2.7", "10.1.0.1");
        relay.neighbours.resolve(query);
        assert_eq!(relay.wait_for_mac(query, PEER_IN).device, DeviceId(0));
        ip("route replace 192.0.2.0/24 via 10.2.0.2");
        assert_eq!(relay.wait_for_mac(query, PEER_OUT).device, DeviceId(1));
        for kind in ["blackhole", "unreachable", "prohibit"] {
            ip(&format!("route replace {kind} 192.0.2.0/24"));
            relay.wait_unreachable(query, Unreachable::NoRoute);
            ip("route replace 192.0.2.0/24 via 10.1.0.2");
            relay.wait_for_mac(query, PEER_IN);
        }
        ip("route del 192.0.2.0/24");
        relay.wait_unreachable(query, Unreachable::NoRoute);
        ip("rule add to 192.0.2.0/24 lookup 77");
        ip("route add 192.0.2.0/24 via 10.2.0.2 table 77");
        relay.wait_for_mac(query, PEER_OUT);
    });
}

#[test]
fn links_and_addresses_that_go_away_are_told_with_the_reason() {
    between_namespaces(|peer, relay| {
        let watched = query("10.1.0.2", "10.1.0.1");
        relay.neighbours.resolve(watched);
        relay.wait_for_mac(watched, PEER_IN);
        peer.ip("link set pin0 down");
        relay.wait_unreachable(watched, Unreachable::LinkDown);
        peer.ip("link set pin0 up");
        relay.wait_for_mac(watched, PEER_IN);
        ip("addr del 10.1.0.1/24 dev in0");
        relay.wait_unreachable(watched, Unreachable::BadSource);
        ip("addr add 10.1.0.1/24 dev in0");
        relay.wait_for_mac(watched, PEER_IN);

        let own = query("10.2.0.1", "10.1.0.1");
        relay.neighbours.resolve(own);
        relay.wait_unreachable(own, Unreachable::OwnAddress);
        let own = query("fd02::1", "fd01::1");
        relay.neighbours.resolve(own);
        relay.wait_unreachable(own, Unreachable::OwnAddress);
        let broadcast = query("10.1.0.255", "10.1.0.1");
        relay.neighbours.resolve(broadcast);
        relay.wait_unreachable(broadcast, Unreachable::NotUnicast);
        let nowhere = query("2001:db8::1", "fd01::1");
        relay.neighbours.resolve(nowhere);
        relay.wait_unreachable(nowhere, Unreachable::NoRoute);
    });
}

#[test]
fn a_neighbour_that_appears_late_is_found() {
    between_namespaces(|peer, relay| {
        let query = query("10.1.0.3", "10.1.0.1");
        relay.neighbours.resolve(query);
        relay.wait_unreachable(query, Unreachable::NoNeighbour);
        peer.ip("addr add 10.1.0.3/24 dev pin0");
        relay.wait_for_mac(query, PEER_IN);
    });
}

#[test]
fn a_watched_entry_survives_the_kernel_forgetting_it() {
    between_namespaces(|_, relay| {
        let query = query("10.1.0.2", "10.1.0.1");
        relay.neighbours.resolve(query);
        relay.wait_for_mac(query, PEER_IN);
        let before = relay.neighbours.counts();
        ip("neigh flush dev in0");
        let until = Instant::now() + PATIENCE;
        while relay.neighbours.counts().solicitations == before.solicitations {
            assert!(Instant::now() < until, "solicited again");
            relay.step();
            thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(relay.neighbours.counts().changes, before.changes);
        assert_eq!(relay.wait_for_mac(query, PEER_IN).source, IN0);
    });
}

#[test]
#[ignore = "needs a kernel with 8021q, which not every machine's has: run with --ignored there"]
fn vlan_sub_interfaces_leave_by_the_device_below_with_their_tags() {
    between_namespaces(|peer, relay| {
        ip("link add link out0 name outer type vlan proto 802.1ad id 7");
        ip("link add link outer name inner type vlan id 12");
        peer.ip("link add link pout0 name outer type vlan proto 802.1ad id 7");
        peer.ip("link add link outer name inner type vlan id 12");
        for each in ["link set outer up", "link set inner up"] {
            ip(each);
            peer.ip(each);
        }
        ip("addr add 10.3.0.1/24 dev inner");
        peer.ip("addr add 10.3.0.2/24 dev inner");
        let query = query("10.3.0.2", "10.3.0.1");
        relay.neighbours.resolve(query);
        let link = relay.wait_for_mac(query, PEER_OUT);
        let tag = |tpid, tci| VlanTag { tpid, tci };
        assert_eq!(link.device, DeviceId(1));
        assert_eq!(link.vlan, VlanTags::Double(tag(0x88a8, 7), tag(0x8100, 12)));
    });
}

#[test]
fn routes_by_devices_without_media_are_refused() {
    between_namespaces(|_, relay| {
        ip("link add other0 type veth peer name other1");
        ip("link set other1 up");
        ip("link set other0 up");
        ip("addr add 10.9.0.1/24 dev other0");
        let query = query("10.9.0.2", "10.1.0.1");
        relay.neighbours.resolve(query);
        relay.wait_unreachable(query, Unreachable::OtherDevice);
    });
}
