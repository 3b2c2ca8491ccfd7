//! Proof 1: every RTP packet that is sent arrives, once, unchanged, whatever the families and queues.

use std::net::SocketAddr;

use rustix::thread::{CpuSet, sched_setaffinity};

use crate::lab::call::Call;
use crate::lab::network::{Network, at};
use crate::lab::phone::Phone;
use crate::lab::relay::{MEDIA_PORTS, Relay, Setup};
use crate::lab::rtp::{Media, Party, assert_both_heard_all, introduce, talk};
use crate::lab::turn::Turn;

const CALLS: u16 = 100;
/// 5 s of G.711 each way and call.
const PACKETS: u64 = 250;

/// The two phones' hosts, the two listeners of the relay, and the number that is answered by the callee.
struct Plan {
    caller: &'static str,
    inside: &'static str,
    outside: &'static str,
    callee: &'static str,
    user: &'static str,
}

const IPV4: Plan = Plan {
    caller: "10.1.0.2",
    inside: "10.1.0.1",
    outside: "10.2.0.1",
    callee: "10.2.0.2",
    user: "4711",
};

const IPV6: Plan = Plan {
    caller: "fd01::2",
    inside: "fd01::1",
    outside: "fd02::1",
    callee: "fd02::2",
    user: "6711",
};

/// IPv4 offered, IPv6 answered.
const BRIDGED: Plan = Plan {
    outside: "fd02::1",
    callee: "fd02::2",
    user: "6711",
    ..IPV4
};

impl Plan {
    fn phones(&self, network: &Network) -> (Phone, Phone) {
        let caller = Phone::new(
            &network.caller,
            at(self.caller, 5060),
            at(self.inside, 5060),
        );
        let callee = Phone::new(
            &network.callee,
            at(self.callee, 5060),
            at(self.outside, 5060),
        );
        (caller, callee)
    }

    /// Sets a call up whose parties have been told where to send.
    fn call(
        &self,
        network: &Network,
        (caller, callee): (&mut Phone, &mut Phone),
        port: u16,
    ) -> (Call, [Party; 2]) {
        let mut one = Party::g711(&network.caller, at(self.caller, port));
        let mut other = Party::g711(&network.callee, at(self.callee, port));
        let call = Call::establish(caller, callee, self.user, one.address(), other.address());
        one.towards = Some(call.caller_sends_to);
        other.towards = Some(call.callee_sends_to);
        introduce(&mut one, &mut other);
        (call, [one, other])
    }

    /// The RTCP parties of a call without rtcp-mux: one port up on all four sides.
    fn rtcp(&self, network: &Network, call: &Call, port: u16) -> [Party; 2] {
        let up = |address: SocketAddr| SocketAddr::new(address.ip(), address.port() + 1);
        let mut one = Party::new(&network.caller, at(self.caller, port + 1), Media::Rtcp);
        let mut other = Party::new(&network.callee, at(self.callee, port + 1), Media::Rtcp);
        one.towards = Some(up(call.caller_sends_to));
        other.towards = Some(up(call.callee_sends_to));
        introduce(&mut one, &mut other);
        [one, other]
    }
}

/// A hundred calls at once, each checked packet by packet, with what the hosts' kernels counted beside.
fn hundred_calls(plan: &Plan) {
    let _turn = Turn::alone();
    let network = Network::new(2);
    network.count_media(MEDIA_PORTS.0, MEDIA_PORTS.1);
    let relay = Relay::start(&network, &Setup::default());
    let (mut caller, mut callee) = plan.phones(&network);
    let mut calls = Vec::new();
    let mut parties = Vec::new();
    let mut control = Vec::new();
    for number in 0..CALLS {
        let port = 30_000 + 4 * number;
        let (call, pair) = plan.call(&network, (&mut caller, &mut callee), port);
        control.extend(plan.rtcp(&network, &call, port));
        calls.push(call);
        parties.extend(pair);
    }

    talk(&mut parties, PACKETS);
    talk(&mut control, 5);

    for pair in parties.chunks(2).chain(control.chunks(2)) {
        assert_both_heard_all(&pair[0], &pair[1]);
    }
    let each_way = u64::from(CALLS) * (PACKETS + 5);
    for host in [&network.caller, &network.callee] {
        assert_eq!(host.counted("sent"), each_way);
        assert_eq!(host.counted("received"), each_way);
    }
    assert_kernel_saw_nothing(&network);
    let workers = relay.workers();
    assert_eq!(workers.received(), 2 * each_way, "through AF_XDP");
    assert_eq!(workers.dropped(), 0, "{workers:?}");
    for worker in 0..2 {
        assert!(workers.received_by(worker) > 0, "worker {worker} is idle");
    }
    for call in calls {
        call.caller_hangs_up(&mut caller, &mut callee);
    }
}

