//! The loop with real sockets and a plane that obeys at once.

use std::io::{Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use contract::Command;
use rand::SeedableRng;
use rand::rngs::StdRng;
use signal_hook::consts::SIGINT;

use super::*;
use crate::settings::{Limits, Listener, SipTimers};

/// A plane of one worker that carries out every command at once.
struct Obedient {
    bell: UnixStream,
    ringer: UnixStream,
    events: Vec<(WorkerId, Event)>,
}

impl Obedient {
    fn new() -> Self {
        let (bell, ringer) = UnixStream::pair().expect("a pair of sockets");
        bell.set_nonblocking(true).expect("not blocking");
        Self {
            bell,
            ringer,
            events: Vec::new(),
        }
    }
}

impl Dataplane for Obedient {
    fn submit(&mut self, worker: WorkerId, command: Command) -> Result<(), MailboxFull> {
        let event = match command {
            Command::Install(entry) => Event::Installed(entry.id),
            Command::Update(entry) => Event::Updated(entry.id),
            Command::Remove { id, .. } => Event::Removed(id),
        };
        self.events.push((worker, event));
        self.ringer.write_all(&[1]).expect("the bell hears");
        Ok(())
    }

    fn drain(&mut self, events: &mut Vec<(WorkerId, Event)>) {
        while self.bell.read(&mut [0; 64]).is_ok_and(|read| read > 0) {}
        events.append(&mut self.events);
    }

    fn doorbell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

/// A guest that does one thing at each visit and asks to be visited again 5 ms later.
struct Visitor<F> {
    bell: UnixStream,
    visit: F,
}

impl<F: FnMut(&mut Agent, &Host, Timestamp)> Guest for Visitor<F> {
    fn doorbell(&self) -> RawFd {
        self.bell.as_raw_fd()
    }

    fn serve(&mut self, agent: &mut Agent, host: &Host, now: Timestamp) -> Option<Timestamp> {
        (self.visit)(agent, host, now);
        Some(now + Duration::from_millis(5))
    }
}

fn settings(addresses: &[SocketAddr]) -> Settings {
    let listener = |(index, address): (usize, &SocketAddr)| Listener {
        name: format!("l{index}"),
        address: *address,
    };
    Settings {
        server_name: "tandem".to_owned(),
        listeners: addresses.iter().enumerate().map(listener).collect(),
        media_groups: Vec::new(),
        trunks: Vec::new(),
        routes: Vec::new(),
        timers: SipTimers::default(),
        limits: Limits {
            calls: 10,
            transactions: 100,
            streams: 4,
            forks: 4,
        },
        media_timeout: None,
        port_rest: Duration::from_secs(30),
        no_answer: Duration::from_secs(180),
    }
}

fn setup() -> Setup {
    Setup {
        clock: Clock::since(Instant::now()),
        devices: Vec::new(),
        drain_timeout: Duration::from_secs(1),
    }
}

/// Binds and runs until `visit` has ended it by two SIGINTs.
fn run_until_interrupted(settings: &Settings, visit: impl FnMut(&mut Agent, &Host, Timestamp)) {
    let server = Server::bind(settings, setup()).expect("the server starts");
    let mut agent = Agent::new(settings.clone(), 1, StdRng::seed_from_u64(7));
    let (bell, _ringer) = UnixStream::pair().expect("a pair of sockets");
    let mut guest = Visitor { bell, visit };
    let ended = server.run(&mut agent, &mut Obedient::new(), &mut guest);
    assert!(
        matches!(ended, Ok(Ended::AtOnce | Ended::Drained)),
        "{ended:?}"
    );
}

fn start_error(address: &str) -> String {
    let address = address.parse().expect("an address");
    match Server::bind(&settings(&[address]), setup()) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("{address} cannot be listened on"),
    }
}

#[test]
fn a_port_in_use_or_an_address_elsewhere_is_one_clear_sentence() {
    let holder = UdpSocket::bind("127.0.0.1:0").expect("a loopback port");
    let taken = holder.local_addr().expect("bound");
    assert_eq!(
        start_error(&taken.to_string()),
        format!("listener l0: {taken} is in use by another process (`ss -ulnp` tells which)")
    );
    assert_eq!(
        start_error("192.0.2.55:5060"),
        "listener l0: 192.0.2.55:5060 is not an address of this host (`ip address` lists them)"
    );
    assert_eq!(
        start_error("[2001:db8::55]:5060"),
        "listener l0: [2001:db8::55]:5060 is not an address of this host (`ip address` lists them)"
    );
}

/// A loopback port that is free now.
fn free_port(host: &str) -> SocketAddr {
    let probe = UdpSocket::bind((host, 0)).expect("a loopback port");
    probe.local_addr().expect("bound")
}

#[test]
fn datagrams_of_both_families_arrive_and_two_interrupts_end_the_loop() {
    let addresses = [free_port("127.0.0.1"), free_port("::1")];
    let senders = addresses.map(|address| {
        let any = if address.is_ipv4() {
            "127.0.0.1:0"
        } else {
            "[::1]:0"
        };
        let sender = UdpSocket::bind(any).expect("a loopback port");
        sender.connect(address).expect("connected");
        sender
    });
    let mut visits = 0;
    // More than one turn takes from a listener.
    const BURST: u64 = 200;
    run_until_interrupted(&settings(&addresses), |_, host, now| {
        visits += 1;
        assert!(now < Timestamp::ZERO + Duration::from_secs(10), "in time");
        if visits == 1 {
            for sender in &senders {
                for _ in 0..BURST {
                    sender.send(b"\r\n\r\n").expect("sent");
                }
            }
        }
        let received = host.listeners().iter().all(|each| each.received == BURST);
        if received {
            signal_hook::low_level::raise(SIGINT).expect("raised");
        }
    });
    assert!(visits > 1, "the guest is visited again when it wants");
}
