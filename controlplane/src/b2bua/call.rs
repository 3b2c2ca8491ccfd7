//! One call: what it holds, and how it moves from state to state.
//!
//! The journey of a call is told in its neighbours: `setup` (the caller's INVITE, the targets),
//! `answers` (what the callee says), `relay` (requests within the dialog), `ending` (CANCEL, BYE).

use std::collections::VecDeque;

use contract::{Refusal, Timestamp};

use crate::dialog::Dialog;
use crate::installer::{Ticket, TicketFailure};
use crate::records::Releaser;
use crate::routing::Target;
use crate::session::{ErrorClass, SessionError, SessionId, Side};
use crate::settings::TrunkId;
use crate::sip::{Message, StatusCode};
use crate::story::What;
use crate::transaction::{ClientKey, Path, ServerKey};

use super::account::{Account, Cut};
use super::context::Context;
use super::ending::Cause;
use super::held::{Held, Then};
use super::negotiation::{Focus, Talk};
use super::redirect::Redirection;
use super::relay::{Relay, in_dialog};
use super::reliable::{Demand, Incoming, Outgoing};
use super::service::Leases;
use super::session_timer::Timers;
use super::transfer::{Loan, Passed, PickUp, Successors, Transfer};
use super::{CallId, CallState, CallSummary, LegView, Trigger};

/// A call.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) id: CallId,
    state: CallState,
    pub(super) caller: Caller,
    /// The targets that are left to try, in order.
    pub(super) targets: VecDeque<Target>,
    pub(super) redirection: Redirection,
    /// The callee's INVITE: the last one that was made.
    pub(super) attempt: Option<Attempt>,
    /// The early dialogs while the callee rings, one for each fork; the one that won once it has
    /// answered.
    pub(super) pairs: Vec<Pair>,
    /// The media, until the call ends.
    pub(super) session: Option<SessionId>,
    /// Which dialog it follows.
    pub(super) focus: Focus,
    pub(super) held: Held,
    /// The session timers of both legs.
    pub(super) timers: Timers,
    /// Requests within the dialog that are being passed on.
    pub(super) relays: Vec<Relay>,
    pub(super) next_relay: u32,
    /// A transfer that tandem carries out.
    pub(super) transfer: Option<Box<Transfer>>,
    /// Who is to have the place of a callee that rings.
    pub(super) pickup: Option<Box<PickUp>>,
    /// The REFERs that have passed.
    pub(super) referrals: Passed,
    /// A party that is lent to a transfer of another call.
    pub(super) lent: Option<Loan>,
    /// Who has taken the caller's and the callee's place.
    pub(super) successors: Successors,
    pub(super) farewell: Farewell,
    /// What it holds of the trunks' limits.
    pub(super) leases: Leases,
    pub(super) started: Timestamp,
    pub(super) answered: Option<Timestamp>,
    pub(super) account: Account,
}

/// The INVITE that began the call.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) trunk: TrunkId,
    pub(super) path: Path,
    pub(super) key: ServerKey,
    pub(super) invite: Message,
    /// The tag of responses that make no dialog.
    pub(super) tag: String,
    /// What it makes of reliable provisional responses.
    pub(super) reliable: Demand,
}

/// One INVITE to one target.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) target: Target,
    /// The INVITE as it was sent, without Via.
    pub(super) invite: Message,
    /// Our tag in it.
    pub(super) tag: String,
    /// Its transaction, once it is out.
    pub(super) key: Option<ClientKey>,
    /// It offers `100rel`.
    pub(super) reliable: bool,
    /// The 2xx has an offer, and its ACK waits for the caller's answer.
    pub(super) owes_ack: bool,
    /// The target has answered, be it with 100.
    pub(super) heard: bool,
    /// Timer C never runs past this, however often the callee says that it still rings.
    pub(super) rings_until: Timestamp,
}

/// A dialog of the callee and the dialog of the caller that mirrors it.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) caller: Dialog,
    pub(super) callee: Dialog,
    /// The callee's network lets the caller hear what comes before the answer.
    pub(super) early_media_granted: bool,
    /// The offers and answers in them.
    pub(super) talk: Talk,
    /// Our reliable provisional responses to the caller.
    pub(super) outgoing: Outgoing,
    /// Those of the callee.
    pub(super) incoming: Incoming,
}

