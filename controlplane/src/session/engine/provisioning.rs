//! Sessions without session descriptions, through the same ports, installer, limits and counters as the
//! others.

use std::collections::BTreeMap;

use contract::{FlowKey, Timestamp};

use super::super::provisioned::Provisioned;
use super::super::{
    EngineOutput, Family, Provision, ProvisionedView, Provisioning, SessionError, SessionId, Side,
};
use super::{Engine, Taker};
use crate::installer::{Owner, Plan};
use crate::relay_ports::PortPair;

/// Every provisioned session, in the order of their names: the oldest first.
pub(super) type ProvisionedSessions = BTreeMap<SessionId, Box<Provisioned>>;

impl Engine {
    /// Opens a session between two parties whose addresses are given. Its flows are being installed when this
    /// returns; [`EngineOutput::Provisioned`] says what became of them.
    pub fn provision(
        &mut self,
        now: Timestamp,
        provision: &Provision,
    ) -> Result<SessionId, SessionError> {
        let result = self.try_provision(now, provision);
        self.count(result)
    }

    /// Closes a provisioned session, or says that there is none of this name.
    pub fn close_provisioned(&mut self, now: Timestamp, id: SessionId) -> bool {
        let Some(session) = self.provisioned.get(&id) else {
            return false;
        };
        if !session.open {
            let output = EngineOutput::Provisioned(id, Provisioning::Closed);
            self.outputs.push_back(output);
        }
        self.end_provisioned(now, id);
        self.absorb(now);
        true
    }

    /// A provisioned session.
    pub fn provisioned(&self, id: SessionId) -> Option<ProvisionedView> {
        let session = self.provisioned.get(&id)?;
        Some(session.view(id))
    }

    /// At most `limit` of the provisioned sessions that are named after `after`, the oldest first.
    pub fn provisioned_after(
        &self,
        after: SessionId,
        limit: usize,
    ) -> impl Iterator<Item = ProvisionedView> {
        let newer = SessionId(after.0.saturating_add(1))..;
        let sessions = self.provisioned.range(newer).take(limit);
        sessions.map(|(id, session)| session.view(*id))
    }

    /// How many provisioned sessions there are, those that are not open yet included.
    pub fn provisioned_count(&self) -> usize {
        self.provisioned.len()
    }

    /// The ports that the flows of a provisioned session are at.
    pub(super) fn provisioned_keys(&self, id: SessionId) -> Vec<FlowKey> {
        let session = self.provisioned.get(&id);
        let plans = session.map(|session| session.plans(&self.groups));
        plans.iter().flatten().map(|plan| plan.key).collect()
    }

    fn try_provision(
        &mut self,
        now: Timestamp,
        provision: &Provision,
    ) -> Result<SessionId, SessionError> {
        self.check_room()?;
        provision.check()?;
        let pairs = self.take_pairs(now, provision)?;
        self.next_session += 1;
        let id = SessionId(self.next_session);
        let session = Box::new(Provisioned::new(provision, pairs, now));
        let plans = session.plans(&self.groups);
        self.provisioned.insert(id, session);
        self.counters.opened += 1;
        self.want_all(id, &plans);
        let keys: Vec<FlowKey> = plans.iter().map(|plan| plan.key).collect();
        match self.installer.ticket(now, &keys) {
            Some(ticket) => {
                self.holders.insert(ticket, id);
            }
            None => self.settle_provisioned(now, id, Provisioning::Open),
        }
        self.absorb(now);
        Ok(id)
    }

    fn take_pairs(
        &mut self,
        now: Timestamp,
        provision: &Provision,
    ) -> Result<[PortPair; 2], SessionError> {
        let mut taker = Taker {
            now,
            ports: &mut self.ports,
            rng: &mut self.rng,
            groups: &self.groups,
            taken: Vec::new(),
        };
        let mut take = |side: Side| {
            let family = Family::of(provision.parties[side.index()].ip());
            taker.take_anywhere(provision.groups[side.index()], family)
        };
        let pairs = take(Side::A).and_then(|a| take(Side::B).map(|b| [a, b]));
        if pairs.is_err() {
            let taken = taker.taken;
            taken
                .into_iter()
                .for_each(|pair| self.ports.give_back(pair));
        }
        pairs
    }

    fn want_all(&mut self, id: SessionId, plans: &[Plan]) {
        for plan in plans {
            self.installer.want(Owner(id.0), plan);
        }
    }

    /// The workers have answered. Flows that lead nowhere are no session.
    pub(super) fn settle_provisioned(
        &mut self,
        now: Timestamp,
        id: SessionId,
        outcome: Provisioning,
    ) {
        let keys = self.provisioned_keys(id);
        let reachable = keys.iter().all(|key| self.installer.is_linked(*key));
        let outcome = match outcome {
            Provisioning::Open if !reachable => {
                *self.counters.refused.entry("no_next_hop").or_default() += 1;
                Provisioning::NoNextHop
            }
            other => other,
        };
        if outcome == Provisioning::Open {
            if let Some(session) = self.provisioned.get_mut(&id) {
                session.open = true;
            }
        } else {
            self.end_provisioned(now, id);
        }
        let output = EngineOutput::Provisioned(id, outcome);
        self.outputs.push_back(output);
    }

    /// Ends a provisioned session, whatever becomes of it; its ports rest once its flows are gone.
    pub(super) fn end_provisioned(&mut self, now: Timestamp, id: SessionId) {
        let keys = self.provisioned_keys(id);
        let Some(session) = self.provisioned.remove(&id) else {
            return;
        };
        if !session.open {
            // A ticket says which session holds it, not the other way round: these are few.
            let held = self.holders.iter().find(|(_, holder)| **holder == id);
            if let Some(ticket) = held.map(|(ticket, _)| *ticket) {
                self.installer.tear_up(ticket);
                self.holders.remove(&ticket);
            }
        }
        for key in keys {
            self.installer.unwant(now, key);
        }
        for pair in session.pairs() {
            self.drop_pair(now, pair);
        }
        self.counters.closed += 1;
    }

    /// A worker has latched a source at a port of a provisioned session: the others follow.
    pub(super) fn latched_provisioned(
        &mut self,
        now: Timestamp,
        id: SessionId,
        sighting: (FlowKey, u32, std::net::SocketAddr),
    ) {
        let (key, armed, remote) = sighting;
        let Some(session) = self.provisioned.get_mut(&id) else {
            return;
        };
        if session.latched(key, armed, remote) {
            let plans = session.plans(&self.groups);
            self.counters.latches += 1;
            self.want_all(id, &plans);
            self.absorb(now);
        }
    }

    /// Closes a provisioned session when one of its parties is silent.
    pub(super) fn end_when_silent(&mut self, now: Timestamp, id: SessionId) {
        let Some(session) = self.provisioned.get(&id) else {
            return;
        };
        let silent = |pair: &PortPair| self.installer.is_quiet(pair.rtp());
        if session.pairs().iter().any(silent) {
            self.counters.media_timeouts += 1;
            self.close_provisioned(now, id);
        }
    }
}
