//! Proof 4: after a thousand calls everything is back where it was.

use std::time::Duration;

use crate::lab::call::Call;
use crate::lab::network::at;
use crate::lab::pair::Pair;
use crate::lab::relay::{Relay, Setup};
use crate::lab::rtp::{Noise, Party};
use crate::lab::turn::Turn;

const CALLS: u16 = 1000;
/// Calls that are up at a time, at the most.
const AT_ONCE: usize = 60;
const SEED: u64 = 2;
/// Thousands of calls after which memory must have come to rest.
const MOST_ROUNDS: u64 = 4;

/// What a relay at rest holds.
const GAUGES: [&str; 6] = [
    "calls",
    "dialogs",
    "transactions",
    "flows",
    "ports_in_use",
    "ports_resting",
];

#[test]
fn a_thousand_calls_leave_nothing_behind() {
    let _turn = Turn::alone();
    let setup = Setup::default()
        .set("port_rest", "\"1s\"")
        .set("t1", "\"30ms\"")
        .set("t2", "\"100ms\"")
        .under("[sip]", "t4 = \"100ms\"");
    let mut pair = Pair::new(&setup);
    let frames = pair.relay.workers().free_frames();

    // The first thousand fill the allocator's pools; the next must find all it needs there. How many calls are up or at
    // rest at a time depends on the machine, so a later thousand may need a little more; a leak grows with each.
    thousand_calls(&mut pair, SEED);
    at_rest(&pair.relay);
    let mut rounds = 1;
    let mut before = pair.relay.resident_memory();
    let (grown, after) = loop {
        thousand_calls(&mut pair, SEED + rounds);
        at_rest(&pair.relay);
        rounds += 1;
        let after = pair.relay.resident_memory();
        let grown = after.saturating_sub(before);
        if grown < 1 << 20 || rounds == MOST_ROUNDS {
            break (grown, after);
        }
        before = after;
    };

    assert_eq!(pair.relay.workers().free_frames(), frames, "UMEM frames");
    assert_eq!(pair.relay.workers().flows(), 0, "flows at the workers");
    assert_eq!(pair.relay.calls("answered"), rounds * u64::from(CALLS));
    assert!(grown < 1 << 20, "{before} bytes before, {after} after");
    pair.assert_quiet();
}

fn at_rest(relay: &Relay) {
    for gauge in GAUGES {
        relay.expect_gauge(gauge, 0, Duration::from_secs(20));
    }
}

/// Calls begin and end in random order; each says something before it ends.
fn thousand_calls(pair: &mut Pair, seed: u64) {
    let mut noise = Noise(seed);
    let mut up: Vec<(Call, [Party; 2])> = Vec::new();
    let mut begun = 0;
    while begun < CALLS || !up.is_empty() {
        let begin = begun < CALLS && up.len() < AT_ONCE && (up.is_empty() || noise.below(100) < 55);
        if begin {
            up.push(pair.call(30_000 + 2 * begun));
            begun += 1;
            continue;
        }
        let (call, mut parties) = up.swap_remove(noise.below(up.len()));
        exchange(&mut parties);
        if noise.below(2) == 0 {
            call.caller_hangs_up(&mut pair.caller, &mut pair.callee);
        } else {
            call.callee_hangs_up(&mut pair.caller, &mut pair.callee);
        }
    }
}

/// One packet each way.
fn exchange(parties: &mut [Party; 2]) {
    for _ in 0..200 {
        if parties.iter().all(|party| party.heard() > 0) {
            return;
        }
        if parties[0].sent() == 0 {
            parties.iter_mut().for_each(Party::speak);
        }
        std::thread::sleep(Duration::from_millis(1));
        parties.iter_mut().for_each(Party::listen);
    }
    panic!(
        "{} and {}: no audio",
        parties[0].address(),
        parties[1].address()
    );
}

#[test]
fn a_call_can_use_every_port_in_turn() {
    let _turn = Turn::shared();
    let setup = Setup::default()
        .set("ports", "\"20000-20007\"")
        .set("port_rest", "\"0s\"");
    let mut pair = Pair::new(&setup);
    let mut used = std::collections::BTreeSet::new();
    for _ in 0..40 {
        let (call, mut parties) = pair.call(30_000);
        exchange(&mut parties);
        used.insert(call.caller_sends_to);
        call.caller_hangs_up(&mut pair.caller, &mut pair.callee);
    }
    assert_eq!(used.len(), 4, "{used:?}");
    assert!(used.contains(&at("10.1.0.1", 20_006)), "{used:?}");
}
