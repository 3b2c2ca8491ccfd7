//! One client of the admin socket: requests in, responses out, neither longer than their bounds, and never
//! waiting for it.

use std::io::{self, ErrorKind, Read, Write};

use contract::Timestamp;

use super::protocol::LONGEST_REQUEST;

/// Bytes that are read at a time. A list of calls is asked for with less than this; only a request for many
/// sessions needs more than one read.
const CHUNK: usize = 8192;

/// What a client's turn left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It must send or read something first: its socket will say so.
    Waits,
    /// It may have more to be done at once.
    MayHaveMore,
    /// It is gone, or must go.
    Over,
}

/// What a request came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The response.
    Now(Vec<u8>),
    /// It follows by [`Connection::answer`]. Until then no further request is taken.
    Later,
}

/// A client. `S` is its non-blocking socket.
#[derive(Debug)]
pub(crate) struct Connection<S> {
    stream: S,
    /// What it has sent beyond the last request; never more than [`LONGEST_REQUEST`].
    inbound: Vec<u8>,
    /// The response that it has not read yet, from `sent` on. The next request is answered only after that, so
    /// that a client which does not read costs one response.
    outbound: Vec<u8>,
    sent: usize,
    /// It has sent all that it will.
    finished: bool,
    /// The answer to its last request is being worked out.
    awaits: bool,
    last_progress: Timestamp,
}

impl<S: Read + Write> Connection<S> {
    /// A client that has just arrived.
    pub(crate) fn new(stream: S, now: Timestamp) -> Self {
        Self {
            stream,
            inbound: Vec::new(),
            outbound: Vec::new(),
            sent: 0,
            finished: false,
            awaits: false,
            last_progress: now,
        }
    }

    /// Its socket.
    pub(crate) fn stream_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    /// When it last sent or read something.
    pub(crate) fn last_progress(&self) -> Timestamp {
        self.last_progress
    }

    /// Sends what is left of the last response; then answers one request, if a whole one is there.
    pub(crate) fn turn(&mut self, now: Timestamp, answer: impl FnOnce(&[u8]) -> Answer) -> Turn {
        match self.try_turn(now, answer) {
            Ok(turn) => turn,
            Err(error) if error.kind() == ErrorKind::WouldBlock => Turn::Waits,
            Err(_) => Turn::Over,
        }
    }

    /// The answer that was to follow.
    pub(crate) fn answer(&mut self, response: Vec<u8>, now: Timestamp) {
        self.awaits = false;
        self.outbound = response;
        self.sent = 0;
        self.last_progress = now;
    }

    /// Sends one response and nothing more, as far as the socket takes it at once.
    pub(crate) fn turn_away(&mut self, response: Vec<u8>) {
        self.outbound = response;
        // It goes either way.
        let _ = self.send(Timestamp::ZERO);
    }

    fn try_turn(
        &mut self,
        now: Timestamp,
        answer: impl FnOnce(&[u8]) -> Answer,
    ) -> io::Result<Turn> {
        if self.awaits {
            // What waits for its answer makes progress elsewhere.
            self.last_progress = now;
            return Ok(Turn::Waits);
        }
        self.send(now)?;
        let Some(request) = self.request(now)? else {
            return Ok(Turn::Over);
        };
        match answer(&request) {
            Answer::Now(response) => {
                self.answer(response, now);
                self.send(now)?;
                Ok(Turn::MayHaveMore)
            }
            Answer::Later => {
                self.awaits = true;
                Ok(Turn::Waits)
            }
        }
    }

