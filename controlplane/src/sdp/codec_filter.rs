//! Which codecs a session description may name, and in which order: lines are edited or left out, never made
//! anew.
//!
//! Filters work on the payload types of `m=`: one goes when its name is not allowed, and its `a=rtpmap`,
//! `a=fmtp` and `a=rtcp-fb` go with it, and so does what only repairs it (`apt=`, RFC 4588 §8.1). What is not
//! mapped to a name, and has none by RFC 3551, stays: nobody can say what it is. A stream whose last codec goes
//! keeps its formats and gets port 0: RFC 3264 §5.1 wants at least one.

use std::time::Duration;

use super::Description;
use super::codecs::{mapped_name, static_name};
use super::description::{MediaLine, Section};
use super::line::{Line, fields, is_token, number};
use super::rewrite::insert_attribute;

/// What a filter says of one codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It stays in its place.
    Keep,
    /// It stays, before all that have a higher place or none.
    Place(usize),
    /// It goes.
    Drop,
}

/// What was left of a description's streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Streams that have a codec left, or are not filtered.
    pub usable: usize,
    /// Streams that have lost their last codec.
    pub emptied: usize,
}

/// A codec as a description names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Codec<'a> {
    /// The media type of its stream, as it came.
    pub media: &'a [u8],
    /// Its encoding name, as it came.
    pub name: &'a [u8],
    /// Its clock rate in Hz, if the line says one.
    pub rate: Option<u32>,
    /// Its channels, if the line says how many.
    pub channels: Option<u32>,
    /// Its payload type as it came.
    pub format: &'a [u8],
}

impl Codec<'_> {
    /// Whether it carries key presses (RFC 4733).
    pub fn is_telephone_event(&self) -> bool {
        is_token(self.name, "telephone-event")
    }
}

impl Description {
    /// Drops and orders codecs by what `judge` says of each.
    pub fn filter_codecs(&mut self, judge: impl Fn(&Codec<'_>) -> Verdict) -> Left {
        let mut left = Left::default();
        for section in self
            .media
            .iter_mut()
            .filter(|section| section.head.port != 0)
        {
            match !section.is_used() || section.filter(&judge) {
                true => left.usable += 1,
                false => left.emptied += 1,
            }
        }
        left
    }

    /// Drops and orders codecs by what `judge` says of each, but leaves a stream as it is that would lose all.
    pub fn select_codecs(&mut self, judge: impl Fn(&Codec<'_>) -> Verdict) {
        for section in self.media.iter_mut().filter(|section| section.is_used()) {
            section.select(&judge);
        }
    }

    /// Gives every audio stream in use this packet time: `a=ptime` (RFC 8866 §6.4), and no smaller `a=maxptime`.
    pub fn set_ptime(&mut self, ptime: Duration) {
        let wanted = ptime.as_millis();
        for section in self.media.iter_mut().filter(|section| section.is_used()) {
            if !is_token(&section.head.media, "audio") {
                continue;
            }
            section.lines.retain(|line| {
                let most = line.attribute_named("maxptime").and_then(number::<u128>);
                let other = line.attribute_named("ptime").is_some();
                !other && most.is_none_or(|most| most >= wanted)
            });
            insert_attribute(
                &mut section.lines,
                0,
                format!("a=ptime:{wanted}").as_bytes(),
            );
        }
    }

    /// The body as it is now.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut body = Vec::new();
        let media = self.media.iter().flat_map(|section| &section.lines);
        for line in self.session.iter().chain(media) {
            line.write(&mut body);
        }
        body
    }
}

impl Section {
    pub(super) fn is_used(&self) -> bool {
        self.head.port != 0 && self.has_payload_types()
    }

    /// Formats are payload types in every profile of RTP, whatever carries it: `RTP/AVP`, `UDP/TLS/RTP/SAVPF`.
    fn has_payload_types(&self) -> bool {
        let protocol = self.head.protocol.to_ascii_uppercase();
        protocol.starts_with(b"RTP/") || protocol.windows(5).any(|part| part == b"/RTP/")
    }

