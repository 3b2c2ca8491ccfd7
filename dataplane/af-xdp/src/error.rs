//! What can go wrong between this crate and the kernel: the call that failed, on what, and the remedy.

use std::io;

use thiserror::Error;

/// Why something failed. Each text is one sentence that names the call, the device and the queue where
/// there are any, and what to do about it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The process lacks a capability.
    #[error(
        "{call} was refused: the process needs {capability} (run as root, or grant it with setcap)"
    )]
    Privilege {
        /// What was refused.
        call: &'static str,
        /// What the kernel asks for.
        capability: &'static str,
    },
    /// The network namespace has no such device.
    #[error("there is no network device \"{device}\" (see `ip link`)")]
    NoSuchDevice {
        /// The name that was asked for.
        device: String,
    },
    /// The device is down.
    #[error("cannot use {device} queue {queue}: the device is down (`ip link set {device} up`)")]
    DeviceDown {
        /// The device.
        device: String,
        /// The queue.
        queue: u32,
    },
    /// The device has fewer queues.
    #[error(
        "{device} has no queue {queue}: its RX queues are 0 to {last} (`ethtool -l {device}` shows, `ethtool -L` changes them)"
    )]
    QueueOutOfRange {
        /// The device.
        device: String,
        /// The queue that was asked for.
        queue: u32,
        /// The last that there is.
        last: u32,
    },
    /// Another socket is bound to the queue.
    #[error(
        "{device} queue {queue} is taken: another AF_XDP socket is bound to it (`ss --xdp -p` shows whose; stop that process)"
    )]
    QueueBusy {
        /// The device.
        device: String,
        /// The queue.
        queue: u32,
    },
    /// Zero-copy was asked for and the driver cannot.
    #[error("the driver of {device} cannot do zero-copy on queue {queue}: choose copy mode")]
    NoZeroCopy {
        /// The device.
        device: String,
        /// The queue.
        queue: u32,
    },
    /// Sockets of one UMEM share one mode, the first one's.
    #[error(
        "{device} queue {queue} cannot be bound in {wanted} mode: its UMEM is already in {in_force} mode, and one UMEM has one mode"
    )]
    ModeInForce {
        /// The device.
        device: String,
        /// The queue.
        queue: u32,
        /// What was asked for.
        wanted: &'static str,
        /// What the UMEM's first socket was bound with.
        in_force: &'static str,
    },
    /// The driver cannot run XDP programs itself.
    #[error("the driver of {device} has no native XDP: choose generic mode")]
    NoNativeXdp {
        /// The device.
        device: String,
    },
    /// The device's configuration forbids native XDP.
    #[error("native XDP on {device} was refused ({source}): {remedy}")]
    NativeRefused {
        /// The device.
        device: String,
        /// What the driver objects to, and what to do.
        remedy: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The device runs another XDP program.
    #[error(
        "{device} already runs another XDP program (`bpftool net show dev {device}` shows it; stop its owner, or `ip link set {device} xdp off`)"
    )]
    OtherProgram {
        /// The device.
        device: String,
    },
    /// The kernel lacks something that cannot be done without.
    #[error("the kernel is too old: {feature} needs Linux {since} or later")]
    KernelTooOld {
        /// What is missing.
        feature: &'static str,
        /// Since when it exists.
        since: &'static str,
    },
    /// Huge pages were required and there are not enough.
    #[error(
        "the UMEM needs {pages} free huge pages of 2 MB (`sysctl vm.nr_hugepages=…`), or permission to go without"
    )]
    NoHugePages {
        /// How many it needs.
        pages: usize,
    },
    /// The UMEM has too few frames for another socket.
    #[error(
        "{device} queue {queue} needs {needed} frames for its fill ring and the UMEM has {free} left: give it more frames"
    )]
    TooFewFrames {
        /// The device.
        device: String,
        /// The queue.
        queue: u32,
        /// The depth of the fill ring.
        needed: u32,
        /// What is free.
        free: u32,
    },
    /// A size or bound that makes no sense.
    #[error("{0}")]
    Geometry(String),
    /// A file descriptor offered for adoption is not what it should be.
    #[error("cannot adopt: {0}")]
    NotAdoptable(String),
    /// Locked memory is bounded.
    #[error(
        "the kernel may not lock {bytes} bytes for the UMEM: raise the limit (`ulimit -l`) or grant CAP_IPC_LOCK"
    )]
    LockedMemory {
        /// The UMEM's size.
        bytes: usize,
    },
    /// The committed program was not accepted.
    #[error("{call} failed for the XDP program: {reason}")]
    Program {
        /// What failed.
        call: &'static str,
        /// What aya or the verifier said.
        reason: String,
    },
    /// Any other failed call.
    #[error("{call} failed{}: {source}", place(.device, .queue))]
    System {
        /// The call.
        call: &'static str,
        /// On which device, if any.
        device: Option<String>,
        /// On which queue, if any.
        queue: Option<u32>,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl Error {
    /// The error that the last system call left in `errno`, without a place.
    pub(crate) fn last(call: &'static str) -> Self {
        Self::System {
            call,
            device: None,
            queue: None,
            source: io::Error::last_os_error(),
        }
    }
}

fn place(device: &Option<String>, queue: &Option<u32>) -> String {
    match (device, queue) {
        (Some(device), Some(queue)) => format!(" on {device} queue {queue}"),
        (Some(device), None) => format!(" on {device}"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_error_names_its_place() {
        let text = |device: Option<&str>, queue| {
            Error::System {
                call: "bind(AF_XDP)",
                device: device.map(Into::into),
                queue,
                source: io::Error::from_raw_os_error(libc::ENOMEM),
            }
            .to_string()
        };
        assert!(text(Some("eth7"), Some(3)).starts_with("bind(AF_XDP) failed on eth7 queue 3: "));
        assert!(text(Some("eth7"), None).starts_with("bind(AF_XDP) failed on eth7: "));
        assert!(text(None, None).starts_with("bind(AF_XDP) failed: "));
    }
}
