//! Tickets: who waits for which flows, and until when.

use contract::{FlowKey, Timestamp};

use super::flow::Flow;
use super::{ACKNOWLEDGE_WITHIN, Installer, Output, RESOLVE_WITHIN, Ticket, TicketFailure, Timer};

/// What a ticket waits for.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) keys: Vec<FlowKey>,
    /// Until when it also waits for next hops.
    resolve_until: Timestamp,
    expires: Timestamp,
}

impl Installer {
    /// A ticket for the flows at these ports; `None` when they are in force everywhere already.
    pub(crate) fn ticket(&mut self, now: Timestamp, keys: &[FlowKey]) -> Option<Ticket> {
        let waiting = Waiting {
            keys: keys.to_vec(),
            resolve_until: now + RESOLVE_WITHIN,
            expires: now + ACKNOWLEDGE_WITHIN,
        };
        if self.is_met(now, &waiting) {
            return None;
        }
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        self.timers
            .insert((waiting.resolve_until, Timer::Resolved(ticket)));
        self.timers
            .insert((waiting.expires, Timer::Expired(ticket)));
        for key in keys {
            if let Some(flow) = self.flows.get_mut(*key) {
                flow.add_ticket(ticket);
            }
        }
        self.tickets.insert(ticket, waiting);
        Some(ticket)
    }

    /// Nobody waits for the ticket any more.
    pub(crate) fn tear_up(&mut self, ticket: Ticket) {
        if let Some(waiting) = self.tickets.remove(&ticket) {
            for key in &waiting.keys {
                if let Some(flow) = self.flows.get_mut(*key) {
                    flow.forget_ticket(ticket);
                }
            }
            self.timers
                .remove(&(waiting.resolve_until, Timer::Resolved(ticket)));
            self.timers
                .remove(&(waiting.expires, Timer::Expired(ticket)));
        }
    }

    pub(super) fn check_ticket(&mut self, now: Timestamp, ticket: Ticket) {
        if self
            .tickets
            .get(&ticket)
            .is_some_and(|waiting| self.is_met(now, waiting))
        {
            self.tear_up(ticket);
            self.outputs.push_back(Output::Ready(ticket));
        }
    }

    pub(super) fn check_tickets(&mut self, now: Timestamp, tickets: Vec<Ticket>) {
        for ticket in tickets {
            self.check_ticket(now, ticket);
        }
    }

    pub(super) fn fail(&mut self, ticket: Ticket, why: TicketFailure) {
        if self.tickets.contains_key(&ticket) {
            self.tear_up(ticket);
            *self.tally.tickets_failed.entry(why.name()).or_default() += 1;
            self.outputs.push_back(Output::Failed(ticket, why));
        }
    }

    pub(super) fn fail_tickets_at(&mut self, key: FlowKey, why: TicketFailure) {
        for ticket in self.tickets_at(key) {
            self.fail(ticket, why);
        }
    }

    /// The tickets that wait for this port, among others.
    pub(super) fn tickets_at(&self, key: FlowKey) -> Vec<Ticket> {
        self.flows
            .get(key)
            .map(|flow| flow.tickets().to_vec())
            .unwrap_or_default()
    }

    fn is_met(&self, now: Timestamp, waiting: &Waiting) -> bool {
        waiting.keys.iter().all(|key| {
            let acknowledged = self.flows.get(*key).is_none_or(Flow::is_settled);
            acknowledged && (now >= waiting.resolve_until || self.is_linked(*key))
        })
    }
}
