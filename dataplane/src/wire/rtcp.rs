//! RTCP (RFC 3550 §6): only enough to tell it from RTP on one port (RFC 5761 §4).
//!
//! ```text
//!   0  V=2 P count    1  packet type    2  length in words, less one    4  SSRC
//! ```
//!
//! The first header of a compound is in the clear under SRTCP as well.

/// Header and sender's SSRC, in bytes: the least that a compound starts with.
pub const MIN_LEN: usize = 8;

/// Whether the second byte of an RTP or RTCP packet is an RTCP packet type on a shared port: 192 to 223.
#[inline]
pub const fn is_packet_type(second: u8) -> bool {
    second >> 5 == 0b110
}

/// Whether a UDP payload with an RTCP packet type starts with a whole RTCP packet of version 2.
#[inline]
pub fn is_valid(payload: &[u8]) -> bool {
    let Some(header) = payload.first_chunk::<MIN_LEN>() else {
        return false;
    };
    let words = u16::from_be_bytes([header[2], header[3]]);
    header[0] >> 6 == 2 && payload.len() >= 4 * (usize::from(words) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_of_rfc_5761() {
        let types: Vec<u8> = (0..=255).filter(|byte| is_packet_type(*byte)).collect();
        assert_eq!(types, (192..=223).collect::<Vec<u8>>());
    }

    #[test]
    fn the_announced_length_must_be_there() {
        let report = [0x80, 201, 0, 1, 1, 2, 3, 4];
        assert!(is_valid(&report));
        assert!(!is_valid(&report[..7]));
        assert!(!is_valid(&[0x80, 201, 0, 2, 1, 2, 3, 4]));
        assert!(!is_valid(&[0x40, 201, 0, 1, 1, 2, 3, 4]));
    }
}
