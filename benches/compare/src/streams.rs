//! The streams of the comparison: which parties there are, and at which ports a relay listens that is told so.
//!
//! ```text
//!   A ──► relay_a ═ relay ═ relay_b ──► B        source A, then relay_b; destination relay_a, then B
//!   A ◄── relay_a ═ relay ═ relay_b ◄── B
//! ```

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use tandem_load::streams::{Content, Stream, StreamFile};

use crate::error::Error;

/// Party A's address.
pub(crate) const A: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);
/// Party B's.
pub(crate) const B: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 2);
/// The relay's address towards A.
pub(crate) const RELAY_A: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
/// The relay's address towards B.
pub(crate) const RELAY_B: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 1);

/// The first port of parties and relay; streams take every second one, as RTP does.
pub(crate) const FIRST_PORT: u16 = 20_000;
/// So many streams have ports of their own: 20000 to 59998.
pub(crate) const MOST_STREAMS: u16 = 20_000;

/// The parties of stream `number`, below [`MOST_STREAMS`].
pub(crate) fn parties(number: u16) -> (SocketAddr, SocketAddr) {
    let port = FIRST_PORT + 2 * number;
    (SocketAddr::from((A, port)), SocketAddr::from((B, port)))
}

/// `count` streams through a relay that listens at the ports that it is told: the same number as its party.
pub(crate) fn chosen(count: u16) -> Vec<Stream> {
    let stream = |number| {
        let (a, b) = parties(number);
        Stream {
            a,
            relay_a: SocketAddr::from((RELAY_A, a.port())),
            relay_b: SocketAddr::from((RELAY_B, b.port())),
            b,
            content: Content::Rtp,
        }
    };
    (0..count.min(MOST_STREAMS)).map(stream).collect()
}

/// One direction of a stream: the addresses of its packets before and behind the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Direction {
    /// Source before.
    pub(crate) from: SocketAddr,
    /// Destination before.
    pub(crate) to: SocketAddr,
    /// Source behind.
    pub(crate) leaves_from: SocketAddr,
    /// Destination behind.
    pub(crate) destination: SocketAddr,
}

/// From A to B, and from B to A.
pub(crate) fn directions(stream: &Stream) -> [Direction; 2] {
    [
        Direction {
            from: stream.a,
            to: stream.relay_a,
            leaves_from: stream.relay_b,
            destination: stream.b,
        },
        Direction {
            from: stream.b,
            to: stream.relay_b,
            leaves_from: stream.relay_a,
            destination: stream.a,
        },
    ]
}

/// Writes the stream file that the load tool and the relays read.
pub(crate) fn write(path: &Path, streams: Vec<Stream>) -> Result<(), Error> {
    let text = serde_json::to_string(&StreamFile { streams });
    let text = text.map_err(|error| Error::file(path, &error))?;
    fs::write(path, text).map_err(|error| Error::file(path, &error))
}

/// Reads one.
pub(crate) fn read(path: &Path) -> Result<Vec<Stream>, Error> {
    let streams =
        tandem_load::streams::from_file(path).map_err(|error| Error::File(error.to_string()))?;
    tandem_load::streams::check(&streams).map_err(|why| Error::file(path, &why))?;
    Ok(streams)
}

/// The address, where only IPv4 is known.
pub(crate) fn ipv4(address: SocketAddr) -> Result<Ipv4Addr, Error> {
    match address.ip() {
        IpAddr::V4(address) => Ok(address),
        IpAddr::V6(_) => Err(Error::Usage(format!(
            "{address}: this relay knows IPv4 only"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_it_was_written() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("streams.json");
        write(&path, chosen(3)).expect("written");
        assert_eq!(read(&path).expect("read"), chosen(3));
        write(&path, Vec::new()).expect("written");
        assert!(read(&path).is_err(), "a file without streams is refused");
    }

    #[test]
    fn the_last_stream_still_has_a_port_of_its_own() {
        let all = chosen(u16::MAX);
        assert_eq!(all.len(), usize::from(MOST_STREAMS));
        assert_eq!(all[all.len() - 1].a.port(), 59_998);
        tandem_load::streams::check(&all).expect("none twice");
    }

    #[test]
    fn directions_mirror_each_other() {
        let [there, back] = directions(&chosen(8)[7]);
        assert_eq!((there.from, there.to), (back.destination, back.leaves_from));
        assert_eq!((back.from, back.to), (there.destination, there.leaves_from));
    }
}
