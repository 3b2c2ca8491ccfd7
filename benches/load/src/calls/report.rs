//! What a signalling load found: plain data, a table, a plot.
//!
//! ```text
//!   offered = completed + failed + outstanding      calls of one trial
//!   answered ⊇ completed                            200 to the INVITE; the whole call went well
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use terminal::table::{Columns, properties, spell_counts};
use terminal::units::{spell_count, spell_kilobytes, spell_nanos, spell_rate};

use crate::plot::{Heading, calls};
use crate::report::table::machine;
use crate::report::{Latency, Machine};

/// One run of `tandem-load calls`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CallsRun {
    /// `tandem-load`.
    pub tool: String,
    /// The tool's version.
    pub version: String,
    /// The subcommand: `calls`.
    pub command: String,
    /// Where it ran.
    pub machine: Machine,
    /// What the calls are like.
    pub calls: Shape,
    /// One trial for each rate.
    pub trials: Vec<CallsTrial>,
    /// All trials, second by second.
    pub timeline: Vec<Second>,
    /// Whether it ended before it was done (Ctrl-C).
    pub interrupted: bool,
}

/// What the calls are like.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Shape {
    /// Whom they were addressed to; `None` when calls were only answered.
    pub target: Option<String>,
    /// Where they came from.
    pub caller: Option<String>,
    /// Where they were answered, if by this run.
    pub callee: Option<String>,
    /// Whether the parties sent audio.
    pub audio: bool,
    /// SIPp's version.
    pub sipp: String,
}

/// Calls at one rate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CallsTrial {
    /// Calls a second asked for; 0 when calls were only answered.
    pub rate_cps: u32,
    /// How long calls were to be started, in seconds; how long they were answered, when only that was done.
    pub seconds: f64,
    /// How long each call was to talk, in seconds.
    pub length_seconds: f64,
    /// The bound on calls at a time.
    pub concurrent_limit: u32,
    /// Calls that were started, or that came when calls were only answered.
    pub offered: u64,
    /// Calls a second from the first one that was answered to the last; 0 when none was.
    pub offered_cps: f64,
    /// Calls whose INVITE got a 200.
    pub answered: u64,
    /// Calls that went well to the end.
    pub completed: u64,
    /// Calls that did not.
    pub failed: u64,
    /// Calls that had not ended when the trial was.
    pub outstanding: u64,
    /// Failed calls by SIPp's name of the reason.
    pub failures: BTreeMap<String, u64>,
    /// Responses that ended a call, by status code.
    pub responses: BTreeMap<String, u64>,
    /// The most calls that were up at a time, seen once a second.
    pub concurrent: u64,
    /// Messages that the caller's SIPp sent again.
    pub retransmissions: u64,
    /// From the start of a call to the first 180 or 200.
    pub post_dial_delay_ns: Latency,
    /// From the start of a call to its 200.
    pub answer_delay_ns: Latency,
    /// The processor that the caller's SIPp took, as a share of one core: near 1, SIPp is what is measured.
    pub sipp_cpu: f64,
    /// The other end, if it is of this run.
    pub callee: Option<Callee>,
    /// The relay, if it runs on this machine.
    pub relay: Option<Relay>,
    /// Whether SIPp started fewer calls than asked for, or too slowly: the trial says little of the relay.
    pub generator_short: bool,
    /// Every call that was asked for was started in time and went well.
    pub passed: bool,
}

/// The callees' part of a trial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Callee {
    /// Calls that came.
    pub received: u64,
    /// Calls that went well to the end.
    pub completed: u64,
    /// Calls that did not.
    pub failed: u64,
    /// Messages that were sent again.
    pub retransmissions: u64,
    /// The processor that its SIPp took, as a share of one core.
    pub sipp_cpu: f64,
}

/// What a trial cost the relay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Relay {
    /// Resident memory before the trial, in KB.
    pub resident_before_kb: u64,
    /// The most that was seen during it.
    pub resident_peak_kb: u64,
    /// Resident memory after it, and after it has settled.
    pub resident_after_kb: u64,
    /// What the peak adds to the memory before, for each of the most calls that were up at a time, in KB. Calls that
    /// have ended weigh on it for 32 s: of calls that are held it says what one costs.
    pub kb_per_call: f64,
    /// The processor that its control thread took, as a share of one core.
    pub control_cpu: f64,
    /// The same for each call, in microseconds.
    pub control_us_per_call: f64,
}

/// One second, or a little more, of the whole run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Second {
    /// Seconds since the first trial began.
    pub at: f64,
    /// Calls a second asked for.
    pub asked_cps: f64,
    /// Calls started a second.
    pub started_cps: f64,
    /// Calls that ended well a second.
    pub completed_cps: f64,
    /// Calls that failed a second.
    pub failed_cps: f64,
    /// Calls up.
    pub up: u64,
}

