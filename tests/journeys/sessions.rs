//! Sessions without SIP: opened and closed over the admin socket, with media through them.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::lab::network::{Network, at};
use crate::lab::relay::{Relay, Setup};
use crate::lab::rtp::{Media, Party, assert_both_heard_all, introduce, talk};
use crate::lab::turn::Turn;

const A_WHILE: Duration = Duration::from_secs(8);
const PATIENCE: Duration = Duration::from_secs(10);
/// How long tandem waits for next hops.
const RESOLVE_WITHIN: Duration = Duration::from_millis(250);

/// A client of the admin socket, as any program may be one.
struct Client(BufReader<UnixStream>);

impl Client {
    fn new(relay: &Relay) -> Self {
        let stream = UnixStream::connect(relay.socket()).expect("tandem listens");
        let timeout = stream.set_read_timeout(Some(PATIENCE));
        timeout.expect("a socket can have one");
        Self(BufReader::new(stream))
    }

    fn say(&mut self, line: &str) {
        let stream = self.0.get_mut();
        let said = stream.write_all(format!("{line}\n").as_bytes());
        said.expect("tandem reads");
    }

    fn hear(&mut self) -> Value {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("an answer in time");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    fn ask(&mut self, request: &Value) -> Value {
        self.say(&request.to_string());
        self.hear()
    }
}

fn quick() -> Setup {
    Setup::default().set("port_rest", "\"1s\"")
}

/// A request for so many sessions between the two hosts, from this port on.
fn request(count: u16, port: u16) -> Value {
    let sessions = (0..count).map(|index| {
        let port = port + 2 * index;
        json!({"a": format!("10.1.0.2:{port}"), "b": format!("10.2.0.2:{port}")})
    });
    json!({
        "verb": "open_sessions", "a_media": "inside", "b_media": "outside",
        "rtcp": "separate", "latch": "sdp", "sessions": sessions.collect::<Vec<_>>(),
    })
}

fn opened(answer: &Value) -> &Vec<Value> {
    let sessions = answer.pointer("/ok/sessions").and_then(Value::as_array);
    sessions.unwrap_or_else(|| panic!("no sessions in {answer}"))
}

fn ids(answer: &Value) -> Vec<u64> {
    let id = |session: &Value| session["id"].as_u64().expect("a number");
    opened(answer).iter().map(id).collect()
}

fn address(session: &Value, field: &str) -> SocketAddr {
    let text = session[field].as_str().expect("an address");
    text.parse().expect("an address")
}

/// The two ends of a stream through a session.
fn ends(
    network: &Network,
    ends: [SocketAddr; 2],
    relay: [SocketAddr; 2],
    media: Media,
) -> [Party; 2] {
    let mut one = Party::new(&network.caller, ends[0], media);
    let mut other = Party::new(&network.callee, ends[1], media);
    introduce(&mut one, &mut other);
    one.towards = Some(relay[0]);
    other.towards = Some(relay[1]);
    [one, other]
}

fn next_port(at: SocketAddr) -> SocketAddr {
    SocketAddr::new(at.ip(), at.port() + 1)
}

#[test]
fn media_flows_both_ways_from_open_to_close() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    let relay = Relay::start(&network, &quick());
    let cases = [
        ("none", at("10.1.0.2", 30_000), at("10.2.0.2", 30_000)),
        ("separate", at("fd01::2", 30_100), at("fd02::2", 30_100)),
        ("mux", at("10.1.0.2", 30_200), at("fd02::2", 30_200)),
    ];
    for (rtcp, a, b) in cases {
        let (a_text, b_text) = (a.to_string(), b.to_string());
        let open = [
            "sessions",
            "open",
            "--a-media",
            "inside",
            "--b-media",
            "outside",
            "--rtcp",
            rtcp,
            "--latch",
            "sdp",
            "--a",
            &a_text,
            "--b",
            &b_text,
        ];
        let answer = relay.json(&open);
        let session = &answer["sessions"][0];
        let ports = [address(session, "a"), address(session, "b")];
        let mut parties: Vec<Party> = ends(&network, [a, b], ports, Media::Rtp(160)).into();
        if rtcp == "separate" {
            let (ends_at, ports) = ([a, b].map(next_port), ports.map(next_port));
            parties.extend(ends(&network, ends_at, ports, Media::Rtcp));
        }
        talk(parties.iter_mut(), 50);
        for pair in parties.chunks(2) {
            assert_both_heard_all(&pair[0], &pair[1]);
        }
        let id = session["id"].to_string();
        let listed = relay.json(&["sessions"]);
        assert_eq!(listed["total"], 1);
        assert_eq!(listed["sessions"][0]["relay_a"], ports[0].to_string());
        assert_eq!(listed["sessions"][0]["state"], "open");
        let flows = relay.json(&["sessions", "flows", &id]);
        let flows = flows["flows"].as_array().expect("its flows");
        assert_eq!(flows.len(), if rtcp == "separate" { 4 } else { 2 });
        assert!(flows.iter().all(|flow| flow["packets"] == 50), "{flows:?}");
        assert!(flows.iter().all(|flow| flow["acknowledged"] == 2));
        assert!(relay.table(&["sessions", "flows", &id]).contains(&a_text));
        assert!(relay.table(&["sessions"]).contains(&b_text));

        let closed = relay.table(&["sessions", "close", &id]);
        assert_eq!(closed, "1 sessions closed\n");
        relay.expect_gauge("flows", 0, A_WHILE);
        // Nothing passes any more, and nothing of the next session's would.
        let dropped = relay.workers().dropped_for("no_flow");
        parties.iter_mut().for_each(Party::start_over);
        parties[0].speak();
        let end = Instant::now() + A_WHILE;
        while relay.workers().dropped_for("no_flow") == dropped {
            assert!(Instant::now() < end, "a packet to a closed port is counted");
        }
        relay.expect_gauge("ports_in_use", 0, A_WHILE);
        relay.expect_gauge("ports_resting", 0, A_WHILE);
    }
    assert_eq!(relay.json(&["status"])["media"]["provisioned"], 0);
}

