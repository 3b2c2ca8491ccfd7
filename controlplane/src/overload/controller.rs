//! How many new calls a second are let in: a rate that falls by a factor while datagrams wait too long, and
//! climbs by steps while they do not.
//!
//! What is measured is the standing queue ([`super::queues`]). One that is being worked off, left by a burst or by a
//! time in which the thread did not run, is no overload, however long it still is. What is enforced is a rate, as in
//! RFC 7415, by a token bucket.

use std::time::Duration;

use contract::Timestamp;

use super::queues::Queues;
use crate::settings::{ListenerId, Rate};
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
/// The usual rate takes over such a part of the difference in each interval: it stands for the last two seconds or so. A
/// shorter memory takes a pause of the thread for the usual; a longer one does not know the hour.
const SMOOTHING: u64 = 16;
/// The rate climbs to so many times of what is asked for, not beyond: it would say nothing when more is asked for.
const HEADROOM: u64 = 2;

/// The controller, on virtual time.
#[derive(Debug)]
pub(super) struct Controller {
    target: Option<Duration>,
    /// In thousandths of a call a second, as all rates here.
    floor: u64,
    shedding: Option<Shedding>,
    interval: Interval,
    /// What is let in while all is well: the last interval before overload may be one in which nothing moved.
    usual: u64,
    /// The standing queue of the interval before, if that was too long.
    before: Option<Duration>,
    episodes: u64,
}

/// While calls are refused.
#[derive(Debug)]
struct Shedding {
    rate: u64,
    /// The rate at which it began.
    base: u64,
    bucket: Bucket,
    /// The standing queue of the interval before.
    before: Duration,
    calm: u32,
}

/// What was seen since the interval began.
#[derive(Debug, Default)]
struct Interval {
    began: Timestamp,
    queues: Queues,
    crowded: bool,
    let_in: u64,
    refused: u64,
}

impl Interval {
    fn begin(&mut self, now: Timestamp) {
        let mut queues = std::mem::take(&mut self.queues);
        queues.clear();
        *self = Self {
            began: now,
            queues,
            ..Self::default()
        };
    }
}

impl Controller {
    /// `floor` calls a second are let in whatever happens.
    pub(super) fn new(target: Option<Duration>, floor: u32) -> Self {
        Self {
            target,
            floor: u64::from(floor.max(1)) * 1_000,
            shedding: None,
            interval: Interval::default(),
            usual: 0,
            before: None,
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

    /// A datagram of a listener has waited so long.
    pub(super) fn observe(&mut self, listener: ListenerId, waited: Duration, now: Timestamp) {
        self.turn(now);
        self.interval.queues.observe(listener, waited);
    }

    /// The table of transactions is all but full.
    pub(super) fn crowd(&mut self, now: Timestamp) {
        self.turn(now);
        self.interval.crowded = true;
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
        let queue = self.interval.queues.standing();
        let seen = Seen {
            over: queue > target || self.interval.crowded,
            crowded: self.interval.crowded,
            queue,
            refused: self.interval.refused,
            let_in: per_second(self.interval.let_in, passed),
            offered: per_second(self.interval.let_in + self.interval.refused, passed),
        };
        self.interval.begin(now);
        let intervals = u32::try_from(passed.as_millis() / INTERVAL.as_millis());
        let quiet = intervals.unwrap_or(u32::MAX).saturating_sub(1);
        match &mut self.shedding {
            None => self.look(&seen, quiet, now),
            Some(shedding) => {
                shedding.adjust(&seen, 1, self.floor);
                // Nothing came after what was seen, or this would have been looked at then.
                if quiet > 0 {
                    shedding.adjust(&Seen::default(), quiet, self.floor);
                }
                shedding.fit_bucket(now);
                if shedding.calm >= CALM {
                    tracing::info!("overload is over: every call is let in again");
                    self.shedding = None;
                }
            }
        }
    }

    /// An interval in which every call was let in.
    fn look(&mut self, seen: &Seen, quiet: u32, now: Timestamp) {
        // After a pause the queue is long and gets shorter, be it slowly: that is the pause's, not the load's.
        let stands = |before: Duration| seen.queue > before / 32 * 31;
        let begins = seen.over && (seen.crowded || self.before.is_some_and(stands));
        self.before = (seen.over && quiet == 0).then_some(seen.queue);
        if begins {
            return self.begin(seen, now);
        }
        if !seen.over {
            for _ in 0..=u64::from(quiet).min(4 * SMOOTHING) {
                self.usual = (self.usual * (SMOOTHING - 1) + seen.let_in) / SMOOTHING;
            }
        }
    }

    fn begin(&mut self, seen: &Seen, now: Timestamp) {
        let base = seen.let_in.max(self.usual).max(self.floor);
        let lower = down(base).max(self.floor);
        tracing::warn!(
            waited = ?seen.queue,
            calls_per_second = lower / 1_000,
            "overload: new calls beyond a rate are refused with 503"
        );
        self.episodes += 1;
        self.before = None;
        let unlimited = Rate {
            per_second: 0,
            burst: 1,
        };
        let mut shedding = Shedding {
            rate: lower,
            base,
            bucket: Bucket::new(unlimited, now),
            before: seen.queue,
            calm: 0,
        };
        shedding.fit_bucket(now);
        self.shedding = Some(shedding);
    }
}

/// What an interval has shown. Rates in thousandths a second.
#[derive(Debug, Default)]
struct Seen {
    over: bool,
    crowded: bool,
    /// The standing queue.
    queue: Duration,
    refused: u64,
    let_in: u64,
    /// What was let in and what was refused.
    offered: u64,
}

impl Seen {
    /// A queue that is shorter than before by a good part is being worked off.
    fn shortens(&self, before: Duration) -> bool {
        self.queue < before / 8 * 7
    }
}

impl Shedding {
    fn adjust(&mut self, seen: &Seen, intervals: u32, floor: u64) {
        let shortens = seen.shortens(self.before);
        self.before = seen.queue;
        self.calm = match (seen.over, seen.refused) {
            (false, 0) => self.calm.saturating_add(intervals),
            _ => 0,
        };
        self.rate = match (seen.over, shortens) {
            // The last step down was enough.
            (true, true) => self.rate,
            (true, false) => down(self.rate).max(floor),
            (false, _) => {
                let step = (self.base * UP_BY / 100).max(1_000);
                let climbed = step
                    .saturating_mul(u64::from(intervals))
                    .saturating_add(self.rate);
                let most = seen.offered.saturating_mul(HEADROOM).max(self.base);
                climbed.min(most.max(self.rate))
            }
        };
    }

    /// Lets the bucket go by the rate, in what flows in and in what may come at once.
    fn fit_bucket(&mut self, now: Timestamp) {
        let burst = (self.rate / 1_000).saturating_mul(BURST_MILLIS) / 1_000;
        self.bucket.set_rate(self.rate, now);
        self.bucket
            .set_burst(u32::try_from(burst).unwrap_or(u32::MAX));
    }
}

const fn down(rate: u64) -> u64 {
    rate / 100 * DOWN_TO
}

fn per_second(count: u64, within: Duration) -> u64 {
    let millis = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
    count.saturating_mul(1_000_000) / millis.max(1)
}

#[cfg(test)]
mod tests;
