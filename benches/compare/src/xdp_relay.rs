//! The bare XDP program of bpf/rewrite.bpf.c: loaded once for each device, its flows filled in, attached.
//!
//! It stands for the least that this machine can do to a packet between two devices, so it is no relay for use:
//! nothing is counted, checked beyond the addresses, or believed but what the file says.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aya::maps::Array;
use aya::maps::xdp::DevMap;
use aya::programs::{Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader};
use clap::Args;
use tandem_load::cli::Mac;

use crate::error::Error;
use crate::signals;
use crate::streams::{self, Direction, directions, ipv4};

/// The committed object; the slice is aligned as ELF wants it.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../bpf/rewrite.bpf.o");

/// `struct flow` of the program.
const FLOW: usize = 40;

/// Relay streams with a bare XDP program that rewrites and redirects
#[derive(Debug, Args)]
pub(crate) struct XdpRelay {
    /// The stream file: whose packets go where
    #[arg(long, value_name = "FILE")]
    streams: PathBuf,
    /// The device that faces A
    #[arg(long, value_name = "DEVICE")]
    a_device: String,
    /// The device that faces B
    #[arg(long, value_name = "DEVICE")]
    b_device: String,
    /// The next hop towards A
    #[arg(long, value_name = "MAC")]
    next_hop_a: Mac,
    /// The next hop towards B
    #[arg(long, value_name = "MAC")]
    next_hop_b: Mac,
}

