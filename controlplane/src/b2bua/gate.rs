//! Callers that must prove who they are (RFC 3261 §22.1): before a request of theirs becomes a transaction.
//!
//! A request without good credentials is answered from here and forgotten: whoever floods us with INVITEs that he cannot
//! authenticate makes us hold nothing. A request that has its transaction already is a repetition, and passes: its
//! credentials were looked at, and would now be used twice.

use crate::digest::{Verdict, strip_realm};
use crate::settings::{Challenge, Scope, Settings, TrunkId};
use crate::sip::{HeaderName, Message, Method, StatusCode};
use crate::transaction::Path;

use super::B2bua;
use super::context::Context;

impl B2bua {
    /// Whether what came may go on to the transactions. If not, it has been answered.
    pub(super) fn may_enter(&mut self, path: Path, bytes: &[u8]) -> bool {
        if self.challenge_at(path).is_none() {
            return true;
        }
        // What cannot be read is answered where everything broken is.
        let Ok(request) = Message::parse(bytes) else {
            return true;
        };
        if request.check().is_err() {
            return true;
        }
        if request.method() == Some(&Method::Ack) {
            return !self.cx.transactions.is_ack_of_stateless(path, &request);
        }
        let repeated = self.cx.transactions.is_repeated(&request);
        let (now, source) = (self.cx.now, path.remote.ip());
        let trunk = self.cx.trunk_of(path);
        let Context {
            settings, guard, ..
        } = &mut self.cx;
        let challenge = trunk.and_then(|trunk| challenge_of(settings, trunk));
        let Some(challenge) = challenge.filter(|it| is_asked(it.scope, &request) && !repeated)
        else {
            return true;
        };
        let Challenge { realm, users, .. } = challenge;
        let (code, values) = match guard.check(now, realm, users, &request, source) {
            Verdict::Good => return true,
            Verdict::Challenge(values) => (StatusCode::UNAUTHORIZED, values),
            Verdict::ShutOut => (StatusCode::FORBIDDEN, Vec::new()),
        };
        self.count_refused(code);
        let headers = values
            .into_iter()
            .map(|value| (HeaderName::WwwAuthenticate, value));
        self.cx
            .transactions
            .answer_at_the_door(path, request, code, headers.collect());
        false
    }

    /// What a request proved to us is nobody else's business.
    pub(super) fn take_proof(&self, path: Path, request: &mut Message) {
        if let Some(challenge) = self.challenge_at(path) {
            strip_realm(request, &challenge.realm);
        }
    }

    fn challenge_at(&self, path: Path) -> Option<&Challenge> {
        challenge_of(&self.cx.settings, self.cx.trunk_of(path)?)
    }
}

fn challenge_of(settings: &Settings, trunk: TrunkId) -> Option<&Challenge> {
    let trunk = settings.trunks.get(usize::from(trunk.0))?;
    trunk.challenge.as_ref()
}

fn is_asked(scope: Scope, request: &Message) -> bool {
    match request.method() {
        None | Some(Method::Ack | Method::Cancel) => false,
        Some(_) => scope == Scope::All || request.to().is_ok_and(|to| to.tag().is_none()),
    }
}
