//! Forwarding: what is tapped, decoded, to whoever listens: one TCP connection a stream, which begins with the
//! metadata and a NUL byte, and goes on with 16-bit samples at 8 kHz, little end first. Belongs to the tap's thread.
//!
//! Nothing waits for the other end: what its connection does not take stays in a bounded buffer, and what finds no
//! room there is lost and counted.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use contract::{Forwarding, TapId, Timestamp};
use mio::net::TcpStream;

use super::counts::Counts;
use super::decoder::{Decoded, Decoder, Rtp};
use super::limits::Limits;
use super::tap::Packet;

/// Taps that are forwarded at a time.
const MOST: usize = 2000;
/// Streams of a tap at a time: of the one more, the one that has been silent for longest ends.
const MOST_STREAMS: usize = 4;
/// Bytes that wait for a connection: eight seconds.
const ROOM: usize = 128 * 1024;
/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How long a stream that is over has for what waits.
const PATIENCE: Duration = Duration::from_secs(5);

/// All forwarding.
#[derive(Debug)]
pub(crate) struct Forwarder {
    to: SocketAddr,
    taps: HashMap<TapId, Vec<u8>>,
    streams: HashMap<(TapId, u32), Stream>,
    /// Streams that are over, and until when they may send.
    ending: Vec<(Stream, Timestamp)>,
    /// Connections at a time.
    most_connections: usize,
    counts: Arc<Counts>,
}

impl Forwarder {
    /// A forwarder to this address.
    pub(crate) fn new(to: SocketAddr, limits: Limits, counts: Arc<Counts>) -> Self {
        Self {
            to,
            taps: HashMap::new(),
            streams: HashMap::new(),
            ending: Vec::new(),
            most_connections: limits.connections,
            counts,
        }
    }

    /// Whether there is nothing to forward.
    pub(crate) fn is_idle(&self) -> bool {
        self.taps.is_empty() && self.ending.is_empty()
    }

    /// Begins to forward a tap, or goes on with other metadata for the streams that come.
    pub(crate) fn begin(&mut self, forwarding: Forwarding) {
        if self.taps.len() < MOST || self.taps.contains_key(&forwarding.tap) {
            self.taps.insert(forwarding.tap, forwarding.metadata);
        } else {
            tracing::warn!("{MOST} parties are being forwarded: one more is not");
            self.counts.forwardings_refused.add(1);
        }
        self.counts.forwardings.set(self.taps.len());
    }

    /// Forwards a tap no more. What waits is still sent.
    pub(crate) fn stop(&mut self, tap: TapId, now: Timestamp) {
        self.taps.remove(&tap);
        let over = self.streams.extract_if(|(its, _), _| *its == tap);
        self.ending
            .extend(over.map(|(_, stream)| (stream, now + PATIENCE)));
        self.counts.forwardings.set(self.taps.len());
    }

    /// Takes a packet that was tapped.
    pub(crate) fn take(&mut self, packet: &Packet<'_>, now: Timestamp) {
        let Some(metadata) = self.taps.get(&packet.tap).filter(|_| packet.is_rtp) else {
            return;
        };
        let Some(rtp) = Rtp::read(packet.payload) else {
            self.counts.forward_unknown.add(1);
            return;
        };
        let name = (packet.tap, rtp.ssrc);
        if !self.streams.contains_key(&name) {
            if !Decoder::knows(&rtp) {
                self.counts.forward_unknown.add(1);
                return;
            }
            let metadata = metadata.clone();
            self.make_room(packet.tap, now);
            if self.streams.len() + self.ending.len() >= self.most_connections {
                self.counts.forward_lost.add(1);
                return;
            }
            self.streams.insert(name, Stream::new(metadata, now));
        }
        if let Some(stream) = self.streams.get_mut(&name) {
            stream.take(&rtp, now, &self.counts);
        }
    }

    /// Ends the stream of a tap that has been silent for longest, if it has as many as it may.
    fn make_room(&mut self, tap: TapId, now: Timestamp) {
        let of_tap = self.streams.iter().filter(|((its, _), _)| *its == tap);
        let of_tap: Vec<_> = of_tap.map(|(name, stream)| (stream.heard, *name)).collect();
        if of_tap.len() < MOST_STREAMS {
            return;
        }
        if let Some(stream) = of_tap
            .into_iter()
            .min()
            .and_then(|(_, name)| self.streams.remove(&name))
        {
            self.ending.push((stream, now + PATIENCE));
        }
    }

