//! What is seen at a glance is what a thorough look finds: for good packets of every usual shape, for all
//! their mutations, and for the checksums that they came with.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod support;

use contract::*;
use dataplane::classify::{self, Arrival, Content, Family, Glance};
use dataplane::settings::ReceivedChecksums;
use proptest::prelude::*;
use support::*;

/// A glance at a packet of either family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Flat {
    family: Family,
    destination: u128,
    port: u16,
    payload: usize,
    content: Content,
}

impl From<Glance> for Flat {
    fn from(glance: Glance) -> Self {
        let (family, destination, (port, payload, content)) = match glance {
            Glance::V4(seen) => (
                Family::V4,
                u128::from(u32::from_be_bytes(seen.destination)),
                (seen.port, seen.payload, seen.content),
            ),
            Glance::V6(seen) => (
                Family::V6,
                u128::from_be_bytes(seen.destination),
                (seen.port, seen.payload, seen.content),
            ),
        };
        Self {
            family,
            destination,
            port,
            payload,
            content,
        }
    }
}

/// What is found thoroughly, which a glance must not contradict. Gives whether there was one.
fn compare(frame: &[u8]) -> bool {
    let glance = classify::glance(frame);
    // What has the usual shape is seen by both.
    if let Some(usual) = classify::usual(frame) {
        assert_eq!(glance, Some(Glance::V4(usual)), "{frame:02x?}");
    }
    let Some(glance) = glance.map(Flat::from) else {
        return false;
    };
    let found = thorough(frame, ReceivedChecksums::Finished).unwrap_or_else(|reason| {
        panic!("{glance:?} at a glance, and then {reason}: {frame:02x?}");
    });
    let family = glance.family;
    assert_eq!(found.family, family);
    assert_eq!(found.destination, glance.destination);
    assert_eq!(found.port, glance.port);
    assert_eq!(usize::from(found.payload), glance.payload);
    assert_eq!(found.content, glance.content);
    // The datagram ends the IP packet.
    if family == Family::V4 {
        let network = glance.payload - 28;
        let total = u16::from_be_bytes([frame[network + 2], frame[network + 3]]);
        assert_eq!(total, found.payload_len + 28);
    }
    let mut finished = frame.to_vec();
    let verified = classify::finish(&mut finished, family, glance.payload);
    let unfinished = thorough(frame, ReceivedChecksums::MayBeUnfinished);
    assert_eq!(verified, unfinished.map(|_| ()));
    if let Ok(arrival) = unfinished {
        let mut expected = frame.to_vec();
        let at = glance.payload - 2;
        expected[at..at + 2].copy_from_slice(&arrival.udp_checksum.to_be_bytes());
        assert_eq!(finished, expected);
    }
    true
}

fn thorough(frame: &[u8], checksums: ReceivedChecksums) -> Result<Arrival, DropReason> {
    let headers = classify::headers(frame)?;
    classify::classify(frame, &headers, checksums)
}

fn datagram(v6: bool, tags: &[(u16, u16)], payload: &[u8]) -> Datagram {
    let (from, to) = if v6 {
        ("[fd00::9]:4000", "[fd00::1]:20000")
    } else {
        ("10.0.0.9:4000", "10.0.0.1:20000")
    };
    let mut datagram = Datagram::new(addr(from), addr(to), payload);
    datagram.tags = tags.to_vec();
    datagram
}

const TAGS: [&[(u16, u16)]; 3] = [&[], &[(0x8100, 5)], &[(0x88a8, 5), (0x8100, 6)]];

fn field() -> impl Strategy<Value = Field> {
    prop_oneof![
        Just(Field::Right),
        Just(Field::Unfinished),
        Just(Field::Zero),
        Just(Field::Wrong)
    ]
}

#[test]
fn every_usual_shape_is_seen_at_a_glance() {
    let noise = [9; 40];
    let payloads: [(&[u8], Content); 4] = [
        (&rtp(1, 160), Content::Rtp),
        (&rtcp(), Content::Rtcp),
        (&stun(), Content::Stun),
        (&noise, Content::Unknown),
    ];
    for v6 in [false, true] {
        for tags in TAGS {
            for (payload, content) in payloads {
                let mut frame = datagram(v6, tags, payload).bytes(Field::Right);
                assert!(compare(&frame), "{v6} {tags:?} {content:?}");
                let glance = classify::glance(&frame).unwrap();
                assert_eq!(Flat::from(glance).content, content);
                // Whole, and untagged, most are seen in still fewer instructions.
                let is_usual = !v6 && tags.is_empty() && content == Content::Rtp;
                assert_eq!(classify::usual(&frame).is_some(), is_usual);
                // As Ethernet pads what is short.
                frame.extend([0; 7]);
                assert_eq!(classify::glance(&frame), Some(glance));
            }
        }
    }
}

