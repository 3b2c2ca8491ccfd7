//! The machine of one leg's session timer, as a table. `docs/session-timers.md` has the same rows for people, and
//! a test compares them.

/// How a leg's session is kept alive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(in crate::b2bua) enum Keeping {
    /// Not at all.
    #[default]
    Off,
    /// By us; the next refresh is not due.
    Ours,
    /// Our refresh is on its way.
    Asking,
    /// Our refresh could not be made, and is made again after a pause.
    Pausing,
    /// By the peer.
    Theirs,
    /// No more: the call ends.
    Over,
}

/// What moves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::b2bua) enum Trigger {
    /// A 2xx says that we refresh.
    AgreedOurs,
    /// A 2xx says that the peer does.
    AgreedTheirs,
    /// A 2xx says nothing of a timer, and we do not insist.
    AgreedNone,
    /// Half of the interval, or the pause, has passed.
    Due,
    /// Another request is in the way, or 491 comes.
    Glare,
    /// The refresh is refused otherwise.
    Refused,
    /// 408, 481, or no answer at all.
    Gone,
    /// The interval has passed without a refresh.
    Expired,
}

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::b2bua) struct Row {
    pub(in crate::b2bua) state: Keeping,
    pub(in crate::b2bua) trigger: Trigger,
    pub(in crate::b2bua) next: Keeping,
    #[cfg_attr(not(test), allow(dead_code, reason = "the documentation's"))]
    pub(in crate::b2bua) action: &'static str,
}

macro_rules! table {
    ($($state:ident, $trigger:ident => $next:ident, $action:literal;)+) => {
        /// Every transition that there is.
        pub(in crate::b2bua) const TABLE: &[Row] = &[$(Row {
            state: Keeping::$state,
            trigger: Trigger::$trigger,
            next: Keeping::$next,
            action: $action,
        },)+];
    };
}

table! {
    Off, AgreedOurs => Ours, "refresh after half of the interval";
    Off, AgreedTheirs => Theirs, "expire min(32 s, a third) before the interval is over";
    Ours, AgreedOurs => Ours, "begin the interval anew";
    Ours, AgreedTheirs => Theirs, "begin the interval anew";
    Ours, AgreedNone => Off, "nothing";
    Ours, Due => Asking, "UPDATE where the peer allows it, else re-INVITE with the same description";
    Asking, AgreedOurs => Ours, "begin the interval anew";
    Asking, AgreedTheirs => Theirs, "begin the interval anew";
    Asking, AgreedNone => Off, "nothing";
    Asking, Glare => Pausing, "pause for 2.1 to 4 s where the Call-ID is ours, else for up to 2 s";
    Asking, Refused => Pausing, "pause for half of what is left, or as the refusal says";
    Asking, Gone => Over, "BYE to both";
    Asking, Expired => Over, "BYE to both";
    Pausing, AgreedOurs => Ours, "begin the interval anew";
    Pausing, AgreedTheirs => Theirs, "begin the interval anew";
    Pausing, AgreedNone => Off, "nothing";
    Pausing, Due => Asking, "UPDATE where the peer allows it, else re-INVITE with the same description";
    Pausing, Expired => Over, "BYE to both";
    Theirs, AgreedOurs => Ours, "begin the interval anew";
    Theirs, AgreedTheirs => Theirs, "begin the interval anew";
    Theirs, AgreedNone => Off, "nothing";
    Theirs, Expired => Over, "BYE to both";
}

impl Keeping {
    /// The state after the trigger; `None` where the table has no such row.
    pub(in crate::b2bua) fn after(self, trigger: Trigger) -> Option<Self> {
        TABLE
            .iter()
            .find(|row| row.state == self && row.trigger == trigger)
            .map(|row| row.next)
    }
}
