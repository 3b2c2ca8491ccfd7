//! How long callers wait, from the lines that the caller's scenario logs at each 180 and 200.

use std::collections::HashSet;
use std::path::PathBuf;

use hdrhistogram::Histogram;

use super::tail::Tail;
use crate::report::Latency;

/// The longest delay that is told from longer ones: 5 minutes, in nanoseconds.
const LONGEST: u64 = 300_000_000_000;

/// Delays of one trial.
#[derive(Debug)]
pub(super) struct Delays {
    tail: Tail,
    /// INVITE to the first 180 or 200.
    post_dial: Histogram<u64>,
    /// INVITE to 200.
    answer: Histogram<u64>,
    /// When the first and the last of the answered calls were started, in microseconds since 1970.
    started: Option<(f64, f64)>,
    /// Calls that ring; no more than there are calls in the trial.
    ringing: HashSet<u64>,
}

/// A line: `180 17 1795425250.000000 891928.000000 1795425250.000000 893449.000000`.
struct Response {
    status: u16,
    call: u64,
    /// When the call was started, in microseconds since 1970.
    started: f64,
    nanos: u64,
}

impl Delays {
    pub(super) fn new(path: PathBuf) -> Self {
        let histogram = || {
            Histogram::new_with_max(LONGEST, 3)
                .expect("three digits up to five minutes are in bounds")
        };
        Self {
            tail: Tail::new(path),
            post_dial: histogram(),
            answer: histogram(),
            started: None,
            ringing: HashSet::new(),
        }
    }

    /// Takes in what the log has by now.
    pub(super) fn read(&mut self) -> std::io::Result<()> {
        let (post_dial, answer) = (&mut self.post_dial, &mut self.answer);
        let (ringing, started) = (&mut self.ringing, &mut self.started);
        self.tail.lines(|line| {
            let Some(response) = parse(line) else { return };
            let rang = match response.status {
                180 => !ringing.insert(response.call),
                _ => ringing.remove(&response.call),
            };
            if !rang {
                post_dial.saturating_record(response.nanos);
            }
            if response.status == 200 {
                answer.saturating_record(response.nanos);
                let at = response.started;
                let (first, last) = started.unwrap_or((at, at));
                *started = Some((first.min(at), last.max(at)));
            }
        })
    }

    /// Calls that were answered.
    pub(super) fn answered(&self) -> u64 {
        self.answer.len()
    }

    /// Calls a second that were started, of those that were answered; 0 of fewer than two.
    pub(super) fn rate(&self) -> f64 {
        match self.started {
            Some((first, last)) if last > first => {
                self.answered().saturating_sub(1) as f64 * 1e6 / (last - first)
            }
            _ => 0.0,
        }
    }

    /// INVITE to the first 180 or 200.
    pub(super) fn post_dial(&self) -> Latency {
        latency(&self.post_dial)
    }

    /// INVITE to 200.
    pub(super) fn answer(&self) -> Latency {
        latency(&self.answer)
    }
}

fn latency(histogram: &Histogram<u64>) -> Latency {
    Latency {
        count: histogram.len(),
        min: histogram.min(),
        mean: histogram.mean(),
        p50: histogram.value_at_quantile(0.5),
        p90: histogram.value_at_quantile(0.9),
        p99: histogram.value_at_quantile(0.99),
        p99_9: histogram.value_at_quantile(0.999),
        max: histogram.max(),
    }
}

fn parse(line: &str) -> Option<Response> {
    let mut words = line.split_whitespace();
    let status = words.next()?.parse().ok()?;
    let call = words.next()?.parse().ok()?;
    let mut number = || words.next()?.parse::<f64>().ok().filter(|n| n.is_finite());
    let (sent, sent_us, came, came_us) = (number()?, number()?, number()?, number()?);
    // Whole seconds of today and microseconds: exact in 53 bits.
    let micros = (came - sent) * 1e6 + (came_us - sent_us);
    matches!(status, 180 | 200).then_some(Response {
        status,
        call,
        started: sent * 1e6 + sent_us,
        nanos: (micros.max(0.0) * 1e3) as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_180_and_200_ends_the_post_dial_delay() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("log");
        let line = |status: u16, call: u64, micros: u64| {
            let (seconds, micros) = (1_795_425_250 + micros / 1_000_000, micros % 1_000_000);
            let sent = 900_000 + call * 33_000;
            format!(
                "{status} {call} 1795425249.000000 {sent}.000000 {seconds}.000000 {micros}.000000\n"
            )
        };
        // Sent 67, 34 and 1 ms before the second in which the answers come.
        let text = [
            line(180, 1, 500),
            line(200, 1, 2_000),
            line(200, 2, 4_000),
            line(180, 3, 1_009_000),
            "Dump of something else\n180 x\n180 4 1 2\n404 5 1 2 3 4\n".to_owned(),
        ];
        std::fs::write(&path, text.concat()).expect("written");
        let mut delays = Delays::new(path);
        delays.read().expect("read");
        let post_dial = delays.post_dial();
        assert_eq!(post_dial.count, 3);
        let about = |latency: u64| (latency + 50_000) / 100_000;
        assert_eq!(about(post_dial.min), 380, "call 2");
        assert_eq!(about(post_dial.p50), 675, "call 1");
        assert_eq!(post_dial.max / 10_000_000, 101, "call 3");
        assert_eq!(delays.answered(), 2);
        assert_eq!(about(delays.answer().min), 380);
        assert_eq!(about(delays.answer().max), 690);
        // Two calls, 33 ms apart.
        assert_eq!(delays.rate().round(), 30.0);
    }

    #[test]
    fn nothing_measured_is_all_zero() {
        assert_eq!(
            Delays::new("nowhere".into()).post_dial(),
            Latency::default()
        );
    }
}
