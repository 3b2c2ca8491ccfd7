//! `tandem-load rtp`: from arguments to a report.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::thread;

use rand::seq::SliceRandom;

use crate::admin_client::{AdminError, Terms};
use crate::churn::{self, Churner, Feed, Fresh};
use crate::cli::{Expect, Mac, RtpArgs};
use crate::engine::{self, Clock, Load, Opened, Opening};
use crate::install::{Hosts, InstallError, Sessions};
use crate::machine;
use crate::ndr::Search;
use crate::neighbours::{self, NeighbourError};
use crate::pace::G711_PPS;
use crate::packet::build::{Link, Outgoing};
use crate::packet::{FlowNumber, Side};
use crate::report::deliver::{self, DeliveryError};
use crate::report::{Console, Limit, Observer, Packets, Run, Trial};
use crate::rig::{Lane, Rig, RigError};
use crate::streams::{self, Content, Stream, StreamsError};
use crate::verify::{Expectations, Rules};

/// The rate of the warm-up before a search, in packets a second.
const WARMUP_PPS: u64 = 2_000;
/// Without an upper bound the search begins this much above what a flat-out trial brought.
const HEADROOM: f64 = 1.25;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum RtpError {
    /// The streams.
    #[error(transparent)]
    Streams(#[from] StreamsError),
    /// The relay's sessions.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// The relay, while sessions came and went.
    #[error("sessions could not be opened or closed any more: {0}")]
    Churn(#[from] AdminError),
    /// The network.
    #[error(transparent)]
    Neighbour(#[from] NeighbourError),
    /// The devices.
    #[error(transparent)]
    Device(#[from] af_xdp::Error),
    /// A trial.
    #[error(transparent)]
    Rig(#[from] RigError),
    /// Arguments that do not go together.
    #[error("{0}")]
    Usage(String),
    /// No signal can be caught.
    #[error("cannot catch signals: {0}")]
    Signals(io::Error),
    /// The report.
    #[error(transparent)]
    Delivery(#[from] DeliveryError),
}

/// Does what was asked for; success when there is a report, whatever it says of the relay.
pub fn execute(args: &RtpArgs) -> Result<ExitCode, RtpError> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, stop.clone()).map_err(RtpError::Signals)?;
    }
    let run = run(args, &stop, &mut Console::on_stderr())?;
    deliver::run(&run, args.json, args.svg.as_deref())?;
    Ok(ExitCode::SUCCESS)
}

/// Runs, and reports. `stop` ends the run early, with what was measured until then.
pub fn run(
    args: &RtpArgs,
    stop: &AtomicBool,
    observer: &mut dyn Observer,
) -> Result<Run, RtpError> {
    // They are closed when this goes, after the last packet.
    let installed = install(args)?;
    let mut streams = match &installed {
        Some(installed) => installed.sessions.streams().to_vec(),
        None => read_streams(args)?,
    };
    check(args, &streams)?;
    // In the order of the file a relay's table would be walked from one end to the other.
    streams.shuffle(&mut rand::rng());
    let hops = next_hops(args, &streams)?;
    let clock = Clock::start();
    let parties = parties(args, &streams, installed.as_ref());
    let opened = engine::open(
        &Opening {
            devices: [&args.a_device, &args.b_device],
            mode: args.xdp_mode,
            threads: args.core.len(),
            ring: args.ring,
            batch: args.batch,
            parties: &parties,
        },
        clock,
    )?;
    let mut report = describe(args, &opened, &streams);
    let links = links(args, &opened, hops);
    let mut rig = rig(args, opened, &streams, &links, stop);
    warm_up(args, &mut rig, streams.len(), observer)?;
    match (args.churn, &installed) {
        (Some(per_second), Some(installed)) => {
            let churner = installed
                .sessions
                .churner(&installed.hosts, per_second, clock)?;
            let slots = churn::slots(per_second);
            rig.expectations = rig.expectations.with_slots(slots, &streams[0]);
            let (fresh, feed) = mpsc::sync_channel(slots);
            let payload = usize::from(args.payload);
            rig.feed = Some(Feed::new(feed, links, payload, streams.len() as u32));
            churn(
                args,
                &mut rig,
                churner,
                &fresh,
                streams.len(),
                &mut report,
                observer,
            )?;
        }
        _ => measure(args, &mut rig, streams.len(), &mut report, observer)?,
    }
    report.interrupted = stop.load(Ordering::Relaxed);
    Ok(report)
}

/// Everybody whose packets come to the tool, with the side that they are on.
fn parties(
    args: &RtpArgs,
    streams: &[Stream],
    installed: Option<&Installed>,
) -> Vec<(Side, SocketAddr)> {
    let mut parties: Vec<_> = streams
        .iter()
        .flat_map(|stream| [(Side::A, stream.a), (Side::B, stream.b)])
        .collect();
    if let (Some(per_second), Some(installed)) = (args.churn, installed) {
        let first = installed.sessions.len();
        for session in first..first + churn::slots(per_second) {
            let each = installed.hosts.parties(session);
            parties.extend([(Side::A, each.a), (Side::B, each.b)]);
        }
    }
    parties
}

/// The trial, while sessions come and go.
fn churn(
    args: &RtpArgs,
    rig: &mut Rig<'_>,
    churner: Churner,
    fresh: &SyncSender<Fresh>,
    streams: usize,
    report: &mut Run,
    observer: &mut dyn Observer,
) -> Result<(), RtpError> {
    let over = AtomicBool::new(false);
    let (measured, churned) = thread::scope(|scope| {
        let churner = scope.spawn(|| churner.run(&over, fresh));
        let measured = measure(args, rig, streams, report, observer);
        over.store(true, Ordering::Relaxed);
        match churner.join() {
            Ok(churned) => (measured, churned),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    });
    measured?;
    let mut churned = churned?;
    if let Some(feed) = &rig.feed {
        feed.add_to(&mut churned);
    }
    report.churn = Some(churned);
    Ok(())
}

fn read_streams(args: &RtpArgs) -> Result<Vec<Stream>, RtpError> {
    if let Some(file) = &args.source.streams {
        return Ok(streams::from_file(file)?);
    }
    if let Some(file) = &args.source.flows {
        let own = neighbours::addresses(&args.a_device.name)?;
        let is_a = |party: IpAddr| own.iter().any(|own| own.covers(party));
        return Ok(streams::from_flows(file, &is_a)?);
    }
    Err(RtpError::Usage("no streams are named".to_owned()))
}

/// Sessions in a running relay, and who talks in them.
struct Installed {
    sessions: Sessions,
    hosts: Hosts,
}

/// Opens sessions in a running relay, if that is where the streams come from.
fn install(args: &RtpArgs) -> Result<Option<Installed>, RtpError> {
    let source = &args.source;
    let (Some(socket), Some(count)) = (&source.install, source.count) else {
        return Ok(None);
    };
    let hosts = Hosts {
        a: hosts(&source.a_address, &args.a_device.name, source.ipv6)?,
        b: hosts(&source.b_address, &args.b_device.name, source.ipv6)?,
    };
    let terms = Terms {
        a_media: source.a_media.clone(),
        b_media: source.b_media.clone(),
        rtcp: source.rtcp,
        latch: source.latch,
    };
    let sessions = Sessions::open(socket, terms, &hosts, count as usize)?;
    Ok(Some(Installed { sessions, hosts }))
}

/// The addresses that were given, or the first of the device.
fn hosts(given: &[IpAddr], device: &str, ipv6: bool) -> Result<Vec<IpAddr>, RtpError> {
    if !given.is_empty() {
        return Ok(given.to_vec());
    }
    let own = neighbours::addresses(device)?;
    let mut own = own.iter().map(|own| own.address);
    match own.find(|address| address.is_ipv6() == ipv6) {
        Some(address) => Ok(vec![address]),
        None => Err(RtpError::Neighbour(NeighbourError::NoAddress {
            device: device.to_owned(),
        })),
    }
}

fn check(args: &RtpArgs, streams: &[Stream]) -> Result<(), RtpError> {
    let refuse = |why: String| Err(RtpError::Usage(why));
    let threads = args.core.len();
    for (name, device) in [
        ("--a-device", &args.a_device),
        ("--b-device", &args.b_device),
    ] {
        if device.queues.len() < threads {
            return refuse(format!(
                "{threads} cores need as many queues, {name} names {}",
                device.queues.len()
            ));
        }
    }
    if args.a_device.name == args.b_device.name && args.a_device != args.b_device {
        return refuse("one device for both sides has the same queues on both".to_owned());
    }
    if streams.len() < threads {
        return refuse(format!("{} streams for {threads} cores", streams.len()));
    }
    let is_rtcp = |stream: &Stream| stream.content == Content::Rtcp;
    if streams.iter().any(is_rtcp) && !args.payload.is_multiple_of(4) {
        return refuse(format!(
            "an RTCP packet is a multiple of 4 bytes long, and {} is none",
            args.payload
        ));
    }
    Ok(())
}

/// A's and B's next hop: every relay address of a side must be behind the same one.
fn next_hops(args: &RtpArgs, streams: &[Stream]) -> Result<[Mac; 2], RtpError> {
    let mut hops = Vec::with_capacity(2);
    for side in Side::BOTH {
        let (given, device, name) = match side {
            Side::A => (args.next_hop_a, &args.a_device.name, 'a'),
            Side::B => (args.next_hop_b, &args.b_device.name, 'b'),
        };
        if let Some(mac) = given {
            hops.push(mac);
            continue;
        }
        let mut relays: Vec<IpAddr> = streams
            .iter()
            .map(|stream| match side {
                Side::A => stream.relay_a.ip(),
                Side::B => stream.relay_b.ip(),
            })
            .collect();
        relays.sort_unstable();
        relays.dedup();
        let mut found: Option<(IpAddr, Mac)> = None;
        for relay in relays {
            let mac = neighbours::next_hop(device, name, relay)?;
            match found {
                Some((other, known)) if known != mac => {
                    return Err(RtpError::Usage(format!(
                        "{other} is behind {known} and {relay} behind {mac}: \
                         `--next-hop-{name} MAC` says which is meant for all"
                    )));
                }
                _ => found = Some((relay, mac)),
            }
        }
        let (_, mac) = found.ok_or_else(|| RtpError::Usage("there are no streams".to_owned()))?;
        hops.push(mac);
    }
    Ok([hops[0], hops[1]])
}

fn describe(args: &RtpArgs, opened: &Opened, streams: &[Stream]) -> Run {
    let queues = [&args.a_device.queues[..], &args.b_device.queues[..]];
    let devices: Vec<_> = opened.devices.iter().zip(queues).collect();
    let is_v4 = streams.first().is_some_and(|stream| stream.a.is_ipv4());
    let headers = if is_v4 {
        crate::packet::HEADERS_V4
    } else {
        crate::packet::HEADERS_V6
    };
    Run {
        tool: "tandem-load".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        command: "rtp".to_owned(),
        machine: machine::describe(&devices, &args.core),
        packets: Packets {
            payload: usize::from(args.payload),
            frame: headers + usize::from(args.payload),
            family: one_or_mixed(streams.iter().flat_map(|stream| {
                [stream.a, stream.b].map(|party| if party.is_ipv4() { "ipv4" } else { "ipv6" })
            })),
            content: one_or_mixed(streams.iter().map(|stream| match stream.content {
                Content::Rtp => "rtp",
                Content::Rtcp => "rtcp",
            })),
            streams: streams.len(),
        },
        ..Run::default()
    }
}

/// What all are, or `mixed`.
fn one_or_mixed(mut values: impl Iterator<Item = &'static str>) -> String {
    let first = values.next().unwrap_or_default();
    match values.all(|value| value == first) {
        true => first.to_owned(),
        false => "mixed".to_owned(),
    }
}

/// A side's own MAC address: of its device, or of the one that both have.
fn own_mac(opened: &Opened, side: Side) -> [u8; 6] {
    let index = side.index().min(opened.devices.len() - 1);
    opened.devices[index].device.mac()
}

fn links(args: &RtpArgs, opened: &Opened, hops: [Mac; 2]) -> [Link; 2] {
    Side::BOTH.map(|side| Link {
        own: own_mac(opened, side),
        next_hop: hops[side.index()].0,
        dscp: args.dscp,
    })
}

fn rig<'a>(
    args: &RtpArgs,
    opened: Opened,
    streams: &[Stream],
    links: &[Link; 2],
    stop: &'a AtomicBool,
) -> Rig<'a> {
    let payload = usize::from(args.payload);
    let threads = opened.wires.len();
    let one_device = opened.devices.len() == 1;
    let matters = |expect: Expect| match expect {
        Expect::Exactly(value) => Some(value),
        Expect::Any => None,
    };
    let rules = links.map(|link| Rules {
        own: link.own,
        from: (!args.any_source_mac).then_some(link.next_hop),
        ttl: matters(args.expect_ttl),
        dscp: matters(args.expect_dscp),
        unfinished: args.accept_unfinished_checksums,
    });
    let expectations = Expectations::new(rand::random(), payload, rules, streams);
    let lanes = opened.wires.into_iter().zip(&args.core).enumerate();
    let lanes = lanes.map(|(thread, (wire, core))| {
        let mut flows = [Vec::new(), Vec::new()];
        let mine = streams.iter().enumerate().skip(thread).step_by(threads);
        for (number, stream) in mine.clone() {
            for side in Side::BOTH {
                let addresses = match side {
                    Side::A => (stream.a, stream.relay_a),
                    Side::B => (stream.b, stream.relay_b),
                };
                flows[side.index()].push(Outgoing::new(
                    FlowNumber::of(number as u32, side),
                    stream.content,
                    addresses,
                    &links[side.index()],
                    payload,
                ));
            }
        }
        Lane {
            wire,
            share: mine.count() as f64 / streams.len() as f64,
            load: Load::new(flows),
            core: *core,
        }
    });
    Rig {
        lanes: lanes.collect(),
        devices: opened.devices,
        expectations: match one_device {
            true => expectations.of_one_device(),
            false => expectations,
        },
        batch: args.batch as usize,
        feed: None,
        stop,
        next_trial: 0,
    }
}

/// Packets a second, or flat out.
fn rate(args: &RtpArgs, streams: usize) -> Option<u64> {
    match args.pace.g711 {
        true => Some(2 * G711_PPS * streams as u64),
        false => args.pace.rate,
    }
}

/// Sends without counting, so that caches are warm, neighbours known and latches locked.
fn warm_up(
    args: &RtpArgs,
    rig: &mut Rig<'_>,
    streams: usize,
    observer: &mut dyn Observer,
) -> Result<(), RtpError> {
    if args.warmup > 0.0 {
        let rate = match args.find_ndr {
            true => Some(WARMUP_PPS),
            false => rate(args, streams),
        };
        rig.trial(rate, args.warmup, observer)?;
    }
    rig.next_trial = rig.next_trial.max(1);
    Ok(())
}

fn measure(
    args: &RtpArgs,
    rig: &mut Rig<'_>,
    streams: usize,
    report: &mut Run,
    observer: &mut dyn Observer,
) -> Result<(), RtpError> {
    let rate = rate(args, streams);
    if args.find_ndr {
        return search(args, rig, report, observer);
    }
    let ended = rig.trial(rate, args.seconds, observer)?;
    observer.trial(&ended.trial);
    report.trials.push(ended.trial);
    Ok(())
}

fn search(
    args: &RtpArgs,
    rig: &mut Rig<'_>,
    report: &mut Run,
    observer: &mut dyn Observer,
) -> Result<(), RtpError> {
    let mut made: Vec<Trial> = Vec::new();
    let mut trial = |rate: Option<u64>, attempt: u32| -> Result<Option<Trial>, RigError> {
        let ended = rig.trial(rate, args.trial, observer)?;
        if ended.stopped {
            return Ok(None);
        }
        let trial = Trial {
            attempt,
            ..ended.trial
        };
        observer.trial(&trial);
        made.push(trial.clone());
        Ok(Some(trial))
    };
    let high = match args.high {
        Some(high) => high,
        None => match trial(None, 1)? {
            Some(flat_out) => ((flat_out.received_pps * HEADROOM) as u64).max(args.low),
            None => return Ok(()),
        },
    };
    let search = Search {
        low: args.low,
        high,
        resolution: args.resolution.0 / 100.0,
        retries: args.retries,
    };
    let found = search.run(|rate, attempt| trial(Some(rate), attempt))?;
    report.trials = made;
    report.ndr_pps = Some(found.rate);
    report.ndr_limited_by = match found.limit {
        // The bound was ours, not the user's.
        Some(Limit::High) if args.high.is_none() => Some(Limit::Generator),
        limit => limit,
    };
    Ok(())
}
