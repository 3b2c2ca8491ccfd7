//! Sockets on a real kernel, over veth pairs.

mod namespace;
mod small;

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use af_xdp::{
    AttachMode, BindMode, BusyPoll, Device, Error, Frame, Kick, Link, Program, RingSizes, Socket,
    SocketConfig, Statistics, Umem, Verdict, wait,
};
use namespace::{device, isolated, run, veth};
use small::{config, small_umem};

const MEDIA: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// Below the 256 entries between the two ends of a veth pair, which lose what exceeds them.
const BURST: u32 = 64;
const PATIENCE: Duration = Duration::from_secs(5);

/// A device whose media goes to sockets.
struct Port {
    device: Device,
    program: Program,
    _link: Link,
    sockets: Vec<Socket>,
}

impl Port {
    fn open(device: Device, queues: u32, umem: &mut Umem, config: &SocketConfig) -> Self {
        let mut program = Program::load().expect("loading needs root");
        program
            .set_media_range(IpAddr::V4(MEDIA), 20_000, 29_999)
            .expect("room in the map");
        let link = program
            .attach(&device, AttachMode::Native)
            .expect("veth has native XDP");
        let mut sockets = Vec::new();
        for queue in 0..queues {
            let socket = Socket::open(&device, queue, umem, config).expect("a socket");
            program.register(&socket).expect("a free slot");
            sockets.push(socket);
        }
        Self {
            device,
            program,
            _link: link,
            sockets,
        }
    }
}

/// A media packet that carries a number and its queue.
fn packet(queue: u32, number: u32) -> Vec<u8> {
    let mut frame = vec![0x02; 12];
    frame.extend([0x08, 0x00, 0x45, 0, 0, 36, 0, 0, 0x40, 0, 64, 17, 0, 0]);
    frame.extend([198, 51, 100, 7]);
    frame.extend(MEDIA.octets());
    frame.extend([0x9c, 0x40, 0x4e, 0x20, 0, 16, 0, 0]);
    frame.extend(queue.to_be_bytes());
    frame.extend(number.to_be_bytes());
    frame
}

fn send(umem: &mut Umem, socket: &mut Socket, numbers: std::ops::Range<u32>) {
    let mut batch = Vec::new();
    for number in numbers {
        let mut frame = umem.take_frame().expect("a free frame");
        let bytes = packet(socket.queue(), number);
        let start = frame.offset();
        umem.chunk_mut(&mut frame)[start..start + bytes.len()].copy_from_slice(&bytes);
        umem.set_packet(&mut frame, start, bytes.len());
        batch.push(frame);
    }
    let wanted = batch.len();
    assert_eq!(socket.transmit(&mut batch), wanted);
    drive(umem, socket);
}

/// Kicks until everything has left.
fn drive(umem: &mut Umem, socket: &mut Socket) {
    let start = Instant::now();
    while socket.tx_pending() > 0 {
        assert!(start.elapsed() < PATIENCE, "{:?}", socket.statistics());
        if socket.tx_needs_wakeup() {
            socket.kick().expect("a kick");
        }
        socket.reclaim(umem);
    }
}

/// Receives until `frames` has no more room.
fn receive(umem: &mut Umem, socket: &mut Socket, frames: &mut Vec<Frame>) {
    let start = Instant::now();
    while frames.len() < frames.capacity() {
        assert!(
            start.elapsed() < PATIENCE,
            "{} of {}: {:?}",
            frames.len(),
            frames.capacity(),
            socket.statistics()
        );
        wait([socket.as_fd()], Some(Duration::from_millis(100))).expect("poll");
        socket.receive(umem, frames);
        socket.refill(umem);
    }
}

/// Receives until `wanted` frames are here.
fn received(umem: &mut Umem, socket: &mut Socket, wanted: usize) -> Vec<Frame> {
    let mut frames = Vec::with_capacity(wanted);
    receive(umem, socket, &mut frames);
    frames
}

fn free(umem: &mut Umem, frames: Vec<Frame>) {
    frames.into_iter().for_each(|frame| umem.free_frame(frame));
}

