//! One relay in one round: everything that is measured of it.
//!
//! ```text
//!   start, prove ─► flat out ─► search for the no-drop rate ─► twice that rate ─► half of it ─► end
//!                   overload     zero-loss rate                 overload           latency
//! ```

use serde::Serialize;
use tandem_load::report::{Latency, Limit, Machine, Packets, Run, Trial};

use crate::cpu::Usage;
use crate::error::Error;
use crate::load::{Search, Task, Tool, only_trial};
use crate::peers::{Peer, Relay, Terms};
use crate::topology::{Plan, Topology};

/// How long each part takes.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Times {
    /// Each trial of the search, in seconds.
    pub(crate) trial: f64,
    /// Further attempts at a rate that failed.
    pub(crate) retries: u32,
    /// How exact the search is, in per cent.
    pub(crate) resolution: f64,
    /// Each overload, in seconds.
    pub(crate) overload: f64,
    /// The measurement of latency, in seconds.
    pub(crate) latency: f64,
}

/// What was found of a relay in a round.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Measured {
    /// The highest rate of a trial without loss, packets a second of both directions together.
    pub(crate) zero_loss_pps: u64,
    /// What kept it from being higher; `generator` means that the relay may be able to carry more.
    pub(crate) limited_by: Option<Limit>,
    /// The highest rate at which packets came through in any trial.
    pub(crate) peak_pps: f64,
    /// Sent as fast as it goes.
    pub(crate) flat_out: Option<Overload>,
    /// Sent at twice the zero-loss rate.
    pub(crate) twice: Option<Overload>,
    /// Sent at half of the zero-loss rate.
    pub(crate) half: Option<Half>,
    /// All trials in the order in which they were made.
    pub(crate) sweep: Vec<Point>,
}

/// More than the relay can carry.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Overload {
    /// Packets a second that were asked for; 0 is as fast as it goes.
    pub(crate) asked_pps: u64,
    /// Packets a second that were sent.
    pub(crate) sent_pps: f64,
    /// Packets a second that came through.
    pub(crate) received_pps: f64,
    /// Whether the generator could not send what was asked for.
    pub(crate) generator_short: bool,
    /// Who spent processor time.
    pub(crate) cpu: Usage,
}

/// What the relay does with time to spare.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Half {
    /// Packets a second that were sent.
    pub(crate) rate_pps: u64,
    /// Packets that were lost.
    pub(crate) lost: u64,
    /// Of both directions.
    pub(crate) latency_ns: Latency,
    /// Who spent processor time.
    pub(crate) cpu: Usage,
}

/// One trial of the sweep.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Point {
    /// Packets a second that were asked for; 0 is as fast as it goes.
    pub(crate) rate_pps: u64,
    /// Packets a second that were sent.
    pub(crate) sent_pps: f64,
    /// Packets a second that came through.
    pub(crate) received_pps: f64,
    /// Packets that were lost.
    pub(crate) lost: u64,
    /// Packets that arrived other than they must.
    pub(crate) harmed: u64,
    /// The trial passed: nothing was lost or harmed, and all was sent in time.
    pub(crate) passed: bool,
    /// 99 % came through within this.
    pub(crate) p99_ns: u64,
}

/// What was found, and by what.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// The figures.
    pub(crate) measured: Measured,
    /// The machine, as the load tool sees it.
    pub(crate) machine: Machine,
    /// The packets.
    pub(crate) packets: Packets,
}

/// Of what was sent flat out so much came through that another attempt may bring all of it: what is missing may have
/// been lost to a stall of the machine.
const NEARLY: f64 = 0.98;
/// Where the search begins, as a share of what came through flat out. Relays that fall over when overloaded bring
/// little through then, so that a wrong belief costs them the trial at it and a second search.
const BELIEVED: f64 = 0.3;
/// Where a second search begins, packets a second: some 10 calls.
const LOWEST: u64 = 1000;