    /// Sends what the connections take.
    pub(crate) fn send(&mut self, now: Timestamp) {
        let (to, counts) = (self.to, &self.counts);
        for stream in self.streams.values_mut() {
            stream.send(to, now, counts);
        }
        self.ending.retain_mut(|(stream, until)| {
            // A connection that failed is not tried again for what is over.
            let goes_on = stream.send(to, now, counts) && !stream.is_sent() && *until > now;
            if !goes_on {
                stream.give_up(counts);
            }
            goes_on
        });
        counts.streams.set(self.streams.len() + self.ending.len());
    }
}

/// One stream, and its connection.
#[derive(Debug)]
struct Stream {
    metadata: Vec<u8>,
    decoder: Decoder,
    connection: Option<TcpStream>,
    /// What waits, from `sent` on.
    waiting: Vec<u8>,
    sent: usize,
    /// Packets in `waiting`.
    packets: u64,
    retry: Timestamp,
    heard: Timestamp,
}

impl Stream {
    fn new(metadata: Vec<u8>, now: Timestamp) -> Self {
        Self {
            metadata,
            decoder: Decoder::default(),
            connection: None,
            waiting: Vec::new(),
            sent: 0,
            packets: 0,
            retry: now,
            heard: now,
        }
    }

    fn take(&mut self, rtp: &Rtp<'_>, now: Timestamp, counts: &Counts) {
        self.heard = now;
        let before = self.waiting.len();
        match self.decoder.take(rtp, &mut self.waiting) {
            Decoded::Audio(_) if self.waiting.len() - self.sent > ROOM => {
                self.waiting.truncate(before);
                counts.forward_lost.add(1);
            }
            Decoded::Audio(_) => self.packets += 1,
            Decoded::Late => counts.forward_late.add(1),
            Decoded::Unknown => counts.forward_unknown.add(1),
        }
    }

    fn is_sent(&self) -> bool {
        self.sent == self.waiting.len()
    }

    /// Sends what the connection takes. Whether it stands, or is being made.
    fn send(&mut self, to: SocketAddr, now: Timestamp, counts: &Counts) -> bool {
        match self.try_send(to, now) {
            Ok(stands) => {
                if self.is_sent() {
                    counts.forwarded_packets.add(self.packets);
                    self.packets = 0;
                    self.waiting.clear();
                    self.sent = 0;
                } else if self.sent > ROOM {
                    self.waiting.drain(..self.sent);
                    self.sent = 0;
                }
                stands
            }
            Err(error) => {
                tracing::warn!(%to, %error, "what is forwarded is not taken");
                counts.connections_failed.add(1);
                self.give_up(counts);
                self.retry = now + RETRY;
                false
            }
        }
    }

    fn try_send(&mut self, to: SocketAddr, now: Timestamp) -> io::Result<bool> {
        if self.connection.is_none() {
            if self.retry > now {
                return Ok(false);
            }
            self.connection = Some(TcpStream::connect(to)?);
            let heading = [&self.metadata[..], &[0]].concat();
            self.waiting.splice(..self.sent, heading);
            self.sent = 0;
        }
        let Some(connection) = &mut self.connection else {
            return Ok(false);
        };
        // Why it could not be made, if so.
        if let Some(error) = connection.take_error()? {
            return Err(error);
        }
        while self.sent < self.waiting.len() {
            match connection.write(&self.waiting[self.sent..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.sent += count,
                Err(error) => match error.kind() {
                    // The second: it is still being made.
                    io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected => break,
                    io::ErrorKind::Interrupted => {}
                    _ => return Err(error),
                },
            }
        }
        Ok(true)
    }

    /// What waits is lost, and so is the connection.
    fn give_up(&mut self, counts: &Counts) {
        counts.forward_lost.add(self.packets);
        self.packets = 0;
        self.waiting.clear();
        self.sent = 0;
        self.connection = None;
    }
}

#[cfg(test)]
mod tests;
