//! Picking a call up that rings (RFC 3891 §7.1): an INVITE with Replaces that names the dialog of a callee that has not
//! answered yet. Its sender answers the caller in that one's place.
//!
//! ```text
//!   caller          tandem            callee that rings        newcomer
//!     │── INVITE, offer ►│── INVITE, offer ──►│                    │
//!     │◄─ 180 ───────────│◄─ 180 ─────────────│                    │
//!     │                  │◄──────────────────── INVITE, Replaces ──│  its offer is the answer for the caller,
//!     │                  │─── CANCEL ────────►│                    │  the caller's offer the answer for it
//!     │◄─ 200 ───────────│──────────────────────────────── 200 ───►│
//! ```
//!
//! Both have made an offer, and an answer may list more than the offer did as long as something is in both (RFC 3264
//! §6.1). Until the flows are there the callee rings on.

use crate::dialog::Dialog;
use crate::records::Outcome;
use crate::session::{Rewritten, SessionId, SessionView, Side};
use crate::sip::{Header, HeaderName, Message, StatusCode};
use crate::story::What;
use crate::transaction::ServerKey;

use super::super::answers::FIRST_RSEQ;
use super::super::call::{Attempt, Call, Pair, code_of};
use super::super::context::Context;
use super::super::held::Then;
use super::super::index::Owner;
use super::super::late_answers::LateAnswers;
use super::super::negotiation::{Focus, Talk};
use super::super::reliable::{Incoming, Outgoing};
use super::super::{CallState, Trigger, passing};
use super::takeover::Applicant;

/// A newcomer that waits for its flows.
#[derive(Debug)]
pub(in crate::b2bua) struct PickUp {
    applicant: Applicant,
    /// The media between it and the caller.
    session: SessionId,
    /// What each is told.
    for_newcomer: Vec<u8>,
    for_caller: Vec<u8>,
}

impl Call {
    /// The newcomer is to have the place of the callee that rings.
    pub(super) fn pick_up(&mut self, cx: &mut Context, applicant: Applicant) {
        let call_id = applicant.invite.call_id().unwrap_or_default();
        cx.stories.claim(self.id, &call_id);
        cx.counters.transfers_begun += 1;
        let note = What::Note("INVITE with Replaces: its sender picks the call up");
        cx.stories.tell(cx.now, self.id, note);
        let session = match self.open_pick_up(cx, &applicant) {
            Ok(session) => session,
            Err(code) => return self.refuse_pick_up(cx, applicant, code),
        };
        match self.describe_pick_up(cx, session, &applicant) {
            Ok((for_newcomer, Rewritten { sdp, ticket })) => {
                self.pickup = Some(Box::new(PickUp {
                    applicant,
                    session,
                    for_newcomer,
                    for_caller: sdp,
                }));
                self.when_ready(cx, ticket, Then::PickUp);
            }
            Err(code) => {
                cx.close_session(session);
                self.refuse_pick_up(cx, applicant, code);
            }
        }
    }

    fn refuse_pick_up(&mut self, cx: &mut Context, applicant: Applicant, code: StatusCode) {
        cx.counters.transfers_failed += 1;
        self.turn_away(cx, applicant, code);
    }

    fn open_pick_up(
        &mut self,
        cx: &mut Context,
        applicant: &Applicant,
    ) -> Result<SessionId, StatusCode> {
        let busy = self.state() != CallState::Ringing || self.pickup.is_some();
        if busy {
            return Err(StatusCode::REQUEST_PENDING);
        }
        let caller = cx.leg_spec(self.caller.trunk, self.caller.path);
        let theirs = cx.leg_spec(applicant.trunk, applicant.path);
        let opened = cx.engine.open(cx.now, caller, theirs);
        let session = opened.map_err(|error| code_of(cx, &error))?;
        cx.index.add_session(session, self.id);
        if let Some(former) = self.session {
            cx.engine.carry_name((former, Side::A), (session, Side::A));
        }
        Ok(session)
    }

    /// Each one's offer as the other's answer; 488 where one has made none, or nothing is in both.
    fn describe_pick_up(
        &mut self,
        cx: &mut Context,
        session: SessionId,
        applicant: &Applicant,
    ) -> Result<(Vec<u8>, Rewritten), StatusCode> {
        let (Some(offer), Some(theirs)) = (
            passing::sdp_of(&self.caller.invite),
            passing::sdp_of(&applicant.invite),
        ) else {
            return Err(StatusCode::NOT_ACCEPTABLE_HERE);
        };
        let offered = cx.engine.offer(cx.now, session, Side::A, offer);
        let offered = offered.map_err(|error| code_of(cx, &error))?;
        let answered = cx.engine.answer(cx.now, session, Side::B, theirs);
        // What does not fit as an answer is no fault of the newcomer's: it has made an offer.
        let answered = answered.map_err(|error| match code_of(cx, &error) {
            StatusCode::BAD_REQUEST => StatusCode::NOT_ACCEPTABLE_HERE,
            code => code,
        })?;
        let view = cx.engine.describe(session);
        match view.is_some_and(|view| agrees(&view)) {
            true => Ok((offered.sdp, answered)),
            false => Err(StatusCode::NOT_ACCEPTABLE_HERE),
        }
    }

