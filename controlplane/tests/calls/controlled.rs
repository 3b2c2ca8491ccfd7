//! The other door: calls of rtpengine's control protocol, on virtual time.

use std::net::SocketAddr;
use std::time::Duration;

use controlplane::agent::Input;
use controlplane::ng::message::{self, Encoding};
use controlplane::ng::{ControlId, ControlPath, Dictionary, Value, Way};
use controlplane::records::{Measured, Quality};

use crate::phone::sdp;
use crate::world::{MEDIA_TIMEOUT, REST, Workers, World, addr, settings};

const PROXY: &str = "10.9.0.2:40000";

fn path(remote: &str) -> ControlPath {
    ControlPath {
        listener: ControlId(0),
        remote: addr(remote),
        way: Way::Datagram {
            local: addr("10.9.0.1:2223").ip(),
        },
    }
}

/// A request: strings, but for a few keys that are lists or numbers.
pub(crate) fn request(command: &str, pairs: &[(&str, &str)]) -> Dictionary {
    let mut request = Dictionary::new().with("command", command);
    for (key, value) in pairs {
        match *key {
            "supports" => request.push(*key, vec![Value::from(*value)]),
            "flags" | "replace" | "direction" | "rtcp-mux" => {
                let list: Vec<Value> = value.split(' ').map(Value::from).collect();
                request.push(*key, list);
            }
            "delete-delay" => request.push(*key, value.parse::<i64>().expect("a number")),
            _ => request.push(*key, *value),
        }
    }
    request
}

/// A client of the control protocol: each request has a cookie of its own.
pub(crate) struct Proxy {
    asked: u64,
}

impl Proxy {
    pub(crate) const fn new() -> Self {
        Self { asked: 0 }
    }

    pub(crate) fn send(&mut self, world: &mut World, request: &Dictionary) -> Vec<u8> {
        self.asked += 1;
        let cookie = format!("77_{}", self.asked);
        let bytes = message::seal(cookie.as_bytes(), Encoding::Bencode, request);
        deliver(world, &bytes);
        bytes
    }

    /// Asks, and gives the one reply.
    pub(crate) fn ask(
        &mut self,
        world: &mut World,
        command: &str,
        pairs: &[(&str, &str)],
    ) -> Dictionary {
        self.send(world, &request(command, pairs));
        let cookie = format!("77_{}", self.asked);
        let mut replies = replies(world);
        assert_eq!(replies.len(), 1, "{command}: one reply");
        let (got, reply) = replies.remove(0);
        assert_eq!(got, cookie.as_bytes());
        reply
    }

    pub(crate) fn offer(
        &mut self,
        world: &mut World,
        call: &str,
        more: &[(&str, &str)],
    ) -> Dictionary {
        let body = sdp("10.1.0.2", 4000);
        let pairs = [("call-id", call), ("from-tag", "a"), ("sdp", &body)];
        self.ask(world, "offer", &[&pairs, BRIDGE, more].concat())
    }

    pub(crate) fn answer(
        &mut self,
        world: &mut World,
        call: &str,
        more: &[(&str, &str)],
    ) -> Dictionary {
        let body = sdp("10.2.0.2", 6000);
        let pairs = [
            ("call-id", call),
            ("from-tag", "a"),
            ("to-tag", "b"),
            ("sdp", &body),
        ];
        self.ask(world, "answer", &[&pairs, more].concat())
    }

    /// A call that is answered.
    pub(crate) fn call(&mut self, world: &mut World, call: &str) -> [SocketAddr; 2] {
        let towards_b = media_of(&ok(self.offer(world, call, &[])));
        let towards_a = media_of(&ok(self.answer(world, call, &[])));
        [towards_a, towards_b]
    }
}

const BRIDGE: &[(&str, &str)] = &[("direction", "inside outside")];

fn deliver(world: &mut World, bytes: &[u8]) {
    world.handle(Input::Control {
        path: path(PROXY),
        bytes: bytes.to_vec(),
    });
}

