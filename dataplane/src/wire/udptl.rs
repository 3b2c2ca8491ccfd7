//! UDPTL (ITU-T T.38 §9.1): only enough to tell a packet that may be one from one that cannot.
//!
//! ```text
//!   0  sequence number    2  length of the primary packet: 1 byte below 128, or 2 bytes that begin with the bits 10
//!      the primary packet, then error recovery: a byte that says which kind, and at least one more
//! ```
//!
//! The sequence number begins at 0 with each session, so that the first packets look like neither RTP nor RTCP.

/// Whether a UDP payload can be a UDPTL packet: the primary packet is not empty, and whole.
pub fn is_valid(payload: &[u8]) -> bool {
    let Some((_sequence, rest)) = payload.split_first_chunk::<2>() else {
        return false;
    };
    let (len, rest) = match rest {
        [short @ 0..=0x7f, rest @ ..] => (usize::from(*short), rest),
        [high @ 0x80..=0xbf, low, rest @ ..] => {
            (usize::from(*high & 0x3f) << 8 | usize::from(*low), rest)
        }
        _ => return false,
    };
    len > 0 && rest.len() >= len + 2
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sequence number 0, the indicator "no signal", no secondary packets: as T.38 gateways begin.
    const NO_SIGNAL: [u8; 6] = [0, 0, 1, 0, 0, 0];

    #[test]
    fn the_shortest_packet_is_one_and_nothing_shorter() {
        assert!(is_valid(&NO_SIGNAL));
        for len in 0..NO_SIGNAL.len() {
            assert!(!is_valid(&NO_SIGNAL[..len]), "{len} bytes");
        }
    }

    #[test]
    fn the_primary_packet_is_as_long_as_it_says() {
        let mut long = vec![0, 7, 0x80 | 1, 0x2c];
        long.extend([5; 300]);
        assert!(!is_valid(&long));
        long.extend([0, 0]);
        assert!(is_valid(&long));
        assert!(!is_valid(&[0, 0, 0, 0, 0, 0]), "empty");
        assert!(!is_valid(&[0, 0, 0xc1, 0, 0, 0, 0]), "in fragments");
    }
}
