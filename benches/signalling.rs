//! What an INVITE costs the control plane to read and to write, and what one costs that is refused for overload.

use std::hint::black_box;
use std::time::Duration;

use contract::Timestamp;
use controlplane::agent::{Agent, Input, Output};
use controlplane::path::Path;
use controlplane::settings::{Listener, ListenerId, MediaGroupId, Route, Settings, Trunk, TrunkId};
use controlplane::sip::Message;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rand::SeedableRng;
use rand::rngs::StdRng;

const INVITE: &[u8] = b"INVITE sip:bob@biloxi.example.com SIP/2.0\r\n\
Via: SIP/2.0/UDP client.atlanta.example.com:5060;branch=z9hG4bK74bf9;rport\r\n\
Max-Forwards: 70\r\n\
From: \"Alice\" <sip:alice@atlanta.example.com>;tag=9fxced76sl\r\n\
To: \"Bob\" <sip:bob@biloxi.example.com>\r\n\
Call-ID: 3848276298220188511@atlanta.example.com\r\n\
CSeq: 1 INVITE\r\n\
Contact: <sip:alice@client.atlanta.example.com>\r\n\
Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE\r\n\
Content-Type: application/sdp\r\n\
Content-Length: 151\r\n\
\r\n\
v=0\r\n\
o=alice 2890844526 2890844526 IN IP4 client.atlanta.example.com\r\n\
s=-\r\n\
c=IN IP4 192.0.2.101\r\n\
t=0 0\r\n\
m=audio 49172 RTP/AVP 0\r\n\
a=rtpmap:0 PCMU/8000\r\n";

fn signalling(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sip");
    group.throughput(Throughput::Elements(1));
    group.bench_function("parse an INVITE", |bencher| {
        bencher.iter(|| Message::parse(black_box(INVITE)).expect("the message is whole"));
    });
    let message = Message::parse(INVITE).expect("the message is whole");
    group.bench_function("write an INVITE", |bencher| {
        bencher.iter(|| black_box(&message).to_bytes());
    });
    let (mut agent, now, mut number) = (overloaded(), now(), 0_u32);
    group.bench_function("refuse an INVITE for overload", |bencher| {
        bencher.iter(|| {
            number += 1;
            refuse(&mut agent, number, now)
        });
    });
    group.finish();
}

fn now() -> Timestamp {
    Timestamp::ZERO + Duration::from_secs(10)
}

/// An agent that lets next to no call in: what it is told has waited for two seconds, for ten.
fn overloaded() -> Agent {
    let address = |text: &str| text.parse().expect("an address");
    let peer = [address("192.0.2.1:5060")];
    let listener = Listener::new("here", address("192.0.2.9:5060"));
    let trunk = Trunk::new("callers", peer, [ListenerId(0)], MediaGroupId(0));
    let mut settings = Settings {
        listeners: vec![listener],
        trunks: vec![trunk],
        routes: vec![Route::new(None, None, [TrunkId(0)])],
        ..Settings::default()
    };
    settings.overload.floor = 1;
    let mut agent = Agent::new(settings, 0, StdRng::seed_from_u64(1));
    for millis in (0..=10_000).step_by(50) {
        let at = Timestamp::ZERO + Duration::from_millis(millis);
        let waited = Input::Waited {
            listener: ListenerId(0),
            time: Duration::from_secs(2),
        };
        agent.handle(waited, at);
    }
    assert!(agent.overload(now()).shedding);
    agent
}

/// From the datagram to the 503; false when it was let in.
fn refuse(agent: &mut Agent, number: u32, now: Timestamp) -> bool {
    let branch = format!("z9hG4bK{number:05x}");
    let text = String::from_utf8_lossy(INVITE).replacen("z9hG4bK74bf9", &branch, 1);
    let datagram = Input::Datagram {
        path: Path::to(ListenerId(0), ([192, 0, 2, 1], 5060).into()),
        bytes: text.into_bytes(),
    };
    agent.handle(datagram, now);
    let mut refused = false;
    loop {
        match agent.poll_output(now) {
            Output::Send { bytes, .. } => refused = bytes.starts_with(b"SIP/2.0 503"),
            Output::Wait(_) => return refused,
            _ => {}
        }
    }
}

criterion_group!(benches, signalling);
criterion_main!(benches);
