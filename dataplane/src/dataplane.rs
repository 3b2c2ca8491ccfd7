//! The dataplane as the binary sees it: started from settings, commanded through mailboxes, reported on.

use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use af_xdp::{Doorbell, HashFields, numa};
use contract::{Command, DeviceId, Event, FlowKey, Homes, Timestamp, WorkerId};

use tracing::error;

use crate::bring_up::{self, OpenDevice, OpenWorker};
use crate::injection::{Injected, Services};
use crate::mailbox::{Mailbox, Reader};
use crate::pinned::{NotPinned, Outcome, Pinned};
use crate::pipeline::{Origin, Pipeline};
use crate::port::{Place, Port};
use crate::report::{
    Binding, DeviceReport, FamilyReport, FlowTally, HandledReport, ModeInForce, NumaPlaces, Report,
    SocketReport, TimeSpent, WorkerReport,
};
use crate::settings::{self, Settings, Steering};
use crate::start_error::StartError;
use crate::steering::arrivals::{Arrivals, Standing};
use crate::storage::{self, StorageError};
use crate::tally::{FlowTallies, SocketTally, WorkerTally};
use crate::tap::{self, TapReader};
use crate::worker::{Shared, Worker};
use crate::xsk_port::XskPort;

/// The worker's mailbox has no room: nothing of the command was or will be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailboxFull;

/// The running workers. Dropping it stops them.
#[derive(Debug)]
pub struct Dataplane {
    workers: Vec<Running>,
    devices: Vec<(OpenDevice, ModeInForce)>,
    steering: Vec<Steering>,
    arrivals: Mutex<Watch>,
    bell: Arc<ControlBell>,
    stop: Arc<AtomicBool>,
}

/// How often arrivals may be looked at, and how many questions each time: 64 K take some 2 ms of the control
/// thread, and with one look a pass over 10,000 ports of 4 addresses and 16 workers takes 2.5 s.
const LOOK_PERIOD: Duration = Duration::from_millis(250);
const QUESTIONS: usize = 65_536;

/// Arrivals, and when they were last looked at.
#[derive(Debug)]
struct Watch {
    arrivals: Arrivals,
    looked: Option<Instant>,
}

/// Commands that a worker is left asleep for, at the most.
const MOST_UNTOLD: u32 = 32;

/// One worker as seen from outside.
#[derive(Debug)]
struct Running {
    thread: Option<Pinned>,
    bell: Arc<Doorbell>,
    /// Commands that a sleeping worker has not been told of.
    untold: Cell<u32>,
    shared: Shared,
    tap: TapReader,
    core: usize,
    bound: Vec<(Place, Binding)>,
    page_size: usize,
    frames: u32,
    numa: NumaPlaces,
}

impl Running {
    /// Wakes it, if there is something that it has not been told of.
    fn tell(&self) {
        if self.untold.replace(0) > 0 {
            self.bell.ring();
        }
    }
}

/// A worker that has all it needs and does not serve yet.
#[derive(Debug)]
struct Ready {
    worker: Worker<XskPort>,
    bell: Doorbell,
    shared: Shared,
    tap: TapReader,
    bound: Vec<(Place, Binding)>,
    page_size: usize,
    numa: NumaPlaces,
}

/// Tells the control plane that events wait: one system call, however many workers say so, until it looks.
#[derive(Debug)]
struct ControlBell {
    bell: Doorbell,
    rung: AtomicBool,
}

impl ControlBell {
    fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.bell.ring();
        }
    }

    /// Before looking: what is pushed after this rings again.
    fn silence(&self) {
        self.bell.clear();
        self.rung.swap(false, Ordering::AcqRel);
    }
}

/// Makes the control plane's event loop look, from any thread.
#[derive(Clone, Debug)]
pub struct Bell(Arc<ControlBell>);

impl Bell {
    /// Rings [`Dataplane::doorbell`], until it is drained.
    pub fn ring(&self) {
        self.0.ring();
    }
}

