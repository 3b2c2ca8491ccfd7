//! How many new calls a second are let in: a rate that falls by a factor while datagrams wait too long, and
//! climbs by steps while they do not.
//!
//! What is measured is the standing queue, as in CoDel (RFC 8289): of the times that datagrams had waited, the
//! shortest within an interval. A burst that is worked off within the interval is none. What is enforced is a
//! rate, as in RFC 7415, by a token bucket.

use std::time::Duration;

use contract::Timestamp;

use crate::settings::Rate;
use crate::trunks::Bucket;

/// One look at the load. Shorter ones see bursts as overload; with longer ones the queue is full before the
/// first step.
const INTERVAL: Duration = Duration::from_millis(100);
/// A step down keeps so many percent: a quarter less is felt within an interval and does not empty the machine.
const DOWN_TO: u64 = 75;
/// A step up, in percent of the rate at which overload began: back to it from nothing within 5 s. Larger ones
/// overshoot by more before the queue shows it.
const UP_BY: u64 = 2;
/// So many intervals without overload and without a refusal end the episode.
const CALM: u32 = 10;
/// The bucket's burst, in milliseconds of its rate: what comes within an interval may come at once.
const BURST_MILLIS: u64 = 100;

/// The controller, on virtual time.
#[derive(Debug)]
pub(super) struct Controller {
    target: Option<Duration>,
    /// In thousandths of a call a second, as all rates here.
    floor: u64,
    shedding: Option<Shedding>,
    interval: Interval,
    episodes: u64,
}

/// While calls are refused.
#[derive(Debug)]
struct Shedding {
    rate: u64,
    step: u64,
    bucket: Bucket,
    /// The standing queue of the interval before.
    before: Duration,
    calm: u32,
}

/// What was seen since the interval began.
#[derive(Debug, Default)]
struct Interval {
    began: Timestamp,
    /// The shortest wait; `None`: nothing came.
    shortest: Option<Duration>,
    crowded: bool,
    let_in: u64,
    refused: u64,
}

impl Controller {
    /// `floor` calls a second are let in whatever happens.
    pub(super) fn new(target: Option<Duration>, floor: u32) -> Self {
        Self {
            target,
            floor: u64::from(floor.max(1)) * 1_000,
            shedding: None,
            interval: Interval::default(),
            episodes: 0,
        }
    }

    /// Takes another target and floor. Without a target nothing is refused from now on.
    pub(super) fn reconfigure(&mut self, target: Option<Duration>, floor: u32) {
        self.target = target;
        self.floor = u64::from(floor.max(1)) * 1_000;
        if target.is_none() {
            self.shedding = None;
        }
    }

    /// A datagram has waited so long.
    pub(super) fn observe(&mut self, waited: Duration, crowded: bool, now: Timestamp) {
        self.turn(now);
        let shortest = self.interval.shortest.get_or_insert(waited);
        *shortest = (*shortest).min(waited);
        self.interval.crowded |= crowded;
    }

    /// Whether some calls are refused at this time.
    pub(super) fn is_shedding(&mut self, now: Timestamp) -> bool {
        self.turn(now);
        self.shedding.is_some()
    }

    /// A call came and was let in without a question.
    pub(super) const fn count(&mut self) {
        self.interval.let_in += 1;
    }

    /// Whether a new call is let in.
    pub(super) fn admit(&mut self, now: Timestamp) -> bool {
        self.turn(now);
        let admitted = match &mut self.shedding {
            Some(shedding) => shedding.bucket.take(now),
            None => true,
        };
        match admitted {
            true => self.interval.let_in += 1,
            false => self.interval.refused += 1,
        }
        admitted
    }

