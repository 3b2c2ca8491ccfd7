//! What the pipeline costs a packet: from the frame's first byte to its new headers, a batch of 64.

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use dataplane::port::BATCH;
use dataplane::settings::ReceivedChecksums;
use tandem_benches::shape::Crossing;
use tandem_benches::{Scene, Shape};

/// Only the processing is timed, not the making of the packets.
fn time(scene: &mut Scene, one_sided: bool, batches: u64) -> Duration {
    let mut total = Duration::ZERO;
    for _ in 0..batches.div_ceil(2) {
        scene.prepare(one_sided);
        for _ in 0..2 {
            let start = Instant::now();
            scene.process();
            total += start.elapsed();
            scene.next_batch();
        }
    }
    total.mul_f64(batches as f64 / (2 * batches.div_ceil(2)) as f64)
}

fn measure(criterion: &mut Criterion, name: &str, flows: usize, shape: Shape) {
    let mut scene = Scene::new(flows, shape, 2);
    let one_sided = matches!(shape.crossing, Crossing::V4ToV6 | Crossing::V6ToV4);
    let mut group = criterion.benchmark_group("pipeline");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function(BenchmarkId::new(name, flows), |bencher| {
        bencher.iter_custom(|batches| time(&mut scene, one_sided, batches));
    });
    group.finish();
}

fn pipeline(criterion: &mut Criterion) {
    let plain = Shape::PLAIN;
    for flows in [1, 1_000, 100_000, 400_000] {
        measure(criterion, "ipv4", flows, plain);
    }
    let crossing = |crossing| Shape { crossing, ..plain };
    measure(criterion, "ipv6", 1_000, crossing(Crossing::V6));
    measure(criterion, "ipv6", 400_000, crossing(Crossing::V6));
    measure(criterion, "ipv4-to-ipv6", 1_000, crossing(Crossing::V4ToV6));
    let verified = Shape {
        checksums: ReceivedChecksums::MayBeUnfinished,
        ..plain
    };
    measure(criterion, "ipv4-verified", 1_000, verified);
}

criterion_group!(benches, pipeline);
criterion_main!(benches);
