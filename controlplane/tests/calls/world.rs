//! An agent between carriers, with workers that keep the contract, on virtual time.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use contract::{
    Command, DeviceId, DscpMarking, Event, FlowEntry, FlowKey, LatchPolicy, Link, MacAddress,
    Refusal, ServiceOrder, Timestamp, VlanTags, WorkerId,
};
use controlplane::agent::{Agent, Input, Output};
use controlplane::b2bua::{CallState, CallSummary};
use controlplane::ng::ControlPath;
use controlplane::path::{Opened, Path};
use controlplane::records::{CallRecord, Measured};
use controlplane::settings::{
    Check, DialogPolicy, Limits, Listener, ListenerId, MediaGroup, MediaGroupId, Route, Settings,
    Trunk, TrunkId,
};
use controlplane::sip::Message;
use controlplane::story::Mirrored;
use rand::SeedableRng;
use rand::rngs::StdRng;
use regex::Regex;

use crate::name_server::NameServer;

/// Our listeners: towards the callers, towards the callees, and the latter over IPv6.
pub(crate) const INSIDE: &str = "10.1.0.1:5060";
pub(crate) const OUTSIDE: &str = "10.2.0.1:5060";
pub(crate) const OUTSIDE_SIX: &str = "[fd02::1]:5060";
/// The peers: who calls, and who is called, in the order of trying.
pub(crate) const CALLER: &str = "10.1.0.2:5060";
pub(crate) const CALLEE: &str = "10.2.0.2:5060";
pub(crate) const SECOND: &str = "10.2.0.3:5060";
pub(crate) const OTHER_TRUNK: &str = "[fd02::2]:5060";

/// 64 T1: how long transactions wait, by the default timers.
pub(crate) const TRANSACTION: Duration = Duration::from_secs(32);
pub(crate) const NO_ANSWER: Duration = Duration::from_secs(180);
pub(crate) const MEDIA_TIMEOUT: Duration = Duration::from_secs(60);
const PORT_REST: Duration = Duration::from_secs(30);
/// Longer than everything that may be left of a call: transactions, resting ports.
pub(crate) const REST: Duration = Duration::from_secs(120);

pub(crate) fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// How the workers treat commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Workers {
    /// As the contract says, at once.
    Prompt,
    /// They look into their mailboxes only on [`World::release`].
    Slow,
    /// They never answer.
    Deaf,
    /// They refuse to install anything.
    Refusing(Refusal),
    /// Their mailboxes are full.
    Full,
}

pub(crate) struct World {
    pub(crate) agent: Agent,
    pub(crate) now: Timestamp,
    pub(crate) workers: Workers,
    pub(crate) drained: bool,
    /// What each address was sent and has not looked at.
    inboxes: HashMap<SocketAddr, VecDeque<Message>>,
    /// What each worker forwards.
    pub(crate) flows: Vec<BTreeMap<FlowKey, FlowEntry>>,
    /// Commands that slow workers have not looked at.
    mailboxes: Vec<(WorkerId, Command)>,
    /// Addresses that nothing reaches: sending there fails.
    pub(crate) unreachable: Vec<SocketAddr>,
    /// What the workers have counted at a port, all together.
    pub(crate) counted: HashMap<FlowKey, Measured>,
    /// What was left of calls.
    pub(crate) records: Vec<CallRecord>,
    /// Connections that serve for another address, too: at which listener, from where, and for what.
    pub(crate) aliases: Vec<(ListenerId, SocketAddr, SocketAddr)>,
    /// Who has opened the connections that messages come by.
    pub(crate) opened: Opened,
    /// What a collector was sent.
    pub(crate) mirrored: Vec<Mirrored>,
    /// What the control protocol replied.
    pub(crate) replies: Vec<(ControlPath, Vec<u8>)>,
    /// What the media services were told to do.
    pub(crate) orders: Vec<ServiceOrder>,
    /// The name servers.
    pub(crate) dns: NameServer,
    /// Instead of arriving at once, what phones send is put here, for a network to carry.
    pub(crate) wire: Option<Vec<Datagram>>,
}

/// From, to, and what.
pub(crate) type Datagram = (SocketAddr, SocketAddr, Vec<u8>);

