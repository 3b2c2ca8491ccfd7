//! Answers that leave nothing behind: to requests that cannot be read, or that there is no room for.

use super::{Path, Transactions};
use crate::sip::{HeaderName, Message, Method, ParseError, StatusCode};

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
        let Some(back) = request.via().ok().and_then(|via| via.response_address()) else {
            return;
        };
        let tag = self.secret.tag(request);
        let mut response = request.response(status, Some(&tag));
        if let (Some(words), crate::sip::StartLine::Response { reason, .. }) =
            (reason, &mut response.start)
        {
            *reason = words.as_bytes().to_vec();
        }
        let back = Path {
            listener: path.listener,
            remote: back,
        };
        self.transmit(back, &response);
    }
}
