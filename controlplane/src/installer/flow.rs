//! One port: what is wanted there, and what each worker has of it.

use std::time::Duration;

use contract::{Command, Event, FlowEntry, FlowId, FlowKey, Refusal, WorkerId};

use super::packed::Packed;
use super::worker_set::WorkerSet;
use super::{MAX_ATTEMPTS, Owner, Ticket, TicketFailure};

/// A port with a flow, wanted or not yet gone.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) key: FlowKey,
    /// What its user calls itself.
    pub(super) owner: Owner,
    wanted: Option<Packed>,
    /// Counts the changes of `wanted`.
    generation: u64,
    workers: u16,
    /// The workers that find it idle.
    idle: WorkerSet,
    /// `None` when every worker has acknowledged what is wanted and nobody waits: nearly always.
    motion: Option<Box<Motion>>,
}

/// What is kept of a flow until it has settled.
#[derive(Debug)]
struct Motion {
    slots: Vec<Slot>,
    /// Those that wait for this port, among others.
    tickets: Vec<Ticket>,
}

/// What one worker has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Slot {
    /// The flow that the worker acknowledged last, and of which generation.
    held: Option<(FlowId, u64)>,
    under_way: Option<UnderWay>,
    /// Full mailboxes met in a row.
    attempts: u32,
    /// A retry is due later: nothing is sent until then.
    waits: bool,
    /// The generation that the worker refused, or that was given up: not tried again.
    hopeless: Option<u64>,
}

/// The command that the worker has yet to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct UnderWay {
    id: FlowId,
    generation: u64,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Install,
    Update,
    Remove,
}

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Not the command that is under way.
    Stale,
    /// Done.
    Done,
    /// Done: the worker has this flow no more.
    Removed(FlowId),
    /// Not done, and it will not be.
    Failed(TicketFailure),
    /// To be tried again after this long.
    Retry(Duration),
    /// Tried too often.
    Abandoned,
}

/// 10 ms, doubled at each attempt up to one second: a mailbox drains in microseconds unless its worker
/// is stuck, and a thousand calls that end at once must not spin the control core.
pub(super) fn retry_delay(attempts: u32) -> Duration {
    Duration::from_millis(10 << attempts.min(7)).min(Duration::from_secs(1))
}

impl Flow {
    pub(super) fn new(key: FlowKey, workers: usize) -> Self {
        Self {
            key,
            owner: Owner(0),
            wanted: None,
            generation: 0,
            workers: u16::try_from(workers).unwrap_or(u16::MAX),
            idle: WorkerSet::none(workers),
            motion: Some(Box::new(Motion {
                slots: vec![Slot::default(); workers],
                tickets: Vec::new(),
            })),
        }
    }

    pub(super) fn want(&mut self, entry: FlowEntry) {
        let entry = Packed::new(&entry);
        if self.wanted.as_ref() == Some(&entry) {
            return;
        }
        self.move_on();
        let idle_after = self.wanted.as_ref().and_then(Packed::idle_after);
        if idle_after != entry.idle_after() {
            self.idle.clear();
        }
        self.wanted = Some(entry);
        self.generation += 1;
    }

    /// Nothing is wanted any more; the flow that was.
    pub(super) fn unwant(&mut self) -> Option<FlowId> {
        self.wanted.as_ref()?;
        self.move_on();
        let former = self.wanted.take()?;
        self.generation += 1;
        self.idle.clear();
        Some(former.id)
    }

    /// The entry that is wanted.
    pub(super) fn wanted(&self) -> Option<FlowEntry> {
        let wanted = self.wanted.as_ref()?;
        Some(wanted.unpack(self.key))
    }

    /// The name of the flow that is wanted.
    pub(super) fn wanted_id(&self) -> Option<FlowId> {
        self.wanted.as_ref().map(|entry| entry.id)
    }

    /// Whether the wanted flow has this name.
    pub(super) fn is(&self, id: FlowId) -> bool {
        self.wanted_id() == Some(id)
    }

