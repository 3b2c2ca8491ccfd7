//! The CLI's end of the admin socket: one request, one response, neither waited for without end.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::admin::protocol::{Request, Response};

/// How long a running tandem may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest response, in bytes.
const LONGEST_RESPONSE: u64 = 64 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// Nobody listens.
    #[error(
        "no tandem is running with the admin socket {} (`--socket` names another)",
        .0.display()
    )]
    NotRunning(PathBuf),
    /// The socket's mode forbids.
    #[error("only root and the group of {} may use it", .0.display())]
    Forbidden(PathBuf),
    /// The conversation broke off.
    #[error("tandem does not answer at {}: {error}", socket.display())]
    Broken {
        /// The socket.
        socket: PathBuf,
        /// What the kernel said.
        error: io::Error,
    },
    /// The answer is not understood: another version, or not tandem at all.
    #[error("what answers at {} speaks another language than this version: {error}", socket.display())]
    Foreign {
        /// The socket.
        socket: PathBuf,
        /// What was wrong.
        error: serde_json::Error,
    },
    /// The running tandem said no.
    #[error("{0}")]
    Refused(String),
}

/// Asks a running tandem.
#[derive(Debug)]
pub(crate) struct Client {
    socket: PathBuf,
}

impl Client {
    /// Asks the one with this admin socket.
    pub(crate) fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// The answer, as it came.
    pub(crate) fn ask(&self, request: &Request) -> Result<Value, ClientError> {
        let line = self.exchange(request).map_err(|error| self.broken(error))?;
        let response = serde_json::from_str(&line).map_err(|error| self.foreign(error))?;
        match response {
            Response::Ok(value) => Ok(value),
            Response::Error(sentence) => Err(ClientError::Refused(sentence)),
        }
    }

    /// An answer as the view that it is.
    pub(crate) fn understand<T: DeserializeOwned>(&self, answer: Value) -> Result<T, ClientError> {
        serde_json::from_value(answer).map_err(|error| self.foreign(error))
    }

    fn exchange(&self, request: &Request) -> io::Result<String> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut line = serde_json::to_string(request)?;
        line.push('\n');
        match stream.write_all(line.as_bytes()) {
            // It has turned us away: the reason is there to be read.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            written => written?,
        }
        let mut response = String::new();
        BufReader::new(stream.take(LONGEST_RESPONSE)).read_line(&mut response)?;
        if response.ends_with('\n') {
            Ok(response)
        } else {
            Err(io::Error::new(ErrorKind::UnexpectedEof, "it hung up"))
        }
    }

    fn broken(&self, error: io::Error) -> ClientError {
        let socket = self.socket.clone();
        match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => ClientError::NotRunning(socket),
            ErrorKind::PermissionDenied => ClientError::Forbidden(socket),
            _ => ClientError::Broken { socket, error },
        }
    }

    fn foreign(&self, error: serde_json::Error) -> ClientError {
        ClientError::Foreign {
            socket: self.socket.clone(),
            error,
        }
    }
}
