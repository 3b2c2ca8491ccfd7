//! Where the two planes meet: the dataplane, as the control plane's event loop and the admin socket see it.

use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use contract::{Command, Event, FlowKey, Homes, ServiceEvent, ServiceOrder, WorkerId};
use controlplane::ng::Totals;
use controlplane::records::{Measured, Quality};
use controlplane::server::{self, MailboxFull};
use controlplane::session::Reports;
use dataplane::injection::Injected;
use dataplane::report::{FlowTally, Report};
use dataplane::tap::{TapReader, Tapped};
use dataplane::{Dataplane, Injector};

use crate::admin::views::MediaServices;
use crate::media::{self, Inject, Joints, Packet, Services, Tap};
use crate::{reception, service_views};

/// The running dataplane with its media services, shared within the control thread, and since when.
#[derive(Clone, Debug)]
pub(crate) struct SharedDataplane(Rc<Dataplane>, Instant, Rc<Services>);

impl SharedDataplane {
    /// Shares a dataplane. It stops when the last share is dropped.
    /// Starts its media services; `origin` is what its times count from.
    pub(crate) fn new(
        dataplane: Dataplane,
        services: &media::Settings,
        origin: Instant,
    ) -> Result<Self, media::StartError> {
        let bell = dataplane.bell();
        let taps = dataplane.taps().into_iter();
        let joints = Joints {
            taps: taps.map(|tap| Box::new(WorkerTap(tap)) as _).collect(),
            inject: inject(dataplane.injector()),
            ring: Arc::new(move || bell.ring()),
            origin,
        };
        let services = Services::start(services.clone(), joints)?;
        Ok(Self(Rc::new(dataplane), Instant::now(), Rc::new(services)))
    }

    /// What the media services have done.
    pub(crate) fn services(&self) -> Option<MediaServices> {
        service_views::services(&self.2)
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

/// What a worker copies, for the media services.
#[derive(Debug)]
struct WorkerTap(TapReader);

impl Tap for WorkerTap {
    fn drain(&mut self, limit: usize, take: &mut dyn FnMut(&Packet<'_>)) -> usize {
        self.0.drain(limit, |tapped: &Tapped| {
            take(&Packet {
                at: tapped.at,
                tap: tapped.tap,
                key: tapped.key,
                source: tapped.source,
                is_rtp: tapped.is_rtp,
                payload: tapped.payload(),
            });
        })
    }

    fn lost(&self) -> u64 {
        self.0.lost()
    }
}

fn inject(injector: Injector) -> Inject {
    Box::new(move |key, payload| {
        let injected = Injected::new(key, payload);
        injected.is_some_and(|injected| injector.inject(injected).is_ok())
    })
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

    fn order(&mut self, order: ServiceOrder) -> Result<(), ServiceOrder> {
        self.2.order(order)
    }

    fn heed(&mut self, events: &mut Vec<ServiceEvent>) {
        self.2.heed(events);
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
