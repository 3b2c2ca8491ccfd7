//! Offers and answers (RFC 3264, RFC 6337), for each dialog of the callee's side on its own.
//!
//! ```text
//!   INVITE        1xx reliable     PRACK     2xx to PRACK    2xx       ACK       UPDATE, re-INVITE and their 2xx
//!   offer ──────► answer ─────────────────────────────────────────────────────► once the first exchange is over
//!   offer ──────────────────────────────────────────────────► answer             on both legs, anybody may offer
//!                 offer ─────────► answer
//!                 answer           offer ──► answer
//!                                                           offer ──► answer
//! ```
//!
//! A call has one media session, its forks have one conversation each: the session is led to what has been
//! said in the dialog that speaks ([`Focus`]).

use crate::installer::Ticket;
use crate::session::{Rewritten, SessionError, Side};

use super::call::Call;
use super::context::Context;

/// What has been said in one dialog of the callee's side and its mirror.
#[derive(Debug, Default)]
pub(super) struct Talk {
    /// The last exchange that was agreed on.
    agreed: Option<Exchange>,
    /// The offer that waits for its answer.
    open: Option<Offer>,
    /// An answer to it that is not final yet.
    heard: Option<Vec<u8>>,
    /// Whether the first exchange is over on the caller's leg, and on the callee's.
    settled: [bool; 2],
    /// The caller has been sent the answer in a response that it is to acknowledge.
    pub(super) told: bool,
}

#[derive(Clone, Debug)]
struct Offer {
    by: Side,
    sdp: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Exchange {
    offer: Offer,
    answer: Vec<u8>,
}

/// Which dialog the media session follows.
#[derive(Debug, Default)]
pub(super) struct Focus {
    /// By the caller's tag; `None` before any has spoken.
    tag: Option<String>,
    /// It has gone beyond the INVITE's own offer: another dialog has to be led to from the beginning.
    strayed: bool,
    /// Whose offer the session waits for an answer to.
    open: Option<Side>,
}

impl Talk {
    /// The beginning: the INVITE's offer, if it had one.
    pub(super) fn new(offer: Option<&[u8]>) -> Self {
        Self {
            open: offer.map(|sdp| Offer {
                by: Side::A,
                sdp: sdp.to_vec(),
            }),
            ..Self::default()
        }
    }

    /// Where this exchange is what was agreed on.
    pub(super) fn agreed(by: Side, offer: Vec<u8>, answer: Vec<u8>) -> Self {
        Self {
            agreed: Some(Exchange {
                offer: Offer { by, sdp: offer },
                answer,
            }),
            settled: [true, true],
            ..Self::default()
        }
    }

    /// Where all is agreed on but this offer.
    pub(super) fn offered(by: Side, sdp: &[u8]) -> Self {
        Self {
            open: Some(Offer {
                by,
                sdp: sdp.to_vec(),
            }),
            settled: [true, true],
            ..Self::default()
        }
    }

    /// Whose offer is open.
    pub(super) fn open(&self) -> Option<Side> {
        self.open.as_ref().map(|offer| offer.by)
    }

    /// The answer that was given provisionally.
    pub(super) fn heard(&self) -> Option<&[u8]> {
        self.heard.as_deref()
    }

    /// Keeps an answer that is not final.
    pub(super) fn hear(&mut self, answer: &[u8]) {
        self.heard = Some(answer.to_vec());
    }

    /// Whether the first exchange is over on this side's leg.
    pub(super) fn is_settled(&self, side: Side) -> bool {
        match side {
            Side::A => self.settled[0],
            Side::B => self.settled[1],
        }
    }

    /// Whether it is over on both.
    pub(super) fn is_complete(&self) -> bool {
        self.settled == [true, true]
    }

    /// The first exchange is over on this side's leg; with the other's it is over altogether.
    pub(super) fn settle(&mut self, side: Side) {
        match side {
            Side::A => self.settled[0] = true,
            Side::B => self.settled[1] = true,
        }
        if self.is_complete() {
            self.conclude();
        }
    }

    /// The exchange is over on both legs.
    pub(super) fn conclude(&mut self) {
        self.settled = [true, true];
        if let (Some(offer), Some(answer)) = (self.open.take(), self.heard.take()) {
            self.agreed = Some(Exchange { offer, answer });
        }
    }

    /// The offer was turned down.
    pub(super) fn reject(&mut self) {
        self.open = None;
        self.heard = None;
    }

    /// What this side said last in an exchange that was agreed on.
    pub(super) fn said(&self, side: Side) -> Option<&[u8]> {
        let agreed = self.agreed.as_ref()?;
        Some(match agreed.offer.by == side {
            true => &agreed.offer.sdp,
            false => &agreed.answer,
        })
    }

