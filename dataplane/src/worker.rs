//! One worker: the loop that owns a port, a pipeline and two mailboxes.
//!
//! ```text
//!   poll:  commands ─► for each socket: tend, receive, process, transmit, kick ─► events ─► sweep
//!   run:   poll until told to stop; adaptive workers sleep when it was quiet for a while
//! ```
//!
//! Nothing here is done for each packet but moving it: what a packet means is the pipeline's business.
//! The only module of a worker that reads a clock, which it is given.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use contract::{Command, DeviceId, DropReason, Event, Timestamp};

use crate::injection::{Injected, Services};
use crate::mailbox::Mailbox;
use crate::pipeline::{Origin, Pipeline, Verdict};
use crate::port::{BATCH, Port};
use crate::settings::IdlePolicy;
use crate::tally::{FlowTallies, WorkerTally};

/// Commands that are carried out between two looks at the rings: some 20 µs of work at the most.
const COMMANDS_PER_POLL: usize = 64;
/// Kicks after a batch. In copy mode one sends 32 packets (`TX_BATCH_SIZE`, net/xdp/xsk.c), so a batch of
/// 64 needs two; what is left after these is kicked at the next poll.
const KICKS_PER_BATCH: usize = 4;
/// In what time the idle sweep passes over the whole table: the error of idle detection.
const SWEEP_PERIOD: Duration = Duration::from_millis(250);
/// Slots that are swept between two looks at the rings: about 0.1 ms.
const SLOTS_PER_POLL: usize = 8192;
/// How often the kernel's counters are fetched, a system call for each socket.
const STATISTICS_PERIOD: Duration = Duration::from_millis(200);
/// The longest sleep: the idle sweep and the statistics go on.
const LONGEST_SLEEP: Duration = Duration::from_millis(100);
/// The longest sleep while events wait for room in their mailbox, whose emptying rings no bell here.
const SLEEP_WITH_NEWS: Duration = Duration::from_millis(2);

/// What a worker shares with the control plane's thread.
#[derive(Clone, Debug)]
pub struct Shared {
    /// Commands in.
    pub commands: Arc<Mailbox<Command>>,
    /// Events out.
    pub events: Arc<Mailbox<Event>>,
    /// Counters of flows.
    pub flows: Arc<FlowTallies>,
    /// Counters of the worker.
    pub tally: Arc<WorkerTally>,
    /// What those share with it who record, listen and play.
    pub services: Services,
}

/// What a poll came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Polled {
    /// There was something to do, and there may be more.
    pub worked: bool,
    /// Part of it were frames: more may follow at once. After commands alone nothing does that does not wake.
    pub relayed: bool,
    /// Events wait for the control plane.
    pub told: bool,
}

/// A worker over a port.
#[derive(Debug)]
pub struct Worker<P: Port> {
    port: P,
    pipeline: Pipeline,
    shared: Shared,
    /// Of each socket.
    origins: Vec<Origin>,
    /// The socket that transmits for each device, by [`DeviceId`].
    egress: Vec<Option<usize>>,
    /// Received, and not yet staged or released.
    batch: Vec<P::Packet>,
    verdicts: [Verdict; BATCH],
    /// To be transmitted, by socket.
    staged: Vec<Vec<P::Packet>>,
    swept: Timestamp,
    statistics_fetched: Timestamp,
    /// Up to when its time has been accounted for, and what it has done since.
    accounted: Timestamp,
    doing: Doing,
}

/// What a worker's time goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    Work,
    Looking,
    Sleep,
}

impl<P: Port> Worker<P> {
    /// A worker whose port has an origin for each socket.
    pub fn new(port: P, pipeline: Pipeline, shared: Shared, origins: Vec<Origin>) -> Self {
        debug_assert_eq!(port.places().len(), origins.len());
        let devices = origins.iter().map(|origin| usize::from(origin.device.0));
        let mut egress = vec![None; devices.max().map_or(0, |last| last + 1)];
        for (socket, origin) in origins.iter().enumerate() {
            // The first socket of a device sends for it, so that a flow's packets keep their order.
            egress[usize::from(origin.device.0)].get_or_insert(socket);
        }
        Self {
            batch: Vec::with_capacity(BATCH),
            staged: origins.iter().map(|_| Vec::with_capacity(BATCH)).collect(),
            verdicts: [Verdict::Drop(DropReason::Truncated); BATCH],
            swept: Timestamp::ZERO,
            statistics_fetched: Timestamp::ZERO,
            accounted: Timestamp::ZERO,
            doing: Doing::Looking,
            port,
            pipeline,
            shared,
            origins,
            egress,
        }
    }

    /// The port, for a test to be the wire.
    pub fn port_mut(&mut self) -> &mut P {
        &mut self.port
    }

