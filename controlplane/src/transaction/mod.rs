//! The transaction layer (RFC 3261 §17, as corrected by RFC 6026), sans-IO.
//!
//! Sits between the transport (datagrams) and the transaction user (the B2BUA). Retransmits and absorbs
//! retransmissions, answers what needs no user (100 Trying, ACK of failures, 200 for CANCEL, 481, 482,
//! 503 when full, 400), and tells the user the rest as [`Occurrence`]s.
//!
//! ```text
//!   datagram ─► incoming ─► client │ server ─► table (what to do) ─► Occurrence ─► transport, user
//!                   └─► stateless (400, 481, 482, 503)                timers: Deadlines
//! ```
//!
//! The machines are the rows of `table`, shown in `docs/sip-transactions.md`.
//!
//! Refuses to know dialogs, calls, routing, bodies. Reads no clock and touches no socket: inputs come
//! with `now`, outputs wait in [`Transactions::poll`].

mod client;
mod counters;
mod hop;
mod incoming;
mod key;
mod occurrence;
mod retry;
mod server;
mod stateless;
mod table;
#[cfg(test)]
mod table_tests;
#[cfg(test)]
mod test_bench;
#[cfg(test)]
mod tests;
mod timer;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;

use contract::Timestamp;
use rand::Rng;
use rand::rngs::StdRng;

use crate::deadlines::Deadlines;
pub use crate::path::{Opened, Path};
use crate::settings::{Settings, SipTimers};
use crate::sip::typed::Via;
use crate::sip::{Header, Message, Method, ParseErrorKind, Tokens};

use client::{Client, Onset};
use hop::Refusals;
use key::{AckKey, BranchKey, MatchKey, MergeKey, Secret};
use server::Server;
use table::Event;
use timer::Timer;

pub use counters::Counters;
pub use hop::Hop;
pub use occurrence::{Occurrence, TransactionError};
pub use retry::Sent;
pub use stateless::RETRY_AFTER;

/// One transaction, of either side. Never used twice.
type Id = u64;

/// A transaction that the other side began. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerKey(u64);

/// A transaction that we began. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientKey(u64);

/// What the layer is told at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// T1, T2 and T4.
    pub timers: SipTimers,
    /// The bound on transactions. An incoming request beyond it is answered with 503 and forgotten;
    /// our own requests, which end calls too, may fill as many again.
    pub capacity: usize,
    /// Each listener, by [`ListenerId`].
    pub listeners: Vec<Hop>,
}

impl From<&Settings> for Config {
    fn from(settings: &Settings) -> Self {
        Self {
            timers: settings.timers,
            capacity: settings.limits.transactions,
            listeners: Hop::all(&settings.listeners),
        }
    }
}

/// All transactions of the appliance.
#[derive(Debug)]
pub struct Transactions {
    config: Config,
    tokens: Tokens,
    secret: Secret,
    counters: Counters,
    last_id: Id,
    clients: BTreeMap<Id, Box<Client>>,
    servers: BTreeMap<Id, Box<Server>>,
    /// The transaction that stands for a key whose request was challenged and sent again.
    retried: BTreeMap<Id, Id>,
    /// Client transactions by branch and method of CSeq.
    by_branch: HashMap<BranchKey, Id>,
    /// Server transactions by what their retransmissions have in common.
    by_match: HashMap<MatchKey, Id>,
    /// Server transactions outside dialogs, to find the same request by another way.
    by_merge: HashMap<MergeKey, Id>,
    /// Accepted INVITEs by the ACK that they wait for.
    by_ack: HashMap<AckKey, Id>,
    /// All transactions by where they send to.
    by_path: BTreeSet<(Path, Id)>,
    deadlines: Deadlines<(Id, Timer)>,
    refusals: Refusals,
    said: VecDeque<Occurrence>,
}

