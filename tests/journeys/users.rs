//! baresip at both ends: a real user agent with its own audio, tones that are recorded and found again.

use std::time::Duration;

use crate::lab::authority::Authority;
use crate::lab::baresip::{Baresip, User};
use crate::lab::kamailio::Kamailio;
use crate::lab::network::Network;
use crate::lab::relay::{MEDIA_PORTS, Relay, Setup};
use crate::lab::sipp::Sipp;
use crate::lab::tap::Tap;
use crate::lab::tone;
use crate::lab::turn::Turn;

const PATIENCE: Duration = Duration::from_secs(30);

const CALLER: User<'_> = User {
    name: "4901",
    address: "10.1.0.2",
    proxy: "sip:10.1.0.1:5060",
    answers: "manual",
    tone: 440,
    account: "",
    config: "",
};
const CALLEE: User<'_> = User {
    name: "4711",
    address: "10.2.0.2",
    proxy: "sip:10.2.0.1:5060",
    answers: "auto",
    tone: 1000,
    account: "",
    config: "",
};

/// At least so many seconds of a tone, and next to nothing else. A packet on either side of a pause may make one window of
/// two halves.
#[track_caller]
fn assert_heard(samples: &[i16], frequency: u32, seconds: f64) {
    let (tone, sound) = tone::seconds_of(samples, frequency);
    assert!(
        tone > seconds && sound - tone < 0.35,
        "{tone} s of {frequency} Hz in {sound} s of sound"
    );
}

#[test]
fn two_user_agents_hear_each_other_before_and_after_a_hold_and_nothing_within() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    network.count_media(MEDIA_PORTS.0, MEDIA_PORTS.1);
    let relay = Relay::start(&network, &Setup::default());
    let mut callee = Baresip::start(&network.callee, &CALLEE);
    let mut caller = Baresip::start(&network.caller, &CALLER);
    let talk = || std::thread::sleep(Duration::from_millis(1500));
    caller.does("dial", "sip:4711@10.1.0.1");
    caller.expect_event("CALL_ESTABLISHED");
    callee.expect_event("CALL_ESTABLISHED");
    talk();
    caller.does("hold", "");
    callee.expect_event("CALL_REMOTE_SDP");
    std::thread::sleep(Duration::from_millis(300));
    let received = || [&network.caller, &network.callee].map(|host| host.counted("received"));
    let before = received();
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(received(), before, "media while the call is held");
    caller.does("resume", "");
    callee.expect_event("CALL_REMOTE_SDP");
    // After a resumption baresip 1.0 gives RTP another timestamp, and then may itself discard what comes as too old.
    let taps = [&network.caller, &network.callee].map(|host| Tap::start(host, MEDIA_PORTS));
    talk();
    caller.does("hangup", "");
    callee.expect_event("CALL_CLOSED");
    relay.expect_gauge("calls", 0, PATIENCE);
    let [at_caller, at_callee] = taps.map(Tap::heard);
    for (heard, frequency) in [
        (callee.heard(), CALLER.tone),
        (at_callee, CALLER.tone),
        (caller.heard(), CALLEE.tone),
        (at_caller, CALLEE.tone),
    ] {
        assert_heard(&heard, frequency, 0.9);
    }
    assert_eq!(network.relay.counted("received"), 0);
}

#[test]
fn a_user_agent_on_ipv6_talks_to_one_on_ipv4() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    let relay = Relay::start(&network, &Setup::default());
    let modern = User {
        address: "fd01::2",
        proxy: "sip:[fd01::1]:5060",
        config: "prefer_ipv6 yes",
        ..CALLER
    };
    let mut callee = Baresip::start(&network.callee, &CALLEE);
    let mut caller = Baresip::start(&network.caller, &modern);
    talk_and_hang_up(&relay, &mut caller, &mut callee, "sip:4711@[fd01::1]");
    assert_heard(&callee.heard(), CALLER.tone, 0.9);
    assert_heard(&caller.heard(), CALLEE.tone, 0.9);
}

/// The caller refers the callee to somebody else, and tandem carries it out.
#[test]
fn a_user_agent_transfers_its_call() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    let trunk = "name = \"callers\"\n";
    let setup = Setup::default().replace(trunk, &format!("{trunk}refer = \"local\"\n"));
    let relay = Relay::start(&network, &setup);
    let callee = &network.callee;
    let transferred = Sipp::callee(callee, "callee-transferred.xml", 5060, &[]);
    let target = Sipp::start(callee, "callee-target.xml", "[fd02::2]", 5060, &["-m", "1"]);
    let mut caller = Baresip::start(&network.caller, &CALLER);
    caller.does("dial", "sip:4711@10.1.0.1");
    caller.expect_event("CALL_ESTABLISHED");
    std::thread::sleep(Duration::from_millis(500));
    caller.does("transfer", "sip:6711@10.1.0.1");
    caller.expect_event("CALL_CLOSED");
    transferred.succeeds(PATIENCE);
    target.succeeds(PATIENCE);
    relay.expect_gauge("calls", 0, PATIENCE);
}

/// A call of a second and a half.
#[track_caller]
fn talk_and_hang_up(relay: &Relay, caller: &mut Baresip, callee: &mut Baresip, uri: &str) {
    caller.does("dial", uri);
    caller.expect_event("CALL_ESTABLISHED");
    callee.expect_event("CALL_ESTABLISHED");
    std::thread::sleep(Duration::from_millis(1500));
    caller.does("hangup", "");
    callee.expect_event("CALL_CLOSED");
    relay.expect_gauge("calls", 0, PATIENCE);
}

