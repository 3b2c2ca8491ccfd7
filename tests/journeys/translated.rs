//! tandem behind a 1:1 NAT: a router gives another address to its own, and callees far beyond know only that one.

use std::time::Duration;

use crate::lab::network::{Host, Network};
use crate::lab::relay::{MEDIA_PORTS, Relay, Setup};
use crate::lab::sipp::Sipp;
use crate::lab::turn::Turn;

const PATIENCE: Duration = Duration::from_secs(30);

/// The callee's host is the router; behind it are 203.0.113.1 (its own), .2 (the callee) and .10 (tandem, translated). There is
/// no route back to 10.2.0.0.
fn translate(network: &Network) -> Host {
    let router = &network.callee;
    let far = network.hang("far", router, "wan0");
    router.ip("address add 203.0.113.1/24 dev wan0");
    router.ip("address add 203.0.113.10/24 dev wan0");
    far.ip("address add 203.0.113.2/24 dev up0");
    network.relay.ip("route add 203.0.113.0/24 via 10.2.0.2");
    router.run("sysctl -qw net.ipv4.ip_forward=1");
    router.filter(
        "table ip nat {
            chain prerouting { type nat hook prerouting priority -100;
                iifname wan0 ip daddr 203.0.113.10 dnat to 10.2.0.1; }
            chain postrouting { type nat hook postrouting priority 100;
                oifname wan0 ip saddr 10.2.0.1 snat to 203.0.113.10; }
        }",
    );
    far.filter(
        "table inet media {
            counter received {}
            chain input { type filter hook input priority 0;
                ip saddr 203.0.113.10 udp sport 20000-29999 counter name received; }
        }",
    );
    far
}

#[test]
fn what_is_advertised_is_the_address_that_others_see() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    network.count_media(MEDIA_PORTS.0, MEDIA_PORTS.1);
    let far = translate(&network);
    let listener = "address = \"10.2.0.1:5060\"\n";
    let media = "addresses = [\"10.2.0.1\", \"fd02::1\"]\n";
    let setup = Setup::default()
        .replace(
            listener,
            &format!("{listener}advertised = \"203.0.113.10:5060\"\n"),
        )
        .replace(
            media,
            &format!("{media}advertised = [\"203.0.113.10\", \"fd02::1\"]\n"),
        )
        .replace(
            "peers = [\"10.2.0.2:5060\"]",
            "peers = [\"203.0.113.2:5060\"]",
        );
    let relay = Relay::start(&network, &setup);
    let calls = ["-m", "2", "-r", "10"];
    let callee = Sipp::start(&far, "callee-held.xml", "203.0.113.2", 5060, &calls);
    let arguments = [&["10.1.0.1:5060", "-s", "4711"][..], &calls].concat();
    let caller = &network.caller;
    let caller = Sipp::start(caller, "caller-holds.xml", "10.1.0.2", 5060, &arguments);
    caller.succeeds(PATIENCE);
    let messages = callee.succeeds(PATIENCE);
    assert_eq!(relay.calls("answered"), 2);
    assert!(!messages.contains("10.2.0.1"), "{messages}");
    for said in ["Contact: <sip:203.0.113.10:5060>", "c=IN IP4 203.0.113.10"] {
        assert!(messages.contains(said), "no {said} in {messages}");
    }
    // Some two of three seconds each way.
    for heard in [far.counted("received"), network.caller.counted("received")] {
        assert!(heard > 150, "{heard} packets");
    }
    assert_eq!(network.relay.counted("received"), 0);
}
