//! What is taken in of a message, and what never is.

use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::Record;
use hickory_proto::rr::rdata::{A, AAAA, CNAME, NS, SOA};
use proptest::prelude::*;

use super::*;

fn name(text: &str) -> DomainName {
    DomainName::parse(text).expect("a name")
}

fn wire_name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}

fn ask(text: &str, kind: RecordType) -> Question {
    Question {
        name: name(text),
        kind,
    }
}

/// A response to the question, with id 7.
fn response(question: &Question, code: ResponseCode, answers: &[Record]) -> Message {
    let query = query(question, 7, false).expect("a query");
    let mut message = Message::from_vec(&query).expect("our own query can be read");
    message.metadata.message_type = MessageType::Response;
    message.metadata.response_code = code;
    message.add_answers(answers.iter().cloned());
    message
}

fn bytes(message: &Message) -> Vec<u8> {
    message.to_vec().expect("a message")
}

fn read_it(message: &Message, question: &Question) -> Reading {
    read(&bytes(message), 7, question).expect("it is ours")
}

fn record(owner: &str, ttl: u32, data: RData) -> Record {
    Record::from_rdata(wire_name(owner), ttl, data)
}

fn a(owner: &str, ttl: u32, last: u8) -> Record {
    record(owner, ttl, RData::A(A(Ipv4Addr::new(192, 0, 2, last))))
}

fn cname(owner: &str, ttl: u32, target: &str) -> Record {
    record(owner, ttl, RData::CNAME(CNAME(wire_name(target))))
}

fn soa(zone: &str, ttl: u32, minimum: u32) -> Record {
    let soa = SOA::new(wire_name("ns."), wire_name("root."), 1, 2, 3, 4, minimum);
    record(zone, ttl, RData::SOA(soa))
}

fn addresses(last: &[u8]) -> Value {
    let address = |last: &u8| Ipv4Addr::new(192, 0, 2, *last).into();
    Value::Records(last.iter().map(address).collect())
}

fn answered(value: Value, seconds: u64) -> Reading {
    let ttl = Duration::from_secs(seconds);
    Reading::Answer(Answer { value, ttl })
}

#[test]
fn a_query_asks_one_question_with_recursion_and_room() {
    let question = ask("_sip._udp.carrier.example", RecordType::Srv);
    let message = Message::from_vec(&query(&question, 9, true).expect("a query")).expect("read");
    assert_eq!(message.metadata.id, 9);
    assert!(message.metadata.recursion_desired);
    assert!(asks(&message, &question));
    assert_eq!(message.max_payload(), UDP_PAYLOAD);
    let plain = Message::from_vec(&query(&question, 9, false).expect("a query")).expect("read");
    assert_eq!(plain.edns, None);
}

#[test]
fn records_of_the_name_and_kind_alone_are_taken_and_the_least_ttl_holds() {
    let question = ask("a.example", RecordType::A);
    let six = RData::AAAA(AAAA(Ipv6Addr::LOCALHOST));
    let answers = [
        a("a.example.", 300, 1),
        a("A.Example.", 60, 2),
        a("b.example.", 1, 3),
        record("a.example.", 2, six),
    ];
    let message = response(&question, ResponseCode::NoError, &answers);
    let expected = answered(addresses(&[1, 2]), 60);
    assert_eq!(read_it(&message, &question), expected);
}

#[test]
fn only_our_id_and_our_question_make_it_ours() {
    let question = ask("a.example", RecordType::A);
    let message = response(&question, ResponseCode::NoError, &[a("a.example.", 60, 1)]);
    let sent = bytes(&message);
    assert_eq!(read(&sent, 8, &question), Err(NotOurs::WrongId));
    let other = ask("a.example", RecordType::Aaaa);
    assert_eq!(read(&sent, 7, &other), Err(NotOurs::WrongQuestion));
    let other = ask("b.example", RecordType::A);
    assert_eq!(read(&sent, 7, &other), Err(NotOurs::WrongQuestion));
    let query = query(&question, 7, false).expect("a query");
    assert_eq!(read(&query, 7, &question), Err(NotOurs::NotAResponse));
    let mut twice = message.clone();
    twice.add_query(message.queries[0].clone());
    assert_eq!(
        read(&bytes(&twice), 7, &question),
        Err(NotOurs::WrongQuestion)
    );
    let mut none = message;
    none.queries.clear();
    assert_eq!(
        read(&bytes(&none), 7, &question),
        Err(NotOurs::WrongQuestion)
    );
    assert_eq!(read(&sent[..20], 7, &question), Err(NotOurs::Malformed));
}

