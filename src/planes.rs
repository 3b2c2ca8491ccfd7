//! Where the two planes meet: the dataplane, as the control plane's event loop and the admin socket see it.

use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::time::Instant;

use contract::{Command, Event, FlowKey, Homes, WorkerId};
use controlplane::ng::Totals;
use controlplane::records::{Measured, Quality};
use controlplane::server::{self, MailboxFull};
use controlplane::session::Reports;
use dataplane::Dataplane;
use dataplane::report::{FlowTally, Report};

use crate::reception;

/// The running dataplane, shared within the control thread, and since when.
#[derive(Clone, Debug)]
pub(crate) struct SharedDataplane(Rc<Dataplane>, Instant);

impl SharedDataplane {
    /// Shares a dataplane. It stops when the last share is dropped.
    pub(crate) fn new(dataplane: Dataplane) -> Self {
        Self(Rc::new(dataplane), Instant::now())
    }

    /// The state of every device and worker.
    pub(crate) fn report(&self) -> Report {
        self.0.report()
    }

    /// What each worker counted for the flow at a key.
    pub(crate) fn flow_tally(&self, key: FlowKey) -> Vec<FlowTally> {
        self.0.flow_tally(key)
    }
}

impl server::Dataplane for SharedDataplane {
    fn submit(&mut self, worker: WorkerId, command: Command) -> Result<(), MailboxFull> {
        let posted = self.0.post(worker, command);
        posted.map_err(|dataplane::MailboxFull| MailboxFull)
    }

    fn ring(&mut self) {
        self.0.ring();
    }

    fn drain(&mut self, events: &mut Vec<(WorkerId, Event)>) {
        self.0.drain(events);
    }

    fn doorbell(&self) -> BorrowedFd<'_> {
        self.0.doorbell()
    }

    fn dead_worker(&self) -> Option<WorkerId> {
        self.0.dead_worker()
    }

    fn measure(&mut self, key: FlowKey) -> Measured {
        let mut sum = Measured::default();
        for tally in self.0.flow_tally(key) {
            sum.packets += tally.packets;
            sum.bytes += tally.bytes;
            sum.wrong_source += tally.wrong_source;
            sum.last_packet = tally.last_seen.max(sum.last_packet);
        }
        sum
    }

    fn totals(&mut self) -> Totals {
        let mut totals = Totals {
            uptime: self.1.elapsed().as_secs(),
            ..Totals::default()
        };
        for worker in self.0.report().workers {
            totals.dropped += worker.drops.iter().sum::<u64>();
            for socket in worker.sockets {
                totals.packets += socket.rx_packets;
                totals.bytes += socket.rx_bytes;
            }
        }
        totals
    }

    fn homes(&mut self) -> Option<Homes> {
        self.0.homes()
    }

    fn reported(&mut self, reports: &Reports) -> Option<Quality> {
        let combined = reception::combined(&self.0.flow_tally(reports.at))?;
        Some(reception::quality(&combined, reports.clock_rate))
    }
}
