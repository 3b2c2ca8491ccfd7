//! Key presses that are put into a stream: which audio packets become which RFC 4733 events.
//!
//! ```text
//!   waits ──audio, and the party presses no key──► lasts ──duration over──► ends (three packets) ──► pause ─┐
//!     ▲                                                                                                     │
//!     └───────────────────────────────────────── the next digit ◄───────────────────────────────────────────┘
//! ```
//!
//! Time is the stream's: durations and pauses are counted in its timestamps. Sees no bytes and sends nothing; what a
//! packet becomes is written by [`crate::pipeline`].

use std::time::Duration;

use contract::{Press, Timestamp};

/// How often the end of an event is sent (RFC 4733 §2.5.1.4).
const ENDS: u8 = 3;
/// For how long after a packet of it a key that the party presses counts as pressed, if its end is not seen.
const OWN_KEY: Duration = Duration::from_millis(200);
/// The longest step of a stream's timestamps that is believed to be one packet's, as a part of a second.
const LONGEST_STEP: u32 = 5;

/// What an audio packet becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// 0 to 15.
    pub digit: u8,
    /// The RTP timestamp: that of the event's start.
    pub timestamp: u32,
    /// How long it has lasted.
    pub duration: u16,
    /// Its first packet.
    pub first: bool,
    /// It is over.
    pub end: bool,
}

/// How far the presses of a flow are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pressing {
    /// The last press that was begun, or that waits.
    count: Option<u32>,
    /// Until when the first packet must have come.
    begin_by: Timestamp,
    state: State,
    ssrc: u32,
    /// The timestamp of the last audio packet, and how much a packet adds.
    last: Option<u32>,
    step: u32,
    /// Until when the party itself counts as pressing a key.
    own_key: Timestamp,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Over,
    /// For the first audio packet at or after this timestamp, if there is one.
    Waits { digit: usize, from: Option<u32> },
    Lasts {
        digit: usize,
        start: u32,
        duration: u16,
        ends: u8,
    },
}

impl Pressing {
    /// The control plane's new word.
    pub fn update(&mut self, press: Option<&Press>, now: Timestamp) {
        let Some(press) = press else {
            self.state = State::Over;
            return;
        };
        if self.count == Some(press.count) {
            return;
        }
        self.count = Some(press.count);
        self.begin_by = now + Press::PATIENCE;
        self.state = match press.digits.is_empty() {
            true => State::Over,
            false => State::Waits {
                digit: 0,
                from: None,
            },
        };
    }

    /// A packet of a key that the party presses itself has passed.
    pub fn own_key(&mut self, end: bool, now: Timestamp) {
        self.own_key = if end { now } else { now + OWN_KEY };
    }

    /// An audio packet with this SSRC and timestamp has come: what it becomes, if it does not stay what it is.
    pub fn audio(
        &mut self,
        press: &Press,
        ssrc: u32,
        timestamp: u32,
        now: Timestamp,
    ) -> Option<Event> {
        if let State::Over = self.state {
            return None;
        }
        self.keep_step(press, ssrc, timestamp);
        if let State::Waits { digit, from } = self.state {
            if digit == 0 && now > self.begin_by {
                self.state = State::Over;
                return None;
            }
            let early = from.is_some_and(|from| is_before(timestamp, from));
            if early || now < self.own_key {
                return None;
            }
            self.state = State::Lasts {
                digit,
                start: timestamp,
                duration: 0,
                ends: 0,
            };
        }
        self.last(press, timestamp)
    }

    /// What the next packet of an event is.
    fn last(&mut self, press: &Press, timestamp: u32) -> Option<Event> {
        let State::Lasts {
            digit,
            start,
            duration: before,
            ends,
        } = self.state
        else {
            return None;
        };
        let units = u64::from(press.duration) * u64::from(press.clock_rate) / 1000;
        let whole = units.clamp(1, 0xffff) as u32;
        // A packet that was overtaken tells nothing new.
        let lasted = match is_before(timestamp, start) {
            true => u32::from(before),
            false => timestamp.wrapping_sub(start).saturating_add(self.step),
        };
        let duration = lasted.clamp(u32::from(before), whole) as u16;
        let end = u32::from(duration) == whole;
        let ends = ends + u8::from(end);
        let event = Event {
            digit: press.digits.at(digit)?,
            timestamp: start,
            duration,
            first: before == 0,
            end,
        };
        self.state = State::Lasts {
            digit,
            start,
            duration,
            ends,
        };
        if ends >= ENDS {
            self.go_on(press, digit + 1, timestamp);
        }
        Some(event)
    }

    /// The digit is over; `timestamp` is the last packet's that it took.
    fn go_on(&mut self, press: &Press, digit: usize, timestamp: u32) {
        let pause = u64::from(press.pause) * u64::from(press.clock_rate) / 1000;
        let pause = pause.min(u64::from(u32::MAX / 4)) as u32;
        self.state = match digit < press.digits.len() {
            true => State::Waits {
                digit,
                from: Some(timestamp.wrapping_add(self.step).wrapping_add(pause)),
            },
            false => State::Over,
        };
    }

