//! Our requests that are challenged (RFC 3261 §22.2): sent again with the trunk's credentials, before the call hears
//! of it.
//!
//! ```text
//!   call ── INVITE ──►                    ──── INVITE 1 ───►  trunk
//!                                         ◄─── 407 ────────
//!                        challenges       ──── INVITE 2 ───►  the same key for the call
//!   call ◄─ 200 ─────                     ◄─── 200 ────────
//!   call ── BYE ─────►   adds credentials ──── BYE 3 ──────►
//! ```
//!
//! What a dialog was asked for is kept by our tag in it, for as long as its call lives or a request of it is out.
//! A trunk without credentials is none of our business: its challenge is the caller's to answer.

use std::collections::HashMap;

use crate::digest::{Answers, Exchange, Outcome, strip};
use crate::settings::{Login, TrunkId};
use crate::sip::{HeaderName, Message, Method, StartLine, StatusCode};
use crate::transaction::{ClientKey, Path, Sent};

use super::context::Context;
use super::index::Owner;
use super::{B2bua, CallId, CallState};

/// What dialogs have been asked for.
#[derive(Debug, Default)]
pub(super) struct Challenges {
    /// By our tag.
    dialogs: HashMap<String, Guarded>,
    /// The tags of each call.
    of_call: HashMap<CallId, Vec<String>>,
    /// Requests that carry credentials, or are to.
    out: HashMap<ClientKey, Out>,
}

/// A dialog, or one that is to be.
#[derive(Debug)]
struct Guarded {
    trunk: TrunkId,
    answers: Answers,
    /// While it lives.
    call: Option<CallId>,
    /// How many of its requests are out.
    out: usize,
}

#[derive(Debug)]
struct Out {
    tag: String,
    exchange: Exchange,
}

/// What became of a challenge.
enum Fate {
    /// The request is out again.
    Again,
    /// It is not ours to answer.
    Passed,
    /// The request has failed, with this for whoever waits for it.
    Failed(StatusCode),
}

impl Challenges {
    /// Adds the credentials that the request's dialog has been asked for; its tag, if there are any.
    pub(super) fn equip(&mut self, request: &mut Message) -> Option<String> {
        if self.dialogs.is_empty() {
            return None;
        }
        let tag = tag_of(request)?;
        let guarded = self.dialogs.get_mut(&tag)?;
        guarded.answers.sign(request);
        Some(tag)
    }

    /// A request that [`Self::equip`] gave a tag for is out.
    pub(super) fn sent(&mut self, key: ClientKey, tag: Option<String>) {
        let Some(tag) = tag else {
            return;
        };
        if let Some(guarded) = self.dialogs.get_mut(&tag) {
            guarded.out += 1;
            let exchange = Exchange::default();
            self.out.insert(key, Out { tag, exchange });
        }
    }

    /// Takes the next nonce that a success brings.
    pub(super) fn hear(&mut self, key: ClientKey, response: &Message) {
        let Some(out) = self.out.get(&key) else {
            return;
        };
        let success = response.code().is_some_and(|code| code.is_success());
        if let Some(guarded) = self.dialogs.get_mut(&out.tag).filter(|_| success) {
            guarded.answers.hear(response);
        }
    }

    /// The request is over.
    pub(super) fn ended(&mut self, key: ClientKey) {
        let Some(out) = self.out.remove(&key) else {
            return;
        };
        if let Some(guarded) = self.dialogs.get_mut(&out.tag) {
            guarded.out = guarded.out.saturating_sub(1);
            if guarded.out == 0 && guarded.call.is_none() {
                self.dialogs.remove(&out.tag);
            }
        }
    }

    /// The call is over; what is still out of its requests may be challenged yet.
    pub(super) fn call_over(&mut self, call: CallId) {
        for tag in self.of_call.remove(&call).unwrap_or_default() {
            match self.dialogs.get_mut(&tag) {
                Some(guarded) if guarded.out > 0 => guarded.call = None,
                _ => {
                    self.dialogs.remove(&tag);
                }
            }
        }
    }

    /// How many entries there are in all.
    pub(super) fn held(&self) -> usize {
        self.dialogs.len() + self.of_call.len() + self.out.len()
    }

    /// The answers of a dialog and the exchange of a request in it, made if they are new.
    fn entry(
        &mut self,
        key: ClientKey,
        tag: &str,
        trunk: TrunkId,
        call: Option<CallId>,
    ) -> (&mut Answers, &mut Exchange) {
        let Self {
            dialogs,
            of_call,
            out,
        } = self;
        let guarded = dialogs.entry(tag.to_owned()).or_insert_with(|| {
            if let Some(call) = call {
                of_call.entry(call).or_default().push(tag.to_owned());
            }
            Guarded {
                trunk,
                answers: Answers::default(),
                call,
                out: 0,
            }
        });
        let out = out.entry(key).or_insert_with(|| {
            guarded.out += 1;
            Out {
                tag: tag.to_owned(),
                exchange: Exchange::default(),
            }
        });
        (&mut guarded.answers, &mut out.exchange)
    }
}

impl B2bua {
    /// One of our requests was answered with 401 or 407.
    pub(super) fn on_challenged(
        &mut self,
        key: ClientKey,
        response: Message,
        path: Path,
        sent: &Sent,
    ) {
        if self.on_register(key, Some(&response)) {
            return;
        }
        match self.answer(key, &response, path, sent) {
            Fate::Again => {}
            Fate::Passed => self.on_response(key, response, path),
            Fate::Failed(code) => self.on_response(key, failed(response, code), path),
        }
    }

