//! The tap: copies of packets for whoever records or listens, on a thread that is no worker's.
//!
//! ```text
//!   worker ── takes an empty buffer, fills it ──► full ──► reader, [`TapReader::drain`]
//!          ◄── empty ◄────────────────────────────────────┘
//! ```
//!
//! All buffers are allocated at the start. When none is empty the copy is lost and counted: a reader, however slow,
//! costs the relay nothing.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use contract::{FlowId, FlowKey, TapId, Timestamp};
use crossbeam::queue::ArrayQueue;

/// Buffers of a worker: with a reader that looks every 2 ms enough for 256,000 packets a second, for 0.9 MB.
pub const BUFFERS: usize = 512;
/// Bytes of a payload that are kept: all that an Ethernet carries.
pub const BYTES: usize = 1600;

/// A copy of a packet.
pub struct Tapped {
    /// When it was received.
    pub at: Timestamp,
    /// For whom it is.
    pub tap: TapId,
    /// The flow that it came for.
    pub flow: FlowId,
    /// Where it arrived, which tells the direction.
    pub key: FlowKey,
    /// Where it came from. `None`: it was injected, or copied from another flow.
    pub source: Option<SocketAddr>,
    /// Whether it is RTP; RTCP and others are not.
    pub is_rtp: bool,
    /// The length of its payload, of which [`BYTES`] are kept.
    pub len: usize,
    bytes: [u8; BYTES],
}

impl Tapped {
    /// The payload of UDP, as it leaves; a very long one is cut off.
    pub fn payload(&self) -> &[u8] {
        &self.bytes[..self.len.min(BYTES)]
    }
}

impl fmt::Debug for Tapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tapped")
            .field("at", &self.at)
            .field("tap", &self.tap)
            .field("key", &self.key)
            .field("source", &self.source)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

/// What a copy is made of.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// As in [`Tapped`], like the following.
    pub at: Timestamp,
    /// For whom.
    pub tap: TapId,
    /// The flow.
    pub flow: FlowId,
    /// Where it arrived.
    pub key: FlowKey,
    /// Where it came from.
    pub source: Option<SocketAddr>,
    /// Whether it is RTP.
    pub is_rtp: bool,
    /// The payload.
    pub payload: &'a [u8],
}

#[derive(Debug)]
struct Tap {
    empty: ArrayQueue<Box<Tapped>>,
    full: ArrayQueue<Box<Tapped>>,
    lost: AtomicU64,
}

/// The worker's end.
#[derive(Clone, Debug)]
pub struct TapWriter(Arc<Tap>);

/// The reader's end.
#[derive(Clone, Debug)]
pub struct TapReader(Arc<Tap>);

/// A tap of so many buffers, one at the least.
pub fn tap(buffers: usize) -> (TapWriter, TapReader) {
    let buffers = buffers.max(1);
    let tap = Tap {
        empty: ArrayQueue::new(buffers),
        full: ArrayQueue::new(buffers),
        lost: AtomicU64::new(0),
    };
    for _ in 0..buffers {
        let nothing = Tapped {
            at: Timestamp::ZERO,
            tap: TapId(0),
            flow: FlowId(0),
            key: FlowKey {
                address: [0; 4].into(),
                port: 0,
            },
            source: None,
            is_rtp: false,
            len: 0,
            bytes: [0; BYTES],
        };
        // There is room for all of them.
        let _ = tap.empty.push(Box::new(nothing));
    }
    let tap = Arc::new(tap);
    (TapWriter(Arc::clone(&tap)), TapReader(tap))
}

impl TapWriter {
    /// Copies a packet, or counts it as lost.
    pub fn offer(&self, sample: &Sample<'_>) {
        let Some(mut tapped) = self.0.empty.pop() else {
            self.0.lost.fetch_add(1, Ordering::Relaxed);
            return;
        };
        tapped.at = sample.at;
        tapped.tap = sample.tap;
        tapped.flow = sample.flow;
        tapped.key = sample.key;
        tapped.source = sample.source;
        tapped.is_rtp = sample.is_rtp;
        tapped.len = sample.payload.len();
        let kept = &sample.payload[..tapped.len.min(BYTES)];
        tapped.bytes[..kept.len()].copy_from_slice(kept);
        // As many places as buffers.
        let _ = self.0.full.push(tapped);
    }
}

impl TapReader {
    /// Hands over what has been copied, at the most `limit` packets, and says how many it was.
    pub fn drain(&self, limit: usize, mut take: impl FnMut(&Tapped)) -> usize {
        for count in 0..limit {
            let Some(tapped) = self.0.full.pop() else {
                return count;
            };
            take(&tapped);
            let _ = self.0.empty.push(tapped);
        }
        limit
    }

    /// Copies lost because none of the buffers was empty.
    pub fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_slow_reader_has_no_room_for_is_counted() {
        let (writer, reader) = tap(2);
        let payload = [7; BYTES + 9];
        for len in [3, BYTES + 9, 4] {
            writer.offer(&Sample {
                at: Timestamp::from_nanos(len as u64),
                tap: TapId(1),
                flow: FlowId(2),
                key: FlowKey {
                    address: [10, 0, 0, 1].into(),
                    port: 9,
                },
                source: None,
                is_rtp: true,
                payload: &payload[..len],
            });
        }
        let mut seen = Vec::new();
        let count = reader.drain(9, |tapped| seen.push((tapped.len, tapped.payload().len())));
        assert_eq!((count, reader.lost()), (2, 1));
        assert_eq!(seen, [(3, 3), (BYTES + 9, BYTES)]);
        assert_eq!(reader.drain(9, |_| unreachable!()), 0);
    }
}
