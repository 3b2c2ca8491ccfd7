//! The engine: every session, its ports and its flows.

use contract::{Command, Event, Link, Timestamp, WorkerId};
use rand::rngs::StdRng;

use super::{
    Counters, EngineOutput, FlowView, Gauges, LegSpec, Rewritten, SessionError, SessionId,
    SessionView, Side,
};
use crate::installer::NextHopQuery;
use crate::settings::Settings;

/// Every session, its ports and its flows. Sans-IO: call a method, then [`Engine::poll`] until `None`.
#[derive(Debug)]
pub struct Engine {
    #[allow(dead_code)]
    rng: StdRng,
}

#[allow(unused_variables)]
impl Engine {
    /// An engine for this many workers. Ports and session ids are drawn from `rng`: it must be seeded
    /// from the system's entropy, except in tests.
    pub fn new(settings: &Settings, workers: usize, rng: StdRng) -> Self {
        Self { rng }
    }

    /// Opens a session. Takes no ports yet: offers do.
    pub fn open(
        &mut self,
        now: Timestamp,
        a: LegSpec,
        b: LegSpec,
    ) -> Result<SessionId, SessionError> {
        Err(SessionError::TooManySessions)
    }

    /// Another party takes the place of `side`, before it has been confirmed (serial failover): what the former
    /// said is forgotten, its ports go to rest, and a pending offer has to be made again.
    pub fn retarget(
        &mut self,
        now: Timestamp,
        session: SessionId,
        side: Side,
        leg: LegSpec,
    ) -> Result<(), SessionError> {
        Err(SessionError::UnknownSession)
    }

    /// An offer from one side, to be sent to the other. A second offer from the same side before an answer
    /// replaces the first.
    pub fn offer(
        &mut self,
        now: Timestamp,
        session: SessionId,
        from: Side,
        sdp: &[u8],
    ) -> Result<Rewritten, SessionError> {
        Err(SessionError::UnknownSession)
    }

    /// An answer from one side to the other's last offer. May be given again: the answer of another fork,
    /// or of the 2xx after that of a 183, replaces the former.
    pub fn answer(
        &mut self,
        now: Timestamp,
        session: SessionId,
        from: Side,
        sdp: &[u8],
    ) -> Result<Rewritten, SessionError> {
        Err(SessionError::UnknownSession)
    }

    /// The exchange is final (SIP: a 2xx to the request, or the ACK to a late offer's 2xx): rejected streams
    /// give up their ports, and from now on silence counts towards the media timeout.
    pub fn confirm(&mut self, now: Timestamp, session: SessionId) -> Result<(), SessionError> {
        Err(SessionError::UnknownSession)
    }

    /// The offer was turned down (SIP: a failure response to a re-INVITE or UPDATE): back to what was
    /// confirmed before.
    pub fn reject_offer(&mut self, now: Timestamp, session: SessionId) -> Result<(), SessionError> {
        Err(SessionError::UnknownSession)
    }

    /// Ends a session. Its ports rest once every worker has removed its flows. Unknown sessions are
    /// ignored.
    pub fn close(&mut self, now: Timestamp, session: SessionId) {}

    /// A worker has something to say.
    pub fn on_event(&mut self, now: Timestamp, worker: WorkerId, event: Event) {}

    /// A worker's mailbox was full.
    pub fn command_rejected(&mut self, now: Timestamp, worker: WorkerId, command: Command) {}

    /// The answer to a [`EngineOutput::Resolve`], or its change; `None`: there is no way there at present.
    pub fn next_hop_resolved(&mut self, now: Timestamp, query: NextHopQuery, link: Option<Link>) {}

    /// When [`Engine::on_time`] is to be called.
    pub fn deadline(&self) -> Option<Timestamp> {
        None
    }

    /// Does what is due.
    pub fn on_time(&mut self, now: Timestamp) {}

    /// The next thing that the engine wants done.
    pub fn poll(&mut self) -> Option<EngineOutput> {
        None
    }

    /// A session as the operator sees it.
    pub fn describe(&self, session: SessionId) -> Option<SessionView> {
        None
    }

    /// The flows of a session.
    pub fn flows(&self, session: SessionId) -> Vec<FlowView> {
        Vec::new()
    }

    /// What was counted.
    pub fn counters(&self) -> Counters {
        Counters::default()
    }

    /// What there is now.
    pub fn gauges(&self) -> Gauges {
        Gauges::default()
    }
}
