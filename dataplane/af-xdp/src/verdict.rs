//! What the XDP program can answer about a frame, and how often it did.

use std::fmt;

macro_rules! verdicts {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal,)+) => {
        /// The program's answer to "is this UDP for one of our media ports?". All but the first mean that the frame
        /// went to the kernel, untouched.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Verdict {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Verdict {
            /// Every verdict, in the order of the program's counters (`enum verdict` in bpf/redirect.bpf.c).
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// Its name in counters and tables.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

verdicts! {
    /// Yes: to the AF_XDP socket of its queue.
    Redirected = "redirected",
    /// Neither IPv4 nor IPv6 behind at most two VLAN tags.
    NotIp = "not_ip",
    /// Ends before the headers that it announces.
    Truncated = "truncated",
    /// IPv4 with options, or with a header length that is not 20.
    Ipv4Options = "ipv4_options",
    /// A fragment of an IPv4 packet.
    Ipv4Fragment = "ipv4_fragment",
    /// IPv6 with an extension header, fragments included.
    Ipv6Extension = "ipv6_extension",
    /// Another protocol than UDP.
    NotUdp = "not_udp",
    /// UDP to an address without media ports.
    NotMediaAddress = "not_media_address",
    /// UDP to a media address, outside its port range.
    NotMediaPort = "not_media_port",
    /// Media, on a queue without a socket.
    NoSocket = "no_socket",
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Frames by verdict, of all CPUs together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerdictCounts(pub(crate) [u64; Verdict::COUNT]);

impl VerdictCounts {
    /// Frames that got this verdict since the program was loaded.
    pub const fn of(&self, verdict: Verdict) -> u64 {
        self.0[verdict as usize]
    }

    /// Verdicts and their counts.
    pub fn iter(&self) -> impl Iterator<Item = (Verdict, u64)> + '_ {
        Verdict::ALL
            .iter()
            .map(|&verdict| (verdict, self.of(verdict)))
    }

    /// All frames.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}