    /// Looks at everything once.
    pub fn poll(&mut self, clock: &impl Fn() -> Timestamp) -> Polled {
        let mut polled = Polled::default();
        let now = clock();
        self.account(now);
        self.carry_out_commands(now, &mut polled);
        for socket in 0..self.origins.len() {
            self.port.tend(socket);
            let received = self.serve(socket, clock);
            let transmitting = self.port.is_transmitting(socket);
            if transmitting {
                self.port.kick(socket);
            }
            polled.relayed |= received > 0 || transmitting;
            let levels = self.port.levels(socket);
            self.shared.tally.sockets[socket].set_levels(levels, received as u32);
        }
        polled.relayed |= self.inject(now);
        polled.worked |= polled.relayed | self.sweep(now);
        self.tell_news(&mut polled);
        self.publish(now);
        self.doing = if polled.worked {
            Doing::Work
        } else {
            Doing::Looking
        };
        polled
    }

    /// Books the time since the last call on what was done in it: from the start of a poll to the start of
    /// the next, so that no poll needs a second look at the clock.
    #[inline]
    fn account(&mut self, now: Timestamp) {
        let tally = &self.shared.tally;
        let spent = match self.doing {
            Doing::Work => &tally.busy,
            Doing::Looking => &tally.idle,
            Doing::Sleep => &tally.asleep,
        };
        spent.add(now.since(self.accounted).as_nanos() as u64);
        self.accounted = now;
    }

    /// Polls until told to stop. `ring` tells the control plane that events wait.
    pub fn run(
        mut self,
        idle: IdlePolicy,
        clock: &impl Fn() -> Timestamp,
        stop: &AtomicBool,
        ring: &impl Fn(),
    ) {
        let mut busy = clock();
        self.accounted = busy;
        while !stop.load(Ordering::Acquire) {
            let polled = self.poll(clock);
            if polled.told {
                ring();
            }
            let IdlePolicy::Adaptive { spin } = idle else {
                std::hint::spin_loop();
                continue;
            };
            let now = clock();
            if polled.relayed {
                busy = now;
            } else if !polled.worked && now.since(busy) >= spin {
                self.account(now);
                self.doing = Doing::Sleep;
                self.sleep(stop);
            }
        }
    }

    /// Sleeps until there is something to do. The caller has just found nothing, an empty TX ring included:
    /// nobody would kick one that is not.
    fn sleep(&mut self, stop: &AtomicBool) {
        if !self.shared.commands.fall_asleep() {
            return;
        }
        // Whoever injects looks whether the reader of commands sleeps, after it has put its payload in.
        if !self.shared.services.injections.is_empty() {
            self.shared.commands.wake_up();
            return;
        }
        // Who stops the worker rings its bell after it has set `stop`.
        if !stop.load(Ordering::Acquire) {
            let timeout = if self.pipeline.has_news() {
                SLEEP_WITH_NEWS
            } else {
                LONGEST_SLEEP
            };
            self.shared.tally.sleeps.add(1);
            self.port.sleep(timeout);
        }
        self.shared.commands.wake_up();
    }

    /// Takes a command only if there is room for its acknowledgement, so that none is ever lost.
    fn carry_out_commands(&mut self, now: Timestamp, polled: &mut Polled) {
        for _ in 0..COMMANDS_PER_POLL {
            if !self.shared.events.has_room() {
                break;
            }
            let Some(command) = self.shared.commands.pop() else {
                break;
            };
            let event = self.pipeline.command(&self.shared.flows, &command, now);
            self.tell(event, polled);
            polled.worked = true;
        }
    }

    fn tell_news(&mut self, polled: &mut Polled) {
        while self.pipeline.has_news() {
            if !self.shared.events.has_room() {
                self.shared.tally.events_delayed.add(1);
                return;
            }
            if let Some(event) = self.pipeline.next_event() {
                self.tell(event, polled);
            }
        }
    }

    fn tell(&self, event: Event, polled: &mut Polled) {
        let pushed = self.shared.events.push(event);
        debug_assert!(pushed.is_ok(), "the only writer has looked for room");
        polled.told = true;
    }

    /// Receives and forwards one batch; says of how many packets.
    fn serve(&mut self, socket: usize, clock: &impl Fn() -> Timestamp) -> usize {
        self.port.receive(socket, &mut self.batch);
        let count = self.batch.len();
        if count == 0 {
            return 0;
        }
        let read = clock();
        let lengths = self.batch.iter().map(|packet| self.port.len_of(packet));
        let received: usize = lengths.sum();
        let verdicts = &mut self.verdicts[..count];
        let origin = self.origins[socket];
        let flows = &self.shared.flows;
        let port = &mut self.port;
        self.pipeline
            .process(port, flows, origin, &mut self.batch, verdicts, read);
        let tally = &self.shared.tally.sockets[socket];
        tally.rx_packets.add(count as u64);
        tally.rx_bytes.add(received as u64);
        self.shared.tally.batches.add(1);
        self.stage();
        if self.pipeline.has_copies() {
            self.copy(read);
        }
        let sent = self.send_all();
        if sent > 0 {
            let stayed = clock().since(read).as_nanos() as u64;
            self.shared.tally.residence.record(stayed, sent as u64);
        }
        count
    }

