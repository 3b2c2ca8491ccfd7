//! The worker's loop over memory: commands and their refusals, full rings and mailboxes, idle flows, and
//! frames of which none is ever lost.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod support;

use std::time::Duration;

use contract::*;
use dataplane::mailbox::Refused;
use dataplane::settings::ReceivedChecksums;
use proptest::prelude::*;
use support::*;

fn entry(id: u64, port: u16) -> FlowEntry {
    FlowEntry {
        id: FlowId(id),
        key: key(&format!("10.0.0.1:{port}")),
        payload: Payload::Rtp,
        latch: latch(LatchPolicy::Sdp, Some("10.0.0.9:4000")),
        rtp: Some(egress(
            &format!("10.1.0.1:{port}"),
            Some("10.1.0.9:5000"),
            1,
        )),
        rtcp: None,
        idle_after: None,
        handling: contract::Handling::default(),
    }
}

fn packet(port: u16) -> Vec<u8> {
    let to = addr(&format!("10.0.0.1:{port}"));
    Datagram::new(addr("10.0.0.9:4000"), to, &rtp(1, 160)).bytes(Field::Right)
}

fn bench() -> Bench {
    Bench::new(ReceivedChecksums::MayBeUnfinished)
}

#[test]
fn every_refusal_has_its_reason() {
    let mut bench = Bench::sized(ReceivedChecksums::Finished, 2, 64);
    let mut refusal = |command| match bench.command(command) {
        Event::Refused(_, refusal) => refusal,
        other => panic!("{other:?}"),
    };
    let install = Command::Install;
    assert_eq!(refusal(install(entry(1, 19_999))), Refusal::UnknownKey);
    let mut elsewhere = entry(1, 20_000);
    elsewhere.key.address = [10, 9, 9, 9].into();
    assert_eq!(refusal(install(elsewhere)), Refusal::UnknownKey);
    let mut nothing = entry(1, 20_000);
    nothing.rtp = None;
    assert_eq!(refusal(install(nothing)), Refusal::Malformed);
    let mut families = entry(1, 20_000);
    families.rtp = Some(egress("10.1.0.1:20000", Some("[fd01::9]:5000"), 1));
    assert_eq!(refusal(install(families)), Refusal::Malformed);
    let mut marking = entry(1, 20_000);
    marking.rtp.as_mut().unwrap().dscp = DscpMarking::Set(64);
    assert_eq!(refusal(install(marking)), Refusal::Malformed);
    let mut device = entry(1, 20_000);
    device.rtp = Some(egress("10.1.0.1:20000", Some("10.1.0.9:5000"), 2));
    assert_eq!(refusal(install(device)), Refusal::UnknownDevice);
    assert_eq!(
        refusal(Command::Update(entry(1, 20_000))),
        Refusal::UnknownFlow
    );
    let remove = |id| Command::Remove {
        id: FlowId(id),
        key: key("10.0.0.1:20000"),
    };
    assert_eq!(refusal(remove(1)), Refusal::UnknownFlow);
    bench.install(entry(1, 20_000));
    bench.install(entry(2, 20_002));
    let mut refusal = |command| match bench.command(command) {
        Event::Refused(_, refusal) => refusal,
        other => panic!("{other:?}"),
    };
    assert_eq!(refusal(install(entry(3, 20_000))), Refusal::KeyTaken);
    assert_eq!(refusal(install(entry(3, 20_004))), Refusal::TableFull);
    assert_eq!(refusal(remove(3)), Refusal::UnknownFlow);
    assert_eq!(
        refusal(Command::Update(entry(3, 20_000))),
        Refusal::UnknownFlow
    );
    // None of it changed anything.
    assert_eq!(bench.send(0, &packet(20_000)).len(), 1);
    assert_eq!(bench.command(remove(1)), Event::Removed(FlowId(1)));
    assert_eq!(bench.dropped(0, &packet(20_000)), DropReason::NoFlow);
    bench.install(entry(4, 20_004));
    assert_eq!(bench.send(0, &packet(20_004)).len(), 1);
}

