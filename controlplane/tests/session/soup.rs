//! Session descriptions of every sort: what the relay does not understand stays as it came, what it writes
//! is valid, and nothing from the network panics.

use std::path::Path;

use controlplane::sdp::{
    Description, MuxLine, Origin, OriginLine, Replacement, RtcpLine, StreamReplacement,
};
use controlplane::session::Side;
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::rig::Rig;

/// Every body of the corpus, by name.
fn corpus() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus/sdp");
    let mut bodies: Vec<_> = std::fs::read_dir(folder)
        .expect("the corpus is there")
        .map(|entry| entry.expect("readable").path())
        .map(|path| {
            (
                path.display().to_string(),
                std::fs::read(&path).expect("readable"),
            )
        })
        .collect();
    bodies.sort();
    assert!(bodies.len() >= 10, "the corpus is whole");
    bodies
}

fn rewrite(description: &Description, mux: MuxLine) -> Vec<u8> {
    let port = |index: usize| 20_000 + 2 * u16::try_from(index).expect("few streams");
    let relay = |index| StreamReplacement::Relay {
        rtp: port(index),
        rtcp: port(index) + 1,
        mux,
        profile: None,
    };
    let streams: Vec<_> = (0..description.stream_count()).map(relay).collect();
    description.rewrite(&Replacement {
        origin: OriginLine::Ours(Origin {
            session: 77,
            version: 3,
        }),
        address: "198.51.100.9".parse().expect("an address"),
        zero_address: false,
        rtcp_line: RtcpLine::AsItCame,
        streams: &streams,
    })
}

/// Lines that the relay leaves alone, by the rules of its documentation; written independently of them.
fn is_foreign(line: &[u8]) -> bool {
    let text = String::from_utf8_lossy(line).to_ascii_lowercase();
    let text = text.trim_end_matches(['\r', '\n']);
    let touched = [
        "o=",
        "c=",
        "m=",
        "a=rtcp:",
        "a=candidate",
        "a=ice-",
        "a=remote-candidates",
        "a=end-of-candidates",
        "a=alt:",
        "a=altc",
        "a=source-filter",
        "a=group:bundle",
    ];
    text.trim_end() != "a=rtcp" && !touched.iter().any(|start| text.starts_with(start))
}

fn foreign_lines(body: &[u8]) -> Vec<&[u8]> {
    body.split_inclusive(|byte| *byte == b'\n')
        .filter(|line| is_foreign(line))
        .collect()
}

fn check_against_oracle(name: &str, before: &[u8], after: &[u8]) {
    let Ok(original) = sdp_types::Session::parse(before) else {
        return;
    };
    let shown = String::from_utf8_lossy(after);
    let ours =
        sdp_types::Session::parse(after).unwrap_or_else(|error| panic!("{name}: {error}\n{shown}"));
    assert_eq!(
        (ours.origin.sess_id.as_str(), ours.origin.sess_version),
        ("77", 3),
        "{name}"
    );
    assert_eq!(ours.origin.unicast_address, "198.51.100.9", "{name}");
    assert_eq!(ours.medias.len(), original.medias.len(), "{name}");
    assert_eq!(ours.times, original.times, "{name}");
    for (index, (ours, theirs)) in ours.medias.iter().zip(&original.medias).enumerate() {
        assert_eq!(usize::from(ours.port), 20_000 + 2 * index, "{name}");
        assert_eq!(
            (&ours.media, &ours.proto, &ours.fmt),
            (&theirs.media, &theirs.proto, &theirs.fmt),
            "{name}"
        );
        assert!(
            ours.attributes
                .iter()
                .all(|attribute| !attribute.attribute.starts_with("ice")),
            "{name}"
        );
        for connection in &ours.connections {
            let address = connection.connection_address.as_str();
            assert!(
                ["198.51.100.9", "0.0.0.0"].contains(&address),
                "{name}: {address}"
            );
        }
    }
}

#[test]
fn the_corpus_is_rewritten_into_valid_descriptions_that_keep_foreign_lines() {
    let mut judged = 0;
    for (name, body) in corpus() {
        let description =
            Description::parse(&body).unwrap_or_else(|error| panic!("{name}: {error}"));
        description
            .streams()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let after = rewrite(&description, MuxLine::Keep);
        assert_eq!(foreign_lines(&after), foreign_lines(&body), "{name}");
        judged += usize::from(sdp_types::Session::parse(&body).is_ok());
        check_against_oracle(&name, &body, &after);
        let text = String::from_utf8_lossy(&after).into_owned();
        for leak in [
            "192.0.2.",
            "203.0.113.",
            "2001:db8",
            "192.168.",
            "127.0.0.1",
        ] {
            assert!(!text.contains(leak), "{name} leaks {leak}:\n{text}");
        }
    }
    assert!(judged >= 8, "the oracle understands the corpus");
}

