//! Pictures of the sample.

use super::super::picture::{CountedBy, Picture, Snapshot};
use super::super::sample::{self, snapshot};

const SECOND: u64 = 1_000_000_000;

fn between(before: &Snapshot, after: &Snapshot) -> Picture {
    Picture::between(before, after).expect("one process, and time passes")
}

#[test]
fn rates_are_over_the_time_between_the_answers_whatever_the_interval_was_meant_to_be() {
    let before = snapshot(10 * SECOND, 10);
    // The work of three seconds, in 2.5 by the answers' own clock.
    let after = snapshot(12 * SECOND + SECOND / 2, 13);
    let picture = between(&before, &after);
    assert_eq!(picture.interval_ns, 2_500_000_000);
    let traffic = picture.totals.traffic;
    assert_eq!((traffic.rx_packets, traffic.tx_packets), (120_000, 120_000));
    assert_eq!(traffic.rx_pps, 48_000.0);
    assert_eq!(traffic.rx_bps, 48_000.0 * 214.0 * 8.0);
    assert_eq!(picture.workers[1].traffic.tx_pps, 24_000.0);
    assert_eq!(picture.queues[0].traffic.rx_pps, 12_000.0);
    assert_eq!(picture.devices[1].traffic.rx_pps, 24_000.0);
    assert_eq!(picture.devices[1].kernel_pps, 3.6);
    let calls = &picture.calls;
    assert_eq!((calls.active, calls.offered, calls.answered), (100, 9, 6));
    assert_eq!((calls.failed, calls.ended), (3, 6));
    assert_eq!(calls.offered_per_second, 3.6);
}

#[test]
fn time_is_shared_between_busy_idle_and_asleep() {
    let cpu = sample::picture().workers[0].cpu.expect("it booked time");
    assert_eq!((cpu.busy, cpu.idle, cpu.asleep), (0.25, 0.5, 0.25));
    let still = snapshot(10 * SECOND, 10);
    let picture = between(&still, &snapshot(11 * SECOND, 10));
    assert_eq!(picture.workers[0].cpu, None);
}

#[test]
fn residence_is_that_of_the_interval_alone() {
    let mut before = snapshot(10 * SECOND, 10);
    let mut after = snapshot(11 * SECOND, 11);
    // A bad time long ago, which percentiles since the start would go on showing.
    let long_ago = (9_000_000, 1_000_000);
    before.workers.workers[0].residence_buckets.push(long_ago);
    after.workers.workers[0].residence_buckets.push(long_ago);
    let picture = between(&before, &after);
    let stayed = picture.workers[0].residence_ns;
    assert_eq!(stayed.count, 20_000);
    assert!(stayed.p50.abs_diff(1_500) < 10, "{stayed:?}");
    assert!(stayed.p99.abs_diff(40_000) < 100, "{stayed:?}");
    assert!(stayed.max.abs_diff(40_000) < 100, "{stayed:?}");
    assert_eq!(picture.totals.residence_ns.count, 40_000);
    let nothing = between(&before, &snapshot(11 * SECOND, 10));
    assert_eq!(nothing.totals.residence_ns.count, 0);
}

#[test]
fn drops_are_by_reason_the_worst_first_and_reasons_stay_when_they_are_over() {
    let mut before = snapshot(10 * SECOND, 10);
    let mut after = snapshot(12 * SECOND, 12);
    let drops = &mut after.workers.workers[1].drops;
    drops.insert("tx_full".to_owned(), 700);
    for (snapshot, times) in [(&mut before, 1), (&mut after, 3)] {
        let kernel = &mut snapshot.workers.workers[0].sockets[1].xdp_statistics;
        kernel.rx_ring_full = 1_000 * times;
        kernel.rx_dropped = 50 * times;
        kernel.rx_fill_ring_empty_descs = 50 * times;
        snapshot.workers.workers[0].sockets[0]
            .xdp_statistics
            .tx_invalid_descs = 4;
    }
    let picture = between(&before, &after);
    let drops: Vec<_> = picture
        .drops
        .iter()
        .map(|drop| (drop.reason.as_str(), drop.count, drop.since_start))
        .collect();
    assert_eq!(
        drops,
        [
            ("rx_ring_full", 2_000, 3_000),
            ("tx_full", 700, 700),
            ("rx_dropped", 100, 150),
            ("rx_fill_ring_empty_descs", 100, 150),
            ("wrong_source", 20, 120),
            ("tx_invalid_descs", 0, 4),
        ]
    );
    assert_eq!(picture.drops[0].per_second, 1_000.0);
    assert_eq!(picture.drops[0].counted_by, CountedBy::Kernel);
    assert_eq!(picture.drops[4].counted_by, CountedBy::Worker);
    let worker = &picture.workers[0];
    assert_eq!(worker.lost.dropped, 10);
    assert_eq!(worker.lost.ring_dropped, 2_100, "frames, not times");
    assert_eq!(picture.totals.lost.per_second(), 360.0 + 1_050.0);
    let queue = picture.queues.iter().find(|queue| queue.ring_dropped > 0);
    let queue = queue.expect("one queue lost frames");
    assert_eq!((queue.device.as_str(), queue.queue), ("out0", 0));
    assert_eq!(picture.devices[1].ring_dropped_per_second, 1_050.0);
}

#[test]
fn another_process_has_nothing_to_do_with_the_last_one() {
    let before = snapshot(10 * SECOND, 10);
    let mut after = snapshot(11 * SECOND, 1);
    after.workers.taken.started_unix_ms += 1;
    assert_eq!(
        Picture::between(&before, &after),
        None,
        "between the two questions"
    );
    after.status.taken.started_unix_ms += 1;
    assert_eq!(Picture::between(&before, &after), None);
    let mut other = snapshot(11 * SECOND, 11);
    other.status.pid += 1;
    assert_eq!(
        Picture::between(&before, &other),
        None,
        "in the same millisecond"
    );
    assert_eq!(
        Picture::between(&before, &before),
        None,
        "no time has passed"
    );
    assert_eq!(
        Picture::between(&before, &snapshot(9 * SECOND, 10)),
        None,
        "backwards"
    );
}

#[test]
fn a_counter_that_began_anew_counts_from_zero() {
    let before = snapshot(10 * SECOND, 10);
    let mut after = snapshot(11 * SECOND, 11);
    // As after its socket was bound again.
    after.workers.workers[0].sockets[0].rx_packets = 70;
    let picture = between(&before, &after);
    let queue = &picture.queues[0];
    assert_eq!((queue.device.as_str(), queue.queue), ("in0", 0));
    assert_eq!(queue.traffic.rx_packets, 70);
    assert_eq!(queue.traffic.tx_packets, 10_000, "the others go on");
}

#[test]
fn a_socket_that_was_not_there_counts_from_zero() {
    let mut before = snapshot(10 * SECOND, 10);
    before.workers.workers[1].sockets.pop();
    let after = snapshot(11 * SECOND, 11);
    let picture = between(&before, &after);
    let queue = picture.queues.last().expect("four queues");
    assert_eq!((queue.device.as_str(), queue.queue), ("out0", 1));
    assert_eq!(queue.traffic.rx_packets, 110_000);
}
