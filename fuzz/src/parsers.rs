//! The parsers, each with what must hold of any bytes: it does not panic, and what it has read and writes again can be
//! read and says the same.

use controlplane::ng::message::{self, Encoding, Opened};
use controlplane::ng::parse::{MOST_UNKNOWN, Unknown};
use controlplane::ng::request::Request;
use controlplane::ng::{Dictionary, MOST_VALUES, NESTED, Value};
use controlplane::resolver::{DomainName, Question, RecordType, wire};
use controlplane::sdp::{
    Description, MuxLine, Origin, OriginLine, Replacement, RtcpLine, RtpProfile, StreamReplacement,
    Use,
};
use controlplane::sip::typed::Uri;
use controlplane::sip::{HeaderName, Message};
use controlplane::transport::framing::{Frame, Framer, FramingError, LARGEST_MESSAGE};

/// A datagram as SIP.
pub fn sip(bytes: &[u8]) {
    match Message::parse(bytes) {
        Ok(message) => {
            understand(&message);
            let written = message.to_bytes();
            if message.headers.len() == Message::MAX_HEADERS {
                // A Content-Length that is added is one too many.
                return;
            }
            let again = Message::parse(&written).expect("what is written can be read");
            assert_eq!(again.to_bytes(), written, "written twice it is the same");
            assert_eq!((&again.start, &again.body), (&message.start, &message.body));
        }
        Err(error) => {
            assert!(error.at <= bytes.len(), "a fault is within the bytes");
            if let Some(request) = error.request {
                understand(&request);
            }
        }
    }
}

/// Reads everything that can be read of a message.
fn understand(message: &Message) {
    let _ = (message.via(), message.from(), message.to());
    let _ = (message.contact(), message.call_id(), message.cseq());
    let _ = (message.max_forwards(), message.content_type());
    let _ = (
        message.routes(&HeaderName::Route),
        message.routes(&HeaderName::RecordRoute),
        message.check(),
    );
    for field in message.headers.iter() {
        let _ = message.headers.values(field.name());
    }
    if let Some(uri) = message.uri() {
        let _ = (uri.user(), uri.decoded_user(), uri.socket_addr());
        let moved = uri.at(([192, 0, 2, 1], 5060).into());
        let again = Uri::parse(moved.as_str().as_bytes()).map(|uri| uri.to_string());
        assert_eq!(again, Ok(moved.to_string()));
    }
}

/// A body as a session description: what the relay makes of it is one, with as many streams.
pub fn sdp(bytes: &[u8]) {
    let Ok(description) = Description::parse(bytes) else {
        return;
    };
    let streams = description.streams();
    let relayed = |index: usize| {
        let streams = streams.as_ref();
        streams.is_ok_and(|streams| streams[index].usage == Use::Relay)
    };
    let replacements: Vec<_> = (0..description.stream_count())
        .map(|index| match relayed(index) {
            false => StreamReplacement::Reject,
            true => StreamReplacement::Relay {
                rtp: 20_000,
                rtcp: 20_001,
                mux: [MuxLine::Keep, MuxLine::Insert, MuxLine::Remove][index % 3],
                profile: [None, Some(RtpProfile::Avpf)][index % 2],
            },
        })
        .collect();
    let rewritten = description.rewrite(&Replacement {
        origin: OriginLine::Ours(Origin {
            session: 7,
            version: 1,
        }),
        address: [198, 51, 100, 9].into(),
        zero_address: false,
        rtcp_line: [RtcpLine::AsItCame, RtcpLine::Full, RtcpLine::Port][replacements.len() % 3],
        streams: &replacements,
    });
    let again = Description::parse(&rewritten).expect("what is rewritten can be read");
    assert_eq!(again.stream_count(), description.stream_count());
    if streams.is_ok() {
        again.streams().unwrap_or_else(|error| {
            let (before, after) = (bytes.escape_ascii(), rewritten.escape_ascii());
            panic!("what was sound still is: {error} in {after}, from {before}")
        });
    }
}

