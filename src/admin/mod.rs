//! The admin socket: how the CLI and scripts talk to a running tandem.
//!
//! It lives in the control thread as a guest of the event loop, behind an epoll instance of its own, and
//! answers from the agent and from the dataplane's counters. Nothing here ever waits for a client: each gets
//! a turn of one request when it is ready, responses it does not read stay with it, and one that makes no
//! progress is dropped. It knows no SIP and no packets.

mod connection;
pub(crate) mod doorbell;
pub(crate) mod protocol;
pub(crate) mod socket;
pub(crate) mod views;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use contract::Timestamp;
use controlplane::agent::Agent;
use controlplane::records::CallRecord;
use controlplane::server::{Guest, Host};
use controlplane::story::Mirrored;
use mio::net::{UnixListener, UnixStream};
use mio::{Events, Interest, Poll, Token};
use serde::Serialize;

use connection::{Answer, Connection, Turn};
use doorbell::Doorbell;
use protocol::{Request, Response};
use socket::AdminSocket;

use crate::answers::{Answers, Awaited, Reply};
use crate::reload::Reloader;

/// Clients at a time. More than operators and monitors need; fewer than would slow the control thread down.
const MOST_CLIENTS: usize = 16;

/// How long a client may neither send nor read anything.
const PATIENCE: Duration = Duration::from_secs(30);

const LISTENER: Token = Token(0);
const RELOAD: Token = Token(1);
const FIRST_CLIENT: usize = 2;

/// How soon to look again for a thread that has said that it is about to end.
const MOMENT: Duration = Duration::from_millis(1);

/// The admin socket and its clients.
#[derive(Debug)]
pub(crate) struct Admin {
    poll: Poll,
    events: Events,
    listener: UnixListener,
    clients: BTreeMap<usize, Connection<UnixStream>>,
    next_client: usize,
    /// Whose answers are being worked out.
    awaited: BTreeMap<usize, Awaited>,
    answers: Answers,
    reloader: Reloader,
    doorbell: Doorbell,
    /// A file is being read for whoever asked; the event loop has been woken for it and finds it unfinished.
    reload_is_due: bool,
    /// SIGHUP has come.
    hung_up: bool,
    /// Removes the socket's file at the end.
    _socket: AdminSocket,
}

impl Admin {
    /// Listens at the socket.
    pub(crate) fn new(
        socket: AdminSocket,
        answers: Answers,
        reloader: Reloader,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let doorbell = Doorbell::new(poll.registry(), RELOAD)?;
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
            reloader,
            doorbell,
            reload_is_due: false,
            hung_up: false,
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
        self.reload(agent, now);
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
            let Some(answer) = request.collect(agent) else {
                return true;
            };
            if let Some(client) = clients.get_mut(number) {
                let answer = match answer {
                    Ok(answer) => line(&Response::Ok(answer)),
                    Err(sentence) => error_line(sentence),
                };
                client.answer(answer, now);
            }
            false
        });
    }

    /// Takes over the configuration that has been read, and begins to read one that SIGHUP asks for.
    fn reload(&mut self, agent: &mut Agent, now: Timestamp) {
        self.reload_is_due |= self.events.iter().any(|event| event.token() == RELOAD);
        if self.reload_is_due
            && let Some((client, outcome)) = self.reloader.finish(agent, &self.doorbell, now)
        {
            self.reload_is_due = false;
            let client = client.and_then(|number| self.clients.get_mut(&number));
            if let Some(client) = client {
                client.answer(line(&Response::Ok(outcome)), now);
            }
        }
        if std::mem::take(&mut self.hung_up)
            && let Err(sentence) = self.reloader.begin(agent, &self.doorbell, None, false)
        {
            tracing::info!("SIGHUP: {sentence}");
        }
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
        let (reloader, doorbell) = (&mut self.reloader, &self.doorbell);
        let turn = client.turn(now, |request| {
            match answer(answers, request, agent, host, now) {
                Ok(Reply::Now(value)) => Answer::Now(line(&Response::Ok(value))),
                Ok(Reply::Later(request)) => {
                    awaited.insert(number, request);
                    Answer::Later
                }
                Ok(Reply::Reload { dry_run }) => {
                    match reloader.begin(agent, doorbell, Some(number), dry_run) {
                        Ok(()) => Answer::Later,
                        Err(sentence) => Answer::Now(error_line(sentence)),
                    }
                }
                Err(sentence) => Answer::Now(error_line(sentence)),
            }
        });
        let stalled = now.since(client.last_progress()) >= PATIENCE;
        if turn == Turn::Over || (turn == Turn::Waits && stalled) {
            self.clients.remove(&number);
            if let Some(request) = self.awaited.remove(&number) {
                request.forget(agent);
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
            Ok(false) if self.reload_is_due => Some(now + MOMENT),
            Ok(false) => self.deadline(),
            Ok(true) => Some(now),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Some(now),
            Err(error) => {
                tracing::error!(%error, "the admin socket fails");
                self.deadline()
            }
        }
    }

    fn call_ended(&mut self, record: Box<CallRecord>, now: Timestamp) {
        self.answers.witness().call_ended(record, now);
    }

    fn mirror(&mut self, message: Mirrored, now: Timestamp) {
        self.answers.witness().mirror(&message, now);
    }

    fn hang_up(&mut self) {
        self.answers.witness().reopen();
        self.hung_up = true;
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
