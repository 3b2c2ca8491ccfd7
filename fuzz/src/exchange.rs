//! The whole control plane, and peers that go along with whatever it says to them: what it asks is answered, what it
//! answers is acknowledged, calls talk and end. So mutated messages meet calls in every state.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use contract::{
    Command, DeviceId, Event, Link, MacAddress, ServiceEvent, ServiceOrder, Timestamp, VlanTags,
    WorkerId,
};
use controlplane::agent::{Agent, Input, Output};
use controlplane::ng::{ControlId, ControlPath, Totals, Way, message};
use controlplane::path::Path;
use controlplane::settings::{
    ControlListener, Limits, Listener, ListenerId, MediaGroup, MediaGroupId, Ng, Refer, Route,
    Settings, Takeover, TransferPolicy, Trunk, TrunkId,
};
use controlplane::sip::{Header, HeaderName, Message, Method, StatusCode};
use rand::SeedableRng;
use rand::rngs::StdRng;

/// Where callers and callees are, and where we listen to each.
const CALLER: ([u8; 4], u16) = ([10, 1, 0, 2], 5060);
const CALLEE: ([u8; 4], u16) = ([10, 2, 0, 2], 5060);
const INSIDE: ([u8; 4], u16) = ([10, 1, 0, 1], 5060);
const OUTSIDE: ([u8; 4], u16) = ([10, 2, 0, 1], 5060);

/// A proxy, and where we listen to it.
const PROXY: ([u8; 4], u16) = ([10, 1, 0, 9], 40_000);
const CONTROL: ([u8; 4], u16) = ([10, 1, 0, 1], 2223);

/// What UDP over IPv4 takes.
const LARGEST_DATAGRAM: usize = 65_507;

/// How long a call of the second door may last: its peers never hang up by themselves.
const LONGEST_CONTROLLED: Duration = Duration::from_secs(250);

/// Replies of the peers that wait to be sent; more are forgotten, as by a network that is overloaded.
const MOST_REPLIES: usize = 64;

const ANSWER: &str = "v=0\r\no=- 1 1 IN IP4 10.2.0.2\r\ns=-\r\nc=IN IP4 10.2.0.2\r\nt=0 0\r\n\
    m=audio 6000 RTP/AVP 0 8\r\na=sendrecv\r\n";

/// A control plane among its peers, on virtual time.
#[derive(Debug)]
pub struct Exchange {
    agent: Agent,
    now: Timestamp,
    replies: VecDeque<(ListenerId, SocketAddr, Message)>,
    /// The dialogs of calls that were answered, as Replaces names them; the last few.
    dialogs: VecDeque<String>,
    /// How many calls were answered to somebody.
    heard: u32,
    /// How many orders the media services have got.
    ordered: u64,
    /// How many replies the second door has given.
    replied: u64,
}

impl Default for Exchange {
    fn default() -> Self {
        Self::new()
    }
}

impl Exchange {
    /// One in which nothing has happened.
    #[must_use]
    pub fn new() -> Self {
        Self {
            agent: Agent::new(settings(), 2, StdRng::seed_from_u64(3261)),
            now: Timestamp::ZERO,
            replies: VecDeque::new(),
            dialogs: VecDeque::new(),
            heard: 0,
            ordered: 0,
            replied: 0,
        }
    }

    /// A datagram from the caller's address, or the callee's.
    pub fn receive(&mut self, from_caller: bool, bytes: &[u8]) {
        let (listener, remote) = match from_caller {
            true => (ListenerId(0), CALLER.into()),
            false => (ListenerId(1), CALLEE.into()),
        };
        self.deliver(listener, remote, bytes.to_vec());
    }

    /// A datagram from a proxy, for the second door.
    pub fn ask(&mut self, bytes: &[u8]) {
        let path = ControlPath {
            listener: ControlId(0),
            remote: PROXY.into(),
            way: Way::Datagram {
                local: CONTROL.0.into(),
            },
        };
        let bytes = bytes.to_vec();
        self.agent.handle(Input::Control { path, bytes }, self.now);
        self.settle();
    }

    /// The next thing that a peer would say, changed by `with` on its way; false when it has nothing to say.
    pub fn reply(&mut self, with: impl FnOnce(Vec<u8>) -> Vec<u8>) -> bool {
        let Some((listener, remote, message)) = self.replies.pop_front() else {
            return false;
        };
        self.deliver(listener, remote, with(message.to_bytes()));
        true
    }

