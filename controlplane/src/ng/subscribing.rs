//! Subscriptions: somebody who is no party of a call gets copies of what its parties send.
//!
//! ```text
//!   party ─► its flow ═══► the dialogue's other party
//!               └─ copy ─► entrance of the subscription's session ═══► subscriber
//! ```
//!
//! A subscription is a session of the engine like a dialogue's: its side A stands for the parties that are listened
//! to and sends only copies, its side B is the subscriber, which is only sent to.

use std::sync::Arc;

use contract::{LatchPolicy, MAX_COPIES};
use rand::RngExt;

use super::book::{CallNumber, Subscription};
use super::door::{Asker, Done, Hands, Ng};
use super::exchange::NO_RULES;
use super::media::{Target, Unnamed};
use super::reply;
use super::request::{Exchange, Options, Parties};
use super::shape::{self, Turn};
use super::value::{Dictionary, Value};
use crate::sdp::{Description, Direction, Verdict};
use crate::session::{LegSpec, Patience, Rewritten, SessionError, SessionId, Side, StreamCopy};

/// Subscriptions of one call: more would not fit what a flow's packets are copied to.
const MOST_SUBSCRIPTIONS: usize = MAX_COPIES;

impl Ng {
    /// `subscribe request`: an offer of what the parties send, for the subscriber to answer.
    pub(super) fn subscribe(
        &mut self,
        hands: &mut Hands<'_>,
        asker: &Asker,
        exchange: &Exchange,
    ) -> Done {
        let Exchange {
            parties, options, ..
        } = exchange;
        let (number, sources) = match self.sources(hands, parties) {
            Ok(found) => found,
            Err(reason) => return Done::Reply(reply::error(reason)),
        };
        let tag = match parties.to_tag.clone().filter(|tag| !tag.is_empty()) {
            Some(tag) => tag,
            None => format!("{:032x}", self.rng.random::<u128>()).into_bytes(),
        };
        // Who subscribes again does so anew.
        self.end_subscription(hands, number, &tag);
        let Some(call) = self.book.get(number) else {
            return Done::Reply(reply::error(reply::UNKNOWN_CALL_OF_MEDIA));
        };
        if call.subscriptions.len() >= MOST_SUBSCRIPTIONS {
            return Done::Reply(reply::error("Too many subscriptions to one call"));
        }
        let said: Vec<_> = sources
            .iter()
            .filter_map(|source| call.said_by(*source))
            .collect();
        let tags: Vec<Vec<u8>> = sources
            .iter()
            .filter_map(|source| call.tag_of(*source))
            .collect();
        let Some(body) = joined(&said) else {
            return Done::Reply(reply::error("Nothing to subscribe to"));
        };
        match self.offer_copies(hands, &sources, body, options) {
            Ok((session, rewritten)) => {
                let subscription = Subscription {
                    session,
                    tag: tag.clone(),
                    sources,
                    created: hands.now,
                };
                self.book.subscribe(number, subscription);
                let mut named = Dictionary::new();
                if let [tag] = &tags[..] {
                    named.push("from-tag", tag.clone());
                }
                named.push(
                    "from-tags",
                    tags.into_iter().map(Value::Bytes).collect::<Vec<_>>(),
                );
                named.push("to-tag", tag);
                self.say(hands, asker, session, rewritten, true, named)
            }
            Err(error) => Done::Reply(reply::refused(&error, options.supports_load_limit)),
        }
    }

