//! Kamailio as the far proxy, with SIPp behind it: dialogs that follow a recorded route, what passes through a proxy
//! before the answer, and proxies that ask who calls.

use std::time::Duration;

use crate::lab::authority::Authority;
use crate::lab::kamailio::Kamailio;
use crate::lab::name_server::NameServer;
use crate::lab::network::Network;
use crate::lab::relay::{MEDIA_PORTS, Relay, Setup};
use crate::lab::sipp::Sipp;
use crate::lab::turn::Turn;

const PATIENCE: Duration = Duration::from_secs(30);

/// tandem calls the proxy at 10.2.0.2, and must never speak to the callee behind it, 10.2.0.3, which is on the same wire.
struct Behind {
    proxy: Kamailio,
    relay: Relay,
    network: Network,
}

const CALLEE: &str = "10.2.0.3";
const PLAIN: [(&str, &str); 2] = [
    ("UPSTREAM", "\"10.2.0.1\""),
    ("NEXT", "\"sip:10.2.0.3:5060\""),
];

impl Behind {
    #[track_caller]
    fn new(setup: &Setup, more: &[(&str, &str)]) -> Self {
        let network = Network::new(2);
        network.callee.ip("address add 10.2.0.3/24 dev up0");
        network.count_media(MEDIA_PORTS.0, MEDIA_PORTS.1);
        network.callee.filter(
            "table inet past {
                counter received {}
                chain input { type filter hook input priority 0;
                    iifname up0 ip daddr 10.2.0.3 udp dport 5060 counter name received drop; }
            }",
        );
        let definitions = [&PLAIN[..], more].concat();
        let proxy = Kamailio::start(&network.callee, &["udp:10.2.0.2:5060"], &definitions);
        let relay = Relay::start(&network, setup);
        Self {
            proxy,
            relay,
            network,
        }
    }

    /// Two scenarios against each other, with tandem and the proxy between them.
    #[track_caller]
    fn run(&self, caller: &str, callee: &str, more: &[&str]) {
        let callee = Sipp::start(&self.network.callee, callee, CALLEE, 5060, more);
        let arguments = [&["10.1.0.1:5060", "-s", "4711"], more].concat();
        let caller = Sipp::start(&self.network.caller, caller, "10.1.0.2", 5060, &arguments);
        caller.succeeds(PATIENCE);
        callee.succeeds(PATIENCE);
        let passed_by = "nft list counter inet past received";
        let passed_by = self.network.callee.run(passed_by);
        assert!(passed_by.contains("packets 0 "), "{passed_by}");
        assert_eq!(self.proxy.said("stray"), 0);
        self.relay.expect_gauge("calls", 0, PATIENCE);
    }
}

#[test]
fn a_dialog_follows_the_route_that_a_proxy_has_recorded() {
    let _turn = Turn::shared();
    let behind = Behind::new(&Setup::default(), &[]);
    behind.run(
        "caller-holds.xml",
        "callee-held.xml",
        &["-m", "2", "-r", "10"],
    );
    assert_eq!(behind.relay.calls("answered"), 2);
    // Of each call the ACK, two re-INVITEs with theirs, and the BYE.
    for (method, count) in [("ACK", 6), ("INVITE", 4), ("BYE", 2)] {
        let followed = behind.proxy.said(&format!("followed {method}"));
        assert!(followed >= count, "{followed} times {method}");
    }
    // Some two of three seconds each way, and nothing through tandem's kernel. What a hold overtakes is dropped.
    let (caller, callee) = (&behind.network.caller, &behind.network.callee);
    for host in [caller, callee] {
        let sent = host.counted("sent");
        assert!(sent > 150, "{sent} packets");
    }
    for (from, to) in [(caller, callee), (callee, caller)] {
        let (sent, late) = (
            from.counted("sent"),
            from.counted("sent") - to.counted("received"),
        );
        assert!(late * 4 < sent, "{late} of {sent} packets are missing");
    }
    assert_eq!(behind.network.relay.counted("received"), 0);
}

#[test]
fn a_callee_behind_a_proxy_renews_and_hangs_up() {
    let _turn = Turn::shared();
    let behind = Behind::new(&Setup::default(), &[]);
    behind.run(
        "caller-faxed.xml",
        "callee-faxes.xml",
        &["-m", "2", "-r", "10"],
    );
    assert_eq!(behind.relay.calls("answered"), 2);
    assert!(behind.proxy.said("followed INVITE") >= 4);
    assert!(behind.proxy.said("followed BYE") >= 2);
}

