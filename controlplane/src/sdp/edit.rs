//! Edits that a front end makes before a body is relayed: lines that are missing are added, lines that say what
//! shall no longer hold are replaced. Whatever is not named here stays byte for byte.

use super::Description;
use super::codecs::{mapped_name, static_name};
use super::description::Section;
use super::line::{Line, fields, is_token, number};
use super::rewrite::insert_attribute;
use super::stream::{Direction, connection};

/// What comes before the clock rate.
fn encoding(name: &[u8]) -> Vec<u8> {
    let mut parts = name.split(|byte| *byte == b'/');
    parts.next().unwrap_or_default().to_vec()
}

const DIRECTIONS: [&str; 4] = ["sendrecv", "sendonly", "recvonly", "inactive"];

impl Description {
    /// Names every payload type that has its name by RFC 3551 alone: `a=rtpmap` in each stream in use.
    pub fn name_static_codecs(&mut self) {
        for section in self.used() {
            let formats = section.formats();
            let mut at = section.first_codec_line();
            for format in formats {
                match section.position_of_map(&format) {
                    Some(place) => at = at.max(place + 1),
                    None => {
                        let Some(name) = static_name(&format) else {
                            continue;
                        };
                        let text = [b"a=rtpmap:", format.as_slice(), b" ", name].concat();
                        section.insert_before(at, text);
                        at += 1;
                    }
                }
            }
        }
    }

    /// Says the direction of each stream in use in a line of its own, and no longer for all of them.
    pub fn state_directions(&mut self, stated: impl Fn(usize, Direction) -> Direction) {
        let of_session = Direction::in_lines(&self.session).unwrap_or_default();
        self.session.retain(|line| !is_direction(line));
        for (index, section) in self.media.iter_mut().enumerate() {
            if section.head.port == 0 {
                continue;
            }
            let said = Direction::in_lines(&section.lines).unwrap_or(of_session);
            section.state_direction(stated(index, said));
        }
    }

    /// Whether a stream's address, its own or the session's, is the unspecified one: the hold of RFC 2543.
    pub fn has_no_address(&self, stream: usize) -> bool {
        let of_session = connection(&self.session, 1).ok().flatten();
        let section = self.media.get(stream);
        let own = section.and_then(|section| connection(&section.lines, 1).ok().flatten());
        own.or(of_session)
            .is_some_and(|address| address.is_unspecified())
    }

    /// Leaves the first codec of each stream in use alone, with key presses (RFC 4733) and comfort noise.
    pub fn keep_first_codecs(&mut self) {
        for section in self.used() {
            let formats = section.formats();
            let is_extra = |format: &[u8]| {
                let name = section.name_of(format);
                ["telephone-event", "CN"].into_iter().any(|extra| {
                    let name = name
                        .as_deref()
                        .and_then(|name| name.split(|b| *b == b'/').next());
                    name.is_some_and(|name| is_token(name, extra))
                })
            };
            let first = formats.iter().find(|format| !is_extra(format)).cloned();
            let Some(first) = first else {
                continue;
            };
            let keep = |format: &Vec<u8>| *format == first || is_extra(format);
            let (kept, dropped): (Vec<_>, Vec<_>) = formats.into_iter().partition(keep);
            if !dropped.is_empty() {
                section.set_formats(&kept);
                section.forget_formats(&dropped);
            }
        }
    }

    /// Gives every stream an `a=mid` (RFC 5888) that has none.
    pub fn name_streams(&mut self) {
        for (index, section) in self.media.iter_mut().enumerate() {
            let named = |line: &Line| line.attribute_named("mid").is_some();
            if !section.lines.iter().any(named) {
                insert_attribute(
                    &mut section.lines,
                    0,
                    format!("a=mid:{}", index + 1).as_bytes(),
                );
            }
        }
    }

    /// Takes an attribute out at every level.
    pub fn remove_attribute(&mut self, name: &str) {
        let stays = |line: &Line| line.attribute_named(name).is_none();
        self.session.retain(stays);
        for section in &mut self.media {
            section.lines.retain(stays);
        }
    }

    /// The value of a session-level attribute.
    pub fn session_attribute(&self, name: &str) -> Option<&[u8]> {
        self.session
            .iter()
            .find_map(|line| line.attribute_named(name))
    }