    /// Lets time pass.
    pub fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.settle().filter(|due| *due <= end) {
            self.now = due.max(self.now);
            self.agent.handle(Input::Time, self.now);
        }
        self.now = end;
        self.agent.handle(Input::Time, self.now);
        self.settle();
    }

    /// Ends every call, and forgets what the peers would say.
    pub fn hang_up(&mut self) {
        for call in self.agent.calls() {
            self.agent.handle(Input::HangUp(call.id), self.now);
            self.settle();
        }
        self.replies.clear();
    }

    /// Asserts that nothing is left of anything: no call, transaction, flow, port.
    pub fn assert_clean(&self) {
        let gauges = self.agent.gauges();
        let held = [
            gauges.calls,
            gauges.dialogs,
            gauges.transactions,
            gauges.owned,
            gauges.sessions,
            gauges.flows,
            gauges.ports_in_use,
        ];
        assert_eq!(held, [0; 7], "{gauges:?}");
        let gauges = self.agent.control_gauges();
        let held = [gauges.calls, gauges.dialogues, gauges.waiting];
        assert_eq!(held, [0; 3], "{gauges:?}");
    }

    /// How many transfers were begun, and how many of them made.
    #[must_use]
    pub fn transfers(&self) -> (u64, u64) {
        let counters = self.agent.counters();
        (counters.transfers_begun, counters.transfers_made)
    }

    /// How many calls the second door has begun, how many replies it has given, and how many orders to the media
    /// services.
    #[must_use]
    pub fn controlled(&self) -> (u64, u64, u64) {
        let calls = self.agent.control_counters().calls;
        (calls, self.replied, self.ordered)
    }

    /// How many calls were answered.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.agent.counters().calls_answered
    }

    fn deliver(&mut self, listener: ListenerId, remote: SocketAddr, bytes: Vec<u8>) {
        let datagram = Input::Datagram {
            path: Path::to(listener, remote),
            bytes,
        };
        self.agent.handle(datagram, self.now);
        self.settle();
    }

    /// Carries out what the agent wants; until when it waits.
    fn settle(&mut self) -> Option<Timestamp> {
        loop {
            match self.agent.poll_output(self.now) {
                Output::Wait(until) => return until,
                Output::Send {
                    path: Path {
                        listener, remote, ..
                    },
                    bytes,
                    ..
                } => {
                    let sent = || bytes.escape_ascii();
                    let message = Message::parse(&bytes).unwrap_or_else(|error| {
                        panic!("what we send is SIP: {:?} in {}", error.what, sent())
                    });
                    // A failure repeats what it is about, however broken that is.
                    if message.code().is_none_or(|code| !code.is_failure()) {
                        message.check().unwrap_or_else(|error| {
                            panic!("what we send is sound: {error:?} in {}", sent())
                        });
                    }
                    self.go_along(listener, remote, &message);
                }
                Output::Command { worker, command } => self.obey(worker, command),
                Output::Resolve(query) => {
                    let answer = Some(link());
                    self.agent
                        .handle(Input::NextHop { query, answer }, self.now);
                }
                Output::Measure(flow) => {
                    let measured = Input::Measured {
                        flow,
                        counted: Default::default(),
                    };
                    self.agent.handle(measured, self.now);
                }
                Output::Service(order) => self.serve(order),
                Output::Total(number) => {
                    let totals = Totals::default();
                    let totalled = Input::Totalled { number, totals };
                    self.agent.handle(totalled, self.now);
                }
                Output::Reply { path, bytes } => {
                    assert_eq!(path.remote, PROXY.into());
                    assert!(bytes.len() <= LARGEST_DATAGRAM, "{} bytes", bytes.len());
                    let reply = message::open(&bytes)
                        .unwrap_or_else(|error| panic!("what we reply can be read: {error:?}"));
                    assert!(reply.dictionary.get(b"result").is_some());
                    self.replied += 1;
                }
                _ => {}
            }
        }
    }

    fn obey(&mut self, worker: WorkerId, command: Command) {
        let flow = command.flow();
        let event = match command {
            Command::Install(_) => Event::Installed(flow),
            Command::Update(_) => Event::Updated(flow),
            Command::Remove { .. } => Event::Removed(flow),
        };
        self.agent.handle(Input::Worker { worker, event }, self.now);
    }

    /// The media services: every third order cannot be carried out.
    fn serve(&mut self, order: ServiceOrder) {
        self.ordered += 1;
        let event = match order {
            order if self.ordered.is_multiple_of(3) => order.refused("no room"),
            ServiceOrder::Record(recording) => Some(ServiceEvent::Recording {
                tap: recording.tap,
                file: "call.pcap".to_owned(),
            }),
            ServiceOrder::Play(playing) => Some(ServiceEvent::Playing {
                play: playing.play,
                duration: Duration::from_secs(1),
            }),
            ServiceOrder::StopPlaying(play) => Some(ServiceEvent::Played(play)),
            _ => None,
        };
        if let Some(event) = event {
            self.agent.handle(Input::Service(event), self.now);
        }
    }

    /// What the peer at `remote` would say to this.
    fn go_along(&mut self, listener: ListenerId, remote: SocketAddr, message: &Message) {
        let replies = match (message.method(), message.code()) {
            (Some(Method::Ack), _) => Vec::new(),
            (Some(method), _) => answers(method, message),
            (None, Some(code)) => self.acknowledgements(code, message),
            (None, None) => Vec::new(),
        };
        for reply in replies {
            if self.replies.len() < MOST_REPLIES {
                self.replies.push_back((listener, remote, reply));
            }
        }
    }
}

