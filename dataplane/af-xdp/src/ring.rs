//! The single-producer, single-consumer rings that an AF_XDP socket shares with the kernel.
//!
//! Here are only indices and entries; where the memory comes from is [`crate::Socket`]'s business, so
//! the tests run the same code over plain memory.
//!
//! ```text
//!            consumer (free running u32)          producer (free running u32)
//!                │                                    │
//!   ┌────┬────┬──▼─┬────┬────┬────┬────┬────┬────┬────▼────┬────┐   entry of index i: entries[i & mask]
//!   │    │    │ ██ │ ██ │ ██ │ ██ │ ██ │ ██ │ ██ │         │    │   filled: producer - consumer, wrapping
//!   └────┴────┴────┴────┴────┴────┴────┴────┴────┴─────────┴────┘   empty:  size - filled
//!
//!   ring         producer   consumer   entry
//!   fill         user       kernel     address of a frame that the kernel may receive into
//!   RX           kernel     user       descriptor of a received packet
//!   TX           user       kernel     descriptor of a packet to send
//!   completion   kernel     user       address of a frame that the kernel has sent
//! ```
//!
//! Both sides keep a copy of the other side's index and read the shared one only when the copy says
//! that there is nothing to do; a batch publishes the own index once, with release ordering, after its
//! entries. So a batch costs at most two cache misses, whatever its size.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

/// `XDP_RING_NEED_WAKEUP`: the kernel sleeps and must be called.
const NEED_WAKEUP: u32 = libc::XDP_RING_NEED_WAKEUP;

/// Where a ring lies: two indices, flags and a power of two of entries.
pub(crate) struct RingMemory<T> {
    pub(crate) producer: NonNull<AtomicU32>,
    pub(crate) consumer: NonNull<AtomicU32>,
    pub(crate) flags: NonNull<AtomicU32>,
    pub(crate) entries: NonNull<T>,
    pub(crate) size: u32,
}

impl<T> RingMemory<T> {
    fn producer(&self) -> &AtomicU32 {
        // SAFETY: whoever made this value upholds that the index is valid for its lifetime (`Producer::new`).
        unsafe { self.producer.as_ref() }
    }

    fn consumer(&self) -> &AtomicU32 {
        // SAFETY: as in `producer`.
        unsafe { self.consumer.as_ref() }
    }

    fn needs_wakeup(&self) -> bool {
        // SAFETY: as in `producer`.
        let flags = unsafe { self.flags.as_ref() };
        flags.load(Ordering::Relaxed) & NEED_WAKEUP != 0
    }

    fn entry(&self, index: u32) -> *mut T {
        let slot = (index & (self.size - 1)) as usize;
        // SAFETY: `slot` is below `size`, and the maker upholds that `size` entries lie there.
        unsafe { self.entries.as_ptr().add(slot) }
    }
}

/// Our end of a ring that we fill: fill or TX.
pub(crate) struct Producer<T> {
    memory: RingMemory<T>,
    /// Our index; nobody else writes it.
    index: u32,
    /// What the consumer's index was when we last looked.
    consumer: u32,
}

impl<T: Copy> Producer<T> {
    /// Continues where the ring's indices stand.
    ///
    /// # Safety
    /// `memory` must stay valid for as long as the value lives, its size must be a power of two, and
    /// nobody else may produce on the ring.
    pub(crate) unsafe fn new(memory: RingMemory<T>) -> Self {
        debug_assert!(memory.size.is_power_of_two());
        let index = memory.producer().load(Ordering::Relaxed);
        let consumer = memory.consumer().load(Ordering::Acquire);
        Self {
            memory,
            index,
            consumer,
        }
    }

    /// Entries that certainly fit now; looks at the consumer's index only when fewer than `wanted`
    /// were known to.
    #[inline]
    pub(crate) fn room(&mut self, wanted: u32) -> u32 {
        let known = self.memory.size - self.index.wrapping_sub(self.consumer);
        if known >= wanted {
            return known;
        }
        self.consumer = self.memory.consumer().load(Ordering::Acquire);
        self.memory.size - self.index.wrapping_sub(self.consumer)
    }

    /// Appends what `next` yields until it ends, the ring is full or `max` entries were written, and
    /// publishes them together. Says how many.
    #[inline]
    pub(crate) fn produce(&mut self, max: u32, mut next: impl FnMut() -> Option<T>) -> u32 {
        let room = self.room(max).min(max);
        let mut written = 0;
        while written < room {
            let Some(entry) = next() else { break };
            let at = self.memory.entry(self.index.wrapping_add(written));
            // SAFETY: `at` is in the ring (`entry`), and not between consumer and producer, so ours.
            unsafe { at.write(entry) };
            written += 1;
        }
        if written > 0 {
            self.index = self.index.wrapping_add(written);
            self.memory.producer().store(self.index, Ordering::Release);
        }
        written
    }

