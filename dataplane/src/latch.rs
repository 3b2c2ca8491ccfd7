//! Whom a flow believes: the rules of [`contract::LatchPolicy`] as a state machine.
//!
//! ```text
//!   Learn:   open ──first valid source──► provisional ──signalled source──► locked
//!              │                               └────── window ends ──────► locked
//!              └── window ends ──► as Sdp
//!   Sdp:     the signalled source, or nobody          Off: everybody
//!   Follow:  the source of the last valid packet, each for a while at the least
//! ```
//!
//! Asked only when the fast path (`pipeline`) cannot say at a glance that the source is the right one.
//! Knows no packets and no tables; time is an argument.

use std::net::SocketAddr;

use contract::{DropReason, Latch, LatchPolicy, Link, Timestamp};

/// What the fast path may decide by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Every source is accepted.
    Any,
    /// This source is accepted; about others [`Latching::judge`] is asked.
    Source(SocketAddr),
    /// [`Latching::judge`] is asked about every packet.
    Ask,
}

/// The judgement of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// From the right source.
    Accept,
    /// From the source that the flow believes from now on.
    Latch,
    /// From elsewhere.
    Reject(DropReason),
}

/// A source that the flow believes, beyond what signalling said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Believed {
    pub(crate) remote: SocketAddr,
    /// The way back to it, if this worker has seen a packet of it decide: its own latch.
    pub(crate) way_back: Option<Link>,
}

/// [`LatchPolicy`] without its window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Rule {
    Sdp,
    Learn,
    Off,
    Follow,
}

impl Rule {
    pub(crate) const fn of(policy: LatchPolicy) -> Self {
        match policy {
            LatchPolicy::Sdp => Self::Sdp,
            LatchPolicy::Learn { .. } => Self::Learn,
            LatchPolicy::Off => Self::Off,
            LatchPolicy::Follow => Self::Follow,
        }
    }
}

/// All that a judgement depends on, so that nothing else need be read for one. `S` is a socket address in any form.
#[derive(Debug)]
pub(crate) struct Standing<'a, S> {
    pub(crate) rule: Rule,
    /// When the latch closes; under [`Rule::Follow`] until when it does not change.
    pub(crate) until: Timestamp,
    pub(crate) believed: Option<&'a S>,
    pub(crate) signalled: Option<&'a S>,
}

impl<S: PartialEq> Standing<'_, S> {
    /// Judges a packet from `source`.
    #[inline]
    pub(crate) fn judge(&self, source: &S, may_latch: bool, now: Timestamp) -> Judgement {
        match self.rule {
            Rule::Off => return Judgement::Accept,
            Rule::Sdp => return self.by_signalling(source),
            Rule::Follow => return self.by_the_last(source, may_latch, now),
            Rule::Learn => {}
        }
        let open = now < self.until;
        let is_signalled = self.signalled == Some(source);
        match self.believed {
            Some(believed) if believed == source => Judgement::Accept,
            Some(_) if open && is_signalled && may_latch => Judgement::Latch,
            Some(_) => Judgement::Reject(DropReason::WrongSource),
            None if open && may_latch => Judgement::Latch,
            None if open && is_signalled => Judgement::Accept,
            None if open => Judgement::Reject(DropReason::NotLatched),
            None => self.by_signalling(source),
        }
    }

    fn by_the_last(&self, source: &S, may_latch: bool, now: Timestamp) -> Judgement {
        match self.believed {
            Some(believed) if believed == source => Judgement::Accept,
            Some(_) if may_latch && now >= self.until => Judgement::Latch,
            Some(_) => Judgement::Reject(DropReason::WrongSource),
            None if may_latch => Judgement::Latch,
            None => self.by_signalling(source),
        }
    }

    fn by_signalling(&self, source: &S) -> Judgement {
        match self.believed.or(self.signalled) {
            Some(expected) if expected == source => Judgement::Accept,
            Some(_) => Judgement::Reject(DropReason::WrongSource),
            None => Judgement::Reject(DropReason::NotLatched),
        }
    }
}

/// The latch of one flow. Of its rule the latched source is heard once and then forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latching {
    pub(crate) rule: Latch,
    pub(crate) until: Timestamp,
    pub(crate) believed: Option<Believed>,
}

impl Latching {
    /// A latch armed now.
    pub fn new(rule: Latch, now: Timestamp) -> Self {
        let until = match rule.policy {
            LatchPolicy::Learn { window } => now + window,
            LatchPolicy::Sdp | LatchPolicy::Off | LatchPolicy::Follow => now,
        };
        Self {
            rule,
            until,
            believed: told(&rule),
        }
    }

