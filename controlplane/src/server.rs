//! The event loop of the control plane: the one thread, and the only reader of a clock, that drives
//! the sans-IO machines with what arrives and carries out what they answer.
//!
//! ```text
//!   listeners ── datagrams, ICMP errors ──►┐             ┌─► Send ─────► listeners
//!   controls ─── requests over ng ────────►│             ├─► Reply ────► controls
//!   doorbell ─── events of the workers ───►│    agent    ├─► Command ──► workers' mailboxes
//!   netlink ──── neighbours ── next hops ─►│ handle/poll ├─► Resolve ──► neighbours ── netlink
//!   name servers ─ answers ───────────────►│             ├─► Dns ──────► name servers
//!   signals ──── drain, stop ─────────────►┘             └─► Wait ─────► the poll's timeout
//!   guest ────── (the binary's admin socket)
//! ```
//!
//! Nothing in it blocks, and each source gets a bounded share of a turn: a flood at one listener
//! delays the others by one batch. It knows no SIP and no flows.

mod clock;
mod hooks;
mod host;
mod signals;
mod start_error;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::Duration;

use contract::{Event, ServiceOrder, Timestamp, WorkerId};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token};

use crate::agent::{Agent, Input, Output};
use crate::ng::{ControlId, ControlPath};
use crate::settings::{ListenerId, Settings};
use crate::transaction::Path;
use crate::transport::control::{ControlArrival, ControlListener};
use crate::transport::{Arrival, Listener, Sent};
use signals::{Signal, Signals};

pub use clock::Clock;
pub use hooks::{Dataplane, Guest, MailboxFull};
pub use host::Host;
pub use start_error::StartError;

/// Messages taken from one listener in a turn. At some 50 us each, a turn of a flooded listener is
/// under 4 ms; fewer would poll more often than work.
const MESSAGES_AT_A_TIME: usize = 64;
/// The longest share of a turn that a listener gets: messages cost less than that together, but the TLS
/// handshakes of a crowd that connects at once would take a hundred milliseconds.
const LONGEST_SHARE: Duration = Duration::from_millis(4);
/// Outputs carried out in a turn: more than any input makes, so only a machine that never comes to
/// rest meets it, and that must not stop the others.
const OUTPUTS_AT_A_TIME: usize = 8192;
/// Orders that wait for the media services: an end for each of thirty thousand calls.
const MOST_ORDERS: usize = 32_768;
/// When they are given again.
const ORDER_AGAIN: Duration = Duration::from_millis(20);
/// The largest UDP payload there can be.
const LARGEST_DATAGRAM: usize = 65_535;

const DOORBELL: Token = Token(0);
const MONITOR: Token = Token(1);
const ROUTES: Token = Token(2);
const SIGNALS: Token = Token(3);
const GUEST: Token = Token(4);
const NAME_SERVERS: Token = Token(5);
/// The SIP listeners' tokens begin here; the control listeners' follow them.
const FIRST_LISTENER: usize = 6;

/// What the loop needs besides [`Settings`].
#[derive(Clone, Debug)]
pub struct Setup {
    /// The time of both planes.
    pub clock: Clock,
    /// The kernel's names of the dataplane's devices; a [`contract::DeviceId`] is an index here.
    pub devices: Vec<String>,
}

/// How the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// After a drain: no call is left.
    Drained,
    /// At once, by a second SIGINT: calls may have been cut off.
    AtOnce,
    /// A worker has died. Media that arrives on its queues is lost, so every call was ended.
    WorkerDied(WorkerId),
}

/// The event loop with its sockets.
#[derive(Debug)]
pub struct Server {
    poll: Poll,
    clock: Clock,
    host: Host,
    signals: Signals,
    buffer: Vec<u8>,
}

/// What a turn has to look at.
#[derive(Debug, Default)]
struct Ready {
    /// Listeners that may hold more, by index.
    listeners: Vec<bool>,
    /// The same for control listeners.
    controls: Vec<bool>,
    workers: bool,
    netlink: bool,
    signals: bool,
    guest: bool,
    name_servers: bool,
}

