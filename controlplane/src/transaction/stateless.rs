//! Answers that leave nothing behind: to requests that cannot be read, or that there is no room for.

use super::{Path, Transactions};
use crate::sip::{HeaderName, Message, Method, ParseError, StatusCode};

/// When a refused client may try again, in seconds: long enough for a burst to pass, short enough that
/// a carrier that marks us as down for that long does not lose much. RFC 3261 §20.33.
pub const RETRY_AFTER: u32 = 5;

impl Transactions {
    /// Answers a request that could be read in part, if enough of it could: a Via to follow, and
    /// From, Call-ID and CSeq for the client to know its request by. An ACK is never answered.
    pub(super) fn answer_broken(&mut self, path: Path, error: ParseError) {
        self.count_parse_error(error.what);
        let status = error.status();
        let Some(mut request) = error.request else {
            return;
        };
        let known_by = [HeaderName::From, HeaderName::CallId, HeaderName::CSeq];
        if !known_by.iter().all(|name| request.headers.contains(name)) {
            return;
        }
        let Ok(mut via) = request.via() else {
            return;
        };
        via.note_source(path.remote);
        request
            .headers
            .replace_first(&HeaderName::Via, via.to_string());
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
        if request.method() == Some(&Method::Ack) {
            return;
        }
        let Ok(via) = request.via() else {
            return;
        };
        let (back, otherwise) = self.way_back(path, &via);
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
        self.transmit_or(back, otherwise, response.to_bytes());
    }
}
