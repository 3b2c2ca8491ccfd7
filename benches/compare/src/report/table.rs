//! The report for people.

use terminal::table::{Columns, or_dash, properties};
use terminal::units::{spell_nanos, spell_rate};

use super::{Comparison, Figure};
use crate::cpu::Usage;
use crate::measure::Measured;
use crate::peers::Peer;
use crate::ratios::Spread;
use crate::targets::targets;

impl Comparison {
    /// Machine and method, a row for each relay, the ratios, the targets.
    pub(crate) fn table(&self) -> String {
        let mut text = self.head();
        text += "\n";
        text += &self.figures();
        text += "\n";
        text += &self.processors();
        text += "\ntandem by the peer, each round by itself (of times the peer by tandem); minimum, median, maximum\n";
        text += &self.ratios();
        text += "\n";
        text += &self.targets();
        for rounds in &self.peers {
            for failure in &rounds.failures {
                text += &format!("FAILED  {}: {failure}\n", rounds.peer.name());
            }
        }
        if self.interrupted {
            text += "INTERRUPTED: not all rounds are here.\n";
        }
        text
    }

    /// The machine and the method.
    pub(super) fn head(&self) -> String {
        let devices = self.machine.devices.iter();
        let devices: Vec<_> = devices
            .map(|device| {
                format!(
                    "{} ({}, XDP {})",
                    device.name, device.driver, device.xdp_mode
                )
            })
            .collect();
        let (method, times) = (&self.method, &self.method.times);
        let rows = [
            (
                "machine",
                format!(
                    "{}, {} cores, Linux {}",
                    self.machine.cpu, self.machine.cores, self.machine.kernel
                ),
            ),
            ("devices", devices.join(", ")),
            (
                "cores",
                format!("load {}, relay {}", method.load_core, method.relay_core),
            ),
            (
                "packets",
                format!(
                    "{} bytes of payload, frames of {}, {} {}, {} streams both ways",
                    self.packets.payload,
                    self.packets.frame,
                    self.packets.family,
                    self.packets.content,
                    self.packets.streams
                ),
            ),
            (
                "method",
                format!(
                    "{} rounds; trials of {} s, {} retries, to {} %; overload {} s; latency {} s",
                    method.rounds,
                    times.trial,
                    times.retries,
                    times.resolution,
                    times.overload,
                    times.latency
                ),
            ),
        ];
        let mut text = properties(&rows);
        for note in &method.notes {
            text += &format!("note     {note}\n");
        }
        text
    }

    fn figures(&self) -> String {
        let mut table = Columns::new(&[
            "relay",
            ">zero loss",
            ">min",
            ">max",
            ">at twice",
            ">flat out",
            ">peak",
            ">p50",
            ">p99",
            ">p99.9",
            ">own",
        ]);
        for peer in self.peers.iter().map(|rounds| rounds.peer) {
            let rate = |figure, of: fn(&Spread) -> f64| {
                or_dash(
                    self.spread(peer, figure)
                        .map(|spread| spell_rate(of(&spread))),
                )
            };
            let time = |figure| {
                let spread = self.spread(peer, figure);
                or_dash(spread.map(|spread| spell_nanos(spread.median as u64)))
            };
            table.row([
                peer.name().to_owned(),
                rate(Figure::ZeroLossPps, |spread| spread.median),
                rate(Figure::ZeroLossPps, |spread| spread.min),
                rate(Figure::ZeroLossPps, |spread| spread.max),
                rate(Figure::TwicePps, |spread| spread.median),
                rate(Figure::FlatOutPps, |spread| spread.median),
                rate(Figure::PeakPps, |spread| spread.median),
                time(Figure::P50Ns),
                time(Figure::P99Ns),
                time(Figure::P999Ns),
                time(Figure::OwnNs),
            ]);
        }
        let medians = "packets a second, both directions together; own: the relay core's time a packet flat out, without \
                       softirqs; medians of the rounds\n";
        format!("{medians}{}", table.render())
    }

