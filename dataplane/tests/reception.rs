//! What RTCP that passes through says of how media is received: of one worker, two parties, and their reports.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod support;

use std::time::Duration;

use contract::*;
use dataplane::report::Reception;
use dataplane::settings::ReceivedChecksums;
use proptest::prelude::*;
use support::*;

const A: &str = "10.0.0.9:4001";
const B: &str = "10.1.0.9:5001";
const PA: &str = "10.0.0.1:20001";
const PB: &str = "10.1.0.1:20001";
const SSRC_A: u32 = 0xa;
const SSRC_B: u32 = 0xb;

fn entry(id: u64, at: &str, of: &str, egress: Egress, payload: Payload, muxed: bool) -> FlowEntry {
    FlowEntry {
        id: FlowId(id),
        key: key(at),
        payload,
        latch: latch(LatchPolicy::Sdp, Some(of)),
        rtp: muxed.then_some(egress),
        rtcp: Some(egress),
        idle_after: None,
        handling: contract::Handling::default(),
    }
}

fn bench(payload: Payload, muxed: bool) -> Bench {
    let mut bench = Bench::new(ReceivedChecksums::MayBeUnfinished);
    bench.install(entry(1, PA, A, egress(PB, Some(B), 1), payload, muxed));
    bench.install(entry(2, PB, B, egress(PA, Some(A), 0), payload, muxed));
    bench
}

/// A sender report of this name (the middle of its NTP timestamp), without blocks.
fn sender_report(ssrc: u32, name: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 200, 0, 6];
    packet.extend(ssrc.to_be_bytes());
    packet.extend([0xee, 0xee]);
    packet.extend(name.to_be_bytes());
    packet.extend([0xee; 14]);
    packet
}

/// A report block: about whom, fraction lost, lost in all, jitter, the last sender report, and the delay since.
type Block = (u32, u8, i32, u32, u32, Duration);

fn receiver_report(ssrc: u32, blocks: &[Block]) -> Vec<u8> {
    let words = 1 + 6 * blocks.len() as u8;
    let mut packet = vec![0x80 | blocks.len() as u8, 201, 0, words];
    packet.extend(ssrc.to_be_bytes());
    for (about, fraction, lost, jitter, name, delay) in blocks {
        packet.extend(about.to_be_bytes());
        packet.push(*fraction);
        packet.extend(&lost.to_be_bytes()[1..]);
        packet.extend([0, 0, 1, 0]);
        packet.extend(jitter.to_be_bytes());
        packet.extend(name.to_be_bytes());
        let delay = delay.as_nanos() * 65_536 / 1_000_000_000;
        packet.extend((delay as u32).to_be_bytes());
    }
    packet
}

/// Passes from A or B to the other, unchanged.
fn passes(bench: &mut Bench, from: &str, payload: &[u8]) {
    let (device, to) = if from == A { (0, PA) } else { (1, PB) };
    let frame = Datagram::new(addr(from), addr(to), payload).bytes(Field::Right);
    let left = bench.send(device, &frame);
    assert_eq!(left.len(), 1);
    assert_eq!(Datagram::parse(&left[0].1).0.payload, payload);
}

fn heard(bench: &Bench, at: &str) -> Option<Reception> {
    bench
        .shared
        .flows
        .read(WorkerId(0), &key(at))
        .unwrap()
        .reception
}

