//! The XDP program and user space answer the same question, and must answer it alike: what the kernel
//! hands over is never "not media", and what it keeps always is. Needs root (CAP_BPF).

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod support;

use af_xdp::{Program, Verdict};
use contract::*;
use dataplane::address_index::AddressIndex;
use dataplane::classify;
use dataplane::settings::MediaAddress;
use dataplane::storage;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use support::*;

const V4: &str = "10.0.0.1:20000";
const V6: &str = "[fd00::1]:20000";

struct Both {
    program: Program,
    index: AddressIndex,
}

impl Both {
    fn new() -> Self {
        let media = ["10.0.0.1", "fd00::1", "0.0.0.0", "::10.0.0.1"].map(|address| MediaAddress {
            device: DeviceId(0),
            address: address.parse().unwrap(),
            ports: (20_000, 29_999),
        });
        let mut program = Program::load().unwrap_or_else(|error| {
            panic!("this test needs root, and nothing can stand in for the kernel here: {error}")
        });
        for one in &media {
            program
                .set_media_range(one.address, one.ports.0, one.ports.1)
                .unwrap();
        }
        Self {
            program,
            index: storage::address_index(&media).unwrap(),
        }
    }

    /// Asks both, and gives whether the frame is media.
    fn ask(&mut self, frame: &[u8]) -> bool {
        let kernel = self.program.test_run(frame).unwrap().verdict;
        let headers = classify::headers(frame);
        let found = headers.map(|headers| {
            let (family, address) = (headers.family, headers.destination);
            self.index.find(family, address, headers.port).is_some()
        });
        let agree = match kernel {
            // Nobody has bound a socket.
            Verdict::Redirected | Verdict::NoSocket => found == Ok(true),
            Verdict::NotMediaAddress | Verdict::NotMediaPort => found == Ok(false),
            Verdict::Truncated => found == Err(DropReason::Truncated),
            Verdict::NotIp
            | Verdict::Ipv4Options
            | Verdict::Ipv4Fragment
            | Verdict::Ipv6Extension
            | Verdict::NotUdp => found == Err(DropReason::NotMedia),
        };
        assert!(
            agree,
            "the kernel says {kernel}, we say {found:?}: {frame:02x?}"
        );
        found == Ok(true)
    }
}

fn frames() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for (local, party) in [(V4, "10.0.0.9:4000"), (V6, "[fd00::9]:4000")] {
        let tags: [&[(u16, u16)]; 4] = [
            &[],
            &[(0x8100, 5)],
            &[(0x88a8, 5), (0x8100, 6)],
            &[(0x8100, 5), (0x8100, 6), (0x8100, 7)],
        ];
        for tags in tags {
            let mut datagram = Datagram::new(addr(party), addr(local), &rtp(1, 20));
            datagram.tags = tags.to_vec();
            frames.push(datagram.bytes(Field::Right));
        }
    }
    frames
}

#[test]
fn about_every_port() {
    let mut both = Both::new();
    for (local, party) in [(V4, "10.0.0.9:4000"), (V6, "[fd00::9]:4000")] {
        let mut media = 0;
        for port in 0..=u16::MAX {
            let mut to = addr(local);
            to.set_port(port);
            let frame = Datagram::new(addr(party), to, &rtp(1, 0)).bytes(Field::Right);
            media += u32::from(both.ask(&frame));
        }
        assert_eq!(media, 10_000);
    }
}

#[test]
fn about_every_truncation() {
    let mut both = Both::new();
    for frame in frames() {
        // The kernel takes no frame without a whole Ethernet header.
        for len in 14..=frame.len() {
            both.ask(&frame[..len]);
        }
    }
}

#[test]
fn about_every_value_of_every_header_byte() {
    let mut both = Both::new();
    let mut media = 0;
    for frame in frames() {
        for at in 12..frame.len().min(74) {
            for value in 0..=255 {
                let mut changed = frame.clone();
                changed[at] = value;
                media += u32::from(both.ask(&changed));
            }
        }
    }
    assert!(media > 1_000, "most bytes do not decide");
}

#[test]
fn about_random_changes() {
    let mut both = Both::new();
    let strategy = (
        0..8_usize,
        prop::collection::vec((12..70_usize, any::<u8>()), 0..8),
        prop::option::of(14..90_usize),
    );
    let mut runner = TestRunner::new(ProptestConfig::with_cases(20_000));
    let both = std::cell::RefCell::new(&mut both);
    runner
        .run(&strategy, |(seed, changes, len)| {
            let mut frame = frames().swap_remove(seed);
            for (at, value) in changes {
                let at = at % frame.len();
                frame[at] = value;
            }
            frame.truncate(len.unwrap_or(usize::MAX));
            both.borrow_mut().ask(&frame);
            Ok(())
        })
        .unwrap();
}
