//! The media services: threads beside the workers that record, forward and play. `docs/recording.md` tells operators.
//!
//! ```text
//!   event loop ── ServiceOrder ──► tap's thread: recorder, forwarder ◄── copies of packets ── workers
//!       │                └───────► announcements' thread ──► player's thread ── packets ──► workers
//!       └◄──────────── ServiceEvent, and the doorbell ──────────┘
//! ```
//!
//! The event loop waits for none of them: an order without room is refused, and what they say is bounded. They are
//! pinned to no core, and sleep while there is nothing to do.

mod announcements;
mod counts;
mod decoder;
mod files;
mod forwarder;
mod g711;
mod limits;
mod pcap;
mod player;
mod recorder;
mod said;
mod tap;
mod wav;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use contract::{ServiceEvent, ServiceOrder};

use announcements::Announcements;
use files::Directories;
use forwarder::Forwarder;
use limits::Limits;
use player::Player;
use recorder::Recorder;
use said::Said;
use tap::TapThread;

pub(crate) use counts::Counts;
pub(crate) use player::Inject;
pub(crate) use said::Ring;
pub(crate) use tap::{Packet, Tap};

/// Orders that wait for a thread.
const ORDERS: usize = 1024;
/// What waits for the player: the announcements' thread waits for room.
const PREPARED: usize = 64;
/// How long the end of the process waits for what is to be written.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the configuration says of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Where recordings are written; `None`: nothing is recorded.
    pub(crate) recording_directory: Option<PathBuf>,
    /// Where the files are that can be played by their names; `None`: none can.
    pub(crate) announcements: Option<PathBuf>,
    /// Who takes what is forwarded; `None`: nothing is.
    pub(crate) forward_to: Option<SocketAddr>,
}

