//! Wanted flows minus acknowledged flows are the commands that the workers are sent.
//!
//! The engine says what is to be forwarded at a port ([`Installer::want`], [`Installer::unwant`]) and no more.
//! The installer keeps, for each port and worker, what that worker has acknowledged, and sends the one command
//! that brings it closer to what is wanted: at most one is under way for a port and a worker, so that order
//! is never a question. It resolves the next hops of what it installs, and tells when a set of
//! flows is in force everywhere ([`Ticket`]).
//!
//! | wanted          | acknowledged      | command                          |
//! |-----------------|-------------------|----------------------------------|
//! | flow            | none              | Install                          |
//! | flow, entry new | flow, entry old   | Update                           |
//! | flow            | flow, same entry  | none: settled                    |
//! | other or none   | flow              | Remove (then Install)            |
//! | none            | none              | none: the port is free to rest   |
//!
//! A command that a full mailbox sends back: an Install that somebody holds a ticket for fails the ticket; all
//! else is tried again, ever more slowly, [`MAX_ATTEMPTS`] times; after that the port is never used again, and
//! counted.

mod flow;
mod flow_map;
mod next_hops;
mod packed;
mod tickets;
mod worker_set;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use contract::{
    Command, Egress, Event, FlowEntry, FlowId, FlowKey, Handling, Latch, Link, Payload, Refusal,
    Timestamp, WorkerId,
};

use flow::{Flow, Outcome};
use flow_map::FlowMap;
use next_hops::NextHops;
use tickets::Waiting;

/// How often a command is tried again after a full mailbox: with [`flow::retry_delay`] some two minutes.
/// Fewer would give up on a worker that is merely busy, more would try one that is dead for ever.
pub const MAX_ATTEMPTS: u32 = 128;

/// How long a ticket waits for the acknowledgements of the workers. A worker answers within a batch,
/// microseconds; two seconds is a worker that is stuck, and still short of the caller's patience.
pub const ACKNOWLEDGE_WITHIN: Duration = Duration::from_secs(2);

/// How long a ticket waits for next hops. One ARP exchange takes a millisecond on a LAN; a host that does not
/// answer must not delay the signalling that may yet bring another address.
pub const RESOLVE_WITHIN: Duration = Duration::from_millis(250);

/// A set of flows that somebody waits for: done when every worker has acknowledged every one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// Why the flows of a ticket will not all be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TicketFailure {
    /// A worker refused an entry.
    Refused(WorkerId, Refusal),
    /// A worker's mailbox was full.
    MailboxFull(WorkerId),
    /// Some worker did not acknowledge in time.
    TimedOut,
}

impl TicketFailure {
    /// Its name in counters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refused(..) => "refused",
            Self::MailboxFull(_) => "mailbox_full",
            Self::TimedOut => "timed_out",
        }
    }
}

/// Asks by which link packets from `source`, an address of ours, reach `destination`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NextHopQuery {
    /// The receiver.
    pub destination: IpAddr,
    /// The local media address that packets leave from; of the same family.
    pub source: IpAddr,
}

/// Who wants a flow, as its user counts: told with what is seen of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner(pub(crate) u64);

/// What is to be forwarded at a port: an entry without its name and without links, which are the
/// installer's to fill in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) key: FlowKey,
    pub(crate) payload: Payload,
    pub(crate) latch: Latch,
    pub(crate) rtp: Option<Egress>,
    pub(crate) rtcp: Option<Egress>,
    pub(crate) idle_after: Option<Duration>,
    pub(crate) handling: Handling,
}

/// What the installer wants done, or has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "commands are most of what there is, and plain data"
)]
pub(crate) enum Output {
    Command {
        worker: WorkerId,
        command: Command,
    },
    Resolve(NextHopQuery),
    Forget(NextHopQuery),
    Ready(Ticket),
    Failed(Ticket, TicketFailure),
    /// No worker has a flow at this port any more, and none is wanted.
    Gone(FlowKey),
}

/// What a worker saw of a flow that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sighting {
    /// A source was latched.
    Latched {
        owner: Owner,
        key: FlowKey,
        armed: u32,
        remote: SocketAddr,
    },
    /// Every worker finds the flow idle.
    Quiet(Owner),
}

/// What the installer counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) tickets_failed: BTreeMap<&'static str, u64>,
    /// Commands that a full mailbox sent back.
    pub(crate) rejected: u64,
    /// Commands that workers refused.
    pub(crate) refused: u64,
    /// Commands given up after [`MAX_ATTEMPTS`].
    pub(crate) abandoned: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Retry(WorkerId, FlowKey),
    /// The ticket waits for next hops no longer.
    Resolved(Ticket),
    Expired(Ticket),
}

