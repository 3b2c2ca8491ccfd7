//! RTP (RFC 3550 §5.1): only enough to tell a packet that may be one from one that cannot.
//!
//! ```text
//!   0  V=2 P X CC    2  sequence number    8  SSRC
//!   1  M PT          4  timestamp          12 CC × CSRC, then, with X, profile, length in words, words
//! ```
//!
//! Padding is not looked at: under SRTP its length is encrypted.

/// The fixed header's length in bytes.
pub const HEADER_LEN: usize = 12;

/// Whether a UDP payload whose second byte is no RTCP type holds a whole RTP header: version 2, with
/// all the CSRCs and the extension that it announces.
#[inline]
pub fn is_valid(payload: &[u8]) -> bool {
    let Some(header) = payload.first_chunk::<HEADER_LEN>() else {
        return false;
    };
    if header[0] >> 6 != 2 {
        return false;
    }
    let end = HEADER_LEN + 4 * usize::from(header[0] & 0x0f);
    if header[0] & 0x10 == 0 {
        return payload.len() >= end;
    }
    match payload.get(end..).and_then(|rest| rest.first_chunk::<4>()) {
        Some(extension) => {
            let words = u16::from_be_bytes([extension[2], extension[3]]);
            payload.len() >= end + 4 + 4 * usize::from(words)
        }
        None => false,
    }
}

/// Where the payload of a packet starts of which [`is_valid`] was said: behind the CSRCs and the extension.
pub fn payload_at(packet: &[u8]) -> Option<usize> {
    let first = *packet.first()?;
    let end = HEADER_LEN + 4 * usize::from(first & 0x0f);
    if first & 0x10 == 0 {
        return Some(end);
    }
    let extension = packet.get(end..)?.first_chunk::<4>()?;
    let words = u16::from_be_bytes([extension[2], extension[3]]);
    Some(end + 4 + 4 * usize::from(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_must_be_whole() {
        let mut packet = [0_u8; 32];
        packet[0] = 0x80;
        assert!(is_valid(&packet[..12]));
        assert!(!is_valid(&packet[..11]));
        packet[0] = 0x82; // two CSRCs
        assert!(is_valid(&packet[..20]));
        assert!(!is_valid(&packet[..19]));
        packet[0] = 0x91; // one CSRC, and an extension of two words
        packet[19] = 2;
        assert!(is_valid(&packet[..28]));
        assert!(!is_valid(&packet[..27]));
        assert!(!is_valid(&packet[..17]));
    }

    #[test]
    fn other_versions_are_not_rtp() {
        for version in [0x00, 0x40, 0xc0] {
            let mut packet = [0_u8; 12];
            packet[0] = version;
            assert!(!is_valid(&packet));
        }
    }
}
