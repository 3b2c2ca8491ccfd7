//! Properties over generated messages and over any bytes at all.

use controlplane::sip::typed::{CSeq, NameAddr, Uri, Via};
use controlplane::sip::{Header, HeaderName, Message};
use proptest::prelude::*;

/// Header lines of any shape that the grammar allows: names in any case, space before the colon,
/// values with folds and bytes beyond ASCII.
fn field() -> impl Strategy<Value = Vec<u8>> {
    let name = "[A-Za-z0-9.!%*_+`'~-]{1,20}".prop_filter("is read for itself", |name| {
        HeaderName::from(name.as_str()) != HeaderName::ContentLength
    });
    let part = prop::collection::vec(any::<u8>(), 0..30).prop_map(|mut bytes| {
        bytes.retain(|byte| !matches!(byte, b'\r' | b'\n'));
        bytes
    });
    let value = prop::collection::vec(part, 1..4);
    (name, "[ \t]{0,2}", value, "\r\n[ \t]{1,2}").prop_map(|(name, space, parts, fold)| {
        let mut field = format!("{name}{space}:").into_bytes();
        field.extend(parts.join(fold.as_bytes()));
        field
    })
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    let start = prop_oneof![
        "[A-Z]{1,10} sip:[a-z0-9]{1,8}@[a-z]{1,8}(:[1-9][0-9]{0,3})?(;[a-z]{1,4}=[a-z]{1,4})? SIP/2\\.0",
        "SIP/2\\.0 [1-6][0-9][0-9] [ -~]{0,20}",
    ];
    let fields = prop::collection::vec(field(), 0..12);
    let body = prop::collection::vec(any::<u8>(), 0..64);
    (start, fields, body).prop_map(|(start, fields, body)| {
        let mut bytes = start.into_bytes();
        bytes.extend_from_slice(b"\r\n");
        for field in fields {
            bytes.extend(field);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend(format!("l: {}\r\n\r\n", body.len()).into_bytes());
        bytes.extend(body);
        bytes
    })
}

proptest! {
    #[test]
    fn reading_and_writing_is_identity(bytes in message()) {
        let message = Message::parse(&bytes).expect("valid");
        prop_assert_eq!(message.to_bytes(), bytes);
    }

    #[test]
    fn a_change_to_one_header_leaves_the_others_alone(bytes in message()) {
        let original = Message::parse(&bytes).expect("valid");
        let mut changed = original.clone();
        changed.headers.push_front(HeaderName::Via, "SIP/2.0/UDP a");
        changed.headers.push(HeaderName::Server, "b");
        let changed = Message::parse(&changed.to_bytes()).expect("valid");
        let kept: Vec<&Header> = changed.headers.iter().skip(1).take(original.headers.len()).collect();
        let all: Vec<&Header> = original.headers.iter().collect();
        prop_assert_eq!(kept, all);
        prop_assert_eq!(changed.body, original.body);
    }

    #[test]
    fn values_of_any_bytes_never_become_headers(value in prop::collection::vec(any::<u8>(), 0..60)) {
        let uri = Uri::parse(b"sip:a@b").expect("a URI");
        let mut message = Message::request(controlplane::sip::Method::Info, uri);
        message.headers.push(HeaderName::Subject, &value);
        let read = Message::parse(&message.to_bytes()).expect("valid");
        prop_assert_eq!(read.headers.len(), 2);
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Message::parse(&bytes);
        let _ = Via::parse(&bytes);
        let _ = NameAddr::parse(&bytes);
        let _ = CSeq::parse(&bytes);
        let _ = Uri::parse(&bytes);
    }

    #[test]
    fn what_is_read_as_an_address_is_written_as_the_same(
        text in "(\"[ !#-~]{0,8}\" ?)?<sip:([a-z%0-9]{1,6}@)?([a-z]{1,5}|\\[::[1-9]\\])(:[1-9][0-9]{1,3})?>( ?; ?[a-z]{1,5}( ?= ?[a-z0-9]{1,5})?){0,3}"
    ) {
        if let Ok(read) = NameAddr::parse(text.as_bytes()) {
            prop_assert_eq!(NameAddr::parse(&read.to_bytes()), Ok(read));
        } else {
            prop_assert!(text.contains('\\'), "only a stray backslash can spoil it");
        }
    }

    #[test]
    fn what_is_read_as_a_via_is_written_as_the_same(
        text in "SIP ?/ ?2\\.0 ?/ ?(UDP|tcp|X)  ?([a-z]{1,5}|\\[::[1-9]\\])( ?: ?[1-9][0-9]{1,3})?( ?; ?[a-z]{1,5}( ?= ?[a-z0-9:]{1,5})?){0,3}"
    ) {
        let read = Via::parse(text.as_bytes()).expect("valid");
        prop_assert_eq!(Via::parse(read.to_string().as_bytes()), Ok(read));
    }
}
