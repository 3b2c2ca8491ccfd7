//! Sessions opened and closed over a running tandem's admin socket, without any signalling.
//!
//! ```text
//!   {"verb":"open_sessions","a_media":"inside","b_media":"outside","rtcp":"none","latch":"sdp",
//!    "sessions":[{"a":"10.1.0.2:20000","b":"10.2.0.2:20000"},…]}                       ──►
//!                          ◄──  {"ok":{"sessions":[{"id":1,"a":"10.1.0.1:20010","b":"10.2.0.1:20044"}],"refused":{}}}
//!   {"verb":"close_sessions","ids":[1]}                                                ──►
//!                          ◄──  {"ok":{"closed":1}}
//! ```
//!
//! An answer comes when every worker has acknowledged every flow.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::streams::{Content, Stream};

/// Sessions that one request can ask for.
pub const MOST_SESSIONS: usize = 256;
/// How long the relay may take for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest answer, in bytes: 256 sessions take some 25 KB.
const LONGEST_ANSWER: u64 = 4 << 20;

/// What becomes of RTCP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Rtcp {
    /// It is not relayed.
    #[default]
    None,
    /// On the next port, at the relay and at the parties.
    Separate,
    /// On RTP's port (RFC 5761).
    Mux,
}

/// Which source a session believes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Latch {
    /// The address that was given.
    Sdp,
    /// The first valid source.
    Learn,
    /// Any.
    Off,
}

/// Where sessions are opened, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Terms {
    /// The relay's media group that faces A.
    pub a_media: String,
    /// The relay's media group that faces B.
    pub b_media: String,
    /// What becomes of RTCP.
    pub rtcp: Rtcp,
    /// Which source is believed; `None` leaves it to the relay's configuration.
    pub latch: Option<Latch>,
}

/// The parties of a session: their RTP addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parties {
    /// A's.
    pub a: SocketAddr,
    /// B's.
    pub b: SocketAddr,
}

/// A session that the relay opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Opened {
    /// Its number.
    pub id: u64,
    /// The relay's RTP address that faces A.
    pub a: SocketAddr,
    /// The relay's RTP address that faces B.
    pub b: SocketAddr,
}

/// The answer to a request for sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Answer {
    /// In the order in which they were asked for; those that were refused are missing.
    pub sessions: Vec<Opened>,
    /// How many were refused, by why.
    #[serde(default)]
    pub refused: BTreeMap<String, u64>,
}

#[derive(Serialize)]
#[serde(tag = "verb", rename_all = "snake_case")]
enum Request<'a> {
    OpenSessions {
        #[serde(flatten)]
        terms: &'a Terms,
        sessions: &'a [Parties],
    },
    CloseSessions {
        ids: &'a [u64],
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Response<T> {
    Ok(T),
    Error(String),
}

#[derive(Deserialize)]
struct Closed {
    closed: u64,
}

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Nobody to talk to, or the conversation broke off.
    #[error("tandem does not answer at {}: {error}", socket.display())]
    Broken {
        /// The admin socket.
        socket: PathBuf,
        /// What the kernel said.
        error: io::Error,
    },
    /// The answer is not understood.
    #[error("what answers at {} is not understood: {error}", socket.display())]
    Foreign {
        /// The admin socket.
        socket: PathBuf,
        /// What was wrong.
        error: serde_json::Error,
    },
    /// The relay said no.
    #[error("tandem refused: {0}")]
    Refused(String),
}

/// A conversation with a running tandem.
#[derive(Debug)]
pub struct AdminClient {
    socket: PathBuf,
    stream: BufReader<UnixStream>,
}

impl AdminClient {
    /// Connects to an admin socket.
    pub fn connect(socket: &Path) -> Result<Self, AdminError> {
        let open = || {
            let stream = UnixStream::connect(socket)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(BufReader::new(stream))
        };
        match open() {
            Ok(stream) => Ok(Self {
                socket: socket.to_owned(),
                stream,
            }),
            Err(error) => Err(AdminError::Broken {
                socket: socket.to_owned(),
                error,
            }),
        }
    }

    /// Opens up to [`MOST_SESSIONS`] sessions; returns when every worker has them.
    pub fn open_sessions(
        &mut self,
        terms: &Terms,
        sessions: &[Parties],
    ) -> Result<Answer, AdminError> {
        self.ask(&Request::OpenSessions { terms, sessions })
    }

    /// Closes sessions; says how many there were to close.
    pub fn close_sessions(&mut self, ids: &[u64]) -> Result<u64, AdminError> {
        let mut sum = 0;
        for ids in ids.chunks(MOST_SESSIONS) {
            let closed: Closed = self.ask(&Request::CloseSessions { ids })?;
            sum += closed.closed;
        }
        Ok(sum)
    }

