//! Whatever arrives, nothing panics, and every frame is forwarded or counted under one reason.

mod support;

use contract::*;
use dataplane::settings::ReceivedChecksums;
use proptest::prelude::*;
use support::*;

fn bench(checksums: ReceivedChecksums) -> Bench {
    let mut bench = Bench::new(checksums);
    for (id, (local, party)) in [
        ("10.0.0.1:20000", "10.0.0.9:4000"),
        ("[fd00::1]:20000", "[fd00::9]:4000"),
    ]
    .into_iter()
    .enumerate()
    {
        let entry = FlowEntry {
            id: FlowId(id as u64),
            key: key(local),
            payload: Payload::Rtp,
            latch: latch(LatchPolicy::Off, Some(party)),
            rtp: Some(egress("10.1.0.1:20000", Some("10.1.0.9:5000"), 1)),
            rtcp: Some(egress("[fd01::1]:20000", Some("[fd01::9]:5000"), 1)),
            idle_after: None,
            handling: contract::Handling::default(),
        };
        bench.install(entry);
    }
    bench
}

/// Good packets of both families, with no, one and two tags.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (local, party) in [
        ("10.0.0.1:20000", "10.0.0.9:4000"),
        ("[fd00::1]:20000", "[fd00::9]:4000"),
    ] {
        for tags in [vec![], vec![(0x8100, 5)], vec![(0x88a8, 5), (0x8100, 6)]] {
            for payload in [rtp(1, 40), rtcp()] {
                let mut datagram = Datagram::new(addr(party), addr(local), &payload);
                datagram.tags.clone_from(&tags);
                seeds.push(datagram.bytes(Field::Right));
            }
        }
    }
    seeds
}

/// Delivers a frame, and insists on one outcome.
fn outcome(bench: &mut Bench, frame: &[u8]) -> Result<Vec<u8>, DropReason> {
    let before = bench.shared.tally.drops();
    let mut left = bench.send(0, frame);
    let after = bench.shared.tally.drops();
    let dropped: Vec<DropReason> = DropReason::ALL
        .iter()
        .copied()
        .filter(|reason| after[reason.index()] > before[reason.index()])
        .collect();
    let count = after.iter().sum::<u64>() - before.iter().sum::<u64>();
    assert_eq!(left.len() as u64 + count, 1, "one outcome for each frame");
    bench.assert_conserved();
    match left.pop() {
        Some((_, frame)) => Ok(frame),
        None => Err(dropped[0]),
    }
}

#[test]
fn every_truncation_of_every_kind_of_packet_is_counted_as_one() {
    for checksums in [
        ReceivedChecksums::Finished,
        ReceivedChecksums::MayBeUnfinished,
    ] {
        let mut bench = bench(checksums);
        for seed in seeds() {
            for len in 0..seed.len() {
                let outcome = outcome(&mut bench, &seed[..len]);
                assert_eq!(
                    outcome,
                    Err(DropReason::Truncated),
                    "{len} of {}",
                    seed.len()
                );
            }
            assert!(outcome(&mut bench, &seed).is_ok());
        }
    }
}

#[test]
fn every_value_of_every_header_byte_has_one_outcome() {
    let mut bench = bench(ReceivedChecksums::MayBeUnfinished);
    for seed in seeds() {
        for at in 0..seed.len().min(90) {
            for value in 0..=255 {
                let mut frame = seed.clone();
                frame[at] = value;
                if let Ok(left) = outcome(&mut bench, &frame) {
                    // Whatever is let through is sound.
                    Datagram::parse(&left);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]
    #[test]
    fn random_bytes_are_dropped(bytes in prop::collection::vec(any::<u8>(), 0..1700)) {
        let mut bench = bench(ReceivedChecksums::MayBeUnfinished);
        let outcome = outcome(&mut bench, &bytes);
        prop_assert!(
            matches!(outcome, Err(DropReason::Truncated | DropReason::NotMedia)),
            "{:?}", outcome
        );
    }

    #[test]
    fn mutated_packets_leave_sound_or_not_at_all(
        seed in 0..12_usize,
        changes in prop::collection::vec((0..200_usize, any::<u8>()), 1..6),
        cut in prop::option::of(0..120_usize),
        finished in any::<bool>(),
    ) {
        let checksums = if finished {
            ReceivedChecksums::Finished
        } else {
            ReceivedChecksums::MayBeUnfinished
        };
        let mut bench = bench(checksums);
        let mut frame = seeds().swap_remove(seed);
        for (at, value) in changes {
            let at = at % frame.len();
            frame[at] = value;
        }
        frame.truncate(cut.unwrap_or(usize::MAX));
        if let Ok(left) = outcome(&mut bench, &frame) && !finished {
            Datagram::parse(&left);
        }
    }
}
