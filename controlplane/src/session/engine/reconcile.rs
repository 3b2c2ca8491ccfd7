//! Flows and ports follow the sessions: what changed in a session becomes what is wanted of the
//! installer, and what the workers saw becomes what is known of the session.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use contract::{FlowKey, LatchPolicy, Timestamp};

use super::super::handling::SidesHandling;
use super::super::media_stream::{Patience, Treatment};
use super::super::state::Session;
use super::super::{EngineOutput, Provisioning, SessionId, Side};
use super::Engine;
use crate::installer::{Output, Owner, Plan, Ticket};
use crate::relay_ports::PortPair;
use crate::settings::MediaGroup;

impl Engine {
    /// Changes a session, and makes its flows and ports follow.
    pub(super) fn change(
        &mut self,
        now: Timestamp,
        id: SessionId,
        with: impl FnOnce(&mut Session),
    ) {
        if let Some(session) = self.sessions.get_mut(&id) {
            let pairs = session.pairs();
            with(session);
            self.apply(now, id, &pairs);
        }
    }

    /// Makes the flows of a session what its streams need, and lets go of the ports that it had before and
    /// needs no more.
    pub(super) fn apply(&mut self, now: Timestamp, id: SessionId, before: &BTreeSet<PortPair>) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let Some(treatments) = treatments(&self.groups, session) else {
            return;
        };
        let patience = session.patience.unwrap_or(Patience {
            sending: self.media_timeout,
            held: None,
        });
        let patience = match session.established {
            true => patience,
            false => Patience::default(),
        };
        let plans: BTreeMap<FlowKey, Plan> = session
            .streams
            .iter()
            .enumerate()
            .flat_map(|(index, stream)| {
                let handled = session.handling.as_deref();
                stream.plans(treatments, patience, |side, component, payload| {
                    let plan = |handled: &SidesHandling| {
                        handled.plan((index, stream), side, component, payload)
                    };
                    handled.map(plan).unwrap_or_default()
                })
            })
            .map(|plan| (plan.key, plan))
            .collect();
        let after = session.pairs();
        let keys = plans.values().map(|plan| (plan.key, session.facing(plan)));
        let keys = keys.collect();
        let former = std::mem::replace(&mut session.keys, keys);
        for (key, facing) in former.iter().filter(|(key, _)| !plans.contains_key(key)) {
            self.installer.unwant(now, *key);
            self.ended.push_back(facing.ended(id, *key));
        }
        for plan in plans.values() {
            self.installer.want(Owner(id.0), plan);
        }
        for pair in before.difference(&after) {
            self.drop_pair(now, *pair);
        }
        self.check_silence(id);
        self.absorb(now);
    }

    /// Nobody needs the pair: it rests as soon as no worker serves it.
    pub(super) fn drop_pair(&mut self, now: Timestamp, pair: PortPair) {
        if self.installer.holds(pair.rtp()) || self.installer.holds(pair.rtcp()) {
            self.closing.insert(pair.rtp(), pair);
        } else {
            self.closing.remove(&pair.rtp());
            self.ports.release(now, pair);
        }
    }

    /// A worker has latched a source at a port of the session: which port, in which arming, and whom.
    pub(super) fn latched(
        &mut self,
        now: Timestamp,
        id: SessionId,
        sighting: (FlowKey, u32, SocketAddr),
    ) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return self.latched_provisioned(now, id, sighting);
        };
        let (key, armed, remote) = sighting;
        let treatments = treatments(&self.groups, session);
        let follows = treatments.map_or([false; 2], |sides| {
            sides.map(|side| side.latch == LatchPolicy::Follow)
        });
        let streams = session.streams.iter_mut();
        let parties = streams.flat_map(|stream| stream.parties_mut().iter_mut().zip(follows));
        let mut news = false;
        for (party, follows) in parties {
            news |= party.latched(key, armed, remote, follows);
        }
        if news {
            self.counters.latches += 1;
            self.change(now, id, |_| {});
        }
    }

    /// Says once when a party that should be sending is silent on all its streams.
    pub(super) fn check_silence(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let is_silent = |side: Side| {
            let expected = session.streams.iter().filter(|stream| stream.expects(side));
            let mut keys = expected
                .flat_map(|stream| stream.listened_at(side))
                .peekable();
            keys.peek().is_some() && keys.all(|key| self.installer.is_quiet(key))
        };
        // When nothing is expected of anybody, all that is listened to must be silent.
        let is_held = session
            .streams
            .iter()
            .all(|stream| !stream.expects(Side::A) && !stream.expects(Side::B));
        let mut held = session
            .streams
            .iter()
            .flat_map(|stream| [Side::A, Side::B].map(|side| stream.announced_rtp(side)))
            .flatten()
            .peekable();
        let is_forgotten =
            is_held && held.peek().is_some() && held.all(|key| self.installer.is_quiet(key));
        let silent = is_silent(Side::A) || is_silent(Side::B) || is_forgotten;
        if silent && !session.timed_out {
            session.timed_out = true;
            self.counters.media_timeouts += 1;
            self.outputs.push_back(EngineOutput::MediaTimeout(id));
        }
    }

    /// Passes on what the installer wants.
    pub(super) fn absorb(&mut self, now: Timestamp) {
        while let Some(output) = self.installer.poll() {
            let output = match output {
                Output::Command { worker, command } => EngineOutput::Command { worker, command },
                Output::Resolve(query) => EngineOutput::Resolve(query),
                Output::Forget(query) => EngineOutput::Forget(query),
                Output::Ready(ticket) => match self.hand_in(ticket) {
                    Some(id) if self.provisioned.contains_key(&id) => {
                        self.settle_provisioned(now, id, Provisioning::Open);
                        continue;
                    }
                    _ => EngineOutput::Ready(ticket),
                },
                Output::Failed(ticket, why) => match self.hand_in(ticket) {
                    Some(id) if self.provisioned.contains_key(&id) => {
                        self.settle_provisioned(now, id, Provisioning::Failed(why));
                        continue;
                    }
                    _ => EngineOutput::Failed(ticket, why),
                },
                Output::Gone(key) => {
                    self.gone(now, key);
                    continue;
                }
            };
            self.outputs.push_back(output);
        }
    }

    /// Nobody holds the ticket any more; the session that did.
    fn hand_in(&mut self, ticket: Ticket) -> Option<SessionId> {
        let holder = self.holders.remove(&ticket)?;
        if let Some(session) = self.sessions.get_mut(&holder) {
            session.tickets.remove(&ticket);
        }
        Some(holder)
    }

    fn gone(&mut self, now: Timestamp, key: FlowKey) {
        let rtp = FlowKey {
            port: key.port & !1,
            ..key
        };
        if let Some(pair) = self.closing.get(&rtp).copied() {
            self.drop_pair(now, pair);
        }
    }
}

