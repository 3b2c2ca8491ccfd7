//! A flow's line: all that a packet asks of its flow, when it asks nothing unusual.
//!
//! What is decided about sources and content is packed into one byte, so that most packets need one bit of it.

use contract::DropReason;

use crate::classify::Content;
use crate::rewrite::{self, Headers, Window};

/// Which prepared egress a kind of packets takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Lane {
    /// None: such packets are not expected.
    #[default]
    Closed,
    /// The one in [`Hot`].
    Main,
    /// The one in [`super::Apart`], prepared for each packet anew.
    Apart,
}

/// The egresses of each kind of packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lanes {
    /// RTP's: [`Lane::Closed`] or [`Lane::Main`].
    pub rtp: Lane,
    /// RTCP's.
    pub rtcp: Lane,
    /// That of whatever else comes, STUN included, and then RTCP's as well: [`Lane::Closed`] or [`Lane::Main`].
    pub others: Lane,
}

/// [`crate::latch::Gate`] in two bits; the source is beside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum GateKind {
    /// The latch is asked about every packet.
    #[default]
    Ask,
    /// One source is accepted unasked.
    Source,
    /// Every source is.
    Any,
    /// More is done to its packets than forwarding them: what is decided about sources stands beside that
    /// ([`super::Handled`]).
    Handled,
}

/// What every packet of a flow needs: one cache line, which is all for IPv4.
///
/// ```text
///   0  source address and port, as they stand in a packet | adjustment | headers: plan, label, tail   64
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub struct Hot {
    pub(super) source_v4: [u8; 4],
    pub(super) source_port: [u8; 2],
    /// What the UDP checksum of packets from the source is adjusted by for the main egress
    /// ([`crate::wire::checksum::adjustment`]).
    pub(super) adjustment: u16,
    /// How packets leave, and the gate in its label.
    pub(super) headers: Headers,
}

const _: () = assert!(size_of::<Hot>() == 64, "one cache line");

/// The bits of a [`Hot`]'s label.
mod label {
    use crate::classify::Content;

    /// RTP is forwarded in the usual way if it came as IPv4 and from the source: the gate is a source, the lane the
    /// main one and of IPv4, and the flow is not idle. What most packets need to know, in one bit.
    pub(super) const USUAL_RTP: u8 = Content::Rtp as u8;
    pub(super) const OTHERS_OPEN: u8 = 1 << 1;
    pub(super) const GATE: u32 = 2;
    pub(super) const RTP_OPEN: u8 = 1 << 4;
    pub(super) const RTCP: u32 = 5;
    pub(super) const IDLE: u8 = 1 << 7;
}

impl Hot {
    /// Whether a packet that came as IPv4, with the bit of its [`Content`], need only come from the source to be
    /// forwarded in the usual way: by the main egress, as IPv4. Only RTP may be asked about, and nothing (0).
    #[inline(always)]
    pub const fn is_usual(&self, content: u8) -> bool {
        self.headers.label & content != 0
    }

    /// Whether a packet of this content need only come from the source to be forwarded by the main egress: what the
    /// usual way asks, but of either family. Only RTP may: RTCP is heard, and datagrams are few.
    #[inline(always)]
    pub const fn is_unasked(&self, content: Content) -> bool {
        const SOURCE: u8 = (GateKind::Source as u8) << label::GATE;
        const GATE: u8 = 3 << label::GATE | label::IDLE;
        matches!(content, Content::Rtp)
            && self.headers.label & (GATE | label::RTP_OPEN) == SOURCE | label::RTP_OPEN
    }

    /// Whether a packet that came as IPv4 came from the source.
    #[inline(always)]
    pub fn is_source_v4(&self, window: &Window) -> bool {
        rewrite::source_v4(window) == self.source_v4
            && rewrite::source_port(window) == self.source_port
    }

    /// What is decided here about sources.
    pub const fn gate(&self) -> GateKind {
        match self.headers.label >> label::GATE & 3 {
            0 => GateKind::Ask,
            1 => GateKind::Source,
            2 => GateKind::Any,
            _ => GateKind::Handled,
        }
    }

    /// The egresses of each kind of packets.
    pub const fn lanes(&self) -> Lanes {
        let rtp = match self.headers.label & label::RTP_OPEN {
            0 => Lane::Closed,
            _ => Lane::Main,
        };
        let rtcp = match self.headers.label >> label::RTCP & 3 {
            0 => Lane::Closed,
            1 => Lane::Main,
            _ => Lane::Apart,
        };
        let others = match self.headers.label & label::OTHERS_OPEN {
            0 => Lane::Closed,
            _ => Lane::Main,
        };
        Lanes { rtp, rtcp, others }
    }

    /// The egress that packets of this content take, or why they take none.
    #[inline(always)]
    pub const fn lane(&self, content: Content) -> Result<Lane, DropReason> {
        let label = self.headers.label;
        match content {
            Content::Rtp if label & label::RTP_OPEN != 0 => Ok(Lane::Main),
            Content::Rtcp => match label >> label::RTCP & 3 {
                0 => Err(DropReason::NotExpected),
                1 => Ok(Lane::Main),
                _ => Ok(Lane::Apart),
            },
            Content::Stun | Content::Unknown if self.takes_anything() => Ok(Lane::Main),
            Content::Rtp => Err(DropReason::NotExpected),
            Content::Stun => Err(DropReason::Stun),
            Content::Unknown => Err(DropReason::NotRtp),
        }
    }

    /// Whether what is neither RTP nor RTCP has an egress.
    #[inline(always)]
    pub const fn takes_anything(&self) -> bool {
        self.headers.label & label::OTHERS_OPEN != 0
    }

    /// Whether no packet came for so long that the flow counts as idle.
    pub const fn is_idle(&self) -> bool {
        self.headers.label & label::IDLE != 0
    }

    /// How packets leave by the main egress.
    #[inline(always)]
    pub const fn headers(&self) -> &Headers {
        &self.headers
    }

    /// What packets from the source need for the main egress ([`crate::wire::checksum::adjustment`]).
    #[inline(always)]
    pub const fn adjustment(&self) -> u16 {
        self.adjustment
    }

    /// Says what the label says. It also depends on the headers, which are to be there before.
    pub(super) fn set_label(&mut self, gate: GateKind, lanes: Lanes, idle: bool) {
        let Lanes { rtp, rtcp, others } = lanes;
        let mut label = (gate as u8) << label::GATE | (rtcp as u8) << label::RTCP;
        if rtp != Lane::Closed {
            label |= label::RTP_OPEN;
        }
        if others != Lane::Closed {
            label |= label::OTHERS_OPEN;
        }
        if idle {
            label |= label::IDLE;
        } else if gate == GateKind::Source && !self.headers.is_v6() && rtp == Lane::Main {
            label |= label::USUAL_RTP;
        }
        self.headers.label = label;
    }

    /// Says whether the flow counts as idle.
    pub fn set_idle(&mut self, idle: bool) {
        self.set_label(self.gate(), self.lanes(), idle);
    }
}
