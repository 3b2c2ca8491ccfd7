//! Name servers for the resolver's tests: zones as text, and what each server does with a query.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use contract::Timestamp;
use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, NAPTR, SOA, SRV};
use hickory_proto::rr::{Name, RData, Record};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::{Ask, AttemptId, Carrier, Config, Heard, News, Resolver};

pub(super) const FIRST: &str = "192.0.2.53:53";
pub(super) const SECOND: &str = "192.0.2.54:53";

/// What a server does with queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// Answers from the zone.
    Well,
    Silent,
    /// Nobody is there: ICMP says so, or the connection is refused.
    Gone,
    /// Says this.
    Says(ResponseCode),
    /// Does not know EDNS.
    Old,
    /// Truncates what comes by UDP.
    Brief,
    /// The same, and nobody listens on TCP.
    BriefOnly,
}

/// A query that was seen.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) attempt: AttemptId,
    pub(super) server: SocketAddr,
    pub(super) carrier: Carrier,
    pub(super) query: Message,
}

/// A resolver between two name servers, on virtual time.
#[derive(Debug)]
pub(super) struct Bench {
    pub(super) resolver: Resolver,
    pub(super) now: Timestamp,
    zone: Vec<Record>,
    pub(super) moods: BTreeMap<SocketAddr, Mood>,
    pub(super) seen: Vec<Seen>,
    pub(super) open: Vec<AttemptId>,
    pub(super) news: VecDeque<News>,
}

pub(super) fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

pub(super) fn config() -> Config {
    Config {
        servers: vec![addr(FIRST), addr(SECOND)],
        timeout: Duration::from_secs(1),
        attempts: 2,
        max_stale: Duration::from_secs(3600),
    }
}

impl Bench {
    pub(super) fn new(zone: &str) -> Self {
        Self::with(config(), zone)
    }

    pub(super) fn with(config: Config, zone: &str) -> Self {
        let moods = config.servers.iter().map(|&server| (server, Mood::Well));
        Self {
            moods: moods.collect(),
            resolver: Resolver::new(config, StdRng::seed_from_u64(53)),
            now: Timestamp::from_nanos(1),
            zone: records(zone),
            seen: Vec::new(),
            open: Vec::new(),
            news: VecDeque::new(),
        }
    }

    pub(super) fn set_zone(&mut self, zone: &str) {
        self.zone = records(zone);
    }

    /// Both servers do this from now on.
    pub(super) fn all(&mut self, mood: Mood) {
        self.moods.values_mut().for_each(|each| *each = mood);
    }

    /// Carries queries and answers until nothing is left to do now.
    pub(super) fn settle(&mut self) {
        loop {
            while let Some(news) = self.resolver.poll_news() {
                self.news.push_back(news);
            }
            match self.resolver.poll_ask() {
                None => return,
                Some(Ask::Close { attempt }) => {
                    let place = self.open.iter().position(|open| *open == attempt);
                    self.open.remove(place.expect("it was open"));
                }
                Some(Ask::Send {
                    attempt,
                    server,
                    carrier,
                    bytes,
                }) => {
                    self.open.push(attempt);
                    let query = Message::from_vec(&bytes).expect("a query can be read");
                    let seen = Seen {
                        attempt,
                        server,
                        carrier,
                        query,
                    };
                    self.seen.push(seen.clone());
                    if let Some(heard) = self.react(&seen) {
                        self.resolver.on_heard(heard, self.now);
                    }
                }
            }
        }
    }

    pub(super) fn advance(&mut self, by: Duration) {
        let until = self.now + by;
        self.settle();
        while let Some(due) = self.resolver.deadline().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.resolver.on_time(self.now);
            self.settle();
            let next = self.resolver.deadline();
            assert!(
                next.is_none_or(|next| next > self.now),
                "asks again at once"
            );
        }
        self.now = until;
    }

    /// The questions that were asked since the last look, in order.
    pub(super) fn asked(&mut self) -> Vec<String> {
        let spell = |seen: Seen| {
            let query = &seen.query.queries[0];
            format!(
                "{} {}",
                query.name().to_ascii().trim_end_matches('.'),
                query.query_type()
            )
        };
        self.seen.drain(..).map(spell).collect()
    }

    fn react(&self, seen: &Seen) -> Option<Heard> {
        let attempt = seen.attempt;
        let failed = Some(Heard::Failed { attempt });
        let mut message = self.look_up(&seen.query);
        match (self.moods[&seen.server], seen.carrier) {
            (Mood::Silent, _) => return None,
            (Mood::Gone, _) | (Mood::BriefOnly, Carrier::Tcp) => return failed,
            (Mood::Says(code), _) => {
                message.metadata.response_code = code;
                message.answers.clear();
            }
            (Mood::Old, _) if seen.query.edns.is_some() => {
                message.metadata.response_code = ResponseCode::FormErr;
                message.answers.clear();
            }
            (Mood::Brief | Mood::BriefOnly, Carrier::Udp) => {
                message.metadata.truncation = true;
                message.answers.clear();
            }
            _ => {}
        }
        Some(Heard::Answer {
            attempt,
            from: seen.server,
            bytes: message.to_vec().expect("a message"),
        })
    }

    /// What a recursive server would say.
    fn look_up(&self, query: &Message) -> Message {
        let mut message = query.clone();
        message.metadata.message_type = MessageType::Response;
        message.edns = None;
        let asked = &query.queries[0];
        let mut owner = asked.name().clone();
        let mut exists = false;
        for _ in 0..4 {
            let at = self.zone.iter().filter(|record| record.name == owner);
            let mut next = None;
            for record in at {
                exists = true;
                if let RData::CNAME(target) = &record.data {
                    next = Some(target.0.clone());
                    message.add_answer(record.clone());
                } else if record.record_type() == asked.query_type() {
                    message.add_answer(record.clone());
                }
            }
            match next {
                Some(target) => owner = target,
                None => break,
            }
        }
        if message.answers.is_empty() {
            let name = |text| Name::from_ascii(text).expect("a name");
            let soa = SOA::new(name("ns."), name("root."), 1, 2, 3, 4, 20);
            let soa = Record::from_rdata(name("example."), 60, RData::SOA(soa));
            message.add_authority(soa);
            if !exists {
                message.metadata.response_code = ResponseCode::NXDomain;
            }
        }
        message
    }
}

/// `NAME TTL TYPE DATA...`, one a line.
fn records(zone: &str) -> Vec<Record> {
    let lines = zone.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(record).collect()
}

fn record(line: &str) -> Record {
    let words: Vec<_> = line.split_whitespace().collect();
    let name = |text: &str| Name::from_ascii(format!("{text}.")).expect("a name");
    let number = |place: usize| words[place].parse::<u16>().expect("a number");
    let text = |place: usize| words[place].as_bytes().into();
    let data = match words[2] {
        "A" => RData::A(A(words[3].parse().expect("an address"))),
        "AAAA" => RData::AAAA(AAAA(words[3].parse().expect("an address"))),
        "CNAME" => RData::CNAME(CNAME(name(words[3]))),
        "SRV" => RData::SRV(SRV::new(number(3), number(4), number(5), name(words[6]))),
        "NAPTR" => {
            let (flags, service, target) = (text(5), text(6), name(words[7]));
            RData::NAPTR(NAPTR::new(
                number(3),
                number(4),
                flags,
                service,
                b"".as_slice().into(),
                target,
            ))
        }
        other => panic!("{other}"),
    };
    Record::from_rdata(name(words[0]), words[1].parse().expect("a TTL"), data)
}
