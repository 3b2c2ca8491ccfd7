//! The whole control plane under libFuzzer: the bytes are a message of the caller's, and what the peers say to all that
//! comes of it is left as it is.

#![no_main]

use std::time::Duration;

use fuzz::exchange::Exchange;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut exchange = Exchange::new();
    exchange.receive(true, bytes);
    while exchange.reply(|reply| reply) {}
    exchange.wait(Duration::from_secs(1));
    exchange.hang_up();
    exchange.wait(Duration::from_secs(300));
    exchange.assert_clean();
});
