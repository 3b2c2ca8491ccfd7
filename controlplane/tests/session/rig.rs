//! An engine with workers that do as the contract says, on virtual time.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use contract::{
    Command, DeviceId, DscpMarking, Event, FlowEntry, FlowKey, LatchPolicy, Link, MacAddress,
    Refusal, Timestamp, VlanTags, WorkerId,
};
use controlplane::installer::{NextHopQuery, Ticket, TicketFailure};
use controlplane::session::{
    Engine, EngineOutput, Family, LegSpec, Provisioning, Rewritten, SessionId, Side,
};
use controlplane::settings::{Limits, MediaGroup, MediaGroupId, Settings};
use rand::SeedableRng;
use rand::rngs::StdRng;

pub(crate) const MEDIA_TIMEOUT: Duration = Duration::from_secs(60);
pub(crate) const WINDOW: Duration = Duration::from_secs(10);

/// One worker's table, and the commands that it has not looked at yet.
#[derive(Default)]
pub(crate) struct Worker {
    pub(crate) flows: BTreeMap<FlowKey, FlowEntry>,
    pub(crate) mailbox: VecDeque<Command>,
    pub(crate) capacity: usize,
    pub(crate) mailbox_capacity: usize,
}

pub(crate) struct Rig {
    pub(crate) engine: Engine,
    pub(crate) now: Timestamp,
    pub(crate) workers: Vec<Worker>,
    /// Next hops that are watched.
    pub(crate) watched: Vec<NextHopQuery>,
    /// Answers to queries at once, unless told otherwise.
    pub(crate) resolves: bool,
    pub(crate) ready: Vec<Ticket>,
    pub(crate) failed: Vec<(Ticket, TicketFailure)>,
    pub(crate) timed_out: Vec<SessionId>,
    pub(crate) provisioned: Vec<(SessionId, Provisioning)>,
}

pub(crate) fn settings(ports: (u16, u16)) -> Settings {
    let group = |name: &str, addresses: [&str; 2]| MediaGroup {
        name: name.into(),
        device: DeviceId(0),
        addresses: addresses
            .iter()
            .map(|text| text.parse().expect("an address"))
            .collect(),
        advertised: Vec::new(),
        ports,
        latch: LatchPolicy::Learn { window: WINDOW },
        dscp: DscpMarking::Set(46),
    };
    Settings {
        media_groups: vec![
            group("inside", ["10.1.0.1", "fd01::1"]),
            group("outside", ["10.2.0.1", "fd02::1"]),
        ],
        limits: Limits {
            calls: 8,
            transactions: 100,
            streams: 4,
            forks: 4,
        },
        media_timeout: Some(MEDIA_TIMEOUT),
        ..Settings::default()
    }
}

pub(crate) fn leg(group: u16, family: Option<Family>) -> LegSpec {
    LegSpec {
        group: MediaGroupId(group),
        family,
        codecs: Default::default(),
    }
}

pub(crate) fn link(last: u8) -> Link {
    Link {
        device: DeviceId(0),
        source: MacAddress([2, 0, 0, 0, 0, 1]),
        destination: MacAddress([2, 0, 0, 0, 0, last]),
        vlan: VlanTags::None,
        mtu: 1500,
    }
}

/// An SDP with one line of media after another, under one `c=` line.
pub(crate) fn sdp(address: &str, media: &str) -> Vec<u8> {
    let address: IpAddr = address.parse().expect("an address");
    let family = if address.is_ipv6() { "IP6" } else { "IP4" };
    let media = media.replace('\n', "\r\n");
    format!(
        "v=0\r\no=user 1 1 IN {family} {address}\r\ns=-\r\nc=IN {family} {address}\r\nt=0 0\r\n{media}\r\n"
    )
    .into_bytes()
}

