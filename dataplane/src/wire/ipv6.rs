//! The IPv6 header (RFC 8200); extension headers are not followed.
//!
//! ```text
//!   0  version 6 | traffic class | flow label      8  source
//!   4  payload length                              24 destination
//!   6  next header
//!   7  hop limit
//! ```

/// The header's length in bytes.
pub const HEADER_LEN: usize = 40;

/// A header of 40 bytes; whether it is valid is for the caller to ask.
#[derive(Clone, Copy, Debug)]
pub struct Ipv6<'a>(&'a [u8; HEADER_LEN]);

impl<'a> Ipv6<'a> {
    /// `None`: fewer than 40 bytes.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        bytes.first_chunk().map(Self)
    }

    /// Version 6.
    #[inline]
    pub const fn is_version_6(self) -> bool {
        self.0[0] >> 4 == 6
    }

    /// DSCP and ECN.
    #[inline]
    pub const fn traffic_class(self) -> u8 {
        self.0[0] << 4 | self.0[1] >> 4
    }

    /// Length of everything after this header.
    #[inline]
    pub const fn payload_len(self) -> u16 {
        u16::from_be_bytes([self.0[4], self.0[5]])
    }

    /// The protocol of what follows.
    #[inline]
    pub const fn next_header(self) -> u8 {
        self.0[6]
    }

    /// Source address.
    #[inline]
    pub fn source(self) -> u128 {
        self.address(8)
    }

    /// Destination address.
    #[inline]
    pub fn destination(self) -> u128 {
        self.address(24)
    }

    #[inline]
    fn address(self, at: usize) -> u128 {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&self.0[at..at + 16]);
        u128::from_be_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_where_rfc_8200_puts_them() {
        let mut header = [0; 40];
        header[..8].copy_from_slice(&[0x6b, 0x8a, 0xbc, 0xde, 0, 180, 17, 63]);
        header[8] = 0xfd;
        header[23] = 1;
        header[24] = 0xfe;
        header[39] = 2;
        let ip = Ipv6::new(&header).expect("40 bytes");
        assert!(ip.is_version_6());
        assert_eq!(ip.traffic_class(), 0xb8);
        assert_eq!(ip.payload_len(), 180);
        assert_eq!(ip.next_header(), 17);
        assert_eq!(ip.source(), 0xfd << 120 | 1);
        assert_eq!(ip.destination(), 0xfe << 120 | 2);
        assert!(Ipv6::new(&header[..39]).is_none());
    }
}
