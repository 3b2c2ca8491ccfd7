//! Changes to bytes that a parser may trip over.

use rand::RngExt;
use rand::rngs::StdRng;

/// Bytes that mean something to a parser.
const SPECIAL: &[u8] = b"\r\n\t ,;:<>\"\\@%[]{}=/?*+-.&|()!~'`^#$_\0\x7f\xff09aAzZ";

/// Words that mean something, or nearly.
const WORDS: &[&[u8]] = &[
    b"\r\n\r\n",
    b"\r\n ",
    b"4294967296",
    b"-1",
    b"99999999999999999999",
    b"SIP/2.0",
    b"sip:",
    b"sips:",
    b"tel:",
    b";tag=",
    b";branch=z9hG4bK",
    b";lr",
    b"Content-Length: 0\r\n",
    b"Require: 100rel\r\n",
    b"INVITE",
    b"ACK",
    b"BYE",
    b"CANCEL",
    b"m=audio 0 RTP/AVP 0\r\n",
    b"m=image 5000 udptl t38\r\n",
    b"a=inactive\r\n",
    b"c=IN IP4 0.0.0.0\r\n",
    b"[::ffff:1.2.3.4]",
    b"[::1]",
    b"%00",
    b"%zz",
];

/// Changes it in one to four places; pieces of `other` may get in.
pub fn mutate(rng: &mut StdRng, bytes: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..rng.random_range(1..=4) {
        if bytes.is_empty() {
            return;
        }
        let at = rng.random_range(0..bytes.len());
        let end = (at + rng.random_range(1..40)).min(bytes.len());
        match rng.random_range(0..9) {
            0 => bytes[at] = SPECIAL[rng.random_range(0..SPECIAL.len())],
            1 => bytes[at] ^= 1 << rng.random_range(0..8),
            2 => bytes.insert(at, SPECIAL[rng.random_range(0..SPECIAL.len())]),
            3 => drop(bytes.drain(at..end)),
            4 => {
                let copied = bytes[at..end].to_vec();
                let target = rng.random_range(0..=bytes.len());
                bytes.splice(target..target, copied);
            }
            5 if rng.random_range(0..4) == 0 => bytes.truncate(at),
            5 | 6 => {
                let word = WORDS[rng.random_range(0..WORDS.len())];
                bytes.splice(at..at, word.iter().copied());
            }
            7 => {
                let word = WORDS[rng.random_range(0..WORDS.len())];
                bytes.splice(at..end, word.iter().copied());
            }
            _ => {
                let from = rng.random_range(0..=other.len());
                bytes.splice(at..at, other[from..].iter().take(60).copied());
            }
        }
    }
}
