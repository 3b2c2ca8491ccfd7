//! What a whole call costs the control plane, in time and in memory: INVITE to BYE on virtual time, with a plane
//! that obeys at once. No sockets, no kernel.
//!
//! ```sh
//! cargo bench -p tandem-benches --bench calls -- [CALLS [UP]]       how many calls, and how many up at a time
//! ```

use std::collections::VecDeque;
use std::fs;
use std::time::{Duration, Instant};

use contract::{Command, DeviceId, Event, Link, MacAddress, Timestamp, VlanTags};
use controlplane::agent::{Agent, Input, Output};
use controlplane::path::Path;
use controlplane::records::Measured;
use controlplane::settings::{
    Limits, Listener, ListenerId, MediaGroup, MediaGroupId, Route, Settings, Trunk, TrunkId,
};
use rand::SeedableRng;
use rand::rngs::StdRng;

/// The binary's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CALLER: &str = "10.1.0.2:5060";
const CALLEE: &str = "10.2.0.2:5060";
const WORKERS: usize = 2;
/// When nothing is left of a call: 64 T1 after its last message.
const FORGOTTEN: Duration = Duration::from_secs(40);
const SDP: &str = "v=0\r\no=x 1 1 IN IP4 10.1.0.2\r\ns=-\r\nc=IN IP4 10.1.0.2\r\nt=0 0\r\n\
    m=audio 6000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\na=ptime:20\r\n";

fn main() {
    // `cargo bench` adds --bench; without it this is a test, unoptimised, of whether it runs.
    let measured = std::env::args().any(|word| word == "--bench");
    let mut numbers = std::env::args().filter_map(|word| word.parse::<usize>().ok());
    let calls = numbers
        .next()
        .unwrap_or(if measured { 20_000 } else { 100 });
    let up = numbers.next().unwrap_or(calls.min(10_000));
    let mut world = World::new(calls + up);
    // The tables have grown, the allocator has its arenas.
    world.run(up.min(1_000));
    let before = resident_kb();
    for number in 0..up {
        world.begin(number);
    }
    let held = resident_kb();
    assert_eq!(world.agent.calls().len(), up);
    for number in 0..up {
        world.end(number);
    }
    let ended = resident_kb();
    world.pass(FORGOTTEN);
    // The allocator gives back what has been free for a while as it goes on.
    for _ in 0..10 {
        std::thread::sleep(Duration::from_millis(20));
        world.run(10);
    }
    let forgotten = resident_kb();
    let started = Instant::now();
    world.run(calls);
    let each = started.elapsed() / u32::try_from(calls.max(1)).unwrap_or(u32::MAX);
    let kb = |now: usize| now.saturating_sub(before) as f64 / up.max(1) as f64;
    println!(
        "a call: {:.1} us, {} messages in, {} out",
        each.as_secs_f64() * 1e6,
        world.heard / world.made,
        world.sent / world.made
    );
    println!(
        "memory a call, of {up}: {:.1} KB up, {:.1} KB just after, {:.1} KB when 64 T1 are over",
        kb(held),
        kb(ended),
        kb(forgotten)
    );
}

/// Both parties, and the plane between them.
struct World {
    agent: Agent,
    now: Timestamp,
    commands: VecDeque<Input>,
    /// What the agent has sent to either party since it was last looked at.
    mail: Vec<String>,
    /// The callee's INVITE and the caller's 200, by number of the call.
    dialogs: Vec<Option<(String, String)>>,
    made: usize,
    heard: usize,
    sent: usize,
}

impl World {
    fn new(room: usize) -> Self {
        let address = |text: &str| text.parse().expect("an address");
        let group = |name: &str, at: &str| {
            MediaGroup::new(
                name,
                DeviceId(0),
                [at.parse().expect("an address")],
                (10_000, 65_535),
            )
        };
        let trunk = |name: &str, peer: &str, listener: u16| {
            Trunk::new(
                name,
                [address(peer)],
                [ListenerId(listener)],
                MediaGroupId(listener),
            )
        };
        let mut settings = Settings {
            listeners: vec![
                Listener::new("outside", address("10.1.0.1:5060")),
                Listener::new("inside", address("10.2.0.1:5060")),
            ],
            media_groups: vec![group("outside", "10.1.0.1"), group("inside", "10.2.0.1")],
            trunks: vec![trunk("callers", CALLER, 0), trunk("callees", CALLEE, 1)],
            routes: vec![Route::new(None, None, [TrunkId(1)])],
            limits: Limits {
                calls: 1_000_000,
                transactions: 4_000_000,
                ..Limits::default()
            },
            media_timeout: None,
            port_rest: Duration::ZERO,
            ..Settings::default()
        };
        settings.overload.target = None;
        Self {
            agent: Agent::new(settings, WORKERS, StdRng::seed_from_u64(1)),
            now: Timestamp::ZERO + Duration::from_secs(1),
            commands: VecDeque::new(),
            mail: Vec::new(),
            dialogs: vec![None; room],
            made: 0,
            heard: 0,
            sent: 0,
        }
    }