    /// Learns how much a packet adds to the timestamp. With another stream what was begun of a digit begins anew.
    fn keep_step(&mut self, press: &Press, ssrc: u32, timestamp: u32) {
        let usual = (press.clock_rate / 50).max(1);
        if self.last.is_none() || self.ssrc != ssrc {
            self.step = usual;
            self.ssrc = ssrc;
            match self.state {
                State::Lasts { digit, ends: 0, .. } => {
                    self.state = State::Waits { digit, from: None };
                }
                State::Lasts { digit, .. } => self.go_on(press, digit + 1, timestamp),
                State::Waits { digit, .. } => self.state = State::Waits { digit, from: None },
                State::Over => {}
            }
        } else if let Some(last) = self.last {
            let step = timestamp.wrapping_sub(last);
            if step > 0 && step <= press.clock_rate / LONGEST_STEP {
                self.step = step;
            }
        }
        self.last = Some(timestamp);
    }
}

/// Whether a timestamp lies before another, on the circle that they go round.
const fn is_before(one: u32, other: u32) -> bool {
    (one.wrapping_sub(other) as i32) < 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::Digits;

    fn press(digits: &[u8], count: u32) -> Press {
        Press {
            count,
            digits: Digits::new(digits).expect("as it should be"),
            volume: 10,
            duration: 100,
            pause: 60,
            payload_type: 101,
            clock_rate: 8000,
        }
    }

    fn at(millis: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_millis(millis)
    }

    /// What packets at every 20 ms become.
    fn stream(pressing: &mut Pressing, press: &Press, packets: u32) -> Vec<Option<Event>> {
        let first = u32::MAX - 300;
        (0..packets)
            .map(|index| {
                let timestamp = first.wrapping_add(index * 160);
                pressing.audio(press, 7, timestamp, at(u64::from(index) * 20))
            })
            .collect()
    }

    #[test]
    fn a_digit_lasts_grows_and_ends_three_times() {
        let press = press(&[5, 9], 1);
        let mut pressing = Pressing::default();
        pressing.update(Some(&press), at(0));
        let events = stream(&mut pressing, &press, 24);
        let five: Vec<_> = events[..7].iter().flatten().collect();
        let durations: Vec<_> = five.iter().map(|event| event.duration).collect();
        assert_eq!(durations, [160, 320, 480, 640, 800, 800, 800]);
        let ends: Vec<_> = five.iter().map(|event| event.end).collect();
        assert_eq!(ends, [false, false, false, false, true, true, true]);
        let firsts = five.iter().filter(|event| event.first).count();
        assert!(firsts == 1 && five[0].first);
        assert!(five.iter().all(|event| event.timestamp == u32::MAX - 300));
        assert_eq!(events[7..10], [None; 3], "audio in between");
        let nine = events[10].expect("the next digit");
        assert_eq!((nine.digit, nine.first), (9, true));
        assert!(events[10..17].iter().all(Option::is_some));
        assert_eq!(events[17..], [None; 7], "and that is all");
        pressing.update(Some(&press), at(900));
        assert!(stream(&mut pressing, &press, 9).iter().all(Option::is_none));
    }

    #[test]
    fn it_waits_for_the_partys_own_key_but_not_for_ever_for_audio() {
        let press = press(&[1], 4);
        let mut pressing = Pressing::default();
        pressing.update(Some(&press), at(0));
        pressing.own_key(false, at(0));
        assert_eq!(pressing.audio(&press, 7, 0, at(20)), None);
        pressing.own_key(true, at(40));
        assert!(pressing.audio(&press, 7, 480, at(60)).is_some());
        let mut late = Pressing::default();
        late.update(Some(&press), at(0));
        assert_eq!(late.audio(&press, 7, 0, at(3001)), None);
        assert_eq!(late.audio(&press, 7, 160, at(1)), None, "given up");
    }

    #[test]
    fn jumps_reordering_and_other_streams_do_no_harm() {
        let press = press(&[1, 2], 4);
        let mut pressing = Pressing::default();
        pressing.update(Some(&press), at(0));
        let first = pressing
            .audio(&press, 7, 8000, at(0))
            .expect("as it should be");
        let overtaken = pressing
            .audio(&press, 7, 7840, at(20))
            .expect("as it should be");
        assert_eq!((first.duration, overtaken.duration), (160, 160));
        let jump = pressing
            .audio(&press, 7, 900_000, at(40))
            .expect("as it should be");
        assert!(jump.end && jump.duration == 800);
        let mut other = Pressing::default();
        other.update(Some(&press), at(0));
        assert!(other.audio(&press, 7, 0, at(0)).is_some());
        let anew = other.audio(&press, 8, 55, at(20)).expect("as it should be");
        assert!(anew.first && anew.timestamp == 55 && anew.digit == 1);
    }
}
