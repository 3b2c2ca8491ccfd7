//! Why the dataplane did not start: one sentence each, with the remedy where there is one.

use thiserror::Error;

use crate::steering::NotSteered;
use crate::storage::StorageError;

/// Why [`crate::Dataplane::start`] failed. Nothing is left behind: programs are detached, sockets closed.
#[derive(Debug, Error)]
pub enum StartError {
    /// The settings contradict themselves.
    #[error("{0}")]
    Settings(String),
    /// A device, socket, UMEM or XDP program failed; the text names the call, the device, the queue and
    /// what to do.
    #[error(transparent)]
    Kernel(#[from] af_xdp::Error),
    /// The flow tables cannot be made.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A device cannot be steered, as its settings require.
    #[error(transparent)]
    NotSteered(#[from] NotSteered),
    /// A thread could not be made.
    #[error("cannot start the thread of worker {worker}: {source}")]
    Thread {
        /// Whose thread.
        worker: u16,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A worker's thread panicked while it made its sockets or tables.
    #[error("worker {worker} has panicked while it started (the log tells where)")]
    Panic {
        /// Whose thread.
        worker: u16,
    },
    /// A worker's thread could not be pinned to its core.
    #[error(
        "cannot pin worker {worker} to core {core}: the core does not exist or is not in this process's affinity mask (see `taskset -p`)"
    )]
    Pin {
        /// Whose thread.
        worker: u16,
        /// The core.
        core: usize,
    },
}