/// Callers call any user at the callees: two peers of one trunk, then a trunk over IPv6. Users that
/// begin with 9 lead only to the first peer, and 404 to nobody.
pub(crate) fn settings() -> Settings {
    let listener = |name: &str, address: &str| Listener::new(name, addr(address));
    let group = |name: &str, device: u16, addresses: &[&str]| MediaGroup {
        name: name.into(),
        device: DeviceId(device),
        addresses: addresses
            .iter()
            .map(|text| text.parse().expect("an address"))
            .collect(),
        advertised: Vec::new(),
        ports: (20_000, 21_999),
        latch: LatchPolicy::Learn {
            window: Duration::from_secs(10),
        },
        dscp: DscpMarking::Set(46),
    };
    let trunk = |name: &str, peers: &[&str], listeners: &[u16], media: u16| {
        let peers = peers.iter().map(|peer| addr(peer));
        let listeners = listeners.iter().copied().map(ListenerId);
        Trunk {
            // No longer than what is left of a call.
            check: Check {
                longest_retry_after: Duration::from_secs(60),
                ..Check::default()
            },
            ..Trunk::new(name, peers, listeners, MediaGroupId(media))
        }
    };
    let route = |from: Option<u16>, user: Option<&str>, to: &[u16]| {
        let user = user.map(|pattern| Regex::new(pattern).expect("a pattern"));
        Route::new(from.map(TrunkId), user, to.iter().copied().map(TrunkId))
    };
    Settings {
        listeners: vec![
            listener("inside", INSIDE),
            listener("outside", OUTSIDE),
            listener("outside-six", OUTSIDE_SIX),
        ],
        media_groups: vec![
            group("inside", 0, &["10.1.0.1"]),
            group("outside", 1, &["10.2.0.1", "fd02::1"]),
        ],
        trunks: vec![
            trunk("callers", &["10.1.0.2:0"], &[0], 0),
            trunk("callees", &[CALLEE, SECOND], &[1], 1),
            trunk("others", &[OTHER_TRUNK], &[2], 1),
            trunk("one", &[CALLEE], &[1], 1),
        ],
        routes: vec![
            route(Some(0), Some("404"), &[]),
            route(Some(0), Some("9.*"), &[3]),
            route(Some(0), None, &[1, 2]),
            route(Some(1), Some("back"), &[0]),
        ],
        limits: Limits {
            calls: 2_000,
            transactions: 20_000,
            streams: 4,
            forks: 4,
        },
        media_timeout: Some(MEDIA_TIMEOUT),
        port_rest: PORT_REST,
        no_answer: NO_ANSWER,
        ..Settings::default()
    }
}

