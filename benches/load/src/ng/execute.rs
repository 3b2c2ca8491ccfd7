//! `tandem-load ng`: from arguments to a report.

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};

use super::args::{NgArgs, Target};
use super::client::{self, Client};
use super::left::{self, Left};
use super::report::{self, NgRun, NgShape, NgTrial};
use super::script::Script;
use super::tally::Tally;
use crate::calls::proc;
use crate::machine;
use crate::report::deliver::{self, DeliveryError};

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum NgError {
    /// The signals that end a run.
    #[error("cannot handle signals: {0}")]
    Signals(#[source] io::Error),
    /// A socket.
    #[error("a client's socket: {0}")]
    Socket(#[source] io::Error),
    /// Nobody answers there.
    #[error("{0} does not answer")]
    Silent(SocketAddr),
    /// Calls and ports could not be read.
    #[error("{0} does not tell its calls and ports")]
    Untold(SocketAddr),
    /// A client has ended amid its calls.
    #[error("a client has panicked")]
    Panicked,
    /// The report.
    #[error(transparent)]
    Delivery(#[from] DeliveryError),
}

/// Drives calls against each target, and reports.
///
/// # Errors
/// Why there is no report. That requests failed is in the report, and no error.
pub fn execute(args: &NgArgs) -> Result<ExitCode, NgError> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, stop.clone()).map_err(NgError::Signals)?;
    }
    let mut run = NgRun {
        tool: "tandem-load".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        command: "ng".to_owned(),
        machine: machine::describe(&[], &[]),
        load: NgShape {
            clients: args.clients,
            window: args.window,
            seconds: args.seconds,
        },
        ..NgRun::default()
    };
    // Whoever is not there is found out before anything is measured.
    let prefix = format!("{}-{:08x}", std::process::id(), rand::random::<u32>());
    for target in &args.targets {
        left::is_there(target.address, &prefix)?;
    }
    for (number, target) in args.targets.iter().enumerate() {
        if !stop.load(Ordering::Relaxed) {
            run.trials
                .push(measure(args, target, &format!("{prefix}-{number}"), &stop)?);
        }
    }
    run.ratios = report::ratios(&run.trials);
    run.interrupted = stop.load(Ordering::Relaxed);
    deliver::print(&run, args.json, || report::render(&run))?;
    let short = match args.check {
        true => report::shortfalls(&run),
        false => Vec::new(),
    };
    for shortfall in &short {
        eprintln!("tandem-load: {shortfall}");
    }
    Ok(match run.interrupted || !short.is_empty() {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

fn measure(
    args: &NgArgs,
    target: &Target,
    prefix: &str,
    stop: &AtomicBool,
) -> Result<NgTrial, NgError> {
    let script = Script::new(args);
    let processor = |read: fn(u32) -> Option<f64>| target.pid.and_then(read);
    let before = [proc::processor_seconds, proc::first_thread_seconds].map(processor);
    let began = Instant::now();
    let until = began + Duration::from_secs(args.seconds.into());
    let tally = clients(args, target.address, &script, prefix, until, stop)?;
    let seconds = began.elapsed().as_secs_f64();
    let after = [proc::processor_seconds, proc::first_thread_seconds].map(processor);
    let [whole, control] = [0, 1].map(|which| Some(after[which]? - before[which]?));
    let Left { sessions, ports } = left::left(target.address, prefix)?;
    let latency = tally.latency();
    Ok(NgTrial {
        name: target.name.clone(),
        target: target.address.to_string(),
        seconds,
        commands: latency.count,
        commands_per_second: latency.count as f64 / seconds,
        calls: tally.calls,
        latency_ns: latency,
        by_command_ns: tally.latencies(),
        retransmissions: tally.retransmissions,
        lost: tally.lost,
        strays: tally.strays,
        errors: tally.errors,
        sessions_left: sessions,
        ports_left: ports,
        processor_seconds: whole,
        control_seconds: control,
    })
}

/// All clients at once.
fn clients(
    args: &NgArgs,
    server: SocketAddr,
    script: &Script,
    prefix: &str,
    until: Instant,
    stop: &AtomicBool,
) -> Result<Tally, NgError> {
    thread::scope(|scope| {
        let start = |number: u16| {
            let client = Client::new(script, format!("{prefix}-{number}"), args.window, until);
            scope.spawn(move || client::run(client, server, stop))
        };
        let threads: Vec<_> = (0..args.clients).map(start).collect();
        let mut sum = Tally::new();
        for thread in threads {
            let tally = thread.join().map_err(|_| NgError::Panicked)?;
            sum.add(tally.map_err(NgError::Socket)?);
        }
        Ok(sum)
    })
}
