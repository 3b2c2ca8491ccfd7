//! Durations, counts and rates for people: two units or three digits are enough.

/// `12.3 s`, `4m 05s`, `3h 07m`, `2d 04h`.
pub fn spell_seconds(seconds: f64) -> String {
    if seconds < 60.0 {
        return format!("{seconds:.1} s");
    }
    // Whole seconds of an uptime: far below 2^53.
    let whole = seconds as u64;
    match whole {
        0..3600 => format!("{}m {:02}s", whole / 60, whole % 60),
        3600..86_400 => format!("{}h {:02}m", whole / 3600, whole % 3600 / 60),
        _ => format!("{}d {:02}h", whole / 86_400, whole % 86_400 / 3600),
    }
}

/// `850 ns`, `12.3 us`, `4.56 ms`, `1.20 s`.
pub fn spell_nanos(nanos: u64) -> String {
    let number = nanos as f64;
    match nanos {
        0..1_000 => format!("{nanos} ns"),
        1_000..1_000_000 => format!("{:.1} us", number / 1e3),
        1_000_000..1_000_000_000 => format!("{:.2} ms", number / 1e6),
        _ => format!("{:.2} s", number / 1e9),
    }
}

/// `12`, `1,234`, `1,234,567`.
pub fn spell_count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `950`, `48.2 k`, `412 k`, `1.24 M`: three digits and the unit's prefix.
pub fn spell_rate(rate: f64) -> String {
    let (number, prefix) = match rate {
        _ if rate < 999.5 => (rate, ""),
        _ if rate < 999.5e3 => (rate / 1e3, " k"),
        _ if rate < 999.5e6 => (rate / 1e6, " M"),
        _ => (rate / 1e9, " G"),
    };
    let places = match number {
        _ if prefix.is_empty() && number.fract() == 0.0 => 0,
        _ if number < 9.995 => 2,
        _ if number < 99.95 => 1,
        _ => 0,
    };
    format!("{number:.places$}{prefix}")
}

/// `4 KB`, `12.3 MB`, `1.50 GB`, of 1024.
pub fn spell_kilobytes(kilobytes: u64) -> String {
    let number = kilobytes as f64;
    match kilobytes {
        0..1_024 => format!("{kilobytes} KB"),
        1_024..1_048_576 => format!("{:.1} MB", number / 1_024.0),
        _ => format!("{:.2} GB", number / 1_048_576.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_change_where_they_should() {
        assert_eq!(spell_seconds(59.94), "59.9 s");
        assert_eq!(spell_seconds(245.0), "4m 05s");
        assert_eq!(spell_seconds(11_220.0), "3h 07m");
        assert_eq!(spell_seconds(187_200.0), "2d 04h");
        assert_eq!(spell_nanos(999), "999 ns");
        assert_eq!(spell_nanos(12_340), "12.3 us");
        assert_eq!(spell_nanos(4_560_000), "4.56 ms");
        assert_eq!(spell_nanos(1_200_000_000), "1.20 s");
    }

    #[test]
    fn counts_and_rates_are_short() {
        let counts = [0, 999, 1_000, 21_000_000].map(spell_count);
        assert_eq!(counts, ["0", "999", "1,000", "21,000,000"]);
        let rates = [
            0.0, 50.0, 2.345, 999.4, 48_210.0, 412_300.0, 999_600.0, 21e6,
        ];
        let spelt = [
            "0", "50", "2.35", "999", "48.2 k", "412 k", "1.00 M", "21.0 M",
        ];
        assert_eq!(rates.map(spell_rate), spelt);
        assert_eq!(spell_kilobytes(512), "512 KB");
        assert_eq!(spell_kilobytes(12_595), "12.3 MB");
        assert_eq!(spell_kilobytes(1_572_864), "1.50 GB");
    }
}
