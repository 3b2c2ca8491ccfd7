//! 3xx that are followed: the Contacts of a redirection become further targets of the call (RFC 3261 §8.1.3.4).
//!
//! Only so far as the operator lets the caller go anyway: to a peer of a trunk of the call's route, or to a number
//! that the routes lead the caller's trunk to. What else a redirection names is passed over: it would let
//! whoever answers choose whom the appliance sends to.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::VecDeque;

use contract::Timestamp;

use crate::records::Releaser;
use crate::routing::Target;
use crate::session::Side;
use crate::settings::{Redirect, TransferPolicy, TrunkId};
use crate::sip::typed::{NameAddr, Uri};
use crate::sip::{HeaderName, Message, StatusCode};
use crate::story::What;

use super::Trigger;
use super::account::{self, Cut};
use super::call::Call;
use super::context::Context;
use super::reliable::Demand;

/// Contacts of one response that are looked at, best first. Forking by redirection has two or three.
const MOST_CONTACTS: usize = 8;

/// Targets that redirections may lead one call to, in all.
const MOST_TARGETS: usize = 16;

/// Redirections of one call, one after another. RFC 3261 bounds proxies by Max-Forwards; who is
/// forwarded more than this often is in a ring of numbers that each time look new.
const DEEPEST: u8 = 5;

/// Where redirections have led a call.
#[derive(Debug, Default)]
pub(super) struct Redirection {
    /// The trunks of the call's route.
    trunks: Vec<TrunkId>,
    /// The targets to come, and whom to call there.
    queue: VecDeque<(Target, Uri)>,
    /// Whom the present target is asked for; `None`: for whom the caller asked.
    wanted: Option<Uri>,
    /// What has been a target already, and for which user.
    known: Vec<(Target, Option<String>)>,
    /// How many targets redirections have led to.
    followed: usize,
    depth: u8,
    /// When the present followed target was begun.
    since: Option<Timestamp>,
}

impl Redirection {
    pub(super) fn new(targets: &[Target]) -> Self {
        let mut trunks: Vec<_> = targets.iter().map(|target| target.trunk).collect();
        trunks.dedup();
        Self {
            trunks,
            ..Self::default()
        }
    }

    /// Since when the call looks for somebody who answers; `None`: since its INVITE came.
    pub(super) const fn since(&self) -> Option<Timestamp> {
        self.since
    }

    /// Whom the present target is asked for, where that is not whom the caller asked for.
    pub(super) const fn wanted(&self) -> Option<&Uri> {
        self.wanted.as_ref()
    }

    /// Whether there are targets to come.
    pub(super) fn has_more(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Forgets the targets to come.
    pub(super) fn clear(&mut self) {
        self.queue.clear();
    }

    /// Remembers a target; false when it is known, or one too many.
    fn admit(&mut self, target: Target, user: Option<String>) -> bool {
        let entry = (target, user);
        if self.known.contains(&entry) || self.followed >= MOST_TARGETS {
            return false;
        }
        self.followed += 1;
        self.known.push(entry);
        true
    }
}

impl Call {
    /// The next target: of a redirection first, then of the route.
    pub(super) fn next_target(&mut self, now: Timestamp) -> Option<Target> {
        if let Some((target, uri)) = self.redirection.queue.pop_front() {
            self.redirection.wanted = Some(uri);
            self.redirection.since = Some(now);
            return Some(target);
        }
        let target = self.targets.pop_front()?;
        let user = self.caller.invite.uri().and_then(Uri::decoded_user);
        self.redirection.known.push((target, user));
        Some(target)
    }

    /// Whether a target is left.
    pub(super) fn has_target(&self) -> bool {
        self.redirection.has_more() || !self.targets.is_empty()
    }

