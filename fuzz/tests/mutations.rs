//! A million mutated messages, the same at each run: nothing panics, what is read and written again is the same, the
//! control plane keeps its bounds, and in the end nothing of it is left.

use std::time::Duration;

use fuzz::corpus::{NG, SDP, SIP, files};
use fuzz::exchange::Exchange;
use fuzz::mutation::mutate;
use fuzz::parsers;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const SEED: u64 = 3261;

/// Mutations of the corpus, so many, each given to `with`.
fn mutations(count: usize, folders: &[&str], mut with: impl FnMut(usize, Vec<u8>)) {
    let corpus = files(folders);
    let mut rng = StdRng::seed_from_u64(SEED);
    for round in 0..count {
        let mut bytes = corpus[round % corpus.len()].clone();
        let other = &corpus[rng.random_range(0..corpus.len())];
        mutate(&mut rng, &mut bytes, other);
        with(round, bytes);
    }
}

#[test]
fn a_million_messages_through_the_parser() {
    mutations(1_000_000, SIP, |_, bytes| parsers::sip(&bytes));
}

#[test]
fn two_hundred_thousand_session_descriptions() {
    mutations(200_000, SDP, |_, bytes| parsers::sdp(&bytes));
}

#[test]
fn four_hundred_thousand_messages_of_the_control_protocol() {
    mutations(400_000, NG, |_, bytes| parsers::ng(&bytes));
}

/// Each has a cookie of its own; what is deleted, asked and answered in between belongs to calls of the same corpus.
#[test]
fn a_hundred_thousand_requests_through_the_second_door() {
    let mut exchange = Exchange::new();
    let mut rng = StdRng::seed_from_u64(SEED + 4);
    let corpus = files(NG);
    let mut asked = 0_u64;
    let mut ask = |exchange: &mut Exchange, bytes: &[u8]| {
        asked += 1;
        let dictionary = bytes.iter().position(|byte| *byte == b' ');
        let dictionary = &bytes[dictionary.unwrap_or(0)..];
        exchange.ask(&[format!("f{asked}").as_bytes(), dictionary].concat());
    };
    mutations(100_000, NG, |round, bytes| {
        ask(&mut exchange, &bytes);
        if rng.random_range(0..4) > 0 {
            ask(&mut exchange, &corpus[round % corpus.len()]);
        }
        exchange.wait(Duration::from_millis(rng.random_range(0..200)));
        if round % 5_000 == 0 {
            exchange.wait(Duration::from_secs(600));
            exchange.assert_clean();
        }
    });
    exchange.wait(Duration::from_secs(600));
    exchange.assert_clean();
    let (calls, replies, orders) = exchange.controlled();
    println!(
        "{calls} calls, {replies} replies to {asked} messages, {orders} orders to the media services"
    );
    assert!(calls > 1_000 && replies > asked / 2, "{calls}, {replies}");
    assert!(orders > 100, "{orders}");
}

#[test]
fn streams_of_messages_cut_anywhere() {
    let corpus = files(SIP);
    mutations(50_000, SIP, |round, mut bytes| {
        bytes.splice(0..0, corpus[round * 7 % corpus.len()].iter().copied());
        // Its first byte says how it is cut.
        bytes.insert(0, (round % 251) as u8);
        parsers::framing(&bytes);
    });
}

/// Challenges and credentials, from the headers of a corpus of their own.
#[test]
fn a_hundred_thousand_header_values_of_digest() {
    const VALUES: &[&str] = &[
        r#"Digest realm="a", nonce="b", qop="auth,auth-int", algorithm=SHA-256, opaque="c", stale=true"#,
        r#"Digest realm="a, b", nonce="b=", Digest realm="c", nonce="d", algorithm=MD5-sess"#,
        r#"Digest username="u", realm="r", nonce="n", uri="sip:x@y;a=b", response="0123456789abcdef0123456789abcdef", qop=auth, nc=00000001, cnonce="c""#,
        r#"nextnonce="n", qop=auth, rspauth="0123456789abcdef0123456789abcdef", cnonce="c", nc=00000001"#,
    ];
    let mut rng = StdRng::seed_from_u64(SEED + 2);
    for round in 0..100_000 {
        let mut bytes = VALUES[round % VALUES.len()].as_bytes().to_vec();
        mutate(
            &mut rng,
            &mut bytes,
            VALUES[(round + 1) % VALUES.len()].as_bytes(),
        );
        parsers::digest(&bytes);
    }
}

/// A name server's answer: a header of DNS, the question, and records with pointers.
#[test]
fn a_hundred_thousand_answers_of_name_servers() {
    const ANSWER: &[u8] = b"\x12\x67\x81\x80\0\x01\0\x01\0\0\0\x01\
        \x04_sip\x04_udp\x07carrier\x07example\0\0\x21\0\x01\
        \xc0\x0c\0\x21\0\x01\0\0\0\x3c\0\x0a\0\x01\0\x0a\x13\xc4\x01a\xc0\x16\
        \x01a\xc0\x16\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x01";
    let mut rng = StdRng::seed_from_u64(SEED + 3);
    for _ in 0..100_000 {
        let mut bytes = ANSWER.to_vec();
        mutate(&mut rng, &mut bytes, ANSWER);
        parsers::dns(&bytes);
    }
}

/// Half of the messages are made up, half are what a peer says in a call, and most of these are mutated too.
#[test]
fn a_quarter_of_a_million_messages_through_calls() {
    let mut exchange = Exchange::new();
    let mut rng = StdRng::seed_from_u64(SEED + 1);
    let corpus = files(SIP);
    mutations(250_000, SIP, |round, bytes| {
        exchange.receive(rng.random_range(0..4) > 0, &bytes);
        let other = &corpus[round % corpus.len()];
        let heard = exchange.reply(|mut reply| {
            if rng.random_range(0..3) > 0 {
                mutate(&mut rng, &mut reply, other);
            }
            reply
        });
        if !heard {
            let call = invite(round);
            exchange.receive(true, call.as_bytes());
        }
        exchange.wait(Duration::from_millis(rng.random_range(0..200)));
        if round % 5_000 == 0 {
            exchange.hang_up();
            exchange.wait(Duration::from_secs(300));
            exchange.assert_clean();
        }
    });
    exchange.hang_up();
    exchange.wait(Duration::from_secs(300));
    exchange.assert_clean();
    assert!(
        exchange.answered() > 1_000,
        "only {} calls came about: mutations met too few of them",
        exchange.answered()
    );
    let (begun, made) = exchange.transfers();
    println!("{begun} transfers were begun, {made} made");
    assert!(begun > 200 && made > 50, "{begun} begun, {made} made");
}

fn invite(number: usize) -> String {
    let body = "v=0\r\no=- 1 1 IN IP4 10.1.0.2\r\ns=-\r\nc=IN IP4 10.1.0.2\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
    format!(
        "INVITE sip:900@10.1.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.1.0.2:5060;branch=z9hG4bK-{number}\r\n\
        From: <sip:a@10.1.0.2>;tag=a\r\nTo: <sip:900@10.1.0.1>\r\nCall-ID: made-{number}\r\n\
        CSeq: 1 INVITE\r\nContact: <sip:a@10.1.0.2>\r\nMax-Forwards: 70\r\n\
        Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}
