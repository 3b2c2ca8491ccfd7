//! The loop with real sockets and a plane that obeys at once.

use std::io::{Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use contract::{Command, DeviceId, DscpMarking, LatchPolicy};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::agent::Input;
use crate::settings::{Limits, Listener, MediaGroup, MediaGroupId, Route, Trunk, TrunkId};

/// A plane of one worker that sleeps until it is rung, and then carries out every command at once.
struct Obedient {
    bell: UnixStream,
    ringer: UnixStream,
    asleep: Vec<(WorkerId, Event)>,
    events: Vec<(WorkerId, Event)>,
    dead: Arc<AtomicBool>,
}

impl Obedient {
    fn new() -> Self {
        let (bell, ringer) = UnixStream::pair().expect("a pair of sockets");
        bell.set_nonblocking(true).expect("not blocking");
        Self {
            bell,
            ringer,
            asleep: Vec::new(),
            events: Vec::new(),
            dead: Arc::default(),
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
        self.asleep.push((worker, event));
        Ok(())
    }

    fn ring(&mut self) {
        if !self.asleep.is_empty() {
            self.events.append(&mut self.asleep);
            self.ringer.write_all(&[1]).expect("the bell hears");
        }
    }

    fn drain(&mut self, events: &mut Vec<(WorkerId, Event)>) {
        while self.bell.read(&mut [0; 64]).is_ok_and(|read| read > 0) {}
        events.append(&mut self.events);
    }

    fn doorbell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    fn dead_worker(&self) -> Option<WorkerId> {
        self.dead.load(Ordering::SeqCst).then_some(WorkerId(1))
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
    let listener =
        |(index, address): (usize, &SocketAddr)| Listener::new(format!("l{index}"), *address);
    Settings {
        listeners: addresses.iter().enumerate().map(listener).collect(),
        limits: Limits {
            calls: 10,
            transactions: 100,
            streams: 4,
            forks: 4,
        },
        media_timeout: None,
        ..Settings::default()
    }
}

fn setup() -> Setup {
    Setup {
        clock: Clock::since(Instant::now()),
        devices: Vec::new(),
    }
}

/// Binds and runs until `visit` has given the agent [`Input::Stop`]. Not by a signal: that would reach
/// the loops of all tests of the process.
fn run_until_stopped(settings: &Settings, visit: impl FnMut(&mut Agent, &Host, Timestamp)) {
    let server = Server::bind(settings, setup()).expect("the server starts");
    let mut agent = Agent::new(settings.clone(), 1, StdRng::seed_from_u64(7));
    let (bell, _ringer) = UnixStream::pair().expect("a pair of sockets");
    let mut guest = Visitor { bell, visit };
    let ended = server.run(&mut agent, &mut Obedient::new(), &mut guest);
    assert!(matches!(ended, Ok(Ended::Drained)), "{ended:?}");
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
fn datagrams_of_both_families_arrive_and_the_guest_is_visited_on_time() {
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
    run_until_stopped(&settings(&addresses), |agent, host, now| {
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
            agent.handle(Input::Stop, now);
        }
    });
    assert!(visits > 1, "the guest is visited again when it wants");
}

/// A SIP party on a UDP socket: what it receives, by the first line and the headers that a party
/// answers with.
struct Party {
    socket: UdpSocket,
}

impl Party {
    fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a loopback port");
        let patience = Some(Duration::from_secs(5));
        socket.set_read_timeout(patience).expect("a timeout");
        Self { socket }
    }

    fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("bound")
    }

    fn send(&self, to: SocketAddr, message: &str) {
        self.socket.send_to(message.as_bytes(), to).expect("sent");
    }

    /// The next message that begins like this; others (100, retransmissions) pass by.
    fn expect(&self, beginning: &str) -> String {
        let mut buffer = [0; 65_535];
        loop {
            let (length, _) = self
                .socket
                .recv_from(&mut buffer)
                .unwrap_or_else(|error| panic!("waiting for {beginning}: {error}"));
            let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if message.starts_with(beginning) {
                return message;
            }
        }
    }
}

fn header<'a>(message: &'a str, name: &str) -> &'a str {
    message
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        .unwrap_or_else(|| panic!("{name} in {message}"))
}

fn sdp(port: u16) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n"
    )
}

/// A 200 to `request`, by the party at `contact`.
fn ok(request: &str, contact: SocketAddr, body: &str) -> String {
    let vias: String = request
        .lines()
        .filter(|line| line.starts_with("Via: "))
        .map(|line| format!("{line}\r\n"))
        .collect();
    let to = header(request, "To");
    let tag = if to.contains(";tag=") {
        ""
    } else {
        ";tag=callee"
    };
    let kind = if body.is_empty() {
        ""
    } else {
        "Content-Type: application/sdp\r\n"
    };
    format!(
        "SIP/2.0 200 OK\r\n{vias}From: {}\r\nTo: {to}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
         Contact: <sip:callee@{contact}>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
        header(request, "From"),
        header(request, "Call-ID"),
        header(request, "CSeq"),
        body.len(),
    )
}

