//! Client transactions: requests that we send.

use std::time::Duration;

use contract::Timestamp;

use super::key::BranchKey;
use super::table::{self, Action, Event, Machine, State};
use super::timer::Timer;
use super::{ClientKey, Id, Occurrence, Path, TransactionError, Transactions, key};
use crate::sip::{Header, HeaderName, Message, Method};

/// A client transaction.
#[derive(Debug)]
pub(super) struct Client {
    /// What the user knows it by.
    key: ClientKey,
    machine: Machine,
    pub(super) state: State,
    pub(super) path: Path,
    /// The path that is left when this one fails: this one was chosen only because the request is large.
    pub(super) fallback: Option<Path>,
    /// With our Via.
    pub(super) request: Message,
    /// What its branch remembers.
    pub(super) passage: u32,
    pub(super) branch: String,
    pub(super) method: Method,
    /// How long the timer that repeats the request ran last.
    interval: Duration,
    /// The ACK of the failure.
    ack: Option<Vec<u8>>,
    /// The ACKs of the 2xx, by To tag.
    acknowledged: Vec<(String, Path, Vec<u8>)>,
    cancel: Cancellation,
    /// A CANCEL, or a request that has gone out again: of interest to nobody but the layer.
    pub(super) silent: bool,
}

/// How a client transaction begins.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Onset {
    /// What the user knows it by, if it does already.
    pub(super) key: Option<ClientKey>,
    /// What the branch remembers.
    pub(super) passage: u32,
}

/// How far taking an INVITE back has come.
#[derive(Debug, PartialEq, Eq)]
enum Cancellation {
    None,
    /// Asked for; waits for a provisional response, to go with these headers.
    Wanted(Vec<Header>),
    Sent,
}

impl Client {
    /// The request has its answer and is not sent again; the transaction lives on for half a minute. It keeps what the
    /// ACK of another 2xx repeats.
    fn forget_request(&mut self) {
        if self.request.headers.contains(&HeaderName::Via) {
            self.request.headers.retain(|field| {
                let name = field.name();
                let kept = [
                    HeaderName::CSeq,
                    HeaderName::Authorization,
                    HeaderName::ProxyAuthorization,
                ];
                kept.contains(name)
            });
            self.request.body = Vec::new();
        }
    }
}

/// What comes with an event.
type Received = Option<(Message, Path)>;

impl Transactions {
    /// Adds our Via, and starts the machine.
    pub(super) fn start_client(
        &mut self,
        now: Timestamp,
        request: Message,
        path: Path,
        onset: Onset,
    ) -> Result<ClientKey, TransactionError> {
        let id = self.new_id();
        self.start_client_as(now, id, request, path, onset)?;
        Ok(ClientKey(id))
    }

    /// The same under a name that was given out before.
    pub(super) fn start_client_as(
        &mut self,
        now: Timestamp,
        id: Id,
        mut request: Message,
        path: Path,
        onset: Onset,
    ) -> Result<(), TransactionError> {
        if self.clients.len() + self.servers.len() >= self.config.capacity.saturating_mul(2) {
            return Err(TransactionError::Full);
        }
        let large = self.path_for_large(now, path, request.size());
        let fallback = large.map(|_| path);
        let path = large.unwrap_or(path);
        let branch = self.add_via(&mut request, path, onset.passage)?;
        let Some(method) = request.method().cloned() else {
            return Err(TransactionError::Unfit);
        };
        if matches!(method, Method::Ack | Method::Cancel) || request.check().is_err() {
            return Err(TransactionError::Unfit);
        }
        let client = Client {
            key: onset.key.unwrap_or(ClientKey(id)),
            passage: onset.passage,
            machine: match method {
                Method::Invite => Machine::InviteClient,
                _ => Machine::Client,
            },
            state: State::Start,
            path,
            fallback,
            request,
            branch,
            method,
            interval: Duration::ZERO,
            ack: None,
            acknowledged: Vec::new(),
            cancel: Cancellation::None,
            silent: false,
        };
        self.insert_client(id, client);
        self.client_event(now, id, Event::Request, None);
        Ok(())
    }

