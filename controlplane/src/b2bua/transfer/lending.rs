//! A party of one call that is to have a place in another: an attended transfer whose two calls both go through us.
//!
//! ```text
//!      the call with the target: lender                 the call that is transferred: borrower
//!   transferor      tandem      target               transferor      tandem      remaining party
//!       │              │           │                     │── REFER ────►│               │
//!       │              │── INVITE ►│ no description      │              │               │
//!       │              │◄─ offer ──│                     │              │── re-INVITE ─►│ that offer
//!       │              │           │                     │              │◄─ answer ─────│
//!       │◄──── BYE ────│── ACK ───►│ that answer         │◄─ NOTIFY, BYE│── ACK ───────►│
//! ```
//!
//! Each call is changed by itself alone: what one wants of the other is an [`Errand`]. Until the dialog is given away the
//! lender has it; when the transfer fails the target gets the answer that leaves its media as they were.

use crate::dialog::Dialog;
use crate::session::{Rewritten, Side};
use crate::settings::TrunkId;
use crate::sip::typed::SessionExpires;
use crate::sip::{Message, StatusCode};
use crate::story::What;
use crate::transaction::ClientKey;
use crate::trunks::Lease;

use super::super::alarms::Alarm;
use super::super::call::{Call, code_of};
use super::super::context::Context;
use super::super::ending::Cause;
use super::super::held::Then;
use super::super::index::Owner;
use super::super::late_answers::{self, LateAnswers};
use super::super::passing;
use super::super::{B2bua, CallId, CallState};
use super::joining::MOST_JOINS;

/// What one call wants of another.
#[derive(Debug)]
pub(in crate::b2bua) enum Errand {
    /// Lend the party of this side to that call.
    Lend(CallId, Side),
    /// That call does not need it any more.
    Return(CallId),
    /// That call gives it the place, with this answer to its offer.
    Give(CallId, Vec<u8>),
    /// The party that was asked for has answered with an offer.
    Offers(Box<Message>),
    /// It has refused, or there is nobody.
    Refuses(StatusCode),
    /// Its call ends.
    Ends,
}

/// A party that is lent to another call.
#[derive(Debug)]
pub(in crate::b2bua) struct Loan {
    to: CallId,
    side: Side,
    /// The re-INVITE that asks it for an offer; `None` during a pause.
    request: Option<ClientKey>,
    /// What that wants of the session timer.
    asked: Option<SessionExpires>,
    /// How often it was sent.
    sent: u32,
    /// Its 2xx.
    answer: Option<Message>,
    /// The other call still wants it.
    wanted: bool,
}

/// What is given to the other call.
pub(super) struct Given {
    pub(super) dialog: Dialog,
    pub(super) trunk: TrunkId,
    pub(super) invite: Message,
    pub(super) lease: Option<Lease>,
    pub(super) request: ClientKey,
    pub(super) asked: Option<SessionExpires>,
    pub(super) answer: Message,
}

impl Context {
    /// Has another call do something, once the present one is done.
    pub(super) fn errand(&mut self, call: CallId, errand: Errand) {
        self.errands.push_back((call, errand));
    }
}

impl B2bua {
    /// Runs the errands of calls to each other.
    pub(in crate::b2bua) fn run_errands(&mut self) {
        while let Some((call, errand)) = self.cx.errands.pop_front() {
            match errand {
                Errand::Give(borrower, answer) => self.give(call, borrower, answer),
                errand => self.with_call(call, |call, cx| call.on_errand(cx, errand)),
            }
        }
    }

    /// The party of `lender` becomes that of `borrower`.
    fn give(&mut self, lender: CallId, borrower: CallId, answer: Vec<u8>) {
        let mut given = None;
        self.with_call(lender, |call, cx| given = call.give_away(cx, borrower));
        self.with_call(borrower, |call, cx| call.seat_borrowed(cx, given, answer));
    }
}

impl Call {
    pub(super) fn lend(&mut self, cx: &mut Context, to: CallId, side: Side) {
        if self.state() != CallState::Established || self.exchanges() {
            return cx.errand(to, Errand::Refuses(StatusCode::REQUEST_PENDING));
        }
        let note = What::Note("its party is to have a place in another call");
        cx.stories.tell(cx.now, self.id, note);
        self.lent = Some(Loan {
            to,
            side,
            request: None,
            asked: None,
            sent: 0,
            answer: None,
            wanted: true,
        });
        self.ask_lent(cx);
    }

