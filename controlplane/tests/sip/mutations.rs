//! 10,000 mutations of the corpus, the same ones every time: nothing panics, what can be read can be
//! written and read again, and the transaction layer stays within its bounds.

use std::time::Duration;

use contract::Timestamp;
use controlplane::settings::{ListenerId, SipTimers, Transport};
use controlplane::sip::{HeaderName, Message, StatusCode};
use controlplane::transaction::{Config, Hop, Occurrence, Path, ServerKey, Transactions};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::corpus::messages;

const ROUNDS: usize = 10_000;
const CAPACITY: usize = 12;
const SEED: u64 = 3261;

/// Bytes that mean something to a parser.
const SPECIAL: &[u8] = b"\r\n\t ,;:<>\"\\@%[]=/?*\0\x7f\xff09";

fn mutate(rng: &mut StdRng, bytes: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..rng.random_range(1..=4) {
        if bytes.is_empty() {
            return;
        }
        let at = rng.random_range(0..bytes.len());
        let end = (at + rng.random_range(1..40)).min(bytes.len());
        match rng.random_range(0..7) {
            0 => bytes[at] = SPECIAL[rng.random_range(0..SPECIAL.len())],
            1 => bytes[at] ^= 1 << rng.random_range(0..8),
            2 => bytes.insert(at, SPECIAL[rng.random_range(0..SPECIAL.len())]),
            3 => drop(bytes.drain(at..end)),
            4 => {
                let copied = bytes[at..end].to_vec();
                let target = rng.random_range(0..=bytes.len());
                bytes.splice(target..target, copied);
            }
            5 => bytes.truncate(at),
            _ => {
                let from = rng.random_range(0..=other.len());
                bytes.splice(at..at, other[from..].iter().take(60).copied());
            }
        }
    }
}

/// Reads everything that can be read of a message.
fn understand(message: &Message) {
    let _ = (
        message.via(),
        message.from(),
        message.to(),
        message.contact(),
    );
    let _ = (message.call_id(), message.cseq(), message.max_forwards());
    let _ = (message.routes(&HeaderName::Route), message.content_type());
    if let Some(uri) = message.uri() {
        let _ = (
            uri.user(),
            uri.decoded_user(),
            uri.socket_addr(),
            uri.scheme(),
        );
        let moved = uri.at("192.0.2.1:5060".parse().expect("an address"));
        let again = controlplane::sip::typed::Uri::parse(moved.as_str().as_bytes());
        assert_eq!(
            again.as_ref().map(ToString::to_string),
            Ok(moved.to_string())
        );
    }
    for field in message.headers.iter() {
        let _ = message.headers.values(field.name());
    }
}

/// A request that has not been answered finally.
type Open = Vec<(ServerKey, Message)>;

/// What comes out of the layer can be read; two thirds of the requests are answered at once.
fn converse(layer: &mut Transactions, now: Timestamp, rng: &mut StdRng, open: &mut Open) {
    while let Some(occurrence) = layer.poll() {
        match occurrence {
            Occurrence::Transmit { bytes, .. } => {
                let sent = Message::parse(&bytes).expect("what is sent can be read");
                assert!(sent.code().is_some(), "nothing is asked of anybody");
            }
            Occurrence::Request { key, message, .. } => {
                let code = [180, 200, 404][rng.random_range(0..3)];
                answer(layer, now, key, &message, code);
                if code == 180 {
                    open.push((key, message));
                }
            }
            _ => {}
        }
    }
}

fn answer(layer: &mut Transactions, now: Timestamp, key: ServerKey, request: &Message, code: u16) {
    let code = StatusCode::new(code).expect("a code");
    let answered = layer.respond(now, key, request.response(code, Some("t")));
    answered.expect("an open request can be answered");
}

#[test]
fn ten_thousand_mutations_break_nothing() {
    let mut corpus = messages("valid");
    corpus.extend(messages("invalid"));
    let mut rng = StdRng::seed_from_u64(SEED);
    let config = Config {
        timers: SipTimers::default(),
        capacity: CAPACITY,
        listeners: vec![Hop::new(
            Transport::Udp,
            "198.51.100.1:5060".parse().expect("an address"),
        )],
    };
    let mut layer = Transactions::new(config, StdRng::seed_from_u64(SEED));
    let path = Path {
        listener: ListenerId(0),
        remote: "192.0.2.1:5060".parse().expect("an address"),
    };
    let mut now = Timestamp::ZERO;
    let mut read = 0;
    let mut open = Open::new();
    for round in 0..ROUNDS {
        let (_, original) = &corpus[round % corpus.len()];
        let (_, other) = &corpus[rng.random_range(0..corpus.len())];
        let mut bytes = original.clone();
        mutate(&mut rng, &mut bytes, other);
        match Message::parse(&bytes) {
            Ok(message) => {
                read += 1;
                understand(&message);
                let written = message.to_bytes();
                let again = Message::parse(&written).expect("what is written can be read");
                assert_eq!(again.to_bytes(), written, "round {round}");
                assert_eq!((&again.start, &again.body), (&message.start, &message.body));
            }
            Err(error) => {
                assert!(error.at <= bytes.len(), "round {round}");
                if let Some(request) = error.request {
                    understand(&request);
                }
            }
        }
        layer.receive(now, path, &bytes);
        converse(&mut layer, now, &mut rng, &mut open);
        let counters = layer.counters();
        assert!(counters.servers <= 2 * CAPACITY && counters.clients == 0);
        now = now + Duration::from_millis(100);
        layer.on_time(now);
        if round % 500 == 0 {
            for (key, request) in open.drain(..) {
                answer(&mut layer, now, key, &request, 500);
            }
        }
    }
    assert!(
        read > ROUNDS / 10,
        "mutations are too wild to be of use: {read} can be read"
    );
    converse(&mut layer, now, &mut rng, &mut open);
    for (key, request) in open.drain(..) {
        answer(&mut layer, now, key, &request, 500);
    }
    while let Some(due) = layer.deadline() {
        layer.on_time(due);
        converse(&mut layer, due, &mut rng, &mut open);
    }
    let counters = layer.counters();
    assert_eq!(counters.servers, 0, "nothing is left");
    assert!(counters.parse_errors.iter().sum::<u64>() > 1000);
    assert!(counters.refused_full > 0, "the bound was reached");
}
