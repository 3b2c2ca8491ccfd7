//! Opens what the settings name: devices, XDP programs, and for each worker a UMEM and its sockets.
//!
//! ```text
//!   Best:  native XDP ──refused──► generic XDP           for each device
//!          zero-copy bind ──refused──► copy              for all: sockets that share a UMEM share the mode
//! ```
//!
//! Only what is configured as `Best` may fall, and only because the driver cannot; where it ended up is
//! reported. On an error everything that was opened is closed again by being dropped. Starts no thread: what is
//! a worker's is opened by its own, which it is given.

use std::collections::HashSet;
use std::thread;
use std::time::Duration;

use af_xdp::{
    AttachMode, BindMode, BusyPoll, Doorbell, Error, HugePages, Link, PageSize, Program, RingSizes,
};
use af_xdp::{RxFlowHash, Socket, SocketConfig, UdpOver, Umem, UmemConfig, numa};
use contract::DeviceId;
use tracing::warn;

use crate::pinned::{Outcome, Pinned};
use crate::port::{BATCH, Place, RingLevels};
use crate::report::{Binding, ModeInForce};
use crate::settings::{Settings, XdpMode};
use crate::start_error::StartError;
use crate::steering::Steered;
use crate::xsk_port::XskPort;

/// Bytes of a frame: room for the largest packet of an Ethernet without jumbo frames, and its headroom.
const FRAME_SIZE: u32 = 2048;
/// Packets that one kick sends in copy mode, where the kernel lets it be chosen (6.17): four batches. Fewer
/// cost a system call more a batch, and more would keep one worker in the kernel for long.
const TX_BUDGET: u32 = 256;
/// How often a queue that is still busy is tried again: the kernel takes the sockets of a failed attempt, or
/// of a process that was just killed, apart in the background, 4 to 16 ms each, and a bind by itself waits
/// for 200 ms. Fewer tries, and a quick restart with many queues fails; more, and a queue that is really
/// taken is reported late (after 1.5 s now).
const BUSY_RETRIES: u32 = 5;
const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// A device with its program attached. Dropping it detaches.
#[derive(Debug)]
pub(crate) struct OpenDevice {
    /// What the kernel knows of it.
    pub(crate) device: af_xdp::Device,
    /// Its program.
    pub(crate) program: Program,
    /// Which queue it gives a packet to.
    pub(crate) steered: Steered<RxFlowHash>,
    attached: AttachMode,
    _link: Link,
}

/// A worker's port, ready to run, and what is said of it. Made by the worker's own thread.
#[derive(Debug)]
pub(crate) struct OpenWorker {
    /// Its sockets and frames.
    pub(crate) port: XskPort,
    /// Rings to end its sleep.
    pub(crate) bell: Doorbell,
    /// Where its sockets are bound, and how.
    pub(crate) bound: Vec<(Place, Binding)>,
    /// Bytes in a page of its UMEM.
    pub(crate) page_size: usize,
    /// The NUMA nodes that its frames lie on.
    pub(crate) umem_nodes: Vec<u32>,
}

/// Opens the devices of the settings and attaches the program to each.
pub(crate) fn open_devices(settings: &Settings) -> Result<Vec<OpenDevice>, StartError> {
    check(settings)?;
    (0..settings.devices.len())
        .map(|index| open_device(settings, index))
        .collect()
}

impl OpenDevice {
    /// The rung of the ladder that it ended up on, when sockets were bound so.
    pub(crate) fn mode(&self, bound: BindMode) -> ModeInForce {
        match (self.attached, bound) {
            (AttachMode::Generic, _) => ModeInForce::Generic,
            (AttachMode::Native, BindMode::Copy) => ModeInForce::Copy,
            (AttachMode::Native, BindMode::ZeroCopy) => ModeInForce::ZeroCopy,
        }
    }
}

