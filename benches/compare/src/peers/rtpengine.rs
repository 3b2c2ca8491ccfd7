//! rtpengine in user space: one worker thread on the relay's core, calls over its ng port.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;

use super::{Terms, own_program};
use crate::error::Error;
use crate::ng::Client;
use crate::process::Process;
use crate::streams;
use crate::topology::Topology;

const NG: &str = "127.0.0.1:2223";
const INTERFACES: [&str; 2] = ["a", "b"];
/// How long the start, and all calls, may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What it is started with, beside the addresses. Each is here for a reason:
/// - `table=-1`: no kernel module; in user space is what is compared.
/// - `num-threads=1`: one worker, as tandem has one. Its timers have threads of their own, on the same core.
/// - `endpoint-learning=off`: SDP is right here, so that it need not watch the first seconds of each stream.
/// - `log-level=3`: nothing is logged for a packet.
/// - `timeout`, `silent-timeout`: no call ends in the middle.
/// - `tos=184`: DSCP 46, as tandem marks by default.
const SETTINGS: [&str; 12] = [
    "--config-file=none",
    "--foreground",
    "--log-stderr",
    "--log-level=3",
    "--table=-1",
    "--num-threads=1",
    "--endpoint-learning=off",
    "--timeout=3600",
    "--silent-timeout=3600",
    "--tos=184",
    "--port-min=20000",
    "--port-max=65000",
];

/// Starts rtpengine and opens a call for each stream.
pub(super) fn start(
    topology: &Topology,
    terms: &Terms,
    work: &Path,
    file: &Path,
    stop: &Arc<AtomicBool>,
) -> Result<Process, Error> {
    // It leaves its sockets' buffers as they are by default, and that default belongs to the whole machine.
    let _buffer = DefaultBuffer::set(terms.receive_buffer())?;
    let mut command = topology.within(&topology.relay(), "taskset");
    command.args(["-c", &terms.relay_core.to_string(), "rtpengine"]);
    command.args(SETTINGS);
    command.arg(format!(
        "--interface={}/{}",
        INTERFACES[0],
        streams::RELAY_A
    ));
    command.arg(format!(
        "--interface={}/{}",
        INTERFACES[1],
        streams::RELAY_B
    ));
    command.arg(format!("--listen-ng={NG}"));
    command.args(&terms.rtpengine_arguments);
    let mut process = Process::start("rtpengine", &mut command, work)?;
    let mut open = topology.within(&topology.relay(), own_program()?);
    open.args(["rtpengine-calls", "--ng", NG]);
    open.args(["--calls", &terms.streams.to_string()]);
    open.arg("--write").arg(file);
    let mut calls = Process::start("rtpengine-calls", &mut open, work)?;
    let status = calls.finish(PATIENCE, stop)?;
    process.must_run()?;
    match status.success() {
        true => Ok(process),
        false => Err(calls.failed(status)),
    }
}

/// `net.core.rmem_default`, put back when dropped.
struct DefaultBuffer {
    before: String,
}

impl DefaultBuffer {
    const PATH: &str = "/proc/sys/net/core/rmem_default";

    fn set(bytes: u32) -> Result<Self, Error> {
        let path = Path::new(Self::PATH);
        let failed = |error| Error::file(path, &error);
        let before = fs::read_to_string(path).map_err(failed)?;
        fs::write(path, bytes.to_string()).map_err(failed)?;
        Ok(Self { before })
    }
}

impl Drop for DefaultBuffer {
    fn drop(&mut self) {
        let _ = fs::write(Self::PATH, self.before.trim());
    }
}

/// Open calls at an rtpengine over its ng port, and write the streams that go through them
#[derive(Debug, Args)]
pub(crate) struct OpenCalls {
    /// Its ng port
    #[arg(long, value_name = "ADDRESS:PORT")]
    ng: SocketAddr,
    /// Calls to open
    #[arg(long, value_name = "N", default_value_t = 1000,
        value_parser = clap::value_parser!(u16).range(1..=i64::from(streams::MOST_STREAMS)))]
    calls: u16,
    /// The names of its interfaces towards A and B
    #[arg(long, value_name = "A,B", value_delimiter = ',', num_args = 1, default_values = INTERFACES)]
    interfaces: Vec<String>,
    /// The stream file to write
    #[arg(long, value_name = "FILE")]
    write: PathBuf,
}

impl OpenCalls {
    /// Waits until rtpengine answers, and opens the calls.
    pub(crate) fn run(&self) -> Result<(), Error> {
        let [a, b] = &self.interfaces[..] else {
            return Err(Error::Usage("--interfaces takes two names".to_owned()));
        };
        let stop = crate::signals::stop()?;
        let deadline = Instant::now() + PATIENCE;
        let mut client = Client::new(self.ng)?;
        while let Err(error) = client.ping() {
            if stop.load(Ordering::Relaxed) || Instant::now() > deadline {
                return Err(error);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let mut opened = Vec::with_capacity(usize::from(self.calls));
        for number in 0..self.calls {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            let parties = streams::parties(number);
            opened.push(client.open_stream(usize::from(number), parties, [a, b])?);
        }
        streams::write(&self.write, opened)
    }
}
