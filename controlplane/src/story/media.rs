//! A session description in one line: what is announced, for a reader who compares what came with what left.
//!
//! ```text
//!   audio 10.1.0.2:4000 PCMA/8000 telephone-event/8000 sendonly; video 0
//! ```
//!
//! Takes any bytes and gives printable ASCII. It changes nothing: the session engine rewrites by
//! its own reading.

/// A line longer than this is cut.
const LONGEST: usize = 240;
/// Formats of a stream that are named.
const MOST_FORMATS: usize = 8;

/// The description in one line.
pub fn digest(sdp: &[u8]) -> String {
    let mut text = String::new();
    let mut address: &[u8] = b"";
    let mut stream: Option<Stream<'_>> = None;
    for line in sdp.split(|&byte| byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Some((kind, value)) = line.split_first_chunk::<2>() else {
            continue;
        };
        match kind {
            b"c=" => {
                let connection = value.split(|&byte| byte == b' ').nth(2).unwrap_or_default();
                match &mut stream {
                    Some(stream) => stream.address = connection,
                    None => address = connection,
                }
            }
            b"m=" => {
                finish(&mut text, stream.replace(Stream::new(value, address)));
            }
            b"a=" => {
                if let Some(stream) = &mut stream {
                    stream.attribute(value);
                }
            }
            _ => {}
        }
    }
    finish(&mut text, stream);
    text
}

/// One `m=` line with what belongs to it.
struct Stream<'a> {
    media: &'a [u8],
    port: &'a [u8],
    address: &'a [u8],
    formats: Vec<(&'a [u8], &'a [u8])>,
    direction: &'a [u8],
}

impl<'a> Stream<'a> {
    fn new(value: &'a [u8], address: &'a [u8]) -> Self {
        let mut words = value.split(|&byte| byte == b' ');
        let (media, port) = (words.next(), words.next());
        let formats = words.skip(1).take(MOST_FORMATS);
        Self {
            media: media.unwrap_or_default(),
            port: port.unwrap_or_default(),
            address,
            formats: formats
                .map(|format| (format, static_name(format)))
                .collect(),
            direction: b"",
        }
    }

    fn attribute(&mut self, value: &'a [u8]) {
        if let Some(map) = value.strip_prefix(b"rtpmap:") {
            let mut words = map.split(|&byte| byte == b' ');
            let (format, name) = (words.next(), words.next());
            let mut formats = self.formats.iter_mut();
            if let Some(known) = formats.find(|(known, _)| Some(*known) == format) {
                known.1 = name.unwrap_or(known.1);
            }
        } else if matches!(value, b"sendonly" | b"recvonly" | b"inactive") {
            self.direction = value;
        }
    }
}

fn finish(text: &mut String, stream: Option<Stream<'_>>) {
    let Some(stream) = stream.filter(|_| text.len() < LONGEST) else {
        return;
    };
    if !text.is_empty() {
        text.push_str("; ");
    }
    push(text, stream.media);
    text.push(' ');
    if stream.port == b"0" {
        return text.push('0');
    }
    let is_six = stream.address.contains(&b':');
    text.push_str(if is_six { "[" } else { "" });
    push(text, stream.address);
    text.push_str(if is_six { "]:" } else { ":" });
    push(text, stream.port);
    for (format, name) in stream.formats {
        text.push(' ');
        push(text, if name.is_empty() { format } else { name });
    }
    if !stream.direction.is_empty() {
        text.push(' ');
        push(text, stream.direction);
    }
}

/// Only what a terminal shows as it is.
fn push(text: &mut String, bytes: &[u8]) {
    let room = LONGEST.saturating_sub(text.len());
    let printable = bytes.iter().filter(|byte| byte.is_ascii_graphic());
    text.extend(printable.take(room).map(|&byte| char::from(byte)));
}

/// The payload types in use whose names RFC 3551 §6 fixes.
fn static_name(format: &[u8]) -> &'static [u8] {
    match format {
        b"0" => b"PCMU/8000",
        b"3" => b"GSM/8000",
        b"4" => b"G723/8000",
        b"8" => b"PCMA/8000",
        b"9" => b"G722/8000",
        b"18" => b"G729/8000",
        _ => b"",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_stream_is_named_with_its_own_address() {
        let sdp = b"v=0\r\no=a 1 1 IN IP4 10.0.0.1\r\nc=IN IP4 10.0.0.2\r\nt=0 0\r\n\
            m=audio 4000 RTP/AVP 8 101 97\r\na=rtpmap:101 telephone-event/8000\r\na=sendonly\r\n\
            m=video 5000 RTP/AVP 98\r\nc=IN IP6 fd00::1\r\na=rtpmap:98 H264/90000\r\n\
            m=image 0 udptl t38\r\n";
        assert_eq!(
            digest(sdp),
            "audio 10.0.0.2:4000 PCMA/8000 telephone-event/8000 97 sendonly; \
             video [fd00::1]:5000 H264/90000; image 0"
        );
        assert_eq!(digest(b""), "");
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_short_printable_line(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let mut sdp = b"m=audio 1 RTP/AVP 0\nm=".to_vec();
            sdp.extend(bytes);
            let text = digest(&sdp);
            prop_assert!(text.len() < LONGEST + 40, "{}", text.len());
            prop_assert!(text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()));
        }
    }
}
