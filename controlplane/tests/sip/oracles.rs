//! Two other parsers, where they can judge.

use controlplane::sip::typed::{CSeq, NameAddr};
use controlplane::sip::{HeaderName, Message, Method};

use crate::corpus::messages;

#[test]
fn sipx_reads_the_same_headers_in_every_valid_message() {
    let mut judged = 0;
    for (name, bytes) in messages("valid") {
        let limits = sipx_sip::Limits::datagram();
        let Ok(theirs) = sipx_sip::parse_datagram(bytes.clone().into(), &limits) else {
            continue;
        };
        judged += 1;
        let ours = Message::parse(&bytes).expect("valid");
        assert_eq!(theirs.headers().len(), ours.headers.len(), "{name}");
        for (theirs, ours) in theirs.headers().iter().zip(ours.headers.iter()) {
            assert_eq!(
                theirs.raw_value().trim_ascii(),
                raw_value(ours.raw()),
                "{name}"
            );
        }
        assert_eq!(theirs.body().as_ref(), ours.body, "{name}");
    }
    assert!(judged >= 25, "the oracle understands the corpus: {judged}");
}

fn raw_value(raw: &[u8]) -> &[u8] {
    let colon = raw.iter().position(|&byte| byte == b':').expect("a colon");
    raw[colon + 1..].trim_ascii()
}

#[test]
fn rsip_gives_addresses_and_cseq_the_same_meaning_where_it_reads_them() {
    use rsip::headers::{ToTypedHeader, UntypedHeader};
    let mut judged = 0;
    for (name, bytes) in messages("valid") {
        let message = Message::parse(&bytes).expect("valid");
        let text = |header| {
            message
                .headers
                .value(header)
                .and_then(|value| String::from_utf8(value).ok())
        };
        let (Some(from), Some(cseq)) = (text(&HeaderName::From), text(&HeaderName::CSeq)) else {
            continue;
        };
        let literal = from.contains('[') || from.contains("tel:");
        if let (false, Ok(theirs)) = (literal, rsip::headers::From::new(from.as_str()).typed()) {
            let ours = NameAddr::parse(from.as_bytes()).expect("valid");
            assert_eq!(
                theirs.tag().map(ToString::to_string).as_deref(),
                ours.tag(),
                "{name}"
            );
            assert_eq!(theirs.uri.user(), ours.uri.user(), "{name}");
            let host = ours.uri.host().map(|host| host.to_string());
            assert_eq!(Some(theirs.uri.host().to_string()), host, "{name}");
            judged += 1;
        }
        if let Ok(theirs) = rsip::headers::CSeq::new(cseq.as_str()).typed() {
            let ours = CSeq::parse(cseq.as_bytes()).expect("valid");
            assert_eq!(theirs.seq, ours.number, "{name}");
            assert_eq!(
                Method::from(theirs.method.to_string().as_str()),
                ours.method,
                "{name}"
            );
            judged += 1;
        }
    }
    assert!(judged >= 40, "the oracle understands the corpus: {judged}");
}
