//! What is done to packets beside forwarding them, byte by byte: silence, keys, copies, the tap, and what is injected.

mod support;

use std::time::Duration;

use contract::*;
use dataplane::injection::Injected;
use dataplane::settings::ReceivedChecksums;
use proptest::prelude::*;
use support::*;

/// Where A's packets arrive, where B's do, and where a listener's session is entered and left.
const FACING_A: &str = "10.0.0.1:20000";
const FACING_B: &str = "10.1.0.1:20010";
const ENTRANCE: &str = "10.0.0.1:20020";
const TO_LISTENER: &str = "[fd01::1]:20030";
const A: &str = "10.0.0.9:4000";
const B: &str = "10.1.0.9:5000";
const LISTENER: &str = "[fd01::9]:6000";

fn entry(id: u64, at: &str, from: &str, egress: Egress) -> FlowEntry {
    FlowEntry {
        id: FlowId(id),
        key: key(at),
        payload: Payload::Rtp,
        latch: latch(LatchPolicy::Sdp, Some(from)),
        rtp: Some(egress),
        rtcp: Some(egress),
        idle_after: None,
        handling: Handling::default(),
    }
}

fn from_a(handling: Handling) -> FlowEntry {
    FlowEntry {
        handling,
        ..entry(1, FACING_A, A, egress(FACING_B, Some(B), 1))
    }
}

fn bench(handling: Handling) -> Bench {
    let mut bench = Bench::new(ReceivedChecksums::Finished);
    bench.install(from_a(handling));
    bench
}

fn packet(payload: &[u8]) -> Vec<u8> {
    Datagram::new(addr(A), addr(FACING_A), payload).bytes(Field::Right)
}

/// RTP of a payload type, with a timestamp.
fn audio(payload_type: u8, sequence: u16, timestamp: u32, len: usize) -> Vec<u8> {
    let mut packet = rtp(sequence, len);
    packet[1] = payload_type;
    packet[4..8].copy_from_slice(&timestamp.to_be_bytes());
    packet
}

/// What leaves for one packet, which must be one whose checksums are right.
fn passed(bench: &mut Bench, payload: &[u8]) -> Vec<u8> {
    let left = bench.send(0, &packet(payload));
    assert_eq!(left.len(), 1, "{left:?}");
    let (datagram, has_checksum) = Datagram::parse(&left[0].1);
    assert!(has_checksum);
    assert_eq!((datagram.from, datagram.to), (addr(FACING_B), addr(B)));
    datagram.payload
}

#[test]
fn dropped_media_is_counted_whatever_it_is_and_blocked_media_is_not_keys() {
    let mut bench = bench(Handling {
        media: Media::Drop,
        ..Handling::default()
    });
    for payload in [rtp(1, 160), rtcp()] {
        assert_eq!(bench.dropped(0, &packet(&payload)), DropReason::Blocked);
    }
    bench.update(from_a(Handling {
        media: Media::Block,
        events: Events {
            types: PayloadTypes::NONE.with(101),
            blocked: false,
        },
        ..Handling::default()
    }));
    assert_eq!(bench.dropped(0, &packet(&rtp(2, 160))), DropReason::Blocked);
    for payload in [audio(101, 3, 0, 4), rtcp()] {
        assert_eq!(passed(&mut bench, &payload), payload);
    }
    bench.update(from_a(Handling::default()));
    assert_eq!(passed(&mut bench, &rtp(2, 160)), rtp(2, 160));
    bench.assert_conserved();
}

#[test]
fn key_presses_are_blocked_and_the_rest_passes() {
    let mut bench = bench(Handling {
        events: Events {
            types: PayloadTypes::NONE.with(101),
            blocked: true,
        },
        ..Handling::default()
    });
    let key = audio(101, 2, 160, 4);
    assert_eq!(bench.dropped(0, &packet(&key)), DropReason::DtmfBlocked);
    for payload in [audio(8, 1, 0, 160), rtcp()] {
        assert_eq!(passed(&mut bench, &payload), payload);
    }
}

#[test]
fn keys_are_pressed_in_the_place_of_audio() {
    let press = Press {
        count: 1,
        digits: Digits::new(&[5]).expect("one digit"),
        volume: 10,
        duration: 60,
        pause: 20,
        payload_type: 101,
        clock_rate: 8000,
    };
    let mut bench = bench(Handling {
        press: Some(press),
        ..Handling::default()
    });
    let mut left = Vec::new();
    for packet in 0..7_u16 {
        bench.now = bench.now + Duration::from_millis(20);
        left.push(passed(
            &mut bench,
            &audio(8, packet, 1000 + u32::from(packet) * 160, 160),
        ));
    }
    let event = |sequence: u16, marker: u8, end: u8, duration: u16| {
        let mut packet = audio(101 | marker, sequence, 1000, 0);
        packet.extend([5, end | 10]);
        packet.extend(duration.to_be_bytes());
        packet
    };
    assert_eq!(
        left[..5],
        [
            event(0, 0x80, 0, 160),
            event(1, 0, 0, 320),
            event(2, 0, 0x80, 480),
            event(3, 0, 0x80, 480),
            event(4, 0, 0x80, 480),
        ]
    );
    assert_eq!(left[5], audio(8, 5, 1800, 160), "audio again");
    assert_eq!(bench.shared.services.tally.pressed.read(), 5);
}