    fn processors(&self) -> String {
        let mut table = Columns::new(&[
            "processor time",
            "when",
            ">relay process",
            ">relay core",
            ">of it softirq",
            ">load core",
            ">of it softirq",
            ">stolen",
        ]);
        for peer in self.peers.iter().map(|rounds| rounds.peer) {
            for (name, usage) in [("half load", at_half as At), ("overload", at_overload)] {
                let share = |of: fn(&Usage) -> Option<f64>| {
                    let rounds = self.rounds_of(peer, |measured| {
                        usage(measured).and_then(|usage| of(&usage))
                    });
                    let spread = Spread::of(rounds.into_iter().flatten().collect());
                    or_dash(spread.map(|spread| format!("{:.0} %", 100.0 * spread.median)))
                };
                table.row([
                    peer.name().to_owned(),
                    name.to_owned(),
                    share(|usage| usage.relay_process),
                    share(|usage| Some(usage.relay_core)),
                    share(|usage| Some(usage.relay_core_softirq)),
                    share(|usage| Some(usage.load_core)),
                    share(|usage| Some(usage.load_core_softirq)),
                    share(|usage| Some(usage.relay_core_stolen)),
                ]);
            }
        }
        table.render()
    }

    fn ratios(&self) -> String {
        let mut table = Columns::new(&[
            "tandem to",
            ">zero loss",
            ">at twice",
            ">flat out",
            ">p50",
            ">p99",
            ">own",
        ]);
        let peers = self.peers.iter().map(|rounds| rounds.peer);
        for peer in peers.filter(|peer| *peer != Peer::Tandem) {
            let spell =
                |figure| or_dash(self.ratio(peer, figure).map(|spread| spell_spread(&spread)));
            table.row([
                peer.name().to_owned(),
                spell(Figure::ZeroLossPps),
                spell(Figure::TwicePps),
                spell(Figure::FlatOutPps),
                spell(Figure::P50Ns),
                spell(Figure::P99Ns),
                spell(Figure::OwnNs),
            ]);
        }
        table.render()
    }

    fn targets(&self) -> String {
        let mut table = Columns::new(&["target", "met", ">at least", ">measured"]);
        for target in targets(self) {
            table.row([
                target.target,
                if target.met { "yes" } else { "NO" }.to_owned(),
                format!("{:.2}", target.at_least),
                target
                    .measured
                    .as_ref()
                    .map_or_else(|| "not measured".to_owned(), spell_spread),
            ]);
        }
        table.render()
    }
}

/// When processor time is looked at.
type At = fn(&Measured) -> Option<Usage>;

fn at_half(measured: &Measured) -> Option<Usage> {
    measured.half.as_ref().map(|half| half.cpu)
}

fn at_overload(measured: &Measured) -> Option<Usage> {
    let overload = measured.twice.as_ref().or(measured.flat_out.as_ref());
    overload.map(|overload| overload.cpu)
}

fn spell_spread(spread: &Spread) -> String {
    format!("{:.2} {:.2} {:.2}", spread.min, spread.median, spread.max)
}

#[cfg(test)]
mod tests {
    use crate::peers::Peer;
    use crate::report::tests::comparison;

    #[test]
    fn the_table_tells_what_was_met_and_what_was_not() {
        let text = comparison(&[
            (Peer::Tandem, [400_000, 500_000, 600_000]),
            (Peer::Rtpengine, [100_000; 3]),
            (Peer::Socket, [300_000; 3]),
        ])
        .table();
        let line = |begin: &str| {
            let found = text.lines().find(|line| line.starts_with(begin));
            found.unwrap_or_else(|| panic!("{begin} in\n{text}"))
        };
        assert!(line("zero-loss rate, of that of rtpengine").contains("yes"));
        assert!(line("zero-loss rate, of that of the plain").contains("NO"));
        assert!(line("zero-loss rate with many").contains("not measured"));
        assert!(text.contains("4.00 5.00 6.00"), "{text}");
        assert!(text.contains("a note"));
        assert!(line("tandem  ").contains("500 k"), "{text}");
    }
}
