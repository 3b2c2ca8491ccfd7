//! What the phones of random journeys believe of their calls, and whether that agrees with what tandem knows.

use std::collections::{HashMap, HashSet};

use controlplane::agent::Agent;
use controlplane::b2bua::{CallState, LegView};
use controlplane::sip::{HeaderName, Message, Method};

use crate::phone::header;

/// Whose end of a call it is. A callee whose INVITE forks is two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Side {
    Caller,
    Callee,
    Fork,
}

impl Side {
    /// Of a phone, by its tag.
    fn of(tag: &str) -> Self {
        match tag.split('-').next() {
            Some("t") => Self::Callee,
            Some("u") => Self::Fork,
            _ => Self::Caller,
        }
    }
}

/// One phone: its Call-ID, and its end.
pub(crate) type End = (String, Side);

/// The phone that a message comes to, or that it has come from, by the tag that the header has.
pub(crate) fn end_of(message: &Message, name: HeaderName) -> End {
    let tag = header(message, name);
    let tag = tag.split("tag=").nth(1).unwrap_or_default();
    (header(message, HeaderName::CallId), Side::of(tag))
}

/// What a phone believes of its call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Belief {
    /// It has been answered, or its answer has been acknowledged.
    pub(crate) up: bool,
    /// It has sent BYE, or received one, or has been told that there is no such call.
    pub(crate) over: bool,
    /// It has sent BYE before it was up: a caller ends one of several forks so, and the call goes on; RFC 3261 §15
    /// forbids it to a callee, whose INVITE tells.
    pub(crate) hasty: bool,
    /// Its first INVITE has failed.
    pub(crate) refused: bool,
}

#[derive(Default)]
pub(crate) struct Beliefs {
    of: HashMap<End, Belief>,
    /// Which call a callee's Call-ID belongs to: the caller's Call-ID, by a header that passes.
    pub(crate) caller_of: HashMap<String, String>,
    /// BYEs and ACKs of answers that tandem has put on the wire, whether they came or not.
    sent: HashSet<(End, Method)>,
    /// Phones whose BYE has come to tandem.
    heard: HashSet<End>,
    /// Datagrams may be lost for good.
    lossy: bool,
}

impl Beliefs {
    pub(crate) fn new(lossy: bool) -> Self {
        Self {
            lossy,
            ..Self::default()
        }
    }

    pub(crate) fn of(&mut self, end: &End) -> &mut Belief {
        self.of.entry(end.clone()).or_default()
    }

    /// Tandem puts a message on the wire.
    pub(crate) fn sends(&mut self, message: &Message) {
        if let Some(method @ (Method::Ack | Method::Bye)) = message.method() {
            let end = end_of(message, HeaderName::To);
            self.sent.insert((end, method.clone()));
        }
    }

    /// A message has come to tandem.
    pub(crate) fn hears(&mut self, message: &Message) {
        if message.method() == Some(&Method::Bye) {
            self.heard.insert(end_of(message, HeaderName::From));
        }
    }

    fn may_miss(&self, end: &End, method: Method) -> bool {
        self.lossy && self.sent.contains(&(end.clone(), method))
    }

    /// Nothing is under way: a call that tandem has is up at both ends, and one that a phone has, tandem has too.
    pub(crate) fn assert_in_step(&self, agent: &Agent, seed: u64) {
        let mut known = HashSet::new();
        for summary in agent.calls() {
            let detail = agent.call(summary.id).expect("it is listed");
            let legs = detail.callees.iter().chain([&detail.caller]);
            for leg in legs {
                let end = (leg.call_id.clone(), Side::of(&leg.remote_tag));
                if summary.state == CallState::Established {
                    self.assert_up(&end, leg, seed);
                }
                known.insert(end);
            }
        }
        for (end, belief) in &self.of {
            let alone = belief.up && !belief.over && !known.contains(end);
            assert!(
                !alone || self.may_miss(end, Method::Bye),
                "seed {seed}: {end:?} believes that it is up, and tandem has forgotten it"
            );
        }
    }

    fn assert_up(&self, end: &End, leg: &LegView, seed: u64) {
        let belief = self.of.get(end).copied().unwrap_or_default();
        let lost_ack = || end.1 != Side::Caller && self.may_miss(end, Method::Ack);
        assert!(
            belief.up || lost_ack(),
            "seed {seed}: tandem believes that {leg:?} is up: {belief:?}"
        );
        let lost_bye = self.lossy && !self.heard.contains(end);
        assert!(
            !belief.over || belief.hasty || lost_bye,
            "seed {seed}: {leg:?} is over and tandem has it: {belief:?}"
        );
    }

    /// Nothing is left. Whoever was up has been told that it is over, and nobody was up alone.
    pub(crate) fn assert_agreement(&self, seed: u64) {
        let mut answered: HashSet<&str> = HashSet::new();
        for (end @ (call, side), belief) in &self.of {
            assert!(
                belief.over || !belief.up,
                "seed {seed}: {end:?} believes that it is up"
            );
            if *side == Side::Caller {
                continue;
            }
            let caller = self.caller_of.get(call).expect("the INVITE named it");
            if belief.up || self.may_miss(end, Method::Ack) {
                answered.insert(caller);
            }
            let other = (caller.clone(), Side::Caller);
            let other = self.of.get(&other).copied().unwrap_or_default();
            // A CANCEL may cross the answer.
            assert!(
                !belief.up || other.up || other.refused,
                "seed {seed}: {end:?} was up and its caller was not told: {other:?}"
            );
        }
        for (end @ (call, side), belief) in &self.of {
            let alone = *side == Side::Caller && belief.up && !answered.contains(&**call);
            assert!(!alone, "seed {seed}: {end:?} was answered by nobody");
        }
    }
}
