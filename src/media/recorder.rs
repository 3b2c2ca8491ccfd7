//! Recordings: what is tapped, in files. Belongs to the tap's thread; is told the time.
//!
//! A recording that cannot go on ends with [`ServiceEvent::NotRecording`]; the others, and the tap, do not notice.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use contract::{FlowKey, Recording, ServiceEvent, TapId};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::counts::Counts;
use super::files::{self, Directories, Files};
use super::limits::Limits;
use super::pcap;
use super::tap::Packet;

/// Bytes that wait to be written together.
const BUFFER: usize = 32 * 1024;
/// No file grows longer, in bytes: some two days of a call.
const LONGEST: u64 = 4 << 30;
/// Bytes of the metadata of one recording.
const LONGEST_METADATA: usize = 1 << 20;

/// All recordings.
#[derive(Debug)]
pub(crate) struct Recorder {
    directories: Directories,
    open: HashMap<TapId, Open>,
    suffixes: StdRng,
    counts: Arc<Counts>,
    longest: u64,
    /// Recordings at a time: each has a file open.
    most: usize,
}

/// One recording.
#[derive(Debug)]
struct Open {
    files: Files,
    file: File,
    waiting: Vec<u8>,
    paused: bool,
    /// What comes last in the metadata.
    metadata: String,
    described: usize,
    started: Duration,
    packets: u64,
    bytes: u64,
    /// What the tap had lost when it began.
    lost: u64,
    /// Who was heard last at a key: packets that come from nobody are as if from there.
    sources: HashMap<FlowKey, SocketAddr>,
}

impl Recorder {
    /// A recorder whose files are there.
    pub(crate) fn new(
        directories: Directories,
        seed: u64,
        limits: Limits,
        counts: Arc<Counts>,
    ) -> Self {
        Self {
            directories,
            open: HashMap::new(),
            suffixes: StdRng::seed_from_u64(seed),
            counts,
            longest: LONGEST,
            most: limits.recordings,
        }
    }

    /// Whether there is nothing to record.
    pub(crate) fn is_idle(&self) -> bool {
        self.open.is_empty()
    }

    /// Begins a recording; `wall` is the time since 1970. One of the same tap that there was is complete.
    pub(crate) fn begin(&mut self, recording: Recording, wall: Duration) -> ServiceEvent {
        let tap = recording.tap.call();
        self.stop(tap, wall);
        match self.try_begin(recording, wall) {
            Ok(open) => {
                let file = open.files.packets.display().to_string();
                self.open.insert(tap, open);
                self.counts.recordings_begun.add(1);
                self.counts.recordings.set(self.open.len());
                ServiceEvent::Recording { tap, file }
            }
            Err(error) => {
                tracing::warn!(%error, "a recording cannot begin");
                self.counts.recordings_failed.add(1);
                let reason = error.to_string();
                ServiceEvent::NotRecording { tap, reason }
            }
        }
    }

    fn try_begin(&mut self, recording: Recording, wall: Duration) -> io::Result<Open> {
        let most = self.most;
        if self.open.len() >= most {
            return Err(io::Error::other(format!("{most} calls are being recorded")));
        }
        let files = (self.directories).files(&recording.call_id, self.suffixes.random());
        let file = files::create(&files.packets)?;
        files.describe(&format!("{}\n\n\n", files.packets.display()))?;
        Ok(Open {
            files,
            file,
            waiting: pcap::heading(),
            paused: false,
            metadata: recording.metadata,
            described: 0,
            started: wall,
            packets: 0,
            bytes: 0,
            lost: self.counts.lost_at_tap.get(),
            sources: HashMap::new(),
        })
    }

    /// Leaves out what comes, or goes on.
    pub(crate) fn pause(&mut self, tap: TapId, paused: bool) {
        if let Some(open) = self.open.get_mut(&tap.call()) {
            open.paused = paused;
        }
    }

    /// Adds to the metadata.
    pub(crate) fn describe(&mut self, tap: TapId, text: &str) {
        let Some(open) = self.open.get_mut(&tap.call()) else {
            return;
        };
        open.described += text.len() + 1;
        let line = match text.ends_with('\n') {
            true => text.to_owned(),
            false => format!("{text}\n"),
        };
        let fits = open.described <= LONGEST_METADATA;
        if !fits || open.files.describe(&line).is_err() {
            self.counts.metadata_lost.add(1);
        }
    }