/// The same, with what one of the trunks says of its dialogs.
pub(crate) fn settings_with(changes: impl Fn(&mut DialogPolicy), trunk: &str) -> Settings {
    let mut settings = settings();
    let found = settings.trunks.iter_mut().find(|known| known.name == trunk);
    changes(&mut found.expect("a trunk of that name").dialog);
    settings
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(settings(), 1)
    }

    pub(crate) fn with(settings: Settings, seed: u64) -> Self {
        const WORKERS: usize = 2;
        Self {
            agent: Agent::new(settings, WORKERS, StdRng::seed_from_u64(seed)),
            now: Timestamp::from_nanos(1),
            workers: Workers::Prompt,
            drained: false,
            inboxes: HashMap::new(),
            flows: vec![BTreeMap::new(); WORKERS],
            mailboxes: Vec::new(),
            unreachable: Vec::new(),
            counted: HashMap::new(),
            records: Vec::new(),
            aliases: Vec::new(),
            opened: Opened::ByUs,
            mirrored: Vec::new(),
            replies: Vec::new(),
            orders: Vec::new(),
            dns: NameServer::default(),
            wire: None,
        }
    }

    /// A phone sends to one of our listeners.
    pub(crate) fn send(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        match &mut self.wire {
            Some(wire) => wire.push((from, to, bytes)),
            None => self.deliver(from, to, bytes),
        }
    }

    /// A datagram arrives at one of our listeners: that, and all that it causes at once.
    pub(crate) fn deliver(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        let mut listeners = (0..).zip(&self.agent.settings().listeners);
        let found = listeners.find(|(_, ours)| ours.address == to);
        let (index, _) = found.expect("somebody listens there");
        self.handle(Input::Datagram {
            path: Path {
                opened: self.opened,
                ..Path::to(ListenerId(index), from)
            },
            bytes,
        });
    }

    /// One input, and all that it causes at once.
    pub(crate) fn handle(&mut self, input: Input) {
        self.agent.handle(input, self.now);
        self.settle();
    }

    /// Carries out what the agent wants until it wants to wait; until when.
    pub(crate) fn settle(&mut self) -> Option<Timestamp> {
        loop {
            match self.agent.poll_output(self.now) {
                Output::Wait(until) => return until,
                Output::Send { path, bytes, .. } => self.carry(path, &bytes),
                Output::Command { worker, command } => self.command(worker, command),
                Output::Resolve(query) => {
                    let answer = Some(link());
                    self.agent
                        .handle(Input::NextHop { query, answer }, self.now);
                }
                Output::Reply { path, bytes } => self.replies.push((path, bytes)),
                Output::Service(order) => self.orders.push(order),
                Output::Total(number) => {
                    let totals = controlplane::ng::Totals::default();
                    let totalled = Input::Totalled { number, totals };
                    self.agent.handle(totalled, self.now);
                }
                Output::Alias { path, alias } => {
                    self.aliases.push((path.listener, path.remote, alias));
                }
                Output::Forget(_) | Output::Located { .. } | Output::Reconfigured => {}
                Output::Measure(flow) => {
                    let forwarding = self.flows.iter().all(|flows| flows.contains_key(&flow.key));
                    let counted = self.counted.remove(&flow.key);
                    let counted = counted.filter(|_| forwarding).unwrap_or_default();
                    let measured = Input::Measured { flow, counted };
                    self.agent.handle(measured, self.now);
                }
                Output::CallEnded(record) => self.records.push(*record),
                Output::Mirror(message) => self.mirrored.push(message),
                Output::Dns(ask) => {
                    if let Some(heard) = self.dns.carry_out(ask) {
                        self.agent.handle(Input::Dns(heard), self.now);
                    }
                }
                Output::Drained => {
                    assert!(!self.drained, "drained twice");
                    self.drained = true;
                }
            }
        }
    }

    fn carry(&mut self, path: Path, bytes: &[u8]) {
        let remote = path.remote;
        if self.unreachable.contains(&remote) {
            self.agent.handle(Input::SendFailed { path }, self.now);
            return;
        }
        let message = Message::parse(bytes).expect("what we send is SIP");
        self.inboxes.entry(remote).or_default().push_back(message);
    }

    fn command(&mut self, worker: WorkerId, command: Command) {
        let event = match self.workers {
            Workers::Deaf => return,
            Workers::Slow => return self.mailboxes.push((worker, command)),
            Workers::Full => {
                let rejected = Input::CommandRejected { worker, command };
                return self.agent.handle(rejected, self.now);
            }
            Workers::Refusing(why) if matches!(command, Command::Install(_)) => {
                Event::Refused(command.flow(), why)
            }
            Workers::Refusing(_) | Workers::Prompt => self.carry_out(worker, command),
        };
        self.agent.handle(Input::Worker { worker, event }, self.now);
    }

    /// Slow workers do all that they were told, also what that leads to.
    pub(crate) fn release(&mut self) {
        while !self.mailboxes.is_empty() {
            self.release_once();
        }
    }

    /// Slow workers do what they have been told so far.
    pub(crate) fn release_once(&mut self) {
        for (worker, command) in std::mem::take(&mut self.mailboxes) {
            let event = self.carry_out(worker, command);
            self.handle(Input::Worker { worker, event });
        }
    }

    /// Commands that slow workers have not looked at.
    pub(crate) fn waiting_commands(&self) -> usize {
        self.mailboxes.len()
    }

    fn carry_out(&mut self, worker: WorkerId, command: Command) -> Event {
        let flows = &mut self.flows[usize::from(worker.0)];
        let id = command.flow();
        match command {
            Command::Install(entry) if flows.contains_key(&entry.key) => {
                Event::Refused(id, Refusal::KeyTaken)
            }
            Command::Install(entry) => {
                flows.insert(entry.key, entry);
                Event::Installed(id)
            }
            Command::Update(entry) => match flows.insert(entry.key, entry) {
                Some(_) => Event::Updated(id),
                None => Event::Refused(id, Refusal::UnknownFlow),
            },
            Command::Remove { key, .. } => match flows.remove(&key) {
                Some(_) => Event::Removed(id),
                None => Event::Refused(id, Refusal::UnknownFlow),
            },
        }
    }

    /// The datagram that comes next has waited so long.
    pub(crate) fn waits(&mut self, time: Duration) {
        let waited = Input::Waited {
            listener: ListenerId(0),
            time,
        };
        self.agent.handle(waited, self.now);
    }

    /// Lets time pass, stopping whenever the agent has something to do.
    pub(crate) fn advance(&mut self, by: Duration) {
        let until = self.now + by;
        while let Some(due) = self.settle().filter(|due| *due <= until) {
            assert!(due > self.now, "asks again for a time that has come");
            self.now = due;
            self.agent.handle(Input::Time, self.now);
        }
        self.now = until;
        self.handle(Input::Time);
    }

    /// What was sent to an address next.
    pub(crate) fn next(&mut self, at: SocketAddr) -> Option<Message> {
        self.inboxes.get_mut(&at)?.pop_front()
    }

    /// Forgets what was sent to an address.
    pub(crate) fn clear(&mut self, at: SocketAddr) {
        self.inboxes.remove(&at);
    }

    /// Everything that was sent to anybody, and to whom.
    pub(crate) fn take_mail(&mut self) -> Vec<(SocketAddr, Message)> {
        let mut mail: Vec<_> = std::mem::take(&mut self.inboxes)
            .into_iter()
            .flat_map(|(at, inbox)| inbox.into_iter().map(move |message| (at, message)))
            .collect();
        mail.sort_by_key(|(at, _)| *at);
        mail
    }

    /// The only call there is.
    pub(crate) fn call(&self) -> CallSummary {
        let mut calls = self.agent.calls();
        assert_eq!(calls.len(), 1, "{calls:?}");
        calls.remove(0)
    }

    pub(crate) fn state(&self) -> CallState {
        self.call().state
    }

    /// What was left of the only call that has ended.
    pub(crate) fn record(&mut self) -> CallRecord {
        assert_eq!(self.records.len(), 1, "{:?}", self.records);
        self.records.remove(0)
    }

    /// The flow that packets to this address and port find, at every worker.
    pub(crate) fn flow(&self, address: &str, port: u16) -> FlowEntry {
        let key = FlowKey {
            address: address.parse().expect("an address"),
            port,
        };
        let entries: Vec<_> = self.flows.iter().map(|flows| flows.get(&key)).collect();
        let first = *entries[0].expect("a flow at the port");
        assert!(entries.iter().all(|entry| entry.is_some()), "{entries:?}");
        first
    }

    /// Nobody has mail that was not read.
    pub(crate) fn assert_quiet(&self) {
        for (at, inbox) in &self.inboxes {
            let starts: Vec<_> = inbox.iter().map(|message| &message.start).collect();
            assert!(starts.is_empty(), "{at} was also sent {starts:?}");
        }
    }

    /// After a rest nothing is left: calls, dialogs, transactions, names, sessions, flows, ports.
    pub(crate) fn assert_clean(&mut self) {
        self.advance(REST);
        let gauges = self.agent.gauges();
        assert_eq!(gauges, Default::default());
        assert!(
            self.flows.iter().all(BTreeMap::is_empty),
            "{:?}",
            self.flows
        );
        assert_eq!(self.agent.calls(), []);
        let waits = self.settle();
        assert_eq!(waits, None, "waits for {waits:?} with nothing to do");
    }
}

pub(crate) fn link() -> Link {
    Link {
        device: DeviceId(0),
        source: MacAddress([2, 0, 0, 0, 0, 1]),
        destination: MacAddress([2, 0, 0, 0, 0, 2]),
        vlan: VlanTags::None,
        mtu: 1500,
    }
}
