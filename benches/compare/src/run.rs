//! The comparison: rounds of all relays in turn, and `check`, which only proves that each relays.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use clap::{Args, ValueEnum};
use terminal::progress::Progress;
use terminal::units::{spell_nanos, spell_rate, spell_seconds};

use crate::error::Error;
use crate::huge_pages::HugePages;
use crate::limits::allow_files;
use crate::load::Tool;
use crate::measure::{Found, Times, measure};
use crate::peers::{MORE_ADDRESSES, MOST_FLOWS, Peer, Relay, Terms, own_program};
use crate::report::{Comparison, Method};
use crate::signals;
use crate::streams::MOST_STREAMS;
use crate::topology::{Napi, Plan, Receive, Topology, sweep};

/// What both verbs need to know.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// The relays, in this order
    #[arg(long, value_name = "RELAYS", value_delimiter = ',',
        default_values = ["tandem", "rtpengine", "socket", "kernel", "xdp"])]
    peers: Vec<Peer>,
    /// Streams, each both ways
    #[arg(long, value_name = "N", default_value_t = 1000,
        value_parser = clap::value_parser!(u16).range(1..=i64::from(MOST_STREAMS)))]
    streams: u16,
    /// Who receives on veth: the sender, in its softirq, or kernel threads on the core of each device's owner
    #[arg(long, value_name = "HOW", default_value = "softirq")]
    napi: Napi,
    /// The core of generator and sink
    #[arg(long, value_name = "N", default_value_t = 0)]
    load_core: usize,
    /// The core of the relay
    #[arg(long, value_name = "N", default_value_t = 1)]
    relay_core: usize,
    /// Packets that may wait at the relay on each side before it takes them: tandem's rings, the others' socket buffers
    #[arg(long, value_name = "PACKETS", default_value_t = 2048,
        value_parser = clap::value_parser!(u32).range(64..=16_384))]
    room: u32,
    /// How tandem's worker idles
    #[arg(long, value_name = "HOW", default_value = "adaptive")]
    tandem_idle: Idle,
    /// The XDP mode of tandem's devices; over veth without threads generic is the quickest
    #[arg(long, value_name = "MODE")]
    tandem_mode: Option<Mode>,
    /// A further argument for rtpengine, such as --poller-per-thread; may be repeated
    #[arg(long, value_name = "ARGUMENT", allow_hyphen_values = true)]
    rtpengine_argument: Vec<String>,
    /// The tandem binary; otherwise the one beside this program
    #[arg(long, value_name = "FILE")]
    tandem: Option<PathBuf>,
    /// Print one JSON object on one line
    #[arg(long)]
    json: bool,
}

/// `idle` of tandem's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Idle {
    Adaptive,
    Spin,
}

/// `mode` of tandem's devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    Copy,
    Generic,
}

impl Mode {
    const fn name(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Generic => "generic",
        }
    }
}

/// Measure all relays in alternating rounds
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tandem-compare run --svg comparison.svg --json >comparison.json
  tandem-compare run --quick
  tandem-compare run --peers tandem,socket --rounds 9 --napi threaded

Five rounds of all take some 15 minutes. Needs root, for namespaces, and two cores with nothing else to do.")]
pub(crate) struct Run {
    #[command(flatten)]
    common: Common,
    /// Rounds; each measures every relay once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: Option<u16>,
    /// Two rounds with short trials: whether it works, not how fast
    #[arg(long)]
    quick: bool,
    /// Flows to install for the run of tandem with many; 0 leaves it out
    #[arg(long, value_name = "N", default_value_t = 400_000,
        value_parser = clap::value_parser!(u32).range(0..=i64::from(MOST_FLOWS)))]
    many_flows: u32,
    /// Bytes of UDP payload
    #[arg(long, value_name = "BYTES", default_value_t = 172,
        value_parser = clap::value_parser!(u16).range(60..=1400))]
    payload: u16,
    /// Seconds of each trial of the search for the zero-loss rate (2; quick: 0.5)
    #[arg(long, value_name = "SECONDS")]
    trial: Option<f64>,
    /// How often a rate that failed is tried again (2)
    #[arg(long, value_name = "N", default_value_t = 2)]
    retries: u32,
    /// How exact the search is, in per cent (2; quick: 10)
    #[arg(long, value_name = "PERCENT")]
    resolution: Option<f64>,
    /// The load tool; otherwise the one beside this program
    #[arg(long, value_name = "FILE")]
    load_tool: Option<PathBuf>,
    /// Write a plot to this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// Prove that each relay relays: one packet a stream and direction, rewritten as it must be
#[derive(Debug, Args)]
pub(crate) struct Check {
    #[command(flatten)]
    common: Common,
}

