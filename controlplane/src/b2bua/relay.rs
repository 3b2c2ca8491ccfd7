//! Requests within the dialog that pass from one side to the other: re-INVITE, UPDATE, PRACK, INFO,
//! MESSAGE, NOTIFY, REFER, SUBSCRIBE.
//!
//! Each is a transaction on either leg, joined by a [`Relay`]. One that carries an offer waits for its
//! flows, and so does the answer. A failure puts the session back to what it was.

mod ends;
mod prack;

use crate::session::{Rewritten, SessionError, Side};
use crate::sip::typed::{RAck, SessionExpires};
use crate::sip::{HeaderName, Message, Method, StatusCode};
use crate::transaction::{ClientKey, ServerKey};

use super::admission::Refusal;
use super::call::{Call, code_of};
use super::context::Context;
use super::ending::Cause;
use super::held::Then;
use super::late_answers;
use super::{CallState, passing, transfer};

/// How many requests of one call may be on their way. A dialog has one INVITE at a time and INFOs follow
/// key presses: more than a few unanswered ones mean that the other side does not keep up.
const MAX_RELAYS: usize = 8;

/// The longest body that passes within a dialog. Session descriptions are the longest there are: a few KB. What is
/// longer is a file, which has no place in signalling.
const MAX_BODY: usize = 16 * 1024;

/// A relay within its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RelayId(u32);

/// One request on its way from one side to the other.
#[derive(Debug)]
pub(super) struct Relay {
    id: RelayId,
    /// Who asked.
    from: Side,
    method: Method,
    /// The caller's tag of its pair.
    tag: String,
    server: ServerKey,
    request: Message,
    /// The transaction of the request on the other leg, once it is out.
    client: Option<ClientKey>,
    /// What it asks there of the session timer.
    asked: Option<SessionExpires>,
    /// What a PRACK acknowledges on the other leg.
    rack: Option<RAck>,
    offer: Offer,
    phase: Phase,
}

/// Where a relayed request has its session descriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Offer {
    /// There are none.
    None,
    /// The request offers, its 2xx answers.
    InRequest,
    /// The 2xx to an INVITE offers, the ACK answers.
    InResponse,
    /// A PRACK answers the offer of the response that it acknowledges.
    Answer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The other side has not answered.
    Pending,
    /// The same, and the one who asked has sent CANCEL.
    Cancelled,
    /// The 2xx is here; the flows that it announces are not.
    Answered,
    /// The one who asked has its 2xx and is to acknowledge it.
    AwaitsAck,
}

impl Relay {
    /// Whether the dialog is taken for gone when nobody answers.
    const fn keeps_alive(&self) -> bool {
        !matches!(
            self.method,
            Method::Info
                | Method::Message
                | Method::Notify
                | Method::Prack
                | Method::Refer
                | Method::Subscribe
        )
    }
}

impl Call {
    /// The INVITE of who has a place by Replaces is answered, and waits for its ACK; `asked` is the re-INVITE whose offer
    /// that is to answer.
    pub(super) fn await_ack(
        &mut self,
        from: Side,
        server: ServerKey,
        request: Message,
        asked: Option<ClientKey>,
    ) {
        let tag = self.pairs.first();
        let tag = tag.map_or_else(String::new, |pair| pair.caller.local_tag().to_owned());
        let id = RelayId(self.next_relay);
        self.next_relay = self.next_relay.wrapping_add(1);
        self.relays.push(Relay {
            id,
            from,
            method: Method::Invite,
            tag,
            server,
            request,
            client: asked,
            asked: None,
            rack: None,
            offer: match asked {
                Some(_) => Offer::InResponse,
                None => Offer::InRequest,
            },
            phase: Phase::AwaitsAck,
        });
    }

