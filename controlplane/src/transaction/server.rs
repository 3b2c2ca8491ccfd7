//! Server transactions: requests that we answer.

use std::net::SocketAddr;
use std::time::Duration;

use contract::Timestamp;

use super::key::{AckKey, MatchKey, MergeKey};
use super::table::{self, Action, Event, Machine, State};
use super::timer::Timer;
use super::{Id, Occurrence, Path, ServerKey, TransactionError, Transactions};
use crate::sip::{Message, Method, StatusCode};

/// A server transaction.
#[derive(Debug)]
pub(super) struct Server {
    machine: Machine,
    pub(super) state: State,
    /// Where responses go.
    pub(super) path: Path,
    /// Where they go when the connection to there is gone.
    otherwise: Option<SocketAddr>,
    match_key: MatchKey,
    merge_key: Option<MergeKey>,
    /// Of our 2xx.
    ack_key: Option<AckKey>,
    /// The last response.
    response: Option<Vec<u8>>,
    /// The To tag of the last response that had one.
    pub(super) to_tag: Option<String>,
    /// How long the timer that repeats the response ran last.
    interval: Duration,
    /// The ACK of the 2xx has come.
    acknowledged: bool,
    /// The other side has taken it back.
    pub(super) cancelled: bool,
    /// See [`super::key::Secret::passage`].
    pub(super) passage: u32,
    /// A CANCEL: of interest to nobody but the layer.
    silent: bool,
}

/// A request on its way into a server transaction.
pub(super) struct Arrival {
    pub(super) request: Message,
    /// How it came.
    pub(super) path: Path,
    /// Where responses to it go.
    pub(super) back: Path,
    /// Where they go when the connection to there is gone.
    pub(super) otherwise: Option<SocketAddr>,
    pub(super) match_key: MatchKey,
    pub(super) merge_key: Option<MergeKey>,
    pub(super) passage: u32,
}

impl Transactions {
    /// Starts the machine.
    pub(super) fn start_server(&mut self, now: Timestamp, arrival: Arrival) -> Id {
        let id = self.new_id();
        let method = arrival.request.method();
        let server = Server {
            machine: match method {
                Some(Method::Invite) => Machine::InviteServer,
                _ => Machine::Server,
            },
            state: State::Start,
            path: arrival.back,
            otherwise: arrival.otherwise,
            match_key: arrival.match_key,
            merge_key: arrival.merge_key,
            ack_key: None,
            response: None,
            to_tag: None,
            interval: Duration::ZERO,
            acknowledged: false,
            cancelled: false,
            passage: arrival.passage,
            silent: method == Some(&Method::Cancel),
        };
        self.by_match.insert(arrival.match_key, id);
        if let Some(merge_key) = arrival.merge_key {
            self.by_merge.insert(merge_key, id);
        }
        self.by_path.insert((arrival.back, id));
        self.servers.insert(id, Box::new(server));
        let received = Some((arrival.request, arrival.path));
        self.server_event(now, id, Event::Request, received);
        id
    }

    /// The user's response, or the layer's own to a CANCEL.
    pub(super) fn respond_server(
        &mut self,
        now: Timestamp,
        id: Id,
        response: Message,
    ) -> Result<(), TransactionError> {
        let code = response.code().ok_or(TransactionError::Unfit)?;
        let event = if code.is_provisional() {
            Event::Provisional
        } else if code.is_success() {
            Event::Success
        } else {
            Event::Failure
        };
        let server = self.servers.get_mut(&id).ok_or(TransactionError::TooLate)?;
        if table::row(server.machine, server.state, event).is_none() {
            return Err(TransactionError::TooLate);
        }
        response.check().map_err(|_| TransactionError::Unfit)?;
        let to_tag = response
            .to()
            .ok()
            .and_then(|to| to.tag().map(str::to_owned));
        server.to_tag = to_tag.or_else(|| server.to_tag.take());
        if server.machine == Machine::InviteServer && event == Event::Success {
            let ack_key = AckKey::of(&response).map_err(|_| TransactionError::Unfit)?;
            server.ack_key = Some(ack_key);
            self.by_ack.insert(ack_key, id);
        }
        let path = server.path;
        self.server_event(now, id, event, Some((response, path)));
        Ok(())
    }