impl Common {
    fn terms(&self, many_flows: u32) -> Result<Terms, Error> {
        Ok(Terms {
            streams: self.streams,
            many_flows,
            relay_core: self.relay_core,
            room: self.room,
            idle: match self.tandem_idle {
                Idle::Adaptive => "adaptive".to_owned(),
                Idle::Spin => "spin".to_owned(),
            },
            mode: self.tandem_mode().name().to_owned(),
            rtpengine_arguments: self.rtpengine_argument.clone(),
            tandem: match self.peers.contains(&Peer::Tandem) {
                true => beside(self.tandem.as_ref(), "tandem")?,
                false => PathBuf::new(),
            },
        })
    }

    /// Native copy mode polls each packet by itself over veth; in threads only what has a NAPI can be received.
    fn tandem_mode(&self) -> Mode {
        self.tandem_mode.unwrap_or(match self.napi {
            Napi::Softirq => Mode::Generic,
            Napi::Threaded => Mode::Copy,
        })
    }

    /// How all devices receive while a relay is measured.
    fn receive(&self, peer: Peer) -> Receive {
        match (self.napi, peer) {
            (Napi::Threaded, _) | (_, Peer::Xdp) => Receive::Napi,
            _ => Receive::Backlog,
        }
    }

    fn plan(&self, peer: Peer) -> Plan {
        Plan {
            napi: self.napi,
            receive: self.receive(peer),
            load_core: self.load_core,
            relay_core: self.relay_core,
            more_addresses: match peer {
                Peer::TandemManyFlows => MORE_ADDRESSES,
                _ => 0,
            },
        }
    }

    /// What must be before anything is started.
    fn prepare(&self) -> Result<Arc<AtomicBool>, Error> {
        if !nix::unistd::Uid::effective().is_root() {
            return Err(Error::Usage(
                "it makes network namespaces: run it as root".to_owned(),
            ));
        }
        if self.load_core == self.relay_core {
            return Err(Error::Usage("load and relay need a core each".to_owned()));
        }
        for (program, package) in [
            ("ip", "iproute2"),
            ("ethtool", "ethtool"),
            ("nft", "nftables"),
            ("sysctl", "procps"),
            ("taskset", "util-linux"),
        ] {
            found(program, package)?;
        }
        if self.peers.contains(&Peer::Rtpengine) {
            found("rtpengine", "rtpengine-daemon")?;
        }
        // Two sockets a stream, in relays and in the probe.
        allow_files(2 * usize::from(self.streams) + 1024)?;
        sweep()?;
        signals::stop()
    }
}

fn found(program: &str, package: &str) -> Result<(), Error> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path);
    match places.any(|place| place.join(program).is_file()) {
        true => Ok(()),
        false => Err(Error::Program(format!(
            "{program} is missing: apt-get install {package}"
        ))),
    }
}

/// A program of the same build.
fn beside(given: Option<&PathBuf>, name: &str) -> Result<PathBuf, Error> {
    let path = match given {
        Some(path) => path.clone(),
        None => own_program()?.with_file_name(name),
    };
    match path.is_file() {
        true => path
            .canonicalize()
            .map_err(|error| Error::file(&path, &error)),
        false => Err(Error::file(&path, &"there is no such program")),
    }
}

impl Check {
    /// Starts each relay, proves it, ends it.
    pub(crate) fn run(&self) -> Result<(), Error> {
        let common = &self.common;
        let stop = common.prepare()?;
        let terms = common.terms(0)?;
        let mut text = String::new();
        for &peer in &common.peers {
            let work = tempfile::tempdir().map_err(|error| Error::system("a directory", error))?;
            let topology = Topology::new(&common.plan(peer))?;
            Relay::start(peer, &topology, &terms, work.path(), &stop).map_err(
                |error| match stop.load(Ordering::Relaxed) {
                    true => Error::Interrupted,
                    false => Error::Peer(format!("{}: {error}", peer.name())),
                },
            )?;
            text += &match common.json {
                true => String::new(),
                false => format!(
                    "{} relays {} streams both ways\n",
                    peer.name(),
                    common.streams
                ),
            };
        }
        if common.json {
            let checked = serde_json::json!({"relayed": common.peers, "streams": common.streams});
            text = format!("{checked}\n");
        }
        terminal::output::print(&text).map_err(|error| Error::system("stdout", error))
    }
}

