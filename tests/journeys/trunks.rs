//! Trunks in service on the wire: a peer that stops answering is left out and comes back, a silent one holds a call up
//! for a bounded time only.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::lab::network::at;
use crate::lab::pair::Pair;
use crate::lab::phone::Phone;
use crate::lab::relay::Setup;
use crate::lab::sip::{Message, SENDRECV, audio};
use crate::lab::sipp::Sipp;
use crate::lab::turn::Turn;

/// The trunk that calls to 7... try first; its only peer is at port 5070.
const FIRST: &str = "peers = [\"10.2.0.2:5070\"]";

fn dial(pair: &mut Pair) -> Message {
    let mut dialog = pair.caller.dialog("7711");
    let offer = audio(at("10.1.0.2", 30_000), 1, SENDRECV);
    let request = pair.caller.request(&mut dialog, "INVITE").with_sdp(&offer);
    pair.caller.send(&request);
    request
}

/// The call ends with 486 from the callee.
fn decline(pair: &mut Pair, request: &Message, patience: Duration) {
    let invite = pair.callee.expect_within(patience, "INVITE", |message| {
        message.method() == Some("INVITE")
    });
    pair.callee.respond(&invite, 486, "Busy Here", "busy");
    pair.callee.expect_request("ACK");
    let refusal = pair.caller.expect_response(486, "INVITE");
    pair.caller
        .send(&pair.caller.ack_refusal(request, &refusal));
}

fn peer(pair: &Pair, trunk: &str) -> Value {
    let view = pair.relay.json(&["trunks"]);
    let trunks = view.pointer("/trunks").and_then(Value::as_array);
    let named = |each: &&Value| each.pointer("/name").and_then(Value::as_str) == Some(trunk);
    let found = trunks.into_iter().flatten().find(named);
    let peer = found.and_then(|trunk| trunk.pointer("/peers/0"));
    peer.unwrap_or_else(|| panic!("no peer of {trunk} in {view}"))
        .clone()
}

#[track_caller]
fn expect_state(pair: &Pair, trunk: &str, state: &str) {
    let end = Instant::now() + Duration::from_secs(15);
    loop {
        let peer = peer(pair, trunk);
        if peer.pointer("/state").and_then(Value::as_str) == Some(state) {
            return;
        }
        assert!(Instant::now() < end, "not {state}: {peer}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_peer_that_stops_answering_is_left_out_until_it_answers_again() {
    let _turn = Turn::shared();
    let check = "check = { every = \"1s\", timeout = \"500ms\", down_after = 2, up_after = 2 }";
    let setup = Setup::default().replace(FIRST, &format!("{FIRST}\n{check}"));
    let mut pair = Pair::new(&setup);
    let sipp = Sipp::start(
        &pair.network.callee,
        "callee-options.xml",
        "10.2.0.2",
        5070,
        &[],
    );
    expect_state(&pair, "first", "up");
    let seen = peer(&pair, "first");
    assert_eq!(
        seen.pointer("/last_code").and_then(Value::as_u64),
        Some(200)
    );
    assert!(
        seen.pointer("/last_rtt_ms").is_some_and(Value::is_number),
        "{seen}"
    );

    sipp.signal(Signal::STOP);
    expect_state(&pair, "first", "down");
    let started = Instant::now();
    let request = dial(&mut pair);
    decline(&mut pair, &request, Duration::from_secs(3));
    // Nobody waited for the peer that is down: that would have been 4 s.
    assert!(started.elapsed() < Duration::from_secs(3));

    sipp.signal(Signal::CONT);
    expect_state(&pair, "first", "up");
    let log = pair.relay.log();
    assert!(
        log.contains("peer out of service") && log.contains("peer in service"),
        "{log}"
    );
    let table = pair.relay.table(&["trunks"]);
    assert!(
        table.contains("10.2.0.2:5070") && table.contains("callees4"),
        "{table}"
    );
    pair.assert_quiet();
}

#[test]
fn a_silent_peer_holds_a_call_up_for_a_bounded_time_and_is_ended_when_it_wakes() {
    let _turn = Turn::shared();
    let failover = "failover = { after = \"1s\", total = \"5s\" }";
    let setup = Setup::default().replace(FIRST, &format!("{FIRST}\n{failover}"));
    let mut pair = Pair::new(&setup);
    let mut first = Phone::new(
        &pair.network.callee,
        at("10.2.0.2", 5070),
        at("10.2.0.1", 5060),
    );
    let request = dial(&mut pair);
    let invite = first.expect_request("INVITE");
    decline(&mut pair, &request, Duration::from_secs(3));
    // It wakes up and answers at once: acknowledged, ended, and nobody else hears of it.
    let ok = first.response(&invite, 200, "OK", "late");
    first.send(&ok.with_sdp(&audio(at("10.2.0.2", 30_000), 1, SENDRECV)));
    first.expect_request("ACK");
    let bye = first.expect_request("BYE");
    first.respond(&bye, 200, "OK", "");
    pair.assert_quiet();
    pair.relay.expect_gauge("calls", 0, Duration::from_secs(5));
}