#[test]
fn a_report_is_kept_with_the_flow_it_came_to_and_the_round_trip_is_taken() {
    for muxed in [false, true] {
        let mut bench = bench(Payload::Rtp, muxed);
        let millis = Duration::from_millis;
        passes(&mut bench, B, &sender_report(SSRC_B, 77));
        assert_eq!((heard(&bench, PA), heard(&bench, PB)), (None, None));
        bench.now = bench.now + millis(2_040);
        let block = (SSRC_B, 13, 42, 160, 77, millis(2_000));
        passes(&mut bench, A, &receiver_report(SSRC_A, &[block]));
        let reception = heard(&bench, PA).unwrap();
        let trip = reception.round_trip.unwrap();
        assert!(trip > millis(39) && trip <= millis(40), "{trip:?}");
        assert_eq!((reception.fraction_lost, reception.lost), (13, 42));
        assert_eq!((reception.jitter, reception.reports), (160, 1));
        assert_eq!(reception.last, bench.now);
        assert_eq!(heard(&bench, PB), None, "B has said nothing of A");
        // The next knows no sender report: the round trip stays what it was.
        let block = (SSRC_B, 0, -1, 80, 0, Duration::ZERO);
        passes(&mut bench, A, &receiver_report(SSRC_A, &[block]));
        let second = heard(&bench, PA).unwrap();
        assert_eq!((second.reports, second.lost, second.jitter), (2, -1, 80));
        assert_eq!(second.round_trip, Some(trip));
        let tally = bench.shared.flows.read(WorkerId(0), &key(PA)).unwrap();
        assert_eq!(tally.packets, 2);
    }
}

#[test]
fn of_several_blocks_the_one_about_the_present_stream_counts() {
    let mut bench = bench(Payload::Rtp, false);
    let block = |about, lost| (about, 0, lost, 0, 0, Duration::ZERO);
    let both = [block(0xdead, 100), block(SSRC_B, 5)];
    // As long as nobody knows which that is, the first.
    passes(&mut bench, A, &receiver_report(SSRC_A, &both));
    assert_eq!(heard(&bench, PA).unwrap().lost, 100);
    passes(&mut bench, B, &receiver_report(SSRC_B, &[]));
    passes(&mut bench, A, &receiver_report(SSRC_A, &both));
    assert_eq!(heard(&bench, PA).unwrap().lost, 5);
    // In a compound, after what is no report.
    let description = [0x81, 202, 0, 2, 0, 0, 0, 0xa, 1, 1, b'x', 0];
    let one = receiver_report(SSRC_A, &[block(SSRC_B, 6)]);
    passes(&mut bench, A, &[&description[..], &one].concat());
    assert_eq!(heard(&bench, PA).unwrap().lost, 6);
}

#[test]
fn who_is_not_believed_is_not_heard() {
    let mut bench = bench(Payload::Rtp, false);
    let block = (SSRC_B, 255, 9_999, 0, 0, Duration::ZERO);
    let report = receiver_report(SSRC_A, &[block]);
    let frame = Datagram::new(addr("10.0.0.66:4001"), addr(PA), &report).bytes(Field::Right);
    assert_eq!(bench.dropped(0, &frame), DropReason::WrongSource);
    assert_eq!(heard(&bench, PA), None);
}

#[test]
fn what_is_encrypted_is_not_read() {
    let mut bench = bench(Payload::Srtp, false);
    let block = (SSRC_B, 255, 9_999, 0, 0, Duration::ZERO);
    passes(&mut bench, A, &receiver_report(SSRC_A, &[block]));
    assert_eq!(heard(&bench, PA), None);
}

#[test]
fn the_next_flow_at_the_port_begins_with_nothing() {
    let mut bench = bench(Payload::Rtp, false);
    let block = (SSRC_B, 1, 2, 3, 0, Duration::ZERO);
    passes(&mut bench, A, &receiver_report(SSRC_A, &[block]));
    assert!(heard(&bench, PA).is_some());
    let remove = Command::Remove {
        id: FlowId(1),
        key: key(PA),
    };
    assert_eq!(bench.command(remove), Event::Removed(FlowId(1)));
    bench.install(entry(3, PA, A, egress(PB, Some(B), 1), Payload::Rtp, false));
    assert_eq!(heard(&bench, PA), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn whatever_a_compound_says_it_passes(mut compound in prop::collection::vec(any::<u8>(), 8..600), kind in 200_u8..202) {
        // RTCP by its first packet, which is whole.
        let words = (compound.len() / 4 - 1).min(40) as u16;
        compound[0] = 0x80 | compound[0] & 0x1f;
        compound[1] = kind;
        compound[2..4].copy_from_slice(&words.to_be_bytes());
        let mut bench = bench(Payload::Rtp, true);
        passes(&mut bench, B, &sender_report(SSRC_B, 1));
        passes(&mut bench, A, &compound);
        bench.assert_conserved();
    }
}