/// Measures a relay: a network of its own, from the beginning to the end. `say` is told what is being done.
pub(crate) fn measure(
    peer: Peer,
    plan: &Plan,
    terms: &Terms,
    tool: &Tool,
    times: &Times,
    say: &mut dyn FnMut(&str),
) -> Result<Found, Error> {
    let work = tempfile::Builder::new()
        .prefix("tandembench.")
        .tempdir()
        .map_err(|error| Error::system("a temporary directory", error))?;
    let work = work.path();
    say("starts");
    let topology = Topology::new(plan)?;
    let mut relay = Relay::start(peer, &topology, terms, work, &tool.stop)?;
    let mut use_tool = |task| tool.run(peer, &mut relay, &topology, work, task);

    say("flat out");
    let mut sweep = Vec::new();
    let mut attempt = 0;
    let (trial, cpu, machine, packets) = loop {
        let (run, cpu) = use_tool(Task::FlatOut(times.overload))?;
        let (machine, packets) = (run.machine.clone(), run.packets.clone());
        let trial = only_trial(run)?;
        sweep.push(Point::of(&trial));
        attempt += 1;
        let nearly = trial.received_pps > NEARLY * trial.sent_pps;
        if trial.passed || !nearly || attempt > times.retries {
            break (trial, cpu, machine, packets);
        }
    };
    let flat_out = Overload::of(&trial, cpu);

    let (zero_loss_pps, limited_by) = if trial.passed {
        // Nothing was lost of all that one core can send: there is no higher rate to search for.
        (trial.sent_pps as u64, Some(Limit::Generator))
    } else {
        say("zero-loss rate");
        let mut trials = |search| -> Result<Run, Error> {
            let (run, _) = use_tool(Task::Search(search))?;
            sweep.extend(run.trials.iter().map(Point::of));
            Ok(run)
        };
        search(&trial, times, &mut trials)?
    };

    // With many flows installed the rate alone is asked for; without a rate there is no multiple of it.
    let (mut twice, mut half) = (None, None);
    if zero_loss_pps > 1 && peer != Peer::TandemManyFlows {
        say("twice that rate");
        let (run, cpu) = use_tool(Task::Rate(2 * zero_loss_pps, times.overload))?;
        let trial = only_trial(run)?;
        sweep.push(Point::of(&trial));
        twice = Some(Overload::of(&trial, cpu));

        say("latency at half of it");
        let (run, cpu) = use_tool(Task::Rate(zero_loss_pps / 2, times.latency))?;
        let trial = only_trial(run)?;
        sweep.push(Point::of(&trial));
        half = Some(Half {
            rate_pps: trial.rate_pps,
            lost: trial.lost,
            latency_ns: trial.latency_ns,
            cpu,
        });
    }
    let peak_pps = sweep
        .iter()
        .map(|point| point.received_pps)
        .fold(0.0, f64::max);
    Ok(Found {
        measured: Measured {
            zero_loss_pps,
            limited_by,
            peak_pps,
            flat_out: Some(flat_out),
            twice,
            half,
            sweep,
        },
        machine,
        packets,
    })
}

/// Searches the zero-loss rate of a relay of which a trial flat out is known.
fn search(
    flat_out: &Trial,
    times: &Times,
    run: &mut dyn FnMut(Search) -> Result<Run, Error>,
) -> Result<(u64, Option<Limit>), Error> {
    // More than was sent cannot be relayed, and a good part of what came through is believed to pass. Where it does
    // not, everything below is searched.
    let most = (flat_out.sent_pps as u64).max(2);
    let believed = (flat_out.received_pps * BELIEVED) as u64;
    let first = Search {
        low: believed.clamp(1, most),
        high: most,
        trial: times.trial,
        retries: times.retries,
        resolution: times.resolution,
    };
    let mut found = run(first)?;
    if found.ndr_pps == Some(0) && first.low > LOWEST {
        found = run(Search {
            low: LOWEST,
            high: first.low,
            ..first
        })?;
    }
    Ok((found.ndr_pps.unwrap_or(0), found.ndr_limited_by))
}

