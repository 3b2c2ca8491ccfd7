//! Offers and answers: from options to the session engine and back.

use std::sync::Arc;

use super::book::{CallNumber, Dialogue, MOST_DIALOGUES, Party};
use super::door::{Asker, Done, Due, Hands, Ng, Waiting};
use super::quality;
use super::reply;
use super::request::{Exchange, Options, Parties};
use super::shape::{self, Turn};
use super::value::Dictionary;
use crate::sdp::Description;
use crate::session::{LegSpec, Rewritten, SessionError, SessionId, Side};
use crate::settings::{CodecRules, MediaGroupId};

/// Why an exchange came to nothing.
enum Refusal {
    Engine(SessionError),
    Text(&'static str),
    /// No new calls.
    Limited(&'static str),
}

impl From<SessionError> for Refusal {
    fn from(error: SessionError) -> Self {
        Self::Engine(error)
    }
}

/// Where an offer goes.
struct Place {
    number: CallNumber,
    index: usize,
    side: Side,
    is_new: bool,
}

impl Ng {
    pub(super) fn offer(
        &mut self,
        hands: &mut Hands<'_>,
        asker: &Asker,
        exchange: Exchange,
    ) -> Done {
        let Exchange {
            parties,
            sdp,
            options,
        } = exchange;
        if options.loop_protect && self.has_passed(&sdp) {
            return Done::Reply(with_sdp(sdp, Dictionary::new()));
        }
        let Ok(description) = Description::parse(&sdp) else {
            return Done::Reply(reply::error(reply::FAILED_TO_PARSE));
        };
        let place = match self.place(hands, &parties, &options) {
            Ok(place) => place,
            Err(refusal) => return Done::Reply(self.refused(refusal, &options)),
        };
        let body = (description, sdp.into());
        let offered = self.make_offer(hands, &place, body, &parties, &options);
        match offered {
            Ok((session, rewritten)) => {
                self.ask_also(hands, place.number, &options);
                self.say(
                    hands,
                    asker,
                    session,
                    rewritten,
                    place.is_new,
                    Dictionary::new(),
                )
            }
            Err(refusal) => {
                if place.is_new {
                    let session = self.session_at(&place);
                    session
                        .into_iter()
                        .for_each(|session| self.close(hands, session));
                }
                Done::Reply(self.refused(refusal, &options))
            }
        }
    }

    pub(super) fn answer(
        &mut self,
        hands: &mut Hands<'_>,
        asker: &Asker,
        exchange: Exchange,
    ) -> Done {
        let Exchange {
            parties,
            sdp,
            options,
        } = exchange;
        let Some(number) = self.call_of(&parties) else {
            return Done::Reply(reply::error(reply::UNKNOWN_CALL));
        };
        let Ok(description) = Description::parse(&sdp) else {
            return Done::Reply(reply::error(reply::FAILED_TO_PARSE));
        };
        let body = (description, sdp.into());
        match self.make_answer(hands, number, body, &parties, &options) {
            Ok((session, rewritten)) => {
                self.ask_also(hands, number, &options);
                self.say(hands, asker, session, rewritten, false, Dictionary::new())
            }
            Err(refusal) => Done::Reply(self.refused(refusal, &options)),
        }
    }

    /// The dialogue that an offer belongs to, made if it is new.
    fn place(
        &mut self,
        hands: &mut Hands<'_>,
        parties: &Parties,
        options: &Options,
    ) -> Result<Place, Refusal> {
        let known = self
            .call_of(parties)
            .and_then(|number| self.book.get(number));
        if let Some(call) = known
            && let Some((index, side)) = call.of_offer(parties)
        {
            let number = call.number;
            return Ok(Place {
                number,
                index,
                side,
                is_new: false,
            });
        }
        if known.is_some_and(|call| call.dialogues.len() >= MOST_DIALOGUES) {
            return Err(Refusal::Text("Too many branches in one call"));
        }
        if known.is_none() && !hands.open {
            return Err(Refusal::Limited("Draining: no new calls"));
        }
        let is_call = known.is_none();
        let groups = match &options.direction {
            Some(names) => [0, 1].map(|side: usize| self.policy.group(&names[side])),
            None => [self.policy.media; 2],
        };
        let receiver = shape::family(options);
        let leg = |group: MediaGroupId, family| LegSpec {
            group,
            family,
            codecs: Arc::clone(&NO_RULES),
        };
        let (a, b) = (leg(groups[0], None), leg(groups[1], receiver));
        let session = hands.engine.open(hands.now, a, b)?;
        hands.engine.set_patience(session, self.policy.patience);
        let tag = |tag: &Option<Vec<u8>>| tag.clone().filter(|tag| !tag.is_empty());
        let dialogue = Dialogue {
            session,
            via_branch: tag(&parties.via_branch),
            parties: [
                Party::new(tag(&parties.from_tag), hands.now),
                Party::new(tag(&parties.to_tag), hands.now),
            ],
            offerer: Side::A,
            heard: quality::Heard::default(),
        };
        if let Some(longest) = self.policy.offer_timeout {
            self.due.set(Due::Unanswered(session), hands.now + longest);
        }
        let number = self.book.add(&parties.call_id, dialogue, hands.now);
        if is_call {
            self.counters.calls += 1;
            if let Some(longest) = self.policy.final_timeout {
                self.due.set(Due::Final(number), hands.now + longest);
            }
        }
        let index = self
            .book
            .get(number)
            .map_or(0, |call| call.dialogues.len() - 1);
        Ok(Place {
            number,
            index,
            side: Side::A,
            is_new: true,
        })
    }

    fn session_at(&self, place: &Place) -> Option<SessionId> {
        let call = self.book.get(place.number)?;
        call.dialogues
            .get(place.index)
            .map(|dialogue| dialogue.session)
    }

    fn make_offer(
        &mut self,
        hands: &mut Hands<'_>,
        place: &Place,
        (mut description, said): (Description, Box<[u8]>),
        parties: &Parties,
        options: &Options,
    ) -> Result<(SessionId, Rewritten), Refusal> {
        let window = self.policy.learn;
        let protect = options.loop_protect.then(|| self.protection());
        let call = self
            .book
            .get_mut(place.number)
            .ok_or(Refusal::Text(reply::UNKNOWN_CALL))?;
        call.signalled = hands.now;
        call.metadata = options.metadata.clone().or(call.metadata.take());
        let dialogue = call
            .dialogues
            .get_mut(place.index)
            .ok_or(Refusal::Text(reply::UNKNOWN_CALL))?;
        let (session, side) = (dialogue.session, place.side);
        if let Some(to) = parties.to_tag.as_deref().filter(|tag| !tag.is_empty()) {
            dialogue.party_mut(side.other()).take_tag(to);
        }
        label(dialogue.party_mut(side), parties);
        shape::edit(
            &mut description,
            options,
            Turn::Offer,
            dialogue.party_mut(side.other()),
        );
        if let Some(protection) = protect {
            description.add_session_attribute(&protection);
        }
        let terms = shape::terms(&description, options, Turn::Offer, &[], window)
            .map_err(|_| Refusal::Text(NO_SRTP))?;
        // Whoever offers has not heard of the other's offer, or does not care for it any more.
        if hands.engine.awaits_answer(session, side.other()) {
            hands.engine.reject_offer(hands.now, session)?;
        }
        let protocols = description.protocols();
        let rewritten = hands
            .engine
            .offer_on(hands.now, session, side, description, &terms)?;
        dialogue.party_mut(side).protocols = protocols;
        dialogue.offerer = side;
        self.heard(place.number, place.index, side, said);
        Ok((session, rewritten))
    }

    fn make_answer(
        &mut self,
        hands: &mut Hands<'_>,
        number: CallNumber,
        (mut description, said): (Description, Box<[u8]>),
        parties: &Parties,
        options: &Options,
    ) -> Result<(SessionId, Rewritten), Refusal> {
        let window = self.policy.learn;
        let call = self
            .book
            .get_mut(number)
            .ok_or(Refusal::Text(reply::UNKNOWN_CALL))?;
        let index = call
            .of_answer(parties)
            .ok_or(Refusal::Text(reply::UNKNOWN_CALL))?;
        call.signalled = hands.now;
        call.metadata = options.metadata.clone().or(call.metadata.take());
        let dialogue = &mut call.dialogues[index];
        let (session, offerer) = (dialogue.session, dialogue.offerer);
        shape::edit(
            &mut description,
            options,
            Turn::Answer,
            dialogue.party_mut(offerer),
        );
        let offered = &dialogue.party(offerer).protocols;
        let terms = shape::terms(&description, options, Turn::Answer, offered, window)
            .map_err(|_| Refusal::Text(NO_SRTP))?;
        let side = offerer.other();
        let rewritten = hands
            .engine
            .answer_on(hands.now, session, side, description, &terms)?;
        hands.engine.establish(hands.now, session);
        self.due.clear(Due::Unanswered(session));
        self.due.set(Due::Look(number), hands.now + quality::LOOK);
        let answerer = dialogue.party_mut(side);
        if let Some(to) = parties.to_tag.as_deref().filter(|tag| !tag.is_empty()) {
            answerer.take_tag(to);
        }
        label(answerer, parties);
        self.heard(number, index, side, said);
        Ok((session, rewritten))
    }

    /// A party has said something new.
    fn heard(&mut self, number: CallNumber, index: usize, side: Side, said: Box<[u8]>) {
        self.describe_recording(number, "SDP", &said);
        let Some(call) = self.book.get_mut(number) else {
            return;
        };
        call.deleted = false;
        if let Some(dialogue) = call.dialogues.get_mut(index) {
            dialogue.party_mut(side).said = said;
            self.due.clear(Due::Close(dialogue.session));
        }
    }

    /// What an exchange asks for beside what its body says.
    fn ask_also(&mut self, hands: &mut Hands<'_>, number: CallNumber, options: &Options) {
        match options.record {
            Some(true) => {
                if let Done::Reply(refused) = self.start_recording(hands, number, None)
                    && refused.get(b"result") == Some(&"error".into())
                {
                    tracing::warn!("record-call, but it is not said where recordings go");
                    self.counters.not_recorded += 1;
                }
            }
            Some(false) => self.stop_recording(hands, number),
            // A new branch of a call is tapped like the others.
            None => self.set_taps(hands, number),
        }
        self.check_plays(hands, number);
        let Some(drops) = options.drop_traffic else {
            return;
        };
        let call = self.book.get(number);
        for (session, side) in call.map_or_else(Vec::new, |call| call.targets(|_, _| true)) {
            hands
                .engine
                .handle_media(hands.now, session, side, |handling| {
                    handling.dropped = drops
                });
        }
    }

    /// The reply with the body: when every worker has the flows that it announces.
    pub(super) fn say(
        &mut self,
        hands: &Hands<'_>,
        asker: &Asker,
        session: SessionId,
        rewritten: Rewritten,
        is_new: bool,
        named: Dictionary,
    ) -> Done {
        let reply = with_sdp(rewritten.sdp, named);
        let Some(ticket) = rewritten.ticket else {
            return Done::Reply(reply);
        };
        debug_assert!(
            hands.engine.describe(session).is_some(),
            "it has just spoken"
        );
        self.waiting.insert(
            ticket,
            Waiting {
                asker: asker.clone(),
                reply,
                session,
                is_new,
                also: Vec::new(),
            },
        );
        Done::Later
    }

    fn refused(&mut self, refusal: Refusal, options: &Options) -> Dictionary {
        let supports = options.supports_load_limit;
        if matches!(
            refusal,
            Refusal::Limited(_) | Refusal::Engine(SessionError::TooManySessions)
        ) {
            self.counters.limited += 1;
        }
        match refusal {
            Refusal::Engine(error) => reply::refused(&error, supports),
            Refusal::Text(text) => reply::error(text),
            Refusal::Limited(why) => reply::limited(why, supports),
        }
    }

    /// The attribute that shows that a body has passed here.
    fn protection(&self) -> String {
        format!("{PROTECTION}:{}", self.instance)
    }

    fn has_passed(&self, sdp: &[u8]) -> bool {
        let Ok(description) = Description::parse(sdp) else {
            return false;
        };
        let value = description.session_attribute(PROTECTION);
        value.is_some_and(|value| value == self.instance.as_bytes())
    }
}

/// The name of rtpengine's own attribute: proxies that look for it find it.
const PROTECTION: &str = "rtpengine";

const NO_SRTP: &str = "Encryption is not translated: transport-protocol asks for it";

pub(super) static NO_RULES: std::sync::LazyLock<Arc<CodecRules>> =
    std::sync::LazyLock::new(Arc::default);

fn with_sdp(sdp: Vec<u8>, named: Dictionary) -> Dictionary {
    let mut told = Dictionary::new().with("sdp", sdp);
    told.extend(named);
    told.with("result", "ok")
}

fn label(party: &mut Party, parties: &Parties) {
    let said = parties.set_label.clone().or_else(|| parties.label.clone());
    party.label = said.or(party.label.take());
}
