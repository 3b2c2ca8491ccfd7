//! SIPp at both ends once more, for what two parties may come to agree on before and after the answer.

use std::time::Duration;

use crate::lab::network::Network;
use crate::lab::relay::{MEDIA_PORTS, Relay, Setup};
use crate::lab::sipp::Sipp;
use crate::lab::turn::Turn;

const PATIENCE: Duration = Duration::from_secs(30);

/// A relay between SIPp and SIPp.
struct Wire {
    relay: Relay,
    network: Network,
}

impl Wire {
    #[track_caller]
    fn new(setup: &Setup) -> Self {
        let network = Network::new(2);
        network.count_media(MEDIA_PORTS.0, MEDIA_PORTS.1);
        let relay = Relay::start(&network, setup);
        Self { relay, network }
    }

    /// One scenario calls another. What the callee heard and said.
    #[track_caller]
    fn run(&self, caller: &str, callee: &str, more: &[&str]) -> String {
        let callee = Sipp::start(&self.network.callee, callee, "10.2.0.2", 5060, more);
        self.call(caller, "4711", more);
        let messages = callee.succeeds(PATIENCE);
        self.relay.expect_gauge("calls", 0, PATIENCE);
        messages
    }

    #[track_caller]
    fn call(&self, caller: &str, number: &str, more: &[&str]) {
        let arguments = [&["10.1.0.1:5060", "-s", number], more].concat();
        let caller = Sipp::start(&self.network.caller, caller, "10.1.0.2", 5060, &arguments);
        caller.succeeds(PATIENCE);
    }
}

#[test]
fn an_offer_in_a_reliable_183_is_answered_by_its_prack() {
    let _turn = Turn::shared();
    let wire = Wire::new(&Setup::default());
    wire.run(
        "caller-offers-late.xml",
        "callee-offers-early.xml",
        &["-m", "2", "-r", "10", "-d", "500"],
    );
    assert_eq!(wire.relay.calls("answered"), 2);
    // The callee's from the PRACK on, the caller's from its 2xx on.
    let heard = wire.network.caller.counted("received");
    assert!(heard > 50, "{heard} packets");
    let heard = wire.network.callee.counted("received");
    assert!(heard > 50, "{heard} packets");
}

#[test]
fn a_prack_may_offer_anew() {
    let _turn = Turn::shared();
    let wire = Wire::new(&Setup::default());
    wire.run(
        "caller-offers-again.xml",
        "callee-offered-again.xml",
        &["-m", "2", "-r", "10", "-d", "500"],
    );
    assert_eq!(wire.relay.calls("answered"), 2);
    let heard = wire.network.callee.counted("received");
    assert!(heard > 40, "{heard} packets");
    assert_eq!(wire.network.caller.counted("received"), 0);
}

/// What of early media reaches a caller whose trunk has this policy, from a callee that grants it or not (RFC 5009).
#[track_caller]
fn early_media(policy: &str, granted: &str, caller: &str) {
    let trunk = "name = \"callers\"\n";
    let setup = Setup::default().replace(trunk, &format!("{trunk}early_media = \"{policy}\"\n"));
    let wire = Wire::new(&setup);
    let callee = &wire.network.callee;
    let talk = ["-d", "300"];
    let says = format!("P-Early-Media: {granted}");
    let arguments = [&talk[..], &["-key", "early", &says]].concat();
    let callee = Sipp::callee(callee, "callee-early.xml", 5060, &arguments);
    wire.call(caller, "4711", &["-m", "1", "-d", "300"]);
    callee.succeeds(PATIENCE);
    assert_eq!(wire.relay.calls("answered"), 1);
}

#[test]
fn early_media_is_announced_where_it_is_granted() {
    let _turn = Turn::shared();
    early_media("authorized", "sendrecv", "caller-hears-early.xml");
}

#[test]
fn early_media_is_ringing_where_nobody_grants_it_or_the_trunk_wants_none() {
    let _turn = Turn::shared();
    early_media("authorized", "inactive", "caller-hears-ringing.xml");
    early_media("ring", "sendrecv", "caller-hears-ringing.xml");
}

