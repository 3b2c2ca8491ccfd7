//! The whole dataplane over a real kernel: two devices, two queues, two workers, packets of kernel sockets
//! at both ends. Needs root.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod support;

use std::collections::HashSet;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use contract::*;
use dataplane::report::{ModeInForce, NumaPlaces};
use dataplane::settings::{
    Device, IdlePolicy, MediaAddress, ReceivedChecksums, Settings, Steering, Worker, XdpMode,
};
use dataplane::steering::arrivals::Knowledge;
use dataplane::{Dataplane, StartError};
use support::netns::{Netns, ip};
use support::{addr, key, rtp};

const FLOWS: u64 = 4;
const PARTIES: usize = 8;
const PACKETS: u16 = 60;

/// Local port and both parties' addresses of each kind of call: IPv4, IPv6, and the two bridges.
const KINDS: [(&str, &str, &str, &str); FLOWS as usize] = [
    ("10.0.0.1:20000", "10.0.0.2", "10.1.0.1:20000", "10.1.0.2"),
    ("[fd00::1]:20002", "fd00::2", "[fd01::1]:20002", "fd01::2"),
    ("10.0.0.1:20004", "10.0.0.2", "[fd01::1]:20004", "fd01::2"),
    ("[fd00::1]:20006", "fd00::2", "10.1.0.1:20006", "10.1.0.2"),
];

fn settings() -> Settings {
    let device = |name: &str| Device {
        name: name.into(),
        mode: XdpMode::Best,
        checksums: ReceivedChecksums::MayBeUnfinished,
        steering: Steering::Best,
    };
    let media = [
        (0, "10.0.0.1"),
        (0, "fd00::1"),
        (1, "10.1.0.1"),
        (1, "fd01::1"),
    ];
    let worker = |core| Worker {
        core,
        queues: vec![
            (DeviceId(0), QueueId(core as u32)),
            (DeviceId(1), QueueId(core as u32)),
        ],
    };
    Settings {
        devices: vec![device("in0"), device("out0")],
        media: media
            .map(|(device, address)| MediaAddress {
                device: DeviceId(device),
                address: address.parse().unwrap(),
                ports: (20_000, 20_999),
            })
            .into(),
        workers: vec![worker(0), worker(1)],
        idle: IdlePolicy::Adaptive {
            spin: Duration::from_micros(50),
        },
        busy_poll: None,
        flow_capacity: 64,
        mailbox_capacity: 64,
        frames: 4096,
        ring_size: 256,
    }
}

fn start(netns: &Netns, settings: &Settings) -> Result<Dataplane, StartError> {
    netns.run("r", || Dataplane::start(settings, Instant::now()))
}

/// A way to the party behind a device.
fn link(netns: &Netns, device: u16) -> Link {
    let (ours, side) = [("in0", "a"), ("out0", "b")][usize::from(device)];
    Link {
        device: DeviceId(device),
        source: netns.mac("r", ours),
        destination: netns.mac(side, "up0"),
        vlan: VlanTags::None,
        mtu: 1500,
    }
}

fn entry(
    id: u64,
    local: &str,
    latch: Latch,
    source: &str,
    to: SocketAddr,
    link: Link,
) -> FlowEntry {
    FlowEntry {
        id: FlowId(id),
        key: key(local),
        payload: Payload::Rtp,
        latch,
        rtp: Some(Egress {
            source: key(source),
            destination: Some(to),
            link: Some(link),
            dscp: DscpMarking::Set(46),
        }),
        rtcp: None,
        idle_after: None,
        handling: contract::Handling::default(),
    }
}

/// Submits to every worker and awaits every acknowledgement; other events are kept.
fn command(dataplane: &Dataplane, command: Command, others: &mut Vec<(WorkerId, Event)>) {
    for worker in 0..dataplane.workers() {
        dataplane.submit(WorkerId(worker as u16), command).unwrap();
    }
    let mut waiting = dataplane.workers();
    let deadline = Instant::now() + Duration::from_secs(5);
    while waiting > 0 {
        assert!(
            Instant::now() < deadline,
            "no acknowledgement of {command:?}"
        );
        let events = events_within(dataplane, Duration::from_millis(100));
        for (worker, event) in events {
            let acknowledged = matches!(
                event,
                Event::Installed(_) | Event::Updated(_) | Event::Removed(_)
            );
            if acknowledged && event.flow() == command.flow() {
                waiting -= 1;
            } else {
                others.push((worker, event));
            }
        }
    }
}