/// What the types of the settings cannot say.
fn check(settings: &Settings) -> Result<(), StartError> {
    let refuse = |what: String| Err(StartError::Settings(what));
    if settings.devices.is_empty() || settings.workers.is_empty() {
        return refuse("the dataplane needs at least one device and one worker".into());
    }
    let known = |device: &DeviceId| usize::from(device.0) < settings.devices.len();
    if !settings.media.iter().all(|media| known(&media.device)) {
        return refuse("a media address names a device that is not configured".into());
    }
    if let Some(media) = settings
        .media
        .iter()
        .find(|media| media.ports.0 > media.ports.1)
    {
        return refuse(format!("the port range of {} is empty", media.address));
    }
    let mut owned = HashSet::new();
    for (index, worker) in settings.workers.iter().enumerate() {
        if worker.queues.len() >= af_xdp::MAX_WATCHED {
            return refuse(format!("worker {index} owns more queues than it can watch"));
        }
        for (device, queue) in &worker.queues {
            if !known(device) || !owned.insert((*device, *queue)) {
                let name = settings.devices.get(usize::from(device.0));
                let name = name.map_or("an unknown device", |device| &device.name);
                return refuse(format!(
                    "{queue} of {name} is not there, or has two workers"
                ));
            }
        }
        for (id, device) in settings.devices.iter().enumerate() {
            if !worker.queues.iter().any(|(of, _)| usize::from(of.0) == id) {
                return refuse(format!(
                    "worker {index} owns no queue of {}: it could not send there (give the device as many queues as there are workers)",
                    device.name
                ));
            }
        }
    }
    Ok(())
}

fn open_device(settings: &Settings, index: usize) -> Result<OpenDevice, StartError> {
    let configured = &settings.devices[index];
    let device = af_xdp::Device::by_name(&configured.name)?;
    let mut program = Program::load()?;
    for media in &settings.media {
        if usize::from(media.device.0) == index {
            program.set_media_range(media.address, media.ports.0, media.ports.1)?;
        }
    }
    let first = match configured.mode {
        XdpMode::Generic => AttachMode::Generic,
        XdpMode::Best | XdpMode::ZeroCopy | XdpMode::Copy => AttachMode::Native,
    };
    let (attached, link) = match program.attach(&device, first) {
        Err(error @ (Error::NoNativeXdp { .. } | Error::NativeRefused { .. }))
            if configured.mode == XdpMode::Best =>
        {
            warn!("{error}; using generic mode");
            let link = program.attach(&device, AttachMode::Generic)?;
            (AttachMode::Generic, link)
        }
        attached => (first, attached?),
    };
    warn_of_orphans(settings, index, device.rx_queues());
    let steered = steer(settings, index)?;
    Ok(OpenDevice {
        device,
        program,
        steered,
        attached,
        _link: link,
    })
}

/// A single worker gets every packet: there is nothing to choose.
fn steer(settings: &Settings, index: usize) -> Result<Steered<RxFlowHash>, StartError> {
    let configured = &settings.devices[index];
    let of_device = settings
        .media
        .iter()
        .filter(|media| usize::from(media.device.0) == index);
    let has = |v4: bool| of_device.clone().any(|media| media.address.is_ipv4() == v4);
    let overs = [(UdpOver::V4, has(true)), (UdpOver::V6, has(false))];
    let overs = overs.into_iter().filter(|(_, has)| *has);
    let overs = overs.filter(|_| settings.workers.len() > 1);
    let hash = RxFlowHash::of(&configured.name)?;
    let overs = overs.map(|(over, _)| over);
    Ok(Steered::new(
        &configured.name,
        hash,
        configured.steering,
        overs,
    )?)
}

/// Media on a queue without a worker goes to the kernel, which has no socket for it.
fn warn_of_orphans(settings: &Settings, index: usize, queues: u32) {
    let owners = settings.workers.iter().flat_map(|worker| &worker.queues);
    let owned: HashSet<u32> = owners
        .filter(|(device, _)| usize::from(device.0) == index)
        .map(|(_, queue)| queue.0)
        .collect();
    let orphans = (0..queues).filter(|queue| !owned.contains(queue)).count();
    if orphans > 0 {
        warn!(
            "{orphans} of {queues} RX queues of {} have no worker: media that arrives there is lost",
            settings.devices[index].name
        );
    }
}