    /// Looks the row up and does what it says; false when there is none.
    pub(super) fn server_event(
        &mut self,
        now: Timestamp,
        id: Id,
        event: Event,
        mut message: Option<(Message, Path)>,
    ) -> bool {
        let Some(server) = self.servers.get_mut(&id) else {
            return false;
        };
        let Some(row) = table::row(server.machine, server.state, event) else {
            return false;
        };
        server.state = row.next;
        for action in row.actions {
            self.server_action(now, id, *action, &mut message);
        }
        if row.next == State::Terminated {
            self.end_server(id);
        }
        true
    }

    fn server_action(
        &mut self,
        now: Timestamp,
        id: Id,
        action: Action,
        message: &mut Option<(Message, Path)>,
    ) {
        let Some(server) = self.servers.get_mut(&id) else {
            return;
        };
        let (path, otherwise) = (server.path, server.otherwise);
        match action {
            Action::SendTrying => {
                let trying = message
                    .as_ref()
                    .map(|(request, _)| request.response(StatusCode::TRYING, None).to_bytes());
                server.response.clone_from(&trying);
                if let Some(bytes) = trying {
                    self.transmit_or(path, otherwise, bytes);
                }
            }
            Action::SendResponse => {
                let bytes = message.as_ref().map(|(response, _)| response.to_bytes());
                server.response.clone_from(&bytes);
                if let Some(bytes) = bytes {
                    self.transmit_or(path, otherwise, bytes);
                }
            }
            Action::Repeat => {
                if let Some(bytes) = server.response.clone() {
                    self.counters.retransmitted += 1;
                    self.transmit_or(path, otherwise, bytes);
                }
            }
            Action::Tell if !server.silent => {
                if let Some((message, path)) = message.take() {
                    let key = ServerKey(id);
                    self.say(Occurrence::Request { key, message, path });
                }
            }
            Action::TellAck => self.tell_ack(id, message),
            Action::TellUnacknowledged if !server.acknowledged => {
                self.say(Occurrence::Unacknowledged(ServerKey(id)));
            }
            Action::TellTransportError => {
                self.counters.transport_errors += 1;
                if !self.servers.get(&id).is_some_and(|server| server.silent) {
                    self.say(Occurrence::ServerTransportError(ServerKey(id)));
                }
            }
            Action::Start(timer) => {
                let first = timer.first(&self.config.timers, self.is_reliable(path));
                self.run_server_timer(now, id, timer, first);
            }
            Action::Longer(timer) => {
                let next = timer.next(&self.config.timers, server.interval);
                self.run_server_timer(now, id, timer, Some(next));
            }
            Action::Stop(timer) => {
                self.deadlines.clear((id, timer));
            }
            // Silent, acknowledged, or an action of the client machines.
            _ => {}
        }
    }

    fn run_server_timer(&mut self, now: Timestamp, id: Id, timer: Timer, after: Option<Duration>) {
        let Some(after) = after else {
            return;
        };
        if matches!(timer, Timer::G | Timer::Success)
            && let Some(server) = self.servers.get_mut(&id)
        {
            server.interval = after;
        }
        // Started last in its row, so that the machine may end here.
        if after.is_zero() {
            self.server_event(now, id, Event::Timer(timer), None);
            return;
        }
        self.deadlines.set((id, timer), now + after);
    }

    fn tell_ack(&mut self, id: Id, message: &mut Option<(Message, Path)>) {
        let Some(server) = self.servers.get_mut(&id) else {
            return;
        };
        if std::mem::replace(&mut server.acknowledged, true) {
            self.counters.absorbed += 1;
            return;
        }
        if let Some((message, path)) = message.take() {
            let invite = Some(ServerKey(id));
            self.say(Occurrence::Ack {
                invite,
                message,
                path,
            });
        }
    }

    fn end_server(&mut self, id: Id) {
        let Some(server) = self.servers.remove(&id) else {
            return;
        };
        self.forget_timers(id);
        self.by_match.remove(&server.match_key);
        if let Some(merge_key) = server.merge_key {
            self.by_merge.remove(&merge_key);
        }
        if let Some(ack_key) = server.ack_key {
            self.by_ack.remove(&ack_key);
        }
        self.by_path.remove(&(server.path, id));
        if !server.silent {
            self.say(Occurrence::ServerEnded(ServerKey(id)));
        }
    }
}
