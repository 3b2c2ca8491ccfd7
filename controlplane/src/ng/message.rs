//! The frame around a dictionary: `COOKIE SP DICTIONARY`.
//!
//! The dictionary's first byte tells its encoding: `d` is bencode, `{` JSON; the reply comes in the same. What follows a
//! dictionary is ignored, and one that only lacks its end is refused.

use super::bencode::{self, Problem};
use super::json;
use super::value::Dictionary;

/// A cookie is no longer than this: clients send some twenty bytes.
pub const LONGEST_COOKIE: usize = 256;

/// How a dictionary is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Bencode.
    Bencode,
    /// JSON.
    Json,
}

/// A message that could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened<'a> {
    /// What the reply has to begin with.
    pub cookie: &'a [u8],
    /// What the reply has to be written in.
    pub encoding: Encoding,
    /// What it says.
    pub dictionary: Dictionary,
    /// How many bytes it takes.
    pub length: usize,
}

/// A message that could not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Malformed<'a> {
    /// There is no cookie: nobody can be told.
    NoCookie,
    /// There is a cookie, and no dictionary after it.
    NoDictionary {
        /// What the reply has to begin with.
        cookie: &'a [u8],
        /// What it has to be written in.
        encoding: Encoding,
        /// What is wrong, in rtpengine's words.
        reason: &'static str,
    },
    /// The beginning of a message.
    Incomplete,
}

/// Reads a whole message.
pub fn open(bytes: &[u8]) -> Result<Opened<'_>, Malformed<'_>> {
    match begin(bytes) {
        Err(Malformed::Incomplete) => {
            let Some((cookie, rest)) = cookie(bytes) else {
                return Err(Malformed::NoCookie);
            };
            let (encoding, reason) = match rest.first() {
                Some(b'd') => (Encoding::Bencode, NO_BENCODE),
                Some(b'{') => (Encoding::Json, NO_JSON),
                _ => (Encoding::Bencode, NO_FORMAT),
            };
            Err(Malformed::NoDictionary {
                cookie,
                encoding,
                reason,
            })
        }
        opened => opened,
    }
}

/// Reads the message that the bytes begin with: for streams.
pub fn begin(bytes: &[u8]) -> Result<Opened<'_>, Malformed<'_>> {
    let Some((cookie, rest)) = cookie(bytes) else {
        let may_come = bytes.len() <= LONGEST_COOKIE && !bytes.contains(&b' ');
        return Err(match may_come {
            true => Malformed::Incomplete,
            false => Malformed::NoCookie,
        });
    };
    let no = |encoding, reason| Malformed::NoDictionary {
        cookie,
        encoding,
        reason,
    };
    let (encoding, read, reason) = match rest.first() {
        None => return Err(Malformed::Incomplete),
        Some(b'd') => (Encoding::Bencode, bencode::read(rest), NO_BENCODE),
        Some(b'{') => (Encoding::Json, json::read(rest), NO_JSON),
        Some(_) => return Err(no(Encoding::Bencode, NO_FORMAT)),
    };
    match read {
        Ok((dictionary, length)) => Ok(Opened {
            cookie,
            encoding,
            dictionary,
            length: cookie.len() + 1 + length,
        }),
        Err(Problem::Incomplete) => Err(Malformed::Incomplete),
        Err(Problem::Malformed) => Err(no(encoding, reason)),
    }
}

/// Writes a message.
pub fn seal(cookie: &[u8], encoding: Encoding, dictionary: &Dictionary) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1024);
    bytes.extend_from_slice(cookie);
    bytes.push(b' ');
    match encoding {
        Encoding::Bencode => bencode::write(dictionary, &mut bytes),
        Encoding::Json => json::write(dictionary, &mut bytes),
    }
    bytes
}

const NO_FORMAT: &str = "Invalid NG data format";
const NO_BENCODE: &str = "Could not decode bencode dictionary";
const NO_JSON: &str = "Failed to parse JSON document";

/// The cookie, and what follows the space after it.
fn cookie(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes
        .iter()
        .take(LONGEST_COOKIE + 1)
        .position(|byte| *byte == b' ')?;
    (end > 0).then(|| (&bytes[..end], &bytes[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(bytes: &[u8]) -> &'static str {
        match open(bytes) {
            Err(Malformed::NoDictionary { reason, .. }) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn both_encodings_are_opened_and_sealed() {
        let ping = Dictionary::new().with("command", "ping");
        for (encoding, text) in [
            (Encoding::Bencode, "5323_1 d7:command4:pinge"),
            (Encoding::Json, "5323_1 {\"command\":\"ping\"}"),
        ] {
            let opened = open(text.as_bytes()).expect("valid");
            assert_eq!((opened.cookie, opened.encoding), (&b"5323_1"[..], encoding));
            assert_eq!((&opened.dictionary, opened.length), (&ping, text.len()));
            assert_eq!(seal(b"5323_1", encoding, &ping), text.as_bytes());
            let more = format!("{text} and more");
            assert_eq!(
                open(more.as_bytes()).map(|opened| opened.length),
                Ok(text.len())
            );
        }
    }

    #[test]
    fn what_has_no_cookie_is_nobody_s() {
        for bytes in [
            &b""[..],
            b"nospace",
            b" d7:command4:pinge",
            &[b'x'; LONGEST_COOKIE + 2],
        ] {
            assert_eq!(open(bytes), Err(Malformed::NoCookie), "{bytes:?}");
        }
    }

    #[test]
    fn what_has_a_cookie_alone_is_told_in_rtpengine_s_words() {
        assert_eq!(reason(b"x foo"), "Invalid NG data format");
        assert_eq!(reason(b"x "), "Invalid NG data format");
        assert_eq!(reason(b"x  d7:command4:pinge"), "Invalid NG data format");
        assert_eq!(reason(b"x d3:fooe"), "Could not decode bencode dictionary");
        assert_eq!(
            reason(b"x d7:command4:ping"),
            "Could not decode bencode dictionary"
        );
        assert_eq!(reason(b"x {bad"), "Failed to parse JSON document");
    }

    #[test]
    fn a_stream_waits_for_what_may_still_come() {
        let text = b"5323_1 d7:command4:pinge";
        for end in 0..text.len() {
            assert_eq!(begin(&text[..end]), Err(Malformed::Incomplete), "{end}");
        }
        assert!(begin(text).is_ok());
        assert!(matches!(
            begin(b"x le"),
            Err(Malformed::NoDictionary { .. })
        ));
        assert_eq!(begin(&[b'x'; LONGEST_COOKIE + 1]), Err(Malformed::NoCookie));
    }
}
