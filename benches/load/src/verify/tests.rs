//! Each fault alone: seen, and counted as exactly its kind.

use super::*;
use crate::packet::build::{Link, Outgoing};
use crate::packet::{FlowNumber, Side};
use crate::streams::{Content, Stream};

const RUN: u32 = 7;
const TRIAL: u32 = 3;
const RELAY_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const OWN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const PAYLOAD: usize = 172;

fn stream(v6: bool, port: u16, content: Content) -> Stream {
    let address = |net: u8, host: u8, port: u16| {
        let text = match v6 {
            true => format!("[fd0{net}::{host}]:{port}"),
            false => format!("10.{net}.0.{host}:{port}"),
        };
        text.parse().expect("an address")
    };
    Stream {
        a: address(1, 2, port),
        relay_a: address(1, 1, port + 1),
        relay_b: address(2, 1, port + 2),
        b: address(2, 2, port + 3),
        content,
    }
}

fn rules() -> Rules {
    Rules {
        own: OWN_MAC,
        from: Some(RELAY_MAC),
        ttl: Some(64),
        dscp: Some(46),
        unfinished: false,
    }
}

/// Streams, what must arrive of them, and what a faultless relay makes of A's packets.
struct Scene {
    expectations: Expectations,
    relayed: Vec<Outgoing>,
}

impl Scene {
    fn new(v6: bool, content: Content) -> Self {
        Self::with_rules(v6, content, rules())
    }

    fn with_rules(v6: bool, content: Content, rules: Rules) -> Self {
        let streams = [stream(v6, 1000, content), stream(v6, 2000, content)];
        let link = Link {
            own: RELAY_MAC,
            next_hop: OWN_MAC,
            dscp: 46,
        };
        let relayed = |(index, stream): (usize, &Stream)| {
            let flow = FlowNumber::of(index as u32, Side::A);
            Outgoing::new(flow, content, (stream.relay_b, stream.b), &link, PAYLOAD)
        };
        Self {
            relayed: streams.iter().enumerate().map(relayed).collect(),
            expectations: Expectations::new(RUN, PAYLOAD, [rules; 2], &streams),
        }
    }

    /// The next packet of a stream as it should arrive at B.
    fn next(&mut self, stream: usize) -> Vec<u8> {
        self.next_of(stream, RUN, TRIAL)
    }

    fn next_of(&mut self, stream: usize, run: u32, trial: u32) -> Vec<u8> {
        let mut frame = vec![0; 1792];
        let length = self.relayed[stream].write_next(&mut frame, run, trial, 1_000);
        frame.truncate(length);
        frame
    }

    fn counts(&self, frames: &[Vec<u8>]) -> Counts {
        let mut verifier = Verifier::new(&self.expectations, TRIAL);
        for frame in frames {
            verifier.see(Side::B, frame, 5_000);
        }
        let counts = verifier.tally().counts;
        assert_eq!(counts.frames, frames.len() as u64);
        counts
    }
}

/// Received frames, and beside them only what `set` sets.
fn only(received: u64, frames: u64, set: impl FnOnce(&mut Counts)) -> Counts {
    let mut counts = Counts {
        frames,
        received,
        ..Counts::default()
    };
    set(&mut counts);
    counts
}

const KINDS: [(bool, Content); 4] = [
    (false, Content::Rtp),
    (true, Content::Rtp),
    (false, Content::Rtcp),
    (true, Content::Rtcp),
];

/// Puts the IPv4 header checksum right again.
fn mend_ip(frame: &mut [u8]) {
    if frame[12] == 0x08 {
        frame[24..26].fill(0);
        let checksum = !sum::fold(sum::wide(&frame[14..34]));
        frame[24..26].copy_from_slice(&checksum.to_ne_bytes());
    }
}

/// Puts the UDP checksum right again, from the frame's own bytes.
fn mend_udp(frame: &mut [u8]) {
    let (addresses, udp) = match frame[12] {
        0x08 => (26..34, 34),
        _ => (22..54, 54),
    };
    frame[udp + 6..udp + 8].fill(0);
    let length = ((frame.len() - udp) as u16).to_be();
    let pseudo = sum::wide(&frame[addresses]) + u64::from(length) + u64::from(17_u16.to_be());
    let checksum = sum::udp_field(pseudo + sum::wide(&frame[udp..]));
    frame[udp + 6..udp + 8].copy_from_slice(&checksum);
}

