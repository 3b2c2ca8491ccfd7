//! Whose is it: the call behind a tag, a transaction, a ticket or a session.
//!
//! Calls enter what they own and take it out again; [`Index::held`] is zero when nothing is left.

use std::collections::HashMap;

use crate::installer::Ticket;
use crate::registration::RegistrationId;
use crate::session::{SessionId, Side};
use crate::transaction::{ClientKey, ServerKey};

use crate::routing::Target;

use super::CallId;
use super::late_answers::LateAnswers;

/// Who hears of the responses to one of our requests.
#[derive(Debug)]
pub(super) enum Owner {
    /// A call.
    Call(CallId),
    /// A registration, and which of its requests.
    Registration(RegistrationId, u32),
    /// Nobody but the rule that every further 2xx to an answered INVITE is acknowledged and ended.
    LateAnswers(Box<LateAnswers>),
    /// Whoever wants to know whether the peer is well.
    Check(Target),
}

/// Everything that leads to a call.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// By our tag: one for each mirrored early dialog of the caller, one for each INVITE to a callee.
    tags: HashMap<String, (CallId, Side)>,
    servers: HashMap<ServerKey, CallId>,
    clients: HashMap<ClientKey, Owner>,
    tickets: HashMap<Ticket, CallId>,
    sessions: HashMap<SessionId, CallId>,
}

impl Index {
    pub(super) fn tag(&self, tag: &str) -> Option<(CallId, Side)> {
        self.tags.get(tag).copied()
    }

    pub(super) fn add_tag(&mut self, tag: &str, call: CallId, side: Side) {
        self.tags.insert(tag.to_owned(), (call, side));
    }

    /// Takes the tag out, unless it is another call's by now.
    pub(super) fn remove_tag(&mut self, tag: &str, call: CallId) {
        if self.tags.get(tag).is_some_and(|(known, _)| *known == call) {
            self.tags.remove(tag);
        }
    }

    pub(super) fn server(&self, key: ServerKey) -> Option<CallId> {
        self.servers.get(&key).copied()
    }

    pub(super) fn add_server(&mut self, key: ServerKey, call: CallId) {
        self.servers.insert(key, call);
    }

    pub(super) fn remove_server(&mut self, key: ServerKey) {
        self.servers.remove(&key);
    }

    /// The call that hears of the responses to one of our requests.
    pub(super) fn call_of(&self, key: ClientKey) -> Option<CallId> {
        match self.clients.get(&key)? {
            Owner::Call(call) => Some(*call),
            Owner::Registration(..) | Owner::LateAnswers(_) | Owner::Check(_) => None,
        }
    }

    /// The peer that one of our requests asks whether it is well.
    pub(super) fn check(&self, key: ClientKey) -> Option<Target> {
        match self.clients.get(&key)? {
            Owner::Check(id) => Some(*id),
            Owner::Call(_) | Owner::LateAnswers(_) | Owner::Registration(..) => None,
        }
    }

    /// Who hears of the responses to one of our requests.
    pub(super) fn owner(&self, key: ClientKey) -> Option<&Owner> {
        self.clients.get(&key)
    }

    pub(super) fn take_client(&mut self, key: ClientKey) -> Option<Owner> {
        self.clients.remove(&key)
    }

    pub(super) fn add_client(&mut self, key: ClientKey, owner: Owner) {
        self.clients.insert(key, owner);
    }

    /// Another hears of the responses from now on, unless the transaction has ended: then there will be none.
    pub(super) fn hand_over(&mut self, key: ClientKey, owner: Owner) {
        if let Some(known) = self.clients.get_mut(&key) {
            *known = owner;
        }
    }

    pub(super) fn remove_client(&mut self, key: ClientKey) {
        self.clients.remove(&key);
    }

    /// Takes the ticket out: it is heard of once.
    pub(super) fn take_ticket(&mut self, ticket: Ticket) -> Option<CallId> {
        self.tickets.remove(&ticket)
    }

    pub(super) fn add_ticket(&mut self, ticket: Ticket, call: CallId) {
        self.tickets.insert(ticket, call);
    }

    pub(super) fn session(&self, session: SessionId) -> Option<CallId> {
        self.sessions.get(&session).copied()
    }

    pub(super) fn add_session(&mut self, session: SessionId, call: CallId) {
        self.sessions.insert(session, call);
    }

    pub(super) fn remove_session(&mut self, session: SessionId) {
        self.sessions.remove(&session);
    }

    /// How many dialogs have a tag of ours.
    pub(super) fn dialogs(&self) -> usize {
        self.tags.len()
    }

    /// How many entries there are in all.
    pub(super) fn held(&self) -> usize {
        self.tags.len()
            + self.servers.len()
            + self.clients.len()
            + self.tickets.len()
            + self.sessions.len()
    }
}
