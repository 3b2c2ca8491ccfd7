//! What every message must have before anything can be done with it (RFC 3261 §8.1.1).

use super::{HeaderName, Message, ParseErrorKind};

impl Message {
    /// Whether Via, From, To, Call-ID and CSeq are there, once, and have a meaning; whether CSeq fits the
    /// request; whether Max-Forwards is a number. An absent Max-Forwards is let pass: RFC 2543 knew none.
    ///
    /// # Errors
    /// The first fault.
    pub fn check(&self) -> Result<(), ParseErrorKind> {
        let once = [
            HeaderName::From,
            HeaderName::To,
            HeaderName::CallId,
            HeaderName::CSeq,
        ];
        if !self.headers.contains(&HeaderName::Via) {
            return Err(ParseErrorKind::MissingHeader);
        }
        for name in &once {
            match self.headers.all(name).count() {
                0 => return Err(ParseErrorKind::MissingHeader),
                1 => {}
                _ => return Err(ParseErrorKind::RepeatedHeader),
            }
        }
        if self.headers.all(&HeaderName::MaxForwards).count() > 1 {
            return Err(ParseErrorKind::RepeatedHeader);
        }
        let readable = self.via().is_ok()
            && self.from().is_ok()
            && self.to().is_ok()
            && self.call_id().is_ok()
            && self.max_forwards().is_ok();
        let cseq = self.cseq().map_err(|_| ParseErrorKind::BadHeader)?;
        if !readable {
            return Err(ParseErrorKind::BadHeader);
        }
        match self.method() {
            Some(method) if *method != cseq.method => Err(ParseErrorKind::CSeqMethod),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "BYE sip:b@10.0.0.2 SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\n\
        From: <sip:a@x>;tag=1\r\nTo: <sip:b@x>;tag=2\r\nCall-ID: c\r\nCSeq: 1 BYE\r\n\r\n";

    fn check(text: &str) -> Result<(), ParseErrorKind> {
        Message::parse(text.as_bytes()).expect(text).check()
    }

    #[test]
    fn each_mandatory_header_is_needed_once_and_readable() {
        assert_eq!(check(WHOLE), Ok(()));
        for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
            let renamed = WHOLE.replace(&format!("\r\n{name}:"), "\r\nX-Other:");
            assert_eq!(
                check(&renamed),
                Err(ParseErrorKind::MissingHeader),
                "{name}"
            );
            let broken = WHOLE.replace(&format!("\r\n{name}: "), &format!("\r\n{name}: \" "));
            assert_eq!(check(&broken), Err(ParseErrorKind::BadHeader), "{name}");
        }
        let twice = WHOLE.replace("Call-ID: c\r\n", "Call-ID: c\r\ni: d\r\n");
        assert_eq!(check(&twice), Err(ParseErrorKind::RepeatedHeader));
        let other = WHOLE.replace("1 BYE", "1 bye");
        assert_eq!(check(&other), Err(ParseErrorKind::CSeqMethod));
        let hops = WHOLE.replace("Call-ID", "Max-Forwards: 256\r\nCall-ID");
        assert_eq!(check(&hops), Err(ParseErrorKind::BadHeader));
    }
}
