//! Who is to have the place of the one that leaves: called by us, borrowed from another call, or calling us.

use crate::routing::Target;
use crate::session::{SessionId, Side};
use crate::sip::StatusCode;

use super::super::CallId;
use super::super::call::Call;
use super::super::context::Context;
use super::super::ending::Cause;
use super::candidate::Candidate;
use super::lending::Errand;
use super::table::{Stage, Trigger};
use super::takeover::Applicant;

/// Who is to have the place.
#[derive(Debug)]
pub(super) enum Newcomer {
    /// A target that we call.
    Called(Box<Candidate>),
    /// The party of another call through us.
    Lent(Borrowed),
    /// The sender of an INVITE with Replaces.
    Calling(Box<Applicant>),
}

/// The party of another call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Borrowed {
    /// The call.
    pub(super) lender: CallId,
    /// Which side of it.
    pub(super) side: Side,
    /// Its media.
    pub(super) session: SessionId,
    /// Where the party is.
    pub(super) target: Target,
}

impl Newcomer {
    /// Where it is.
    pub(super) fn target(&self) -> Target {
        match self {
            Self::Called(candidate) => candidate.target,
            Self::Lent(borrowed) => borrowed.target,
            Self::Calling(applicant) => applicant.target(),
        }
    }

    /// It has called us by itself.
    pub(super) fn calls(&self) -> bool {
        matches!(self, Self::Calling(_))
    }

    pub(super) fn candidate(&self) -> Option<&Candidate> {
        match self {
            Self::Called(candidate) => Some(candidate),
            Self::Lent(_) | Self::Calling(_) => None,
        }
    }

    pub(super) fn candidate_mut(&mut self) -> Option<&mut Candidate> {
        match self {
            Self::Called(candidate) => Some(candidate),
            Self::Lent(_) | Self::Calling(_) => None,
        }
    }

    /// Nobody wants it any more. One that has called has been told already.
    pub(super) fn end(self, cx: &mut Context, borrower: CallId) {
        match self {
            Self::Called(candidate) => candidate.end(cx),
            Self::Lent(borrowed) => cx.errand(borrowed.lender, Errand::Return(borrower)),
            Self::Calling(applicant) => applicant.release(cx),
        }
    }
}

impl Call {
    /// The newcomer has gone again before it had its place.
    pub(super) fn on_newcomer_gone(&mut self, cx: &mut Context, code: StatusCode) {
        let Some(transfer) = &mut self.transfer else {
            return;
        };
        transfer.gone = true;
        match (transfer.stage, transfer.join) {
            // What the party that remains makes of the re-INVITE decides: it may have agreed already.
            (Stage::Joining, Some(join)) => {
                let _ = cx.transactions.cancel(cx.now, join, Vec::new());
            }
            (Stage::Connecting, _) => self.hang_up(cx, Cause::PeerGone),
            _ => self.fail_transfer(cx, Trigger::Failure, code),
        }
    }

    /// The newcomer has rung, or been silent, for too long.
    pub(super) fn on_newcomer_silent(&mut self, cx: &mut Context) {
        let Some(transfer) = &self.transfer else {
            return;
        };
        match transfer.candidate() {
            Some(_) => self.on_candidate_silent(cx),
            None => self.fail_transfer(cx, Trigger::Failure, StatusCode::REQUEST_TIMEOUT),
        }
    }
}
