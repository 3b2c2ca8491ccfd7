//! Kinds of flows and of packets, and what the pipeline must say of them.

use std::time::Duration;

use contract::{DeviceId, DropReason, LatchPolicy, Payload};
use dataplane::pipeline::Verdict;
use dataplane::settings::ReceivedChecksums;

/// Which way the packets that arrive on device 0 cross; those on device 1 cross the other way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crossing {
    /// IPv4 on both sides.
    V4,
    /// IPv6 on both sides.
    V6,
    /// From IPv4 to IPv6.
    V4ToV6,
    /// From IPv6 to IPv4.
    V6ToV4,
}

/// What the packets carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// 20 ms of G.711: 172 bytes.
    Rtp,
    /// A receiver report of 32 bytes.
    Rtcp,
    /// A STUN binding request.
    Stun,
    /// Neither.
    Noise,
}

/// What a flow does with RTCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rtcp {
    /// Not expected.
    None,
    /// Expected at the port of RTP.
    Muxed,
    /// All that is expected.
    Only,
}

/// What flows know of the way to the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// All.
    Known,
    /// The address, but not the next hop.
    NoNextHop,
    /// Nothing.
    Unknown,
    /// All, and that hardly anything fits.
    Narrow,
}

/// What is wrong with the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// Nothing.
    None,
    /// The end is missing.
    Cut,
    /// It is not UDP.
    Protocol,
    /// A bit of the IP header is wrong.
    Header,
    /// A bit of the payload is wrong.
    Payload,
    /// The source port is another than signalled.
    Source,
}

/// A kind of flows, of packets for them, and of the port they arrive on.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// The families.
    pub crossing: Crossing,
    /// VLAN tags, of arriving and of leaving packets.
    pub tags: usize,
    /// The device's checksums.
    pub checksums: ReceivedChecksums,
    /// What the packets carry.
    pub content: Content,
    /// What the flows are said to carry.
    pub payload: Payload,
    /// What the flows do with RTCP.
    pub rtcp: Rtcp,
    /// Whom the flows believe.
    pub policy: LatchPolicy,
    /// Whether signalling named the sources.
    pub signalled: bool,
    /// The flows' way out.
    pub way: Way,
    /// The packets' damage.
    pub damage: Damage,
    /// Whether the packets' flows are installed.
    pub installed: bool,
    /// What becomes of the packets.
    pub dropped: Option<DropReason>,
}

impl Shape {
    /// RTP over IPv4, untagged, of a flow that believes the signalled address.
    pub const PLAIN: Self = Self {
        crossing: Crossing::V4,
        tags: 0,
        checksums: ReceivedChecksums::Finished,
        content: Content::Rtp,
        payload: Payload::Rtp,
        rtcp: Rtcp::None,
        policy: LatchPolicy::Sdp,
        signalled: true,
        way: Way::Known,
        damage: Damage::None,
        installed: true,
        dropped: None,
    };

    /// The verdict that a packet that arrives on `device` must get.
    pub const fn verdict(&self, device: u16) -> Verdict {
        match self.dropped {
            None => Verdict::Forward(DeviceId(1 - device)),
            Some(reason) => Verdict::Drop(reason),
        }
    }
}

/// The cases whose instructions are counted, by name: every way through the pipeline that has a cost of
/// its own.
pub fn cases() -> Vec<(&'static str, Shape)> {
    let plain = Shape::PLAIN;
    let unfinished = ReceivedChecksums::MayBeUnfinished;
    let learn = LatchPolicy::Learn {
        window: Duration::from_secs(10),
    };
    let crossing = |crossing| Shape { crossing, ..plain };
    let mut cases = vec![
        ("ipv4", plain),
        ("ipv6", crossing(Crossing::V6)),
        ("ipv4-to-ipv6", crossing(Crossing::V4ToV6)),
        ("ipv6-to-ipv4", crossing(Crossing::V6ToV4)),
        ("vlan", Shape { tags: 1, ..plain }),
        ("vlan-twice", Shape { tags: 2, ..plain }),
        (
            "vlan-ipv6",
            Shape {
                tags: 1,
                ..crossing(Crossing::V6)
            },
        ),
        (
            "verified",
            Shape {
                checksums: unfinished,
                ..plain
            },
        ),
        (
            "any-source",
            Shape {
                policy: LatchPolicy::Off,
                ..plain
            },
        ),
        (
            "learn",
            Shape {
                policy: learn,
                signalled: false,
                ..plain
            },
        ),
        (
            "rtcp",
            Shape {
                content: Content::Rtcp,
                rtcp: Rtcp::Only,
                ..plain
            },
        ),
        (
            "rtcp-muxed",
            Shape {
                content: Content::Rtcp,
                rtcp: Rtcp::Muxed,
                ..plain
            },
        ),
        (
            "datagrams",
            Shape {
                content: Content::Noise,
                payload: Payload::Datagrams,
                ..plain
            },
        ),
    ];
    cases.extend(drops(plain, unfinished, learn));
    cases
}

/// A case for each reason that the pipeline drops packets for, named as the reason.
fn drops(
    plain: Shape,
    unfinished: ReceivedChecksums,
    learn: LatchPolicy,
) -> impl Iterator<Item = (&'static str, Shape)> {
    let damaged = |damage| Shape { damage, ..plain };
    let carrying = |content| Shape { content, ..plain };
    let leaving = |way| Shape { way, ..plain };
    let missing = Shape {
        installed: false,
        ..plain
    };
    let wrong_checksum = Shape {
        checksums: unfinished,
        ..damaged(Damage::Payload)
    };
    // RTCP of a muxed port does not latch.
    let believing_nobody = Shape {
        policy: learn,
        signalled: false,
        rtcp: Rtcp::Muxed,
        ..carrying(Content::Rtcp)
    };
    [
        (DropReason::Truncated, damaged(Damage::Cut)),
        (DropReason::NotMedia, damaged(Damage::Protocol)),
        (DropReason::BadIpChecksum, damaged(Damage::Header)),
        (DropReason::BadUdpChecksum, wrong_checksum),
        (DropReason::NoFlow, missing),
        (DropReason::Stun, carrying(Content::Stun)),
        (DropReason::NotRtp, carrying(Content::Noise)),
        (DropReason::NotExpected, carrying(Content::Rtcp)),
        (DropReason::WrongSource, damaged(Damage::Source)),
        (DropReason::NotLatched, believing_nobody),
        (DropReason::NoDestination, leaving(Way::Unknown)),
        (DropReason::NoNextHop, leaving(Way::NoNextHop)),
        (DropReason::TooBig, leaving(Way::Narrow)),
    ]
    .into_iter()
    .map(|(reason, shape)| {
        let dropped = Some(reason);
        (reason.name(), Shape { dropped, ..shape })
    })
}
