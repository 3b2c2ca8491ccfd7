//! What both planes say of themselves as a whole, as the admin socket's views. Pure: reports in, views out.

use std::collections::BTreeMap;

use contract::DropReason;
use controlplane::b2bua::{Counters, Gauges};
use controlplane::neighbours::NeighbourCounts;
use controlplane::settings::Listener as ListenerSettings;
use controlplane::transport::{ConnectionCounts, ListenerCounts};
use dataplane::report::{DeviceReport, HandledReport, Report, SocketReport, WorkerReport};
use hdrhistogram::Histogram;

use crate::admin::views::{
    CallCounts, Connections, Counts, Device, Listener, MediaCounts, NextHops, Residence, Ring,
    SipCounts, Socket, Taken, Worker, WorkerTotals, Workers, XdpStatistics,
};
use crate::steering;

/// Calls, with the bound on them.
pub(crate) fn call_counts(gauges: &Gauges, counters: &Counters, limit: usize) -> CallCounts {
    CallCounts {
        active: gauges.calls as u64,
        limit: limit as u64,
        offered: counters.calls_offered,
        answered: counters.calls_answered,
        failed: counts(&counters.calls_failed),
        ended: counts(&counters.calls_ended),
        failovers: counters.failovers,
        forks_ended: counters.forks_ended,
        redirections: counters.redirections,
        referrals_passed: counters.referrals_passed,
        transfers_begun: counters.transfers_begun,
        transfers_made: counters.transfers_made,
        transfers_failed: counters.transfers_failed,
        silent_targets: counters.silent_targets,
        full_targets: counters.full_targets,
        peer_changes: counters.peer_changes,
        bandwidth_bps: gauges.bandwidth,
    }
}

/// The signalling.
pub(crate) fn sip_counts(gauges: &Gauges, counters: &Counters) -> SipCounts {
    let layer = &counters.transactions;
    let (ours, callers) = (&counters.authentication, &counters.authentication.callers);
    SipCounts {
        dialogs: gauges.dialogs as u64,
        transactions: gauges.transactions as u64,
        requests_refused: counts(&counters.requests_refused),
        messages_dropped: counts(&counters.messages_dropped),
        parse_errors: counts(&counters.parse_errors),
        events: events(&[
            ("retransmitted", layer.retransmitted),
            ("absorbed", layer.absorbed),
            ("refused_full", layer.refused_full),
            ("merged", layer.merged),
            ("looped", layer.looped),
            ("stray_responses", layer.stray_responses),
            ("stray_cancels", layer.stray_cancels),
            ("timeouts", layer.timeouts),
            ("transport_errors", layer.transport_errors),
            ("challenges_answered", ours.answered),
            ("credentials_refused", ours.refused),
            ("challenges_unanswerable", ours.unable),
            ("callers_authenticated", callers.good),
            ("callers_challenged", callers.asked),
            ("callers_stale", callers.stale),
            ("callers_replayed", callers.replayed),
            ("callers_wrong", callers.wrong),
            ("callers_shut_out", callers.shut_out),
            ("fallen_back_to_udp", layer.fallen_back),
        ]),
    }
}

/// The SIP sockets.
pub(crate) fn listeners(settings: &[ListenerSettings], counts: &[ListenerCounts]) -> Vec<Listener> {
    let listener = |(listener, counts): (&ListenerSettings, &ListenerCounts)| Listener {
        name: listener.name.clone(),
        address: listener.address.to_string(),
        received: counts.received,
        sent: counts.sent,
        send_failures: counts.overflowed
            + counts.oversize
            + counts.send_errors
            + counts.unreachable,
        receive_errors: counts.receive_errors,
        transport: listener.transport.name().to_owned(),
        advertised: listener
            .advertised
            .map(|_| listener.announced().to_string()),
        connections: counts.connections.as_ref().map(connections),
    };
    settings.iter().zip(counts).map(listener).collect()
}

fn connections(counts: &ConnectionCounts) -> Connections {
    Connections {
        open: counts.open as u64,
        handshaking: counts.handshaking as u64,
        accepted: counts.accepted,
        opened: counts.opened,
        turned_away: counts.turned_away,
        failed: counts.failed,
        tls_failed: counts.tls_failed,
        framing_errors: counts.framing_errors,
        stalled: counts.stalled,
        idle: counts.idle,
        closed: counts.closed,
        broken: counts.broken,
    }
}