    /// The control plane's new word. A latch of this worker survives unless it was armed anew, or
    /// the control plane names another source; then it is that one that all workers must agree on.
    /// The exception to the exception is a latch on the signalled source, over which no other takes
    /// precedence: then the control plane's word crossed our report of it.
    pub fn update(&mut self, rule: Latch, now: Timestamp) {
        if rule.armed != self.rule.armed || rule.policy != self.rule.policy {
            *self = Self::new(rule, now);
            return;
        }
        self.rule = rule;
        let Some(told) = told(&rule) else {
            return;
        };
        let own = self.believed.filter(|own| own.way_back.is_some());
        let keep =
            own.is_some_and(|own| own.remote == told.remote || rule.signalled == Some(own.remote));
        if !keep {
            self.believed = Some(told);
        }
    }

    /// Judges a packet from `source`. Only one that is valid media for this port may latch.
    pub fn judge(&self, source: SocketAddr, may_latch: bool, now: Timestamp) -> Judgement {
        let standing = Standing {
            rule: Rule::of(self.rule.policy),
            until: self.until,
            believed: self.believed.as_ref().map(|believed| &believed.remote),
            signalled: self.rule.signalled.as_ref(),
        };
        standing.judge(&source, may_latch, now)
    }

    /// Believes the source that [`Judgement::Latch`] was said of, and notes the way back to it.
    pub fn believe(&mut self, source: SocketAddr, way_back: Link, now: Timestamp) {
        if self.rule.policy == LatchPolicy::Follow {
            self.until = now + LatchPolicy::HANDOVER;
        }
        self.believed = Some(Believed {
            remote: source,
            way_back: Some(way_back),
        });
    }

    /// What the fast path may decide by itself, until the next judgement or update.
    pub fn gate(&self, now: Timestamp) -> Gate {
        match (self.rule.policy, self.believed) {
            (LatchPolicy::Off, _) => Gate::Any,
            (_, Some(believed)) => Gate::Source(believed.remote),
            (LatchPolicy::Learn { .. }, None) if now < self.until => Gate::Ask,
            (LatchPolicy::Follow, None) => Gate::Ask,
            (_, None) => self.rule.signalled.map_or(Gate::Ask, Gate::Source),
        }
    }

    /// The source that this worker has latched itself, and the way back to it.
    pub fn own(&self) -> Option<(SocketAddr, Link)> {
        let believed = self.believed?;
        Some((believed.remote, believed.way_back?))
    }

    /// The source that the flow is locked to by a latch, this worker's or another's.
    pub fn latched(&self) -> Option<SocketAddr> {
        self.believed.map(|believed| believed.remote)
    }

    /// The control plane's count of armings.
    pub const fn armed(&self) -> u32 {
        self.rule.armed
    }
}