#[test]
fn a_call_is_cancelled_and_refused_through_a_proxy() {
    let _turn = Turn::shared();
    let behind = Behind::new(&Setup::default(), &[]);
    let calls = ["-m", "2", "-r", "10"];
    behind.run(
        "caller-cancels.xml",
        "callee-cancelled-through-proxy.xml",
        &calls,
    );
    assert_eq!(behind.relay.refused(487), 2);
    behind.run("caller-hears-busy.xml", "callee-busy.xml", &calls);
    assert_eq!(behind.relay.refused(486), 2);
}

/// Two callees ring behind the proxy; one answers, and the proxy cancels the other.
#[test]
fn a_proxy_that_forks_gives_the_call_to_who_answers() {
    let _turn = Turn::shared();
    let behind = Behind::new(&Setup::default(), &[("FORK", "\"sip:4711@10.2.0.4:5060\"")]);
    let host = &behind.network.callee;
    host.ip("address add 10.2.0.4/24 dev up0");
    let calls = ["-m", "2", "-r", "5"];
    let rings = "callee-cancelled-through-proxy.xml";
    let rings = Sipp::start(host, rings, "10.2.0.4", 5060, &calls);
    let talk = [&calls[..], &["-d", "300"]].concat();
    behind.run("caller.xml", "callee.xml", &talk);
    rings.succeeds(PATIENCE);
    assert_eq!(behind.relay.calls("answered"), 2);
}

/// The request names the carrier's domain, the Route the proxy.
#[test]
fn calls_to_a_domain_go_by_its_outbound_proxy() {
    let _turn = Turn::shared();
    let peers = "name = \"callees4\"\npeers = [\"10.2.0.2:5060\"]";
    let proxied = "name = \"callees4\"\npeers = [\"10.2.0.9:5060\"]\ndomain = \"carrier.example\"\n\
                   proxy = \"10.2.0.2:5060\"";
    let behind = Behind::new(&Setup::default().replace(peers, proxied), &[]);
    let calls = ["-m", "2", "-r", "10", "-d", "300"];
    behind.run("caller.xml", "callee.xml", &calls);
    assert_eq!(behind.relay.calls("answered"), 2);
    let asked = "routed INVITE sip:4711@carrier.example";
    assert!(behind.proxy.said(asked) >= 2, "{}", behind.proxy.log());
    assert!(behind.proxy.said("followed BYE") >= 2);
}

fn event(relay: &Relay, name: &str) -> u64 {
    relay.json(&["status"])["sip"]["events"][name]
        .as_u64()
        .unwrap_or(0)
}

/// The first proxy asks with MD5, the one behind it with SHA-256; both have nonces of a second.
#[test]
fn each_proxy_of_a_chain_asks_who_calls_and_again_when_its_nonce_is_stale() {
    let _turn = Turn::shared();
    let keys = "name = \"callees4\"\nuser = \"tandem\"\npassword = \"hush\"";
    let login =
        "[[trunk.login]]\nrealm = \"two.example\"\nuser = \"tandem\"\npassword = \"hist\"\n";
    let trunk = "[[trunk]]\nname = \"callees6\"";
    let setup = Setup::default()
        .replace("name = \"callees4\"", keys)
        .replace(trunk, &format!("{login}\n{trunk}"));
    let first = [
        ("REALM", "\"one.example\""),
        ("PASSWORD", "\"hush\""),
        ("ALGORITHM", "\"MD5\""),
        ("EXPIRE", "1"),
    ];
    let behind = Behind::new(&setup, &first);
    let callee = &behind.network.callee;
    callee.ip("address add 10.2.0.4/24 dev up0");
    let second = [
        ("UPSTREAM", "\"10.2.0.2\""),
        ("NEXT", "\"sip:10.2.0.4:5060\""),
        ("REALM", "\"two.example\""),
        ("PASSWORD", "\"hist\""),
        ("ALGORITHM", "\"SHA-256\""),
        ("EXPIRE", "1"),
    ];
    let far = Kamailio::start(callee, &["udp:10.2.0.3:5060"], &second);
    let calls = ["-m", "1", "-d", "1500"];
    let callee = Sipp::start(callee, "callee.xml", "10.2.0.4", 5060, &calls);
    let arguments = [&["10.1.0.1:5060", "-s", "4711"][..], &calls].concat();
    let caller = &behind.network.caller;
    let caller = Sipp::start(caller, "caller.xml", "10.1.0.2", 5060, &arguments);
    caller.succeeds(PATIENCE);
    callee.succeeds(PATIENCE);
    for proxy in [&behind.proxy, &far] {
        for method in ["INVITE", "BYE"] {
            // -5: no credentials; -4: the nonce has expired.
            let why = if method == "BYE" { -4 } else { -5 };
            assert!(proxy.said(&format!("asked {method}: {why}")) >= 1);
            assert!(proxy.said(&format!("proved {method}")) >= 1);
            // Nobody took it for a wrong password.
            assert_eq!(proxy.said(&format!("asked {method}: -2")), 0);
        }
    }
    assert_eq!(event(&behind.relay, "challenges_answered"), 4);
}

