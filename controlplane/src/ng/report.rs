//! What is told of calls: `query`, and `delete`, which tells the same of the call that it ends; `list`; `statistics`.
//!
//! The workers' counts are asked for first; the reply is made when they are all there, before the next request.

use std::collections::HashMap;

use contract::{FlowKey, Timestamp};

use super::book::{Call, CallNumber, Dialogue, Party, Subscription};
use super::door::{Asker, Done, Due, Hands, Ng};
use super::quality;
use super::reply;
use super::request::{Delete, Parties};
use super::totals::{self, Totals};
use super::value::{Dictionary, Value};
use crate::agent::{FlowOwner, Output};
use crate::records::{FlowRecord, Measured};
use crate::sdp::Profile;
use crate::session::{EndedFlow, SessionId, SessionView, Side, StreamState, StreamView};

/// The largest reply that is sent as a datagram: what UDP over IPv4 takes, less what a cookie takes.
const LARGEST: usize = 65_000;

/// Flows that are being counted.
#[derive(Debug)]
pub(super) struct Survey {
    what: Subject,
    /// Flows that have yet to be counted.
    left: usize,
    counted: HashMap<FlowKey, FlowRecord>,
}

#[derive(Debug)]
enum Subject {
    /// Nothing is told: it is only looked at what RTCP says.
    Look(CallNumber),
    /// A reply about a call; with a `delete` those sessions end afterwards.
    Call {
        asker: Box<Asker>,
        number: CallNumber,
        parties: Box<Parties>,
        delete: Option<(Vec<SessionId>, u32)>,
    },
}

impl Ng {
    pub(super) fn query(&mut self, hands: &mut Hands<'_>, asker: &Asker, parties: Parties) -> Done {
        match self.call_of(&parties) {
            None => Done::Reply(reply::error(reply::UNKNOWN_CALL)),
            Some(number) => self.survey(hands, asker, number, parties, None),
        }
    }

    pub(super) fn delete(&mut self, hands: &mut Hands<'_>, asker: &Asker, delete: &Delete) -> Done {
        let call = self
            .call_of(&delete.parties)
            .and_then(|number| self.book.get_mut(number));
        let found = call.and_then(|call| Some((call.of_delete(&delete.parties)?, call)));
        let Some((places, call)) = found else {
            return Done::Reply(match delete.fatal {
                true => reply::error(reply::NO_SUCH_CALL),
                false => reply::warning(reply::NO_SUCH_CALL),
            });
        };
        call.signalled = hands.now;
        call.deleted = places.len() == call.dialogues.len();
        call.metadata = delete.metadata.clone().or(call.metadata.take());
        let sessions = places
            .iter()
            .map(|place| call.dialogues[*place].session)
            .collect();
        let number = call.number;
        let configured = self.policy.delete_delay.as_secs() as u32;
        let delay = delete.delay.unwrap_or(configured);
        let deleted = Some((sessions, delay));
        self.survey(hands, asker, number, delete.parties.clone(), deleted)
    }

    fn survey(
        &mut self,
        hands: &mut Hands<'_>,
        asker: &Asker,
        number: CallNumber,
        parties: Parties,
        delete: Option<(Vec<SessionId>, u32)>,
    ) -> Done {
        let flows = self.countable(hands, number);
        let subject = Subject::Call {
            asker: Box::new(asker.clone()),
            number,
            parties: Box::new(parties),
            delete,
        };
        self.count(hands, subject, flows);
        Done::Later
    }

    /// Looks at what RTCP says of a call's streams, and again after a while.
    pub(super) fn look(&mut self, hands: &mut Hands<'_>, number: CallNumber) {
        let mut flows = self.countable(hands, number);
        flows.retain(|flow| flow.rtp);
        self.due.set(Due::Look(number), hands.now + quality::LOOK);
        self.count(hands, Subject::Look(number), flows);
    }

    fn countable(&self, hands: &Hands<'_>, number: CallNumber) -> Vec<EndedFlow> {
        let sessions = self.sessions_of(number).into_iter();
        sessions
            .flat_map(|session| hands.engine.countable(session))
            .collect()
    }

