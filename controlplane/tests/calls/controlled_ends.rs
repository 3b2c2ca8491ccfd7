//! Calls of the control protocol over time: how they end when nobody ends them, and what RTCP tells meanwhile; on virtual
//! time.

use std::time::Duration;

use controlplane::ng::{Dictionary, Value};
use controlplane::records::{Measured, Quality};

use crate::controlled::{Proxy, go_silent, inner, number, ok};
use crate::world::{MEDIA_TIMEOUT, World, settings};

/// A figure of `totalstatistics`.
fn total(world: &mut World, proxy: &mut Proxy, name: &str) -> i64 {
    let told = ok(proxy.ask(world, "statistics", &[]));
    let totals: &Dictionary = inner(&told, &["statistics", "totalstatistics"]);
    match totals.get(name.as_bytes()) {
        Some(Value::Integer(count)) => *count,
        other => panic!("{name} is {other:?}"),
    }
}

#[test]
fn an_offer_that_nobody_answers_ends_after_its_time() {
    let (mut world, mut proxy) = (World::new(), Proxy::new());
    proxy.offer(&mut world, "x", &[]);
    proxy.offer(&mut world, "y", &[("via-branch", "1")]);
    proxy.offer(&mut world, "y", &[("via-branch", "2")]);
    proxy.answer(&mut world, "y", &[("via-branch", "2")]);
    world.advance(Duration::from_secs(3599));
    assert_eq!(world.agent.control_gauges().dialogues, 3);
    world.advance(Duration::from_secs(2));
    assert_eq!(
        world.agent.control_gauges().dialogues,
        1,
        "the one that was answered"
    );
    assert_eq!(total(&mut world, &mut proxy, "offertimeoutsessions"), 2);
    assert_eq!(total(&mut world, &mut proxy, "timeoutsessions"), 0);
    assert_eq!(world.agent.control_counters().offer_timeouts, 2);
}

#[test]
fn an_offer_may_wait_for_ever() {
    let mut settings = settings();
    settings.ng.offer_timeout = None;
    let (mut world, mut proxy) = (World::with(settings, 1), Proxy::new());
    proxy.offer(&mut world, "x", &[]);
    world.advance(Duration::from_secs(86_400));
    assert_eq!(world.agent.control_gauges().dialogues, 1);
}

#[test]
fn silence_of_a_call_on_hold_is_counted_apart() {
    let (mut world, mut proxy) = (World::new(), Proxy::new());
    proxy.call(&mut world, "x");
    let inactive = [("flags", "inactive")];
    proxy.offer(&mut world, "x", &inactive);
    proxy.answer(&mut world, "x", &inactive);
    let bound = world.flows[0]
        .values()
        .filter_map(|flow| flow.idle_after)
        .max();
    assert_eq!(
        bound,
        Some(Duration::from_secs(3600)),
        "longer than {MEDIA_TIMEOUT:?}"
    );
    go_silent(&mut world);
    assert_eq!(world.agent.control_gauges().calls, 0);
    assert_eq!(total(&mut world, &mut proxy, "silenttimeoutsessions"), 1);
    assert_eq!(total(&mut world, &mut proxy, "timeoutsessions"), 0);
}

/// A worker hears a report of what the party at this port sends.
fn reported(world: &mut World, at: contract::FlowKey, reports: u64, fraction_lost: u8) {
    let quality = Quality {
        lost: 10 * reports,
        jitter: Some(Duration::from_millis(reports)),
        round_trip: Some(Duration::from_millis(40)),
        ssrc: Some(7),
        reports,
        fraction_lost,
    };
    let measured = Measured {
        packets: 1000 * reports,
        quality: Some(quality),
        ..Measured::default()
    };
    world.counted.insert(at, measured);
}

#[test]
fn scores_are_those_of_all_reports_and_each_counts_once() {
    let (mut world, mut proxy) = (World::new(), Proxy::new());
    let [towards_a, _] = proxy.call(&mut world, "x");
    let at = contract::FlowKey {
        address: towards_a.ip(),
        port: towards_a.port(),
    };
    for (reports, fraction_lost) in [(1, 0), (2, 128), (3, 26)] {
        reported(&mut world, at, reports, fraction_lost);
        // Two looks find the same report.
        world.advance(Duration::from_secs(11));
    }
    let told = ok(proxy.ask(&mut world, "query", &[("call-id", "x")]));
    let of = |name: &str, figure: &str| number(inner(&told, &["SSRC", "7", name]), figure);
    assert_eq!(of("average MOS", "samples"), 3);
    assert_eq!(of("average MOS", "packet loss"), (50 + 10) / 3);
    assert_eq!(of("average MOS", "jitter"), 2);
    assert_eq!(
        (of("lowest MOS", "packet loss"), of("lowest MOS", "jitter")),
        (50, 2)
    );
    assert_eq!(
        (
            of("highest MOS", "packet loss"),
            of("highest MOS", "jitter")
        ),
        (0, 1)
    );
    let [lowest, average, highest] =
        ["lowest MOS", "average MOS", "highest MOS"].map(|name| of(name, "MOS"));
    assert!(
        lowest < average && average < highest,
        "{lowest} {average} {highest}"
    );
    let reported_at = [
        of("highest MOS", "reported at"),
        of("lowest MOS", "reported at"),
    ];
    assert!(
        (10..=12).contains(&(reported_at[1] - reported_at[0])),
        "{reported_at:?}"
    );
    assert_eq!(number(inner(&told, &["SSRC", "7"]), "cumulative loss"), 30);
}