#[test]
fn a_tap_and_a_listener_get_what_leaves() {
    let copies = [Some(key(ENTRANCE)), None, None, None];
    let mut bench = bench(Handling {
        media: Media::Silence,
        tap: Some(TapId(7)),
        copies,
        ..Handling::default()
    });
    let listener = egress(TO_LISTENER, Some(LISTENER), 1);
    bench.install(entry(2, ENTRANCE, A, listener));
    let mut silent = audio(0, 1, 0, 160);
    silent[12..].fill(0xff);
    for (sent, expected) in [(audio(0, 1, 0, 160), silent), (rtcp(), rtcp())] {
        let mut left: Vec<_> = bench
            .send(0, &packet(&sent))
            .iter()
            .map(|(_, frame)| Datagram::parse(frame).0)
            .collect();
        left.sort_by_key(|datagram| datagram.to);
        assert_eq!(left.len(), 2);
        assert!(left.iter().all(|datagram| datagram.payload == expected));
        assert_eq!((left[0].to, left[1].to), (addr(B), addr(LISTENER)));
        assert_eq!(left[1].from, addr(TO_LISTENER));
        let mut tapped = 0;
        bench.taps.drain(9, |copy| {
            tapped += 1;
            assert_eq!((copy.tap, copy.source), (TapId(7), Some(addr(A))));
            assert_eq!((copy.key, copy.payload()), (key(FACING_A), &*expected));
        });
        assert_eq!(tapped, 1);
    }
    assert_eq!(bench.shared.services.tally.copied.read(), 2);
    bench.assert_conserved();
}

#[test]
fn a_copy_for_nobody_is_counted_and_its_frame_free() {
    let copies = [Some(key(ENTRANCE)), None, None, None];
    let mut bench = bench(Handling {
        copies,
        ..Handling::default()
    });
    assert_eq!(passed(&mut bench, &rtp(1, 20)), rtp(1, 20));
    assert_eq!(bench.shared.services.tally.not_made.read(), 1);
    bench.assert_conserved();
}

#[test]
fn what_is_injected_leaves_as_if_it_had_arrived() {
    let mut bench = bench(Handling {
        media: Media::Block,
        tap: Some(TapId(3)),
        ..Handling::default()
    });
    let sound = rtp(9, 160);
    let injected = Injected::new(key(FACING_A), &sound).expect("short");
    assert!(bench.shared.services.injections.push(injected).is_ok());
    bench.poll();
    let sent = bench.worker.port_mut().take_sent(1);
    let (datagram, has_checksum) = Datagram::parse(&sent[0]);
    assert!(has_checksum && sent.len() == 1);
    assert_eq!((datagram.from, datagram.to), (addr(FACING_B), addr(B)));
    assert_eq!(datagram.payload, sound);
    let mut tapped = 0;
    bench.taps.drain(9, |copy| {
        tapped += 1;
        assert_eq!((copy.source, copy.payload()), (None, &*sound));
    });
    assert_eq!(
        (tapped, bench.shared.services.tally.injected.read()),
        (1, 1)
    );
    bench.assert_conserved();
}

#[test]
fn a_latch_is_a_latch_though_more_is_done() {
    let learn = LatchPolicy::Learn {
        window: Duration::from_secs(3),
    };
    let mut bench = Bench::new(ReceivedChecksums::Finished);
    let mut entry = from_a(Handling {
        tap: Some(TapId(1)),
        ..Handling::default()
    });
    entry.latch = latch(learn, None);
    bench.install(entry);
    assert_eq!(passed(&mut bench, &rtp(1, 20)), rtp(1, 20));
    let other = Datagram::new(addr("10.0.0.8:4000"), addr(FACING_A), &rtp(2, 20));
    let dropped = bench.dropped(0, &other.bytes(Field::Right));
    assert_eq!(dropped, DropReason::WrongSource);
    assert_eq!(passed(&mut bench, &rtp(3, 20)), rtp(3, 20));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    /// Whatever is sent: the checksum of what leaves is right, and its headers and padding are as they were.
    #[test]
    fn silence_keeps_headers_padding_and_checksums(
        law in prop_oneof![Just((0_u8, 0xff_u8)), Just((8, 0xd5)), Just((9, 0xfa))],
        len in 0..300_usize,
        sources in 0..3_usize,
        padding in 0..9_usize,
        unfinished in any::<bool>(),
        six in any::<bool>(),
        tagged in any::<bool>(),
    ) {
        let (payload_type, silence) = law;
        let mut sent = audio(payload_type, 7, 5, 4 * sources);
        sent[0] |= sources as u8;
        let start = sent.len();
        sent.extend((0..len).map(|index| index as u8));
        if padding > 0 {
            sent[0] |= 0x20;
            sent.extend(vec![0; padding - 1]);
            sent.push(padding as u8);
        }
        let checksums = match unfinished {
            true => ReceivedChecksums::MayBeUnfinished,
            false => ReceivedChecksums::Finished,
        };
        let mut bench = Bench::new(checksums);
        let handling = Handling { media: Media::Silence, ..Handling::default() };
        let (from, at) = match six {
            true => ("[fd00::9]:4000", "[fd00::1]:20000"),
            false => (A, FACING_A),
        };
        let to_b = egress(FACING_B, Some(B), 1);
        bench.install(FlowEntry { handling, ..entry(1, at, from, to_b) });
        let field = if unfinished { Field::Unfinished } else { Field::Right };
        let mut arrives = Datagram::new(addr(from), addr(at), &sent);
        arrives.tags.extend(tagged.then_some((0x8100, 5)));
        let frame = arrives.bytes(field);
        let left = bench.send(0, &frame);
        prop_assert_eq!(left.len(), 1);
        let (datagram, _) = Datagram::parse(&left[0].1);
        sent[start..start + len].fill(silence);
        prop_assert_eq!(datagram.payload, sent);
    }
}
