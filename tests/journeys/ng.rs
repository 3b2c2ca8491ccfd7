//! The second door, against rtpengine itself: both are asked the same, and must say the same.

use std::fmt::Write;
use std::path::Path;

use serde_json::Value;

use crate::lab::exchanges::{Exchange, corpus};
use crate::lab::network::{Network, at};
use crate::lab::ng::{Asker, Writing};
use crate::lab::rtpengine::RtpEngine;
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

/// Proves the lab without tandem.
#[test]
fn rtpengine_answers_whatever_it_is_asked() {
    let _turn = Turn::shared();
    let network = Network::new(1);
    let control = at("127.0.0.1", 2223);
    let _engine = RtpEngine::start(&network, control);
    let mut asker = Asker::new(&network.relay, at("127.0.0.1", 0), control);
    let mut described = 0;
    let mut refused = 0;
    for (number, exchange) in corpus().iter().enumerate() {
        asker.writing = [Writing::Bencode, Writing::Json][number % 2];
        let said = replies(&mut asker, exchange);
        described += said.iter().filter(|reply| reply["sdp"].is_string()).count();
        refused += said
            .iter()
            .filter(|reply| reply["result"] == "error" && reply["error-reason"].is_string())
            .count();
        if let Some(place) = std::env::var_os(TRANSCRIPTS) {
            let file = Path::new(&place).join(format!("{}.txt", exchange.name));
            std::fs::write(&file, transcript(exchange, &said))
                .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        }
    }
    // Far more offers and answers than are refused on purpose.
    assert!(described > 300, "{described} descriptions");
    assert!(
        (20..60).contains(&refused),
        "{refused} refusals beside {described} descriptions"
    );
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
