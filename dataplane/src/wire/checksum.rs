//! The internet checksum: ones' complement sums (RFC 1071) and their incremental update (RFC 1624).
//!
//! A "sum" here is a folded 16-bit ones' complement sum that has not been complemented. Of the two
//! zeros of ones' complement, a sum of bytes that are not all zero is always 0xffff, never 0.

/// Folds an accumulator of 16-bit words, or of words 2 or 4 times as wide (2^16 = 1 in this arithmetic), to
/// 16 bits.
#[inline]
pub const fn fold(wide: u64) -> u16 {
    // The upper half of a word added to itself turned by half of it is the sum of its halves, with the carry.
    let word = (wide.wrapping_add(wide.rotate_left(32)) >> 32) as u32;
    (word.wrapping_add(word.rotate_left(16)) >> 16) as u16
}

/// Folds an accumulator of 64-bit words to 16 bits.
#[inline]
pub const fn fold_wide(wide: u128) -> u16 {
    fold(add_wide(wide as u64, (wide >> 64) as u64))
}

/// Adds two accumulators of 64-bit words.
#[inline(always)]
pub const fn add_wide(one: u64, other: u64) -> u64 {
    let (sum, carry) = one.overflowing_add(other);
    // With a carry the sum is at the most 2^64 - 2 before it.
    sum + carry as u64
}

/// Whether an accumulator that is not 0 folds to 0xffff, without folding it: whether it is a multiple of 2^16 - 1,
/// which a compiler asks by one multiplication (Granlund and Montgomery 1994, §9).
#[inline(always)]
pub const fn is_all_ones(wide: u64) -> bool {
    wide.is_multiple_of(0xffff)
}

/// Adds a 32-bit word to a sum.
#[inline(always)]
pub const fn add_word(sum: u16, word: u32) -> u16 {
    add((word.wrapping_add(word.rotate_left(16)) >> 16) as u16, sum)
}

/// Adds two sums.
#[inline]
pub const fn add(one: u16, other: u16) -> u16 {
    let (sum, carry) = one.overflowing_add(other);
    sum + carry as u16
}

/// The sum of bytes, an odd last one padded with zero.
pub fn sum(bytes: &[u8]) -> u16 {
    u16::from_be(raw(bytes))
}

/// The sum of bytes as a word that stands in a packet: the machine's byte order commutes with the sum
/// (RFC 1071 §2 B), so that it can be computed on words as they are loaded.
#[inline]
pub fn raw(bytes: &[u8]) -> u16 {
    let (blocks, rest) = bytes.as_chunks::<32>();
    let mut wide = 0_u128;
    for block in blocks {
        let (words, _) = block.as_chunks::<8>();
        for word in words {
            wide += u128::from(u64::from_ne_bytes(*word));
        }
    }
    let (words, rest) = rest.as_chunks::<8>();
    for word in words {
        wide += u128::from(u64::from_ne_bytes(*word));
    }
    let mut last = [0; 8];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    fold_wide(wide + u128::from(u64::from_ne_bytes(last)))
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

/// What to [`add`] to a UDP checksum that is not 0, so that it changes as if this were added to its sum. The
/// result is not 0 either: of the two zeros it is the one that UDP sends.
#[inline]
pub const fn adjustment(difference: u16) -> u16 {
    !difference
}

/// The field that makes up for a sum: its complement, with zero sent as 0xffff.
#[inline]
pub const fn udp_field(sum: u16) -> u16 {
    let field = !sum;
    field.wrapping_sub((field == 0) as u16)
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
        assert_eq!(fold_wide(u128::MAX), 0xffff);
        assert_eq!(fold_wide(u128::from(u64::MAX) + 1), 1);
        assert_eq!(add_word(0xffff, 0xffff_ffff), 0xffff);
        assert_eq!(add_word(1, 0xffff_ffff), 1);
        assert_eq!(add_word(0, 0), 0);
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
        fn a_word_is_added_as_the_definition_says(word in any::<[u8; 4]>(), other in any::<[u8; 2]>()) {
            let bytes = [word[0], word[1], word[2], word[3], other[0], other[1]];
            let sum = add_word(u16::from_be_bytes(other), u32::from_be_bytes(word));
            prop_assert_eq!(sum, by_the_book(&bytes));
        }

        #[test]
        fn all_ones_are_what_folds_to_them(wide in any::<u64>()) {
            prop_assume!(wide != 0);
            prop_assert_eq!(is_all_ones(wide), fold(wide) == 0xffff);
            // One in 65,536 is; here each.
            let right = add_wide(wide, u64::from(!fold(wide)));
            prop_assert!(is_all_ones(right));
        }

        #[test]
        fn an_adjusted_checksum_is_the_updated_one(field in 1..=u16::MAX, old: u16, new: u16) {
            let adjusted = add(field, adjustment(add(!old, new)));
            prop_assert_eq!(adjusted, update_udp(field, old, new));
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
