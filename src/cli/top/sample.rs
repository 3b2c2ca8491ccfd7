//! A tandem for the tests of this directory: two workers, two devices, two queues each, of which every number
//! is a function of how many seconds it has run. Fields that no picture is made of are left at nothing.

use super::picture::{Picture, Snapshot};
use crate::admin::views::{
    CallCounts, Counts, Device, MediaCounts, Residence, Ring, Socket, Status, Taken, Worker,
    Workers,
};

/// When the sample was started.
pub(super) const STARTED: u64 = 1_700_000_000_000;

/// What it says `at_ns` nanoseconds after its start, having done `seconds` seconds of work.
pub(super) fn snapshot(at_ns: u64, seconds: u64) -> Snapshot {
    let taken = |at_ns| Taken {
        started_unix_ms: STARTED,
        at_ns,
    };
    let status = Status {
        taken: taken(at_ns + 1_000_000),
        version: "0.1.0".to_owned(),
        pid: 4711,
        state: "running".to_owned(),
        uptime_seconds: at_ns as f64 / 1e9,
        calls: CallCounts {
            active: 100,
            limit: 10_000,
            offered: 3 * seconds,
            answered: 2 * seconds,
            failed: counts(&[("486", seconds)]),
            ended: counts(&[("caller hung up", 2 * seconds)]),
            ..CallCounts::default()
        },
        media: MediaCounts {
            sessions: 100,
            flows: 400,
            ..MediaCounts::default()
        },
        devices: vec![device("in0", seconds), device("out0", seconds)],
        ..Status::default()
    };
    let workers = Workers {
        taken: taken(at_ns),
        workers: vec![worker(0, seconds), worker(1, seconds)],
        ..Workers::default()
    };
    Snapshot { status, workers }
}

/// The second from 100 to 101 of it.
pub(super) fn picture() -> Picture {
    let before = snapshot(100_000_000_000, 100);
    let after = snapshot(101_000_000_000, 101);
    Picture::between(&before, &after).expect("one process, and time passes")
}

fn counts(counts: &[(&str, u64)]) -> Counts {
    let owned = counts
        .iter()
        .map(|(name, count)| ((*name).to_owned(), *count));
    owned.collect()
}

fn device(name: &str, seconds: u64) -> Device {
    Device {
        name: name.to_owned(),
        driver: "veth".to_owned(),
        xdp_mode: "copy".to_owned(),
        queues: 2,
        verdicts: counts(&[("redirected", 20_000 * seconds), ("not_udp", 3 * seconds)]),
    }
}

/// 10,000 packets a second from each of two queues; a quarter busy; five packets a second from wrong sources.
fn worker(number: u16, seconds: u64) -> Worker {
    let queue = u32::from(number);
    Worker {
        worker: number,
        core: u64::from(number) + 1,
        running: true,
        drops: counts(&[("wrong_source", 5 * seconds)]),
        batches: 1_000 * seconds,
        sleeps: 10 * seconds,
        busy_ns: 250_000_000 * seconds,
        idle_ns: 500_000_000 * seconds,
        asleep_ns: 250_000_000 * seconds,
        // Since the start: nothing that a picture may use.
        residence_ns: Residence {
            count: 1,
            p50: 1,
            p99: 1,
            max: 1,
        },
        residence_buckets: vec![(1_500, 19_000 * seconds), (40_000, 1_000 * seconds)],
        flows: 400,
        frames: 16_384,
        free_frames: 8_192,
        sockets: vec![
            socket("in0", queue, seconds),
            socket("out0", queue, seconds),
        ],
        ..Worker::default()
    }
}

fn socket(device: &str, queue: u32, seconds: u64) -> Socket {
    let ring = |level, size| Ring { level, size };
    Socket {
        device: device.to_owned(),
        queue,
        rx_packets: 10_000 * seconds,
        rx_bytes: 2_140_000 * seconds,
        tx_packets: 10_000 * seconds,
        tx_bytes: 2_140_000 * seconds,
        rx_ring: ring(12, 2_048),
        rx_ring_max: 300,
        tx_ring: ring(0, 2_048),
        fill_ring: ring(4_090, 4_096),
        ..Socket::default()
    }
}
