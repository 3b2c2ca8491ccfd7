//! Messages made from other messages: a response, an ACK, a CANCEL.
//!
//! What is copied is copied byte for byte, so that the other side finds what it sent.

use super::typed::TypedError;
use super::{HeaderName, Headers, Message, Method, StartLine, StatusCode};

impl Message {
    /// A response to this request (RFC 3261 §8.2.6.2): Via, From, To, Call-ID and CSeq are copied,
    /// byte for byte; To gets `to_tag` when it has none and one is given. A 100 also copies Timestamp.
    pub fn response(&self, code: StatusCode, to_tag: Option<&str>) -> Self {
        let mut headers = Headers::default();
        for field in self.headers.iter() {
            let copied = match field.name() {
                HeaderName::Via
                | HeaderName::From
                | HeaderName::To
                | HeaderName::CallId
                | HeaderName::CSeq => true,
                HeaderName::Timestamp => code == StatusCode::TRYING,
                _ => false,
            };
            if copied {
                headers.append(field.clone());
            }
        }
        let mut response = Self {
            start: StartLine::Response {
                code,
                reason: code.reason().as_bytes().to_vec(),
            },
            headers,
            body: Vec::new(),
        };
        if let Some(tag) = to_tag {
            // A To that cannot be read goes back as it came, in a 400.
            let _ = response.tag_to(tag);
        }
        response
    }

    /// The ACK for a failure response to this INVITE (RFC 3261 §17.1.1.3): the same Request-URI, top
    /// Via, From, Call-ID, Route and CSeq number; the response's To.
    pub fn ack_for_failure(&self, response: &Self) -> Self {
        let mut ack = self.sibling(Method::Ack);
        if let Some(to) = response.headers.first(&HeaderName::To) {
            ack.headers.append(to.clone());
        }
        ack
    }

    /// The CANCEL for this request (RFC 3261 §9.1): the same Request-URI, top Via, From, To, Call-ID,
    /// Route and CSeq number.
    pub fn cancel(&self) -> Self {
        let mut cancel = self.sibling(Method::Cancel);
        if let Some(to) = self.headers.first(&HeaderName::To) {
            cancel.headers.append(to.clone());
        }
        cancel
    }

    /// A request of another method in this one's place, but for To.
    fn sibling(&self, method: Method) -> Self {
        let mut start = self.start.clone();
        if let StartLine::Request { method: asked, .. } = &mut start {
            asked.clone_from(&method);
        }
        let mut headers = Headers::default();
        if let Some(via) = self.headers.value(&HeaderName::Via) {
            headers.push(HeaderName::Via, via);
        }
        for field in self.headers.iter() {
            match field.name() {
                HeaderName::From | HeaderName::CallId | HeaderName::Route => {
                    headers.append(field.clone());
                }
                HeaderName::CSeq => {
                    if let Ok(cseq) = self.cseq() {
                        headers.push(HeaderName::CSeq, format!("{} {method}", cseq.number));
                    }
                }
                _ => {}
            }
        }
        headers.push(HeaderName::MaxForwards, "70");
        Self {
            start,
            headers,
            body: Vec::new(),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn invite() -> Message {
        Message::parse(
            b"INVITE sip:b@10.0.0.2 SIP/2.0\r\n\
              v: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1 ,  SIP/2.0/UDP 10.0.0.9\r\n\
              Route: <sip:r@10.0.0.3;lr>\r\n\
              f: \"A\"<sip:a@10.0.0.1>;tag=1\r\n\
              t: sip:b@10.0.0.2\r\n\
              i: one\r\n\
              CSeq: 7 INVITE\r\n\
              Timestamp: 54\r\n\
              Contact: <sip:a@10.0.0.1>\r\n\
              Content-Length: 3\r\n\r\nsdp",
        )
        .expect("a message")
    }

    fn text(message: &Message) -> String {
        String::from_utf8(message.to_bytes()).expect("text")
    }

    #[test]
    fn a_response_copies_what_it_must_byte_for_byte() {
        let ringing = invite().response(StatusCode::RINGING, Some("x"));
        assert_eq!(
            text(&ringing),
            "SIP/2.0 180 Ringing\r\n\
             v: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1 ,  SIP/2.0/UDP 10.0.0.9\r\n\
             f: \"A\"<sip:a@10.0.0.1>;tag=1\r\n\
             To: <sip:b@10.0.0.2>;tag=x\r\n\
             i: one\r\n\
             CSeq: 7 INVITE\r\n\
             Content-Length: 0\r\n\r\n"
        );
        let trying = invite().response(StatusCode::TRYING, None);
        assert!(text(&trying).contains("\r\nTimestamp: 54\r\n"));
        assert!(text(&trying).contains("\r\nt: sip:b@10.0.0.2\r\n"));
    }

    #[test]
    fn ack_and_cancel_keep_the_branch_and_the_route() {
        let busy = invite().response(StatusCode::BUSY_HERE, Some("y"));
        let ack = text(&invite().ack_for_failure(&busy));
        assert!(ack.starts_with("ACK sip:b@10.0.0.2 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1\r\nRoute: <sip:r@10.0.0.3;lr>\r\n"));
        assert!(ack.contains("\r\nCSeq: 7 ACK\r\n"));
        assert!(ack.contains("\r\nTo: <sip:b@10.0.0.2>;tag=y\r\n"));
        assert!(!ack.contains("10.0.0.9") && !ack.contains("sdp"));
        let cancel = text(&invite().cancel());
        assert!(cancel.contains("\r\nCSeq: 7 CANCEL\r\n"));
        assert!(cancel.contains("\r\nt: sip:b@10.0.0.2\r\n"));
        assert!(cancel.contains("branch=z9hG4bK1\r\n"));
    }
}
