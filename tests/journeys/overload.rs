//! More than a worker can take: it drops at the ring, says how many, and is itself again at once.
//!
//! Every frame that reaches the relay's device is accounted for: received by the worker, or counted by the kernel
//! as one for which a ring had no room.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::lab::frames::Wire;
use crate::lab::network::Network;
use crate::lab::pair::Pair;
use crate::lab::relay::{Relay, Setup};
use crate::lab::turn::Turn;

/// Small, so that little is enough to fill it.
const RING: u64 = 64;
/// The worker's core.
const CORE: usize = 1;
/// In what time it is itself again.
const AT_ONCE: Duration = Duration::from_millis(10);
/// How often the worker fetches the kernel's counters (`STATISTICS_PERIOD`), and then some.
const A_WHILE: Duration = Duration::from_millis(600);

fn pair() -> Pair {
    let setup = Setup::default()
        .set("cores", &format!("[{CORE}]"))
        .under("[workers]", &format!("ring_size = {RING}"));
    Pair::on(Network::new(1), &setup)
}

/// What reached the relay's `in0`, and what became of it.
#[derive(Clone, Copy, Debug)]
struct Account {
    received: u64,
    ring_full: u64,
    /// For want of a frame: counted apart by the kernel.
    no_frame: u64,
}

impl Account {
    /// After the kernel's counters have been fetched.
    fn of(relay: &Relay) -> Self {
        thread::sleep(A_WHILE);
        let workers = relay.workers();
        Self {
            received: workers.received(),
            ring_full: workers.kernel_drops("rx_ring_full"),
            no_frame: workers.kernel_drops("rx_dropped"),
        }
    }

    fn since(self, before: Self) -> Self {
        Self {
            received: self.received - before.received,
            ring_full: self.ring_full - before.ring_full,
            no_frame: self.no_frame - before.no_frame,
        }
    }

    fn dropped(self) -> u64 {
        self.ring_full + self.no_frame
    }
}

#[test]
fn a_stalled_worker_loses_what_its_ring_does_not_hold_and_no_more() {
    const SENT: u64 = 1_000;
    let _turn = Turn::alone();
    let mut pair = pair();
    let (call, mut parties) = pair.call(30_000);
    Pair::assert_audio(&mut parties);
    let before = Account::of(&pair.relay);

    pair.relay.pause();
    for _ in 0..SENT {
        parties[0].speak();
    }
    pair.relay.signal(Signal::CONT);
    // No longer than it takes to be scheduled.
    thread::sleep(AT_ONCE);
    Pair::assert_audio(&mut parties);
    let account = Account::of(&pair.relay).since(before);
    // What waited in the ring was relayed, and counted there: one second of audio each way came after it.
    assert_eq!(
        account.received + account.dropped(),
        SENT + 2 * 50,
        "{account:?}"
    );
    assert_eq!(account.received, RING + 2 * 50, "{account:?}");
    assert_eq!(pair.relay.workers().dropped(), 0);
    pair.finish(call);
}

#[test]
fn a_worker_that_is_too_slow_counts_every_frame_and_recovers_at_once() {
    const LENGTH: Duration = Duration::from_secs(2);
    let _turn = Turn::alone();
    let mut pair = pair();
    let (call, mut parties) = pair.call(30_000);
    Pair::assert_audio(&mut parties);
    let before = Account::of(&pair.relay);

    let mut wire = Wire::open(&pair.network.caller, &pair.network.relay, "in0");
    let frame = wire.udp(parties[0].address(), call.caller_sends_to, &[0x80; 172]);
    let over = AtomicBool::new(false);
    let mut sent = 0;
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| occupy(CORE, &over));
        }
        let end = Instant::now() + LENGTH;
        while Instant::now() < end {
            sent += u64::from(wire.send(&frame));
        }
        over.store(true, Ordering::Relaxed);
    });
    thread::sleep(AT_ONCE);
    // Or what was relayed of the flood would fill the socket.
    parties[1].listen();
    Pair::assert_audio(&mut parties);
    let account = Account::of(&pair.relay).since(before);
    assert!(account.dropped() > sent / 100, "{account:?} of {sent}");
    assert!(account.received > 2 * 50 + RING, "{account:?} of {sent}");
    assert_eq!(
        account.received + account.dropped(),
        sent + 2 * 50,
        "{account:?}"
    );
    pair.finish(call);
}

/// Takes its share of a core until it is over.
fn occupy(core: usize, over: &AtomicBool) {
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores).expect("the machine has this core");
    while !over.load(Ordering::Relaxed) {
        std::hint::spin_loop();
    }
}
