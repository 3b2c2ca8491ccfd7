//! Trunks and overload as the admin socket's views. Pure: what the control plane says goes in.

use contract::Timestamp;
use controlplane::agent::OverloadView;
use controlplane::settings::{Rate, TrunkLimits};
use controlplane::trunks::{PeerView, TrunkView};

use crate::admin::views::{Overload, RateLimit, Trunk, TrunkBounds, TrunkPeer, Trunks};

/// Every trunk.
pub(crate) fn trunks(views: &[TrunkView], now: Timestamp) -> Trunks {
    Trunks {
        trunks: views.iter().map(|view| trunk(view, now)).collect(),
    }
}

fn trunk(view: &TrunkView, now: Timestamp) -> Trunk {
    Trunk {
        name: view.name.clone(),
        calls_in: view.calls_in as u64,
        calls_out: view.calls_out as u64,
        calls_per_second_in: view.rate_in,
        calls_per_second_out: view.rate_out,
        bandwidth_bps: view.bandwidth,
        limits: bounds(&view.limits),
        refused: view
            .refused
            .iter()
            .map(|(name, count)| ((*name).to_owned(), *count))
            .collect(),
        peers: view.peers.iter().map(|each| peer(each, now)).collect(),
    }
}

fn bounds(limits: &TrunkLimits) -> TrunkBounds {
    let calls = |limit: Option<usize>| limit.map(|calls| calls as u64);
    let rate = |limit: Option<Rate>| {
        limit.map(|rate| RateLimit {
            per_second: rate.per_second,
            burst: rate.burst,
        })
    };
    TrunkBounds {
        calls: calls(limits.calls),
        calls_in: calls(limits.calls_in),
        calls_out: calls(limits.calls_out),
        rate_in: rate(limits.rate_in),
        rate_out: rate(limits.rate_out),
        bandwidth_bps: limits.bandwidth,
    }
}

fn peer(view: &PeerView, now: Timestamp) -> TrunkPeer {
    TrunkPeer {
        address: view.address.to_string(),
        priority: view.priority,
        weight: view.weight,
        state: view.state.to_string(),
        since_seconds: now.since(view.since).as_secs_f64(),
        last_code: view.last_code,
        last_rtt_ms: view.last_rtt.map(|rtt| rtt.as_secs_f64() * 1_000.0),
        checks: view.checks,
        failures: view.failures,
    }
}

/// What is done against overload.
pub(crate) fn overload(view: &OverloadView) -> Overload {
    Overload {
        shedding: view.shedding,
        calls_per_second: view.shedding.then(|| view.rate_millis as f64 / 1_000.0),
        waited_ms: view.waited.as_secs_f64() * 1_000.0,
        refused: view.refused,
        episodes: view.episodes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use controlplane::trunks::HealthState;
    use std::time::Duration;

    #[test]
    fn times_are_spans_and_limits_that_are_not_there_are_null() {
        let second = Timestamp::from_nanos(1_000_000_000);
        let view = TrunkView {
            name: "carrier".to_owned(),
            calls_in: 1,
            calls_out: 2,
            rate_in: 3,
            rate_out: 4,
            bandwidth: 80_000,
            limits: TrunkLimits {
                calls: Some(9),
                ..TrunkLimits::default()
            },
            refused: [("calls", 7)].into(),
            peers: vec![PeerView {
                address: "10.0.0.2:5060".parse().expect("an address"),
                priority: 1,
                weight: 2,
                state: HealthState::Recovering,
                since: second,
                last_code: Some(200),
                last_rtt: Some(Duration::from_micros(1_500)),
                checks: 5,
                failures: 6,
            }],
        };
        let seen = trunks(&[view], Timestamp::from_nanos(3_500_000_000));
        let trunk = &seen.trunks[0];
        assert_eq!((trunk.limits.calls, trunk.limits.rate_in), (Some(9), None));
        assert_eq!(trunk.refused["calls"], 7);
        let peer = &trunk.peers[0];
        assert_eq!(peer.state, "recovering");
        assert_eq!((peer.since_seconds, peer.last_rtt_ms), (2.5, Some(1.5)));
    }

    #[test]
    fn a_rate_is_told_only_while_it_is_kept() {
        let mut view = OverloadView {
            rate_millis: 1_500,
            ..OverloadView::default()
        };
        assert_eq!(overload(&view).calls_per_second, None);
        view.shedding = true;
        assert_eq!(overload(&view).calls_per_second, Some(1.5));
    }
}
