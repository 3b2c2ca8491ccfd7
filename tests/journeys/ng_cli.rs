//! `tandem ng` against a running relay: through the admin socket, and over UDP as a proxy asks.

use serde_json::{Value, json};

use crate::lab::network::Network;
use crate::lab::relay::{Relay, Setup, TANDEM};
use crate::lab::turn::Turn;

fn sdp(address: &str, port: u16) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\nm=audio {port} RTP/AVP 8\r\n"
    )
}

/// Over UDP, from the relay's host: its exit code and reply.
fn over_udp(network: &Network, server: &str, request: &Value) -> (Option<i32>, Value) {
    let mut command = network.relay.command(TANDEM);
    command.args(["ng", &request.to_string(), "--json", "--to", server]);
    let output = command.output().expect("ip netns exec starts");
    let reply = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code(), reply)
}

#[test]
fn a_call_is_made_over_the_admin_socket_and_udp_alike() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    let relay = Relay::start(&network, &Setup::ng());
    let call = |command: &str| json!({"command": command, "call-id": "by-hand", "from-tag": "a"});

    let mut offer = call("offer");
    offer["sdp"] = sdp("10.1.0.2", 30_000).into();
    offer["direction"] = json!(["inside", "outside"]);
    let offered = relay.json(&["ng", &offer.to_string()]);
    let line = offered["sdp"].as_str().unwrap_or_default();
    assert!(line.contains("c=IN IP4 10.2.0.1\r\n"), "{offered}");

    let mut answer = call("answer");
    answer["to-tag"] = "b".into();
    answer["sdp"] = sdp("10.2.0.2", 30_000).into();
    let (code, answered) = over_udp(&network, "127.0.0.1:2223", &answer);
    assert_eq!((code, &answered["result"]), (Some(0), &json!("ok")));
    let line = answered["sdp"].as_str().unwrap_or_default();
    assert!(line.contains("c=IN IP4 10.1.0.1\r\n"), "{answered}");

    let query = relay.json(&["ng", &call("query").to_string()]);
    assert!(query["tags"]["b"]["medias"].is_array(), "{query}");
    let status = relay.json(&["status"]);
    let (ng, media) = (&status["ng"], &status["media"]);
    assert_eq!((&ng["calls"], &media["sessions"]), (&json!(1), &json!(1)));
    assert_eq!(ng["listeners"][0]["requests"], 1, "{ng}");
    let table = relay.table(&["status"]);
    let shown = table.contains("\nng ") && table.contains("1 calls, 1 dialogues");
    assert!(shown && table.contains("NG LISTENER"), "{table}");

    let mut delete = call("delete");
    delete["delete-delay"] = 0.into();
    // Its reply waits for what the flows have counted.
    let deleted = relay.json(&["ng", &delete.to_string()]);
    assert_eq!(deleted["result"], "ok");
    assert!(deleted["totals"].is_object(), "{deleted}");
    let (code, unknown) = over_udp(&network, "127.0.0.1:2223", &call("query"));
    assert_eq!(code, Some(1));
    assert_eq!(unknown["error-reason"], "Unknown call-id");
    let status = relay.json(&["status"]);
    assert_eq!(
        (&status["ng"]["calls"], &status["media"]["sessions"]),
        (&json!(0), &json!(0))
    );
}

#[test]
fn who_may_not_ask_over_udp_asks_over_the_admin_socket() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    let setup = Setup::ng().append(
        "\n[[ng_listener]]\nname = \"strict\"\naddress = \"127.0.0.1:2299\"\nallow = [\"192.0.2.0/24\"]\n",
    );
    let relay = Relay::start(&network, &setup);
    let ping = json!({"command": "ping"});
    let (code, reply) = over_udp(&network, "127.0.0.1:2299", &ping);
    assert_eq!((code, reply), (Some(1), Value::Null));
    assert_eq!(relay.json(&["ng", &ping.to_string()])["result"], "pong");
    let listeners = relay.json(&["status"])["ng"]["listeners"].clone();
    let strict = listeners.as_array().and_then(|all| all.last()).cloned();
    assert_eq!(strict.expect("listeners")["refused"], 5, "{listeners}");
}