/// The ports of the `m=` lines of a body, and whether each is in use.
pub(crate) fn media_ports(body: &[u8]) -> Vec<u16> {
    let text = std::str::from_utf8(body).expect("UTF-8");
    let media = text.lines().filter(|line| line.starts_with("m="));
    let port = |line: &str| line.split(' ').nth(1)?.parse().ok();
    media.map(|line| port(line).expect("a port")).collect()
}

pub(crate) fn line<'a>(body: &'a [u8], start: &str) -> Option<&'a str> {
    let text = std::str::from_utf8(body).expect("UTF-8");
    text.lines().find(|line| line.starts_with(start))
}

pub(crate) fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

impl Worker {
    /// Carries out a command as `contract` says.
    pub(crate) fn carry_out(&mut self, command: Command) -> Event {
        let id = command.flow();
        match command {
            Command::Install(entry) => {
                if self.flows.contains_key(&entry.key) {
                    return Event::Refused(id, Refusal::KeyTaken);
                }
                if self.flows.len() >= self.capacity {
                    return Event::Refused(id, Refusal::TableFull);
                }
                self.check(&entry);
                self.flows.insert(entry.key, entry);
                Event::Installed(id)
            }
            Command::Update(entry) => match self.flows.get_mut(&entry.key) {
                Some(held) if held.id == id => {
                    *held = entry;
                    self.check(&entry);
                    Event::Updated(id)
                }
                _ => Event::Refused(id, Refusal::UnknownFlow),
            },
            Command::Remove { key, .. } => match self.flows.get(&key) {
                Some(held) if held.id == id => {
                    self.flows.remove(&key);
                    Event::Removed(id)
                }
                _ => Event::Refused(id, Refusal::UnknownFlow),
            },
        }
    }

    /// What a worker would refuse as malformed.
    fn check(&self, entry: &FlowEntry) {
        assert!(entry.rtp.is_some() || entry.rtcp.is_some(), "{entry:?}");
        for egress in [entry.rtp, entry.rtcp].into_iter().flatten() {
            let same = egress
                .destination
                .is_none_or(|to| to.is_ipv4() == egress.source.address.is_ipv4());
            assert!(same, "families differ: {egress:?}");
        }
        let latch = entry.latch;
        for remote in [latch.signalled, latch.latched].into_iter().flatten() {
            assert_eq!(remote.is_ipv4(), entry.key.address.is_ipv4(), "{entry:?}");
        }
    }
}

impl Rig {
    pub(crate) fn new(workers: usize) -> Self {
        Self::with(settings((20_000, 20_099)), workers, 1)
    }

    pub(crate) fn with(settings: Settings, workers: usize, seed: u64) -> Self {
        let worker = || Worker {
            capacity: 1_000,
            mailbox_capacity: 1_000,
            ..Worker::default()
        };
        Self {
            engine: Engine::new(&settings, workers, StdRng::seed_from_u64(seed)),
            now: Timestamp::from_nanos(1),
            workers: (0..workers).map(|_| worker()).collect(),
            watched: Vec::new(),
            resolves: true,
            ready: Vec::new(),
            failed: Vec::new(),
            timed_out: Vec::new(),
            provisioned: Vec::new(),
        }
    }

    /// Takes what the engine wants done; commands stay in the mailboxes.
    pub(crate) fn drain(&mut self) {
        while let Some(output) = self.engine.poll() {
            match output {
                EngineOutput::Command { worker, command } => {
                    let target = &mut self.workers[usize::from(worker.0)];
                    if target.mailbox.len() >= target.mailbox_capacity {
                        self.engine.command_rejected(self.now, worker, command);
                    } else {
                        target.mailbox.push_back(command);
                    }
                }
                EngineOutput::Resolve(query) => {
                    assert!(!self.watched.contains(&query), "asked twice: {query:?}");
                    self.watched.push(query);
                    if self.resolves {
                        self.engine
                            .next_hop_resolved(self.now, query, Some(link(9)));
                    }
                }
                EngineOutput::Forget(query) => {
                    let known = self.watched.iter().position(|other| *other == query);
                    self.watched.remove(known.expect("forgets what was asked"));
                }
                EngineOutput::Ready(ticket) => self.ready.push(ticket),
                EngineOutput::Failed(ticket, why) => self.failed.push((ticket, why)),
                EngineOutput::MediaTimeout(session) => self.timed_out.push(session),
                EngineOutput::Provisioned(session, what) => self.provisioned.push((session, what)),
            }
        }
    }

