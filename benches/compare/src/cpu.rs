//! Who spends processor time: read from /proc while a trial runs.
//!
//! ```text
//!   sample ─ 200 ms ─ sample ─ 200 ms ─ sample …      each interval: share of a core
//! ```
//!
//! The median of the intervals is taken, so that the load tool's start and end, in which nothing is sent, do not
//! count.

use std::fs;
use std::time::{Duration, Instant};

use serde::Serialize;

/// How long an interval is: /proc counts in 10 ms.
pub(crate) const INTERVAL: Duration = Duration::from_millis(200);
/// /proc counts in hundredths of a second: USER_HZ, which is 100 on every architecture that Linux still supports.
const TICKS: f64 = 100.0;

/// Shares of one core, 0 to 1 (a process with several threads may have more).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Usage {
    /// The relay's process, user and system together; `None` where the relay is none.
    pub(crate) relay_process: Option<f64>,
    /// The relay's core: everything but idle, interrupts included.
    pub(crate) relay_core: f64,
    /// Of that, in interrupts and softirqs.
    pub(crate) relay_core_softirq: f64,
    /// The load tool's core.
    pub(crate) load_core: f64,
    /// Of that, in interrupts and softirqs: the relay's receive path, when NAPI runs at the sender.
    pub(crate) load_core_softirq: f64,
    /// What the hypervisor took of the relay's core.
    pub(crate) relay_core_stolen: f64,
}

/// Collects samples.
#[derive(Debug)]
pub(crate) struct Meter {
    process: Option<u32>,
    relay_core: usize,
    load_core: usize,
    last: Option<Sample>,
    intervals: Vec<Usage>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    process: Option<u64>,
    relay: Core,
    load: Core,
}

/// Ticks since the machine started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Core {
    busy: u64,
    softirq: u64,
    stolen: u64,
}

impl Meter {
    /// For a relay and two cores.
    pub(crate) fn new(process: Option<u32>, relay_core: usize, load_core: usize) -> Self {
        Self {
            process,
            relay_core,
            load_core,
            last: None,
            intervals: Vec::new(),
        }
    }

    /// Looks, if an interval has passed.
    pub(crate) fn look(&mut self, now: Instant) {
        if self
            .last
            .is_some_and(|last| now.duration_since(last.at) < INTERVAL)
        {
            return;
        }
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let process = self.process.and_then(|id| {
            let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
            process_ticks(&text)
        });
        let sample = Sample {
            at: now,
            process,
            relay: core_ticks(&stat, self.relay_core).unwrap_or_default(),
            load: core_ticks(&stat, self.load_core).unwrap_or_default(),
        };
        if let Some(last) = self.last.replace(sample) {
            self.intervals.push(usage(&last, &sample));
        }
    }

    /// The median of the intervals, of each share by itself.
    pub(crate) fn usage(&self) -> Usage {
        let of = |share: fn(&Usage) -> f64| {
            let mut shares: Vec<_> = self.intervals.iter().map(share).collect();
            shares.sort_by(f64::total_cmp);
            shares.get(shares.len() / 2).copied().unwrap_or(0.0)
        };
        Usage {
            relay_process: self
                .process
                .map(|_| of(|usage| usage.relay_process.unwrap_or(0.0))),
            relay_core: of(|usage| usage.relay_core),
            relay_core_softirq: of(|usage| usage.relay_core_softirq),
            load_core: of(|usage| usage.load_core),
            load_core_softirq: of(|usage| usage.load_core_softirq),
            relay_core_stolen: of(|usage| usage.relay_core_stolen),
        }
    }
}

fn usage(before: &Sample, after: &Sample) -> Usage {
    let ticks = after.at.duration_since(before.at).as_secs_f64() * TICKS;
    let share = |before: u64, after: u64| after.saturating_sub(before) as f64 / ticks;
    Usage {
        relay_process: before
            .process
            .zip(after.process)
            .map(|(before, after)| share(before, after)),
        relay_core: share(before.relay.busy, after.relay.busy),
        relay_core_softirq: share(before.relay.softirq, after.relay.softirq),
        load_core: share(before.load.busy, after.load.busy),
        load_core_softirq: share(before.load.softirq, after.load.softirq),
        relay_core_stolen: share(before.relay.stolen, after.relay.stolen),
    }
}

/// `utime` and `stime` of /proc/PID/stat, the 14th and 15th field; the second, the name, may have blanks.
fn process_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// `cpuN user nice system idle iowait irq softirq steal …` of /proc/stat.
fn core_ticks(stat: &str, core: usize) -> Option<Core> {
    let name = format!("cpu{core} ");
    let line = stat.lines().find_map(|line| line.strip_prefix(&name))?;
    let fields: Vec<u64> = line
        .split(' ')
        .map_while(|field| field.parse().ok())
        .collect();
    let &[user, nice, system, _idle, _iowait, irq, softirq, stolen, ..] = &fields[..] else {
        return None;
    };
    Some(Core {
        busy: user + nice + system + irq + softirq,
        softirq: irq + softirq,
        stolen,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_proc_are_found() {
        let line = "17 (a ) name) S 1 17 17 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 1 0 100";
        assert_eq!(process_ticks(line), Some(300));
        let stat = "cpu  9 9 9 9\ncpu0 1 2 3 4 5 6 7 8 0 0\ncpu1 10 0 0 0 0 0 0 0 0 0\n";
        let core = Core {
            busy: 19,
            softirq: 13,
            stolen: 8,
        };
        assert_eq!(core_ticks(stat, 0), Some(core));
        assert_eq!(core_ticks(stat, 2), None);
    }

    #[test]
    fn the_median_forgets_the_start() {
        let mut meter = Meter::new(Some(1), 1, 0);
        for (relay_process, relay_core) in
            [(0.0, 0.0), (0.5, 0.6), (0.5, 0.7), (0.6, 0.6), (0.0, 0.1)]
        {
            meter.intervals.push(Usage {
                relay_process: Some(relay_process),
                relay_core,
                ..Usage::default()
            });
        }
        assert_eq!(meter.usage().relay_process, Some(0.5));
        assert_eq!(meter.usage().relay_core, 0.6);
    }
}
