//! Session timers (RFC 4028), on each leg for itself: what its INVITEs and UPDATEs say of them, our own refreshes,
//! and the end of calls whose peer is gone.
//!
//! ```text
//!   caller                     tandem                     callee
//!     │── INVITE, 1800 ─────────►│── INVITE, 600 ──────────►│     each leg by its trunk's policy
//!     │◄─ 2xx, 1800;uas ─────────│◄─ 2xx, 600;uac ──────────│
//!     │                          │── UPDATE, 600;uac ──────►│     each 300 s
//!     │◄─ UPDATE, 1800;uac ──────│                          │     each 900 s
//! ```
//!
//! Where both trunks say `pass`, the peers agree between themselves, and this is only a copy.

mod agreement;
mod clock;
mod refresh;
mod table;
#[cfg(test)]
mod tests;

use contract::Timestamp;

use crate::session::Side;
use crate::settings::{SessionTimer, TimerMode, TrunkId};
use crate::sip::typed::SessionExpires;
use crate::sip::{HeaderName, Message, Method, StatusCode};
use crate::transaction::ServerKey;

use super::CallState;
use super::admission::Refusal;
use super::alarms::Alarm;
use super::call::Call;
use super::challenges::renumber;
use super::context::Context;
use super::passing;

pub(super) use agreement::{OPTION, too_short};
pub(super) use refresh::Refresh;

use agreement::Agreement;
use clock::Clock;

/// A leg's timer, and what its peer has told of itself.
#[derive(Debug, Default)]
pub(super) struct LegTimer {
    clock: Clock,
    /// Our refresh that is on its way.
    refresh: Option<Refresh>,
    /// The peer takes UPDATE.
    updates: bool,
    /// The highest Min-SE that it has told.
    least: u32,
    /// Its 422 has been followed this often.
    raised: u32,
    /// What the story was told of last.
    told: Option<Agreement>,
}

/// How often a 422 is followed in one call: a peer that names a higher Min-SE each time wants no call.
const MAX_RAISED: u32 = 3;

/// The timers of both legs.
#[derive(Debug, Default)]
pub(super) struct Timers {
    caller: LegTimer,
    callee: LegTimer,
}

impl Timers {
    fn of(&mut self, side: Side) -> &mut LegTimer {
        match side {
            Side::A => &mut self.caller,
            Side::B => &mut self.callee,
        }
    }

    /// Completes a request within the dialog that passes on the other side's.
    pub(super) fn ask(
        &mut self,
        side: Side,
        policy: &SessionTimer,
        passes: &Message,
        request: &mut Message,
    ) {
        self.of(side).ask(policy, Some(passes), request);
    }

    /// Completes a 2xx that passes on the other side's, and takes in what it agrees to.
    pub(super) fn answer(
        &mut self,
        side: Side,
        policy: &SessionTimer,
        now: Timestamp,
        request: &Message,
        with: (&Message, &mut Message),
    ) {
        self.of(side).answer(policy, now, request, with);
    }

    /// Takes in what a 2xx of this side agrees to.
    pub(super) fn learn(
        &mut self,
        side: Side,
        policy: &SessionTimer,
        now: Timestamp,
        asked: Option<SessionExpires>,
        response: &Message,
    ) {
        self.of(side).learn(policy, now, asked, response);
    }

    /// Another target has a leg of its own.
    pub(super) fn forget_callee(&mut self) {
        self.callee = LegTimer::default();
    }

    /// Another party has the place of this side.
    pub(super) fn forget(&mut self, side: Side) {
        *self.of(side) = LegTimer::default();
    }
}

/// The policy of a leg on the one trunk whose other leg is on the other. The peers agree between themselves only
/// where both trunks let them.
fn policy_between(cx: &Context, own: TrunkId, other: TrunkId) -> SessionTimer {
    let of = |trunk| cx.dialog_policy(trunk).session_timer;
    let mut policy = of(own);
    if policy.mode == TimerMode::Pass && of(other).mode != TimerMode::Pass {
        policy.mode = TimerMode::Accept;
    }
    policy
}