#[test]
fn aliases_are_followed_within_the_answer() {
    let question = ask("a.example", RecordType::A);
    let chain = [
        cname("a.example.", 30, "b.example."),
        cname("b.example.", 300, "c.example."),
        a("c.example.", 60, 1),
    ];
    let message = response(&question, ResponseCode::NoError, &chain);
    assert_eq!(read_it(&message, &question), answered(addresses(&[1]), 30));
    // A server that does not recurse out of its zone leaves the rest to us.
    let message = response(&question, ResponseCode::NoError, &chain[..2]);
    let alias = Value::Alias(name("c.example"));
    assert_eq!(read_it(&message, &question), answered(alias, 30));
    let ring = [
        cname("a.example.", 30, "b.example."),
        cname("b.example.", 30, "a.example."),
    ];
    let message = response(&question, ResponseCode::NoError, &ring);
    assert_eq!(read_it(&message, &question), answered(Value::NoRecords, 30));
}

#[test]
fn a_no_lives_as_long_as_the_zone_says() {
    let question = ask("a.example", RecordType::A);
    for (code, value) in [
        (ResponseCode::NXDomain, Value::NoName),
        (ResponseCode::NoError, Value::NoRecords),
    ] {
        let mut message = response(&question, code, &[]);
        assert_eq!(read_it(&message, &question), answered(value.clone(), 0));
        message.add_authority(soa("other.", 900, 900));
        assert_eq!(read_it(&message, &question), answered(value.clone(), 0));
        message.add_authority(soa("example.", 900, 120));
        assert_eq!(read_it(&message, &question), answered(value.clone(), 120));
        let alias = cname("a.example.", 30, "b.example.");
        message.add_answer(alias);
        assert_eq!(read_it(&message, &question), answered(value, 30));
    }
}

#[test]
fn a_server_that_does_not_know_is_told_from_one_that_says_no() {
    let question = ask("a.example", RecordType::A);
    for (code, refusal) in [
        (ResponseCode::ServFail, Refusal::ServerFailure),
        (ResponseCode::FormErr, Refusal::Format),
        (ResponseCode::NotImp, Refusal::Format),
        (ResponseCode::Refused, Refusal::Other(5)),
    ] {
        let message = response(&question, code, &[]);
        assert_eq!(read_it(&message, &question), Reading::Refused(refusal));
    }
    let mut message = response(&question, ResponseCode::NoError, &[]);
    let ns = RData::NS(NS(wire_name("ns.example.")));
    message.add_authority(record("example.", 60, ns));
    let referral = Reading::Refused(Refusal::Referral);
    assert_eq!(read_it(&message, &question), referral);
}

#[test]
fn a_truncated_answer_is_not_believed_in_part() {
    let question = ask("a.example", RecordType::A);
    let mut message = response(&question, ResponseCode::NoError, &[a("a.example.", 60, 1)]);
    message.metadata.truncation = true;
    assert_eq!(read_it(&message, &question), Reading::Truncated);
}