/// What has been replied since, with the cookies.
pub(crate) fn replies(world: &mut World) -> Vec<(Vec<u8>, Dictionary)> {
    let replies = std::mem::take(&mut world.replies);
    let opened = |(_, bytes): (ControlPath, Vec<u8>)| {
        let opened = message::open(&bytes).expect("a reply");
        (opened.cookie.to_vec(), opened.dictionary)
    };
    replies.into_iter().map(opened).collect()
}

pub(crate) fn text(dictionary: &Dictionary, key: &str) -> String {
    match dictionary.get(key.as_bytes()) {
        Some(Value::Bytes(bytes)) => String::from_utf8(bytes.clone()).expect("text"),
        other => panic!("{key} is {other:?}"),
    }
}

pub(crate) fn inner<'a>(dictionary: &'a Dictionary, keys: &[&str]) -> &'a Dictionary {
    keys.iter().fold(dictionary, |dictionary, key| {
        match dictionary.get(key.as_bytes()) {
            Some(Value::Dictionary(inner)) => inner,
            other => panic!("{key} is {other:?}"),
        }
    })
}

pub(crate) fn number(dictionary: &Dictionary, key: &str) -> i64 {
    match dictionary.get(key.as_bytes()) {
        Some(Value::Integer(number)) => *number,
        other => panic!("{key} is {other:?}"),
    }
}

pub(crate) fn ok(reply: Dictionary) -> Dictionary {
    assert_eq!(text(&reply, "result"), "ok", "{reply:?}");
    reply
}

pub(crate) fn reason(reply: &Dictionary) -> String {
    assert_eq!(text(reply, "result"), "error", "{reply:?}");
    text(reply, "error-reason")
}

/// Where the first stream of a reply's body is.
pub(crate) fn media_of(reply: &Dictionary) -> SocketAddr {
    let body = text(reply, "sdp");
    let line = |kind: &str| {
        body.lines()
            .find_map(|line| line.strip_prefix(kind).map(str::to_owned))
    };
    let address = line("c=IN IP4 ").expect("an address");
    let media = line("m=audio ").expect("a stream");
    let port = media.split(' ').next().expect("a port");
    addr(&format!("{address}:{port}"))
}

#[test]
fn a_call_is_offered_answered_and_deleted() {
    let (mut world, mut proxy) = (World::new(), Proxy::new());
    assert_eq!(text(&proxy.ask(&mut world, "ping", &[]), "result"), "pong");
    let [towards_a, towards_b] = proxy.call(&mut world, "one");
    assert_eq!(towards_a.ip(), addr("10.1.0.1:0").ip());
    assert_eq!(towards_b.ip(), addr("10.2.0.1:0").ip());
    for flows in &world.flows {
        let to_b = flows
            .values()
            .find(|flow| flow.key.socket_addr() == towards_a);
        let to_b = to_b.and_then(|flow| flow.rtp).expect("installed");
        assert_eq!(to_b.destination, Some(addr("10.2.0.2:6000")));
        assert_eq!(to_b.source.socket_addr(), towards_b);
    }
    let list = proxy.ask(&mut world, "list", &[]);
    assert_eq!(list.get(b"calls"), Some(&Value::List(vec!["one".into()])));
    let deleted = proxy.ask(
        &mut world,
        "delete",
        &[("call-id", "one"), ("from-tag", "a"), ("delete-delay", "0")],
    );
    assert_eq!(
        number(inner(&ok(deleted), &["totals", "RTP"]), "packets"),
        0
    );
    assert!(world.flows.iter().all(|flows| flows.is_empty()));
    let unknown = proxy.ask(&mut world, "query", &[("call-id", "one")]);
    assert_eq!(reason(&unknown), "Unknown call-id");
    world.advance(REST);
    let gauges = world.agent.gauges();
    assert_eq!(
        (gauges.sessions, gauges.ports_in_use, gauges.ports_resting),
        (0, 0, 0)
    );
}