/// Completes the INVITE for a callee on the trunk `to`, by that of a caller on `from`.
pub(super) fn ask_callee(
    cx: &Context,
    from: TrunkId,
    to: TrunkId,
    passes: &Message,
    invite: &mut Message,
) {
    let policy = policy_between(cx, to, from);
    LegTimer::default().ask(&policy, Some(passes), invite);
}

/// The INVITE once more, with an interval that is long enough for a callee that has said 422 (RFC 4028 §7.4). Who
/// refreshes stays as it was.
pub(super) fn lengthen(policy: &SessionTimer, least: u32, invite: &mut Message) {
    let number = invite.cseq().map_or(1, |cseq| cseq.number);
    renumber(invite, number.saturating_add(1));
    let asked = invite.session_expires().ok();
    let wanted = SessionExpires {
        seconds: asked.map_or(least, |asked| asked.seconds.max(least)),
        refresher: asked.and_then(|asked| asked.refresher),
    };
    let least = least.max(agreement::seconds(policy.min));
    invite
        .headers
        .set(HeaderName::SessionExpires, wanted.to_string());
    invite.headers.set(HeaderName::MinSe, least.to_string());
}

/// The same on the trunk `own` for a call from `other`; false when the interval is not ours to agree on, or is that long
/// already.
pub(super) fn lengthen_for(
    cx: &Context,
    (own, other): (TrunkId, TrunkId),
    least: u32,
    invite: &mut Message,
) -> bool {
    let policy = policy_between(cx, own, other);
    let asked = invite.session_expires();
    let longer = asked.is_ok_and(|asked| asked.seconds < least);
    // Its number tells how often it was sent.
    let sent = invite.cseq().map_or(1, |cseq| cseq.number);
    if policy.mode == TimerMode::Pass || !longer || sent > MAX_RAISED {
        return false;
    }
    lengthen(&policy, least, invite);
    true
}

impl Call {
    /// The policy on this side's leg.
    pub(super) fn timer_policy(&self, cx: &Context, side: Side) -> SessionTimer {
        policy_between(cx, self.trunk(side), self.trunk(side.other()))
    }

    /// Completes our INVITE or UPDATE within the dialog of this side with what it says of the timer; `passes` is the
    /// other side's request, if it passes that on.
    pub(super) fn time_request(
        &mut self,
        cx: &Context,
        side: Side,
        passes: Option<&Message>,
        request: &mut Message,
    ) {
        let policy = self.timer_policy(cx, side);
        let leg = self.timers.of(side);
        leg.ask(&policy, passes, request);
    }

    /// The policy by which an INVITE or UPDATE within the dialog goes to this side; `None` while it rings, when there is
    /// no timer but what the peers say themselves.
    pub(super) fn relayed_timer(&self, cx: &Context, side: Side) -> Option<SessionTimer> {
        let up = matches!(self.state(), CallState::Answered | CallState::Established);
        let policy = self.timer_policy(cx, side);
        (up || policy.mode == TimerMode::Pass).then_some(policy)
    }

    /// Takes a 422 to a request that passes to this side in; false where its interval is not ours to agree on.
    pub(super) fn takes_least(&mut self, cx: &Context, side: Side, response: &Message) -> bool {
        let passes = self.timer_policy(cx, side).mode == TimerMode::Pass;
        let least = response.min_se().unwrap_or_default();
        self.timers.of(side).raise(least);
        !passes
    }

    /// Takes a 422 to a request of our own to this side in; false where that is not to be followed.
    pub(super) fn follows_least(&mut self, cx: &Context, side: Side, response: &Message) -> bool {
        let passes = self.timer_policy(cx, side).mode == TimerMode::Pass;
        let least = response.min_se().unwrap_or_default();
        !passes && self.timers.of(side).raise(least)
    }

    /// Takes in what the 2xx of this side agrees to; `asked` is what our INVITE or UPDATE wanted.
    pub(super) fn time_learn(
        &mut self,
        cx: &mut Context,
        side: Side,
        asked: Option<SessionExpires>,
        response: &Message,
    ) {
        let policy = self.timer_policy(cx, side);
        self.timers.of(side).learn(&policy, cx.now, asked, response);
        self.set_session_alarm(cx, side);
    }