    /// How many entries were ever produced, wrapping.
    #[inline]
    pub(crate) fn index(&self) -> u32 {
        self.index
    }

    /// Entries that the consumer has not taken yet.
    pub(crate) fn pending(&self) -> u32 {
        self.index
            .wrapping_sub(self.memory.consumer().load(Ordering::Acquire))
    }

    /// As [`Producer::pending`] when we last looked at the consumer's index: no shared memory is read.
    #[inline]
    pub(crate) fn known_pending(&self) -> u32 {
        self.index.wrapping_sub(self.consumer)
    }

    /// Whether the kernel has asked to be called.
    #[inline]
    pub(crate) fn needs_wakeup(&self) -> bool {
        self.memory.needs_wakeup()
    }
}

/// Our end of a ring that the kernel fills: RX or completion.
pub(crate) struct Consumer<T> {
    memory: RingMemory<T>,
    /// Our index; nobody else writes it.
    index: u32,
    /// What the producer's index was when we last looked.
    producer: u32,
}

impl<T: Copy> Consumer<T> {
    /// Continues where the ring's indices stand.
    ///
    /// # Safety
    /// As for [`Producer::new`], and nobody else may consume from the ring.
    pub(crate) unsafe fn new(memory: RingMemory<T>) -> Self {
        debug_assert!(memory.size.is_power_of_two());
        let index = memory.consumer().load(Ordering::Relaxed);
        let producer = memory.producer().load(Ordering::Acquire);
        Self {
            memory,
            index,
            producer,
        }
    }

    /// How many entries were ever consumed, wrapping.
    #[inline]
    pub(crate) fn index(&self) -> u32 {
        self.index
    }

    /// Entries that certainly wait; looks at the producer's index only when fewer than `wanted` were
    /// known to.
    #[inline]
    pub(crate) fn waiting(&mut self, wanted: u32) -> u32 {
        let known = self.producer.wrapping_sub(self.index);
        if known >= wanted {
            return known;
        }
        self.producer = self.memory.producer().load(Ordering::Acquire);
        self.producer.wrapping_sub(self.index)
    }

    /// Entries that were seen to wait when we last looked at the producer's index: no shared memory is read.
    #[inline]
    pub(crate) fn known_waiting(&self) -> u32 {
        self.producer.wrapping_sub(self.index)
    }

    /// Hands up to `max` waiting entries to `take`, oldest first, and gives their slots back together.
    /// Says how many.
    #[inline]
    pub(crate) fn consume(&mut self, max: u32, mut take: impl FnMut(T)) -> u32 {
        let taken = self.waiting(max).min(max);
        for offset in 0..taken {
            let at = self.memory.entry(self.index.wrapping_add(offset));
            // SAFETY: `at` is in the ring and between consumer and producer: written by the producer
            // before the index that we loaded with acquire ordering, and not touched again until we
            // publish ours.
            take(unsafe { at.read() });
        }
        if taken > 0 {
            self.index = self.index.wrapping_add(taken);
            self.memory.consumer().store(self.index, Ordering::Release);
        }
        taken
    }
}

// SAFETY: the pointers lead to memory that is shared between threads by design (atomics) or belongs to
// one side at a time by the ring's protocol; the maker upholds that there is one end of each kind.
unsafe impl<T: Send> Send for Producer<T> {}
// SAFETY: as for `Producer`.
unsafe impl<T: Send> Send for Consumer<T> {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    /// A ring in plain memory, for both ends at once.
    struct PlainRing {
        indices: Box<[AtomicU32; 3]>,
        entries: Vec<u64>,
    }

    impl PlainRing {
        fn new(size: u32, start: u32) -> Self {
            Self {
                indices: Box::new([
                    AtomicU32::new(start),
                    AtomicU32::new(start),
                    AtomicU32::new(0),
                ]),
                entries: vec![u64::MAX; size as usize],
            }
        }

        fn memory(&mut self) -> RingMemory<u64> {
            RingMemory {
                producer: NonNull::from(&self.indices[0]),
                consumer: NonNull::from(&self.indices[1]),
                flags: NonNull::from(&self.indices[2]),
                entries: NonNull::new(self.entries.as_mut_ptr()).expect("a Vec's pointer"),
                size: u32::try_from(self.entries.len()).expect("a small ring"),
            }
        }

