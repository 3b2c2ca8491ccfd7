//! What a comparison found: plain data, its ratios, and what `--json` prints. The table is in [`table`], the plot in
//! [`plot`].
//!
//! ```json
//! {"tool":"tandem-compare","version":"…",
//!  "machine":{…as tandem-load…},"packets":{…as tandem-load…},
//!  "method":{"rounds":5,"streams":1000,…,"notes":["…"]},
//!  "peers":[{"peer":"tandem","rounds":[{"zero_loss_pps":…,"limited_by":"relay","peak_pps":…,"flat_out":{…},"twice":{…},
//!            "half":{"latency_ns":{…},"cpu":{…}},"sweep":[…]}],"failures":["…"]}],
//!  "spreads":[{"peer":"tandem","figure":"zero_loss_pps","spread":{"rounds":[…],"min":…,"median":…,"max":…}}],
//!  "ratios":[{"peer":"rtpengine","figure":"zero_loss_pps","spread":{…}}],
//!  "targets":[{"target":"…","at_least":4.0,"measured":{…},"met":true}],
//!  "interrupted":false}
//! ```
//!
//! A ratio is tandem's figure by the peer's, of the same round; of times the peer's by tandem's: more is
//! always better for tandem. A round in which a peer failed is `null`.

mod plot;
mod table;

use serde::Serialize;
use tandem_load::report::{Machine, Packets};

use crate::error::Error;
use crate::measure::{Found, Measured, Overload, Times};
use crate::peers::Peer;
use crate::ratios::Spread;
use crate::targets::{Target, targets};
use crate::topology::Napi;

/// How it was measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Method {
    /// Rounds that were asked for.
    pub(crate) rounds: usize,
    /// Streams with traffic, each both ways.
    pub(crate) streams: u16,
    /// Flows installed in the run with many.
    pub(crate) many_flows: u32,
    /// Who receives on veth.
    pub(crate) napi: Napi,
    /// The core of generator and sink.
    pub(crate) load_core: usize,
    /// The relay's core.
    pub(crate) relay_core: usize,
    /// Packets that may wait at the relay on each side.
    pub(crate) room: u32,
    /// How long each part took.
    #[serde(flatten)]
    pub(crate) times: Times,
    /// What must be known of the figures.
    pub(crate) notes: Vec<String>,
}

/// The rounds of a relay.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Rounds {
    /// Which.
    pub(crate) peer: Peer,
    /// Round by round; `None` if it failed.
    pub(crate) rounds: Vec<Option<Measured>>,
    /// Why it failed, if it did.
    pub(crate) failures: Vec<String>,
}

/// All that was found.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Comparison {
    /// As the load tool sees it.
    pub(crate) machine: Machine,
    /// As the load tool made them.
    pub(crate) packets: Packets,
    /// How it was measured.
    pub(crate) method: Method,
    /// Relay by relay.
    pub(crate) peers: Vec<Rounds>,
    /// Whether it was ended early.
    pub(crate) interrupted: bool,
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Figure {
    /// The zero-loss rate.
    ZeroLossPps,
    /// What came through at twice that rate.
    TwicePps,
    /// What came through flat out.
    FlatOutPps,
    /// The most that came through at any rate.
    PeakPps,
    /// Latency at half of the zero-loss rate.
    P50Ns,
    /// The same.
    P99Ns,
    /// The same.
    #[serde(rename = "p99_9_ns")]
    P999Ns,
    /// What a packet costs the relay itself, flat out ([`Overload::own_ns`]).
    OwnNs,
}

impl Figure {
    const ALL: [Self; 8] = [
        Self::ZeroLossPps,
        Self::TwicePps,
        Self::FlatOutPps,
        Self::PeakPps,
        Self::P50Ns,
        Self::P99Ns,
        Self::P999Ns,
        Self::OwnNs,
    ];

    /// Whether less of it is better.
    fn is_time(self) -> bool {
        matches!(self, Self::P50Ns | Self::P99Ns | Self::P999Ns | Self::OwnNs)
    }

    fn of(self, measured: &Measured) -> Option<f64> {
        let received = |overload: &Option<_>| {
            let overload: &Overload = overload.as_ref()?;
            Some(overload.received_pps)
        };
        let latency = measured.half.as_ref().map(|half| &half.latency_ns);
        match self {
            Self::ZeroLossPps => Some(measured.zero_loss_pps as f64),
            Self::TwicePps => received(&measured.twice),
            Self::FlatOutPps => received(&measured.flat_out),
            Self::PeakPps => Some(measured.peak_pps),
            Self::P50Ns => latency.map(|latency| latency.p50 as f64),
            Self::P99Ns => latency.map(|latency| latency.p99 as f64),
            Self::P999Ns => latency.map(|latency| latency.p99_9 as f64),
            Self::OwnNs => measured.flat_out.as_ref().and_then(Overload::own_ns),
        }
    }
}

