//! What a host hears, taken off its wire: the audio of RTP packets, decoded here (G.711 A-law).

use std::fs::File;
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::network::Host;

const PATIENCE: Duration = Duration::from_secs(10);
/// Of a classic capture file and of each of its packets.
const FILE_HEADER: usize = 24;
const PACKET_HEADER: usize = 16;
/// Ethernet, IPv4, UDP and RTP without options.
const HEADERS: usize = 14 + 20 + 8 + 12;

/// A running dumpcap; killed when dropped.
#[derive(Debug)]
pub(crate) struct Tap {
    process: Child,
    directory: TempDir,
}

impl Tap {
    /// Listens to what comes in at `up0` from these UDP ports, from when this returns.
    #[track_caller]
    pub(crate) fn start(host: &Host, (first, last): (u16, u16)) -> Self {
        let directory = tempfile::tempdir().expect("the temporary directory can be written to");
        let log = File::create(directory.path().join("log")).expect("the directory is new");
        let process = host
            .command("dumpcap")
            .args(["-q", "-P", "-i", "up0", "-w"])
            .arg(directory.path().join("packets"))
            .arg("-f")
            .arg(format!("inbound and udp src portrange {first}-{last}"))
            .stderr(log)
            .spawn()
            .expect("ip netns exec starts");
        let tap = Self { process, directory };
        let end = Instant::now() + PATIENCE;
        while !tap.log().contains("File: ") {
            assert!(Instant::now() < end, "dumpcap does not: {}", tap.log());
            std::thread::sleep(Duration::from_millis(10));
        }
        tap
    }

    /// Stops. What was heard, packet after packet.
    #[track_caller]
    pub(crate) fn heard(mut self) -> Vec<i16> {
        kill_process(Pid::from_child(&self.process), Signal::INT).expect("dumpcap runs");
        let end = Instant::now() + PATIENCE;
        while matches!(self.process.try_wait(), Ok(None)) {
            assert!(Instant::now() < end, "dumpcap goes on: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
        let file = std::fs::read(self.directory.path().join("packets")).expect("it was written");
        let mut rest = file.get(FILE_HEADER..).unwrap_or_default();
        let mut samples = Vec::new();
        while let Some((header, after)) = rest.split_at_checked(PACKET_HEADER) {
            let length = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
            let (packet, after) = after.split_at_checked(length as usize).expect("whole");
            samples.extend(packet[HEADERS..].iter().map(|byte| linear(*byte)));
            rest = after;
        }
        samples
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// ITU-T G.711, A-law: every second bit is inverted; sign, three bits of exponent, four of mantissa.
fn linear(byte: u8) -> i16 {
    let byte = byte ^ 0x55;
    let mantissa = i16::from(byte & 0x0f) << 4;
    let magnitude = match (byte >> 4) & 0x07 {
        0 => mantissa + 8,
        exponent => (mantissa + 0x108) << (exponent - 1),
    };
    if byte & 0x80 == 0 {
        -magnitude
    } else {
        magnitude
    }
}