    /// Puts our Via on top; its branch.
    pub(super) fn add_via(
        &mut self,
        request: &mut Message,
        path: Path,
        passage: u32,
    ) -> Result<String, TransactionError> {
        let branch = self.secret.branch(passage, &mut self.tokens);
        let via = self.our_via(path, &branch).ok_or(TransactionError::Unfit)?;
        request.headers.push_front(HeaderName::Via, via.to_string());
        Ok(branch)
    }

    /// Sends a request by datagram after all, if a stream was chosen only for its size (RFC 3261 §18.1.1);
    /// whether it was. The branch stays: should the request have arrived, it is absorbed there.
    pub(super) fn fall_back(&mut self, now: Timestamp, id: Id) -> bool {
        let Some(client) = self.clients.get_mut(&id) else {
            return false;
        };
        if table::row(client.machine, client.state, Event::FallBack).is_none() {
            return false;
        }
        let Some(path) = client.fallback.take() else {
            return false;
        };
        let refused = std::mem::replace(&mut client.path, path);
        let (branch, mut request) = (client.branch.clone(), client.request.clone());
        self.redirect(&mut request, path, &branch);
        if let Some(client) = self.clients.get_mut(&id) {
            client.request = request;
        }
        self.by_path.remove(&(refused, id));
        self.by_path.insert((path, id));
        self.refusals.note(now, refused);
        self.counters.fallen_back += 1;
        self.client_event(now, id, Event::FallBack, None)
    }

    fn insert_client(&mut self, id: Id, client: Client) {
        self.by_branch
            .insert(BranchKey::of(&client.branch, &client.method), id);
        self.by_path.insert((client.path, id));
        self.clients.insert(id, Box::new(client));
    }

    /// Remembers the ACK of a 2xx, and sends it.
    pub(super) fn acknowledge_success(
        &mut self,
        id: Id,
        mut ack: Message,
        path: Path,
    ) -> Result<(), TransactionError> {
        let client = self.clients.get(&id);
        let Some(client) = client.filter(|client| client.state == State::Accepted) else {
            return Err(TransactionError::TooLate);
        };
        if ack.method() != Some(&Method::Ack) {
            return Err(TransactionError::Unfit);
        }
        // The same credentials as the INVITE's (RFC 3261 §13.2.2.4): an ACK cannot be challenged.
        for name in [HeaderName::Authorization, HeaderName::ProxyAuthorization] {
            let fields = client.request.headers.all(&name);
            fields.for_each(|field| ack.headers.append(field.clone()));
        }
        // An ACK has nothing to fall back by: it takes the stream that the INVITE has found.
        let found = client.fallback.is_some() && client.path.remote == path.remote;
        let path = match found {
            true => client.path,
            false => path,
        };
        if let Ok(answered) = client.request.cseq() {
            let number = answered.number;
            ack.headers.set(HeaderName::CSeq, format!("{number} ACK"));
        }
        self.add_via(&mut ack, path, 0)?;
        ack.check().map_err(|_| TransactionError::Unfit)?;
        let to_tag = ack
            .to()
            .map(key::tag)
            .map_err(|_| TransactionError::Unfit)?;
        let bytes = ack.to_bytes();
        // A copy is as large as it must be.
        let kept = bytes.clone();
        self.transmit_bytes(path, bytes);
        if let Some(client) = self.clients.get_mut(&id) {
            client.acknowledged.retain(|(known, ..)| *known != to_tag);
            client.acknowledged.reserve_exact(1);
            client.acknowledged.push((to_tag, path, kept));
        }
        Ok(())
    }

