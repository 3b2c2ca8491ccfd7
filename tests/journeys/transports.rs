//! SIP over TCP and TLS: both ways, from one to the other, and what happens when connections are refused or lost.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::lab::authority::Authority;
use crate::lab::call::Call;
use crate::lab::line::{Line, Secrets};
use crate::lab::network::{Network, at};
use crate::lab::pair::Pair;
use crate::lab::phone::Phone;
use crate::lab::relay::{Relay, Setup};
use crate::lab::rtp::{Party, introduce};
use crate::lab::sip::{Message, SENDRECV, audio};
use crate::lab::sipp::Sipp;
use crate::lab::turn::Turn;

const PATIENCE: Duration = Duration::from_secs(30);
const CALLEES: &str =
    "name = \"callees4\"\npeers = [\"10.2.0.2:5060\"]\nlisteners = [\"outside4\"]";
const CALLERS: &str = "name = \"callers\"\npeers = [\"10.1.0.2\", \"fd01::2\"]\n\
                       listeners = [\"inside4\", \"inside6\"]";
const TCP: &str = r#"
    [[listener]]
    name = "inside4tcp"
    address = "10.1.0.1:5060"
    transport = "tcp"

    [[listener]]
    name = "outside4tcp"
    address = "10.2.0.1:5060"
    transport = "tcp"
"#;

/// TCP listeners on both sides; callees are called over TCP.
fn over_tcp() -> Setup {
    Setup::default()
        .replace(
            CALLERS,
            &CALLERS.replace("\"inside6\"", "\"inside6\", \"inside4tcp\""),
        )
        .replace(CALLEES, &CALLEES.replace("\"outside4\"", "\"outside4tcp\""))
        .append(TCP)
}

/// What `tandem status` says of a listener.
#[track_caller]
fn listener(relay: &Relay, name: &str) -> Value {
    let status = relay.json(&["status"]);
    let listeners = status["listeners"].as_array().expect("a list");
    let found = listeners.iter().find(|listener| listener["name"] == name);
    found.expect("the listener is there").clone()
}

#[track_caller]
fn connections(relay: &Relay, name: &str, what: &str) -> u64 {
    let listener = listener(relay, name);
    let count = listener["connections"][what].as_u64();
    count.unwrap_or_else(|| panic!("no {what} in {listener}"))
}

#[test]
fn calls_over_tcp_with_another_sip_stack_at_both_ends() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    let relay = Relay::start(&network, &over_tcp());
    let calls = ["-t", "t1", "-m", "5", "-r", "10", "-d", "500"];
    let callee = Sipp::start(&network.callee, "callee.xml", "10.2.0.2", 5060, &calls);
    let arguments = [&["10.1.0.1:5060", "-s", "4711"], &calls[..]].concat();
    let caller = Sipp::start(&network.caller, "caller.xml", "10.1.0.2", 5060, &arguments);
    caller.succeeds(PATIENCE);
    callee.succeeds(PATIENCE);
    assert_eq!(relay.calls("answered"), 5);
    // All calls share a connection on each side.
    assert_eq!(connections(&relay, "inside4tcp", "accepted"), 1);
    assert_eq!(connections(&relay, "outside4tcp", "opened"), 1);
    assert_eq!(listener(&relay, "outside4")["sent"], 0);
    let status = relay.json(&["status"]);
    assert_eq!(
        status["sip"]["events"]["retransmitted"],
        Value::Null,
        "{status}"
    );
}

/// Where a message ends its Content-Length says, not the segment that it comes in.
#[test]
fn a_stream_may_be_cut_anywhere() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    let relay = Relay::start(&network, &over_tcp());
    let mut stream = network
        .caller
        .within(|| TcpStream::connect(at("10.1.0.1", 5060)))
        .expect("tandem listens");
    stream.set_nodelay(true).expect("a socket of our own");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("the patience is not zero");
    let options = |number: u32| {
        Message::new("OPTIONS sip:10.1.0.1 SIP/2.0")
            .with(
                "Via",
                format!("SIP/2.0/TCP 10.1.0.2:5060;branch=z9hG4bKcut{number}"),
            )
            .with("Max-Forwards", "70")
            .with("From", "<sip:peer@10.1.0.2>;tag=cut")
            .with("To", "<sip:10.1.0.1>")
            .with("Call-ID", format!("cut-{number}"))
            .with("CSeq", format!("{number} OPTIONS"))
            .with_sdp(&audio(at("10.1.0.2", 30_000), 1, SENDRECV))
            .to_text()
    };
    let first = options(1);
    for piece in first.as_bytes().chunks(97) {
        stream.write_all(piece).expect("open");
        std::thread::sleep(Duration::from_millis(10));
    }
    let three = [options(2), options(3), options(4)].concat();
    let (most, rest) = three.split_at(three.len() - 5);
    stream.write_all(most.as_bytes()).expect("open");
    std::thread::sleep(Duration::from_millis(50));
    stream.write_all(rest.as_bytes()).expect("open");
    let mut heard = String::new();
    let mut buffer = [0; 4096];
    while heard.matches("SIP/2.0 200 ").count() < 4 {
        let count = stream.read(&mut buffer).expect("tandem answers");
        assert!(count > 0, "the connection has ended: {heard}");
        heard.push_str(std::str::from_utf8(&buffer[..count]).expect("text"));
    }
    for number in 1..=4 {
        assert!(
            heard.contains(&format!("CSeq: {number} OPTIONS")),
            "{heard}"
        );
    }
    assert_eq!(connections(&relay, "inside4tcp", "accepted"), 1);
}