/// Every port with a flow, wanted or not yet gone.
#[derive(Debug)]
pub(crate) struct Installer {
    workers: usize,
    flows: FlowMap,
    next_hops: NextHops,
    tickets: BTreeMap<Ticket, Waiting>,
    timers: BTreeSet<(Timestamp, Timer)>,
    outputs: VecDeque<Output>,
    next_flow: u64,
    next_ticket: u64,
    /// Commands that were sent and not answered, all workers together.
    under_way: usize,
    pub(crate) tally: Tally,
}

impl Installer {
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            workers,
            flows: FlowMap::default(),
            next_hops: NextHops::default(),
            tickets: BTreeMap::new(),
            timers: BTreeSet::new(),
            outputs: VecDeque::new(),
            next_flow: 0,
            next_ticket: 0,
            under_way: 0,
            tally: Tally::default(),
        }
    }

    /// This is to be forwarded at the plan's port, from now on and by every worker.
    pub(crate) fn want(&mut self, owner: Owner, plan: &Plan) {
        let key = plan.key;
        let workers = self.workers;
        let number = self.flows.ensure(key, || Flow::new(key, workers));
        self.next_hops
            .use_for(number, queries(plan), &mut self.outputs);
        let Some(flow) = self.flows.get_mut(key) else {
            return;
        };
        let known = flow.wanted_id();
        let id = known.unwrap_or_else(|| {
            self.next_flow += 1;
            FlowId(self.next_flow)
        });
        flow.owner = owner;
        flow.want(resolved(id, plan, &self.next_hops));
        if known.is_none() {
            self.flows.name(id, number);
        }
        self.pump_all(key);
    }

    /// Nothing is to be forwarded at the port any more.
    pub(crate) fn unwant(&mut self, now: Timestamp, key: FlowKey) {
        let Some(number) = self.flows.number(key) else {
            return;
        };
        self.next_hops
            .use_for(number, [None, None], &mut self.outputs);
        let Some(former) = self.flows.get_mut(key).and_then(Flow::unwant) else {
            return;
        };
        let tickets = self.tickets_at(key);
        self.pump_all(key);
        self.forget_name(key, former);
        self.check_tickets(now, tickets);
    }

    /// Who wants the flow of this name, and where.
    pub(crate) fn owner(&self, id: FlowId) -> Option<(Owner, FlowKey)> {
        let key = self.flows.named(id)?;
        let flow = self.flows.get(key).filter(|flow| flow.is(id))?;
        Some((flow.owner, key))
    }

    /// Whether any worker has, or may have, a flow at the port.
    pub(crate) fn holds(&self, key: FlowKey) -> bool {
        self.flows.number(key).is_some()
    }

    /// Whether every worker finds the flow at the port idle, since it was told when to.
    pub(crate) fn is_quiet(&self, key: FlowKey) -> bool {
        self.flows.get(key).is_some_and(Flow::is_quiet)
    }

    /// Whether the next hops of what is wanted at the port are known.
    pub(crate) fn is_linked(&self, key: FlowKey) -> bool {
        let number = self.flows.number(key);
        number.is_none_or(|number| self.next_hops.are_known(number))
    }

    /// The entry that is wanted at the port, and how many workers have acknowledged it.
    pub(crate) fn progress(&self, key: FlowKey) -> Option<(Option<FlowEntry>, usize)> {
        let flow = self.flows.get(key)?;
        Some((flow.wanted(), flow.settled_workers()))
    }

    pub(crate) fn workers(&self) -> usize {
        self.workers
    }

    /// Commands that the workers have yet to answer, all workers together.
    pub(crate) fn under_way(&self) -> usize {
        self.under_way
    }

    pub(crate) fn flow_count(&self) -> usize {
        self.flows.len()
    }

    pub(crate) fn ticket_count(&self) -> usize {
        self.tickets.len()
    }

    pub(crate) fn next_hop_count(&self) -> usize {
        self.next_hops.len()
    }

    /// A worker answered a command, or saw something.
    pub(crate) fn on_event(
        &mut self,
        now: Timestamp,
        worker: WorkerId,
        event: Event,
    ) -> Option<Sighting> {
        let id = event.flow();
        let key = self.flows.named(id)?;
        let flow = self.flows.get_mut(key)?;
        match event {
            Event::Installed(_) | Event::Updated(_) | Event::Removed(_) => {
                let outcome = flow.acknowledged(worker, event);
                self.conclude(now, key, worker, outcome);
            }
            Event::Refused(_, refusal) => {
                self.tally.refused += 1;
                let outcome = flow.refused(worker, id, refusal);
                self.conclude(now, key, worker, outcome);
            }
            Event::Latched { armed, remote, .. } if flow.is(id) => {
                return Some(Sighting::Latched {
                    owner: flow.owner,
                    key,
                    armed,
                    remote,
                });
            }
            Event::Idle(_) if flow.is(id) => {
                flow.idle(worker, true);
                return flow.is_quiet().then_some(Sighting::Quiet(flow.owner));
            }
            Event::Active(_) if flow.is(id) => flow.idle(worker, false),
            Event::Latched { .. } | Event::Idle(_) | Event::Active(_) => {}
        }
        None
    }

    /// A worker's mailbox sent a command back.
    pub(crate) fn rejected(&mut self, now: Timestamp, worker: WorkerId, command: Command) {
        self.tally.rejected += 1;
        let Some(key) = self.flows.named(command.flow()) else {
            return;
        };
        let Some(flow) = self.flows.get_mut(key) else {
            return;
        };
        let install = matches!(command, Command::Install(_));
        let awaited = !flow.tickets().is_empty();
        let outcome = flow.rejected(worker, command.flow(), install && awaited);
        self.conclude(now, key, worker, outcome);
    }

    /// The way to a receiver is known, has changed, or is gone.
    pub(crate) fn next_hop(&mut self, now: Timestamp, query: NextHopQuery, link: Option<Link>) {
        for number in self.next_hops.answer(query, link) {
            let Some(key) = self.flows.key(number) else {
                continue;
            };
            let Some(flow) = self.flows.get_mut(key) else {
                continue;
            };
            if let Some(entry) = flow.wanted() {
                flow.want(linked(entry, &self.next_hops));
            }
            self.pump_all(key);
            let tickets = self.tickets_at(key);
            self.check_tickets(now, tickets);
        }
    }

    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| *at)
    }

    pub(crate) fn on_time(&mut self, now: Timestamp) {
        while let Some((at, timer)) = self.timers.first().copied()
            && at <= now
        {
            self.timers.pop_first();
            match timer {
                Timer::Retry(worker, key) => {
                    if let Some(flow) = self.flows.get_mut(key) {
                        flow.retry_due(worker);
                        self.pump(key, worker);
                    }
                }
                Timer::Resolved(ticket) => self.check_ticket(now, ticket),
                Timer::Expired(ticket) => self.fail(ticket, TicketFailure::TimedOut),
            }
        }
    }

    pub(crate) fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn conclude(&mut self, now: Timestamp, key: FlowKey, worker: WorkerId, outcome: Outcome) {
        if outcome != Outcome::Stale {
            self.under_way -= 1;
        }
        match outcome {
            Outcome::Stale => return,
            Outcome::Done => {}
            Outcome::Removed(id) => self.forget_name(key, id),
            Outcome::Failed(failure) => self.fail_tickets_at(key, failure),
            Outcome::Retry(after) => {
                self.timers.insert((now + after, Timer::Retry(worker, key)));
            }
            Outcome::Abandoned => self.tally.abandoned += 1,
        }
        let tickets = self.tickets_at(key);
        self.pump(key, worker);
        self.check_tickets(now, tickets);
    }

    fn pump_all(&mut self, key: FlowKey) {
        for worker in (0..self.workers).map(worker_id) {
            self.pump(key, worker);
        }
        if self.workers == 0 {
            self.drop_if_gone(key);
        }
    }

    /// Sends the worker the command that is due, and drops the port's record when nothing is left of it.
    fn pump(&mut self, key: FlowKey, worker: WorkerId) {
        let Some(flow) = self.flows.get_mut(key) else {
            return;
        };
        if let Some(command) = flow.next_command(worker) {
            self.under_way += 1;
            self.outputs.push_back(Output::Command { worker, command });
        }
        self.drop_if_gone(key);
    }

    fn drop_if_gone(&mut self, key: FlowKey) {
        if self.flows.get(key).is_some_and(Flow::is_gone) {
            self.flows.remove(key);
            self.outputs.push_back(Output::Gone(key));
        }
    }

    /// Forgets the name of a flow when nothing at the port goes by it any more.
    fn forget_name(&mut self, key: FlowKey, id: FlowId) {
        if self.flows.get(key).is_none_or(|flow| !flow.names(id)) {
            self.flows.forget_name(id);
        }
    }
}

