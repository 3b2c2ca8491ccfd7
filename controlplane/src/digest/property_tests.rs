//! Whatever comes from the network is read or refused, and what is read can be written.

use proptest::prelude::*;

use super::exercise;

/// Pieces that a parser of these headers may stumble over.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    const PIECES: &[&[u8]] = &[
        b"Digest ",
        b"Basic ",
        b"realm",
        b"nonce",
        b"qop",
        b"nc",
        b"cnonce",
        b"algorithm",
        b"MD5",
        b"SHA-256-sess",
        b"response",
        b"uri",
        b"username",
        b"nextnonce",
        b"stale",
        b"auth",
        b"auth-int",
        b"=",
        b",",
        b"\"",
        b"\\",
        b" ",
        b"\t",
        b"00000001",
        b"\xff",
        "\u{e4}".as_bytes(),
        b"\0",
        b"x",
    ];
    let piece = prop::sample::select(PIECES);
    let pieces = prop::collection::vec(piece, 0..40);
    pieces.prop_map(|pieces| pieces.concat())
}

/// A header that is nearly right.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let whole = "Digest username=\"bob\", realm=\"biloxi.com\", nonce=\"dcd98b\", uri=\"sip:bob@biloxi.com\", \
        qop=auth, nc=00000001, cnonce=\"0a4f113b\", response=\"6629fae4\", opaque=\"5ccc\", algorithm=MD5";
    (0..whole.len(), any::<u8>(), 0..4_usize).prop_map(move |(at, byte, kind)| {
        let mut bytes = whole.as_bytes().to_vec();
        match kind {
            0 => bytes.truncate(at),
            1 => bytes[at] = byte,
            2 => bytes.insert(at, byte),
            _ => {
                bytes.remove(at);
            }
        }
        bytes
    })
}

proptest! {
    #[test]
    fn anything_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        exercise(&bytes);
    }

    #[test]
    fn what_looks_like_a_digest_is_read_or_refused(bytes in soup()) {
        exercise(&bytes);
    }

    #[test]
    fn what_is_nearly_right_is_read_or_refused(bytes in nearly()) {
        exercise(&bytes);
    }
}
