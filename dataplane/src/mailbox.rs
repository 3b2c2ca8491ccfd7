//! A bounded mailbox between the control plane and one worker, in one direction.
//!
//! A full mailbox refuses and counts; nothing is overwritten, nobody blocks. The reader may fall asleep
//! on it: then, and only then, the writer is told to ring the reader's bell.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

use crossbeam::queue::ArrayQueue;

/// One direction.
#[derive(Debug)]
pub struct Mailbox<T> {
    queue: ArrayQueue<T>,
    refused: AtomicU64,
    asleep: AtomicBool,
}

/// Whether the reader's bell has to be rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a reader that sleeps must be woken"]
pub enum Reader {
    /// It will look by itself.
    Awake,
    /// It waits for the bell.
    Asleep,
}

/// The mailbox has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

impl<T> Mailbox<T> {
    /// An empty mailbox; a capacity of 0 is taken as 1.
    pub fn new(capacity: usize) -> Self {
        Self {
            queue: ArrayQueue::new(capacity.max(1)),
            refused: AtomicU64::new(0),
            asleep: AtomicBool::new(false),
        }
    }

    /// Puts something in.
    pub fn push(&self, item: T) -> Result<Reader, Refused> {
        if self.queue.push(item).is_err() {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(Refused);
        }
        // Either this sees the reader asleep or the reader, which says so before it looks a last time,
        // sees the item (store, fence, load on both sides).
        Ok(self.reader())
    }

    /// Whether the reader's bell has to be rung after something was put elsewhere that it looks at, too.
    pub fn reader(&self) -> Reader {
        fence(Ordering::SeqCst);
        // One bell is enough, however long the reader takes to hear it: the rest of a burst costs no system call.
        let asleep =
            self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed);
        match asleep {
            true => Reader::Asleep,
            false => Reader::Awake,
        }
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Takes the oldest out.
    pub fn pop(&self) -> Option<T> {
        self.queue.pop()
    }

    /// Whether the next push by the only writer succeeds.
    pub fn has_room(&self) -> bool {
        !self.queue.is_full()
    }

    /// Says that the reader is about to sleep; `false` when something has come meanwhile and it must not.
    pub fn fall_asleep(&self) -> bool {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.queue.is_empty() {
            return true;
        }
        self.wake_up();
        false
    }

    /// Says that the reader looks by itself again.
    pub fn wake_up(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// How often it was full.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn a_full_mailbox_refuses_and_counts() {
        let mailbox = Mailbox::new(2);
        assert_eq!(mailbox.push(1), Ok(Reader::Awake));
        assert_eq!(mailbox.push(2), Ok(Reader::Awake));
        assert!(!mailbox.has_room());
        assert_eq!(mailbox.push(3), Err(Refused));
        assert_eq!(mailbox.refused(), 1);
        assert_eq!(
            (mailbox.pop(), mailbox.pop(), mailbox.pop()),
            (Some(1), Some(2), None)
        );
    }

    #[test]
    fn a_sleeper_is_woken_and_does_not_sleep_on_mail() {
        let mailbox = Mailbox::new(2);
        assert!(mailbox.fall_asleep());
        assert_eq!(mailbox.push(1), Ok(Reader::Asleep));
        // The bell has been rung: once is enough.
        assert_eq!(mailbox.push(2), Ok(Reader::Awake));
        mailbox.wake_up();
        assert!(!mailbox.fall_asleep());
        assert_eq!((mailbox.pop(), mailbox.pop()), (Some(1), Some(2)));
        assert!(mailbox.fall_asleep());
        assert_eq!(mailbox.push(3), Ok(Reader::Asleep));
    }

    #[test]
    fn no_wakeup_is_lost_between_two_threads() {
        const ITEMS: u32 = 20_000;
        let mailbox = Mailbox::new(4);
        let bell = AtomicU32::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for item in 0..ITEMS {
                    loop {
                        match mailbox.push(item) {
                            Ok(Reader::Asleep) => {
                                bell.store(1, Ordering::SeqCst);
                                break;
                            }
                            Ok(Reader::Awake) => break,
                            Err(Refused) => std::thread::yield_now(),
                        }
                    }
                }
            });
            let mut expected = 0;
            while expected < ITEMS {
                while let Some(item) = mailbox.pop() {
                    assert_eq!(item, expected);
                    expected += 1;
                }
                if expected < ITEMS && mailbox.fall_asleep() {
                    // A lost wakeup would leave this waiting for ever.
                    while bell.swap(0, Ordering::SeqCst) == 0 {
                        std::thread::yield_now();
                    }
                    mailbox.wake_up();
                }
            }
        });
    }
}
