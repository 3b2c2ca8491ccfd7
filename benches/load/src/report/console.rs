//! A run as it goes on, on stderr: one line that a terminal rewrites, one a second in a log.

use terminal::progress::Progress as Line;
use terminal::units::{spell_count, spell_nanos, spell_rate};

use super::table::{rate, verdict};
use super::{Observer, Progress, Trial};

/// The observer of a run that somebody watches.
#[derive(Debug)]
pub struct Console<W> {
    line: Line<W>,
    /// The trial and its second that were shown last.
    shown: Option<(usize, bool, u64)>,
    trials: usize,
}

impl Console<std::io::Stderr> {
    /// On stderr.
    pub fn on_stderr() -> Self {
        Self::new(Line::on_stderr())
    }
}

impl<W: std::io::Write> Console<W> {
    /// With this line to show progress in.
    pub fn new(line: Line<W>) -> Self {
        Self {
            line,
            shown: None,
            trials: 0,
        }
    }
}

impl<W: std::io::Write> Observer for Console<W> {
    fn progress(&mut self, progress: &Progress) {
        let second = progress.elapsed.max(0.0) as u64;
        let now = (progress.trial, progress.warming_up, second);
        if self.shown == Some(now) {
            return;
        }
        self.shown = Some(now);
        self.line.show(&spell(progress));
    }

    fn trial(&mut self, trial: &Trial) {
        self.trials += 1;
        self.shown = None;
        let latency = match trial.latency_ns.count {
            0 => String::new(),
            _ => format!(
                ", p50 {}, p99 {}",
                spell_nanos(trial.latency_ns.p50),
                spell_nanos(trial.latency_ns.p99)
            ),
        };
        self.line.say(&format!(
            "trial {}: {} pps for {:.1} s: {} sent, {} lost{latency}: {}",
            self.trials,
            rate(trial.rate_pps),
            trial.seconds,
            spell_count(trial.sent),
            spell_count(trial.lost),
            verdict(trial),
        ));
    }
}

fn spell(progress: &Progress) -> String {
    let what = match progress.warming_up {
        true => "warming up".to_owned(),
        false => format!("trial {}", progress.trial),
    };
    let elapsed = progress.elapsed.max(1e-9);
    format!(
        "{what}: {} pps, {:.0} of {:.0} s; {} sent ({}/s), {} received, {} faults",
        rate(progress.rate_pps),
        progress.elapsed,
        progress.seconds,
        spell_count(progress.sent),
        spell_rate(progress.sent as f64 / elapsed),
        spell_count(progress.received),
        spell_count(progress.faults),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_has_a_line_a_second_and_one_for_each_trial() {
        let mut out = Vec::new();
        let mut console = Console::new(Line::new(&mut out, false));
        for step in 0..11 {
            let elapsed = f64::from(step) * 0.2;
            console.progress(&Progress {
                trial: 1,
                rate_pps: 50_000,
                seconds: 2.0,
                elapsed,
                sent: (elapsed * 50_000.0) as u64,
                ..Progress::default()
            });
        }
        console.trial(&Trial {
            rate_pps: 50_000,
            seconds: 2.0,
            sent: 100_000,
            lost: 1,
            ..Trial::default()
        });
        let text = String::from_utf8(out).expect("text");
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert_eq!(
            lines[1],
            "trial 1: 50.0 k pps, 1 of 2 s; 50,000 sent (50.0 k/s), 0 received, 0 faults"
        );
        assert_eq!(
            lines[3],
            "trial 1: 50.0 k pps for 2.0 s: 100,000 sent, 1 lost: failed"
        );
    }
}
