//! One line of a story, small: a call has some thirty of them for as long as it is kept.

use std::net::SocketAddr;

use contract::{FlowKey, Timestamp};

use crate::b2bua::{CallState, Trigger};
use crate::records::{FlowRecord, Release};
use crate::sip::Method;

use super::glance::{Glance, Start};

/// Which way a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// To us.
    Received,
    /// From us.
    Sent,
}

/// What happened, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A SIP message passed the listener.
    Message(Passed),
    /// What the session description of the message before says.
    Described(Box<str>),
    /// The session description that left instead of the one that came: what came, what left.
    Rewritten(Box<(Box<str>, Box<str>)>),
    /// The route that was taken, and where it leads.
    Routed(Box<str>),
    /// The INVITE is for this target now.
    Target(Box<str>),
    /// The call took a step.
    Step {
        /// What moved it.
        trigger: Trigger,
        /// The state after.
        next: CallState,
    },
    /// Every worker forwards what a message announces: so many flows of the call.
    FlowsReady(u16),
    /// They do not, and why.
    FlowsFailed(&'static str),
    /// A worker has latched a source at a port of ours.
    Latched(Box<(FlowKey, SocketAddr)>),
    /// A flow has ended with these counts.
    FlowEnded(Box<FlowRecord>),
    /// The call is being released.
    Released(Box<Release>),
    /// A session timer, or a response that waits for its PRACK: what is agreed, due or over.
    Timer(Box<str>),
    /// A message of the call was dropped, and why: the name among the counters.
    Dropped(&'static str),
    /// Something that one word tells: a lost transaction, a newcomer.
    Note(&'static str),
}

/// A message, without its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    /// Which way.
    pub way: Way,
    /// Between which socket and whom: an index into the story's paths.
    pub(super) path: u8,
    /// Its method, or its CSeq's, among [`Method::KNOWN`]; beyond: another.
    pub(super) method: u8,
    /// The status code; 0 for a request.
    pub(super) code: u16,
    /// Bytes; the largest that can be told.
    pub(super) size: u16,
    /// The number of its CSeq.
    pub(super) cseq: u32,
    /// Equal for repetitions.
    pub(super) hash: u32,
    /// The message itself, where whole messages are kept.
    pub(super) whole: Option<Box<[u8]>>,
}

impl Passed {
    pub(super) fn new(way: Way, seen: &Glance<'_>, size: usize, hash: u32) -> Self {
        let known = Method::KNOWN.iter();
        let known = known.map(|method| method.as_str().as_bytes());
        let place = known.enumerate().find(|(_, name)| *name == seen.method);
        Self {
            way,
            path: 0,
            method: place
                .and_then(|(place, _)| u8::try_from(place).ok())
                .unwrap_or(u8::MAX),
            code: match seen.start {
                Start::Request => 0,
                Start::Response(code) => code,
            },
            size: u16::try_from(size).unwrap_or(u16::MAX),
            cseq: seen.cseq,
            hash,
            whole: None,
        }
    }

    /// The method, or its CSeq's.
    pub fn method(&self) -> &'static str {
        let method = Method::KNOWN.get(usize::from(self.method));
        method.map_or("another method", Method::as_str)
    }

    /// Whether both are the same message.
    pub(super) fn repeats(&self, earlier: &Self) -> bool {
        let of = |passed: &Self| {
            (
                passed.way,
                passed.path,
                passed.code,
                passed.size,
                passed.hash,
            )
        };
        of(self) == of(earlier)
    }
}

impl Line {
    /// Bytes of the whole message that it holds.
    pub(super) fn whole_bytes(&self) -> usize {
        match &self.what {
            What::Message(passed) => passed.whole.as_ref().map_or(0, |whole| whole.len()),
            _ => 0,
        }
    }
}

impl What {
    /// Bytes that it holds besides itself.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Message(passed) => passed.whole.as_ref().map_or(0, |whole| whole.len()),
            Self::Described(text) | Self::Routed(text) | Self::Target(text) | Self::Timer(text) => {
                text.len()
            }
            Self::Rewritten(both) => {
                size_of::<(Box<str>, Box<str>)>() + both.0.len() + both.1.len()
            }
            Self::Latched(_) => size_of::<(FlowKey, SocketAddr)>(),
            Self::FlowEnded(_) => size_of::<FlowRecord>(),
            Self::Released(_) => size_of::<Release>(),
            Self::Step { .. }
            | Self::FlowsReady(_)
            | Self::FlowsFailed(_)
            | Self::Dropped(_)
            | Self::Note(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_small() {
        assert!(size_of::<Line>() <= 40, "{}", size_of::<Line>());
    }
}