    /// Takes a request that passes from one side; the dialog and the number have been checked.
    pub(super) fn begin_relay(
        &mut self,
        cx: &mut Context,
        from: Side,
        place: usize,
        key: ServerKey,
        request: Message,
    ) {
        let Some(method) = request.method().cloned() else {
            return;
        };
        if self.is_in_transfer() && passing::sdp_of(&request).is_none() && method == Method::Update
        {
            return self.answer_refresh(cx, from, key, &request);
        }
        if let Some(code) = self.in_the_way(&method, from) {
            return cx.refuse(key, &request, code);
        }
        if request.body.len() > MAX_BODY {
            return cx.refuse(key, &request, StatusCode::REQUEST_ENTITY_TOO_LARGE);
        }
        if let Some(least) = self.interval_in_the_way(cx, from, &request) {
            return Refusal::interval(least).send(cx, key, &request);
        }
        let sdp = match method {
            Method::Invite | Method::Update => passing::sdp_of(&request),
            _ => None,
        };
        // An INVITE without description asks the other side for an offer.
        let exchanges = sdp.is_some() || method == Method::Invite;
        if let Some(code) = self.offer_in_the_way(place, from).filter(|_| exchanges) {
            return cx.refuse(key, &request, code);
        }
        let offered = match sdp.map(|sdp| self.offer_in(cx, place, from, sdp)) {
            Some(Ok(rewritten)) => Some(rewritten),
            Some(Err(error)) => {
                let code = code_of(cx, &error);
                return cx.refuse(key, &request, in_dialog(code));
            }
            None => None,
        };
        let offer = match (&offered, &method) {
            (Some(_), _) => Offer::InRequest,
            (None, Method::Invite) => Offer::InResponse,
            _ => Offer::None,
        };
        let id = RelayId(self.next_relay);
        self.next_relay = self.next_relay.wrapping_add(1);
        cx.index.add_server(key, self.id);
        self.relays.push(Relay {
            id,
            from,
            method,
            tag: self
                .pairs
                .get(place)
                .map_or_else(String::new, |pair| pair.caller.local_tag().to_owned()),
            server: key,
            request,
            client: None,
            asked: None,
            rack: None,
            offer,
            phase: Phase::Pending,
        });
        match offered {
            Some(Rewritten { sdp, ticket }) => {
                self.when_ready(cx, ticket, Then::Forward(id, Some(sdp)));
            }
            None => self.forward(cx, id, None),
        }
    }

    /// Why a request cannot be passed on now.
    fn in_the_way(&self, method: &Method, from: Side) -> Option<StatusCode> {
        if self.relays.len() >= MAX_RELAYS {
            return Some(StatusCode::SERVER_INTERNAL_ERROR);
        }
        match self.state() {
            CallState::Cancelling | CallState::Ending | CallState::Over => {
                return Some(StatusCode::NO_SUCH_CALL);
            }
            CallState::Established => {}
            _ if *method == Method::Invite => return Some(StatusCode::REQUEST_PENDING),
            _ => {}
        }
        if let Some(code) = self.transfer_in_the_way(method, from) {
            return Some(code);
        }
        let mut invites = self
            .relays
            .iter()
            .filter(|relay| relay.method == Method::Invite);
        match invites.next() {
            // RFC 3261 §14.2: ours is out, or theirs is not answered yet.
            Some(other) if *method == Method::Invite => Some(match other.from == from {
                true => StatusCode::SERVER_INTERNAL_ERROR,
                false => StatusCode::REQUEST_PENDING,
            }),
            _ => None,
        }
    }

    /// Why an offer cannot be made now (RFC 3311 §5.2).
    fn offer_in_the_way(&self, place: usize, from: Side) -> Option<StatusCode> {
        let talk = &self.pairs.get(place)?.talk;
        let mut relays = self.relays.iter();
        let late = relays.find(|relay| relay.offer == Offer::InResponse);
        let awaited = match talk.is_complete() {
            true => late.map(|relay| relay.from.other()),
            // The callee's response brings the offer.
            false => (!self.has_offer()).then_some(Side::B),
        };
        let open = talk.open().or(awaited)?;
        // What this side has the answer to may still wait for it on the other.
        let owes = talk.is_complete() || !talk.is_settled(from);
        Some(match open == from && owes {
            true => StatusCode::SERVER_INTERNAL_ERROR,
            false => StatusCode::REQUEST_PENDING,
        })
    }

