//! Whose turn it is: journeys that measure have the machine to themselves, the others share it.
//!
//! A lock on a file rather than in memory, so that it also holds between test processes (two runs at
//! once, or a runner that gives each test a process of its own). A second lock is the queue for the first: whoever
//! wants the machine alone has the next turn, rather than wait until, by chance, nobody shares it.

use std::fs::File;

use rustix::fs::{FlockOperation, flock};

/// A journey's right to use the machine; given back when dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    _lock: File,
}

impl Turn {
    /// Beside other journeys.
    pub(crate) fn shared() -> Self {
        Self::take(FlockOperation::LockShared)
    }

    /// Alone: for journeys that count every packet at a rate that two cores can only just take twice.
    pub(crate) fn alone() -> Self {
        Self::take(FlockOperation::LockExclusive)
    }

    fn take(how: FlockOperation) -> Self {
        let _next = locked("tandem-journeys.queue", FlockOperation::LockExclusive);
        let lock = locked("tandem-journeys.lock", how);
        Self { _lock: lock }
    }
}

/// A file of the temporary directory, locked until it is closed.
fn locked(name: &str, how: FlockOperation) -> File {
    let path = std::env::temp_dir().join(name);
    let file = File::create(&path).expect("the temporary directory can be written to");
    flock(&file, how).expect("flock works in the temporary directory");
    file
}
