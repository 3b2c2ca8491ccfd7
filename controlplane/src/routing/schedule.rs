//! When a route holds: days of the week, hours of the day, dates, in a time zone.
//!
//! ```text
//!   days   mon-fri, sat          hours  08:00-18:00, 22:00-06:00
//!   dates  2026-12-24, 12-24..01-01 (every year)
//! ```
//!
//! Hours that end before they begin run past midnight, and belong to the day that they begin on. What is not said
//! holds always. The time is an argument. The zone's rules are those of the IANA database that `jiff` carries
//! within the binary: nothing depends on the machine's /usr/share/zoneinfo.

use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;

/// When something holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Its name in the configuration.
    pub name: String,
    /// Whose clock the hours and dates are of.
    pub zone: TimeZone,
    /// Days of the week, any of them; none said: all.
    pub days: Vec<Days>,
    /// Hours, any of them; none said: the whole day.
    pub hours: Vec<Hours>,
    /// Dates, any of them; none said: all.
    pub dates: Vec<Dates>,
    /// Dates on which it does not hold.
    pub except: Vec<Dates>,
}

/// Days of the week from one to another, both included: `mon-fri`, `sat-mon`, `sun`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Days {
    first: Weekday,
    last: Weekday,
}

/// Hours of a day: from the first minute to before the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hours {
    /// Minutes from midnight, less than 1440.
    from: u16,
    /// Minutes from midnight; 1440 is the day's end. Not more than `from`: on the next day.
    to: u16,
}

/// Dates from one to another, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dates {
    /// Once.
    Once {
        /// The first.
        first: Date,
        /// The last.
        last: Date,
    },
    /// Every year: month and day. They may run past the year's end.
    Yearly {
        /// The first.
        first: (i8, i8),
        /// The last.
        last: (i8, i8),
    },
}

/// The text does not say when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotATime {
    /// Not days of the week.
    #[error("a day such as `mon`, or days such as `mon-fri`")]
    Days,
    /// Not hours.
    #[error("hours such as `08:00-18:30`; up to 24:00, and past midnight when the end is earlier")]
    Hours,
    /// Not dates.
    #[error(
        "a date such as `2026-12-24`, one of every year such as `12-24`, or two with `..` between them"
    )]
    Dates,
}

const DAY: u16 = 24 * 60;

impl Schedule {
    /// One that always holds.
    pub fn always(name: impl Into<String>, zone: TimeZone) -> Self {
        Self {
            name: name.into(),
            zone,
            days: Vec::new(),
            hours: Vec::new(),
            dates: Vec::new(),
            except: Vec::new(),
        }
    }

    /// The zone of this name, such as `Europe/Berlin`; `None` when the database has none.
    pub fn zone(name: &str) -> Option<TimeZone> {
        TimeZone::get(name).ok()
    }

    /// Whether it holds at this time.
    pub fn holds(&self, at: Timestamp) -> bool {
        let local = self.zone.to_datetime(at);
        let (date, minute) = (local.date(), minute_of(local.time()));
        if self.hours.is_empty() {
            return self.is_day(date);
        }
        let today = self.is_day(date);
        let yesterday = date.yesterday().is_ok_and(|date| self.is_day(date));
        self.hours.iter().any(|hours| match hours.past_midnight() {
            false => today && (hours.from..hours.to).contains(&minute),
            true => (today && minute >= hours.from) || (yesterday && minute < hours.to),
        })
    }

    fn is_day(&self, date: Date) -> bool {
        let holds = |dates: &[Dates]| dates.iter().any(|dates| dates.hold(date));
        let weekday = date.weekday();
        (self.days.is_empty() || self.days.iter().any(|days| days.hold(weekday)))
            && (self.dates.is_empty() || holds(&self.dates))
            && !holds(&self.except)
    }
}

fn minute_of(time: Time) -> u16 {
    u16::try_from(i16::from(time.hour()) * 60 + i16::from(time.minute())).unwrap_or(0)
}

impl Days {
    fn hold(self, day: Weekday) -> bool {
        let since = |from: Weekday, to: Weekday| {
            (to.to_monday_zero_offset() - from.to_monday_zero_offset()).rem_euclid(7)
        };
        since(self.first, day) <= since(self.first, self.last)
    }
}

impl Hours {
    const fn past_midnight(self) -> bool {
        self.to <= self.from
    }
}

impl Dates {
    fn hold(self, date: Date) -> bool {
        match self {
            Self::Once { first, last } => (first..=last).contains(&date),
            Self::Yearly { first, last } => {
                let day = (date.month(), date.day());
                match first <= last {
                    true => (first..=last).contains(&day),
                    false => day >= first || day <= last,
                }
            }
        }
    }
}

impl FromStr for Days {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let day = |name: &str| {
            Some(match name.trim().to_ascii_lowercase().as_str() {
                "mon" => Weekday::Monday,
                "tue" => Weekday::Tuesday,
                "wed" => Weekday::Wednesday,
                "thu" => Weekday::Thursday,
                "fri" => Weekday::Friday,
                "sat" => Weekday::Saturday,
                "sun" => Weekday::Sunday,
                _ => return None,
            })
        };
        let (first, last) = (day(first), day(last));
        let (first, last) = first.zip(last).ok_or(NotATime::Days)?;
        Ok(Self { first, last })
    }
}

impl FromStr for Hours {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        let (from, to) = text.split_once('-').ok_or(NotATime::Hours)?;
        let minutes = |text: &str| {
            let (hour, minute) = text.trim().split_once(':')?;
            let (hour, minute): (u16, u16) = (two_digits(hour)?, two_digits(minute)?);
            let minutes = hour * 60 + minute;
            (minute < 60 && minutes <= DAY).then_some(minutes)
        };
        let (from, to) = minutes(from).zip(minutes(to)).ok_or(NotATime::Hours)?;
        match from < DAY {
            true => Ok(Self { from, to }),
            false => Err(NotATime::Hours),
        }
    }
}