/// What a call that ends still waits for.
#[derive(Debug, Default)]
pub(super) struct Farewell {
    /// BYEs without a final response.
    pub(super) byes: Vec<ClientKey>,
    /// These sides are owed a BYE that may not leave before their ACK (RFC 3261 §15), with this Reason,
    /// if any.
    pub(super) owed: Vec<(Side, Vec<u8>)>,
    /// This side has ended its dialog while the call went on, to be transferred.
    pub(super) departed: Option<Side>,
    /// The dialog of this side is another call's now.
    pub(super) given_away: Option<Side>,
    /// The INVITE of who has this side's place by Replaces and has not acknowledged that.
    pub(super) newcomer: Option<(ServerKey, Side)>,
}

impl Farewell {
    /// This side gets its BYE once it has acknowledged.
    pub(super) fn owe(&mut self, side: Side, reason: Vec<u8>) {
        if self.owed.iter().all(|(owed, _)| *owed != side) {
            self.owed.push((side, reason));
        }
    }

    /// What this side is owed, which it is not any more.
    pub(super) fn take_owed(&mut self, side: Side) -> Option<Vec<u8>> {
        let place = self.owed.iter().position(|(owed, _)| *owed == side)?;
        Some(self.owed.remove(place).1)
    }
}

impl Pair {
    pub(super) fn dialog(&self, side: Side) -> &Dialog {
        match side {
            Side::A => &self.caller,
            Side::B => &self.callee,
        }
    }

    pub(super) fn dialog_mut(&mut self, side: Side) -> &mut Dialog {
        match side {
            Side::A => &mut self.caller,
            Side::B => &mut self.callee,
        }
    }
}

impl Call {
    pub(super) fn new(id: CallId, caller: Caller, targets: Vec<Target>, now: Timestamp) -> Self {
        Self {
            id,
            state: CallState::Preparing,
            caller,
            redirection: Redirection::new(&targets),
            targets: targets.into(),
            attempt: None,
            pairs: Vec::new(),
            session: None,
            focus: Focus::default(),
            held: Held::default(),
            timers: Timers::default(),
            relays: Vec::new(),
            next_relay: 0,
            transfer: None,
            pickup: None,
            referrals: Passed::default(),
            lent: None,
            successors: Successors::default(),
            farewell: Farewell::default(),
            leases: Leases::default(),
            started: now,
            answered: None,
            account: Account::default(),
        }
    }

    pub(super) fn state(&self) -> CallState {
        self.state
    }

    /// Moves to the next state; false, and nothing done, where the table has no such row.
    pub(super) fn step(&mut self, trigger: Trigger) -> bool {
        let Some(next) = self.state.after(trigger) else {
            return false;
        };
        tracing::debug!(call = self.id.0, state = %self.state, ?trigger, %next);
        self.state = next;
        self.account.step(trigger, next);
        if next == CallState::Established {
            self.compact();
        }
        true
    }

    /// Gives back the room for what came while the call was set up: it may be up for hours.
    fn compact(&mut self) {
        self.caller.invite.headers.shrink();
        if let Some(attempt) = &mut self.attempt {
            attempt.invite.headers.shrink();
        }
        self.targets.shrink_to_fit();
        self.pairs.shrink_to_fit();
    }

    /// Does something once the flows of the ticket are there.
    pub(super) fn when_ready(&mut self, cx: &mut Context, ticket: Option<Ticket>, then: Then) {
        if let Some(ticket) = ticket {
            cx.index.add_ticket(ticket, self.id);
        }
        self.held.push(ticket, then);
        self.release_held(cx);
    }

    /// The flows of the ticket are there.
    pub(super) fn on_ready(&mut self, cx: &mut Context, ticket: Ticket) {
        let flows = self.session.map_or(0, |id| cx.engine.flows(id).len());
        let flows = u16::try_from(flows).unwrap_or(u16::MAX);
        cx.stories.tell(cx.now, self.id, What::FlowsReady(flows));
        self.held.ready(ticket);
        self.release_held(cx);
    }