    /// The timers of the answered INVITE: what the callee's 2xx agrees to, and what ours to the caller does. They run
    /// once the caller has it.
    pub(super) fn time_answer(&mut self, cx: &Context, response: &Message, passed: &mut Message) {
        let attempt = self.attempt.as_ref();
        let asked = attempt.and_then(|attempt| attempt.invite.session_expires().ok());
        let [a, b] = [Side::A, Side::B].map(|side| self.timer_policy(cx, side));
        self.timers.callee.learn(&b, cx.now, asked, response);
        let invite = &self.caller.invite;
        self.timers
            .caller
            .answer(&a, cx.now, invite, (response, passed));
    }

    /// The timers of a call that was picked up: what our 2xx to each of the two INVITEs agrees to.
    pub(super) fn time_pick_up(
        &mut self,
        cx: &Context,
        newcomer: &Message,
        (theirs, ours): (&mut Message, &mut Message),
    ) {
        let [a, b] = [Side::A, Side::B].map(|side| {
            let mut policy = self.timer_policy(cx, side);
            // Nobody has agreed on anything between the two ends.
            if policy.mode == TimerMode::Pass {
                policy.mode = TimerMode::Accept;
            }
            policy
        });
        self.timers.forget_callee();
        let invite = &self.caller.invite;
        let caller = &mut self.timers.caller;
        caller.answer(&a, cx.now, invite, (newcomer, theirs));
        let callee = &mut self.timers.callee;
        callee.answer(&b, cx.now, newcomer, (invite, ours));
    }

    /// The caller has the 2xx: the timers of both legs run.
    pub(super) fn start_timers(&mut self, cx: &mut Context) {
        for side in [Side::A, Side::B] {
            self.set_session_alarm(cx, side);
        }
    }

    /// Whether a request of this side asks for too short an interval; then the shortest that is taken.
    pub(super) fn interval_in_the_way(
        &self,
        cx: &Context,
        side: Side,
        request: &Message,
    ) -> Option<u64> {
        let policy = self.timer_policy(cx, side);
        let counts = matches!(request.method(), Some(Method::Invite | Method::Update));
        (counts && too_short(&policy, request)).then_some(policy.min.as_secs())
    }

    /// The callee wants a longer interval than our INVITE asks for (RFC 4028 §7.4): it is sent again with that.
    /// False when the failure is of another kind.
    pub(super) fn ask_for_longer(&mut self, cx: &mut Context, response: &Message) -> bool {
        let too_small = response.code() == Some(StatusCode::INTERVAL_TOO_SMALL);
        let (true, Ok(least)) = (too_small, response.min_se()) else {
            return false;
        };
        if self.timer_policy(cx, Side::B).mode == TimerMode::Pass
            || !self.timers.callee.raise(least)
        {
            return false;
        }
        let policy = self.timer_policy(cx, Side::B);
        let Some(attempt) = &self.attempt else {
            return false;
        };
        let mut invite = attempt.invite.clone();
        lengthen(&policy, least, &mut invite);
        let text = "the callee wants a longer session: its INVITE leaves again";
        cx.tell_timer(self.id, text);
        self.send_again(cx, invite)
    }

    /// The session on this leg is to be refreshed, or over.
    pub(super) fn on_session_due(&mut self, cx: &mut Context, side: Side) {
        // Before the caller has its 2xx nothing is refreshed; that starts the timers.
        if !matches!(self.state(), CallState::Answered | CallState::Established) {
            return;
        }
        if self.is_in_transfer() {
            // Nobody can refresh by re-INVITE now. A transfer has its own ends.
            self.timers.of(side).clock.put_off(cx.now);
        }
        match self.timers.of(side).clock.on_time(cx.now) {
            Some(clock::Due::Refresh) => self.refresh(cx, side),
            Some(clock::Due::Expired) => {
                let text = format!(
                    "the session of {} is over: nobody has refreshed it",
                    leg(side)
                );
                cx.tell_timer(self.id, text);
                self.hang_up(cx, super::ending::Cause::SessionExpired);
            }
            None => {}
        }
        self.set_session_alarm(cx, side);
    }