impl Dataplane {
    /// Opens the devices, loads and attaches the XDP programs, and starts a pinned thread for each worker, which
    /// makes its own UMEM, sockets and tables. None serves before all have. Times in events and tallies count
    /// from `origin`.
    pub fn start(settings: &Settings, origin: Instant) -> Result<Self, StartError> {
        let mut devices = bring_up::open_devices(settings)?;
        let threads = start_threads(settings)?;
        let (bound, opened) = bring_up::bind(settings, &mut devices, &threads)?;
        let ready = prepare(settings, opened, &threads)?;
        let families: Vec<_> = devices
            .iter()
            .map(|device| device.steered.families())
            .collect();
        let watch = Watch {
            arrivals: Arrivals::new(settings, &families),
            looked: None,
        };
        let modes: Vec<_> = devices.iter().map(|device| device.mode(bound)).collect();
        let mut dataplane = Self {
            workers: Vec::with_capacity(ready.len()),
            devices: devices.into_iter().zip(modes).collect(),
            steering: settings
                .devices
                .iter()
                .map(|device| device.steering)
                .collect(),
            arrivals: Mutex::new(watch),
            bell: Arc::new(ControlBell {
                bell: Doorbell::new()?,
                rung: AtomicBool::new(false),
            }),
            stop: Arc::new(AtomicBool::new(false)),
        };
        for (ready, thread) in ready.into_iter().zip(threads) {
            let running = dataplane.set_off(settings, ready, thread, origin);
            dataplane.workers.push(running);
        }
        Ok(dataplane)
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Hands a command to a worker and wakes it if it sleeps. A worker that does not exist takes none.
    pub fn submit(&self, worker: WorkerId, command: Command) -> Result<(), MailboxFull> {
        let submitted = self.post(worker, command);
        self.ring();
        submitted
    }

    /// The same for one of many commands: a worker that sleeps hears of them at [`Self::ring`], or when there are many.
    /// To wake a worker costs more than to write a command, and on a core that it shares the writer's turn.
    pub fn post(&self, worker: WorkerId, command: Command) -> Result<(), MailboxFull> {
        let worker = self.workers.get(usize::from(worker.0)).ok_or(MailboxFull)?;
        let pushed = worker.shared.commands.push(command);
        match (&pushed, worker.untold.get()) {
            (Ok(Reader::Asleep), _) => worker.untold.set(1),
            (Ok(Reader::Awake), 0) => {}
            (Ok(Reader::Awake), untold @ 1..MOST_UNTOLD) => worker.untold.set(untold + 1),
            _ => worker.tell(),
        }
        pushed.map(drop).map_err(|_| MailboxFull)
    }

    /// Wakes the workers that have not been told of commands.
    pub fn ring(&self) {
        self.workers.iter().for_each(Running::tell);
    }

    /// Readable while events wait: for the control plane's event loop.
    pub fn doorbell(&self) -> BorrowedFd<'_> {
        self.bell.bell.as_fd()
    }

    /// Rings the doorbell, for other threads that have something to say to the event loop.
    pub fn bell(&self) -> Bell {
        Bell(Arc::clone(&self.bell))
    }

    /// Moves every waiting event to `events`, oldest first for each worker, and silences the doorbell.
    pub fn drain(&self, events: &mut Vec<(WorkerId, Event)>) {
        self.bell.silence();
        for (index, worker) in self.workers.iter().enumerate() {
            let id = WorkerId(index as u16);
            let mailbox = &worker.shared.events;
            events.extend(std::iter::from_fn(|| mailbox.pop()).map(|event| (id, event)));
        }
    }

    /// A worker whose thread has ended, which none does by itself but by a panic: its queues are not served
    /// any more. The doorbell rings when it happens.
    pub fn dead_worker(&self) -> Option<WorkerId> {
        let has_ended = |worker: &Running| worker.shared.tally.ended.load(Ordering::Acquire);
        let dead = self.workers.iter().position(has_ended)?;
        Some(WorkerId(dead as u16))
    }

