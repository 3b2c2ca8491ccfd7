//! Durations: numbers with units, as in `1m30s`.

use std::time::Duration;

use super::{Kind, as_text};

/// A duration within bounds, both inclusive: numbers with units, largest first.
pub(crate) fn duration(least: Duration, most: Duration) -> Kind<Duration> {
    let expected = format!(
        "a duration from {} to {}, such as \"30s\", \"500ms\" or \"1m30s\"",
        spell_duration(least),
        spell_duration(most)
    );
    Kind::of_text(expected, move |text| {
        let duration = read_duration(text).ok_or_else(|| format!("is {text:?}"))?;
        if (least..=most).contains(&duration) {
            Ok(duration)
        } else {
            Err(format!("is {text:?}"))
        }
    })
}

/// A duration, or `"off"`.
pub(crate) fn duration_or_off(least: Duration, most: Duration) -> Kind<Option<Duration>> {
    let within = duration(least, most);
    Kind::new(
        format!("{}, or \"off\"", within.expected()),
        move |value| match as_text(value)? {
            "off" => Ok(None),
            _ => within.parse(value).map(Some),
        },
    )
}

/// In microseconds, the largest first.
const UNITS: [(&str, u64); 5] = [
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

/// `1h30m`, `500ms`: every unit at most once, larger ones first. `None` when it is not that.
pub(crate) fn read_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut micros: u64 = 0;
    let mut units = UNITS.as_slice();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let place = units.iter().position(|(name, _)| *name == unit)?;
        let part = number.parse::<u64>().ok()?.checked_mul(units[place].1)?;
        micros = micros.checked_add(part)?;
        units = &units[place + 1..];
        rest = tail;
    }
    (!text.is_empty()).then_some(Duration::from_micros(micros))
}

/// A duration as `read_duration` reads it, to the microsecond.
pub(crate) fn spell_duration(duration: Duration) -> String {
    let mut micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let mut spelt = String::new();
    for (unit, length) in UNITS {
        if micros >= length {
            spelt.push_str(&format!("{}{unit}", micros / length));
            micros %= length;
        }
    }
    if spelt.is_empty() {
        "0s".to_owned()
    } else {
        spelt
    }
}

#[cfg(test)]
mod tests {
    use super::super::read_for_tests as read;
    use super::*;

    #[test]
    fn durations() {
        let all = duration(Duration::ZERO, Duration::from_secs(86_400));
        let millis = |text: &str| read(&all, text).map(|d| d.as_millis());
        assert_eq!(millis("'500ms'"), Ok(500));
        assert_eq!(millis("'30s'"), Ok(30_000));
        assert_eq!(millis("'1m30s'"), Ok(90_000));
        assert_eq!(millis("'24h'"), Ok(86_400_000));
        let micros = read(&all, "'1ms50us'").map(|d| d.as_micros());
        assert_eq!(micros, Ok(1_050));
        for wrong in [
            "''",
            "'30'",
            "'s'",
            "'-1s'",
            "'1.5s'",
            "'1s1m'",
            "'1s1s'",
            "'1 s'",
            "'99999999999999999999s'",
            "'18446744073709551615h'",
            "'25h'",
            "30",
        ] {
            assert!(millis(wrong).is_err(), "{wrong}");
        }
        assert_eq!(spell_duration(Duration::from_millis(90_500)), "1m30s500ms");
        assert_eq!(spell_duration(Duration::ZERO), "0s");
        let or_off = duration_or_off(Duration::from_secs(1), Duration::from_secs(60));
        assert_eq!(read(&or_off, "'off'"), Ok(None));
        assert!(read(&or_off, "'0s'").is_err());
    }
}
