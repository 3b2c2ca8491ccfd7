//! Reliable provisional responses (RFC 3262), on each leg for itself.
//!
//! ```text
//!   caller                    tandem                    callee
//!     │◄─ 183 RSeq 71 ──────────│◄─ 183 RSeq 9 ────────────│   both legs reliable: the PRACK is the caller's
//!     │── PRACK 71 ────────────►│── PRACK 9 ──────────────►│
//!     │◄─ 183 ──────────────────│◄─ 183 RSeq 9 ────────────│   the caller lacks it: we acknowledge
//!     │                         │── PRACK 9 ──────────────►│
//!     │◄─ 183 RSeq 71 ──────────│◄─ 183 ───────────────────│   the caller requires it: we repeat until PRACK
//!     │── PRACK 71 ────────────►│                          │
//! ```
//!
//! Each leg has RSeq numbers of its own. Knows nothing of what session descriptions mean: `negotiation` does.

mod receiving;
mod sending;
mod table;
#[cfg(test)]
mod tests;

use crate::records::Releaser;
use crate::session::Side;
use crate::settings::{ReliableProvisional, TrunkId};
use crate::sip::typed::RAck;
use crate::sip::{HeaderName, Message, Method, StatusCode};
use crate::story::What;
use crate::transaction::ServerKey;

use super::Trigger;
use super::account::Cut;
use super::alarms::Alarm;
use super::call::Call;
use super::context::Context;
use super::passing;

pub(super) use receiving::Incoming;
pub(super) use sending::{Outgoing, Progress};
pub(super) use table::ReceiveTrigger;

use sending::{Acknowledged, Due, Outcome};

/// The option tag.
pub(super) const OPTION: &str = "100rel";

/// What the caller, by its INVITE and its trunk, makes of reliable provisional responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Demand {
    /// It takes none.
    None,
    /// It can take them.
    Supported,
    /// It takes no others.
    Required,
}

impl Demand {
    /// What an INVITE from this trunk says; an error when the two cannot come together.
    pub(super) fn of(invite: &Message, policy: ReliableProvisional) -> Result<Self, StatusCode> {
        let requires = invite.lists(&HeaderName::Require, OPTION);
        let supports = requires || invite.lists(&HeaderName::Supported, OPTION);
        match (policy, requires, supports) {
            (ReliableProvisional::Off, true, _) => Err(StatusCode::BAD_EXTENSION),
            (ReliableProvisional::Off, ..) => Ok(Self::None),
            (ReliableProvisional::Required, _, false) => Err(StatusCode::EXTENSION_REQUIRED),
            (ReliableProvisional::Required, ..) | (_, true, _) => Ok(Self::Required),
            (ReliableProvisional::Supported, _, true) => Ok(Self::Supported),
            (ReliableProvisional::Supported, _, false) => Ok(Self::None),
        }
    }
}

/// Whether the INVITE for a callee offers `100rel`; the header that says so. A callee that sends one reliably
/// to an INVITE without offer puts its own into it, and only a caller that acknowledges can answer that.
///
/// # Errors
/// 421 when the trunk insists and the caller cannot.
pub(super) fn offered(
    policy: ReliableProvisional,
    caller: Demand,
    has_offer: bool,
) -> Result<Option<HeaderName>, StatusCode> {
    let possible = has_offer || caller != Demand::None;
    match (policy, possible) {
        (ReliableProvisional::Off, _) => Ok(None),
        (ReliableProvisional::Required, true) => Ok(Some(HeaderName::Require)),
        (ReliableProvisional::Required, false) => Err(StatusCode::EXTENSION_REQUIRED),
        (ReliableProvisional::Supported, true) => Ok(Some(HeaderName::Supported)),
        (ReliableProvisional::Supported, false) => Ok(None),
    }
}

/// The trunk's policy.
pub(super) fn policy(cx: &Context, trunk: TrunkId) -> ReliableProvisional {
    cx.dialog_policy(trunk).reliable_provisional
}

/// What a provisional response of the callee is.
pub(super) enum Arrival {
    /// Not reliable.
    Plain,
    /// To be acknowledged by this RSeq.
    Reliable(u32),
    /// Not to be looked at.
    Void(&'static str),
}

impl Call {
    /// Takes the callee's provisional response in, in the dialog at `place`.
    pub(super) fn arrival(&mut self, place: usize, response: &Message) -> Arrival {
        let offered = self
            .attempt
            .as_ref()
            .is_some_and(|attempt| attempt.reliable);
        let reliable = offered && response.lists(&HeaderName::Require, OPTION);
        let (true, Some(pair)) = (reliable, self.pairs.get_mut(place)) else {
            return Arrival::Plain;
        };
        let Ok(rseq) = response.rseq() else {
            return Arrival::Void("rseq_malformed");
        };
        match pair.incoming.take(rseq) {
            ReceiveTrigger::First | ReceiveTrigger::Next => Arrival::Reliable(rseq),
            ReceiveTrigger::Repeated => Arrival::Void("rseq_repeated"),
            ReceiveTrigger::Gap => Arrival::Void("rseq_out_of_order"),
        }
    }

    /// Whether what the callee says goes to the caller reliably.
    pub(super) fn goes_reliably(&self, by_callee: bool) -> bool {
        match self.caller.reliable {
            Demand::None => false,
            Demand::Supported => by_callee,
            Demand::Required => true,
        }
    }

