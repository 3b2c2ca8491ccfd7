//! The internet checksum (RFC 1071) in the host's byte order, which commutes with the sum (§2 B): what is
//! computed here is stored as it is.

/// The sum of bytes as 32-bit words, not folded; a last part is padded with zero. Adds up to 2^32 words.
#[inline]
pub fn wide(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<4>();
    let mut last = [0; 4];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    let last = u64::from(u32::from_ne_bytes(last));
    words
        .iter()
        .fold(last, |sum, word| sum + u64::from(u32::from_ne_bytes(*word)))
}

/// Folds a wide sum to 16 bits.
#[inline]
pub const fn fold(wide: u64) -> u16 {
    let wide = (wide >> 32) + (wide & 0xffff_ffff);
    let wide = (wide >> 16) + (wide & 0xffff);
    let wide = (wide >> 16) + (wide & 0xffff);
    let wide = (wide >> 16) + (wide & 0xffff);
    wide as u16
}

/// The UDP checksum field for a sum of everything else: zero says "none" (RFC 768), so it is sent as 0xffff.
#[inline]
pub const fn udp_field(wide: u64) -> [u8; 2] {
    match !fold(wide) {
        0 => [0xff; 2],
        field => field.to_ne_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sums_agree_with_the_definition(bytes in prop::collection::vec(any::<u8>(), 0..1500)) {
            let mut total = 0_u32;
            for pair in bytes.chunks(2) {
                total += u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low));
                total = (total & 0xffff) + (total >> 16);
            }
            prop_assert_eq!(fold(wide(&bytes)).to_ne_bytes(), (total as u16).to_be_bytes());
        }
    }
}