    fn send(&mut self, now: Timestamp) -> io::Result<()> {
        while self.sent < self.outbound.len() {
            match self.stream.write(&self.outbound[self.sent..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.sent += written;
                    self.last_progress = now;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.outbound = Vec::new();
        self.sent = 0;
        Ok(())
    }

    /// The next line, without its end; `None` when there will be none. An error of the kind `WouldBlock` while
    /// it is not whole; another for a line that is too long.
    fn request(&mut self, now: Timestamp) -> io::Result<Option<Vec<u8>>> {
        let mut searched = 0;
        loop {
            let unsearched = self.inbound.get(searched..).unwrap_or_default();
            if let Some(end) = unsearched.iter().position(|&byte| byte == b'\n') {
                let end = searched + end;
                let rest = self.inbound.split_off(end + 1);
                let mut line = std::mem::replace(&mut self.inbound, rest);
                line.pop();
                return Ok(Some(line));
            }
            searched = self.inbound.len();
            let room = LONGEST_REQUEST.saturating_sub(searched).min(CHUNK);
            if room == 0 {
                return Err(ErrorKind::InvalidData.into());
            }
            if self.finished {
                return Ok(None);
            }
            let mut bytes = [0; CHUNK];
            match self.stream.read(&mut bytes[..room]) {
                Ok(0) => self.finished = true,
                Ok(read) => {
                    self.inbound.extend_from_slice(&bytes[..read]);
                    self.last_progress = now;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    const NOW: Timestamp = Timestamp::from_nanos(5);

    fn pair() -> (UnixStream, Connection<UnixStream>) {
        let (client, server) = UnixStream::pair().expect("two sockets");
        server.set_nonblocking(true).expect("it is a socket");
        (client, Connection::new(server, Timestamp::ZERO))
    }

    fn echo(request: &[u8]) -> Answer {
        Answer::Now([request, b"!\n"].concat())
    }

    fn read(client: &mut UnixStream) -> String {
        client.set_nonblocking(true).expect("it is a socket");
        let mut bytes = [0; 100];
        let read = client.read(&mut bytes).unwrap_or(0);
        String::from_utf8_lossy(&bytes[..read]).into_owned()
    }

    #[test]
    fn requests_are_answered_in_order_however_they_are_cut() {
        let (mut client, mut connection) = pair();
        client.write_all(b"on").expect("there is room");
        assert_eq!(connection.turn(NOW, echo), Turn::Waits);
        client.write_all(b"e\ntwo\nthr").expect("there is room");
        assert_eq!(connection.turn(NOW, echo), Turn::MayHaveMore);
        assert_eq!(connection.turn(NOW, echo), Turn::MayHaveMore);
        assert_eq!(connection.turn(NOW, echo), Turn::Waits);
        assert_eq!(read(&mut client), "one!\ntwo!\n");
        assert_eq!(connection.last_progress(), NOW);
    }

    #[test]
    fn a_client_that_stops_sending_still_gets_its_answer() {
        let (mut client, mut connection) = pair();
        client.write_all(b"last\n").expect("there is room");
        let half = std::net::Shutdown::Write;
        client.shutdown(half).expect("it is connected");
        assert_eq!(connection.turn(NOW, echo), Turn::MayHaveMore);
        assert_eq!(connection.turn(NOW, echo), Turn::Over);
        assert_eq!(read(&mut client), "last!\n");
    }

    #[test]
    fn a_request_waits_for_the_answer_of_the_one_before() {
        let (mut client, mut connection) = pair();
        client.write_all(b"slow\nnext\n").expect("there is room");
        assert_eq!(connection.turn(NOW, |_| Answer::Later), Turn::Waits);
        let asked_again = |_: &[u8]| -> Answer { panic!("the first has not been answered") };
        let later = NOW + std::time::Duration::from_secs(60);
        assert_eq!(connection.turn(later, asked_again), Turn::Waits);
        assert_eq!(connection.last_progress(), later, "it is not to blame");
        connection.answer(b"done\n".to_vec(), later);
        assert_eq!(connection.turn(later, echo), Turn::MayHaveMore);
        assert_eq!(read(&mut client), "done\nnext!\n");
    }

    #[test]
    fn a_client_that_leaves_before_its_answer_is_over_when_it_comes() {
        let (mut client, mut connection) = pair();
        client.write_all(b"slow\n").expect("there is room");
        assert_eq!(connection.turn(NOW, |_| Answer::Later), Turn::Waits);
        drop(client);
        assert_eq!(connection.turn(NOW, echo), Turn::Waits);
        connection.answer(b"done\n".to_vec(), NOW);
        assert_eq!(connection.turn(NOW, echo), Turn::Over);
    }

    #[test]
    fn an_endless_request_ends_the_connection() {
        let (mut client, mut connection) = pair();
        client
            .write_all(&vec![b'x'; LONGEST_REQUEST + 1])
            .expect("there is room");
        assert_eq!(connection.turn(NOW, echo), Turn::Over);
        let (mut client, mut connection) = pair();
        let mut longest = vec![b'x'; LONGEST_REQUEST - 1];
        longest.push(b'\n');
        client.write_all(&longest).expect("there is room");
        assert_eq!(connection.turn(NOW, echo), Turn::MayHaveMore);
    }

    #[test]
    fn a_client_that_does_not_read_costs_one_response() {
        let (mut client, mut connection) = pair();
        client.write_all(b"a\nb\n").expect("there is room");
        let large = |_: &[u8]| Answer::Now(vec![b'x'; 8 << 20]);
        assert_eq!(connection.turn(NOW, large), Turn::Waits);
        let asked_again = |_: &[u8]| panic!("the first response has not been read");
        assert_eq!(connection.turn(NOW, asked_again), Turn::Waits);
        let mut sink = vec![0; 8 << 20];
        let reader = std::thread::spawn(move || {
            client.read_exact(&mut sink).expect("the whole response");
            (client, sink)
        });
        while connection.turn(NOW, echo) != Turn::MayHaveMore {
            std::thread::yield_now();
        }
        let (mut client, sink) = reader.join().expect("it has no assertions");
        assert!(sink.iter().all(|&byte| byte == b'x'));
        assert_eq!(read(&mut client), "b!\n");
    }
}