    /// Which worker the packets of a port arrive at, when what is known of it has changed. Looks where they did
    /// arrive: a bounded number of ports a quarter of a second.
    pub fn homes(&self) -> Option<Homes> {
        self.look().arrivals.news()
    }

    fn look(&self) -> MutexGuard<'_, Watch> {
        // Nothing in it can be left half done.
        let mut watch = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = watch.looked.is_none_or(|at| at.elapsed() >= LOOK_PERIOD);
        if is_due {
            watch.looked = Some(Instant::now());
            watch.arrivals.look(QUESTIONS, |worker, key| {
                let worker = self.workers.get(usize::from(worker.0));
                worker.map_or(0, |worker| worker.shared.flows.packets_at(key))
            });
        }
        watch
    }

    /// The state of every device and worker.
    pub fn report(&self) -> Report {
        let standings = self.look().arrivals.standings();
        let devices = self.devices.iter().zip(&self.steering).zip(0..);
        let workers = self.workers.iter().enumerate();
        Report {
            devices: devices
                .map(|(((open, mode), steering), id)| DeviceReport {
                    families: report_families(open, DeviceId(id), &standings),
                    ..report_device(open, *mode, *steering)
                })
                .collect(),
            workers: workers
                .map(|(index, worker)| report_worker(WorkerId(index as u16), worker))
                .collect(),
        }
    }

    /// What each worker that holds a flow at this key counted for it.
    pub fn flow_tally(&self, key: FlowKey) -> Vec<FlowTally> {
        let workers = self.workers.iter().enumerate();
        workers
            .filter_map(|(index, worker)| worker.shared.flows.read(WorkerId(index as u16), &key))
            .collect()
    }

    /// The copies that each worker makes for whoever records or listens.
    pub fn taps(&self) -> Vec<TapReader> {
        self.workers
            .iter()
            .map(|worker| worker.tap.clone())
            .collect()
    }

    /// Where payloads are put into flows.
    pub fn injector(&self) -> Injector {
        let workers = self.workers.iter();
        Injector(
            workers
                .map(|worker| (worker.shared.clone(), Arc::clone(&worker.bell)))
                .collect(),
        )
    }

    /// Stops the workers, joins their threads and detaches the programs.
    pub fn stop(self) {}

    fn set_off(
        &self,
        settings: &Settings,
        ready: Ready,
        thread: Pinned,
        origin: Instant,
    ) -> Running {
        let index = self.workers.len();
        let idle = settings.idle;
        let (stop, bell) = (Arc::clone(&self.stop), Arc::clone(&self.bell));
        let ended = Ended {
            id: WorkerId(index as u16),
            tally: Arc::clone(&ready.shared.tally),
            bell: Arc::clone(&bell),
        };
        let worker = ready.worker;
        let clock = move || Timestamp::ZERO + origin.elapsed();
        // It comes to an end when it is told to stop: nobody waits for the outcome.
        let _ = thread.hand(move || {
            let _ended = ended;
            worker.run(idle, &clock, &stop, &|| bell.ring());
        });
        Running {
            thread: Some(thread),
            bell: Arc::new(ready.bell),
            untold: Cell::new(0),
            shared: ready.shared,
            tap: ready.tap,
            core: settings.workers[index].core,
            bound: ready.bound,
            page_size: ready.page_size,
            frames: settings.frames,
            numa: ready.numa,
        }
    }
}

impl Drop for Dataplane {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        for worker in &self.workers {
            worker.bell.ring();
        }
        for worker in &mut self.workers {
            // Waits for the thread. A worker that panicked has said so ([`Ended`]).
            worker.thread = None;
        }
    }
}

/// Puts payloads into flows, from any thread.
#[derive(Clone, Debug)]
pub struct Injector(Arc<[(Shared, Arc<Doorbell>)]>);

