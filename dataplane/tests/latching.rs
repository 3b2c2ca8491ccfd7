//! Whom a flow believes, and how the flow that faces it follows: journeys of two parties through one
//! worker.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod support;

use std::time::Duration;

use contract::*;
use dataplane::settings::ReceivedChecksums;
use support::*;

const PA: &str = "10.0.0.1:20000";
const PB: &str = "10.1.0.1:20000";
const A: &str = "10.0.0.9:4000";
const B: &str = "10.1.0.9:5000";
const NAT: &str = "10.0.0.77:61000";
const OTHER: &str = "10.0.0.66:62000";
const WINDOW: Duration = Duration::from_secs(10);
const LEARN: LatchPolicy = LatchPolicy::Learn { window: WINDOW };

/// The flow that faces A: what A sends goes to B.
fn facing_a(policy: LatchPolicy) -> FlowEntry {
    FlowEntry {
        id: FlowId(1),
        key: key(PA),
        payload: Payload::Rtp,
        latch: latch(policy, Some(A)),
        rtp: Some(egress(PB, Some(B), 1)),
        rtcp: None,
        idle_after: None,
        handling: contract::Handling::default(),
    }
}

/// The flow that faces B.
fn facing_b(policy: LatchPolicy) -> FlowEntry {
    FlowEntry {
        id: FlowId(2),
        key: key(PB),
        payload: Payload::Rtp,
        latch: latch(policy, Some(B)),
        rtp: Some(egress(PA, Some(A), 0)),
        rtcp: None,
        idle_after: None,
        handling: contract::Handling::default(),
    }
}

fn call(policy: LatchPolicy) -> Bench {
    let mut bench = Bench::new(ReceivedChecksums::MayBeUnfinished);
    bench.install(facing_a(policy));
    bench.install(facing_b(policy));
    bench
}

fn from(source: &str, to: &str) -> Vec<u8> {
    let mut datagram = Datagram::new(addr(source), addr(to), &rtp(1, 160));
    // A MAC of its own for each host.
    datagram.mac_from[5] = last_octet(source);
    datagram.bytes(Field::Right)
}

fn last_octet(address: &str) -> u8 {
    match addr(address).ip() {
        std::net::IpAddr::V4(v4) => v4.octets()[3],
        std::net::IpAddr::V6(v6) => v6.octets()[15],
    }
}

/// Where a packet from B arrives now: address and next hop.
fn reaches_a_at(bench: &mut Bench) -> (std::net::SocketAddr, [u8; 6]) {
    let left = bench.send(1, &from(B, PB));
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].0, 0, "by A's device");
    let (datagram, _) = Datagram::parse(&left[0].1);
    assert_eq!(datagram.from, addr(PA));
    (datagram.to, datagram.mac_to)
}

fn mac(last: u8) -> MacAddress {
    MacAddress([2, 0, 0, 0, 0, last])
}

#[test]
fn sdp_takes_packets_from_the_signalled_address_only() {
    let mut bench = call(LatchPolicy::Sdp);
    assert_eq!(bench.send(0, &from(A, PA)).len(), 1);
    assert_eq!(bench.dropped(0, &from(NAT, PA)), DropReason::WrongSource);
    // Same address, another port.
    assert_eq!(
        bench.dropped(0, &from("10.0.0.9:4002", PA)),
        DropReason::WrongSource
    );
    let tally = bench.shared.flows.read(WorkerId(0), &key(PA)).unwrap();
    assert_eq!((tally.packets, tally.wrong_source), (1, 2));
    assert_eq!(bench.events(), []);
}

#[test]
fn off_takes_packets_from_anywhere_and_answers_the_signalled_address() {
    let mut bench = call(LatchPolicy::Off);
    assert_eq!(bench.send(0, &from(NAT, PA)).len(), 1);
    assert_eq!(bench.send(0, &from(OTHER, PA)).len(), 1);
    assert_eq!(reaches_a_at(&mut bench).0, addr(A));
    assert_eq!(bench.events(), []);
}

#[test]
fn nobody_is_believed_before_signalling_has_named_somebody() {
    let mut bench = Bench::new(ReceivedChecksums::MayBeUnfinished);
    let mut entry = facing_a(LatchPolicy::Sdp);
    entry.latch.signalled = None;
    bench.install(entry);
    assert_eq!(bench.dropped(0, &from(A, PA)), DropReason::NotLatched);
}