impl XdpRelay {
    /// Relays until SIGINT or SIGTERM.
    pub(crate) fn run(&self) -> Result<(), Error> {
        let streams = streams::read(&self.streams)?;
        let stop = signals::stop()?;
        let (a_device, b_device) = (Device::find(&self.a_device)?, Device::find(&self.b_device)?);
        let mut from_a = load()?;
        let mut from_b = load()?;
        for stream in &streams {
            let [there, back] = directions(stream);
            let towards_b = flow(&there, self.next_hop_b, b_device.mac)?;
            let towards_a = flow(&back, self.next_hop_a, a_device.mac)?;
            set_flow(&mut from_a, there.to.port(), towards_b)?;
            set_flow(&mut from_b, back.to.port(), towards_a)?;
        }
        // Both know where to before either begins.
        set_other(&mut from_a, b_device.index)?;
        set_other(&mut from_b, a_device.index)?;
        attach(&mut from_a, &a_device)?;
        attach(&mut from_b, &b_device)?;
        eprintln!("relaying {} streams", streams.len());
        while !stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

struct Device {
    index: u32,
    mac: Mac,
}

impl Device {
    fn find(name: &str) -> Result<Self, Error> {
        let attribute = |attribute: &str| {
            let path = PathBuf::from(format!("/sys/class/net/{name}/{attribute}"));
            let text = fs::read_to_string(&path).map_err(|error| Error::file(&path, &error))?;
            Ok(text.trim().to_owned())
        };
        let index = attribute("ifindex")?;
        let mac = attribute("address")?;
        let device = index.parse().ok().zip(mac.parse().ok());
        let (index, mac) = device
            .ok_or_else(|| Error::System(format!("{name}: ifindex {index}, address {mac}")))?;
        Ok(Self { index, mac })
    }
}

fn load() -> Result<Ebpf, Error> {
    let mut object = EbpfLoader::new().btf(None).load(OBJECT).map_err(failed)?;
    program(&mut object)?.load().map_err(failed)?;
    Ok(object)
}

fn program(object: &mut Ebpf) -> Result<&mut Xdp, Error> {
    let program = object.program_mut("rewrite");
    program
        .and_then(|program| program.try_into().ok())
        .ok_or_else(|| Error::Program("the object has no XDP program \"rewrite\"".to_owned()))
}

fn attach(object: &mut Ebpf, device: &Device) -> Result<(), Error> {
    let attached = program(object)?.attach_to_if_index(device.index, XdpMode::Driver);
    // The link belongs to the object: it goes with the process.
    attached.map(|_| ()).map_err(failed)
}

fn set_flow(object: &mut Ebpf, port: u16, flow: [u8; FLOW]) -> Result<(), Error> {
    let map = object.map_mut("flows").ok_or_else(|| missing("flows"))?;
    Array::<_, [u8; FLOW]>::try_from(map)
        .and_then(|mut flows| flows.set(u32::from(port), flow, 0))
        .map_err(failed)
}

fn set_other(object: &mut Ebpf, ifindex: u32) -> Result<(), Error> {
    let map = object.map_mut("other").ok_or_else(|| missing("other"))?;
    let mut other = DevMap::try_from(map).map_err(failed)?;
    other.set(0, ifindex, None, 0).map_err(failed)
}

fn missing(map: &str) -> Error {
    Error::Program(format!("the object has no map \"{map}\""))
}

fn failed(error: impl std::error::Error) -> Error {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    Error::Program(format!("XDP program: {text}"))
}

/// `struct flow`, in the program's layout.
fn flow(direction: &Direction, next_hop: Mac, own: Mac) -> Result<[u8; FLOW], Error> {
    let [local, source, new_source, new_destination] = [
        direction.to,
        direction.from,
        direction.leaves_from,
        direction.destination,
    ]
    .map(ipv4);
    let (local, source) = (local?.octets(), source?.octets());
    let (new_source, new_destination) = (new_source?.octets(), new_destination?.octets());
    let port = |address: SocketAddr| address.port().to_be_bytes();
    let old_addresses = [source, local].concat();
    let new_addresses = [new_source, new_destination].concat();
    let old_ports = [port(direction.from), port(direction.to)].concat();
    let new_ports = [port(direction.leaves_from), port(direction.destination)].concat();
    let ip_delta = delta(&old_addresses, &new_addresses);
    let udp_delta = delta(
        &[old_addresses, old_ports].concat(),
        &[new_addresses, new_ports].concat(),
    );
    let fields: [&[u8]; 12] = [
        &local,
        &source,
        &new_source,
        &new_destination,
        &port(direction.from),
        &port(direction.leaves_from),
        &port(direction.destination),
        &ip_delta.to_ne_bytes(),
        &udp_delta.to_ne_bytes(),
        &next_hop.0,
        &own.0,
        &[0; 2],
    ];
    let bytes = fields.concat();
    bytes
        .try_into()
        .map_err(|bytes: Vec<u8>| Error::System(format!("a flow of {} bytes", bytes.len())))
}

/// The ones' complement sum of what is new and the complement of what was (RFC 1624), of 16-bit words as they lie
/// in memory.
fn delta(old: &[u8], new: &[u8]) -> u16 {
    let words = |bytes: &[u8], flip: u16| {
        let words = bytes.chunks_exact(2);
        words
            .map(|word| u32::from(u16::from_ne_bytes([word[0], word[1]]) ^ flip))
            .sum::<u32>()
    };
    let mut sum = words(old, 0xffff) + words(new, 0);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    // At most 0xffff after the loop.
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::chosen;

    fn checksum(bytes: &[u8]) -> u16 {
        let mut sum: u32 = bytes
            .chunks_exact(2)
            .map(|word| u32::from(u16::from_ne_bytes([word[0], word[1]])))
            .sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }

    #[test]
    fn a_delta_makes_the_new_checksum_of_the_old() {
        let (old, new) = ([10, 1, 0, 2, 78, 32], [10, 2, 0, 1, 156, 65]);
        let rest = [0x45, 0x00, 0x12, 0x34];
        let before = checksum(&[&old[..], &rest[..]].concat());
        let mut sum = u32::from(!before) + u32::from(delta(&old, &new));
        sum = (sum & 0xffff) + (sum >> 16);
        let after = checksum(&[&new[..], &rest[..]].concat());
        assert_eq!(!(sum as u16), after);
    }

    #[test]
    fn a_flow_has_the_layout_of_the_program() {
        let [there, _] = directions(&chosen(2)[1]);
        let flow = flow(&there, Mac([1, 2, 3, 4, 5, 6]), Mac([7, 8, 9, 10, 11, 12])).expect("IPv4");
        assert_eq!(flow[0..4], [10, 1, 0, 1]);
        assert_eq!(flow[4..8], [10, 1, 0, 2]);
        assert_eq!(flow[8..12], [10, 2, 0, 1]);
        assert_eq!(flow[12..16], [10, 2, 0, 2]);
        assert_eq!(flow[16..18], 20_002u16.to_be_bytes());
        assert_eq!(flow[26..38], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    }
}
