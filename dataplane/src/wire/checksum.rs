//! The internet checksum: ones' complement sums (RFC 1071) and their incremental update (RFC 1624).
//!
//! A "sum" here is a folded 16-bit ones' complement sum that has not been complemented. Of the two
//! zeros of ones' complement, a sum of bytes that are not all zero is always 0xffff, never 0.

/// Folds a wide accumulator of 16-bit words, or of 32-bit words (2^16 = 1 in this arithmetic), to 16 bits.
#[inline]
pub const fn fold(wide: u64) -> u16 {
    let wide = (wide >> 32) + (wide & 0xffff_ffff);
    let wide = (wide >> 16) + (wide & 0xffff);
    let wide = (wide >> 16) + (wide & 0xffff);
    let wide = (wide >> 16) + (wide & 0xffff);
    wide as u16
}

/// Adds two sums.
#[inline]
pub const fn add(one: u16, other: u16) -> u16 {
    let (sum, carry) = one.overflowing_add(other);
    sum + carry as u16
}

/// The sum of bytes, an odd last one padded with zero.
///
/// Adds in the host's byte order, which commutes with the sum (RFC 1071 §2 B), and swaps the result.
pub fn sum(bytes: &[u8]) -> u16 {
    let (words, rest) = bytes.as_chunks::<4>();
    let mut wide = 0_u64;
    for word in words {
        wide += u64::from(u32::from_ne_bytes(*word));
    }
    let mut last = [0; 4];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    wide += u64::from(u32::from_ne_bytes(last));
    u16::from_be(fold(wide))
}

/// The sum of a 128-bit number's words.
#[inline]
pub const fn sum_u128(number: u128) -> u16 {
    let high = (number >> 64) as u64;
    let low = number as u64;
    fold((high >> 32) + (high & 0xffff_ffff) + (low >> 32) + (low & 0xffff_ffff))
}

/// The sum of what the UDP pseudo-headers of both families share: protocol 17 and the length.
#[inline]
pub const fn udp_constant(udp_len: u16) -> u16 {
    add(17, udp_len)
}

/// RFC 1624 equation 3, `HC' = ~(~HC + ~m + m')`, for a UDP checksum: a result of zero is sent as
/// 0xffff, because zero says that there is no checksum (RFC 768).
#[inline]
pub const fn update_udp(checksum: u16, old: u16, new: u16) -> u16 {
    udp_field(add(add(!checksum, !old), new))
}

/// The field that makes up for a sum: its complement, with zero sent as 0xffff.
#[inline]
pub const fn udp_field(sum: u16) -> u16 {
    match !sum {
        0 => 0xffff,
        field => field,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 1071's definition, word by word.
    fn by_the_book(bytes: &[u8]) -> u16 {
        let mut total = 0_u32;
        for pair in bytes.chunks(2) {
            let high = u32::from(pair[0]) << 8;
            total += high + pair.get(1).map_or(0, |low| u32::from(*low));
            total = (total & 0xffff) + (total >> 16);
        }
        total as u16
    }

    #[test]
    fn the_example_of_rfc_1071() {
        assert_eq!(
            sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]),
            0xddf2
        );
    }

    #[test]
    fn the_example_of_rfc_1624() {
        // §4: HC 0xDD2F, m 0x5555, m' 0x3285 gives 0x0000, which UDP sends as 0xffff.
        assert_eq!(update_udp(0xdd2f, 0x5555, 0x3285), 0xffff);
    }

    #[test]
    fn the_widest_accumulator_folds() {
        assert_eq!(fold(u64::MAX), 0xffff);
        assert_eq!(fold(0), 0);
        assert_eq!(fold(0x1_0000), 1);
    }

    proptest! {
        #[test]
        fn sums_agree_with_the_definition(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
            prop_assert_eq!(sum(&bytes), by_the_book(&bytes));
        }

        #[test]
        fn numbers_sum_as_their_bytes(number in any::<u128>()) {
            prop_assert_eq!(sum_u128(number), by_the_book(&number.to_be_bytes()));
        }

        #[test]
        fn an_update_equals_a_new_computation(
            rest in prop::collection::vec(any::<u8>(), 1..200),
            old in any::<[u8; 4]>(),
            new in any::<[u8; 4]>(),
        ) {
            prop_assume!(rest.iter().any(|byte| *byte != 0));
            let before = udp_field(add(sum(&rest), sum(&old)));
            let after = udp_field(add(sum(&rest), sum(&new)));
            prop_assert_eq!(update_udp(before, sum(&old), sum(&new)), after);
        }
    }
}