    fn release_held(&mut self, cx: &mut Context) {
        while let Some(then) = self.held.next() {
            match then {
                Then::Invite(sdp) => self.send_invite(cx, sdp),
                Then::Provisional(tag, progress) => self.send_progress(cx, &tag, progress),
                Then::Answer(response) => self.send_answer(cx, response),
                Then::Acknowledge(sdp) => self.acknowledge_callee(cx, Some(sdp)),
                Then::Forward(relay, sdp) => self.forward(cx, relay, sdp),
                Then::Respond(relay, response) => self.respond_relay(cx, relay, response),
                Then::AcknowledgeRelay(relay, sdp) => {
                    self.acknowledge_relay(cx, relay, Some(sdp));
                }
                Then::Join => self.send_join(cx),
                Then::Connect(sdp) => self.connect(cx, sdp),
                Then::PickUp => self.picked_up(cx),
                Then::Restore(side, request, sdp) => self.restored(cx, side, request, sdp),
            }
        }
    }

    /// The flows of the ticket will not be there: what announces them must not leave.
    pub(super) fn on_failed(&mut self, cx: &mut Context, ticket: Ticket, why: TicketFailure) {
        cx.stories
            .tell(cx.now, self.id, What::FlowsFailed(why.name()));
        let code = match why {
            TicketFailure::Refused(_, Refusal::TableFull)
            | TicketFailure::MailboxFull(_)
            | TicketFailure::TimedOut => StatusCode::SERVICE_UNAVAILABLE,
            TicketFailure::Refused(..) => StatusCode::SERVER_INTERNAL_ERROR,
        };
        let Some(then) = self.held.fail(ticket) else {
            return;
        };
        match then {
            Then::Invite(_) | Then::Provisional(..) | Then::Answer(_) => {
                let cut = Cut::new(Releaser::Tandem, "flows_failed", code);
                self.released(cx, cut, None);
                self.withdraw(cx, Trigger::FlowsFailed, code, None);
            }
            Then::Acknowledge(_) | Then::AcknowledgeRelay(..) | Then::Restore(..) => {
                self.hang_up(cx, Cause::NoRoom);
            }
            Then::PickUp => self.drop_pick_up(cx, in_dialog(code)),
            Then::Join | Then::Connect(_) => self.on_join_without_flows(cx, in_dialog(code)),
            Then::Forward(relay, _) => self.fail_relay(cx, relay, in_dialog(code)),
            Then::Respond(relay, _) => {
                self.fail_relay(cx, relay, in_dialog(code));
                self.hang_up(cx, Cause::NoRoom);
            }
        }
        self.release_held(cx);
    }

    /// The place of the dialog with these names, seen from one side.
    pub(super) fn pair_at(
        &self,
        side: Side,
        call_id: &str,
        local_tag: &str,
        remote_tag: &str,
    ) -> Option<usize> {
        self.pairs
            .iter()
            .position(|pair| pair.dialog(side).is(call_id, local_tag, remote_tag))
    }

    /// The place of the dialog with this tag of the caller's.
    pub(super) fn place_of(&self, tag: &str) -> Option<usize> {
        let mut tags = self.pairs.iter().map(|pair| pair.caller.local_tag());
        tags.position(|known| known == tag)
    }

    /// The trunk on one side.
    pub(super) fn trunk(&self, side: Side) -> TrunkId {
        match (side, &self.attempt) {
            (Side::B, Some(attempt)) => attempt.target.trunk,
            _ => self.caller.trunk,
        }
    }

    /// The trunks of what comes from one side: from which, and to which.
    pub(super) fn way_from(&self, side: Side) -> (TrunkId, TrunkId) {
        (self.trunk(side), self.trunk(side.other()))
    }

    /// Whether the transaction is that of the callee's INVITE.
    pub(super) fn is_invite(&self, key: ClientKey) -> bool {
        let attempt = self.attempt.as_ref();
        attempt.is_some_and(|attempt| attempt.key == Some(key))
    }

    /// Whether the caller's INVITE brought a session description; if not, the callee's 2xx must.
    pub(super) fn has_offer(&self) -> bool {
        super::passing::sdp_of(&self.caller.invite).is_some()
    }

    /// Ends the media and whatever waits for it: the call is going down.
    pub(super) fn release_media(&mut self, cx: &mut Context) {
        self.drop_pick_up(cx, StatusCode::REQUEST_TERMINATED);
        cx.timers.clear(self.id);
        cx.patience.clear(self.id);
        for ticket in self.held.clear() {
            cx.index.take_ticket(ticket);
        }
        self.note_media(cx);
        if let Some(session) = self.session.take() {
            cx.engine.close(cx.now, session);
            cx.ask_for_ended_flows();
            cx.index.remove_session(session);
        }
    }