#[test]
fn a_faultless_relay_is_found_faultless() {
    for (v6, content) in KINDS {
        let mut scene = Scene::new(v6, content);
        let frames: Vec<_> = (0..100).map(|number| scene.next(number % 2)).collect();
        assert_eq!(
            scene.counts(&frames),
            only(100, 100, |_| {}),
            "{v6} {content:?}"
        );
    }
}

#[test]
fn the_helpers_of_these_tests_mend_well() {
    for (v6, content) in KINDS {
        let mut scene = Scene::new(v6, content);
        let frame = scene.next(0);
        let mut mended = frame.clone();
        mend_ip(&mut mended);
        mend_udp(&mut mended);
        assert_eq!(mended, frame);
    }
}

#[test]
fn latency_counts_from_when_a_packet_was_due() {
    let mut scene = Scene::new(false, Content::Rtp);
    let frame = scene.next(0);
    let mut verifier = Verifier::new(&scene.expectations, TRIAL);
    verifier.see(Side::B, &frame, 251_000);
    let tally = verifier.into_tally();
    assert_eq!(tally.latencies(Side::A).len(), 1);
    assert_eq!(tally.latencies(Side::B).len(), 0);
    assert!(tally.latencies(Side::A).max().abs_diff(250_000) < 250);
}

#[test]
fn doubled_and_reordered_packets_are_told_apart() {
    let mut scene = Scene::new(false, Content::Rtp);
    let [first, second, third] = [scene.next(0), scene.next(0), scene.next(0)];
    let frames = [first.clone(), third, second.clone(), second, first];
    let expected = only(3, 5, |counts| {
        counts.reordered = 1;
        counts.duplicated = 2;
    });
    assert_eq!(scene.counts(&frames), expected);
}

#[test]
fn a_lost_packet_is_missing_and_nothing_else() {
    let mut scene = Scene::new(false, Content::Rtp);
    let mut frames: Vec<_> = (0..10).map(|_| scene.next(0)).collect();
    frames.remove(4);
    assert_eq!(scene.counts(&frames), only(9, 9, |_| {}));
}

#[test]
fn packets_of_an_earlier_trial_are_stragglers_once() {
    let mut scene = Scene::new(false, Content::Rtp);
    let old = scene.next_of(0, RUN, TRIAL - 1);
    let new = scene.next(0);
    let expected = only(1, 4, |counts| {
        counts.stragglers = 1;
        counts.duplicated = 2;
    });
    let frames = [new.clone(), old.clone(), old, new];
    assert_eq!(scene.counts(&frames), expected);
}

#[test]
fn every_damaged_payload_byte_is_corruption() {
    for (v6, content) in KINDS {
        let mut scene = Scene::new(v6, content);
        for at in 0..PAYLOAD {
            for mend in [false, true] {
                let mut frame = scene.next(0);
                let place = frame.len() - PAYLOAD + at;
                frame[place] ^= 0x10;
                if mend {
                    mend_udp(&mut frame);
                }
                assert_eq!(
                    scene.counts(&[frame]),
                    only(1, 1, |counts| counts.corrupt = 1),
                    "{v6} {content:?} {at}"
                );
            }
        }
    }
}

#[test]
fn every_damaged_header_byte_is_its_kind() {
    type Set = fn(&mut Counts);
    let address: Set = |counts| counts.wrong_address = 1;
    let checksum: Set = |counts| counts.wrong_checksum = 1;
    let corrupt: Set = |counts| counts.corrupt = 1;
    let v4: &[(std::ops::Range<usize>, bool, Set)] = &[
        (0..12, false, address),
        (26..38, false, address),
        (26..38, true, address),
        (38..40, false, corrupt),
        (16..18, true, corrupt),
        (18..20, false, checksum), // identification
        (18..20, true, |_| {}),    // which a relay may choose
        (24..26, false, checksum),
        (40..42, false, checksum),
        (22..23, true, |counts| counts.wrong_ttl = 1),
        (22..23, false, checksum),
        (15..16, true, |counts| counts.wrong_dscp = 1),
    ];
    let v6: &[(std::ops::Range<usize>, bool, Set)] = &[
        (0..12, false, address),
        (22..58, false, address),
        (22..58, true, address),
        (58..60, false, corrupt),
        (18..20, true, corrupt),
        (60..62, false, checksum),
        (21..22, true, |counts| counts.wrong_ttl = 1),
        (14..15, true, |counts| counts.wrong_dscp = 1),
        (16..18, true, |_| {}), // flow label, likewise
    ];
    for (is_v6, rows) in [(false, v4), (true, v6)] {
        for (range, mend, set) in rows {
            for at in range.clone() {
                let mut scene = Scene::new(is_v6, Content::Rtp);
                let mut frame = scene.next(0);
                frame[at] ^= 0x04;
                if *mend {
                    mend_ip(&mut frame);
                    mend_udp(&mut frame);
                }
                let expected = only(1, 1, set);
                assert_eq!(
                    scene.counts(&[frame]),
                    expected,
                    "v6 {is_v6}, byte {at}, mended {mend}"
                );
            }
        }
    }
}

