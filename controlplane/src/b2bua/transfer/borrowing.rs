//! A transfer to the party of another call: what the call does that is transferred. The other's part is in `lending`.

use crate::records::Outcome;
use crate::routing::Target;
use crate::session::Side;
use crate::sip::{Message, StatusCode};
use crate::transaction::ServerKey;

use super::super::alarms::Alarm;
use super::super::call::Call;
use super::super::context::Context;
use super::super::ending::Cause;
use super::super::late_answers;
use super::super::negotiation::Talk;
use super::super::passing;
use super::lending::{Errand, Given};
use super::named::Known;
use super::newcomer::{Borrowed, Newcomer};
use super::referral::Referral;
use super::seat::Seat;

impl Call {
    /// A transfer to the party of another call.
    pub(super) fn begin_attended(
        &mut self,
        cx: &mut Context,
        by: Side,
        key: ServerKey,
        request: &Message,
        (referral, known): (&Referral, &Known),
    ) {
        let Some(session) = known.session else {
            return cx.refuse(key, request, StatusCode::NO_SUCH_CALL);
        };
        if !self.accept_referral(cx, by, key, request, referral) {
            return;
        }
        self.tries(cx, &known.target, None);
        if let Some(transfer) = &mut self.transfer {
            transfer.newcomer = Some(Newcomer::Lent(Borrowed {
                lender: known.call,
                side: known.rest,
                session,
                target: known.target,
            }));
        }
        self.notify_transferor(cx, StatusCode::TRYING);
        let until = cx.now + cx.settings.no_answer;
        cx.alarms.set(self.id, Alarm::Transfer, Some(until));
        cx.errand(known.call, Errand::Lend(self.id, known.rest));
    }

    pub(super) fn on_errand(&mut self, cx: &mut Context, errand: Errand) {
        match errand {
            Errand::Lend(to, side) => self.lend(cx, to, side),
            Errand::Return(borrower) => self.take_back(cx, borrower),
            Errand::Offers(response) => self.on_borrowed_offer(cx, &response),
            Errand::Refuses(code) => self.on_borrowed_gone(cx, code),
            Errand::Ends => self.on_borrowed_gone(cx, StatusCode::TEMPORARILY_UNAVAILABLE),
            Errand::Give(..) => {}
        }
    }

    fn borrows(&self) -> bool {
        let newcomer = self.transfer.as_ref().map(|transfer| &transfer.newcomer);
        matches!(newcomer, Some(Some(Newcomer::Lent(_))))
    }

    fn on_borrowed_offer(&mut self, cx: &mut Context, response: &Message) {
        if !self.borrows() {
            return;
        }
        cx.alarms.set(self.id, Alarm::Transfer, None);
        self.on_newcomer_offer(cx, response);
    }

    fn on_borrowed_gone(&mut self, cx: &mut Context, code: StatusCode) {
        if self.borrows() {
            self.account.outcome(Outcome::Code(code.as_u16()));
            if let Some(transfer) = &mut self.transfer {
                // There is nothing to be given back.
                transfer.newcomer = None;
            }
            self.on_newcomer_gone(cx, code);
        }
    }

    pub(super) fn seat_borrowed(
        &mut self,
        cx: &mut Context,
        given: Option<Given>,
        answer: Vec<u8>,
    ) {
        let transfer = self.transfer.take();
        let media = transfer.and_then(|mut transfer| {
            let by = transfer.by;
            transfer.media.take().map(|media| (by, media))
        });
        let (Some((by, media)), Some(given)) = (media, given) else {
            return self.hang_up(cx, Cause::Broken);
        };
        let key = given.request;
        let dialog = given.dialog;
        let trunk = given.trunk;
        let sent = late_answers::acknowledge(cx, key, trunk, &dialog, Some(answer));
        cx.stories.add_call_id(self.id, dialog.call_id());
        let said = media.answer.as_ref().and_then(passing::sdp_of);
        let said = said.unwrap_or_default().to_vec();
        let path = dialog.path();
        let seat = Seat {
            session: media.session,
            target: Target {
                trunk,
                peer: path.remote,
                listener: path.listener,
                name: None,
                through: None,
            },
            invite: given.invite,
            tag: dialog.local_tag().to_owned(),
            dialog,
            lease: given.lease,
            talk: Talk::agreed(by, media.offer.unwrap_or_default(), said),
        };
        self.account.outcome(Outcome::Code(StatusCode::OK.as_u16()));
        self.take_seat(cx, by, seat);
        self.timers.forget(by);
        self.time_learn(cx, by, given.asked, &given.answer);
        self.confirm_media(cx, 0);
        if !sent {
            self.hang_up(cx, Cause::Broken);
        }
    }
}