impl Injector {
    /// Puts a payload into a flow: always by the same worker for the same flow, so that they keep their order, and wakes
    /// it if it sleeps. One that it has no room for is counted there.
    pub fn inject(&self, injected: Injected) -> Result<(), MailboxFull> {
        let count = self.0.len().max(1);
        // Ports of flows are even.
        let worker = usize::from(injected.key.port >> 1) % count;
        let (shared, bell) = self.0.get(worker).ok_or(MailboxFull)?;
        let pushed = shared.services.injections.push(injected);
        // Its reader sleeps, if it does, on the commands.
        if shared.commands.reader() == Reader::Asleep {
            bell.ring();
        }
        pushed.map(|_| ()).map_err(|_| MailboxFull)
    }
}

/// Marks the worker as ended, however its thread ends, and tells the control plane.
struct Ended {
    id: WorkerId,
    tally: Arc<WorkerTally>,
    bell: Arc<ControlBell>,
}

impl Drop for Ended {
    fn drop(&mut self) {
        if thread::panicking() {
            error!("{} has panicked: nothing of its queues is relayed", self.id);
        }
        self.tally.ended.store(true, Ordering::Release);
        self.bell.ring();
    }
}

fn start_threads(settings: &Settings) -> Result<Vec<Pinned>, StartError> {
    let workers = settings.workers.iter().zip(0..);
    let start = |(configured, worker): (&settings::Worker, u16)| {
        let core = configured.core;
        Pinned::start(format!("tandem-w{worker}"), core).map_err(|error| match error {
            NotPinned::Thread(source) => StartError::Thread { worker, source },
            NotPinned::Core => StartError::Pin { worker, core },
        })
    };
    workers.map(start).collect()
}

/// Makes the tables of all workers, each in its own thread.
fn prepare(
    settings: &Settings,
    opened: Vec<OpenWorker>,
    threads: &[Pinned],
) -> Result<Vec<Ready>, StartError> {
    let settings = Arc::new(settings.clone());
    let orders = opened.into_iter().zip(threads).map(|(opened, thread)| {
        let settings = Arc::clone(&settings);
        thread.hand(move || assemble(&settings, opened))
    });
    let orders: Vec<Outcome<_>> = orders.collect();
    let outcomes = orders.into_iter().zip(0..).map(|(order, worker)| {
        let assembled = order.wait().ok_or(StartError::Panic { worker })?;
        Ok(assembled?)
    });
    outcomes.collect()
}

/// Runs in the worker's thread: what is allocated here is first touched from its core, and all of it now,
/// not with the first calls.
fn assemble(settings: &Settings, open: OpenWorker) -> Result<Ready, StorageError> {
    let table = storage::flow_table(&settings.media, settings.flow_capacity)?;
    let news = storage::news(settings.flow_capacity);
    let (writer, reader) = tap::tap(tap::BUFFERS);
    let services = Services::new(writer);
    let shared = Shared {
        services: services.clone(),
        commands: Arc::new(Mailbox::new(settings.mailbox_capacity)),
        events: Arc::new(Mailbox::new(settings.mailbox_capacity)),
        flows: Arc::new(FlowTallies::new(&settings.media, settings.flow_capacity)?),
        tally: Arc::new(WorkerTally::new(open.bound.len())),
    };
    let tables = || {
        storage::spans(&table)
            .into_iter()
            .chain(shared.flows.spans())
    };
    for span in tables() {
        // What an old kernel cannot fault in comes with its first use, in this thread too.
        numa::fault_in(span);
    }
    let numa = NumaPlaces {
        core: numa::node_of_this_core(),
        umem: open.umem_nodes,
        tables: numa::nodes_of(tables()),
    };
    let devices = (0..settings.devices.len()).map(|id| DeviceId(id as u16));
    let pipeline = Pipeline::new(table, news, devices.collect(), services);
    let origins = open.port.places().iter().map(|place| Origin {
        device: place.device,
        checksums: settings.devices[usize::from(place.device.0)].checksums,
    });
    let origins = origins.collect();
    Ok(Ready {
        worker: Worker::new(open.port, pipeline, shared.clone(), origins),
        bell: open.bell,
        shared,
        tap: reader,
        bound: open.bound,
        page_size: open.page_size,
        numa,
    })
}