impl Transactions {
    /// Without any transaction.
    pub fn new(config: Config, mut rng: StdRng) -> Self {
        Self {
            config,
            secret: Secret::new(rng.next_u64()),
            tokens: Tokens::new(rng),
            counters: Counters::default(),
            last_id: 0,
            clients: BTreeMap::new(),
            servers: BTreeMap::new(),
            retried: BTreeMap::new(),
            by_branch: HashMap::new(),
            by_match: HashMap::new(),
            by_merge: HashMap::new(),
            by_ack: HashMap::new(),
            by_path: BTreeSet::new(),
            deadlines: Deadlines::new(),
            refusals: Refusals::default(),
            said: VecDeque::new(),
        }
    }

    /// Takes other timers and bounds. Timers that run go on as they were started.
    pub fn reconfigure(&mut self, config: Config) {
        self.config = config;
    }

    /// A datagram came. What is no SIP is counted, and answered where it can be.
    pub fn receive(&mut self, now: Timestamp, path: Path, bytes: &[u8]) {
        self.receive_datagram(now, path, bytes);
    }

    /// Sends a request, neither ACK nor CANCEL, and watches over it. The layer adds the Via.
    ///
    /// # Errors
    /// [`TransactionError::Full`] or [`TransactionError::Unfit`].
    pub fn request(
        &mut self,
        now: Timestamp,
        message: Message,
        path: Path,
    ) -> Result<ClientKey, TransactionError> {
        self.start_client(now, message, path, Onset::default())
    }

    /// The name of a request that will be sent, or given up, once it is known where to.
    pub fn reserve(&mut self) -> ClientKey {
        ClientKey(self.new_id())
    }

    /// Like [`Self::request`], under a name that was reserved.
    ///
    /// # Errors
    /// [`TransactionError::Full`] or [`TransactionError::Unfit`].
    pub fn request_as(
        &mut self,
        now: Timestamp,
        key: ClientKey,
        message: Message,
        path: Path,
    ) -> Result<(), TransactionError> {
        self.start_client_as(now, key.0, message, path, Onset::default())
    }

    /// Like [`Self::request`], for a request that passes on the one of `origin`: should it come back from
    /// where that one came from, for the same user, it is answered with 482.
    ///
    /// # Errors
    /// [`TransactionError::Full`], [`TransactionError::Unfit`], or [`TransactionError::TooLate`] when
    /// `origin` is over.
    pub fn forward(
        &mut self,
        now: Timestamp,
        origin: ServerKey,
        message: Message,
        path: Path,
    ) -> Result<ClientKey, TransactionError> {
        let origin = self.servers.get(&origin.0);
        let passage = origin.ok_or(TransactionError::TooLate)?.passage;
        self.start_client(now, message, path, Onset { key: None, passage })
    }

    /// Answers a request. A 2xx to an INVITE is sent again until its ACK comes.
    ///
    /// # Errors
    /// [`TransactionError::TooLate`] after a final response, also a 2xx, or
    /// [`TransactionError::Unfit`].
    pub fn respond(
        &mut self,
        now: Timestamp,
        key: ServerKey,
        response: Message,
    ) -> Result<(), TransactionError> {
        self.respond_server(now, key.0, response)
    }

    /// Sends the ACK for a 2xx of this INVITE, and sends it again whenever the 2xx with the same To-tag
    /// comes again. The layer adds the Via, and the number of the INVITE that was answered: another than the user's
    /// when that was challenged. The ACK may leave by another path than the INVITE.
    ///
    /// # Errors
    /// [`TransactionError::TooLate`] or [`TransactionError::Unfit`].
    pub fn acknowledge(
        &mut self,
        key: ClientKey,
        ack: Message,
        path: Path,
    ) -> Result<(), TransactionError> {
        self.acknowledge_success(self.current(key), ack, path)
    }

