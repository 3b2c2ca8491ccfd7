//! What came of it, as plain data, as a table, and as a verdict.
//!
//! Fields stay: new ones may come, none changes its meaning.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use terminal::table::{Columns, or_dash, properties};
use terminal::units::spell_nanos;

use crate::report::table::machine;
use crate::report::{Latency, Machine};

/// What `--check` asks of the first target.
const COMMANDS_PER_SECOND: f64 = 5_000.0;
const P99_NS: u64 = 10_000_000;

/// A run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NgRun {
    /// `tandem-load`.
    pub tool: String,
    /// The tool's version.
    pub version: String,
    /// `ng`.
    pub command: String,
    /// Where it ran.
    pub machine: Machine,
    /// What was asked.
    pub load: NgShape,
    /// One target after the other.
    pub trials: Vec<NgTrial>,
    /// Commands a second of the first target by those of each other, by its name.
    pub ratios: BTreeMap<String, f64>,
    /// Whether it ended before it was done (Ctrl-C).
    pub interrupted: bool,
}

/// How hard it was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NgShape {
    /// Clients, each with a socket.
    pub clients: u16,
    /// Calls of each under way at a time.
    pub window: u16,
    /// How long calls were started.
    pub seconds: u32,
}

/// One target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NgTrial {
    /// What it is called.
    pub name: String,
    /// Where it listens.
    pub target: String,
    /// From the first request to the last reply.
    pub seconds: f64,
    /// Requests that were answered.
    pub commands: u64,
    /// The same, by `seconds`.
    pub commands_per_second: f64,
    /// Calls that came to their end.
    pub calls: u64,
    /// From the first sending of a request to its reply.
    pub latency_ns: Latency,
    /// The same of each command.
    pub by_command_ns: BTreeMap<String, Latency>,
    /// Requests sent again after a second without a reply.
    pub retransmissions: u64,
    /// Requests that were never answered.
    pub lost: u64,
    /// Datagrams that answer nothing that was asked, or a second time.
    pub strays: u64,
    /// Replies that are errors, or lack what they must have, by command and reason.
    pub errors: BTreeMap<String, u64>,
    /// Calls that it still lists at the end, as far as it lists them.
    pub sessions_left: u64,
    /// Media ports that it still uses at the end.
    pub ports_left: u64,
    /// Processor time of its process meanwhile, all threads; null: not known.
    pub processor_seconds: Option<f64>,
    /// Processor time of its first thread, tandem's control thread.
    pub control_seconds: Option<f64>,
}

impl NgTrial {
    fn errors(&self) -> u64 {
        self.errors.values().sum()
    }
}

/// Commands a second of the first trial by those of each other.
pub(super) fn ratios(trials: &[NgTrial]) -> BTreeMap<String, f64> {
    let Some((first, others)) = trials.split_first() else {
        return BTreeMap::new();
    };
    let measured = others.iter().filter(|other| other.commands > 0);
    let ratio = |other: &NgTrial| {
        let ratio = first.commands_per_second / other.commands_per_second;
        (other.name.clone(), (ratio * 1000.0).round() / 1000.0)
    };
    measured.map(ratio).collect()
}

/// Why the first target does not meet what `--check` asks.
pub(super) fn shortfalls(run: &NgRun) -> Vec<String> {
    let Some(trial) = run.trials.first() else {
        return vec!["nothing was measured".to_owned()];
    };
    let name = &trial.name;
    let p99 = spell_nanos(trial.latency_ns.p99);
    [
        (
            trial.commands_per_second < COMMANDS_PER_SECOND,
            format!("{name}: {:.0} commands a second", trial.commands_per_second),
        ),
        (trial.latency_ns.p99 >= P99_NS, format!("{name}: p99 {p99}")),
        (
            trial.errors() > 0,
            format!("{name}: {} errors", trial.errors()),
        ),
        (
            trial.lost > 0,
            format!("{name}: {} requests lost", trial.lost),
        ),
        (
            trial.sessions_left + trial.ports_left > 0,
            format!(
                "{name}: left {} calls and {} ports",
                trial.sessions_left, trial.ports_left
            ),
        ),
    ]
    .into_iter()
    .filter_map(|(short, sentence)| short.then_some(sentence))
    .collect()
}