    fn count(&mut self, hands: &mut Hands<'_>, what: Subject, flows: Vec<EndedFlow>) {
        self.last_survey += 1;
        let survey = Survey {
            what,
            left: flows.len(),
            counted: HashMap::with_capacity(flows.len()),
        };
        if flows.is_empty() {
            return self.finish(hands, survey);
        }
        self.surveys.insert(self.last_survey, survey);
        for flow in flows {
            self.measure(FlowOwner::Survey(self.last_survey), flow);
        }
    }

    /// A flow was counted.
    pub(super) fn surveyed(&mut self, hands: &mut Hands<'_>, number: u64, record: FlowRecord) {
        let Some(survey) = self.surveys.get_mut(&number) else {
            return;
        };
        survey.counted.insert(record.key, record);
        survey.left = survey.left.saturating_sub(1);
        if survey.left == 0
            && let Some(survey) = self.surveys.remove(&number)
        {
            self.finish(hands, survey);
        }
    }

    fn finish(&mut self, hands: &mut Hands<'_>, survey: Survey) {
        let counted = survey.counted;
        let (Subject::Look(number) | Subject::Call { number, .. }) = survey.what;
        if let Some(call) = self.book.get_mut(number) {
            quality::look(call, &counted, hands);
        }
        let Subject::Call {
            asker,
            parties,
            delete,
            ..
        } = survey.what
        else {
            return;
        };
        let Some(call) = self.book.get(number) else {
            return self.reply(hands.now, *asker, reply::error(reply::UNKNOWN_CALL));
        };
        let teller = Teller {
            call,
            counted: &counted,
            hands,
        };
        let (told, shortened) = teller.tell(&parties, asker.path.is_datagram());
        self.counters.shortened += u64::from(shortened);
        if let Some((sessions, delay)) = delete {
            self.end(hands, &sessions, delay);
        }
        self.reply(hands.now, *asker, told);
    }

    /// Ends sessions, at once or after a delay.
    fn end(&mut self, hands: &mut Hands<'_>, sessions: &[SessionId], delay: u32) {
        for session in sessions {
            match delay {
                0 => self.close(hands, *session),
                seconds => {
                    let delay = std::time::Duration::from_secs(u64::from(seconds));
                    self.due.set(Due::Close(*session), hands.now + delay);
                }
            }
        }
        self.counters.deleted += 1;
    }

    pub(super) fn list(&mut self, limit: usize) -> Dictionary {
        let mut room = LARGEST;
        let mut calls = Vec::new();
        for call in self.book.calls().take(limit) {
            // Six characters a byte at the worst, in JSON.
            let Some(left) = room.checked_sub(call.id.len() * 6 + 16) else {
                // One that is too long hides none that is not.
                self.counters.shortened += 1;
                continue;
            };
            room = left;
            calls.push(Value::Bytes(call.id.clone()));
        }
        Dictionary::new().with("calls", calls).with("result", "ok")
    }

    pub(super) fn statistics(&mut self, asker: &Asker) -> Done {
        self.last_survey += 1;
        self.outbox.push_back(Output::Total(self.last_survey));
        self.totals_for.insert(self.last_survey, asker.clone());
        Done::Later
    }
}

impl Ng {
    /// The figures of the whole relay are there.
    pub(crate) fn on_totals(&mut self, hands: Hands<'_>, number: u64, totals: &Totals) {
        let Some(asker) = self.totals_for.remove(&number) else {
            return;
        };
        let (sessions, held) = (hands.engine.counters(), hands.engine.gauges());
        let told = totals::told(totals, &self.counters, &sessions, &held, self.book.len());
        let told = Dictionary::new()
            .with("statistics", told)
            .with("result", "ok");
        self.reply(hands.now, asker, told);
    }
}

/// How a party and somebody who subscribes to it are told of each other.
fn listens(tag: Vec<u8>) -> Value {
    let told = Dictionary::new().with("tag", tag).with("type", "pub/sub");
    Value::Dictionary(told)
}