    /// Takes an INVITE back: a CANCEL leaves as soon as a provisional response allows it (RFC 3261 §9.1),
    /// with these headers added (Reason). The INVITE still ends with a response (487 as a rule; a 2xx if
    /// they crossed) or a timeout.
    ///
    /// # Errors
    /// [`TransactionError::TooLate`] when it has its final response or is cancelled already.
    pub fn cancel(
        &mut self,
        now: Timestamp,
        key: ClientKey,
        headers: Vec<Header>,
    ) -> Result<(), TransactionError> {
        self.cancel_client(now, self.current(key), headers)
    }

    /// The transport could not send to this path (an ICMP error, no route, no connection).
    pub fn transport_failed(&mut self, now: Timestamp, path: Path) {
        for id in self.ids_on(path) {
            if !self.fall_back(now, id) {
                self.event(now, id, Event::TransportError);
            }
        }
    }

    /// The connection of this path has ended. Requests that were sent over it get no response; responses
    /// find another way (RFC 3261 §18.2.2).
    pub fn connection_lost(&mut self, now: Timestamp, path: Path) {
        for id in self.ids_on(path) {
            if self.clients.contains_key(&id) && !self.fall_back(now, id) {
                self.client_event(now, id, Event::TransportError, None);
            }
        }
    }

    fn ids_on(&self, path: Path) -> Vec<Id> {
        let all = (path, Id::MIN)..=(path, Id::MAX);
        self.by_path.range(all).map(|(_, id)| *id).collect()
    }

    /// Whether an INVITE with this top Via, as its client sent it, has a transaction. A client of RFC 2543
    /// names nothing by its Via: of its INVITEs this says that they have one.
    pub(crate) fn has_invite(&self, via: &Via) -> bool {
        MatchKey::of_branch(via, &Method::Invite).is_none_or(|key| self.by_match.contains_key(&key))
    }

    /// How many transactions there are, of both sides.
    pub(crate) fn held(&self) -> usize {
        self.clients.len() + self.servers.len()
    }

    /// When [`Self::on_time`] must be called at the latest.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.deadlines.next()
    }

    /// Does what is due.
    pub fn on_time(&mut self, now: Timestamp) {
        while let Some((id, timer)) = self.deadlines.expire(now) {
            self.event(now, id, Event::Timer(timer));
        }
    }

    /// The next thing that the layer has to say.
    pub fn poll(&mut self) -> Option<Occurrence> {
        loop {
            match self.said.pop_front()? {
                // A reliable transport forgets a challenged request at once: its successor lives.
                Occurrence::ClientEnded(key) if self.lives(key) => {}
                occurrence => return Some(occurrence),
            }
        }
    }

    /// What the layer has done, and holds.
    pub fn counters(&self) -> Counters {
        Counters {
            clients: self.clients.len(),
            servers: self.servers.len(),
            ..self.counters
        }
    }

    fn event(&mut self, now: Timestamp, id: Id, event: Event) {
        if self.clients.contains_key(&id) {
            self.client_event(now, id, event, None);
        } else {
            self.server_event(now, id, event, None);
        }
    }

    fn new_id(&mut self) -> Id {
        self.last_id += 1;
        self.last_id
    }

    fn forget_timers(&mut self, id: Id) {
        let all = Timer::ALL.first().zip(Timer::ALL.last());
        if let Some((first, last)) = all {
            self.deadlines.clear_between((id, *first), (id, *last));
        }
    }

    fn say(&mut self, occurrence: Occurrence) {
        self.said.push_back(occurrence);
    }

    fn transmit_bytes(&mut self, path: Path, bytes: Vec<u8>) {
        self.transmit_or(path, None, bytes);
    }

    /// Sends a response, which has another way when the connection is gone.
    fn transmit_or(&mut self, path: Path, otherwise: Option<SocketAddr>, bytes: Vec<u8>) {
        self.say(Occurrence::Transmit {
            path,
            otherwise,
            bytes,
        });
    }

    fn count_parse_error(&mut self, what: ParseErrorKind) {
        if let Some(count) = self.counters.parse_errors.get_mut(what.index()) {
            *count += 1;
        }
    }
}
