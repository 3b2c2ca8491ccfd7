//! Whether the caller hears of a session description before the answer: by the trunks' policies and, where they
//! say so, by what the callee's network grants (RFC 5009).
//!
//! Withholds the announcement only. RTP that comes before the answer is relayed whatever is said here.

use crate::session::Side;
use crate::settings::EarlyMedia;
use crate::sip::{HeaderName, Message, StartLine, StatusCode};

use super::call::Call;
use super::context::Context;

/// Grants early media of a stream, or does not (RFC 5009 §8).
const GRANT: &str = "P-Early-Media";

impl Call {
    /// Whether the caller is not to hear of the session description of a provisional response in the dialog at
    /// `place`. A grant holds until it is taken back.
    pub(super) fn hides_early_media(
        &mut self,
        cx: &Context,
        place: usize,
        response: &Message,
    ) -> bool {
        let Some(pair) = self.pairs.get_mut(place) else {
            return false;
        };
        if let Some(grant) = grant(response) {
            pair.early_media_granted = grant;
        }
        let granted = pair.early_media_granted;
        let mut sides = [Side::A, Side::B].into_iter();
        sides.any(
            |side| match cx.dialog_policy(self.trunk(side)).early_media {
                EarlyMedia::Pass => false,
                EarlyMedia::Ring => true,
                EarlyMedia::Authorized => !granted,
            },
        )
    }
}

/// What is left of a response that would have brought early media.
pub(super) fn ring(response: &mut Message) {
    let code = StatusCode::RINGING;
    response.start = StartLine::Response {
        code,
        reason: code.reason().as_bytes().to_vec(),
    };
    response.headers.remove(&HeaderName::from(GRANT));
}

/// Whether the response grants media towards the caller; `None` when it says nothing of it. Of several streams
/// one is enough.
fn grant(response: &Message) -> Option<bool> {
    let value = response.headers.value(&HeaderName::from(GRANT))?;
    let mut words = value.split(|byte| matches!(byte, b',' | b' ' | b'\t'));
    Some(words.any(|word| {
        word.eq_ignore_ascii_case(b"sendrecv") || word.eq_ignore_ascii_case(b"sendonly")
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_stream_towards_the_caller_is_enough() {
        let with = |field: &str| {
            let text = format!("SIP/2.0 183 X\r\n{field}Content-Length: 0\r\n\r\n");
            grant(&Message::parse(text.as_bytes()).expect("a message"))
        };
        assert_eq!(with(""), None);
        assert_eq!(with("P-Early-Media: supported\r\n"), Some(false));
        assert_eq!(with("P-Early-Media: inactive, sendonly\r\n"), Some(true));
        assert_eq!(with("p-early-media: SendRecv,gated\r\n"), Some(true));
        assert_eq!(with("P-Early-Media: recvonly\r\n"), Some(false));
    }
}