/// What comes before the timeout; returns with the first events.
fn events_within(dataplane: &Dataplane, timeout: Duration) -> Vec<(WorkerId, Event)> {
    af_xdp::wait([dataplane.doorbell()], Some(timeout)).unwrap();
    let mut events = Vec::new();
    dataplane.drain(&mut events);
    events
}

fn socket(netns: &Netns, side: &str, address: &str) -> UdpSocket {
    let address: std::net::IpAddr = address.parse().unwrap();
    let socket = netns.run(side, || UdpSocket::bind((address, 0)).unwrap());
    socket
        .set_read_timeout(Some(Duration::from_secs(2)))
        .unwrap();
    socket
}

/// Receives until nothing comes any more: (payload, sender), in order.
fn receive_all(socket: &UdpSocket, expected: usize) -> Vec<(Vec<u8>, SocketAddr)> {
    let mut received = Vec::new();
    let mut buffer = [0; 2048];
    while let Ok((len, from)) = socket.recv_from(&mut buffer) {
        received.push((buffer[..len].to_vec(), from));
        if received.len() == expected {
            // Whatever comes on top would be a duplicate.
            socket
                .set_read_timeout(Some(Duration::from_millis(50)))
                .unwrap();
        }
    }
    received
}

#[test]
fn both_ways_over_both_queues_for_both_families_and_between_them() {
    let netns = Netns::new();
    let dataplane = start(&netns, &settings()).unwrap();
    let mut others = Vec::new();
    let off = |signalled: SocketAddr| Latch {
        policy: LatchPolicy::Off,
        signalled: Some(signalled),
        latched: None,
        armed: 1,
    };
    let mut sent = 0;
    for (id, (inside, a, outside, b)) in KINDS.into_iter().enumerate() {
        // Several parties on the one flow, so that its packets arrive on both queues.
        let parties: Vec<_> = (0..PARTIES).map(|_| socket(&netns, "a", a)).collect();
        let callee = socket(&netns, "b", b);
        let first = parties[0].local_addr().unwrap();
        let (a_id, b_id) = (2 * id as u64, 2 * id as u64 + 1);
        let to_b = callee.local_addr().unwrap();
        let facing_a = entry(a_id, inside, off(first), outside, to_b, link(&netns, 1));
        let facing_b = entry(b_id, outside, off(to_b), inside, first, link(&netns, 0));
        command(&dataplane, Command::Install(facing_a), &mut others);
        command(&dataplane, Command::Install(facing_b), &mut others);
        let expected: HashSet<Vec<u8>> = (0..PACKETS)
            .flat_map(|sequence| (0..PARTIES).map(move |party| payload(sequence, party)))
            .collect();
        // Read while they come: a socket's buffer holds fewer than 200 of them.
        let received = std::thread::scope(|scope| {
            let receiver = scope.spawn(|| receive_all(&callee, expected.len()));
            for sequence in 0..PACKETS {
                for (index, party) in parties.iter().enumerate() {
                    party
                        .send_to(&payload(sequence, index), addr(inside))
                        .unwrap();
                }
                // Far below veth's ring of 256 at a time.
                std::thread::sleep(Duration::from_micros(500));
            }
            receiver.join().unwrap()
        });
        sent += expected.len();
        assert!(received.iter().all(|(_, from)| *from == addr(outside)));
        assert_eq!(received.len(), expected.len(), "all arrive, none twice");
        let payloads: HashSet<Vec<u8>> = received.into_iter().map(|(payload, _)| payload).collect();
        assert_eq!(payloads, expected, "unchanged");
        for sequence in 0..PACKETS {
            callee.send_to(&rtp(sequence, 160), addr(outside)).unwrap();
        }
        sent += usize::from(PACKETS);
        let back = receive_all(&parties[0], usize::from(PACKETS));
        let back: Vec<_> = back.into_iter().map(|(payload, _)| payload).collect();
        let all: Vec<_> = (0..PACKETS).map(|sequence| rtp(sequence, 160)).collect();
        assert_eq!(back, all, "one flow's packets keep their order");
    }
    check_report(&dataplane, sent as u64);
    assert_eq!(others, []);
    dataplane.stop();
}

/// A packet that tells its party and sequence.
fn payload(sequence: u16, party: usize) -> Vec<u8> {
    let mut payload = rtp(sequence, 148 + party);
    payload[8..12].copy_from_slice(&(party as u32).to_be_bytes());
    payload
}

