//! What happened between two answers of a running tandem. Pure: two snapshots in, one picture out.
//!
//! Every rate is the difference of two counters over the difference of the answers' own times.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::picture::{
    CallFlow, CountedBy, Cpu, DevicePicture, Drop, Held, Lost, Picture, QueuePicture, Snapshot,
    Totals, Traffic, WorkerPicture,
};
use crate::admin::views::{Counts, Device, Socket, Status, Taken, Worker, Workers, XdpStatistics};
use crate::status::residence;

/// The verdict of the XDP program that gives a frame to a worker.
const REDIRECTED: &str = "redirected";

/// A counter of one socket, by its name.
type KernelCounter = (&'static str, CountedBy, fn(&XdpStatistics) -> u64);

/// In copy mode a frame that finds the fill ring empty is counted twice by the kernel (net/xdp/xsk.c, `__xsk_rcv`):
/// as `rx_dropped`, which is the frame, and in `rx_fill_ring_empty_descs`, which is why.
const KERNEL_COUNTERS: [KernelCounter; 5] = [
    ("rx_ring_full", CountedBy::Kernel, |of| of.rx_ring_full),
    ("rx_dropped", CountedBy::Kernel, |of| of.rx_dropped),
    ("rx_fill_ring_empty_descs", CountedBy::KernelTimes, |of| {
        of.rx_fill_ring_empty_descs
    }),
    ("rx_invalid_descs", CountedBy::KernelTimes, |of| {
        of.rx_invalid_descs
    }),
    ("tx_invalid_descs", CountedBy::Kernel, |of| {
        of.tx_invalid_descs
    }),
];

impl Picture {
    /// What happened from one snapshot to a later one; `None` when they are not of the same process, or not
    /// in this order.
    pub(super) fn between(before: &Snapshot, after: &Snapshot) -> Option<Self> {
        let status = elapsed(&before.status.taken, &after.status.taken)?;
        let workers = elapsed(&before.workers.taken, &after.workers.taken)?;
        // Asked one after the other, by a process that may have been replaced in between.
        let started = |of: &Snapshot| (of.status.taken.started_unix_ms, of.status.pid);
        if started(before) != started(after)
            || after.status.taken.started_unix_ms != after.workers.taken.started_unix_ms
        {
            return None;
        }
        let elapsed = workers;
        let queues = queues(&before.workers, &after.workers, elapsed);
        let workers = workers_of(&before.workers, &after.workers, elapsed);
        let (now, old) = (&after.status, &before.status);
        Some(Self {
            version: now.version.clone(),
            pid: now.pid,
            state: now.state.clone(),
            uptime_seconds: now.uptime_seconds,
            started_unix_ms: now.taken.started_unix_ms,
            at_ns: after.workers.taken.at_ns,
            interval_ns: elapsed.0,
            calls: calls(old, now, status),
            media: Held {
                sessions: now.media.sessions,
                flows: now.media.flows,
            },
            totals: totals(
                &workers,
                residences(&before.workers, &after.workers),
                elapsed,
            ),
            workers,
            devices: devices(&old.devices, &now.devices, status, &queues),
            drops: drops(&before.workers, &after.workers, elapsed),
            queues,
        })
    }
}

/// Nanoseconds, never 0.
#[derive(Clone, Copy)]
struct Elapsed(u64);

impl Elapsed {
    fn rate(self, count: u64) -> f64 {
        to_a_tenth(count as f64 * 1e9 / self.0 as f64)
    }
}

/// Finer than any reader can tell apart.
fn to_a_tenth(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

fn elapsed(before: &Taken, after: &Taken) -> Option<Elapsed> {
    let nanos = after.at_ns.checked_sub(before.at_ns)?;
    let same = before.started_unix_ms == after.started_unix_ms;
    (same && nanos > 0).then_some(Elapsed(nanos))
}

/// How far a counter has come. One that is behind where it was has begun anew.
fn advance(before: u64, after: u64) -> u64 {
    after.checked_sub(before).unwrap_or(after)
}

fn advances(before: &Counts, after: &Counts) -> Counts {
    let advanced = after.iter().map(|(name, now)| {
        let old = before.get(name).copied().unwrap_or(0);
        (name.clone(), advance(old, *now))
    });
    advanced.filter(|(_, count)| *count > 0).collect()
}

fn calls(before: &Status, after: &Status, elapsed: Elapsed) -> CallFlow {
    let (old, now) = (&before.calls, &after.calls);
    let sum = |before, after| advances(before, after).values().sum::<u64>();
    let offered = advance(old.offered, now.offered);
    let answered = advance(old.answered, now.answered);
    let failed = sum(&old.failed, &now.failed);
    let ended = sum(&old.ended, &now.ended);
    CallFlow {
        active: now.active,
        limit: now.limit,
        offered,
        answered,
        failed,
        ended,
        offered_per_second: elapsed.rate(offered),
        answered_per_second: elapsed.rate(answered),
        failed_per_second: elapsed.rate(failed),
        ended_per_second: elapsed.rate(ended),
    }
}

/// Frames and bytes, received and sent.
fn traffic(before: [u64; 4], after: [u64; 4], elapsed: Elapsed) -> Traffic {
    let [rx_packets, rx_bytes, tx_packets, tx_bytes] =
        [0, 1, 2, 3].map(|at: usize| advance(before[at], after[at]));
    let bits = |bytes: u64| elapsed.rate(bytes.saturating_mul(8));
    Traffic {
        rx_packets,
        rx_pps: elapsed.rate(rx_packets),
        rx_bps: bits(rx_bytes),
        tx_packets,
        tx_pps: elapsed.rate(tx_packets),
        tx_bps: bits(tx_bytes),
    }
}

fn socket_traffic(before: Option<&Socket>, after: &Socket, elapsed: Elapsed) -> Traffic {
    let of = |socket: &Socket| {
        [
            socket.rx_packets,
            socket.rx_bytes,
            socket.tx_packets,
            socket.tx_bytes,
        ]
    };
    traffic(before.map_or([0; 4], of), of(after), elapsed)
}

fn sum<'a>(parts: impl IntoIterator<Item = &'a Traffic>) -> Traffic {
    let add = |all: Traffic, one: &Traffic| Traffic {
        rx_packets: all.rx_packets + one.rx_packets,
        rx_pps: all.rx_pps + one.rx_pps,
        rx_bps: all.rx_bps + one.rx_bps,
        tx_packets: all.tx_packets + one.tx_packets,
        tx_pps: all.tx_pps + one.tx_pps,
        tx_bps: all.tx_bps + one.tx_bps,
    };
    let all = parts.into_iter().fold(Traffic::default(), add);
    Traffic {
        rx_pps: to_a_tenth(all.rx_pps),
        rx_bps: to_a_tenth(all.rx_bps),
        tx_pps: to_a_tenth(all.tx_pps),
        tx_bps: to_a_tenth(all.tx_bps),
        ..all
    }
}

fn lost(dropped: u64, ring_dropped: u64, elapsed: Elapsed) -> Lost {
    Lost {
        dropped,
        dropped_per_second: elapsed.rate(dropped),
        ring_dropped,
        ring_dropped_per_second: elapsed.rate(ring_dropped),
    }
}

fn kernel_statistics(before: Option<&Socket>, after: &Socket) -> XdpStatistics {
    let old = before.map_or_else(XdpStatistics::default, |socket| socket.xdp_statistics);
    let now = after.xdp_statistics;
    XdpStatistics {
        rx_dropped: advance(old.rx_dropped, now.rx_dropped),
        rx_ring_full: advance(old.rx_ring_full, now.rx_ring_full),
        rx_fill_ring_empty_descs: advance(
            old.rx_fill_ring_empty_descs,
            now.rx_fill_ring_empty_descs,
        ),
        rx_invalid_descs: advance(old.rx_invalid_descs, now.rx_invalid_descs),
        tx_invalid_descs: advance(old.tx_invalid_descs, now.tx_invalid_descs),
        tx_ring_empty_descs: advance(old.tx_ring_empty_descs, now.tx_ring_empty_descs),
    }
}

fn ring_dropped(statistics: &XdpStatistics) -> u64 {
    let frames = KERNEL_COUNTERS
        .iter()
        .filter(|(_, by, _)| *by == CountedBy::Kernel);
    frames.map(|(_, _, count)| count(statistics)).sum()
}

/// The same worker's socket on the same queue, in the earlier answer.
fn earlier<'a>(before: &'a Workers, worker: &Worker, socket: &Socket) -> Option<&'a Socket> {
    let worker = before.workers.iter().find(|w| w.worker == worker.worker)?;
    let same = |s: &&Socket| s.queue == socket.queue && s.device == socket.device;
    worker.sockets.iter().find(same)
}

