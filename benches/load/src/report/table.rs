//! A run as text: the machine, the trials, and what was wrong with any of them.

use terminal::table::{Columns, properties, spell_counts};
use terminal::units::{spell_count, spell_nanos, spell_rate};

use super::{Churn, Device, Latency, Limit, Machine, Packets, Run, Trial};

/// The run's tables.
pub fn render(run: &Run) -> String {
    let mut parts = vec![properties(&heading(run)), trials(&run.trials)];
    if let [only] = run.trials.as_slice() {
        parts.push(directions(only));
    }
    let faulty: String = run.trials.iter().enumerate().map(faults).collect();
    parts.push(faulty);
    parts.extend(run.churn.as_ref().map(churn));
    parts.push(outcome(run));
    parts.retain(|part| !part.is_empty());
    parts.join("\n")
}

/// Names and values under each other.
type Rows = Vec<(&'static str, String)>;

fn heading(run: &Run) -> Rows {
    vec![
        ("machine", machine(&run.machine)),
        ("devices", devices(&run.machine)),
        ("packets", packets(&run.packets)),
    ]
}

/// `AMD EPYC, 2 cores, Linux 6.18.44`.
pub fn machine(machine: &Machine) -> String {
    let cores = match machine.cores {
        1 => "1 core".to_owned(),
        cores => format!("{cores} cores"),
    };
    format!("{}, {cores}, Linux {}", machine.cpu, machine.kernel)
}

/// `a0 (veth, copy mode, queue 0), b0 (veth, copy mode, queue 0), load on core 0`.
pub fn devices(machine: &Machine) -> String {
    let device = |device: &Device| {
        let queues = list("queue", &device.queues);
        format!(
            "{} ({}, {} mode, {queues})",
            device.name, device.driver, device.xdp_mode
        )
    };
    let mut parts: Vec<_> = machine.devices.iter().map(device).collect();
    parts.push(format!("load on {}", list("core", &machine.load_cores)));
    parts.join(", ")
}

/// `1,000 streams both ways, 172-byte payload (214-byte frames), IPv4 RTP`.
pub fn packets(packets: &Packets) -> String {
    let family = match packets.family.as_str() {
        "ipv4" => "IPv4",
        "ipv6" => "IPv6",
        _ => "IPv4 and IPv6",
    };
    let content = match packets.content.as_str() {
        "rtp" => "RTP",
        "rtcp" => "RTCP",
        _ => "RTP and RTCP",
    };
    format!(
        "{} streams both ways, {}-byte payload ({}-byte frames), {family} {content}",
        spell_count(packets.streams as u64),
        packets.payload,
        packets.frame,
    )
}

/// `queue 0`, `queues 0, 1`.
fn list<T: ToString>(name: &str, numbers: &[T]) -> String {
    let plural = if numbers.len() == 1 { "" } else { "s" };
    let numbers: Vec<_> = numbers.iter().map(ToString::to_string).collect();
    format!("{name}{plural} {}", numbers.join(", "))
}

fn trials(trials: &[Trial]) -> String {
    let mut columns = Columns::new(&[
        ">trial",
        ">rate",
        ">seconds",
        ">sent/s",
        ">received/s",
        ">sent",
        ">lost",
        ">lost %",
        ">p50",
        ">p90",
        ">p99",
        ">p99.9",
        ">max",
        "",
    ]);
    for (index, trial) in trials.iter().enumerate() {
        let latency = |value: u64| match trial.latency_ns.count {
            0 => "-".to_owned(),
            _ => spell_nanos(value),
        };
        columns.row([
            (index + 1).to_string(),
            rate(trial.rate_pps),
            format!("{:.1}", trial.seconds),
            spell_rate(trial.sent_pps),
            spell_rate(trial.received_pps),
            spell_count(trial.sent),
            spell_count(trial.lost),
            loss(trial),
            latency(trial.latency_ns.p50),
            latency(trial.latency_ns.p90),
            latency(trial.latency_ns.p99),
            latency(trial.latency_ns.p99_9),
            latency(trial.latency_ns.max),
            verdict(trial),
        ]);
    }
    columns.render()
}

/// `200 k`, or that there was no limit.
pub(super) fn rate(pps: u64) -> String {
    match pps {
        0 => "flat out".to_owned(),
        pps => spell_rate(pps as f64),
    }
}

fn loss(trial: &Trial) -> String {
    match (trial.lost, trial.sent) {
        (0, _) | (_, 0) => "0".to_owned(),
        (lost, sent) => {
            let share = 100.0 * lost as f64 / sent as f64;
            match share {
                _ if share < 0.001 => "< 0.001".to_owned(),
                _ => format!("{share:.3}"),
            }
        }
    }
}

/// What a trial ended with, in a word or two.
pub(super) fn verdict(trial: &Trial) -> String {
    let mut text = match (trial.passed, trial.generator_short) {
        (true, _) => "passed",
        (false, true) => "generator too slow",
        (false, false) => "failed",
    }
    .to_owned();
    if trial.attempt > 1 {
        text.push_str(&format!(" (attempt {})", trial.attempt));
    }
    text
}

/// Latency by direction, for a run of one trial.
fn directions(trial: &Trial) -> String {
    if trial.latency_ns.count == 0 {
        return String::new();
    }
    let mut columns = Columns::new(&[
        "latency", ">packets", ">min", ">mean", ">p50", ">p90", ">p99", ">p99.9", ">max",
    ]);
    let rows = [
        ("both", &trial.latency_ns),
        ("A to B", &trial.latency_a_to_b_ns),
        ("B to A", &trial.latency_b_to_a_ns),
    ];
    for (name, latency) in rows {
        columns.row([
            name.to_owned(),
            spell_count(latency.count),
            spell_nanos(latency.min),
            spell_nanos(latency.mean.max(0.0).round() as u64),
            spell_nanos(latency.p50),
            spell_nanos(latency.p90),
            spell_nanos(latency.p99),
            spell_nanos(latency.p99_9),
            spell_nanos(latency.max),
        ]);
    }
    columns.render()
}

/// A line for a trial in which something but loss was found, or nothing.
fn faults((index, trial): (usize, &Trial)) -> String {
    let counts = [
        ("duplicated", trial.duplicated),
        ("reordered", trial.reordered),
        ("corrupt", trial.corrupt),
        ("wrong address", trial.wrong_address),
        ("wrong checksum", trial.wrong_checksum),
        ("wrong TTL", trial.wrong_ttl),
        ("wrong DSCP", trial.wrong_dscp),
        ("unknown", trial.unknown),
        ("stragglers", trial.stragglers),
        ("unfinished checksums", trial.unfinished_checksums),
        ("sent late", trial.late_sends),
        ("own drops", trial.own_drops),
    ];
    let counts = counts.map(|(name, count)| (name.to_owned(), count));
    match counts.iter().all(|(_, count)| *count == 0) {
        true => String::new(),
        false => format!("trial {}: {}\n", index + 1, spell_counts(&counts.into())),
    }
}

fn churn(churn: &Churn) -> String {
    let counts = format!(
        "{} opened, {} refused, {} closed of {} a second; {} relayed both ways, {} not within a second; \
         {} packets sent again",
        spell_count(churn.opened),
        spell_count(churn.refused),
        spell_count(churn.closed),
        spell_rate(churn.per_second),
        spell_count(churn.relayed),
        spell_count(churn.not_relayed),
        spell_count(churn.repeated),
    );
    properties(&[
        ("sessions", counts),
        (
            "  request to answer",
            percentiles(&churn.request_to_answer_ns),
        ),
        (
            "  request to packet",
            percentiles(&churn.request_to_packet_ns),
        ),
        (
            "  answer to packet",
            percentiles(&churn.answer_to_packet_ns),
        ),
    ])
}

fn percentiles(latency: &Latency) -> String {
    match latency.count {
        0 => "none".to_owned(),
        _ => format!(
            "p50 {}, p90 {}, p99 {}, p99.9 {}, max {}",
            spell_nanos(latency.p50),
            spell_nanos(latency.p90),
            spell_nanos(latency.p99),
            spell_nanos(latency.p99_9),
            spell_nanos(latency.max)
        ),
    }
}

fn outcome(run: &Run) -> String {
    let mut rows = Rows::new();
    if let Some(ndr) = run.ndr_pps {
        let limit = match run.ndr_limited_by {
            Some(Limit::Relay) => ", above which the relay lost or harmed packets",
            Some(Limit::Generator) => {
                ": the generator could not send faster, the relay may carry more"
            }
            Some(Limit::High) => ": the highest rate that was asked for",
            None => "",
        };
        let ndr = format!("{} packets a second{limit}", spell_count(ndr));
        rows.push(("zero-loss rate", ndr));
    }
    if run.interrupted {
        rows.push(("interrupted", "not all was done".to_owned()));
    }
    properties(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(rate: u64, lost: u64) -> Trial {
        let latency = Latency {
            count: 10,
            p50: 18_400,
            p99: 52_000,
            max: 2_000_000,
            ..Latency::default()
        };
        Trial {
            rate_pps: rate,
            seconds: 2.0,
            sent: rate * 2,
            received: rate * 2 - lost,
            lost,
            sent_pps: rate as f64,
            received_pps: rate as f64 - lost as f64 / 2.0,
            latency_ns: latency,
            passed: lost == 0,
            ..Trial::default()
        }
    }

    fn run(trials: Vec<Trial>) -> Run {
        let device = |name: &str| Device {
            name: name.to_owned(),
            driver: "veth".to_owned(),
            xdp_mode: "copy".to_owned(),
            queues: vec![0],
        };
        Run {
            machine: Machine {
                cpu: "AMD EPYC".to_owned(),
                cores: 2,
                kernel: "6.18.44".to_owned(),
                devices: vec![device("a0"), device("b0")],
                load_cores: vec![0],
            },
            packets: Packets {
                payload: 172,
                frame: 214,
                family: "ipv4".to_owned(),
                content: "rtp".to_owned(),
                streams: 1000,
            },
            trials,
            ..Run::default()
        }
    }

    #[test]
    fn a_search_lists_its_trials_and_what_it_found() {
        let mut failed = trial(400_000, 3);
        failed.reordered = 7;
        let mut slow = trial(800_000, 0);
        (slow.passed, slow.generator_short, slow.attempt) = (false, true, 2);
        let mut run = run(vec![trial(200_000, 0), failed, slow]);
        run.ndr_pps = Some(200_000);
        run.ndr_limited_by = Some(Limit::Relay);
        let text = render(&run);
        for line in [
            "machine  AMD EPYC, 2 cores, Linux 6.18.44",
            "devices  a0 (veth, copy mode, queue 0), b0 (veth, copy mode, queue 0), load on core 0",
            "packets  1,000 streams both ways, 172-byte payload (214-byte frames), IPv4 RTP",
            "trial 2: reordered 7",
            "zero-loss rate  200,000 packets a second, above which the relay lost or harmed packets",
        ] {
            assert!(text.lines().any(|each| each == line), "{line}\n{text}");
        }
        let rows: Vec<_> = text
            .lines()
            .skip_while(|line| !line.contains("TRIAL"))
            .skip(1)
            .take(3)
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert!(rows[0].starts_with("1 200 k 2.0 200 k 200 k 400,000 0 0 18.4 us"));
        assert!(rows[0].ends_with("2.00 ms passed"), "{text}");
        assert!(rows[1].contains("800,000 3 < 0.001"), "{text}");
        assert!(rows[1].ends_with("failed"), "{text}");
        assert!(
            rows[2].ends_with("generator too slow (attempt 2)"),
            "{text}"
        );
    }

    #[test]
    fn one_trial_has_its_directions_and_an_empty_run_a_heading() {
        let text = render(&run(vec![trial(1000, 0)]));
        assert!(text.contains("A to B") && text.contains("B to A"), "{text}");
        assert!(!text.contains("zero-loss rate"));
        let text = render(&Run::default());
        assert!(text.starts_with("machine"), "{text}");
        let mut silent = trial(1000, 2000);
        silent.latency_ns = Latency::default();
        let text = render(&run(vec![silent]));
        assert!(text.contains("100.000"), "{text}");
        assert!(!text.contains("A to B"), "{text}");
    }
}
