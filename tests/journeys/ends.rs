//! The end of tandem itself: drained by SIGTERM, at once by SIGINT twice, and by the operator call by call.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::lab::network::at;
use crate::lab::pair::Pair;
use crate::lab::relay::Setup;
use crate::lab::sip::{SENDRECV, audio};
use crate::lab::turn::Turn;

#[test]
fn a_drain_refuses_new_calls_waits_and_ends_the_rest() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default().set("drain_timeout", "\"3s\""));
    let (_call, mut parties) = pair.call(30_000);
    pair.relay.signal(Signal::TERM);
    let start = Instant::now();
    std::thread::sleep(Duration::from_millis(100));

    let mut dialog = pair.caller.dialog("4711");
    let offer = audio(at("10.1.0.2", 31_000), 1, SENDRECV);
    let request = pair.caller.request(&mut dialog, "INVITE").with_sdp(&offer);
    pair.caller.send(&request);
    let refusal = pair.caller.expect_response(503, "INVITE");
    pair.caller
        .send(&pair.caller.ack_refusal(&request, &refusal));
    Pair::assert_audio(&mut parties);

    let bye = pair.callee.expect_request("BYE");
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(2900), "BYE after {took:?}");
    pair.callee.respond(&bye, 200, "OK", "");
    let bye = pair.caller.expect_request("BYE");
    pair.caller.respond(&bye, 200, "OK", "");
    let status = pair.relay.wait(Duration::from_secs(5));
    assert_eq!(status.code(), Some(0), "{}", pair.relay.log());
}

#[test]
fn a_drain_ends_with_the_last_call() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default().set("drain_timeout", "\"60s\""));
    let (call, _parties) = pair.call(30_000);
    pair.relay.signal(Signal::TERM);
    std::thread::sleep(Duration::from_millis(300));
    call.caller_hangs_up(&mut pair.caller, &mut pair.callee);
    let status = pair.relay.wait(Duration::from_secs(5));
    assert_eq!(status.code(), Some(0), "{}", pair.relay.log());
}

#[test]
fn interrupted_twice_it_exits_at_once() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default().set("drain_timeout", "\"60s\""));
    let (_call, _parties) = pair.call(30_000);
    pair.relay.signal(Signal::INT);
    std::thread::sleep(Duration::from_millis(300));
    let state = pair.relay.json(&["status"])["state"].clone();
    assert_eq!(state, "draining", "the first one drains");
    pair.relay.signal(Signal::INT);
    let status = pair.relay.wait(Duration::from_secs(2));
    assert_eq!(status.code(), Some(1), "a call was cut off");
}

#[test]
fn an_operator_hangs_up_a_call() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default());
    let (_call, mut parties) = pair.call(30_000);
    Pair::assert_audio(&mut parties);
    let id = pair.relay.only_call();
    pair.relay.json(&["calls", "show", &id]);
    let flows = pair.relay.json(&["flows", &id]).to_string();
    assert!(flows.contains("10.1.0.2:30000"), "{flows}");
    tables(&pair, &id);
    let said = pair.relay.table(&["calls", "hangup", &id]);
    assert_eq!(said, format!("call {id} is being ended\n"));
    let bye = pair.callee.expect_request("BYE");
    pair.callee.respond(&bye, 200, "OK", "");
    let bye = pair.caller.expect_request("BYE");
    pair.caller.respond(&bye, 200, "OK", "");
    pair.relay.expect_gauge("calls", 0, Duration::from_secs(5));
}

/// What an operator reads while a call is up: every column under its heading.
fn tables(pair: &Pair, id: &str) {
    let calls = pair.relay.table(&["calls"]);
    assert_eq!(under(&calls, "TRUNKS"), ["callers > callees4"], "{calls}");
    assert!(calls.ends_with("\n1 calls\n"), "{calls}");

    let call = pair.relay.table(&["calls", "show", id]);
    assert_eq!(
        under(&call, "THEIR RTP"),
        ["10.1.0.2:30000", "10.2.0.2:30000"],
        "{call}"
    );
    let flows = pair.relay.table(&["flows", id]);
    let goes_to = under(&flows, "GOES TO");
    assert_eq!(goes_to.len(), 4, "{flows}");
    for address in ["10.1.0.2:30000", "10.2.0.2:30001"] {
        assert!(goes_to.contains(&address), "{flows}");
    }
    let workers = pair.relay.table(&["workers"]);
    assert_eq!(under(&workers, "STATE"), ["runs", "runs"], "{workers}");
    let full = under(&workers, "RX RING FULL");
    assert_eq!(full, ["0", "0", "0", "0"], "{workers}");
    let status = pair.relay.table(&["status"]);
    assert_eq!(under(&status, "XDP MODE"), ["copy", "copy"], "{status}");
    for words in ["1 of 10000 up", " pages", "received, ", "residence "] {
        assert!(status.contains(words), "no {words:?} in:\n{status}");
    }
}

/// The cells under a heading: what overlaps it in the lines down to the end of the table. Columns are at
/// least two blanks apart.
#[track_caller]
fn under<'a>(text: &'a str, heading: &str) -> Vec<&'a str> {
    let mut lines = text.lines();
    let start = lines
        .find_map(|line| line.find(heading))
        .unwrap_or_else(|| panic!("no {heading} in:\n{text}"));
    let heading = start..start + heading.len();
    let cell = |line: &'a str| {
        let mut end = 0;
        line.split("  ").find_map(|cell| {
            let start = end;
            end = start + cell.len() + 2;
            let overlaps = start < heading.end && heading.start < start + cell.len();
            (overlaps && !cell.trim().is_empty()).then(|| cell.trim())
        })
    };
    lines.map_while(cell).collect()
}

#[test]
fn stopped_tandem_leaves_the_devices_as_they_were() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default());
    assert!(pair.network.relay.run("ip link show in0").contains("xdp"));
    pair.relay.stop();
    for device in ["in0", "out0"] {
        let link = pair.network.relay.run(&format!("ip link show {device}"));
        assert!(!link.contains("xdp"), "{link}");
    }
}
