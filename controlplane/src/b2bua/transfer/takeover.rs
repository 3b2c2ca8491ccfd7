//! INVITE with Replaces (RFC 3891), carried out: its sender takes the place of the party whose dialog it names.
//!
//! ```text
//!   replaced        tandem        remaining party     newcomer
//!      │               │◄──────────── INVITE, Replaces, offer ──│
//!      │               │── re-INVITE ────►│                     │
//!      │               │◄── 200, answer ──│                     │
//!      │               │── ACK ──────────►│                     │
//!      │◄────── BYE ───│───────────── 200, answer ─────────────►│
//! ```
//!
//! Where the INVITE brings no description, the party that remains is asked for the offer, and its 2xx is acknowledged
//! with the newcomer's answer.

use crate::dialog::Dialog;
use crate::records::Outcome;
use crate::routing::Target;
use crate::session::Side;
use crate::settings::{Takeover, TimerMode, TrunkId};
use crate::sip::{HeaderName, Message, StatusCode};
use crate::story::What;
use crate::transaction::{ClientKey, Path, ServerKey};
use crate::trunks::Lease;

use super::super::admission::Refusal;
use super::super::call::Call;
use super::super::context::Context;
use super::super::ending::Cause;
use super::super::negotiation::Talk;
use super::super::passing;
use super::super::{B2bua, CallState};
use super::named::{Known, replaces_of};
use super::newcomer::Newcomer;
use super::seat::Seat;
use super::table::{Stage, Trigger};
use super::{Media, Transfer};

/// The option tag.
pub(in crate::b2bua) const OPTION: &str = "replaces";

/// Who calls to take a place.
#[derive(Debug)]
pub(in crate::b2bua) struct Applicant {
    pub(in crate::b2bua) key: ServerKey,
    pub(in crate::b2bua) invite: Message,
    pub(in crate::b2bua) path: Path,
    pub(in crate::b2bua) trunk: TrunkId,
    /// Our tag in its dialog.
    pub(in crate::b2bua) tag: String,
    pub(in crate::b2bua) lease: Option<Lease>,
}

impl Applicant {
    pub(super) fn target(&self) -> Target {
        Target {
            trunk: self.trunk,
            peer: self.path.remote,
            listener: self.path.listener,
            name: None,
            through: None,
        }
    }

    /// It gives back what it holds of its trunk's limits.
    pub(super) fn release(self, cx: &mut Context) {
        if let Some(lease) = self.lease {
            cx.trunks.ledger_mut().release(lease);
        }
    }
}

impl B2bua {
    /// What an INVITE's Replaces comes to, as its trunk is configured: a dialog to be replaced here, or, where it passes,
    /// the name by which who is called knows the dialog.
    pub(in crate::b2bua) fn wants_place(
        &self,
        trunk: TrunkId,
        invite: &mut Message,
    ) -> Result<Option<Known>, Refusal> {
        let policy = self.cx.transfer_policy(trunk).replaces;
        if policy == Takeover::Off {
            return match invite.lists(&HeaderName::Require, OPTION) {
                true => Err(Refusal::extension(StatusCode::BAD_EXTENSION, OPTION)),
                false => Ok(None),
            };
        }
        let Some(replaces) = replaces_of(invite)? else {
            return Ok(None);
        };
        let known = self.wanted(&replaces);
        if policy == Takeover::Local {
            let known = known.ok_or(StatusCode::NO_SUCH_CALL)?;
            known.free?;
            return Ok(Some(known));
        }
        // A dialog that is not ours may be one of whom is called.
        if let Some(known) = known {
            let name = known.name.to_string();
            invite.headers.set(HeaderName::Replaces, name);
        }
        Ok(None)
    }

    /// Its sender is let in.
    pub(in crate::b2bua) fn begin_takeover(&mut self, known: &Known, applicant: Applicant) {
        let (id, by) = (known.call, known.rest.other());
        self.cx.index.add_server(applicant.key, id);
        self.with_call(id, |call, cx| call.take_over(cx, by, applicant));
    }
}

impl Call {
    fn take_over(&mut self, cx: &mut Context, by: Side, applicant: Applicant) {
        if self.state() != CallState::Established {
            return self.pick_up(cx, applicant);
        }
        cx.counters.transfers_begun += 1;
        let call_id = applicant.invite.call_id().unwrap_or_default();
        cx.stories.claim(self.id, &call_id);
        self.tries(cx, &applicant.target(), None);
        let note = What::Note("INVITE with Replaces: its sender is to have another's place");
        cx.stories.tell(cx.now, self.id, note);
        let offer = passing::sdp_of(&applicant.invite).map(<[u8]>::to_vec);
        let stage = match offer {
            Some(_) => Stage::Preparing,
            None => Stage::Joining,
        };
        let newcomer = Newcomer::Calling(Box::new(applicant));
        self.transfer = Some(Box::new(Transfer::new(stage, by, Some(newcomer))));
        match offer {
            Some(offer) => self.prepare_join(cx, &offer),
            None => self.ask_for_offer(cx),
        }
    }

