//! A proxy's end of rtpengine's `ng` protocol: dictionaries over UDP, in bencode or JSON, asked again until they are answered.
//!
//! Dictionaries are JSON values here, whatever they are on the wire; bytes that are no UTF-8 are shown as text with a mark.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::network::Host;

const PATIENCE: Duration = Duration::from_secs(10);
const RETRANSMIT: Duration = Duration::from_secs(1);

/// Whom a cookie is from does not matter to rtpengine: the same from two is the same request.
static COOKIES: AtomicU64 = AtomicU64::new(0);

/// How a dictionary is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writing {
    /// As Kamailio and OpenSIPS do.
    Bencode,
    /// As people do.
    Json,
}

/// One that asks, with one socket.
#[derive(Debug)]
pub(crate) struct Asker {
    socket: UdpSocket,
    /// How it writes.
    pub(crate) writing: Writing,
}

impl Asker {
    /// On this host, from this address, of the one there.
    pub(crate) fn new(host: &Host, from: SocketAddr, of: SocketAddr) -> Self {
        let socket = host.udp(from);
        socket.connect(of).expect("the address is in reach");
        Self {
            socket,
            writing: Writing::Bencode,
        }
    }

    /// The reply; panics when there is none.
    #[track_caller]
    pub(crate) fn ask(&mut self, request: &Value) -> Value {
        self.try_ask(request, PATIENCE)
            .unwrap_or_else(|| panic!("nobody answers {request}"))
    }

    /// The reply, if one comes in time.
    pub(crate) fn try_ask(&mut self, request: &Value, patience: Duration) -> Option<Value> {
        let number = COOKIES.fetch_add(1, Ordering::Relaxed);
        let cookie = format!("{}_{number}", std::process::id());
        let message = written(&cookie, request, self.writing);
        let until = Instant::now() + patience;
        let mut buffer = vec![0; 65_536];
        while Instant::now() < until {
            // Refused where nobody listens yet: asked again.
            let _ = self.socket.send(&message);
            let again = Instant::now() + RETRANSMIT.min(patience);
            while let Some(left) = again.checked_duration_since(Instant::now()) {
                let wait = left.max(Duration::from_millis(1));
                let _ = self.socket.set_read_timeout(Some(wait));
                let Ok(length) = self.socket.recv(&mut buffer) else {
                    std::thread::sleep(Duration::from_millis(10));
                    continue;
                };
                if let Some((of, reply)) = read(&buffer[..length])
                    && of == cookie
                {
                    return Some(reply);
                }
            }
        }
        None
    }
}

/// A message: cookie, space, dictionary.
pub(crate) fn written(cookie: &str, dictionary: &Value, writing: Writing) -> Vec<u8> {
    let mut message = format!("{cookie} ").into_bytes();
    match writing {
        Writing::Json => message.extend(dictionary.to_string().into_bytes()),
        Writing::Bencode => bencode(dictionary, &mut message),
    }
    message
}

/// Cookie and dictionary of a message.
pub(crate) fn read(message: &[u8]) -> Option<(String, Value)> {
    let space = message.iter().position(|byte| *byte == b' ')?;
    let cookie = String::from_utf8_lossy(&message[..space]).into_owned();
    let rest = &message[space + 1..];
    let dictionary = match rest.first()? {
        b'{' => serde_json::from_slice(rest).ok()?,
        _ => bdecode(&mut &rest[..])?,
    };
    Some((cookie, dictionary))
}

fn bencode(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::String(text) => string(text, out),
        Value::Array(list) => {
            out.push(b'l');
            list.iter().for_each(|value| bencode(value, out));
            out.push(b'e');
        }
        Value::Object(entries) => {
            out.push(b'd');
            for (key, value) in entries {
                string(key, out);
                bencode(value, out);
            }
            out.push(b'e');
        }
        // Whole numbers alone are in the corpus.
        number => out.extend(format!("i{number}e").into_bytes()),
    }
}

fn string(text: &str, out: &mut Vec<u8>) {
    out.extend(format!("{}:{text}", text.len()).into_bytes());
}

fn bdecode(rest: &mut &[u8]) -> Option<Value> {
    let first = *rest.first()?;
    if first.is_ascii_digit() {
        let length: usize = until(rest, b':')?.parse().ok()?;
        let (text, after) = rest.split_at_checked(length)?;
        *rest = after;
        return Some(String::from_utf8_lossy(text).into_owned().into());
    }
    *rest = &rest[1..];
    match first {
        b'i' => Some(until(rest, b'e')?.parse::<i64>().ok()?.into()),
        b'l' => {
            let mut list = Vec::new();
            while *rest.first()? != b'e' {
                list.push(bdecode(rest)?);
            }
            *rest = &rest[1..];
            Some(list.into())
        }
        b'd' => {
            let mut entries = Map::new();
            while *rest.first()? != b'e' {
                let key = bdecode(rest)?.as_str()?.to_owned();
                entries.insert(key, bdecode(rest)?);
            }
            *rest = &rest[1..];
            Some(entries.into())
        }
        _ => None,
    }
}

fn until<'a>(rest: &mut &'a [u8], end: u8) -> Option<&'a str> {
    let position = rest.iter().position(|byte| *byte == end)?;
    let text = std::str::from_utf8(&rest[..position]).ok()?;
    *rest = &rest[position + 1..];
    Some(text)
}
