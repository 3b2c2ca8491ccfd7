//! What is being played: audio as RTP, paced by the clock. Is told the time.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use contract::{FlowKey, PlayId, Playing, ServiceEvent, Timestamp};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::counts::Counts;
use super::g711::Law;
use super::said::Said;
use super::wav::RATE;

/// Plays at a time.
const MOST: usize = 2000;
/// Whoever is later than this does not catch up: the audio goes on later.
const CATCH_UP: Duration = Duration::from_millis(100);
/// The media time of a packet is within these.
const PTIMES: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(60)];
/// RTP's fixed header, version 2.
const HEADER: [u8; 12] = [0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const MARKER: u8 = 0x80;

/// Where packets are injected; whether there was room.
pub(crate) type Inject = Box<dyn FnMut(FlowKey, &[u8]) -> bool + Send>;

/// To the player's thread.
pub(crate) enum ToPlayer {
    /// Play this.
    Play(Box<Prepared>),
    /// Play it no more.
    Stop(PlayId),
}

/// What can be played at once.
#[derive(Debug)]
pub(crate) struct Prepared {
    play: PlayId,
    keys: Vec<FlowKey>,
    /// A byte a sample.
    pub(crate) audio: Arc<[u8]>,
    law: Law,
    /// What the receiver knows the law by.
    pub(crate) payload_type: u8,
    /// Samples of a packet.
    packet: usize,
    /// Where it goes on.
    position: usize,
    /// Samples that are still to be played, with all repetitions.
    left: u64,
}

impl Prepared {
    /// What is asked for, of this audio. `None`: there is nothing to play.
    pub(crate) fn new(
        playing: &Playing,
        audio: Arc<[u8]>,
        law: Law,
        payload_type: u8,
    ) -> Option<Self> {
        let start = samples(playing.start).min(audio.len() as u64);
        let all = (audio.len() as u64).saturating_mul(playing.times.into());
        let left = all.saturating_sub(start);
        let most = playing.longest.map_or(u64::MAX, samples);
        let left = left.min(most);
        let ptime = playing.ptime.clamp(PTIMES[0], PTIMES[1]);
        (left > 0).then(|| Self {
            play: playing.play,
            keys: playing.keys.clone(),
            law,
            payload_type: payload_type & 0x7f,
            packet: samples(ptime) as usize,
            position: start as usize % audio.len().max(1),
            audio,
            left,
        })
    }

    fn duration(&self) -> Duration {
        duration(self.audio.len())
    }

    /// Appends the samples of the next packet; what is missing of the last one is silence.
    fn next_packet(&mut self, packet: &mut Vec<u8>) {
        let end = packet.len() + self.packet;
        while packet.len() < end && self.left > 0 {
            let rest = &self.audio[self.position..];
            let left = usize::try_from(self.left).unwrap_or(usize::MAX);
            let count = rest.len().min(end - packet.len()).min(left);
            packet.extend(&rest[..count]);
            self.left -= count as u64;
            self.position = (self.position + count) % self.audio.len();
        }
        packet.resize(end, self.law.silence());
    }
}

fn samples(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros() * u128::from(RATE) / 1_000_000).unwrap_or(u64::MAX)
}

fn duration(samples: usize) -> Duration {
    Duration::from_nanos(samples as u64 * (1_000_000_000 / u64::from(RATE)))
}

/// One play, under way.
#[derive(Debug)]
struct Play {
    prepared: Prepared,
    due: Timestamp,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    /// The next packet begins a talkspurt.
    marked: bool,
}

/// All plays.
pub(crate) struct Player {
    plays: HashMap<PlayId, Play>,
    /// When each has something to do.
    due: BTreeSet<(Timestamp, PlayId)>,
    random: StdRng,
    inject: Inject,
    said: Said,
    counts: Arc<Counts>,
    packet: Vec<u8>,
}

impl Player {
    /// A player that injects here.
    pub(crate) fn new(seed: u64, inject: Inject, said: Said, counts: Arc<Counts>) -> Self {
        Self {
            plays: HashMap::new(),
            due: BTreeSet::new(),
            random: StdRng::seed_from_u64(seed),
            inject,
            said,
            counts,
            packet: Vec::new(),
        }
    }

    /// Until the other end is gone.
    pub(super) fn run(mut self, inbox: &Receiver<ToPlayer>, origin: Instant) {
        let clock = || {
            let nanos = u64::try_from(origin.elapsed().as_nanos());
            Timestamp::from_nanos(nanos.unwrap_or(u64::MAX))
        };
        loop {
            let message = match self.advance(clock()) {
                Some(due) => inbox.recv_timeout(due.since(clock())),
                None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match message {
                Ok(ToPlayer::Play(prepared)) => self.begin(*prepared, clock()),
                Ok(ToPlayer::Stop(play)) => self.stop(play),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
    }

    /// Begins to play, with the first packet at once.
    pub(crate) fn begin(&mut self, prepared: Prepared, now: Timestamp) {
        let play = prepared.play;
        if self.plays.len() >= MOST {
            self.counts.plays_failed.add(1);
            let reason = format!("{MOST} announcements are being played");
            return self.said.say(ServiceEvent::NotPlaying { play, reason });
        }
        let duration = prepared.duration();
        let begun = Play {
            prepared,
            due: now,
            ssrc: self.random.random(),
            sequence: self.random.random(),
            timestamp: self.random.random(),
            marked: true,
        };
        self.plays.insert(play, begun);
        self.due.insert((now, play));
        self.counts.plays_begun.add(1);
        self.counts.plays.set(self.plays.len());
        self.said.say(ServiceEvent::Playing { play, duration });
    }

    /// Plays it no more.
    pub(crate) fn stop(&mut self, play: PlayId) {
        if let Some(stopped) = self.plays.remove(&play) {
            self.due.remove(&(stopped.due, play));
            self.counts.plays.set(self.plays.len());
            self.said.say(ServiceEvent::Played(play));
        }
    }

    /// Injects what is due, and says when there is more.
    pub(crate) fn advance(&mut self, now: Timestamp) -> Option<Timestamp> {
        while let Some(&(due, id)) = self.due.first() {
            if due > now {
                return Some(due);
            }
            self.due.pop_first();
            let over = |play: &Play| play.prepared.left == 0;
            if self.plays.get(&id).is_some_and(over) {
                self.stop(id);
            } else if let Some(play) = self.plays.get_mut(&id) {
                play.skip(now);
                play.packet(&mut self.packet);
                for key in &play.prepared.keys {
                    match (self.inject)(*key, &self.packet) {
                        true => self.counts.played_packets.add(1),
                        false => self.counts.injections_refused.add(1),
                    }
                }
                self.due.insert((play.due, id));
            }
        }
        None
    }
}

impl Play {
    /// Leaves out the time in which nobody came to play, when it is long.
    fn skip(&mut self, now: Timestamp) {
        let late = now.since(self.due);
        if late > CATCH_UP {
            self.due = now;
            self.timestamp = self.timestamp.wrapping_add(samples(late) as u32);
            self.marked = true;
        }
    }

    /// Makes the next packet.
    fn packet(&mut self, packet: &mut Vec<u8>) {
        packet.clear();
        packet.extend(HEADER);
        packet[1] = self.prepared.payload_type | if self.marked { MARKER } else { 0 };
        packet[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        packet[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        packet[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        self.prepared.next_packet(packet);
        let samples = self.prepared.packet;
        self.marked = false;
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(samples as u32);
        self.due = self.due + duration(samples);
    }
}

#[cfg(test)]
mod tests;
