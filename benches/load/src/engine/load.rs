//! One thread's share of the load, and the loop that sends it and verifies what arrives.

use super::control::Control;
use super::wire::Wire;
use crate::churn::Feed;
use crate::pace::Schedule;
use crate::packet::Side;
use crate::packet::build::Outgoing;
use crate::report::LATE_NS;
use crate::verify::{Expectations, Tally, Verifier};

/// How long packets may take to come back after the last one was sent.
const DRAIN_NS: u64 = 200_000_000;
/// How much longer than planned sending may take, as a share of the plan and at least, before what is left stays
/// unsent: what falls behind for longer is short of the rate, not held up for a moment.
const GRACE_SHARE: u64 = 50;
const GRACE_NS: u64 = 20_000_000;

/// How fast a thread sends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// Packets a second, both directions together.
    Rate(f64),
    /// As fast as they go. A packet is due when its batch is begun.
    FlatOut,
}

/// What a thread does in a trial.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// The trial's number; 0 is the warm-up.
    pub trial: u32,
    /// How fast.
    pub speed: Speed,
    /// For how long, in nanoseconds.
    pub length: u64,
    /// Packets handed over at a time, at the most.
    pub batch: usize,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What arrived.
    pub tally: Tally,
    /// Packets that were to be sent.
    pub asked: u64,
    /// Packets that were.
    pub sent: u64,
    /// Of these, more than [`LATE_NS`] late.
    pub late: u64,
    /// Frames that came back and found no room here.
    pub own_drops: u64,
    /// How long sending took, in nanoseconds; at least the plan's length.
    pub took: u64,
    /// Whether it was ended early.
    pub stopped: bool,
}

/// One thread's flows, by sender, in the order in which they are sent.
#[derive(Debug)]
pub struct Load {
    flows: [Vec<Outgoing>; 2],
    /// The next flow of each side.
    at: [usize; 2],
}

/// Due times, or none to keep.
enum Pacing {
    Scheduled([Schedule; 2]),
    FlatOut { end: u64 },
}

impl Load {
    /// Flows that A sends, and flows that B sends.
    pub fn new(flows: [Vec<Outgoing>; 2]) -> Self {
        Self { flows, at: [0; 2] }
    }

    /// A side's flows.
    #[cfg(test)]
    pub(super) fn flows_of(&self, side: Side) -> &[Outgoing] {
        &self.flows[side.index()]
    }

    /// Sends and verifies for one trial, as the thread of that number. `feed` has the first packets of sessions that
    /// are opened meanwhile.
    pub fn run<W: Wire>(
        &mut self,
        wire: &mut W,
        expectations: &Expectations,
        plan: &Plan,
        control: &Control<'_>,
        thread: usize,
        mut feed: Option<&mut Feed>,
    ) -> Result<Outcome, W::Error> {
        let dropped = wire.own_drops()?;
        let start = wire.now();
        let mut pacing = Pacing::new(plan, start);
        let asked = pacing.asked();
        let mut verifier = Verifier::new(expectations, plan.trial);
        let (mut sent, mut late) = (0, 0);
        let end = start + plan.length;
        let grace = (plan.length / GRACE_SHARE).max(GRACE_NS);
        let mut now = start;
        while !pacing.is_over(now) && now < end + grace && !control.is_stopped() {
            let mut worked = false;
            for side in Side::BOTH {
                let batch = self.send(wire, side, &mut pacing, plan, expectations.run())?;
                sent += batch.sent;
                late += batch.late;
                let arrived = receive(wire, &mut verifier)?;
                worked |= batch.sent + arrived > 0;
            }
            let counts = verifier.tally().counts;
            control.tell(thread, sent, counts.received, counts.faults());
            if let Some(feed) = &mut feed {
                feed.poll(wire, expectations)?;
            }
            wire.tend()?;
            if !worked {
                std::hint::spin_loop();
            }
            now = wire.now();
        }
        let took = now - start;
        let stopped = !pacing.is_over(now) && control.is_stopped();
        control.tell_sent_all(thread);
        while let Some(feed) = feed.as_mut().filter(|feed| feed.is_waiting()) {
            receive(wire, &mut verifier)?;
            feed.poll(wire, expectations)?;
            wire.tend()?;
        }
        drain(wire, &mut verifier, control, thread, sent)?;
        Ok(Outcome {
            tally: verifier.into_tally(),
            asked: asked.unwrap_or(sent),
            sent,
            late,
            own_drops: wire.own_drops()? - dropped,
            // Of a schedule the last interval belongs to it too.
            took: match stopped {
                false => took.max(plan.length),
                true => took,
            },
            stopped,
        })
    }

