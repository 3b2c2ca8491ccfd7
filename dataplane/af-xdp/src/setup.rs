//! Making, binding and adopting sockets: every system call of a socket's start, and what each errno means.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::Error;
use crate::device::Device;
use crate::mapping::Mapping;
use crate::options::{busy_polls, mmap_offsets, mode_in_force, set_option, set_options};
use crate::ring::{Consumer, Producer, RingMemory};
use crate::socket::{BindMode, Descriptor, Parts, RingSizes, SocketConfig};
use crate::umem::{Bound, RingRecord, Umem};

/// Closing a socket takes 4 to 16 ms until the queue is free (measured on 6.18, veth, copy mode), longer with
/// several: 200 ms in all. Less, and a quick restart fails; more, and a queue that is really taken is reported late.
const BIND_TRIES: u32 = 21;
const BIND_PAUSE: Duration = Duration::from_millis(10);

/// A socket's ring ends and the memory that they lie in.
pub(crate) struct Rings {
    pub(crate) rx: Consumer<Descriptor>,
    pub(crate) tx: Producer<Descriptor>,
    pub(crate) fill: Producer<u64>,
    pub(crate) completion: Consumer<u64>,
    pub(crate) mappings: [Mapping; 4],
}

/// A (device, queue), for error messages.
pub(crate) struct Place<'a> {
    device: &'a Device,
    queue: u32,
}

impl Place<'_> {
    pub(crate) fn failed(&self, call: &'static str, source: io::Error) -> Error {
        Error::System {
            call,
            device: Some(self.device.name().into()),
            queue: Some(self.queue),
            source,
        }
    }
}

pub(crate) fn open(
    device: &Device,
    queue: u32,
    umem: &mut Umem,
    config: &SocketConfig,
) -> Result<Parts, Error> {
    config.rings.check()?;
    let place = Place { device, queue };
    check_queue(&place, umem)?;
    let need_wakeup = check_mode(&place, umem, config)?;
    let fd = Arc::new(socket()?);
    let shared_with = umem.bound.iter().find_map(|socket| socket.fd.upgrade());
    if shared_with.is_none() {
        register(&place, fd.as_fd(), umem)?;
    }
    size_rings(&place, fd.as_fd(), &config.rings)?;
    let mut rings = map_rings(fd.as_fd(), &config.rings)
        .map_err(|source| place.failed("mmap(AF_XDP rings)", source))?;
    let tx_budget = set_options(&place, fd.as_fd(), config, umem.frame_size())?;
    let record = RingRecord {
        sizes: config.rings,
        need_wakeup,
        tx_budget,
    };
    umem.record_rings(device.ifindex(), queue, &record)?;
    let depth = config.rings.fill_depth(config.mode);
    let filled = prefill(&place, &mut rings.fill, umem, depth)?;
    let mode = bind(&place, fd.as_fd(), shared_with.as_deref(), config)
        .and_then(|()| mode_in_force(&place, fd.as_fd()));
    match mode {
        Ok(mode) => Ok(Parts {
            fd,
            rings,
            sizes: config.rings,
            mode,
            need_wakeup,
            busy_polls: config.busy_poll.is_some(),
            tx_budget,
        }),
        Err(error) => {
            // The kernel never ran with these rings: the frames are ours again.
            filled.into_iter().rev().for_each(|index| umem.push(index));
            Err(error)
        }
    }
}

pub(crate) fn adopt(
    fd: OwnedFd,
    device: &Device,
    queue: u32,
    umem: &mut Umem,
) -> Result<Parts, Error> {
    let place = Place { device, queue };
    let Some(record) = umem.recorded_rings(device.ifindex(), queue) else {
        return Err(Error::NotAdoptable(format!(
            "the UMEM knows no socket of {} queue {queue}",
            device.name()
        )));
    };
    record.sizes.check()?;
    if mmap_offsets(fd.as_fd()).is_err() {
        return Err(Error::NotAdoptable(
            "the file descriptor is no AF_XDP socket".into(),
        ));
    }
    let rings = map_rings(fd.as_fd(), &record.sizes)
        .map_err(|source| place.failed("mmap(adopted AF_XDP rings)", source))?;
    let mode = mode_in_force(&place, fd.as_fd())?;
    let busy_polls = busy_polls(fd.as_fd())
        .map_err(|source| place.failed("getsockopt(SO_BUSY_POLL)", source))?;
    Ok(Parts {
        fd: Arc::new(fd),
        rings,
        sizes: record.sizes,
        mode,
        need_wakeup: record.need_wakeup,
        busy_polls,
        tx_budget: record.tx_budget,
    })
}