    /// The rate that is let in at this time, in thousandths a second; 0 while all are. While nothing comes nothing
    /// draws the conclusion that overload is over: this foresees it.
    pub(super) fn rate_millis(&self, now: Timestamp) -> u64 {
        let quiet = now.since(self.interval.began).as_millis() / INTERVAL.as_millis();
        let shedding = self.shedding.as_ref();
        let lasts = shedding.filter(|_| quiet <= u128::from(CALM));
        lasts.map_or(0, |shedding| shedding.rate)
    }

    pub(super) const fn episodes(&self) -> u64 {
        self.episodes
    }

    /// Ends the interval if its time is over, and draws the conclusions.
    fn turn(&mut self, now: Timestamp) {
        let passed = now.since(self.interval.began);
        let Some(target) = self.target.filter(|_| passed >= INTERVAL) else {
            return;
        };
        let fresh = Interval {
            began: now,
            ..Interval::default()
        };
        let seen = std::mem::replace(&mut self.interval, fresh);
        let queue = seen.shortest.unwrap_or_default();
        let over = queue > target || seen.crowded;
        let rate = per_second(seen.let_in, passed).max(self.floor);
        match &mut self.shedding {
            None if over => self.begin(rate, queue, now),
            None => {}
            Some(shedding) => {
                let intervals = passed.as_millis() / INTERVAL.as_millis();
                let quiet = u32::try_from(intervals - 1).unwrap_or(u32::MAX);
                shedding.adjust(over, queue, seen.refused, 1, self.floor);
                // Nothing came after what was seen, or this would have been looked at then.
                if quiet > 0 {
                    shedding.adjust(false, Duration::ZERO, 0, quiet, self.floor);
                }
                shedding.bucket.set_rate(shedding.rate, now);
                if shedding.calm >= CALM {
                    tracing::info!("overload is over: every call is let in again");
                    self.shedding = None;
                }
            }
        }
    }

    fn begin(&mut self, rate: u64, queue: Duration, now: Timestamp) {
        let lower = down(rate).max(self.floor);
        tracing::warn!(
            waited = ?queue,
            calls_per_second = lower / 1_000,
            "overload: new calls beyond a rate are refused with 503"
        );
        self.episodes += 1;
        self.shedding = Some(Shedding {
            rate: lower,
            step: (rate * UP_BY / 100).max(1_000),
            bucket: bucket(lower, now),
            before: queue,
            calm: 0,
        });
    }
}

impl Shedding {
    fn adjust(&mut self, over: bool, queue: Duration, refused: u64, intervals: u32, floor: u64) {
        // A queue that shortens by a good part is being worked off: the last step down was enough.
        let shortens = queue < self.before / 8 * 7;
        self.before = queue;
        self.calm = match (over, refused) {
            (false, 0) => self.calm.saturating_add(intervals),
            _ => 0,
        };
        self.rate = match (over, shortens) {
            (true, true) => self.rate,
            (true, false) => down(self.rate).max(floor),
            (false, _) => {
                let steps = self.step.saturating_mul(u64::from(intervals));
                self.rate.saturating_add(steps)
            }
        };
    }
}

const fn down(rate: u64) -> u64 {
    rate / 100 * DOWN_TO
}

fn per_second(count: u64, within: Duration) -> u64 {
    let millis = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
    count.saturating_mul(1_000_000) / millis.max(1)
}

