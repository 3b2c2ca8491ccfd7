//! What the pipeline costs a packet: from the frame's first byte to its new headers, a batch of 64.

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use dataplane::port::BATCH;
use dataplane::settings::ReceivedChecksums::{self, Finished, MayBeUnfinished};
use tandem_benches::{Crossing, Scene};

/// Only the processing is timed, not the making of the packets.
fn time(scene: &mut Scene, crossing: Crossing, batches: u64) -> Duration {
    let mut total = Duration::ZERO;
    for _ in 0..batches {
        scene.prepare(crossing);
        let start = Instant::now();
        scene.process();
        total += start.elapsed();
    }
    assert!(scene.forwarded_all(), "the benchmark's packets are dropped");
    total
}

fn measure(
    criterion: &mut Criterion,
    name: &str,
    flows: usize,
    crossing: Crossing,
    checksums: ReceivedChecksums,
) {
    let mut scene = Scene::new(flows, crossing, checksums);
    let mut group = criterion.benchmark_group("pipeline");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function(BenchmarkId::new(name, flows), |bencher| {
        bencher.iter_custom(|batches| time(&mut scene, crossing, batches));
    });
    group.finish();
}

fn pipeline(criterion: &mut Criterion) {
    for flows in [1, 1_000, 100_000] {
        measure(criterion, "ipv4", flows, Crossing::V4, Finished);
    }
    measure(criterion, "ipv6", 1_000, Crossing::V6, Finished);
    measure(criterion, "ipv4-to-ipv6", 1_000, Crossing::V4ToV6, Finished);
    measure(
        criterion,
        "ipv4-verified",
        1_000,
        Crossing::V4,
        MayBeUnfinished,
    );
}

criterion_group!(benches, pipeline);
criterion_main!(benches);
