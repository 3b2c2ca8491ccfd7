//! What a call costs, by the minute or whatever the file means: an exact decimal of six places.

use std::fmt;
use std::str::FromStr;

/// A cost in millionths of the file's unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cost(u64);

/// A cost is digits, perhaps with a point and up to six more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a decimal number of at most six places")]
pub struct NotACost;

const PLACES: usize = 6;
const ONE: u64 = 1_000_000;

impl Cost {
    /// A cost of so many millionths.
    pub const fn from_millionths(millionths: u64) -> Self {
        Self(millionths)
    }

    /// The cost in millionths.
    pub const fn millionths(self) -> u64 {
        self.0
    }
}

impl FromStr for Cost {
    type Err = NotACost;

    fn from_str(text: &str) -> Result<Self, NotACost> {
        let (whole, places) = text.split_once('.').unwrap_or((text, "0"));
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !is_number(whole) || !is_number(places) || places.len() > PLACES {
            return Err(NotACost);
        }
        let whole: u64 = whole.parse().map_err(|_| NotACost)?;
        let fraction = places
            .bytes()
            .chain(std::iter::repeat(b'0'))
            .take(PLACES)
            .fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
        let whole = whole.checked_mul(ONE).ok_or(NotACost)?;
        whole.checked_add(fraction).map(Self).ok_or(NotACost)
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.0 / ONE, self.0 % ONE);
        if fraction == 0 {
            return write!(f, "{whole}");
        }
        let places = format!("{fraction:06}");
        write!(f, "{whole}.{}", places.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_exact() {
        for (text, millionths, written) in [
            ("0.0123", 12_300, "0.0123"),
            ("12", 12_000_000, "12"),
            ("1.500000", 1_500_000, "1.5"),
            ("0", 0, "0"),
            ("18446744073709.551615", u64::MAX, "18446744073709.551615"),
        ] {
            let cost: Cost = text.parse().expect(text);
            assert_eq!(cost.millionths(), millionths);
            assert_eq!(cost.to_string(), written);
        }
        for wrong in [
            "",
            ".5",
            "1.",
            "-1",
            "1,5",
            "1e3",
            "0.1234567",
            "18446744073709.551616",
            "99999999999999",
        ] {
            assert_eq!(wrong.parse::<Cost>(), Err(NotACost), "{wrong}");
        }
    }
}
