//! `tandem run`: from the command line to the running planes, and back down.
//!
//! What can fail for a reason that the operator can mend comes first and in the order of cheapness: the
//! configuration, the capabilities, another instance, the SIP ports, the devices. Each failure is one
//! sentence on stderr and exit code 1.

use std::fs::File;
use std::io::{self, Read};
use std::process::ExitCode;
use std::time::Instant;

use contract::WorkerId;
use controlplane::agent::Agent;
use controlplane::server::{Clock, Ended, Server, Setup};
use dataplane::Dataplane;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::admin::Admin;
use crate::admin::socket::{InstanceLock, SocketError};
use crate::answers::Answers;
use crate::cdr::Cdrs;
use crate::cli::{Failure, RunArgs, verdict};
use crate::config::{self, Config};
use crate::hep::Hep;
use crate::host::Host;
use crate::log_limit::LogLimit;
use crate::planes::SharedDataplane;
use crate::privileges::{self, PrivilegeError};
use crate::reload::{Reloader, SetLog};
use crate::witness::Witness;

/// Why tandem did not start, or did not go on: one sentence each.
#[derive(Debug, thiserror::Error)]
enum RunError {
    /// The configuration could not be read.
    #[error(transparent)]
    Read(#[from] Failure),
    /// The configuration is wrong; the report precedes the sentence.
    #[error("{0}")]
    Rejected(String),
    /// `--log` is no filter.
    #[error("--log {0:?} is neither a level nor a filter such as \"info,controlplane=debug\"")]
    Log(String),
    /// Capabilities are missing.
    #[error(transparent)]
    Privileges(#[from] PrivilegeError),
    /// The admin socket is not ours.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The control plane could not start.
    #[error(transparent)]
    Server(#[from] controlplane::server::StartError),
    /// The dataplane could not start.
    #[error(transparent)]
    Dataplane(#[from] dataplane::StartError),
    /// The media services could not start.
    #[error(transparent)]
    Media(#[from] crate::media::StartError),
    /// The kernel gives no randomness.
    #[error("cannot read /dev/urandom: {0}")]
    Entropy(io::Error),
    /// The writer of records has no thread.
    #[error("cannot start the writer of call records: {0}")]
    Records(io::Error),
    /// There is no socket towards the collector.
    #[error("cannot open a socket towards the [hep] collector: {0}")]
    Collector(io::Error),
    /// The admin socket could not be watched.
    #[error("cannot watch the admin socket: {0}")]
    Watch(io::Error),
    /// The event loop failed.
    #[error("the event loop failed: {0}")]
    Loop(io::Error),
    /// The dataplane is not whole any more.
    #[error("{0} has died of a panic (the log tells where): every call was ended")]
    WorkerDied(WorkerId),
}

/// Runs until a signal ends it.
pub(crate) fn run(args: &RunArgs) -> ExitCode {
    match try_run(args) {
        Ok(Ended::Drained) => ExitCode::SUCCESS,
        Ok(Ended::AtOnce | Ended::WorkerDied(_)) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("tandem: {error}");
            ExitCode::FAILURE
        }
    }
}

fn try_run(args: &RunArgs) -> Result<Ended, RunError> {
    let (config, text) = load(args)?;
    let set_log = start_logging(args, &config)?;
    let reloader = Reloader::new(args.config.clone(), text, set_log);
    privileges::check()?;
    let origin = Instant::now();
    let lock = InstanceLock::take(&config.appliance.admin_socket)?;
    let server = Server::bind(&config.control, setup(&config, origin))?;
    let dataplane = Dataplane::start(&config.data, origin)?;
    let workers = dataplane.workers();
    let mut dataplane = SharedDataplane::new(dataplane, &config.media, origin)?;
    let hep = config
        .hep
        .map(|hep| Hep::open(hep, &config.control.listeners));
    let hep = hep.transpose().map_err(RunError::Collector)?;
    let mut agent = Agent::new(config.control, workers, StdRng::from_seed(seed()?));
    let cdrs = config.cdr.map(Cdrs::start).transpose();
    let witness = Witness::new(cdrs.map_err(RunError::Records)?, hep);
    let path = args.config.clone();
    let answers = Answers::new(dataplane.clone(), path, &config.data, origin, witness);
    let mut admin = Admin::new(lock.bind()?, answers, reloader).map_err(RunError::Watch)?;
    announce(&dataplane);
    let ended = server
        .run(&mut agent, &mut dataplane, &mut admin)
        .map_err(RunError::Loop)?;
    match ended {
        Ended::Drained => tracing::info!("no call is left: ending"),
        Ended::AtOnce => tracing::warn!("ending at once: calls may have been cut off"),
        Ended::WorkerDied(worker) => return Err(RunError::WorkerDied(worker)),
    }
    Ok(ended)
}

/// The configuration and its text.
fn load(args: &RunArgs) -> Result<(Config, String), RunError> {
    let host = Host::read().map_err(Failure::Host)?;
    let checked = config::load(&args.config, Some(&host)).map_err(Failure::Unreadable)?;
    eprint!("{}", checked.report);
    let rejected = verdict(&args.config, &checked);
    let text = checked.report.text().to_owned();
    let config = checked.config.ok_or(RunError::Rejected(rejected))?;
    Ok((config, text))
}

/// Starts the log. Gives the way to change its filter by the configuration, unless the command line has one.
fn start_logging(args: &RunArgs, config: &Config) -> Result<Option<SetLog>, RunError> {
    let filter = match &args.log {
        Some(filter) if config::is_log_filter(filter) => EnvFilter::new(filter),
        Some(filter) => return Err(RunError::Log(filter.clone())),
        None => EnvFilter::new(&config.appliance.log),
    };
    let (filter, handle) = tracing_subscriber::reload::Layer::new(filter);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(false);
    let lines = match args.json {
        true => lines.json().boxed(),
        false => lines.boxed(),
    };
    tracing_subscriber::registry()
        .with(lines)
        .with(LogLimit::new(config.appliance.log_rate))
        .with(filter)
        .init();
    let set_log: SetLog = Box::new(move |filter| set_filter(handle.reload(EnvFilter::new(filter))));
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        config = %args.config.display(),
        "{}",
        config.summary()
    );
    Ok(args.log.is_none().then_some(set_log))
}

fn set_filter(outcome: Result<(), tracing_subscriber::reload::Error>) {
    if let Err(error) = outcome {
        tracing::error!(%error, "the log's filter stays as it was");
    }
}

fn setup(config: &Config, origin: Instant) -> Setup {
    Setup {
        clock: Clock::since(origin),
        devices: config.data.devices.iter().map(|d| d.name.clone()).collect(),
    }
}

/// The seed of everything that must be unpredictable: tags, branches, ports.
fn seed() -> Result<[u8; 32], RunError> {
    let mut seed = [0; 32];
    File::open("/dev/urandom")
        .and_then(|mut urandom| urandom.read_exact(&mut seed))
        .map_err(RunError::Entropy)?;
    Ok(seed)
}

fn announce(dataplane: &SharedDataplane) {
    let report = dataplane.report();
    for device in &report.devices {
        tracing::info!(
            device = device.name,
            driver = device.driver,
            xdp_mode = device.mode.name(),
            queues = device.queues,
            "device attached"
        );
    }
    for worker in &report.workers {
        tracing::info!(
            worker = worker.worker.0,
            core = worker.core,
            page_size = worker.page_size,
            sockets = worker.sockets.len(),
            "worker running"
        );
    }
    for warning in crate::numa::numa(&report).warnings {
        tracing::warn!("{warning}");
    }
    tracing::info!("ready");
}
