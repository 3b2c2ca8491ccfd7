//! A flow entry: what to do with the packets that arrive at one local port.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::{FlowId, Handling, Link};

/// Where packets of a flow arrive: one of the appliance's media addresses and a UDP port of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowKey {
    /// The local media address.
    pub address: IpAddr,
    /// The local UDP port, host byte order.
    pub port: u16,
}

impl FlowKey {
    /// The key as a socket address.
    pub const fn socket_addr(self) -> SocketAddr {
        SocketAddr::new(self.address, self.port)
    }
}

impl fmt::Display for FlowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket_addr().fmt(f)
    }
}

/// What a worker does with the packets that arrive at one local port.
///
/// An entry faces one party. A call with one audio stream and separate RTCP has four: two ports
/// towards each party. What arrives at this port leaves from [`Egress::source`], which is the key of
/// the entry that faces the other party: that is how a worker that latches here finds the entries
/// that must now send to the latched address.
///
/// ```text
///   party A ──► key PA ─ latch ─ rtp: Egress { source: PB, destination: party B } ──► party B
///   party A ◄── rtp: Egress { source: PA, destination: party A } ─ latch ─ key PB ◄── party B
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowEntry {
    /// This flow's name for as long as it lives.
    pub id: FlowId,
    /// Where its packets arrive.
    pub key: FlowKey,
    /// What its packets carry.
    pub payload: Payload,
    /// Whom it believes.
    pub latch: Latch,
    /// Where RTP goes, and all packets of a flow of [`Payload::Datagrams`]; `None` when RTP is not expected at
    /// this port.
    pub rtp: Option<Egress>,
    /// Where RTCP goes; `None` when RTCP is not expected at this port. With both, the port is muxed
    /// (RFC 5761).
    pub rtcp: Option<Egress>,
    /// After how long without an accepted packet a worker reports [`crate::Event::Idle`]; `None` for a
    /// flow that may be silent for ever (a held stream).
    pub idle_after: Option<Duration>,
    /// What else is done to them.
    pub handling: Handling,
}

/// What the packets of a flow carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Payload {
    /// RTP and RTCP (RFC 3550).
    #[default]
    Rtp,
    /// The same, encrypted (RFC 3711): they are told apart as in the clear, but what RTCP reports cannot be read.
    Srtp,
    /// Whatever it is: every datagram is forwarded, with [`FlowEntry::rtp`]; [`FlowEntry::rtcp`] is `None`. UDPTL
    /// (ITU-T T.38), whose sequence number stands where RTP and STUN have what they are known by, and which has no
    /// RTCP. Only what can be UDPTL opens a latch.
    Datagrams,
}

/// How a packet leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Egress {
    /// The local address and port that it leaves from, also the key of the entry that faces its
    /// receiver.
    pub source: FlowKey,
    /// The receiver; of the same address family as `source`. `None` until signalling or a latch tells:
    /// packets are then dropped and counted as `NoDestination`.
    pub destination: Option<SocketAddr>,
    /// The resolved next hop towards `destination`; `None` while it is being resolved: packets are then
    /// dropped and counted as `NoNextHop`.
    pub link: Option<Link>,
    /// The DSCP that the packet leaves with.
    pub dscp: DscpMarking,
}

/// The differentiated-services code point of forwarded packets (RFC 2474).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DscpMarking {
    /// As it came.
    Preserve,
    /// This code point, 0 to 63.
    Set(u8),
}

/// Which sources an entry accepts packets from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latch {
    /// The rule.
    pub policy: LatchPolicy,
    /// The address that signalling (SDP) gave for this party, once known.
    pub signalled: Option<SocketAddr>,
    /// The source that some worker has latched, once the control plane knows; the entry is then locked
    /// to it, also at a worker that has latched another: this is how workers that latched differently at
    /// the same time come to agree. Only a worker's own latch on the signalled address stays, whose
    /// report has then crossed this.
    pub latched: Option<SocketAddr>,
    /// Counts how often signalling has armed the latch. An `Update` with another value than the
    /// entry's opens the latch anew; one with the same value that names no latched source leaves a latch
    /// that the worker has made itself alone.
    pub armed: u32,
}

/// The rules of latching.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LatchPolicy {
    /// Only the address that signalling gave, address and port.
    Sdp,
    /// Until `window` after the latch was armed, the first valid source; a packet from the signalled
    /// address takes precedence over another source for as long as the window is open. Then locked.
    /// A window that ends without a packet leaves the rule of `Sdp`.
    Learn {
        /// How long the latch stays open after it was armed.
        window: Duration,
    },
    /// Any source; packets back go to the signalled address.
    Off,
    /// The source of the last valid packet, again and again: whoever sends is believed, and packets back go there. A
    /// source is believed for [`LatchPolicy::HANDOVER`] at the least, so that two that send at the same time do not
    /// take turns with every packet; until then packets from elsewhere are dropped.
    Follow,
}

impl LatchPolicy {
    /// How long a source is believed under [`LatchPolicy::Follow`] before another one can be. Shorter, and two senders
    /// cost an event for nearly every packet; longer, and a party that has moved is not heard for as long.
    pub const HANDOVER: Duration = Duration::from_millis(200);
}