    fn select(&mut self, judge: &impl Fn(&Codec<'_>) -> Verdict) {
        let (mut kept, mut dropped) = self.judged(judge);
        self.drop_repairs(&mut kept, &mut dropped);
        if !kept.is_empty() {
            self.keep(kept, &dropped);
        }
    }

    /// The formats that stay, with their places, and those that go.
    #[expect(clippy::type_complexity, reason = "two lists of formats")]
    fn judged(
        &self,
        judge: &impl Fn(&Codec<'_>) -> Verdict,
    ) -> (Vec<(usize, Vec<u8>)>, Vec<Vec<u8>>) {
        let (mut kept, mut dropped) = (Vec::new(), Vec::new());
        for format in self.formats() {
            let codec = self.codec(&format);
            match codec.as_ref().map_or(Verdict::Keep, judge) {
                Verdict::Drop => dropped.push(format),
                Verdict::Keep => kept.push((usize::MAX, format)),
                Verdict::Place(place) => kept.push((place, format)),
            }
        }
        (kept, dropped)
    }

    fn keep(&mut self, mut kept: Vec<(usize, Vec<u8>)>, dropped: &[Vec<u8>]) {
        kept.sort_by_key(|(place, _)| *place);
        let kept: Vec<_> = kept.into_iter().map(|(_, format)| format).collect();
        if kept != self.formats() {
            self.set_formats(&kept);
        }
        self.forget_formats(dropped);
    }

    /// False when no codec is left, and the stream has been rejected.
    fn filter(&mut self, judge: &impl Fn(&Codec<'_>) -> Verdict) -> bool {
        let (mut kept, mut dropped) = self.judged(judge);
        self.drop_repairs(&mut kept, &mut dropped);
        let is_event = |format: &[u8]| {
            let codec = self.codec(format);
            codec.is_some_and(|codec| codec.is_telephone_event())
        };
        // Key presses alone are no call, unless they are all that was there.
        if kept.iter().all(|(_, format)| is_event(format)) && !dropped.is_empty() {
            self.reject();
            return false;
        }
        self.keep(kept, &dropped);
        true
    }

    /// Takes out the lines about formats that have gone.
    pub(super) fn forget_formats(&mut self, dropped: &[Vec<u8>]) {
        self.lines.retain(|line| {
            let of = mapped_format(line);
            of.is_none_or(|format| !dropped.iter().any(|gone| gone == format))
        });
    }

    /// Retransmissions and the like of a codec that has gone have nothing to repair.
    fn drop_repairs(&self, kept: &mut Vec<(usize, Vec<u8>)>, dropped: &mut Vec<Vec<u8>>) {
        kept.retain(|(_, format)| {
            let repaired = self.lines.iter().find_map(|line| {
                let value = line.attribute_named("fmtp")?;
                let rest = value.strip_prefix(format.as_slice())?.strip_prefix(b" ")?;
                let mut params = rest.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
                params.find_map(|param| param.strip_prefix(b"apt="))
            });
            let gone = repaired.is_some_and(|apt| dropped.iter().any(|format| format == apt));
            if gone {
                dropped.push(format.clone());
            }
            !gone
        });
    }

    pub(super) fn formats(&self) -> Vec<Vec<u8>> {
        let text = self.lines.first().map_or(&[][..], |line| &line.text);
        let formats = text.get(self.head.formats.clone()).unwrap_or_default();
        let formats = formats.trim_ascii_end();
        fields(formats)
            .map(|range| formats[range].to_vec())
            .collect()
    }

    fn codec<'a>(&'a self, format: &'a [u8]) -> Option<Codec<'a>> {
        let named = mapped_name(self, format).or_else(|| static_name(format))?;
        let mut parts = named.split(|byte| *byte == b'/');
        let name = parts.next()?;
        let mut numbers = parts.map(<[u8]>::trim_ascii_end).map(number);
        Some(Codec {
            media: &self.head.media,
            name,
            rate: numbers.next().flatten(),
            channels: numbers.next().flatten(),
            format,
        })
    }

    pub(super) fn set_formats(&mut self, formats: &[Vec<u8>]) {
        let Some(line) = self.lines.first_mut() else {
            return;
        };
        let before = line.text.get(..self.head.formats.start).unwrap_or_default();
        let text = [before, &formats.join(&b" "[..])].concat();
        self.head.formats.end = text.len();
        line.text = text;
    }

    fn reject(&mut self) {
        let Some(line) = self.lines.first_mut() else {
            return;
        };
        let at = &self.head.port_at;
        let (before, after) = (line.text.get(..at.start), line.text.get(at.end..));
        let text = [before.unwrap_or_default(), b"0", after.unwrap_or_default()].concat();
        if let Some(head) = MediaLine::parse(&text) {
            self.head = head;
            line.text = text;
        }
    }
}

/// The payload type that a line is about.
fn mapped_format(line: &Line) -> Option<&[u8]> {
    let value = ["rtpmap", "fmtp", "rtcp-fb", "imageattr"]
        .into_iter()
        .find_map(|name| line.attribute_named(name))?;
    let range = fields(value).next()?;
    value.get(range).map(<[u8]>::trim_ascii_end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEAD: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n";
    const AUDIO: &str = "m=audio 5000 RTP/AVP 8 0 96 97 101\r\na=rtpmap:96 opus/48000/2\r\n\
        a=fmtp:96 useinbandfec=1\r\na=rtpmap:97 rtx/48000\r\na=fmtp:97 apt=96\r\na=rtcp-fb:96 nack\r\n\
        a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=sendrecv\r\n";

    fn filtered(media: &str, judge: impl Fn(&Codec<'_>) -> Verdict) -> (String, Left) {
        let mut description =
            Description::parse(format!("{HEAD}{media}").as_bytes()).expect("valid");
        let left = description.filter_codecs(judge);
        let body = String::from_utf8(description.to_bytes()).expect("text");
        (body.strip_prefix(HEAD).expect("untouched").to_owned(), left)
    }

    fn without<'n>(names: &'n [&'n str]) -> impl Fn(&Codec<'_>) -> Verdict + 'n {
        move |codec| match names.iter().any(|name| is_token(codec.name, name)) {
            true => Verdict::Drop,
            false => Verdict::Keep,
        }
    }

    #[test]
    fn a_codec_goes_with_its_lines_and_what_repairs_it() {
        let (body, left) = filtered(AUDIO, without(&["opus", "pcmu"]));
        assert_eq!(
            body,
            "m=audio 5000 RTP/AVP 8 101\r\na=rtpmap:101 telephone-event/8000\r\n\
             a=fmtp:101 0-16\r\na=sendrecv\r\n"
        );
        assert_eq!((left.usable, left.emptied), (1, 0));
        let (body, _) = filtered(AUDIO, |_| Verdict::Keep);
        assert_eq!(body, AUDIO);
    }

    #[test]
    fn preferred_codecs_come_first_and_the_others_keep_their_order() {
        let (body, _) = filtered(AUDIO, |codec| match codec.name {
            b"opus" => Verdict::Place(0),
            b"PCMU" => Verdict::Place(1),
            _ => Verdict::Keep,
        });
        assert!(
            body.starts_with("m=audio 5000 RTP/AVP 96 0 8 97 101\r\n"),
            "{body}"
        );
    }

    #[test]
    fn a_stream_that_loses_all_but_key_presses_is_rejected_and_stays_whole() {
        let (body, left) = filtered(AUDIO, without(&["opus", "pcmu", "pcma"]));
        assert_eq!(body, AUDIO.replace("5000", "0"));
        assert_eq!((left.usable, left.emptied), (0, 1));
        let events = "m=audio 5000 RTP/AVP 101\r\na=rtpmap:101 telephone-event/8000\r\n";
        assert_eq!(filtered(events, without(&["opus"])).1.usable, 1);
    }

    #[test]
    fn what_is_not_in_use_or_not_rtp_is_not_filtered() {
        let media =
            "m=audio 0 RTP/AVP 8\r\nm=image 5000 udptl t38\r\nm=video 5002 RTP/AVP 31 127\r\n";
        let (body, left) = filtered(media, without(&["pcma", "t38", "h261"]));
        assert_eq!(body, media.replace("31 127", "127"));
        assert_eq!((left.usable, left.emptied), (2, 0));
    }

    #[test]
    fn the_packet_time_is_set_once() {
        let media = "m=audio 5000 RTP/AVP 8\r\na=ptime:30\r\na=maxptime:10\r\nm=video 5002 RTP/AVP 31\r\n\
            m=audio 5004 RTP/AVP 8\r\na=maxptime:40\r\n\r\n";
        let mut description =
            Description::parse(format!("{HEAD}{media}").as_bytes()).expect("valid");
        description.set_ptime(Duration::from_millis(20));
        let body = String::from_utf8(description.to_bytes()).expect("text");
        assert_eq!(
            body.strip_prefix(HEAD),
            Some(
                "m=audio 5000 RTP/AVP 8\r\na=ptime:20\r\nm=video 5002 RTP/AVP 31\r\n\
                 m=audio 5004 RTP/AVP 8\r\na=maxptime:40\r\na=ptime:20\r\n\r\n"
            )
        );
    }

    const NAMES: [&str; 6] = [
        "PCMA/8000",
        "opus/48000/2",
        "telephone-event/8000",
        "G729/8000",
        "rtx/90000",
        "x",
    ];

    proptest! {
        /// Whatever is dropped: `sdp-types` reads the outcome, every stream keeps its place, and no line is left
        /// about a payload type that its stream does not have.
        #[test]
        fn nothing_dangles(
            streams in prop::collection::vec(prop::collection::vec((0..128_u8, 0..6_usize), 1..8), 1..4),
            dropped in prop::collection::vec(0..6_usize, 0..6),
            order in any::<bool>(),
        ) {
            let mut media = String::new();
            for formats in &streams {
                let list: Vec<_> = formats.iter().map(|(format, _)| format.to_string()).collect();
                media += &format!("m=audio 5000 RTP/AVP {}\r\n", list.join(" "));
                for (format, name) in formats {
                    media += &format!("a=rtpmap:{format} {}\r\na=fmtp:{format} apt={}\r\n", NAMES[*name], formats[0].0);
                }
            }
            let judge = |codec: &Codec<'_>| {
                let at = NAMES.iter().position(|name| {
                    name.split('/').next().is_some_and(|name| is_token(codec.name, name))
                });
                match at {
                    Some(at) if dropped.contains(&at) => Verdict::Drop,
                    Some(at) if order => Verdict::Place(at),
                    _ => Verdict::Keep,
                }
            };
            let (body, _) = filtered(&media, judge);
            let read = sdp_types::Session::parse(format!("{HEAD}{body}").as_bytes()).expect("it stays readable");
            prop_assert_eq!(read.medias.len(), streams.len());
            for stream in &read.medias {
                let formats: Vec<_> = stream.fmt.split(' ').collect();
                prop_assert!(!stream.fmt.trim().is_empty());
                for attribute in &stream.attributes {
                    let value = attribute.value.as_deref().unwrap_or_default();
                    let format = value.split(' ').next().unwrap_or_default();
                    prop_assert!(formats.contains(&format), "{} in {:?}", value, formats);
                }
            }
        }
    }
}
