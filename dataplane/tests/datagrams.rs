//! Flows that carry any datagram: whatever its first bytes look like it is forwarded as it is, and only what can be
//! UDPTL opens a latch.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod support;

use std::time::Duration;

use contract::*;
use dataplane::settings::ReceivedChecksums;
use proptest::prelude::*;
use support::*;

const A: &str = "10.0.0.9:4000";
const PA: &str = "10.0.0.1:20000";
const WINDOW: Duration = Duration::from_secs(10);
const LEARN: LatchPolicy = LatchPolicy::Learn { window: WINDOW };

/// What faces A: what A sends goes on by IPv4, or by IPv6.
fn entry(policy: LatchPolicy, signalled: Option<&str>, to_v6: bool) -> FlowEntry {
    let egress = match to_v6 {
        false => egress("10.1.0.1:20000", Some("10.1.0.9:5000"), 1),
        true => egress("[fd01::1]:20000", Some("[fd01::9]:5000"), 1),
    };
    FlowEntry {
        id: FlowId(1),
        key: key(PA),
        payload: Payload::Datagrams,
        latch: latch(policy, signalled),
        rtp: Some(egress),
        rtcp: None,
        idle_after: None,
        handling: contract::Handling::default(),
    }
}

fn bench(entry: FlowEntry) -> Bench {
    let mut bench = Bench::new(ReceivedChecksums::MayBeUnfinished);
    bench.install(entry);
    bench
}

fn from(source: &str, payload: &[u8]) -> Vec<u8> {
    Datagram::new(addr(source), addr(PA), payload).bytes(Field::Right)
}

/// The payload that left, which must be one.
fn passes(bench: &mut Bench, source: &str, payload: &[u8]) -> Vec<u8> {
    let left = bench.send(0, &from(source, payload));
    assert_eq!(left.len(), 1, "{payload:?}");
    let (datagram, has_checksum) = Datagram::parse(&left[0].1);
    assert!(has_checksum);
    bench.assert_conserved();
    datagram.payload
}

/// A UDPTL packet of this sequence number, with a primary packet of `len` bytes and no secondary ones.
fn udptl(sequence: u16, len: u8) -> Vec<u8> {
    let mut packet = sequence.to_be_bytes().to_vec();
    packet.push(len);
    packet.extend((0..len).map(|index| index.wrapping_mul(17)));
    packet.extend([0, 0]);
    packet
}

/// UDPTL whose bytes are those of a STUN header: sequence number 1, and the cookie in the primary packet.
fn like_stun() -> Vec<u8> {
    let mut packet = udptl(1, 16);
    packet[3] = 0;
    packet[4..8].copy_from_slice(&[0x21, 0x12, 0xa4, 0x42]);
    packet
}

/// What is as large as the links take, less this.
fn large(less: usize) -> Vec<u8> {
    (0..1472 - less).map(|index| index as u8).collect()
}

#[test]
fn whatever_comes_leaves_as_it_came() {
    let kinds = [
        vec![],
        vec![7],
        vec![0x80],
        udptl(0, 1),
        udptl(0x8008, 100),
        like_stun(),
        stun(),
        rtp(1, 160),
        rtcp(),
        // RTCP by its type, whose length is wrong.
        vec![0x80, 201, 0, 9, 1, 2, 3, 4, 5],
        vec![0xff; 40],
        large(20),
    ];
    for to_v6 in [false, true] {
        for policy in [LatchPolicy::Sdp, LatchPolicy::Off] {
            let mut bench = bench(entry(policy, Some(A), to_v6));
            for (count, payload) in (1..).zip(&kinds) {
                assert_eq!(&passes(&mut bench, A, payload), payload);
                let tally = bench.shared.flows.read(WorkerId(0), &key(PA)).unwrap();
                assert_eq!(tally.packets, count);
            }
        }
    }
}

#[test]
fn what_the_link_takes_passes_and_nothing_larger() {
    for (to_v6, room) in [(false, 0), (true, 20)] {
        let mut bench = bench(entry(LatchPolicy::Sdp, Some(A), to_v6));
        assert_eq!(passes(&mut bench, A, &large(room)), large(room));
        let mut larger = large(room);
        larger.push(0);
        assert_eq!(bench.dropped(0, &from(A, &larger)), DropReason::TooBig);
    }
}

