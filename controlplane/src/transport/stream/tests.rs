//! Connections over loopback, their time told by the test.

use std::io::{Read, Write};
use std::net::TcpStream as Peer;
use std::path::PathBuf;
use std::time::Instant;

use mio::{Events, Poll};

use super::*;
use crate::identity::Identity;
use crate::settings::{
    ClientCertificates, ListenerId, ListenerTls, MediaGroupId, Transport, Trunk, TrunkTls,
};
use crate::transport::tls::test_authority::{Authority, directory};

const SECOND: Duration = Duration::from_secs(1);
const OPTIONS: &str = "OPTIONS sip:a SIP/2.0\r\nContent-Length: 2\r\n\r\nab";
const OK: &str = "SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n";

/// A listener with a loop of its own.
struct Side {
    poll: Poll,
    listener: StreamListener,
    now: Timestamp,
    arrived: Vec<Arrival>,
}

fn settings(transport: Transport) -> Listener {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    Listener::new("l", any).over(transport)
}

impl Side {
    fn new(settings: &Listener, trunks: &[Trunk]) -> Self {
        let tls = Tls::load(ListenerId(0), settings, trunks).expect("the files are right");
        let mut listener = StreamListener::open(settings).expect("a loopback port");
        listener.reconfigure(ListenerId(0), trunks, tls);
        let poll = Poll::new().expect("epoll");
        let token = Token(7);
        listener
            .register(poll.registry(), token)
            .expect("registered");
        Self {
            poll,
            listener,
            now: Timestamp::from_nanos(1),
            arrived: Vec::new(),
        }
    }

    fn tcp() -> Self {
        Self::new(&settings(Transport::Tcp), &[])
    }

    fn address(&self) -> SocketAddr {
        self.listener.local_address().expect("bound")
    }

    /// One turn of the loop.
    fn turn(&mut self) {
        let mut events = Events::with_capacity(64);
        let wait = Some(Duration::from_millis(2));
        self.poll.poll(&mut events, wait).expect("polled");
        for event in &events {
            self.listener.on_event(event, self.now);
        }
        self.listener.on_time(self.now);
        let mut buffer = [0; 4096];
        loop {
            match self.listener.receive(&mut buffer, self.now) {
                Arrival::Nothing => break,
                Arrival::Working => {}
                arrival => self.arrived.push(arrival),
            }
        }
    }

    fn send(&mut self, to: SocketAddr, otherwise: Option<SocketAddr>, text: &str) -> Sent {
        let bytes = text.as_bytes().to_vec();
        // A response goes back over what they have opened.
        let opened = match otherwise {
            Some(_) => Opened::ByThem,
            None => Opened::ByUs,
        };
        self.listener.send((to, opened), otherwise, bytes, self.now)
    }

    fn counts(&self) -> ConnectionCounts {
        self.listener.counts().connections()
    }

    fn messages(&self) -> Vec<(SocketAddr, String)> {
        let messages = self.arrived.iter().filter_map(|arrival| match arrival {
            Arrival::Message(from, bytes) => {
                Some((from.0, String::from_utf8_lossy(bytes).into_owned()))
            }
            _ => None,
        });
        messages.collect()
    }
}

/// Lets the sides work until something holds.
#[track_caller]
fn until(sides: &mut [&mut Side], holds: impl Fn(&[&mut Side]) -> bool) {
    let end = Instant::now() + 5 * SECOND;
    while !holds(sides) {
        assert!(Instant::now() < end, "not within five seconds");
        sides.iter_mut().for_each(|side| side.turn());
    }
}

fn connected(to: &Side) -> Peer {
    let peer = Peer::connect(to.address()).expect("accepted");
    let patience = Some(Duration::from_millis(20));
    peer.set_read_timeout(patience).expect("set");
    peer
}

