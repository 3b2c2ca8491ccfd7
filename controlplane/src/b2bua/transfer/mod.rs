//! Transfers (RFC 5589): REFER is passed from one party to the other, or carried out by tandem itself, as the trunk of
//! the one that asks is configured.
//!
//! ```text
//!   transferor        tandem        remaining party      target
//!     │── REFER ───────►│                  │                │    the one that asks may be the caller or the callee
//!     │◄─ 202, NOTIFY ──│─── INVITE, no description ───────►│
//!     │                 │◄── 200, offer ────────────────────│
//!     │                 │─── re-INVITE ───►│                │    media of a session of its own: the old one is
//!     │                 │◄── 200, answer ──│                │    untouched until both have agreed
//!     │                 │─── ACK ─────────►│                │
//!     │                 │─── ACK, answer ──────────────────►│
//!     │◄─ NOTIFY, BYE ──│                  │                │    the target has taken the transferor's place
//! ```
//!
//! `referral` reads REFER and passes it on, `candidate` calls the target, `joining` brings the two together, `table` is
//! the machine. A transfer that fails leaves the call as it was.

mod candidate;
mod joining;
mod referral;
mod replaces;
mod table;

use std::collections::VecDeque;

use crate::routing::Target;
use crate::session::{SessionId, Side};
use crate::settings::Refer;
use crate::sip::{HeaderName, Message, Method, StatusCode};
use crate::story::What;
use crate::transaction::{ClientKey, ServerKey};

use super::admission::Refusal;
use super::alarms::Alarm;
use super::call::Call;
use super::context::Context;
use super::{B2bua, CallState};

use candidate::Candidate;
use referral::Referral;
use replaces::Replaces;
use table::{Stage, Trigger};

pub(super) use referral::complete;

/// RFC 4488.
const REFER_SUB: &str = "Refer-Sub";

/// How long a subscription to a transfer lasts, in seconds: longer than a target may ring.
const SUBSCRIPTION: u32 = 900;

/// What a Replaces in a REFER names.
#[derive(Debug)]
pub(super) enum Named {
    /// There is none.
    Nothing,
    /// No dialog of ours.
    Unknown,
    /// A dialog of ours: the one of the other leg, as its peer knows it.
    Dialog(Replaces),
}

/// A transfer that tandem carries out.
#[derive(Debug)]
pub(super) struct Transfer {
    stage: Stage,
    /// Who asked for it and wants to leave.
    by: Side,
    /// The number of its REFER, if it wants to hear of it.
    notices: Option<u32>,
    /// The INVITE as the party that remains would have sent it.
    wish: Message,
    /// The targets that are left to try.
    targets: VecDeque<Target>,
    candidate: Option<Candidate>,
    media: Option<Media>,
    /// The re-INVITE to the party that remains, and its CSeq number.
    join: Option<(ClientKey, u32)>,
    /// How often that was sent.
    joins: u32,
}

/// The media between the target and the party that remains.
#[derive(Debug)]
struct Media {
    session: SessionId,
    /// What the target offers.
    offer: Vec<u8>,
    /// The same for the party that remains.
    rewritten: Vec<u8>,
    /// What the party that remains answers.
    answer: Vec<u8>,
}

impl Transfer {
    /// Moves to the next stage; false, and nothing done, where the table has no such row.
    fn step(&mut self, trigger: Trigger) -> bool {
        let Some(next) = self.stage.after(trigger) else {
            return false;
        };
        tracing::debug!(stage = ?self.stage, ?trigger, ?next, "transfer");
        self.stage = next;
        true
    }
}

impl B2bua {
    /// The dialog that a REFER wants replaced.
    ///
    /// # Errors
    /// 400 when its name cannot be read.
    pub(super) fn named_in(&self, refer: &Message) -> Result<Named, StatusCode> {
        if refer.method() != Some(&Method::Refer) {
            return Ok(Named::Nothing);
        }
        let Some(replaces) = Referral::replaces(refer)? else {
            return Ok(Named::Nothing);
        };
        let known = self
            .dialog_named(&replaces)
            .and_then(|(call, side, place)| {
                let pair = self.calls.get(&call)?.pairs.get(place)?;
                Some(pair.dialog(side.other()))
            });
        Ok(known.map_or(Named::Unknown, |dialog| {
            Named::Dialog(Replaces::of_peer(dialog, replaces.early_only))
        }))
    }

