//! Proof 3, once more with another SIP stack at both ends: SIPp scenarios for the usual calls.

use std::time::Duration;

use crate::lab::network::Network;
use crate::lab::relay::{MEDIA_PORTS, Relay, Setup};
use crate::lab::sipp::Sipp;
use crate::lab::turn::Turn;

const PATIENCE: Duration = Duration::from_secs(30);

/// Where SIPp is, whom it calls there, and how: caller's address, the relay's, the number, callee's address.
type Way = (&'static str, &'static str, &'static str, &'static str);

const IPV4: Way = ("10.1.0.2", "10.1.0.1:5060", "4711", "10.2.0.2");
const IPV6: Way = ("[fd01::2]", "[fd01::1]:5060", "6711", "[fd02::2]");
const BRIDGED: Way = ("10.1.0.2", "10.1.0.1:5060", "6711", "[fd02::2]");

/// Runs two scenarios against each other.
fn run(
    network: &Network,
    (from, relay, number, to): Way,
    caller: &str,
    callee: &str,
    more: &[&str],
) {
    let callee = Sipp::start(&network.callee, callee, to, 5060, more);
    let arguments = [&[relay, "-s", number], more].concat();
    let caller = Sipp::start(&network.caller, caller, from, 5060, &arguments);
    caller.succeeds(PATIENCE);
    callee.succeeds(PATIENCE);
}

#[test]
fn calls_with_audio_over_each_family() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    network.count_media(MEDIA_PORTS.0, MEDIA_PORTS.1);
    let relay = Relay::start(&network, &Setup::default());
    let calls = ["-m", "5", "-r", "10", "-d", "2000"];
    for way in [IPV4, IPV6, BRIDGED] {
        run(&network, way, "caller.xml", "callee.xml", &calls);
    }
    let (caller, callee) = (&network.caller, &network.callee);
    // 15 calls of 2 s are 1,500 packets each way; SIPp keeps time only roughly.
    assert!(caller.counted("sent") > 1400, "{}", caller.counted("sent"));
    assert!(callee.counted("sent") > 1400, "{}", callee.counted("sent"));
    assert_eq!(caller.counted("sent"), callee.counted("received"));
    assert_eq!(callee.counted("sent"), caller.counted("received"));
    assert_eq!(network.relay.counted("received"), 0);
    assert_eq!(relay.calls("answered"), 15);
}

#[test]
fn a_caller_that_cancels() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    let relay = Relay::start(&network, &Setup::default());
    let calls = ["-m", "3"];
    run(
        &network,
        IPV4,
        "caller-cancels.xml",
        "callee-cancelled.xml",
        &calls,
    );
    assert_eq!(relay.refused(487), 3);
}

#[test]
fn a_callee_that_is_busy() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    let relay = Relay::start(&network, &Setup::default());
    let calls = ["-m", "3"];
    run(
        &network,
        IPV4,
        "caller-hears-busy.xml",
        "callee-busy.xml",
        &calls,
    );
    assert_eq!(relay.refused(486), 3);
}

#[test]
fn a_caller_that_holds_and_resumes() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    let relay = Relay::start(&network, &Setup::default());
    run(
        &network,
        IPV4,
        "caller-holds.xml",
        "callee-held.xml",
        &["-m", "2"],
    );
    assert_eq!(relay.calls("answered"), 2);
}

#[test]
fn a_callee_that_goes_over_to_fax_and_back() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    let relay = Relay::start(&network, &Setup::default());
    run(
        &network,
        IPV4,
        "caller-faxed.xml",
        "callee-faxes.xml",
        &["-m", "2"],
    );
    assert_eq!(relay.calls("answered"), 2);
    relay.expect_gauge("calls", 0, PATIENCE);
}

