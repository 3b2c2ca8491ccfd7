//! Messages that announce flows wait here until every worker forwards them.
//!
//! First in, first out: a 2xx never overtakes the provisional response before it.

use std::collections::VecDeque;

use crate::installer::Ticket;
use crate::session::Side;
use crate::sip::Message;
use crate::transaction::ClientKey;

use super::relay::RelayId;
use super::reliable::Progress;

/// What a call does once the flows are there.
#[derive(Debug)]
pub(super) enum Then {
    /// Send the INVITE to the callee, with this session description.
    Invite(Option<Vec<u8>>),
    /// Send the caller a provisional response in the early dialog of this tag.
    Provisional(String, Progress),
    /// Send the caller the 2xx.
    Answer(Message),
    /// Acknowledge the callee's 2xx with the caller's answer.
    Acknowledge(Vec<u8>),
    /// Pass a request within the dialog on, with this session description.
    Forward(RelayId, Option<Vec<u8>>),
    /// Answer a request within the dialog.
    Respond(RelayId, Message),
    /// Acknowledge the 2xx to a request within the dialog with an answer.
    AcknowledgeRelay(RelayId, Vec<u8>),
    /// Send the offer of a transfer's target to the party that remains.
    Join,
    /// Give a newcomer its place in the call, with this description.
    Connect(Vec<u8>),
    /// Give a newcomer the place of a callee that rings.
    PickUp,
    /// Acknowledge the 2xx of a party that was lent to another call with this answer.
    Restore(Side, ClientKey, Vec<u8>),
}

/// What a call holds back.
#[derive(Debug, Default)]
pub(super) struct Held {
    queue: VecDeque<(Option<Ticket>, Then)>,
}

impl Held {
    /// Puts something at the end; without a ticket it waits only for what is before it.
    pub(super) fn push(&mut self, ticket: Option<Ticket>, then: Then) {
        self.queue.push_back((ticket, then));
    }

    /// The flows of the ticket are there.
    pub(super) fn ready(&mut self, ticket: Ticket) {
        for (waits_for, _) in &mut self.queue {
            if *waits_for == Some(ticket) {
                *waits_for = None;
            }
        }
    }

    /// The next thing that waits for nothing any more.
    pub(super) fn next(&mut self) -> Option<Then> {
        match self.queue.front() {
            Some((None, _)) => {
                let next = self.queue.pop_front().map(|(_, then)| then);
                self.rest();
                next
            }
            _ => None,
        }
    }

    /// A call that waits for nothing keeps no room for it: it may be up for hours.
    fn rest(&mut self) {
        if self.queue.is_empty() {
            self.queue = VecDeque::new();
        }
    }

    /// Takes out what waits for a ticket whose flows will not be there.
    pub(super) fn fail(&mut self, ticket: Ticket) -> Option<Then> {
        let place = self
            .queue
            .iter()
            .position(|(waits_for, _)| *waits_for == Some(ticket))?;
        let failed = self.queue.remove(place).map(|(_, then)| then);
        self.rest();
        failed
    }

    /// Forgets what belongs to a transfer; the tickets that it waited for.
    pub(super) fn forget_transfer(&mut self) -> Vec<Ticket> {
        self.forget(|then| matches!(then, Then::Join | Then::Connect(_)))
    }

    /// The same for a newcomer that picks a call up.
    pub(super) fn forget_pick_up(&mut self) -> Vec<Ticket> {
        self.forget(|then| matches!(then, Then::PickUp))
    }

    fn forget(&mut self, which: impl Fn(&Then) -> bool) -> Vec<Ticket> {
        let mut tickets = Vec::new();
        let mut place = 0;
        while let Some(held) = self.queue.get_mut(place) {
            if which(&held.1) {
                let taken = self.queue.remove(place);
                tickets.extend(taken.and_then(|(ticket, _)| ticket));
            } else {
                place += 1;
            }
        }
        tickets
    }

    /// Forgets everything; the tickets that it waited for.
    pub(super) fn clear(&mut self) -> impl Iterator<Item = Ticket> {
        self.queue.drain(..).filter_map(|(ticket, _)| ticket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(then: Option<Then>) -> Option<u8> {
        match then {
            Some(Then::Acknowledge(bytes)) => bytes.first().copied(),
            _ => None,
        }
    }

    #[test]
    fn what_is_ready_waits_for_what_is_before_it() {
        let mut held = Held::default();
        held.push(Some(Ticket(1)), Then::Acknowledge(vec![1]));
        held.push(None, Then::Acknowledge(vec![2]));
        held.push(Some(Ticket(3)), Then::Acknowledge(vec![3]));
        held.ready(Ticket(3));
        assert!(held.next().is_none());
        held.ready(Ticket(1));
        for expected in 1..=3 {
            assert_eq!(number(held.next()), Some(expected));
        }
        assert!(held.next().is_none());
    }

    #[test]
    fn a_failed_ticket_takes_its_own_message_along() {
        let mut held = Held::default();
        held.push(Some(Ticket(1)), Then::Acknowledge(vec![1]));
        held.push(Some(Ticket(2)), Then::Acknowledge(vec![2]));
        assert_eq!(number(held.fail(Ticket(2))), Some(2));
        assert!(held.fail(Ticket(2)).is_none());
        assert_eq!(held.clear().collect::<Vec<_>>(), [Ticket(1)]);
    }
}