    /// One worker looks at one command.
    pub(crate) fn step(&mut self, index: usize) -> bool {
        let Some(command) = self.workers[index].mailbox.pop_front() else {
            return false;
        };
        let event = self.workers[index].carry_out(command);
        self.event(index, event);
        true
    }

    pub(crate) fn event(&mut self, index: usize, event: Event) {
        let worker = WorkerId(u16::try_from(index).expect("few workers"));
        self.engine.on_event(self.now, worker, event);
        self.drain();
    }

    /// Everything that needs no time.
    pub(crate) fn settle(&mut self) {
        self.drain();
        while (0..self.workers.len()).any(|index| self.step(index)) {}
    }

    /// Time passes, deadline by deadline.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(deadline) = self.engine.deadline().filter(|deadline| *deadline <= end) {
            self.now = deadline.max(self.now);
            self.engine.on_time(self.now);
            self.settle();
            assert!(
                self.engine.deadline() != Some(deadline),
                "a deadline that stays"
            );
        }
        self.now = end;
    }

    pub(crate) fn open(&mut self) -> SessionId {
        self.engine
            .open(self.now, leg(0, None), leg(1, None))
            .expect("room")
    }

    pub(crate) fn offer(&mut self, id: SessionId, from: Side, body: &[u8]) -> Vec<u8> {
        let rewritten = self
            .engine
            .offer(self.now, id, from, body)
            .expect("an offer");
        self.wait_for(rewritten)
    }

    pub(crate) fn answer(&mut self, id: SessionId, from: Side, body: &[u8]) -> Vec<u8> {
        let rewritten = self
            .engine
            .answer(self.now, id, from, body)
            .expect("an answer");
        self.wait_for(rewritten)
    }

    pub(crate) fn confirm(&mut self, id: SessionId) {
        self.engine.confirm(self.now, id).expect("answered");
        self.settle();
    }

    /// The body, once it may be sent.
    fn wait_for(&mut self, rewritten: Rewritten) -> Vec<u8> {
        self.settle();
        if let Some(ticket) = rewritten.ticket {
            assert!(self.ready.contains(&ticket), "not ready");
        }
        rewritten.sdp
    }

    /// The entry that every worker holds at this port.
    pub(crate) fn entry(&self, address: &str, port: u16) -> FlowEntry {
        let address = address.parse().expect("an address");
        let key = FlowKey { address, port };
        let entries: Vec<_> = self
            .workers
            .iter()
            .map(|worker| worker.flows.get(&key))
            .collect();
        assert!(
            entries.windows(2).all(|two| two[0] == two[1]),
            "workers differ: {entries:?}"
        );
        *entries[0].unwrap_or_else(|| panic!("no flow at {key}"))
    }

    pub(crate) fn flow_count(&self) -> usize {
        self.workers[0].flows.len()
    }

    /// Nothing is left but ports at rest.
    pub(crate) fn assert_clean(&mut self) {
        self.settle();
        let gauges = self.engine.gauges();
        assert_eq!(
            (
                gauges.sessions,
                gauges.flows,
                gauges.tickets,
                gauges.next_hops
            ),
            (0, 0, 0, 0)
        );
        assert!(
            self.watched.is_empty() && self.workers.iter().all(|worker| worker.flows.is_empty())
        );
        assert!(
            gauges.ports.iter().all(|ports| ports.in_use == 0),
            "{gauges:?}"
        );
        self.pass(Duration::from_secs(30));
        assert!(
            self.engine
                .gauges()
                .ports
                .iter()
                .all(|ports| ports.resting == 0)
        );
    }
}