    /// Sends the caller a provisional response in the dialog of this tag, once its flows are there.
    pub(super) fn send_progress(&mut self, cx: &mut Context, tag: &str, progress: Progress) {
        let Some(place) = self.place_of(tag) else {
            return;
        };
        let owed = progress.owed;
        if !self.goes_reliably(owed.is_some()) {
            cx.respond(self.caller.key, progress.response);
            return;
        }
        let Some(pair) = self.pairs.get_mut(place) else {
            return;
        };
        match pair
            .outgoing
            .provisional(cx.now, &cx.settings.timers, progress)
        {
            Outcome::Send(response) => {
                cx.respond(self.caller.key, response);
            }
            Outcome::Kept => {}
            Outcome::Dropped => {
                cx.drop_of(self.id, "too_many_provisionals");
                if let Some(rseq) = owed {
                    self.prack_callee(cx, place, rseq);
                }
            }
        }
        self.set_reliable_alarm(cx);
    }

    /// Acknowledges the callee's response for a caller that does not. Whatever comes of it, the INVITE decides.
    pub(super) fn prack_callee(&mut self, cx: &mut Context, place: usize, rseq: u32) {
        let Some(rack) = self.callee_rack(rseq) else {
            return;
        };
        let trunk = self.trunk(Side::B);
        let note = What::Note("tandem acknowledges a provisional response of the callee");
        cx.stories.tell(cx.now, self.id, note);
        let Some(pair) = self.pairs.get_mut(place) else {
            return;
        };
        let mut prack = pair.callee.request(Method::Prack);
        prack.headers.push(HeaderName::RAck, rack.to_string());
        cx.sign(&mut prack);
        if cx
            .request_within(Some(self.id), trunk, &pair.callee, prack)
            .is_err()
        {
            cx.drop_of(self.id, "prack_unsent");
        }
    }

    /// What acknowledges the callee's response of this RSeq.
    pub(super) fn callee_rack(&self, rseq: u32) -> Option<RAck> {
        let invite = &self.attempt.as_ref()?.invite;
        Some(RAck {
            rseq,
            cseq: invite.cseq().ok()?.number,
            method: Method::Invite,
        })
    }

    /// PRACK from the caller; the dialog and the number have been checked.
    pub(super) fn on_prack(
        &mut self,
        cx: &mut Context,
        place: usize,
        key: ServerKey,
        prack: Message,
    ) {
        let number = self.caller.invite.cseq().map_or(0, |cseq| cseq.number);
        let Ok(rack) = prack.rack() else {
            return cx.refuse(key, &prack, StatusCode::BAD_REQUEST);
        };
        let pair = self.pairs.get_mut(place);
        let Some(done) = pair.and_then(|pair| pair.outgoing.prack(&rack, number)) else {
            return cx.refuse(key, &prack, StatusCode::NO_SUCH_CALL);
        };
        self.set_reliable_alarm(cx);
        self.take_prack(cx, place, key, prack, done);
        self.after_prack(cx, place);
    }

    fn take_prack(
        &mut self,
        cx: &mut Context,
        place: usize,
        key: ServerKey,
        prack: Message,
        done: Acknowledged,
    ) {
        if let Some(pair) = self.pairs.get_mut(place)
            && done.describes
            && pair.talk.open() == Some(Side::A)
        {
            pair.talk.settle(Side::A);
        }
        if let Some(rseq) = done.owed {
            return self.relay_prack(cx, place, key, prack, rseq);
        }
        // The callee knows no PRACK that could bring it an offer.
        if passing::sdp_of(&prack).is_some() {
            return cx.refuse(key, &prack, StatusCode::NOT_ACCEPTABLE_HERE);
        }
        let mut response = prack.response(StatusCode::OK, None);
        cx.sign(&mut response);
        cx.respond(key, response);
    }

    /// What the PRACK has made way for.
    fn after_prack(&mut self, cx: &mut Context, place: usize) {
        let Some(pair) = self.pairs.get_mut(place) else {
            return;
        };
        let answer = pair.outgoing.take_answer();
        if let Some(response) = pair.outgoing.next(cx.now, &cx.settings.timers) {
            cx.respond(self.caller.key, response);
        }
        self.set_reliable_alarm(cx);
        if let Some(answer) = answer {
            self.deliver_answer(cx, answer);
        }
    }

    /// Keeps the 2xx back that may not overtake what is not acknowledged; it comes back if it may leave.
    pub(super) fn hold_answer(&mut self, cx: &mut Context, answer: Message) -> Option<Message> {
        let answer = match self.pairs.first_mut() {
            Some(pair) => pair.outgoing.answer(answer),
            None => Some(answer),
        };
        if answer.is_none() {
            cx.tell_timer(self.id, "the 2xx waits for the caller's PRACK");
        }
        self.set_reliable_alarm(cx);
        answer
    }

    /// Something is due in one of the early dialogs.
    pub(super) fn on_reliable_due(&mut self, cx: &mut Context) {
        let mut given_up = false;
        for pair in &mut self.pairs {
            match pair.outgoing.on_time(cx.now) {
                Some(Due::Again(response)) => {
                    cx.counters.provisionals_repeated += 1;
                    let text = "no PRACK of the caller yet: the provisional response again";
                    cx.tell_timer(self.id, text);
                    cx.respond(self.caller.key, response);
                }
                Some(Due::GiveUp) => given_up = true,
                None => {}
            }
        }
        self.set_reliable_alarm(cx);
        if given_up {
            cx.tell_timer(self.id, "no PRACK of the caller for 64 T1");
            let cut = Cut::new(Releaser::Caller, "no_prack", StatusCode::SERVER_TIMEOUT);
            self.released(cx, cut, None);
            self.withdraw(cx, Trigger::NoPrack, StatusCode::SERVER_TIMEOUT, None);
        }
    }

    fn set_reliable_alarm(&self, cx: &mut Context) {
        let deadlines = self
            .pairs
            .iter()
            .filter_map(|pair| pair.outgoing.deadline());
        cx.alarms.set(self.id, Alarm::Reliable, deadlines.min());
    }
}