    /// The flows are there: the callee is cancelled, and both get their 2xx.
    pub(in crate::b2bua) fn picked_up(&mut self, cx: &mut Context) {
        let Some(pickup) = self.pickup.take() else {
            return;
        };
        let invite = &pickup.applicant.invite;
        let answer = passing::sdp_of(invite).unwrap_or_default();
        let tag = cx.tokens.tag();
        let dialogs = (
            Dialog::of_server(&self.caller.invite, &tag, self.caller.path),
            Dialog::of_server(invite, &pickup.applicant.tag, pickup.applicant.path),
        );
        let (Ok(caller), Ok(callee)) = dialogs else {
            self.pickup = Some(pickup);
            return self.drop_pick_up(cx, StatusCode::SERVER_INTERNAL_ERROR);
        };
        let mut talk = Talk::new(passing::sdp_of(&self.caller.invite));
        talk.hear(answer);
        self.cancel_callee(cx);
        self.forget_attempt(cx);
        self.pairs.push(Pair {
            caller,
            callee,
            early_media_granted: false,
            talk,
            outgoing: Outgoing::new(cx.tokens.up_to(FIRST_RSEQ)),
            incoming: Incoming::default(),
        });
        cx.index.add_tag(&tag, self.id, Side::A);
        if let Some(former) = self.session.replace(pickup.session) {
            cx.close_session(former);
        }
        self.focus = Focus::default();
        self.answer_both(cx, &tag, *pickup);
    }

    fn answer_both(&mut self, cx: &mut Context, tag: &str, pickup: PickUp) {
        let PickUp {
            applicant,
            for_newcomer,
            for_caller,
            ..
        } = pickup;
        cx.timers.clear(self.id);
        cx.patience.clear(self.id);
        self.answered = Some(cx.now);
        cx.counters.transfers_made += 1;
        self.step(Trigger::PickedUp);
        self.tries(cx, &applicant.target(), None);
        let code = StatusCode::OK;
        self.account.outcome(Outcome::Code(code.as_u16()));
        let key = applicant.key;
        let newcomer = self.seat_pick_up(cx, applicant);
        let mut ours = newcomer.response(code, newcomer_tag(self));
        passing::record_routes(&newcomer, &mut ours);
        cx.introduce(
            &mut ours,
            self.pairs
                .first()
                .map_or(self.caller.path, |pair| pair.callee.path())
                .listener,
        );
        let mut theirs = self.caller.invite.response(code, Some(tag));
        passing::record_routes(&self.caller.invite, &mut theirs);
        cx.introduce(&mut theirs, self.caller.path.listener);
        cx.cross(self.way_from(Side::B), &newcomer, &mut theirs);
        self.time_pick_up(cx, &newcomer, (&mut theirs, &mut ours));
        passing::set_sdp(&mut ours, for_newcomer);
        passing::set_sdp(&mut theirs, for_caller);
        self.farewell.newcomer = Some((key, Side::B));
        self.await_ack(Side::B, key, newcomer, None);
        cx.respond(key, ours);
        self.give_answer(cx, theirs);
    }

    /// The newcomer's INVITE is that of the callee from now on.
    fn seat_pick_up(&mut self, cx: &mut Context, applicant: Applicant) -> Message {
        let target = applicant.target();
        cx.index.add_tag(&applicant.tag, self.id, Side::B);
        self.leases.outbound = applicant.lease;
        self.attempt = Some(Attempt {
            target,
            invite: applicant.invite.clone(),
            tag: applicant.tag,
            key: None,
            reliable: false,
            owes_ack: false,
            heard: true,
            rings_until: cx.now,
        });
        applicant.invite
    }

    /// The callee's INVITE is taken back; a 2xx that crosses that is acknowledged and ended.
    fn cancel_callee(&mut self, cx: &mut Context) {
        let Some(attempt) = &self.attempt else {
            return;
        };
        let Some(key) = attempt.key else {
            return;
        };
        let late = LateAnswers::Forks {
            trunk: attempt.target.trunk,
            invite: Box::new(attempt.invite.clone()),
            settled: Vec::new(),
        };
        cx.index.hand_over(key, Owner::LateAnswers(Box::new(late)));
        let reason = "SIP;cause=200;text=\"Call completed elsewhere\"";
        let reason = Header::new(HeaderName::Reason, reason);
        if cx.transactions.cancel(cx.now, key, vec![reason]).is_err() {
            cx.drop_of(self.id, "cancel_too_late");
        }
    }

    /// Nothing comes of it: the callee has answered or failed, the caller has gone, or the newcomer has.
    pub(in crate::b2bua) fn drop_pick_up(&mut self, cx: &mut Context, code: StatusCode) {
        let Some(pickup) = self.pickup.take() else {
            return;
        };
        for ticket in self.held.forget_pick_up() {
            cx.index.take_ticket(ticket);
        }
        cx.close_session(pickup.session);
        self.refuse_pick_up(cx, pickup.applicant, code);
    }

    /// The newcomer takes its INVITE back. False when the transaction is not its.
    pub(super) fn on_pick_up_cancel(&mut self, cx: &mut Context, key: ServerKey) -> bool {
        let known = |pickup: &PickUp| pickup.applicant.key == key;
        let is_its = self.pickup.as_deref().is_some_and(known);
        if is_its {
            self.drop_pick_up(cx, StatusCode::REQUEST_TERMINATED);
        }
        is_its
    }
}

fn newcomer_tag(call: &Call) -> Option<&str> {
    let attempt = call.attempt.as_ref()?;
    Some(&attempt.tag)
}

/// Whether each stream that both sides have has a codec of both.
fn agrees(view: &SessionView) -> bool {
    view.streams.iter().all(|stream| {
        let [a, b] = &stream.parties;
        let names = |codecs: &str| -> Vec<String> {
            let formats = codecs.split(", ");
            let names = formats.filter_map(|format| format.split(' ').nth(1));
            let names = names.map(str::to_ascii_lowercase);
            names
                .filter(|name| !name.starts_with("telephone-event"))
                .collect()
        };
        let (a, b) = (names(&a.codecs), names(&b.codecs));
        // What has no names here, as fax, has nothing to choose.
        a.is_empty() || b.is_empty() || a.iter().any(|name| b.contains(name))
    })
}