fn check_queue(place: &Place<'_>, umem: &Umem) -> Result<(), Error> {
    let queues = place.device.rx_queues();
    if place.queue >= queues {
        return Err(Error::QueueOutOfRange {
            device: place.device.name().into(),
            queue: place.queue,
            last: queues.saturating_sub(1),
        });
    }
    // The kernel would say EINVAL: a second socket there has no fill ring of its own.
    let (ifindex, queue) = (place.device.ifindex(), place.queue);
    let mut ours = umem.bound.iter().filter(|socket| is_open(socket));
    if ours.any(|socket| (socket.ifindex, socket.queue) == (ifindex, queue)) {
        return Err(Error::QueueBusy {
            device: place.device.name().into(),
            queue,
        });
    }
    Ok(())
}

fn is_open(socket: &Bound) -> bool {
    socket.fd.strong_count() > 0
}

/// Sockets that share a UMEM inherit its first socket's mode and wakeup rule (`xp_assign_dev_shared`).
fn check_mode(place: &Place<'_>, umem: &Umem, config: &SocketConfig) -> Result<bool, Error> {
    match umem.mode {
        Some((in_force, need_wakeup)) if umem.bound.iter().any(is_open) => {
            if in_force != config.mode {
                return Err(Error::ModeInForce {
                    device: place.device.name().into(),
                    queue: place.queue,
                    wanted: config.mode.name(),
                    in_force: in_force.name(),
                });
            }
            Ok(need_wakeup)
        }
        _ => Ok(config.need_wakeup),
    }
}

fn socket() -> Result<OwnedFd, Error> {
    // SAFETY: a plain call.
    let fd = unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    if fd >= 0 {
        // SAFETY: just made, and nobody else has it.
        return Ok(unsafe { OwnedFd::from_raw_fd(fd) });
    }
    let source = io::Error::last_os_error();
    Err(match source.raw_os_error() {
        Some(libc::EPERM) => Error::Privilege {
            call: "socket(AF_XDP)",
            capability: "CAP_NET_RAW",
        },
        Some(libc::EAFNOSUPPORT) => Error::KernelTooOld {
            feature: "AF_XDP (CONFIG_XDP_SOCKETS)",
            since: "5.10",
        },
        _ => Error::System {
            call: "socket(AF_XDP)",
            device: None,
            queue: None,
            source,
        },
    })
}

fn register(place: &Place<'_>, fd: BorrowedFd<'_>, umem: &Umem) -> Result<(), Error> {
    let (start, geometry) = umem.registration();
    let request = libc::xdp_umem_reg {
        addr: start.as_ptr() as u64,
        len: geometry.frames_length() as u64,
        chunk_size: geometry.frame_size,
        headroom: geometry.headroom,
        flags: 0,
        tx_metadata_len: 0,
    };
    set_option(fd, libc::SOL_XDP, libc::XDP_UMEM_REG, &request).map_err(|source| {
        match source.raw_os_error() {
            Some(libc::ENOBUFS) => Error::LockedMemory {
                bytes: geometry.frames_length(),
            },
            _ => place.failed("setsockopt(XDP_UMEM_REG)", source),
        }
    })
}

fn size_rings(place: &Place<'_>, fd: BorrowedFd<'_>, sizes: &RingSizes) -> Result<(), Error> {
    for (option, size, call) in [
        (
            libc::XDP_UMEM_FILL_RING,
            sizes.fill,
            "setsockopt(XDP_UMEM_FILL_RING)",
        ),
        (
            libc::XDP_UMEM_COMPLETION_RING,
            sizes.completion,
            "setsockopt(XDP_UMEM_COMPLETION_RING)",
        ),
        (libc::XDP_RX_RING, sizes.rx, "setsockopt(XDP_RX_RING)"),
        (libc::XDP_TX_RING, sizes.tx, "setsockopt(XDP_TX_RING)"),
    ] {
        set_option(fd, libc::SOL_XDP, option, &size)
            .map_err(|source| place.failed(call, source))?;
    }
    Ok(())
}

fn map_rings(fd: BorrowedFd<'_>, sizes: &RingSizes) -> io::Result<Rings> {
    let offsets = mmap_offsets(fd)?;
    let (rx, rx_mapping) = map_ring(fd, &offsets.rx, sizes.rx, libc::XDP_PGOFF_RX_RING)?;
    let (tx, tx_mapping) = map_ring(fd, &offsets.tx, sizes.tx, libc::XDP_PGOFF_TX_RING)?;
    let (fill, fill_mapping) = map_ring(
        fd,
        &offsets.fr,
        sizes.fill,
        libc::XDP_UMEM_PGOFF_FILL_RING as libc::off_t,
    )?;
    let (completion, completion_mapping) = map_ring(
        fd,
        &offsets.cr,
        sizes.completion,
        libc::XDP_UMEM_PGOFF_COMPLETION_RING as libc::off_t,
    )?;
    // SAFETY: each ring lies in a mapping that `Socket` keeps for longer than the ends, sizes were checked to
    // be powers of two (`RingSizes::check`), and there is one `Socket` for the fd in the process that
    // owns the UMEM, so one end of each kind.
    unsafe {
        Ok(Rings {
            rx: Consumer::new(rx),
            tx: Producer::new(tx),
            fill: Producer::new(fill),
            completion: Consumer::new(completion),
            mappings: [rx_mapping, tx_mapping, fill_mapping, completion_mapping],
        })
    }
}

