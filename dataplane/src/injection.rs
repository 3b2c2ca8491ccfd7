//! Packets that are not received but made: announcements and tones that the control plane's side puts into a flow, and
//! copies of what others have received.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use contract::FlowKey;

use crate::mailbox::Mailbox;
use crate::tally::Counter;
use crate::tap::TapWriter;

/// The longest payload that is made: all that an Ethernet carries.
pub const LONGEST: usize = 1500;
/// Payloads that wait for a worker: of a hundred announcements those of 50 ms.
pub const WAITING: usize = 256;
/// Copies of one batch: four of each of its packets.
const COPIES: usize = 256;

/// A payload of UDP that is treated as if it had arrived at a key, from whom the flow there believes.
#[derive(Clone)]
pub struct Injected {
    /// Where it arrives.
    pub key: FlowKey,
    /// Whether it is RTP; if not, RTCP.
    pub is_rtp: bool,
    len: u16,
    bytes: [u8; LONGEST],
}

impl Injected {
    /// A packet of RTP; `None` when it is longer than [`LONGEST`].
    pub fn new(key: FlowKey, payload: &[u8]) -> Option<Self> {
        Self::of(key, true, payload)
    }

    fn of(key: FlowKey, is_rtp: bool, payload: &[u8]) -> Option<Self> {
        let mut bytes = [0; LONGEST];
        bytes.get_mut(..payload.len())?.copy_from_slice(payload);
        Some(Self {
            key,
            is_rtp,
            len: payload.len() as u16,
            bytes,
        })
    }

    /// The payload.
    pub fn payload(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl fmt::Debug for Injected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Injected")
            .field("key", &self.key)
            .field("is_rtp", &self.is_rtp)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

/// Copies that a batch has led to, until the worker has frames for them.
#[derive(Debug)]
pub struct Copies(VecDeque<Injected>);

impl Default for Copies {
    /// None. Memory for them comes with their first use.
    fn default() -> Self {
        Self(VecDeque::with_capacity(COPIES))
    }
}

impl Copies {
    /// Keeps a copy, if there is room.
    pub fn push(&mut self, key: FlowKey, is_rtp: bool, payload: &[u8]) -> bool {
        let copy = Injected::of(key, is_rtp, payload).filter(|_| self.0.len() < COPIES);
        let kept = copy.is_some();
        self.0.extend(copy);
        kept
    }

    /// The oldest.
    pub fn pop(&mut self) -> Option<Injected> {
        self.0.pop_front()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What a worker has done to packets beside forwarding them.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct HandledTally {
    /// Packets that became silence.
    pub silenced: Counter,
    /// Packets that became key presses.
    pub pressed: Counter,
    /// Packets offered to the tap, those included that it had no room for.
    pub tapped: Counter,
    /// Packets that left as copies of others.
    pub copied: Counter,
    /// Payloads from outside that left.
    pub injected: Counter,
    /// Copies and payloads that did not leave: no flow, no way out, no free frame, no room.
    pub not_made: Counter,
}

/// What a worker shares with those who record, listen and play.
#[derive(Clone, Debug)]
pub struct Services {
    /// Copies for whoever records or listens.
    pub tap: TapWriter,
    /// What others put into flows.
    pub injections: Arc<Mailbox<Injected>>,
    /// What was done.
    pub tally: Arc<HandledTally>,
}

impl Services {
    /// With a tap.
    pub fn new(tap: TapWriter) -> Self {
        Self {
            tap,
            injections: Arc::new(Mailbox::new(WAITING)),
            tally: Arc::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_bounded() {
        let key = FlowKey {
            address: [10, 0, 0, 1].into(),
            port: 9,
        };
        let longest = Injected::new(key, &[7; LONGEST]).expect("just fits");
        assert_eq!(longest.payload(), [7; LONGEST]);
        assert!(Injected::new(key, &[7; LONGEST + 1]).is_none());
        let mut copies = Copies::default();
        let kept = (0..COPIES + 3).filter(|_| copies.push(key, false, b"x"));
        assert_eq!(kept.count(), COPIES);
        assert!(copies.pop().is_some_and(|copy| !copy.is_rtp));
    }
}
