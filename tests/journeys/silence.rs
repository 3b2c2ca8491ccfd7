//! Proof 5: an endpoint that stops without a word.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::lab::network::at;
use crate::lab::pair::Pair;
use crate::lab::relay::Setup;
use crate::lab::rtp::talk;
use crate::lab::sip::{INACTIVE, SENDRECV, audio, stream};
use crate::lab::sipp::Sipp;
use crate::lab::turn::Turn;

#[test]
fn a_stopped_endpoint_ends_the_call_on_both_legs() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default().set("media_timeout", "\"2s\""));
    let [mut talker, _] = pair.parties(30_000);
    // The callee is a process that can be stopped: SIPp with audio, at the second trunk's port.
    let callee = Sipp::callee(&pair.network.callee, "callee-abandoned.xml", 5070, &[]);

    let mut dialog = pair.caller.dialog("7711");
    let offer = audio(talker.address(), 1, SENDRECV);
    let request = pair.caller.request(&mut dialog, "INVITE").with_sdp(&offer);
    pair.caller.send(&request);
    pair.caller.expect_response(180, "INVITE");
    let ok = pair.caller.expect_response(200, "INVITE");
    dialog.learn(&ok);
    let ack = pair.caller.request(&mut dialog, "ACK");
    pair.caller.send(&ack);
    talker.towards = Some(stream(&ok));
    talk([&mut talker], 150);
    pair.caller.assert_nothing_unheard(Duration::from_millis(1));

    callee.signal(Signal::STOP);
    let stopped = Instant::now();
    let bye = loop {
        talker.speak();
        std::thread::sleep(Duration::from_millis(20));
        if let Some(bye) = pair.caller.heard(|message| message.method() == Some("BYE")) {
            break bye;
        }
        assert!(stopped.elapsed() < Duration::from_secs(6), "no BYE");
    };
    let took = stopped.elapsed();
    assert!(took > Duration::from_millis(1500), "BYE after {took:?}");
    assert!(took < Duration::from_secs(4), "BYE after {took:?}");
    pair.caller.respond(&bye, 200, "OK", "");
    callee.signal(Signal::CONT);
    callee.succeeds(Duration::from_secs(10));
    pair.relay.expect_gauge("calls", 0, Duration::from_secs(5));
    assert_eq!(pair.relay.ended("media_timeout"), 1);
}

#[test]
fn a_held_call_may_be_silent() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default().set("media_timeout", "\"1s\""));
    let (mut call, mut parties) = pair.call(30_000);
    Pair::assert_audio(&mut parties);
    let offer = audio(parties[0].address(), 2, INACTIVE);
    let request = pair
        .caller
        .request(&mut call.caller, "INVITE")
        .with_sdp(&offer);
    pair.caller.send(&request);
    let invite = pair.callee.expect_request("INVITE");
    let answer = audio(at("10.2.0.2", 30_000), 2, INACTIVE);
    let ok = pair.callee.response(&invite, 200, "OK", "");
    pair.callee.send(&ok.with_sdp(&answer));
    pair.caller.expect_response(200, "INVITE");
    let ack = pair.caller.request(&mut call.caller, "ACK");
    pair.caller.send(&ack);
    pair.callee.expect_request("ACK");
    pair.caller.assert_nothing_unheard(Duration::from_secs(3));
    pair.finish(call);
}
