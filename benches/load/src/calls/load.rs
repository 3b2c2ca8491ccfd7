//! A run under way: a callee that stays, a caller for each rate, and the clock that bounds them.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use terminal::progress::Progress;

use super::args::{CallsArgs, Place};
use super::delays::Delays;
use super::execute::CallsError;
use super::proc;
use super::report::{self, Callee, CallsRun, CallsTrial, Relay};
use super::scenario::Role;
use super::sipp::{self, Setup, Sipp, SippError};
use super::statistics::Row;
use super::timeline::Timeline;

/// How often SIPp is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// How long SIPp may take, in all, to end when it is told to. Told twice it sends a BYE for each call that is up,
/// and then does not end by itself.
const WIND_UP: Duration = Duration::from_secs(3);
/// How long SIPp may take to end without ending its calls, before it is told to end these too.
const GENTLY: Duration = Duration::from_secs(1);
/// How long SIPp has to find that its port cannot be bound.
const BINDING: Duration = Duration::from_millis(600);

/// A run.
pub(super) struct Load<'a> {
    args: &'a CallsArgs,
    directory: &'a Path,
    stop: &'a AtomicBool,
    line: Progress<io::Stderr>,
    run: CallsRun,
    timeline: Timeline,
}

/// The end of a SIPp that does not end by itself: told once to take no more calls, then to end those
/// that are up, then killed.
#[derive(Default)]
struct Ending {
    began: Option<Instant>,
    urged: bool,
}

impl Ending {
    /// Whether it is time to kill it.
    fn is_over(&mut self, sipp: &Sipp) -> Result<bool, SippError> {
        match self.began {
            None => {
                self.began = Some(Instant::now());
                sipp.wind_up()?;
            }
            Some(began) if began.elapsed() >= WIND_UP => return Ok(true),
            Some(began) if began.elapsed() >= GENTLY && !self.urged => {
                self.urged = true;
                sipp.wind_up()?;
            }
            Some(_) => {}
        }
        Ok(false)
    }
}

/// Where the counters that go on stood when a trial began.
struct Before {
    callee: Option<(Row, f64)>,
    relay_kb: u64,
    control_seconds: f64,
}

impl<'a> Load<'a> {
    pub(super) fn new(
        args: &'a CallsArgs,
        directory: &'a Path,
        stop: &'a AtomicBool,
        run: CallsRun,
    ) -> Self {
        Self {
            args,
            directory,
            stop,
            line: Progress::on_stderr(),
            run,
            timeline: Timeline::default(),
        }
    }

    pub(super) fn run(mut self, caller: Option<Place>) -> Result<CallsRun, CallsError> {
        let mut callee = self.args.callee_listen.map(|place| self.callee(place));
        let mut callee = callee.take().transpose()?;
        match (caller, &mut callee) {
            (Some(place), callee) => {
                for (index, rate) in self.args.rates.iter().enumerate() {
                    if self.stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let trial = self.trial(place, callee.as_mut(), index, *rate)?;
                    self.run.trials.push(trial);
                }
                self.run.interrupted = self.stop.load(Ordering::Relaxed);
            }
            (None, Some(callee)) => {
                let trial = self.answer(callee)?;
                self.run.trials.push(trial);
            }
            (None, None) => {}
        }
        self.line.clear();
        if let Some(mut callee) = callee {
            self.end(&mut callee)?;
        }
        self.run.timeline = self.timeline.seconds;
        Ok(self.run)
    }

    /// A SIPp that answers until it is told to end.
    fn callee(&self, place: Place) -> Result<Sipp, CallsError> {
        let mut sipp = Sipp::start(&Setup {
            role: Role::Callee,
            place,
            netns: self.args.callee_netns.as_deref(),
            core: self.args.core.as_deref(),
            audio: self.args.audio,
            directory: self.directory.join("callee"),
            more: Vec::new(),
        })?;
        let start = Instant::now();
        while start.elapsed() < BINDING {
            self.must_run(&mut sipp)?;
            thread::sleep(LOOK / 4);
        }
        Ok(sipp)
    }

    fn must_run(&self, callee: &mut Sipp) -> Result<(), SippError> {
        match callee.runs()? {
            true => Ok(()),
            false => Err(callee.died("no reason".to_owned())),
        }
    }

