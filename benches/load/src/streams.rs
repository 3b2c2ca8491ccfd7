//! Which streams go through the relay: read from a stream file or from what `tandem flows --json` printed.
//!
//! ```text
//!      A                    the relay                     B
//!   a ────────► relay_a               relay_b ────────► b
//!   a ◄──────── relay_a               relay_b ◄──────── b
//! ```
//!
//! Whatever is wrong with a file is said with its place: file, line and column.

mod flows;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use flows::{Sides, from_flows};

/// The most streams of a run: their state takes some 800 bytes each.
pub const MOST_STREAMS: usize = 1_000_000;

/// What a stream's packets are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    /// RTP.
    #[default]
    Rtp,
    /// RTCP: an empty receiver report and an application-defined packet.
    Rtcp,
}

/// One stream through the relay, both ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Stream {
    /// A's own address.
    pub a: SocketAddr,
    /// The relay's address that A sends to and hears from.
    pub relay_a: SocketAddr,
    /// The relay's address that B sends to and hears from.
    pub relay_b: SocketAddr,
    /// B's own address.
    pub b: SocketAddr,
    /// What it carries.
    pub content: Content,
}

/// A stream as it is written, before anything of it is believed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    a: SocketAddr,
    relay_a: SocketAddr,
    relay_b: SocketAddr,
    b: SocketAddr,
    #[serde(default)]
    content: Content,
}

impl TryFrom<Unchecked> for Stream {
    type Error = String;

    fn try_from(raw: Unchecked) -> Result<Self, String> {
        let stream = Self {
            a: raw.a,
            relay_a: raw.relay_a,
            relay_b: raw.relay_b,
            b: raw.b,
            content: raw.content,
        };
        match stream.fault() {
            Some(fault) => Err(fault),
            None => Ok(stream),
        }
    }
}

impl Stream {
    /// Why it cannot be sent, if so.
    fn fault(&self) -> Option<String> {
        for (party, relay, names) in [
            (self.a, self.relay_a, "a and relay_a"),
            (self.b, self.relay_b, "b and relay_b"),
        ] {
            if party.is_ipv4() != relay.is_ipv4() {
                return Some(format!(
                    "{names} are of different address families: {party} and {relay}"
                ));
            }
            for address in [party, relay] {
                if address.port() == 0 {
                    return Some(format!("{address} has port 0"));
                }
                if address.ip().is_unspecified() || address.ip().is_multicast() {
                    return Some(format!("{address} is nobody's own address"));
                }
            }
        }
        None
    }
}

/// A stream file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamFile {
    /// The streams.
    pub streams: Vec<Stream>,
}

/// Why streams could not be read.
#[derive(Debug, thiserror::Error)]
pub enum StreamsError {
    /// The file could not be read.
    #[error("cannot read {}: {error}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the kernel said.
        error: io::Error,
    },
    /// It is not what it should be; line and column count from 1.
    #[error("{}:{line}:{column}: {reason}", file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// The line.
        line: usize,
        /// The column.
        column: usize,
        /// What is wrong there.
        reason: String,
    },
    /// Each is well formed, but they do not go together.
    #[error("{}: {reason}", file.display())]
    Unusable {
        /// The file.
        file: PathBuf,
        /// Why.
        reason: String,
    },
}

/// Reads a stream file: `{"streams":[{"a":"10.1.0.2:20000","relay_a":"10.1.0.1:30000",
/// "relay_b":"10.2.0.1:40000","b":"10.2.0.2:20000","content":"rtp"}]}`; `content` may be left out.
pub fn from_file(file: &Path) -> Result<Vec<Stream>, StreamsError> {
    let text = read(file)?;
    let parsed: StreamFile =
        serde_json::from_str(&text).map_err(|error| malformed(file, &error))?;
    check(&parsed.streams).map_err(|reason| unusable(file, reason))?;
    Ok(parsed.streams)
}