    /// Notes that the user wants the INVITE back, and sends the CANCEL if it may leave.
    pub(super) fn cancel_client(
        &mut self,
        now: Timestamp,
        id: Id,
        headers: Vec<Header>,
    ) -> Result<(), TransactionError> {
        let client = self.clients.get_mut(&id).ok_or(TransactionError::TooLate)?;
        if table::row(client.machine, client.state, Event::Cancel).is_none()
            || client.cancel != Cancellation::None
        {
            return Err(TransactionError::TooLate);
        }
        client.cancel = Cancellation::Wanted(headers);
        self.client_event(now, id, Event::Cancel, None);
        Ok(())
    }

    /// A response came.
    pub(super) fn receive_response(&mut self, now: Timestamp, message: Message, path: Path) {
        let found = self.client_of(&message);
        let (Some(id), Some(code)) = (found, message.code()) else {
            self.counters.stray_responses += 1;
            return;
        };
        let event = if code.is_provisional() {
            Event::Provisional
        } else if code.is_success() {
            Event::Success
        } else {
            Event::Failure
        };
        if !self.client_event(now, id, event, Some((message, path))) {
            self.counters.absorbed += 1;
        }
    }

    /// RFC 3261 §17.1.3. A response with another Via below ours is not for us (§8.1.3.3).
    fn client_of(&self, response: &Message) -> Option<Id> {
        if response.headers.values(&HeaderName::Via).len() != 1 {
            return None;
        }
        let via = response.via().ok()?;
        let key = BranchKey::of(via.branch()?, &response.cseq().ok()?.method);
        self.by_branch.get(&key).copied()
    }

    /// Looks the row up and does what it says; false when there is none.
    pub(super) fn client_event(
        &mut self,
        now: Timestamp,
        id: Id,
        event: Event,
        message: Received,
    ) -> bool {
        let Some(client) = self.clients.get_mut(&id) else {
            return false;
        };
        let Some(row) = table::row(client.machine, client.state, event) else {
            return false;
        };
        client.state = row.next;
        if event == Event::Failure && client.ack.is_none() {
            client.ack = message
                .as_ref()
                .map(|(response, _)| client.request.ack_for_failure(response).to_bytes());
        }
        let mut message = message;
        for action in row.actions {
            self.client_action(now, id, *action, &mut message);
        }
        match row.next {
            State::Terminated => self.end_client(id),
            State::Accepted | State::Completed => {
                if let Some(client) = self.clients.get_mut(&id) {
                    client.forget_request();
                }
            }
            _ => {}
        }
        true
    }

    fn client_action(&mut self, now: Timestamp, id: Id, action: Action, message: &mut Received) {
        let Some(client) = self.clients.get(&id) else {
            return;
        };
        let (key, path, silent) = (client.key, client.path, client.silent);
        match action {
            Action::SendRequest => {
                let bytes = client.request.to_bytes();
                let again = !client.interval.is_zero();
                self.counters.retransmitted += u64::from(again);
                self.transmit_bytes(path, bytes);
            }
            Action::SendAck => {
                if let Some(bytes) = client.ack.clone() {
                    self.transmit_bytes(path, bytes);
                }
            }
            Action::SendCancel => self.send_cancel(now, id),
            Action::Tell if !silent => self.tell_response(id, message),
            Action::TellSuccess => self.tell_success(id, message),
            Action::TellTimeout if !silent => {
                self.counters.timeouts += 1;
                self.say(Occurrence::Timeout(key));
            }
            Action::TellTransportError if !silent => {
                self.counters.transport_errors += 1;
                self.say(Occurrence::TransportError(key));
            }
            Action::Start(timer) => {
                let first = timer.first(&self.config.timers, self.is_reliable(path));
                self.run_client_timer(now, id, timer, first);
            }
            Action::Longer(timer) => {
                let next = timer.next(&self.config.timers, client.interval);
                self.run_client_timer(now, id, timer, Some(next));
            }
            Action::Slow(timer) => {
                let slow = self.config.timers.t2;
                self.run_client_timer(now, id, timer, Some(slow));
            }
            Action::Stop(timer) => {
                self.deadlines.clear((id, timer));
            }
            // Silent, or an action of the server machines.
            _ => {}
        }
    }

