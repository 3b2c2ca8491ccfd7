//! A call's messages as packets in a capture file. Each is one UDP datagram between the addresses that it
//! really passed, whatever it was carried in; the link layer is made up.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};

use etherparse::PacketBuilder;

use crate::admin::views::{Story, StoryMessage};

/// The magic number of a file with times in microseconds, in the byte order of the machine.
const MAGIC: u32 = 0xa1b2_c3d4;
/// `LINKTYPE_ETHERNET`.
const ETHERNET: u32 = 1;
/// Longer than any of the packets.
const SNAP_LENGTH: u32 = 262_144;
/// Locally administered: whoever sees them knows that they are not real.
const OURS: [u8; 6] = [2, 0, 0, 0, 0, 1];
const THEIRS: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// Writes every whole message of a story. How many there were.
pub(super) fn write(mut file: impl Write, story: &Story) -> io::Result<usize> {
    header(&mut file)?;
    let mut written = 0;
    for line in &story.lines {
        let Some(message) = &line.message else {
            continue;
        };
        let Some(packet) = packet(message) else {
            continue;
        };
        let at = story.started_unix_us + (line.at_seconds * 1e6).round() as u64;
        record(&mut file, at, &packet)?;
        written += 1;
    }
    file.flush()?;
    Ok(written)
}

fn header(file: &mut impl Write) -> io::Result<()> {
    file.write_all(&MAGIC.to_ne_bytes())?;
    // Version 2.4; no correction of the time zone, no accuracy.
    file.write_all(&2_u16.to_ne_bytes())?;
    file.write_all(&4_u16.to_ne_bytes())?;
    for number in [0, 0, SNAP_LENGTH, ETHERNET] {
        file.write_all(&u32::to_ne_bytes(number))?;
    }
    Ok(())
}

fn record(file: &mut impl Write, at: u64, packet: &[u8]) -> io::Result<()> {
    let length = packet.len() as u32;
    let (seconds, micros) = ((at / 1_000_000) as u32, (at % 1_000_000) as u32);
    for number in [seconds, micros, length, length] {
        file.write_all(&number.to_ne_bytes())?;
    }
    file.write_all(packet)
}

/// `None` for a message whose bytes were not kept.
fn packet(message: &StoryMessage) -> Option<Vec<u8>> {
    let payload = hex::decode(message.bytes.as_ref()?).ok()?;
    let local: SocketAddr = message.local.parse().ok()?;
    let remote: SocketAddr = message.remote.parse().ok()?;
    let (from, to, source, destination) = match message.sent {
        true => (local, remote, OURS, THEIRS),
        false => (remote, local, THEIRS, OURS),
    };
    let link = PacketBuilder::ethernet2(source, destination);
    let network = match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => link.ipv4(from.octets(), to.octets(), 64),
        (IpAddr::V6(from), IpAddr::V6(to)) => link.ipv6(from.octets(), to.octets(), 64),
        _ => return None,
    };
    let mut bytes = Vec::new();
    let datagram = network.udp(from.port(), to.port());
    datagram.write(&mut bytes, &payload).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::tests::story;
    use super::*;
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};

    #[test]
    fn packets_read_back_with_their_addresses_times_and_text() {
        let mut file = Vec::new();
        let story = story();
        assert_eq!(write(&mut file, &story).expect("memory"), 6);
        let number = |at: usize| {
            let bytes = file[at..at + 4].try_into().expect("four bytes");
            u32::from_ne_bytes(bytes)
        };
        assert_eq!((number(0), number(20)), (MAGIC, ETHERNET));
        let mut at = 24;
        let mut texts = Vec::new();
        while at < file.len() {
            let length = number(at + 8) as usize;
            assert_eq!(number(at), 1_700_000_000 + u32::from(texts.len() >= 3));
            let packet = &file[at + 16..at + 16 + length];
            let sliced = SlicedPacket::from_ethernet(packet).expect("a packet");
            let Some(NetSlice::Ipv4(ip)) = sliced.net else {
                panic!("no IPv4");
            };
            let Some(TransportSlice::Udp(udp)) = sliced.transport else {
                panic!("no UDP");
            };
            let text = String::from_utf8_lossy(udp.payload()).into_owned();
            texts.push((ip.header().source_addr().to_string(), text));
            at += 16 + length;
        }
        assert_eq!(
            texts[0],
            ("10.1.0.2".to_owned(), "INVITE x\r\n\r\n".to_owned())
        );
        assert_eq!(texts[1].0, "10.1.0.1");
    }

    #[test]
    fn what_was_not_kept_is_left_out() {
        let mut story = story();
        for line in &mut story.lines {
            if let Some(message) = &mut line.message {
                message.bytes = None;
            }
        }
        assert_eq!(write(Vec::new(), &story).expect("memory"), 0);
    }
}