    fn ask<T: DeserializeOwned>(&mut self, request: &Request<'_>) -> Result<T, AdminError> {
        let line = self.exchange(request).map_err(|error| AdminError::Broken {
            socket: self.socket.clone(),
            error,
        })?;
        match serde_json::from_str(&line) {
            Ok(Response::Ok(answer)) => Ok(answer),
            Ok(Response::Error(sentence)) => Err(AdminError::Refused(sentence)),
            Err(error) => Err(AdminError::Foreign {
                socket: self.socket.clone(),
                error,
            }),
        }
    }

    fn exchange(&mut self, request: &Request<'_>) -> io::Result<String> {
        let mut line = serde_json::to_string(request)?;
        line.push('\n');
        self.stream.get_mut().write_all(line.as_bytes())?;
        let mut answer = String::new();
        (&mut self.stream)
            .take(LONGEST_ANSWER)
            .read_line(&mut answer)?;
        if answer.ends_with('\n') {
            Ok(answer)
        } else {
            Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it hung up"))
        }
    }
}

impl Opened {
    /// The stream of RTP that goes through the session.
    pub fn rtp(&self, parties: Parties) -> Stream {
        Stream {
            a: parties.a,
            relay_a: self.a,
            relay_b: self.b,
            b: parties.b,
            content: Content::Rtp,
        }
    }

    /// The stream of RTCP on RTP's ports.
    pub fn muxed_rtcp(&self, parties: Parties) -> Stream {
        Stream {
            content: Content::Rtcp,
            ..self.rtp(parties)
        }
    }

    /// The stream of RTCP on the next ports.
    pub fn rtcp(&self, parties: Parties) -> Stream {
        let next =
            |address: SocketAddr| SocketAddr::new(address.ip(), address.port().saturating_add(1));
        Stream {
            a: next(parties.a),
            relay_a: next(self.a),
            relay_b: next(self.b),
            b: next(parties.b),
            content: Content::Rtcp,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;
    use std::thread;

    fn parties() -> Parties {
        Parties {
            a: "10.1.0.2:20000".parse().expect("an address"),
            b: "10.2.0.2:20000".parse().expect("an address"),
        }
    }

    pub(crate) fn terms() -> Terms {
        Terms {
            a_media: "inside".into(),
            b_media: "outside".into(),
            rtcp: Rtcp::None,
            latch: Some(Latch::Sdp),
        }
    }

    /// A relay that answers each line with the next of `answers`, and gives back what it was asked.
    pub(crate) fn relay(answers: &[&'static str], client: impl FnOnce(&Path)) -> Vec<String> {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("admin.sock");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let answers = answers.to_vec();
        let relay = thread::spawn(move || {
            let mut answers = answers.into_iter();
            let mut asked = Vec::new();
            // One connection after the other, until there is nothing more to answer.
            while answers.len() > 0 {
                let (stream, _) = listener.accept().expect("the client");
                let mut stream = BufReader::new(stream);
                let mut line = String::new();
                while stream.read_line(&mut line).expect("a request") > 0 {
                    asked.push(line.trim_end().to_owned());
                    line.clear();
                    let answer = answers.next().expect("as many requests as answers");
                    let answer = format!("{answer}\n");
                    stream
                        .get_mut()
                        .write_all(answer.as_bytes())
                        .expect("heard");
                    if answers.len() == 0 {
                        break;
                    }
                }
            }
            asked
        });
        client(&socket);
        relay.join().expect("the relay")
    }

    #[test]
    fn sessions_are_opened_and_closed() {
        let asked = relay(
            &[
                r#"{"ok":{"sessions":[{"id":1,"a":"10.1.0.1:20010","b":"10.2.0.1:20044"}],"refused":{"no_ports":2}}}"#,
                r#"{"ok":{"closed":1}}"#,
                r#"{"error":"no"}"#,
            ],
            |socket| {
                let mut client = AdminClient::connect(socket).expect("a relay");
                let answer = client
                    .open_sessions(&terms(), &[parties()])
                    .expect("opened");
                assert_eq!(answer.refused["no_ports"], 2);
                let stream = answer.sessions[0].rtcp(parties());
                assert_eq!(
                    stream.relay_b,
                    "10.2.0.1:20045".parse().expect("an address")
                );
                assert_eq!(client.close_sessions(&[1]).expect("closed"), 1);
                let error = client.close_sessions(&[1]).expect_err("refused");
                assert_eq!(error.to_string(), "tandem refused: no");
            },
        );
        assert_eq!(
            asked[0],
            r#"{"verb":"open_sessions","a_media":"inside","b_media":"outside","rtcp":"none","latch":"sdp","sessions":[{"a":"10.1.0.2:20000","b":"10.2.0.2:20000"}]}"#
        );
        assert_eq!(asked[1], r#"{"verb":"close_sessions","ids":[1]}"#);
    }

    #[test]
    fn nobody_there_is_said() {
        let error = AdminClient::connect(Path::new("/nonexistent/admin.sock")).expect_err("nobody");
        assert!(
            error.to_string().contains("/nonexistent/admin.sock"),
            "{error}"
        );
    }
}