/// Binds all sockets in the best mode that all devices take, each worker's in its own thread.
pub(crate) fn bind(
    settings: &Settings,
    devices: &mut [OpenDevice],
    threads: &[Pinned],
) -> Result<(BindMode, Vec<OpenWorker>), StartError> {
    let rungs: Vec<Rung> = settings
        .devices
        .iter()
        .zip(devices.iter())
        .map(|(configured, open)| Rung {
            device: &configured.name,
            mode: configured.mode,
            attached: open.attached,
        })
        .collect();
    let demanded = rungs.iter().any(|rung| rung.mode == XdpMode::ZeroCopy);
    if let Some(copies) = rungs.iter().find(|rung| rung.copies()) {
        say_who_is_held_down(&rungs, copies)?;
    } else {
        match open_patiently(settings, devices, threads, BindMode::ZeroCopy) {
            Ok(workers) => return Ok((BindMode::ZeroCopy, workers)),
            Err(StartError::Kernel(error @ Error::NoZeroCopy { .. })) if !demanded => {
                warn!("{error}; using copy mode");
            }
            // Missing privileges, a taken queue, no memory: a lower rung would only hide it.
            Err(error) => return Err(error),
        }
    }
    let workers = open_patiently(settings, devices, threads, BindMode::Copy)?;
    Ok((BindMode::Copy, workers))
}

/// What a device is configured for, and where its program runs.
#[derive(Clone, Copy, Debug)]
struct Rung<'a> {
    device: &'a str,
    mode: XdpMode,
    attached: AttachMode,
}

impl Rung<'_> {
    fn copies(&self) -> bool {
        self.attached == AttachMode::Generic || self.mode == XdpMode::Copy
    }
}

