//! STUN (RFC 8489 §5): only enough to recognise it among RTP (RFC 7983).

/// The header's length in bytes.
pub const HEADER_LEN: usize = 20;
/// Bytes 4 to 7 of every STUN message.
pub const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

/// Whether a UDP payload starts with a STUN header.
#[inline]
pub fn is_valid(payload: &[u8]) -> bool {
    match payload.first_chunk::<HEADER_LEN>() {
        Some(header) => header[0] < 4 && header[4..8] == MAGIC_COOKIE,
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binding_request_is_known_by_its_cookie() {
        let mut request = [0_u8; 20];
        request[1] = 1;
        request[4..8].copy_from_slice(&MAGIC_COOKIE);
        assert!(is_valid(&request));
        assert!(!is_valid(&request[..19]));
        let mut other = request;
        other[7] ^= 1;
        assert!(!is_valid(&other));
        request[0] = 4;
        assert!(!is_valid(&request));
    }
}