/// The next hops of the media.
pub(crate) fn next_hops(counts: &NeighbourCounts) -> NextHops {
    NextHops {
        watched: counts.watched as u64,
        refused: counts.refused,
        solicitations: counts.solicitations,
        changes: counts.changes,
    }
}

/// The media; `pairs` is how many pairs of ports the configuration gives.
pub(crate) fn media_counts(gauges: &Gauges, counters: &Counters, pairs: u64) -> MediaCounts {
    let engine = &counters.sessions;
    let (in_use, resting) = (gauges.ports_in_use as u64, gauges.ports_resting as u64);
    MediaCounts {
        sessions: gauges.sessions as u64,
        provisioned: gauges.provisioned as u64,
        flows: gauges.flows as u64,
        ports_in_use: in_use,
        ports_resting: resting,
        ports_free: pairs.saturating_sub(in_use).saturating_sub(resting),
        refused: counts(&engine.refused),
        installs_failed: counts(&engine.tickets_failed),
        events: events(&[
            ("media_timeouts", engine.media_timeouts),
            ("latches", engine.latches),
            ("commands_rejected", engine.commands_rejected),
            ("commands_refused", engine.commands_refused),
            ("commands_abandoned", engine.commands_abandoned),
        ]),
    }
}

fn counts<K: ToString>(by: &BTreeMap<K, u64>) -> Counts {
    by.iter()
        .map(|(key, count)| (key.to_string(), *count))
        .collect()
}

fn events(counts: &[(&str, u64)]) -> Counts {
    let happened = counts.iter().filter(|(_, count)| *count > 0);
    happened
        .map(|(name, count)| ((*name).to_owned(), *count))
        .collect()
}

/// The devices.
pub(crate) fn devices(report: &Report) -> Vec<Device> {
    let device = |device: &DeviceReport| Device {
        name: device.name.clone(),
        driver: device.driver.clone(),
        xdp_mode: device.mode.name().to_owned(),
        queues: device.queues,
        verdicts: device
            .verdicts
            .iter()
            .map(|(verdict, count)| ((*verdict).to_owned(), *count))
            .collect(),
    };
    report.devices.iter().map(device).collect()
}

/// The workers, each and together.
pub(crate) fn workers(report: &Report, taken: Taken) -> Workers {
    let worker = |worker| worker_view(worker, &report.devices);
    Workers {
        taken,
        workers: report.workers.iter().map(worker).collect(),
        totals: worker_totals(report),
        steering: steering::steering(report),
    }
}

/// The workers together.
pub(crate) fn worker_totals(report: &Report) -> WorkerTotals {
    let workers = || report.workers.iter();
    let sockets = || workers().flat_map(|worker| &worker.sockets);
    let mut drops = [0_u64; DropReason::COUNT];
    for worker in workers() {
        for (total, count) in drops.iter_mut().zip(worker.drops) {
            *total += count;
        }
    }
    WorkerTotals {
        count: report.workers.len() as u64,
        running: workers().filter(|worker| worker.running).count() as u64,
        huge_pages: workers().all(|worker| worker.page_size > 4096),
        rx_packets: sockets().map(|socket| socket.rx_packets).sum(),
        tx_packets: sockets().map(|socket| socket.tx_packets).sum(),
        dropped: drops.iter().sum(),
        drops: drop_counts(&drops),
        handled: handled_counts(workers().map(|worker| &worker.handled)),
        residence_ns: residence(workers().flat_map(|worker| &worker.residence)),
    }
}

fn worker_view(worker: &WorkerReport, devices: &[DeviceReport]) -> Worker {
    let sum = |count: fn(&SocketReport) -> u64| worker.sockets.iter().map(count).sum();
    Worker {
        worker: worker.worker.0,
        core: worker.core as u64,
        running: worker.running,
        rx_packets: sum(|socket| socket.rx_packets),
        rx_bytes: sum(|socket| socket.rx_bytes),
        tx_packets: sum(|socket| socket.tx_packets),
        tx_bytes: sum(|socket| socket.tx_bytes),
        dropped: worker.drops.iter().sum(),
        drops: drop_counts(&worker.drops),
        handled: handled_counts([&worker.handled]),
        batches: worker.batches,
        sleeps: worker.sleeps,
        busy_ns: worker.time.busy,
        idle_ns: worker.time.idle,
        asleep_ns: worker.time.asleep,
        residence_ns: residence(&worker.residence),
        residence_buckets: worker.residence.clone(),
        flows: worker.flows,
        frames: worker.frames,
        free_frames: worker.free_frames,
        page_size: worker.page_size as u64,
        commands_refused: worker.commands_refused,
        events_delayed: worker.events_delayed,
        sockets: worker
            .sockets
            .iter()
            .map(|socket| socket_view(socket, devices))
            .collect(),
    }
}

