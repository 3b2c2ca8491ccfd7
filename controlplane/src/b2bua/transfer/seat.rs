//! The newcomer has the place: its dialog, its media, its trunk and what it holds of that are the call's from now on.

use crate::dialog::Dialog;
use crate::routing::Target;
use crate::session::{SessionId, Side};
use crate::sip::Message;
use crate::transaction::Path;
use crate::trunks::Lease;

use super::super::call::Call;
use super::super::context::Context;
use super::super::negotiation::{Focus, Talk};

/// What comes with a newcomer.
pub(super) struct Seat {
    /// The media between it and the party that remains.
    pub(super) session: SessionId,
    pub(super) target: Target,
    /// The INVITE that made its dialog.
    pub(super) invite: Message,
    /// Our tag in its dialog.
    pub(super) tag: String,
    pub(super) dialog: Dialog,
    pub(super) lease: Option<Lease>,
    pub(super) talk: Talk,
}

impl Call {
    /// Gives a newcomer the place of this side. The session timer of the leg is not set.
    pub(super) fn take_seat(&mut self, cx: &mut Context, by: Side, seat: Seat) {
        if let Some(former) = self.session.replace(seat.session) {
            cx.engine.close(cx.now, former);
            cx.ask_for_ended_flows();
            cx.index.remove_session(former);
        }
        self.rename(cx, by, &seat.tag, seat.dialog);
        if let Some(pair) = self.pairs.first_mut() {
            pair.talk = seat.talk;
        }
        self.focus = Focus::default();
        let lease = match by {
            Side::A => std::mem::replace(&mut self.leases.inbound, seat.lease),
            Side::B => std::mem::replace(&mut self.leases.outbound, seat.lease),
        };
        if let Some(lease) = lease {
            cx.trunks.ledger_mut().release(lease);
        }
        if by == Side::A {
            self.note_caller(cx);
        }
        self.successors.take(by, &seat.invite, &seat.tag);
        self.take_trunk(by, seat.target, seat.invite, seat.tag);
    }

    /// The dialog of this side is another, found by another tag of ours.
    fn rename(&mut self, cx: &mut Context, side: Side, tag: &str, dialog: Dialog) {
        let Some(pair) = self.pairs.first_mut() else {
            return;
        };
        cx.index.remove_tag(pair.dialog(side).local_tag(), self.id);
        cx.index.add_tag(tag, self.id, side);
        *pair.dialog_mut(side) = dialog;
    }

    /// From now on this side is behind another trunk.
    fn take_trunk(&mut self, side: Side, target: Target, invite: Message, tag: String) {
        match (side, &mut self.attempt) {
            (Side::A, _) => {
                self.caller.trunk = target.trunk;
                self.caller.path = Path::to(target.listener, target.peer);
            }
            (Side::B, Some(attempt)) => {
                attempt.target = target;
                attempt.invite = invite;
                attempt.tag = tag;
                attempt.owes_ack = false;
            }
            (Side::B, None) => {}
        }
    }
}
