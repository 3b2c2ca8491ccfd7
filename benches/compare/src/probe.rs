//! Whether a relay relays: one packet through each stream in each direction, over the kernel's own sockets.
//!
//! Where the load tool counts, this looks: the payload must be what was sent, and the source the relay's address on
//! the receiver's side.

use std::io;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use tandem_load::streams::Stream;

use crate::error::Error;
use crate::limits::allow_files;
use crate::streams::{self, Direction, directions};

/// How long a packet may be under way before it is sent again.
const PATIENCE: Duration = Duration::from_millis(200);

/// Send a packet through each stream both ways, and look at what arrives. Run it where the parties' addresses are
#[derive(Debug, Args)]
pub(crate) struct Probe {
    /// The stream file
    #[arg(long, value_name = "FILE")]
    streams: PathBuf,
    /// How long a relay may take until the first packets come through
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    patience: u64,
    /// Bytes of payload
    #[arg(long, value_name = "BYTES", default_value_t = 172,
        value_parser = clap::value_parser!(u16).range(12..=1400))]
    payload: u16,
}

impl Probe {
    /// Fails with the first stream that is not relayed as it must be.
    pub(crate) fn run(&self) -> Result<(), Error> {
        let streams = streams::read(&self.streams)?;
        allow_files(2 * streams.len() + 64)?;
        let deadline = Instant::now() + Duration::from_secs(self.patience);
        for (number, stream) in streams.iter().enumerate() {
            probe(number, stream, usize::from(self.payload), deadline)?;
        }
        let text = format!("{} streams are relayed both ways\n", streams.len());
        terminal::output::print(&text).map_err(|error| Error::system("stdout", error))
    }
}

fn probe(number: usize, stream: &Stream, size: usize, deadline: Instant) -> Result<(), Error> {
    let open = |address| {
        let socket = UdpSocket::bind(address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(socket)
    };
    let at = |address, error: io::Error| Error::system(format!("a socket at {address}"), error);
    let a = open(stream.a).map_err(|error| at(stream.a, error))?;
    let b = open(stream.b).map_err(|error| at(stream.b, error))?;
    let [there, back] = directions(stream);
    let sent = payload(number, size);
    pass(&a, &b, &there, &sent, deadline)?;
    pass(&b, &a, &back, &sent, deadline)
}

/// Sends until something arrives, and looks at it.
fn pass(
    sender: &UdpSocket,
    receiver: &UdpSocket,
    direction: &Direction,
    sent: &[u8],
    deadline: Instant,
) -> Result<(), Error> {
    let way = format!("from {} by {}", direction.from, direction.to);
    let mut packet = [0; 2048];
    loop {
        sender
            .send_to(sent, direction.to)
            .map_err(|error| Error::system(&way, error))?;
        match receiver.recv_from(&mut packet) {
            Ok((length, source)) => {
                let received = packet.get(..length).unwrap_or_default();
                if source != direction.leaves_from {
                    return Err(Error::Peer(format!(
                        "{way}: arrived from {source} instead of {}",
                        direction.leaves_from
                    )));
                }
                return match received == sent {
                    true => Ok(()),
                    false => Err(Error::Peer(format!("{way}: the payload was altered"))),
                };
            }
            // Port unreachable: the relay is not there yet.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock
                        | io::ErrorKind::TimedOut
                        | io::ErrorKind::Interrupted
                        | io::ErrorKind::ConnectionRefused
                ) => {}
            Err(error) => return Err(Error::system(&way, error)),
        }
        if Instant::now() > deadline {
            return Err(Error::Peer(format!("{way}: nothing arrived")));
        }
    }
}

/// An RTP packet of G.711 A-law, its audio told apart by the stream.
fn payload(number: usize, size: usize) -> Vec<u8> {
    // Version 2, payload type 8, sequence number 1, timestamp 160, SSRC.
    let ssrc = (number as u32).wrapping_add(0x7a3d_0000).to_be_bytes();
    let mut packet = [&[0x80, 8, 0, 1, 0, 0, 0, 160][..], &ssrc].concat();
    packet.extend((0..size.saturating_sub(packet.len())).map(|index| (index + number) as u8));
    packet
}

#[cfg(test)]
mod tests {
    use std::thread;

    use tandem_load::streams::Content;

    use super::*;

    /// A relay of one packet, which alters it if told, and the stream through it.
    fn relayed(alter: bool, from_elsewhere: bool) -> Result<(), Error> {
        let socket = || UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let address = |socket: &UdpSocket| socket.local_addr().expect("its address");
        let (facing_a, facing_b) = (socket(), socket());
        let (a, b) = (address(&socket()), address(&socket()));
        let stream = Stream {
            a,
            relay_a: address(&facing_a),
            relay_b: address(&facing_b),
            b,
            content: Content::Rtp,
        };
        let relay = thread::spawn(move || {
            let mut packet = [0; 2048];
            let (length, _) = facing_a.recv_from(&mut packet).expect("from A");
            packet[20] ^= u8::from(alter);
            let out = if from_elsewhere { socket() } else { facing_b };
            out.send_to(&packet[..length], b).expect("to B");
            if !alter && !from_elsewhere {
                let (length, _) = out.recv_from(&mut packet).expect("from B");
                facing_a.send_to(&packet[..length], a).expect("to A");
            }
        });
        let outcome = probe(3, &stream, 172, Instant::now() + Duration::from_secs(5));
        relay.join().expect("it ends");
        outcome
    }

    #[test]
    fn what_is_relayed_well_passes() {
        relayed(false, false).expect("relayed");
    }

    #[test]
    fn an_altered_payload_and_a_foreign_source_are_noticed() {
        let altered = relayed(true, false).expect_err("altered").to_string();
        assert!(altered.contains("altered"), "{altered}");
        let foreign = relayed(false, true).expect_err("foreign").to_string();
        assert!(foreign.contains("instead of"), "{foreign}");
    }

    #[test]
    fn a_relay_that_is_not_there_is_noticed() {
        let free = || {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
            socket.local_addr().expect("its address")
        };
        let stream = Stream {
            a: free(),
            relay_a: free(),
            relay_b: free(),
            b: free(),
            content: Content::Rtp,
        };
        let missing = probe(0, &stream, 172, Instant::now()).expect_err("nobody");
        assert!(missing.to_string().contains("nothing arrived"), "{missing}");
    }
}
