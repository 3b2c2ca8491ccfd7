//! `tandem-load calls`: from arguments to a report.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};
use tempfile::TempDir;

use super::args::{CallsArgs, Place};
use super::load::Load;
use super::report::{self, CallsRun, Shape};
use super::sipp::{self, SippError};
use crate::machine;
use crate::plot::calls;
use crate::report::deliver::{self, DeliveryError};

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum CallsError {
    /// SIPp.
    #[error(transparent)]
    Sipp(#[from] SippError),
    /// What SIPp wrote.
    #[error("cannot read what SIPp wrote: {0}")]
    Unreadable(#[source] io::Error),
    /// The place for SIPp's files.
    #[error("cannot make a directory for SIPp's files: {0}")]
    Workplace(#[source] io::Error),
    /// The signals that end a run.
    #[error("cannot handle signals: {0}")]
    Signals(#[source] io::Error),
    /// The kernel has no way to the target, or there is no `ip` to ask.
    #[error("no address to call {0} from: {1} (--caller-listen names one)")]
    NoSource(IpAddr, String),
    /// The report.
    #[error(transparent)]
    Delivery(#[from] DeliveryError),
}

/// Places calls, or answers them, or both; and reports.
///
/// # Errors
/// Why there is no report. That calls failed is in the report, and no error.
pub fn execute(args: &CallsArgs) -> Result<ExitCode, CallsError> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, stop.clone()).map_err(CallsError::Signals)?;
    }
    let caller = match (args.target, args.caller_listen) {
        (None, _) => None,
        (_, Some(place)) => Some(place),
        (Some(target), None) => Some(source_of(target.ip(), args.caller_netns.as_deref())?),
    };
    let run = CallsRun {
        tool: "tandem-load".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        command: "calls".to_owned(),
        machine: machine::describe(&[], &[]),
        calls: Shape {
            target: args.target.map(|target| target.to_string()),
            caller: caller.map(|place| place.socket().to_string()),
            callee: args.callee_listen.map(|place| place.socket().to_string()),
            audio: args.audio,
            sipp: sipp::version()?,
        },
        ..CallsRun::default()
    };
    let workplace = Workplace::new(args.logs.as_deref())?;
    let run = Load::new(args, &workplace.path, &stop, run).run(caller)?;
    deliver::print(&run, args.json, || report::render(&run))?;
    if let Some(file) = &args.svg {
        let svg = calls::draw(&report::sheet(&run)).map_err(DeliveryError::from)?;
        deliver::save(&svg, file)?;
    }
    Ok(match run.interrupted {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

/// Where SIPp's files are: kept if a directory was named, removed at the end if not.
struct Workplace {
    path: PathBuf,
    _removed: Option<TempDir>,
}

impl Workplace {
    fn new(named: Option<&Path>) -> Result<Self, CallsError> {
        let failed = CallsError::Workplace;
        if let Some(path) = named {
            std::fs::create_dir_all(path).map_err(failed)?;
            return Ok(Self {
                path: path.canonicalize().map_err(failed)?,
                _removed: None,
            });
        }
        let directory = TempDir::with_prefix("tandem-load.").map_err(failed)?;
        Ok(Self {
            path: directory.path().to_owned(),
            _removed: Some(directory),
        })
    }
}

/// The address that the kernel would call from.
fn source_of(target: IpAddr, netns: Option<&str>) -> Result<Place, CallsError> {
    let mut command = Command::new("ip");
    if let Some(netns) = netns {
        command.args(["-n", netns]);
    }
    command.args(["-j", "route", "get", &target.to_string()]);
    let nowhere = |why: String| CallsError::NoSource(target, why);
    let output = command
        .output()
        .map_err(|error| nowhere(format!("ip: {error}")))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(nowhere(why));
    }
    let routes: serde_json::Value =
        serde_json::from_slice(&output.stdout).map_err(|error| nowhere(format!("ip: {error}")))?;
    let source = routes.pointer("/0/prefsrc").and_then(|text| text.as_str());
    let source = source.and_then(|text| text.parse().ok());
    source
        .map(Place::at)
        .ok_or_else(|| nowhere("the route names no source".to_owned()))
}