fn check_report(dataplane: &Dataplane, sent: u64) {
    // The workers publish before they sleep.
    std::thread::sleep(Duration::from_millis(400));
    let report = dataplane.report();
    let mut redirected = 0;
    for device in &report.devices {
        assert_eq!(
            (device.driver.as_str(), device.mode),
            ("veth", ModeInForce::Copy)
        );
        assert_eq!(device.queues, 2);
        let names: Vec<_> = device.families.iter().map(|family| family.name).collect();
        assert_eq!(names, ["udp4", "udp6"]);
        for family in &device.families {
            // veth has no flow hash: said, and nothing hangs on it.
            assert_eq!(
                (&family.fields, family.knowledge),
                (&None, Knowledge::Unknown)
            );
            let why = family.why.as_deref();
            assert_eq!(why, Some("the driver cannot say what it hashes"));
            assert!(family.seen.flows > 0 && family.seen.at_home > 0);
            assert!(family.seen.at_home <= family.seen.packets);
        }
        let verdicts = &device.verdicts;
        redirected += verdicts
            .iter()
            .find(|(name, _)| *name == "redirected")
            .unwrap()
            .1;
    }
    assert_eq!(redirected, sent);
    let sockets = || report.workers.iter().flat_map(|worker| &worker.sockets);
    assert_eq!(sockets().map(|socket| socket.rx_packets).sum::<u64>(), sent);
    assert_eq!(sockets().map(|socket| socket.tx_packets).sum::<u64>(), sent);
    for worker in &report.workers {
        assert!(worker.running);
        assert!(
            worker.sockets[0].rx_packets > 0,
            "both queues of in0 were used"
        );
        assert_eq!(worker.drops.iter().sum::<u64>(), 0, "{:?}", worker.drops);
        assert!(worker.sleeps > 0, "nobody spins between the calls");
        let time = worker.time;
        assert!(
            time.asleep > time.busy && time.busy > 0 && time.idle > 0,
            "{time:?}"
        );
        assert_eq!(worker.flows, 2 * FLOWS);
        for socket in &worker.sockets {
            let binding = socket.binding;
            assert_eq!((binding.depths.rx, binding.depths.fill), (256, 512));
            assert_eq!((socket.levels.rx, socket.levels.tx), (0, 0));
            // In copy mode little more than the RX ring is kept there; before the first frames all was.
            assert!((256 + 128..=512).contains(&socket.levels.fill));
            assert_eq!(socket.rx_level_max > 0, socket.rx_packets > 0);
            assert!(binding.need_wakeup && !binding.zero_copy && !binding.busy_poll);
        }
        let everything_here = NumaPlaces {
            core: Some(0),
            umem: vec![0],
            tables: vec![0],
        };
        assert_eq!(worker.numa, everything_here, "on a machine of one node");
        // Every frame is free or in a fill ring.
        let levels = worker.sockets.iter().map(|socket| socket.levels.fill);
        assert_eq!(worker.free_frames + levels.sum::<u32>(), worker.frames);
        assert_eq!(
            worker.residence.iter().map(|(_, count)| count).sum::<u64>(),
            worker
                .sockets
                .iter()
                .map(|socket| socket.rx_packets)
                .sum::<u64>()
        );
    }
    let tallies = dataplane.flow_tally(key(KINDS[0].0));
    let packets: u64 = tallies.iter().map(|tally| tally.packets).sum();
    assert_eq!(packets, u64::from(PACKETS) * PARTIES as u64);
    assert_eq!(tallies.len(), 2);
}

