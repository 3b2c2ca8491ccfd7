//! What would become of an INVITE: the decision, and the request for each trunk, without sending anything.
//!
//! The same steps as a call's, so that what is shown is what would happen. Which of several trunks that share a
//! place goes first is drawn as it would be for a call.

use std::net::SocketAddr;

use jiff::Timestamp;

use super::B2bua;
use super::setup::callee_invite;
use crate::routing::{Candidate, Decision, Target};
use crate::settings::TrunkId;
use crate::sip::Message;

/// What would become of an INVITE.
#[derive(Clone, Debug)]
pub struct DryRun {
    /// The user part that it is routed by.
    pub user: String,
    /// Where it would go, and why.
    pub decision: Decision,
    /// What each trunk would be sent, in the order of trying.
    pub attempts: Vec<DryAttempt>,
}

/// What one trunk would be sent.
#[derive(Clone, Debug)]
pub struct DryAttempt {
    /// The trunk, and why it stands here.
    pub candidate: Candidate,
    /// Its peers that would be tried, in order; none: no listener of the trunk reaches any.
    pub peers: Vec<SocketAddr>,
    /// The request to the first of them, without Via and body.
    pub request: Option<Message>,
}

impl B2bua {
    /// What would become of an INVITE from a trunk.
    pub(crate) fn dry_run(&mut self, from: TrunkId, invite: &Message, at: Timestamp) -> DryRun {
        let cx = &mut self.cx;
        let user = invite.uri().and_then(|uri| uri.decoded_user());
        let user = cx.routed_user(from, user.unwrap_or_default());
        let decision = cx.decide_at(from, &user, at);
        let attempts = decision.candidates.iter().map(|candidate| {
            let targets = cx.places(std::slice::from_ref(candidate));
            let request = targets.first().map(|target| {
                let tag = cx.tokens.tag();
                callee_invite(cx, from, invite, cx.leaving(*target), &tag)
            });
            DryAttempt {
                candidate: *candidate,
                peers: peers_of(&targets),
                request,
            }
        });
        let attempts = attempts.collect();
        DryRun {
            user,
            decision,
            attempts,
        }
    }
}

/// Each once, however many ways there are to it.
fn peers_of(targets: &[Target]) -> Vec<SocketAddr> {
    let mut peers: Vec<_> = targets.iter().map(|target| target.peer).collect();
    peers.dedup();
    peers
}