    fn answer(&mut self, key: ClientKey, response: &Message, path: Path, sent: &Sent) -> Fate {
        let Some(tag) = tag_of(&sent.request) else {
            return Fate::Passed;
        };
        let (call, trunk) = self.dialog_behind(&tag, path);
        let Some(trunk) = trunk.filter(|trunk| !self.cx.logins(*trunk).is_empty()) else {
            return Fate::Passed;
        };
        if !self.is_wanted(key, sent) {
            return Fate::Failed(StatusCode::FORBIDDEN);
        }
        let cx = &mut self.cx;
        let logins = logins_of(&cx.settings, trunk);
        let (answers, exchange) = cx.challenges.entry(key, &tag, trunk, call);
        let tokens = &mut cx.tokens;
        match answers.take(response, exchange, logins, || tokens.tag()) {
            Outcome::Answered => {}
            Outcome::Refused => {
                cx.counters.authentication.refused += 1;
                return Fate::Failed(StatusCode::FORBIDDEN);
            }
            Outcome::Unable => {
                cx.counters.authentication.unable += 1;
                return Fate::Failed(StatusCode::FORBIDDEN);
            }
        }
        let number = self.next_number(&tag, &sent.request);
        let mut request = sent.request.clone();
        renumber(&mut request, number);
        self.cx.challenges.equip(&mut request);
        match self.cx.transactions.retry(self.cx.now, key, sent, request) {
            Ok(()) => {
                self.cx.counters.authentication.answered += 1;
                self.note_number(key, &tag, number);
                Fate::Again
            }
            Err(_) => Fate::Failed(StatusCode::SERVICE_UNAVAILABLE),
        }
    }

    /// The call of a dialog of ours, if it lives, and the trunk that the dialog is with.
    fn dialog_behind(&self, tag: &str, path: Path) -> (Option<CallId>, Option<TrunkId>) {
        let call = self
            .cx
            .index
            .tag(tag)
            .and_then(|(id, side)| Some((self.calls.get(&id)?, side)));
        if let Some((call, side)) = call {
            return (Some(call.id), Some(call.trunk_behind(tag, side)));
        }
        let known = self
            .cx
            .challenges
            .dialogs
            .get(tag)
            .map(|guarded| guarded.trunk);
        (None, known.or_else(|| self.cx.trunk_of(path)))
    }

    /// Whether anybody waits for the answer. An INVITE whose call has gone on, or away, is over with its challenge; a
    /// BYE is wanted always: without it the other side would hold the call.
    fn is_wanted(&self, key: ClientKey, sent: &Sent) -> bool {
        if sent.request.method() != Some(&Method::Invite) {
            return true;
        }
        let Some(Owner::Call(id)) = self.cx.index.owner(key) else {
            return false;
        };
        self.calls.get(id).is_some_and(|call| {
            let setup = matches!(call.state(), CallState::Calling | CallState::Ringing);
            !call.is_invite(key) || setup
        })
    }

    /// The next CSeq number: others may have been used in the dialog since.
    fn next_number(&self, tag: &str, request: &Message) -> u32 {
        let sent = request.cseq().map_or(0, |cseq| cseq.number);
        let call = self
            .cx
            .index
            .tag(tag)
            .and_then(|(id, side)| Some((self.calls.get(&id)?, side)));
        let used = call.and_then(|(call, side)| {
            let dialogs = call.pairs.iter().map(|pair| pair.dialog(side));
            let own = dialogs.filter(|dialog| dialog.local_tag() == tag);
            own.map(|dialog| dialog.local_cseq()).max()
        });
        sent.max(used.unwrap_or(0)).saturating_add(1)
    }

    /// The request has another number now: what comes after it in its dialog has a higher one. Early dialogs of an
    /// INVITE that was challenged after all are no more.
    fn note_number(&mut self, key: ClientKey, tag: &str, number: u32) {
        let Some((id, side)) = self.cx.index.tag(tag) else {
            return;
        };
        self.with_call(id, |call, cx| {
            if call.renumber_candidate(key, number) {
                return;
            }
            if call.is_invite(key) {
                call.retain_pair(cx, None);
                if let Some(attempt) = &mut call.attempt {
                    renumber(&mut attempt.invite, number);
                }
                return;
            }
            call.referrals.renumber(key, number);
            for pair in &mut call.pairs {
                let dialog = pair.dialog_mut(side);
                if dialog.local_tag() == tag {
                    dialog.advance_to(number);
                }
            }
        });
    }
}

impl Context {
    /// Who we are to the trunk.
    fn logins(&self, trunk: TrunkId) -> &[Login] {
        logins_of(&self.settings, trunk)
    }

    /// A caller's credentials do not pass to a trunk that we have our own for: they would be for somebody else.
    pub(super) fn withhold_credentials(&self, trunk: TrunkId, request: &mut Message) {
        if !self.logins(trunk).is_empty() {
            strip(request);
        }
    }
}

fn logins_of(settings: &crate::settings::Settings, trunk: TrunkId) -> &[Login] {
    let trunk = settings.trunks.get(usize::from(trunk.0));
    trunk.map_or(&[], |trunk| &trunk.logins)
}

fn tag_of(request: &Message) -> Option<String> {
    let from = request.from().ok()?;
    from.tag().map(str::to_owned)
}

pub(super) fn renumber(request: &mut Message, number: u32) {
    if let Some(method) = request.method() {
        let value = format!("{number} {method}");
        request.headers.set(HeaderName::CSeq, value);
    }
}

/// The response as whoever waits for it gets it: it could do nothing with a challenge that is for us.
fn failed(mut response: Message, code: StatusCode) -> Message {
    response.headers.remove(&HeaderName::WwwAuthenticate);
    response.headers.remove(&HeaderName::ProxyAuthenticate);
    response.start = StartLine::Response {
        code,
        reason: code.reason().as_bytes().to_vec(),
    };
    response
}