    /// Follows a redirection, if it is one and its trunk's are followed. False when the caller is to get it.
    pub(super) fn follow(&mut self, cx: &mut Context, response: &Message) -> bool {
        let redirects = matches!(response.code().map(StatusCode::as_u16), Some(300..=302));
        let policy = cx.transfer_policy(self.trunk(Side::B)).redirect;
        if !redirects || policy == Redirect::Pass {
            return false;
        }
        let leads = self.leads(cx, response);
        if leads.is_empty() && !self.redirection.has_more() {
            self.lead_nowhere(cx, response);
            return true;
        }
        if !self.step(Trigger::NextTarget) {
            return true;
        }
        // The callee has answered, and it is not there: the route's other targets lead to the same callee.
        self.targets.clear();
        for lead in leads.into_iter().rev() {
            self.redirection.queue.push_front(lead);
        }
        self.redirection.depth += 1;
        cx.counters.redirections += 1;
        let note = What::Note("the target redirects the call, which follows");
        cx.stories.tell(cx.now, self.id, note);
        if policy == Redirect::FollowAloud && self.caller.reliable != Demand::Required {
            self.tell_of_forwarding(cx);
        }
        self.move_on(cx);
        true
    }

    /// Where the response leads to, in order.
    fn leads(&mut self, cx: &mut Context, response: &Message) -> Vec<(Target, Uri)> {
        let mut leads = Vec::new();
        if self.redirection.depth >= DEEPEST {
            return leads;
        }
        for contact in contacts(response) {
            let found = match reached(cx, &self.redirection.trunks, &contact.uri) {
                Reached::Peer(target) => vec![target],
                Reached::Route(user) => cx.targets_for(self.caller.trunk, user),
                Reached::Nothing => Vec::new(),
            };
            let before = leads.len();
            for target in found {
                let user = contact.uri.decoded_user();
                if self.redirection.admit(target, user) {
                    leads.push((target, contact.uri.clone()));
                }
            }
            if leads.len() == before {
                cx.drop_of(self.id, "contact_not_followed");
            }
        }
        leads
    }

    /// Nothing that the response names may be called, or all of it was.
    fn lead_nowhere(&mut self, cx: &mut Context, response: &Message) {
        if !self.step(Trigger::Failure) {
            return;
        }
        let code = StatusCode::TEMPORARILY_UNAVAILABLE;
        let cut = Cut::new(Releaser::Callee, "redirected", code);
        self.released(cx, cut, account::reason_of(response));
        self.reject(cx, code);
    }

    fn tell_of_forwarding(&self, cx: &mut Context) {
        let invite = &self.caller.invite;
        let code = StatusCode::CALL_IS_BEING_FORWARDED;
        let mut response = invite.response(code, Some(&self.caller.tag));
        cx.sign(&mut response);
        cx.respond(self.caller.key, response);
    }

    /// The caller's INVITE, for whom the redirection says.
    pub(super) fn redirected_invite(&self) -> Cow<'_, Message> {
        let invite = &self.caller.invite;
        let Some(uri) = self.redirection.wanted() else {
            return Cow::Borrowed(invite);
        };
        let mut invite = invite.clone();
        invite.readdress(uri.clone());
        Cow::Owned(invite)
    }
}

impl Context {
    /// Where a call from this trunk to this user would go.
    pub(super) fn targets_for(&mut self, trunk: TrunkId, user: String) -> Vec<Target> {
        let user = self.routed_user(trunk, user);
        let decision = self.decide(trunk, &user);
        self.targets(&decision.candidates)
    }

    /// What the trunk may do with calls besides taking them.
    pub(super) fn transfer_policy(&self, trunk: TrunkId) -> TransferPolicy {
        let trunk = self.settings.trunks.get(usize::from(trunk.0));
        trunk.map_or_else(TransferPolicy::default, |trunk| trunk.transfer)
    }
}

/// What a Contact leads to.
#[derive(Debug, PartialEq, Eq)]
enum Reached {
    /// A peer of a trunk of the route.
    Peer(Target),
    /// This user, by the routes.
    Route(String),
    /// Nothing that may be called.
    Nothing,
}

