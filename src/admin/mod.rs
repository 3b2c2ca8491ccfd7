//! The admin socket: how the CLI and scripts talk to a running tandem.
//!
//! It lives in the control thread as a guest of the event loop, behind an epoll instance of its own, and
//! answers from the agent and from the dataplane's counters. Nothing here ever waits for a client: each gets
//! a turn of one request when it is ready, responses it does not read stay with it, and one that makes no
//! progress is dropped. It knows no SIP and no packets.

mod connection;
pub(crate) mod protocol;
pub(crate) mod socket;
pub(crate) mod views;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use contract::Timestamp;
use controlplane::agent::Agent;
use controlplane::provisioning::RequestId;
use controlplane::server::{Guest, Host};
use mio::net::{UnixListener, UnixStream};
use mio::{Events, Interest, Poll, Token};
use serde::Serialize;

use connection::{Answer, Connection, Turn};
use protocol::{Request, Response};
use socket::AdminSocket;

use crate::answers::{Answers, Reply};
use crate::session_views;

/// Clients at a time. More than operators and monitors need; fewer than would slow the control thread down.
const MOST_CLIENTS: usize = 16;

/// How long a client may neither send nor read anything.
const PATIENCE: Duration = Duration::from_secs(30);

const LISTENER: Token = Token(0);
const FIRST_CLIENT: usize = 1;

/// The admin socket and its clients.
#[derive(Debug)]
pub(crate) struct Admin {
    poll: Poll,
    events: Events,
    listener: UnixListener,
    clients: BTreeMap<usize, Connection<UnixStream>>,
    next_client: usize,
    /// Whose answers are being worked out.
    awaited: BTreeMap<usize, RequestId>,
    answers: Answers,
    /// Removes the socket's file at the end.
    _socket: AdminSocket,
}

impl Admin {
    /// Listens at the socket.
    pub(crate) fn new(socket: AdminSocket, answers: Answers) -> io::Result<Self> {
        let poll = Poll::new()?;
        let listener = socket.listener().try_clone()?;
        listener.set_nonblocking(true)?;
        let mut listener = UnixListener::from_std(listener);
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            poll,
            events: Events::with_capacity(64),
            listener,
            clients: BTreeMap::new(),
            next_client: FIRST_CLIENT,
            awaited: BTreeMap::new(),
            answers,
            _socket: socket,
        })
    }

    /// Gives every client one turn, ready or not: there are few, and a turn for nothing is one system
    /// call. Whether work is left.
    fn visit(&mut self, agent: &mut Agent, host: &Host, now: Timestamp) -> io::Result<bool> {
        self.poll.poll(&mut self.events, Some(Duration::ZERO))?;
        if self.events.iter().any(|event| event.token() == LISTENER) {
            self.accept(now);
        }
        self.hand_out(agent, now);
        let mut left = false;
        for number in self.clients.keys().copied().collect::<Vec<_>>() {
            left |= self.turn(number, agent, host, now) == Turn::MayHaveMore;
        }
        Ok(left)
    }

    /// Gives the clients the answers that have been worked out.
    fn hand_out(&mut self, agent: &mut Agent, now: Timestamp) {
        let clients = &mut self.clients;
        self.awaited.retain(|number, request| {
            let Some(answer) = agent.collect(*request) else {
                return true;
            };
            if let Some(client) = clients.get_mut(number) {
                client.answer(line(&Response::Ok(session_views::outcome(&answer))), now);
            }
            false
        });
    }

    fn accept(&mut self, now: Timestamp) {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    tracing::warn!(%error, "the admin socket cannot accept a client");
                    return;
                }
            };
            let mut client = Connection::new(stream, now);
            if self.clients.len() == MOST_CLIENTS {
                client.turn_away(error_line(format!(
                    "{MOST_CLIENTS} clients are connected already: try again later"
                )));
                continue;
            }
            let interest = Interest::READABLE | Interest::WRITABLE;
            let token = Token(self.next_client);
            let registry = self.poll.registry();
            match registry.register(client.stream_mut(), token, interest) {
                Ok(()) => {
                    self.clients.insert(self.next_client, client);
                    self.next_client += 1;
                }
                Err(error) => tracing::warn!(%error, "the admin socket cannot watch a client"),
            }
        }
    }

    fn turn(&mut self, number: usize, agent: &mut Agent, host: &Host, now: Timestamp) -> Turn {
        let Some(client) = self.clients.get_mut(&number) else {
            return Turn::Over;
        };
        let (answers, awaited) = (&self.answers, &mut self.awaited);
        let turn = client.turn(now, |request| {
            match answer(answers, request, agent, host, now) {
                Ok(Reply::Now(value)) => Answer::Now(line(&Response::Ok(value))),
                Ok(Reply::Later(request)) => {
                    awaited.insert(number, request);
                    Answer::Later
                }
                Err(sentence) => Answer::Now(error_line(sentence)),
            }
        });
        let stalled = now.since(client.last_progress()) >= PATIENCE;
        if turn == Turn::Over || (turn == Turn::Waits && stalled) {
            self.clients.remove(&number);
            if let Some(request) = self.awaited.remove(&number) {
                agent.forget(request);
            }
            return Turn::Over;
        }
        turn
    }

    /// When the least patient client is dropped.
    fn deadline(&self) -> Option<Timestamp> {
        let last = self.clients.values().map(Connection::last_progress).min()?;
        Some(last + PATIENCE)
    }
}

impl Guest for Admin {
    fn doorbell(&self) -> RawFd {
        self.poll.as_raw_fd()
    }

    fn serve(&mut self, agent: &mut Agent, host: &Host, now: Timestamp) -> Option<Timestamp> {
        match self.visit(agent, host, now) {
            Ok(false) => self.deadline(),
            Ok(true) => Some(now),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Some(now),
            Err(error) => {
                tracing::error!(%error, "the admin socket fails");
                self.deadline()
            }
        }
    }
}

fn answer(
    answers: &Answers,
    request: &[u8],
    agent: &mut Agent,
    host: &Host,
    now: Timestamp,
) -> Result<Reply, String> {
    let request = serde_json::from_slice::<Request>(request)
        .map_err(|error| format!("this is no request: {error}"))?;
    answers.answer(request, agent, host, now)
}

fn error_line(sentence: String) -> Vec<u8> {
    line(&Response::<()>::Error(sentence))
}

fn line<T: Serialize>(response: &Response<T>) -> Vec<u8> {
    let mut line = serde_json::to_vec(response)
        .unwrap_or_else(|_| br#"{"error":"the answer cannot be written as JSON"}"#.to_vec());
    line.push(b'\n');
    line
}