fn map_ring<T>(
    fd: BorrowedFd<'_>,
    offsets: &libc::xdp_ring_offset,
    size: u32,
    page_offset: libc::off_t,
) -> io::Result<(RingMemory<T>, Mapping)> {
    let entries = size as usize;
    let end =
        usize::try_from(offsets.desc).expect("an offset in memory") + entries * size_of::<T>();
    let mapping = Mapping::at(fd, end, page_offset)?;
    let memory = RingMemory {
        producer: mapping.pointer(offsets.producer, 1),
        consumer: mapping.pointer(offsets.consumer, 1),
        flags: mapping.pointer(offsets.flags, 1),
        entries: mapping.pointer(offsets.desc, entries),
        size,
    };
    Ok((memory, mapping))
}

/// Fills the fill ring, which must be done before the driver starts to look at it. Says with what.
fn prefill(
    place: &Place<'_>,
    fill: &mut Producer<u64>,
    umem: &mut Umem,
    needed: u32,
) -> Result<Vec<u32>, Error> {
    let free = umem.free_count();
    if free < needed {
        return Err(Error::TooFewFrames {
            device: place.device.name().into(),
            queue: place.queue,
            needed,
            free,
        });
    }
    let mut filled = Vec::with_capacity(needed as usize);
    let shift = umem.frame_size().trailing_zeros();
    fill.produce(needed, || {
        let index = umem.pop()?;
        filled.push(index);
        Some(u64::from(index) << shift)
    });
    Ok(filled)
}

fn bind(
    place: &Place<'_>,
    fd: BorrowedFd<'_>,
    shared_with: Option<&OwnedFd>,
    config: &SocketConfig,
) -> Result<(), Error> {
    let mut address = libc::sockaddr_xdp {
        sxdp_family: libc::AF_XDP as u16,
        sxdp_flags: 0,
        sxdp_ifindex: place.device.ifindex(),
        sxdp_queue_id: place.queue,
        sxdp_shared_umem_fd: 0,
    };
    match shared_with {
        Some(first) => {
            address.sxdp_flags = libc::XDP_SHARED_UMEM;
            address.sxdp_shared_umem_fd = first.as_raw_fd() as u32;
        }
        None => {
            address.sxdp_flags = match config.mode {
                BindMode::ZeroCopy => libc::XDP_ZEROCOPY,
                BindMode::Copy => libc::XDP_COPY,
            };
            if config.need_wakeup {
                address.sxdp_flags |= libc::XDP_USE_NEED_WAKEUP;
            }
        }
    }
    let Err(source) = bind_patiently(fd, &address) else {
        return Ok(());
    };
    let (device, queue) = (place.device.name().to_owned(), place.queue);
    Err(match source.raw_os_error() {
        Some(libc::EBUSY) => Error::QueueBusy { device, queue },
        Some(libc::ENETDOWN) => Error::DeviceDown { device, queue },
        Some(libc::ENODEV) => Error::NoSuchDevice { device },
        Some(code) if config.mode == BindMode::ZeroCopy && is_drivers_no(code) => {
            Error::NoZeroCopy { device, queue }
        }
        _ => place.failed("bind(AF_XDP)", source),
    })
}

/// What a driver answers that cannot do zero-copy, or not as it is configured: `xp_assign_dev` for most of
/// them (EOPNOTSUPP), i40e, ice and mlx5 (EINVAL), virtio_net without mergeable buffers (ENOENT), and
/// ENOTSUPP, the kernel's own number that no libc names.
const fn is_drivers_no(code: i32) -> bool {
    const ENOTSUPP: i32 = 524;
    matches!(
        code,
        libc::EOPNOTSUPP | libc::EINVAL | libc::ENOENT | ENOTSUPP
    )
}

/// Binds, and waits out a predecessor: the kernel lets go of a queue some milliseconds after its socket was
/// closed.
fn bind_patiently(fd: BorrowedFd<'_>, address: &libc::sockaddr_xdp) -> io::Result<()> {
    let mut tries = BIND_TRIES;
    loop {
        // SAFETY: the address is a whole `sockaddr_xdp` and its size is given.
        let result = unsafe {
            libc::bind(
                fd.as_raw_fd(),
                ptr::from_ref(address).cast(),
                size_of::<libc::sockaddr_xdp>() as libc::socklen_t,
            )
        };
        if result == 0 {
            return Ok(());
        }
        let source = io::Error::last_os_error();
        tries -= 1;
        if source.raw_os_error() != Some(libc::EBUSY) || tries == 0 {
            return Err(source);
        }
        thread::sleep(BIND_PAUSE);
    }
}