/// The run as text.
pub(super) fn render(run: &CallsRun) -> String {
    let mut parts = vec![properties(&heading(run)), trials(run)];
    if run.trials.iter().any(|trial| trial.relay.is_some()) {
        parts.push(relays(&run.trials));
    }
    parts.push(run.trials.iter().map(remarks).collect());
    if run.interrupted {
        parts.push("interrupted: not all was done\n".to_owned());
    }
    parts.retain(|part: &String| !part.is_empty());
    parts.join("\n")
}

fn heading(run: &CallsRun) -> Vec<(&'static str, String)> {
    vec![
        ("machine", machine(&run.machine)),
        ("calls", shape(&run.calls)),
    ]
}

/// `10.1.0.2:5060 to 10.1.0.1:5060, answered at 10.2.0.2:5060, without audio, by SIPp v3.6.1`.
fn shape(shape: &Shape) -> String {
    let mut text = match (&shape.caller, &shape.target) {
        (Some(caller), Some(target)) => format!("from {caller} to {target}, "),
        _ => String::new(),
    };
    if let Some(callee) = &shape.callee {
        text.push_str(&format!("answered at {callee}, "));
    }
    let audio = if shape.audio { "with" } else { "without" };
    format!("{text}{audio} audio, by {}", shape.sipp)
}

fn trials(run: &CallsRun) -> String {
    let mut columns = Columns::new(&[
        ">rate",
        ">seconds",
        ">length",
        ">up",
        ">offered",
        ">offered/s",
        ">answered",
        ">failed",
        ">sent again",
        ">p50",
        ">p90",
        ">p99",
        ">max",
        ">sipp cpu",
        "",
    ]);
    for trial in &run.trials {
        let delay = &trial.post_dial_delay_ns;
        let spell = |nanos: u64| match delay.count {
            0 => "-".to_owned(),
            _ => spell_nanos(nanos),
        };
        let again = trial.callee.map_or(0, |callee| callee.retransmissions);
        columns.row([
            match trial.rate_cps {
                0 => "-".to_owned(),
                rate => spell_count(rate.into()),
            },
            format!("{:.0}", trial.seconds),
            format!("{:.1} s", trial.length_seconds),
            spell_count(trial.concurrent),
            spell_count(trial.offered),
            spell_rate((trial.offered_cps * 10.0).round() / 10.0),
            spell_count(trial.answered),
            spell_count(trial.failed + trial.outstanding),
            spell_count(trial.retransmissions + again),
            spell(delay.p50),
            spell(delay.p90),
            spell(delay.p99),
            spell(delay.max),
            percent(trial.sipp_cpu),
            verdict(trial).to_owned(),
        ]);
    }
    columns.render()
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

fn verdict(trial: &CallsTrial) -> &'static str {
    match (trial.passed, trial.generator_short) {
        (true, _) => "passed",
        (false, true) if trial.failed == 0 => "fewer started than asked for",
        (false, _) => "failed",
    }
}

fn relays(trials: &[CallsTrial]) -> String {
    let mut columns = Columns::new(&[
        ">rate",
        ">memory before",
        ">peak",
        ">after",
        ">a call",
        ">control cpu",
        ">a call",
    ]);
    for trial in trials {
        let Some(relay) = &trial.relay else { continue };
        columns.row([
            spell_count(trial.rate_cps.into()),
            spell_kilobytes(relay.resident_before_kb),
            spell_kilobytes(relay.resident_peak_kb),
            spell_kilobytes(relay.resident_after_kb),
            format!("{:.1} KB", relay.kb_per_call),
            percent(relay.control_cpu),
            spell_nanos((relay.control_us_per_call * 1e3) as u64),
        ]);
    }
    columns.render()
}

/// What was wrong with a trial, or nothing.
fn remarks(trial: &CallsTrial) -> String {
    let mut found = Vec::new();
    if !trial.failures.is_empty() {
        found.push(format!("failed: {}", spell_counts(&trial.failures)));
    }
    if !trial.responses.is_empty() {
        found.push(format!("responses: {}", spell_counts(&trial.responses)));
    }
    if trial.outstanding > 0 {
        found.push(format!("{} calls had not ended", trial.outstanding));
    }
    match found.is_empty() {
        true => String::new(),
        false => format!("{} calls a second: {}\n", trial.rate_cps, found.join("; ")),
    }
}