/// What the peer hears while the side works.
fn heard(side: &mut Side, peer: &mut Peer, length: usize) -> String {
    let mut text = vec![0; length];
    let mut have = 0;
    let end = Instant::now() + 5 * SECOND;
    while have < length && Instant::now() < end {
        side.turn();
        have += peer.read(&mut text[have..]).unwrap_or(0);
    }
    String::from_utf8_lossy(&text[..have]).into_owned()
}

#[test]
fn a_request_opens_a_connection_and_all_that_follows_takes_it() {
    let (mut one, mut two) = (Side::tcp(), Side::tcp());
    let to = two.address();
    assert_eq!(one.send(to, None, OPTIONS), Sent::Accepted);
    assert_eq!(one.send(to, None, OPTIONS), Sent::Accepted);
    until(&mut [&mut one, &mut two], |sides| {
        sides[1].messages().len() == 2
    });
    let (from, text) = two.messages().remove(0);
    assert_eq!(text, OPTIONS);
    // The answer, and a request of the other side.
    two.send(from, Some(one.address()), OK);
    two.send(from, None, OPTIONS);
    until(&mut [&mut one, &mut two], |sides| {
        sides[0].messages().len() == 2
    });
    let answers = [(to, OK.to_owned()), (to, OPTIONS.to_owned())];
    assert_eq!(one.messages(), answers);
    assert_eq!((one.counts().opened, one.counts().open), (1, 1));
    assert_eq!((two.counts().accepted, two.counts().opened), (1, 0));
    assert_eq!(
        (one.listener.counts().sent, one.listener.counts().received),
        (2, 2)
    );
}

#[test]
fn both_families_have_their_listeners() {
    let six = SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 0));
    let settings = Listener::new("six", six).over(Transport::Tcp);
    let (mut one, mut two) = (Side::new(&settings, &[]), Side::new(&settings, &[]));
    let to = two.address();
    one.send(to, None, OPTIONS);
    until(&mut [&mut one, &mut two], |sides| {
        sides[1].messages().len() == 1
    });
}

#[test]
fn messages_come_out_of_pieces_and_keep_alives_are_answered() {
    let mut side = Side::tcp();
    let mut peer = connected(&side);
    for piece in OPTIONS.as_bytes().chunks(5) {
        peer.write_all(piece).expect("written");
        side.turn();
    }
    peer.write_all(b"\r\n\r\n\r\n").expect("written");
    assert_eq!(
        heard(&mut side, &mut peer, 2),
        "\r\n",
        "one keep-alive is whole"
    );
    peer.write_all(b"\r\n").expect("written");
    assert_eq!(heard(&mut side, &mut peer, 2), "\r\n");
    assert_eq!(side.messages().len(), 1);
}

#[test]
fn a_flood_of_keep_alives_gets_one_answer_a_read() {
    let mut side = Side::tcp();
    let mut peer = connected(&side);
    until(&mut [&mut side], |sides| sides[0].counts().accepted == 1);
    // Two reads of 4,096 bytes at the least, some more if the loop is quick.
    peer.write_all(&b"\r\n".repeat(4_096)).expect("written");
    let answers = heard(&mut side, &mut peer, 2);
    assert_eq!(answers, "\r\n");
    let mut rest = 0;
    for _ in 0..20 {
        side.turn();
        rest += peer.read(&mut [0; 4_096]).unwrap_or(0);
    }
    assert!((2..=60).contains(&rest), "{rest}");
}

#[test]
fn an_alias_stays_with_its_newest_owner() {
    let mut side = Side::tcp();
    let peers: Vec<_> = (0..2).map(|_| connected(&side)).collect();
    let from: Vec<_> = peers
        .iter()
        .map(|peer| peer.local_addr().expect("bound"))
        .collect();
    until(&mut [&mut side], |sides| sides[0].counts().accepted == 2);
    let alias = |port| SocketAddr::from(([127, 0, 0, 1], port));
    side.listener.alias(from[0], alias(5061));
    side.listener.alias(from[1], alias(5061));
    let owner = side.listener.place_of(alias(5061));
    // The first has another one now: what it had before is the second's.
    side.listener.alias(from[0], alias(5062));
    assert_eq!(side.listener.place_of(alias(5061)), owner);
    assert_eq!(owner, side.listener.place_of(from[1]));
    drop(peers);
    until(&mut [&mut side], |sides| sides[0].counts().open == 0);
    assert!(side.listener.aliases.is_empty());
}

