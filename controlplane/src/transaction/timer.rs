//! The timers of the transaction machines and how long they run.

use std::time::Duration;

use crate::settings::SipTimers;

macro_rules! timers {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal;)+) => {
        /// A timer of a transaction. The letters are RFC 3261's and RFC 6026's.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub(crate) enum Timer {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Timer {
            /// Every timer.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Its name in the tables.
            #[cfg(test)]
            pub(crate) const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

timers! {
    /// The INVITE is sent again.
    A = "A";
    /// The INVITE is given up.
    B = "B";
    /// Failures of the INVITE may still be repeated.
    D = "D";
    /// The request is sent again.
    E = "E";
    /// The request is given up.
    F = "F";
    /// The failure is sent again.
    G = "G";
    /// Waiting for the ACK of the failure is given up.
    H = "H";
    /// ACKs may still be repeated.
    I = "I";
    /// The request may still be repeated.
    J = "J";
    /// The response may still be repeated.
    K = "K";
    /// INVITEs may still be repeated, and the ACK of the 2xx may still come (RFC 6026).
    L = "L";
    /// More 2xx may still come (RFC 6026).
    M = "M";
    /// The 2xx is sent again (RFC 3261 §13.3.1.4, which names no letter).
    Success = "2xx";
    /// A cancelled INVITE is given up (RFC 3261 §9.1, which names no letter).
    Cancelled = "cancel";
}

impl Timer {
    /// How long the timer runs at first; `None` when it is not started over this kind of transport.
    /// What repeats messages is not started over a reliable one; what absorbs repetitions is over at
    /// once.
    pub(crate) const fn first(self, base: &SipTimers, reliable: bool) -> Option<Duration> {
        let all = base.t1.saturating_mul(64);
        match (self, reliable) {
            (Self::A | Self::E | Self::G, true) => None,
            (Self::D | Self::I | Self::J | Self::K, true) => Some(Duration::ZERO),
            // A 2xx is repeated over any transport: a proxy on the way may use another.
            (Self::A | Self::E | Self::G | Self::Success, _) => Some(base.t1),
            (Self::I | Self::K, false) => Some(base.t4),
            (
                Self::B
                | Self::D
                | Self::F
                | Self::H
                | Self::J
                | Self::L
                | Self::M
                | Self::Cancelled,
                _,
            ) => Some(all),
        }
    }

    /// How long it runs after it has run for `last`: twice as long, except for A up to T2.
    pub(crate) fn next(self, base: &SipTimers, last: Duration) -> Duration {
        let doubled = last.saturating_mul(2);
        match self {
            Self::A => doubled,
            _ => doubled.min(base.t2),
        }
    }
}