/// How the packets of each side's party are treated.
fn treatments(groups: &[MediaGroup], session: &Session) -> Option<[Treatment; 2]> {
    let treatment = |side: Side| {
        let group = session.legs[side.index()].spec.group;
        let group = groups.get(usize::from(group.0))?;
        Some(session.overruled.apply(side, group.into()))
    };
    Some([treatment(Side::A)?, treatment(Side::B)?])
}

#[cfg(test)]
mod tests {

    use contract::{DeviceId, DscpMarking, LatchPolicy};
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::session::LegSpec;
    use crate::settings::{MediaGroup, MediaGroupId, Settings};

    const BODY: &[u8] =
        b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\nc=IN IP4 192.0.2.1\r\nm=audio 5000 RTP/AVP 0\r\n";

    fn engine() -> Engine {
        let group = MediaGroup {
            name: "inside".into(),
            device: DeviceId(0),
            addresses: vec!["10.1.0.1".parse().expect("an address")],
            advertised: Vec::new(),
            ports: (20_000, 20_009),
            latch: LatchPolicy::Sdp,
            dscp: DscpMarking::Preserve,
        };
        let settings = Settings {
            media_groups: vec![group],
            media_timeout: None,
            ..Settings::default()
        };
        Engine::new(&settings, 0, StdRng::seed_from_u64(1))
    }

    #[test]
    fn nothing_is_kept_of_a_session_that_is_closed() {
        let (mut engine, now) = (engine(), Timestamp::ZERO);
        let leg = LegSpec {
            group: MediaGroupId(0),
            family: None,
            codecs: Default::default(),
        };
        for _ in 0..2 {
            let id = engine.open(now, leg.clone(), leg.clone()).expect("room");
            let offer = engine.offer(now, id, Side::A, BODY).expect("valid");
            assert!(offer.ticket.is_some(), "the next hop is not known");
            engine.answer(now, id, Side::B, BODY).expect("valid");
            assert!(!engine.holders.is_empty());
            engine.close(now, id);
            assert!(engine.holders.is_empty());
            assert!(engine.closing.is_empty() && engine.sessions.is_empty());
        }
    }
}