    /// Sends what others have put into flows; whether there was something.
    fn inject(&mut self, now: Timestamp) -> bool {
        let mut any = false;
        for _ in 0..BATCH {
            let Some(injected) = self.shared.services.injections.pop() else {
                break;
            };
            any = true;
            if self.make(&injected, now) {
                self.shared.services.tally.injected.add(1);
            }
        }
        if any {
            self.send_all();
        }
        any
    }

    /// Stages the copies that a batch has led to.
    #[cold]
    fn copy(&mut self, now: Timestamp) {
        while let Some(copy) = self.pipeline.next_copy() {
            if self.make(&copy, now) {
                self.shared.services.tally.copied.add(1);
            }
        }
    }

    /// Stages a packet that was not received, if there is a frame and a way out.
    fn make(&mut self, made: &Injected, now: Timestamp) -> bool {
        let Some(mut packet) = self.port.take() else {
            self.shared.services.tally.not_made.add(1);
            return false;
        };
        let leaves = self.pipeline.make(&mut self.port, &mut packet, made, now);
        let socket = leaves
            .ok()
            .and_then(|device| egress_of(&self.egress, device));
        match socket {
            Some(socket) => self.staged[socket].push(packet),
            None => {
                self.shared.services.tally.not_made.add(1);
                self.port.release(packet);
            }
        }
        socket.is_some()
    }

    fn send_all(&mut self) -> usize {
        (0..self.staged.len()).map(|egress| self.send(egress)).sum()
    }

    /// Carries the verdicts out: each packet goes to a stage or back to the free list.
    fn stage(&mut self) {
        for (packet, verdict) in self.batch.drain(..).zip(&self.verdicts) {
            let reason = match *verdict {
                Verdict::Forward(device) => match egress_of(&self.egress, device) {
                    Some(socket) => {
                        self.staged[socket].push(packet);
                        continue;
                    }
                    // Not reached: entries that name such a device are refused.
                    None => DropReason::NoNextHop,
                },
                Verdict::Drop(reason) => reason,
            };
            self.shared.tally.dropped(reason);
            self.port.release(packet);
        }
    }

    /// Hands a socket's stage to its TX ring and tells the kernel; what the ring has no room for is dropped.
    fn send(&mut self, socket: usize) -> usize {
        if self.staged[socket].is_empty() {
            return 0;
        }
        let stage = &mut self.staged[socket];
        let port = &mut self.port;
        let staged: usize = stage.iter().map(|packet| port.len_of(packet)).sum();
        let sent = port.transmit(socket, stage);
        let mut refused = 0;
        for packet in self.staged[socket].drain(..) {
            refused += self.port.len_of(&packet);
            self.shared.tally.dropped(DropReason::TxFull);
            self.port.release(packet);
        }
        let tally = &self.shared.tally.sockets[socket];
        tally.tx_packets.add(sent as u64);
        tally.tx_bytes.add((staged - refused) as u64);
        self.port.kick(socket);
        for _ in 1..KICKS_PER_BATCH {
            if !self.port.is_transmitting(socket) {
                break;
            }
            self.port.kick(socket);
        }
        sent
    }

    /// Sweeps as many slots as are due; `true` when more are.
    fn sweep(&mut self, now: Timestamp) -> bool {
        let capacity = self.pipeline.capacity();
        if self.pipeline.flows() == 0 {
            self.swept = now;
            return false;
        }
        let elapsed = now.since(self.swept).min(SWEEP_PERIOD).as_nanos() as usize;
        let due = capacity.saturating_mul(elapsed) / SWEEP_PERIOD.as_nanos() as usize;
        if due < capacity.min(BATCH) {
            return false;
        }
        let slots = due.min(SLOTS_PER_POLL);
        self.pipeline.sweep(&self.shared.flows, slots, now);
        if slots == due {
            self.swept = now;
            return false;
        }
        let covered = SWEEP_PERIOD.mul_f64(slots as f64 / capacity as f64);
        self.swept = self.swept.max(Timestamp::from_nanos(
            now.as_nanos()
                .saturating_sub(SWEEP_PERIOD.as_nanos() as u64),
        )) + covered;
        true
    }

    fn publish(&mut self, now: Timestamp) {
        let tally = &self.shared.tally;
        tally.free_frames.set(u64::from(self.port.free_frames()));
        tally.flows.set(self.pipeline.flows() as u64);
        if now.since(self.statistics_fetched) < STATISTICS_PERIOD {
            return;
        }
        self.statistics_fetched = now;
        for (socket, tally) in tally.sockets.iter().enumerate() {
            // Counters never go back: what the kernel does not tell stays as it was.
            if let Some(kernel) = self.port.statistics(socket) {
                tally.set_kernel(&kernel);
            }
        }
    }
}

fn egress_of(egress: &[Option<usize>], device: DeviceId) -> Option<usize> {
    egress.get(usize::from(device.0)).copied().flatten()
}
