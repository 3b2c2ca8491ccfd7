//! A new configuration while calls are up, and while one is being set up.

use controlplane::settings::{Route, Trunk, TrunkId, Unlike};

use crate::phone::{Phone, expect, sdp};
use crate::plain::established;
use crate::ringing::calling;
use crate::world::{CALLEE, SECOND, World, addr, settings};

#[test]
fn calls_that_are_up_stay_and_the_next_goes_by_the_new_routes() {
    let mut world = World::new();
    let (mut caller, callee) = established(&mut world, "stays");
    let mut new = settings();
    // The callee's trunk is gone; the route leads to another.
    new.trunks[1] = Trunk::retired("callees");
    new.trunks[3] = Trunk::retired("one");
    let again = Trunk::new(
        "again",
        [addr(SECOND)],
        new.trunks[0].listeners.clone(),
        new.trunks[2].media,
    );
    new.trunks.push(Trunk {
        listeners: settings().trunks[1].listeners.clone(),
        ..again
    });
    new.routes = vec![Route::new(Some(TrunkId(0)), None, [TrunkId(1), TrunkId(4)])];
    let now = world.now;
    world.agent.reconfigure(new, now).expect("the same process");
    world.settle();
    assert_eq!(world.agent.calls()[0].to_trunk.as_deref(), Some("one"));

    let mut next = Phone::caller("next");
    next.invite(&mut world, "900", &sdp("10.1.0.2", 4002));
    next.expect(&mut world, "100");
    let invite = expect(&mut world, addr(SECOND), "INVITE");
    let second = Phone::callee(SECOND, &invite, "second");
    second.respond(&mut world, &invite, 486, "");
    second.expect(&mut world, "ACK");
    let busy = next.expect(&mut world, "486");
    next.ack(&mut world, &busy, "");

    // Both sides of the old call may still speak.
    caller.request(&mut world, "UPDATE", "");
    let update = callee.expect(&mut world, "UPDATE");
    callee.respond(&mut world, &update, 200, "");
    caller.expect(&mut world, "200");
    let mut callee = callee;
    callee.request(&mut world, "BYE", "");
    callee.expect(&mut world, "200");
    caller.take_bye(&mut world);
    world.assert_clean();
}

#[test]
fn a_call_that_rings_may_still_be_answered_by_a_trunk_that_is_gone() {
    let mut world = World::new();
    let (mut caller, invite) = calling(&mut world, "rings");
    let mut new = settings();
    for trunk in &mut new.trunks[1..] {
        *trunk = Trunk::retired(trunk.name.clone());
    }
    new.routes.clear();
    let now = world.now;
    world.agent.reconfigure(new, now).expect("the same process");
    let mut callee = Phone::callee(CALLEE, &invite, "late");
    callee.respond(&mut world, &invite, 200, &sdp("10.2.0.2", 5000));
    let answer = caller.expect(&mut world, "200");
    callee.expect(&mut world, "ACK");
    caller.ack(&mut world, &answer, "");
    callee.request(&mut world, "BYE", "");
    callee.expect(&mut world, "200");
    caller.take_bye(&mut world);
    world.assert_clean();
}

#[test]
fn settings_of_another_process_are_not_taken() {
    let mut world = World::new();
    let now = world.now;
    let mut try_with = |change: &dyn Fn(&mut controlplane::settings::Settings)| {
        let mut new = settings();
        change(&mut new);
        world.agent.reconfigure(new, now)
    };
    let taken = [
        try_with(&|new| new.listeners.truncate(1)),
        try_with(&|new| new.media_groups[0].ports.1 += 2),
        try_with(&|new| new.trunks.swap(0, 1)),
        try_with(&|new| new.trunks.truncate(3)),
        try_with(&|new| new.limits.calls = 1),
    ];
    assert_eq!(
        taken,
        [
            Err(Unlike::Listeners),
            Err(Unlike::MediaGroups),
            Err(Unlike::Trunks),
            Err(Unlike::Trunks),
            Ok(()),
        ]
    );
    assert_eq!(world.agent.settings().limits.calls, 1);
}
