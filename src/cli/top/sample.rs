//! A tandem for the tests of this directory: two workers, two devices, two queues each, of which every number
//! is a function of how many seconds it has run.

use serde_json::{Value, json};

use super::picture::{Picture, Snapshot};

/// When the sample was started.
pub(super) const STARTED: u64 = 1_700_000_000_000;

/// What it says `at_ns` nanoseconds after its start, having done `seconds` seconds of work.
pub(super) fn snapshot(at_ns: u64, seconds: u64) -> Snapshot {
    let status = json!({
        "started_unix_ms": STARTED, "at_ns": at_ns + 1_000_000,
        "version": "0.1.0", "pid": 4711, "state": "running",
        "uptime_seconds": at_ns as f64 / 1e9, "config": "/etc/tandem.toml",
        "calls": {
            "active": 100, "limit": 10_000, "offered": 3 * seconds, "answered": 2 * seconds,
            "failed": {"486": seconds}, "ended": {"caller hung up": 2 * seconds},
            "failovers": 0, "forks_ended": 0,
        },
        "sip": {
            "dialogs": 0, "transactions": 0, "requests_refused": {}, "messages_dropped": {},
            "parse_errors": {}, "events": {},
        },
        "listeners": [],
        "media": {
            "sessions": 100, "provisioned": 0, "flows": 400, "ports_in_use": 200, "ports_resting": 0, "ports_free": 800,
            "refused": {}, "installs_failed": {}, "events": {},
        },
        "next_hops": {"watched": 2, "refused": 0, "solicitations": 0, "changes": 0},
        "devices": [device("in0", seconds), device("out0", seconds)],
        "workers": totals(), "numa": {"nodes": [], "warnings": []},
    });
    let workers = json!({
        "started_unix_ms": STARTED, "at_ns": at_ns,
        "workers": [worker(0, seconds), worker(1, seconds)],
        "totals": totals(),
    });
    Snapshot {
        status: serde_json::from_value(status).expect("every field of a status"),
        workers: serde_json::from_value(workers).expect("every field of the workers"),
    }
}

/// The second from 100 to 101 of it.
pub(super) fn picture() -> Picture {
    let (before, after) = (
        snapshot(100_000_000_000, 100),
        snapshot(101_000_000_000, 101),
    );
    Picture::between(&before, &after).expect("one process, and time passes")
}

fn device(name: &str, seconds: u64) -> Value {
    json!({
        "name": name, "driver": "veth", "xdp_mode": "copy", "queues": 2,
        "verdicts": {"redirected": 20_000 * seconds, "not_udp": 3 * seconds},
    })
}

fn totals() -> Value {
    json!({
        "count": 2, "running": 2, "huge_pages": false, "rx_packets": 0, "tx_packets": 0, "dropped": 0,
        "drops": {}, "residence_ns": residence(),
    })
}

/// Since the start: nothing that a picture may use.
fn residence() -> Value {
    json!({"count": 1, "p50": 1, "p99": 1, "max": 1})
}

/// 10,000 packets a second from each of two queues; a quarter busy; five packets a second from wrong sources.
fn worker(number: u64, seconds: u64) -> Value {
    json!({
        "worker": number, "core": number + 1, "running": true,
        "rx_packets": 20_000 * seconds, "rx_bytes": 4_280_000 * seconds,
        "tx_packets": 20_000 * seconds, "tx_bytes": 4_280_000 * seconds,
        "dropped": 5 * seconds, "drops": {"wrong_source": 5 * seconds},
        "batches": 1_000 * seconds, "sleeps": 10 * seconds,
        "busy_ns": 250_000_000 * seconds, "idle_ns": 500_000_000 * seconds,
        "asleep_ns": 250_000_000 * seconds,
        "residence_ns": residence(),
        "residence_buckets": [[1_500, 19_000 * seconds], [40_000, 1_000 * seconds]],
        "flows": 400, "frames": 16_384, "free_frames": 8_192, "page_size": 4_096,
        "commands_refused": 0, "events_delayed": 0,
        "sockets": [socket("in0", number, seconds), socket("out0", number, seconds)],
    })
}

fn socket(device: &str, queue: u64, seconds: u64) -> Value {
    json!({
        "device": device, "queue": queue, "zero_copy": false, "need_wakeup": true, "busy_poll": false,
        "tx_budget": 256,
        "rx_packets": 10_000 * seconds, "rx_bytes": 2_140_000 * seconds,
        "tx_packets": 10_000 * seconds, "tx_bytes": 2_140_000 * seconds,
        "rx_ring": {"level": 12, "size": 2_048}, "rx_ring_max": 300,
        "tx_ring": {"level": 0, "size": 2_048}, "fill_ring": {"level": 4_090, "size": 4_096},
        "xdp_statistics": {
            "rx_dropped": 0, "rx_ring_full": 0, "rx_fill_ring_empty_descs": 0, "rx_invalid_descs": 0,
            "tx_invalid_descs": 0, "tx_ring_empty_descs": 0,
        },
    })
}