impl Exchange {
    /// ACK of a final response to an INVITE. After a 2xx also what the caller wants next: BYE, or before that a transfer,
    /// blind or to whom another call is with, or another's place in a call.
    fn acknowledgements(&mut self, code: StatusCode, response: &Message) -> Vec<Message> {
        let mut said = acknowledgements(code, response);
        if !code.is_success() || said.len() < 2 {
            return said;
        }
        self.heard = self.heard.wrapping_add(1);
        let other = self.dialogs.front().cloned();
        if let Some(own) = dialog_of(response) {
            self.dialogs.push_back(own);
            if self.dialogs.len() > 4 {
                self.dialogs.pop_front();
            }
        }
        let wish = match (self.heard % 4, other) {
            (1, _) => refer(&said, ""),
            (2, Some(dialog)) => {
                let escaped = dialog.replace(';', "%3B").replace('=', "%3D");
                refer(&said, &format!("?Replaces={}", escaped.replace('@', "%40")))
            }
            (3, Some(dialog)) => replacing(&dialog, self.heard),
            _ => None,
        };
        // What leaves a call in peace is not hung up on at once.
        if let Some(wish) = wish {
            said.truncate(1);
            said.push(wish);
        }
        said
    }
}

/// The name of the dialog that a 2xx has made, as whoever answered it is asked to replace it.
fn dialog_of(response: &Message) -> Option<String> {
    let (to, from) = (response.to().ok()?, response.from().ok()?);
    let call_id = response.call_id().ok()?;
    Some(format!(
        "{call_id};to-tag={};from-tag={}",
        to.tag()?,
        from.tag()?
    ))
}

/// REFER in the place of the BYE.
fn refer(said: &[Message], replaces: &str) -> Option<Message> {
    let bye = said.get(1)?;
    let mut refer = Message::request(Method::Refer, bye.uri()?.clone());
    for field in bye.headers.iter() {
        refer.headers.append(field.clone());
    }
    let number = bye.cseq().ok()?.number;
    refer
        .headers
        .set(HeaderName::CSeq, format!("{number} REFER"));
    let to = format!("<sip:4930@10.1.0.1{replaces}>");
    refer.headers.push(HeaderName::ReferTo, to);
    Some(refer)
}

/// An INVITE for the place of who has this dialog.
fn replacing(dialog: &str, number: u32) -> Option<Message> {
    let text = format!(
        "INVITE sip:4930@10.1.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.1.0.2:5060;branch=z9hG4bKnew{number}\r\n\
         From: <sip:new@10.1.0.2>;tag=new{number}\r\nTo: <sip:4930@10.1.0.1>\r\nCall-ID: new{number}\r\n\
         CSeq: 1 INVITE\r\nContact: <sip:new@10.1.0.2>\r\nMax-Forwards: 70\r\nReplaces: {dialog}\r\n\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{ANSWER}",
        ANSWER.len()
    );
    Message::parse(text.as_bytes()).ok()
}

