//! Which dialog a Replaces names, and whether it may be replaced now (RFC 3891 §3).

use crate::routing::Target;
use crate::session::{SessionId, Side};
use crate::sip::{HeaderName, Message, Method, StatusCode};

use super::super::call::Call;
use super::super::{B2bua, CallId, CallState};
use super::referral::Referral;
use super::replaces::Replaces;

/// What a Replaces in a REFER names.
#[derive(Debug)]
pub(in crate::b2bua) enum Named {
    /// There is none.
    Nothing,
    /// No dialog of ours: one of whom is to be called.
    Foreign(Replaces),
    /// A dialog of ours.
    Dialog(Box<Known>),
}

/// A dialog of a call through us.
#[derive(Debug)]
pub(in crate::b2bua) struct Known {
    pub(super) call: CallId,
    /// The side that talks on, when the other is replaced.
    pub(super) rest: Side,
    /// The dialog of that side, as its peer knows it.
    pub(super) name: Replaces,
    /// Where that side is.
    pub(super) target: Target,
    pub(super) session: Option<SessionId>,
    /// Whether the other may be replaced now, or the code that says why not.
    pub(super) free: Result<(), StatusCode>,
}

/// A dialog that a name has led to.
#[derive(Clone, Copy, Debug)]
struct Found {
    call: CallId,
    /// Whose dialog with us it is.
    side: Side,
    place: usize,
    /// The tags are in the order of a request to us: its To-tag is ours.
    ours: bool,
}

impl B2bua {
    /// The dialog that a REFER wants replaced.
    ///
    /// # Errors
    /// 400 when its name cannot be read, 403 when it is another trunk's.
    pub(in crate::b2bua) fn named_in(
        &self,
        refer: &Message,
        by: (CallId, Side),
    ) -> Result<Named, StatusCode> {
        if refer.method() != Some(&Method::Refer) {
            return Ok(Named::Nothing);
        }
        let Some(replaces) = Referral::replaces(refer)? else {
            return Ok(Named::Nothing);
        };
        // Whoever sends a REFER names its own dialog with us, as it stands for whom it calls; what others have is none of
        // its business.
        let found = self.find(&replaces).filter(|found| found.ours);
        let trunk_of = |id, side| self.calls.get(&id).map(|call| call.trunk(side));
        if found.is_some_and(|found| trunk_of(found.call, found.side) != trunk_of(by.0, by.1)) {
            return Err(StatusCode::FORBIDDEN);
        }
        let known = found
            .and_then(|found| self.known(found, found.side.other(), replaces.early_only, false));
        Ok(match known {
            Some(known) => Named::Dialog(Box::new(known)),
            None => Named::Foreign(replaces),
        })
    }

    /// The dialog that an INVITE wants replaced: that of the party whom it names with us, or, where it names the
    /// dialog that somebody else knows, that of the other side: the name was meant for that somebody.
    pub(super) fn wanted(&self, replaces: &Replaces) -> Option<Known> {
        let found = self.find(replaces)?;
        let rest = match found.ours {
            true => found.side.other(),
            false => found.side,
        };
        self.known(found, rest, replaces.early_only, true)
    }

    /// What there is to know of it; `ours` where we are to replace it.
    fn known(&self, found: Found, rest: Side, early_only: bool, ours: bool) -> Option<Known> {
        let call = self.calls.get(&found.call)?;
        let dialog = call.pairs.get(found.place)?.dialog(rest);
        let path = dialog.path();
        Some(Known {
            call: found.call,
            rest,
            name: Replaces::of_peer(dialog, early_only),
            target: Target {
                trunk: call.trunk(rest),
                peer: path.remote,
                listener: path.listener,
                name: None,
                through: None,
            },
            session: call.session,
            free: call.replaceable(early_only, rest, ours),
        })
    }

    /// The dialog with this name.
    fn find(&self, name: &Replaces) -> Option<Found> {
        let orders = [
            (&name.to_tag, &name.from_tag, true),
            (&name.from_tag, &name.to_tag, false),
        ];
        orders.into_iter().find_map(|(local, remote, ours)| {
            let (id, side) = self.cx.index.tag(local)?;
            let call = self.calls.get(&id)?;
            let at = |remote| call.pair_at(side, &name.call_id, local, remote);
            // A tag of zero is also none at all, of a peer of RFC 2543 (RFC 3891 §6.1).
            let place = at(remote).or_else(|| at("").filter(|_| remote == "0"))?;
            Some(Found {
                call: id,
                side,
                place,
                ours,
            })
        })
    }
}

impl Call {
    /// Whether one of its parties may be replaced now.
    ///
    /// # Errors
    /// 603 when it is over, 486 when only a call that rings was to be taken; 481 while it rings, but for a callee that
    /// an INVITE is to replace: the caller's early dialog was not made by us; 491 while an exchange is under way.
    fn replaceable(&self, early_only: bool, rest: Side, invited: bool) -> Result<(), StatusCode> {
        match self.state() {
            CallState::Cancelling | CallState::Ending | CallState::Over => Err(StatusCode::DECLINE),
            CallState::Answered | CallState::Established if early_only => {
                Err(StatusCode::BUSY_HERE)
            }
            CallState::Established if !self.exchanges() => Ok(()),
            CallState::Ringing if invited && rest == Side::A => Ok(()),
            CallState::Answered | CallState::Established => Err(StatusCode::REQUEST_PENDING),
            _ => Err(StatusCode::NO_SUCH_CALL),
        }
    }
}

/// The dialog that an INVITE names in its Replaces.
///
/// # Errors
/// 400 when there are several, when it cannot be read, or when the INVITE wants to join a dialog besides.
pub(super) fn replaces_of(invite: &Message) -> Result<Option<Replaces>, StatusCode> {
    let values = invite.headers.values(&HeaderName::Replaces);
    let joins = invite.headers.contains(&HeaderName::from("Join"));
    match &values[..] {
        [] if !invite.headers.contains(&HeaderName::Replaces) => Ok(None),
        [value] if !joins => match Replaces::parse(value) {
            Some(replaces) => Ok(Some(replaces)),
            None => Err(StatusCode::BAD_REQUEST),
        },
        _ => Err(StatusCode::BAD_REQUEST),
    }
}
