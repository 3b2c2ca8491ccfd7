//! Between whom a message travels.

use std::net::SocketAddr;

use crate::settings::ListenerId;

/// Which of the two connections that there may be with one address: a listener's port is theirs to connect from, and
/// ours to connect to. Of datagrams it says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Opened {
    /// We have opened it, or would.
    #[default]
    ByUs,
    /// They have.
    ByThem,
}

/// Between which socket of ours and which address of theirs a message travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path {
    /// Our socket.
    pub listener: ListenerId,
    /// Their address.
    pub remote: SocketAddr,
    /// By which connection.
    pub opened: Opened,
}

impl Path {
    /// The way to an address.
    pub const fn to(listener: ListenerId, remote: SocketAddr) -> Self {
        Self {
            listener,
            remote,
            opened: Opened::ByUs,
        }
    }
}