#[track_caller]
fn assert_kernel_saw_nothing(network: &Network) {
    assert_eq!(network.relay.counted("received"), 0, "media in the kernel");
    assert_eq!(network.relay.counted("sent"), 0, "media from the kernel");
}

#[test]
fn hundred_calls_over_ipv4_lose_nothing() {
    hundred_calls(&IPV4);
}

#[test]
fn hundred_calls_over_ipv6_lose_nothing() {
    hundred_calls(&IPV6);
}

#[test]
fn hundred_calls_bridged_from_ipv4_to_ipv6_lose_nothing() {
    hundred_calls(&BRIDGED);
}

#[test]
fn a_flow_may_arrive_on_either_queue() {
    let _turn = Turn::alone();
    let network = Network::new(2);
    let relay = Relay::start(&network, &Setup::default());
    for host in [&network.caller, &network.callee] {
        // Transmit packet steering: what core 0 sends leaves by queue 0, what core 1 sends by queue 1.
        host.shell(
            "cd /sys/class/net/up0/queues && echo 1 > tx-0/xps_cpus && echo 2 > tx-1/xps_cpus",
        );
    }
    let (mut caller, mut callee) = IPV4.phones(&network);
    let (_call, mut parties) = IPV4.call(&network, (&mut caller, &mut callee), 30_000);
    for round in 0..200 {
        let mut core = CpuSet::new();
        core.set(round % 2);
        sched_setaffinity(None, &core).expect("this machine has two cores");
        for party in &mut parties {
            party.listen();
            party.speak();
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    talk(&mut parties, 1);
    assert_both_heard_all(&parties[0], &parties[1]);
    let workers = relay.workers();
    for device in ["in0", "out0"] {
        for queue in 0..2 {
            let received = workers.received_on(device, queue);
            assert!(received >= 90, "{device} queue {queue}: {received} of 200");
        }
    }
}

#[test]
fn frames_with_finished_checksums_are_relayed_too() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    for host in [&network.caller, &network.callee] {
        host.run("ethtool -K up0 tx off");
    }
    let _relay = Relay::start(&network, &Setup::default());
    for plan in [&IPV4, &IPV6, &BRIDGED] {
        let (mut caller, mut callee) = plan.phones(&network);
        let (_call, mut parties) = plan.call(&network, (&mut caller, &mut callee), 30_000);
        talk(&mut parties, 50);
        assert_both_heard_all(&parties[0], &parties[1]);
    }
}

#[test]
fn payloads_of_every_size_pass() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    let _relay = Relay::start(&network, &Setup::default());
    for plan in [&IPV4, &BRIDGED] {
        let (mut caller, mut callee) = plan.phones(&network);
        let mut all = Vec::new();
        // 1440 and 12 of RTP are what an IPv6 packet of 1500 bytes holds.
        for (index, size) in [16, 17, 33, 80, 161, 320, 999, 1200, 1439, 1440]
            .iter()
            .enumerate()
        {
            let port = 30_000 + 4 * index as u16;
            let media = Media::Rtp(*size);
            let mut one = Party::new(&network.caller, at(plan.caller, port), media);
            let mut other = Party::new(&network.callee, at(plan.callee, port), media);
            let (one_at, other_at) = (one.address(), other.address());
            let call = Call::establish(&mut caller, &mut callee, plan.user, one_at, other_at);
            one.towards = Some(call.caller_sends_to);
            other.towards = Some(call.callee_sends_to);
            introduce(&mut one, &mut other);
            all.extend([one, other]);
        }
        talk(&mut all, 25);
        for pair in all.chunks(2) {
            assert_both_heard_all(&pair[0], &pair[1]);
        }
    }
}
