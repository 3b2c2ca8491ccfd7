//! Proof 5: tables and mailboxes that are full refuse calls cleanly, count it, and recover.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::lab::network::at;
use crate::lab::pair::Pair;
use crate::lab::relay::Setup;
use crate::lab::sip::{SENDRECV, audio};
use crate::lab::turn::Turn;

const A_WHILE: Duration = Duration::from_secs(8);

/// A call that is refused with 503 while another is up; the other goes on, and when it ends there is room.
fn one_call_fills_it(setup: &Setup) {
    let _turn = Turn::shared();
    let mut pair = Pair::new(setup);
    let (call, mut parties) = pair.call(30_000);

    let mut dialog = pair.caller.dialog("4711");
    let offer = audio(at("10.1.0.2", 31_000), 1, SENDRECV);
    let request = pair.caller.request(&mut dialog, "INVITE").with_sdp(&offer);
    pair.caller.send(&request);
    let refusal = pair.caller.expect_response(503, "INVITE");
    pair.caller
        .send(&pair.caller.ack_refusal(&request, &refusal));
    assert!(
        pair.relay.refused(503) >= 1,
        "{}",
        pair.relay.json(&["status"])
    );
    Pair::assert_audio(&mut parties);
    call.caller_hangs_up(&mut pair.caller, &mut pair.callee);
    pair.assert_quiet();
    pair.relay.expect_gauge("flows", 0, A_WHILE);
    pair.relay.expect_gauge("ports_resting", 0, A_WHILE);
    drop(parties);

    let (call, mut parties) = pair.call(30_000);
    Pair::assert_audio(&mut parties);
    pair.finish(call);
}

#[test]
fn no_more_calls_than_configured() {
    one_call_fills_it(&quick().set("max_calls", "1"));
}

#[test]
fn no_more_calls_of_a_trunk_than_configured() {
    let limited = "name = \"callers\"\nlimits = { calls_in = 1 }\n";
    one_call_fills_it(&quick().replace("name = \"callers\"\n", limited));
}

#[test]
fn no_more_media_of_a_trunk_than_configured() {
    // G.711 at 20 ms takes 80 kbit/s with the headers.
    let limited = "name = \"callees4\"\nlimits = { bandwidth = \"159k\" }\n";
    one_call_fills_it(&quick().replace("name = \"callees4\"\n", limited));
}

/// The caller sends an INVITE, which is refused; its code and how long the caller is to wait.
fn refused(pair: &mut Pair) -> Option<u64> {
    let mut dialog = pair.caller.dialog("4711");
    let offer = audio(at("10.1.0.2", 31_000), 1, SENDRECV);
    let request = pair.caller.request(&mut dialog, "INVITE").with_sdp(&offer);
    pair.caller.send(&request);
    let refusal = pair.caller.expect_response(503, "INVITE");
    pair.caller
        .send(&pair.caller.ack_refusal(&request, &refusal));
    refusal.header("Retry-After")?.parse().ok()
}

#[test]
fn no_more_new_calls_in_a_second_than_configured() {
    let _turn = Turn::shared();
    let limited = "name = \"callers\"\nlimits = { rate_in = 1, burst_in = 2 }\n";
    let setup = Setup::default().replace("name = \"callers\"\n", limited);
    let mut pair = Pair::new(&setup);
    // Two at once; as many more as seconds pass meanwhile: on a machine that has just stopped, another time.
    let met = (0..5).any(|_| {
        let started = Instant::now();
        let calls = [30_000, 30_010].map(|port| pair.call(port));
        let quick = started.elapsed() < Duration::from_millis(900);
        if quick {
            // Longer than it takes: callers that are many do not come again all at once.
            assert_eq!(refused(&mut pair), Some(5), "Retry-After");
            assert_eq!(pair.relay.refused(503), 1);
        }
        for (call, _) in calls {
            call.caller_hangs_up(&mut pair.caller, &mut pair.callee);
        }
        std::thread::sleep(Duration::from_millis(2_200));
        quick
    });
    assert!(met, "two calls have never come up within a second");
    let (call, mut parties) = pair.call(30_100);
    Pair::assert_audio(&mut parties);
    pair.finish(call);
}

#[test]
fn no_more_ports_than_configured() {
    one_call_fills_it(&quick().set("ports", "\"20000-20001\""));
}

#[test]
fn no_more_flows_than_a_worker_holds() {
    // A call without rtcp-mux has four: two ports towards each side.
    one_call_fills_it(&quick().under("[workers]", "flow_capacity = 4"));
}

/// Ports and transactions come back soon.
fn quick() -> Setup {
    Setup::default()
        .set("port_rest", "\"1s\"")
        .set("t1", "\"50ms\"")
}

/// Keeps a core to itself, so that the worker on it hardly runs.
struct Hog(Child);

impl Hog {
    fn on(core: usize) -> Self {
        let child = Command::new("timeout")
            .args(["20", "chrt", "--fifo", "50", "taskset", "-c"])
            .args([&core.to_string(), "sh", "-c", "while :; do :; done"])
            .stdin(Stdio::null())
            .spawn()
            .expect("chrt and taskset are part of util-linux");
        Self(child)
    }
}

impl Drop for Hog {
    fn drop(&mut self) {
        // `timeout` passes SIGTERM on to what it started.
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

#[test]
fn a_full_mailbox_refuses_calls_and_recovers() {
    let _turn = Turn::alone();
    let setup = quick().under("[workers]", "mailbox = 64");
    let mut pair = Pair::new(&setup);
    let (_call, mut parties) = pair.call(30_000);
    {
        let _hog = Hog::on(1);
        std::thread::sleep(Duration::from_millis(100));
        // 60 offers want 120 flows of worker 1, which has room for 64 commands and no time.
        for number in 0..60 {
            let mut dialog = pair.caller.dialog("4711");
            let offer = audio(at("10.1.0.2", 32_000 + 2 * number), 1, SENDRECV);
            let request = pair.caller.request(&mut dialog, "INVITE").with_sdp(&offer);
            pair.caller.send(&request);
        }
        pair.caller.expect_response(503, "INVITE");
    }
    assert!(pair.relay.workers().commands_refused() > 0);
    assert!(pair.relay.refused(503) >= 1);
    // What was accepted rings on unanswered; the call that was up is as it was.
    Pair::assert_audio(&mut parties);
}