/// A peer that answers nothing but OPTIONS, and then hears that its connection is still wanted (RFC 5626 3.5.1).
#[test]
fn a_quiet_connection_is_kept_alive() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    let listening = network
        .callee
        .within(|| TcpListener::bind(at("10.2.0.2", 5060)))
        .expect("the port is free");
    let checked = "\"outside4tcp\"]\ncheck = {}";
    let setup = over_tcp()
        .replace(
            "address = \"10.2.0.1:5060\"\ntransport = \"tcp\"",
            "address = \"10.2.0.1:5060\"\ntransport = \"tcp\"\nkeep_alive = \"1s\"",
        )
        .replace("\"outside4tcp\"]", checked);
    let relay = Relay::start(&network, &setup);
    let (mut stream, _) = listening.accept().expect("tandem asks how we are");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("the patience is not zero");
    let mut heard = Vec::new();
    let mut read_until = |stream: &mut TcpStream, end: &[u8]| {
        let mut byte = [0];
        while !heard.ends_with(end) {
            stream.read_exact(&mut byte).expect("tandem says more");
            heard.push(byte[0]);
        }
        std::mem::take(&mut heard)
    };
    let options = Message::parse(&read_until(&mut stream, b"\r\n\r\n"));
    assert_eq!(options.method(), Some("OPTIONS"));
    let names = ["Via", "From", "To", "Call-ID", "CSeq"];
    let ok = Message::new("SIP/2.0 200 OK").copy(&options, &names);
    stream.write_all(ok.to_text().as_bytes()).expect("open");
    for _ in 0..2 {
        assert_eq!(read_until(&mut stream, b"\r\n\r\n"), b"\r\n\r\n");
        stream.write_all(b"\r\n").expect("open");
    }
    assert_eq!(connections(&relay, "outside4tcp", "opened"), 1);
}

/// An INVITE that is too large for a datagram within an unknown path MTU, and its answer.
#[track_caller]
fn large_call(pair: &mut Pair) -> Message {
    let mut dialog = pair.caller.dialog("4711");
    let request = pair
        .caller
        .request(&mut dialog, "INVITE")
        .with("X-Padding", "x".repeat(1200))
        .with_sdp(&audio(at("10.1.0.2", 30_000), 1, SENDRECV));
    pair.caller.send(&request);
    let invite = pair.callee.expect_request("INVITE");
    let ok = pair
        .callee
        .response(&invite, 200, "OK", "large")
        .with_sdp(&audio(at("10.2.0.2", 30_000), 1, SENDRECV));
    pair.callee.send(&ok);
    let answer = pair.caller.expect_response(200, "INVITE");
    dialog.learn(&answer);
    let ack = pair.caller.request(&mut dialog, "ACK");
    pair.caller.send(&ack);
    pair.callee.expect_request("ACK");
    let bye = pair.caller.request(&mut dialog, "BYE");
    pair.caller.send(&bye);
    let bye = pair.callee.expect_request("BYE");
    pair.callee.respond(&bye, 200, "OK", "");
    pair.caller.expect_response(200, "BYE");
    invite
}

#[test]
fn a_large_invite_leaves_by_tcp() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default().append(TCP));
    let line_at = at("10.2.0.2", 5090);
    let line = Line::new(
        &pair.network.callee,
        at("10.2.0.2", 5060),
        at("10.2.0.1", 5060),
        (pair.callee.address, line_at),
        None,
    );
    pair.callee.proxy = line_at;
    let invite = large_call(&mut pair);
    assert!(invite.expect_header("Via").starts_with("SIP/2.0/TCP "));
    assert_eq!((line.accepted(), line.opened()), (1, 0));
    // A small one does not.
    pair.callee.proxy = at("10.2.0.1", 5060);
    let (call, _) = pair.call(30_002);
    assert!(call.invite.expect_header("Via").starts_with("SIP/2.0/UDP "));
    pair.finish(call);
}