#[test]
fn what_is_unknown_or_too_big_is_dropped_for_that() {
    let mut bench = bench();
    let mut silent = entry(1, 20_000);
    silent.rtp = Some(egress("10.1.0.1:20000", None, 1));
    bench.install(silent);
    assert_eq!(bench.dropped(0, &packet(20_000)), DropReason::NoDestination);
    silent.rtp.as_mut().unwrap().destination = Some(addr("10.1.0.9:5000"));
    bench.update(silent);
    assert_eq!(bench.dropped(0, &packet(20_000)), DropReason::NoNextHop);
    silent.rtp.as_mut().unwrap().link = Some(Link {
        mtu: 199,
        ..link(1)
    });
    bench.update(silent);
    assert_eq!(bench.dropped(0, &packet(20_000)), DropReason::TooBig);
    silent.rtp.as_mut().unwrap().link = Some(Link {
        mtu: 200,
        ..link(1)
    });
    bench.update(silent);
    assert_eq!(bench.send(0, &packet(20_000)).len(), 1);
    bench.assert_conserved();
}

#[test]
fn idleness_is_said_once_and_its_end_too() {
    let mut bench = bench();
    let mut watched = entry(1, 20_000);
    watched.idle_after = Some(Duration::from_secs(5));
    bench.install(watched);
    bench.install(entry(2, 20_002)); // may be silent for ever
    let pass = |bench: &mut Bench, millis: u64| {
        for _ in 0..millis / 50 {
            bench.now = bench.now + Duration::from_millis(50);
            bench.poll();
        }
        bench.events()
    };
    assert_eq!(pass(&mut bench, 4_950), []);
    assert_eq!(pass(&mut bench, 500), [Event::Idle(FlowId(1))]);
    assert_eq!(pass(&mut bench, 20_000), []);
    // What the latch rejects does not count as life.
    let stranger = Datagram::new(addr("10.0.0.8:1"), addr("10.0.0.1:20000"), &rtp(1, 9));
    assert_eq!(
        bench.dropped(0, &stranger.bytes(Field::Right)),
        DropReason::WrongSource
    );
    assert_eq!(bench.events(), []);
    bench.send(0, &packet(20_000));
    assert_eq!(bench.events(), [Event::Active(FlowId(1))]);
    assert_eq!(pass(&mut bench, 4_950), []);
    // On hold nothing is expected; after it silence counts anew.
    let mut held = watched;
    held.idle_after = None;
    bench.update(held);
    assert_eq!(pass(&mut bench, 20_000), []);
    bench.update(watched);
    assert_eq!(pass(&mut bench, 4_950), []);
    assert_eq!(pass(&mut bench, 500), [Event::Idle(FlowId(1))]);
}

#[test]
fn an_update_says_again_what_it_leaves_idle_and_arming_counts_anew() {
    let mut bench = bench();
    let mut watched = entry(1, 20_000);
    watched.idle_after = Some(Duration::from_secs(5));
    bench.install(watched);
    let pass = |bench: &mut Bench, millis: u64| {
        for _ in 0..millis / 50 {
            bench.now = bench.now + Duration::from_millis(50);
            bench.poll();
        }
        bench.events()
    };
    let (idle, active) = (Event::Idle(FlowId(1)), Event::Active(FlowId(1)));
    assert_eq!(pass(&mut bench, 5_500), [idle]);
    // Held and resumed before the worker was told: it only sees the entry that it has.
    assert_eq!(
        bench.command(Command::Update(watched)),
        Event::Updated(FlowId(1))
    );
    bench.poll();
    assert_eq!(bench.events(), [idle]);
    assert_eq!(pass(&mut bench, 10_000), []);
    watched.latch.armed += 1;
    assert_eq!(
        bench.command(Command::Update(watched)),
        Event::Updated(FlowId(1))
    );
    bench.poll();
    assert_eq!(bench.events(), [active]);
    assert_eq!(pass(&mut bench, 4_800), []);
    assert_eq!(pass(&mut bench, 500), [idle]);
}

#[test]
fn the_kernels_counters_are_published_and_never_go_back() {
    let mut bench = bench();
    for _ in 0..RING + 3 {
        bench.worker.port_mut().deliver(0, &packet(20_000));
    }
    let full = |bench: &mut Bench, told| {
        bench.worker.port_mut().statistics_told = told;
        bench.now = bench.now + Duration::from_millis(250);
        bench.poll();
        bench.shared.tally.sockets[0].kernel().rx_ring_full
    };
    assert_eq!(full(&mut bench, true), 3);
    assert_eq!(full(&mut bench, false), 3);
}

