//! The names of a stream's formats, for people to read.

use super::description::Section;
use super::line::{fields, number};
use super::stream::Spoken;

/// A summary longer than this is cut.
const MAX_SUMMARY: usize = 256;

/// The formats of an `m=` line with their names, as in `8 PCMA/8000, 101 telephone-event/8000`. Only
/// printable ASCII: the text ends up on operators' terminals.
pub(super) fn summary(section: &Section) -> String {
    let Some(head) = section.lines.first() else {
        return String::new();
    };
    let formats = &head.text[section.head.formats.clone()];
    let mut summary = String::new();
    for format in fields(formats).map(|range| &formats[range]) {
        if summary.len() >= MAX_SUMMARY {
            summary.push_str(", …");
            break;
        }
        if !summary.is_empty() {
            summary.push_str(", ");
        }
        push_printable(&mut summary, format);
        if let Some(name) = name_of(section, format) {
            summary.push(' ');
            push_printable(&mut summary, name);
        }
    }
    summary
}

/// The name of a format, with its clock rate, if it has one.
pub(super) fn name_of<'a>(section: &'a Section, format: &[u8]) -> Option<&'a [u8]> {
    mapped_name(section, format).or_else(|| static_name(format))
}

/// The RTP clock of the first format, in Hz, if its name tells it.
pub(super) fn clock_rate(section: &Section) -> Option<u32> {
    let head = section.lines.first()?;
    let formats = &head.text[section.head.formats.clone()];
    let first = fields(formats).next().map(|range| &formats[range])?;
    let first = first.trim_ascii_end();
    let name = mapped_name(section, first).or_else(|| static_name(first))?;
    let rate = name.split(|byte| *byte == b'/').nth(1)?;
    number::<u32>(rate.trim_ascii_end()).filter(|rate| *rate > 0)
}

/// The payload types of what the relay itself can say or hear.
pub(super) fn spoken(section: &Section) -> Spoken {
    let mut spoken = Spoken::default();
    let Some(head) = section.lines.first() else {
        return spoken;
    };
    let clock_rate = clock_rate(section);
    let formats = &head.text[section.head.formats.clone()];
    for format in fields(formats).map(|range| formats[range].trim_ascii_end()) {
        let payload_type = number::<u8>(format).filter(|number| *number < 128);
        let (Some(payload_type), Some(name)) = (payload_type, name_of(section, format)) else {
            continue;
        };
        let mut parts = name.split(|byte| *byte == b'/').map(<[u8]>::trim_ascii_end);
        let name = parts.next().unwrap_or_default();
        let rate = parts.next().and_then(number::<u32>);
        let is_narrow = rate == Some(8000) && parts.next().is_none_or(|channels| channels == b"1");
        if name.eq_ignore_ascii_case(b"PCMU") && is_narrow {
            spoken.pcmu.get_or_insert(payload_type);
        } else if name.eq_ignore_ascii_case(b"PCMA") && is_narrow {
            spoken.prefers_pcma |= spoken.pcmu.is_none();
            spoken.pcma.get_or_insert(payload_type);
        } else if name.eq_ignore_ascii_case(b"telephone-event") {
            spoken.events = spoken.events.with(payload_type);
            let event = rate.map(|rate| (payload_type, rate));
            let fits = |event: &Option<(u8, u32)>| event.map(|(_, rate)| rate) == clock_rate;
            if spoken.event.is_none() || fits(&event) && !fits(&spoken.event) {
                spoken.event = event.or(spoken.event);
            }
        }
    }
    let ptime = section
        .lines
        .iter()
        .find_map(|line| line.attribute_named("ptime"));
    spoken.ptime = ptime.and_then(|value| number::<u8>(value.trim_ascii()));
    spoken
}

/// The name that `a=rtpmap:<format> <name>` gives.
pub(super) fn mapped_name<'a>(section: &'a Section, format: &[u8]) -> Option<&'a [u8]> {
    section.lines.iter().find_map(|line| {
        let value = line.attribute_named("rtpmap")?;
        let mut parts = fields(value).map(|range| &value[range]);
        (parts.next()? == format).then(|| parts.next())?
    })
}

/// The payload types in use whose names RFC 3551 §6 fixes.
pub(super) fn static_name(format: &[u8]) -> Option<&'static [u8]> {
    Some(match number::<u8>(format)? {
        0 => b"PCMU/8000",
        3 => b"GSM/8000",
        4 => b"G723/8000",
        8 => b"PCMA/8000",
        9 => b"G722/8000",
        13 => b"CN/8000",
        15 => b"G728/8000",
        18 => b"G729/8000",
        26 => b"JPEG/90000",
        31 => b"H261/90000",
        34 => b"H263/90000",
        _ => return None,
    })
}

fn push_printable(to: &mut String, bytes: &[u8]) {
    let printable = bytes.iter().filter(|byte| byte.is_ascii_graphic());
    to.extend(printable.take(MAX_SUMMARY).map(|byte| char::from(*byte)));
}

#[cfg(test)]
mod tests {
    use super::super::Description;

    fn codecs(media: &str) -> String {
        let body = format!("v=0\no=-\nc=IN IP4 192.0.2.1\nm={media}\n");
        let description = Description::parse(body.as_bytes()).expect("valid");
        description.streams().expect("valid").remove(0).codecs
    }

    #[test]
    fn names_come_from_the_map_or_the_standard() {
        assert_eq!(
            codecs("audio 5000 RTP/AVP 8 101 97\na=rtpmap:101 telephone-event/8000"),
            "8 PCMA/8000, 101 telephone-event/8000, 97"
        );
    }

    #[test]
    fn nothing_unprintable_or_endless_reaches_a_terminal() {
        assert_eq!(
            codecs("audio 5000 RTP/AVP 97\na=rtpmap:97 x\x1b[31m/8000"),
            "97 x[31m/8000"
        );
        let many = (0..1000)
            .map(|n| n.to_string())
            .collect::<Vec<_>>()
            .join(" ");
        assert!(codecs(&format!("audio 5000 RTP/AVP {many}")).len() < 1024);
    }
}