/// How a figure of a relay lies, or tandem's ratio to it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Line {
    peer: Peer,
    figure: Figure,
    spread: Spread,
}

#[derive(Serialize)]
struct Report<'a> {
    tool: &'static str,
    version: &'static str,
    #[serde(flatten)]
    comparison: &'a Comparison,
    spreads: Vec<Line>,
    ratios: Vec<Line>,
    targets: Vec<Target>,
}

impl Comparison {
    /// Nothing yet of these relays.
    pub(crate) fn new(method: Method, peers: &[Peer]) -> Self {
        let rounds = |&peer| Rounds {
            peer,
            rounds: Vec::new(),
            failures: Vec::new(),
        };
        Self {
            machine: Machine::default(),
            packets: Packets::default(),
            method,
            peers: peers.iter().map(rounds).collect(),
            interrupted: false,
        }
    }

    /// What a round found of a relay, or why not.
    pub(crate) fn add(&mut self, peer: Peer, found: Result<Found, Error>) {
        let Some(rounds) = self.peers.iter_mut().find(|rounds| rounds.peer == peer) else {
            return;
        };
        match found {
            Ok(found) => {
                rounds.rounds.push(Some(found.measured));
                self.machine = found.machine;
                self.packets = found.packets;
            }
            Err(error) => {
                rounds.failures.push(error.to_string());
                rounds.rounds.push(None);
            }
        }
    }

    /// Whether every relay could be measured in every round.
    pub(crate) fn is_whole(&self) -> bool {
        !self.interrupted && self.peers.iter().all(|rounds| rounds.failures.is_empty())
    }

    /// A figure of a relay, round by round; nothing of a relay that was not measured.
    pub(crate) fn rounds_of(
        &self,
        peer: Peer,
        figure: impl Fn(&Measured) -> Option<f64>,
    ) -> Vec<Option<f64>> {
        let rounds = self.peers.iter().find(|rounds| rounds.peer == peer);
        let rounds = rounds.map(|rounds| rounds.rounds.iter());
        let figures = rounds.into_iter().flatten();
        figures
            .map(|measured| measured.as_ref().and_then(&figure))
            .collect()
    }

    fn spread(&self, peer: Peer, figure: Figure) -> Option<Spread> {
        let rounds = self.rounds_of(peer, |measured| figure.of(measured));
        Spread::of(rounds.into_iter().flatten().collect())
    }

    /// Tandem's figure by the peer's, or the other way round where less is better.
    fn ratio(&self, peer: Peer, figure: Figure) -> Option<Spread> {
        let ours = self.rounds_of(Peer::Tandem, |measured| figure.of(measured));
        let theirs = self.rounds_of(peer, |measured| figure.of(measured));
        match figure.is_time() {
            true => Spread::of_ratios(theirs, ours),
            false => Spread::of_ratios(ours, theirs),
        }
    }

    fn lines(&self, spread: impl Fn(Peer, Figure) -> Option<Spread>) -> Vec<Line> {
        let mut lines = Vec::new();
        for peer in self.peers.iter().map(|rounds| rounds.peer) {
            for figure in Figure::ALL {
                lines.extend(spread(peer, figure).map(|spread| Line {
                    peer,
                    figure,
                    spread,
                }));
            }
        }
        lines
    }

