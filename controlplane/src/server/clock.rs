//! The process's clock.

use std::time::Instant;

use contract::Timestamp;

/// The clock of a process: CLOCK_MONOTONIC since an origin that both planes share.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock that stands at [`Timestamp::ZERO`] at `origin`.
    pub const fn since(origin: Instant) -> Self {
        Self { origin }
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        Timestamp::ZERO + self.origin.elapsed()
    }
}