    /// Asks the party that is lent for an offer.
    fn ask_lent(&mut self, cx: &mut Context) {
        let Some(side) = self.lent.as_ref().map(|loan| loan.side) else {
            return;
        };
        let Some(request) = self.bare_invite(cx, side) else {
            return;
        };
        let trunk = self.trunk(side);
        let (Some(loan), Some(pair)) = (&mut self.lent, self.pairs.first()) else {
            return;
        };
        loan.sent += 1;
        loan.asked = request.session_expires().ok();
        match cx.request_within(Some(self.id), trunk, pair.dialog(side), request) {
            Ok(key) => loan.request = Some(key),
            Err(_) => self.loan_fails(cx, StatusCode::SERVER_INTERNAL_ERROR),
        }
    }

    fn loan_fails(&mut self, cx: &mut Context, code: StatusCode) {
        let Some(loan) = self.lent.take() else {
            return;
        };
        cx.alarms.set(self.id, Alarm::Transfer, None);
        if loan.wanted {
            cx.errand(loan.to, Errand::Refuses(code));
        }
        self.loan_is_over(cx, loan.side);
    }

    /// The call goes on as it was, unless the other party has left it already.
    fn loan_is_over(&mut self, cx: &mut Context, side: Side) {
        if self.farewell.departed == Some(side.other()) {
            self.on_final_bye(cx, side.other(), None);
        }
    }

    /// Whether the transaction asks a party that is lent.
    pub(in crate::b2bua) fn lends(&self, key: ClientKey) -> bool {
        let request = self.lent.as_ref().and_then(|loan| loan.request);
        request == Some(key)
    }

    /// What the party that is lent says.
    pub(in crate::b2bua) fn on_loan_response(&mut self, cx: &mut Context, response: &Message) {
        let (Some(code), Some(loan)) = (response.code(), &mut self.lent) else {
            return;
        };
        if code.is_provisional() || loan.answer.is_some() {
            return;
        }
        let side = loan.side;
        if code.is_success() {
            loan.answer = Some(response.clone());
            let (to, wanted) = (loan.to, loan.wanted);
            if let Some(pair) = self.pairs.first_mut() {
                pair.dialog_mut(side).refresh_target(response);
            }
            return match wanted {
                true => cx.errand(to, Errand::Offers(Box::new(response.clone()))),
                false => self.restore(cx),
            };
        }
        loan.request = None;
        match code {
            StatusCode::REQUEST_PENDING if loan.wanted && loan.sent < MOST_JOINS => {
                let Some(pair) = self.pairs.first() else {
                    return;
                };
                let until = cx.now + cx.glare_pause(pair.dialog(side));
                cx.alarms.set(self.id, Alarm::Transfer, Some(until));
            }
            StatusCode::NO_SUCH_CALL | StatusCode::REQUEST_TIMEOUT => {
                self.loan_fails(cx, code);
                self.peer_gone(cx);
            }
            StatusCode::INTERVAL_TOO_SMALL
                if loan.wanted && self.follows_least(cx, side, response) =>
            {
                self.ask_lent(cx);
            }
            _ => self.loan_fails(cx, code),
        }
    }

    /// No response came, or the request could not be sent.
    pub(in crate::b2bua) fn on_loan_lost(&mut self, cx: &mut Context, code: StatusCode) {
        self.loan_fails(cx, code);
        self.peer_gone(cx);
    }

    /// The pause is over.
    pub(super) fn on_loan_due(&mut self, cx: &mut Context) {
        if self
            .lent
            .as_ref()
            .is_some_and(|loan| loan.request.is_none())
        {
            self.ask_lent(cx);
        }
    }

    /// The other call needs its party no more.
    pub(super) fn take_back(&mut self, cx: &mut Context, borrower: CallId) {
        let Some(loan) = self.lent.as_mut().filter(|loan| loan.to == borrower) else {
            return;
        };
        loan.wanted = false;
        match (&loan.answer, loan.request) {
            (Some(_), _) => self.restore(cx),
            // What comes of that is waited for.
            (None, Some(key)) => {
                let _ = cx.transactions.cancel(cx.now, key, Vec::new());
            }
            (None, None) => self.loan_fails(cx, StatusCode::REQUEST_TERMINATED),
        }
    }