#[test]
fn a_caller_behind_nat_is_learnt_on_whichever_queue_it_comes() {
    let netns = Netns::new();
    let dataplane = start(&netns, &settings()).unwrap();
    let (inside, a, outside, b) = KINDS[0];
    let (caller, stranger) = (socket(&netns, "a", a), socket(&netns, "a", a));
    let callee = socket(&netns, "b", b);
    let to_b = callee.local_addr().unwrap();
    let signalled = addr("192.168.1.2:4000");
    let learn = |signalled| Latch {
        policy: LatchPolicy::Learn {
            window: Duration::from_secs(10),
        },
        signalled: Some(signalled),
        latched: None,
        armed: 1,
    };
    let mut facing_a = entry(1, inside, learn(signalled), outside, to_b, link(&netns, 1));
    let mut facing_b = entry(2, outside, learn(to_b), inside, signalled, link(&netns, 0));
    facing_b.latch.policy = LatchPolicy::Sdp;
    let mut others = Vec::new();
    command(&dataplane, Command::Install(facing_a), &mut others);
    command(&dataplane, Command::Install(facing_b), &mut others);
    caller.send_to(&rtp(0, 160), addr(inside)).unwrap();
    assert_eq!(callee.recv(&mut [0; 2048]).unwrap(), 172);
    while others.is_empty() {
        others = events_within(&dataplane, Duration::from_secs(2));
    }
    let remote = caller.local_addr().unwrap();
    let next_hop = netns.mac("a", "up0");
    let latched = Event::Latched {
        flow: FlowId(1),
        armed: 1,
        remote,
        next_hop,
    };
    assert!(
        matches!(others[..], [(_, event)] if event == latched),
        "{others:?}"
    );
    // The control plane tells every worker.
    facing_a.latch.latched = Some(remote);
    facing_b.rtp.as_mut().unwrap().destination = Some(remote);
    command(&dataplane, Command::Update(facing_a), &mut others);
    command(&dataplane, Command::Update(facing_b), &mut others);
    for sequence in 0..10 {
        stranger.send_to(&rtp(sequence, 100), addr(inside)).unwrap();
        callee.send_to(&rtp(sequence, 160), addr(outside)).unwrap();
    }
    assert_eq!(receive_all(&caller, 10).len(), 10);
    callee
        .set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    assert!(
        callee.recv(&mut [0; 64]).is_err(),
        "nothing of the stranger gets through"
    );
    let wrong: u64 = dataplane
        .flow_tally(key(inside))
        .iter()
        .map(|tally| tally.wrong_source)
        .sum();
    assert_eq!(wrong, 10);
}

/// The sum of what comes within a second, or until there are so many.
fn acknowledgements(dataplane: &Dataplane, most: usize) -> usize {
    let deadline = Instant::now() + Duration::from_secs(1);
    let mut count = 0;
    while count < most && Instant::now() < deadline {
        let events = events_within(dataplane, Duration::from_millis(100));
        let installed = |(_, event): &&(WorkerId, Event)| matches!(event, Event::Installed(_));
        count += events.iter().filter(installed).count();
    }
    count
}

#[test]
fn a_sleeping_worker_hears_of_a_post_when_it_is_rung_or_there_are_many() {
    let netns = Netns::new();
    let dataplane = start(&netns, &settings()).unwrap();
    let (off, hop) = (support::latch(LatchPolicy::Off, None), link(&netns, 1));
    let post = |number: u64| {
        let local = format!("10.1.0.1:{}", 20_000 + 2 * number);
        let flow = entry(number, &local, off, KINDS[0].2, addr("10.1.0.2:9"), hop);
        dataplane.post(WorkerId(0), Command::Install(flow)).unwrap();
    };
    post(0);
    dataplane.ring();
    assert_eq!(acknowledgements(&dataplane, 1), 1);
    std::thread::sleep(Duration::from_millis(200));
    (1..=40).for_each(post);
    assert!(acknowledgements(&dataplane, 33) >= 33, "nobody has rung");
    dataplane.ring();
}

#[test]
fn silence_is_noticed_by_sleeping_workers() {
    let netns = Netns::new();
    let dataplane = start(&netns, &settings()).unwrap();
    let mut watched = entry(
        1,
        KINDS[0].0,
        support::latch(LatchPolicy::Off, None),
        KINDS[0].2,
        addr("10.1.0.2:9"),
        link(&netns, 1),
    );
    watched.idle_after = Some(Duration::from_millis(300));
    let began = Instant::now();
    let mut events = Vec::new();
    command(&dataplane, Command::Install(watched), &mut events);
    while events.len() < 2 {
        assert!(began.elapsed() < Duration::from_secs(3), "{events:?}");
        events.extend(events_within(&dataplane, Duration::from_secs(1)));
    }
    assert!(began.elapsed() >= Duration::from_millis(300));
    events.sort_by_key(|(worker, _)| *worker);
    let idle = |worker| (WorkerId(worker), Event::Idle(FlowId(1)));
    assert_eq!(events, [idle(0), idle(1)]);
}