    /// The parties that are listened to.
    fn sources(
        &self,
        hands: &Hands<'_>,
        parties: &Parties,
    ) -> Result<(CallNumber, Vec<Target>), &'static str> {
        let nobody = Parties {
            to_tag: None,
            to_label: None,
            ..parties.clone()
        };
        let by_list = parties.from_tags.iter().map(|tag| Parties {
            from_tag: Some(tag.clone()),
            from_tags: Vec::new(),
            ..nobody.clone()
        });
        let mut found: Vec<Target> = Vec::new();
        let mut number = None;
        let asked: Vec<Parties> = match parties.from_tags.is_empty() {
            true => vec![nobody.clone()],
            false => by_list.collect(),
        };
        for each in &asked {
            let (call, targets) =
                self.whom(hands, each, Unnamed::Nobody)
                    .map_err(|reason| match reason {
                        "No participant party specified" => "No monologues matched",
                        other => other,
                    })?;
            number = Some(call);
            for target in targets {
                let call = self.book.get(call);
                let tag = |target: Target| call.and_then(|call| call.tag_of(target));
                // A party of several branches is listened to in the last.
                found.retain(|other| tag(*other) != tag(target));
                found.push(target);
            }
        }
        number
            .map(|number| (number, found))
            .ok_or("No monologues matched")
    }

    fn offer_copies(
        &mut self,
        hands: &mut Hands<'_>,
        sources: &[Target],
        body: Vec<u8>,
        options: &Options,
    ) -> Result<(SessionId, Rewritten), SessionError> {
        let mut description = Description::parse(&body)?;
        let from = sources
            .first()
            .and_then(|(session, side)| hands.engine.group_of(*session, *side))
            .unwrap_or(self.policy.media);
        let to = match &options.direction {
            Some(names) => self.policy.group(&names[1]),
            None => from,
        };
        let family = shape::family(options);
        let leg = |group, family| LegSpec {
            group,
            family,
            codecs: Arc::clone(&NO_RULES),
        };
        let session = hands
            .engine
            .open(hands.now, leg(from, None), leg(to, family))?;
        hands.engine.set_patience(session, Patience::default());
        hands
            .engine
            .handle_media(hands.now, session, Side::B, |handling| {
                handling.dropped = true;
            });
        description.name_static_codecs();
        description.state_directions(|_, _| Direction::SendOnly);
        let terms = shape::terms(&description, options, Turn::Offer, &[], self.policy.learn);
        let mut terms = terms.unwrap_or_default();
        terms.latch = Some(LatchPolicy::Sdp);
        let offered = hands
            .engine
            .offer_on(hands.now, session, Side::A, description, &terms);
        match offered {
            Ok(rewritten) => Ok((session, rewritten)),
            Err(error) => {
                hands.engine.close(hands.now, session);
                Err(error)
            }
        }
    }

    /// `subscribe answer`: from now on there are copies.
    pub(super) fn subscribe_answer(
        &mut self,
        hands: &mut Hands<'_>,
        asker: &Asker,
        exchange: &Exchange,
    ) -> Done {
        let Exchange {
            parties,
            sdp,
            options,
        } = exchange;
        let number = self.call_of(parties);
        let Some(call) = number.and_then(|number| self.book.get(number)) else {
            return Done::Reply(reply::error(reply::UNKNOWN_CALL_OF_MEDIA));
        };
        let Ok(description) = Description::parse(sdp) else {
            return Done::Reply(reply::error(reply::FAILED_TO_PARSE));
        };
        let tag = parties.to_tag.as_deref().unwrap_or_default();
        let mut known = call.subscriptions.iter();
        let Some(subscription) = known.find(|known| known.tag == tag) else {
            return Done::Reply(reply::error("To-tag not found"));
        };
        let (session, sources) = (subscription.session, subscription.sources.clone());
        let terms = shape::terms(&description, options, Turn::Answer, &[], self.policy.learn);
        let answered = hands.engine.answer_on(
            hands.now,
            session,
            Side::B,
            description,
            &terms.unwrap_or_default(),
        );
        if let Err(error) = answered {
            tracing::info!(%error, "the answer to a subscription");
            return Done::Reply(reply::error("Failed to process subscription answer"));
        }
        copy(hands, session, &sources);
        let mut sessions: Vec<_> = sources.iter().map(|(session, _)| *session).collect();
        sessions.push(session);
        self.ok_when_ready(hands, asker, sessions)
    }

    /// `unsubscribe`: as in rtpengine a subscription that there is not has ended, too.
    pub(super) fn unsubscribe(
        &mut self,
        hands: &mut Hands<'_>,
        asker: &Asker,
        parties: &Parties,
    ) -> Done {
        let Some(number) = self.call_of(parties) else {
            return Done::Reply(reply::error(reply::UNKNOWN_CALL_OF_MEDIA));
        };
        let tag = parties.to_tag.as_deref().unwrap_or_default();
        self.end_subscription(hands, number, tag);
        let sessions = self.sessions_of(number);
        self.ok_when_ready(hands, asker, sessions)
    }

    pub(super) fn end_subscription(
        &mut self,
        hands: &mut Hands<'_>,
        number: CallNumber,
        tag: &[u8],
    ) {
        if let Some(subscription) = self.book.unsubscribe(number, tag) {
            let entrances = hands.engine.entrances(subscription.session, Side::A);
            let entrances: Vec<_> = entrances.into_iter().flatten().collect();
            for (session, side) in subscription.sources {
                hands
                    .engine
                    .handle_media(hands.now, session, side, |handling| {
                        handling.copies.retain(|copy| !entrances.contains(&copy.to));
                    });
            }
            self.give_up_waiting(hands.now, subscription.session);
            hands.engine.close(hands.now, subscription.session);
        }
    }
}

