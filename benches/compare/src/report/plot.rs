//! The report as a drawing.

use tandem_load::plot::comparison::{Bar, Comparison as Sheet, Panel, draw};
use tandem_load::plot::{Heading, Quantity, Scale};

use super::{Comparison, Figure};
use crate::error::Error;
use crate::peers::Peer;

impl Comparison {
    /// An SVG: a panel for each figure, a bar for each relay.
    pub(crate) fn svg(&self) -> Result<String, Error> {
        let panels = [
            (
                Figure::ZeroLossPps,
                "zero-loss rate, packets a second",
                Quantity::Rate,
            ),
            (
                Figure::TwicePps,
                "throughput at twice that rate, packets a second",
                Quantity::Rate,
            ),
            (
                Figure::P99Ns,
                "p99 latency at half of that rate",
                Quantity::Nanos,
            ),
        ];
        let panel = |(figure, name, quantity): (Figure, &str, Quantity)| Panel {
            name: name.to_owned(),
            quantity,
            scale: match figure.is_time() {
                true => Scale::Log,
                false => Scale::Linear,
            },
            bars: self.bars(figure),
        };
        let sheet = Sheet {
            heading: Heading {
                title: "tandem beside its peers".to_owned(),
                notes: self.head().lines().map(str::to_owned).collect(),
            },
            panels: panels.map(panel).into(),
        };
        draw(&sheet).map_err(|error| Error::system("the plot", error))
    }

    fn bars(&self, figure: Figure) -> Vec<Bar> {
        let bar = |peer: Peer| {
            let spread = self.spread(peer, figure)?;
            let ours = peer == Peer::Tandem;
            let ratio = match ours {
                true => None,
                false => self.ratio(peer, figure),
            };
            Some(Bar {
                name: peer.name().to_owned(),
                min: spread.min,
                median: spread.median,
                max: spread.max,
                ours,
                remark: ratio.map_or_else(String::new, |ratio| {
                    format!("tandem is {:.2} times as good", ratio.median)
                }),
            })
        };
        let peers = self.peers.iter().map(|rounds| rounds.peer);
        peers.filter_map(bar).collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::peers::Peer;
    use crate::report::tests::comparison;

    #[test]
    fn every_relay_is_drawn() {
        let peers = [(Peer::Tandem, [400_000; 2]), (Peer::Xdp, [900_000; 2])];
        let svg = comparison(&peers).svg().expect("a plot");
        assert!(svg.starts_with("<svg") || svg.starts_with("<?xml"), "{svg}");
        for said in ["tandem", "xdp", "0.44 times"] {
            assert!(svg.contains(said), "{said}");
        }
    }
}