/// What the control plane says that is latched; nothing is under `Off`.
fn told(rule: &Latch) -> Option<Believed> {
    match rule.policy {
        LatchPolicy::Off => None,
        LatchPolicy::Sdp | LatchPolicy::Learn { .. } | LatchPolicy::Follow => {
            rule.latched.map(|remote| Believed {
                remote,
                way_back: None,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::{DeviceId, MacAddress, VlanTags};
    use std::time::Duration;

    const WINDOW: Duration = Duration::from_secs(10);
    const WRONG: Judgement = Judgement::Reject(DropReason::WrongSource);
    const NOBODY: Judgement = Judgement::Reject(DropReason::NotLatched);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_secs(seconds)
    }

    fn address(host: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, host], 4000))
    }

    fn rule(policy: LatchPolicy, signalled: Option<u8>) -> Latch {
        Latch {
            policy,
            signalled: signalled.map(address),
            latched: None,
            armed: 1,
        }
    }

    fn learn(signalled: Option<u8>) -> Latching {
        Latching::new(
            rule(LatchPolicy::Learn { window: WINDOW }, signalled),
            at(0),
        )
    }

    fn link() -> Link {
        Link {
            device: DeviceId(0),
            source: MacAddress::default(),
            destination: MacAddress::default(),
            vlan: VlanTags::None,
            mtu: 1500,
        }
    }

    impl Latching {
        /// A packet's whole effect.
        fn sees(&mut self, source: SocketAddr, may_latch: bool, now: Timestamp) -> Judgement {
            let judgement = self.judge(source, may_latch, now);
            if judgement == Judgement::Latch {
                self.believe(source, link(), now);
            }
            judgement
        }
    }

    #[test]
    fn sdp_believes_the_signalled_source_only() {
        let mut latch = Latching::new(rule(LatchPolicy::Sdp, Some(1)), at(0));
        assert_eq!(latch.gate(at(3)), Gate::Source(address(1)));
        assert_eq!(latch.sees(address(1), true, at(1)), Judgement::Accept);
        assert_eq!(latch.sees(address(2), true, at(1)), WRONG);
        let mut nobody = Latching::new(rule(LatchPolicy::Sdp, None), at(0));
        assert_eq!(nobody.gate(at(3)), Gate::Ask);
        assert_eq!(nobody.sees(address(1), true, at(1)), NOBODY);
    }

    #[test]
    fn off_believes_everybody() {
        let mut latch = Latching::new(rule(LatchPolicy::Off, Some(1)), at(0));
        assert_eq!(latch.gate(at(3)), Gate::Any);
        assert_eq!(latch.sees(address(9), true, at(1)), Judgement::Accept);
        assert_eq!(latch.latched(), None);
    }

    #[test]
    fn follow_believes_whoever_sends_but_does_not_take_turns_with_every_packet() {
        let mut latch = Latching::new(rule(LatchPolicy::Follow, Some(1)), at(0));
        let soon = |seconds, more| at(seconds) + LatchPolicy::HANDOVER.mul_f32(more);
        assert_eq!(latch.sees(address(2), false, at(0)), WRONG);
        assert_eq!(latch.sees(address(2), true, at(0)), Judgement::Latch);
        assert_eq!(latch.sees(address(3), true, soon(0, 0.9)), WRONG);
        assert_eq!(
            latch.sees(address(2), true, soon(0, 0.9)),
            Judgement::Accept
        );
        assert_eq!(latch.sees(address(3), true, soon(0, 1.1)), Judgement::Latch);
        assert_eq!(latch.gate(at(1)), Gate::Source(address(3)));
        assert_eq!(latch.sees(address(2), false, at(9)), WRONG);
        let mut told = rule(LatchPolicy::Follow, Some(1));
        told.latched = Some(address(4));
        latch.update(told, at(9));
        assert_eq!(latch.latched(), Some(address(4)));
        assert_eq!(latch.sees(address(2), true, at(9)), Judgement::Latch);
    }

    #[test]
    fn learn_takes_the_first_source_and_then_only_the_signalled_one() {
        let mut latch = learn(Some(1));
        assert_eq!(latch.sees(address(2), true, at(1)), Judgement::Latch);
        assert_eq!(latch.sees(address(3), true, at(2)), WRONG);
        assert_eq!(latch.sees(address(1), true, at(3)), Judgement::Latch);
        assert_eq!(latch.sees(address(2), true, at(4)), WRONG);
        assert_eq!(latch.gate(at(3)), Gate::Source(address(1)));
    }

    #[test]
    fn after_the_window_the_signalled_source_comes_too_late() {
        let mut latch = learn(Some(1));
        assert_eq!(latch.sees(address(2), true, at(9)), Judgement::Latch);
        assert_eq!(latch.sees(address(1), true, at(10)), WRONG);
        assert_eq!(latch.sees(address(2), true, at(99)), Judgement::Accept);
    }

    #[test]
    fn a_window_without_a_packet_leaves_the_rule_of_sdp() {
        let mut latch = learn(Some(1));
        assert_eq!(latch.sees(address(2), true, at(10)), WRONG);
        assert_eq!(latch.sees(address(1), true, at(10)), Judgement::Accept);
        assert_eq!(latch.latched(), None);
        assert_eq!(latch.gate(at(9)), Gate::Ask);
        assert_eq!(latch.gate(at(10)), Gate::Source(address(1)));
        assert_eq!(learn(None).sees(address(2), true, at(10)), NOBODY);
    }

    #[test]
    fn what_may_not_latch_is_believed_from_the_signalled_source_only() {
        let mut latch = learn(Some(1));
        assert_eq!(latch.sees(address(2), false, at(1)), NOBODY);
        assert_eq!(latch.sees(address(1), false, at(1)), Judgement::Accept);
        assert_eq!(latch.latched(), None);
    }

    #[test]
    fn an_own_latch_survives_updates_that_do_not_arm() {
        let mut latch = learn(Some(1));
        assert_eq!(latch.sees(address(2), true, at(1)), Judgement::Latch);
        latch.update(rule(LatchPolicy::Learn { window: WINDOW }, Some(1)), at(2));
        assert_eq!(latch.own(), Some((address(2), link())));
        let mut armed = rule(LatchPolicy::Learn { window: WINDOW }, Some(3));
        armed.armed = 2;
        latch.update(armed, at(20));
        assert_eq!(latch.own(), None);
        assert_eq!(latch.sees(address(4), true, at(29)), Judgement::Latch);
    }

    #[test]
    fn the_control_plane_settles_what_two_workers_latched_differently() {
        let mut latch = learn(Some(1));
        assert_eq!(latch.sees(address(2), true, at(1)), Judgement::Latch);
        let mut told = rule(LatchPolicy::Learn { window: WINDOW }, Some(1));
        told.latched = Some(address(3));
        latch.update(told, at(2));
        assert_eq!(latch.latched(), Some(address(3)));
        assert_eq!(latch.own(), None);
        // Still within the window, the signalled source takes precedence, and an update that was on
        // its way when it did changes nothing.
        assert_eq!(latch.sees(address(1), true, at(3)), Judgement::Latch);
        latch.update(told, at(4));
        assert_eq!(latch.own(), Some((address(1), link())));
    }

    #[test]
    fn a_told_latch_locks_at_once() {
        let mut told = rule(LatchPolicy::Learn { window: WINDOW }, None);
        told.latched = Some(address(5));
        let mut latch = Latching::new(told, at(0));
        assert_eq!(latch.gate(at(3)), Gate::Source(address(5)));
        assert_eq!(latch.sees(address(6), true, at(1)), WRONG);
    }
}
