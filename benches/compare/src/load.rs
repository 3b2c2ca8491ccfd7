//! The load tool beside a relay: started in its namespace, watched, its report read.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tandem_load::report::{Run, Trial};

use crate::cpu::{Meter, Usage};
use crate::error::Error;
use crate::peers::{Peer, Relay};
use crate::process::Process;
use crate::topology::{End, LOAD_DEVICES, Topology, mac};

/// Beyond what the load tool was asked for: its start, its end, and the wait for late packets of many trials.
const PATIENCE: Duration = Duration::from_secs(300);

/// Packets that may wait at the sink, which looks after each batch of 32: what it could not take would be told as its own
/// drops. Deeper rings are slower to go through, for the core that receives: 2,048 cost 4 % of what the generator can offer.
const SINK_RING: u32 = 512;

/// How the load tool is started, whatever it is to measure.
#[derive(Clone, Debug)]
pub(crate) struct Tool {
    /// The binary.
    pub(crate) program: PathBuf,
    /// The core of generator and sink.
    pub(crate) core: usize,
    /// The relay's core.
    pub(crate) relay_core: usize,
    /// Bytes of UDP payload.
    pub(crate) payload: u16,
    /// Raised when it is to end.
    pub(crate) stop: Arc<AtomicBool>,
}

/// A search for the no-drop rate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Search {
    /// Believed to pass.
    pub(crate) low: u64,
    /// The highest rate to try.
    pub(crate) high: u64,
    /// Seconds of each trial.
    pub(crate) trial: f64,
    /// Further attempts at a rate that failed.
    pub(crate) retries: u32,
    /// Per cent.
    pub(crate) resolution: f64,
}

/// One use of the load tool.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Task {
    /// Find the no-drop rate.
    Search(Search),
    /// Send at this rate for so many seconds.
    Rate(u64, f64),
    /// Send as fast as it goes for so many seconds.
    FlatOut(f64),
}

impl Tool {
    /// Runs it, and watches who spends processor time meanwhile.
    pub(crate) fn run(
        &self,
        peer: Peer,
        relay: &mut Relay,
        topology: &Topology,
        work: &Path,
        task: Task,
    ) -> Result<(Run, Usage), Error> {
        let [a, b] = LOAD_DEVICES;
        let mut command = topology.within(&topology.load(), &self.program);
        command.args(["rtp", "--json", "--a-device", a, "--b-device", b]);
        command.arg("--streams").arg(&relay.streams);
        command.arg(format!("--core={}", self.core));
        command.arg(format!("--payload={}", self.payload));
        command.arg(format!("--xdp-mode={}", topology.receive.xdp_mode()));
        command.arg(format!("--ring={SINK_RING}"));
        command.arg(format!("--next-hop-a={}", mac(0, End::Relay)));
        command.arg(format!("--next-hop-b={}", mac(1, End::Relay)));
        // Every relay marks its packets, or leaves the mark with which they are sent.
        command.args(["--dscp=46", "--expect-dscp=46"]);
        command.arg(format!("--expect-ttl={}", peer.ttl()));
        command.args(task.arguments());
        let mut process = Process::start("tandem-load", &mut command, work)?;
        let mut meter = Meter::new(relay.process_id(), self.relay_core, self.core);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = Instant::now();
            meter.look(now);
            if let Some(status) = process.ended()? {
                relay.must_run()?;
                // What it finds wrong is in its report, and told by its exit code as well.
                let run = serde_json::from_str::<Run>(process.output().trim());
                return match run {
                    Ok(run) if !run.interrupted => Ok((run, meter.usage())),
                    Ok(_) => Err(Error::Interrupted),
                    Err(_) => Err(process.failed(status)),
                };
            }
            if self.stop.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            if now > deadline {
                return Err(Error::Program("tandem-load does not end".to_owned()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Task {
    fn arguments(self) -> Vec<String> {
        match self {
            Self::Search(search) => vec![
                "--find-ndr".to_owned(),
                format!("--low={}", search.low),
                format!("--high={}", search.high),
                format!("--trial={}", search.trial),
                format!("--retries={}", search.retries),
                format!("--resolution={}%", search.resolution),
                "--warmup=0.5".to_owned(),
            ],
            Self::Rate(rate, seconds) => vec![
                format!("--rate={rate}"),
                format!("--seconds={seconds}"),
                "--warmup=0.5".to_owned(),
            ],
            Self::FlatOut(seconds) => vec![
                "--flat-out".to_owned(),
                format!("--seconds={seconds}"),
                "--warmup=0.5".to_owned(),
            ],
        }
    }
}

/// The one trial of a run that is no search.
pub(crate) fn only_trial(run: Run) -> Result<Trial, Error> {
    let mut trials = run.trials;
    match trials.pop() {
        Some(trial) if trials.is_empty() => Ok(trial),
        _ => Err(Error::Program(
            "tandem-load made not exactly one trial".to_owned(),
        )),
    }
}
