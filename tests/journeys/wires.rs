//! The lab proves itself without the relay: a forwarding kernel in the middle loses nothing, and what is
//! counted at the ends is what was sent. A test bench that cannot fail proves nothing, so here it also does.

use crate::lab::network::{Network, at};
use crate::lab::rtp::{Media, Party, assert_both_heard_all, introduce, talk};
use crate::lab::turn::Turn;

fn routed() -> Network {
    let network = Network::new(2);
    network
        .relay
        .run("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
    for (host, net) in [(&network.caller, 1), (&network.callee, 2)] {
        host.ip(&format!("route add default via 10.{net}.0.1"));
        host.ip(&format!("-6 route add default via fd0{net}::1"));
    }
    network
}

#[test]
fn a_plain_router_delivers_every_packet_and_both_ends_count_them() {
    let _turn = Turn::shared();
    let network = routed();
    network.count_media(20_000, 29_999);
    let mut parties = Vec::new();
    for call in 0..10 {
        let media = if call % 5 == 4 {
            Media::Rtcp
        } else {
            Media::Rtp(160)
        };
        let (one, other) = match call % 2 {
            0 => ("10.1.0.2", "10.2.0.2"),
            _ => ("fd01::2", "fd02::2"),
        };
        let one = at(one, 20_000 + 2 * call);
        let other = at(other, 20_000 + 2 * call);
        let mut caller = Party::new(&network.caller, one, media);
        let mut callee = Party::new(&network.callee, other, media);
        caller.towards = Some(other);
        callee.towards = Some(one);
        introduce(&mut caller, &mut callee);
        parties.extend([caller, callee]);
    }
    talk(&mut parties, 50);
    for pair in parties.chunks(2) {
        assert_both_heard_all(&pair[0], &pair[1]);
    }
    assert_eq!(network.caller.counted("sent"), 500);
    assert_eq!(network.caller.counted("received"), 500);
    assert_eq!(network.callee.counted("sent"), 500);
    assert_eq!(network.callee.counted("received"), 500);
    assert_eq!(network.relay.counted("received"), 1000);
}

#[test]
#[should_panic(expected = "packets lost [")]
fn a_lost_packet_is_noticed() {
    let _turn = Turn::shared();
    let network = routed();
    network.relay.filter(
        "table inet thief { chain forward { type filter hook forward priority 0; \
         udp dport 20000 numgen inc mod 40 == 7 drop; }; }",
    );
    let mut caller = Party::g711(&network.caller, at("10.1.0.2", 20_000));
    let mut callee = Party::g711(&network.callee, at("10.2.0.2", 20_000));
    caller.towards = Some(callee.address());
    callee.towards = Some(caller.address());
    introduce(&mut caller, &mut callee);
    let mut parties = [caller, callee];
    talk(&mut parties, 50);
    assert_both_heard_all(&parties[0], &parties[1]);
}

#[test]
#[should_panic(expected = "altered 1")]
fn an_altered_packet_is_noticed() {
    let _turn = Turn::shared();
    let network = routed();
    // Byte 40 of the payload of one packet in 64 becomes zero; the kernel mends the checksum.
    network.relay.filter(
        "table inet forger { chain forward { type filter hook forward priority 0; \
         udp dport 20000 numgen inc mod 64 == 7 @th,384,8 set 0; }; }",
    );
    let mut caller = Party::g711(&network.caller, at("10.1.0.2", 20_000));
    let mut callee = Party::g711(&network.callee, at("10.2.0.2", 20_000));
    callee.towards = Some(caller.address());
    caller.towards = Some(callee.address());
    introduce(&mut caller, &mut callee);
    let mut parties = [callee, caller];
    talk(&mut parties, 30);
    assert_both_heard_all(&parties[0], &parties[1]);
}