#[test]
fn a_port_rests_after_its_session() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    let relay = Relay::start(&network, &quick().set("port_rest", "\"30s\""));
    let mut client = Client::new(&relay);
    let answer = client.ask(&request(3, 30_000));
    relay.expect_gauge("ports_in_use", 6, A_WHILE);
    let closed = client.ask(&json!({"verb": "close_sessions", "ids": ids(&answer)}));
    assert_eq!(closed, json!({"ok": {"closed": 3}}));
    relay.expect_gauge("ports_resting", 6, A_WHILE);
    relay.expect_gauge("ports_in_use", 0, A_WHILE);
}

#[test]
fn two_hundred_and_fifty_six_in_a_request_and_a_thousand_in_a_row() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    let relay = Relay::start(&network, &quick());
    let mut client = Client::new(&relay);
    let mut all = Vec::new();
    for batch in 0..4 {
        let answer = client.ask(&request(256, 30_000 + 1_000 * batch));
        assert_eq!(answer["ok"]["refused"], json!({}), "{answer}");
        let places = opened(&answer).iter().map(|one| one["index"].as_u64());
        assert!(places.eq((0..256).map(Some)));
        all.extend(ids(&answer));
    }
    // What is answered is in force: a flow that the workers do not have would not be counted.
    assert_eq!(relay.workers().flows(), 2 * 4 * 1024);
    relay.expect_gauge("flows", 4 * 1024, A_WHILE);
    assert!(all.is_sorted(), "numbers are never used again");
    let listed = relay.json(&["sessions", "list", "--limit", "1000", "--after", "1"]);
    assert_eq!(listed["total"], 1024);
    assert_eq!(listed["sessions"].as_array().map(Vec::len), Some(1000));
    let parties = Party::new(&network.caller, at("10.1.0.2", 30_000), Media::Rtp(160));
    drop(parties);
    assert_eq!(relay.json(&["sessions", "close", "--all"])["closed"], 1024);
    relay.expect_gauge("flows", 0, A_WHILE);
    relay.expect_gauge("ports_in_use", 0, A_WHILE);
}