/// What the sources send arrives in the subscription's streams as well, which are theirs one after the other.
fn copy(hands: &mut Hands<'_>, subscription: SessionId, sources: &[Target]) {
    let all = hands.engine.entrances(subscription, Side::A);
    let mut entrances = all.iter().copied();
    let view = hands.engine.describe(subscription);
    let listens: Vec<bool> = view
        .map(|view| view.streams)
        .into_iter()
        .flatten()
        .map(|stream| matches!(stream.parties[1].direction, "sendrecv" | "recvonly"))
        .collect();
    let mut place = 0;
    for (session, side) in sources {
        let streams = hands.engine.entrances(*session, *side).len();
        let copies: Vec<StreamCopy> = (0..streams)
            .filter_map(|stream| {
                let to = entrances.next().flatten()?;
                let wanted = listens.get(place + stream).copied().unwrap_or(false);
                wanted.then_some(StreamCopy { stream, to })
            })
            .collect();
        place += streams;
        hands
            .engine
            .handle_media(hands.now, *session, *side, |handling| {
                // Those of its former answer.
                handling.copies.retain(|copy| !all.contains(&Some(copy.to)));
                handling.copies.extend(copies.iter().copied());
            });
    }
}

/// One body of what several parties have said: that of one as it is, of several the media alone, each with its own
/// connection. Codecs that the other party of a dialogue did not take are left out: nobody sends them.
fn joined(said: &[(&[u8], Option<&[u8]>)]) -> Option<Vec<u8>> {
    let bodies: Option<Vec<Vec<u8>>> = said
        .iter()
        .map(|(own, other)| {
            let mut description = Description::parse(own).ok()?;
            let taken = other.and_then(|other| Description::parse(other).ok());
            if let Some(taken) = taken {
                let formats = taken.codec_names();
                description.name_static_codecs();
                description.select_codecs(|codec| {
                    match formats
                        .iter()
                        .any(|name| name.eq_ignore_ascii_case(codec.name))
                    {
                        true => Verdict::Keep,
                        false => Verdict::Drop,
                    }
                });
            }
            Some(description.to_bytes())
        })
        .collect();
    let bodies = bodies?;
    match &bodies[..] {
        [] => None,
        [one] => Some(one.clone()),
        several => {
            let mut body = b"v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n".to_vec();
            for each in several {
                append_media(&mut body, each);
            }
            Some(body)
        }
    }
}

/// Appends the `m=` sections of a body, with the session's connection where they have none of their own.
fn append_media(body: &mut Vec<u8>, from: &[u8]) {
    let mut session_connection: &[u8] = b"";
    let mut sections: Vec<Vec<&[u8]>> = Vec::new();
    for line in from.split_inclusive(|byte| *byte == b'\n') {
        match (line.starts_with(b"m="), sections.last_mut()) {
            (true, _) => sections.push(vec![line]),
            (false, Some(section)) => section.push(line),
            (false, None) if line.starts_with(b"c=") => session_connection = line,
            (false, None) => {}
        }
    }
    for section in sections {
        let has_own = section.iter().any(|line| line.starts_with(b"c="));
        for (index, line) in section.into_iter().enumerate() {
            body.extend_from_slice(line);
            if index == 0 && !has_own {
                body.extend_from_slice(session_connection);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_joined_with_a_connection_for_each_stream() {
        let a: &[u8] = b"v=0\r\no=a 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8 0\r\n";
        let b: &[u8] = b"v=0\r\no=b 1 1 IN IP4 192.0.2.2\r\ns=-\r\nt=0 0\r\nm=audio 5000 RTP/AVP 8\r\nc=IN IP4 192.0.2.2\r\n";
        let both = joined(&[(a, Some(b)), (b, Some(a))]).expect("valid");
        let both = String::from_utf8(both).expect("text");
        let media = both.split_once("m=").expect("media").1;
        assert_eq!(
            media,
            "audio 4000 RTP/AVP 8\r\nc=IN IP4 192.0.2.1\r\na=rtpmap:8 PCMA/8000\r\n\
             m=audio 5000 RTP/AVP 8\r\nc=IN IP4 192.0.2.2\r\na=rtpmap:8 PCMA/8000\r\n"
        );
        let streams = Description::parse(both.as_bytes())
            .expect("valid")
            .streams();
        let at: Vec<_> = streams
            .expect("valid")
            .iter()
            .map(|stream| stream.rtp)
            .collect();
        assert_eq!(
            at,
            ["192.0.2.1:4000", "192.0.2.2:5000"].map(|at| at.parse().ok())
        );
        assert_eq!(joined(&[]), None);
    }
}