fn bucket(rate: u64, now: Timestamp) -> Bucket {
    let burst = (rate / 1_000).saturating_mul(BURST_MILLIS) / 1_000;
    let mut bucket = Bucket::new(
        Rate {
            per_second: 0,
            burst: u32::try_from(burst).unwrap_or(u32::MAX).max(1),
        },
        now,
    );
    bucket.set_rate(rate, now);
    bucket
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Duration = Duration::from_millis(50);

    fn at(millis: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_millis(millis)
    }

    /// A server with one queue: a new call costs it so long, a refusal next to nothing.
    struct Plant {
        controller: Controller,
        now: u64,
        /// Work that waits, in microseconds.
        backlog: u64,
        let_in: u64,
        refused: u64,
        longest: u64,
    }

    impl Plant {
        const CALL: u64 = 1_000;
        const REFUSAL: u64 = 10;

        fn new() -> Self {
            Self {
                controller: Controller::new(Some(TARGET), 10),
                now: 0,
                backlog: 0,
                let_in: 0,
                refused: 0,
                longest: 0,
            }
        }

        /// So many calls a second, for so long.
        fn run(&mut self, per_second: u64, millis: u64) {
            (self.let_in, self.refused, self.longest) = (0, 0, 0);
            let end = self.now + millis;
            let mut owed = 0;
            while self.now < end {
                self.now += 1;
                let now = at(self.now);
                self.backlog = self.backlog.saturating_sub(1_000);
                owed += per_second;
                while owed >= 1_000 {
                    owed -= 1_000;
                    let waited = Duration::from_micros(self.backlog);
                    self.controller.observe(waited, false, now);
                    let shedding = self.controller.is_shedding(now);
                    if !shedding {
                        self.controller.count();
                    }
                    let let_in = !shedding || self.controller.admit(now);
                    self.let_in += u64::from(let_in);
                    self.refused += u64::from(!let_in);
                    self.backlog += if let_in { Self::CALL } else { Self::REFUSAL };
                }
                self.longest = self.longest.max(self.backlog);
            }
        }
    }

    #[test]
    fn what_can_be_handled_is_never_refused() {
        let mut plant = Plant::new();
        plant.run(900, 20_000);
        assert_eq!((plant.refused, plant.controller.episodes()), (0, 0));
    }

    #[test]
    fn a_burst_that_is_worked_off_is_no_overload() {
        let mut plant = Plant::new();
        plant.run(500, 1_000);
        plant.backlog += 90_000;
        plant.run(100, 1_000);
        assert_eq!(plant.refused, 0);
    }

    #[test]
    fn at_three_times_the_rate_most_of_what_can_be_handled_is_let_in_and_waits_little() {
        let mut plant = Plant::new();
        plant.run(800, 2_000);
        plant.run(3_000, 3_000);
        plant.run(3_000, 20_000);
        let per_second = plant.let_in / 20;
        assert!((700..=1_000).contains(&per_second), "{per_second} a second");
        assert!(plant.longest < 200_000, "{} us", plant.longest);
        assert_eq!(plant.let_in + plant.refused, 60_000);
    }

    #[test]
    fn it_is_over_within_five_seconds() {
        let mut plant = Plant::new();
        plant.run(3_000, 10_000);
        plant.run(800, 5_000);
        plant.run(800, 5_000);
        assert_eq!(plant.refused, 0);
        assert_eq!(plant.controller.rate_millis(at(plant.now)), 0);
        assert_eq!(plant.controller.episodes(), 1);
    }

    #[test]
    fn a_few_are_let_in_even_when_nothing_moves() {
        let mut controller = Controller::new(Some(TARGET), 10);
        let mut let_in = 0;
        for millis in 0..20_000 {
            controller.observe(Duration::from_secs(2), false, at(millis));
            let admitted = controller.admit(at(millis));
            let_in += u32::from(admitted && millis >= 10_000);
        }
        assert!((95..=105).contains(&let_in), "{let_in}");
        assert_eq!(controller.rate_millis(at(20_000)), 10_000);
        assert_eq!(controller.rate_millis(at(22_000)), 0, "nothing came since");
    }

    #[test]
    fn a_table_that_is_all_but_full_is_overload_too_and_off_is_off() {
        let mut controller = Controller::new(Some(TARGET), 10);
        controller.observe(Duration::ZERO, true, at(50));
        assert!(controller.is_shedding(at(150)));
        let mut controller = Controller::new(None, 10);
        controller.observe(Duration::from_secs(9), true, at(50));
        assert!(!controller.is_shedding(at(150)));
        assert!(controller.admit(at(150)));
    }
}