#[test]
fn what_is_refused_is_counted_and_leaves_nothing() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    let setup = quick()
        .set("ports", "\"20000-20005\"")
        .set("max_calls", "4");
    let relay = Relay::start(&network, &setup);
    let mut client = Client::new(&relay);
    // Three pairs at the IPv4 address of each group.
    let answer = client.ask(&request(5, 30_000));
    assert_eq!(opened(&answer).len(), 3, "{answer}");
    assert_eq!(answer["ok"]["refused"], json!({"ports_exhausted": 2}));
    let mut mixed = request(0, 30_000);
    mixed["sessions"] = json!([
        {"a": "10.1.0.2:0", "b": "10.2.0.2:30000"},
        {"a": "10.1.0.2:30000", "b": "239.0.0.1:30000"},
        // Nobody has this address.
        {"a": "[fd01::99]:30000", "b": "[fd02::2]:30000"},
        {"a": "[fd01::2]:30000", "b": "[fd02::2]:30000"},
    ]);
    let answer = client.ask(&mixed);
    // The third holds the last place until it is clear that nobody answers.
    let expected = json!({"bad_party": 2, "no_next_hop": 1, "too_many_sessions": 1});
    assert_eq!(answer["ok"]["refused"], expected, "{answer}");
    let mut unknown = request(2, 30_000);
    unknown["a_media"] = json!("nowhere");
    let answer = client.ask(&unknown);
    assert_eq!(answer["ok"]["refused"], json!({"unknown_group": 2}));

    let output = relay.ask(&[
        "sessions",
        "open",
        "--a-media",
        "inside",
        "--b-media",
        "outside",
        "--a",
        "10.1.0.2:31000",
        "--b",
        "10.2.0.2:31000",
        "--count",
        "2",
    ]);
    assert_eq!(output.status.code(), Some(1));
    let sentence = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(
        sentence,
        "tandem: sessions were refused: ports_exhausted 2\n"
    );

    let status = relay.json(&["status"]);
    assert_eq!(status["media"]["provisioned"], 3);
    assert_eq!(status["media"]["refused"]["ports_exhausted"], 4);
    assert_eq!(status["media"]["refused"]["no_next_hop"], 1);
    relay.expect_gauge("flows", 12, A_WHILE);
    relay.expect_gauge("ports_in_use", 6, A_WHILE);
    relay.json(&["sessions", "close", "--all"]);
    relay.expect_gauge("ports_resting", 0, A_WHILE);
}

#[test]
fn others_are_served_while_an_answer_is_worked_out() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    let relay = Relay::start(&network, &quick());
    let (mut slow, mut other) = (Client::new(&relay), Client::new(&relay));
    let mut unreachable = request(1, 30_000);
    unreachable["sessions"][0]["a"] = json!("10.1.0.99:30000");
    let asked = Instant::now();
    slow.say(&unreachable.to_string());
    slow.say(r#"{"verb":"sessions"}"#);
    std::thread::sleep(Duration::from_millis(20));
    let listed = other.ask(&json!({"verb": "sessions"}));
    assert_eq!(listed["ok"]["sessions"][0]["state"], "opening", "{listed}");
    let answer = slow.hear();
    assert!(asked.elapsed() >= RESOLVE_WITHIN);
    assert_eq!(answer["ok"]["refused"], json!({"no_next_hop": 1}));
    // Its second request waited for the first.
    assert_eq!(slow.hear()["ok"]["total"], 0);
}