fn socket_view(socket: &SocketReport, devices: &[DeviceReport]) -> Socket {
    let (levels, depths) = (socket.levels, socket.binding.depths);
    let ring = |level, size| Ring { level, size };
    let device = devices.get(usize::from(socket.device.0));
    Socket {
        device: device.map_or_else(String::new, |device| device.name.clone()),
        queue: socket.queue.0,
        zero_copy: socket.binding.zero_copy,
        need_wakeup: socket.binding.need_wakeup,
        busy_poll: socket.binding.busy_poll,
        tx_budget: socket.binding.tx_budget,
        rx_packets: socket.rx_packets,
        rx_bytes: socket.rx_bytes,
        tx_packets: socket.tx_packets,
        tx_bytes: socket.tx_bytes,
        rx_ring: ring(levels.rx, depths.rx),
        rx_ring_max: socket.rx_level_max,
        tx_ring: ring(levels.tx, depths.tx),
        fill_ring: ring(levels.fill, depths.fill),
        xdp_statistics: XdpStatistics {
            rx_dropped: socket.kernel.rx_dropped,
            rx_ring_full: socket.kernel.rx_ring_full,
            rx_fill_ring_empty_descs: socket.kernel.fill_ring_empty,
            rx_invalid_descs: socket.kernel.rx_invalid_descriptors,
            tx_invalid_descs: socket.kernel.tx_invalid_descriptors,
            tx_ring_empty_descs: socket.kernel.tx_ring_empty,
        },
    }
}

fn drop_counts(drops: &[u64; DropReason::COUNT]) -> Counts {
    DropReason::ALL
        .iter()
        .map(|reason| (reason.name().to_owned(), drops[reason.index()]))
        .filter(|(_, count)| *count > 0)
        .collect()
}

fn handled_counts<'a>(handled: impl IntoIterator<Item = &'a HandledReport>) -> Counts {
    let mut counts = Counts::new();
    for worker in handled {
        let HandledReport {
            silenced,
            pressed,
            tapped,
            tap_lost,
            copied,
            injected,
            injections_refused,
            not_made,
        } = *worker;
        for (name, count) in [
            ("silenced", silenced),
            ("pressed", pressed),
            ("tapped", tapped),
            ("tap_lost", tap_lost),
            ("copied", copied),
            ("injected", injected),
            ("injections_refused", injections_refused),
            ("not_made", not_made),
        ] {
            if count > 0 {
                *counts.entry(name.to_owned()).or_default() += count;
            }
        }
    }
    counts
}

