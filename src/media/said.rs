//! What the services say to the control plane: a bounded queue, and what makes its loop look.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use contract::ServiceEvent;

use super::counts::Counts;

/// Events that wait: more than what all orders that can wait, all recordings and all plays lead to.
const ROOM: usize = 16_384;

/// Rings the event loop's doorbell.
pub(crate) type Ring = Arc<dyn Fn() + Send + Sync>;

/// A service's end.
#[derive(Clone)]
pub(crate) struct Said {
    events: SyncSender<ServiceEvent>,
    ring: Ring,
    counts: Arc<Counts>,
}

impl Said {
    /// Both ends.
    pub(crate) fn new(ring: Ring, counts: Arc<Counts>) -> (Self, Receiver<ServiceEvent>) {
        let (events, heard) = sync_channel(ROOM);
        let said = Self {
            events,
            ring,
            counts,
        };
        (said, heard)
    }

    /// Says something. Never waits: without room it is lost, and counted.
    pub(crate) fn say(&self, event: ServiceEvent) {
        match self.events.try_send(event) {
            Ok(()) => (self.ring)(),
            Err(_) => self.counts.events_lost.add(1),
        }
    }
}
