//! The UDP header (RFC 768): source port, destination port, length, checksum, 16 bits each.

/// The header's length in bytes.
pub const HEADER_LEN: usize = 8;

/// A header of 8 bytes.
#[derive(Clone, Copy, Debug)]
pub struct Udp<'a>(&'a [u8; HEADER_LEN]);

impl<'a> Udp<'a> {
    /// `None`: fewer than 8 bytes.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        bytes.first_chunk().map(Self)
    }

    /// Source port.
    #[inline]
    pub const fn source(self) -> u16 {
        u16::from_be_bytes([self.0[0], self.0[1]])
    }

    /// Destination port.
    #[inline]
    pub const fn destination(self) -> u16 {
        u16::from_be_bytes([self.0[2], self.0[3]])
    }

    /// Length of header and payload.
    #[inline]
    pub const fn total_len(self) -> u16 {
        u16::from_be_bytes([self.0[4], self.0[5]])
    }

    /// The checksum; 0 says that there is none.
    #[inline]
    pub const fn checksum(self) -> u16 {
        u16::from_be_bytes([self.0[6], self.0[7]])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_where_rfc_768_puts_them() {
        let bytes = [0x4e, 0x20, 0x75, 0x30, 0, 180, 0xab, 0xcd];
        let udp = Udp::new(&bytes).expect("8 bytes");
        assert_eq!(udp.source(), 20_000);
        assert_eq!(udp.destination(), 30_000);
        assert_eq!(udp.total_len(), 180);
        assert_eq!(udp.checksum(), 0xabcd);
        assert!(Udp::new(&bytes[..7]).is_none());
    }
}
