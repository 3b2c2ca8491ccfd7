//! How calls of the control protocol end when nobody ends them, and what `statistics` says of it; on virtual time.

use std::time::Duration;

use controlplane::ng::{Dictionary, Value};

use crate::controlled::{Proxy, go_silent, inner, ok};
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