/// A stream, however it is cut: the frames are the same, what is left is bounded, and a broken stream says no more.
pub fn framing(bytes: &[u8]) {
    let (cut, bytes) = bytes
        .split_first()
        .map_or((1, bytes), |(&cut, bytes)| (cut, bytes));
    let whole = frames(bytes.chunks(bytes.len().max(1)));
    let pieces = frames(bytes.chunks(usize::from(cut).max(1)));
    assert_eq!(whole, pieces, "the cut changes nothing");
}

fn frames<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Frame>, Option<FramingError>) {
    let mut framer = Framer::default();
    let mut found = Vec::new();
    for piece in pieces {
        framer.push(piece);
        while let Some(Ok(frame)) = framer.next() {
            if let Frame::Message(message) = &frame {
                assert!(message.len() <= LARGEST_MESSAGE, "messages are bounded");
            }
            // How many line ends there are between messages says nothing.
            if frame != Frame::LineEnd {
                found.push(frame);
            }
        }
    }
    (found, framer.broken())
}

/// A header value as a challenge, as credentials, and as what a server says of the next nonce.
pub fn digest(bytes: &[u8]) {
    controlplane::digest::exercise(bytes);
}

/// A datagram as the answer of a name server: what is taken in answers the question that was asked.
pub fn dns(bytes: &[u8]) {
    let name = DomainName::parse("_sip._udp.carrier.example").expect("a name");
    for kind in [
        RecordType::Naptr,
        RecordType::Srv,
        RecordType::A,
        RecordType::Aaaa,
    ] {
        let question = Question {
            name: name.clone(),
            kind,
        };
        let _ = wire::read(bytes, 4711, &question);
    }
}

/// A message of rtpengine's control protocol: what is read is bounded, says the same when it is written and read again,
/// and is a request or no request.
pub fn ng(bytes: &[u8]) {
    let Ok(opened) = message::open(bytes) else {
        assert!(
            message::begin(bytes).is_err(),
            "no stream is read otherwise"
        );
        return;
    };
    let message = &bytes[..opened.length];
    assert_eq!(message::begin(bytes).as_ref(), Ok(&opened));
    assert_eq!(
        message::open(message).as_ref(),
        Ok(&opened),
        "what follows does not count"
    );
    assert!(message::begin(&message[..opened.length - 1]).is_err());
    assert!(size(&opened.dictionary, 0) <= MOST_VALUES);
    let mut unknown = Unknown::default();
    let request = Request::read(&opened.dictionary, &mut unknown);
    let names: Vec<_> = unknown.names().collect();
    assert!(names.len() <= MOST_UNKNOWN && names.iter().all(|name| name.len() <= 64));
    for encoding in [Encoding::Bencode, Encoding::Json] {
        let again = sealed_and_opened(&opened, encoding);
        if encoding == opened.encoding {
            assert_eq!(again, opened.dictionary);
            assert_eq!(Request::read(&again, &mut unknown), request);
        }
    }
}

/// The dictionary written and read again: in JSON, which has no bytes but text, twice, and the second is the first.
fn sealed_and_opened(opened: &Opened<'_>, encoding: Encoding) -> Dictionary {
    let read = |dictionary: &Dictionary| {
        let sealed = message::seal(opened.cookie, encoding, dictionary);
        let opened = message::open(&sealed).expect("what is written can be read");
        assert_eq!((opened.encoding, opened.length), (encoding, sealed.len()));
        opened.dictionary
    };
    let once = read(&opened.dictionary);
    assert_eq!(read(&once), once, "written twice it is the same");
    once
}

/// How many values there are; none lies too deep.
fn size(dictionary: &Dictionary, depth: usize) -> usize {
    assert!(depth <= NESTED);
    1 + dictionary
        .entries()
        .map(|(_, value)| size_of_value(value, depth + 1))
        .sum::<usize>()
}

fn size_of_value(value: &Value, depth: usize) -> usize {
    assert!(depth <= NESTED);
    match value {
        Value::Bytes(_) | Value::Integer(_) => 1,
        Value::List(list) => {
            1 + list
                .iter()
                .map(|value| size_of_value(value, depth + 1))
                .sum::<usize>()
        }
        Value::Dictionary(dictionary) => size(dictionary, depth),
    }
}
