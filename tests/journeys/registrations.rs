//! tandem as a subscriber of a carrier: Kamailio is the registrar, which asks for credentials, grants ten seconds, and sends
//! calls to where the binding says.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::lab::kamailio::Kamailio;
use crate::lab::network::Network;
use crate::lab::relay::{Relay, Setup};
use crate::lab::sipp::Sipp;
use crate::lab::turn::Turn;

const PATIENCE: Duration = Duration::from_secs(30);
const REGISTRAR: [(&str, &str); 6] = [
    ("REGISTRAR", "1"),
    ("UPSTREAM", "\"10.2.0.1\""),
    ("REALM", "\"carrier.example\""),
    ("PASSWORD", "\"hush\""),
    ("ALGORITHM", "\"SHA-256\""),
    ("EXPIRE", "60"),
];

#[track_caller]
fn wait_until(what: &str, log: impl Fn() -> String, holds: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "never: {what}\n{}", log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A subscriber of the carrier calls our number.
#[track_caller]
fn call(network: &Network, caller: &str) -> Sipp {
    let arguments = ["10.2.0.2:5060", "-s", "4930", "-m", "1", "-d", "200"];
    Sipp::start(&network.callee, caller, "10.2.0.3", 5060, &arguments)
}

#[test]
fn a_binding_is_made_refreshed_called_by_and_taken_back() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    network.callee.ip("address add 10.2.0.3/24 dev up0");
    let registrar = Kamailio::start(&network.callee, &["udp:10.2.0.2:5060"], &REGISTRAR);
    let trunk = "[[trunk]]\nname = \"callees6\"";
    let binding = "[[trunk.register]]\nuser = \"4930\"\ndomain = \"carrier.example\"\n";
    let keys = "name = \"callees4\"\nuser = \"tandem\"\npassword = \"hush\"";
    // Nobody is at the first registrar's port.
    let peers = "peers = [\"10.2.0.2:5060\"]";
    let setup = Setup::default()
        .replace(peers, "peers = [\"10.2.0.2:5099\", \"10.2.0.2:5060\"]")
        .replace("name = \"callees4\"", keys)
        .replace(trunk, &format!("{binding}\n{trunk}"))
        .append("[[route]]\nfrom = \"callees4\"\nto = [\"callers\"]\n");
    let mut relay = Relay::start(&network, &setup);
    // Ten seconds are granted: the second binding is the refresh.
    wait_until(
        "refreshed",
        || registrar.log(),
        || registrar.said("bound tandem") == 2,
    );
    assert_eq!(registrar.said("asked REGISTER: -5"), 1);
    let shown = relay.json(&["registrations"]);
    assert!(shown.to_string().contains("\"registered\""), "{shown}");
    let phone = Sipp::start(
        &network.caller,
        "callee.xml",
        "10.1.0.2",
        5060,
        &["-m", "1", "-d", "200"],
    );
    call(&network, "caller.xml").succeeds(PATIENCE);
    phone.succeeds(PATIENCE);
    assert_eq!(relay.calls("answered"), 1);
    relay.signal(Signal::TERM);
    assert!(relay.wait(PATIENCE).success());
    wait_until(
        "taken back",
        || registrar.log(),
        || registrar.said("Expires 0") == 1,
    );
    call(&network, "caller-hears-not-found.xml").succeeds(PATIENCE);
}