/// Over TCP on both sides; tandem asks the caller who it is, with MD5 alone, because libre 1.1 gives up on a challenge of SHA-256.
#[test]
fn a_user_agent_proves_who_it_is_over_tcp() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    let tcp = |side: &str, net: u8| {
        format!(
            "[[listener]]\nname = \"{side}4tcp\"\naddress = \"10.{net}.0.1:5060\"\ntransport = \"tcp\"\n"
        )
    };
    let setup = Setup::default()
        .replace(
            "name = \"callers\"\n",
            "name = \"callers\"\nchallenge = \"all\"\n",
        )
        .replace("\"inside6\"]", "\"inside6\", \"inside4tcp\"]")
        .replace(
            "peers = [\"10.2.0.2:5060\"]\nlisteners = [\"outside4\"]",
            "peers = [\"10.2.0.2:5060\"]\nlisteners = [\"outside4tcp\"]",
        )
        .append(&tcp("inside", 1))
        .append(&tcp("outside", 2))
        .append("[[user]]\nname = \"alice\"\ntrunk = \"callers\"\nha1 = \"0ece15c08e69c4ed7c8b845d77f52915\"\n");
    let relay = Relay::start(&network, &setup);
    let secret = User {
        proxy: "sip:10.1.0.1:5060;transport=tcp",
        account: ";auth_user=alice;auth_pass=wonderland",
        ..CALLER
    };
    let mut callee = Baresip::start(&network.callee, &CALLEE);
    let mut caller = Baresip::start(&network.caller, &secret);
    talk_and_hang_up(&relay, &mut caller, &mut callee, "sip:4711@10.1.0.1");
    assert_heard(&callee.heard(), CALLER.tone, 0.9);
    assert_heard(&caller.heard(), CALLEE.tone, 0.9);
    let status = relay.json(&["status"]);
    let proved = status["sip"]["events"]["callers_authenticated"].as_u64();
    // The INVITE and the BYE.
    assert!(proved >= Some(2), "{status}");
}

/// TLS listeners that take nobody without a certificate, whose trunks are known by it.
fn secured(place: &str) -> Setup {
    let keys = format!(
        "transport = \"tls\"\ncertificate = \"{place}/relay.example.pem\"\nkey = \"{place}/relay.example-key.pem\"\n\
         trust = \"{place}/roots.pem\"\nclient_certificates = \"required\"\n"
    );
    let mut setup = Setup::default();
    for (was, listener, name) in [
        (
            "peers = [\"10.1.0.2\", \"fd01::2\"]\nlisteners = [\"inside4\", \"inside6\"]",
            "peers = [\"10.1.0.2\"]\nlisteners = [\"inside4tls\"]",
            "caller.example",
        ),
        (
            "peers = [\"10.2.0.2:5060\"]\nlisteners = [\"outside4\"]",
            "peers = [\"10.2.0.3:5061\"]\nlisteners = [\"outside4tls\"]",
            "proxy.example",
        ),
    ] {
        setup = setup.replace(was, &format!("{listener}\ntls_names = [\"{name}\"]"));
    }
    setup.append(&format!(
        "[[listener]]\nname = \"inside4tls\"\naddress = \"10.1.0.1:5061\"\n{keys}\
         [[listener]]\nname = \"outside4tls\"\naddress = \"10.2.0.1:5061\"\n{keys}"
    ))
}

/// baresip calls over TLS and shows a certificate; Kamailio is called over TLS and asks tandem for its own. Behind it is
/// another baresip.
#[test]
fn tls_both_ways_with_certificates_on_all_sides() {
    let _turn = Turn::shared();
    let files = tempfile::tempdir().expect("the temporary directory can be written to");
    let place = files.path().display().to_string();
    let authority = Authority::new("roots");
    authority.write(&files.path().join("roots.pem"));
    authority.issue(files.path(), "relay.example");
    let both = authority
        .issue(files.path(), "caller.example")
        .map(|path| std::fs::read_to_string(path).expect("it was written"));
    std::fs::write(files.path().join("caller.pem"), both.concat()).expect("the directory is ours");
    let network = Network::new(2);
    network.callee.ip("address add 10.2.0.3/24 dev up0");
    let proxy = Kamailio::start(
        &network.callee,
        &["udp:10.2.0.3:5060", "tls:10.2.0.3:5061"],
        &[
            (
                "TLS_CONFIG",
                &authority.kamailio(files.path(), "proxy.example"),
            ),
            ("UPSTREAM", "\"10.2.0.1\""),
            ("NEXT", "\"sip:10.2.0.2:5060\""),
        ],
    );
    let relay = Relay::start(&network, &secured(&place));
    let behind = User {
        proxy: "sip:10.2.0.3:5060",
        ..CALLEE
    };
    let shown = format!("sip_certificate {place}/caller.pem\nsip_cafile {place}/roots.pem");
    let secure = User {
        proxy: "sip:10.1.0.1:5061;transport=tls",
        config: &shown,
        ..CALLER
    };
    let mut callee = Baresip::start(&network.callee, &behind);
    let mut caller = Baresip::start(&network.caller, &secure);
    caller.does("dial", "sip:4711@10.1.0.1");
    caller.expect_event("CALL_ESTABLISHED");
    callee.expect_event("CALL_ESTABLISHED");
    std::thread::sleep(Duration::from_millis(1500));
    callee.does("hangup", "");
    caller.expect_event("CALL_CLOSED");
    relay.expect_gauge("calls", 0, PATIENCE);
    assert_heard(&callee.heard(), CALLER.tone, 0.9);
    assert_heard(&caller.heard(), CALLEE.tone, 0.9);
    assert!(proxy.said("followed BYE") >= 1);
    let status = relay.json(&["status"]);
    let listeners = status["listeners"].as_array().expect("a list");
    for listener in listeners {
        let used = listener["received"].as_u64() > Some(0);
        assert_eq!(used, listener["transport"] == "tls", "{listener}");
    }
}
