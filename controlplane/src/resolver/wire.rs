//! Queries and answers on the wire (RFC 1035 §4, RFC 6891). Pure functions: [`read`] is what a fuzzer calls.
//!
//! hickory-proto knows the format; what is believed of an answer is decided here. Only a response with
//! our id and exactly our question is ours; only its answer section is believed, followed from the
//! name that was asked; the other sections may be from anybody (RFC 2181 §5.4.1) and serve for the
//! lifetime of a "no" alone.

use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{NAPTR, SRV};
use hickory_proto::rr::{self, DNSClass, Name, RData};

use super::DomainName;
use super::record::{Answer, Data, Pointer, Question, RecordType, Service, Value};

/// The size of datagrams that we ask for: no larger one is fragmented on any usual path (the value of the
/// DNS flag day of 2020).
const UDP_PAYLOAD: u16 = 1232;
/// Aliases followed within one answer.
const MOST_ALIASES: usize = 8;
/// Records taken from one answer. A carrier has a few dozen servers at the most; more only cost.
const MOST_RECORDS: usize = 64;

/// What an answer of the server that was asked says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// The answer, a "no" included.
    Answer(Answer),
    /// It did not fit a datagram.
    Truncated,
    /// This server does not know or will not say; another may.
    Refused(Refusal),
}

/// Why a server gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// SERVFAIL.
    ServerFailure,
    /// FORMERR or BADVERS: it may be one that does not know EDNS.
    Format,
    /// It names other servers to be asked: it does not recurse.
    Referral,
    /// Any other response code, REFUSED above all.
    Other(u16),
}

/// Why a message is no answer to our question. It is dropped as if it had not come: whoever guesses at ids
/// must not make us give up the true answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotOurs {
    /// It cannot be read.
    Malformed,
    /// It is no response to a query.
    NotAResponse,
    /// It has another id.
    WrongId,
    /// It repeats another question, or none.
    WrongQuestion,
}

/// A query on the wire; `None` for a name that the format cannot hold.
pub fn query(question: &Question, id: u16, edns: bool) -> Option<Vec<u8>> {
    let name = Name::from_ascii(format!("{}.", question.name.as_str())).ok()?;
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name, wire_type(question.kind)));
    if edns {
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_PAYLOAD).set_version(0);
        message.set_edns(edns);
    }
    message.to_vec().ok()
}

/// Reads what came back for a query. Never panics, whatever the bytes.
///
/// # Errors
/// It is not an answer to this question with this id.
pub fn read(bytes: &[u8], id: u16, question: &Question) -> Result<Reading, NotOurs> {
    let message = Message::from_vec(bytes).map_err(|_| NotOurs::Malformed)?;
    let head = &message.metadata;
    if head.message_type != MessageType::Response || head.op_code != OpCode::Query {
        return Err(NotOurs::NotAResponse);
    }
    if head.id != id {
        return Err(NotOurs::WrongId);
    }
    if !asks(&message, question) {
        return Err(NotOurs::WrongQuestion);
    }
    if head.truncation {
        return Ok(Reading::Truncated);
    }
    Ok(match head.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain => follow(&message, question),
        ResponseCode::ServFail => Reading::Refused(Refusal::ServerFailure),
        ResponseCode::FormErr | ResponseCode::BADVERS | ResponseCode::NotImp => {
            Reading::Refused(Refusal::Format)
        }
        other => Reading::Refused(Refusal::Other(other.into())),
    })
}

/// Whether the message repeats exactly our question.
fn asks(message: &Message, question: &Question) -> bool {
    let [asked] = &message.queries[..] else {
        return false;
    };
    asked.query_type() == wire_type(question.kind)
        && asked.query_class() == DNSClass::IN
        && name_of(asked.name()).is_some_and(|name| name == question.name)
}

/// Follows the aliases in the answer section from the name that was asked to its records.
fn follow(message: &Message, question: &Question) -> Reading {
    let mut name = question.name.clone();
    let mut ttl = u32::MAX;
    for _ in 0..=MOST_ALIASES {
        let records = records_at(message, &name, question.kind);
        if let Some(least) = records.iter().map(|(ttl, _)| *ttl).min() {
            let data = records.into_iter().map(|(_, data)| data);
            let value = Value::Records(data.take(MOST_RECORDS).collect());
            return answer(value, ttl.min(least));
        }
        match alias_at(message, &name) {
            Some((target, of_alias)) => {
                ttl = ttl.min(of_alias);
                name = target;
            }
            None => return none(message, question, name, ttl),
        }
    }
    // A ring of aliases has no records, and no server will say another thing soon.
    answer(Value::NoRecords, ttl)
}

