//! The machine of a transfer that tandem carries out, as a table. `docs/transfer.md` has the same rows for people,
//! and a test compares them.

/// How far a transfer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The INVITE is with the newcomer; the call goes on as it was.
    Inviting,
    /// The newcomer has made its offer; its flows are being installed.
    Preparing,
    /// The re-INVITE with that offer, or for one, is with the party that remains.
    Joining,
    /// The party that remains was in an exchange of its own, and is asked again after a pause.
    Pausing,
    /// The party that remains has answered; the flows are being installed.
    Connecting,
    /// The two talk, and who had the place has gone.
    Joined,
    /// Nothing has come of it.
    Failed,
}

/// What moves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trigger {
    /// The target has failed or is silent, and another is left.
    NextTarget,
    /// 2xx: of the newcomer, or of the party that remains.
    Answer,
    /// The newcomer fails and no other is left, or the party that remains refuses.
    Failure,
    /// 491 of the party that remains.
    Glare,
    /// The pause is over.
    Due,
    /// The flows that a message announces are installed.
    FlowsReady,
    /// They cannot be.
    FlowsFailed,
    /// The call ends: the party that remains hangs up, or tandem does.
    CallEnds,
}

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Where the transfer is.
    pub state: Stage,
    /// What happens.
    pub trigger: Trigger,
    /// Where that leads.
    pub next: Stage,
    /// What is done, in words.
    pub action: &'static str,
}

macro_rules! table {
    ($($state:ident, $trigger:ident => $next:ident, $action:literal;)+) => {
        /// Every transition that there is.
        pub const TABLE: &[Row] = &[$(Row {
            state: Stage::$state,
            trigger: Trigger::$trigger,
            next: Stage::$next,
            action: $action,
        },)+];
    };
}

table! {
    Inviting, NextTarget => Inviting, "INVITE without description to the next target";
    Inviting, Answer => Preparing, "the newcomer's offer is rewritten for the party that remains";
    Inviting, Failure => Failed, "the failure is told; the call goes on";
    Inviting, CallEnds => Failed, "the newcomer is let go";

    Preparing, FlowsReady => Joining, "re-INVITE with the offer to the party that remains";
    Preparing, FlowsFailed => Failed, "the newcomer is let go, 503 or 500 is told; the call goes on";
    Preparing, Failure => Failed, "the newcomer is let go, 488 or what else was wrong is told; the call goes on";
    Preparing, CallEnds => Failed, "the newcomer is let go, 487 is told";

    Joining, Answer => Connecting, "ACK to the party that remains, unless it has made the offer";
    Joining, Glare => Pausing, "pause for 2.1 to 4 s where the Call-ID is ours, else for up to 2 s";
    Joining, Failure => Failed, "the newcomer is let go, the failure is told; the call goes on";
    Joining, CallEnds => Failed, "the newcomer is let go, 487 is told";

    Pausing, Due => Joining, "the same re-INVITE once more";
    Pausing, Failure => Failed, "the newcomer is let go, the failure is told; the call goes on";
    Pausing, CallEnds => Failed, "the newcomer is let go, 487 is told";

    Connecting, FlowsReady => Joined, "answer to the newcomer, 200 is told, BYE to who leaves";
    Connecting, FlowsFailed => Failed, "BYE to all";
    Connecting, CallEnds => Failed, "the newcomer is let go, 487 is told";
}

impl Stage {
    /// The stage after the trigger; `None` where the table has no such row.
    pub(in crate::b2bua) fn after(self, trigger: Trigger) -> Option<Self> {
        TABLE
            .iter()
            .find(|row| row.state == self && row.trigger == trigger)
            .map(|row| row.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_documentation_has_the_same_rows() {
        let text = include_str!("../../../../docs/transfer.md");
        let written: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("| `") && line.matches('|').count() == 5)
            .collect();
        let line = |row: &Row| {
            let Row {
                state,
                trigger,
                next,
                action,
            } = row;
            format!("| `{state:?}` | `{trigger:?}` | `{next:?}` | {action} |")
        };
        assert_eq!(written, TABLE.iter().map(line).collect::<Vec<_>>());
    }

    #[test]
    fn a_stage_and_a_trigger_have_one_row_and_every_stage_leads_to_an_end() {
        let mut seen = HashSet::new();
        for row in TABLE {
            assert!(seen.insert((row.state, row.trigger)), "{row:?} twice");
        }
        let mut reached = HashSet::from([Stage::Inviting]);
        for _ in TABLE {
            for row in TABLE {
                if reached.contains(&row.state) {
                    reached.insert(row.next);
                }
            }
        }
        assert_eq!(reached.len(), 7);
        for stage in reached {
            let ends = matches!(stage, Stage::Joined | Stage::Failed);
            let leads_on = TABLE.iter().any(|row| row.state == stage);
            assert_ne!(ends, leads_on, "{stage:?}");
            // Whatever it waits for, the call may end meanwhile.
            assert_eq!(stage.after(Trigger::CallEnds).is_some(), leads_on);
        }
    }
}