#[test]
fn the_outbound_proxy_and_where_names_lead_are_the_trunks_too() {
    let mut settings = settings(Transport::Tcp);
    settings.connections.connections = 4;
    let mut side = Side::new(&settings, &[]);
    let trunk = |listener| Trunk::new("trunk", [], [ListenerId(listener)], MediaGroupId(0));
    let here = SocketAddr::from(([127, 0, 0, 1], 5060));
    let known = |side: &Side| side.listener.known.contains(&here.ip());
    let proxied = Trunk {
        proxy: Some(here.into()),
        ..trunk(0)
    };
    side.listener.reconfigure(ListenerId(0), &[proxied], None);
    assert!(known(&side));
    side.listener
        .reconfigure(ListenerId(0), &[trunk(0), trunk(1)], None);
    assert!(!known(&side));
    side.listener.locate(TrunkId(1), vec![here]);
    assert!(!known(&side), "a trunk of another listener");
    side.listener.locate(TrunkId(0), vec![here]);
    assert!(known(&side));
    side.listener.reconfigure(ListenerId(0), &[trunk(0)], None);
    assert!(known(&side), "still");
    side.listener.locate(TrunkId(0), Vec::new());
    assert!(!known(&side));
}

#[test]
fn where_a_trunks_names_lead_its_certificate_is_asked_for() {
    let secured = Secured::new("located");
    let mut two = Side::new(&secured.listener("two", &["two.example"]), &[]);
    let to = two.address();
    // Two trunks, of which the first is elsewhere: whoever is at the second's place must be the second.
    for (place, passes) in [(TrunkId(0), true), (TrunkId(1), false)] {
        let elsewhere = SocketAddr::from(([192, 0, 2, 1], 5061));
        let trunks = ["two.example", "three.example"];
        let trunks = trunks.map(|name| secured.trunk(elsewhere, &[name]));
        let mut one = Side::new(&secured.listener("one", &["one.example"]), &trunks);
        one.listener.locate(place, vec![to]);
        one.send(to, None, OPTIONS);
        until(&mut [&mut one, &mut two], |sides| {
            let counts = sides[0].counts();
            counts.tls_failed == 1 || !sides[1].messages().is_empty()
        });
        assert_eq!(one.counts().tls_failed == 0, passes, "{place:?}");
        two.arrived.clear();
    }
}

#[test]
fn what_is_no_sip_ends_the_connection_after_what_was() {
    let mut side = Side::tcp();
    let mut peer = connected(&side);
    peer.write_all(format!("{OPTIONS}GET / HTTP/1.1\r\n\r\n").as_bytes())
        .expect("written");
    until(&mut [&mut side], |sides| sides[0].arrived.len() == 3);
    let from = peer.local_addr().expect("bound");
    let expected = [
        Arrival::Message((from, Opened::ByThem), OPTIONS.as_bytes().to_vec()),
        Arrival::Lost((from, Opened::ByThem)),
        // Also what we have asked there, if anything.
        Arrival::Lost((from, Opened::ByUs)),
    ];
    assert_eq!(side.arrived, expected);
    assert_eq!((side.counts().framing_errors, side.counts().open), (1, 0));
    assert_eq!(peer.read(&mut [0; 8]).ok(), Some(0), "closed");
}

#[test]
fn nobody_at_the_other_end_is_told() {
    let mut side = Side::tcp();
    let gone = Side::tcp().address();
    side.send(gone, None, OPTIONS);
    until(&mut [&mut side], |sides| !sides[0].arrived.is_empty());
    assert_eq!(side.arrived, [Arrival::Lost((gone, Opened::ByUs))]);
    assert_eq!((side.counts().failed, side.counts().open), (1, 0));
    // A loopback source may not leave the host (RFC 1122 §3.2.1.3).
    let elsewhere = SocketAddr::from(([192, 0, 2, 1], 5060));
    let sent = side.send(elsewhere, None, OPTIONS);
    assert!(
        sent == Sent::Failed || side.counts().failed == 1,
        "{sent:?}"
    );
}