#[test]
fn what_cannot_start_says_why_and_leaves_nothing_behind() {
    let netns = Netns::new();
    let refusal = |settings: &Settings| start(&netns, settings).unwrap_err().to_string();
    let mut wrong = settings();
    wrong.devices[1].name = "out7".into();
    assert!(refusal(&wrong).contains("no network device \"out7\""));
    let mut wrong = settings();
    wrong.workers[1].queues[1].1 = QueueId(7);
    assert!(
        refusal(&wrong).contains("out0 has no queue 7"),
        "{}",
        refusal(&wrong)
    );
    let mut wrong = settings();
    wrong.devices[0].mode = XdpMode::ZeroCopy;
    assert!(refusal(&wrong).contains("zero-copy"), "{}", refusal(&wrong));
    let mut wrong = settings();
    wrong.workers[1].core = 4_000;
    assert!(refusal(&wrong).contains("pin worker 1 to core 4000"));
    let mut wrong = settings();
    wrong.workers[1].queues.pop();
    assert!(refusal(&wrong).contains("worker 1 owns no queue of out0"));
    let mut wrong = settings();
    wrong.media[1].address = wrong.media[0].address;
    assert!(
        refusal(&wrong).contains("configured twice"),
        "{}",
        refusal(&wrong)
    );
    let first = start(&netns, &settings()).unwrap();
    assert!(
        refusal(&settings()).contains("another XDP program"),
        "{}",
        refusal(&settings())
    );
    drop(first);
    // The kernel takes sockets apart in the background.
    let deadline = Instant::now() + Duration::from_secs(5);
    while let Err(error) = start(&netns, &settings()) {
        assert!(Instant::now() < deadline, "{error}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_queue_of_another_process_is_named_in_every_mode_and_no_lower_rung_is_tried() {
    let netns = Netns::new();
    let config = af_xdp::UmemConfig {
        huge_pages: af_xdp::HugePages::Never,
        ..Default::default()
    };
    let mut umem = af_xdp::Umem::create(&config).unwrap();
    let _holder = netns.run("r", || {
        let device = af_xdp::Device::by_name("out0").unwrap();
        af_xdp::Socket::open(&device, 1, &mut umem, &Default::default()).unwrap()
    });
    for mode in [XdpMode::Best, XdpMode::Copy, XdpMode::Generic] {
        let mut taken = settings();
        taken
            .devices
            .iter_mut()
            .for_each(|device| device.mode = mode);
        let error = start(&netns, &taken).unwrap_err().to_string();
        assert!(error.contains("out0 queue 1 is taken"), "{error}");
    }
}

#[test]
fn stopped_amid_traffic_it_ends_and_starts_again_at_once() {
    let netns = Netns::new();
    let (inside, a, outside, b) = KINDS[0];
    let (caller, callee) = (socket(&netns, "a", a), socket(&netns, "b", b));
    let off = support::latch(LatchPolicy::Off, None);
    let to_b = callee.local_addr().unwrap();
    let facing_a = entry(1, inside, off, outside, to_b, link(&netns, 1));
    let talking = AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Not for ever, should an assertion fail below.
            for _ in 0..100_000 {
                if !talking.load(Ordering::Relaxed) {
                    break;
                }
                // Refused while the relay's kernel answers for the port.
                let _ = caller.send_to(&rtp(1, 160), addr(inside));
                std::thread::sleep(Duration::from_micros(200));
            }
        });
        for _ in 0..5 {
            let dataplane = start(&netns, &settings()).unwrap();
            command(&dataplane, Command::Install(facing_a), &mut Vec::new());
            callee.recv(&mut [0; 2048]).unwrap();
            let began = Instant::now();
            dataplane.stop();
            assert!(began.elapsed() < Duration::from_secs(2));
        }
        talking.store(false, Ordering::Relaxed);
    });
}

#[test]
fn a_device_that_cannot_be_steered_as_required_is_named() {
    let netns = Netns::new();
    let mut required = settings();
    required.devices[1].steering = Steering::Required;
    let error = start(&netns, &required).unwrap_err().to_string();
    assert_eq!(
        error,
        "out0 cannot be steered as required for udp4: the driver cannot say what it hashes"
    );
}

/// Pages that the calling thread has faulted in.
fn faults() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    let after_name = stat.rsplit_once(") ").unwrap().1;
    after_name.split(' ').nth(7).unwrap().parse().unwrap()
}