#[test]
fn a_caller_behind_nat_is_learnt_and_answered_at_once() {
    let mut bench = call(LEARN);
    assert_eq!(reaches_a_at(&mut bench).0, addr(A));
    bench.events();
    assert_eq!(bench.send(0, &from(NAT, PA)).len(), 1);
    let latched = Event::Latched {
        flow: FlowId(1),
        armed: 1,
        remote: addr(NAT),
        next_hop: mac(77),
    };
    assert_eq!(bench.events(), [latched]);
    assert_eq!(reaches_a_at(&mut bench), (addr(NAT), mac(77).0));
    assert_eq!(bench.dropped(0, &from(OTHER, PA)), DropReason::WrongSource);
    let tally = bench.shared.flows.read(WorkerId(0), &key(PA)).unwrap();
    assert_eq!(tally.latched, Some(addr(NAT)));
}

#[test]
fn the_signalled_source_takes_over_within_the_window_only() {
    let mut bench = call(LEARN);
    bench.send(0, &from(OTHER, PA));
    assert_eq!(reaches_a_at(&mut bench).0, addr(OTHER));
    bench.send(0, &from(A, PA));
    assert_eq!(reaches_a_at(&mut bench).0, addr(A));
    assert_eq!(bench.dropped(0, &from(OTHER, PA)), DropReason::WrongSource);

    let mut late = call(LEARN);
    late.send(0, &from(OTHER, PA));
    late.now = late.now + WINDOW;
    assert_eq!(late.dropped(0, &from(A, PA)), DropReason::WrongSource);
    assert_eq!(reaches_a_at(&mut late).0, addr(OTHER));
}

#[test]
fn a_window_without_a_packet_leaves_the_rule_of_sdp() {
    let mut bench = call(LEARN);
    bench.now = bench.now + WINDOW;
    assert_eq!(bench.dropped(0, &from(NAT, PA)), DropReason::WrongSource);
    assert_eq!(bench.send(0, &from(A, PA)).len(), 1);
    assert_eq!(bench.send(0, &from(A, PA)).len(), 1);
    assert_eq!(bench.dropped(0, &from(NAT, PA)), DropReason::WrongSource);
}

#[test]
fn only_valid_media_latches() {
    let mut bench = call(LEARN);
    let hostile = Datagram::new(addr(OTHER), addr(PA), &[0x80; 11]);
    assert_eq!(
        bench.dropped(0, &hostile.bytes(Field::Right)),
        DropReason::NotRtp
    );
    let report = Datagram::new(addr(OTHER), addr(PA), &rtcp());
    assert_eq!(
        bench.dropped(0, &report.bytes(Field::Right)),
        DropReason::NotExpected
    );
    let request = Datagram::new(addr(OTHER), addr(PA), &stun());
    assert_eq!(
        bench.dropped(0, &request.bytes(Field::Right)),
        DropReason::Stun
    );
    assert_eq!(bench.events(), []);
    assert_eq!(reaches_a_at(&mut bench).0, addr(A));
}

#[test]
fn updates_keep_sending_to_a_latched_party_until_it_is_armed_anew() {
    let mut bench = call(LEARN);
    bench.send(0, &from(NAT, PA));
    bench.events();
    // Sent before the control plane knew of the latch.
    bench.update(facing_b(LEARN));
    bench.update(facing_a(LEARN));
    assert_eq!(reaches_a_at(&mut bench), (addr(NAT), mac(77).0));
    // The control plane knows, and has resolved a better next hop.
    let mut told = facing_b(LEARN);
    told.rtp = Some(egress(PA, Some(NAT), 0));
    bench.update(told);
    assert_eq!(reaches_a_at(&mut bench), (addr(NAT), link(0).destination.0));
    // A re-INVITE arms the latch: whatever order the two updates come in.
    let mut moved = facing_b(LEARN);
    moved.rtp = Some(egress(PA, Some("10.0.0.10:4444"), 0));
    bench.update(moved);
    assert_eq!(reaches_a_at(&mut bench).0, addr(NAT));
    let mut armed = facing_a(LEARN);
    armed.latch.armed = 2;
    armed.latch.signalled = Some(addr("10.0.0.10:4444"));
    bench.update(armed);
    assert_eq!(reaches_a_at(&mut bench).0, addr("10.0.0.10:4444"));
    bench.send(0, &from(OTHER, PA));
    assert_eq!(reaches_a_at(&mut bench).0, addr(OTHER));
}