/// Quantiles of (nanoseconds, frames) pairs. Three significant digits: finer than the pairs' own buckets.
pub(crate) fn residence<'a>(buckets: impl IntoIterator<Item = &'a (u64, u64)>) -> Residence {
    let Ok(mut histogram) = Histogram::<u64>::new(3) else {
        return Residence::default();
    };
    for &(nanos, frames) in buckets {
        // It resizes itself, and so takes every value.
        let _ = histogram.record_n(nanos, frames);
    }
    if histogram.is_empty() {
        return Residence::default();
    }
    Residence {
        count: histogram.len(),
        p50: histogram.value_at_quantile(0.5),
        p99: histogram.value_at_quantile(0.99),
        max: histogram.max(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use contract::{DeviceId, QueueId, WorkerId};
    use dataplane::port::RingLevels;
    use dataplane::report::{Binding, KernelStatistics, ModeInForce, NumaPlaces, TimeSpent};

    fn socket(device: u16, queue: u32, packets: u64) -> SocketReport {
        SocketReport {
            device: DeviceId(device),
            queue: QueueId(queue),
            binding: Binding {
                need_wakeup: true,
                tx_budget: Some(256),
                depths: RingLevels {
                    rx: 64,
                    tx: 64,
                    fill: 128,
                },
                ..Binding::default()
            },
            rx_packets: packets,
            rx_bytes: packets * 214,
            tx_packets: packets / 2,
            tx_bytes: packets * 107,
            levels: RingLevels {
                rx: 5,
                tx: 6,
                fill: 7,
            },
            rx_level_max: 50,
            kernel: KernelStatistics {
                rx_ring_full: 3,
                ..KernelStatistics::default()
            },
        }
    }

    /// Two devices, two workers.
    pub(crate) fn report() -> Report {
        let mut drops = [0; DropReason::COUNT];
        drops[DropReason::WrongSource.index()] = 5;
        let worker = |number: u16, residence: Vec<(u64, u64)>, page_size| WorkerReport {
            worker: WorkerId(number),
            core: usize::from(number) + 1,
            numa: NumaPlaces::default(),
            running: number == 0,
            sockets: vec![
                socket(0, u32::from(number), 100),
                socket(1, u32::from(number), 50),
            ],
            drops,
            batches: 9,
            sleeps: 8,
            time: TimeSpent {
                busy: 1,
                idle: 2,
                asleep: 3,
            },
            residence,
            frames: 64,
            free_frames: 7,
            page_size,
            flows: 6,
            commands_refused: 2,
            events_delayed: 1,
            handled: HandledReport {
                copied: 4,
                ..HandledReport::default()
            },
        };
        let device = |name: &str| DeviceReport {
            name: name.to_owned(),
            driver: "veth".to_owned(),
            mode: ModeInForce::Copy,
            queues: 2,
            numa_node: None,
            steering: dataplane::settings::Steering::Best,
            families: Vec::new(),
            verdicts: vec![("redirect", 150)],
        };
        Report {
            devices: vec![device("in0"), device("out0")],
            workers: vec![
                worker(0, vec![(1_000, 99), (50_000, 1)], 4096),
                worker(1, vec![(2_000, 100)], 1 << 21),
            ],
        }
    }

    #[test]
    fn workers_sum_their_sockets_and_totals_sum_the_workers() {
        let view = workers(&report(), Taken::default());
        assert_eq!(view.workers[1].rx_packets, 150);
        assert_eq!(view.workers[1].tx_packets, 75);
        assert_eq!(view.workers[1].sockets[1].device, "out0");
        assert_eq!(view.workers[1].sockets[1].queue, 1);
        assert_eq!(view.workers[1].sockets[1].tx_budget, Some(256));
        assert_eq!(view.workers[1].sockets[1].xdp_statistics.rx_ring_full, 3);
        let socket = &view.workers[0].sockets[0];
        let ring = |level, size| Ring { level, size };
        assert_eq!((socket.rx_ring, socket.rx_ring_max), (ring(5, 64), 50));
        assert_eq!(
            (socket.tx_ring, socket.fill_ring),
            (ring(6, 64), ring(7, 128))
        );
        let worker = &view.workers[0];
        assert_eq!(
            (worker.busy_ns, worker.idle_ns, worker.asleep_ns),
            (1, 2, 3)
        );
        assert_eq!(view.totals.rx_packets, 300);
        assert_eq!(view.totals.tx_packets, 150);
        assert_eq!(view.totals.dropped, 10);
        let wrong_source = [("wrong_source".to_owned(), 10)];
        assert_eq!(view.totals.drops, wrong_source.into());
        assert_eq!(view.totals.handled, [("copied".to_owned(), 8)].into());
        assert_eq!((view.totals.count, view.totals.running), (2, 1));
        assert!(!view.totals.huge_pages, "one worker has small pages");
    }

    #[test]
    fn residence_is_merged_before_quantiles_are_taken() {
        let view = workers(&report(), Taken::default());
        let near = |nanos: u64, expected: u64| nanos.abs_diff(expected) <= expected / 500;
        assert_eq!(view.workers[0].residence_ns.count, 100);
        assert!(near(view.workers[0].residence_ns.p50, 1_000));
        assert!(near(view.workers[0].residence_ns.p99, 1_000));
        assert!(near(view.workers[0].residence_ns.max, 50_000));
        assert_eq!(view.totals.residence_ns.count, 200);
        assert!(near(view.totals.residence_ns.p50, 2_000));
        assert_eq!(residence(&[]), Residence::default());
        let buckets = [(1_000, 99), (50_000, 1)];
        assert_eq!(view.workers[0].residence_buckets, buckets);
    }

    #[test]
    fn free_ports_are_what_neither_carries_nor_rests() {
        let gauges = Gauges {
            ports_in_use: 40,
            ports_resting: 10,
            ..Gauges::default()
        };
        let view = media_counts(&gauges, &Counters::default(), 100);
        assert_eq!(view.ports_free, 50);
    }
}
