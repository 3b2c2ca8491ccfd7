//! Our reliable provisional responses within one early dialog with a caller: numbered, sent again, kept in
//! order (RFC 3262 §3). Sans-IO: says what is to be sent.

use std::collections::VecDeque;
use std::time::Duration;

use contract::Timestamp;

use super::table::{SendTrigger, Sending};
use crate::settings::SipTimers;
use crate::sip::typed::RAck;
use crate::sip::{HeaderName, Message, Method};

/// How many responses may wait behind the one that is not acknowledged. A callee that says so much while the
/// caller says nothing has a caller that is gone.
const MAX_KEPT: usize = 8;

/// A provisional response for the caller.
#[derive(Debug)]
pub(in crate::b2bua) struct Progress {
    /// Without Require and RSeq.
    pub(in crate::b2bua) response: Message,
    /// It has a session description.
    pub(in crate::b2bua) describes: bool,
    /// The RSeq of the callee's own, which waits for the caller's PRACK.
    pub(in crate::b2bua) owed: Option<u32>,
}

/// What a PRACK has acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::b2bua) struct Acknowledged {
    /// See [`Progress::describes`].
    pub(in crate::b2bua) describes: bool,
    /// See [`Progress::owed`].
    pub(in crate::b2bua) owed: Option<u32>,
}

/// What becomes of a response that is to be sent.
#[derive(Debug)]
pub(in crate::b2bua) enum Outcome {
    /// It is to be sent now, as it is here.
    Send(Message),
    /// It waits for those before it.
    Kept,
    /// Too many wait.
    Dropped,
}

/// What is due.
#[derive(Debug)]
pub(in crate::b2bua) enum Due {
    /// This is to be sent again.
    Again(Message),
    /// The caller has not acknowledged for 64 T1.
    GiveUp,
}

/// The responses of one early dialog.
#[derive(Debug, Default)]
pub(in crate::b2bua) struct Outgoing {
    state: Sending,
    /// The RSeq of the last.
    rseq: u32,
    unacknowledged: Option<Unacknowledged>,
    kept: VecDeque<Progress>,
    /// The 2xx that waits.
    answer: Option<Box<Message>>,
}

#[derive(Debug)]
struct Unacknowledged {
    progress: Progress,
    /// How long until it is sent again, doubled each time.
    interval: Duration,
    again: Timestamp,
    until: Timestamp,
}

impl Outgoing {
    /// `before` is any number below 2^31: the first RSeq is the one after it.
    pub(in crate::b2bua) fn new(before: u32) -> Self {
        Self {
            rseq: before,
            ..Self::default()
        }
    }

    /// A response is to be sent reliably.
    pub(in crate::b2bua) fn provisional(
        &mut self,
        now: Timestamp,
        timers: &SipTimers,
        progress: Progress,
    ) -> Outcome {
        let idle = self.state == Sending::Idle;
        if self.kept.len() >= MAX_KEPT || !self.step(SendTrigger::Provisional) {
            return Outcome::Dropped;
        }
        if idle {
            return Outcome::Send(self.send(now, timers, progress));
        }
        self.kept.push_back(progress);
        Outcome::Kept
    }

    /// A PRACK for the INVITE of this number; `None` when it acknowledges nothing that waits.
    pub(in crate::b2bua) fn prack(&mut self, rack: &RAck, cseq: u32) -> Option<Acknowledged> {
        let names = rack.rseq == self.rseq && rack.cseq == cseq && rack.method == Method::Invite;
        if !names || self.unacknowledged.is_none() || !self.step(SendTrigger::Prack) {
            return None;
        }
        let Progress {
            describes, owed, ..
        } = self.unacknowledged.take()?.progress;
        Some(Acknowledged { describes, owed })
    }

    /// The next that may be sent, once nothing waits.
    pub(in crate::b2bua) fn next(&mut self, now: Timestamp, timers: &SipTimers) -> Option<Message> {
        if self.state != Sending::Idle {
            return None;
        }
        let progress = self.kept.pop_front()?;
        self.step(SendTrigger::Provisional);
        Some(self.send(now, timers, progress))
    }

    /// The 2xx: it comes back if it may be sent now; otherwise [`Self::take_answer`] has it after the PRACK.
    /// What is kept is void.
    pub(in crate::b2bua) fn answer(&mut self, answer: Message) -> Option<Message> {
        let waiting = self.unacknowledged.as_ref();
        if waiting.is_some_and(|waiting| waiting.progress.describes) {
            self.kept.clear();
            self.step(SendTrigger::AnswerWaits);
            self.answer = Some(Box::new(answer));
            return None;
        }
        self.kept.clear();
        self.step(SendTrigger::Answer);
        Some(answer)
    }

    /// The 2xx that has waited, once it may be sent.
    pub(in crate::b2bua) fn take_answer(&mut self) -> Option<Message> {
        match self.state {
            Sending::Answered => self.answer.take().map(|answer| *answer),
            _ => None,
        }
    }

    /// When something is due.
    pub(in crate::b2bua) fn deadline(&self) -> Option<Timestamp> {
        let waiting = self.unacknowledged.as_ref();
        waiting
            .filter(|_| matches!(self.state, Sending::Waiting | Sending::Holding))
            .map(|waiting| waiting.again.min(waiting.until))
    }

    /// What is due now.
    pub(in crate::b2bua) fn on_time(&mut self, now: Timestamp) -> Option<Due> {
        self.deadline().filter(|due| *due <= now)?;
        let waiting = self.unacknowledged.as_mut()?;
        if waiting.until <= now {
            self.step(SendTrigger::GiveUp);
            return Some(Due::GiveUp);
        }
        waiting.interval = waiting.interval.saturating_mul(2);
        waiting.again = now + waiting.interval;
        let response = waiting.progress.response.clone();
        self.step(SendTrigger::Again);
        Some(Due::Again(response))
    }

    fn send(&mut self, now: Timestamp, timers: &SipTimers, mut progress: Progress) -> Message {
        self.rseq = self.rseq.wrapping_add(1).max(1);
        let headers = &mut progress.response.headers;
        headers.push(HeaderName::Require, super::OPTION);
        headers.push(HeaderName::RSeq, self.rseq.to_string());
        let response = progress.response.clone();
        self.unacknowledged = Some(Unacknowledged {
            progress,
            interval: timers.t1,
            again: now + timers.t1,
            until: now + timers.t1.saturating_mul(64),
        });
        response
    }

    fn step(&mut self, trigger: SendTrigger) -> bool {
        let Some(next) = self.state.after(trigger) else {
            return false;
        };
        self.state = next;
        true
    }

    #[cfg(test)]
    pub(super) fn state(&self) -> Sending {
        self.state
    }
}
