//! Why a frame that reached a worker was not forwarded. Each reason is also a counter.

use std::fmt;

macro_rules! drop_reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal,)+) => {
        /// Why a worker dropped a frame. A frame is dropped for one reason, the first that applies in the
        /// order of the packet's journey.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum DropReason {
            $($(#[doc = $doc])+ $name,)+
        }

        impl DropReason {
            /// Every reason, in the order of their counters.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];
            /// How many reasons there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The reason's name in counters and tables: lower case, words joined by underscores.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// The reason's place among the counters.
            pub const fn index(self) -> usize {
                self as usize
            }
        }
    };
}

drop_reasons! {
    /// The frame ends before the headers that it announces, or a length field contradicts it.
    Truncated = "truncated",
    /// Not IPv4 or IPv6 with UDP to a media address: a frame that the XDP program should have left to
    /// the kernel.
    NotMedia = "not_media",
    /// The IPv4 header's checksum is wrong.
    BadIpChecksum = "bad_ip_checksum",
    /// The UDP checksum is wrong, or is missing where IPv6 demands it.
    BadUdpChecksum = "bad_udp_checksum",
    /// No flow is installed at the port.
    NoFlow = "no_flow",
    /// STUN (RFC 8489) at a port that does not speak it.
    Stun = "stun",
    /// Neither RTP, RTCP nor STUN by its first bytes (RFC 7983), or shorter than their headers.
    NotRtp = "not_rtp",
    /// RTP at an RTCP port or the other way round.
    NotExpected = "not_expected",
    /// Not from the source that the flow is locked to.
    WrongSource = "wrong_source",
    /// The flow believes nobody yet: no signalled address, no open latch.
    NotLatched = "not_latched",
    /// The flow's media is blocked, or is to be silent and is of a kind whose silence is not known.
    Blocked = "blocked",
    /// A key press, and those of the flow are blocked.
    DtmfBlocked = "dtmf_blocked",
    /// The receiver's address is not known yet.
    NoDestination = "no_destination",
    /// The next hop's MAC address is not known yet.
    NoNextHop = "no_next_hop",
    /// Larger than the egress link takes.
    TooBig = "too_big",
    /// The TX ring of the egress socket is full.
    TxFull = "tx_full",
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_indices_match_the_list() {
        let names: HashSet<_> = DropReason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), DropReason::COUNT);
        for (index, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(reason.index(), index);
        }
    }
}
