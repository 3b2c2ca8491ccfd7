//! Socket options: what can be asked of a socket and told to it, beside its place in the network.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use crate::Error;
use crate::setup::Place;
use crate::socket::{BindMode, BusyPoll, SocketConfig, Statistics};

/// include/uapi/linux/if_xdp.h, since Linux 6.17.
const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;
/// The smallest budget that the kernel takes (`TX_BATCH_SIZE` in net/xdp/xsk.c).
const MIN_TX_BUDGET: u32 = 32;
/// What a socket buffer costs beside its data in `sk_wmem_alloc`: the `sk_buff` and its `skb_shared_info`.
/// Too little, and a full TX ring ends in EAGAIN long before its end; too much costs nothing.
const SKB_OVERHEAD: usize = 1024;

/// Sets what a configuration asks for beside the rings. Says which TX budget is in force, if one was chosen.
pub(crate) fn set_options(
    place: &Place<'_>,
    fd: BorrowedFd<'_>,
    config: &SocketConfig,
    frame_size: usize,
) -> Result<Option<u32>, Error> {
    // In copy mode each packet in flight is a socket buffer charged to the socket: the default allows some
    // 200. The forced option needs CAP_NET_ADMIN; without it the usual one goes as far as it may.
    let bytes = config.rings.tx as usize * (frame_size + SKB_OVERHEAD);
    let bytes = libc::c_int::try_from(bytes / 2).unwrap_or(libc::c_int::MAX / 2);
    if set_option(fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, &bytes).is_err() {
        set_option(fd, libc::SOL_SOCKET, libc::SO_SNDBUF, &bytes)
            .map_err(|source| place.failed("setsockopt(SO_SNDBUF)", source))?;
    }
    if let Some(busy_poll) = &config.busy_poll {
        set_busy_poll(place, fd, busy_poll)?;
    }
    // A budget is at most the ring's size: a ring below the smallest budget cannot have one.
    let Some(wanted) = config
        .tx_budget
        .filter(|_| config.rings.tx >= MIN_TX_BUDGET)
    else {
        return Ok(None);
    };
    let budget = wanted.clamp(MIN_TX_BUDGET, config.rings.tx);
    match set_option(fd, libc::SOL_XDP, XDP_MAX_TX_SKB_BUDGET, &budget) {
        Ok(()) => Ok(Some(budget)),
        Err(source) if source.raw_os_error() == Some(libc::ENOPROTOOPT) => Ok(None),
        Err(source) => Err(place.failed("setsockopt(XDP_MAX_TX_SKB_BUDGET)", source)),
    }
}

fn set_busy_poll(place: &Place<'_>, fd: BorrowedFd<'_>, wanted: &BusyPoll) -> Result<(), Error> {
    let int = |value: u32| libc::c_int::try_from(value).unwrap_or(libc::c_int::MAX);
    for (option, value, call) in [
        (
            libc::SO_PREFER_BUSY_POLL,
            libc::c_int::from(wanted.prefer),
            "setsockopt(SO_PREFER_BUSY_POLL)",
        ),
        (
            libc::SO_BUSY_POLL,
            int(wanted.usecs),
            "setsockopt(SO_BUSY_POLL)",
        ),
        (
            libc::SO_BUSY_POLL_BUDGET,
            libc::c_int::from(wanted.budget),
            "setsockopt(SO_BUSY_POLL_BUDGET)",
        ),
    ] {
        set_option(fd, libc::SOL_SOCKET, option, &value).map_err(|source| {
            match source.raw_os_error() {
                Some(libc::EPERM) => Error::Privilege {
                    call,
                    capability: "CAP_NET_ADMIN",
                },
                _ => place.failed(call, source),
            }
        })?;
    }
    Ok(())
}

pub(crate) fn busy_polls(fd: BorrowedFd<'_>) -> io::Result<bool> {
    // SAFETY: every bit pattern is a `c_int`.
    let usecs: libc::c_int = unsafe { read_option(fd, libc::SOL_SOCKET, libc::SO_BUSY_POLL)? };
    Ok(usecs > 0)
}

pub(crate) fn napi_id(fd: BorrowedFd<'_>) -> io::Result<Option<u32>> {
    // SAFETY: every bit pattern is a `u32`.
    let id: u32 = unsafe { read_option(fd, libc::SOL_SOCKET, libc::SO_INCOMING_NAPI_ID)? };
    Ok((id != 0).then_some(id))
}

pub(crate) fn mode_in_force(place: &Place<'_>, fd: BorrowedFd<'_>) -> Result<BindMode, Error> {
    // SAFETY: one u32: every bit pattern is an `xdp_options`.
    let options: libc::xdp_options =
        unsafe { read_option(fd, libc::SOL_XDP, libc::XDP_OPTIONS) }
            .map_err(|source| place.failed("getsockopt(XDP_OPTIONS)", source))?;
    Ok(if options.flags & libc::XDP_OPTIONS_ZEROCOPY != 0 {
        BindMode::ZeroCopy
    } else {
        BindMode::Copy
    })
}

pub(crate) fn statistics(fd: BorrowedFd<'_>) -> io::Result<Statistics> {
    // SAFETY: six u64: every bit pattern is an `xdp_statistics`.
    let counts: libc::xdp_statistics =
        unsafe { read_option(fd, libc::SOL_XDP, libc::XDP_STATISTICS)? };
    Ok(Statistics {
        rx_dropped: counts.rx_dropped,
        rx_invalid_descriptors: counts.rx_invalid_descs,
        tx_invalid_descriptors: counts.tx_invalid_descs,
        rx_ring_full: counts.rx_ring_full,
        fill_ring_empty: counts.rx_fill_ring_empty_descs,
        tx_ring_empty: counts.tx_ring_empty_descs,
    })
}

pub(crate) fn mmap_offsets(fd: BorrowedFd<'_>) -> io::Result<libc::xdp_mmap_offsets> {
    // SAFETY: four structs of four u64: every bit pattern is one.
    unsafe { read_option(fd, libc::SOL_XDP, libc::XDP_MMAP_OFFSETS) }
}

pub(crate) fn set_option<T>(
    fd: BorrowedFd<'_>,
    level: libc::c_int,
    option: libc::c_int,
    value: &T,
) -> io::Result<()> {
    // SAFETY: the kernel reads `size_of::<T>()` bytes of a live value.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            option,
            ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Reads an option; what an older kernel leaves out is zero.
///
/// # Safety
/// Every bit pattern must be a valid `T`.
unsafe fn read_option<T>(
    fd: BorrowedFd<'_>,
    level: libc::c_int,
    option: libc::c_int,
) -> io::Result<T> {
    let mut value = MaybeUninit::<T>::zeroed();
    let mut length = size_of::<T>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            level,
            option,
            value.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: zeroed or written by the kernel, and valid whatever it wrote, as the caller upholds.
    Ok(unsafe { value.assume_init() })
}
