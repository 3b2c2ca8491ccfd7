//! What an exchange asks for beside its body: what one signalling protocol can say of it and another cannot.

use std::net::IpAddr;

use contract::{DscpMarking, LatchPolicy};

use crate::sdp::{RtcpLine, RtpProfile, Stream};

/// The terms of an offer or an answer. The default is what SIP's are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Where the speaker is, whatever its body says; the ports are those of the body.
    pub whereabouts: Option<IpAddr>,
    /// RTP and RTCP on one port (RFC 5761).
    pub mux: MuxTerms,
    /// How the speaker's media is treated from now on; `None`: as before, at first as its media group says.
    pub latch: Option<LatchPolicy>,
    /// How all of the session's packets are marked from now on; `None`: as before, at first as the media groups say.
    pub dscp: Option<DscpMarking>,
    /// How the body is written for its reader.
    pub writing: Writing,
}

/// How a body is written for its reader.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Writing {
    /// The `o=` line.
    pub origin: OriginWriting,
    /// The version in it, where it is not ours.
    pub version: Version,
    /// The address of an old hold, `c=IN IP4 0.0.0.0`, is ours like any other.
    pub zero_address: bool,
    /// `a=rtcp`.
    pub rtcp_line: RtcpLine,
    /// The address that the reader is told in the place of ours.
    pub address: Option<IpAddr>,
    /// The transport protocol of each `m=` line that is relayed as RTP; where there is none, that which it names.
    pub profiles: Vec<Option<RtpProfile>>,
}

/// The `o=` line of what is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OriginWriting {
    /// Ours, with a version of our own: the reader learns nothing of the speaker.
    #[default]
    Ours,
    /// As it came.
    Kept,
    /// As it came, with our address.
    Address,
}

/// The version in an `o=` line that is not ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Version {
    /// As it came.
    #[default]
    Kept,
    /// One more whenever what the reader is sent differs, from that which came first.
    Counted,
    /// One more each time.
    Raised,
}

/// What becomes of `a=rtcp-mux`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MuxTerms {
    /// Towards the reader of an offer.
    pub offer: MuxOffer,
    /// Towards the offerer that offers it. In an answer: `None` leaves it at what was said with the offer.
    pub answer: Option<MuxAnswer>,
}

/// What the reader of an offer is told of rtcp-mux.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MuxOffer {
    /// What the offerer says.
    #[default]
    AsOffered,
    /// That it is offered.
    Offer,
    /// The same, and that nothing else is spoken: RTCP is expected at the RTP port alone.
    Require,
    /// Nothing.
    Withhold,
}

/// What an offerer is told of the rtcp-mux that it offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MuxAnswer {
    /// Yes, whatever the answerer says: the relay muxes with one side and not with the other.
    #[default]
    Accept,
    /// What the answerer says.
    AsAnswered,
    /// No.
    Reject,
}

impl MuxAnswer {
    /// Whether the offerer muxes.
    pub(super) const fn settles(self, offered: bool, answered: bool) -> bool {
        match self {
            Self::Accept => offered,
            Self::AsAnswered => offered && answered,
            Self::Reject => false,
        }
    }
}

impl Terms {
    /// What the body says of its streams, with what is known better.
    pub(super) fn correct(&self, streams: &mut [Stream]) {
        let Some(address) = self.whereabouts else {
            return;
        };
        for stream in streams {
            for known in [&mut stream.rtp, &mut stream.rtcp].into_iter().flatten() {
                known.set_ip(address);
            }
            stream.is_ipv6 = match stream.rtp.or(stream.rtcp) {
                Some(known) => known.is_ipv6(),
                None => stream.is_ipv6,
            };
        }
    }
}