impl Server {
    /// Opens the listeners, the netlink sockets and the signals. Done before privileges are dropped.
    /// From here on SIGTERM and SIGINT no longer end the process by themselves.
    pub fn bind(settings: &Settings, setup: Setup) -> Result<Self, StartError> {
        let poll = Poll::new().map_err(StartError::kernel("epoll"))?;
        let registry = poll.registry();
        let mut listeners = Vec::with_capacity(settings.listeners.len());
        for (id, listener) in settings.numbered_listeners() {
            let token = Token(FIRST_LISTENER + usize::from(id.0));
            let opened = Listener::open(id, listener, &settings.trunks).and_then(|mut socket| {
                socket.register(registry, token)?;
                Ok(socket)
            });
            listeners.push(opened.map_err(|error| StartError::listener(listener, error))?);
        }
        let controls = open_controls(settings, registry)?;
        let mut host = Host::new(listeners, controls, setup.devices)
            .map_err(StartError::kernel("netlink, for routes and neighbours"))?;
        register_fd(registry, NAME_SERVERS, host.name_servers().doorbell())
            .map_err(StartError::kernel("epoll"))?;
        for (token, fd) in [(MONITOR, host.monitor()), (ROUTES, host.routes())] {
            registry
                .register(&mut SourceFd(&fd.as_raw_fd()), token, Interest::READABLE)
                .map_err(StartError::kernel("epoll"))?;
        }
        let signals = Signals::catch(registry, SIGNALS).map_err(StartError::kernel("signals"))?;
        Ok(Self {
            poll,
            clock: setup.clock,
            host,
            signals,
            buffer: vec![0; LARGEST_DATAGRAM],
        })
    }

    /// The listeners' sockets and next hops, in figures.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Runs until a signal, or the agent after a drain, has ended it. An error is one of the poll
    /// itself: everything else is counted and survived.
    pub fn run<D: Dataplane, G: Guest>(
        self,
        agent: &mut Agent,
        dataplane: &mut D,
        guest: &mut G,
    ) -> io::Result<Ended> {
        let registry = self.poll.registry();
        register_fd(registry, DOORBELL, dataplane.doorbell().as_raw_fd())?;
        register_fd(registry, GUEST, guest.doorbell())?;
        let mut turn = Turn {
            server: self,
            agent,
            dataplane,
            guest,
            events: Vec::new(),
            agent_deadline: None,
            orders: VecDeque::new(),
            guest_deadline: None,
            restless: false,
            dead: None,
            ended: None,
        };
        turn.run()
    }
}

/// Opens the control listeners, with tokens behind those of the SIP listeners.
fn open_controls(
    settings: &Settings,
    registry: &Registry,
) -> Result<Vec<ControlListener>, StartError> {
    let first = FIRST_LISTENER + settings.listeners.len();
    let numbered = (0_u16..).map(ControlId).zip(&settings.ng.listeners);
    let open = |(id, listener): (ControlId, &crate::settings::ControlListener)| {
        let opened = ControlListener::open(id, listener).and_then(|mut socket| {
            socket.register(registry, Token(first + usize::from(id.0)))?;
            Ok(socket)
        });
        opened.map_err(|error| StartError::control(listener, error))
    };
    numbered.map(open).collect()
}

fn register_fd(registry: &Registry, token: Token, fd: i32) -> io::Result<()> {
    registry.register(&mut SourceFd(&fd), token, Interest::READABLE)
}

/// The loop while it runs, with what it was lent.
struct Turn<'a, D, G> {
    server: Server,
    agent: &'a mut Agent,
    dataplane: &'a mut D,
    guest: &'a mut G,
    events: Vec<(WorkerId, Event)>,
    agent_deadline: Option<Timestamp>,
    /// What the media services had no room for.
    orders: VecDeque<ServiceOrder>,
    guest_deadline: Option<Timestamp>,
    /// The agent had more to say than one turn takes.
    restless: bool,
    /// The worker that has died, while the calls are ended.
    dead: Option<WorkerId>,
    ended: Option<Ended>,
}

