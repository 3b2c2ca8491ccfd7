//! rtpengine's control protocol as the admin socket's views. Pure.

use controlplane::ng::{Counters, Gauges};
use controlplane::settings::ControlListener;
use controlplane::transport::control::{ControlConnectionCounts, ControlCounts};

use crate::admin::views::{Counts, Ng, NgConnections, NgListener};

/// All of it; `None` when there is no such door.
pub(crate) fn ng(
    settings: &[ControlListener],
    sockets: &[ControlCounts],
    counters: &Counters,
    gauges: Gauges,
) -> Option<Ng> {
    if settings.is_empty() && counters.commands.is_empty() {
        return None;
    }
    let events = [
        ("limited", counters.limited),
        ("no_cookie", counters.no_cookie),
        ("no_dictionary", counters.no_dictionary),
        ("repeated", counters.repeated),
        ("unknown_flags", counters.unknown_flags),
        ("shortened", counters.shortened),
        ("calls", counters.calls),
        ("deleted", counters.deleted),
        ("media_timeouts", counters.media_timeouts),
        ("silent_timeouts", counters.silent_timeouts),
        ("offer_timeouts", counters.offer_timeouts),
        ("final_timeouts", counters.final_timeouts),
        ("flows_refused", counters.flows_refused),
        ("not_recorded", counters.not_recorded),
        ("not_played", counters.not_played),
    ];
    Some(Ng {
        calls: gauges.calls as u64,
        dialogues: gauges.dialogues as u64,
        waiting: gauges.waiting as u64,
        remembered: gauges.cookies as u64,
        commands: named(
            counters
                .commands
                .iter()
                .map(|(name, count)| (*name, *count)),
        ),
        errors: named(counters.errors.iter().map(|(name, count)| (*name, *count))),
        events: named(events),
        listeners: settings.iter().zip(sockets).map(listener).collect(),
    })
}

fn listener((settings, counts): (&ControlListener, &ControlCounts)) -> NgListener {
    NgListener {
        name: settings.name.clone(),
        address: settings.address.to_string(),
        transport: settings.transport.name().to_owned(),
        requests: counts.requests,
        replies: counts.replies,
        refused: counts.refused,
        malformed: counts.malformed,
        too_large: counts.too_large,
        unsent: named([
            ("oversize", counts.oversize),
            ("overflowed", counts.overflowed),
            ("undeliverable", counts.undeliverable),
            ("send_errors", counts.send_errors),
        ]),
        receive_errors: counts.receive_errors,
        connections: counts.connections.as_ref().map(connections),
    }
}

fn connections(counts: &ControlConnectionCounts) -> NgConnections {
    NgConnections {
        open: counts.open as u64,
        accepted: counts.accepted,
        turned_away: counts.turned_away,
        web_sockets: counts.web_sockets,
        framing_errors: counts.framing_errors,
        stalled: counts.stalled,
        idle: counts.idle,
        closed: counts.closed,
        broken: counts.broken,
    }
}

/// Counts by name, without those of what never happened.
fn named<'n>(counts: impl IntoIterator<Item = (&'n str, u64)>) -> Counts {
    let happened = counts.into_iter().filter(|(_, count)| *count > 0);
    happened
        .map(|(name, count)| (name.to_owned(), count))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    #[test]
    fn a_door_that_is_not_there_is_not_shown_and_what_never_happened_is_left_out() {
        let (counters, gauges) = (Counters::default(), Gauges::default());
        assert_eq!(ng(&[], &[], &counters, gauges), None);
        let settings = [ControlListener::new(
            "ng",
            SocketAddr::from(([127, 0, 0, 1], 1)),
        )];
        let sockets = [ControlCounts {
            requests: 3,
            oversize: 1,
            ..ControlCounts::default()
        }];
        let shown = ng(&settings, &sockets, &counters, gauges).expect("there is a door");
        let listener = shown.listeners.first().expect("one");
        assert_eq!((listener.requests, listener.transport.as_str()), (3, "udp"));
        assert_eq!(listener.unsent, Counts::from([("oversize".to_owned(), 1)]));
        assert_eq!(listener.connections, None);
    }
}