/// Calls the callee by way of `relay`, talks, and hangs up.
fn call(caller: &Party, callee: &Party, relay: SocketAddr) {
    let us = caller.address();
    let request = |method: &str, number: u32, branch: &str, to: &str, body: &str| {
        let kind = if body.is_empty() {
            ""
        } else {
            "Content-Type: application/sdp\r\n"
        };
        format!(
            "{method} sip:bob@{relay} SIP/2.0\r\nVia: SIP/2.0/UDP {us};branch=z9hG4bK{branch}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:alice@{us}>;tag=caller\r\nTo: {to}\r\n\
             Call-ID: loopback\r\nCSeq: {number} {method}\r\nContact: <sip:alice@{us}>\r\n\
             {kind}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let to = format!("<sip:bob@{relay}>");
    caller.send(relay, &request("INVITE", 1, "invite", &to, &sdp(40_000)));
    let invite = callee.expect("INVITE ");
    let media = |message: &str| {
        let line = message.lines().find(|line| line.starts_with("m=audio "));
        let port = line.and_then(|line| line.split(' ').nth(1)?.parse::<u16>().ok());
        port.unwrap_or_else(|| panic!("a port in {message}"))
    };
    assert!(
        (30_000..31_000).contains(&media(&invite)),
        "the relay's port"
    );
    callee.send(relay, &ok(&invite, callee.address(), &sdp(41_000)));
    let answer = caller.expect("SIP/2.0 200 ");
    assert!(
        (30_000..31_000).contains(&media(&answer)),
        "the relay's port"
    );
    let to = header(&answer, "To").to_owned();
    caller.send(relay, &request("ACK", 1, "ack", &to, ""));
    callee.expect("ACK ");
    caller.send(relay, &request("BYE", 2, "bye", &to, ""));
    let bye = callee.expect("BYE ");
    callee.send(relay, &ok(&bye, callee.address(), ""));
    caller.expect("SIP/2.0 200 ");
}

#[test]
fn a_call_over_loopback_is_set_up_and_ended_and_a_stop_drains_the_loop() {
    let (caller, callee) = (Party::new(), Party::new());
    let relay = free_port("127.0.0.1");
    let mut settings = settings(&[relay]);
    settings.media_groups = vec![MediaGroup {
        name: "media".to_owned(),
        device: DeviceId(0),
        addresses: vec![relay.ip()],
        advertised: Vec::new(),
        ports: (30_000, 30_999),
        latch: LatchPolicy::Sdp,
        dscp: DscpMarking::Preserve,
    }];
    let trunk = |name: &str, party: &Party| {
        Trunk::new(name, [party.address()], [ListenerId(0)], MediaGroupId(0))
    };
    settings.trunks = vec![trunk("callers", &caller), trunk("callees", &callee)];
    settings.routes = vec![Route::new(Some(TrunkId(0)), None, [TrunkId(1)])];
    // Not before somebody listens: the caller sends its INVITE once.
    let mut idle = Some((caller, callee));
    let mut parties = None;
    run_until_stopped(&settings, |agent, _, now| {
        if let Some((caller, callee)) = idle.take() {
            parties = Some(std::thread::spawn(move || call(&caller, &callee, relay)));
        }
        if let Some(over) = parties.take_if(|parties: &mut JoinHandle<()>| parties.is_finished()) {
            over.join().expect("the call goes as it should");
            agent.handle(Input::Stop, now);
        }
    });
    assert!(parties.is_none(), "the loop ended after the call");
}

#[test]
fn the_death_of_a_worker_ends_the_loop() {
    let server = Server::bind(&settings(&[]), setup()).expect("the server starts");
    let mut agent = Agent::new(settings(&[]), 2, StdRng::seed_from_u64(7));
    let (bell, _ringer) = UnixStream::pair().expect("a pair of sockets");
    let mut plane = Obedient::new();
    let dead = Arc::clone(&plane.dead);
    let mut ringer = plane.ringer.try_clone().expect("a second handle");
    let mut visits = 0;
    let visit = |agent: &mut Agent, _: &Host, _: Timestamp| {
        visits += 1;
        if visits == 3 {
            assert!(!agent.is_draining());
            dead.store(true, Ordering::SeqCst);
            ringer.write_all(&[1]).expect("the bell hears");
        }
    };
    let mut guest = Visitor { bell, visit };
    let ended = server.run(&mut agent, &mut plane, &mut guest);
    assert!(
        matches!(ended, Ok(Ended::WorkerDied(WorkerId(1)))),
        "{ended:?}"
    );
}
