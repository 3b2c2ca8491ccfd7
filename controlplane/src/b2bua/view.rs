//! What the admin socket is told of calls: plain data.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use contract::Timestamp;

use super::{CallState, TransferStage};
use crate::digest;
use crate::session::{self, FlowView, SessionView};
use crate::transaction;

/// A call for as long as the process lives; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub u64);

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for CallId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// One line of the list of calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallSummary {
    /// The call.
    pub id: CallId,
    /// How far it has come.
    pub state: CallState,
    /// The caller: the URI of its From.
    pub from: String,
    /// Who was called: the Request-URI.
    pub to: String,
    /// The trunk it came from.
    pub from_trunk: String,
    /// The trunk it was last sent to; `None` before that.
    pub to_trunk: Option<String>,
    /// When its INVITE came.
    pub started: Timestamp,
    /// When the callee's 200 came; `None` before that.
    pub answered: Option<Timestamp>,
}

/// One dialog of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegView {
    /// The trunk's name.
    pub trunk: String,
    /// Its Call-ID.
    pub call_id: String,
    /// Our tag.
    pub local_tag: String,
    /// The peer's tag; empty before it has given one.
    pub remote_tag: String,
    /// Where requests in the dialog go.
    pub remote_target: String,
    /// Where its messages have come from.
    pub remote: SocketAddr,
}

/// A call in full.
#[derive(Clone, Debug)]
pub struct CallDetail {
    /// Its line in the list.
    pub summary: CallSummary,
    /// The caller's dialog: the first early one while the callee forks.
    pub caller: LegView,
    /// The callee's dialogs: several while it forks, one once it has answered.
    pub callees: Vec<LegView>,
    /// How far a transfer of it has come that tandem carries out.
    pub transfer: Option<TransferStage>,
    /// The media session; `None` once it is closed.
    pub media: Option<SessionView>,
    /// The flows of the session.
    pub flows: Vec<FlowView>,
}

/// What has happened since the start. Every field only grows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// INVITEs outside dialogs that passed the checks of the message itself.
    pub calls_offered: u64,
    /// Calls whose callee answered and whose caller was told so.
    pub calls_answered: u64,
    /// Calls that ended without an answer, by the status code the caller got.
    pub calls_failed: BTreeMap<u16, u64>,
    /// Answered calls that have ended, by why.
    pub calls_ended: BTreeMap<&'static str, u64>,
    /// Requests refused by the agent itself, by the status code.
    pub requests_refused: BTreeMap<u16, u64>,
    /// Messages that were dropped without an answer, by why.
    pub messages_dropped: BTreeMap<&'static str, u64>,
    /// Refusals of the session engine, by class.
    pub sessions_refused: BTreeMap<&'static str, u64>,
    /// Datagrams that are no SIP message, by the parser's error.
    pub parse_errors: BTreeMap<&'static str, u64>,
    /// How often a call went on to another target.
    pub failovers: u64,
    /// How often a call followed a redirection.
    pub redirections: u64,
    /// How often a REFER was passed on.
    pub referrals_passed: u64,
    /// Transfers that tandem began to carry out.
    pub transfers_begun: u64,
    /// Those that gave another party its place.
    pub transfers_made: u64,
    /// Those that nothing came of.
    pub transfers_failed: u64,
    /// Dialogs that lost against another fork's 2xx and were ended.
    pub forks_ended: u64,
    /// How often a target was given up because it was silent for too long.
    pub silent_targets: u64,
    /// How often a call passed by a target because its trunk had no room.
    pub full_targets: u64,
    /// How often a peer went up, down, or from any state of health to another.
    pub peer_changes: u64,
    /// Reliable provisional responses sent again.
    pub provisionals_repeated: u64,
    /// Sessions that we have refreshed, or tried to.
    pub sessions_refreshed: u64,
    /// Credentials, asked for and given.
    pub authentication: AuthenticationCounters,
    /// Those of the transaction layer, parse errors among them.
    pub transactions: transaction::Counters,
    /// Those of the session engine.
    pub sessions: session::Counters,
}

/// What has become of credentials since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuthenticationCounters {
    /// Requests of ours that were challenged, and sent again with credentials.
    pub answered: u64,
    /// Those whose credentials were refused.
    pub refused: u64,
    /// Those that were asked for a realm, or in a way, that the trunk has no credentials for.
    pub unable: u64,
    /// Requests of callers that are challenged.
    pub callers: digest::Tally,
}

/// What is held now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Calls.
    pub calls: usize,
    /// Tags of ours that dialogs are found by, early ones included.
    pub dialogs: usize,
    /// SIP transactions, those that only absorb retransmissions included.
    pub transactions: usize,
    /// Names (tags, transactions, tickets, sessions) that lead to a call.
    pub owned: usize,
    /// Places on trunks that calls hold.
    pub leases: usize,
    /// The media of all calls, in bits a second and one direction, as their session descriptions say.
    pub bandwidth: u64,
    /// Requests and ACKs within dialogs that wait for their next hop's name to be resolved.
    pub resolving: usize,
    /// Media sessions.
    pub sessions: usize,
    /// Those of them that are no call's.
    pub provisioned: usize,
    /// Flows wanted, or still installed at some worker.
    pub flows: usize,
    /// Next hops that are watched.
    pub next_hops: usize,
    /// Pairs of relay ports (RTP and RTCP) in use.
    pub ports_in_use: usize,
    /// Pairs of relay ports that rest after use.
    pub ports_resting: usize,
}
