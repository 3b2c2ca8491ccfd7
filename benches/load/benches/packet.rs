//! What a packet costs the load tool in user space: written by the generator, and verified by the sink. Rings and
//! kernel are not in it.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tandem_load::packet::build::{Link, Outgoing};
use tandem_load::packet::{FlowNumber, Side};
use tandem_load::streams::{Content, Stream};
use tandem_load::verify::{Expectations, Rules, Verifier};

const STREAMS: u16 = 1000;
const RUN: u32 = 1;
const TRIAL: u32 = 1;
const PARTY: [u8; 6] = [2, 0, 0, 0, 0, 2];
const RELAY: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// Flows in both forms: as B receives them, so that what is written can be verified.
fn flows(payload: usize) -> (Vec<Outgoing>, Expectations) {
    let address = |net: u8, host: u8, port: u16| ([10, net, 0, host], port).into();
    let streams: Vec<_> = (0..STREAMS)
        .map(|index| Stream {
            a: address(1, 2, 10_000 + index),
            relay_a: address(1, 1, 20_000 + index),
            relay_b: address(2, 1, 30_000 + index),
            b: address(2, 2, 40_000 + index),
            content: Content::Rtp,
        })
        .collect();
    let link = Link {
        own: RELAY,
        next_hop: PARTY,
        dscp: 46,
    };
    let relayed = |(index, stream): (usize, &Stream)| {
        let flow = FlowNumber::of(index as u32, Side::A);
        let addresses = (stream.relay_b, stream.b);
        Outgoing::new(flow, Content::Rtp, addresses, &link, payload)
    };
    let rules = Rules {
        own: PARTY,
        from: Some(RELAY),
        ttl: Some(64),
        dscp: Some(46),
        unfinished: false,
    };
    let outgoing = streams.iter().enumerate().map(relayed).collect();
    (
        outgoing,
        Expectations::new(RUN, payload, [rules; 2], &streams),
    )
}

fn packets(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("load");
    group.throughput(Throughput::Elements(1));
    for payload in [172, 1400] {
        let (mut outgoing, expectations) = flows(payload);
        let mut frame = [0; 1792];
        let mut at = 0;
        let mut write = |frame: &mut [u8]| {
            at = (at + 1) % outgoing.len();
            outgoing[at].write_next(frame, RUN, TRIAL, 1_000)
        };
        group.bench_function(format!("write/{payload}"), |bencher| {
            bencher.iter(|| write(black_box(&mut frame)));
        });
        group.bench_function(format!("write and verify/{payload}"), |bencher| {
            let mut verifier = Verifier::new(&expectations, TRIAL);
            bencher.iter(|| {
                let length = write(&mut frame);
                verifier.see(Side::B, black_box(&frame[..length]), 21_000);
            });
            let counts = verifier.tally().counts;
            assert_eq!(counts.received, counts.frames, "nothing is lost in memory");
            assert_eq!(counts.faults(), 0, "nor damaged");
        });
    }
    group.finish();
}

criterion_group!(benches, packets);
criterion_main!(benches);