impl<D: Dataplane, G: Guest> Turn<'_, D, G> {
    fn run(&mut self) -> io::Result<Ended> {
        let mut events = Events::with_capacity(256);
        // What came before the registration has no edge: look everywhere once.
        let mut ready = Ready {
            listeners: vec![true; self.server.host.listener_count()],
            controls: vec![true; self.server.host.control_count()],
            workers: true,
            netlink: true,
            signals: false,
            guest: true,
            name_servers: false,
        };
        self.pump();
        loop {
            self.work(&mut ready);
            if let Some(ended) = self.ended {
                self.server.host.flush();
                return Ok(ended);
            }
            let timeout = self.timeout(&ready);
            match self.server.poll.poll(&mut events, timeout) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            for event in &events {
                self.notice(event, &mut ready);
            }
        }
    }

    fn now(&self) -> Timestamp {
        self.server.clock.now()
    }

    /// How long to sleep: not at all while something is left undone.
    fn timeout(&self, ready: &Ready) -> Option<Duration> {
        let undone = self.restless
            || self.agent.has_answers()
            || ready.netlink
            || ready.listeners.contains(&true)
            || ready.controls.contains(&true)
            || self.server.host.has_arrivals()
            || self.server.host.has_work();
        if undone {
            return Some(Duration::ZERO);
        }
        let again = self.now() + ORDER_AGAIN;
        let next = [
            (!self.orders.is_empty()).then_some(again),
            self.agent_deadline,
            self.guest_deadline,
            self.server.host.deadline(),
        ]
        .into_iter()
        .flatten()
        .min()?;
        Some(next.since(self.now()))
    }

    fn notice(&mut self, event: &mio::event::Event, ready: &mut Ready) {
        match event.token() {
            DOORBELL => ready.workers = true,
            MONITOR | ROUTES => ready.netlink = true,
            SIGNALS => ready.signals = true,
            GUEST => ready.guest = true,
            NAME_SERVERS => ready.name_servers = true,
            token => {
                let now = self.now();
                let index = Listener::token_of(token).0.saturating_sub(FIRST_LISTENER);
                let Some(listener) = self.server.host.listener_mut(index) else {
                    let index = index.saturating_sub(self.server.host.listener_count());
                    return self.notice_control(index, event, ready);
                };
                listener.on_event(event, now);
                if let Some(flag) = ready.listeners.get_mut(index) {
                    *flag = true;
                }
            }
        }
    }

    fn notice_control(&mut self, index: usize, event: &mio::event::Event, ready: &mut Ready) {
        let now = self.now();
        if let Some(control) = self.server.host.control_mut(index) {
            control.on_event(event, now);
        }
        if let Some(flag) = ready.controls.get_mut(index) {
            *flag = true;
        }
    }

    /// One turn: every source gets its share, then time passes.
    fn work(&mut self, ready: &mut Ready) {
        self.agent.set_wall_clock(self.server.clock.wall());
        if std::mem::take(&mut ready.signals) {
            self.take_signals();
        }
        if std::mem::take(&mut ready.workers) {
            self.take_events();
        }
        ready.netlink = self.server.host.read_netlink(self.server.clock.now());
        for (index, flag) in ready.listeners.iter_mut().enumerate() {
            let listener = self.server.host.listener_mut(index);
            if *flag || listener.is_some_and(|listener| listener.has_arrivals()) {
                *flag = self.take_messages(index);
                self.dataplane.ring();
            }
        }
        for (index, flag) in ready.controls.iter_mut().enumerate() {
            let control = self.server.host.control_mut(index);
            if *flag || control.is_some_and(|control| control.has_arrivals()) {
                *flag = self.take_requests(index);
                self.dataplane.ring();
            }
        }
        if std::mem::take(&mut ready.name_servers) {
            self.server.host.name_servers().read();
            self.hear();
        }
        let now = self.now();
        let guest_is_due = self.guest_deadline.is_some_and(|at| at <= now);
        let asked = std::mem::take(&mut ready.guest);
        if asked || guest_is_due || self.agent.has_answers() {
            self.guest_deadline = self.guest.serve(self.agent, &self.server.host, now);
            self.pump();
        }
        self.pass_time();
        self.dataplane.ring();
    }

    fn take_signals(&mut self) {
        let now = self.now();
        while let Some(signal) = self.server.signals.next() {
            match signal {
                Signal::Drain => {
                    let timeout = self.agent.settings().drain_timeout;
                    let deadline = now + timeout;
                    tracing::info!(?timeout, "draining");
                    self.server.host.set_draining();
                    self.handle(Input::Drain { deadline }, now);
                }
                Signal::EndAtOnce => {
                    tracing::warn!("ended at once, by a second SIGINT");
                    self.handle(Input::Abandon, now);
                    self.ended = Some(Ended::AtOnce);
                }
                Signal::HangUp => {
                    self.guest.hang_up();
                    self.guest_deadline = Some(now);
                }
            }
        }
    }

    /// What the name servers' sockets have to say.
    fn hear(&mut self) {
        while let Some(heard) = self.server.host.name_servers().next_heard() {
            let now = self.now();
            self.handle(Input::Dns(heard), now);
        }
    }

    fn reload_certificates(&mut self) {
        let settings = self.agent.settings();
        match self.server.host.reload_certificates(settings) {
            Ok(()) => tracing::info!("certificates read anew"),
            Err(error) => tracing::error!(%error, "the certificates stay as they were"),
        }
    }

    fn take_events(&mut self) {
        let mut events = std::mem::take(&mut self.events);
        self.dataplane.drain(&mut events);
        for (worker, event) in events.drain(..) {
            let now = self.now();
            self.handle(Input::Worker { worker, event }, now);
        }
        self.events = events;
        let mut heard = Vec::new();
        self.dataplane.heed(&mut heard);
        for event in heard {
            let now = self.now();
            self.handle(Input::Service(event), now);
        }
        if let Some(homes) = self.dataplane.homes() {
            let now = self.now();
            self.handle(Input::Homes(homes), now);
        }
        self.look_for_the_dead();
    }

    /// A call may need any worker: without one of them none can be answered for.
    fn look_for_the_dead(&mut self) {
        if self.dead.is_some() {
            return;
        }
        self.dead = self.dataplane.dead_worker();
        if let Some(worker) = self.dead {
            tracing::error!("{worker} has died: ending every call");
            self.server.host.set_draining();
            let now = self.now();
            self.handle(Input::Stop, now);
        }
    }

    /// Takes a batch of messages from one listener. Says whether more may wait.
    fn take_messages(&mut self, index: usize) -> bool {
        let Ok(listener) = u16::try_from(index).map(ListenerId) else {
            return false;
        };
        let began = self.now();
        for taken in 0..MESSAGES_AT_A_TIME {
            let now = self.now();
            if now.since(began) > LONGEST_SHARE {
                break;
            }
            let server = &mut self.server;
            let Some(socket) = server.host.listener_mut(index) else {
                return false;
            };
            // One of a batch says how long they all have waited, or nearly.
            let (arrival, arrived) = match taken {
                0 => socket.receive_stamped(&mut server.buffer, now),
                _ => (socket.receive(&mut server.buffer, now), None),
            };
            if let Some(time) = arrived.and_then(clock::since_arrival) {
                self.agent.handle(Input::Waited { listener, time }, now);
            }
            let path = |(remote, opened)| Path {
                listener,
                remote,
                opened,
            };
            let input = match arrival {
                Arrival::Message(from, bytes) => Input::Datagram {
                    path: path(from),
                    bytes,
                },
                Arrival::Identified(from, identity) => Input::Identified {
                    path: path(from),
                    identity,
                },
                Arrival::Lost(with) => Input::ConnectionLost { path: path(with) },
                Arrival::Unsent(to) => Input::SendFailed { path: path(to) },
                Arrival::Working => continue,
                Arrival::Nothing => return false,
            };
            self.handle(input, now);
        }
        true
    }

    /// Takes a batch of requests from one control listener. Says whether more may wait.
    fn take_requests(&mut self, index: usize) -> bool {
        let began = self.now();
        for _ in 0..MESSAGES_AT_A_TIME {
            let now = self.now();
            if now.since(began) > LONGEST_SHARE {
                break;
            }
            let server = &mut self.server;
            let Some(control) = server.host.control_mut(index) else {
                return false;
            };
            match control.receive(&mut server.buffer, now) {
                ControlArrival::Request(path, bytes) => {
                    self.handle(Input::Control { path, bytes }, now);
                }
                ControlArrival::Working => {}
                ControlArrival::Nothing => return false,
            }
        }
        true
    }

    fn reply(&mut self, path: ControlPath, bytes: Vec<u8>, now: Timestamp) {
        let control = self.server.host.control_mut(usize::from(path.listener.0));
        if let Some(control) = control {
            control.reply(path, bytes, now);
        }
    }

    /// Timers of the agent and of the neighbours, and the next hops that have been found.
    fn pass_time(&mut self) {
        let now = self.now();
        self.order_again();
        self.server.host.end_connections(now);
        if self.agent_deadline.is_some_and(|at| at <= now) {
            self.handle(Input::Time, now);
        } else if self.restless {
            self.pump();
        }
        for (query, answer) in self.server.host.on_time(now) {
            let answer = answer.link();
            self.handle(Input::NextHop { query, answer }, now);
        }
    }

    fn handle(&mut self, input: Input, now: Timestamp) {
        self.agent.handle(input, now);
        self.pump();
    }

    /// Gives an order to the media services. What they have no room for waits, unless it can be refused, and all that
    /// comes after it: an end must not be lost, nor overtaken.
    fn order(&mut self, order: ServiceOrder, now: Timestamp) {
        self.order_again();
        let order = match self.orders.is_empty() {
            true => self.dataplane.order(order).err(),
            false => Some(order),
        };
        let Some(order) = order else {
            return;
        };
        if !order.is_request() && self.orders.len() < MOST_ORDERS {
            return self.orders.push_back(order);
        }
        if !order.is_request() {
            tracing::error!(?order, "the media services take no orders: one is lost");
        }
        if let Some(event) = order.refused("Busy") {
            self.agent.handle(Input::Service(event), now);
        }
    }

    fn order_again(&mut self) {
        while let Some(order) = self.orders.pop_front() {
            if let Err(order) = self.dataplane.order(order) {
                return self.orders.push_front(order);
            }
        }
    }

    /// Carries out what the agent says, until it waits.
    fn pump(&mut self) {
        self.restless = false;
        for _ in 0..OUTPUTS_AT_A_TIME {
            let now = self.now();
            match self.agent.poll_output(now) {
                Output::Send {
                    path,
                    otherwise,
                    bytes,
                } => self.send(path, otherwise, bytes, now),
                Output::Reply { path, bytes } => self.reply(path, bytes, now),
                Output::Alias { path, alias } => {
                    let socket = self.server.host.listener_mut(usize::from(path.listener.0));
                    if let Some(socket) = socket {
                        socket.alias(path.remote, alias);
                    }
                }
                Output::Reconfigured => self.reload_certificates(),
                Output::Located { trunk, addresses } => {
                    self.server.host.locate(trunk, &addresses);
                }
                Output::Command { worker, command } => {
                    if self.dataplane.submit(worker, command).is_err() {
                        let rejected = Input::CommandRejected { worker, command };
                        self.agent.handle(rejected, now);
                    }
                }
                Output::Resolve(query) => self.server.host.resolve(query),
                Output::Dns(ask) => {
                    let name_servers = self.server.host.name_servers();
                    name_servers.carry_out(ask);
                    if let Some(heard) = name_servers.next_heard() {
                        self.agent.handle(Input::Dns(heard), now);
                    }
                }
                Output::Forget(query) => self.server.host.forget(&query),
                Output::Measure(flow) => {
                    let mut counted = self.dataplane.measure(flow.key);
                    let reported = flow
                        .reports
                        .map(|reports| self.dataplane.reported(&reports));
                    counted.quality = counted.quality.or(reported.flatten());
                    let measured = Input::Measured { flow, counted };
                    self.agent.handle(measured, now);
                }
                Output::Total(number) => {
                    let totals = self.dataplane.totals();
                    let totalled = Input::Totalled { number, totals };
                    self.agent.handle(totalled, now);
                }
                Output::Service(order) => self.order(order, now),
                Output::CallEnded(record) => self.guest.call_ended(record, now),
                Output::Mirror(message) => self.guest.mirror(message, now),
                Output::Drained => {
                    let ended = self.dead.map_or(Ended::Drained, Ended::WorkerDied);
                    self.ended.get_or_insert(ended);
                }
                Output::Wait(until) => {
                    self.agent_deadline = until;
                    return;
                }
            }
        }
        self.restless = true;
    }

    fn send(&mut self, path: Path, otherwise: Option<SocketAddr>, bytes: Vec<u8>, now: Timestamp) {
        let socket = self.server.host.listener_mut(usize::from(path.listener.0));
        let sent = socket.map_or(Sent::Failed, |socket| {
            socket.send((path.remote, path.opened), otherwise, bytes, now)
        });
        if sent == Sent::Failed {
            let failed = Input::SendFailed { path };
            self.agent.handle(failed, now);
        }
    }
}

#[cfg(test)]
mod tests;