/// As people read it.
pub(super) fn render(run: &NgRun) -> String {
    let load = &run.load;
    let mut text = properties(&[
        ("machine", machine(&run.machine)),
        (
            "load",
            format!(
                "{} clients, {} calls of each at a time, {} s; offer, answer, query, delete",
                load.clients, load.window, load.seconds
            ),
        ),
    ]);
    text.push('\n');
    text.push_str(&trials(&run.trials));
    for trial in &run.trials {
        for (kind, count) in &trial.errors {
            text.push_str(&format!("{}: {count} times {kind}\n", trial.name));
        }
    }
    if let Some(first) = run.trials.first().filter(|_| !run.ratios.is_empty()) {
        text.push('\n');
        for (other, ratio) in &run.ratios {
            text.push_str(&format!(
                "{}: {ratio:.2} times the commands a second of {other}\n",
                first.name
            ));
        }
    }
    if run.interrupted {
        text.push_str("\ninterrupted\n");
    }
    text
}

fn trials(trials: &[NgTrial]) -> String {
    let mut columns = Columns::new(&[
        "target",
        "of",
        ">commands/s",
        ">p50",
        ">p99",
        ">p99.9",
        ">max",
        ">errors",
        ">sent again",
        ">lost",
        ">left",
        ">cpu",
        ">control cpu",
    ]);
    let figures =
        |latency: &Latency| [latency.p50, latency.p99, latency.p99_9, latency.max].map(spell_nanos);
    for trial in trials {
        let share = |seconds: Option<f64>| {
            or_dash(seconds.map(|spent| format!("{:.0} %", 100.0 * spent / trial.seconds)))
        };
        let [p50, p99, p99_9, max] = figures(&trial.latency_ns);
        columns.row([
            trial.name.clone(),
            "all".to_owned(),
            format!("{:.0}", trial.commands_per_second),
            p50,
            p99,
            p99_9,
            max,
            trial.errors().to_string(),
            trial.retransmissions.to_string(),
            trial.lost.to_string(),
            (trial.sessions_left + trial.ports_left).to_string(),
            share(trial.processor_seconds),
            share(trial.control_seconds),
        ]);
        for (command, latency) in &trial.by_command_ns {
            let [p50, p99, p99_9, max] = figures(latency);
            let rate = format!("{:.0}", latency.count as f64 / trial.seconds);
            let cells = [String::new(), command.clone(), rate, p50, p99, p99_9, max];
            let empty = std::iter::repeat_n(String::new(), 6);
            columns.row(cells.into_iter().chain(empty));
        }
    }
    columns.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(name: &str, rate: f64) -> NgTrial {
        NgTrial {
            name: name.to_owned(),
            seconds: 2.0,
            commands: (2.0 * rate) as u64,
            commands_per_second: rate,
            latency_ns: Latency {
                count: (2.0 * rate) as u64,
                p99: 9_000_000,
                ..Latency::default()
            },
            ..NgTrial::default()
        }
    }

    fn run(trials: Vec<NgTrial>) -> NgRun {
        let ratios = ratios(&trials);
        NgRun {
            trials,
            ratios,
            ..NgRun::default()
        }
    }

    #[test]
    fn the_first_is_compared_with_each_other() {
        let run = run(vec![trial("tandem", 6000.0), trial("rtpengine", 4000.0)]);
        assert_eq!(run.ratios["rtpengine"], 1.5);
        let text = render(&run);
        let said = "tandem: 1.50 times the commands a second of rtpengine\n";
        assert!(text.contains(said), "{text}");
        assert_eq!(
            ratios(&[trial("tandem", 1.0), trial("silent", 0.0)]).len(),
            0
        );
    }

    #[test]
    fn what_is_too_little_is_said() {
        assert_eq!(shortfalls(&run(vec![trial("tandem", 5000.0)])), [""; 0]);
        assert_eq!(shortfalls(&run(Vec::new())).len(), 1);
        let mut bad = trial("tandem", 4999.0);
        bad.latency_ns.p99 = P99_NS;
        bad.lost = 1;
        bad.ports_left = 2;
        bad.errors.insert("offer: no".to_owned(), 3);
        assert_eq!(shortfalls(&run(vec![bad.clone()])).len(), 5);
        let text = render(&run(vec![bad]));
        assert!(text.contains("tandem: 3 times offer: no\n"), "{text}");
    }

    #[test]
    fn a_run_is_read_as_it_was_written() {
        let run = run(vec![trial("tandem", 6000.0), trial("rtpengine", 4000.0)]);
        let text = serde_json::to_string(&run).expect("plain data");
        assert_eq!(serde_json::from_str::<NgRun>(&text).expect("the same"), run);
    }
}
