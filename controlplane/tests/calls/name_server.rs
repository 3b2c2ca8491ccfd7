//! A recursive name server of two addresses, on virtual time: a zone as text, and what it does with queries.

use std::collections::VecDeque;
use std::net::SocketAddr;

use controlplane::resolver::{Ask, AttemptId, Heard};
use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, NAPTR, SRV};
use hickory_proto::rr::{Name, RData, Record};

/// What a server does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Answers at once.
    #[default]
    Well,
    /// Answers when the test says so.
    Slow,
    /// Never answers.
    Silent,
}

/// The server behind all addresses that are asked.
#[derive(Debug, Default)]
pub(crate) struct NameServer {
    zone: Vec<Record>,
    pub(crate) mood: Mood,
    /// Answers that a slow one has not given.
    late: VecDeque<Heard>,
    open: Vec<AttemptId>,
    /// The questions that came.
    pub(crate) asked: Vec<String>,
}

impl NameServer {
    /// From now on it knows these records: `NAME TTL TYPE DATA...`, one a line.
    pub(crate) fn know(&mut self, zone: &str) {
        let lines = zone.lines().map(str::trim).filter(|line| !line.is_empty());
        self.zone = lines.map(record).collect();
    }

    /// Takes a query; its answer, if it comes at once.
    pub(crate) fn carry_out(&mut self, ask: Ask) -> Option<Heard> {
        match ask {
            Ask::Close { attempt } => {
                let place = self.open.iter().position(|open| *open == attempt);
                self.open.remove(place.expect("it was open"));
                None
            }
            Ask::Send {
                attempt,
                server,
                bytes,
                ..
            } => {
                self.open.push(attempt);
                let answer = self.answer(attempt, server, &bytes);
                match self.mood {
                    Mood::Well => Some(answer),
                    Mood::Silent => None,
                    Mood::Slow => {
                        self.late.push_back(answer);
                        None
                    }
                }
            }
        }
    }

    /// The next answer of a slow one.
    pub(crate) fn next_late(&mut self) -> Option<Heard> {
        self.late.pop_front()
    }

    fn answer(&mut self, attempt: AttemptId, from: SocketAddr, bytes: &[u8]) -> Heard {
        let mut message = Message::from_vec(bytes).expect("a query");
        message.metadata.message_type = MessageType::Response;
        let (name, kind) = {
            let query = &message.queries[0];
            (query.name().clone(), query.query_type())
        };
        let text = name.to_ascii();
        self.asked
            .push(format!("{} {kind}", text.trim_end_matches('.')));
        let of_name: Vec<_> = self.zone.iter().filter(|each| each.name == name).collect();
        if of_name.is_empty() {
            message.metadata.response_code = ResponseCode::NXDomain;
        }
        let of_kind = of_name
            .into_iter()
            .filter(|each| each.record_type() == kind);
        message.add_answers(of_kind.cloned());
        Heard::Answer {
            attempt,
            from,
            bytes: message.to_vec().expect("a message"),
        }
    }
}

fn record(line: &str) -> Record {
    let words: Vec<_> = line.split_whitespace().collect();
    let name = |text: &str| Name::from_ascii(format!("{text}.")).expect("a name");
    let number = |place: usize| words[place].parse::<u16>().expect("a number");
    let text = |place: usize| words[place].as_bytes().into();
    let data = match words[2] {
        "A" => RData::A(A(words[3].parse().expect("an address"))),
        "AAAA" => RData::AAAA(AAAA(words[3].parse().expect("an address"))),
        "SRV" => RData::SRV(SRV::new(number(3), number(4), number(5), name(words[6]))),
        "NAPTR" => {
            let (flags, service, target) = (text(5), text(6), name(words[7]));
            let regexp = Vec::new().into();
            RData::NAPTR(NAPTR::new(
                number(3),
                number(4),
                flags,
                service,
                regexp,
                target,
            ))
        }
        other => panic!("{other}"),
    };
    Record::from_rdata(name(words[0]), words[1].parse().expect("a TTL"), data)
}
