//! The tap's thread: takes what the workers copied, for the recorder and the forwarder. Sleeps while neither wants any.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use contract::{FlowKey, ServiceOrder, TapId, Timestamp};

use super::counts::Counts;
use super::forwarder::Forwarder;
use super::recorder::Recorder;
use super::said::Said;

/// How often the taps are looked at while nothing comes.
const LOOK: Duration = Duration::from_millis(2);
/// Packets taken off a tap before the next one, and the orders, have their turn.
const BATCH: usize = 256;
/// How often what waits is written.
const FLUSH: Duration = Duration::from_secs(1);

/// A packet that was tapped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet<'a> {
    /// When it was received.
    pub(crate) at: Timestamp,
    /// For whom it is.
    pub(crate) tap: TapId,
    /// Where it arrived.
    pub(crate) key: FlowKey,
    /// Where it came from; `None`: it was injected or copied.
    pub(crate) source: Option<SocketAddr>,
    /// Whether it is RTP.
    pub(crate) is_rtp: bool,
    /// The payload of UDP.
    pub(crate) payload: &'a [u8],
}

/// Where a worker's copies are.
pub(crate) trait Tap: Send {
    /// Hands over what has been copied, at the most `limit` packets, and says how many it was.
    fn drain(&mut self, limit: usize, take: &mut dyn FnMut(&Packet<'_>)) -> usize;

    /// Copies that were lost, since ever.
    fn lost(&self) -> u64;
}

/// The thread's state.
pub(crate) struct TapThread {
    pub(super) taps: Vec<Box<dyn Tap>>,
    pub(super) recorder: Option<Recorder>,
    pub(super) forwarder: Option<Forwarder>,
    pub(super) said: Said,
    pub(super) counts: Arc<Counts>,
    /// What [`Timestamp`]s count from.
    pub(super) origin: Instant,
}

/// The two clocks at a moment.
#[derive(Clone, Copy)]
struct Clocks {
    now: Timestamp,
    wall: Duration,
}

impl Clocks {
    fn read(origin: Instant) -> Self {
        let now = u64::try_from(origin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Self {
            now: Timestamp::from_nanos(now),
            wall: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
        }
    }

    fn wall_at(self, at: Timestamp) -> Duration {
        self.wall.saturating_sub(self.now.since(at))
    }
}

impl TapThread {
    /// Until the other end is gone.
    pub(super) fn run(mut self, inbox: &Receiver<ServiceOrder>) {
        let mut flush_at = Instant::now() + FLUSH;
        let mut has_more = false;
        loop {
            let order = match (self.is_idle(), has_more) {
                (true, _) => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
                (false, true) => inbox.recv_timeout(Duration::ZERO),
                (false, false) => inbox.recv_timeout(LOOK),
            };
            match order {
                Ok(order) => self.carry_out(order),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            has_more = self.drain();
            if Instant::now() >= flush_at {
                flush_at = Instant::now() + FLUSH;
                self.flush();
            }
        }
        self.drain_all();
        if let Some(recorder) = &mut self.recorder {
            recorder.stop_all(Clocks::read(self.origin).wall);
        }
    }

    fn is_idle(&self) -> bool {
        self.recorder.as_ref().is_none_or(Recorder::is_idle)
            && self.forwarder.as_ref().is_none_or(Forwarder::is_idle)
    }

    fn carry_out(&mut self, order: ServiceOrder) {
        // What was tapped before the order is treated as before it.
        self.drain_all();
        let clocks = Clocks::read(self.origin);
        match order {
            ServiceOrder::Forward(forwarding) => {
                if let Some(forwarder) = &mut self.forwarder {
                    forwarder.begin(*forwarding);
                }
            }
            ServiceOrder::StopForwarding(tap) => {
                if let Some(forwarder) = &mut self.forwarder {
                    forwarder.stop(tap, clocks.now);
                }
            }
            order => self.record(order, clocks.wall),
        }
    }

    fn record(&mut self, order: ServiceOrder, wall: Duration) {
        let Some(recorder) = &mut self.recorder else {
            return;
        };
        match order {
            ServiceOrder::Record(recording) => {
                let event = recorder.begin(*recording, wall);
                self.said.say(event);
            }
            ServiceOrder::PauseRecording(tap) => recorder.pause(tap, true),
            ServiceOrder::ResumeRecording(tap) => recorder.pause(tap, false),
            ServiceOrder::Describe { tap, text } => recorder.describe(tap, &text),
            ServiceOrder::StopRecording(tap) => recorder.stop(tap, wall),
            // Not about recordings.
            ServiceOrder::Forward(_)
            | ServiceOrder::StopForwarding(_)
            | ServiceOrder::Play(_)
            | ServiceOrder::StopPlaying(_) => {}
        }
    }

    /// Takes what there is now. Bounded, however fast more comes: as often as each tap could be full.
    fn drain_all(&mut self) {
        for _ in 0..4 {
            if !self.drain() {
                break;
            }
        }
    }

    /// Takes some off each tap, and forwards. Whether there may be more.
    fn drain(&mut self) -> bool {
        let clocks = Clocks::read(self.origin);
        let (recorder, forwarder, said) = (&mut self.recorder, &mut self.forwarder, &self.said);
        let mut take = |packet: &Packet<'_>| {
            if let Some(recorder) = recorder
                && let Some(event) = recorder.take(packet, clocks.wall_at(packet.at))
            {
                said.say(event);
            }
            if let Some(forwarder) = forwarder {
                forwarder.take(packet, clocks.now);
            }
        };
        let mut has_more = false;
        for tap in &mut self.taps {
            has_more |= tap.drain(BATCH, &mut take) == BATCH;
        }
        if let Some(forwarder) = &mut self.forwarder {
            forwarder.send(clocks.now);
        }
        let lost = self.taps.iter().map(|tap| tap.lost()).sum::<u64>();
        let known = self.counts.lost_at_tap.get();
        self.counts.lost_at_tap.add(lost.saturating_sub(known));
        has_more
    }

    fn flush(&mut self) {
        let wall = Clocks::read(self.origin).wall;
        let ended = self.recorder.as_mut().map(|recorder| recorder.flush(wall));
        for event in ended.into_iter().flatten() {
            self.said.say(event);
        }
    }
}