impl FromStr for Dates {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        let (first, last) = text.split_once("..").unwrap_or((text, text));
        let (first, last) = (first.trim(), last.trim());
        if let (Some(first), Some(last)) = (full_date(first), full_date(last)) {
            return match first <= last {
                true => Ok(Self::Once { first, last }),
                false => Err(NotATime::Dates),
            };
        }
        let days = day_of_year(first).zip(day_of_year(last));
        let (first, last) = days.ok_or(NotATime::Dates)?;
        Ok(Self::Yearly { first, last })
    }
}

fn full_date(text: &str) -> Option<Date> {
    let (year, rest) = text.split_once('-')?;
    let (month, day) = rest.split_once('-')?;
    let is_year = year.len() == 4 && year.bytes().all(|byte| byte.is_ascii_digit());
    let year = year.parse().ok().filter(|_| is_year)?;
    Date::new(year, two_digits(month)?, two_digits(day)?).ok()
}

/// A month and a day that some year has.
fn day_of_year(text: &str) -> Option<(i8, i8)> {
    const LEAP_YEAR: i16 = 2028;
    let (month, day) = text.split_once('-')?;
    let (month, day) = (two_digits(month)?, two_digits(day)?);
    Date::new(LEAP_YEAR, month, day).ok().map(|_| (month, day))
}

fn two_digits<T: FromStr>(text: &str) -> Option<T> {
    let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn schedule(zone: &str) -> Schedule {
        Schedule::always("s", Schedule::zone(zone).expect("a zone"))
    }

    fn all<T: FromStr>(texts: &[&str]) -> Vec<T> {
        let read = |text: &&str| text.parse().ok().unwrap_or_else(|| panic!("{text}"));
        texts.iter().map(read).collect()
    }

    #[test]
    fn hours_are_those_of_the_zone_in_summer_and_winter() {
        let office = Schedule {
            days: all(&["mon-fri"]),
            hours: all(&["08:00-18:00"]),
            ..schedule("Europe/Berlin")
        };
        // A Tuesday in winter (UTC+1), and one in summer (UTC+2).
        assert!(office.holds(at("2026-11-24T07:00:00Z")));
        assert!(!office.holds(at("2026-11-24T06:59:59Z")));
        assert!(!office.holds(at("2026-11-24T17:00:00Z")));
        assert!(office.holds(at("2026-07-07T06:00:00Z")));
        assert!(!office.holds(at("2026-07-07T16:00:00Z")));
        assert!(!office.holds(at("2026-11-28T12:00:00Z")), "a Saturday");
    }

    #[test]
    fn hours_past_midnight_belong_to_the_day_that_they_begin_on() {
        let night = Schedule {
            days: all(&["fri"]),
            hours: all(&["22:00-06:00"]),
            ..schedule("UTC")
        };
        assert!(night.holds(at("2026-11-27T23:00:00Z")), "Friday night");
        assert!(night.holds(at("2026-11-28T05:59:00Z")), "Saturday morning");
        assert!(!night.holds(at("2026-11-28T06:00:00Z")));
        assert!(!night.holds(at("2026-11-27T05:00:00Z")), "Friday morning");
        assert!(!night.holds(at("2026-11-28T23:00:00Z")));
        let whole = Schedule {
            hours: all(&["00:00-24:00"]),
            ..schedule("UTC")
        };
        assert!(whole.holds(at("2026-11-27T23:59:59Z")) && whole.holds(at("2026-11-27T00:00:00Z")));
    }

    #[test]
    fn dates_hold_once_or_every_year() {
        let holidays = Schedule {
            dates: all(&["2026-05-01", "12-24..01-01", "2027-02-01..2027-02-03"]),
            except: all(&["12-31"]),
            ..schedule("UTC")
        };
        for (day, holds) in [
            ("2026-05-01", true),
            ("2027-05-01", false),
            ("2030-12-24", true),
            ("2031-01-01", true),
            ("2031-01-02", false),
            ("2030-12-31", false),
            ("2027-02-03", true),
        ] {
            assert_eq!(
                holidays.holds(at(&format!("{day}T12:00:00Z"))),
                holds,
                "{day}"
            );
        }
    }

    #[test]
    fn days_may_run_past_the_weeks_end() {
        let days: Vec<Days> = all(&["sat-mon"]);
        let holds = |day| days[0].hold(day);
        assert!(holds(Weekday::Saturday) && holds(Weekday::Sunday) && holds(Weekday::Monday));
        assert!(!holds(Weekday::Tuesday) && !holds(Weekday::Friday));
    }

    #[test]
    fn what_says_no_time_is_refused() {
        for wrong in ["", "monday", "mon-", "1-5"] {
            assert_eq!(wrong.parse::<Days>(), Err(NotATime::Days), "{wrong}");
        }
        for wrong in [
            "8:00-18:00",
            "08:00",
            "08:00-24:01",
            "24:00-25:00",
            "08:60-09:00",
            "24:00-06:00",
        ] {
            assert_eq!(wrong.parse::<Hours>(), Err(NotATime::Hours), "{wrong}");
        }
        for wrong in [
            "2026-02-30",
            "02-30",
            "13-01",
            "2026-12-24..12-26",
            "2026-2-3",
            "2027-01-01..2026-01-01",
            "+026-01-01",
        ] {
            assert_eq!(wrong.parse::<Dates>(), Err(NotATime::Dates), "{wrong}");
        }
        assert!("02-29".parse::<Dates>().is_ok());
        assert!(Schedule::zone("Europe/Nowhere").is_none());
    }
}