#[test]
fn frames_cross_devices_and_queues_of_one_umem_without_loss() {
    const ROUNDS: u32 = 40;
    isolated(|| {
        let (left, relay_left) = veth("left", "rleft", 2);
        let (relay_right, right) = veth("rright", "right", 2);
        let (mut ends, mut relay) = (small_umem(), small_umem());
        let total = relay.free_count();
        let mut source = Port::open(left, 2, &mut ends, &config());
        let mut sink = Port::open(right, 2, &mut ends, &config());
        let mut ingress = Port::open(relay_left, 2, &mut relay, &config());
        let mut egress = Port::open(relay_right, 2, &mut relay, &config());
        for round in 0..ROUNDS {
            let numbers = round * BURST..(round + 1) * BURST;
            for queue in 0..2usize {
                send(&mut ends, &mut source.sockets[queue], numbers.clone());
                let socket = &mut ingress.sockets[queue];
                let out = &mut egress.sockets[queue];
                let mut frames = Vec::with_capacity(BURST as usize);
                let forwarding = allocation_counter::measure(|| {
                    receive(&mut relay, socket, &mut frames);
                    assert_eq!(out.transmit(&mut frames), BURST as usize);
                    drive(&mut relay, out);
                });
                assert_eq!(forwarding.count_total, 0, "forwarding allocates nothing");
                let arrived = received(&mut ends, &mut sink.sockets[queue], BURST as usize);
                for (frame, number) in arrived.iter().zip(numbers.clone()) {
                    assert_eq!(ends.packet(frame), packet(queue as u32, number));
                }
                free(&mut ends, arrived);
            }
        }
        let media = u64::from(2 * ROUNDS * BURST);
        for port in [&ingress, &sink] {
            let counts = port.program.verdicts().expect("counters");
            assert_eq!(
                counts.of(Verdict::Redirected),
                media,
                "{}",
                port.device.name()
            );
        }
        let mut filled = 0;
        for socket in ingress.sockets.iter_mut().chain(&mut egress.sockets) {
            socket.reclaim(&mut relay);
            socket.refill(&mut relay);
            filled += socket.levels().fill;
            assert!(socket.levels().fill >= socket.fill_depth());
            let statistics = Statistics {
                tx_ring_empty: 0,
                ..socket.statistics().expect("statistics")
            };
            assert_eq!(statistics, Statistics::default());
        }
        // What is on no fill ring is free again.
        assert_eq!(relay.free_count(), total - filled);
    });
}

#[test]
fn a_stalled_receiver_loses_what_exceeds_its_fill_ring_and_the_kernel_says_so() {
    isolated(|| {
        let (left, right) = veth("left", "right", 1);
        let (mut ends, mut stalled) = (small_umem(), small_umem());
        let mut source = Port::open(left, 1, &mut ends, &config());
        let shallow = SocketConfig {
            rings: RingSizes {
                fill: 128,
                ..RingSizes::balanced(256)
            },
            ..config()
        };
        let mut sink = Port::open(right, 1, &mut stalled, &shallow);
        for burst in 0..3 {
            send(
                &mut ends,
                &mut source.sockets[0],
                burst * BURST..(burst + 1) * BURST,
            );
            let start = Instant::now();
            while sink.program.verdicts().expect("counters").total()
                < u64::from((burst + 1) * BURST)
            {
                assert!(start.elapsed() < PATIENCE);
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        let socket = &mut sink.sockets[0];
        let start = Instant::now();
        // The program counts a frame just before it is lost.
        while socket.statistics().expect("statistics").fill_ring_empty < u64::from(BURST) {
            assert!(start.elapsed() < PATIENCE, "{:?}", socket.statistics());
        }
        assert_eq!(
            socket.statistics().expect("statistics").fill_ring_empty,
            u64::from(BURST)
        );
        let frames = received(&mut stalled, socket, 128);
        let last = packet(0, 127);
        assert_eq!(stalled.packet(&frames[127]), last);
        free(&mut stalled, frames);
    });
}

#[test]
fn one_kick_sends_as_much_as_the_budget_allows() {
    isolated(|| {
        let (left, _right) = veth("left", "right", 1);
        for (wanted, least) in [(None, 32), (Some(192), 192)] {
            let mut umem = small_umem();
            let config = SocketConfig {
                tx_budget: wanted,
                ..config()
            };
            let mut socket = Socket::open(&left, 0, &mut umem, &config).expect("a socket");
            let budget = socket.tx_budget();
            assert!(
                wanted.is_none() || budget == wanted || kernel_before(6, 17),
                "{budget:?}"
            );
            let mut batch: Vec<Frame> =
                std::iter::from_fn(|| umem.take_frame()).take(200).collect();
            for frame in &mut batch {
                let start = frame.offset();
                umem.set_packet(frame, start, 60);
            }
            assert_eq!(socket.transmit(&mut batch), 200);
            let kick = socket.kick().expect("a kick");
            let sent = 200 - socket.tx_pending();
            let expected = if budget.is_some() { least } else { 32 };
            assert_eq!((kick, sent), (Kick::Again, expected));
            drive(&mut umem, &mut socket);
        }
    });
}

fn kernel_before(major: u32, minor: u32) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("a release");
    let mut parts = release
        .split(['.', '-'])
        .map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) < (major, minor)
}

