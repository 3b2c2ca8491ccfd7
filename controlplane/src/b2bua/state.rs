//! The states of a call, as a table.
//!
//! [`TABLE`] is what the code runs on: a call changes its state only through [`CallState::after`].
//! `docs/b2bua.md` holds the same rows for people, and a test compares them.

use std::fmt;

/// How far a call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CallState {
    /// The flows of the caller's offer are being installed; nothing has been sent to this callee.
    Preparing,
    /// The INVITE is with the callee.
    Calling,
    /// The callee has answered provisionally: there are early dialogs.
    Ringing,
    /// The callee has answered; the flows of its answer are being installed.
    Answering,
    /// The caller has been sent the 2xx, and has not acknowledged it yet.
    Answered,
    /// Both sides are up.
    Established,
    /// The caller has its final response; the callee's INVITE is being cancelled.
    Cancelling,
    /// BYE is out, or waits for the ACK that must come first.
    Ending,
    /// Nothing is left: the call leaves the table of calls.
    Over,
}

/// What moves a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Trigger {
    /// The flows that a message waits for are installed.
    FlowsReady,
    /// They cannot be.
    FlowsFailed,
    /// The callee's provisional response with a tag.
    Provisional,
    /// The callee's 2xx.
    Answer,
    /// Another has the place of a callee that rings, by Replaces.
    PickedUp,
    /// The callee's failure, or none of its answers, and another target is left to try.
    NextTarget,
    /// The callee's failure, or none of its answers, and no target is left.
    Failure,
    /// CANCEL from the caller, or BYE while there is no answer yet.
    CallerCancels,
    /// Timer C.
    NoAnswer,
    /// ACK from the caller.
    Ack,
    /// No ACK for 64 T1.
    NoAck,
    /// No PRACK from the caller for 64 T1.
    NoPrack,
    /// BYE from either side.
    Bye,
    /// We end the call: the operator, a drain, silence, a broken negotiation.
    HangUp,
    /// The last of what a call waited for has ended: its BYEs, or the cancelled INVITE.
    Done,
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The state before.
    pub state: CallState,
    /// What happens.
    pub trigger: Trigger,
    /// The state after.
    pub next: CallState,
    /// What the call does.
    pub action: &'static str,
}

macro_rules! table {
    ($($state:ident, $trigger:ident => $next:ident, $action:literal;)+) => {
        /// Every transition that there is. What is not in it does not happen: a message that asks for
        /// it is answered by the rules of its method and leaves the state alone.
        pub const TABLE: &[Row] = &[$(Row {
            state: CallState::$state,
            trigger: Trigger::$trigger,
            next: CallState::$next,
            action: $action,
        },)+];
    };
}