/// Tells of one call.
struct Teller<'a> {
    call: &'a Call,
    counted: &'a HashMap<FlowKey, FlowRecord>,
    hands: &'a Hands<'a>,
}

/// Sums of packets, as rtpengine says them.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    packets: u64,
    bytes: u64,
    errors: u64,
}

impl Sum {
    const fn add(&mut self, measured: &Measured) {
        self.packets = self.packets.saturating_add(measured.packets);
        self.bytes = self.bytes.saturating_add(measured.bytes);
        self.errors = self.errors.saturating_add(measured.wrong_source);
    }

    fn told(self) -> Dictionary {
        Dictionary::new()
            .with("packets", self.packets)
            .with("bytes", self.bytes)
            .with("errors", self.errors)
    }
}

impl Teller<'_> {
    /// The whole, or what of it fits a datagram; whether something was left out.
    ///
    /// First the quality of each stream goes, then the streams, then the parties: the totals always fit.
    fn tell(&self, parties: &Parties, is_datagram: bool) -> (Dictionary, bool) {
        for depth in [
            Depth::All,
            Depth::NoQuality,
            Depth::NoStreams,
            Depth::Totals,
        ] {
            let told = self.told(parties, depth);
            if !is_datagram || size(&told) <= LARGEST || depth == Depth::Totals {
                return (told, depth != Depth::All);
            }
        }
        (self.told(parties, Depth::Totals), true)
    }

    fn told(&self, parties: &Parties, depth: Depth) -> Dictionary {
        let created = self.hands.wall.at(self.call.created);
        let micros = i64::from(created.subsec_microsecond());
        let mut told = Dictionary::new()
            .with("created", created.as_second())
            .with("created_us", micros)
            .with("last signal", self.seconds(self.call.signalled))
            .with(
                "SSRC",
                match depth {
                    Depth::All => quality::told(self.call),
                    _ => Dictionary::new(),
                },
            );
        if let Some(metadata) = self
            .call
            .metadata
            .as_ref()
            .filter(|_| depth <= Depth::NoStreams)
        {
            told.push("metadata", metadata.clone());
        }
        told.push(
            "tags",
            match depth {
                Depth::Totals => Dictionary::new(),
                _ => self.tags(parties, depth),
            },
        );
        told.push("totals", self.totals());
        if depth != Depth::All {
            told.push("warning", "Reply shortened to fit a datagram");
        }
        told.with("result", "ok")
    }

    fn seconds(&self, at: Timestamp) -> i64 {
        self.hands.wall.at(at).as_second()
    }

    fn tags(&self, parties: &Parties, depth: Depth) -> Dictionary {
        let mut tags = Dictionary::new();
        let mut untagged = 0;
        let wanted = |party: &Party| {
            let is = |tag: &Option<Vec<u8>>| tag.as_deref().is_some_and(|tag| party.is(tag));
            (parties.from_tag.is_none() && parties.to_tag.is_none())
                || is(&parties.from_tag)
                || is(&parties.to_tag)
        };
        let any_known = self
            .call
            .dialogues
            .iter()
            .any(|dialogue| dialogue.parties.iter().any(&wanted));
        for dialogue in &self.call.dialogues {
            // Whoever is asked for is told with whom it talks.
            if any_known && !dialogue.parties.iter().any(&wanted) {
                continue;
            }
            let view = self.hands.engine.describe(dialogue.session);
            for side in [Side::A, Side::B] {
                let party = dialogue.party(side);
                let key = match &party.tag {
                    Some(tag) => tag.clone(),
                    None => {
                        untagged += 1;
                        format!("<untagged {untagged}>").into_bytes()
                    }
                };
                if tags.get(&key).is_some() {
                    // The same party in another branch: its first dialogue stands for it.
                    continue;
                }
                tags.push(key, self.tag(dialogue, side, view.as_ref(), depth));
            }
        }
        let is_wanted = |tag: &[u8]| {
            let is = |asked: &Option<Vec<u8>>| asked.as_deref() == Some(tag);
            (parties.from_tag.is_none() && parties.to_tag.is_none())
                || is(&parties.from_tag)
                || is(&parties.to_tag)
        };
        for subscription in &self.call.subscriptions {
            if is_wanted(&subscription.tag) && tags.get(&subscription.tag).is_none() {
                let told = self.subscriber(subscription, depth);
                tags.push(subscription.tag.clone(), told);
            }
        }
        tags
    }

    /// Somebody who only listens.
    fn subscriber(&self, subscription: &Subscription, depth: Depth) -> Dictionary {
        let sources = subscription.sources.iter();
        let sources = sources.filter_map(|source| self.call.tag_of(*source));
        let view = self.hands.engine.describe(subscription.session);
        let party = Party::new(Some(subscription.tag.clone()), subscription.created);
        let streams = view.iter().flat_map(|view| &view.streams).enumerate();
        let medias: Vec<Value> = match depth {
            Depth::All | Depth::NoQuality => streams
                .map(|(index, stream)| self.media(&party, index, stream, Side::B).into())
                .collect(),
            Depth::NoStreams | Depth::Totals => Vec::new(),
        };
        Dictionary::new()
            .with("tag", subscription.tag.clone())
            .with("created", self.seconds(subscription.created))
            .with("subscriptions", sources.map(listens).collect::<Vec<_>>())
            .with("subscribers", Vec::<Value>::new())
            .with("medias", medias)
    }

    fn tag(
        &self,
        dialogue: &Dialogue,
        side: Side,
        view: Option<&SessionView>,
        depth: Depth,
    ) -> Dictionary {
        let (party, other) = (dialogue.party(side), dialogue.party(side.other()));
        let mut told = Dictionary::new()
            .with("tag", party.tag.clone().unwrap_or_default())
            .with("created", self.seconds(party.created));
        if let Some(label) = &party.label {
            told.push("label", label.clone());
        }
        let other = other.tag.clone().unwrap_or_default();
        told.push("in dialogue with", other.clone());
        let joined = |tag: Vec<u8>| {
            let one = Dictionary::new()
                .with("tag", tag)
                .with("type", "offer/answer");
            vec![Value::Dictionary(one)]
        };
        told.push("subscriptions", joined(other.clone()));
        let mut subscribers = joined(other);
        let source = (dialogue.session, side);
        let listening = self.call.subscriptions.iter();
        let listening = listening.filter(|each| each.sources.contains(&source));
        subscribers.extend(listening.map(|each| listens(each.tag.clone())));
        told.push("subscribers", subscribers);
        let streams = view.into_iter().flat_map(|view| &view.streams).enumerate();
        let medias: Vec<Value> = match depth {
            Depth::All | Depth::NoQuality => streams
                .map(|(index, stream)| self.media(party, index, stream, side).into())
                .collect(),
            Depth::NoStreams | Depth::Totals => Vec::new(),
        };
        told.with("medias", medias)
    }

    fn media(&self, party: &Party, index: usize, stream: &StreamView, side: Side) -> Dictionary {
        let view = &stream.parties[usize::from(side == Side::B)];
        let named = party.protocols.get(index).map(Vec::as_slice);
        let protocol = match (named, stream.profile) {
            (Some(name), _) => String::from_utf8_lossy(name).into_owned(),
            (None, Profile::Rtp) => "RTP/AVP".to_owned(),
            (None, Profile::Srtp) => "RTP/SAVP".to_owned(),
            (None, Profile::Udptl) => "udptl".to_owned(),
        };
        let mut streams = vec![self.stream(
            "RTP",
            [
                view.local_rtp,
                view.latched_rtp.or(view.remote_rtp),
                view.remote_rtp,
            ],
        )];
        let is_muxed = view.local_rtcp == view.local_rtp;
        if !is_muxed && view.local_rtcp.is_some() {
            streams.push(self.stream(
                "RTCP",
                [view.local_rtcp, view.remote_rtcp, view.remote_rtcp],
            ));
        }
        let mut flags = Vec::new();
        if stream.state != StreamState::Rejected {
            flags.push(Value::from("initialized"));
        }
        if is_muxed && view.local_rtp.is_some() {
            flags.push("rtcp-mux".into());
        }
        if stream.profile == Profile::Srtp {
            flags.push("SDES".into());
        }
        // As seen from here: what the party only sends is only received.
        if matches!(view.direction, "sendrecv" | "recvonly") {
            flags.push("send".into());
        }
        if matches!(view.direction, "sendrecv" | "sendonly") {
            flags.push("recv".into());
        }
        Dictionary::new()
            .with("index", index as u64 + 1)
            .with("type", stream.media.as_str())
            .with("protocol", protocol)
            .with("streams", streams)
            .with("flags", flags)
    }

    /// One port of ours, whom it sends to and whom the body names.
    fn stream(
        &self,
        kind: &str,
        [local, remote, said]: [Option<std::net::SocketAddr>; 3],
    ) -> Value {
        let mut told = Dictionary::new();
        let counted = local.and_then(|local| {
            let key = FlowKey {
                address: local.ip(),
                port: local.port(),
            };
            self.counted.get(&key)
        });
        if let Some(local) = local {
            told.push("local port", u64::from(local.port()));
            told.push("local address", local.ip().to_string());
            told.push("family", family(local));
        }
        told.push("endpoint", endpoint(remote));
        told.push("advertised endpoint", endpoint(said));
        let measured = counted.map(|record| record.measured).unwrap_or_default();
        let last = measured.last_packet.unwrap_or(self.call.created);
        told.push("last packet", self.seconds(last));
        let mut flags = vec![Value::from(kind)];
        if said.is_some() {
            flags.push("filled".into());
        }
        if measured.packets > 0 {
            flags.push("confirmed".into());
            flags.push("kernelized".into());
        }
        told.push("flags", flags);
        let mut sum = Sum::default();
        sum.add(&measured);
        told.push("stats", sum.told());
        told.into()
    }

    fn totals(&self) -> Dictionary {
        let (mut rtp, mut rtcp) = (Sum::default(), Sum::default());
        for record in self.counted.values().chain(&self.call.ended) {
            let sum = if record.rtp { &mut rtp } else { &mut rtcp };
            sum.add(&record.measured);
        }
        Dictionary::new()
            .with("RTP", rtp.told())
            .with("RTCP", rtcp.told())
    }
}