/// Why they cannot be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// Nothing could be recorded.
    #[error("cannot record into {}: {error}", .directory.display())]
    Recordings {
        /// Where.
        directory: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Nothing could be played.
    #[error("cannot open the announcements in {}: {error}", .directory.display())]
    Announcements {
        /// Where.
        directory: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// There is no thread.
    #[error("cannot start a thread of the media services: {0}")]
    Thread(#[from] io::Error),
}

/// What joins them to the workers and the event loop.
pub(crate) struct Joints {
    /// Where the workers' copies are.
    pub(crate) taps: Vec<Box<dyn Tap>>,
    /// Where packets are injected.
    pub(crate) inject: Inject,
    /// What makes the event loop look.
    pub(crate) ring: Ring,
    /// What [`contract::Timestamp`]s count from.
    pub(crate) origin: Instant,
}

/// The running services, as the event loop sees them.
#[derive(Debug)]
pub(crate) struct Services {
    settings: Settings,
    /// To the tap's thread, while it is wanted.
    tapped: Option<SyncSender<ServiceOrder>>,
    /// To the announcements' thread.
    played: Option<SyncSender<ServiceOrder>>,
    events: Receiver<ServiceEvent>,
    counts: Arc<Counts>,
    threads: Vec<JoinHandle<()>>,
}

impl Services {
    /// Starts the threads that the settings ask for. What is played can come with the request, so that there is always
    /// a player.
    pub(crate) fn start(settings: Settings, joints: Joints) -> Result<Self, StartError> {
        let counts = Arc::<Counts>::default();
        let (said, events) = Said::new(joints.ring, Arc::clone(&counts));
        let mut services = Self {
            settings,
            tapped: None,
            played: None,
            events,
            counts,
            threads: Vec::new(),
        };
        services.start_playing(joints.inject, said.clone(), joints.origin)?;
        services.start_tapping(joints.taps, said, joints.origin)?;
        Ok(services)
    }

    fn start_tapping(
        &mut self,
        taps: Vec<Box<dyn Tap>>,
        said: Said,
        origin: Instant,
    ) -> Result<(), StartError> {
        let (counts, limits) = (&self.counts, Limits::of_process());
        let recorder = |directory: &PathBuf| {
            let made = Directories::make(directory).map_err(|error| StartError::Recordings {
                directory: directory.clone(),
                error,
            });
            made.map(|made| Recorder::new(made, rand::random(), limits, Arc::clone(counts)))
        };
        let recorder = self.settings.recording_directory.as_ref().map(recorder);
        let forwarder = self.settings.forward_to;
        let forwarder = forwarder.map(|to| Forwarder::new(to, limits, Arc::clone(counts)));
        let thread = TapThread {
            taps,
            recorder: recorder.transpose()?,
            forwarder,
            said,
            counts: Arc::clone(counts),
            origin,
        };
        if thread.recorder.is_none() && thread.forwarder.is_none() {
            return Ok(());
        }
        let (orders, inbox) = sync_channel(ORDERS);
        self.spawn("tandem-tap", move || thread.run(&inbox))?;
        self.tapped = Some(orders);
        Ok(())
    }

    fn start_playing(
        &mut self,
        inject: Inject,
        said: Said,
        origin: Instant,
    ) -> Result<(), StartError> {
        let root = self.settings.announcements.as_deref();
        let announcements =
            Announcements::open(root).map_err(|error| StartError::Announcements {
                directory: root.unwrap_or(Path::new("")).to_owned(),
                error,
            })?;
        let (prepared, to_play) = sync_channel(PREPARED);
        let (orders, inbox) = sync_channel(ORDERS);
        let counts = Arc::clone(&self.counts);
        let player = Player::new(rand::random(), inject, said.clone(), Arc::clone(&counts));
        self.spawn("tandem-play", move || player.run(&to_play, origin))?;
        self.spawn("tandem-files", move || {
            announcements.run(&inbox, &prepared, &said, &counts);
        })?;
        self.played = Some(orders);
        Ok(())
    }

    fn spawn(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let thread = thread::Builder::new().name(name.to_owned()).spawn(run)?;
        self.threads.push(thread);
        Ok(())
    }

    /// Passes an order on, unless there is no room, or nobody for a request. Never waits.
    pub(crate) fn order(&self, order: ServiceOrder) -> Result<(), ServiceOrder> {
        let settings = &self.settings;
        let taker = match &order {
            ServiceOrder::Record(_)
            | ServiceOrder::PauseRecording(_)
            | ServiceOrder::ResumeRecording(_)
            | ServiceOrder::Describe { .. }
            | ServiceOrder::StopRecording(_) => {
                let records = settings.recording_directory.is_some();
                self.tapped.as_ref().filter(|_| records)
            }
            ServiceOrder::Forward(_) | ServiceOrder::StopForwarding(_) => {
                let forwards = settings.forward_to.is_some();
                self.tapped.as_ref().filter(|_| forwards)
            }
            ServiceOrder::Play(_) | ServiceOrder::StopPlaying(_) => self.played.as_ref(),
        };
        let Some(taker) = taker else {
            // Nothing was begun that could end.
            return match order.is_request() {
                true => Err(order),
                false => Ok(()),
            };
        };
        taker.try_send(order).map_err(|refused| {
            self.counts.orders_refused.add(1);
            let (TrySendError::Full(order) | TrySendError::Disconnected(order)) = refused;
            order
        })
    }

    /// Appends what they have said.
    pub(crate) fn heed(&self, events: &mut Vec<ServiceEvent>) {
        events.extend(self.events.try_iter());
    }

    /// What the configuration says of them.
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What they have done.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }
}

impl Drop for Services {
    /// Recordings are completed. A disk that does not answer is not waited for for ever.
    fn drop(&mut self) {
        self.tapped = None;
        self.played = None;
        let patience = Instant::now() + PATIENCE;
        for thread in std::mem::take(&mut self.threads) {
            while !thread.is_finished() && Instant::now() < patience {
                thread::sleep(Duration::from_millis(1));
            }
            if !thread.is_finished() {
                tracing::error!(
                    "a thread of the media services does not end: recordings may be incomplete"
                );
            } else if thread.join().is_err() {
                tracing::error!("a thread of the media services has died of a panic");
            }
        }
    }
}

#[cfg(test)]
mod tests;
