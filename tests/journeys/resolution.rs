//! Peers and next hops that a real name server resolves: failover, changed addresses, a server that is slow
//! or dead.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::lab::call::Call;
use crate::lab::name_server::NameServer;
use crate::lab::network::{Network, at};
use crate::lab::pair::Pair;
use crate::lab::phone::{Dialog, Phone};
use crate::lab::relay::{Relay, Setup};
use crate::lab::sip::{Message, SENDRECV, audio};
use crate::lab::turn::Turn;

/// The name server, on the callee's host.
const SERVER: &str = "10.2.0.2";

/// 4... goes to carrier.example, 8... to an address.
fn setup() -> Setup {
    Setup::default()
        .replace(
            "peers = [\"10.2.0.2:5060\"]",
            "peers = [\"carrier.example\"]",
        )
        .append(
            "
            [dns]
            servers = [\"10.2.0.2\"]
            timeout = \"500ms\"

            [[trunk]]
            name = \"plain\"
            peers = [\"10.2.0.2:5080\"]
            listeners = [\"outside4\"]
            media = \"outside\"

            [[route]]
            from = \"callers\"
            user = \"8[0-9]*\"
            to = [\"plain\"]
            ",
        )
}

/// The first server of the service is not there, the second is the callee's phone.
const SERVICE: &[&str] = &[
    "naptr-record=carrier.example,10,10,s,SIP+D2U,,_sip._udp.carrier.example",
    "srv-host=_sip._udp.carrier.example,gone.carrier.example,5070,10,0",
    "srv-host=_sip._udp.carrier.example,here.carrier.example,5060,20,0",
    "host-record=gone.carrier.example,10.2.0.2",
    "host-record=here.carrier.example,10.2.0.2",
];

fn dial(caller: &mut Phone, user: &str) -> (Dialog, Message) {
    let mut dialog = caller.dialog(user);
    let offer = audio(at("10.1.0.2", 30_000), 1, SENDRECV);
    let request = caller.request(&mut dialog, "INVITE").with_sdp(&offer);
    caller.send(&request);
    (dialog, request)
}

/// What `tandem dns` says of the carrier's name.
fn carrier(relay: &Relay) -> Value {
    let mut view = relay.json(&["dns"]);
    view["names"][0].take()
}

#[track_caller]
fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(15);
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[track_caller]
fn wait_until(relay: &Relay, state: &str) {
    wait_for(state, || carrier(relay)["state"] == state);
}

/// A whole call over the carrier's trunk.
#[track_caller]
fn call(pair: &mut Pair) -> Call {
    let (one, other) = (at("10.1.0.2", 30_000), at("10.2.0.2", 30_000));
    Call::establish(&mut pair.caller, &mut pair.callee, "4711", one, other)
}

#[test]
fn a_call_goes_by_naptr_and_srv_to_the_server_that_is_there() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    let _server = NameServer::start(&network.callee, SERVER, SERVICE);
    let mut pair = Pair::on(network, &setup());
    wait_until(&pair.relay, "resolved");
    let call = call(&mut pair);
    assert!(
        call.invite
            .start
            .starts_with("INVITE sip:4711@carrier.example "),
        "{}",
        call.invite.start
    );
    assert_eq!(pair.relay.json(&["status"])["calls"]["failovers"], 1);
    let view = pair.relay.json(&["dns"]);
    let places = &view["names"][0]["places"];
    assert_eq!(places.as_array().map(Vec::len), Some(2), "{view:#}");
    let table = pair.relay.table(&["dns"]);
    assert!(table.contains("10 0 5070 gone.carrier.example"), "{table}");
    assert!(table.contains("udp 10.2.0.2:5060"), "{table}");
    pair.finish(call);
}

#[test]
fn a_changed_address_is_followed_when_its_ttl_ends() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    network.callee.ip("address add 10.2.0.3/24 dev up0");
    let server = NameServer::start(
        &network.callee,
        SERVER,
        &["host-record=carrier.example,10.2.0.3"],
    );
    let mut pair = Pair::on(network, &setup());
    let mut other = Phone::new(
        &pair.network.callee,
        at("10.2.0.3", 5060),
        at("10.2.0.1", 5060),
    );
    wait_until(&pair.relay, "resolved");
    let (_, request) = dial(&mut pair.caller, "4711");
    let invite = other.expect_request("INVITE");
    other.respond(&invite, 486, "Busy Here", "t");
    other.expect_request("ACK");
    let refusal = pair.caller.expect_response(486, "INVITE");
    pair.caller
        .send(&pair.caller.ack_refusal(&request, &refusal));

    drop(server);
    let callee = &pair.network.callee;
    let _server = NameServer::start(callee, SERVER, &["host-record=carrier.example,10.2.0.2"]);
    wait_for("the new address", || {
        carrier(&pair.relay)["places"][0] == "udp 10.2.0.2:5060"
    });
    let call = call(&mut pair);
    // Who has left the name is no peer of the trunk any more.
    let mut stranger = other.dialog("4711");
    let options = other.request(&mut stranger, "OPTIONS");
    other.send(&options);
    other.expect_response(403, "OPTIONS");
    pair.finish(call);
}

#[test]
fn a_dead_name_server_stops_no_calls() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    let server = NameServer::start(&network.callee, SERVER, SERVICE);
    let mut pair = Pair::on(network, &setup());
    wait_until(&pair.relay, "resolved");
    drop(server);
    wait_until(&pair.relay, "stale");
    let stale = call(&mut pair);
    stale.caller_hangs_up(&mut pair.caller, &mut pair.callee);
    let events = pair.relay.json(&["status"])["dns"]["events"].take();
    assert!(events["stale_uses"].as_u64() >= Some(1), "{events}");
    assert!(pair.relay.log().contains("the last answer is used"));

    let _server = NameServer::start(&pair.network.callee, SERVER, SERVICE);
    wait_until(&pair.relay, "resolved");
    let fresh = call(&mut pair);
    pair.finish(fresh);
}

#[test]
fn a_slow_name_server_holds_up_no_other_trunk() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    let server = NameServer::start(&network.callee, SERVER, SERVICE);
    server.pause();
    let mut pair = Pair::on(network, &setup());
    let plain = Phone::new(
        &pair.network.callee,
        at("10.2.0.2", 5080),
        at("10.2.0.1", 5060),
    );
    let mut plain = plain;
    // The carrier's name is not known yet: its calls are refused at once, the others go through at once.
    let (_, request) = dial(&mut pair.caller, "4711");
    let refusal = pair.caller.expect_response(503, "INVITE");
    pair.caller
        .send(&pair.caller.ack_refusal(&request, &refusal));
    for user in ["81", "82", "83"] {
        let start = Instant::now();
        let (one, other) = (at("10.1.0.2", 30_000), at("10.2.0.2", 30_000));
        let call = Call::establish(&mut pair.caller, &mut plain, user, one, other);
        call.caller_hangs_up(&mut pair.caller, &mut plain);
        let took = start.elapsed();
        assert!(took < Duration::from_secs(2), "a call took {took:?}");
    }
    server.resume();
    wait_until(&pair.relay, "resolved");
    let call = call(&mut pair);
    pair.finish(call);
}

