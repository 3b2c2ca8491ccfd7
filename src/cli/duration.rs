//! Durations for people: two units are enough.

/// `12.3 s`, `4m 05s`, `3h 07m`, `2d 04h`.
pub(crate) fn spell_seconds(seconds: f64) -> String {
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
pub(crate) fn spell_nanos(nanos: u64) -> String {
    let number = nanos as f64;
    match nanos {
        0..1_000 => format!("{nanos} ns"),
        1_000..1_000_000 => format!("{:.1} us", number / 1e3),
        1_000_000..1_000_000_000 => format!("{:.2} ms", number / 1e6),
        _ => format!("{:.2} s", number / 1e9),
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
}