    /// A recording is complete.
    pub(crate) fn stop(&mut self, tap: TapId, wall: Duration) {
        if let Some(mut open) = self.open.remove(&tap.call()) {
            if let Err(error) = open.write() {
                tracing::warn!(%error, file = %open.files.packets.display(), "a recording has lost its end");
                self.counts.recordings_failed.add(1);
            }
            self.finish(&open, wall);
        }
        self.counts.recordings.set(self.open.len());
    }

    fn finish(&self, open: &Open, wall: Duration) {
        let lost = self.counts.lost_at_tap.get() - open.lost;
        let end = open.end(wall, lost);
        if let Err(error) = open.files.describe(&end).and_then(|()| open.files.finish()) {
            tracing::warn!(%error, file = %open.files.finished.display(), "metadata cannot be written");
            self.counts.metadata_lost.add(1);
        }
    }

    /// A packet that was tapped, received at `wall`. What it says when the recording had to end.
    pub(crate) fn take(&mut self, packet: &Packet<'_>, wall: Duration) -> Option<ServiceEvent> {
        let tap = packet.tap.call();
        let open = self.open.get_mut(&tap)?;
        if open.paused {
            return None;
        }
        let before = open.waiting.len();
        open.append(packet, wall);
        self.counts.recorded_packets.add(1);
        let more = open.waiting.len() - before;
        self.counts.recorded_bytes.add(more as u64);
        let outcome = match open.bytes + open.waiting.len() as u64 >= self.longest {
            true => open.write().and_then(|()| {
                let reason = format!("the file is {} bytes long", self.longest);
                Err(io::Error::new(io::ErrorKind::FileTooLarge, reason))
            }),
            false if open.waiting.len() >= BUFFER => open.write(),
            false => Ok(()),
        };
        outcome.err().and_then(|error| self.fail(tap, &error, wall))
    }

    /// Writes what waits; to be called every second. Says which recordings had to end.
    pub(crate) fn flush(&mut self, wall: Duration) -> Vec<ServiceEvent> {
        let written = self.open.iter_mut().map(|(tap, open)| (*tap, open.write()));
        let failed: Vec<_> = written
            .filter_map(|(tap, outcome)| Some((tap, outcome.err()?)))
            .collect();
        let events = failed.iter();
        events
            .filter_map(|(tap, error)| self.fail(*tap, error, wall))
            .collect()
    }

    fn fail(&mut self, tap: TapId, error: &io::Error, wall: Duration) -> Option<ServiceEvent> {
        let open = self.open.remove(&tap)?;
        tracing::warn!(%error, file = %open.files.packets.display(), "a recording had to end");
        self.counts.recordings_failed.add(1);
        self.counts.recordings.set(self.open.len());
        self.finish(&open, wall);
        let reason = error.to_string();
        Some(ServiceEvent::NotRecording { tap, reason })
    }

    /// The process ends: all recordings are complete.
    pub(crate) fn stop_all(&mut self, wall: Duration) {
        let taps: Vec<_> = self.open.keys().copied().collect();
        for tap in taps {
            self.stop(tap, wall);
        }
    }
}

impl Open {
    fn append(&mut self, packet: &Packet<'_>, wall: Duration) {
        let unknown = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let source = match packet.source {
            Some(source) => {
                self.sources.insert(packet.key, source);
                source
            }
            None => self.sources.get(&packet.key).copied().unwrap_or(unknown),
        };
        let destination = packet.key.socket_addr();
        pcap::append(&mut self.waiting, wall, source, destination, packet.payload);
        self.packets += 1;
    }

    /// Writes what waits.
    fn write(&mut self) -> io::Result<()> {
        if let Err(error) = self.file.write_all(&self.waiting) {
            // A full disk takes the beginning of a packet. What cannot be cut off is cut off by the reader.
            let _ = self.file.set_len(self.bytes);
            return Err(error);
        }
        self.bytes += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }

    fn end(&self, wall: Duration, lost: u64) -> String {
        format!(
            "\nTimestamp terminated ms(first monologue): {}.{:03}\n\n\
             call start time: {}\ncall end time: {}\npackets: {}\nbytes: {}\nlost at the tap: {lost}\n\n\n{}\n",
            wall.as_millis(),
            wall.subsec_micros() % 1000,
            spell(self.started),
            spell(wall),
            self.packets,
            self.bytes,
            self.metadata
        )
    }
}

/// The time of day, in UTC.
fn spell(wall: Duration) -> String {
    let seconds = i64::try_from(wall.as_secs()).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX);
    time.strftime("%Y-%m-%dT%H:%M:%S").to_string()
}

#[cfg(test)]
mod tests;
