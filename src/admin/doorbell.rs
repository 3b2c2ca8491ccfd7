//! How another thread makes the event loop look at the admin socket's work.

use std::io;
use std::sync::Arc;

use mio::{Registry, Token, Waker};

/// Rings in the admin socket's poll.
#[derive(Clone, Debug)]
pub(crate) struct Doorbell(Arc<Waker>);

impl Doorbell {
    /// Rings under this token.
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        Ok(Self(Arc::new(Waker::new(registry, token)?)))
    }

    /// Rings.
    pub(crate) fn ring(&self) {
        if let Err(error) = self.0.wake() {
            tracing::error!(%error, "the event loop cannot be woken");
        }
    }
}
