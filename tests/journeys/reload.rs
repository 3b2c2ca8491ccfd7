//! A new configuration for a running relay, while a call talks.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::lab::call::Call;
use crate::lab::network::at;
use crate::lab::pair::Pair;
use crate::lab::relay::Setup;
use crate::lab::sip::{SENDRECV, audio};
use crate::lab::turn::Turn;

/// Puts another file in the place of the relay's, and has it read.
fn reload(pair: &Pair, setup: &Setup, arguments: &[&str]) -> (Option<i32>, Value) {
    setup.write_over(&pair.relay);
    let output = pair.relay.ask(&[&["reload", "--json"], arguments].concat());
    let said = serde_json::from_slice(&output.stdout);
    (output.status.code(), said.expect("JSON"))
}

/// Calling this number leads nowhere.
#[track_caller]
fn assert_not_found(pair: &mut Pair, number: &str) {
    let mut dialog = pair.caller.dialog(number);
    let offer = audio(at("10.1.0.2", 31_000), 1, SENDRECV);
    let request = pair.caller.request(&mut dialog, "INVITE").with_sdp(&offer);
    pair.caller.send(&request);
    let refusal = pair.caller.expect_response(404, "INVITE");
    pair.caller
        .send(&pair.caller.ack_refusal(&request, &refusal));
}

#[test]
fn a_new_route_counts_from_the_next_call_on_and_the_one_that_is_up_stays() {
    let _turn = Turn::shared();
    let setup = Setup::default();
    let mut pair = Pair::new(&setup);
    let (call, mut parties) = pair.call(30_000);
    assert_not_found(&mut pair, "9");

    // The trunk of the call goes, another comes in its place, and number 4 is nobody's any more.
    let changed = setup
        .clone()
        .replace("\"callees4\"", "\"callees-new\"")
        .replace("user = \"4[0-9]*\"", "user = \"8[0-9]*\"");
    let (code, seen) = reload(&pair, &changed, &["--dry-run"]);
    assert_eq!((code, &seen["applied"]), (Some(0), &Value::Bool(false)));
    assert_not_found(&mut pair, "9");
    let (code, taken) = reload(&pair, &changed, &[]);
    assert_eq!((code, &taken["applied"]), (Some(0), &Value::Bool(true)));
    assert_eq!(taken["changes"], seen["changes"]);
    let sections: Vec<_> = taken["changes"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|change| change["section"].as_str().expect("text"))
        .collect();
    assert!(
        sections.contains(&"[[trunk]] \"callees-new\""),
        "{sections:?}"
    );
    assert!(sections.contains(&"[[trunk]] \"callees4\""), "{sections:?}");
    assert!(sections.contains(&"[[route]] 1"), "{sections:?}");

    assert_not_found(&mut pair, "4711");
    Pair::assert_audio(&mut parties);
    let calls = pair.relay.json(&["calls"]);
    assert_eq!(calls["calls"][0]["to_trunk"], "callees4");
    call.caller_hangs_up(&mut pair.caller, &mut pair.callee);

    let parties = pair.parties(31_000);
    let (one, other) = (parties[0].address(), parties[1].address());
    let call = Call::establish(&mut pair.caller, &mut pair.callee, "8", one, other);
    let calls = pair.relay.json(&["calls"]);
    assert_eq!(calls["calls"][0]["to_trunk"], "callees-new");
    pair.finish(call);
}

#[test]
fn a_file_that_cannot_be_used_changes_nothing() {
    let _turn = Turn::shared();
    let setup = Setup::default();
    let mut pair = Pair::new(&setup);

    let broken = setup.clone().set("max_calls", "\"many\"");
    let (code, seen) = reload(&pair, &broken, &[]);
    assert_eq!((code, &seen["applied"]), (Some(1), &Value::Bool(false)));
    let report = seen["report"].as_str().expect("text");
    assert!(report.contains("`max_calls` is a string"), "{report}");

    let elsewhere = setup
        .clone()
        .set("max_calls", "0x1")
        .replace("10.1.0.1:5060", "10.1.0.1:5062");
    let (code, seen) = reload(&pair, &elsewhere, &[]);
    assert_eq!((code, &seen["applied"]), (Some(1), &Value::Bool(false)));
    let why = seen["refused"].as_str().expect("a reason");
    assert!(why.contains("restart") && why.contains("inside4"), "{why}");

    let (call, mut parties) = pair.call(30_000);
    Pair::assert_audio(&mut parties);
    pair.finish(call);
}

#[test]
fn sighup_has_the_file_read_too() {
    let _turn = Turn::shared();
    let setup = Setup::default();
    let mut pair = Pair::new(&setup);
    setup
        .replace("user = \"4[0-9]*\"", "user = \"8[0-9]*\"")
        .set("log", "\"debug\"")
        .write_over(&pair.relay);
    pair.relay.signal(Signal::HUP);
    let end = Instant::now() + Duration::from_secs(5);
    while !pair.relay.log().contains("configuration taken over") {
        assert!(Instant::now() < end, "{}", pair.relay.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_not_found(&mut pair, "4711");
    let [one, other] = [at("10.1.0.2", 31_000), at("10.2.0.2", 31_000)];
    let call = Call::establish(&mut pair.caller, &mut pair.callee, "8", one, other);
    call.caller_hangs_up(&mut pair.caller, &mut pair.callee);
    let log = pair.relay.log();
    assert!(log.contains("~ [appliance] log"), "{log}");
    assert!(log.contains("DEBUG"), "{log}");
}