    /// Ends a SIPp, its calls too.
    fn end(&self, sipp: &mut Sipp) -> Result<(), SippError> {
        let mut ending = Ending::default();
        while sipp.runs()? {
            if ending.is_over(sipp)? {
                break;
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Calls at one rate.
    fn trial(
        &mut self,
        place: Place,
        mut callee: Option<&mut Sipp>,
        index: usize,
        rate: u32,
    ) -> Result<CallsTrial, CallsError> {
        let args = self.args;
        let before = self.before(callee.as_deref_mut())?;
        let length = Duration::from_millis(args.length_ms(rate));
        let starting = Duration::from_secs(args.seconds.into());
        let bound = starting + length + Duration::from_secs(args.patience.into());
        let mut sipp = Sipp::start(&self.caller(place, index, rate, bound))?;
        let mut delays = Delays::new(sipp.log());
        let mut trial = CallsTrial {
            rate_cps: rate,
            seconds: f64::from(args.seconds),
            length_seconds: length.as_secs_f64(),
            concurrent_limit: args.limit(rate),
            ..CallsTrial::default()
        };
        let start = Instant::now();
        let (mut ending, mut shown) = (Ending::default(), None);
        self.timeline.begin();
        loop {
            let runs = sipp.runs()?;
            if let Some(callee) = callee.as_deref_mut() {
                self.must_run(callee)?;
            }
            let rows = sipp.statistics.rows().map_err(CallsError::Unreadable)?;
            self.timeline.take(&rows, rate, args.seconds);
            trial.concurrent = rows
                .iter()
                .map(|row| row.up)
                .fold(trial.concurrent, u64::max);
            delays.read().map_err(CallsError::Unreadable)?;
            let elapsed = start.elapsed();
            fill(&mut trial, &sipp, &delays, elapsed);
            self.fill_relay(&mut trial, &before, elapsed);
            if !runs {
                break;
            }
            if shown != Some(elapsed.as_secs()) {
                shown = Some(elapsed.as_secs());
                let second = self.timeline.last();
                let line = report::progress(elapsed.as_secs_f64(), args.seconds, &second, &trial);
                self.line.show(&line);
            }
            let late = elapsed >= bound || self.stop.load(Ordering::Relaxed);
            if late && ending.is_over(&sipp)? {
                break;
            }
            thread::sleep(LOOK);
        }
        self.timeline.end(rate, args.seconds);
        self.settle(&mut trial);
        trial.outstanding = trial.offered.saturating_sub(trial.completed + trial.failed);
        trial.responses = sipp::unexpected(&self.directory.join(directory_of(index, rate)));
        if let Some(callee) = callee {
            // Its statistics come once a second.
            thread::sleep(Duration::from_millis(1100));
            trial.callee = Some(self.callees_part(callee, &before, start.elapsed())?);
        }
        let asked = u64::from(rate) * u64::from(args.seconds);
        let slow = trial.offered_cps < 0.95 * f64::from(rate) && asked > 20;
        trial.generator_short = trial.offered < asked || slow;
        trial.passed = trial.failed == 0 && trial.outstanding == 0 && !trial.generator_short;
        Ok(trial)
    }

    fn caller(&self, place: Place, index: usize, rate: u32, bound: Duration) -> Setup<'a> {
        let args = self.args;
        let calls = u64::from(rate) * u64::from(args.seconds);
        // SIPp's own clock ends it, should nobody else be left to.
        let last = (bound + 2 * WIND_UP).as_secs();
        let target = args.target.map(|target| target.to_string());
        let mut more: Vec<_> = target.into_iter().collect();
        for (option, value) in [
            ("-s", args.number.clone()),
            ("-r", rate.to_string()),
            ("-m", calls.to_string()),
            ("-l", args.limit(rate).to_string()),
            ("-d", args.length_ms(rate).to_string()),
            ("-timeout", format!("{last}s")),
        ] {
            more.extend([option.to_owned(), value]);
        }
        Setup {
            role: Role::Caller,
            place,
            netns: args.caller_netns.as_deref(),
            core: args.core.as_deref(),
            audio: args.audio,
            directory: self.directory.join(directory_of(index, rate)),
            more,
        }
    }

    fn before(&self, callee: Option<&mut Sipp>) -> Result<Before, CallsError> {
        let pid = self.args.relay_pid;
        let callee = match callee {
            Some(callee) => {
                self.must_run(callee)?;
                callee.statistics.rows().map_err(CallsError::Unreadable)?;
                Some((callee.statistics.last.clone(), callee.processor_seconds))
            }
            None => None,
        };
        Ok(Before {
            callee,
            relay_kb: pid.and_then(proc::resident_kb).unwrap_or(0),
            control_seconds: pid.and_then(proc::first_thread_seconds).unwrap_or(0.0),
        })
    }

    /// What the relay's process costs by now. Of one that has gone, the last that was seen.
    fn fill_relay(&self, trial: &mut CallsTrial, before: &Before, elapsed: Duration) {
        let Some(pid) = self.args.relay_pid else {
            return;
        };
        let relay = trial.relay.get_or_insert_with(|| Relay {
            resident_before_kb: before.relay_kb,
            ..Relay::default()
        });
        if let Some(resident) = proc::resident_kb(pid) {
            relay.resident_after_kb = resident;
            relay.resident_peak_kb = relay.resident_peak_kb.max(resident);
            let grown = relay.resident_peak_kb.saturating_sub(before.relay_kb);
            relay.kb_per_call = match trial.concurrent {
                0 => 0.0,
                up => grown as f64 / up as f64,
            };
        }
        if let Some(seconds) = proc::first_thread_seconds(pid) {
            let spent = (seconds - before.control_seconds).max(0.0);
            relay.control_cpu = share(spent, elapsed);
            relay.control_us_per_call = match trial.offered {
                0 => 0.0,
                offered => 1e6 * spent / offered as f64,
            };
        }
    }

    /// Lets the relay forget the trial, and looks at its memory once more.
    fn settle(&self, trial: &mut CallsTrial) {
        let until = Instant::now() + Duration::from_secs(self.args.settle.into());
        while Instant::now() < until && !self.stop.load(Ordering::Relaxed) {
            thread::sleep(LOOK);
        }
        let resident = self.args.relay_pid.and_then(proc::resident_kb);
        if let Some((relay, resident)) = trial.relay.as_mut().zip(resident) {
            relay.resident_after_kb = resident;
        }
    }

    fn callees_part(
        &self,
        callee: &mut Sipp,
        before: &Before,
        elapsed: Duration,
    ) -> Result<Callee, CallsError> {
        self.must_run(callee)?;
        callee.statistics.rows().map_err(CallsError::Unreadable)?;
        let now = &callee.statistics.last;
        let (then, seconds) = before.callee.clone().unwrap_or_default();
        Ok(Callee {
            received: now.created.saturating_sub(then.created),
            completed: now.successful.saturating_sub(then.successful),
            failed: now.failed.saturating_sub(then.failed),
            retransmissions: now.retransmissions.saturating_sub(then.retransmissions),
            sipp_cpu: share(callee.processor_seconds - seconds, elapsed),
        })
    }

    /// Answers until it is told to stop.
    fn answer(&mut self, callee: &mut Sipp) -> Result<CallsTrial, CallsError> {
        let start = Instant::now();
        let mut trial = CallsTrial::default();
        let (mut ending, mut shown) = (Ending::default(), None);
        let delays = Delays::new(callee.log());
        self.timeline.begin();
        loop {
            let stopped = self.stop.load(Ordering::Relaxed);
            let runs = match stopped {
                true => callee.runs()?,
                false => self.must_run(callee).map(|()| true)?,
            };
            let rows = callee.statistics.rows().map_err(CallsError::Unreadable)?;
            self.timeline.take(&rows, 0, 0);
            trial.concurrent = rows
                .iter()
                .map(|row| row.up)
                .fold(trial.concurrent, u64::max);
            let elapsed = start.elapsed();
            fill(&mut trial, callee, &delays, elapsed);
            trial.answered = trial.offered;
            if !runs || (stopped && ending.is_over(callee)?) {
                break;
            }
            if shown != Some(elapsed.as_secs()) {
                shown = Some(elapsed.as_secs());
                let second = self.timeline.last();
                let line = report::progress(elapsed.as_secs_f64(), 0, &second, &trial);
                self.line.show(&line);
            }
            thread::sleep(LOOK);
        }
        self.timeline.end(0, 0);
        trial.seconds = start.elapsed().as_secs_f64();
        trial.outstanding = trial.offered.saturating_sub(trial.completed + trial.failed);
        trial.passed = trial.failed == 0 && trial.outstanding == 0;
        Ok(trial)
    }
}

/// The directory of a caller, below that of the run.
fn directory_of(index: usize, rate: u32) -> String {
    format!("caller-{}-{rate}", index + 1)
}

fn share(seconds: f64, elapsed: Duration) -> f64 {
    seconds.max(0.0) / elapsed.as_secs_f64().max(1e-3)
}

/// What SIPp and its log say by now.
fn fill(trial: &mut CallsTrial, sipp: &Sipp, delays: &Delays, elapsed: Duration) {
    let row = &sipp.statistics.last;
    trial.offered = row.created;
    trial.completed = row.successful;
    trial.failed = row.failed;
    trial.failures = row.failures.clone();
    trial.retransmissions = row.retransmissions;
    trial.answered = delays.answered();
    trial.offered_cps = delays.rate();
    trial.post_dial_delay_ns = delays.post_dial();
    trial.answer_delay_ns = delays.answer();
    trial.sipp_cpu = share(sipp.processor_seconds, elapsed);
}