#[test]
fn every_value_of_every_byte_agrees() {
    let mut seen = 0;
    for v6 in [false, true] {
        for tags in TAGS {
            let frame = datagram(v6, tags, &rtp(1, 8)).bytes(Field::Right);
            for at in 0..frame.len() {
                for value in 0..=255 {
                    let mut changed = frame.clone();
                    changed[at] = value;
                    seen += u32::from(compare(&changed));
                }
            }
        }
    }
    assert!(seen > 40_000, "most bytes do not decide: {seen}");
}

#[test]
fn every_length_agrees() {
    for v6 in [false, true] {
        for tags in TAGS {
            let frame = datagram(v6, tags, &rtp(1, 20)).bytes(Field::Right);
            for len in 0..=frame.len() {
                assert_eq!(compare(&frame[..len]), len == frame.len());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]
    #[test]
    fn arbitrary_changes_agree(
        v6 in any::<bool>(),
        tags in 0..3_usize,
        payload in prop::collection::vec(any::<u8>(), 0..80),
        start in 0..4_usize,
        field in field(),
        changes in prop::collection::vec((0..120_usize, any::<u8>()), 0..5),
        right_header in any::<bool>(),
        cut in prop::option::of(0..120_usize),
    ) {
        let mut bytes = [rtp(3, 0), rtcp(), stun(), Vec::new()][start].clone();
        bytes.extend(payload);
        let mut frame = datagram(v6, TAGS[tags], &bytes).bytes(field);
        for (at, value) in changes {
            let at = at % frame.len();
            frame[at] = value;
        }
        let network = 14 + 4 * TAGS[tags].len();
        if right_header && !v6 {
            // So that changes of the header are not all caught by its checksum.
            frame[network + 10..network + 12].fill(0);
            let sum = dataplane::wire::checksum::sum(&frame[network..network + 20]);
            frame[network + 10..network + 12].copy_from_slice(&(!sum).to_be_bytes());
        }
        frame.truncate(cut.unwrap_or(usize::MAX));
        compare(&frame);
    }

    /// Through a whole worker, what has an unusual shape leaves as what has the usual one.
    #[test]
    fn an_unusual_shape_leaves_as_the_usual_one(
        v6 in any::<bool>(), len in 0..200_usize, padding in 1..9_u16, finished in any::<bool>(),
    ) {
        let checksums = if finished {
            ReceivedChecksums::Finished
        } else {
            ReceivedChecksums::MayBeUnfinished
        };
        let mut bench = Bench::new(checksums);
        let (local, party) = if v6 {
            ("[fd00::1]:20000", "[fd00::9]:4000")
        } else {
            ("10.0.0.1:20000", "10.0.0.9:4000")
        };
        bench.install(FlowEntry {
            id: FlowId(1),
            key: key(local),
            payload: Payload::Rtp,
            latch: latch(LatchPolicy::Sdp, Some(party)),
            rtp: Some(egress("10.1.0.1:20000", Some("10.1.0.9:5000"), 1)),
            rtcp: None,
            idle_after: None,
            handling: contract::Handling::default(),
        });
        let usual = datagram(v6, &[], &rtp(1, len)).bytes(Field::Right);
        // The IP packet is longer than the datagram in it.
        let mut unusual = usual.clone();
        unusual.resize(usual.len() + usize::from(padding), 0);
        if v6 {
            let room = u16::from_be_bytes([usual[18], usual[19]]) + padding;
            unusual[18..20].copy_from_slice(&room.to_be_bytes());
        } else {
            let total = u16::from_be_bytes([usual[16], usual[17]]) + padding;
            unusual[16..18].copy_from_slice(&total.to_be_bytes());
            unusual[24..26].fill(0);
            let sum = dataplane::wire::checksum::sum(&unusual[14..34]);
            unusual[24..26].copy_from_slice(&(!sum).to_be_bytes());
        }
        prop_assert_eq!(classify::glance(&unusual), None);
        let left = bench.send(0, &unusual);
        prop_assert_eq!(left.len(), 1);
        prop_assert_eq!(left, bench.send(0, &usual));
    }
}
