//! The process's clock, and the machine's.

use std::time::{Duration, Instant, SystemTime};

use contract::Timestamp;

use crate::wall_clock::WallClock;

/// A datagram that has waited longer is not believed to have: the wall clock was set meanwhile. No socket's
/// buffer holds what takes as long to handle.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// How long ago something arrived, by the kernel's wall clock since 1970; `None` when that makes no sense.
pub(super) fn since_arrival(arrived: Duration) -> Option<Duration> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    // In the future: the clock was set back a little.
    let waited = now.ok()?.saturating_sub(arrived);
    (waited < LONGEST_WAIT).then_some(waited)
}

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

    /// The time of day, as the machine has it now.
    pub fn wall(&self) -> WallClock {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        WallClock::showing(since_1970.unwrap_or(Duration::ZERO), self.now())
    }
}
