//! Transfers (RFC 5589): REFER is passed from one party to the other, or carried out by tandem itself, as the trunk of
//! the one that asks is configured. An INVITE with Replaces (RFC 3891) is the same from its second half on: the
//! newcomer has called by itself.
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
//! `referral` reads REFER and passes it on. The newcomer is a target that is called (`candidate`), the party of another
//! call through us (`borrowing`, `lending`), or who has sent an INVITE with Replaces (`takeover`). `joining` brings the two together,
//! `seat` gives the newcomer its place, `table` is the machine. A transfer that fails leaves the call as it was.

mod borrowing;
mod candidate;
mod joining;
mod lending;
mod named;
mod newcomer;
mod numbers;
mod pickup;
mod referral;
mod replaces;
mod seat;
mod subscription;
mod successors;
mod table;
mod takeover;

use std::collections::VecDeque;

use crate::records::Outcome;
use crate::routing::Target;
use crate::session::{SessionId, Side};
use crate::settings::Refer;
use crate::sip::typed::SessionExpires;
use crate::sip::{HeaderName, Message, Method, StatusCode};
use crate::story::What;
use crate::transaction::{ClientKey, ServerKey};

use super::CallState;
use super::admission::Refusal;
use super::alarms::Alarm;
use super::call::Call;
use super::context::Context;

use candidate::Candidate;
pub(super) use named::Known;
use named::Named;
use newcomer::Newcomer;
pub(super) use numbers::Passed;
pub(super) use pickup::PickUp;
use referral::Referral;
pub(super) use successors::Successors;
use table::{Stage, Trigger};

pub(super) use lending::{Errand, Loan};
pub(super) use referral::complete;
pub use table::{
    Row as TransferRow, Stage as TransferStage, TABLE as TRANSFER_TABLE, Trigger as TransferTrigger,
};
pub(super) use takeover::{Applicant, OPTION as REPLACES};

/// RFC 4488.
const REFER_SUB: &str = "Refer-Sub";

/// A transfer that tandem carries out.
#[derive(Debug)]
pub(super) struct Transfer {
    stage: Stage,
    /// Whose place is to be taken: of who asked and wants to leave, or of who is replaced.
    by: Side,
    /// The number of its REFER, if it wants to hear of it.
    notices: Option<u32>,
    /// What it was told last.
    told: StatusCode,
    /// The INVITE as the party that remains would have sent it; `None` where nobody is called.
    wish: Option<Message>,
    /// The targets that are left to try.
    targets: VecDeque<Target>,
    newcomer: Option<Newcomer>,
    /// The newcomer wants its place no more.
    gone: bool,
    media: Option<Media>,
    /// The re-INVITE to the party that remains.
    join: Option<ClientKey>,
    /// What it wants of the session timer.
    asked: Option<SessionExpires>,
    /// How often that was sent.
    joins: u32,
}

/// The media between the newcomer and the party that remains.
#[derive(Debug)]
struct Media {
    session: SessionId,
    /// What the newcomer offers; `None` where the party that remains is asked for an offer.
    offer: Option<Vec<u8>>,
    /// The same for the party that remains.
    rewritten: Vec<u8>,
    /// The 2xx of the party that remains.
    answer: Option<Message>,
}

impl Transfer {
    /// One that has come as far as `stage`.
    fn new(stage: Stage, by: Side, newcomer: Option<Newcomer>) -> Self {
        Self {
            stage,
            by,
            notices: None,
            told: StatusCode::TRYING,
            wish: None,
            targets: VecDeque::new(),
            newcomer,
            gone: false,
            media: None,
            join: None,
            asked: None,
            joins: 0,
        }
    }

    /// A REFER asked for it: who sent that wants to leave.
    fn referred(&self) -> bool {
        !self.newcomer.as_ref().is_some_and(Newcomer::calls)
    }

    fn candidate(&self) -> Option<&Candidate> {
        self.newcomer.as_ref()?.candidate()
    }

    fn candidate_mut(&mut self) -> Option<&mut Candidate> {
        self.newcomer.as_mut()?.candidate_mut()
    }

    fn take_candidate(&mut self) -> Option<Candidate> {
        match self.newcomer.take() {
            Some(Newcomer::Called(candidate)) => Some(*candidate),
            other => {
                self.newcomer = other;
                None
            }
        }
    }

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

impl Call {
    /// How far a transfer has come.
    pub(super) fn transfer_stage(&self) -> Option<Stage> {
        self.transfer.as_ref().map(|transfer| transfer.stage)
    }

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
        match (policy, named) {
            (Refer::Pass, named) => {
                self.pass_refer(cx, (side, place), key, request, (&referral, named));
            }
            (_, Named::Dialog(known)) => match known.free {
                Ok(()) if known.call != self.id => {
                    self.begin_attended(cx, side, key, &request, (&referral, &known));
                }
                Ok(()) => cx.refuse(key, &request, StatusCode::DECLINE),
                Err(code) => cx.refuse(key, &request, code),
            },
            (_, Named::Nothing | Named::Foreign(_)) => {
                self.begin_transfer(cx, side, key, &request, referral);
            }
        }
    }