#[test]
fn a_response_finds_another_way_when_its_connection_is_gone() {
    let (mut side, mut client) = (Side::tcp(), Side::tcp());
    let peer = connected(&side);
    let from = peer.local_addr().expect("bound");
    until(&mut [&mut side], |sides| sides[0].counts().accepted == 1);
    drop(peer);
    until(&mut [&mut side], |sides| sides[0].counts().open == 0);
    assert_eq!(side.send(from, Some(client.address()), OK), Sent::Accepted);
    until(&mut [&mut side, &mut client], |sides| {
        sides[1].messages().len() == 1
    });
    // Where there is none, it is lost, and a stranger is never called back.
    assert_eq!(side.send(from, Some(from), OK), Sent::Lost);
    // And one that does not listen either is told of.
    side.arrived.clear();
    let gone = Side::tcp().address();
    side.send(from, Some(gone), OK);
    until(&mut [&mut side], |sides| sides[0].arrived.len() == 2);
    let expected = [
        Arrival::Lost((gone, Opened::ByUs)),
        Arrival::Unsent((from, Opened::ByThem)),
    ];
    assert_eq!(side.arrived, expected);
}

#[test]
fn connections_are_bounded_in_all_and_by_address() {
    for (connections, from_one_address) in [(4, 10), (10, 2)] {
        let mut settings = settings(Transport::Tcp);
        settings.connections = ConnectionLimits {
            connections,
            from_one_address,
            ..ConnectionLimits::default()
        };
        let mut side = Side::new(&settings, &[]);
        let peers: Vec<_> = (0..3).map(|_| connected(&side)).collect();
        until(&mut [&mut side], |sides| sides[0].counts().turned_away == 1);
        assert_eq!(side.counts().open, 2);
        let to = Side::tcp().address();
        assert_eq!(side.send(to, None, OPTIONS), Sent::Failed);
        drop(peers);
        until(&mut [&mut side], |sides| sides[0].counts().open == 0);
        assert!(side.listener.with_address.is_empty() && side.listener.by_remote.is_empty());
        assert!(side.listener.deadlines.is_empty());
    }
}

#[test]
fn trunks_find_room_where_strangers_find_none() {
    let mut settings = settings(Transport::Tcp);
    settings.connections.connections = 4;
    let mut side = Side::new(&settings, &[]);
    let mut peers: Vec<_> = (0..3).map(|_| connected(&side)).collect();
    until(&mut [&mut side], |sides| sides[0].counts().turned_away == 1);
    let known = SocketAddr::from(([127, 0, 0, 1], 0));
    let trunk = Trunk::new("trunk", [known], [ListenerId(0)], MediaGroupId(0));
    side.listener.reconfigure(ListenerId(0), &[trunk], None);
    peers.extend((0..3).map(|_| connected(&side)));
    until(&mut [&mut side], |sides| sides[0].counts().turned_away == 2);
    assert_eq!(side.counts().open, 4);
    drop(peers);
    until(&mut [&mut side], |sides| sides[0].counts().open == 0);
    assert_eq!(side.listener.strangers, 0);
}

#[test]
fn silence_and_halves_of_messages_end_in_time() {
    let mut side = Side::tcp();
    let mut halting = connected(&side);
    let silent = connected(&side);
    halting
        .write_all(b"OPTIONS sip:a SIP/2.0\r\n")
        .expect("written");
    until(&mut [&mut side], |sides| sides[0].counts().open == 2);
    side.turn();
    side.now = side.now + 30 * SECOND;
    until(&mut [&mut side], |sides| sides[0].counts().stalled == 1);
    side.now = side.now + 600 * SECOND;
    until(&mut [&mut side], |sides| sides[0].counts().idle == 1);
    assert_eq!(side.counts().open, 0);
    drop((halting, silent));
}