#[test]
fn a_body_is_told_when_every_worker_has_its_flows() {
    let (mut world, mut proxy) = (World::new(), Proxy::new());
    world.workers = Workers::Slow;
    let body = sdp("10.1.0.2", 4000);
    let offer = request(
        "offer",
        &[("call-id", "x"), ("from-tag", "a"), ("sdp", &body)],
    );
    let bytes = proxy.send(&mut world, &offer);
    assert!(replies(&mut world).is_empty());
    deliver(&mut world, &bytes);
    assert!(
        replies(&mut world).is_empty(),
        "the same request is not carried out twice"
    );
    world.release();
    let said = replies(&mut world);
    assert!(!said.is_empty() && said.iter().all(|(_, reply)| text(reply, "result") == "ok"));
    assert_eq!(world.agent.control_gauges().dialogues, 1);
    deliver(&mut world, &bytes);
    assert_eq!(
        replies(&mut world)[0].1,
        said[0].1,
        "what was said is said again"
    );
    assert_eq!(world.agent.gauges().sessions, 1);
}

#[test]
fn workers_that_refuse_leave_no_call() {
    let (mut world, mut proxy) = (World::new(), Proxy::new());
    world.workers = Workers::Refusing(contract::Refusal::TableFull);
    assert!(reason(&proxy.offer(&mut world, "x", &[])).contains("refused"));
    assert_eq!(world.agent.control_gauges().calls, 0);
    assert_eq!(world.agent.gauges().sessions, 0);
}

#[test]
fn errors_have_the_words_that_clients_know() {
    let (mut world, mut proxy) = (World::new(), Proxy::new());
    let of = |world: &mut World, proxy: &mut Proxy, command: &str, pairs: &[(&str, &str)]| {
        reason(&proxy.ask(world, command, pairs))
    };
    let offer = [("call-id", "x"), ("from-tag", "a"), ("sdp", "nonsense")];
    assert_eq!(
        of(&mut world, &mut proxy, "offer", &offer),
        "Failed to parse SDP"
    );
    assert_eq!(
        of(&mut world, &mut proxy, "reboot", &[]),
        "Unrecognized command"
    );
    assert_eq!(
        reason(&proxy.answer(&mut world, "x", &[])),
        "Unknown call-id"
    );
    let unknown = [("call-id", "x"), ("from-tag", "a")];
    let deleted = ok(proxy.ask(&mut world, "delete", &unknown));
    assert_eq!(
        text(&deleted, "warning"),
        "Call-ID not found or tags didn't match"
    );
    let fatal = [&unknown[..], &[("flags", "fatal")]].concat();
    assert_eq!(
        of(&mut world, &mut proxy, "delete", &fatal),
        "Call-ID not found or tags didn't match"
    );
    assert_eq!(world.agent.control_gauges().calls, 0);
    let counters = world.agent.control_counters();
    assert_eq!(counters.commands.get("offer"), Some(&1));
    assert_eq!(counters.errors.get("offer"), Some(&1));
}

#[test]
fn limits_are_told_as_the_client_can_take_it() {
    let mut settings = settings();
    settings.limits.calls = 1;
    let (mut world, mut proxy) = (World::with(settings, 1), Proxy::new());
    ok(proxy.offer(&mut world, "one", &[]));
    assert_eq!(
        reason(&proxy.offer(&mut world, "two", &[])),
        "Parallel session limit reached"
    );
    let told = proxy.offer(&mut world, "two", &[("supports", "load limit")]);
    assert_eq!(text(&told, "result"), "load limit");
    assert_eq!(world.agent.control_counters().limited, 2);
    let mut settings = crate::world::settings();
    settings.media_groups[1].ports = (20_000, 20_001);
    let mut world = World::with(settings, 1);
    ok(proxy.offer(&mut world, "one", &[]));
    assert_eq!(
        reason(&proxy.offer(&mut world, "two", &[])),
        "Ran out of ports"
    );
    assert_eq!(
        world.agent.gauges().sessions,
        1,
        "nothing is left of the second"
    );
}