fn reached(cx: &Context, trunks: &[TrunkId], uri: &Uri) -> Reached {
    let routed = || uri.decoded_user().map_or(Reached::Nothing, Reached::Route);
    match uri.scheme().as_str() {
        "tel" => return routed(),
        "sip" => {}
        _ => return Reached::Nothing,
    }
    let Some(address) = uri.socket_addr() else {
        return Reached::Nothing;
    };
    let mut listeners = cx.settings.listeners.iter();
    if listeners.any(|ours| ours.address == address || ours.announced() == address) {
        return routed();
    }
    let mut peers = trunks.iter().flat_map(|&id| cx.routing.peers_of(id));
    match peers.find(|(target, _)| target.peer == address) {
        Some((target, _)) => Reached::Peer(target),
        None => Reached::Nothing,
    }
}

/// The Contacts, best first, those of the same `q` in their order.
fn contacts(response: &Message) -> Vec<NameAddr> {
    let values = response.headers.values(&HeaderName::Contact);
    let read = values
        .iter()
        .filter_map(|value| NameAddr::parse(value).ok());
    let mut contacts: Vec<NameAddr> = read.collect();
    contacts.sort_by_key(|contact| Reverse(quality(contact)));
    contacts.truncate(MOST_CONTACTS);
    contacts
}

/// The `q` of a Contact in thousandths (RFC 3261 §20.10); 1 without.
fn quality(contact: &NameAddr) -> u16 {
    const WHOLE: u16 = 1000;
    let Some(text) = contact.params.value("q") else {
        return WHOLE;
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = fraction.bytes().chain(*b"000").take(3);
    let thousandths = digits.fold(0_u16, |sum, digit| {
        sum * 10 + u16::from(digit.saturating_sub(b'0').min(9))
    });
    match whole.bytes().all(|digit| digit == b'0') {
        true => thousandths,
        false => WHOLE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redirection(contacts: &str) -> Message {
        let text = format!(
            "SIP/2.0 302 Moved Temporarily\r\nVia: SIP/2.0/UDP 10.0.0.2;branch=z9hG4bK1\r\n\
             From: <sip:a@10.0.0.2>;tag=a\r\nTo: <sip:b@10.0.0.1>;tag=b\r\nCall-ID: 1\r\n\
             CSeq: 1 INVITE\r\n{contacts}Content-Length: 0\r\n\r\n"
        );
        Message::parse(text.as_bytes()).expect("a message")
    }

    #[test]
    fn the_best_contact_comes_first_and_the_unreadable_not_at_all() {
        let response = redirection(
            "Contact: <sip:1@h>;q=0.2, <sip:2@h>;q=0.75, <sip:3@h>\r\n\
             Contact: <broken, *\r\nContact: <sip:4@h>;q=.5, <sip:5@h>;q=1.0;expires=3, <sip:6@h>;q=0\r\n",
        );
        let order: Vec<_> = contacts(&response)
            .iter()
            .filter_map(|contact| contact.uri.user().map(str::to_owned))
            .collect();
        assert_eq!(order, ["3", "5", "2", "4", "1", "6"]);
    }

    #[test]
    fn no_response_names_more_than_are_looked_at() {
        let many = "Contact: <sip:a@h>\r\n".repeat(MOST_CONTACTS + 5);
        assert_eq!(contacts(&redirection(&many)).len(), MOST_CONTACTS);
    }

    #[test]
    fn odd_qualities_are_read_without_harm() {
        for (value, expected) in [
            ("0.5", 500),
            ("0.12345", 123),
            ("1", 1000),
            ("1.000", 1000),
            ("x", 1000),
            ("0.x9", 990),
            ("0", 0),
        ] {
            let text = format!("<sip:a@h>;q={value}");
            let contact = NameAddr::parse(text.as_bytes()).expect("an address");
            assert_eq!(quality(&contact), expected, "{value}");
        }
    }
}