#[test]
fn who_does_not_read_is_given_up() {
    let mut side = Side::tcp();
    let peer = connected(&side);
    let from = peer.local_addr().expect("bound");
    until(&mut [&mut side], |sides| sides[0].counts().accepted == 1);
    let large = format!(
        "SIP/2.0 200 OK\r\nContent-Length: 60000\r\n\r\n{}",
        "x".repeat(60_000)
    );
    let mut outcome = Sent::Accepted;
    // The kernel's buffers hold some megabytes, ours one.
    for _ in 0..1000 {
        outcome = side.send(from, None, &large);
        if outcome != Sent::Accepted {
            break;
        }
    }
    assert_eq!(outcome, Sent::Failed);
    assert_eq!((side.counts().stalled, side.counts().open), (1, 0));
}

/// A TLS listener that wants certificates, and the settings of a trunk.
struct Secured {
    place: PathBuf,
    authority: Authority,
}

impl Secured {
    fn new(name: &str) -> Self {
        Self {
            place: directory(name),
            authority: Authority::new(name),
        }
    }

    fn listener(&self, name: &str, names: &[&str]) -> Listener {
        let tls = ListenerTls {
            identity: self.authority.issue(&self.place, name, names),
            trust: Some(self.authority.write(&self.place, name)),
            clients: ClientCertificates::Required,
        };
        Listener {
            tls: Some(tls),
            ..settings(Transport::Tls)
        }
    }

    fn trunk(&self, peer: SocketAddr, names: &[&str]) -> Trunk {
        let mut trunk = Trunk::new("trunk", [peer], [ListenerId(0)], MediaGroupId(0));
        trunk.tls = TrunkTls {
            names: names.iter().map(|&name| name.to_owned()).collect(),
            ..TrunkTls::default()
        };
        trunk
    }
}

fn identities(side: &Side) -> Vec<Identity> {
    let arrived = side.arrived.iter();
    let identities = arrived.filter_map(|arrival| match arrival {
        Arrival::Identified(_, identity) => Some(identity.clone()),
        _ => None,
    });
    identities.collect()
}

#[test]
fn both_ends_of_tls_show_who_they_are_before_they_speak() {
    let secured = Secured::new("mutual");
    let mut two = Side::new(&secured.listener("two", &["two.example"]), &[]);
    let trunk = secured.trunk(two.address(), &["two.example"]);
    let mut one = Side::new(&secured.listener("one", &["one.example"]), &[trunk]);
    one.send(two.address(), None, OPTIONS);
    until(&mut [&mut one, &mut two], |sides| {
        sides[1].messages().len() == 1
    });
    assert!(matches!(two.arrived[0], Arrival::Identified(..)));
    assert_eq!(identities(&two)[0].names, ["one.example"]);
    assert!(identities(&two)[0].by_listener);
    assert_eq!(identities(&one)[0].names, ["two.example"]);
    let (from, _) = two.messages().remove(0);
    // By an alias, requests find the same connection.
    let alias = SocketAddr::new(from.ip(), 5061);
    two.listener.alias(from, alias);
    two.send(alias, None, OPTIONS);
    until(&mut [&mut one, &mut two], |sides| {
        sides[0].messages().len() == 1
    });
    assert_eq!(two.counts().opened, 0);
    assert_eq!((two.counts().handshaking, two.counts().open), (0, 1));
}