    /// Sends what of a side is due, a batch at the most.
    #[inline]
    fn send<W: Wire>(
        &mut self,
        wire: &mut W,
        side: Side,
        pacing: &mut Pacing,
        plan: &Plan,
        run: u32,
    ) -> Result<Batch, W::Error> {
        let flows = &mut self.flows[side.index()][..];
        let at = &mut self.at[side.index()];
        let now = wire.now();
        let count = match pacing {
            Pacing::Scheduled(schedules) => schedules[side.index()].due(now, plan.batch),
            Pacing::FlatOut { end } if now < *end => plan.batch,
            Pacing::FlatOut { .. } => 0,
        };
        if count == 0 || flows.is_empty() {
            return Ok(Batch::default());
        }
        let mut late = 0;
        let sent = wire.send(side, count, |frame| {
            let due = match pacing {
                Pacing::Scheduled(schedules) => schedules[side.index()].take(),
                Pacing::FlatOut { .. } => now,
            };
            late += u64::from(now.saturating_sub(due) > LATE_NS);
            let flow = *at;
            *at = if flow + 1 == flows.len() { 0 } else { flow + 1 };
            flows[flow].write_next(frame, run, plan.trial, due)
        })?;
        Ok(Batch {
            sent: sent as u64,
            late,
        })
    }
}

#[derive(Clone, Copy, Default)]
struct Batch {
    sent: u64,
    late: u64,
}

/// Verifies what has arrived at both sides.
#[inline]
fn receive<W: Wire>(wire: &mut W, verifier: &mut Verifier<'_>) -> Result<u64, W::Error> {
    let mut arrived = 0;
    for side in Side::BOTH {
        let now = wire.now();
        arrived += wire.receive(side, |frame| verifier.see(side, frame, now))?;
    }
    Ok(arrived as u64)
}

/// Receives until everything of all threads has arrived, or nothing is to be expected any more.
fn drain<W: Wire>(
    wire: &mut W,
    verifier: &mut Verifier<'_>,
    control: &Control<'_>,
    thread: usize,
    sent: u64,
) -> Result<(), W::Error> {
    let mut deadline = None;
    loop {
        receive(wire, verifier)?;
        wire.tend()?;
        let counts = verifier.tally().counts;
        control.tell(thread, sent, counts.received, counts.faults());
        let sums = control.sums();
        let now = wire.now();
        if !sums.all_sent {
            continue;
        }
        let over = *deadline.get_or_insert(now + DRAIN_NS);
        if sums.received >= sums.sent || now >= over {
            return Ok(());
        }
        std::hint::spin_loop();
    }
}

impl Pacing {
    fn new(plan: &Plan, start: u64) -> Self {
        match plan.speed {
            Speed::Rate(rate) => {
                let total = (rate * plan.length as f64 / 1e9).round() as u64;
                // Each side sends every other packet of the train.
                let of_side = |side: Side| {
                    let index = side.index() as u64;
                    let share = (total + 1 - index) / 2;
                    Schedule::new(start, rate / 2.0, index as f64 / 2.0, share)
                };
                Self::Scheduled(Side::BOTH.map(of_side))
            }
            Speed::FlatOut => Self::FlatOut {
                end: start + plan.length,
            },
        }
    }

    fn is_over(&self, now: u64) -> bool {
        match self {
            Self::Scheduled(schedules) => schedules.iter().all(Schedule::is_over),
            Self::FlatOut { end } => now >= *end,
        }
    }

    fn asked(&self) -> Option<u64> {
        match self {
            Self::Scheduled(schedules) => Some(schedules.iter().map(Schedule::total).sum()),
            Self::FlatOut { .. } => None,
        }
    }
}