impl Run {
    /// Measures, prints, and fails if a relay could not be measured.
    pub(crate) fn run(&self) -> Result<(), Error> {
        let common = &self.common;
        let stop = common.prepare()?;
        let huge_pages = HugePages::reserve()?;
        let terms = common.terms(self.many_flows)?;
        let tool = Tool {
            program: beside(self.load_tool.as_ref(), "tandem-load")?,
            core: common.load_core,
            relay_core: common.relay_core,
            payload: self.payload,
            stop: Arc::clone(&stop),
        };
        let times = self.times();
        let mut peers = common.peers.clone();
        if self.many_flows > 0 && peers.contains(&Peer::Tandem) {
            peers.push(Peer::TandemManyFlows);
        }
        let rounds = self
            .rounds
            .map_or(if self.quick { 2 } else { 5 }, usize::from);
        let method = Method {
            rounds,
            streams: common.streams,
            many_flows: self.many_flows,
            napi: common.napi,
            load_core: common.load_core,
            relay_core: common.relay_core,
            room: common.room,
            times,
            notes: self.notes(&peers, huge_pages.reserved),
        };
        let mut comparison = Comparison::new(method, &peers);
        let mut progress = Progress::on_stderr();
        let begin = Instant::now();
        'rounds: for round in 0..rounds {
            // Each begins with another relay, so that a slow change of the machine favours none.
            let mut turn = peers.clone();
            turn.rotate_left(round % peers.len());
            for peer in turn {
                let name = format!("round {} of {rounds}  {:17}", round + 1, peer.name());
                let mut say = |doing: &str| {
                    let age = spell_seconds(begin.elapsed().as_secs_f64());
                    progress.show(&format!("{name}  {doing}  ({age})"));
                };
                let plan = common.plan(peer);
                let found = measure(peer, &plan, &terms, &tool, &times, &mut say);
                if stop.load(Ordering::Relaxed) || matches!(found, Err(Error::Interrupted)) {
                    comparison.interrupted = true;
                    break 'rounds;
                }
                progress.say(&match &found {
                    Ok(found) => format!("{name}  {}", in_short(found)),
                    Err(error) => format!("{name}  FAILED: {error}"),
                });
                comparison.add(peer, found);
            }
        }
        progress.clear();
        self.tell(&comparison)
    }

    fn tell(&self, comparison: &Comparison) -> Result<(), Error> {
        if let Some(path) = &self.svg {
            std::fs::write(path, comparison.svg()?).map_err(|error| Error::file(path, &error))?;
        }
        let text = match self.common.json {
            true => comparison.json()?,
            false => comparison.table(),
        };
        terminal::output::print(&text).map_err(|error| Error::system("stdout", error))?;
        match (comparison.interrupted, comparison.is_whole()) {
            (true, _) => Err(Error::Interrupted),
            (false, true) => Ok(()),
            (false, false) => Err(Error::Peer("not every relay could be measured".to_owned())),
        }
    }

    fn times(&self) -> Times {
        let (trial, resolution, overload, latency) = match self.quick {
            true => (0.5, 10.0, 0.5, 1.0),
            false => (2.0, 2.0, 2.0, 4.0),
        };
        Times {
            trial: self.trial.unwrap_or(trial),
            retries: self.retries,
            resolution: self.resolution.unwrap_or(resolution),
            overload,
            latency,
        }
    }

    /// What must be known of the figures, wherever they stand.
    fn notes(&self, peers: &[Peer], huge_pages: u64) -> Vec<String> {
        let mut notes = vec![match self.common.napi {
            Napi::Softirq => {
                "veth, received in the sender's softirq: the load core pays for what the relay's device receives, the \
                 relay core for what the sink's device receives"
            }
            Napi::Threaded => {
                "veth, NAPI in threads: each core pays for what its own devices receive, and for waking and \
                 switching to the thread"
            }
        }
        .to_owned()];
        if self.common.napi == Napi::Softirq
            && (peers.contains(&Peer::Kernel) || peers.contains(&Peer::Xdp))
        {
            notes.push(
                "kernel and xdp work in that softirq, on the load core beside the generator: the relay core \
                 stays idle"
                    .to_owned(),
            );
        }
        if peers.contains(&Peer::Tandem) {
            let mode = self.common.tandem_mode().name();
            notes.push(format!(
                "tandem's devices in XDP mode {mode}; {huge_pages} pages of 2 MB reserved"
            ));
        }
        if peers.contains(&Peer::Rtpengine) {
            notes.push(format!("rtpengine {}", rtpengine_version()));
        }
        if self.quick {
            notes.push("quick: trials too short for figures".to_owned());
        }
        notes
    }
}

/// `Version: 10.5.3.5-1`, on stderr.
fn rtpengine_version() -> String {
    let said = std::process::Command::new("rtpengine")
        .arg("--version")
        .output();
    let said = said.map(|said| [said.stdout, said.stderr].concat());
    let text = String::from_utf8_lossy(&said.unwrap_or_default()).into_owned();
    let version = text.trim().trim_start_matches("Version:").trim();
    version.to_owned()
}

fn in_short(found: &Found) -> String {
    let measured = &found.measured;
    let mut text = format!("zero loss {}", spell_rate(measured.zero_loss_pps as f64));
    if let Some(twice) = &measured.twice {
        text += &format!(", at twice {}", spell_rate(twice.received_pps));
    }
    text += &format!(", peak {}", spell_rate(measured.peak_pps));
    if let Some(half) = &measured.half {
        text += &format!(", p99 at half {}", spell_nanos(half.latency_ns.p99));
    }
    text
}