table! {
    Preparing, FlowsReady => Calling, "INVITE to the callee";
    Preparing, FlowsFailed => Over, "503 or 500 to the caller";
    Preparing, Failure => Over, "503 or 500 to the caller";
    Preparing, CallerCancels => Over, "487 to the caller";
    Preparing, HangUp => Over, "480 or 503 to the caller";

    Calling, Provisional => Ringing, "provisional to the caller in an early dialog of its own";
    Calling, Answer => Answering, "ACK to the callee";
    Calling, NextTarget => Preparing, "offer again for the next target";
    Calling, Failure => Over, "failure to the caller";
    Calling, CallerCancels => Cancelling, "487 to the caller, CANCEL to the callee after its first provisional";
    Calling, NoAnswer => Cancelling, "408 to the caller, CANCEL to the callee after its first provisional";
    Calling, HangUp => Cancelling, "480 or 503 to the caller, CANCEL to the callee after its first provisional";

    Ringing, Provisional => Ringing, "provisional to the caller in the early dialog of its fork";
    Ringing, Answer => Answering, "ACK to the callee, the other forks end";
    Ringing, PickedUp => Answered, "CANCEL to the callee, 2xx to the newcomer, 2xx to the caller";
    Ringing, NextTarget => Preparing, "offer again for the next target";
    Ringing, Failure => Over, "failure to the caller";
    Ringing, FlowsFailed => Cancelling, "503 or 500 to the caller, CANCEL to the callee";
    Ringing, CallerCancels => Cancelling, "487 to the caller, CANCEL to the callee";
    Ringing, NoAnswer => Cancelling, "408 to the caller, CANCEL to the callee";
    Ringing, NoPrack => Cancelling, "504 to the caller, CANCEL to the callee";
    Ringing, HangUp => Cancelling, "480 or 503 to the caller, CANCEL to the callee";

    Answering, FlowsReady => Answered, "2xx to the caller";
    Answering, FlowsFailed => Ending, "503 or 500 to the caller, BYE to the callee";
    Answering, CallerCancels => Ending, "487 to the caller, BYE to the callee";
    Answering, NoPrack => Ending, "504 to the caller, BYE to the callee";
    Answering, Bye => Over, "480 to the caller";
    Answering, HangUp => Ending, "480 or 503 to the caller, BYE to the callee";

    Answered, Ack => Established, "ACK to the callee if it made the offer";
    Answered, NoAck => Ending, "BYE to both";
    Answered, Bye => Ending, "200 to the sender, BYE to the other; to the caller once it has acknowledged";
    Answered, HangUp => Ending, "BYE to both; to the caller once it has acknowledged";

    Established, Bye => Ending, "200 to the sender, BYE to the other";
    Established, HangUp => Ending, "BYE to both";

    Cancelling, Answer => Ending, "ACK and BYE to the callee";
    Cancelling, Failure => Over, "nothing: the caller has its response";
    Cancelling, Done => Over, "nothing: the callee has not answered the CANCEL for 64 T1";

    Ending, Done => Over, "nothing: every BYE is answered or given up";
}

impl CallState {
    /// Every state, in order.
    pub const ALL: &'static [Self] = &[
        Self::Preparing,
        Self::Calling,
        Self::Ringing,
        Self::Answering,
        Self::Answered,
        Self::Established,
        Self::Cancelling,
        Self::Ending,
        Self::Over,
    ];

    /// The state after the trigger; `None` where the table has no such row.
    pub fn after(self, trigger: Trigger) -> Option<Self> {
        TABLE
            .iter()
            .find(|row| row.state == self && row.trigger == trigger)
            .map(|row| row.next)
    }

    /// The state's name in tables: lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::Calling => "calling",
            Self::Ringing => "ringing",
            Self::Answering => "answering",
            Self::Answered => "answered",
            Self::Established => "established",
            Self::Cancelling => "cancelling",
            Self::Ending => "ending",
            Self::Over => "over",
        }
    }
}

impl fmt::Display for CallState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_state_and_a_trigger_have_at_most_one_row() {
        let mut seen = HashSet::new();
        for row in TABLE {
            assert!(seen.insert((row.state, row.trigger)), "{row:?} twice");
        }
    }

    #[test]
    fn the_documentation_has_the_same_rows() {
        let text = include_str!("../../../docs/b2bua.md");
        let written: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("| `"))
            .collect();
        let meant: Vec<String> = TABLE
            .iter()
            .map(|row| {
                let Row {
                    state,
                    trigger,
                    next,
                    action,
                } = row;
                format!("| `{state:?}` | `{trigger:?}` | `{next:?}` | {action} |")
            })
            .collect();
        assert_eq!(written, meant);
    }

    #[test]
    fn every_state_is_reached_and_every_state_leads_to_the_end() {
        let mut reached = HashSet::from([CallState::Preparing]);
        let mut ends = HashSet::from([CallState::Over]);
        for _ in CallState::ALL {
            for row in TABLE {
                if reached.contains(&row.state) {
                    reached.insert(row.next);
                }
                if ends.contains(&row.next) {
                    ends.insert(row.state);
                }
            }
        }
        for state in CallState::ALL {
            assert!(reached.contains(state), "{state} is never reached");
            assert!(ends.contains(state), "{state} never ends");
        }
        assert!(TABLE.iter().all(|row| row.state != CallState::Over));
    }
}