fn mutate(rng: &mut StdRng, body: &mut Vec<u8>) {
    for _ in 0..rng.random_range(1..6) {
        if body.is_empty() {
            return;
        }
        let at = rng.random_range(0..body.len());
        let end = (at + rng.random_range(1..40)).min(body.len());
        match rng.random_range(0..6) {
            0 => body[at] = rng.random(),
            1 => body.truncate(at),
            2 => drop(body.drain(at..end)),
            3 => {
                let piece = body[at..end].to_vec();
                let to = rng.random_range(0..=body.len());
                body.splice(to..to, piece);
            }
            4 => {
                let words: [&[u8]; 8] = [
                    b"65536",
                    b"0",
                    b"-1",
                    b"\r\nm=audio 1 RTP/AVP 0\r\n",
                    b"IN IP6 ",
                    b"a=rtcp:",
                    b"\n",
                    b"\0",
                ];
                let word = words[rng.random_range(0..words.len())];
                body.splice(at..at, word.iter().copied());
            }
            _ => body[at] ^= 1 << rng.random_range(0..8),
        }
    }
}

#[test]
fn ten_thousand_damaged_bodies_panic_nothing_and_leak_no_port() {
    let corpus = corpus();
    let mut rng = StdRng::seed_from_u64(0x5d9);
    let mut rig = Rig::new(1);
    let (mut accepted, mut refused) = (0_u32, 0_u32);
    for round in 0..10_000 {
        let (name, body) = &corpus[round % corpus.len()];
        let mut damaged = body.clone();
        mutate(&mut rng, &mut damaged);
        let id = rig.open();
        match rig.engine.offer(rig.now, id, Side::A, &damaged) {
            Ok(rewritten) => {
                accepted += 1;
                let again = Description::parse(&rewritten.sdp).expect("what we send, we take");
                again
                    .streams()
                    .unwrap_or_else(|error| panic!("{name}: {error}"));
                let _ = rig.engine.answer(rig.now, id, Side::B, body);
            }
            Err(_) => refused += 1,
        }
        rig.engine.close(rig.now, id);
        rig.settle();
        rig.pass(std::time::Duration::from_secs(31));
    }
    assert!(
        accepted > 2_000 && refused > 2_000,
        "{accepted} accepted, {refused} refused"
    );
    rig.assert_clean();
}

/// Lines that mean something to the relay, something to others, or nothing to anybody.
fn soup_line() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => prop::collection::vec(any::<u8>().prop_filter("one line", |byte| *byte != b'\n'), 0..30),
        3 => "[a-z]=[ -~]{0,40}".prop_map(String::into_bytes),
        1 => "m=audio [0-9]{1,5} RTP/AVP 0".prop_map(String::into_bytes),
        1 => Just(b"c=IN IP4 192.0.2.1".to_vec()),
        1 => Just(b"a=candidate:x 192.0.2.1".to_vec()),
        1 => "a=rtcp(-mux|:[0-9]{1,6})?( IN IP4 [0-9.]{1,9})?".prop_map(String::into_bytes),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn in_any_soup_foreign_lines_stay_byte_for_byte(
        lines in prop::collection::vec((soup_line(), any::<bool>()), 0..30), ended: bool
    ) {
        let mut body = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\n".to_vec();
        for (line, crlf) in &lines {
            body.extend_from_slice(line);
            body.extend_from_slice(if *crlf { b"\r\n" } else { b"\n" });
        }
        if !ended {
            body.extend_from_slice(b"b=AS:64");
        }
        let Ok(description) = Description::parse(&body) else {
            return Ok(());
        };
        let _ = description.streams();
        let after = rewrite(&description, MuxLine::Keep);
        prop_assert_eq!(foreign_lines(&after), foreign_lines(&body));
        check_against_oracle("soup", &body, &after);
    }

    #[test]
    fn no_bytes_panic(body: Vec<u8>) {
        if let Ok(description) = Description::parse(&body) {
            let _ = description.streams();
        }
    }
}