    /// What leads a session to where this dialog is: offers and answers, each with who says it.
    fn story(&self) -> Vec<(Side, Vec<u8>, bool)> {
        let agreed = self.agreed.iter().flat_map(|exchange| {
            let Exchange { offer, answer } = exchange;
            [
                (offer.by, offer.sdp.clone(), true),
                (offer.by.other(), answer.clone(), false),
            ]
        });
        let open = self.open.iter().flat_map(|offer| {
            let answer = self.heard.clone();
            let answer = answer.map(|answer| (offer.by.other(), answer, false));
            [Some((offer.by, offer.sdp.clone(), true)), answer]
        });
        agreed.chain(open.flatten()).collect()
    }
}

impl Call {
    /// An offer in the dialog at `place`, for the other side.
    pub(super) fn offer_in(
        &mut self,
        cx: &mut Context,
        place: usize,
        by: Side,
        sdp: &[u8],
    ) -> Result<Rewritten, SessionError> {
        let session = self.session.ok_or(SessionError::UnknownSession)?;
        self.lead_to(cx, place)?;
        let rewritten = cx.engine.offer(cx.now, session, by, sdp)?;
        self.focus.strayed = true;
        self.focus.open = Some(by);
        if let Some(pair) = self.pairs.get_mut(place) {
            pair.talk.open = Some(Offer {
                by,
                sdp: sdp.to_vec(),
            });
            pair.talk.heard = None;
        }
        Ok(rewritten)
    }

    /// An answer in the dialog at `place`. Final once [`Self::conclude_offer`] says so.
    pub(super) fn answer_in(
        &mut self,
        cx: &mut Context,
        place: usize,
        by: Side,
        sdp: &[u8],
    ) -> Result<Rewritten, SessionError> {
        let session = self.session.ok_or(SessionError::UnknownSession)?;
        self.lead_to(cx, place)?;
        let rewritten = cx.engine.answer(cx.now, session, by, sdp)?;
        self.focus.open = None;
        if let Some(pair) = self.pairs.get_mut(place) {
            pair.talk.hear(sdp);
        }
        Ok(rewritten)
    }

    /// The open offer of the dialog at `place` is turned down.
    pub(super) fn reject_in(&mut self, cx: &mut Context, place: usize) {
        let Some(pair) = self.pairs.get_mut(place) else {
            return;
        };
        pair.talk.reject();
        let focused = self.focus.tag.as_deref() == Some(pair.caller.local_tag());
        if let (Some(session), true) = (self.session, focused) {
            self.focus.open = None;
            if let Err(error) = cx.engine.reject_offer(cx.now, session) {
                super::call::code_of(cx, &error);
            }
        }
    }

    /// The exchange of the dialog at `place` is over on both legs.
    pub(super) fn conclude_offer(&mut self, cx: &mut Context, place: usize) {
        let Some(pair) = self.pairs.get_mut(place) else {
            return;
        };
        pair.talk.conclude();
        self.confirm_media(cx, place);
    }

    /// What was agreed holds, and silence counts from now on. Before the answer nothing does: a phone may ring
    /// in silence.
    pub(super) fn confirm_media(&mut self, cx: &mut Context, place: usize) {
        use super::CallState;
        let up = matches!(self.state(), CallState::Answered | CallState::Established);
        let open = self.pairs.get(place).and_then(|pair| pair.talk.open());
        if let (Some(session), true, None) = (self.session, up, open)
            && let Err(error) = cx.engine.confirm(cx.now, session)
        {
            super::call::code_of(cx, &error);
        }
        self.measure_media(cx);
    }

    /// Leads the media session to what has been said in the dialog at `place`. Nothing happens as long as no
    /// dialog has gone beyond the INVITE's offer: the answer of one fork replaces that of another.
    /// Gives what its flows are waited for by, if it had to be led and they are not there.
    pub(super) fn lead_to(
        &mut self,
        cx: &mut Context,
        place: usize,
    ) -> Result<Option<Ticket>, SessionError> {
        let (Some(session), Some(pair)) = (self.session, self.pairs.get(place)) else {
            return Err(SessionError::UnknownSession);
        };
        let tag = pair.caller.local_tag();
        if self.focus.tag.as_deref() == Some(tag) {
            return Ok(None);
        }
        self.focus.tag = Some(tag.to_owned());
        if !self.focus.strayed {
            return Ok(None);
        }
        let mut last = None;
        for (by, sdp, offers) in pair.talk.story() {
            let foreign = self.focus.open.take_if(|open| *open != by);
            if offers && foreign.is_some() {
                cx.engine.reject_offer(cx.now, session)?;
            }
            let rewritten = match offers {
                true => cx.engine.offer(cx.now, session, by, &sdp)?,
                false => cx.engine.answer(cx.now, session, by, &sdp)?,
            };
            self.focus.open = offers.then_some(by);
            last = rewritten.ticket;
        }
        Ok(last)
    }
}
