//! Raw frames onto a host's wire, as no socket would send them.

use std::net::SocketAddr;

use pnet_datalink::{Channel, Config, DataLinkSender};

use super::network::Host;

/// A packet socket on a host's `up0`.
pub(crate) struct Wire {
    sender: Box<dyn DataLinkSender>,
    /// The MAC addresses of `up0` and of the relay's device at the other end.
    source: [u8; 6],
    destination: [u8; 6],
}

impl Wire {
    /// Opens it; `relay_device` is what `up0` is joined to.
    pub(crate) fn open(host: &Host, relay: &Host, relay_device: &str) -> Self {
        let destination = mac(relay, relay_device);
        let source = mac(host, "up0");
        let sender = host.within(|| {
            let device = pnet_datalink::interfaces()
                .into_iter()
                .find(|device| device.name == "up0")
                .expect("hosts of the lab have an up0");
            match pnet_datalink::channel(&device, Config::default()) {
                Ok(Channel::Ethernet(sender, _)) => sender,
                Ok(_) => panic!("up0 is an Ethernet device"),
                Err(error) => panic!("packet socket on up0: {error}"),
            }
        });
        Self {
            sender,
            source,
            destination,
        }
    }

    /// Sends a frame as it is, and says whether the device took it: a full queue loses it, as a wire might.
    pub(crate) fn send(&mut self, frame: &[u8]) -> bool {
        matches!(self.sender.send_to(frame, None), Some(Ok(())))
    }

    /// A well-formed frame: Ethernet, IP, UDP with a right checksum, payload.
    pub(crate) fn udp(&self, from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::from(self.destination);
        frame.extend(self.source);
        match (from, to) {
            (SocketAddr::V4(from), SocketAddr::V4(to)) => {
                frame.extend([0x08, 0x00, 0x45, 0]);
                frame.extend(length(28 + payload.len()));
                frame.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
                frame.extend(from.ip().octets());
                frame.extend(to.ip().octets());
                let checksum = !sum(&frame[14..34]);
                frame[24..26].copy_from_slice(&checksum.to_be_bytes());
            }
            (SocketAddr::V6(from), SocketAddr::V6(to)) => {
                frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
                frame.extend(length(8 + payload.len()));
                frame.extend([17, 64]);
                frame.extend(from.ip().octets());
                frame.extend(to.ip().octets());
            }
            _ => panic!("one family for both ends"),
        }
        let addresses = if from.is_ipv4() { 8 } else { 32 };
        let header = frame.len();
        frame.extend(from.port().to_be_bytes());
        frame.extend(to.port().to_be_bytes());
        frame.extend(length(8 + payload.len()));
        frame.extend([0, 0]);
        frame.extend(payload);
        // The pseudo-header (RFC 768, RFC 8200 §8.1): addresses, protocol, length.
        let mut covered = frame[header - addresses..header].to_vec();
        covered.extend([0, 17]);
        covered.extend(length(8 + payload.len()));
        covered.extend(&frame[header..]);
        let checksum = match !sum(&covered) {
            0 => 0xffff,
            other => other,
        };
        frame[header + 6..header + 8].copy_from_slice(&checksum.to_be_bytes());
        frame
    }
}

fn length(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes)
        .expect("test packets fit an IP packet")
        .to_be_bytes()
}

/// The Internet checksum's sum (RFC 1071).
fn sum(bytes: &[u8]) -> u16 {
    let words = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn mac(host: &Host, device: &str) -> [u8; 6] {
    let text = host.run(&format!("cat /sys/class/net/{device}/address"));
    let bytes: Vec<u8> = text
        .trim()
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16).expect("the kernel prints MACs in hexadecimal"))
        .collect();
    bytes.try_into().expect("a MAC address has six bytes")
}
