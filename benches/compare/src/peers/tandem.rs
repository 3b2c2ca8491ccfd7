//! tandem: a configuration for the comparison's network, and sessions over the admin socket.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tandem_load::admin_client::{
    AdminClient, Latch, MOST_SESSIONS, Opened, Parties, Rtcp, Terms as SessionTerms,
};
use tandem_load::streams::{Content, Stream};

use super::Terms;
use crate::error::Error;
use crate::process::Process;
use crate::streams;
use crate::topology::{RELAY_DEVICES, Topology, more_address};

/// Addresses beyond the first one that each side has for many flows.
pub(crate) const MORE_ADDRESSES: u8 = 4;
/// The most flows of the run with many: 4 a call, and 30,000 calls on each address of a side.
pub(crate) const MOST_FLOWS: u32 = 4 * 30_000 * (MORE_ADDRESSES as u32 + 1);

/// How long the start may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Starts tandem with one worker and opens the sessions. With `flows`, so many are installed in all, in calls of four
/// (RTP and RTCP, both ways), and the streams are spread over them evenly.
pub(super) fn start(
    topology: &Topology,
    terms: &Terms,
    flows: u32,
    work: &Path,
    file: &Path,
    stop: &Arc<AtomicBool>,
) -> Result<Process, Error> {
    let socket = work.join("admin.sock");
    let config = work.join("tandem.toml");
    let text = configuration(terms, flows, &socket);
    std::fs::write(&config, text).map_err(|error| Error::file(&config, &error))?;
    let mut command = topology.within(&topology.relay(), &terms.tandem);
    command.arg("run").arg("-c").arg(&config);
    let mut process = Process::start("tandem", &mut command, work)?;
    let mut client = connect(&socket, &mut process, stop)?;
    streams::write(file, open(&mut client, terms, flows, stop)?)?;
    Ok(process)
}

/// Opens the sessions; gives those that have traffic.
fn open(
    client: &mut AdminClient,
    terms: &Terms,
    flows: u32,
    stop: &Arc<AtomicBool>,
) -> Result<Vec<Stream>, Error> {
    let session = SessionTerms {
        a_media: "inside".to_owned(),
        b_media: "outside".to_owned(),
        rtcp: match flows {
            0 => Rtcp::None,
            _ => Rtcp::Separate,
        },
        latch: Some(Latch::Sdp),
    };
    let calls = calls(terms, flows);
    let stride = calls / u32::from(terms.streams.max(1));
    let all: Vec<_> = (0..calls)
        .map(|number| parties(number, stride, terms.streams))
        .collect();
    let mut with_traffic = Vec::with_capacity(usize::from(terms.streams));
    for chunk in all.chunks(MOST_SESSIONS) {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        let parties: Vec<_> = chunk.iter().map(|(parties, _)| *parties).collect();
        let answer = client
            .open_sessions(&session, &parties)
            .map_err(|error| Error::Peer(error.to_string()))?;
        if !answer.refused.is_empty() || answer.sessions.len() != chunk.len() {
            let refused = terminal::table::spell_counts(&answer.refused);
            return Err(Error::Peer(format!("tandem refused sessions: {refused}")));
        }
        let opened = chunk.iter().zip(&answer.sessions);
        let busy = opened.filter(|((_, busy), _)| *busy);
        with_traffic.extend(busy.map(|((parties, _), opened)| stream(parties, opened)));
    }
    Ok(with_traffic)
}

fn connect(
    socket: &Path,
    process: &mut Process,
    stop: &Arc<AtomicBool>,
) -> Result<AdminClient, Error> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match AdminClient::connect(socket) {
            Ok(client) => return Ok(client),
            Err(error) if Instant::now() > deadline => return Err(Error::Peer(error.to_string())),
            Err(_) => {}
        }
        process.must_run()?;
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn calls(terms: &Terms, flows: u32) -> u32 {
    (flows / 4).max(u32::from(terms.streams))
}