#[test]
fn a_ring_smaller_than_the_smallest_budget_has_none() {
    isolated(|| {
        let (left, _right) = veth("left", "right", 1);
        let mut umem = small_umem();
        let config = SocketConfig {
            rings: RingSizes::balanced(16),
            tx_budget: Some(64),
            ..config()
        };
        let socket = Socket::open(&left, 0, &mut umem, &config).expect("a socket");
        assert_eq!(socket.tx_budget(), None);
    });
}

#[test]
fn a_full_tx_ring_leaves_frames_with_their_owner() {
    isolated(|| {
        let (left, _right) = veth("left", "right", 1);
        let mut umem = small_umem();
        let mut socket = Socket::open(&left, 0, &mut umem, &config()).expect("a socket");
        let mut batch: Vec<Frame> = std::iter::from_fn(|| umem.take_frame()).take(300).collect();
        assert_eq!(socket.transmit(&mut batch), 256);
        assert_eq!(
            (batch.len(), umem.index_of(&batch[0])),
            (44, 256 + socket.fill_depth())
        );
        assert_eq!(socket.transmit(&mut batch), 0);
        free(&mut umem, batch);
    });
}

#[test]
fn a_successor_goes_on_where_its_predecessor_stopped() {
    isolated(|| {
        let (left, right) = veth("left", "right", 1);
        let mut ends = small_umem();
        let mut source = Port::open(left, 1, &mut ends, &config());
        let mut old = small_umem();
        let mut sink = Port::open(right.clone(), 1, &mut old, &config());
        let free_at_start = old.free_count();
        send(&mut ends, &mut source.sockets[0], 0..40);
        let first = received(&mut old, &mut sink.sockets[0], 40);
        free(&mut old, first);
        send(&mut ends, &mut source.sockets[0], 40..80);
        let socket_fd = owned(&sink.sockets[0]);
        let standby = Umem::adopt(owned(&old)).expect("a UMEM");
        sink.sockets.clear();
        old.release();
        send(&mut ends, &mut source.sockets[0], 80..100);

        let mut new = standby.claim().expect("released");
        let mut socket = Socket::adopt(socket_fd, &right, 0, &mut new).expect("a socket");
        assert_eq!(
            (socket.mode(), socket.rings()),
            (BindMode::Copy, config().rings)
        );
        let rest = received(&mut new, &mut socket, 60);
        for (frame, number) in rest.iter().zip(40..) {
            assert_eq!(new.packet(frame), packet(0, number));
        }
        let mut back = rest;
        assert_eq!(socket.transmit(&mut back), 60);
        drive(&mut new, &mut socket);
        socket.refill(&mut new);
        socket.reclaim(&mut new);
        assert!(socket.levels().fill >= socket.fill_depth());
        assert_eq!(new.free_count(), free_at_start);
        // A socket opened by the successor shares the adopted one's UMEM.
        let (other, _peer) = veth("third", "fourth", 1);
        let shared = Socket::open(&other, 0, &mut new, &config()).expect("a shared UMEM");
        assert_eq!(shared.mode(), BindMode::Copy);
    });
}

fn owned(thing: &impl AsFd) -> OwnedFd {
    thing
        .as_fd()
        .try_clone_to_owned()
        .expect("a second descriptor")
}

#[test]
fn what_is_no_socket_of_the_umem_is_not_adopted() {
    isolated(|| {
        let (left, _right) = veth("left", "right", 1);
        let mut umem = small_umem();
        let adopt = |umem: &mut Umem, fd| {
            let error = Socket::adopt(fd, &left, 0, umem).expect_err("not adoptable");
            assert!(matches!(error, Error::NotAdoptable(_)), "{error}");
        };
        let fd = owned(&umem);
        adopt(&mut umem, fd);
        let _socket = Socket::open(&left, 0, &mut umem, &config()).expect("a socket");
        let fd = owned(&umem);
        adopt(&mut umem, fd);
    });
}

#[test]
fn generic_mode_receives_too_and_a_dropped_link_detaches() {
    isolated(|| {
        let (left, right) = veth("left", "right", 1);
        let (mut ends, mut umem) = (small_umem(), small_umem());
        let mut source = Port::open(left, 1, &mut ends, &config());
        let mut program = Program::load().expect("loading needs root");
        program
            .set_media_range(IpAddr::V4(MEDIA), 20_000, 20_000)
            .expect("room");
        let link = program
            .attach(&right, AttachMode::Generic)
            .expect("any device");
        assert!(run("ip", "link show right").contains("xdpgeneric"));
        let mut socket = Socket::open(&right, 0, &mut umem, &config()).expect("a socket");
        program.register(&socket).expect("a free slot");
        send(&mut ends, &mut source.sockets[0], 0..10);
        let frames = received(&mut umem, &mut socket, 10);
        assert_eq!(umem.packet(&frames[9]), packet(0, 9));
        free(&mut umem, frames);
        drop(link);
        wait_until_detached("right");
    });
}

