//! Which codecs pass from one party to the other: those that both trunks' rules allow, in offers and in answers alike,
//! so that neither side agrees on one that the other was not offered.
//!
//! Only offers are put into an order: an answer's first codec is what the party will send (RFC 3264 §6.1).

use super::SessionError;
use crate::sdp::{Codec, Description, Verdict};
use crate::settings::{CodecName, CodecRules};

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Offer,
    Answer,
}

/// Makes a description fit the rules of both sides, and the packet time that the receiver is asked for.
pub(super) fn apply(
    description: &mut Description,
    turn: Turn,
    sender: &CodecRules,
    receiver: &CodecRules,
) -> Result<(), SessionError> {
    if sender.is_empty() && receiver.is_empty() {
        return Ok(());
    }
    let left = description.filter_codecs(|codec| {
        if !passes(sender, codec) || !passes(receiver, codec) {
            return Verdict::Drop;
        }
        let place = receiver.prefer.iter().position(|name| is(name, codec));
        match place.filter(|_| turn == Turn::Offer) {
            Some(place) => Verdict::Place(place),
            None => Verdict::Keep,
        }
    });
    if left.emptied > 0 && left.usable == 0 {
        return Err(SessionError::NoCodec);
    }
    if let Some(ptime) = receiver.ptime {
        description.set_ptime(ptime);
    }
    Ok(())
}

/// What is allowed is said of audio; key presses pass unless they are denied.
fn passes(rules: &CodecRules, codec: &Codec<'_>) -> bool {
    if rules.deny.iter().any(|name| is(name, codec)) {
        return false;
    }
    let is_audio = codec.media.eq_ignore_ascii_case(b"audio");
    !is_audio
        || rules.allow.is_empty()
        || codec.is_telephone_event()
        || rules.allow.iter().any(|name| is(name, codec))
}

fn is(name: &CodecName, codec: &Codec<'_>) -> bool {
    codec.name.eq_ignore_ascii_case(name.name.as_bytes())
        && name.rate.is_none_or(|rate| codec.rate == Some(rate))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const BODY: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
        m=audio 5000 RTP/AVP 18 8 0 101\r\na=rtpmap:101 telephone-event/8000\r\n\
        m=video 5002 RTP/AVP 31\r\n";

    fn names(names: &[&str]) -> Vec<CodecName> {
        let name = |name: &&str| CodecName {
            name: name.to_ascii_lowercase(),
            rate: None,
        };
        names.iter().map(name).collect()
    }

    fn applied(
        turn: Turn,
        sender: &CodecRules,
        receiver: &CodecRules,
    ) -> Result<String, SessionError> {
        let mut description = Description::parse(BODY.as_bytes()).expect("valid");
        apply(&mut description, turn, sender, receiver)?;
        let body = String::from_utf8(description.to_bytes()).expect("text");
        Ok(body
            .lines()
            .filter(|line| line.starts_with("m=") || line.starts_with("a=ptime"))
            .collect::<Vec<_>>()
            .join(" "))
    }

    #[test]
    fn both_sides_rules_hold_and_the_receivers_order_is_for_offers() {
        let sender = CodecRules {
            deny: names(&["G729"]),
            ..CodecRules::default()
        };
        let receiver = CodecRules {
            allow: names(&["PCMU", "PCMA", "G729"]),
            prefer: names(&["PCMU"]),
            ptime: Some(Duration::from_millis(20)),
            ..CodecRules::default()
        };
        let offer = applied(Turn::Offer, &sender, &receiver);
        assert_eq!(
            offer.as_deref(),
            Ok("m=audio 5000 RTP/AVP 0 8 101 a=ptime:20 m=video 5002 RTP/AVP 31")
        );
        let answer = applied(Turn::Answer, &sender, &receiver);
        assert!(answer.is_ok_and(|body| body.starts_with("m=audio 5000 RTP/AVP 8 0 101 ")));
    }

    #[test]
    fn a_description_without_any_codec_left_is_refused() {
        let only = |names| CodecRules {
            allow: names,
            ..CodecRules::default()
        };
        let (none, no_video) = (
            only(names(&["opus"])),
            CodecRules {
                deny: names(&["H261"]),
                ..CodecRules::default()
            },
        );
        let body = applied(Turn::Offer, &none, &CodecRules::default());
        assert!(
            body.is_ok_and(|body| body.starts_with("m=audio 0 ")),
            "the video stays"
        );
        let error = applied(Turn::Offer, &none, &no_video);
        assert_eq!(error, Err(SessionError::NoCodec));
    }
}