    /// Answers an UPDATE that offers nothing while it cannot pass to the other side: it refreshes the session of its
    /// sender's leg (RFC 4028 §9).
    pub(super) fn answer_refresh(
        &mut self,
        cx: &mut Context,
        side: Side,
        key: ServerKey,
        request: &Message,
    ) {
        if self.farewell.departed == Some(side) {
            return cx.refuse(key, request, StatusCode::NO_SUCH_CALL);
        }
        if let Some(least) = self.interval_in_the_way(cx, side, request) {
            return Refusal::interval(least).send(cx, key, request);
        }
        let mut policy = self.timer_policy(cx, side);
        // The other side is not asked.
        if policy.mode == TimerMode::Pass {
            policy.mode = TimerMode::Accept;
        }
        let mut response = request.response(StatusCode::OK, None);
        if let Some(pair) = self.pairs.first() {
            cx.introduce(&mut response, pair.dialog(side).path().listener);
        }
        let with = (request, &mut response);
        self.timers.answer(side, &policy, cx.now, request, with);
        self.set_session_alarm(cx, side);
        cx.respond(key, response);
    }

    /// Sends the INVITE to the callee once more, as another request of the same call.
    fn send_again(&mut self, cx: &mut Context, invite: Message) -> bool {
        self.retain_pair(cx, None);
        let Some(attempt) = &mut self.attempt else {
            return false;
        };
        let path = cx.way_out(attempt.target);
        let Ok(key) = cx.forward(self.id, self.caller.key, invite.clone(), path) else {
            return false;
        };
        attempt.invite = invite;
        attempt.key = Some(key);
        cx.timers.set(self.id, cx.now + cx.settings.no_answer);
        true
    }

    fn set_session_alarm(&mut self, cx: &mut Context, side: Side) {
        self.tell_session(cx, side);
        let deadline = self.timers.of(side).clock.deadline();
        cx.alarms.set(self.id, Alarm::Session(side), deadline);
    }
}

impl Call {
    /// Tells the story what holds on this side's leg, once it is another than before.
    fn tell_session(&mut self, cx: &mut Context, side: Side) {
        let timer = self.timers.of(side);
        let agreed = timer.clock.agreed();
        if timer.told == agreed {
            return;
        }
        timer.told = agreed;
        let text = match agreed {
            Some(Agreement { interval, ours, .. }) => {
                let who = if ours { "tandem" } else { "the peer" };
                format!(
                    "the session of {} lasts {interval} s, and {who} refreshes it",
                    leg(side)
                )
            }
            None => format!("the session of {} has no end", leg(side)),
        };
        cx.tell_timer(self.id, text);
    }
}

/// What a story calls a leg.
const fn leg(side: Side) -> &'static str {
    match side {
        Side::A => "the caller's leg",
        Side::B => "the callee's leg",
    }
}

impl LegTimer {
    fn ask(&self, policy: &SessionTimer, passes: Option<&Message>, request: &mut Message) {
        match (policy.mode, passes) {
            (TimerMode::Pass, Some(passes)) => passing::pass_timer(passes, request),
            _ => agreement::ask(policy, self.clock.agreed(), self.least, request),
        }
    }

    fn answer(
        &mut self,
        policy: &SessionTimer,
        now: Timestamp,
        request: &Message,
        (passes, response): (&Message, &mut Message),
    ) {
        self.note_methods(request);
        if policy.mode == TimerMode::Pass {
            return passing::pass_timer(passes, response);
        }
        let agreed = agreement::answer(policy, request, response);
        self.clock.agree(now, agreed);
    }

    fn learn(
        &mut self,
        policy: &SessionTimer,
        now: Timestamp,
        asked: Option<SessionExpires>,
        response: &Message,
    ) {
        self.note_methods(response);
        let agreed = agreement::learn(policy, asked, response);
        self.clock.agree(now, agreed);
    }

    /// A message without Allow says nothing new of what the peer takes.
    fn note_methods(&mut self, message: &Message) {
        if message.headers.contains(&HeaderName::Allow) {
            self.updates = message.lists(&HeaderName::Allow, Method::Update.as_str());
        }
    }

    /// Takes the Min-SE of a 422 in; false when that is not to be followed.
    fn raise(&mut self, least: u32) -> bool {
        if least <= self.least || self.raised >= MAX_RAISED {
            return false;
        }
        self.least = least;
        self.raised += 1;
        true
    }
}