/// The kernel detaches from a work queue.
fn wait_until_detached(device: &str) {
    let start = Instant::now();
    while run("ip", &format!("link show {device}")).contains("xdp") {
        assert!(start.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn busy_polling_receives() {
    isolated(|| {
        let (left, right) = veth("left", "right", 1);
        let (mut ends, mut umem) = (small_umem(), small_umem());
        let mut source = Port::open(left, 1, &mut ends, &config());
        let busy = SocketConfig {
            busy_poll: Some(BusyPoll {
                usecs: 64,
                budget: 64,
                prefer: true,
            }),
            ..config()
        };
        let mut sink = Port::open(right, 1, &mut umem, &busy);
        send(&mut ends, &mut source.sockets[0], 0..10);
        let mut frames = Vec::with_capacity(10);
        let start = Instant::now();
        while frames.len() < 10 {
            assert!(start.elapsed() < PATIENCE);
            assert!(
                sink.sockets[0].rx_needs_wakeup(),
                "the driver is polled in the call"
            );
            sink.sockets[0].wake_rx().expect("a wakeup");
            sink.sockets[0].receive(&umem, &mut frames);
        }
        free(&mut umem, frames);
        assert!(sink.sockets[0].busy_polls() && !source.sockets[0].busy_polls());
        assert!(!source.sockets[0].rx_needs_wakeup(), "interrupts do");
    });
}

#[test]
fn pins_outlive_the_process_and_a_successor_swaps_the_program() {
    isolated(|| {
        let (left, right) = veth("left", "right", 1);
        let (mut ends, mut umem) = (small_umem(), small_umem());
        let mut source = Port::open(left, 1, &mut ends, &config());
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path();
        run("mount", &format!("-t bpf bpf {}", path.display()));

        let mut socket = Socket::open(&right, 0, &mut umem, &config()).expect("a socket");
        let mut old = Program::load().expect("loading needs root");
        old.set_media_range(IpAddr::V4(MEDIA), 20_000, 20_000)
            .expect("room");
        old.register(&socket).expect("a free slot");
        old.pin(path).expect("pinned");
        let link = old
            .attach(&right, AttachMode::Native)
            .expect("veth has native XDP");
        let pinned = link.pin(&path.join("link")).expect("pinned");
        assert_eq!(pinned.path(), path.join("link"));
        drop(old);

        let old = Program::from_pins(path).expect("pinned");
        send(&mut ends, &mut source.sockets[0], 0..10);
        free_received(&mut umem, &mut socket, 10);
        assert_eq!(
            old.verdicts().expect("counters").of(Verdict::Redirected),
            10
        );

        let mut new = Program::load().expect("loading needs root");
        new.set_media_range(IpAddr::V4(MEDIA), 20_000, 20_000)
            .expect("room");
        new.register(&socket).expect("a free slot");
        let link = Link::from_pin(&path.join("link")).expect("pinned");
        let link = new.replace(link).expect("replaced");
        send(&mut ends, &mut source.sockets[0], 10..20);
        free_received(&mut umem, &mut socket, 10);
        assert_eq!(
            old.verdicts().expect("counters").of(Verdict::Redirected),
            10
        );
        assert_eq!(
            new.verdicts().expect("counters").of(Verdict::Redirected),
            10
        );

        drop(link);
        assert!(
            run("ip", "link show right").contains("xdp"),
            "the pin holds it"
        );
        std::fs::remove_file(path.join("link")).expect("removed");
        wait_until_detached("right");
        run("umount", &path.display().to_string());
    });
}

fn free_received(umem: &mut Umem, socket: &mut Socket, wanted: usize) {
    let frames = received(umem, socket, wanted);
    free(umem, frames);
}

#[test]
fn a_device_is_described_in_the_threads_own_namespace() {
    isolated(|| {
        let (left, right) = veth("left", "right", 4);
        run("ip", "link set left mtu 1400 address 02:00:00:00:00:07");
        run("ip", "link set right down");
        let described = device("left");
        assert_eq!(
            (described.ifindex(), described.driver()),
            (left.ifindex(), "veth")
        );
        assert_eq!((described.rx_queues(), described.tx_queues()), (4, 4));
        assert_eq!(
            (described.mac(), described.mtu()),
            ([2, 0, 0, 0, 0, 7], 1400)
        );
        assert!(right.is_up() && !device("right").is_up());
    });
}