    /// One JSON object on one line.
    pub(crate) fn json(&self) -> Result<String, Error> {
        let report = Report {
            tool: "tandem-compare",
            version: env!("CARGO_PKG_VERSION"),
            comparison: self,
            spreads: self.lines(|peer, figure| self.spread(peer, figure)),
            ratios: self.lines(|peer, figure| match peer {
                Peer::Tandem => None,
                _ => self.ratio(peer, figure),
            }),
            targets: targets(self),
        };
        let text = serde_json::to_string(&report);
        text.map(|text| text + "\n")
            .map_err(|error| Error::system("the report", error))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use tandem_load::report::Latency;

    use super::*;
    use crate::cpu::Usage;
    use crate::measure::{Half, Point};

    fn overload(received_pps: f64) -> Option<Overload> {
        Some(Overload {
            asked_pps: 2 * received_pps as u64,
            sent_pps: 2.0 * received_pps,
            received_pps,
            generator_short: false,
            cpu: Usage::default(),
        })
    }

    fn measured(rate: u64) -> Measured {
        let rate_f = rate as f64;
        Measured {
            zero_loss_pps: rate,
            limited_by: None,
            peak_pps: rate_f,
            flat_out: overload(rate_f),
            twice: overload(rate_f),
            half: Some(Half {
                rate_pps: rate / 2,
                lost: 0,
                latency_ns: Latency {
                    p50: 1_000_000 / rate,
                    p99: 10_000_000 / rate,
                    p99_9: 100_000_000 / rate,
                    ..Latency::default()
                },
                cpu: Usage::default(),
            }),
            sweep: vec![Point {
                rate_pps: rate,
                sent_pps: rate_f,
                received_pps: rate_f,
                lost: 0,
                harmed: 0,
                passed: true,
                p99_ns: 1,
            }],
        }
    }

    /// Relays that carry so much in each round, and the latency of which is the better for it.
    pub(crate) fn comparison<const N: usize>(peers: &[(Peer, [u64; N])]) -> Comparison {
        let method = Method {
            rounds: N,
            streams: 1000,
            many_flows: 400_000,
            napi: Napi::Softirq,
            load_core: 0,
            relay_core: 1,
            room: 16_384,
            times: Times {
                trial: 2.0,
                retries: 2,
                resolution: 2.0,
                overload: 3.0,
                latency: 5.0,
            },
            notes: vec!["a note".to_owned()],
        };
        let names: Vec<_> = peers.iter().map(|(peer, _)| *peer).collect();
        let mut comparison = Comparison::new(method, &names);
        for (peer, rates) in peers {
            for rate in rates {
                comparison.add(
                    *peer,
                    Ok(Found {
                        measured: measured(*rate),
                        machine: Machine::default(),
                        packets: Packets::default(),
                    }),
                );
            }
        }
        comparison
    }

    #[test]
    fn more_is_always_better_for_tandem() {
        let comparison = comparison(&[(Peer::Tandem, [400, 500]), (Peer::Socket, [100, 250])]);
        let rate = comparison
            .ratio(Peer::Socket, Figure::ZeroLossPps)
            .expect("two");
        assert_eq!(rate.rounds, [4.0, 2.0]);
        let latency = comparison.ratio(Peer::Socket, Figure::P99Ns).expect("two");
        assert!((latency.rounds[0] - 4.0).abs() < 0.01, "{latency:?}");
    }

    #[test]
    fn a_failure_is_told_and_leaves_its_round_out() {
        let mut comparison = comparison(&[(Peer::Tandem, [400, 500]), (Peer::Socket, [100, 250])]);
        assert!(comparison.is_whole());
        comparison.add(
            Peer::Tandem,
            Ok(Found {
                measured: measured(600),
                machine: Machine::default(),
                packets: Packets::default(),
            }),
        );
        comparison.add(Peer::Socket, Err(Error::Peer("gone".to_owned())));
        assert!(!comparison.is_whole());
        let rate = comparison
            .ratio(Peer::Socket, Figure::ZeroLossPps)
            .expect("two");
        assert_eq!(rate.rounds, [4.0, 2.0]);
        let json: serde_json::Value =
            serde_json::from_str(&comparison.json().expect("JSON")).expect("JSON");
        assert_eq!(json["peers"][1]["failures"][0], "gone");
        assert!(json["peers"][1]["rounds"][2].is_null());
        assert!(comparison.table().contains("gone"));
    }

    #[test]
    fn the_json_has_what_is_documented() {
        let comparison = comparison(&[(Peer::Tandem, [400, 600]), (Peer::Rtpengine, [100, 100])]);
        let json: serde_json::Value =
            serde_json::from_str(&comparison.json().expect("JSON")).expect("JSON");
        assert_eq!(json["tool"], "tandem-compare");
        assert_eq!(json["method"]["napi"], "softirq");
        assert_eq!(json["method"]["trial"], 2.0);
        assert_eq!(json["peers"][0]["peer"], "tandem");
        assert_eq!(json["peers"][0]["rounds"][1]["zero_loss_pps"], 600);
        assert_eq!(json["ratios"][0]["peer"], "rtpengine");
        assert_eq!(json["ratios"][0]["figure"], "zero_loss_pps");
        assert_eq!(json["ratios"][0]["spread"]["median"], 5.0);
        assert_eq!(json["targets"][0]["met"], true);
        assert_eq!(json["targets"][1]["met"], false);
        assert!(json["targets"][1]["measured"].is_null());
        assert_eq!(json["interrupted"], false);
    }
}
