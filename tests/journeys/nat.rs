//! Proof 2: a caller behind NAT, and a stranger at the port that its audio comes from.

use std::time::Duration;

use crate::lab::call::Call;
use crate::lab::network::{Host, Network, at};
use crate::lab::phone::Phone;
use crate::lab::relay::{Relay, Setup};
use crate::lab::rtp::{Party, assert_both_heard_all, assert_heard_all, introduce, talk};
use crate::lab::turn::Turn;

/// `home` (192.168.10.2) is behind the caller's host, which hides it behind 10.1.0.2 and another port.
/// `stranger` (10.3.0.2) is behind the same host without translation.
struct Nat {
    home: Host,
    stranger: Host,
    network: Network,
}

impl Nat {
    fn new() -> Self {
        let network = Network::new(2);
        let router = &network.caller;
        let home = network.hang("home", router, "lan0");
        let stranger = network.hang("stranger", router, "lan1");
        for (host, net) in [(&home, "192.168.10"), (&stranger, "10.3.0")] {
            host.ip(&format!("address add {net}.2/24 dev up0"));
            host.ip(&format!("route add default via {net}.1"));
        }
        router.ip("address add 192.168.10.1/24 dev lan0");
        router.ip("address add 10.3.0.1/24 dev lan1");
        router.run("sysctl -qw net.ipv4.ip_forward=1");
        router.filter(
            "table ip nat {
                chain postrouting {
                    type nat hook postrouting priority 100;
                    ip saddr 192.168.10.0/24 meta l4proto udp masquerade to :40000-49999
                }
            }",
        );
        network.relay.ip("route add 10.3.0.0/24 via 10.1.0.2");
        Self {
            home,
            stranger,
            network,
        }
    }

    /// A call from home, whose SDP says 192.168.10.2.
    fn call(&self) -> (Phone, Phone, Call, [Party; 2]) {
        let mut caller = Phone::new(&self.home, at("192.168.10.2", 5060), at("10.1.0.1", 5060));
        let mut callee = Phone::new(
            &self.network.callee,
            at("10.2.0.2", 5060),
            at("10.2.0.1", 5060),
        );
        let mut one = Party::g711(&self.home, at("192.168.10.2", 30_000));
        let mut other = Party::g711(&self.network.callee, at("10.2.0.2", 30_000));
        let (one_at, other_at) = (one.address(), other.address());
        let call = Call::establish(&mut caller, &mut callee, "4711", one_at, other_at);
        one.towards = Some(call.caller_sends_to);
        other.towards = Some(call.callee_sends_to);
        introduce(&mut one, &mut other);
        (caller, callee, call, [one, other])
    }
}

#[test]
fn audio_flows_both_ways_when_the_address_is_learnt() {
    let _turn = Turn::shared();
    let nat = Nat::new();
    let _relay = Relay::start(&nat.network, &Setup::default());
    let (mut caller, mut callee, call, mut parties) = nat.call();
    // The relay learns from the first packet; what the callee says before it has nowhere to go.
    parties[0].speak();
    std::thread::sleep(Duration::from_millis(100));
    talk(&mut parties, 100);
    assert_both_heard_all(&parties[0], &parties[1]);
    // RFC 3581: the address and port that the request came from, which is where the answer has gone.
    let via = call.answer.expect_header("Via");
    assert!(via.contains(";received=10.1.0.2"), "{via}");
    assert!(via.contains(";rport=4"), "{via}");
    call.callee_hangs_up(&mut caller, &mut callee);
}

#[test]
fn a_stranger_at_the_locked_port_is_dropped_and_counted() {
    let _turn = Turn::shared();
    let nat = Nat::new();
    let relay = Relay::start(&nat.network, &Setup::default());
    let (_caller, _callee, call, mut parties) = nat.call();
    parties[0].speak();
    std::thread::sleep(Duration::from_millis(100));
    let mut injector = Party::g711(&nat.stranger, at("10.3.0.2", 30_000));
    injector.towards = Some(call.caller_sends_to);
    let before = relay.workers().dropped_for("wrong_source");
    let [one, other] = &mut parties;
    talk([&mut *one, &mut *other, &mut injector], 100);
    assert_both_heard_all(&parties[0], &parties[1]);
    let after = relay.workers().dropped_for("wrong_source");
    assert_eq!(after - before, injector.sent());
    assert_eq!(injector.sent(), 100);
}

#[test]
fn a_stranger_is_dropped_when_only_the_sdp_is_believed() {
    let _turn = Turn::shared();
    let nat = Nat::new();
    let setup = Setup::default()
        .replace("latch_window = \"10s\"\n", "")
        .set("latch", "\"sdp\"");
    let relay = Relay::start(&nat.network, &setup);
    let (_caller, _callee, _call, mut parties) = nat.call();
    talk(&mut parties[..1], 20);
    parties[1].listen();
    assert_eq!(parties[1].heard(), 0, "the SDP named another address");
    assert_eq!(relay.workers().dropped_for("wrong_source"), 20);
}

/// A call of a caller that is where it says, with one more host that sends to its port.
fn with_a_stranger(latch: &str) -> (Relay, Nat, [Party; 2], Party) {
    let nat = Nat::new();
    let setup = Setup::default()
        .replace("latch_window = \"10s\"\n", "")
        .set("latch", latch);
    let relay = Relay::start(&nat.network, &setup);
    let hosts = &nat.network;
    let mut caller = Phone::new(&hosts.caller, at("10.1.0.2", 5060), at("10.1.0.1", 5060));
    let mut callee = Phone::new(&hosts.callee, at("10.2.0.2", 5060), at("10.2.0.1", 5060));
    let mut one = Party::g711(&hosts.caller, at("10.1.0.2", 30_000));
    let mut other = Party::g711(&hosts.callee, at("10.2.0.2", 30_000));
    introduce(&mut one, &mut other);
    let (one_at, other_at) = (one.address(), other.address());
    let call = Call::establish(&mut caller, &mut callee, "4711", one_at, other_at);
    one.towards = Some(call.caller_sends_to);
    other.towards = Some(call.callee_sends_to);
    let mut stranger = Party::g711(&nat.stranger, at("10.3.0.2", 30_000));
    stranger.towards = Some(call.caller_sends_to);
    (relay, nat, [one, other], stranger)
}

#[test]
fn the_signalled_source_alone_is_heard_when_only_the_sdp_is_believed() {
    let _turn = Turn::shared();
    let (relay, _nat, mut parties, mut stranger) = with_a_stranger("\"sdp\"");
    // The stranger is first.
    stranger.speak();
    let [one, other] = &mut parties;
    talk([&mut *one, &mut *other, &mut stranger], 50);
    assert_both_heard_all(&parties[0], &parties[1]);
    let dropped = relay.workers().dropped_for("wrong_source");
    assert_eq!(dropped, stranger.sent());
}

#[test]
fn anybody_is_heard_when_latching_is_off_and_the_signalled_address_is_answered() {
    let _turn = Turn::shared();
    let (relay, _nat, mut parties, mut stranger) = with_a_stranger("\"off\"");
    let [one, other] = &mut parties;
    // What the callee hears is the stranger; what it says goes where the SDP said.
    introduce(&mut stranger, other);
    talk([&mut *other, &mut stranger], 50);
    assert_heard_all(other, &stranger);
    one.listen();
    assert_heard_all(one, other);
    assert_eq!(relay.workers().dropped(), 0);
}