#[test]
fn levels_of_the_rings_and_what_time_went_to_are_published() {
    let mut bench = bench();
    let packet = packet(20_000);
    let tally = bench.shared.tally.clone();
    let levels = || tally.sockets[0].levels();
    for (packets, took) in [(60, 300), (5, 40), (0, 7)] {
        for _ in 0..packets {
            assert!(bench.worker.port_mut().deliver(0, &packet));
        }
        bench.poll();
        let (now, most) = levels();
        assert_eq!((now.rx, most), (packets, 60));
        assert_eq!((now.tx, now.fill), (0, 2 * RING as u32));
        bench.now = bench.now + Duration::from_nanos(took);
    }
    bench.poll();
    // The bench's first poll came after 1000 ns, and found nothing.
    let spent = (tally.busy.read(), tally.idle.read(), tally.asleep.read());
    assert_eq!(spent, (340, 1_000 + 7, 0));
}

#[test]
fn a_full_event_mailbox_delays_everything_and_loses_nothing() {
    let mut bench = Bench::sized(ReceivedChecksums::Finished, 8, 2);
    let learn = LatchPolicy::Learn {
        window: Duration::from_secs(10),
    };
    for id in 0..4 {
        let mut entry = entry(id, 20_000 + 2 * id as u16);
        entry.latch.policy = learn;
        entry.idle_after = Some(Duration::from_secs(1));
        bench.install(entry);
    }
    for id in 0..4 {
        bench.send(0, &packet(20_000 + 2 * id));
    }
    assert!(bench.shared.tally.events_delayed.read() > 0);
    // A command waits as long as there is no room for its acknowledgement.
    let _ = bench
        .shared
        .commands
        .push(Command::Install(entry(9, 20_100)))
        .unwrap();
    let _ = bench
        .shared
        .commands
        .push(Command::Install(entry(10, 20_102)))
        .unwrap();
    assert_eq!(
        bench
            .shared
            .commands
            .push(Command::Install(entry(11, 20_104))),
        Err(Refused)
    );
    bench.poll();
    assert_eq!(bench.dropped(0, &packet(20_100)), DropReason::NoFlow);
    let mut events = Vec::new();
    for _ in 0..10 {
        events.extend(bench.events());
        bench.poll();
    }
    let latched = events
        .iter()
        .filter(|event| matches!(event, Event::Latched { .. }));
    let mut flows: Vec<u64> = latched.map(|event| event.flow().0).collect();
    flows.sort_unstable();
    assert_eq!(flows, [0, 1, 2, 3]);
    assert!(events.contains(&Event::Installed(FlowId(9))));
    assert!(events.contains(&Event::Installed(FlowId(10))));
}

#[test]
fn a_full_tx_ring_drops_and_counts_and_keeps_every_frame() {
    let mut bench = bench();
    bench.install(entry(1, 20_000));
    bench.worker.port_mut().kick_budget = 0;
    for _ in 0..3 * RING {
        assert!(bench.worker.port_mut().deliver(0, &packet(20_000)));
        bench.poll();
    }
    let dropped = bench.shared.tally.drops()[DropReason::TxFull.index()];
    assert_eq!(dropped, 2 * RING as u64);
    bench.assert_conserved();
    bench.worker.port_mut().kick_budget = 32;
    while bench.poll().worked {}
    assert_eq!(bench.worker.port_mut().take_sent(1).len(), RING);
    assert_eq!(bench.shared.tally.sockets[1].tx_packets.read(), RING as u64);
    bench.assert_conserved();
}

#[test]
fn after_commands_alone_a_worker_does_not_look_for_frames() {
    let mut bench = bench();
    let install = Command::Install(entry(1, 20_000));
    let _ = bench.shared.commands.push(install).unwrap();
    let polled = bench.poll();
    assert_eq!((polled.worked, polled.relayed), (true, false));
    assert!(bench.worker.port_mut().deliver(0, &packet(20_000)));
    let polled = bench.poll();
    assert_eq!((polled.worked, polled.relayed), (true, true));
}