    /// The dialog with this name: the call, whose side it is, and its place there. Whoever names it may be the one
    /// that has it with us or the one that it is to be replaced at: the tags come in either order.
    fn dialog_named(&self, name: &Replaces) -> Option<(super::CallId, Side, usize)> {
        let orders = [
            (&name.to_tag, &name.from_tag),
            (&name.from_tag, &name.to_tag),
        ];
        orders.into_iter().find_map(|(local, remote)| {
            let (id, side) = self.cx.index.tag(local)?;
            let call = self.calls.get(&id)?;
            let place = call.pair_at(side, &name.call_id, local, remote)?;
            Some((id, side, place))
        })
    }

    /// A request in the dialog with a transfer's target, which is no dialog of the call yet. False when it is none.
    pub(super) fn on_candidate_request(&mut self, key: ServerKey, message: &Message) -> bool {
        let tag = message.to().ok();
        let tag = tag.as_ref().and_then(|to| to.tag());
        let Some((id, _)) = tag.and_then(|tag| self.cx.index.tag(tag)) else {
            return false;
        };
        let mut taken = false;
        self.with_call(id, |call, cx| {
            taken = call.on_candidate_bye(cx, key, message)
        });
        taken
    }
}

impl Call {
    /// REFER from one side.
    pub(super) fn on_refer(
        &mut self,
        cx: &mut Context,
        (side, place): (Side, usize),
        key: ServerKey,
        request: Message,
        named: Result<Named, StatusCode>,
    ) {
        let policy = cx.transfer_policy(self.trunk(side)).refer;
        if policy == Refer::Off {
            return Refusal::method_not_allowed().send(cx, key, &request);
        }
        let (referral, named) = match (Referral::read(&request), named) {
            (Ok(referral), Ok(named)) => (referral, named),
            (Err(code), _) | (_, Err(code)) => return cx.refuse(key, &request, code),
        };
        let busy = self.transfer.is_some() || self.exchanges();
        if self.state() != CallState::Established || busy {
            return cx.refuse(key, &request, StatusCode::REQUEST_PENDING);
        }
        match (policy, &named) {
            (Refer::Pass, Named::Nothing | Named::Dialog(_)) => {
                self.pass_refer(cx, (side, place), key, request, (&referral, named));
            }
            (Refer::Local, Named::Nothing) => {
                self.begin_transfer(cx, side, key, &request, referral)
            }
            _ => cx.refuse(key, &request, StatusCode::DECLINE),
        }
    }

    fn begin_transfer(
        &mut self,
        cx: &mut Context,
        by: Side,
        key: ServerKey,
        request: &Message,
        referral: Referral,
    ) {
        let Some(pair) = self.pairs.first() else {
            return cx.refuse(key, request, StatusCode::NO_SUCH_CALL);
        };
        let mut accepted = request.response(StatusCode::ACCEPTED, None);
        cx.introduce(&mut accepted, pair.dialog(by).path().listener);
        if !referral.subscribes {
            accepted.headers.push(HeaderName::from(REFER_SUB), "false");
        }
        let wish = self.wish(by, request, &referral);
        cx.respond(key, accepted);
        cx.counters.transfers_begun += 1;
        let note = What::Note("REFER: the call is being transferred");
        cx.stories.tell(cx.now, self.id, note);
        let user = referral.target.decoded_user().unwrap_or_default();
        let targets = self.find_targets(cx, by, user);
        let number = request.cseq().map_or(0, |cseq| cseq.number);
        self.transfer = Some(Box::new(Transfer {
            stage: Stage::Inviting,
            by,
            notices: referral.subscribes.then_some(number),
            wish,
            targets: targets.into(),
            candidate: None,
            media: None,
            join: None,
            joins: 0,
        }));
        self.notify_transferor(cx, StatusCode::TRYING);
        self.next_candidate(cx, StatusCode::NOT_FOUND);
    }

    /// Where the call goes, as if the transferor's trunk had called.
    fn find_targets(&self, cx: &mut Context, by: Side, user: String) -> Vec<Target> {
        let trunk = self.trunk(by);
        let user = cx.routed_user(trunk, user);
        let decision = cx.decide(trunk, &user);
        let targets = cx.targets(&decision.candidates);
        let targets = cx.trunks.select(targets);
        cx.tell_route(self.id, trunk, (&user, &decision), &targets);
        targets
    }