#[test]
fn an_answer_that_fits_no_datagram_comes_over_tcp() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    let mut records: Vec<String> = (1..=40)
        .map(|number| {
            format!(
                "srv-host=_sip._udp.carrier.example,host-with-a-long-name-{number}.carrier.example,5060,{number},0"
            )
        })
        .collect();
    records.push("host-record=host-with-a-long-name-1.carrier.example,10.2.0.2".to_owned());
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    let _server = NameServer::start(&network.callee, SERVER, &records);
    let mut pair = Pair::on(network, &setup());
    wait_until(&pair.relay, "resolved");
    let events = pair.relay.json(&["status"])["dns"]["events"].take();
    assert!(events["truncated"].as_u64() >= Some(1), "{events}");
    assert!(events["queries_tcp"].as_u64() >= Some(1), "{events}");
    let call = call(&mut pair);
    pair.finish(call);
}

#[test]
fn requests_within_a_dialog_go_where_the_contacts_name_leads() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    let records = [SERVICE, &["host-record=gateway.example,10.2.0.2"]].concat();
    let _server = NameServer::start(&network.callee, SERVER, &records);
    let mut pair = Pair::on(network, &setup());
    wait_until(&pair.relay, "resolved");
    let mut gateway = Phone::new(
        &pair.network.callee,
        at("10.2.0.2", 5090),
        at("10.2.0.1", 5060),
    );
    let (mut dialog, _) = dial(&mut pair.caller, "4711");
    let invite = pair.callee.expect_request("INVITE");
    let ok = pair
        .callee
        .response(&invite, 200, "OK", "t")
        .with_sdp(&audio(at("10.2.0.2", 30_000), 1, SENDRECV));
    let named = ok.to_text().replace(
        &format!("Contact: {}", pair.callee.contact()),
        "Contact: <sip:peer@gateway.example:5090>",
    );
    pair.callee.send_raw(named.as_bytes());
    let answer = pair.caller.expect_response(200, "INVITE");
    dialog.learn(&answer);
    let ack = pair.caller.request(&mut dialog, "ACK");
    pair.caller.send(&ack);
    gateway.expect_request("ACK");
    let bye = pair.caller.request(&mut dialog, "BYE");
    pair.caller.send(&bye);
    pair.caller.expect_response(200, "BYE");
    let bye = gateway.expect_request("BYE");
    assert!(bye.start.starts_with("BYE sip:peer@gateway.example:5090 "));
    gateway.respond(&bye, 200, "OK", "");
    pair.assert_quiet();
}
