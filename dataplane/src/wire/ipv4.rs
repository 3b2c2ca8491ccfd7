//! The IPv4 header without options (RFC 791).
//!
//! ```text
//!   0  version 4 | header length 5     10  header checksum
//!   1  DSCP, ECN                       12  source
//!   2  total length                    16  destination
//!   4  identification
//!   6  flags, fragment offset
//!   8  time to live
//!   9  protocol
//! ```

use super::checksum;

/// The header's length in bytes.
pub const HEADER_LEN: usize = 20;
/// First byte of a header without options.
pub const VERSION_AND_LENGTH: u8 = 0x45;
/// The "don't fragment" flag in the word of flags and offset.
pub const DONT_FRAGMENT: u16 = 0x4000;
/// Protocol number of UDP, also IPv6's next header.
pub const UDP: u8 = 17;

/// A header of 20 bytes; whether it is valid is for the caller to ask.
#[derive(Clone, Copy, Debug)]
pub struct Ipv4<'a>(&'a [u8; HEADER_LEN]);

impl<'a> Ipv4<'a> {
    /// `None`: fewer than 20 bytes.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        bytes.first_chunk().map(Self)
    }

    /// Version 4 and no options.
    #[inline]
    pub const fn is_plain(self) -> bool {
        self.0[0] == VERSION_AND_LENGTH
    }

    /// DSCP and ECN.
    #[inline]
    pub const fn traffic_class(self) -> u8 {
        self.0[1]
    }

    /// Length of header and payload.
    #[inline]
    pub const fn total_len(self) -> u16 {
        u16::from_be_bytes([self.0[2], self.0[3]])
    }

    /// Any piece of a fragmented packet, the first included.
    #[inline]
    pub const fn is_fragment(self) -> bool {
        u16::from_be_bytes([self.0[6], self.0[7]]) & 0x3fff != 0
    }

    /// The payload's protocol.
    #[inline]
    pub const fn protocol(self) -> u8 {
        self.0[9]
    }

    /// Source address.
    #[inline]
    pub const fn source(self) -> u32 {
        let b = self.0;
        u32::from_be_bytes([b[12], b[13], b[14], b[15]])
    }

    /// Destination address.
    #[inline]
    pub const fn destination(self) -> u32 {
        let b = self.0;
        u32::from_be_bytes([b[16], b[17], b[18], b[19]])
    }

    /// Whether the header's checksum is right, if it [is plain](Self::is_plain) and no [fragment](Self::is_fragment).
    #[inline]
    pub fn checksum_is_right(self) -> bool {
        checksum_is_right(self.0)
    }
}

/// Whether the checksum is right of a header that has a version and is no fragment: the sum of all its words is all
/// ones, in either byte order.
#[inline(always)]
pub fn checksum_is_right(header: &[u8; HEADER_LEN]) -> bool {
    // Two words of 64 bits and one of 32, added in ones' complement.
    let ([first, second], rest) = header.as_chunks::<8>() else {
        return false;
    };
    let Some(last) = rest.first_chunk() else {
        return false;
    };
    // The first one's topmost byte is the version, or the fragment offset's lower half, which is 0: there is room for
    // the last one.
    let last = u64::from(u32::from_ne_bytes(*last));
    let sum = u64::from_ne_bytes(*first).wrapping_add(last);
    checksum::is_all_ones(checksum::add_wide(sum, u64::from_ne_bytes(*second)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header of a captured RTP packet (10.1.0.2 to 10.1.0.1, DSCP EF).
    const HEADER: [u8; 20] = [
        0x45, 0xb8, 0x00, 0xc8, 0x12, 0x34, 0x40, 0x00, 0x40, 0x11, 0x12, 0xa6, 10, 1, 0, 2, 10, 1,
        0, 1,
    ];

    #[test]
    fn fields_are_where_rfc_791_puts_them() {
        let ip = Ipv4::new(&HEADER).expect("20 bytes");
        assert!(ip.is_plain());
        assert_eq!(ip.traffic_class(), 0xb8);
        assert_eq!(ip.total_len(), 200);
        assert!(!ip.is_fragment());
        assert_eq!(ip.protocol(), UDP);
        assert_eq!(ip.source(), 0x0a01_0002);
        assert_eq!(ip.destination(), 0x0a01_0001);
        assert!(Ipv4::new(&HEADER[..19]).is_none());
    }

    #[test]
    fn any_damaged_bit_breaks_the_checksum() {
        let mut header = HEADER;
        let sum = checksum::add(checksum::sum(&HEADER[..10]), checksum::sum(&HEADER[12..]));
        header[10..12].copy_from_slice(&(!sum).to_be_bytes());
        assert!(Ipv4(&header).checksum_is_right());
        for bit in 0..160 {
            let mut damaged = header;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(!Ipv4(&damaged).checksum_is_right(), "bit {bit}");
        }
    }

    #[test]
    fn first_and_last_fragments_are_fragments() {
        for (high, low, fragment) in [
            (0x20, 0, true),
            (0, 1, true),
            (0x40, 0, false),
            (0x1f, 0xff, true),
        ] {
            let mut header = HEADER;
            header[6] = high;
            header[7] = low;
            assert_eq!(Ipv4(&header).is_fragment(), fragment);
        }
    }
}