#[test]
fn a_truncated_or_longer_packet_is_corrupt() {
    let mut scene = Scene::new(false, Content::Rtp);
    let mut short = scene.next(0);
    short.truncate(short.len() - 4);
    let mut long = scene.next(0);
    long.extend([0; 4]);
    assert_eq!(
        scene.counts(&[short, long]),
        only(2, 2, |counts| counts.corrupt = 2)
    );
}

#[test]
fn another_streams_packet_is_at_the_wrong_address() {
    let mut scene = Scene::new(false, Content::Rtp);
    let (own, mut other) = (scene.next(0), scene.next(1));
    other[26..42].copy_from_slice(&own[26..42]);
    mend_ip(&mut other);
    mend_udp(&mut other);
    assert_eq!(
        scene.counts(&[other]),
        only(1, 1, |counts| counts.wrong_address = 1)
    );
    let frame = scene.next(0);
    let mut verifier = Verifier::new(&scene.expectations, TRIAL);
    verifier.see(Side::A, &frame, 0);
    let counts = verifier.tally().counts;
    assert_eq!(
        counts,
        only(1, 1, |counts| counts.wrong_address = 1),
        "came back to A"
    );
}

#[test]
fn what_is_not_of_this_run_is_unknown() {
    let mut scene = Scene::new(false, Content::Rtp);
    let other_run = scene.next_of(0, RUN + 1, TRIAL);
    let mut stranger = scene.next(0);
    stranger[34] ^= 1; // another port
    stranger[60] ^= 1; // and no stamp
    let frames = [
        other_run,
        stranger,
        Vec::new(),
        vec![0; 60],
        vec![0xff; 1500],
        scene.next(0)[..50].to_vec(),
    ];
    // The last is cut off in its stamp, and still comes from the right address.
    let expected = only(1, 6, |counts| {
        counts.unknown = 5;
        counts.corrupt = 1;
    });
    assert_eq!(scene.counts(&frames), expected);
}

#[test]
fn a_missing_udp_checksum_is_wrong_and_an_unfinished_one_only_when_not_accepted() {
    for unfinished in [false, true] {
        let rules = Rules {
            unfinished,
            ..rules()
        };
        let mut scene = Scene::with_rules(false, Content::Rtp, rules);
        let mut none = scene.next(0);
        none[40..42].fill(0);
        let mut partial = scene.next(0);
        let length = ((partial.len() - 34) as u16).to_be();
        let pseudo = sum::wide(&partial[26..34]) + u64::from(length) + u64::from(17_u16.to_be());
        partial[40..42].copy_from_slice(&sum::fold(pseudo).to_ne_bytes());
        let expected = only(2, 2, |counts| {
            counts.wrong_checksum = if unfinished { 1 } else { 2 };
            counts.unfinished_checksums = u64::from(unfinished);
        });
        assert_eq!(scene.counts(&[none, partial]), expected);
    }
}

#[test]
fn rules_that_do_not_matter_are_not_checked() {
    let rules = Rules {
        from: None,
        ttl: None,
        dscp: None,
        ..rules()
    };
    let mut scene = Scene::with_rules(false, Content::Rtp, rules);
    let mut frame = scene.next(0);
    frame[7] ^= 1;
    frame[15] = 0;
    frame[22] = 3;
    mend_ip(&mut frame);
    assert_eq!(scene.counts(&[frame]), only(1, 1, |_| {}));
}

proptest::proptest! {
    #[test]
    fn garbage_is_survived_and_never_received(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300), header in 0_usize..70) {
        let mut scene = Scene::new(false, Content::Rtp);
        let mut frame = scene.next(0)[..header].to_vec();
        frame.extend(&bytes);
        let counts = scene.counts(&[frame]);
        proptest::prop_assert_eq!(counts.unknown + counts.corrupt, 1);
    }
}