    /// Nothing comes of it.
    pub(super) fn turn_away(&mut self, cx: &mut Context, applicant: Applicant, code: StatusCode) {
        let mut response = cx.own_response(&applicant.invite, code, Some(&applicant.tag));
        if let Some(rules) = cx.normalisation(applicant.trunk) {
            rules.explain(&mut response);
        }
        cx.refuse_with(applicant.key, response);
        applicant.release(cx);
    }

    /// The newcomer takes its INVITE back. False when the transaction is nobody's who calls for a place.
    pub(in crate::b2bua) fn on_applicant_cancel(
        &mut self,
        cx: &mut Context,
        key: ServerKey,
    ) -> bool {
        let Some(transfer) = &mut self.transfer else {
            return self.on_pick_up_cancel(cx, key);
        };
        let is_its = matches!(&transfer.newcomer, Some(Newcomer::Calling(it)) if it.key == key);
        if !is_its {
            return false;
        }
        match (transfer.stage, transfer.join) {
            // The party that remains may have agreed already; then the newcomer gets its 2xx, and hangs up itself.
            (Stage::Joining, Some(join)) => {
                transfer.gone = true;
                let _ = cx.transactions.cancel(cx.now, join, Vec::new());
            }
            (Stage::Preparing | Stage::Pausing, _) => {
                self.fail_transfer(cx, Trigger::Failure, StatusCode::REQUEST_TERMINATED);
            }
            _ => {}
        }
        true
    }

    /// The newcomer has its place: it gets its 2xx, with the answer, or with the offer that it did not make itself.
    pub(super) fn seat_applicant(
        &mut self,
        cx: &mut Context,
        by: Side,
        applicant: Applicant,
        (media, asked, sdp): (Media, Option<ClientKey>, Vec<u8>),
    ) {
        let Applicant {
            key,
            invite,
            path,
            tag,
            lease,
            ..
        } = applicant;
        let target = Target {
            trunk: applicant.trunk,
            peer: path.remote,
            listener: path.listener,
            name: None,
            through: None,
        };
        self.account.outcome(Outcome::Code(StatusCode::OK.as_u16()));
        let (Ok(dialog), Some(said)) = (Dialog::of_server(&invite, &tag, path), media.answer)
        else {
            return self.hang_up(cx, Cause::Broken);
        };
        let rest = by.other();
        let talk = match (media.offer, passing::sdp_of(&said)) {
            (Some(offer), answer) => Talk::agreed(by, offer, answer.unwrap_or_default().to_vec()),
            (None, offer) => Talk::offered(rest, offer.unwrap_or_default()),
        };
        let mut response = passing::response(&invite, Some(&tag), &said);
        passing::record_routes(&invite, &mut response);
        cx.introduce(&mut response, path.listener);
        let seat = Seat {
            session: media.session,
            target,
            invite: invite.clone(),
            tag,
            dialog,
            lease,
            talk,
        };
        self.take_seat(cx, by, seat);
        cx.cross(self.way_from(rest), &said, &mut response);
        self.time_applicant(cx, by, &invite, (&said, &mut response));
        passing::set_sdp(&mut response, sdp);
        self.farewell.newcomer = Some((key, by));
        self.await_ack(by, key, invite, asked);
        if !cx.respond(key, response) {
            return self.hang_up(cx, Cause::Broken);
        }
        match asked {
            Some(_) => self.measure_media(cx),
            None => self.confirm_media(cx, 0),
        }
    }

    /// The session timer of the newcomer's leg: nobody has agreed on one between the two ends.
    fn time_applicant(
        &mut self,
        cx: &mut Context,
        by: Side,
        invite: &Message,
        with: (&Message, &mut Message),
    ) {
        let mut policy = self.timer_policy(cx, by);
        if policy.mode == TimerMode::Pass {
            policy.mode = TimerMode::Accept;
        }
        self.timers.forget(by);
        self.timers.answer(by, &policy, cx.now, invite, with);
        self.start_timers(cx);
    }

    /// The newcomer has acknowledged its 2xx.
    pub(in crate::b2bua) fn on_newcomer_ack(&mut self, cx: &mut Context, key: ServerKey) {
        let Some((_, side)) = self.farewell.newcomer.take_if(|(known, _)| *known == key) else {
            return;
        };
        if let Some(reason) = self.farewell.take_owed(side) {
            self.send_bye_with(cx, side, Some(&reason));
            self.finish_if_done();
        }
    }

    /// It never did (RFC 3261 §13.3.1.4).
    pub(in crate::b2bua) fn on_newcomer_no_ack(&mut self, cx: &mut Context, key: ServerKey) {
        let known = |newcomer: &(ServerKey, Side)| newcomer.0 == key;
        if !self.farewell.newcomer.as_ref().is_some_and(known) {
            return;
        }
        self.hang_up(cx, Cause::NoAck);
        self.on_newcomer_ack(cx, key);
    }
}