    /// Adds an attribute line, `name[:value]`, at the session's level.
    pub fn add_session_attribute(&mut self, text: &str) {
        insert_attribute(&mut self.session, 0, format!("a={text}").as_bytes());
    }

    /// The encoding names of all payload types of the streams in use, as they came.
    pub fn codec_names(&self) -> Vec<Vec<u8>> {
        let used = self.media.iter().filter(|section| section.is_used());
        let named = used.flat_map(|section| {
            let name = |format: &Vec<u8>| super::codecs::name_of(section, format).map(encoding);
            section
                .formats()
                .iter()
                .filter_map(name)
                .collect::<Vec<_>>()
        });
        named.collect()
    }

    /// The transport protocol of each `m=` line, as it came.
    pub fn protocols(&self) -> Vec<Vec<u8>> {
        let heads = self.media.iter().map(|section| &section.head);
        heads.map(|head| head.protocol.clone()).collect()
    }

    /// The `s=` line's value, and the name in `o=`.
    pub fn names(&self) -> (Option<&[u8]>, Option<&[u8]>) {
        let value = |kind| self.session.iter().find_map(|line| line.value(kind));
        let user = value(b'o').and_then(|origin| {
            let first = fields(origin).next()?;
            origin.get(first)
        });
        (value(b's'), user)
    }

    /// The version in `o=`.
    pub fn version(&self) -> Option<u64> {
        let origin = self.session.iter().find_map(|line| line.value(b'o'))?;
        let version = fields(origin).nth(2)?;
        number(&origin[version])
    }

    /// Puts another name into `o=`.
    pub fn set_user(&mut self, user: &[u8]) {
        let origin = self
            .session
            .iter_mut()
            .find(|line| line.value(b'o').is_some());
        let Some(line) = origin.filter(|_| !user.is_empty()) else {
            return;
        };
        let first = fields(&line.text[2..]).next();
        if let Some(first) = first {
            let rest = line.text.get(2 + first.end..).unwrap_or_default();
            line.text = [b"o=", user, rest].concat();
        }
    }

    /// Puts another name into `s=`.
    pub fn set_session_name(&mut self, name: &[u8]) {
        let subject = self
            .session
            .iter_mut()
            .find(|line| line.value(b's').is_some());
        if let Some(line) = subject {
            line.text = [b"s=", name].concat();
        }
    }

    fn used(&mut self) -> impl Iterator<Item = &mut Section> {
        self.media.iter_mut().filter(|section| section.is_used())
    }
}

impl Section {
    /// Where `a=rtpmap` lines begin: at the first that there is, or the first attribute, or the end.
    fn first_codec_line(&self) -> usize {
        let mapped = |line: &Line| line.attribute_named("rtpmap").is_some();
        let any = |line: &Line| line.attribute().is_some();
        let lines = &self.lines;
        let place = lines.iter().position(mapped);
        let place = place.or_else(|| lines.iter().position(any));
        place.unwrap_or_else(|| self.end())
    }

    /// After the last line of the form `x=…`.
    fn end(&self) -> usize {
        let typed = |line: &Line| matches!(line.text.as_slice(), [_, b'=', ..]);
        let last = self.lines.iter().rposition(typed);
        last.map_or(self.lines.len(), |last| last + 1)
    }

    fn position_of_map(&self, format: &[u8]) -> Option<usize> {
        mapped_name(self, format)?;
        self.lines.iter().position(|line| {
            let value = line.attribute_named("rtpmap").unwrap_or_default();
            let first = fields(value).next();
            first.is_some_and(|first| &value[first] == format)
        })
    }

    fn name_of(&self, format: &[u8]) -> Option<Vec<u8>> {
        let name = mapped_name(self, format).or_else(|| static_name(format));
        name.map(<[u8]>::to_vec)
    }

    fn insert_before(&mut self, at: usize, text: Vec<u8>) {
        if at >= self.end() {
            return insert_attribute(&mut self.lines, 0, &text);
        }
        let ending = self.lines[at].ending;
        self.lines.insert(at, Line { text, ending });
    }

