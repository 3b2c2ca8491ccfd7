//! Mutations of the corpus through the transaction layer alone, with so little room that its bounds are met: what it
//! sends can be read, it holds no more than it may, and in the end nothing.

use std::time::Duration;

use contract::Timestamp;
use controlplane::settings::{ListenerId, SipTimers, Transport};
use controlplane::sip::{Message, StatusCode};
use controlplane::transaction::{Config, Hop, Occurrence, Path, ServerKey, Transactions};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use fuzz::corpus::{SIP, files};
use fuzz::mutation::mutate;

const ROUNDS: usize = 100_000;
const CAPACITY: usize = 12;
const SEED: u64 = 3261;

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
fn the_transaction_layer_keeps_its_bounds() {
    let corpus = files(SIP);
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
    let path = Path::to(ListenerId(0), "192.0.2.1:5060".parse().expect("an address"));
    let mut now = Timestamp::ZERO;
    let mut read = 0;
    let mut open = Open::new();
    for round in 0..ROUNDS {
        let other = &corpus[rng.random_range(0..corpus.len())];
        let mut bytes = corpus[round % corpus.len()].clone();
        mutate(&mut rng, &mut bytes, other);
        read += usize::from(Message::parse(&bytes).is_ok());
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