#[test]
fn a_large_invite_leaves_by_udp_where_nobody_listens_for_tcp() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default().append(TCP));
    let invite = large_call(&mut pair);
    assert!(invite.expect_header("Via").starts_with("SIP/2.0/UDP "));
    assert_eq!(connections(&pair.relay, "outside4tcp", "failed"), 1);
    let fallen_back = |relay: &Relay| {
        let status = relay.json(&["status"]);
        status["sip"]["events"]["fallen_back_to_udp"].as_u64()
    };
    assert_eq!(fallen_back(&pair.relay), Some(1));
    // It is remembered.
    large_call(&mut pair);
    assert_eq!(connections(&pair.relay, "outside4tcp", "failed"), 1);
    assert_eq!(fallen_back(&pair.relay), Some(1));
}

/// Two parties over TLS, each with a certificate, and the relay between them.
struct Secured {
    relay: Relay,
    caller: Phone,
    callee: Phone,
    callers_line: Line,
    callees_line: Line,
    authority: Authority,
    files: TempDir,
    network: Network,
}

impl Secured {
    fn new() -> Self {
        let files = tempfile::tempdir().expect("the temporary directory can be written to");
        let authority = Authority::new("roots");
        authority.write(&files.path().join("roots.pem"));
        authority.issue(files.path(), "relay.example");
        let network = Network::new(2);
        let relay = Relay::start(&network, &setup(&files));
        let (callers_line, caller) = party(&network, 1, authority.secrets("caller.example", RELAY));
        let (callees_line, callee) = party(&network, 2, authority.secrets("callee.example", RELAY));
        Self {
            relay,
            caller,
            callee,
            callers_line,
            callees_line,
            authority,
            files,
            network,
        }
    }

    #[track_caller]
    fn call(&mut self, port: u16) -> (Call, [Party; 2]) {
        let mut one = Party::g711(&self.network.caller, at("10.1.0.2", port));
        let mut other = Party::g711(&self.network.callee, at("10.2.0.2", port));
        introduce(&mut one, &mut other);
        let call = Call::establish(
            &mut self.caller,
            &mut self.callee,
            "4711",
            one.address(),
            other.address(),
        );
        one.towards = Some(call.caller_sends_to);
        other.towards = Some(call.callee_sends_to);
        (call, [one, other])
    }

    /// The caller's line anew, with another certificate.
    fn caller_with(&mut self, secrets: Secrets) {
        // The ports of the former are free once it has gone.
        let network = &self.network;
        let (line, phone) = party_at(network, 1, 5062, secrets);
        self.callers_line = line;
        self.caller = phone;
    }
}

const RELAY: &str = "relay.example";

fn setup(files: &TempDir) -> Setup {
    let place = files.path().display();
    let keys = format!(
        "transport = \"tls\"\ncertificate = \"{place}/relay.example.pem\"\n\
         key = \"{place}/relay.example-key.pem\"\ntrust = \"{place}/roots.pem\"\n\
         client_certificates = \"required\""
    );
    let callers = CALLERS.replace("\"inside6\"", "\"inside6\", \"inside4tls\"");
    let callees = CALLEES
        .replace("\"outside4\"", "\"outside4tls\"")
        .replace("5060", "5061");
    Setup::default()
        .replace(
            CALLERS,
            &format!("{callers}\ntls_names = [\"caller.example\"]"),
        )
        .replace(
            CALLEES,
            &format!("{callees}\ntls_names = [\"callee.example\"]"),
        )
        .append(&format!(
            "[[listener]]\nname = \"inside4tls\"\naddress = \"10.1.0.1:5061\"\n{keys}\n\
             [[listener]]\nname = \"outside4tls\"\naddress = \"10.2.0.1:5061\"\n{keys}\n"
        ))
}

/// A phone of one of the two nets, and its line.
fn party(network: &Network, net: u8, secrets: Secrets) -> (Line, Phone) {
    party_at(network, net, 5060, secrets)
}

fn party_at(network: &Network, net: u8, port: u16, secrets: Secrets) -> (Line, Phone) {
    let host = match net {
        1 => &network.caller,
        _ => &network.callee,
    };
    let (own, relay) = (format!("10.{net}.0.2"), format!("10.{net}.0.1"));
    let (phone_at, line_at) = (at(&own, port), at(&own, port + 30));
    let says = at(&own, port + 1);
    let line = Line::new(
        host,
        says,
        at(&relay, 5061),
        (phone_at, line_at),
        Some(secrets),
    );
    let mut phone = Phone::new(host, phone_at, line_at);
    phone.says = says;
    (line, phone)
}