/// The parties of a call, and whether it has traffic: every `stride`th has, until there are enough. Those have
/// ports of their own; the others share what is left, which disturbs nobody, since they are silent.
fn parties(number: u32, stride: u32, streams: u16) -> (Parties, bool) {
    let turn = number / stride.max(1);
    let busy = number.is_multiple_of(stride.max(1)) && turn < u32::from(streams);
    let (a, b) = match busy {
        // Below the number of streams.
        true => streams::parties(turn as u16),
        false => {
            let port = 1024 + 2 * (number % 9000) as u16;
            let at = |address| SocketAddr::new(IpAddr::V4(address), port);
            (at(streams::A), at(streams::B))
        }
    };
    (Parties { a, b }, busy)
}

fn stream(parties: &Parties, opened: &Opened) -> Stream {
    Stream {
        a: parties.a,
        relay_a: opened.a,
        relay_b: opened.b,
        b: parties.b,
        content: Content::Rtp,
    }
}

/// One worker, both devices, rings as large as the other relays' sockets together, and checksums taken for what they
/// are here: finished.
fn configuration(terms: &Terms, flows: u32, socket: &Path) -> String {
    let calls = calls(terms, flows);
    let mut text = format!(
        "[appliance]\nadmin_socket = \"{socket}\"\ndrain_timeout = \"0s\"\nlog = \"warn\"\n\n\
         [workers]\ncores = [{core}]\nidle = \"{idle}\"\nring_size = {ring}\nflow_capacity = {capacity}\n\n",
        socket = socket.display(),
        core = terms.relay_core,
        idle = terms.idle,
        ring = ring_size(terms.room),
        // RTP and RTCP of both sides, whether RTCP is relayed or not.
        capacity = (4 * calls).next_multiple_of(1024),
    );
    let mode = &terms.mode;
    let sides = [("inside", streams::RELAY_A), ("outside", streams::RELAY_B)];
    for (side, (name, first)) in sides.into_iter().enumerate() {
        let device = RELAY_DEVICES[side];
        let mut addresses = vec![first.to_string()];
        if flows > 0 {
            addresses.extend((0..MORE_ADDRESSES).map(|more| more_address(side, more)));
        }
        text += &format!(
            "[[device]]\nname = \"{device}\"\nmode = \"{mode}\"\nchecksums = \"finished\"\n\n\
             [[media]]\nname = \"{name}\"\ndevice = \"{device}\"\naddresses = {addresses:?}\n\
             ports = \"1024-65535\"\nlatch = \"sdp\"\ndscp = 46\n\n\
             [[listener]]\nname = \"{name}\"\naddress = \"{first}:1023\"\n\n"
        );
    }
    text += &format!(
        "[[trunk]]\nname = \"callers\"\npeers = [\"{a}\"]\nlisteners = [\"inside\"]\nmedia = \"inside\"\n\n\
         [[trunk]]\nname = \"callees\"\npeers = [\"{b}\"]\nlisteners = [\"outside\"]\nmedia = \"outside\"\n\n\
         [[route]]\nfrom = \"callers\"\nto = [\"callees\"]\n\n\
         [sip]\nmax_calls = {calls}\n\n[calls]\nmedia_timeout = \"off\"\n",
        a = streams::A,
        b = streams::B,
    );
    text
}

/// What tandem takes: a power of two.
fn ring_size(room: u32) -> u32 {
    room.clamp(64, 16_384).next_power_of_two()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn traffic_is_spread_evenly_over_the_calls() {
        let busy: Vec<_> = (0..100_000)
            .map(|number| (number, parties(number, 100, 1000)))
            .filter(|(_, (_, busy))| *busy)
            .collect();
        assert_eq!(busy.len(), 1000);
        assert!(busy.windows(2).all(|pair| pair[1].0 - pair[0].0 == 100));
        let ports: HashSet<_> = busy.iter().map(|(_, (parties, _))| parties.a).collect();
        assert_eq!(ports.len(), 1000);
        let silent = parties(1, 100, 1000).0;
        assert!(!ports.contains(&silent.a));
    }

    #[test]
    fn without_more_flows_every_call_has_traffic() {
        assert!((0..1000).all(|number| parties(number, 1, 1000).1));
    }

    #[test]
    fn rings_are_powers_of_two() {
        assert_eq!(
            [1, 2048, 3000, 16_384, 99_999].map(ring_size),
            [64, 2048, 4096, 16_384, 16_384]
        );
    }
}