/// How much is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Depth {
    All,
    NoQuality,
    NoStreams,
    Totals,
}

fn family(address: std::net::SocketAddr) -> &'static str {
    match address.is_ipv4() {
        true => "IPv4",
        false => "IPv6",
    }
}

fn endpoint(address: Option<std::net::SocketAddr>) -> Dictionary {
    match address {
        None => Dictionary::new(),
        Some(address) => Dictionary::new()
            .with("family", family(address))
            .with("address", address.ip().to_string())
            .with("port", u64::from(address.port())),
    }
}

/// How many bytes a dictionary takes at the most, in either encoding.
fn size(dictionary: &Dictionary) -> usize {
    let entries = dictionary.entries();
    2 + entries
        .map(|(key, value)| text_size(key) + 2 + value_size(value))
        .sum::<usize>()
}

fn value_size(value: &Value) -> usize {
    match value {
        Value::Bytes(bytes) => text_size(bytes),
        Value::Integer(_) => 22,
        Value::List(list) => {
            2 + list
                .iter()
                .map(|value| value_size(value) + 1)
                .sum::<usize>()
        }
        Value::Dictionary(dictionary) => size(dictionary),
    }
}

/// As JSON, with what has to be escaped: never less than bencode's length and colon.
fn text_size(bytes: &[u8]) -> usize {
    let escaped = |byte: &u8| match byte {
        b' '..=b'~' if !matches!(byte, b'"' | b'\\') => 1,
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' => 2,
        _ => 6,
    };
    bytes.iter().map(escaped).sum::<usize>() + 8
}
