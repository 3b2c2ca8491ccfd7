//! rtpengine's control protocol under libFuzzer: the bytes through `fuzz::parsers::ng`, and as a request to a whole control
//! plane that has an offered call, which is answered after it.

#![no_main]

use std::time::Duration;

use fuzz::exchange::Exchange;

const OFFER: &[u8] = include_bytes!("../../tests/corpus/ng-messages/audio-1.json");
const ANSWER: &[u8] = include_bytes!("../../tests/corpus/ng-messages/audio-2.bencode");

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::parsers::ng(bytes);
    let mut exchange = Exchange::new();
    for message in [OFFER, bytes, ANSWER, bytes] {
        exchange.ask(message);
    }
    exchange.wait(Duration::from_secs(300));
    exchange.assert_clean();
});
