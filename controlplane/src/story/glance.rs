//! A message at first sight: what a story and a collector need to know of it, without a full parse.
//!
//! Takes any bytes, allocates nothing, and is content with less than the parser of [`crate::sip`] demands: what
//! that one refuses is part of the story too.

/// How a message begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// A request.
    Request,
    /// A response with this code.
    Response(u16),
}

/// What a message says at first sight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glance<'a> {
    /// Request or response.
    pub start: Start,
    /// The method of a request; of a response, that of its CSeq.
    pub method: &'a [u8],
    /// The number of its CSeq; 0 without one.
    pub cseq: u32,
    /// Its Call-ID, as it came.
    pub call_id: &'a [u8],
    /// Its body, when that is a session description.
    pub sdp: Option<&'a [u8]>,
}

/// Looks at a message; `None` when it has no start line or no Call-ID.
pub fn glance(bytes: &[u8]) -> Option<Glance<'_>> {
    let bytes = bytes.get(
        bytes
            .iter()
            .position(|byte| !matches!(byte, b'\r' | b'\n'))?..,
    )?;
    let (line, mut rest) = next_line(bytes)?;
    let (start, mut method) = match line.strip_prefix(b"SIP/2.0 ") {
        Some(status) => (Start::Response(code(status)?), &b""[..]),
        None => (Start::Request, first_word(line)),
    };
    let (mut cseq, mut call_id, mut is_sdp) = (0, None, false);
    while let Some((line, after)) = next_line(rest) {
        rest = after;
        if line.is_empty() {
            break;
        }
        let Some((name, value)) = split_at_colon(line) else {
            continue;
        };
        if name.eq_ignore_ascii_case(b"Call-ID") || name.eq_ignore_ascii_case(b"i") {
            call_id.get_or_insert(value);
        } else if name.eq_ignore_ascii_case(b"CSeq") {
            let number = first_word(value);
            cseq = number_of(number);
            if start != Start::Request {
                method = value.get(number.len()..).unwrap_or_default().trim_ascii();
            }
        } else if name.eq_ignore_ascii_case(b"Content-Type") || name.eq_ignore_ascii_case(b"c") {
            let media = value.get(..APPLICATION_SDP.len());
            is_sdp = media.is_some_and(|media| media.eq_ignore_ascii_case(APPLICATION_SDP));
        }
    }
    Some(Glance {
        start,
        method,
        cseq,
        call_id: call_id.filter(|id| !id.is_empty())?,
        sdp: (is_sdp && !rest.is_empty()).then_some(rest),
    })
}

const APPLICATION_SDP: &[u8] = b"application/sdp";

/// A line without its end, and what comes after it.
fn next_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    if bytes.is_empty() {
        return None;
    }
    let end = bytes.iter().position(|&byte| byte == b'\n');
    let end = end.unwrap_or(bytes.len());
    let line = bytes.get(..end)?;
    let rest = bytes.get(end + 1..).unwrap_or_default();
    Some((line.strip_suffix(b"\r").unwrap_or(line), rest))
}

fn split_at_colon(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    let (name, value) = line.split_at_checked(colon)?;
    Some((name.trim_ascii(), value.get(1..)?.trim_ascii()))
}

fn first_word(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|byte| matches!(byte, b' ' | b'\t'));
    text.get(..end.unwrap_or(text.len())).unwrap_or_default()
}

fn code(status: &[u8]) -> Option<u16> {
    let digits = first_word(status);
    (digits.len() == 3 && digits.iter().all(u8::is_ascii_digit))
        .then(|| u16::try_from(number_of(digits)).unwrap_or_default())
}

fn number_of(digits: &[u8]) -> u32 {
    let text = std::str::from_utf8(digits).unwrap_or_default();
    text.parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn requests_and_responses_are_told_apart() {
        let invite = b"\r\nINVITE sip:a@b SIP/2.0\r\nCSeq : 7 INVITE\r\ni: abc@x \r\n\
            Content-Type: Application/SDP;x=y\r\n\r\nv=0\r\n";
        let seen = glance(invite).expect("a request");
        assert_eq!((seen.start, seen.method), (Start::Request, &b"INVITE"[..]));
        assert_eq!((seen.cseq, seen.call_id), (7, &b"abc@x"[..]));
        assert_eq!(seen.sdp, Some(&b"v=0\r\n"[..]));
        let ringing = b"SIP/2.0 180 Ringing\nCall-ID:z\nCSeq:  4294967295   BYE\n\nbody";
        let seen = glance(ringing).expect("a response");
        assert_eq!(
            (seen.start, seen.method),
            (Start::Response(180), &b"BYE"[..])
        );
        assert_eq!(
            (seen.cseq, seen.call_id, seen.sdp),
            (u32::MAX, &b"z"[..], None)
        );
    }

    #[test]
    fn what_has_no_call_id_or_no_start_is_none() {
        for bytes in [
            &b""[..],
            b"\r\n\r\n",
            b"SIP/2.0 9 x\r\nCall-ID: a\r\n\r\n",
            b"INVITE sip:a SIP/2.0\r\nCall-ID: \r\n\r\n",
            b"INVITE sip:a SIP/2.0\r\n\r\nCall-ID: a",
        ] {
            assert_eq!(glance(bytes), None);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_much(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = glance(&bytes);
            let mut message = b"INVITE sip:a SIP/2.0\r\nCall-ID: a\r\n".to_vec();
            message.extend(bytes);
            prop_assert!(glance(&message).is_some());
        }
    }
}
