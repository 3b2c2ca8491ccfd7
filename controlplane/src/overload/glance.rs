//! An INVITE at a glance: as much of it as a refusal repeats, found without reading it.
//!
//! It takes only what is written plainly, one header a line. What it does not understand (folded lines, a
//! header twice, quotes in a Via) it leaves to the reader of messages, so that nothing is refused for how it
//! is written.

use super::Shed;
use crate::sip::typed::{NameAddr, Via};

/// Header fields that are looked at. Requests have some twenty; the rest of a longer one is left to the reader.
const MOST_FIELDS: usize = 128;

/// An INVITE that begins a call, as it stands in the datagram.
#[derive(Debug)]
pub(super) struct Glance<'a> {
    uri: &'a [u8],
    /// The values of the Via fields, in order.
    vias: Vec<&'a [u8]>,
    from: &'a [u8],
    to: &'a [u8],
    call_id: &'a [u8],
    cseq: &'a [u8],
}

/// Whether it is an INVITE, within a dialog or not.
pub(super) fn is_invite(bytes: &[u8]) -> bool {
    bytes.starts_with(b"INVITE ")
}

/// An INVITE without a To tag; `None` for everything else, and for what is not written plainly.
pub(super) fn new_call(bytes: &[u8]) -> Option<Glance<'_>> {
    if !is_invite(bytes) {
        return None;
    }
    let glance = Glance::read(bytes)?;
    (!has_tag(glance.to)).then_some(glance)
}

/// Whether it is an ACK for a response with this To tag.
pub(super) fn acknowledges(bytes: &[u8], tag: &str) -> bool {
    if !bytes.starts_with(b"ACK ") {
        return false;
    }
    let to = fields(bytes)
        .flatten()
        .find(|(name, _)| is(name, b"To", b"t"));
    to.is_some_and(|(_, value)| {
        let at = value.len().checked_sub(tag.len());
        let end = at.and_then(|at| value.split_at_checked(at));
        end.is_some_and(|(before, end)| end == tag.as_bytes() && before.ends_with(b";tag="))
    })
}

/// The name and value of each header field, to the empty line; `None` for a line that is none by itself.
fn fields(bytes: &[u8]) -> impl Iterator<Item = Option<(&[u8], &[u8])>> {
    let lines = bytes.split(|byte| *byte == b'\n').skip(1).take(MOST_FIELDS);
    lines
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .take_while(|line| !line.is_empty())
        .map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let (name, value) = line.split_at_checked(colon)?;
            let folded = line.first().is_some_and(u8::is_ascii_whitespace);
            let value = value.get(1..)?.trim_ascii();
            // A stray CR ends a line for some and not for others: it is not repeated to anybody.
            let sound = !folded && !value.contains(&b'\r');
            sound.then_some((name.trim_ascii_end(), value))
        })
}

fn is(name: &[u8], long: &[u8], short: &[u8]) -> bool {
    name.eq_ignore_ascii_case(long) || name.eq_ignore_ascii_case(short)
}

/// Whether a To value may hold a tag: a display name that looks like one is taken for one.
fn has_tag(value: &[u8]) -> bool {
    let mut rest = value;
    while let Some(at) = rest.iter().position(|byte| *byte == b';') {
        rest = rest.get(at + 1..).unwrap_or_default();
        let parameter = rest.trim_ascii_start();
        if parameter
            .get(..3)
            .is_some_and(|name| name.eq_ignore_ascii_case(b"tag"))
        {
            return true;
        }
    }
    false
}

impl<'a> Glance<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let (mut vias, mut once) = (Vec::with_capacity(4), [None; 4]);
        for field in fields(bytes) {
            let (name, value) = field?;
            let place = match name.len() {
                1 | 2 | 3 | 4 | 7 => match name {
                    _ if is(name, b"Via", b"v") => {
                        vias.push(value);
                        continue;
                    }
                    _ if is(name, b"From", b"f") => 0,
                    _ if is(name, b"To", b"t") => 1,
                    _ if is(name, b"Call-ID", b"i") => 2,
                    _ if name.eq_ignore_ascii_case(b"CSeq") => 3,
                    _ => continue,
                },
                _ => continue,
            };
            let known = once.get_mut(place)?;
            if known.replace(value).is_some() {
                return None;
            }
        }
        let [from, to, call_id, cseq] = once;
        let mut start = bytes.split(|byte| byte.is_ascii_whitespace());
        Some(Self {
            uri: start.nth(1)?,
            vias,
            from: from?,
            to: to?,
            call_id: call_id?,
            cseq: cseq?,
        })
    }

    pub(super) const fn call_id(&self) -> &'a [u8] {
        self.call_id
    }

    /// What a record says of it.
    pub(super) fn shed(&self) -> Shed {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let uri = |value| {
            NameAddr::parse(value).map_or_else(|_| String::new(), |name| name.uri.to_string())
        };
        Shed {
            call_id: text(self.call_id),
            uri: text(self.uri),
            from: uri(self.from),
            to: uri(self.to),
        }
    }

    /// The top Via.
    pub(super) fn top_via(&self) -> Option<Via> {
        let first = self.vias.first()?;
        if first.contains(&b'"') {
            return None;
        }
        let end = first.iter().position(|byte| *byte == b',');
        Via::parse(first.get(..end.unwrap_or(first.len()))?).ok()
    }

    /// 503 with Retry-After, in seconds; `via` is the top Via with its source noted.
    pub(super) fn refusal(&self, via: &Via, tag: &str, retry_after: u32) -> Vec<u8> {
        let mut response = Vec::with_capacity(512);
        let mut put = |parts: &[&[u8]]| {
            for part in parts {
                response.extend_from_slice(part);
            }
        };
        put(&[b"SIP/2.0 503 Service Unavailable\r\n"]);
        put(&[b"Via: ", via.to_string().as_bytes(), b"\r\n"]);
        for (index, value) in self.vias.iter().enumerate() {
            // Of the first field what stands behind the top Via.
            let value = match (index, value.iter().position(|byte| *byte == b',')) {
                (0, None) => continue,
                (0, Some(comma)) => value
                    .get(comma + 1..)
                    .unwrap_or_default()
                    .trim_ascii_start(),
                _ => value,
            };
            put(&[b"Via: ", value, b"\r\n"]);
        }
        put(&[b"From: ", self.from, b"\r\n"]);
        put(&[b"To: ", self.to, b";tag=", tag.as_bytes(), b"\r\n"]);
        put(&[b"Call-ID: ", self.call_id, b"\r\n"]);
        put(&[b"CSeq: ", self.cseq, b"\r\n"]);
        put(&[
            b"Retry-After: ",
            retry_after.to_string().as_bytes(),
            b"\r\n",
        ]);
        put(&[b"Content-Length: 0\r\n\r\n"]);
        response
    }
}