/// How far a trial is, in a line.
pub(super) fn progress(elapsed: f64, seconds: u32, second: &Second, trial: &CallsTrial) -> String {
    let pace = match trial.rate_cps {
        0 => format!("{elapsed:.0} s"),
        rate if elapsed > f64::from(seconds) + 0.5 => {
            format!("{rate} calls a second, the last ones end")
        }
        rate => format!("{rate} calls a second, {elapsed:.0} of {seconds} s"),
    };
    let mut text = format!(
        "{pace}: {} started ({:.0}/s), {} up, {} answered, {} failed",
        spell_count(trial.offered),
        second.started_cps,
        spell_count(second.up),
        spell_count(trial.answered),
        spell_count(trial.failed),
    );
    if trial.post_dial_delay_ns.count > 0 {
        text.push_str(&format!(
            ", p99 {}",
            spell_nanos(trial.post_dial_delay_ns.p99)
        ));
    }
    if let Some(relay) = &trial.relay {
        text.push_str(&format!(
            ", relay {}",
            spell_kilobytes(relay.resident_peak_kb)
        ));
    }
    text
}

/// The run as a plot.
pub(super) fn sheet(run: &CallsRun) -> calls::Calls {
    let second = |second: &Second| calls::Second {
        at: second.at,
        started: second.started_cps,
        ended: second.completed_cps,
        failed: second.failed_cps,
        asked: second.asked_cps,
        up: second.up as f64,
    };
    let point = |trial: &CallsTrial| {
        let delay = &trial.post_dial_delay_ns;
        let figures = [delay.p50, delay.p90, delay.p99, delay.max];
        calls::Point {
            rate: f64::from(trial.rate_cps),
            failed: match trial.offered {
                0 => 0.0,
                offered => (trial.failed + trial.outstanding) as f64 / offered as f64,
            },
            delay: (delay.count > 0).then(|| figures.map(|nanos| nanos as f64)),
        }
    };
    let total: u64 = run.trials.iter().map(|trial| trial.offered).sum();
    let lengths = run.trials.iter().map(|trial| trial.length_seconds);
    let longest = lengths.fold(0.0, f64::max);
    calls::Calls {
        heading: Heading {
            title: format!("{} calls of up to {longest:.1} s", spell_count(total)),
            notes: vec![machine(&run.machine), shape(&run.calls)],
        },
        seconds: run.timeline.iter().map(second).collect(),
        points: run.trials.iter().map(point).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> CallsRun {
        let delay = Latency {
            count: 2000,
            p50: 1_200_000,
            p90: 2_000_000,
            p99: 8_000_000,
            max: 41_000_000,
            ..Latency::default()
        };
        let trial = CallsTrial {
            rate_cps: 100,
            seconds: 20.0,
            length_seconds: 5.0,
            offered: 2000,
            offered_cps: 99.96,
            answered: 2000,
            completed: 2000,
            concurrent: 502,
            post_dial_delay_ns: delay,
            relay: Some(Relay {
                resident_before_kb: 30_000,
                resident_peak_kb: 50_000,
                resident_after_kb: 49_000,
                kb_per_call: 39.84,
                control_cpu: 0.061,
                control_us_per_call: 512.5,
            }),
            passed: true,
            ..CallsTrial::default()
        };
        let failed = CallsTrial {
            rate_cps: 400,
            completed: 1990,
            failed: 8,
            outstanding: 2,
            failures: [("UnexpectedMessage".to_owned(), 8)].into(),
            responses: [("503".to_owned(), 8)].into(),
            passed: false,
            post_dial_delay_ns: Latency::default(),
            ..trial.clone()
        };
        CallsRun {
            trials: vec![trial, failed],
            timeline: vec![Second::default(); 3],
            ..CallsRun::default()
        }
    }

    #[test]
    fn tables_say_what_went_well_and_what_did_not() {
        let text = render(&run());
        let squeezed: Vec<_> = text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        for line in [
            "100 20 5.0 s 502 2,000 100 2,000 0 0 1.20 ms 2.00 ms 8.00 ms 41.00 ms 0 % passed",
            "400 20 5.0 s 502 2,000 100 2,000 10 0 - - - - 0 % failed",
            "100 29.3 MB 48.8 MB 47.9 MB 39.8 KB 6 % 512.5 us",
            "400 calls a second: failed: UnexpectedMessage 8; responses: 503 8; 2 calls had not ended",
        ] {
            assert!(squeezed.iter().any(|each| each == line), "{line}\n{text}");
        }
    }

    #[test]
    fn plots_have_the_share_of_failed_calls() {
        let sheet = sheet(&run());
        assert_eq!(sheet.points[1].failed, 0.005);
        assert_eq!(sheet.points[0].delay, Some([1.2e6, 2e6, 8e6, 41e6]));
        assert_eq!(sheet.points[1].delay, None);
        assert_eq!(sheet.heading.title, "4,000 calls of up to 5.0 s");
    }

    #[test]
    fn a_run_is_read_as_it_was_written() {
        let run = run();
        let text = serde_json::to_string(&run).expect("plain data");
        assert_eq!(
            serde_json::from_str::<CallsRun>(&text).expect("the same"),
            run
        );
    }
}