#[test]
fn services_and_pointers_are_read() {
    let question = ask("_sip._udp.example", RecordType::Srv);
    let srv = SRV::new(10, 60, 5080, wire_name("Gw1.Example."));
    let none = SRV::new(0, 0, 0, Name::root());
    let answers = [srv, none].map(|srv| record("_sip._udp.example.", 60, RData::SRV(srv)));
    let message = response(&question, ResponseCode::NoError, &answers);
    let Reading::Answer(answer) = read_it(&message, &question) else {
        panic!("no answer");
    };
    let Value::Records(records) = answer.value else {
        panic!("no records");
    };
    let spelt: Vec<_> = records.iter().map(ToString::to_string).collect();
    assert_eq!(spelt, ["10 60 5080 gw1.example", "0 0 0 ."]);

    let question = ask("example", RecordType::Naptr);
    let text = |text: &str| text.as_bytes().into();
    let replacement = wire_name("_sip._udp.example.");
    let naptr = NAPTR::new(50, 1, text("S"), text("sip+d2u"), text(""), replacement);
    let answers = [record("example.", 60, RData::NAPTR(naptr))];
    let message = response(&question, ResponseCode::NoError, &answers);
    let pointer = Pointer {
        order: 50,
        preference: 1,
        flags: "s".into(),
        service: "SIP+D2U".into(),
        has_regexp: false,
        replacement: name("_sip._udp.example"),
    };
    let expected = Value::Records(vec![Data::Pointer(pointer)]);
    assert_eq!(read_it(&message, &question), answered(expected, 60));
}

#[test]
fn an_answer_of_any_length_costs_little() {
    let question = ask("a.example", RecordType::A);
    let many: Vec<_> = (0..200).map(|last| a("a.example.", 60, last)).collect();
    let message = response(&question, ResponseCode::NoError, &many);
    let Reading::Answer(answer) = read_it(&message, &question) else {
        panic!("no answer");
    };
    assert!(matches!(answer.value, Value::Records(records) if records.len() == MOST_RECORDS));
    let forever = response(
        &question,
        ResponseCode::NoError,
        &[a("a.example.", u32::MAX, 1)],
    );
    assert_eq!(read_it(&forever, &question), answered(addresses(&[1]), 0));
}

fn kinds() -> impl Strategy<Value = RecordType> {
    prop_oneof![
        Just(RecordType::A),
        Just(RecordType::Aaaa),
        Just(RecordType::Srv),
        Just(RecordType::Naptr)
    ]
}

/// An answer with a bit of everything.
fn rich_answer() -> Vec<u8> {
    let question = ask("a.example", RecordType::Srv);
    let srv = RData::SRV(SRV::new(1, 2, 3, wire_name("gw.example.")));
    let text = |text: &str| text.as_bytes().into();
    let naptr = NAPTR::new(
        1,
        2,
        text("s"),
        text("SIP+D2T"),
        text("!x!y!"),
        wire_name("."),
    );
    let answers = [
        cname("a.example.", 30, "b.example."),
        record("b.example.", 60, srv),
        record("b.example.", 60, RData::NAPTR(naptr)),
        a("b.example.", 60, 1),
    ];
    let mut message = response(&question, ResponseCode::NoError, &answers);
    message.add_authority(soa("example.", 60, 60));
    message.set_edns(Edns::new());
    bytes(&message)
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), id: u16, kind in kinds()) {
        let _ = read(&bytes, id, &ask("a.example", kind));
    }

    #[test]
    fn no_mutation_of_an_answer_panics(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        length in any::<prop::sample::Index>(),
        kind in kinds(),
    ) {
        let mut bytes = rich_answer();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        bytes.truncate(length.index(bytes.len() + 1));
        let id = u16::from_be_bytes([bytes.first().copied().unwrap_or(0), bytes.get(1).copied().unwrap_or(0)]);
        let _ = read(&bytes, id, &ask("a.example", kind));
    }

    #[test]
    fn an_answer_to_another_question_is_never_taken_in(
        asked in "[a-c]{1,2}(\\.[a-c]{1,2}){0,2}",
        answered in "[a-c]{1,2}(\\.[a-c]{1,2}){0,2}",
        kind in kinds(),
        of in kinds(),
        id: u16,
        other: u16,
    ) {
        let question = ask(&answered, of);
        let mut message = response(&question, ResponseCode::NoError, &[a("a.example.", 60, 1)]);
        message.metadata.id = other;
        let ours = ask(&asked, kind);
        let outcome = read(&bytes(&message), id, &ours);
        prop_assert_eq!(outcome.is_ok(), ours == question && id == other);
    }
}
