//! The two machines of RFC 3262, as tables. `docs/provisionals.md` has the same rows for people, and a test
//! compares them.

/// How far the reliable provisional responses of one of our early dialogs with a caller have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(in crate::b2bua) enum Sending {
    /// None waits for its PRACK.
    #[default]
    Idle,
    /// One does.
    Waiting,
    /// One does, and has a session description: the 2xx waits with it.
    Holding,
    /// The caller has its 2xx.
    Answered,
    /// The caller has never acknowledged.
    Over,
}

/// What moves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::b2bua) enum SendTrigger {
    /// A provisional response is to be sent reliably.
    Provisional,
    /// The PRACK that is waited for.
    Prack,
    /// T1, doubled each time, has passed.
    Again,
    /// 64 T1 have passed.
    GiveUp,
    /// The 2xx, and nothing with a session description waits for its PRACK.
    Answer,
    /// The 2xx, and something does.
    AnswerWaits,
}

/// How far those of one early dialog with a callee have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(in crate::b2bua) enum Receiving {
    /// None has come.
    #[default]
    Fresh,
    /// The next has the RSeq that follows.
    Following,
}

/// What moves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::b2bua) enum ReceiveTrigger {
    /// The first of all, with whatever RSeq.
    First,
    /// The one that follows.
    Next,
    /// One that was here before.
    Repeated,
    /// One before which another is missing.
    Gap,
}

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::b2bua) struct Row<State, Trigger> {
    pub(in crate::b2bua) state: State,
    pub(in crate::b2bua) trigger: Trigger,
    pub(in crate::b2bua) next: State,
    pub(in crate::b2bua) action: &'static str,
}

macro_rules! table {
    ($(#[$doc:meta])+ $name:ident: $State:ident, $Trigger:ident;
     $($state:ident, $trigger:ident => $next:ident, $action:literal;)+) => {
        $(#[$doc])+
        pub(in crate::b2bua) const $name: &[Row<$State, $Trigger>] = &[$(Row {
            state: $State::$state,
            trigger: $Trigger::$trigger,
            next: $State::$next,
            action: $action,
        },)+];

        impl $State {
            /// The state after the trigger; `None` where the table has no such row.
            pub(in crate::b2bua) fn after(self, trigger: $Trigger) -> Option<Self> {
                $name
                    .iter()
                    .find(|row| row.state == self && row.trigger == trigger)
                    .map(|row| row.next)
            }
        }
    };
}

table! {
    /// Towards a caller (RFC 3262 §3).
    SENDING: Sending, SendTrigger;
    Idle, Provisional => Waiting, "sent with the next RSeq";
    Idle, Answer => Answered, "2xx to the caller";
    Waiting, Provisional => Waiting, "kept until those before it are acknowledged";
    Waiting, Prack => Idle, "2xx to the PRACK, then the next that is kept";
    Waiting, Again => Waiting, "sent again";
    Waiting, GiveUp => Over, "504 to the caller, CANCEL to the callee";
    Waiting, Answer => Answered, "2xx to the caller, nothing more is sent again";
    Waiting, AnswerWaits => Holding, "the 2xx is kept until the PRACK";
    Holding, Prack => Answered, "2xx to the PRACK, then 2xx to the caller";
    Holding, Again => Holding, "sent again";
    Holding, GiveUp => Over, "504 to the caller, BYE to the callee";
    Answered, Prack => Answered, "2xx to the PRACK";
}

table! {
    /// From a callee (RFC 3262 §4).
    RECEIVING: Receiving, ReceiveTrigger;
    Fresh, First => Following, "PRACK, or passed on and acknowledged when the caller does";
    Following, Next => Following, "PRACK, or passed on and acknowledged when the caller does";
    Following, Repeated => Following, "nothing: the PRACK repeats itself";
    Following, Gap => Following, "dropped: the callee repeats the one that is missing";
}