fn answers(method: &Method, request: &Message) -> Vec<Message> {
    let mut ok = request.response(StatusCode::OK, Some("peer"));
    let contact = Header::new(HeaderName::Contact, "<sip:peer@10.2.0.2>");
    ok.headers.append(contact.clone());
    if matches!(method, Method::Invite | Method::Update) {
        ok.headers.push(HeaderName::ContentType, "application/sdp");
        ok.body = ANSWER.as_bytes().to_vec();
    }
    if *method != Method::Invite {
        return vec![ok];
    }
    let mut ringing = request.response(StatusCode::RINGING, Some("peer"));
    ringing.headers.append(contact);
    vec![ringing, ok]
}

/// ACK of a final response to an INVITE; after a 2xx also the BYE.
fn acknowledgements(code: StatusCode, response: &Message) -> Vec<Message> {
    let is_invite = response
        .cseq()
        .is_ok_and(|cseq| cseq.method == Method::Invite);
    if !is_invite || !code.is_final() {
        return Vec::new();
    }
    let in_dialog = |method: Method, number: u32, branch: &str| {
        let target = response.contact().ok()?.uri;
        let mut request = Message::request(method.clone(), target);
        let via = format!("SIP/2.0/UDP 10.1.0.2:5060;branch={branch}");
        request.headers.push(HeaderName::Via, via);
        for name in [HeaderName::From, HeaderName::To, HeaderName::CallId] {
            request
                .headers
                .append(response.headers.first(&name)?.clone());
        }
        request
            .headers
            .push(HeaderName::CSeq, format!("{number} {method}"));
        Some(request)
    };
    let Ok(cseq) = response.cseq() else {
        return Vec::new();
    };
    let branch = response.via().ok();
    let branch = branch.as_ref().and_then(|via| via.branch()).unwrap_or("x");
    let (ack, bye) = match code.is_success() {
        true => (
            in_dialog(Method::Ack, cseq.number, "z9hG4bKack"),
            in_dialog(
                Method::Bye,
                cseq.number.saturating_add(1),
                &format!("{branch}bye"),
            ),
        ),
        false => (in_dialog(Method::Ack, cseq.number, branch), None),
    };
    ack.into_iter().chain(bye).collect()
}

fn settings() -> Settings {
    let group = |name: &str, device, address: [u8; 4]| {
        MediaGroup::new(name, DeviceId(device), [address.into()], (20_000, 20_199))
    };
    let trunk = |name: &str, peer: ([u8; 4], u16), number: u16| Trunk {
        transfer: TransferPolicy {
            refer: Refer::Local,
            replaces: Takeover::Local,
            ..TransferPolicy::default()
        },
        ..Trunk::new(
            name,
            [peer.into()],
            [ListenerId(number)],
            MediaGroupId(number),
        )
    };
    Settings {
        listeners: vec![
            Listener::new("inside", INSIDE.into()),
            Listener::new("outside", OUTSIDE.into()),
        ],
        media_groups: vec![group("inside", 0, INSIDE.0), group("outside", 1, OUTSIDE.0)],
        trunks: vec![trunk("callers", CALLER, 0), trunk("callees", CALLEE, 1)],
        ng: Ng {
            listeners: vec![ControlListener::new("ng", CONTROL.into())],
            final_timeout: Some(LONGEST_CONTROLLED),
            recording: true,
            forwarding: true,
            playing: true,
            ..Ng::default()
        },
        routes: vec![
            Route::new(Some(TrunkId(0)), None, [TrunkId(1)]),
            Route::new(Some(TrunkId(1)), None, [TrunkId(0)]),
        ],
        // Small, so that bounds are met.
        limits: Limits {
            calls: 40,
            transactions: 400,
            ..Limits::default()
        },
        ..Settings::default()
    }
}

fn link() -> Link {
    Link {
        device: DeviceId(0),
        source: MacAddress([2, 0, 0, 0, 0, 1]),
        destination: MacAddress([2, 0, 0, 0, 0, 2]),
        vlan: VlanTags::None,
        mtu: 1500,
    }
}
