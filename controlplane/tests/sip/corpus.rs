//! Every message of the corpus, valid or not, and what must become of it.

use std::fs;
use std::path::Path;

use controlplane::sip::{HeaderName, Message, ParseErrorKind};

/// The messages of a folder of the corpus, by file name.
pub(crate) fn messages(folder: &str) -> Vec<(String, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus/sip");
    let entries = fs::read_dir(root.join(folder)).expect("the corpus is there");
    let mut messages: Vec<_> = entries
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let name = path
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            (name, fs::read(&path).expect("a file"))
        })
        .collect();
    messages.sort();
    assert!(messages.len() >= 30, "the corpus is whole");
    messages
}

/// The message without what a parser may drop: empty lines before it and bytes after its body.
fn essence(bytes: &[u8], body: usize) -> &[u8] {
    let start = bytes
        .iter()
        .position(|byte| !b"\r\n".contains(byte))
        .expect("a start");
    let end = bytes.windows(4).enumerate().skip(start);
    let end = end
        .filter(|(_, window)| window == b"\r\n\r\n")
        .map(|(at, _)| at + 4);
    &bytes[start..end.min().expect("an end of the headers") + body]
}

#[test]
fn valid_messages_are_read_and_leave_byte_for_byte() {
    for (name, bytes) in messages("valid") {
        let message = Message::parse(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(message.check(), Ok(()), "{name}");
        let written = message.to_bytes();
        if !message.headers.contains(&HeaderName::ContentLength) {
            let length = format!("Content-Length: {}\r\n", message.body.len());
            let without = String::from_utf8_lossy(&written).replace(&length, "");
            assert_eq!(without.as_bytes(), bytes, "{name}");
            continue;
        }
        let expected = essence(&bytes, message.body.len());
        let expected =
            String::from_utf8_lossy(expected).replacen(" sip/2.0\r\n", " SIP/2.0\r\n", 1);
        assert_eq!(String::from_utf8_lossy(&written), expected, "{name}");
    }
}

#[test]
fn invalid_messages_are_refused_for_the_reason_in_their_name() {
    let mut kinds = Vec::new();
    for (name, bytes) in messages("invalid") {
        let kind = match Message::parse(&bytes) {
            Ok(message) => message.check().expect_err(&name),
            Err(error) => {
                assert!(error.at <= bytes.len(), "{name}: {error}");
                error.what
            }
        };
        assert_eq!(name.split('.').next(), Some(kind.name()), "{name}");
        kinds.push(kind);
    }
    for kind in ParseErrorKind::ALL {
        // Larger than a datagram: not worth a file.
        let tried = kinds.contains(kind) || *kind == ParseErrorKind::TooLarge;
        assert!(tried, "no message of the corpus shows {kind:?}");
    }
    let error = Message::parse(&vec![b'x'; Message::MAX_SIZE + 1]).expect_err("too large");
    assert_eq!(error.what, ParseErrorKind::TooLarge);
}

#[test]
fn the_oddest_valid_message_means_what_rfc_4475_says() {
    let messages = messages("valid");
    let (_, bytes) = messages
        .iter()
        .find(|(name, _)| name == "white-space-and-folding.sip")
        .expect("in the corpus");
    let message = Message::parse(bytes).expect("valid");
    assert_eq!(message.max_forwards(), Ok(Some(68)));
    assert_eq!(message.cseq().expect("CSeq").number, 9);
    assert_eq!(message.to().expect("To").tag(), Some("1918181833n"));
    assert_eq!(message.from().expect("From").tag(), Some("98asjd8"));
    let vias = message.headers.values(&HeaderName::Via);
    assert_eq!(vias.len(), 3);
    let branches = vias
        .iter()
        .map(|via| controlplane::sip::typed::Via::parse(via));
    let branches: Vec<_> = branches
        .map(|via| via.expect("Via").branch().map(str::to_owned))
        .collect();
    let expected = ["390skdjuw", "z9hG4bK9ikj8", "z9hG4bK30239"].map(|text| Some(text.to_owned()));
    assert_eq!(branches, expected);
    let contact = message.contact().expect("Contact");
    assert_eq!(contact.params.value("q"), Some("0.33"));
    assert_eq!(contact.params.value("newparam"), Some("newvalue"));
    let unknown = HeaderName::from("newfangledheader");
    assert_eq!(
        message.headers.value(&unknown),
        Some(b"newfangled value continued newfangled value".to_vec())
    );
}
