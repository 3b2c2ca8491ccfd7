//! What waits to be written to one connection: whole messages, in order, bounded, so that a peer that
//! reads slowly costs a known amount of memory; sans-IO.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::path::Opened;

/// Bytes that may wait: some thousand messages, more than a peer misses in a second at full load. A peer
/// that lets more wait does not read, and its connection is ended.
const MOST_BYTES: usize = 1 << 20;
/// What a message costs besides its bytes: its place, and what the allocator adds. Keep-alives cost hardly
/// anything else.
const OVERHEAD: usize = size_of::<Parcel>() + 32;

/// One message on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parcel {
    /// The address that it was meant for, as its sender knows it.
    pub(super) asked: (SocketAddr, Opened),
    pub(super) kind: Kind,
    pub(super) bytes: Vec<u8>,
}

/// What becomes of a message when its connection ends before it has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A request, or a keep-alive: its sender is told that the connection has ended.
    Request,
    /// A response: it goes to this address instead; without one, its sender is told.
    Response(Option<SocketAddr>),
}

impl Parcel {
    /// A keep-alive of one or two line ends.
    pub(super) fn line_ends(remote: SocketAddr, count: usize) -> Self {
        Self {
            asked: (remote, Opened::ByUs),
            kind: Kind::Request,
            bytes: b"\r\n".repeat(count),
        }
    }

    /// The memory that it holds.
    fn cost(&self) -> usize {
        self.bytes.len().saturating_add(OVERHEAD)
    }
}

/// What waits to be written.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: VecDeque<Parcel>,
    /// How much of the first has been written.
    written: usize,
    bytes: usize,
}

impl Outbox {
    /// Puts a message behind those that wait; gives it back when there is no room.
    pub(super) fn push(&mut self, parcel: Parcel) -> Result<(), Parcel> {
        let bytes = self.bytes.saturating_add(parcel.cost());
        if bytes > MOST_BYTES {
            return Err(parcel);
        }
        self.bytes = bytes;
        self.waiting.push_back(parcel);
        Ok(())
    }

    /// The bytes to be written next; `None` when nothing waits.
    pub(super) fn front(&self) -> Option<&[u8]> {
        self.waiting.front()?.bytes.get(self.written..)
    }

    /// So many bytes of [`Self::front`] have been written; whether that was a whole message.
    pub(super) fn advance(&mut self, count: usize) -> bool {
        self.written = self.written.saturating_add(count);
        let done = |first: &&Parcel| self.written >= first.bytes.len();
        if self.waiting.front().filter(done).is_none() {
            return false;
        }
        if let Some(first) = self.waiting.pop_front() {
            self.bytes = self.bytes.saturating_sub(first.cost());
        }
        self.written = 0;
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// What has not been written, or not to its end: the peer cannot have read it.
    pub(super) fn into_unsent(self) -> VecDeque<Parcel> {
        self.waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parcel(bytes: &[u8]) -> Parcel {
        Parcel {
            asked: (SocketAddr::from(([10, 0, 0, 1], 5060)), Opened::ByUs),
            kind: Kind::Request,
            bytes: bytes.to_vec(),
        }
    }

    #[test]
    fn messages_leave_in_order_and_a_part_counts_as_unsent() {
        let mut outbox = Outbox::default();
        assert_eq!(outbox.push(parcel(b"one")), Ok(()));
        assert_eq!(outbox.push(parcel(b"two")), Ok(()));
        assert_eq!(outbox.front(), Some(&b"one"[..]));
        assert!(!outbox.advance(2));
        assert_eq!(outbox.front(), Some(&b"e"[..]));
        assert!(outbox.advance(1));
        assert!(!outbox.advance(1));
        assert!(!outbox.is_empty());
        let unsent: Vec<_> = outbox.into_unsent().into();
        assert_eq!(unsent, [parcel(b"two")]);
    }

    #[test]
    fn what_waits_is_bounded_in_bytes() {
        let mut outbox = Outbox::default();
        let large = vec![0; MOST_BYTES / 2 - OVERHEAD];
        assert!(outbox.push(parcel(&large)).is_ok());
        assert!(outbox.push(parcel(&large)).is_ok());
        assert_eq!(outbox.push(parcel(b"x")), Err(parcel(b"x")));
        assert!(outbox.advance(large.len()));
        assert!(outbox.push(parcel(b"x")).is_ok());
        assert!(outbox.advance(large.len()));
        assert!(outbox.advance(1));
        assert!(outbox.is_empty());
        assert_eq!(outbox.front(), None);
    }

    #[test]
    fn small_messages_count_with_what_they_cost() {
        let mut outbox = Outbox::default();
        let fitted = (0..MOST_BYTES).take_while(|_| outbox.push(parcel(b"\r\n")).is_ok());
        let fitted = fitted.count();
        assert_eq!(fitted, MOST_BYTES / (2 + OVERHEAD));
        (0..fitted).for_each(|_| assert!(outbox.advance(2)));
        assert_eq!((outbox.bytes, outbox.is_empty()), (0, true));
    }
}