#[test]
fn a_latch_before_the_facing_flow_exists_is_found_by_it() {
    let mut bench = Bench::new(ReceivedChecksums::MayBeUnfinished);
    bench.install(facing_a(LEARN));
    bench.send(0, &from(NAT, PA));
    let mut unresolved = facing_b(LEARN);
    unresolved.rtp = Some(egress(PA, None, 0));
    bench.events();
    bench.install(unresolved);
    assert_eq!(reaches_a_at(&mut bench), (addr(NAT), mac(77).0));
    // And forgotten with the flow.
    let remove = Command::Remove {
        id: FlowId(1),
        key: key(PA),
    };
    bench.events();
    assert_eq!(bench.command(remove), Event::Removed(FlowId(1)));
    assert_eq!(bench.dropped(1, &from(B, PB)), DropReason::NoDestination);
}

#[test]
fn another_workers_latch_locks_this_one() {
    let mut bench = call(LEARN);
    let mut told = facing_a(LEARN);
    told.latch.latched = Some(addr(NAT));
    bench.update(told);
    assert_eq!(bench.dropped(0, &from(OTHER, PA)), DropReason::WrongSource);
    assert_eq!(bench.send(0, &from(NAT, PA)).len(), 1);
    assert_eq!(bench.events(), []);
}

#[test]
fn a_tagged_latch_is_answered_with_its_tags() {
    let mut bench = call(LEARN);
    let mut tagged = Datagram::new(addr(NAT), addr(PA), &rtp(1, 160));
    tagged.tags = vec![(0x88a8, 0x0005), (0x8100, 0x6007)];
    bench.send(0, &tagged.bytes(Field::Right));
    let left = bench.send(1, &from(B, PB));
    let (answer, _) = Datagram::parse(&left[0].1);
    assert_eq!(answer.tags, tagged.tags);
    assert_eq!(answer.mac_from, tagged.mac_to);
}

#[test]
fn rtp_latches_a_muxed_port_and_the_unmuxed_side_follows() {
    // A muxes RTP and RTCP at one port, B has two.
    let mut bench = Bench::new(ReceivedChecksums::MayBeUnfinished);
    let (pb_rtcp, b_rtcp) = ("10.1.0.1:20001", "10.1.0.9:5001");
    let mut muxed = facing_a(LEARN);
    muxed.rtcp = Some(egress(pb_rtcp, Some(b_rtcp), 1));
    bench.install(muxed);
    bench.install(facing_b(LEARN));
    let reports = FlowEntry {
        id: FlowId(3),
        key: key(pb_rtcp),
        payload: Payload::Rtp,
        latch: latch(LEARN, Some(b_rtcp)),
        rtp: None,
        rtcp: Some(egress(PA, Some(A), 0)),
        idle_after: None,
        handling: contract::Handling::default(),
    };
    bench.install(reports);
    let report =
        |source: &str, to: &str| Datagram::new(addr(source), addr(to), &rtcp()).bytes(Field::Right);
    // RTCP does not latch where RTP is to come.
    assert_eq!(bench.dropped(0, &report(NAT, PA)), DropReason::NotLatched);
    bench.send(0, &from(NAT, PA));
    let left = bench.send(0, &report(NAT, PA));
    assert_eq!(Datagram::parse(&left[0].1).0.to, addr(b_rtcp));
    // Both flows that face A's port now send to the latched address, and RTCP latches its own port.
    assert_eq!(reaches_a_at(&mut bench).0, addr(NAT));
    bench.events();
    let left = bench.send(1, &report("10.1.0.9:7777", pb_rtcp));
    assert_eq!(Datagram::parse(&left[0].1).0.to, addr(NAT));
    let events = bench.events();
    assert!(
        matches!(events[..], [Event::Latched { flow: FlowId(3), remote, .. }] if remote == addr("10.1.0.9:7777")),
        "{events:?}"
    );
    // RTP at the RTCP port and the other way round.
    assert_eq!(bench.dropped(1, &from(B, pb_rtcp)), DropReason::NotExpected);
    assert_eq!(bench.dropped(1, &report(B, PB)), DropReason::NotExpected);
}