#[test]
fn only_what_can_be_udptl_opens_the_latch() {
    let nat = "10.0.0.77:61000";
    let mut bench = bench(entry(LEARN, None, false));
    for other in [vec![7], vec![], stun(), like_stun(), rtp(1, 160), rtcp()] {
        let reason = bench.dropped(0, &from(nat, &other));
        assert_eq!(reason, DropReason::NotLatched, "{other:?}");
    }
    assert_eq!(passes(&mut bench, nat, &udptl(0, 1)), udptl(0, 1));
    let events = bench.events();
    assert!(
        matches!(&events[..], [Event::Latched { remote, .. }] if *remote == addr(nat)),
        "{events:?}"
    );
    // From now on everything from there, and nothing from elsewhere.
    for payload in [vec![7], like_stun(), rtp(2, 160), udptl(1, 40)] {
        assert_eq!(passes(&mut bench, nat, &payload), payload);
    }
    let reason = bench.dropped(0, &from(A, &udptl(0, 1)));
    assert_eq!(reason, DropReason::WrongSource);
}

#[test]
fn the_signalled_source_takes_precedence_as_with_rtp() {
    let mut bench = bench(entry(LEARN, Some(A), false));
    passes(&mut bench, "10.0.0.77:61000", &udptl(0, 1));
    passes(&mut bench, A, &udptl(0, 1));
    let reason = bench.dropped(0, &from("10.0.0.77:61000", &udptl(1, 1)));
    assert_eq!(reason, DropReason::WrongSource);
}

#[test]
fn a_port_goes_over_to_fax_and_back() {
    let fax = entry(LatchPolicy::Sdp, Some(A), false);
    let audio = FlowEntry {
        payload: Payload::Rtp,
        ..fax
    };
    let mut bench = bench(audio);
    for (entry, reason) in [
        (audio, Some(DropReason::NotRtp)),
        (fax, None),
        (audio, Some(DropReason::NotRtp)),
    ] {
        bench.update(entry);
        assert_eq!(passes(&mut bench, A, &rtp(1, 160)), rtp(1, 160));
        match reason {
            Some(reason) => {
                assert_eq!(bench.dropped(0, &from(A, &udptl(0, 1))), reason);
                assert_eq!(bench.dropped(0, &from(A, &stun())), DropReason::Stun);
                assert_eq!(bench.dropped(0, &from(A, &rtcp())), DropReason::NotExpected);
            }
            None => {
                assert_eq!(passes(&mut bench, A, &udptl(0, 1)), udptl(0, 1));
                assert_eq!(passes(&mut bench, A, &stun()), stun());
            }
        }
    }
}

#[test]
fn silence_is_told_and_so_is_its_end() {
    let mut watched = entry(LatchPolicy::Sdp, Some(A), false);
    watched.idle_after = Some(Duration::from_secs(60));
    let mut bench = bench(watched);
    passes(&mut bench, A, &udptl(0, 1));
    bench.events();
    bench.now = bench.now + Duration::from_secs(61);
    // The sweep goes through all slots in a few polls.
    for _ in 0..1_000 {
        bench.now = bench.now + Duration::from_millis(10);
        bench.poll();
    }
    assert_eq!(bench.events(), [Event::Idle(FlowId(1))]);
    assert_eq!(passes(&mut bench, A, &[7]), [7]);
    assert_eq!(bench.events(), [Event::Active(FlowId(1))]);
}

#[test]
fn datagrams_have_no_rtcp() {
    let mut bench = Bench::new(ReceivedChecksums::Finished);
    let mut wrong = entry(LatchPolicy::Sdp, Some(A), false);
    wrong.rtcp = wrong.rtp;
    let refused = bench.command(Command::Install(wrong));
    assert_eq!(refused, Event::Refused(FlowId(1), Refusal::Malformed));
    wrong.rtp = None;
    let refused = bench.command(Command::Install(wrong));
    assert_eq!(refused, Event::Refused(FlowId(1), Refusal::Malformed));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn any_bytes_pass_and_are_the_same(payload in prop::collection::vec(any::<u8>(), 0..1452), to_v6: bool) {
        let mut bench = bench(entry(LatchPolicy::Sdp, Some(A), to_v6));
        prop_assert_eq!(passes(&mut bench, A, &payload), payload);
    }
}