#[test]
fn a_batch_of_64_is_kicked_until_the_ring_is_empty() {
    let mut bench = bench();
    bench.install(entry(1, 20_000));
    for _ in 0..64 {
        assert!(bench.worker.port_mut().deliver(0, &packet(20_000)));
    }
    bench.poll();
    assert_eq!(bench.worker.port_mut().take_sent(1).len(), 64);
    assert_eq!(bench.shared.tally.batches.read(), 1);
    let residence = bench.shared.tally.residence.counts();
    assert_eq!(residence.iter().map(|(_, count)| count).sum::<u64>(), 64);
}

/// Polls once, on whatever was delivered before, and says how often that allocated.
fn allocations(bench: &mut Bench) -> u64 {
    bench.now = bench.now + Duration::from_millis(50);
    allocation_counter::measure(|| {
        bench.poll();
    })
    .count_total
}

#[test]
fn nothing_is_allocated_after_the_start() {
    let mut bench = bench();
    let mut learning = entry(1, 20_000);
    learning.latch.policy = LatchPolicy::Learn {
        window: Duration::from_secs(100),
    };
    learning.idle_after = Some(Duration::from_millis(300));
    let remove = Command::Remove {
        id: learning.id,
        key: learning.key,
    };
    // The twin keeps what it has sent, which allocates; its kernel is the only one that may.
    bench.worker.port_mut().kick_budget = 0;
    for round in 0..6 {
        bench.events();
        let commands = [
            Command::Install(learning),
            Command::Update(learning),
            remove,
        ];
        let _ = bench.shared.commands.push(commands[round % 3]).unwrap();
        for _ in 0..20 {
            for frame in [packet(20_000), packet(20_100), vec![0; 60]] {
                bench.worker.port_mut().deliver(0, &frame);
            }
        }
        let mut count = allocations(&mut bench);
        // Silence, until the sweep finds it.
        for _ in 0..10 {
            count += allocations(&mut bench);
        }
        assert_eq!(count, 0, "in round {round}");
    }
    let counted = bench.shared.tally.drops();
    for reason in [DropReason::NoFlow, DropReason::NotMedia, DropReason::TxFull] {
        assert!(counted[reason.index()] > 0, "{reason} was tried");
    }
    let control = allocation_counter::measure(|| drop(std::hint::black_box(vec![0_u8; 100])));
    assert_eq!(control.count_total, 1, "the counter counts");
}

#[derive(Clone, Debug)]
enum Step {
    Deliver(u16),
    Garbage(Vec<u8>),
    Poll,
    Stall,
    Flow(bool, u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..6_u16).prop_map(|flow| Step::Deliver(20_000 + 2 * flow)),
        2 => prop::collection::vec(any::<u8>(), 0..300).prop_map(Step::Garbage),
        3 => Just(Step::Poll),
        1 => Just(Step::Stall),
        2 => (any::<bool>(), 0..6_u16).prop_map(|(add, flow)| Step::Flow(add, 20_000 + 2 * flow)),
    ]
}

proptest! {
    #[test]
    fn no_frame_is_lost_and_every_packet_counted(steps in prop::collection::vec(step(), 1..400)) {
        let mut bench = bench();
        let mut delivered = 0;
        for step in steps {
            match step {
                Step::Deliver(port) => {
                    delivered += u64::from(bench.worker.port_mut().deliver(0, &packet(port)));
                }
                Step::Garbage(bytes) => {
                    delivered += u64::from(bench.worker.port_mut().deliver(0, &bytes));
                }
                Step::Poll => {
                    bench.poll();
                }
                Step::Stall => bench.worker.port_mut().kick_budget ^= 32,
                Step::Flow(add, port) => {
                    let entry = entry(u64::from(port), port);
                    let remove = Command::Remove { id: entry.id, key: entry.key };
                    let command = if add { Command::Install(entry) } else { remove };
                    bench.command(command);
                }
            }
            bench.assert_conserved();
        }
        bench.worker.port_mut().kick_budget = 32;
        while bench.poll().worked {}
        bench.assert_conserved();
        let sent = bench.worker.port_mut().take_sent(1).len() as u64;
        let dropped: u64 = bench.shared.tally.drops().iter().sum();
        prop_assert_eq!(sent + dropped, delivered);
        prop_assert_eq!(bench.shared.tally.sockets[0].rx_packets.read(), delivered);
    }
}
