//! Credentials on the wire, against SIPp's own idea of a digest: ours are checked by it, and its by us.

use std::time::Duration;

use crate::lab::network::Network;
use crate::lab::relay::{Relay, Setup};
use crate::lab::sipp::Sipp;
use crate::lab::turn::Turn;

const PATIENCE: Duration = Duration::from_secs(30);

fn event(relay: &Relay, name: &str) -> u64 {
    relay.json(&["status"])["sip"]["events"][name]
        .as_u64()
        .unwrap_or(0)
}

/// `auth-int` covers the session description, too.
#[test]
fn a_trunk_that_asks_for_credentials_gets_them_for_invite_and_bye() {
    let _turn = Turn::shared();
    for qop in ["auth", "auth-int"] {
        gets_credentials(qop);
    }
}

#[track_caller]
fn gets_credentials(qop: &str) {
    let network = Network::new(2);
    let keys = "name = \"callees4\"\nuser = \"tandem\"\npassword = \"hush\"";
    let setup = Setup::default().replace("name = \"callees4\"", keys);
    let relay = Relay::start(&network, &setup);
    let calls = ["-m", "3", "-r", "10"];
    let callee = Sipp::start(
        &network.callee,
        "callee-challenges.xml",
        "10.2.0.2",
        5060,
        &[&calls[..], &["-key", "qop", qop]].concat(),
    );
    let arguments = [&["10.1.0.1:5060", "-s", "4711"][..], &calls].concat();
    let caller = Sipp::start(
        &network.caller,
        "caller-quiet.xml",
        "10.1.0.2",
        5060,
        &arguments,
    );
    caller.succeeds(PATIENCE);
    callee.succeeds(PATIENCE);
    assert_eq!(relay.calls("answered"), 3);
    assert_eq!(event(&relay, "challenges_answered"), 3);
    assert!(!relay.log().contains("hush"));
}

#[test]
fn a_caller_proves_who_it_is() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    let keys = "name = \"callers\"\nchallenge = \"calls\"";
    // The MD5 of alice:tandem:wonderland. SIPp knows no other hash and reads the first challenge alone: a
    // password would be asked for with SHA-256 first.
    let ha1 = "0ece15c08e69c4ed7c8b845d77f52915";
    let user = format!("[[user]]\nname = \"alice\"\ntrunk = \"callers\"\nha1 = \"{ha1}\"");
    let setup = Setup::default()
        .replace("name = \"callers\"", keys)
        .append(&user);
    let relay = Relay::start(&network, &setup);
    let calls = ["-m", "3", "-r", "10"];
    let talk = [&calls[..], &["-d", "20"]].concat();
    let callee = Sipp::start(&network.callee, "callee.xml", "10.2.0.2", 5060, &talk);
    // By itself it leaves the user out of the credentials' URI.
    let place = [
        "10.1.0.1:5060",
        "-s",
        "4711",
        "-auth_uri",
        "4711@10.1.0.1:5060",
    ];
    let arguments = [&place[..], &calls].concat();
    let caller = Sipp::start(
        &network.caller,
        "caller-authenticates.xml",
        "10.1.0.2",
        5060,
        &arguments,
    );
    caller.succeeds(PATIENCE);
    callee.succeeds(PATIENCE);
    assert_eq!(relay.calls("answered"), 3);
    assert_eq!(event(&relay, "callers_authenticated"), 3);
    assert_eq!(event(&relay, "callers_challenged"), 3);
}
