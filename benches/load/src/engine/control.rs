//! What the threads of a trial tell each other, and whoever waits for them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// One thread's counters, on cache lines of their own; only the thread writes them.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Lane {
    sent: AtomicU64,
    received: AtomicU64,
    faults: AtomicU64,
    has_sent_all: AtomicBool,
}

/// All threads' counters together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Packets sent.
    pub sent: u64,
    /// Packets of the trial received.
    pub received: u64,
    /// Faulty arrivals.
    pub faults: u64,
    /// Whether every thread has sent what it had to.
    pub all_sent: bool,
}

/// Shared by the threads of a trial.
#[derive(Debug)]
pub struct Control<'a> {
    stop: &'a AtomicBool,
    lanes: Box<[Lane]>,
}

impl<'a> Control<'a> {
    /// For so many threads; `stop` ends the trial early.
    pub fn new(threads: usize, stop: &'a AtomicBool) -> Self {
        Self {
            stop,
            lanes: (0..threads).map(|_| Lane::default()).collect(),
        }
    }

    /// Whether the trial is to end early.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// The counters.
    pub fn sums(&self) -> Sums {
        let mut sums = Sums {
            all_sent: true,
            ..Sums::default()
        };
        for lane in &self.lanes {
            // First: with it everything that was sent before is seen.
            sums.all_sent &= lane.has_sent_all.load(Ordering::Acquire);
            sums.sent += lane.sent.load(Ordering::Relaxed);
            sums.received += lane.received.load(Ordering::Relaxed);
            sums.faults += lane.faults.load(Ordering::Relaxed);
        }
        sums
    }

    /// A thread tells how far it is.
    pub(super) fn tell(&self, thread: usize, sent: u64, received: u64, faults: u64) {
        let lane = &self.lanes[thread];
        lane.sent.store(sent, Ordering::Relaxed);
        lane.received.store(received, Ordering::Relaxed);
        lane.faults.store(faults, Ordering::Relaxed);
    }

    /// A thread tells that it has sent what it had to.
    pub(super) fn tell_sent_all(&self, thread: usize) {
        self.lanes[thread]
            .has_sent_all
            .store(true, Ordering::Release);
    }

    /// A thread ends: nothing more comes from it.
    pub fn give_up(&self, thread: usize) {
        self.tell_sent_all(thread);
    }
}