#[test]
fn a_client_that_leaves_does_not_take_its_sessions_along() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    let relay = Relay::start(&network, &quick());
    for batch in 0..3 {
        let mut client = Client::new(&relay);
        client.say(&request(256, 30_000 + 1_000 * batch).to_string());
        drop(client);
        let sessions = 256 * (u64::from(batch) + 1);
        relay.expect_gauge("provisioned", sessions, A_WHILE);
        relay.expect_gauge("flows", 4 * sessions, A_WHILE);
    }
    let mut client = Client::new(&relay);
    let listed = client.ask(&json!({"verb": "sessions", "limit": 10000}));
    let sessions = listed["ok"]["sessions"].as_array().expect("a list");
    assert!(sessions.iter().all(|session| session["state"] == "open"));
    let ids: Vec<_> = sessions.iter().map(|session| &session["id"]).collect();
    for ids in ids.chunks(256) {
        let mut client = Client::new(&relay);
        client.say(&json!({"verb": "close_sessions", "ids": ids}).to_string());
    }
    relay.expect_gauge("flows", 0, A_WHILE);
}

#[test]
fn hostile_requests_are_answered_with_a_sentence() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    let relay = Relay::start(&network, &quick());
    let mut client = Client::new(&relay);
    let mut many = request(256, 30_000);
    let one = many["sessions"][0].clone();
    many["sessions"].as_array_mut().expect("a list").push(one);
    let hostile = [
        many,
        json!({"verb": "close_sessions", "ids": vec![1; 257]}),
        json!({"verb": "open_sessions"}),
        json!({"verb": "open_sessions", "a_media": "inside", "b_media": "outside", "sessions": 5}),
        json!({"verb": "close_sessions", "ids": [1.5]}),
        json!({"verb": "session_flows", "id": u64::MAX}),
    ];
    let hostile = hostile.iter().map(Value::to_string).chain([
        request(1, 30_000).to_string().replace("sdp", "all"),
        request(1, 30_000).to_string().replace(":30000", ":70000"),
        request(1, 30_000)
            .to_string()
            .replace("10.1.0.2", "localhost"),
        request(1, 30_000)
            .to_string()
            .replace("{\"a_media", "{\"media_timeout\":\"1y\",\"a_media"),
        "{\"verb\":\"open_sessions\",\"sessions\":".to_owned() + &"[".repeat(10_000),
        "\u{0}".repeat(60_000),
    ]);
    for line in hostile {
        client.say(&line);
        let answer = client.hear();
        let shown: String = line.chars().take(200).collect();
        assert!(answer["error"].is_string(), "{shown}: {answer}");
    }
    let endless = "x".repeat(65_537);
    let mut rude = UnixStream::connect(relay.socket()).expect("tandem listens");
    // It may be cut off before all of it is written.
    let _ = rude.write_all(endless.as_bytes());
    let mut line = String::new();
    let _ = BufReader::new(&rude).read_line(&mut line);
    assert_eq!(line, "", "a request without end is not answered");

    assert_eq!(relay.json(&["status"])["media"]["provisioned"], 0);
    let answer = client.ask(&request(2, 30_000));
    assert_eq!(opened(&answer).len(), 2, "and all is well: {answer}");
}

#[test]
fn silence_closes_a_session_only_when_asked_to() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    // The timeout of calls is not theirs.
    let relay = Relay::start(&network, &quick().set("media_timeout", "\"1s\""));
    let mut client = Client::new(&relay);
    let mut timed = request(1, 30_000);
    timed["media_timeout"] = json!("1s");
    client.ask(&timed);
    let stays = ids(&client.ask(&request(1, 30_100)));
    relay.expect_gauge("provisioned", 2, A_WHILE);
    relay.expect_gauge("provisioned", 1, A_WHILE);
    std::thread::sleep(Duration::from_secs(2));
    let listed = relay.json(&["sessions"]);
    assert_eq!(listed["sessions"][0]["id"], stays[0], "{listed}");
    assert_eq!(
        relay.json(&["status"])["media"]["events"]["media_timeouts"],
        1
    );
}