fn queues(before: &Workers, after: &Workers, elapsed: Elapsed) -> Vec<QueuePicture> {
    let mut queues = Vec::new();
    for worker in &after.workers {
        for socket in &worker.sockets {
            let old = earlier(before, worker, socket);
            let statistics = kernel_statistics(old, socket);
            let ring_dropped = ring_dropped(&statistics);
            queues.push(QueuePicture {
                device: socket.device.clone(),
                queue: socket.queue,
                worker: worker.worker,
                traffic: socket_traffic(old, socket, elapsed),
                ring_dropped,
                ring_dropped_per_second: elapsed.rate(ring_dropped),
                rx_ring: socket.rx_ring,
                tx_ring: socket.tx_ring,
                fill_ring: socket.fill_ring,
                rx_ring_max: socket.rx_ring_max,
                xdp_statistics: statistics,
            });
        }
    }
    queues.sort_by(|one, other| (&one.device, one.queue).cmp(&(&other.device, other.queue)));
    queues
}

/// Buckets of the interval: what each counts more than before.
fn bucket_advances(before: &[(u64, u64)], after: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let old: BTreeMap<u64, u64> = before.iter().copied().collect();
    let advanced = after.iter().map(|&(nanos, frames)| {
        let old = old.get(&nanos).copied().unwrap_or(0);
        (nanos, advance(old, frames))
    });
    advanced.filter(|(_, frames)| *frames > 0).collect()
}