/// The chain ends at `name` without records of the kind (RFC 2308 §2).
fn none(message: &Message, question: &Question, name: DomainName, ttl: u32) -> Reading {
    let zone = negative_ttl(message, &name);
    let lives = ttl.min(zone.unwrap_or(0));
    if message.metadata.response_code == ResponseCode::NXDomain {
        return answer(Value::NoName, lives);
    }
    if zone.is_some() {
        return answer(Value::NoRecords, lives);
    }
    if name != question.name {
        return answer(Value::Alias(name), ttl);
    }
    let refers = |record: &rr::Record| matches!(record.data, RData::NS(_));
    match message.authorities.iter().any(refers) {
        true => Reading::Refused(Refusal::Referral),
        false => answer(Value::NoRecords, lives),
    }
}

fn answer(value: Value, ttl: u32) -> Reading {
    // RFC 2181 §8: the highest bit is no part of it.
    let ttl = if ttl > i32::MAX as u32 { 0 } else { ttl };
    let ttl = Duration::from_secs(ttl.into());
    Reading::Answer(Answer { value, ttl })
}

/// Records of the kind whose owner is `name`, with their TTLs.
fn records_at(message: &Message, name: &DomainName, kind: RecordType) -> Vec<(u32, Data)> {
    let of_name = at(message, name);
    of_name
        .filter_map(|record| {
            let data = match (kind, &record.data) {
                (RecordType::A, RData::A(address)) => address.0.into(),
                (RecordType::Aaaa, RData::AAAA(address)) => address.0.into(),
                (RecordType::Srv, RData::SRV(srv)) => Data::Service(service(srv)?),
                (RecordType::Naptr, RData::NAPTR(naptr)) => Data::Pointer(pointer(naptr)?),
                _ => return None,
            };
            Some((record.ttl, data))
        })
        .collect()
}

fn alias_at(message: &Message, name: &DomainName) -> Option<(DomainName, u32)> {
    at(message, name).find_map(|record| match &record.data {
        RData::CNAME(target) => Some((name_of(&target.0)?, record.ttl)),
        _ => None,
    })
}

fn at<'m>(message: &'m Message, name: &'m DomainName) -> impl Iterator<Item = &'m rr::Record> {
    message.answers.iter().filter(move |record| {
        record.dns_class == DNSClass::IN
            && name_of(&record.name).is_some_and(|owner| owner == *name)
    })
}

/// How long a "no" holds: the lesser of the TTL and the MINIMUM of the zone's SOA (RFC 2308 §5).
fn negative_ttl(message: &Message, name: &DomainName) -> Option<u32> {
    message.authorities.iter().find_map(|record| {
        let zone = name_of(&record.name)?;
        match &record.data {
            RData::SOA(soa) if zone.is_above_or_at(name) => Some(record.ttl.min(soa.minimum)),
            _ => None,
        }
    })
}

fn service(srv: &SRV) -> Option<Service> {
    Some(Service {
        priority: srv.priority,
        weight: srv.weight,
        port: srv.port,
        target: name_of(&srv.target)?,
    })
}

fn pointer(naptr: &NAPTR) -> Option<Pointer> {
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
    Some(Pointer {
        order: naptr.order,
        preference: naptr.preference,
        flags: text(&naptr.flags)?.to_ascii_lowercase(),
        service: text(&naptr.services)?.to_ascii_uppercase(),
        has_regexp: !naptr.regexp.is_empty(),
        replacement: name_of(&naptr.replacement)?,
    })
}

fn name_of(name: &Name) -> Option<DomainName> {
    DomainName::from_labels(name.iter())
}

const fn wire_type(kind: RecordType) -> rr::RecordType {
    match kind {
        RecordType::A => rr::RecordType::A,
        RecordType::Aaaa => rr::RecordType::AAAA,
        RecordType::Srv => rr::RecordType::SRV,
        RecordType::Naptr => rr::RecordType::NAPTR,
    }
}

#[cfg(test)]
mod tests;