    /// Tells the transferor how far its transfer is (RFC 3515 §2.4.5).
    fn notify_transferor(&mut self, cx: &mut Context, code: StatusCode) {
        let Some(transfer) = &self.transfer else {
            return;
        };
        let (by, Some(number)) = (transfer.by, transfer.notices) else {
            return;
        };
        let trunk = self.trunk(by);
        if self.farewell.departed == Some(by) {
            return;
        }
        let Some(pair) = self.pairs.first_mut() else {
            return;
        };
        let mut notify = pair.dialog_mut(by).request(Method::Notify);
        let listener = cx.path_of(trunk, pair.dialog(by)).listener;
        cx.introduce(&mut notify, listener);
        let state = match code.is_final() {
            true => "terminated;reason=noresource".to_owned(),
            false => format!("active;expires={SUBSCRIPTION}"),
        };
        let headers = &mut notify.headers;
        headers.push(HeaderName::Event, format!("refer;id={number}"));
        headers.push(HeaderName::SubscriptionState, state);
        let kind = format!("{};version=2.0", referral::FRAGMENT);
        headers.push(HeaderName::ContentType, kind);
        notify.body = format!("SIP/2.0 {} {}\r\n", code.as_u16(), code.reason()).into();
        if cx
            .request_within(Some(self.id), trunk, pair.dialog(by), notify)
            .is_err()
        {
            cx.count_dropped("notify_unsent");
        }
    }

    /// Nothing comes of the transfer: the call goes on as it was, unless the transferor has left it already.
    fn fail_transfer(&mut self, cx: &mut Context, trigger: Trigger, code: StatusCode) {
        let Some(transfer) = &mut self.transfer else {
            return;
        };
        if !transfer.step(trigger) {
            return;
        }
        let by = transfer.by;
        cx.counters.transfers_failed += 1;
        let note = What::Note("the transfer has failed");
        cx.stories.tell(cx.now, self.id, note);
        self.notify_transferor(cx, code);
        self.drop_transfer(cx);
        if self.farewell.departed == Some(by) {
            self.on_final_bye(cx, by, None);
        }
    }

    /// The call comes down, and the transfer with it.
    pub(super) fn abandon_transfer(&mut self, cx: &mut Context) {
        let Some(transfer) = &mut self.transfer else {
            return;
        };
        if transfer.step(Trigger::CallEnds) {
            cx.counters.transfers_failed += 1;
            self.notify_transferor(cx, StatusCode::REQUEST_TERMINATED);
        }
        self.drop_transfer(cx);
    }

    /// Lets go of the target and of its media.
    fn drop_transfer(&mut self, cx: &mut Context) {
        cx.alarms.set(self.id, Alarm::Transfer, None);
        for ticket in self.held.forget_transfer() {
            cx.index.take_ticket(ticket);
        }
        let Some(mut transfer) = self.transfer.take() else {
            return;
        };
        self.end_join(cx, &mut transfer);
        if let Some(candidate) = transfer.candidate.take() {
            candidate.end(cx);
        }
        if let Some(media) = transfer.media.take() {
            // What the party that remains was told last counts, whichever session it was of.
            if let Some(session) = self.session {
                let rest = transfer.by.other();
                cx.engine.carry_name(media.session, session, rest);
            }
            cx.engine.close(cx.now, media.session);
            cx.ask_for_ended_flows();
            cx.index.remove_session(media.session);
        }
    }

    /// BYE from one side. True when it is the transferor's, whose transfer goes on without it.
    pub(super) fn transferor_leaves(&mut self, cx: &mut Context, side: Side) -> bool {
        let leaves = self
            .transfer
            .as_ref()
            .is_some_and(|transfer| transfer.by == side);
        if leaves {
            self.farewell.departed = Some(side);
            let note = What::Note("the transferor hangs up, and its transfer goes on");
            cx.stories.tell(cx.now, self.id, note);
        }
        leaves
    }

    /// Why a request within the dialog cannot pass while a transfer is under way.
    pub(super) fn transfer_in_the_way(&self, method: &Method, from: Side) -> Option<StatusCode> {
        self.transfer.as_ref()?;
        match self.farewell.departed {
            Some(gone) if gone == from => Some(StatusCode::NO_SUCH_CALL),
            Some(_) => Some(StatusCode::REQUEST_PENDING),
            None => matches!(method, Method::Invite | Method::Update)
                .then_some(StatusCode::REQUEST_PENDING),
        }
    }

    /// Something of the transfer is due: the target has had its time, or the pause is over.
    pub(super) fn on_transfer_due(&mut self, cx: &mut Context) {
        match self.transfer.as_ref().map(|transfer| transfer.stage) {
            Some(Stage::Inviting) => self.on_candidate_silent(cx),
            Some(Stage::Pausing) => self.join_again(cx),
            _ => {}
        }
    }
}