    /// Sends the request on the other leg.
    pub(super) fn forward(&mut self, cx: &mut Context, id: RelayId, sdp: Option<Vec<u8>>) {
        let known = self.relays.iter().find(|relay| relay.id == id);
        let Some(to) = known.map(|relay| relay.from.other()) else {
            return;
        };
        let way = (self.trunk(to.other()), self.trunk(to));
        let policy = self.relayed_timer(cx, to);
        let Some(relay) = self.relays.iter_mut().find(|relay| relay.id == id) else {
            return;
        };
        let trunk = match (to, &self.attempt) {
            (Side::B, Some(attempt)) => attempt.target.trunk,
            _ => self.caller.trunk,
        };
        let Some(pair) = self
            .pairs
            .iter_mut()
            .find(|pair| pair.caller.local_tag() == relay.tag)
        else {
            return self.fail_relay(cx, id, StatusCode::NO_SUCH_CALL);
        };
        let dialog = pair.dialog_mut(to);
        let mut message = dialog.request(relay.method.clone());
        let number = dialog.local_cseq();
        let listener = cx.path_of(trunk, dialog).listener;
        if let Ok(Some(hops)) = relay.request.max_forwards() {
            let hops = hops.saturating_sub(1).to_string();
            message.headers.set(HeaderName::MaxForwards, hops);
        }
        match relay.method {
            Method::Invite | Method::Update => {
                cx.introduce(&mut message, listener);
                if let Some(policy) = policy {
                    self.timers.ask(to, &policy, &relay.request, &mut message);
                    relay.asked = message.session_expires().ok();
                }
            }
            Method::Prack => cx.sign(&mut message),
            Method::Refer | Method::Notify | Method::Subscribe => {
                cx.introduce(&mut message, listener);
                transfer::complete(&relay.request, &mut message);
            }
            _ => {
                cx.sign(&mut message);
                passing::pass_body(&relay.request, &mut message);
            }
        }
        if let Some(rack) = &relay.rack {
            message.headers.push(HeaderName::RAck, rack.to_string());
        }
        passing::pass(&relay.request, &mut message);
        self.referrals.translate(relay.from, &mut message);
        cx.cross(way, &relay.request, &mut message);
        cx.withhold_credentials(trunk, &mut message);
        if let Some(sdp) = sdp {
            passing::set_sdp(&mut message, sdp);
        }
        match cx.request_within(Some(self.id), trunk, dialog, message) {
            Ok(key) => {
                relay.client = Some(key);
                self.referrals.note(relay.from, &relay.request, number, key);
                if relay.offer == Offer::Answer {
                    self.answer_is_out(cx, id);
                }
            }
            Err(_) => self.fail_relay(cx, id, StatusCode::SERVER_INTERNAL_ERROR),
        }
    }

    /// A response to a request that was passed on.
    pub(super) fn on_relay_response(
        &mut self,
        cx: &mut Context,
        key: ClientKey,
        response: &Message,
    ) {
        let Some(place) = self.relay_of(key) else {
            return;
        };
        let (Some(code), Some(relay)) = (response.code(), self.relays.get(place)) else {
            return;
        };
        if matches!(relay.phase, Phase::Answered | Phase::AwaitsAck) {
            return;
        }
        if code.is_provisional() {
            if relay.method == Method::Invite && code != StatusCode::TRYING {
                let mut passed = passing::response(&relay.request, None, response);
                cx.introduce(&mut passed, self.dialog_path(relay).listener);
                cx.cross(self.way_from(relay.from.other()), response, &mut passed);
                cx.respond(relay.server, passed);
            }
            return;
        }
        if code.is_success() {
            return self.on_relay_success(cx, place, response);
        }
        if code == StatusCode::INTERVAL_TOO_SMALL && self.learn_least(cx, place, response) {
            return;
        }
        let relay = self.relays.remove(place);
        let mut passed = passing::response(&relay.request, None, response);
        cx.sign(&mut passed);
        cx.cross(self.way_from(relay.from.other()), response, &mut passed);
        cx.respond(relay.server, passed);
        self.take_offer_back(cx, &relay);
        self.end_if_gone(cx, &relay, code);
    }

    /// No response came, or the request could not be sent.
    pub(super) fn on_relay_lost(&mut self, cx: &mut Context, key: ClientKey, code: StatusCode) {
        let Some(relay) = self.relay_of(key).and_then(|place| self.relays.get(place)) else {
            return;
        };
        let id = relay.id;
        match relay.phase {
            Phase::Pending => {
                let gone = relay.keeps_alive();
                self.fail_relay(cx, id, in_dialog(code));
                if gone {
                    self.peer_gone(cx);
                }
            }
            Phase::Cancelled => self.fail_relay(cx, id, StatusCode::REQUEST_TERMINATED),
            Phase::Answered | Phase::AwaitsAck => {}
        }
    }

