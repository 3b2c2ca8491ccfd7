//! Processes one batch of each case, for callgrind to count: `scripts/instructions` runs it.
//!
//! Prints the cases' names in the order in which their batches were processed. The instructions of
//! [`counted`] are what is counted; each call of [`counted_one`] ends a case's count.

#![forbid(unsafe_code)]

use std::hint::black_box;

use tandem_benches::{Scene, cases};

/// Twice as many as the two batches are for: one to warm up with, one to count.
const FLOWS: usize = 4 * dataplane::port::BATCH;

fn main() {
    for (name, shape) in cases() {
        let mut scene = Scene::new(FLOWS, shape, 2);
        scene.prepare(true);
        scene.process();
        scene.next_batch();
        counted(&mut scene);
        counted_one(name);
        scene.next_batch();
        println!("{name}");
    }
}

#[inline(never)]
fn counted(scene: &mut Scene) {
    scene.process();
    // Keeps the call above from becoming a jump, which callgrind would not see the end of.
    black_box(());
}

#[inline(never)]
fn counted_one(name: &str) {
    black_box(name);
}
