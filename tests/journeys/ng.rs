//! The second door, against rtpengine itself: both are asked the same, and must say the same.

use std::fmt::Write;
use std::path::Path;

use serde_json::Value;

use crate::lab::allowed::judged;
use crate::lab::compared::{Difference, differences};
use crate::lab::exchanges::{Exchange, corpus};
use crate::lab::network::{Network, at};
use crate::lab::ng::{Asker, Writing};
use crate::lab::relay::{Relay, Setup};
use crate::lab::rtpengine::{OTHER_PORTS, PORTS, RtpEngine};
use crate::lab::turn::Turn;

/// Set to a directory, it gets a file for each exchange with what rtpengine says.
const TRANSCRIPTS: &str = "TANDEM_NG_TRANSCRIPTS";

/// What one says to an exchange, request by request.
#[track_caller]
fn replies(asker: &mut Asker, exchange: &Exchange) -> Vec<Value> {
    exchange
        .requests
        .iter()
        .map(|request| asker.ask(request))
        .collect()
}

/// Asks two relays the whole corpus: what the first says, and where the second says something else.
#[track_caller]
fn ask_both(one: &mut Asker, other: &mut Asker) -> (Vec<(Exchange, Vec<Value>)>, Vec<Difference>) {
    let mut found = Vec::new();
    let mut said = Vec::new();
    for (number, exchange) in corpus().into_iter().enumerate() {
        let writing = [Writing::Bencode, Writing::Json][number % 2];
        (one.writing, other.writing) = (writing, writing);
        let theirs = replies(one, &exchange);
        let ours = replies(other, &exchange);
        found.extend(differences(&exchange.name, &theirs, &ours));
        said.push((exchange, theirs));
    }
    (said, found)
}

/// Proves the lab without tandem: what is compared is neither chance nor empty.
#[test]
fn two_rtpengines_say_the_same() {
    let _turn = Turn::shared();
    let network = Network::new(1);
    let [one, other] = [2223, 2224].map(|port| at("127.0.0.1", port));
    let _engines = [
        RtpEngine::start(&network, one, PORTS),
        RtpEngine::start(&network, other, OTHER_PORTS),
    ];
    let [mut one, mut other] =
        [one, other].map(|control| Asker::new(&network.relay, at("127.0.0.1", 0), control));
    let (said, found) = ask_both(&mut one, &mut other);
    let replies = || said.iter().flat_map(|(_, replies)| replies);
    let described = replies().filter(|reply| reply["sdp"].is_string()).count();
    let refused = replies()
        .filter(|reply| reply["error-reason"].is_string())
        .count();
    // Far more offers and answers than are refused on purpose.
    assert!(described > 300, "{described} descriptions");
    assert!((20..60).contains(&refused), "{refused} refusals");
    if let Some(place) = std::env::var_os(TRANSCRIPTS) {
        for (exchange, replies) in &said {
            let file = Path::new(&place).join(format!("{}.txt", exchange.name));
            std::fs::write(&file, transcript(exchange, replies))
                .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        }
    }
    // Keys, certificates and the mark of whom a body has passed are chance.
    let chance = ["a=crypto:", "a=fingerprint:", "a=tls-id:", "a=rtpengine:"];
    let left: Vec<_> = found
        .iter()
        .filter(|difference| {
            let mut lines = difference.theirs.iter().chain(&difference.ours);
            !lines.all(|line| chance.iter().any(|start| line.starts_with(start)))
        })
        .collect();
    assert!(left.is_empty(), "{left:#?}");
}

/// Requests and replies as people read them.
fn transcript(exchange: &Exchange, replies: &[Value]) -> String {
    let mut text = String::new();
    for (request, reply) in exchange.requests.iter().zip(replies) {
        for (mark, dictionary) in [(">>>", request), ("<<<", reply)] {
            let mut dictionary = dictionary.clone();
            let sdp = dictionary
                .as_object_mut()
                .and_then(|entries| entries.remove("sdp"));
            let _ = writeln!(text, "{mark} {dictionary}");
            if let Some(sdp) = sdp.as_ref().and_then(Value::as_str) {
                let _ = writeln!(text, "{}", sdp.replace("\r\n", "\n").trim_end());
            }
            text.push('\n');
        }
    }
    text
}

/// The proof of the drop-in: whatever is not the same is meant, and said in `docs/ng-differences.md`.
#[test]
fn same_sdp_as_rtpengine() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    let [model, control] = [2224, 2223].map(|port| at("127.0.0.1", port));
    let _engine = RtpEngine::start(&network, model, PORTS);
    // As rtpengine has it.
    let setup = Setup::ng().set("delete_delay", "\"30s\"");
    let _relay = Relay::start(&network, &setup);
    let [mut model, mut asker] =
        [model, control].map(|control| Asker::new(&network.relay, at("127.0.0.1", 0), control));
    let (said, found) = ask_both(&mut model, &mut asker);
    assert!(said.len() >= 60, "{} exchanges", said.len());
    let (left, unused) = judged(&found);
    assert!(
        left.is_empty(),
        "{} differences that nobody has allowed:\n{}",
        left.len(),
        left.join("\n")
    );
    assert!(unused.is_empty(), "no such difference any more: {unused:?}");
}