    fn on_relay_success(&mut self, cx: &mut Context, place: usize, response: &Message) {
        if let Some(relay) = self.relays.get_mut(place) {
            relay.phase = Phase::Answered;
        }
        let Some(relay) = self.relays.get(place) else {
            return;
        };
        let (id, offer, from, tag) = (relay.id, relay.offer, relay.from, relay.tag.clone());
        let mut passed = passing::response(&relay.request, None, response);
        let listener = self.dialog_path(relay).listener;
        match relay.method {
            Method::Invite | Method::Update => {
                cx.introduce(&mut passed, listener);
                cx.cross(self.way_from(from.other()), response, &mut passed);
                self.refresh_targets(place, response);
                self.time_relayed(cx, place, response, &mut passed);
            }
            Method::Prack => {
                cx.sign(&mut passed);
                cx.cross(self.way_from(from.other()), response, &mut passed);
            }
            _ => {
                cx.sign(&mut passed);
                cx.cross(self.way_from(from.other()), response, &mut passed);
                passing::pass_body(response, &mut passed);
            }
        }
        if offer != Offer::InResponse {
            self.acknowledge_relay(cx, id, None);
        }
        if matches!(offer, Offer::None | Offer::Answer) {
            return self.respond_relay(cx, id, passed);
        }
        match self.describe_success(cx, offer, from, &tag, response) {
            Ok(rewritten) => {
                passing::set_sdp(&mut passed, rewritten.sdp);
                self.when_ready(cx, rewritten.ticket, Then::Respond(id, passed));
            }
            // The side that was asked has changed already what the other will never know of.
            Err(cause) => {
                self.fail_relay(cx, id, StatusCode::BAD_GATEWAY);
                self.hang_up(cx, cause);
            }
        }
    }

    fn describe_success(
        &mut self,
        cx: &mut Context,
        offer: Offer,
        from: Side,
        tag: &str,
        response: &Message,
    ) -> Result<Rewritten, Cause> {
        let sdp = passing::sdp_of(response).ok_or(Cause::NoDescription)?;
        let place = self.place_of(tag).ok_or(Cause::Broken)?;
        let rewritten: Result<Rewritten, SessionError> = match offer {
            Offer::InResponse => self.offer_in(cx, place, from.other(), sdp),
            _ => self.answer_in(cx, place, from.other(), sdp),
        };
        rewritten.map_err(|error| {
            code_of(cx, &error);
            Cause::BadDescription
        })
    }

    /// Answers the one who asked with the other side's 2xx.
    pub(super) fn respond_relay(&mut self, cx: &mut Context, id: RelayId, response: Message) {
        let Some(place) = self.relays.iter().position(|relay| relay.id == id) else {
            return;
        };
        let Some(relay) = self.relays.get_mut(place) else {
            return;
        };
        let taken = cx.respond(relay.server, response);
        let (offer, tag) = (relay.offer, relay.tag.clone());
        match relay.method {
            Method::Invite => relay.phase = Phase::AwaitsAck,
            _ => {
                self.relays.remove(place);
            }
        }
        if !taken {
            return self.hang_up(cx, Cause::Broken);
        }
        if let Some(place) = self.place_of(&tag).filter(|_| offer == Offer::InRequest) {
            self.conclude_offer(cx, place);
        }
    }

    /// The ACK for a re-INVITE's 2xx came.
    pub(super) fn on_relay_ack(&mut self, cx: &mut Context, key: ServerKey, ack: &Message) {
        let Some(place) = self.relays.iter().position(|relay| relay.server == key) else {
            return;
        };
        let Some(relay) = self.relays.get(place) else {
            return;
        };
        if relay.offer != Offer::InResponse {
            self.relays.remove(place);
            return;
        }
        let (id, from) = (relay.id, relay.from);
        let Some(sdp) = passing::sdp_of(ack) else {
            return self.hang_up(cx, Cause::NoDescription);
        };
        match self.answer_in(cx, 0, from, sdp) {
            Ok(rewritten) => {
                let then = Then::AcknowledgeRelay(id, rewritten.sdp);
                self.when_ready(cx, rewritten.ticket, then);
            }
            Err(error) => {
                code_of(cx, &error);
                self.hang_up(cx, Cause::BadDescription);
            }
        }
    }

