//! What the resolver has done since the start.

/// Every field only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Queries sent in datagrams.
    pub queries_udp: u64,
    /// Queries sent over TCP.
    pub queries_tcp: u64,
    /// Answers taken in, "no" included.
    pub answers: u64,
    /// Answers that did not fit a datagram.
    pub truncated: u64,
    /// Answers of servers that do not know or will not say.
    pub refused: u64,
    /// Attempts without an answer in time.
    pub timeouts: u64,
    /// Attempts that did not reach the server.
    pub unreachable: u64,
    /// Attempts that got more messages than a query may.
    pub flooded: u64,
    /// Questions that were given up.
    pub failures: u64,
    /// Messages dropped because they came from elsewhere.
    pub ignored_source: u64,
    /// Messages dropped because they were no response, or had another id.
    pub ignored_id: u64,
    /// Messages dropped because they repeated another question.
    pub ignored_question: u64,
    /// Messages dropped because they could not be read.
    pub ignored_malformed: u64,
    /// Messages dropped because their query was done with.
    pub ignored_late: u64,
    /// Names that requests within dialogs led to.
    pub lookups: u64,
    /// Those of them that led nowhere.
    pub lookups_failed: u64,
    /// Those of them that nobody could wait for.
    pub lookups_refused: u64,
    /// Those of them that took too long.
    pub lookups_late: u64,
    /// Uses of an answer beyond its TTL.
    pub stale_uses: u64,
    /// Answers forgotten for want of room.
    pub evicted: u64,
}

impl Counters {
    /// Names and values, for whoever shows them.
    pub const fn named(&self) -> [(&'static str, u64); 20] {
        [
            ("queries_udp", self.queries_udp),
            ("queries_tcp", self.queries_tcp),
            ("answers", self.answers),
            ("truncated", self.truncated),
            ("refused", self.refused),
            ("timeouts", self.timeouts),
            ("unreachable", self.unreachable),
            ("flooded", self.flooded),
            ("failures", self.failures),
            ("ignored_source", self.ignored_source),
            ("ignored_id", self.ignored_id),
            ("ignored_question", self.ignored_question),
            ("ignored_malformed", self.ignored_malformed),
            ("ignored_late", self.ignored_late),
            ("lookups", self.lookups),
            ("lookups_failed", self.lookups_failed),
            ("lookups_refused", self.lookups_refused),
            ("lookups_late", self.lookups_late),
            ("stale_uses", self.stale_uses),
            ("evicted", self.evicted),
        ]
    }
}