/// The name server knows where the carrier speaks TLS; the certificate must be for the carrier's name (RFC 5922), and that of the
/// first server is for another.
#[test]
fn a_service_that_srv_records_name_is_called_over_tls() {
    let _turn = Turn::shared();
    let files = tempfile::tempdir().expect("the temporary directory can be written to");
    let authority = Authority::new("roots");
    let tls = authority.kamailio(files.path(), "carrier.example");
    let [certificate, key] = authority.issue(files.path(), "relay.example");
    let keys = format!(
        "transport = \"tls\"\ncertificate = {certificate:?}\nkey = {key:?}\ntrust = {:?}\n",
        files.path().join("kamailio-roots.pem")
    );
    let setup = Setup::default()
        .replace(
            "peers = [\"10.2.0.2:5060\"]\nlisteners = [\"outside4\"]",
            "peers = [\"carrier.example\"]\nlisteners = [\"outside4tls\"]",
        )
        .append(&format!(
            "[dns]\nservers = [\"10.2.0.2\"]\n\n\
             [[listener]]\nname = \"outside4tls\"\naddress = \"10.2.0.1:5061\"\n{keys}"
        ));
    let network = Network::new(2);
    let callee = &network.callee;
    callee.ip("address add 10.2.0.3/24 dev up0");
    callee.ip("address add 10.2.0.4/24 dev up0");
    let records = [
        "naptr-record=carrier.example,10,10,s,SIPS+D2T,,_sips._tcp.carrier.example",
        "srv-host=_sips._tcp.carrier.example,imposter.carrier.example,5071,10,0",
        "srv-host=_sips._tcp.carrier.example,sip.carrier.example,5071,20,0",
        "host-record=imposter.carrier.example,10.2.0.4",
        "host-record=sip.carrier.example,10.2.0.2",
    ];
    let _server = NameServer::start(callee, "10.2.0.2", &records);
    let sockets = ["udp:10.2.0.2:5060", "tls:10.2.0.2:5071"];
    let definitions = [&PLAIN[..], &[("TLS_CONFIG", tls.as_str())]].concat();
    let proxy = Kamailio::start(callee, &sockets, &definitions);
    let others = tempfile::tempdir().expect("the temporary directory can be written to");
    let tls = authority.kamailio(others.path(), "imposter.example");
    let definitions = [&PLAIN[..], &[("TLS_CONFIG", tls.as_str())]].concat();
    let imposter = Kamailio::start(callee, &["tls:10.2.0.4:5071"], &definitions);
    let relay = Relay::start(&network, &setup);
    let end = std::time::Instant::now() + PATIENCE;
    while relay.json(&["dns"])["names"][0]["state"] != "resolved" {
        assert!(std::time::Instant::now() < end, "{}", relay.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    let calls = ["-m", "2", "-r", "10", "-d", "300"];
    let callee = Sipp::start(callee, "callee.xml", CALLEE, 5060, &calls);
    let arguments = [&["10.1.0.1:5060", "-s", "4711"][..], &calls].concat();
    let caller = Sipp::start(&network.caller, "caller.xml", "10.1.0.2", 5060, &arguments);
    caller.succeeds(PATIENCE);
    let messages = callee.succeeds(PATIENCE);
    assert!(
        messages.contains("Via: SIP/2.0/TLS 10.2.0.1:5061"),
        "{messages}"
    );
    assert_eq!(relay.calls("answered"), 2);
    assert!(proxy.said("followed BYE") >= 2);
    assert_eq!(imposter.said("followed"), 0);
    assert_eq!(relay.json(&["status"])["calls"]["failovers"], 2);
}