#[test]
fn what_a_worker_needs_is_first_touched_by_its_own_thread() {
    let netns = Netns::new();
    let mut large = settings();
    large.frames = 32_768;
    let (mut mine, mut running) = (0, None);
    netns.run("r", || {
        let before = faults();
        running = Some(Dataplane::start(&large, Instant::now()));
        mine = faults() - before;
    });
    let report = running.unwrap().unwrap().report();
    assert!(report.workers.iter().all(|worker| worker.running));
    // It reads the kernel's type information to load the programs: up to 9,000 pages were seen. The frames of one
    // worker alone are 16,384.
    assert!(mine < 16_384, "{mine} pages were touched by the starter");
}

#[test]
fn workers_that_are_to_poll_a_driver_that_cannot_be_polled_forward_and_say_so() {
    let netns = Netns::new();
    let mut polling = settings();
    polling.busy_poll = Some(Duration::from_micros(64));
    polling.idle = IdlePolicy::Spin;
    let dataplane = start(&netns, &polling).unwrap();
    let (inside, a, outside, b) = KINDS[1];
    let (caller, callee) = (socket(&netns, "a", a), socket(&netns, "b", b));
    let to_b = callee.local_addr().unwrap();
    let off = support::latch(LatchPolicy::Off, None);
    let facing_a = entry(1, inside, off, outside, to_b, link(&netns, 1));
    command(&dataplane, Command::Install(facing_a), &mut Vec::new());
    for sequence in 0..20 {
        caller.send_to(&rtp(sequence, 160), addr(inside)).unwrap();
    }
    assert_eq!(receive_all(&callee, 20).len(), 20);
    let report = dataplane.report();
    let mut sockets = report.workers.iter().flat_map(|worker| &worker.sockets);
    // veth tells nobody its NAPI, up to Linux 6.18 at least.
    assert!(sockets.all(|socket| !socket.binding.busy_poll));
    assert!(
        report
            .workers
            .iter()
            .all(|worker| worker.sleeps == 0 && worker.time.asleep == 0),
        "they spin"
    );
}

#[test]
fn generic_mode_is_reported_as_such_and_forwards() {
    let netns = Netns::new();
    let mut generic = settings();
    for device in &mut generic.devices {
        device.mode = XdpMode::Generic;
    }
    let dataplane = start(&netns, &generic).unwrap();
    let modes: Vec<_> = dataplane
        .report()
        .devices
        .iter()
        .map(|device| device.mode)
        .collect();
    assert_eq!(modes, [ModeInForce::Generic; 2]);
    let (inside, a, outside, b) = KINDS[2];
    let (caller, callee) = (socket(&netns, "a", a), socket(&netns, "b", b));
    let to_b = callee.local_addr().unwrap();
    let facing_a = entry(
        1,
        inside,
        support::latch(LatchPolicy::Off, None),
        outside,
        to_b,
        link(&netns, 1),
    );
    command(&dataplane, Command::Install(facing_a), &mut Vec::new());
    for sequence in 0..20 {
        caller.send_to(&rtp(sequence, 160), addr(inside)).unwrap();
    }
    assert_eq!(receive_all(&callee, 20).len(), 20);
}

#[test]
fn a_device_that_goes_down_and_up_again_goes_on() {
    let netns = Netns::new();
    let dataplane = start(&netns, &settings()).unwrap();
    let (inside, a, outside, b) = KINDS[0];
    let (caller, callee) = (socket(&netns, "a", a), socket(&netns, "b", b));
    let to_b = callee.local_addr().unwrap();
    let off = support::latch(LatchPolicy::Off, None);
    let facing_a = entry(1, inside, off, outside, to_b, link(&netns, 1));
    command(&dataplane, Command::Install(facing_a), &mut Vec::new());
    ip(&format!("-n {} link set out0 down", netns.of("r")));
    for sequence in 0..20 {
        caller.send_to(&rtp(sequence, 160), addr(inside)).unwrap();
    }
    std::thread::sleep(Duration::from_millis(300));
    ip(&format!("-n {} link set out0 up", netns.of("r")));
    let deadline = Instant::now() + Duration::from_secs(5);
    callee
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    loop {
        caller.send_to(&rtp(1000, 160), addr(inside)).unwrap();
        let mut buffer = [0; 2048];
        let mut fresh = false;
        while let Ok(len) = callee.recv(&mut buffer) {
            fresh |= buffer[..len] == rtp(1000, 160);
        }
        if fresh {
            break;
        }
        assert!(Instant::now() < deadline, "forwarding resumes");
    }
    assert!(
        dataplane
            .report()
            .workers
            .iter()
            .all(|worker| worker.running)
    );
}