fn worker_id(index: usize) -> WorkerId {
    WorkerId(u16::try_from(index).unwrap_or(u16::MAX))
}

/// The next hops that an entry needs.
fn queries(plan: &Plan) -> [Option<NextHopQuery>; 2] {
    [plan.rtp, plan.rtcp].map(|egress| query(&egress?))
}

fn query(egress: &Egress) -> Option<NextHopQuery> {
    Some(NextHopQuery {
        destination: egress.destination?.ip(),
        source: egress.source.address,
    })
}

fn resolved(id: FlowId, plan: &Plan, next_hops: &NextHops) -> FlowEntry {
    let entry = FlowEntry {
        id,
        key: plan.key,
        payload: plan.payload,
        latch: plan.latch,
        rtp: plan.rtp,
        rtcp: plan.rtcp,
        idle_after: plan.idle_after,
        handling: plan.handling,
    };
    linked(entry, next_hops)
}

/// The entry with the links that are known now.
fn linked(mut entry: FlowEntry, next_hops: &NextHops) -> FlowEntry {
    for egress in [&mut entry.rtp, &mut entry.rtcp].into_iter().flatten() {
        egress.link = query(egress).and_then(|query| next_hops.link(query));
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::{DscpMarking, LatchPolicy};

    fn plan(port: u16, destination: &str) -> Plan {
        let key = |port| FlowKey {
            address: IpAddr::from([192, 0, 2, 1]),
            port,
        };
        Plan {
            key: key(port),
            payload: Payload::Rtp,
            latch: Latch {
                policy: LatchPolicy::Off,
                signalled: None,
                latched: None,
                armed: 0,
            },
            rtp: Some(Egress {
                source: key(port + 2),
                destination: Some(destination.parse().expect("an address")),
                link: None,
                dscp: DscpMarking::Preserve,
            }),
            rtcp: None,
            idle_after: None,
            handling: contract::Handling::default(),
        }
    }

    /// Answers every command as `answer` says, until there is none.
    fn run(installer: &mut Installer, answer: impl Fn(Command) -> Option<Event>) -> Vec<Output> {
        let mut seen = Vec::new();
        while let Some(output) = installer.poll() {
            seen.push(output);
            if let Output::Command { worker, command } = output {
                match answer(command) {
                    Some(event) => drop(installer.on_event(Timestamp::ZERO, worker, event)),
                    None => installer.rejected(Timestamp::ZERO, worker, command),
                }
            }
        }
        seen
    }

    fn obey(command: Command) -> Option<Event> {
        Some(match command {
            Command::Install(entry) => Event::Installed(entry.id),
            Command::Update(entry) => Event::Updated(entry.id),
            Command::Remove { id, .. } => Event::Removed(id),
        })
    }

    fn assert_empty(installer: &Installer) {
        assert!(installer.flows.is_empty());
        assert!(installer.tickets.is_empty() && installer.timers.is_empty());
        assert_eq!((installer.next_hop_count(), installer.under_way), (0, 0));
    }

    #[test]
    fn nothing_is_kept_of_a_flow_that_is_gone() {
        let mut installer = Installer::new(2);
        for round in 0..3_u16 {
            let plan = plan(20_000, &format!("192.0.2.9:{}", 1_000 + round));
            installer.want(Owner(1), &plan);
            let ticket = installer
                .ticket(Timestamp::ZERO, &[plan.key])
                .expect("not there yet");
            run(&mut installer, obey);
            let query = query(&plan.rtp.expect("RTP")).expect("somewhere to go");
            installer.next_hop(Timestamp::ZERO, query, Some(link()));
            assert!(run(&mut installer, obey).contains(&Output::Ready(ticket)));
            installer.unwant(Timestamp::ZERO, plan.key);
            assert!(run(&mut installer, obey).contains(&Output::Gone(plan.key)));
            assert_empty(&installer);
        }
    }

    #[test]
    fn nothing_is_kept_of_a_flow_that_never_was() {
        let mut installer = Installer::new(2);
        let plan = plan(20_000, "192.0.2.9:1000");
        for answer in [
            |_| None,
            |command: Command| Some(Event::Refused(command.flow(), Refusal::TableFull)),
        ] {
            installer.want(Owner(1), &plan);
            let ticket = installer
                .ticket(Timestamp::ZERO, &[plan.key])
                .expect("not there yet");
            let seen = run(&mut installer, answer);
            let failures = seen
                .iter()
                .filter(|output| matches!(output, Output::Failed(failed, _) if *failed == ticket));
            assert_eq!(failures.count(), 1);
            installer.unwant(Timestamp::ZERO, plan.key);
            run(&mut installer, obey);
            let retries = std::mem::take(&mut installer.timers);
            assert!(
                retries
                    .iter()
                    .all(|(_, timer)| matches!(timer, Timer::Retry(..)))
            );
            assert_empty(&installer);
        }
    }

    fn link() -> Link {
        Link {
            device: contract::DeviceId(0),
            source: contract::MacAddress::default(),
            destination: contract::MacAddress::default(),
            vlan: contract::VlanTags::None,
            mtu: 1500,
        }
    }
}
