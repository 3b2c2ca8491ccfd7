//! What can go wrong, one sentence each.

use std::fmt::Display;
use std::path::Path;

/// Why the comparison, or a peer, cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The command line asks for what cannot be.
    #[error("{0}")]
    Usage(String),
    /// A file cannot be read, written or understood.
    #[error("{0}")]
    File(String),
    /// A program that is needed is missing or fails.
    #[error("{0}")]
    Program(String),
    /// A relay does not do what it must.
    #[error("{0}")]
    Peer(String),
    /// A system call.
    #[error("{0}")]
    System(String),
    /// SIGINT or SIGTERM.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// About a file.
    pub(crate) fn file(path: &Path, why: &dyn Display) -> Self {
        Self::File(format!("{}: {why}", path.display()))
    }

    /// About a system call.
    pub(crate) fn system(what: impl Display, why: impl Display) -> Self {
        Self::System(format!("{what}: {why}"))
    }
}