        fn ends(&mut self) -> (Producer<u64>, Consumer<u64>) {
            let (ours, theirs) = (self.memory(), self.memory());
            // SAFETY: the ring outlives the ends in each test, and there is one of each.
            unsafe { (Producer::new(ours), Consumer::new(theirs)) }
        }
    }

    #[derive(Clone, Debug)]
    enum Operation {
        Produce { max: u32, available: u32 },
        Consume { max: u32 },
        Room { wanted: u32 },
        Waiting { wanted: u32 },
        Reopen,
    }

    fn operations() -> impl Strategy<Value = Vec<Operation>> {
        let operation = prop_oneof![
            4 => (0u32..20, 0u32..20).prop_map(|(max, available)| Operation::Produce { max, available }),
            4 => (0u32..20).prop_map(|max| Operation::Consume { max }),
            1 => (0u32..20).prop_map(|wanted| Operation::Room { wanted }),
            1 => (0u32..20).prop_map(|wanted| Operation::Waiting { wanted }),
            1 => Just(Operation::Reopen),
        ];
        proptest::collection::vec(operation, 1..200)
    }

    fn check(start: u32, log_size: u32, operations: Vec<Operation>) {
        let size = 1 << log_size;
        let mut ring = PlainRing::new(size, start);
        let (mut producer, mut consumer) = ring.ends();
        let mut oracle = VecDeque::new();
        let mut next = 0u64;
        for operation in operations {
            let filled = u32::try_from(oracle.len()).expect("a small ring");
            match operation {
                Operation::Produce { max, available } => {
                    let mut left = available;
                    let written = producer.produce(max, || {
                        left = left.checked_sub(1)?;
                        next += 1;
                        oracle.push_back(next);
                        Some(next)
                    });
                    assert_eq!(written, max.min(available).min(size - filled));
                }
                Operation::Consume { max } => {
                    let taken = consumer.consume(max, |entry| {
                        assert_eq!(Some(entry), oracle.pop_front());
                    });
                    assert_eq!(taken, max.min(filled));
                }
                Operation::Room { wanted } => {
                    let room = producer.room(wanted);
                    assert!(room <= size - filled && room >= wanted.min(size - filled));
                }
                Operation::Waiting { wanted } => {
                    let waiting = consumer.waiting(wanted);
                    assert!(waiting <= filled && waiting >= wanted.min(filled));
                }
                Operation::Reopen => (producer, consumer) = ring.ends(),
            }
            assert_eq!(producer.pending() as usize, oracle.len());
        }
    }

    proptest! {
        #[test]
        fn random_operations_agree_with_a_queue(
            start in prop_oneof![Just(0u32), any::<u32>(), (0u32..64).prop_map(|back| u32::MAX - back)],
            log_size in 0u32..5,
            operations in operations(),
        ) {
            check(start, log_size, operations);
        }
    }

    #[test]
    fn entries_cross_between_threads_in_order_while_indices_wrap() {
        const ENTRIES: u64 = 100_000;
        let mut ring = PlainRing::new(64, u32::MAX - 1_000);
        let (mut producer, mut consumer) = ring.ends();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut next = 0;
                while next < ENTRIES {
                    let written = producer.produce(17, || {
                        (next < ENTRIES).then(|| {
                            next += 1;
                            next
                        })
                    });
                    if written == 0 {
                        std::thread::yield_now();
                    }
                }
            });
            let mut expected = 0;
            while expected < ENTRIES {
                let taken = consumer.consume(13, |entry| {
                    expected += 1;
                    assert_eq!(entry, expected);
                });
                if taken == 0 {
                    std::thread::yield_now();
                }
            }
        });
    }

    #[test]
    fn a_waiting_entry_is_not_published_before_its_batch_ends() {
        let mut ring = PlainRing::new(8, u32::MAX);
        let (mut producer, mut consumer) = ring.ends();
        let mut left = 3;
        producer.produce(8, || {
            assert_eq!(consumer.waiting(1), 0);
            left -= 1;
            (left >= 0).then_some(7)
        });
        assert_eq!(consumer.waiting(8), 3);
    }

    #[test]
    fn the_wakeup_flag_is_read_from_the_ring() {
        let mut ring = PlainRing::new(8, 0);
        let (producer, _consumer) = ring.ends();
        assert!(!producer.needs_wakeup());
        ring.indices[2].store(NEED_WAKEUP, Ordering::Relaxed);
        assert!(producer.needs_wakeup());
    }
}
