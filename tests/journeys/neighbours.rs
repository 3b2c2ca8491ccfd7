//! The way to a party changes in the middle of a call.

use std::time::Duration;

use crate::lab::call::Call;
use crate::lab::network::at;
use crate::lab::pair::Pair;
use crate::lab::relay::Setup;
use crate::lab::rtp::{Party, introduce, talk};
use crate::lab::turn::Turn;

/// How long an old next hop may linger.
const CHANGE: Duration = Duration::from_millis(1500);

#[test]
fn a_changed_mac_address_is_followed() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default());
    let (call, mut parties) = pair.call(30_000);
    Pair::assert_audio(&mut parties);
    let callee = &pair.network.callee;
    callee.run("sysctl -qw net.ipv4.conf.up0.arp_notify=1");
    callee.ip("link set up0 address 02:00:5e:10:20:30");
    std::thread::sleep(CHANGE);
    Pair::assert_audio(&mut parties);
    pair.finish(call);
}

#[test]
fn a_changed_route_is_followed() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default());
    // The callee's audio is at an address behind it; later behind another host of the same wire.
    pair.network.callee.ip("address add 10.9.0.2/32 dev lo");
    pair.network.relay.ip("route add 10.9.0.2/32 via 10.2.0.2");
    let mut parties = pair.parties(30_000);
    parties[1] = Party::g711(&pair.network.callee, at("10.9.0.2", 30_000));
    let [one, other] = &mut parties;
    introduce(one, other);
    let (one_at, other_at) = (one.address(), other.address());
    let call = Call::establish(&mut pair.caller, &mut pair.callee, "4711", one_at, other_at);
    one.towards = Some(call.caller_sends_to);
    other.towards = Some(call.callee_sends_to);
    Pair::assert_audio(&mut parties);

    // 10.2.0.9 is the same host with another MAC address: a macvlan.
    let callee = &pair.network.callee;
    callee.run("sysctl -qw net.ipv4.conf.all.arp_ignore=1");
    callee.ip("link add link up0 name other0 address 02:00:5e:10:20:31 type macvlan mode bridge");
    callee.ip("address add 10.2.0.9/32 dev other0");
    callee.ip("link set other0 up");
    let seen = frames_to(&pair, "other0");
    pair.network
        .relay
        .ip("route replace 10.9.0.2/32 via 10.2.0.9");
    std::thread::sleep(CHANGE);
    talk(&mut parties, 1);
    Pair::assert_audio(&mut parties);
    let through_other = frames_to(&pair, "other0") - seen;
    assert!(through_other >= 50, "{through_other} frames by the new way");
    pair.finish(call);
}

fn frames_to(pair: &Pair, device: &str) -> u64 {
    let path = format!("cat /sys/class/net/{device}/statistics/rx_packets");
    pair.network
        .callee
        .run(&path)
        .trim()
        .parse()
        .expect("a number")
}