#[test]
fn a_call_over_tls_between_parties_that_show_certificates() {
    let _turn = Turn::shared();
    let mut secured = Secured::new();
    let (call, mut parties) = secured.call(30_000);
    let via = call.invite.expect_header("Via");
    assert!(via.starts_with("SIP/2.0/TLS 10.2.0.1:5061"), "{via}");
    assert!(via.contains(";alias"), "{via}");
    let contact = call.invite.expect_header("Contact");
    assert!(contact.contains("10.2.0.1:5061;transport=tls"), "{contact}");
    Pair::assert_audio(&mut parties);
    call.callee_hangs_up(&mut secured.caller, &mut secured.callee);
    assert_eq!(connections(&secured.relay, "inside4tls", "accepted"), 1);
    assert_eq!(connections(&secured.relay, "outside4tls", "opened"), 1);
    assert_eq!(secured.callees_line.accepted(), 1);
    assert_eq!(connections(&secured.relay, "inside4tls", "tls_failed"), 0);
}

#[test]
fn whom_nobody_vouches_for_or_nobody_knows_makes_no_call() {
    let _turn = Turn::shared();
    let mut secured = Secured::new();
    let invite = |phone: &Phone| {
        let mut dialog = phone.dialog("4711");
        let request = phone.request(&mut dialog, "INVITE");
        let request = request.with_sdp(&audio(at("10.1.0.2", 30_000), 1, SENDRECV));
        phone.send(&request);
    };
    // A certificate of its own making. The line believes the relay, or it would give up first.
    let mut secrets = secured.authority.secrets("caller.example", RELAY);
    let forged = Authority::new("roots").secrets("caller.example", RELAY);
    secrets.client = forged_client(&secured.authority, &forged);
    secured.caller_with(secrets);
    invite(&secured.caller);
    let failed = || connections(&secured.relay, "inside4tls", "tls_failed");
    let end = std::time::Instant::now() + PATIENCE;
    while failed() == 0 {
        assert!(std::time::Instant::now() < end, "it is let in");
        std::thread::sleep(Duration::from_millis(20));
    }
    // A certificate that is right, of somebody who is no trunk.
    let secrets = secured.authority.secrets("stranger.example", RELAY);
    let (_line, mut stranger) = party_at(&secured.network, 1, 5066, secrets);
    invite(&stranger);
    stranger.expect_response(403, "INVITE");
    secured
        .callee
        .assert_nothing_unheard(Duration::from_millis(300));
}

/// Believes the relay's authority, and shows what another has signed.
fn forged_client(authority: &Authority, forged: &Secrets) -> std::sync::Arc<rustls::ClientConfig> {
    let mut config = (*authority.secrets("caller.example", RELAY).client).clone();
    config.client_auth_cert_resolver =
        std::sync::Arc::clone(&forged.client.client_auth_cert_resolver);
    std::sync::Arc::new(config)
}

#[test]
fn renewed_certificates_are_shown_after_a_reload_and_calls_go_on() {
    let _turn = Turn::shared();
    let mut secured = Secured::new();
    let (call, mut parties) = secured.call(30_000);
    let [certificate, key] = secured
        .authority
        .issue(secured.files.path(), "renewed.example");
    for (from, to) in [
        (certificate, "relay.example.pem"),
        (key, "relay.example-key.pem"),
    ] {
        std::fs::rename(from, secured.files.path().join(to)).expect("the directory is ours");
    }
    secured.relay.signal(Signal::HUP);
    // Who asks for the new name is served as soon as it is shown.
    let end = std::time::Instant::now() + PATIENCE;
    loop {
        let secrets = secured
            .authority
            .secrets("caller.example", "renewed.example");
        let (line, phone) = party_at(&secured.network, 1, 5066, secrets);
        let mut dialog = phone.dialog("4711");
        phone.send(&phone.request(&mut dialog, "OPTIONS"));
        let mut phone = phone;
        std::thread::sleep(Duration::from_millis(100));
        if line.refused() == 0
            && phone
                .heard(|message| message.status() == Some(200))
                .is_some()
        {
            break;
        }
        assert!(
            std::time::Instant::now() < end,
            "the old certificate is shown"
        );
    }
    // The connection of the call has stayed.
    Pair::assert_audio(&mut parties);
    call.caller_hangs_up(&mut secured.caller, &mut secured.callee);
    assert_eq!(
        (
            secured.callers_line.opened(),
            secured.callees_line.accepted()
        ),
        (1, 1)
    );
}

#[test]
fn a_call_ends_over_new_connections_when_the_old_ones_are_lost() {
    let _turn = Turn::shared();
    let mut secured = Secured::new();
    let (call, mut parties) = secured.call(30_000);
    secured.callers_line.hang_up();
    secured.callees_line.hang_up();
    Pair::assert_audio(&mut parties);
    call.caller_hangs_up(&mut secured.caller, &mut secured.callee);
    assert_eq!(
        (
            secured.callers_line.opened(),
            secured.callees_line.accepted()
        ),
        (2, 2)
    );
}
