//! The session engine: offers and answers (RFC 3264) in, rewritten SDP and wanted flows out.
//!
//! It knows neither SIP nor ng: a front end gives it the session description of one side and sends
//! what it gives back to the other.

mod codec_policy;
mod counters;
mod engine;
mod error;
mod handling;
mod leg;
mod media_stream;
mod negotiation;
mod party;
mod provisioned;
mod state;
mod terms;
mod view;

use std::sync::Arc;

pub use counters::{Counters, Gauges, PortGauges};
pub use engine::Engine;
pub use error::{ErrorClass, SessionError};
pub use handling::{KeyPresses, Receiver, SideHandling, StreamCopy};
pub use media_stream::Patience;
pub use provisioned::{Provision, ProvisionedView, Provisioning, Rtcp};
pub use terms::{MuxAnswer, MuxOffer, MuxTerms, OriginWriting, Terms, Version, Writing};
pub use view::{FlowView, PartyView, SessionView, StreamState, StreamView};

use contract::{Command, FlowKey, WorkerId};

use crate::installer::{NextHopQuery, Ticket, TicketFailure};
use crate::settings::{CodecRules, MediaGroupId};

/// A party of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// The party that called.
    A,
    /// The party that was called.
    B,
}

impl Side {
    /// The other party.
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::A => 0,
            Self::B => 1,
        }
    }
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// What the media towards one party uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegSpec {
    /// Where local addresses and ports come from.
    pub group: MediaGroupId,
    /// The family that is announced to a party whose own session description is not known yet; one that is
    /// known decides for itself. A group without that family gives what it has.
    pub family: Option<Family>,
    /// Which codecs it may have: settled when the leg is made, whatever the settings become.
    pub codecs: Arc<CodecRules>,
}

/// A session for its whole life; never used again within a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// A session description for the other side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewritten {
    /// The body to send.
    pub sdp: Vec<u8>,
    /// `Some`: hold the body back until [`EngineOutput::Ready`] says that every worker forwards what it
    /// announces. `None`: every worker does already.
    pub ticket: Option<Ticket>,
}

/// A flow of a session that nobody needs any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndedFlow {
    /// The session that had it.
    pub session: SessionId,
    /// The party whose packets it carried.
    pub from: Side,
    /// Where they arrived.
    pub key: FlowKey,
    /// Whether RTP was expected there, with or without RTCP; if not, RTCP alone.
    pub rtp: bool,
    /// Where it was reported how its RTP was received; `None`: it had none, or the reports cannot be read.
    pub reports: Option<Reports>,
}

/// Where the reports of whom RTP goes to arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reports {
    /// The port of ours that the receiver's RTCP comes to.
    pub at: FlowKey,
    /// The RTP clock of what it receives, in Hz, where that is known: the unit of jitter.
    pub clock_rate: Option<u32>,
}

/// What the engine wants done, or has to say.
#[expect(
    clippy::large_enum_variant,
    reason = "commands are most of what there is, and plain data"
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineOutput {
    /// Submit to the worker; when its mailbox is full, call [`Engine::command_rejected`].
    Command {
        /// The worker.
        worker: WorkerId,
        /// The command.
        command: Command,
    },
    /// Find the next hop, answer with [`Engine::next_hop_resolved`], and answer again whenever it
    /// changes, until [`EngineOutput::Forget`].
    Resolve(NextHopQuery),
    /// Nobody needs this next hop any more.
    Forget(NextHopQuery),
    /// Every flow of the ticket is forwarded by every worker.
    Ready(Ticket),
    /// Some flow of the ticket is not, and will not be: the call should be refused.
    Failed(Ticket, TicketFailure),
    /// A party that should be sending has been silent on all its streams for the media timeout. Said
    /// once a session.
    MediaTimeout(SessionId),
    /// What became of a session that [`Engine::provision`] began. Said once a session.
    Provisioned(SessionId, Provisioning),
}