fn cpu(before: Option<&Worker>, after: &Worker) -> Option<Cpu> {
    let of = |worker: &Worker| [worker.busy_ns, worker.idle_ns, worker.asleep_ns];
    let (old, now) = (before.map_or([0; 3], of), of(after));
    let spent = [0, 1, 2].map(|at: usize| advance(old[at], now[at]));
    let all: u64 = spent.iter().sum();
    let [busy, idle, asleep] =
        spent.map(|nanos| (nanos as f64 * 1e4 / all.max(1) as f64).round() / 1e4);
    (all > 0).then_some(Cpu { busy, idle, asleep })
}

fn workers_of(before: &Workers, after: &Workers, elapsed: Elapsed) -> Vec<WorkerPicture> {
    let one = |worker: &Worker| {
        let old = before.workers.iter().find(|w| w.worker == worker.worker);
        let sockets: Vec<_> = worker
            .sockets
            .iter()
            .map(|socket| (earlier(before, worker, socket), socket))
            .collect();
        let each = sockets
            .iter()
            .map(|(old, socket)| socket_traffic(*old, socket, elapsed));
        let rings = sockets
            .iter()
            .map(|(old, socket)| ring_dropped(&kernel_statistics(*old, socket)));
        let none = Counts::new();
        let drops = advances(old.map_or(&none, |worker| &worker.drops), &worker.drops);
        let buckets = old.map_or(&[][..], |worker| &worker.residence_buckets);
        let buckets = bucket_advances(buckets, &worker.residence_buckets);
        WorkerPicture {
            worker: worker.worker,
            core: worker.core,
            running: worker.running,
            flows: worker.flows,
            traffic: sum(&each.collect::<Vec<_>>()),
            lost: lost(drops.values().sum(), rings.sum(), elapsed),
            drops,
            cpu: cpu(old, worker),
            batches: advance(old.map_or(0, |w| w.batches), worker.batches),
            sleeps: advance(old.map_or(0, |w| w.sleeps), worker.sleeps),
            residence_ns: residence(&buckets),
            frames: worker.frames,
            free_frames: worker.free_frames,
        }
    };
    after.workers.iter().map(one).collect()
}

