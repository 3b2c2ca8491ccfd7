//! `tandem trunks`: which peers are well, and how much goes through each trunk.

use std::process::ExitCode;

use super::duration::spell_seconds;
use super::output::{print, print_json};
use super::table::{Columns, or_dash, spell_counts};
use super::{Failure, Query};
use crate::admin::protocol::Request;
use crate::admin::views::{RateLimit, Trunk, TrunkPeer, Trunks};

pub(super) fn show(query: &Query) -> Result<ExitCode, Failure> {
    let client = query.client();
    let answer = client.ask(&Request::Trunks {})?;
    if query.json {
        print_json(&answer)?;
    } else {
        print(&render(&client.understand(answer)?))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn render(view: &Trunks) -> String {
    [traffic(view), peers(view)].join("\n")
}

fn traffic(view: &Trunks) -> String {
    let mut columns = Columns::new(&[
        "trunk",
        ">calls in",
        ">calls out",
        ">both",
        ">in/s",
        ">out/s",
        ">kbit/s",
        "refused",
    ]);
    for trunk in &view.trunks {
        let limits = &trunk.limits;
        columns.row([
            trunk.name.clone(),
            of(trunk.calls_in, limits.calls_in),
            of(trunk.calls_out, limits.calls_out),
            of(trunk.calls_in + trunk.calls_out, limits.calls),
            of(trunk.calls_per_second_in, per_second(limits.rate_in)),
            of(trunk.calls_per_second_out, per_second(limits.rate_out)),
            of(
                trunk.bandwidth_bps / 1_000,
                limits.bandwidth_bps.map(|bits| bits / 1_000),
            ),
            spell_counts(&trunk.refused),
        ]);
    }
    columns.render()
}

fn per_second(limit: Option<RateLimit>) -> Option<u64> {
    limit.map(|rate| u64::from(rate.per_second))
}

/// `3`, or `3 of 10` where there is a limit.
fn of(used: u64, limit: Option<u64>) -> String {
    match limit {
        Some(limit) => format!("{used} of {limit}"),
        None => used.to_string(),
    }
}

fn peers(view: &Trunks) -> String {
    let mut columns = Columns::new(&[
        "peer",
        "trunk",
        ">priority",
        ">weight",
        "state",
        ">for",
        ">answer",
        ">rtt ms",
        ">checks",
        ">failures",
    ]);
    let each = view.trunks.iter().flat_map(|trunk| {
        let of_trunk = trunk.peers.iter();
        of_trunk.map(move |peer| (trunk, peer))
    });
    for (trunk, peer) in each {
        columns.row(peer_row(trunk, peer));
    }
    columns.render()
}

fn peer_row(trunk: &Trunk, peer: &TrunkPeer) -> [String; 10] {
    [
        peer.address.clone(),
        trunk.name.clone(),
        peer.priority.to_string(),
        peer.weight.to_string(),
        peer.state.clone(),
        spell_seconds(peer.since_seconds),
        or_dash(peer.last_code.map(|code| code.to_string())),
        or_dash(peer.last_rtt_ms.map(|rtt| format!("{rtt:.1}"))),
        peer.checks.to_string(),
        peer.failures.to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_stand_beside_what_they_bound() {
        assert_eq!(of(3, Some(10)), "3 of 10");
        assert_eq!(of(3, None), "3");
        let view = Trunks {
            trunks: vec![Trunk {
                name: "carrier".to_owned(),
                calls_in: 2,
                calls_out: 5,
                refused: [("calls_in".to_owned(), 4)].into(),
                peers: vec![TrunkPeer {
                    address: "10.0.0.2:5060".to_owned(),
                    state: "down".to_owned(),
                    ..TrunkPeer::default()
                }],
                ..Trunk::default()
            }],
        };
        let text = render(&view);
        assert!(
            text.contains("carrier") && text.contains("calls_in"),
            "{text}"
        );
        assert!(
            text.contains("10.0.0.2:5060") && text.contains("down"),
            "{text}"
        );
    }
}