#[test]
fn either_party_may_offer_again_and_a_pending_offer_gives_way() {
    let (mut world, mut proxy) = (World::new(), Proxy::new());
    let [towards_a, towards_b] = proxy.call(&mut world, "x");
    let held = sdp("10.2.0.2", 6000).replace("a=sendrecv", "a=sendonly");
    let from_b = [
        ("call-id", "x"),
        ("from-tag", "b"),
        ("to-tag", "a"),
        ("sdp", &held),
    ];
    let offered = ok(proxy.ask(&mut world, "offer", &from_b));
    assert_eq!(media_of(&offered), towards_a, "its ports stay");
    let from_a = [
        ("call-id", "x"),
        ("from-tag", "a"),
        ("to-tag", "b"),
        ("sdp", &sdp("10.1.0.2", 4000)),
    ];
    let offered = ok(proxy.ask(&mut world, "offer", &from_a));
    assert_eq!(media_of(&offered), towards_b);
    ok(proxy.answer(&mut world, "x", &[]));
    assert_eq!(world.agent.gauges().sessions, 1);
}

#[test]
fn another_answer_to_the_same_offer_takes_the_place_of_the_first() {
    let (mut world, mut proxy) = (World::new(), Proxy::new());
    let [towards_a, _] = proxy.call(&mut world, "x");
    let other = sdp("10.2.0.3", 7000);
    let answer = [
        ("call-id", "x"),
        ("from-tag", "a"),
        ("to-tag", "c"),
        ("sdp", &other),
    ];
    let answered = ok(proxy.ask(&mut world, "answer", &answer));
    assert_eq!(media_of(&answered), towards_a);
    let flow = world.flows[0]
        .values()
        .find(|flow| flow.key.socket_addr() == towards_a);
    let to = flow
        .and_then(|flow| flow.rtp)
        .and_then(|rtp| rtp.destination);
    assert_eq!(to, Some(addr("10.2.0.3:7000")));
}

#[test]
fn branches_have_ports_of_their_own_and_end_alone() {
    let (mut world, mut proxy) = (World::new(), Proxy::new());
    let one = media_of(&ok(proxy.offer(&mut world, "x", &[("via-branch", "z1")])));
    let two = media_of(&ok(proxy.offer(&mut world, "x", &[("via-branch", "z2")])));
    assert_ne!(one, two);
    ok(proxy.answer(&mut world, "x", &[("via-branch", "z2")]));
    let delete = [
        ("call-id", "x"),
        ("from-tag", "a"),
        ("via-branch", "z1"),
        ("delete-delay", "0"),
    ];
    ok(proxy.ask(&mut world, "delete", &delete));
    let gauges = world.agent.control_gauges();
    assert_eq!((gauges.calls, gauges.dialogues), (1, 1));
    let delete = [
        ("call-id", "x"),
        ("from-tag", "a"),
        ("to-tag", "b"),
        ("delete-delay", "0"),
    ];
    ok(proxy.ask(&mut world, "delete", &delete));
    assert_eq!(world.agent.control_gauges().calls, 0);
}

#[test]
fn a_deleted_call_stays_for_its_delay_and_an_offer_revives_it() {
    let (mut world, mut proxy) = (World::new(), Proxy::new());
    proxy.call(&mut world, "x");
    let delete = [("call-id", "x"), ("from-tag", "a"), ("to-tag", "b")];
    ok(proxy.ask(&mut world, "delete", &delete));
    world.advance(Duration::from_secs(29));
    ok(proxy.offer(&mut world, "x", &[("to-tag", "b")]));
    world.advance(Duration::from_secs(30));
    assert_eq!(world.agent.control_gauges().calls, 1);
    ok(proxy.ask(&mut world, "delete", &delete));
    world.advance(Duration::from_secs(31));
    assert_eq!(world.agent.control_gauges().calls, 0);
    assert!(world.flows.iter().all(|flows| flows.is_empty()));
}

