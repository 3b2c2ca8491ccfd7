//! Copies of every SIP message to a Homer collector, by HEP3 over UDP.
//!
//! The socket never blocks and nothing waits here: what the kernel does not take at once is dropped, and counted.
//! A collector that is gone costs nothing but its copies.

mod encode;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use controlplane::settings::{Listener, Transport};
use controlplane::story::{Mirrored, Way};

use encode::Packet;

/// IP protocol numbers.
const UDP: u8 = 17;
const TCP: u8 = 6;

/// What the configuration says of the collector.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Where it listens.
    pub(crate) collector: SocketAddr,
    /// Our number among those who capture.
    pub(crate) id: u32,
    /// What it knows us by.
    pub(crate) password: Option<String>,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("collector", &self.collector)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// What became of copies. The counts only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Given to the kernel.
    pub(crate) sent: u64,
    /// The kernel did not take them, or the collector's host said that nobody listens.
    pub(crate) failed: u64,
    /// Longer than a datagram can be.
    pub(crate) too_long: u64,
}

/// The socket towards the collector.
#[derive(Debug)]
pub(crate) struct Hep {
    socket: UdpSocket,
    settings: Settings,
    listeners: Vec<(SocketAddr, u8)>,
    counts: Counts,
}

impl Hep {
    /// Opens the socket.
    pub(crate) fn open(settings: Settings, listeners: &[Listener]) -> io::Result<Self> {
        let any: SocketAddr = match settings.collector {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any)?;
        socket.set_nonblocking(true)?;
        let protocol = |listener: &Listener| match listener.transport {
            Transport::Udp => UDP,
            _ => TCP,
        };
        let listeners = listeners.iter();
        Ok(Self {
            socket,
            settings,
            listeners: listeners
                .map(|each| (each.address, protocol(each)))
                .collect(),
            counts: Counts::default(),
        })
    }

    /// Sends a copy.
    pub(crate) fn send(&mut self, message: &Mirrored, wall: SystemTime) {
        let place = usize::from(message.path.listener.0);
        let Some(&(local, protocol)) = self.listeners.get(place) else {
            return;
        };
        let (source, destination) = match message.way {
            Way::Received => (message.path.remote, local),
            Way::Sent => (local, message.path.remote),
        };
        let since = wall.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let correlation = message.call.map(|call| call.to_string());
        let packet = Packet {
            source,
            destination,
            protocol,
            time: (
                u32::try_from(since.as_secs()).unwrap_or(u32::MAX),
                since.subsec_micros(),
            ),
            agent: self.settings.id,
            password: self.settings.password.as_deref(),
            correlation: correlation.as_deref(),
            payload: &message.bytes,
        };
        let Some(bytes) = packet.encode() else {
            self.counts.too_long += 1;
            return;
        };
        match self.socket.send_to(&bytes, self.settings.collector) {
            Ok(_) => self.counts.sent += 1,
            Err(error) => {
                self.counts.failed += 1;
                let collector = self.settings.collector;
                tracing::warn!(%collector, %error, "a copy for the collector is lost");
            }
        }
    }

    /// What became of copies so far.
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// Where they go.
    pub(crate) fn collector(&self) -> SocketAddr {
        self.settings.collector
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::Timestamp;
    use controlplane::b2bua::CallId;
    use controlplane::settings::ListenerId;
    use controlplane::transaction::Path;

    fn mirrored(way: Way, bytes: &[u8]) -> Mirrored {
        Mirrored {
            at: Timestamp::ZERO,
            way,
            path: Path::to(ListenerId(0), ([192, 0, 2, 9], 5080).into()),
            call: Some(CallId(42)),
            bytes: bytes.to_vec(),
        }
    }

    #[test]
    fn a_collector_gets_what_passed_with_its_direction_and_call() {
        let collector = UdpSocket::bind("127.0.0.1:0").expect("loopback");
        let settings = Settings {
            collector: collector.local_addr().expect("bound"),
            id: 7,
            password: None,
        };
        let listener = Listener::new("in", ([192, 0, 2, 1], 5060).into());
        let mut hep = Hep::open(settings, &[listener]).expect("a socket");
        let wall = UNIX_EPOCH + Duration::from_micros(1_700_000_000_000_001);
        let mut buffer = [0; 2048];
        for (way, from, to) in [(Way::Received, 9, 1), (Way::Sent, 1, 9)] {
            hep.send(&mirrored(way, b"BYE sip:x SIP/2.0\r\n\r\n"), wall);
            let length = collector.recv(&mut buffer).expect("a packet");
            let chunks = encode::tests::decode(&buffer[..length]);
            assert_eq!((chunks[&3][3], chunks[&4][3]), (from, to));
            assert_eq!(chunks[&17], b"42");
            assert_eq!(chunks[&10], 1_u32.to_be_bytes());
            assert!(!chunks.contains_key(&14));
        }
        hep.send(&mirrored(Way::Sent, &[b'x'; 65_500]), wall);
        let counts = hep.counts();
        assert_eq!((counts.sent, counts.too_long), (2, 1));
    }
}
