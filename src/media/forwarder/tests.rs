//! Forwarding over real sockets of this host, with the time of the tests.

use super::*;
use crate::media::decoder::tests::rtp;
use contract::FlowKey;
use std::io::Read as _;
use std::net::TcpListener;
use std::time::Instant;

const LIMITS: Limits = Limits {
    recordings: 0,
    connections: 50,
};

const TAP: TapId = TapId(7);

/// A forwarder, whoever listens, and the time.
struct Bench {
    forwarder: Forwarder,
    listener: TcpListener,
    now: Timestamp,
}

impl Bench {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let to = listener.local_addr().expect("it is bound");
        let mut forwarder = Forwarder::new(to, LIMITS, Arc::default());
        forwarder.begin(Forwarding {
            tap: TAP,
            metadata: b"who|what".to_vec(),
        });
        Self {
            forwarder,
            listener,
            now: Timestamp::from_nanos(1),
        }
    }

    fn take(&mut self, tap: TapId, payload: &[u8]) {
        let packet = Packet {
            at: self.now,
            tap,
            key: FlowKey {
                address: [10, 0, 0, 1].into(),
                port: 4000,
            },
            source: None,
            is_rtp: true,
            payload,
        };
        self.forwarder.take(&packet, self.now);
    }

    /// Sends until the counts are as expected.
    fn until(&mut self, done: impl Fn(&Counts) -> bool) {
        let patience = Instant::now() + Duration::from_secs(10);
        while !done(&self.forwarder.counts) {
            assert!(Instant::now() < patience, "{:?}", self.forwarder.counts);
            self.forwarder.send(self.now);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn read_all(&self) -> Vec<u8> {
        let (mut connection, _) = self.listener.accept().expect("a connection");
        let mut bytes = Vec::new();
        connection.read_to_end(&mut bytes).expect("until it ends");
        bytes
    }
}

fn pcm(samples: &[i16]) -> Vec<u8> {
    samples
        .iter()
        .flat_map(|sample| sample.to_le_bytes())
        .collect()
}

#[test]
fn each_stream_is_a_connection_that_begins_with_the_metadata() {
    let mut bench = Bench::new();
    bench.take(TAP, &rtp(1, 0, 5, &[0x80, 0xff]));
    bench.take(TAP, &rtp(1, 0, 7, &[0x00]));
    bench.take(TAP, &rtp(1, 0, 7, &[0x00]));
    bench.take(TAP, &rtp(1, 101, 8, &[1, 2, 3, 4]));
    bench.take(TapId(6), &rtp(3, 0, 5, &[0x80]));
    bench.until(|counts| counts.forwarded_packets.get() == 2);
    bench.take(TAP, &rtp(2, 8, 5, &[0xd5]));
    bench.until(|counts| counts.forwarded_packets.get() == 3);
    bench.forwarder.stop(TAP, bench.now);
    bench.until(|counts| counts.streams.get() == 0);
    assert!(bench.forwarder.is_idle());
    let first = [b"who|what\0".to_vec(), pcm(&[32_124, 0, 0, 0, -32_124])].concat();
    assert_eq!(bench.read_all(), first);
    let second = [b"who|what\0".to_vec(), pcm(&[8])].concat();
    assert_eq!(bench.read_all(), second);
    let counts = &bench.forwarder.counts;
    assert_eq!(
        (counts.forward_late.get(), counts.forward_unknown.get()),
        (1, 1)
    );
    assert_eq!(counts.forward_lost.get(), 0);
}

#[test]
fn whoever_reads_slowly_loses_and_it_is_counted() {
    let mut bench = Bench::new();
    let payload = [0x80; 160];
    let mut offered: u64 = 0;
    // Nobody reads: the kernel's buffers fill, then ours.
    while bench.forwarder.counts.forward_lost.get() < 100 {
        for _ in 0..100 {
            bench.take(TAP, &rtp(1, 0, offered as u16, &payload));
            offered += 1;
        }
        bench.forwarder.send(bench.now);
        assert!(offered < 1_000_000, "there is no bound");
    }
    let stream = bench.forwarder.streams.get(&(TAP, 1)).expect("it is there");
    assert!(stream.waiting.len() <= 3 * ROOM, "{}", stream.waiting.len());
    // It never reads: what waits is given up in the end.
    bench.forwarder.stop(TAP, bench.now);
    bench.forwarder.send(bench.now);
    assert!(!bench.forwarder.is_idle());
    bench.now = bench.now + PATIENCE;
    bench.forwarder.send(bench.now);
    assert!(bench.forwarder.is_idle());
    let counts = &bench.forwarder.counts;
    assert_eq!(
        counts.forwarded_packets.get() + counts.forward_lost.get(),
        offered
    );
}

#[test]
fn a_connection_that_cannot_be_made_is_tried_again() {
    let mut bench = Bench::new();
    let to = bench.listener.local_addr().expect("it is bound");
    drop(std::mem::replace(
        &mut bench.listener,
        TcpListener::bind("127.0.0.1:0").expect("a port"),
    ));
    bench.take(TAP, &rtp(1, 0, 1, &[0x80]));
    bench.until(|counts| counts.connections_failed.get() == 1);
    assert_eq!(bench.forwarder.counts.forward_lost.get(), 1);
    bench.listener = TcpListener::bind(to).expect("it is free again");
    bench.take(TAP, &rtp(1, 0, 2, &[0x80]));
    bench.forwarder.send(bench.now);
    assert_eq!(
        bench.forwarder.counts.forwarded_packets.get(),
        0,
        "not at once"
    );
    bench.now = bench.now + RETRY;
    bench.until(|counts| counts.forwarded_packets.get() == 1);
    bench.forwarder.stop(TAP, bench.now);
    bench.until(|counts| counts.streams.get() == 0);
    let expected = [b"who|what\0".to_vec(), pcm(&[32_124])].concat();
    assert_eq!(bench.read_all(), expected);
}

#[test]
fn a_party_that_changes_its_source_all_the_time_has_a_bound() {
    let mut bench = Bench::new();
    for ssrc in 0..50 {
        bench.now = bench.now + Duration::from_millis(20);
        bench.take(TAP, &rtp(ssrc, 0, 1, &[0x80]));
    }
    assert_eq!(bench.forwarder.streams.len(), MOST_STREAMS);
    for ssrc in 46..50 {
        assert!(bench.forwarder.streams.contains_key(&(TAP, ssrc)));
    }
}
