//! A session description as lines: the session's part, then one part for each `m=` line.

use std::ops::Range;

use super::line::{Line, fields, number};
use super::{MAX_BODY, MAX_LINES, Profile, SdpError};

/// A session description: every line of it, in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// The lines before the first `m=`.
    pub(super) session: Vec<Line>,
    /// One part for each `m=` line.
    pub(super) media: Vec<Section>,
}

/// An `m=` line and the lines that belong to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Section {
    /// The number of the `m=` line in the body, counted from 1.
    pub(super) first_line: usize,
    /// What the `m=` line says.
    pub(super) head: MediaLine,
    /// The `m=` line, then the rest.
    pub(super) lines: Vec<Line>,
}

/// What an `m=` line says (RFC 8866 §5.14).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MediaLine {
    /// The media type, as it came.
    pub(super) media: Vec<u8>,
    pub(super) port: u16,
    /// The number after the port's slash; 1 without.
    pub(super) port_count: u32,
    /// Where the port and its count are in the line.
    pub(super) port_at: Range<usize>,
    /// The transport protocol, as it came.
    pub(super) protocol: Vec<u8>,
    /// Where that is in the line.
    pub(super) protocol_at: Range<usize>,
    /// Where the formats are in the line.
    pub(super) formats: Range<usize>,
}

impl Description {
    /// Reads the structure of a body. The streams' meaning is read by [`Description::streams`].
    pub fn parse(body: &[u8]) -> Result<Self, SdpError> {
        if body.len() > MAX_BODY {
            return Err(SdpError::TooLarge);
        }
        let mut description = Self {
            session: Vec::new(),
            media: Vec::new(),
        };
        for (index, line) in Line::split(body).enumerate() {
            if index == MAX_LINES {
                return Err(SdpError::TooLarge);
            }
            if index == 0 && line.text.trim_ascii_end() != b"v=0" {
                return Err(SdpError::NotSdp);
            }
            if line.text.iter().any(|byte| matches!(byte, b'\r' | 0)) {
                return Err(SdpError::BadByte { line: index + 1 });
            }
            description.push(index + 1, line)?;
        }
        let origins = description
            .session
            .iter()
            .filter(|line| line.value(b'o').is_some());
        match (description.session.is_empty(), origins.count()) {
            (true, _) => Err(SdpError::NotSdp),
            (false, 1) => Ok(description),
            (false, _) => Err(SdpError::NoOrigin),
        }
    }

    /// How many `m=` lines there are.
    pub fn stream_count(&self) -> usize {
        self.media.len()
    }

    fn push(&mut self, number: usize, line: Line) -> Result<(), SdpError> {
        if line.value(b'm').is_some() {
            let head = MediaLine::parse(&line.text).ok_or(SdpError::BadMedia { line: number })?;
            self.media.push(Section {
                first_line: number,
                head,
                lines: vec![line],
            });
            return Ok(());
        }
        match self.media.last_mut() {
            Some(section) => section.lines.push(line),
            None => self.session.push(line),
        }
        Ok(())
    }
}

impl MediaLine {
    /// `text` is the whole line, `m=` included.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let value = text.get(2..)?;
        let mut fields = fields(value).map(|range| range.start + 2..range.end + 2);
        let media = fields.next()?;
        let port_at = fields.next()?;
        let protocol = fields.next()?;
        let formats = fields.next()?.start..text.len();
        let mut port = text[port_at.clone()].splitn(2, |byte| *byte == b'/');
        Some(Self {
            media: text[media].to_vec(),
            port: number(port.next()?)?,
            port_count: port.next().map_or(Some(1), number)?,
            port_at,
            protocol: text[protocol.clone()].to_vec(),
            protocol_at: protocol,
            formats,
        })
    }

    /// What packets of this stream look like on the wire, if they can be relayed: the profiles of RFC 3551, 4585,
    /// 3711 and 5124, and UDPTL (RFC 3362). SRTP keyed by DTLS (`UDP/TLS/…`) is not among them: its handshake is
    /// not RTP. TCPTL is not either: it is no datagrams.
    pub(super) fn profile(&self) -> Option<Profile> {
        const PROFILES: [(&str, Profile); 5] = [
            ("RTP/AVP", Profile::Rtp),
            ("RTP/AVPF", Profile::Rtp),
            ("RTP/SAVP", Profile::Srtp),
            ("RTP/SAVPF", Profile::Srtp),
            ("udptl", Profile::Udptl),
        ];
        PROFILES
            .into_iter()
            .find(|(name, _)| self.protocol.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, profile)| profile)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n\
        m=audio 49170/2  RTP/AVP 0 8\r\na=x\r\nm=image 0 udptl t38\r\n";

    #[test]
    fn lines_belong_to_the_m_line_before_them() {
        let description = Description::parse(BODY).expect("valid");
        assert_eq!(description.session.len(), 4);
        assert_eq!(description.stream_count(), 2);
        let audio = &description.media[0];
        assert_eq!((audio.first_line, audio.lines.len()), (5, 2));
        assert_eq!((audio.head.port, audio.head.port_count), (49_170, 2));
        assert_eq!(&audio.lines[0].text[audio.head.port_at.clone()], b"49170/2");
        assert_eq!(&audio.lines[0].text[audio.head.formats.clone()], b"0 8");
        assert_eq!(audio.head.profile(), Some(Profile::Rtp));
        assert_eq!(description.media[1].head.profile(), Some(Profile::Udptl));
    }

    #[test]
    fn what_is_not_a_description_is_refused_with_its_reason() {
        let parse = |body: &str| Description::parse(body.as_bytes()).map(|_| ());
        assert_eq!(parse(""), Err(SdpError::NotSdp));
        assert_eq!(parse("v=1\r\n"), Err(SdpError::NotSdp));
        assert_eq!(parse("m=audio 1 RTP/AVP 0"), Err(SdpError::NotSdp));
        assert_eq!(parse("v=0\r\ns=-\r\n"), Err(SdpError::NoOrigin));
        assert_eq!(parse("v=0\r\no=a\r\no=b\r\n"), Err(SdpError::NoOrigin));
        for hidden in ["s=-\rc=IN IP4 192.0.2.1", "s=-\0", "s=-\r"] {
            let body = format!("v=0\r\no=a\r\n{hidden}\r\n");
            assert_eq!(
                parse(&body),
                Err(SdpError::BadByte { line: 3 }),
                "{hidden:?}"
            );
        }
        for media in [
            "audio",
            "audio 1",
            "audio 1 RTP/AVP",
            "audio 65536 RTP/AVP 0",
            "audio x RTP/AVP 0",
            "audio 1/x RTP/AVP 0",
        ] {
            let body = format!("v=0\r\no=-\r\nm={media}\r\n");
            assert_eq!(parse(&body), Err(SdpError::BadMedia { line: 3 }), "{media}");
        }
        assert_eq!(
            parse(&format!("v=0\r\n{}", "\n".repeat(MAX_LINES))),
            Err(SdpError::TooLarge)
        );
        assert_eq!(parse(&"v".repeat(MAX_BODY + 1)), Err(SdpError::TooLarge));
    }
}