/// Nobody falls silently: names those that might do zero-copy but for `copies`. An error if one demands it.
fn say_who_is_held_down(rungs: &[Rung<'_>], copies: &Rung<'_>) -> Result<(), StartError> {
    for rung in rungs.iter().filter(|rung| !rung.copies()) {
        let because = format!(
            "{} is in copy or generic mode, and a worker's sockets share their frames, and so the mode",
            copies.device
        );
        if rung.mode == XdpMode::ZeroCopy {
            let text = format!("{} cannot be in zero-copy mode: {because}", rung.device);
            return Err(StartError::Settings(text));
        }
        warn!("{} uses copy mode: {because}", rung.device);
    }
    Ok(())
}

fn open_patiently(
    settings: &Settings,
    devices: &mut [OpenDevice],
    threads: &[Pinned],
    mode: BindMode,
) -> Result<Vec<OpenWorker>, StartError> {
    for _ in 0..BUSY_RETRIES {
        match open_workers(settings, devices, threads, mode) {
            Err(StartError::Kernel(Error::QueueBusy { .. })) => thread::sleep(BUSY_PAUSE),
            opened => return opened,
        }
    }
    open_workers(settings, devices, threads, mode)
}

/// All workers at once, each by its own thread. The first one's error counts; what others have opened is
/// closed again.
fn open_workers(
    settings: &Settings,
    devices: &mut [OpenDevice],
    threads: &[Pinned],
    mode: BindMode,
) -> Result<Vec<OpenWorker>, StartError> {
    let config = SocketConfig {
        rings: RingSizes::balanced(settings.ring_size),
        mode,
        need_wakeup: true,
        busy_poll: settings.busy_poll.map(busy_poll),
        tx_budget: Some(TX_BUDGET),
    };
    let orders: Vec<_> = settings
        .workers
        .iter()
        .zip(threads)
        .map(|(worker, thread)| {
            let device_of = |device: DeviceId| devices[usize::from(device.0)].device.clone();
            let queues = worker.queues.iter();
            let queues: Vec<_> = queues
                .map(|&(device, queue)| (Place { device, queue }, device_of(device)))
                .collect();
            let frames = settings.frames;
            thread.hand(move || open_worker(frames, &queues, &config))
        })
        .collect();
    let outcomes: Vec<_> = orders.into_iter().map(Outcome::wait).collect();
    let mut workers = Vec::with_capacity(outcomes.len());
    for (opened, worker) in outcomes.into_iter().zip(0..) {
        let opened = opened.ok_or(StartError::Panic { worker })??;
        for (place, socket) in opened.port.sockets() {
            let on = &mut devices[usize::from(place.device.0)];
            on.program.register(socket)?;
        }
        workers.push(opened);
    }
    Ok(workers)
}

/// Runs in the worker's thread: the UMEM's pages and the kernel's memory of the rings are asked for from its
/// core.
fn open_worker(
    frames: u32,
    queues: &[(Place, af_xdp::Device)],
    config: &SocketConfig,
) -> Result<OpenWorker, Error> {
    let mut umem = Umem::create(&UmemConfig {
        frame_count: frames,
        frame_size: FRAME_SIZE,
        headroom: 0,
        huge_pages: HugePages::IfAvailable,
    })?;
    let mut sockets = Vec::with_capacity(queues.len());
    for (place, device) in queues {
        let socket = Socket::open(device, place.queue.0, &mut umem, config)?;
        if socket.busy_polls() && socket.napi_id().is_none() {
            warn!(
                "{} queue {}: asked to busy poll, but its driver does not tell the kernel which NAPI serves the queue: \
                 from Linux 6.14 on its interrupts go on (`workers` shows busy_poll false)",
                socket.device(),
                socket.queue()
            );
        }
        sockets.push((*place, socket));
    }
    let bell = Doorbell::new()?;
    Ok(OpenWorker {
        bound: sockets
            .iter()
            .map(|(at, socket)| (*at, binding(socket)))
            .collect(),
        page_size: page_bytes(umem.page_size()),
        umem_nodes: numa::nodes_of([umem.span()]),
        port: XskPort::new(umem, sockets, bell.try_clone()?),
        bell,
    })
}

/// As Firedancer does it (`fd_xdp_tile.c`): interrupts stay off while the worker polls, which the device's
/// `napi_defer_hard_irqs` and `gro_flush_timeout` must allow, and a poll takes as much as a batch.
fn busy_poll(limit: Duration) -> BusyPoll {
    BusyPoll {
        usecs: u32::try_from(limit.as_micros()).unwrap_or(u32::MAX),
        budget: BATCH as u16,
        prefer: true,
    }
}

fn binding(socket: &Socket) -> Binding {
    Binding {
        zero_copy: socket.mode() == BindMode::ZeroCopy,
        need_wakeup: socket.uses_need_wakeup(),
        busy_poll: socket.busy_polls() && socket.napi_id().is_some(),
        tx_budget: socket.tx_budget(),
        depths: RingLevels {
            rx: socket.rings().rx,
            tx: socket.rings().tx,
            fill: socket.rings().fill,
        },
    }
}

const fn page_bytes(size: PageSize) -> usize {
    match size {
        PageSize::Base => 4096,
        PageSize::Huge => 2 << 20,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_device_that_copies_holds_the_others_to_it_and_is_named() {
        let rung = |device, mode, attached| Rung {
            device,
            mode,
            attached,
        };
        let best = rung("in0", XdpMode::Best, AttachMode::Native);
        let demands = rung("in1", XdpMode::ZeroCopy, AttachMode::Native);
        let fell = rung("out0", XdpMode::Best, AttachMode::Generic);
        let copies = rung("out1", XdpMode::Copy, AttachMode::Native);
        assert!(!best.copies() && !demands.copies());
        for held in [fell, copies] {
            assert!(held.copies());
            assert!(say_who_is_held_down(&[best, held], &held).is_ok());
            let refusal = say_who_is_held_down(&[best, held, demands], &held);
            let text = refusal.expect_err("it demands zero-copy").to_string();
            let start = format!(
                "in1 cannot be in zero-copy mode: {} is in copy",
                held.device
            );
            assert!(text.starts_with(&start), "{text}");
        }
    }
}
