//! The states of a registration as one table. `docs/authentication.md` shows the same rows, and a test compares them;
//! what is not in the table does not happen.

use std::fmt;

/// How far a registration has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Not begun, or ended.
    Idle,
    /// The first REGISTER is out, or one after a failure.
    Registering,
    /// The registrar has the binding.
    Registered,
    /// A REGISTER is out that prolongs it.
    Refreshing,
    /// The registrars have failed; later again.
    Backoff,
    /// To be ended, and a REGISTER is still out: the next may not overtake it (RFC 3261 §10.2).
    Withdrawing,
    /// A REGISTER is out that takes the binding back.
    Unregistering,
}

/// What happens to a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Trigger {
    /// It is time: to begin, to refresh, to try again, to give up.
    Due,
    /// A 2xx.
    Accepted,
    /// 423: the registrar wants a longer binding.
    TooBrief,
    /// This registrar is silent, unreachable or out of service, and there is another.
    NextRegistrar,
    /// Every other answer, and the last registrar's silence.
    Failed,
    /// We go out of service.
    Stop,
}

/// One row: in this state, at this, go there.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Where it is.
    pub state: State,
    /// What happens.
    pub trigger: Trigger,
    /// Where it goes.
    pub next: State,
    /// What is done, in the words of the documentation.
    pub action: &'static str,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl State {
    /// The next state; `None` where the table has no row.
    pub(super) fn after(self, trigger: Trigger) -> Option<Self> {
        let row = TABLE
            .iter()
            .find(|row| row.state == self && row.trigger == trigger)?;
        Some(row.next)
    }

    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Registering => "registering",
            Self::Registered => "registered",
            Self::Refreshing => "refreshing",
            Self::Backoff => "backoff",
            Self::Withdrawing => "withdrawing",
            Self::Unregistering => "unregistering",
        }
    }
}

const fn row(state: State, trigger: Trigger, next: State, action: &'static str) -> Row {
    Row {
        state,
        trigger,
        next,
        action,
    }
}

use State::{Backoff, Idle, Refreshing, Registered, Registering, Unregistering, Withdrawing};
use Trigger::{Accepted, Due, Failed, NextRegistrar, Stop, TooBrief};

/// Every row.
#[rustfmt::skip]
pub const TABLE: &[Row] = &[
    row(Idle, Due, Registering, "REGISTER to the first registrar"),
    row(Idle, Stop, Idle, "nothing"),
    row(Registering, Accepted, Registered, "wait for the refresh"),
    row(Registering, TooBrief, Registering, "REGISTER with Min-Expires"),
    row(Registering, NextRegistrar, Registering, "REGISTER to the next registrar"),
    row(Registering, Failed, Backoff, "wait, longer each time"),
    row(Registering, Stop, Withdrawing, "wait for the answer, 4 s at most"),
    row(Registered, Due, Refreshing, "REGISTER to the same registrar"),
    row(Registered, Stop, Unregistering, "REGISTER with Expires 0"),
    row(Refreshing, Accepted, Registered, "wait for the refresh"),
    row(Refreshing, TooBrief, Refreshing, "REGISTER with Min-Expires"),
    row(Refreshing, NextRegistrar, Refreshing, "REGISTER to the next registrar"),
    row(Refreshing, Failed, Backoff, "wait, longer each time"),
    row(Refreshing, Stop, Withdrawing, "wait for the answer, 4 s at most"),
    row(Backoff, Due, Registering, "REGISTER to the first registrar"),
    row(Backoff, Stop, Idle, "nothing"),
    row(Withdrawing, Accepted, Unregistering, "REGISTER with Expires 0"),
    row(Withdrawing, Failed, Idle, "nothing"),
    row(Withdrawing, Due, Idle, "nothing: the registrar does not answer"),
    row(Unregistering, Accepted, Idle, "nothing"),
    row(Unregistering, Failed, Idle, "nothing"),
    row(Unregistering, Due, Idle, "nothing: the registrar does not answer"),
];