    /// Whether anything here still goes by this name.
    pub(super) fn names(&self, id: FlowId) -> bool {
        self.is(id) || self.every_name().any(|name| name == id)
    }

    pub(super) fn every_name(&self) -> impl Iterator<Item = FlowId> + '_ {
        let motion = self.motion.iter();
        let slots = motion.flat_map(|motion| &motion.slots).flat_map(|slot| {
            let held = slot.held.map(|(id, _)| id);
            held.into_iter()
                .chain(slot.under_way.map(|command| command.id))
        });
        slots.chain(self.wanted_id())
    }

    /// Those that wait for this port, among others.
    pub(super) fn tickets(&self) -> &[Ticket] {
        let motion = self.motion.as_ref();
        motion.map_or(&[], |motion| &motion.tickets)
    }

    pub(super) fn add_ticket(&mut self, ticket: Ticket) {
        self.move_on().tickets.push(ticket);
    }

    pub(super) fn forget_ticket(&mut self, ticket: Ticket) {
        if let Some(motion) = &mut self.motion {
            motion.tickets.retain(|other| *other != ticket);
            self.come_to_rest();
        }
    }

    pub(super) fn settled_workers(&self) -> usize {
        let Some(motion) = &self.motion else {
            return usize::from(self.workers);
        };
        let settled = motion.slots.iter().filter(|slot| self.is_settled_at(slot));
        settled.count()
    }

    /// Whether every worker has acknowledged what is wanted.
    pub(super) fn is_settled(&self) -> bool {
        let motion = self.motion.as_ref();
        motion.is_none_or(|motion| motion.slots.iter().all(|slot| self.is_settled_at(slot)))
    }

    fn is_settled_at(&self, slot: &Slot) -> bool {
        slot.under_way.is_none() && slot.held == self.settled()
    }

    /// What a worker that has settled holds.
    fn settled(&self) -> Option<(FlowId, u64)> {
        self.wanted_id().map(|id| (id, self.generation))
    }

    /// Whether nothing is left: not wanted, and at no worker.
    pub(super) fn is_gone(&self) -> bool {
        let empty = |slot: &Slot| slot.held.is_none() && slot.under_way.is_none();
        let motion = self.motion.as_ref();
        self.wanted.is_none() && motion.is_none_or(|motion| motion.slots.iter().all(empty))
    }

    pub(super) fn idle(&mut self, worker: WorkerId, idle: bool) {
        let expected = self
            .wanted
            .as_ref()
            .is_some_and(|entry| entry.idle_after().is_some());
        if worker.0 < self.workers {
            self.idle.set(worker, idle && expected);
        }
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.workers > 0 && self.idle.len() == usize::from(self.workers)
    }

    /// Something is about to change: the workers are no longer all alike.
    fn move_on(&mut self) -> &mut Motion {
        let alike = Slot {
            held: self.settled(),
            ..Slot::default()
        };
        let workers = usize::from(self.workers);
        self.motion.get_or_insert_with(|| {
            Box::new(Motion {
                slots: vec![alike; workers],
                tickets: Vec::new(),
            })
        })
    }

    /// When all workers are alike and nobody waits, nothing is kept of each.
    fn come_to_rest(&mut self) {
        let alike = Slot {
            held: self.settled(),
            ..Slot::default()
        };
        let at_rest = |motion: &Motion| {
            motion.tickets.is_empty() && motion.slots.iter().all(|slot| *slot == alike)
        };
        if self.wanted.is_some() && self.motion.as_deref().is_some_and(at_rest) {
            self.motion = None;
        }
    }

    /// The command that brings the worker closer to what is wanted.
    pub(super) fn next_command(&mut self, worker: WorkerId) -> Option<Command> {
        let (key, generation) = (self.key, self.generation);
        let wanted = self.motion.as_ref().and_then(|_| self.wanted());
        let motion = self.motion.as_mut()?;
        let slot = motion.slots.get_mut(usize::from(worker.0))?;
        if slot.under_way.is_some() || slot.waits || slot.hopeless == Some(generation) {
            return None;
        }
        let (kind, command) = match (wanted, slot.held) {
            (None, None) => return None,
            (Some(entry), None) => (Kind::Install, Command::Install(entry)),
            (Some(entry), Some((id, held))) if entry.id == id => {
                if held == generation {
                    return None;
                }
                (Kind::Update, Command::Update(entry))
            }
            (_, Some((id, _))) => (Kind::Remove, Command::Remove { id, key }),
        };
        slot.under_way = Some(UnderWay {
            id: command.flow(),
            generation,
            kind,
        });
        Some(command)
    }

    /// The worker carried a command out.
    pub(super) fn acknowledged(&mut self, worker: WorkerId, event: Event) -> Outcome {
        let (id, kind) = match event {
            Event::Installed(id) => (id, Kind::Install),
            Event::Updated(id) => (id, Kind::Update),
            Event::Removed(id) => (id, Kind::Remove),
            _ => return Outcome::Stale,
        };
        let Some((slot, command)) = self.answered(worker, id) else {
            return Outcome::Stale;
        };
        debug_assert_eq!(command.kind, kind, "a worker answers in order");
        slot.attempts = 0;
        if command.kind == Kind::Remove {
            slot.held = None;
            return Outcome::Removed(id);
        }
        slot.held = Some((id, command.generation));
        slot.hopeless = None;
        self.come_to_rest();
        Outcome::Done
    }

    /// The worker did not.
    pub(super) fn refused(&mut self, worker: WorkerId, id: FlowId, refusal: Refusal) -> Outcome {
        let Some((slot, command)) = self.answered(worker, id) else {
            return Outcome::Stale;
        };
        slot.attempts = 0;
        if command.kind == Kind::Remove || refusal == Refusal::UnknownFlow {
            slot.held = None;
        }
        if command.kind == Kind::Remove {
            return Outcome::Removed(id);
        }
        slot.hopeless = Some(command.generation);
        Outcome::Failed(TicketFailure::Refused(worker, refusal))
    }

    /// The command never reached the worker. When it must not be tried again (`final_try`), it fails.
    pub(super) fn rejected(&mut self, worker: WorkerId, id: FlowId, final_try: bool) -> Outcome {
        let Some((slot, command)) = self.answered(worker, id) else {
            return Outcome::Stale;
        };
        if final_try {
            slot.hopeless = Some(command.generation);
            return Outcome::Failed(TicketFailure::MailboxFull(worker));
        }
        slot.attempts += 1;
        if slot.attempts > MAX_ATTEMPTS {
            slot.attempts = 0;
            slot.hopeless = Some(command.generation);
            return Outcome::Abandoned;
        }
        slot.waits = true;
        Outcome::Retry(retry_delay(slot.attempts))
    }

    /// The retry that the worker's slot waits for is due.
    pub(super) fn retry_due(&mut self, worker: WorkerId) {
        let slots = self.motion.as_mut().map(|motion| &mut motion.slots);
        if let Some(slot) = slots.and_then(|slots| slots.get_mut(usize::from(worker.0))) {
            slot.waits = false;
        }
    }

    /// Takes the command under way out of the worker's slot, if it is about this flow.
    fn answered(&mut self, worker: WorkerId, id: FlowId) -> Option<(&mut Slot, UnderWay)> {
        let motion = self.motion.as_mut()?;
        let slot = motion.slots.get_mut(usize::from(worker.0))?;
        let command = slot.under_way.filter(|command| command.id == id)?;
        slot.under_way = None;
        Some((slot, command))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::{DscpMarking, Egress, Latch, LatchPolicy};
    use std::net::IpAddr;

    const WORKER: WorkerId = WorkerId(0);

    fn key(port: u16) -> FlowKey {
        let address = IpAddr::from([192, 0, 2, 1]);
        FlowKey { address, port }
    }

    fn entry(id: u64, idle_after: Option<Duration>) -> FlowEntry {
        FlowEntry {
            id: FlowId(id),
            key: key(20_000),
            payload: contract::Payload::Rtp,
            latch: Latch {
                policy: LatchPolicy::Off,
                signalled: None,
                latched: None,
                armed: 0,
            },
            rtp: Some(Egress {
                source: key(20_002),
                destination: None,
                link: None,
                dscp: DscpMarking::Preserve,
            }),
            rtcp: None,
            idle_after,
            handling: contract::Handling::default(),
        }
    }

    fn next(flow: &mut Flow) -> Option<Command> {
        flow.next_command(WORKER)
    }

    /// The table at the head of `installer`.
    #[test]
    fn the_command_is_what_is_wanted_minus_what_is_acknowledged() {
        let mut flow = Flow::new(key(20_000), 1);
        assert!(flow.is_gone() && next(&mut flow).is_none());
        let (old, new) = (entry(1, None), entry(1, Some(Duration::from_secs(1))));
        flow.want(old);
        assert_eq!(next(&mut flow), Some(Command::Install(old)));
        flow.want(new);
        assert_eq!(next(&mut flow), None, "one command at a time");
        assert!(!flow.is_settled());
        assert_eq!(
            flow.acknowledged(WORKER, Event::Installed(FlowId(1))),
            Outcome::Done
        );
        assert_eq!(next(&mut flow), Some(Command::Update(new)));
        assert_eq!(
            flow.acknowledged(WORKER, Event::Updated(FlowId(1))),
            Outcome::Done
        );
        assert!(flow.is_settled() && next(&mut flow).is_none());
        assert_eq!(flow.unwant(), Some(FlowId(1)));
        let other = entry(2, None);
        flow.want(other);
        let remove = Command::Remove {
            id: FlowId(1),
            key: key(20_000),
        };
        assert_eq!(next(&mut flow), Some(remove), "the port is another's first");
        let removed = flow.acknowledged(WORKER, Event::Removed(FlowId(1)));
        assert_eq!(removed, Outcome::Removed(FlowId(1)));
        assert!(!flow.names(FlowId(1)));
        assert_eq!(next(&mut flow), Some(Command::Install(other)));
    }

    #[test]
    fn a_refused_entry_is_not_tried_again_until_it_changes() {
        let mut flow = Flow::new(key(20_000), 1);
        flow.want(entry(1, None));
        assert!(next(&mut flow).is_some());
        let refused = flow.refused(WORKER, FlowId(1), Refusal::TableFull);
        let failure = TicketFailure::Refused(WORKER, Refusal::TableFull);
        assert_eq!(refused, Outcome::Failed(failure));
        assert_eq!(next(&mut flow), None);
        assert_eq!(
            flow.refused(WORKER, FlowId(1), Refusal::TableFull),
            Outcome::Stale
        );
        flow.want(entry(1, Some(Duration::from_secs(1))));
        assert!(matches!(next(&mut flow), Some(Command::Install(_))));
    }

    #[test]
    fn retries_slow_down_and_end() {
        let mut flow = Flow::new(key(20_000), 1);
        flow.want(entry(1, None));
        let mut waits = Vec::new();
        while next(&mut flow).is_some() {
            match flow.rejected(WORKER, FlowId(1), false) {
                Outcome::Retry(after) => waits.push(after),
                outcome => assert_eq!(outcome, Outcome::Abandoned),
            }
            assert_eq!(next(&mut flow), None, "not before it is due");
            flow.retry_due(WORKER);
        }
        assert_eq!(waits.len(), 128);
        assert!(waits.is_sorted() && waits[0] < Duration::from_millis(50));
        assert_eq!(waits.last(), Some(&Duration::from_secs(1)));
    }

    #[test]
    fn idleness_counts_only_where_media_is_expected_and_anew_when_it_is_again() {
        let mut flow = Flow::new(key(20_000), 1);
        flow.want(entry(1, None));
        flow.idle(WORKER, true);
        assert!(!flow.is_quiet());
        flow.want(entry(1, Some(Duration::from_secs(1))));
        flow.idle(WORKER, true);
        assert!(flow.is_quiet());
        flow.want(entry(1, None));
        flow.want(entry(1, Some(Duration::from_secs(1))));
        assert!(!flow.is_quiet());
    }
}
