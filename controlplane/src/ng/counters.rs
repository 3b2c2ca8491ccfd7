//! What the door counts.

use std::collections::BTreeMap;

/// Counted since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests by command; those that are none are not among them.
    pub commands: BTreeMap<&'static str, u64>,
    /// Replies with `error`, by command.
    pub errors: BTreeMap<&'static str, u64>,
    /// Offers that were turned away for want of room.
    pub limited: u64,
    /// Messages without a cookie: nobody could be told.
    pub no_cookie: u64,
    /// Messages with a cookie and no dictionary.
    pub no_dictionary: u64,
    /// Requests that had been asked before: answered from memory, or with the reply once it was there.
    pub repeated: u64,
    /// Flags and keys that mean nothing to us.
    pub unknown_flags: u64,
    /// Replies that were shortened to fit a datagram.
    pub shortened: u64,
    /// Calls that began.
    pub calls: u64,
    /// Calls that ended because a client said so.
    pub deleted: u64,
    /// Calls that ended because nothing was heard of a party.
    pub media_timeouts: u64,
    /// The same, where nothing was expected of either party.
    pub silent_timeouts: u64,
    /// Dialogues that ended because nobody answered the offer.
    pub offer_timeouts: u64,
    /// Calls that ended because they had lasted as long as any may.
    pub final_timeouts: u64,
    /// Replies that failed since the workers did not take the flows.
    pub flows_refused: u64,
    /// Recordings that could not begin, or had to end early.
    pub not_recorded: u64,
    /// Sounds that could not be played.
    pub not_played: u64,
}

/// What there is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Calls, those among them that wait for the end of their delay.
    pub calls: usize,
    /// Dialogues, each with a session of the engine.
    pub dialogues: usize,
    /// Replies that wait for workers.
    pub waiting: usize,
    /// Replies that are remembered.
    pub cookies: usize,
}