    fn run_client_timer(&mut self, now: Timestamp, id: Id, timer: Timer, after: Option<Duration>) {
        let Some(after) = after else {
            return;
        };
        if matches!(timer, Timer::A | Timer::E)
            && let Some(client) = self.clients.get_mut(&id)
        {
            client.interval = after;
        }
        // Started last in its row, so that the machine may end here.
        if after.is_zero() {
            self.client_event(now, id, Event::Timer(timer), None);
            return;
        }
        self.deadlines.set((id, timer), now + after);
    }

    fn tell_response(&mut self, id: Id, message: &mut Received) {
        let Some((message, path)) = message.take() else {
            return;
        };
        let Some(client) = self.clients.get(&id) else {
            return;
        };
        let key = client.key;
        let challenged = message.code().is_some_and(|code| code.is_challenge());
        // Nobody wants the answer to an INVITE that was taken back.
        let wanted = client.cancel == Cancellation::None;
        match self.sent(id).filter(|_| challenged && wanted) {
            Some(sent) => self.say(Occurrence::Challenged {
                key,
                message,
                path,
                sent: Box::new(sent),
            }),
            None => self.say(Occurrence::Response { key, message, path }),
        }
    }

    /// The user acknowledges each branch's 2xx once; the layer acknowledges its repetitions.
    fn tell_success(&mut self, id: Id, message: &mut Received) {
        let to_tag = message
            .as_ref()
            .and_then(|(response, _)| response.to().ok())
            .map(key::tag);
        let repeated = self.clients.get(&id).and_then(|client| {
            let mut acks = client.acknowledged.iter();
            let (_, path, ack) = acks.find(|(known, ..)| Some(known) == to_tag.as_ref())?;
            Some((*path, ack.clone()))
        });
        match repeated {
            Some((path, bytes)) => {
                self.counters.absorbed += 1;
                self.counters.retransmitted += 1;
                self.transmit_bytes(path, bytes);
            }
            None => self.tell_response(id, message),
        }
    }

    /// Sends the CANCEL that is wanted, as a transaction of its own with the INVITE's branch
    /// (RFC 3261 §9.1).
    fn send_cancel(&mut self, now: Timestamp, id: Id) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        let Cancellation::Wanted(headers) = &mut client.cancel else {
            return;
        };
        let headers = std::mem::take(headers);
        client.cancel = Cancellation::Sent;
        let mut request = client.request.cancel();
        for header in headers {
            request.headers.append(header);
        }
        let (key, path, branch) = (client.key, client.path, client.branch.clone());
        let cancel = self.new_id();
        let client = Client {
            key,
            passage: 0,
            machine: Machine::Client,
            state: State::Start,
            path,
            fallback: None,
            request,
            branch,
            method: Method::Cancel,
            interval: Duration::ZERO,
            ack: None,
            acknowledged: Vec::new(),
            cancel: Cancellation::None,
            silent: true,
        };
        self.insert_client(cancel, client);
        self.client_event(now, cancel, Event::Request, None);
        let reliable = self.is_reliable(path);
        let patience = Timer::Cancelled.first(&self.config.timers, reliable);
        self.run_client_timer(now, id, Timer::Cancelled, patience);
    }

    fn end_client(&mut self, id: Id) {
        let Some(client) = self.clients.remove(&id) else {
            return;
        };
        self.forget_timers(id);
        self.by_branch
            .remove(&BranchKey::of(&client.branch, &client.method));
        self.by_path.remove(&(client.path, id));
        if !client.silent {
            self.retried.remove(&client.key.0);
            self.say(Occurrence::ClientEnded(client.key));
        }
    }
}
