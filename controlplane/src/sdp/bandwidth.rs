//! How much one direction of a stream takes on the wire: an estimate before the first packet, for admission.
//!
//! The nominal rate of the codec, with the headers of RTP, UDP and IP on each packet; of several codecs the
//! largest, since any of them may be used. `b=AS` (RFC 8866 §5.8) and `b=TIAS` (RFC 3890) bound it from above.

use super::description::Section;
use super::line::{Line, fields, is_token, number};

/// What stands before the payload of each packet, in bits: RTP (12 bytes), UDP (8), and IPv4 (20) or IPv6 (40).
const fn overhead_bits(is_ipv6: bool) -> u64 {
    let ip = if is_ipv6 { 40 } else { 20 };
    (12 + 8 + ip) * 8
}

/// An encoding: its name as in `a=rtpmap`, what it takes by itself in bits a second, and how long one packet
/// lasts unless `a=ptime` says otherwise, in milliseconds.
type Nominal = (&'static str, u64, u64);

/// The encodings that telephones use, at the highest rate that is usual (RFC 3551 and each one's own RFC).
const AUDIO: &[Nominal] = &[
    ("PCMU", 64_000, 20),
    ("PCMA", 64_000, 20),
    ("G722", 64_000, 20),
    ("G729", 8_000, 20),
    ("G723", 6_400, 30),
    ("G728", 16_000, 20),
    ("G726-16", 16_000, 20),
    ("G726-24", 24_000, 20),
    ("G726-32", 32_000, 20),
    ("G726-40", 40_000, 20),
    ("GSM", 13_200, 20),
    ("GSM-EFR", 12_400, 20),
    ("iLBC", 15_200, 20),
    ("AMR", 12_800, 20),
    ("AMR-WB", 24_400, 20),
    ("EVS", 24_400, 20),
    ("SPEEX", 24_600, 20),
    ("opus", 40_000, 20),
    ("L16", 1_411_200, 20),
];
/// What comes beside the voice, or in its place, and takes less.
const BESIDE: &[&str] = &["telephone-event", "CN", "red", "tone"];
/// An audio encoding that is not known here: as G.711, which few exceed.
const OTHER_AUDIO: u64 = 64_000;
/// Video says with `b=` what it takes; when it does not, what a call at 640 x 480 takes.
const OTHER_MEDIA: u64 = 1_000_000;
/// The payload of a packet of video, in bits.
const VIDEO_PACKET: u64 = 1_200 * 8;

/// What one direction takes, in bits a second. `session` are the lines before the first `m=`.
pub(super) fn estimate(section: &Section, session: &[Line], is_ipv6: bool) -> u64 {
    let overhead = overhead_bits(is_ipv6);
    let nominal = match section.head.media.eq_ignore_ascii_case(b"audio") {
        true => audio(section, overhead),
        false => OTHER_MEDIA.saturating_add(OTHER_MEDIA / VIDEO_PACKET * overhead),
    };
    let bound = Bounds::of(&section.lines).or(Bounds::of(session));
    bound.apply(section, nominal, overhead)
}

fn audio(section: &Section, overhead: u64) -> u64 {
    let Some(head) = section.lines.first() else {
        return 0;
    };
    let formats = head.text.get(section.head.formats.clone());
    let formats = formats.unwrap_or_default();
    let asked = section
        .lines
        .iter()
        .find_map(|line| line.attribute_named("ptime"))
        .and_then(|value| number::<u16>(value.trim_ascii()))
        .map(|millis| u64::from(millis.clamp(5, 200)));
    let each =
        fields(formats).filter_map(|range| {
            let name = super::codecs::name_of(section, formats.get(range)?);
            let name = name.map(encoding).unwrap_or_default();
            if BESIDE.iter().any(|beside| is_token(name, beside)) {
                return None;
            }
            let known = AUDIO.iter().find(|(known, ..)| is_token(name, known));
            let (_, rate, usual) = known.copied().unwrap_or(("", OTHER_AUDIO, 20));
            Some(rate.saturating_add(
                per_second(asked.unwrap_or(usual)).saturating_mul(overhead) / 1_000,
            ))
        });
    each.max().unwrap_or(0)
}

/// Packets in 1,000 seconds, each so many milliseconds long.
const fn per_second(millis: u64) -> u64 {
    1_000_000 / if millis == 0 { 20 } else { millis }
}

/// The encoding's name in `PCMU/8000`.
fn encoding(name: &[u8]) -> &[u8] {
    let end = name.iter().position(|byte| *byte == b'/');
    name.get(..end.unwrap_or(name.len())).unwrap_or_default()
}

/// What `b=` lines say.
#[derive(Clone, Copy, Default)]
struct Bounds {
    /// `b=AS`, in bits a second: with the headers of IP, UDP and RTP.
    with_headers: Option<u64>,
    /// `b=TIAS`, in bits a second: without.
    without_headers: Option<u64>,
}

impl Bounds {
    fn of(lines: &[Line]) -> Self {
        let value = |wanted: &str| {
            lines.iter().find_map(|line| {
                let (kind, value) = split_at_colon(line.value(b'b')?)?;
                is_token(kind, wanted).then(|| number::<u32>(value.trim_ascii()))?
            })
        };
        Self {
            with_headers: value("AS").map(|kilobits| u64::from(kilobits).saturating_mul(1_000)),
            without_headers: value("TIAS").map(u64::from),
        }
    }

    fn or(self, other: Self) -> Self {
        match (self.with_headers, self.without_headers) {
            (None, None) => other,
            _ => self,
        }
    }

    /// The media's own bound holds; video takes what it is allowed to.
    fn apply(self, section: &Section, nominal: u64, overhead: u64) -> u64 {
        let tias = self.without_headers.map(|rate| {
            let packets = match section.head.media.eq_ignore_ascii_case(b"audio") {
                true => 50,
                false => rate / VIDEO_PACKET + 1,
            };
            rate.saturating_add(packets.saturating_mul(overhead))
        });
        // TIAS is the better one of the two where both are given (RFC 3890 §6.4).
        let Some(bound) = tias.or(self.with_headers) else {
            return nominal;
        };
        match section.head.media.eq_ignore_ascii_case(b"audio") {
            true => nominal.min(bound),
            false => bound,
        }
    }
}

fn split_at_colon(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = value.iter().position(|byte| *byte == b':')?;
    Some((value.get(..colon)?, value.get(colon + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::super::Description;

    fn total(media: &str) -> u64 {
        let body = format!("v=0\no=-\nc=IN IP4 192.0.2.1\n{media}\n");
        let description = Description::parse(body.as_bytes()).expect(&body);
        let streams = description.streams().expect(&body);
        streams.iter().map(|stream| stream.bitrate).sum()
    }

    #[test]
    fn codecs_take_their_rate_and_a_header_for_each_packet() {
        // 160 bytes of voice and 40 of headers, 50 times a second.
        assert_eq!(total("m=audio 5000 RTP/AVP 8"), 80_000);
        assert_eq!(
            total("m=audio 5000 RTP/AVP 8\nc=IN IP6 2001:db8::1"),
            88_000
        );
        assert_eq!(total("m=audio 5000 RTP/AVP 18"), 24_000);
        assert_eq!(total("m=audio 5000 RTP/AVP 8\na=ptime:40"), 72_000);
        assert_eq!(
            total("m=audio 5000 RTP/AVP 18 8 101\na=rtpmap:101 telephone-event/8000"),
            80_000
        );
        assert_eq!(
            total("m=audio 5000 RTP/AVP 18 101\na=rtpmap:101 telephone-event/8000"),
            24_000
        );
        assert_eq!(
            total("m=audio 5000 RTP/AVP 96\na=rtpmap:96 opus/48000/2"),
            56_000
        );
        assert_eq!(
            total("m=audio 5000 RTP/AVP 96\na=rtpmap:96 unheard-of/8000"),
            80_000
        );
        assert_eq!(total("m=audio 5000 RTP/AVP 8\nm=audio 0 RTP/AVP 8"), 80_000);
    }

    #[test]
    fn what_is_said_bounds_it() {
        assert_eq!(total("m=audio 5000 RTP/AVP 8\nb=AS:64"), 64_000);
        assert_eq!(total("m=audio 5000 RTP/AVP 8\nb=AS:500"), 80_000);
        assert_eq!(total("b=AS:50\nm=audio 5000 RTP/AVP 8"), 50_000);
        assert_eq!(total("b=AS:50\nm=audio 5000 RTP/AVP 8\nb=AS:70"), 70_000);
        assert_eq!(
            total("m=audio 5000 RTP/AVP 96\nb=TIAS:20000\nb=AS:30\na=rtpmap:96 opus/48000/2"),
            36_000
        );
        assert_eq!(total("m=video 5000 RTP/AVP 97\nb=AS:2000"), 2_000_000);
        assert_eq!(total("m=audio 5000 RTP/AVP 8\nb=AS:99999999999"), 80_000);
    }

    #[test]
    fn nonsense_costs_no_more_than_a_wrong_estimate() {
        for media in [
            "m=audio 5000 RTP/AVP 8\na=ptime:0",
            "m=audio 5000 RTP/AVP 8\na=ptime:x\nb=:\nb=AS\nb=TIAS:-1",
            "m=audio 5000 RTP/AVP 101\na=rtpmap:101 telephone-event/8000",
            "m=video 5000 RTP/AVP 97\nb=TIAS:4294967295",
        ] {
            assert!(total(media) < 6_000_000_000, "{media}");
        }
    }
}