    /// A transfer to whom the routes lead, with the dialog to be replaced there, if the REFER names one.
    fn begin_transfer(
        &mut self,
        cx: &mut Context,
        by: Side,
        key: ServerKey,
        request: &Message,
        referral: Referral,
    ) {
        let wish = self.wish(by, request, &referral);
        if !self.accept_referral(cx, by, key, request, &referral) {
            return;
        }
        let user = referral.target.decoded_user().unwrap_or_default();
        let targets = self.find_targets(cx, by, user);
        if let Some(transfer) = &mut self.transfer {
            transfer.wish = Some(wish);
            transfer.targets = targets.into();
        }
        self.notify_transferor(cx, StatusCode::TRYING);
        self.next_candidate(cx, StatusCode::NOT_FOUND);
    }

    /// Says 202: what comes of it is told in NOTIFYs. False when the dialog is gone.
    fn accept_referral(
        &mut self,
        cx: &mut Context,
        by: Side,
        key: ServerKey,
        request: &Message,
        referral: &Referral,
    ) -> bool {
        let Some(pair) = self.pairs.first() else {
            cx.refuse(key, request, StatusCode::NO_SUCH_CALL);
            return false;
        };
        let mut accepted = request.response(StatusCode::ACCEPTED, None);
        cx.introduce(&mut accepted, pair.dialog(by).path().listener);
        if !referral.subscribes {
            accepted.headers.push(HeaderName::from(REFER_SUB), "false");
        }
        cx.respond(key, accepted);
        cx.counters.transfers_begun += 1;
        let note = What::Note("REFER: the call is being transferred");
        cx.stories.tell(cx.now, self.id, note);
        let number = request.cseq().map_or(0, |cseq| cseq.number);
        let mut transfer = Transfer::new(Stage::Inviting, by, None);
        transfer.notices = referral.subscribes.then_some(number);
        self.transfer = Some(Box::new(transfer));
        true
    }

    /// Where the call goes, as if the transferor's trunk had called.
    fn find_targets(&self, cx: &mut Context, by: Side, user: String) -> Vec<Target> {
        let trunk = self.trunk(by);
        let user = cx.routed_user(trunk, user);
        let decision = cx.decide(trunk, &user);
        let targets = cx.targets(&decision.candidates);
        cx.tell_route(self.id, trunk, (&user, &decision), &targets);
        targets
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
        self.tell_failure(cx, code);
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
            self.tell_failure(cx, StatusCode::REQUEST_TERMINATED);
        }
        self.drop_transfer(cx);
    }

    /// Whoever waits for the transfer hears why nothing comes of it: who asked for it, or who called.
    fn tell_failure(&mut self, cx: &mut Context, code: StatusCode) {
        let newcomer = self.transfer.as_mut();
        let newcomer = newcomer.and_then(|transfer| transfer.newcomer.take_if(|it| it.calls()));
        match newcomer {
            Some(Newcomer::Calling(applicant)) => {
                self.account.outcome(Outcome::Code(code.as_u16()));
                self.turn_away(cx, *applicant, code);
            }
            _ => self.notify_transferor(cx, code),
        }
    }

    /// Lets go of the newcomer and of its media.
    fn drop_transfer(&mut self, cx: &mut Context) {
        cx.alarms.set(self.id, Alarm::Transfer, None);
        for ticket in self.held.forget_transfer() {
            cx.index.take_ticket(ticket);
        }
        let Some(mut transfer) = self.transfer.take() else {
            return;
        };
        self.end_join(cx, &mut transfer);
        if let Some(newcomer) = transfer.newcomer.take() {
            newcomer.end(cx, self.id);
        }
        if let Some(media) = transfer.media.take() {
            // What the party that remains was told last counts, whichever session it was of.
            if let Some(session) = self.session {
                let rest = transfer.by.other();
                cx.engine.carry_name((media.session, rest), (session, rest));
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
            .is_some_and(|transfer| transfer.by == side && transfer.referred());
        if leaves {
            self.farewell.departed = Some(side);
            let note = What::Note("the transferor hangs up, and its transfer goes on");
            cx.stories.tell(cx.now, self.id, note);
        }
        leaves
    }

    /// Whether a transfer is under way, of this call or with one of its parties.
    pub(super) fn is_in_transfer(&self) -> bool {
        self.transfer.is_some() || self.lent.is_some()
    }

    /// Why a request within the dialog cannot pass while a transfer is under way.
    pub(super) fn transfer_in_the_way(&self, method: &Method, from: Side) -> Option<StatusCode> {
        if !self.is_in_transfer() {
            return None;
        }
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
            None => self.on_loan_due(cx),
            Some(Stage::Inviting) => self.on_newcomer_silent(cx),
            Some(Stage::Pausing) => self.join_again(cx),
            _ => {}
        }
    }
}