#[test]
fn requests_take_a_connection_of_theirs_only_with_whom_the_trunk_is() {
    for (name, taken) in [("two.example", true), ("mallory.example", false)] {
        let secured = Secured::new("theirs");
        let elsewhere = SocketAddr::from(([192, 0, 2, 1], 5061));
        let trunk = secured.trunk(elsewhere, &["two.example"]);
        let mut one = Side::new(&secured.listener("one", &["one.example"]), &[trunk]);
        let to = one.address();
        let back = secured.trunk(to, &["one.example"]);
        let mut peer = Side::new(&secured.listener("peer", &[name]), &[back]);
        peer.send(to, None, OPTIONS);
        until(&mut [&mut one, &mut peer], |sides| {
            sides[0].messages().len() == 1
        });
        let (from, _) = one.messages().remove(0);
        one.listener.locate(TrunkId(0), vec![from]);
        // Who asks is answered, whoever it is.
        one.send(from, Some(from), OK);
        until(&mut [&mut one, &mut peer], |sides| {
            sides[1].messages().len() == 1
        });
        one.send(from, None, OPTIONS);
        until(&mut [&mut one, &mut peer], |sides| match taken {
            true => sides[1].messages().len() == 2,
            false => sides[0]
                .arrived
                .contains(&Arrival::Lost((from, Opened::ByUs))),
        });
        assert_eq!(peer.messages().len(), if taken { 2 } else { 1 }, "{name}");
        assert_eq!(one.counts().opened, u64::from(!taken), "{name}");
    }
}

#[test]
fn whom_nobody_vouches_for_gets_nowhere() {
    let (secured, other) = (Secured::new("right"), Secured::new("wrong"));
    let mut two = Side::new(&secured.listener("two", &["two.example"]), &[]);
    let to = two.address();
    // Of another authority; and by another name than it must have.
    for (listener, names) in [
        (other.listener("other", &["one.example"]), "two.example"),
        (secured.listener("one", &["one.example"]), "three.example"),
    ] {
        let mut one = Side::new(&listener, &[secured.trunk(to, &[names])]);
        one.send(to, None, OPTIONS);
        until(&mut [&mut one, &mut two], |sides| {
            sides[0].counts().tls_failed == 1
        });
        assert!(one.arrived.contains(&Arrival::Lost((to, Opened::ByUs))));
    }
    until(&mut [&mut two], |sides| sides[0].counts().tls_failed == 2);
    assert!(two.messages().is_empty());
    assert_eq!((two.counts().handshaking, two.counts().open), (0, 0));
}

#[test]
fn a_handshake_that_does_not_begin_ends_in_time() {
    let secured = Secured::new("half-open");
    let mut side = Side::new(&secured.listener("l", &["l.example"]), &[]);
    let peer = connected(&side);
    until(&mut [&mut side], |sides| sides[0].counts().handshaking == 1);
    side.now = side.now + 10 * SECOND;
    until(&mut [&mut side], |sides| sides[0].counts().tls_failed == 1);
    assert_eq!((side.counts().handshaking, side.counts().open), (0, 0));
    drop(peer);
}

#[test]
fn new_certificates_count_for_new_connections_and_old_ones_stay() {
    let secured = Secured::new("reload");
    let settings = secured.listener("two", &["two.example"]);
    let mut two = Side::new(&settings, &[]);
    let to = two.address();
    let trunk = secured.trunk(to, &["two.example", "renewed.example"]);
    let listener = secured.listener("one", &["one.example"]);
    let mut before = Side::new(&listener, std::slice::from_ref(&trunk));
    before.send(to, None, OPTIONS);
    until(&mut [&mut before, &mut two], |sides| {
        sides[1].messages().len() == 1
    });
    secured
        .authority
        .issue(&secured.place, "two", &["renewed.example"]);
    let tls = Tls::load(ListenerId(0), &settings, &[]).expect("the files are right");
    two.listener.reconfigure(ListenerId(0), &[], tls);
    let mut after = Side::new(&listener, &[trunk]);
    after.send(to, None, OPTIONS);
    until(&mut [&mut after, &mut two], |sides| {
        sides[1].messages().len() == 2
    });
    assert_eq!(identities(&before)[0].names, ["two.example"]);
    assert_eq!(identities(&after)[0].names, ["renewed.example"]);
    before.send(to, None, OPTIONS);
    until(&mut [&mut before, &mut two], |sides| {
        sides[1].messages().len() == 3
    });
    assert_eq!(before.counts().opened, 1);
}