fn report_worker(id: WorkerId, worker: &Running) -> WorkerReport {
    let tally = &worker.shared.tally;
    let handled = &worker.shared.services.tally;
    let sockets = worker.bound.iter().zip(&tally.sockets);
    WorkerReport {
        worker: id,
        core: worker.core,
        numa: worker.numa.clone(),
        running: !tally.ended.load(Ordering::Acquire),
        sockets: sockets
            .map(|((place, binding), socket)| report_socket(*place, *binding, socket))
            .collect(),
        drops: tally.drops(),
        batches: tally.batches.read(),
        sleeps: tally.sleeps.read(),
        time: TimeSpent {
            busy: tally.busy.read(),
            idle: tally.idle.read(),
            asleep: tally.asleep.read(),
        },
        residence: tally.residence.counts(),
        frames: worker.frames,
        free_frames: tally.free_frames.read() as u32,
        page_size: worker.page_size,
        flows: tally.flows.read(),
        commands_refused: worker.shared.commands.refused(),
        events_delayed: tally.events_delayed.read(),
        handled: HandledReport {
            silenced: handled.silenced.read(),
            pressed: handled.pressed.read(),
            tapped: handled.tapped.read(),
            tap_lost: worker.tap.lost(),
            copied: handled.copied.read(),
            injected: handled.injected.read(),
            injections_refused: worker.shared.services.injections.refused(),
            not_made: handled.not_made.read(),
        },
    }
}

fn report_socket(place: Place, binding: Binding, socket: &SocketTally) -> SocketReport {
    let (levels, rx_level_max) = socket.levels();
    SocketReport {
        device: place.device,
        queue: place.queue,
        binding,
        rx_packets: socket.rx_packets.read(),
        rx_bytes: socket.rx_bytes.read(),
        tx_packets: socket.tx_packets.read(),
        tx_bytes: socket.tx_bytes.read(),
        levels,
        rx_level_max,
        kernel: socket.kernel(),
    }
}

fn report_families(
    open: &OpenDevice,
    device: DeviceId,
    standings: &[Standing],
) -> Vec<FamilyReport> {
    let standings = standings
        .iter()
        .filter(|standing| standing.device == device);
    let report = |standing: &Standing| {
        let families = open.steered.families().iter();
        let family = families.clone().find(|family| family.over == standing.over);
        let spell = |fields: Option<HashFields>| fields.map(|fields| fields.to_string());
        FamilyReport {
            name: standing.over.name(),
            fields: spell(family.and_then(|family| family.fields)),
            before: spell(family.and_then(|family| family.before)),
            knowledge: standing.knowledge,
            why: family.and_then(|family| family.rss.as_ref().err().map(ToString::to_string)),
            seen: standing.seen,
        }
    };
    standings.map(report).collect()
}

fn report_device(open: &OpenDevice, mode: ModeInForce, steering: Steering) -> DeviceReport {
    let verdicts = open.program.verdicts().ok();
    let verdicts = verdicts.iter().flat_map(|counts| counts.iter());
    DeviceReport {
        name: open.device.name().to_owned(),
        driver: open.device.driver().to_owned(),
        mode,
        queues: open.device.rx_queues(),
        numa_node: open.device.numa_node(),
        steering,
        families: Vec::new(),
        verdicts: verdicts
            .map(|(verdict, count)| (verdict.name(), count))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_panics_is_marked_and_rings() {
        let bell = Arc::new(ControlBell {
            bell: Doorbell::new().expect("an eventfd"),
            rung: AtomicBool::new(false),
        });
        let tally = Arc::new(WorkerTally::new(1));
        let ended = Ended {
            id: WorkerId(1),
            tally: Arc::clone(&tally),
            bell: Arc::clone(&bell),
        };
        let worker = thread::spawn(move || {
            let _ended = ended;
            panic!("of this test");
        });
        let heard = af_xdp::wait([bell.bell.as_fd()], Some(Duration::from_secs(10)));
        assert_eq!(heard.expect("a poll"), 1);
        assert!(tally.ended.load(Ordering::Acquire));
        assert!(worker.join().is_err());
    }
}