impl Overload {
    /// What a packet costs the relay itself: the time that its core spent, but for softirqs, by the packets that came
    /// through, in nanoseconds. Where the sender receives for the other end, as over veth, the softirqs on the relay's
    /// core are the sink's. Only of a relay that is a process; one that spins when it has time to spare seems dearer
    /// than it is.
    pub(crate) fn own_ns(&self) -> Option<f64> {
        self.cpu.relay_process?;
        let share = self.cpu.relay_core - self.cpu.relay_core_softirq;
        (self.received_pps > 0.0 && share > 0.0).then(|| share * 1e9 / self.received_pps)
    }

    fn of(trial: &Trial, cpu: Usage) -> Self {
        Self {
            asked_pps: trial.rate_pps,
            sent_pps: trial.sent_pps,
            received_pps: trial.received_pps,
            generator_short: trial.generator_short,
            cpu,
        }
    }
}

impl Point {
    fn of(trial: &Trial) -> Self {
        Self {
            rate_pps: trial.rate_pps,
            sent_pps: trial.sent_pps,
            received_pps: trial.received_pps,
            lost: trial.lost,
            harmed: trial.corrupt
                + trial.wrong_address
                + trial.wrong_checksum
                + trial.wrong_ttl
                + trial.wrong_dscp
                + trial.duplicated
                + trial.unknown,
            passed: trial.passed,
            p99_ns: trial.latency_ns.p99,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: Times = Times {
        trial: 2.0,
        retries: 2,
        resolution: 2.0,
        overload: 2.0,
        latency: 4.0,
    };

    /// What is found of a relay that carries `capacity` but for a share of it when overloaded, and where searches
    /// began.
    fn found(capacity: u64, overloaded: f64) -> (u64, Vec<(u64, u64)>) {
        let flat_out = Trial {
            sent_pps: 500_000.0,
            received_pps: overloaded,
            ..Trial::default()
        };
        let mut searches = Vec::new();
        let mut run = |search: Search| {
            searches.push((search.low, search.high));
            let passes = search.low <= capacity;
            Ok(Run {
                ndr_pps: Some(if passes { capacity.min(search.high) } else { 0 }),
                ..Run::default()
            })
        };
        let (rate, _) = super::search(&flat_out, &TIMES, &mut run).expect("trials");
        (rate, searches)
    }

    #[test]
    fn what_the_sink_costs_is_not_the_relays() {
        let mut overload = Overload {
            asked_pps: 0,
            sent_pps: 900_000.0,
            received_pps: 800_000.0,
            generator_short: false,
            cpu: Usage {
                relay_process: Some(0.9),
                relay_core: 1.0,
                relay_core_softirq: 0.6,
                ..Usage::default()
            },
        };
        assert_eq!(overload.own_ns().map(f64::round), Some(500.0));
        overload.cpu.relay_process = None;
        assert_eq!(overload.own_ns(), None, "it works elsewhere");
    }

    #[test]
    fn the_search_lies_between_what_came_through_and_what_was_sent() {
        let (rate, searches) = found(200_000, 190_000.0);
        assert_eq!(rate, 200_000);
        assert_eq!(searches, [(57_000, 500_000)]);
    }

    #[test]
    fn a_wrong_belief_is_corrected() {
        let (rate, searches) = found(30_000, 200_000.0);
        assert_eq!(rate, 30_000);
        assert_eq!(searches, [(60_000, 500_000), (1_000, 60_000)]);
        assert_eq!(found(0, 200_000.0).0, 0);
    }

    #[test]
    fn a_relay_that_falls_over_is_searched_from_where_it_lies() {
        let (rate, searches) = found(30_000, 0.0);
        assert_eq!((rate, searches.len()), (30_000, 1));
    }
}
