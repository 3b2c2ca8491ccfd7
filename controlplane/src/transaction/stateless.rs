//! Answers that leave nothing behind: to requests that cannot be read, or that there is no room for.

use super::key::MatchKey;
use super::{Path, Transactions};
use crate::sip::{HeaderName, Message, Method, ParseError, StatusCode};

/// When a refused client may try again, in seconds: long enough for a burst to pass, short enough that
/// a carrier that marks us as down for that long does not lose much. RFC 3261 §20.33.
pub const RETRY_AFTER: u32 = 5;

impl Transactions {
    /// Answers a request that could be read in part: with what could be read of Via, From, To, Call-ID and CSeq, for
    /// the client to know its request by. Where its Via says nothing the answer goes to where the request came from. An
    /// ACK is never answered, and no request without any Via.
    pub(super) fn answer_broken(&mut self, path: Path, error: ParseError) {
        self.count_parse_error(error.what);
        let status = error.status();
        let Some(mut request) = error.request else {
            return;
        };
        if !request.headers.contains(&HeaderName::Via) {
            return;
        }
        if let Ok(mut via) = request.via() {
            via.note_source(path.remote);
            request
                .headers
                .replace_first(&HeaderName::Via, via.to_string());
        }
        self.answer_statelessly(path, &request, status, Some(error.what.words()));
    }

    /// Sends one response and forgets it. The request's top Via holds its source. A repeated request
    /// gets the same response, To tag included.
    pub(super) fn answer_statelessly(
        &mut self,
        path: Path,
        request: &Message,
        status: StatusCode,
        reason: Option<&str>,
    ) {
        let tag = self.secret.tag(request);
        let mut response = request.response(status, Some(&tag));
        if let (Some(words), crate::sip::StartLine::Response { reason, .. }) =
            (reason, &mut response.start)
        {
            *reason = words.as_bytes().to_vec();
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            let seconds = RETRY_AFTER.to_string();
            response.headers.push(HeaderName::RetryAfter, seconds);
        }
        self.send_stateless(path, request, &response);
    }

    /// Answers a whole request that gets no transaction, as the user decides, with these headers added. A repeated
    /// request gets the same tag.
    pub fn answer_at_the_door(
        &mut self,
        path: Path,
        mut request: Message,
        status: StatusCode,
        headers: Vec<(HeaderName, String)>,
    ) {
        note_source(&mut request, path);
        let tag = self.secret.tag(&request);
        let mut response = request.response(status, Some(&tag));
        for (name, value) in headers {
            response.headers.push(name, value);
        }
        self.send_stateless(path, &request, &response);
    }

    /// Whether an ACK acknowledges a failure that was sent without a transaction: there is nothing to be done about it.
    pub fn is_ack_of_stateless(&self, path: Path, ack: &Message) -> bool {
        let mut ack = ack.clone();
        note_source(&mut ack, path);
        let tag = ack.to().ok().and_then(|to| to.tag().map(str::to_owned));
        tag.is_some_and(|tag| tag == self.secret.tag(&ack))
    }

    /// Whether the request has a transaction already.
    pub fn is_repeated(&self, request: &Message) -> bool {
        let key = request.via().and_then(|via| {
            let method = request.method().cloned().unwrap_or(Method::Ack);
            MatchKey::of(request, &via, method)
        });
        key.is_ok_and(|key| self.by_match.contains_key(&key))
    }

    fn send_stateless(&mut self, path: Path, request: &Message, response: &Message) {
        if request.method() == Some(&Method::Ack) {
            return;
        }
        let (back, otherwise) = match request.via() {
            Ok(via) => self.way_back(path, &via),
            Err(_) => (path, None),
        };
        self.transmit_or(back, otherwise, response.to_bytes());
    }
}

/// Writes into the top Via where the request came from.
fn note_source(request: &mut Message, path: Path) {
    if let Ok(mut via) = request.via() {
        via.note_source(path.remote);
        request
            .headers
            .replace_first(&HeaderName::Via, via.to_string());
    }
}