    /// Forgets the early dialogs that `keep` does not name, and what is on its way within them.
    pub(super) fn retain_pair(&mut self, cx: &mut Context, keep: Option<usize>) {
        let mut place = 0;
        self.pairs.retain(|pair| {
            let kept = Some(place) == keep;
            place += 1;
            if !kept {
                cx.index.remove_tag(pair.caller.local_tag(), self.id);
            }
            kept
        });
        self.end_relays_without_dialog(cx);
    }

    /// Forgets the callee's INVITE and its dialogs.
    pub(super) fn forget_attempt(&mut self, cx: &mut Context) {
        self.drop_pick_up(cx, StatusCode::NO_SUCH_CALL);
        self.retain_pair(cx, None);
        self.release_target(cx);
        if let Some(attempt) = self.attempt.take() {
            cx.index.remove_tag(&attempt.tag, self.id);
        }
    }

    /// Takes everything out that leads to the call.
    pub(super) fn leave(&mut self, cx: &mut Context) {
        self.release_media(cx);
        self.forget_attempt(cx);
        self.release_trunks(cx);
        cx.alarms.clear(self.id);
    }

    pub(super) fn summary(&self, cx: &Context) -> CallSummary {
        let uri = |message: &Message| message.uri().map(ToString::to_string);
        let from = self.caller.invite.from();
        CallSummary {
            id: self.id,
            state: self.state,
            from: from.map_or_else(|_| String::new(), |from| from.uri.to_string()),
            to: uri(&self.caller.invite).unwrap_or_default(),
            from_trunk: cx.trunk_name(self.caller.trunk).to_owned(),
            to_trunk: self
                .attempt
                .as_ref()
                .map(|attempt| cx.trunk_name(attempt.target.trunk).to_owned()),
            started: self.started,
            answered: self.answered,
        }
    }

    /// The caller's dialog; before there is one, what its INVITE says.
    pub(super) fn caller_leg(&self, cx: &Context) -> LegView {
        let (invite, tag) = (&self.caller.invite, &self.caller.tag);
        let pair = self.pairs.first();
        let dialog = pair.map(|pair| pair.caller.clone());
        match dialog.or_else(|| Dialog::of_server(invite, tag, self.caller.path).ok()) {
            Some(dialog) => self.leg(cx, Side::A, &dialog),
            None => LegView {
                trunk: cx.trunk_name(self.caller.trunk).to_owned(),
                call_id: invite.call_id().unwrap_or_default(),
                local_tag: tag.clone(),
                remote_tag: String::new(),
                remote_target: String::new(),
                remote: self.caller.path.remote,
            },
        }
    }

    /// The callee's dialogs.
    pub(super) fn callee_legs(&self, cx: &Context) -> Vec<LegView> {
        let pairs = self.pairs.iter();
        pairs
            .map(|pair| self.leg(cx, Side::B, &pair.callee))
            .collect()
    }

    fn leg(&self, cx: &Context, side: Side, dialog: &Dialog) -> LegView {
        LegView {
            trunk: cx.trunk_name(self.trunk(side)).to_owned(),
            call_id: dialog.call_id().to_owned(),
            local_tag: dialog.local_tag().to_owned(),
            remote_tag: dialog.remote_tag().to_owned(),
            remote_target: dialog.remote_target().to_string(),
            remote: dialog.path().remote,
        }
    }
}

/// The status code that an error of the session engine is answered with.
pub(super) fn code_of(cx: &mut Context, error: &SessionError) -> StatusCode {
    let (name, code) = match error.class() {
        ErrorClass::Exhausted => ("exhausted", StatusCode::SERVICE_UNAVAILABLE),
        ErrorClass::Malformed => ("malformed", StatusCode::BAD_REQUEST),
        ErrorClass::NotAcceptable => ("not_acceptable", StatusCode::NOT_ACCEPTABLE_HERE),
        ErrorClass::Glare => ("glare", StatusCode::REQUEST_PENDING),
        ErrorClass::Misuse => ("misuse", StatusCode::SERVER_INTERNAL_ERROR),
    };
    *cx.counters.sessions_refused.entry(name).or_default() += 1;
    tracing::debug!(%error, code = code.as_u16(), "session engine");
    code
}