#[test]
fn messages_and_events_pass_within_a_dialog() {
    let _turn = Turn::shared();
    let wire = Wire::new(&Setup::default());
    let calls = ["-m", "2", "-r", "10"];
    let messages = wire.run("caller-messages.xml", "callee-messaged.xml", &calls);
    // OPTIONS asks about the next hop, and ends here.
    assert!(!messages.contains("OPTIONS sip:"), "{messages}");
    assert_eq!(wire.relay.calls("answered"), 2);
}

#[test]
fn two_that_renegotiate_at_once_are_put_off_and_come_again_one_after_the_other() {
    let _turn = Turn::shared();
    let wire = Wire::new(&Setup::default());
    wire.run("caller-glares.xml", "callee-glares.xml", &["-m", "2"]);
    assert_eq!(wire.relay.calls("answered"), 2);
}

/// When messages that begin like this came, in seconds of the day, by SIPp's log: a line that ends with the time, one that says
/// how the message came, an empty one, and the message.
fn came(log: &str, start: &str) -> Vec<f64> {
    let lines: Vec<_> = log.lines().collect();
    lines
        .windows(4)
        .filter(|window| window[1].contains("received") && window[3].starts_with(start))
        .filter_map(|window| seconds_of_day(window[0].split_whitespace().last()?))
        .collect()
}

/// `02:23:06.060589`.
fn seconds_of_day(time: &str) -> Option<f64> {
    time.split(':').try_fold(0.0, |sum, part| {
        Some(sum * 60.0 + part.parse::<f64>().ok()?)
    })
}

#[test]
fn a_refresh_that_meets_a_glare_comes_again_when_the_owner_of_the_call_id_may() {
    let _turn = Turn::shared();
    let trunk = "name = \"callees4\"\n";
    let timer = "session_timer = { mode = \"request\", expires = \"10s\", min = \"2s\", refresher = \"tandem\" }\n";
    let wire = Wire::new(&Setup::default().replace(trunk, &format!("{trunk}{timer}")));
    let callee = "callee-pauses-refresh.xml";
    let messages = wire.run("caller.xml", callee, &["-m", "1", "-d", "9500"]);
    let refreshes = came(&messages, "UPDATE ");
    assert_eq!(refreshes.len(), 2, "{messages}");
    // RFC 3261 14.1: 2.1 to 4 s, and what a busy machine adds.
    let pause = (refreshes[1] - refreshes[0]).rem_euclid(86_400.0);
    assert!((2.1..5.0).contains(&pause), "{pause} s");
}

#[test]
fn a_redirection_is_followed_to_a_trunk_of_the_route() {
    let _turn = Turn::shared();
    let first = "name = \"first\"\n";
    let follow = format!("{first}redirect = \"follow\"\n");
    let wire = Wire::new(&Setup::default().replace(first, &follow));
    let callee = &wire.network.callee;
    let elsewhere = Sipp::callee(callee, "callee-redirects.xml", 5070, &[]);
    let there = Sipp::callee(callee, "callee.xml", 5060, &["-d", "200"]);
    wire.call("caller.xml", "7711", &["-m", "1", "-d", "200"]);
    elsewhere.succeeds(PATIENCE);
    let messages = there.succeeds(PATIENCE);
    assert!(messages.contains("INVITE sip:7712@10.2.0.2:5060 SIP/2.0"));
    assert_eq!(wire.relay.calls("answered"), 1);
}

#[test]
fn a_redirection_passes_to_the_caller() {
    let _turn = Turn::shared();
    let wire = Wire::new(&Setup::default());
    let callee = &wire.network.callee;
    let elsewhere = Sipp::callee(callee, "callee-redirects.xml", 5070, &[]);
    wire.call("caller-hears-moved.xml", "7711", &["-m", "1"]);
    elsewhere.succeeds(PATIENCE);
    assert_eq!(wire.relay.refused(302), 1);
}