    /// The offer of the party that was lent gets the answer that the other party would give: the one that it gave.
    fn restore(&mut self, cx: &mut Context) {
        let Some(loan) = self.lent.take() else {
            return;
        };
        let (side, other) = (loan.side, loan.side.other());
        let said = self.pairs.first().and_then(|pair| pair.talk.said(other));
        let (Some(said), Some(answer), Some(request)) =
            (said.map(<[u8]>::to_vec), loan.answer, loan.request)
        else {
            return self.hang_up(cx, Cause::Broken);
        };
        if self.farewell.departed == Some(other) {
            // It is hung up on at once.
            self.acknowledge_lent(cx, side, request, None);
            return self.loan_is_over(cx, side);
        }
        let offer = passing::sdp_of(&answer).unwrap_or_default().to_vec();
        let answered = match self.offer_in(cx, 0, side, &offer) {
            Ok(_) => self.answer_in(cx, 0, other, &said),
            Err(error) => Err(error),
        };
        self.time_learn(cx, side, loan.asked, &answer);
        match answered {
            Ok(Rewritten { sdp, ticket }) => {
                self.when_ready(cx, ticket, Then::Restore(side, request, sdp));
            }
            Err(error) => {
                code_of(cx, &error);
                self.acknowledge_lent(cx, side, request, None);
                self.hang_up(cx, Cause::BadDescription);
            }
        }
    }

    /// The flows of that are there.
    pub(in crate::b2bua) fn restored(
        &mut self,
        cx: &mut Context,
        side: Side,
        request: ClientKey,
        sdp: Vec<u8>,
    ) {
        if self.acknowledge_lent(cx, side, request, Some(sdp)) {
            self.conclude_offer(cx, 0);
        } else {
            self.hang_up(cx, Cause::Broken);
        }
    }

    fn acknowledge_lent(
        &mut self,
        cx: &mut Context,
        side: Side,
        key: ClientKey,
        sdp: Option<Vec<u8>>,
    ) -> bool {
        let trunk = self.trunk(side);
        self.pairs
            .first()
            .is_some_and(|pair| late_answers::acknowledge(cx, key, trunk, pair.dialog(side), sdp))
    }

    /// The call comes down, and the party that was lent with it.
    pub(in crate::b2bua) fn recall_loan(&mut self, cx: &mut Context) {
        let Some(loan) = self.lent.take() else {
            return;
        };
        cx.alarms.set(self.id, Alarm::Transfer, None);
        if loan.wanted {
            cx.errand(loan.to, Errand::Ends);
        }
        let (Some(request), Some(pair)) = (loan.request, self.pairs.first()) else {
            return;
        };
        if loan.answer.is_some() {
            self.acknowledge_lent(cx, loan.side, request, None);
            return;
        }
        let late = LateAnswers::InDialog {
            trunk: self.trunk(loan.side),
            dialog: Box::new(pair.dialog(loan.side).clone()),
        };
        cx.index
            .hand_over(request, Owner::LateAnswers(Box::new(late)));
        let _ = cx.transactions.cancel(cx.now, request, Vec::new());
    }

    /// Its party has a place in the other call now; this one ends.
    fn give_away(&mut self, cx: &mut Context, borrower: CallId) -> Option<Given> {
        let loan = self.lent.take_if(|loan| loan.to == borrower)?;
        let side = loan.side;
        let (answer, request) = (loan.answer?, loan.request?);
        let dialog = self.pairs.first()?.dialog(side).clone();
        let invite = match side {
            Side::A => self.caller.invite.clone(),
            Side::B => self.attempt.as_ref()?.invite.clone(),
        };
        let lease = match side {
            Side::A => self.leases.inbound.take(),
            Side::B => self.leases.outbound.take(),
        };
        let trunk = self.trunk(side);
        self.farewell.given_away = Some(side);
        self.hang_up(cx, Cause::Transferred);
        Some(Given {
            dialog,
            trunk,
            invite,
            lease,
            request,
            asked: loan.asked,
            answer,
        })
    }

    /// BYE from one side. True when it is the transferor's, whose party is lent: the transfer goes on without it.
    pub(in crate::b2bua) fn leaves_loan(&mut self, cx: &mut Context, side: Side) -> bool {
        let leaves = self
            .lent
            .as_ref()
            .is_some_and(|loan| loan.side.other() == side);
        if leaves {
            self.farewell.departed = Some(side);
            let note = What::Note("the transferor hangs up, and its transfer goes on");
            cx.stories.tell(cx.now, self.id, note);
        }
        leaves
    }
}