/// The buckets of all workers, one after the other.
fn residences(before: &Workers, after: &Workers) -> Vec<(u64, u64)> {
    let of = |worker: &Worker| {
        let old = before.workers.iter().find(|w| w.worker == worker.worker);
        let old = old.map_or(&[][..], |worker| &worker.residence_buckets);
        bucket_advances(old, &worker.residence_buckets)
    };
    after.workers.iter().flat_map(of).collect()
}

fn totals(workers: &[WorkerPicture], residences: Vec<(u64, u64)>, elapsed: Elapsed) -> Totals {
    let dropped = workers.iter().map(|worker| worker.lost.dropped).sum();
    let ring_dropped = workers.iter().map(|worker| worker.lost.ring_dropped).sum();
    Totals {
        traffic: sum(workers.iter().map(|worker| &worker.traffic)),
        lost: lost(dropped, ring_dropped, elapsed),
        residence_ns: residence(&residences),
    }
}

fn devices(
    before: &[Device],
    after: &[Device],
    elapsed: Elapsed,
    queues: &[QueuePicture],
) -> Vec<DevicePicture> {
    let one = |device: &Device| {
        let own = || queues.iter().filter(|queue| queue.device == device.name);
        let old = before.iter().find(|old| old.name == device.name);
        let none = Counts::new();
        let verdicts = advances(old.map_or(&none, |old| &old.verdicts), &device.verdicts);
        let to_kernel = verdicts.iter().filter(|(name, _)| *name != REDIRECTED);
        DevicePicture {
            device: device.name.clone(),
            driver: device.driver.clone(),
            xdp_mode: device.xdp_mode.clone(),
            queues: device.queues,
            traffic: sum(own().map(|queue| &queue.traffic)),
            ring_dropped: own().map(|queue| queue.ring_dropped).sum(),
            ring_dropped_per_second: own().map(|queue| queue.ring_dropped_per_second).sum(),
            kernel_pps: elapsed.rate(to_kernel.map(|(_, count)| count).sum()),
            verdicts,
        }
    };
    after.iter().map(one).collect()
}

/// Every reason that ever applied, those of most frames a second first.
fn drops(before: &Workers, after: &Workers, elapsed: Elapsed) -> Vec<Drop> {
    let mut by_reason: BTreeMap<(CountedBy, &str), (u64, u64)> = BTreeMap::new();
    let mut note = |by, reason, count, since_start| {
        let total = by_reason.entry((by, reason)).or_default();
        total.0 += count;
        total.1 += since_start;
    };
    for worker in &after.workers {
        let old = before.workers.iter().find(|w| w.worker == worker.worker);
        for (reason, now) in &worker.drops {
            let old = old.and_then(|worker| worker.drops.get(reason).copied());
            let count = advance(old.unwrap_or(0), *now);
            note(CountedBy::Worker, reason.as_str(), count, *now);
        }
        for socket in &worker.sockets {
            let statistics = kernel_statistics(earlier(before, worker, socket), socket);
            for (reason, by, count) in KERNEL_COUNTERS {
                note(
                    by,
                    reason,
                    count(&statistics),
                    count(&socket.xdp_statistics),
                );
            }
        }
    }
    let happened = by_reason.into_iter().filter(|(_, (_, ever))| *ever > 0);
    let mut drops: Vec<_> = happened
        .map(|((by, reason), (count, since_start))| Drop {
            reason: reason.to_owned(),
            counted_by: by,
            count,
            per_second: elapsed.rate(count),
            since_start,
        })
        .collect();
    drops.sort_by_key(|drop| Reverse(drop.count));
    drops
}

#[cfg(test)]
mod tests;
