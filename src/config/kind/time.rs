//! Kinds of values that say when.

use std::str::FromStr;

use controlplane::routing::{Dates, Days, Hours, NotATime, Schedule};
use jiff::tz::TimeZone;

use super::Kind;

/// What a piece of a schedule expects: the sentence of its error.
pub(crate) trait OfTime: FromStr<Err = NotATime> + 'static {
    /// The error of a text that is none.
    const WRONG: NotATime;
}

impl OfTime for Days {
    const WRONG: NotATime = NotATime::Days;
}

impl OfTime for Hours {
    const WRONG: NotATime = NotATime::Hours;
}

impl OfTime for Dates {
    const WRONG: NotATime = NotATime::Dates;
}

/// Days, hours or dates.
pub(crate) fn of_time<T: OfTime>() -> Kind<T> {
    Kind::of_text(T::WRONG.to_string(), |text| {
        text.parse().map_err(|_| format!("is {text:?}"))
    })
}

/// A time zone.
pub(crate) fn time_zone() -> Kind<TimeZone> {
    let expected = "a time zone of the IANA database, such as \"Europe/Berlin\" or \"UTC\"";
    Kind::of_text(expected, |text| {
        Schedule::zone(text).ok_or_else(|| format!("is {text:?}"))
    })
}