    /// Acknowledges a re-INVITE's 2xx; with a session description that ends the relay.
    pub(super) fn acknowledge_relay(
        &mut self,
        cx: &mut Context,
        id: RelayId,
        sdp: Option<Vec<u8>>,
    ) {
        let Some(place) = self.relays.iter().position(|relay| relay.id == id) else {
            return;
        };
        let Some(relay) = self.relays.get(place) else {
            return;
        };
        let (Method::Invite, Some(key)) = (&relay.method, relay.client) else {
            return;
        };
        let to = relay.from.other();
        let trunk = self.trunk(to);
        let Some(pair) = self.pairs.first() else {
            return;
        };
        let answers = sdp.is_some();
        let sent = late_answers::acknowledge(cx, key, trunk, pair.dialog(to), sdp);
        if !answers {
            return;
        }
        self.relays.remove(place);
        match sent {
            true => self.conclude_offer(cx, 0),
            false => self.hang_up(cx, Cause::Broken),
        }
    }

    /// The session timers' part in a 2xx that passes from one leg to the other: each leg agrees for itself.
    fn time_relayed(
        &mut self,
        cx: &mut Context,
        place: usize,
        response: &Message,
        passed: &mut Message,
    ) {
        let Some(relay) = self.relays.get(place) else {
            return;
        };
        let (from, asked) = (relay.from, relay.asked);
        let (Some(near), Some(far)) = (
            self.relayed_timer(cx, from),
            self.relayed_timer(cx, from.other()),
        ) else {
            return;
        };
        let Some(relay) = self.relays.get(place) else {
            return;
        };
        self.timers
            .learn(from.other(), &far, cx.now, asked, response);
        self.timers
            .answer(from, &near, cx.now, &relay.request, (response, passed));
        self.start_timers(cx);
    }

    /// The other side wants a longer interval than holds between it and us: the next request asks for that. False
    /// where the interval is not ours to agree on.
    fn learn_least(&mut self, cx: &mut Context, place: usize, response: &Message) -> bool {
        let Some(relay) = self.relays.get(place) else {
            return false;
        };
        let (id, to) = (relay.id, relay.from.other());
        if !self.takes_least(cx, to, response) {
            return false;
        }
        self.fail_relay(cx, id, StatusCode::SERVER_INTERNAL_ERROR);
        true
    }

    /// Whether an offer is on its way, or an INVITE, which may bring one.
    pub(super) fn exchanges(&self) -> bool {
        let mut open = self.pairs.iter().filter_map(|pair| pair.talk.open());
        let mut relays = self.relays.iter();
        self.transfer.is_some()
            || self.lent.is_some()
            || open.next().is_some()
            || relays.any(|relay| relay.method == Method::Invite)
    }

    /// A target refresh has been agreed on: both sides' Contacts hold.
    fn refresh_targets(&mut self, place: usize, response: &Message) {
        let Some(relay) = self.relays.get(place) else {
            return;
        };
        let pair = self
            .pairs
            .iter_mut()
            .find(|pair| pair.caller.local_tag() == relay.tag);
        if let Some(pair) = pair {
            pair.dialog_mut(relay.from).refresh_target(&relay.request);
            pair.dialog_mut(relay.from.other()).refresh_target(response);
        }
    }

    fn relay_of(&self, key: ClientKey) -> Option<usize> {
        self.relays
            .iter()
            .position(|relay| relay.client == Some(key))
    }

    fn dialog_path(&self, relay: &Relay) -> crate::transaction::Path {
        self.pairs
            .iter()
            .find(|pair| pair.caller.local_tag() == relay.tag)
            .map_or(self.caller.path, |pair| pair.dialog(relay.from).path())
    }
}

/// Within a dialog 503 would say that the whole appliance is out of service.
pub(super) fn in_dialog(code: StatusCode) -> StatusCode {
    match code {
        StatusCode::SERVICE_UNAVAILABLE => StatusCode::SERVER_INTERNAL_ERROR,
        other => other,
    }
}