    /// Calls one after the other, a thousand a second.
    fn run(&mut self, calls: usize) {
        for _ in 0..calls {
            self.begin(0);
            self.end(0);
            self.pass(Duration::from_millis(1));
        }
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(due) = self.settle().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.agent.handle(Input::Time, self.now);
        }
        self.now = until;
    }

    /// INVITE, 100, 180, 200, ACK.
    fn begin(&mut self, number: usize) {
        self.made += 1;
        let name = self.made;
        let invite = format!(
            "INVITE sip:4711@10.1.0.1:5060 SIP/2.0\r\nVia: SIP/2.0/UDP {CALLER};branch=z9hG4bK-{name}-0\r\n\
             From: <sip:caller@{CALLER}>;tag=c{name}\r\nTo: <sip:4711@10.1.0.1:5060>\r\nCall-ID: {name}-bench@10.1.0.2\r\n\
             CSeq: 1 INVITE\r\nContact: <sip:caller@{CALLER}>\r\nMax-Forwards: 70\r\n\
             Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{SDP}",
            SDP.len()
        );
        self.hear(0, CALLER, invite);
        let invite = self.take("INVITE ");
        let contact = format!("Contact: <sip:callee@{CALLEE}>\r\n");
        self.hear(1, CALLEE, answer(&invite, "180 Ringing", &contact, ""));
        self.hear(
            1,
            CALLEE,
            answer(
                &invite,
                "200 OK",
                &format!("{contact}Content-Type: application/sdp\r\n"),
                SDP,
            ),
        );
        let answered = self.take("SIP/2.0 200");
        let ack = self.request(&answered, "ACK", 1, name);
        self.hear(0, CALLER, ack);
        if let Some(dialog) = self.dialogs.get_mut(number) {
            *dialog = Some((format!("{name}"), answered));
        }
    }

    /// BYE of the caller, 200.
    fn end(&mut self, number: usize) {
        let dialog = self.dialogs.get_mut(number).and_then(Option::take);
        let (name, answered) = dialog.expect("the call is up");
        let bye = self.request(&answered, "BYE", 2, name.parse().expect("a number"));
        self.hear(0, CALLER, bye);
        let bye = self.take("BYE ");
        self.hear(1, CALLEE, answer(&bye, "200 OK", "", ""));
        self.mail.clear();
    }

    /// A request of the caller's within the dialog.
    fn request(&self, answered: &str, method: &str, cseq: u32, name: usize) -> String {
        let contact = line(answered, "Contact: ");
        let target = contact
            .trim_start_matches("Contact: <")
            .trim_end_matches('>');
        format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {CALLER};branch=z9hG4bK-{name}-{method}\r\n{}\r\n{}\r\n{}\r\n\
             CSeq: {cseq} {method}\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
            line(answered, "From: "),
            line(answered, "To: "),
            line(answered, "Call-ID: "),
        )
    }

    fn hear(&mut self, listener: u16, from: &str, text: String) {
        self.heard += 1;
        let datagram = Input::Datagram {
            path: Path::to(ListenerId(listener), from.parse().expect("an address")),
            bytes: text.into_bytes(),
        };
        self.agent.handle(datagram, self.now);
        self.settle();
    }

    /// What was sent and begins so.
    fn take(&mut self, beginning: &str) -> String {
        let place = self
            .mail
            .iter()
            .position(|text| text.starts_with(beginning));
        let text = place.map(|place| self.mail.swap_remove(place));
        self.mail.clear();
        text.unwrap_or_else(|| panic!("no {beginning}"))
    }

    /// Carries out what the agent wants, until it waits.
    fn settle(&mut self) -> Option<Timestamp> {
        loop {
            match self.agent.poll_output(self.now) {
                Output::Send { bytes, .. } => {
                    self.sent += 1;
                    self.mail.push(String::from_utf8_lossy(&bytes).into_owned());
                }
                Output::Command { worker, command } => {
                    let event = match command {
                        Command::Install(entry) => Event::Installed(entry.id),
                        Command::Update(entry) => Event::Updated(entry.id),
                        Command::Remove { id, .. } => Event::Removed(id),
                    };
                    self.commands.push_back(Input::Worker { worker, event });
                }
                Output::Resolve(query) => {
                    let answer = Some(Link {
                        device: DeviceId(0),
                        source: MacAddress([2, 0, 0, 0, 0, 1]),
                        destination: MacAddress([2, 0, 0, 0, 0, 2]),
                        vlan: VlanTags::None,
                        mtu: 1500,
                    });
                    self.commands.push_back(Input::NextHop { query, answer });
                }
                Output::Measure(flow) => {
                    let counted = Measured::default();
                    self.agent
                        .handle(Input::Measured { flow, counted }, self.now);
                }
                Output::Wait(until) => match self.commands.pop_front() {
                    Some(input) => self.agent.handle(input, self.now),
                    None => return until,
                },
                _ => {}
            }
        }
    }
}

/// The callee's response to a request.
fn answer(request: &str, status: &str, more: &str, body: &str) -> String {
    format!(
        "SIP/2.0 {status}\r\n{}\r\n{}\r\n{};tag=callee\r\n{}\r\n{}\r\n{more}Content-Length: {}\r\n\r\n{body}",
        line(request, "Via: "),
        line(request, "From: "),
        line(request, "To: ").trim_end_matches(";tag=callee"),
        line(request, "Call-ID: "),
        line(request, "CSeq: "),
        body.len()
    )
}

fn line<'a>(text: &'a str, beginning: &str) -> &'a str {
    let found = text.lines().find(|line| line.starts_with(beginning));
    found.expect("the header is there")
}

/// Resident memory of this process.
fn resident_kb() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number
        .and_then(|number| number.parse().ok())
        .expect("VmRSS")
}