#[test]
fn a_query_tells_what_the_workers_have_counted() {
    let (mut world, mut proxy) = (World::new(), Proxy::new());
    let [towards_a, _] = proxy.call(&mut world, "x");
    let quality = Quality {
        lost: 10,
        jitter: Some(Duration::from_millis(3)),
        round_trip: Some(Duration::from_millis(40)),
        ssrc: Some(0xfeed),
        reports: 1,
        fraction_lost: 3,
    };
    let measured = Measured {
        packets: 990,
        bytes: 990 * 172,
        wrong_source: 2,
        quality: Some(quality),
        last_packet: Some(world.now),
    };
    let key = contract::FlowKey {
        address: towards_a.ip(),
        port: towards_a.port(),
    };
    world.counted.insert(key, measured);
    let told = ok(proxy.ask(&mut world, "query", &[("call-id", "x")]));
    let rtp = inner(&told, &["totals", "RTP"]);
    assert_eq!((number(rtp, "packets"), number(rtp, "errors")), (990, 2));
    let ssrc = inner(&told, &["SSRC", "65261", "average MOS"]);
    assert_eq!(
        (number(ssrc, "packet loss"), number(ssrc, "jitter")),
        (1, 3)
    );
    assert!((30..=45).contains(&number(ssrc, "MOS")), "{ssrc:?}");
    let Some(Value::List(medias)) = inner(&told, &["tags", "a"]).get(b"medias") else {
        panic!("{told:?}");
    };
    let Some(Value::Dictionary(media)) = medias.first() else {
        panic!("{medias:?}");
    };
    assert_eq!(text(media, "type"), "audio");
    // Whoever is asked for is told with whom it talks.
    let of_b = ok(proxy.ask(&mut world, "query", &[("call-id", "x"), ("from-tag", "b")]));
    let told = inner(&of_b, &["tags"]);
    assert!(told.get(b"a").is_some() && told.get(b"b").is_some());
}

/// The workers hear nothing of anybody.
pub(crate) fn go_silent(world: &mut World) {
    let ids: Vec<_> = world.flows[0].values().map(|flow| flow.id).collect();
    world.advance(MEDIA_TIMEOUT);
    for id in ids {
        for worker in [0, 1].map(contract::WorkerId) {
            let event = contract::Event::Idle(id);
            world.handle(Input::Worker { worker, event });
        }
    }
}

#[test]
fn silence_ends_a_call_and_so_does_a_drain() {
    let (mut world, mut proxy) = (World::new(), Proxy::new());
    proxy.call(&mut world, "x");
    go_silent(&mut world);
    assert_eq!(world.agent.control_gauges().calls, 0);
    assert_eq!(world.agent.control_counters().media_timeouts, 1);
    proxy.call(&mut world, "y");
    let deadline = world.now + Duration::from_secs(10);
    world.handle(Input::Drain { deadline });
    assert!(reason(&proxy.offer(&mut world, "z", &[])).contains("Draining"));
    assert!(!world.drained);
    world.advance(Duration::from_secs(20));
    assert!(world.drained && world.agent.control_gauges().calls == 0);
}

#[test]
fn what_waits_for_a_call_that_is_deleted_is_answered() {
    let (mut world, mut proxy) = (World::new(), Proxy::new());
    world.workers = Workers::Slow;
    let body = sdp("10.1.0.2", 4000);
    let offer = request(
        "offer",
        &[("call-id", "x"), ("from-tag", "a"), ("sdp", &body)],
    );
    proxy.send(&mut world, &offer);
    let delete = request(
        "delete",
        &[("call-id", "x"), ("from-tag", "a"), ("delete-delay", "0")],
    );
    proxy.send(&mut world, &delete);
    let said = replies(&mut world);
    assert_eq!(said.len(), 2);
    assert_eq!(reason(&said[0].1), "Unknown call-id");
    assert_eq!(world.agent.control_gauges().waiting, 0);
}