/// Whether streams go together: none too many, none twice.
pub fn check(streams: &[Stream]) -> Result<(), String> {
    if streams.is_empty() {
        return Err("there are no streams".to_owned());
    }
    if streams.len() > MOST_STREAMS {
        return Err(format!(
            "{} streams are more than {MOST_STREAMS}",
            streams.len()
        ));
    }
    // RTP and RTCP may share a pair of addresses (RFC 5761); two streams of the same kind may not: relays
    // tell them apart by nothing else.
    let mut arrivals = HashMap::with_capacity(2 * streams.len());
    for (index, stream) in streams.iter().enumerate() {
        for (party, relay) in [(stream.a, stream.relay_a), (stream.b, stream.relay_b)] {
            if let Some(other) = arrivals.insert((party, relay, stream.content), index) {
                return Err(format!(
                    "streams {} and {} (from 1) are both between {party} and {relay}",
                    other + 1,
                    index + 1
                ));
            }
        }
    }
    Ok(())
}

fn read(file: &Path) -> Result<String, StreamsError> {
    fs::read_to_string(file).map_err(|error| StreamsError::Unreadable {
        file: file.to_owned(),
        error,
    })
}

fn malformed(file: &Path, error: &serde_json::Error) -> StreamsError {
    // serde_json appends the place, which is told apart from the reason here.
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let place = format!(" at line {line} column {column}");
    StreamsError::Malformed {
        file: file.to_owned(),
        line,
        column,
        reason: text.strip_suffix(&place).unwrap_or(&text).to_owned(),
    }
}

fn unusable(file: &Path, reason: String) -> StreamsError {
    StreamsError::Unusable {
        file: file.to_owned(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    pub(super) fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(text.as_bytes()).expect("room for it");
        file
    }

    const GOOD: &str = r#"{"a":"10.1.0.2:20000","relay_a":"10.1.0.1:30000","relay_b":"[fd02::1]:40000","b":"[fd02::2]:20000","content":"rtcp"}"#;

    fn failure(text: &str) -> String {
        let file = file(text);
        let error = from_file(file.path()).expect_err("a bad file").to_string();
        error.replace(&file.path().display().to_string(), "FILE")
    }

    #[test]
    fn a_good_file_is_read() {
        let file = file(&format!("{{\"streams\":[{GOOD}]}}"));
        let streams = from_file(file.path()).expect("a good file");
        assert_eq!(streams[0].b, "[fd02::2]:20000".parse().expect("IPv6"));
        assert_eq!(streams[0].content, Content::Rtcp);
        let text = serde_json::to_string(&StreamFile { streams }).expect("plain data");
        assert_eq!(text, format!("{{\"streams\":[{GOOD}]}}"));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let bad = GOOD.replace("10.1.0.2:20000", "10.1.0.2");
        let text = failure(&format!("{{\"streams\":[\n{GOOD},\n{bad}]}}"));
        assert!(text.starts_with("FILE:3:"), "{text}");
        assert!(text.contains("socket address"), "{text}");
        let bad = GOOD.replace("10.1.0.2", "[fd01::2]");
        let text = failure(&format!("{{\"streams\":[\n{bad}]}}"));
        assert!(text.starts_with("FILE:2:"), "{text}");
        assert!(text.contains("different address families"), "{text}");
        let text = failure(&format!(
            "{{\"streams\":[{}]}}",
            GOOD.replace("rtcp", "srtp")
        ));
        assert!(text.contains("unknown variant `srtp`"), "{text}");
        let text = failure("{\"streams\":[\n");
        assert!(text.starts_with("FILE:2:"), "{text}");
        let text = failure(&format!("{{\"streams\":[{}]}}", GOOD.replace("20000", "0")));
        assert!(text.contains("port 0"), "{text}");
    }

    #[test]
    fn streams_that_cannot_be_told_apart_are_refused() {
        assert_eq!(
            failure(&format!("{{\"streams\":[{GOOD},{GOOD}]}}")),
            "FILE: streams 1 and 2 (from 1) are both between 10.1.0.2:20000 and 10.1.0.1:30000"
        );
        assert_eq!(failure("{\"streams\":[]}"), "FILE: there are no streams");
    }
}
