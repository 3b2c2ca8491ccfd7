//! Trials on real devices: the threads with their wires and loads, started for each trial and put together after it.

use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use core_affinity::CoreId;

use crate::churn::Feed;
use crate::engine::{Control, Load, OpenDevice, Outcome, Plan, Speed, XskWire};
use crate::report::{Observer, Progress, Trial};
use crate::trial;
use crate::verify::Expectations;

/// How often whoever watches is told.
const TICK: Duration = Duration::from_millis(200);
/// How often a thread's end is looked for.
const POLL: Duration = Duration::from_millis(5);

/// A thread's devices, its share of the load and its core.
pub struct Lane {
    /// Its sockets.
    pub wire: XskWire,
    /// Its flows.
    pub load: Load,
    /// Its share of all flows.
    pub share: f64,
    /// Where it runs.
    pub core: usize,
}

/// Everything that trials are made with.
pub struct Rig<'a> {
    /// One for each thread.
    pub lanes: Vec<Lane>,
    /// Their XDP programs stay as long as these.
    pub devices: Vec<OpenDevice>,
    /// What must arrive.
    pub expectations: Expectations,
    /// Packets handed over at a time.
    pub batch: usize,
    /// The first packets of sessions that are opened while the trials go on; not in the warm-up.
    pub feed: Option<Feed>,
    /// Set when the run is to end.
    pub stop: &'a AtomicBool,
    /// The number of the next trial; 0 is the warm-up.
    pub next_trial: u32,
}

/// A trial and how it ended.
pub struct Ended {
    /// What was found.
    pub trial: Trial,
    /// Whether it was ended early.
    pub stopped: bool,
}

/// Why a trial could not be made.
#[derive(Debug, thiserror::Error)]
pub enum RigError {
    /// The devices.
    #[error(transparent)]
    Device(#[from] af_xdp::Error),
    /// The cores.
    #[error("cannot run on core {0}: there is none, or the process may not use it")]
    Core(usize),
}

impl Rig<'_> {
    /// Sends for so many seconds at a rate, or flat out.
    pub fn trial(
        &mut self,
        rate: Option<u64>,
        seconds: f64,
        observer: &mut dyn Observer,
    ) -> Result<Ended, RigError> {
        let number = self.next_trial;
        self.next_trial += 1;
        let control = Control::new(self.lanes.len(), self.stop);
        let (batch, expectations) = (self.batch, &self.expectations);
        let mut feed = self.feed.as_mut().filter(|_| number > 0);
        let outcomes = thread::scope(|scope| {
            let mut threads = Vec::with_capacity(self.lanes.len());
            for (thread, lane) in self.lanes.iter_mut().enumerate() {
                let plan = Plan {
                    trial: number,
                    speed: rate
                        .map_or(Speed::FlatOut, |rate| Speed::Rate(rate as f64 * lane.share)),
                    length: (seconds * 1e9) as u64,
                    batch,
                };
                let control = &control;
                // The first thread takes it.
                let feed = feed.take();
                threads.push(
                    scope.spawn(move || lane.run(expectations, &plan, control, thread, feed)),
                );
            }
            watch(&control, observer, (number, rate, seconds), || {
                threads.iter().all(|thread| thread.is_finished())
            });
            let joined = threads.into_iter().map(|thread| match thread.join() {
                Ok(outcome) => outcome,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            joined.collect::<Result<Vec<Outcome>, RigError>>()
        })?;
        Ok(Ended {
            trial: trial::summary(rate.unwrap_or(0), &outcomes),
            stopped: outcomes.iter().any(|outcome| outcome.stopped),
        })
    }
}

impl Lane {
    fn run(
        &mut self,
        expectations: &Expectations,
        plan: &Plan,
        control: &Control<'_>,
        thread: usize,
        feed: Option<&mut Feed>,
    ) -> Result<Outcome, RigError> {
        let pinned = core_affinity::set_for_current(CoreId { id: self.core });
        let outcome = match pinned {
            true => self
                .load
                .run(&mut self.wire, expectations, plan, control, thread, feed)
                .map_err(RigError::from),
            false => Err(RigError::Core(self.core)),
        };
        if outcome.is_err() {
            // The other threads would wait for what this one no longer sends.
            control.give_up(thread);
        }
        outcome
    }
}

fn watch(
    control: &Control<'_>,
    observer: &mut dyn Observer,
    (trial, rate, seconds): (u32, Option<u64>, f64),
    is_over: impl Fn() -> bool,
) {
    let start = Instant::now();
    let mut told = start;
    while !is_over() {
        thread::sleep(POLL);
        if told.elapsed() < TICK {
            continue;
        }
        told = Instant::now();
        let sums = control.sums();
        observer.progress(&Progress {
            trial: trial as usize,
            rate_pps: rate.unwrap_or(0),
            seconds,
            elapsed: start.elapsed().as_secs_f64(),
            warming_up: trial == 0,
            sent: sums.sent,
            received: sums.received,
            faults: sums.faults,
        });
    }
}
