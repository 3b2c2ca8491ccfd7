//! What the packets are: every byte of one follows from its flow, its sequence, its trial and the time at
//! which it was due, so the sink knows what must arrive.
//!
//! ```text
//!   UDP payload   RTP    0  V=2 PT=8   2  sequence   4  timestamp    8  SSRC                      12 bytes
//!                 RTCP   0  RR without blocks   8  APP "tndm" to the end                          20 bytes
//!   then, stamp          0  run   4  trial   8  flow   12  check   16  sequence   24  due         32 bytes
//!   then, pattern        x, !x, x + K, !(x + K), …   64-bit words, x from flow and sequence
//! ```
//!
//! A *flow* is one direction of a stream: stream times two, plus one from B to A. `due` is in nanoseconds of the
//! tool's clock. `check` is a hash of the stamp's other fields: with it the sink knows whether it can believe
//! what a damaged packet says of itself.

pub mod build;
mod payload;
pub mod sum;

pub use payload::{Payload, STAMP_LEN, Stamp};

/// A party, and the device that speaks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// A's.
    A,
    /// B's.
    B,
}

impl Side {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    /// 0 or 1, to index what there are two of.
    pub const fn index(self) -> usize {
        match self {
            Self::A => 0,
            Self::B => 1,
        }
    }

    /// Who hears what this one sends.
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// One direction of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowNumber(pub u32);

impl FlowNumber {
    /// What `sender` sends of a stream.
    pub const fn of(stream: u32, sender: Side) -> Self {
        Self(stream * 2 + sender.index() as u32)
    }

    /// Who sends it.
    pub const fn sender(self) -> Side {
        if self.0.is_multiple_of(2) {
            Side::A
        } else {
            Side::B
        }
    }
}

/// The trial number of first packets of sessions that were opened while others are relayed.
pub const FRESH_TRIAL: u32 = u32::MAX;

/// Ethernet header's length.
pub const ETHERNET: usize = 14;
/// Where the UDP payload starts over IPv4: Ethernet, IPv4 without options, UDP.
pub const HEADERS_V4: usize = ETHERNET + 20 + 8;
/// Where it starts over IPv6.
pub const HEADERS_V6: usize = ETHERNET + 40 + 8;
/// The shortest UDP payload: RTCP's headers and the stamp take 52 bytes.
pub const SHORTEST: usize = 60;
/// The longest: with IPv6 it leaves some of 1,500 bytes for two VLAN tags.
pub const LONGEST: usize = 1400;

/// Mixes all bits of a number into all bits (the finaliser of SplitMix64).
#[inline]
pub(crate) const fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