    fn state_direction(&mut self, direction: Direction) {
        let text = format!("a={}", direction.name()).into_bytes();
        let place = self.lines.iter().position(is_direction);
        match place {
            None => insert_attribute(&mut self.lines, 0, &text),
            Some(place) => {
                self.lines[place].text = text;
                let mut index = 0;
                self.lines.retain(|line| {
                    index += 1;
                    index - 1 <= place || !is_direction(line)
                });
            }
        }
    }
}

fn is_direction(line: &Line) -> bool {
    line.attribute()
        .is_some_and(|(name, _)| DIRECTIONS.into_iter().any(|known| is_token(name, known)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        "v=0\r\no=alice 1 1 IN IP4 192.0.2.1\r\ns=a call\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n";

    fn edited(media: &str, edit: impl Fn(&mut Description)) -> String {
        let body = format!("{HEAD}{media}");
        let mut description = Description::parse(body.as_bytes()).expect("valid");
        edit(&mut description);
        let body = String::from_utf8(description.to_bytes()).expect("text");
        body.replace(HEAD, "").replace("\r\n", "|")
    }

    #[test]
    fn static_codecs_get_their_names_in_the_order_of_the_formats() {
        let name = |media| edited(media, Description::name_static_codecs);
        assert_eq!(
            name("m=audio 5 RTP/AVP 8 101 0\r\na=x\r\na=rtpmap:101 telephone-event/8000\r\n"),
            "m=audio 5 RTP/AVP 8 101 0|a=x|a=rtpmap:8 PCMA/8000|a=rtpmap:101 telephone-event/8000|\
             a=rtpmap:0 PCMU/8000|"
        );
        assert_eq!(
            name("m=audio 5 RTP/AVP 0 77"),
            "m=audio 5 RTP/AVP 0 77|a=rtpmap:0 PCMU/8000"
        );
        assert_eq!(name("m=audio 0 RTP/AVP 0\r\n"), "m=audio 0 RTP/AVP 0|");
        assert_eq!(name("m=image 5 udptl t38\r\n"), "m=image 5 udptl t38|");
    }

    #[test]
    fn directions_are_stated_once_for_each_stream() {
        let media = "a=sendonly\r\nm=audio 5 RTP/AVP 0\r\nm=video 7 RTP/AVP 31\r\na=recvonly\r\na=x\r\n\
            a=inactive\r\nm=audio 0 RTP/AVP 0\r\n";
        let stated = edited(media, |description| {
            description.state_directions(|_, direction| direction);
        });
        assert_eq!(
            stated,
            "m=audio 5 RTP/AVP 0|a=sendonly|m=video 7 RTP/AVP 31|a=inactive|a=x|m=audio 0 RTP/AVP 0|"
        );
    }

    #[test]
    fn one_codec_is_left_and_what_is_no_codec() {
        let media = "m=audio 5 RTP/AVP 101 8 0\r\na=rtpmap:101 telephone-event/8000\r\na=rtpmap:0 PCMU/8000\r\n";
        assert_eq!(
            edited(media, Description::keep_first_codecs),
            "m=audio 5 RTP/AVP 101 8|a=rtpmap:101 telephone-event/8000|"
        );
    }

    #[test]
    fn names_addresses_and_protocols_are_told() {
        let body = format!("{HEAD}m=audio 5 RTP/AVPF 0\r\nc=IN IP4 0.0.0.0\r\na=extmap:1 x\r\n");
        let mut description = Description::parse(body.as_bytes()).expect("valid");
        assert_eq!(
            description.names(),
            (Some(&b"a call"[..]), Some(&b"alice"[..]))
        );
        assert_eq!(description.protocols(), [b"RTP/AVPF".to_vec()]);
        description.set_user(b"me");
        description.set_session_name(b"-");
        assert_eq!(description.names(), (Some(&b"-"[..]), Some(&b"me"[..])));
        assert!(description.has_no_address(0) && !description.has_no_address(1));
        description.remove_attribute("extmap");
        description.name_streams();
        description.add_session_attribute("tandem:1");
        assert_eq!(description.session_attribute("tandem"), Some(&b"1"[..]));
        let body = String::from_utf8(description.to_bytes()).expect("text");
        assert!(body.ends_with("c=IN IP4 0.0.0.0\r\na=mid:1\r\n"), "{body}");
    }
}