#[test]
fn a_caller_that_knows_no_fax_talks_on() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    let relay = Relay::start(&network, &Setup::default());
    run(
        &network,
        IPV4,
        "caller-without-fax.xml",
        "callee-fax-refused.xml",
        &["-m", "2"],
    );
    assert_eq!(relay.calls("answered"), 2);
}

#[test]
fn provisional_responses_that_both_ends_acknowledge_and_updates_before_and_after_the_answer() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    let relay = Relay::start(&network, &Setup::default());
    let calls = ["-m", "3", "-d", "500"];
    for way in [IPV4, BRIDGED] {
        run(
            &network,
            way,
            "caller-updates.xml",
            "callee-updated.xml",
            &calls,
        );
    }
    assert_eq!(relay.calls("answered"), 6);
}

#[test]
fn provisional_responses_that_one_end_acknowledges() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    let relay = Relay::start(&network, &Setup::default());
    let calls = ["-m", "3", "-d", "500"];
    run(
        &network,
        IPV4,
        "caller.xml",
        "callee-acknowledged.xml",
        &calls,
    );
    run(
        &network,
        IPV4,
        "caller-requires-100rel.xml",
        "callee.xml",
        &calls,
    );
    assert_eq!(relay.calls("answered"), 6);
}

/// Session timers of a few seconds.
fn hasty() -> Setup {
    let timer = "session_timer = { min = \"2s\" }\n";
    let trunk = "name = \"callers\"\npeers";
    Setup::default().replace(trunk, &trunk.replace("peers", &format!("{timer}peers")))
}

#[test]
fn a_session_that_tandem_refreshes() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    let relay = Relay::start(&network, &hasty());
    run(
        &network,
        IPV4,
        "caller-refreshed.xml",
        "callee-abandoned.xml",
        &["-m", "2"],
    );
    assert_eq!(relay.calls("answered"), 2);
}

#[test]
fn a_session_that_nobody_refreshes_ends_on_both_sides() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    let relay = Relay::start(&network, &hasty());
    run(
        &network,
        IPV4,
        "caller-vanishes.xml",
        "callee-abandoned.xml",
        &["-m", "2"],
    );
    assert_eq!(relay.calls("answered"), 2);
}

#[test]
fn early_media_from_two_forks() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    network.count_media(MEDIA_PORTS.0, MEDIA_PORTS.1);
    let relay = Relay::start(&network, &Setup::default());
    run(
        &network,
        IPV4,
        "caller-hears-forks.xml",
        "callee-forks.xml",
        &["-m", "1", "-d", "1000"],
    );
    assert_eq!(relay.calls("answered"), 1);
    // The second fork talks from its 183 on: half a second before the answer, and a second after.
    let heard = network.caller.counted("received");
    assert!(heard > 60, "{heard} packets");
    assert_eq!(network.relay.counted("received"), 0);
}

/// Trunks whose callers' REFER is dealt with like this.
fn referring(how: &str) -> Setup {
    let trunk = "name = \"callers\"\npeers";
    let with = format!("name = \"callers\"\nrefer = \"{how}\"\npeers");
    Setup::default().replace(trunk, &with)
}

#[test]
fn a_blind_transfer_that_tandem_carries_out() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    let relay = Relay::start(&network, &referring("local"));
    let calls = ["-m", "2"];
    let target = Sipp::start(
        &network.callee,
        "callee-target.xml",
        "[fd02::2]",
        5060,
        &calls,
    );
    run(
        &network,
        IPV4,
        "caller-transfers.xml",
        "callee-transferred.xml",
        &calls,
    );
    target.succeeds(PATIENCE);
    relay.expect_gauge("calls", 0, PATIENCE);
}

#[test]
fn a_referral_that_passes_with_what_comes_of_it() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    let relay = Relay::start(&network, &referring("pass"));
    run(
        &network,
        IPV4,
        "caller-refers.xml",
        "callee-referred.xml",
        &["-m", "2"],
    );
    relay.expect_gauge("calls", 0, PATIENCE);
}
