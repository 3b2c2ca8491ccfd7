//! Signals, as the loop sees them.

use std::io;

use mio::{Interest, Registry, Token};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// SIGTERM, and the first SIGINT.
    Drain,
    /// Every SIGINT after the first.
    EndAtOnce,
    /// SIGHUP.
    HangUp,
}

/// The signals that the process catches.
pub(super) struct Signals {
    caught: signal_hook_mio::v1_0::Signals,
    interrupts: Interrupts,
}

impl Signals {
    pub(super) fn catch(registry: &Registry, token: Token) -> io::Result<Self> {
        let mut caught = signal_hook_mio::v1_0::Signals::new([SIGTERM, SIGINT, SIGHUP])?;
        registry.register(&mut caught, token, Interest::READABLE)?;
        Ok(Self {
            caught,
            interrupts: Interrupts::default(),
        })
    }

    /// The next one that has been caught.
    pub(super) fn next(&mut self) -> Option<Signal> {
        let number = self.caught.pending().next()?;
        Some(self.interrupts.meaning(number))
    }
}

impl std::fmt::Debug for Signals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signals")
            .field("interrupts", &self.interrupts)
            .finish_non_exhaustive()
    }
}

/// Whether SIGINT has come before.
#[derive(Debug, Default)]
struct Interrupts {
    before: bool,
}

impl Interrupts {
    fn meaning(&mut self, number: i32) -> Signal {
        match number {
            SIGINT if std::mem::replace(&mut self.before, true) => Signal::EndAtOnce,
            SIGHUP => Signal::HangUp,
            _ => Signal::Drain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_interrupt_ends_at_once() {
        let mut signals = Interrupts::default();
        assert_eq!(signals.meaning(SIGTERM), Signal::Drain);
        assert_eq!(signals.meaning(SIGINT), Signal::Drain);
        assert_eq!(signals.meaning(SIGHUP), Signal::HangUp);
        assert_eq!(signals.meaning(SIGINT), Signal::EndAtOnce);
        assert_eq!(signals.meaning(SIGINT), Signal::EndAtOnce);
    }
}
