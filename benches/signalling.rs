//! What an INVITE costs the control plane to read and to write.

use std::hint::black_box;

use controlplane::sip::Message;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

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
    group.finish();
}

criterion_group!(benches, signalling);
criterion_main!(benches);
