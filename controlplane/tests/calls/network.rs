//! Many calls at once between phones of their own will, over a network that loses, repeats and
//! reorders. Whatever happens, in the end nothing is left.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

use contract::Timestamp;
use controlplane::agent::Input;
use controlplane::sip::{HeaderName, Message, Method};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::phone::{Phone, described, header, sdp};
use crate::world::{Datagram, OTHER_TRUNK, World, addr, settings};

/// How often phones send something again that nobody has answered.
const AGAIN: Duration = Duration::from_millis(700);
const TRIES: u32 = 5;

/// What becomes of a datagram, in percent.
#[derive(Clone, Copy)]
struct Weather {
    lost: u32,
    twice: u32,
    /// The longest that one is on its way, in milliseconds.
    delay: u64,
}

/// What is to happen.
enum Due {
    /// A datagram arrives here.
    Arrival(Datagram),
    /// One arrives at a phone.
    Mail(SocketAddr, Message),
    /// A phone sends something again, unless it has been answered: its name, and the tries left.
    Again(String, Datagram, u32),
    /// A phone does something of its own accord.
    Whim(String, Side),
    /// A caller calls.
    Dial(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Side {
    Caller,
    Callee,
}

struct Network {
    world: World,
    rng: StdRng,
    weather: Weather,
    due: BTreeMap<(Timestamp, u64), Due>,
    count: u64,
    /// By our Call-ID or the callee's.
    phones: HashMap<(String, Side), Phone>,
    /// Names of transactions that have had a final response, and of 2xx that have had their ACK.
    settled: HashSet<String>,
    /// INVITEs that callees have answered reliably and provisionally.
    pending: HashMap<String, Message>,
    /// Calls without an offer in their INVITE.
    late: HashSet<String>,
    /// Which call a callee's Call-ID belongs to: the caller's Call-ID, by a header that passes.
    caller_of: HashMap<String, String>,
    /// The callees that have said 200, by their Call-ID.
    promised: HashSet<String>,
    /// Calls that more than one callee has answered.
    forked: HashSet<String>,
    /// What the phones believe, by their Call-ID.
    believed: HashMap<(String, Side), Belief>,
}

/// What a phone believes of its call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Belief {
    /// It has been answered, or its answer has been acknowledged.
    up: bool,
    /// It has sent BYE, or received one.
    over: bool,
}

impl Network {
    fn new(seed: u64, weather: Weather) -> Self {
        let mut world = World::with(settings(), seed);
        world.wire = Some(Vec::new());
        Self {
            world,
            rng: StdRng::seed_from_u64(seed),
            weather,
            due: BTreeMap::new(),
            count: 0,
            phones: HashMap::new(),
            settled: HashSet::new(),
            pending: HashMap::new(),
            late: HashSet::new(),
            caller_of: HashMap::new(),
            promised: HashSet::new(),
            forked: HashSet::new(),
            believed: HashMap::new(),
        }
    }

    fn after(&mut self, by: Duration, due: Due) {
        self.count += 1;
        self.due.insert((self.world.now + by, self.count), due);
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    fn within(&mut self, millis: u64) -> Duration {
        Duration::from_millis(self.rng.random_range(0..=millis))
    }

    /// Puts something on the wire: it may be lost, come twice, be overtaken.
    fn carry(&mut self, due: impl Fn() -> Due) {
        let copies = match (
            self.chance(self.weather.lost),
            self.chance(self.weather.twice),
        ) {
            (true, _) => 0,
            (false, true) => 2,
            (false, false) => 1,
        };
        for _ in 0..copies {
            let delay = self.within(self.weather.delay);
            self.after(delay, due());
        }
    }

    /// Everything that was just sent, by either side, goes onto the wire.
    fn collect(&mut self) {
        for (at, message) in self.world.take_mail() {
            self.carry(|| Due::Mail(at, message.clone()));
        }
        let sent: Vec<Datagram> = self
            .world
            .wire
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default();
        for datagram in sent {
            self.carry(|| Due::Arrival(datagram.clone()));
            if let Some(name) = repeated(&datagram.2) {
                self.after(AGAIN, Due::Again(name, datagram, TRIES));
            }
        }
    }

    /// Runs until nothing is left to happen.
    fn run(&mut self) {
        while let Some((&(at, number), _)) = self.due.first_key_value() {
            let wait = at.since(self.world.now);
            let agent = self.world.settle();
            if let Some(until) = agent.filter(|until| *until < at) {
                self.world.now = until;
                self.world.handle(Input::Time);
                self.collect();
                continue;
            }
            let due = self.due.remove(&(at, number)).expect("the first");
            self.world.now = self.world.now + wait;
            self.happen(due);
            self.collect();
        }
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Arrival((from, to, bytes)) => self.world.deliver(from, to, bytes),
            Due::Mail(at, message) => self.read(at, &message),
            Due::Again(name, datagram, tries) => {
                if tries > 0 && !self.settled.contains(&name) {
                    self.carry(|| Due::Arrival(datagram.clone()));
                    self.after(AGAIN, Due::Again(name, datagram, tries - 1));
                }
            }
            Due::Whim(call, side) => self.whim(call, side),
            Due::Dial(number) => self.dial(number),
        }
    }

    fn dial(&mut self, number: usize) {
        let mut caller = Phone::caller(&format!("call-{number}"));
        let (user, offer) = match number % 5 {
            0 => ("900", String::new()),
            1 => ("+4930", sdp("10.1.0.2", 4000)),
            _ => ("900", sdp("10.1.0.2", 4000)),
        };
        // Some acknowledge provisional responses, some must; some have a session timer.
        let more = match self.rng.random_range(0..6) {
            0 | 1 => "Supported: 100rel\r\nAllow: INVITE, UPDATE\r\n",
            2 => "Require: 100rel\r\nAllow: INVITE, UPDATE\r\n",
            3 => "Supported: timer\r\nSession-Expires: 90\r\nAllow: INVITE, UPDATE\r\n",
            _ => "",
        };
        let call = caller.call_id.clone();
        let more = format!("{more}X-Call: {call}\r\n");
        caller.invite_with(&mut self.world, user, &offer, &more);
        if offer.is_empty() {
            self.late.insert(call.clone());
        }
        self.phones.insert((call.clone(), Side::Caller), caller);
        if self.chance(20) {
            let later = self.within(3_000);
            self.after(later, Due::Whim(call, Side::Caller));
        }
    }

    /// A phone does something that nobody asked for.
    fn whim(&mut self, call: String, side: Side) {
        let Some(mut phone) = self.phones.get(&(call.clone(), side)).cloned() else {
            return;
        };
        let world = &mut self.world;
        let host = match side {
            Side::Caller => "10.1.0.2",
            Side::Callee => "10.2.0.2",
        };
        let body = described(host, 4000, phone.cseq, "sendonly");
        if !phone.peer.contains("tag=") {
            phone.cancel(world);
        } else {
            match self.rng.random_range(0..6) {
                0 => phone.request(world, "INVITE", &body),
                1 => phone.request(world, "UPDATE", &body),
                2 => phone.request_with(world, "INFO", "x", "Content-Type: text/plain\r\n"),
                3 => phone.request(world, "INVITE", ""),
                _ => {
                    phone.request(world, "BYE", "");
                    self.believes(&call, side).over = true;
                }
            }
        }
        self.phones.insert((call.clone(), side), phone);
        let later = self.within(5_000);
        if self.chance(60) {
            self.after(later, Due::Whim(call, side));
        }
    }

    fn read(&mut self, at: SocketAddr, message: &Message) {
        let call = header(message, HeaderName::CallId);
        let side = match at.ip() == addr("10.1.0.2:0").ip() {
            true => Side::Caller,
            false => Side::Callee,
        };
        match message.method().cloned() {
            None => self.read_response(call, side, message),
            Some(Method::Ack) => {
                let name = two_hundred(message);
                let of_answer = self.promised.contains(&call) && name.ends_with(" 1");
                if side == Side::Callee && of_answer && is_of(message, "t-") {
                    self.believes(&call, side).up = true;
                }
                self.settled.insert(name);
            }
            Some(Method::Prack) => {
                self.settled.insert(format!("reliable {call}"));
                self.answer(call.clone(), side, at, &Method::Prack, message);
                self.answer_invite(&call);
            }
            Some(Method::Invite) if !header(message, HeaderName::To).contains("tag=") => {
                self.ring(at, call, message);
            }
            Some(method) => {
                if method == Method::Bye && (side == Side::Caller || is_of(message, "t-")) {
                    self.believes(&call, side).over = true;
                }
                self.answer(call, side, at, &method, message);
            }
        }
    }

    fn believes(&mut self, call: &str, side: Side) -> &mut Belief {
        self.believed.entry((call.to_owned(), side)).or_default()
    }

    /// Both ends of each call agree on whether it came about and on that it is over.
    fn assert_agreement(&self, seed: u64) {
        let mut answered: HashSet<&str> = HashSet::new();
        for ((call, side), belief) in &self.believed {
            assert!(
                belief.over || !belief.up,
                "seed {seed}: {side:?} of {call} believes that it is up"
            );
            // Over a bad network an ACK may be lost for good; then the callee has hung up since.
            let may_miss_ack = self.weather.lost > 0 && self.promised.contains(call);
            if *side == Side::Callee && (belief.up || may_miss_ack) {
                let caller = self.caller_of.get(call).expect("the INVITE named it");
                answered.insert(caller);
            }
        }
        for ((call, side), belief) in &self.believed {
            let alone = *side == Side::Caller && belief.up && !answered.contains(&**call);
            // A fork that phones know nothing of may have answered instead.
            assert!(
                !alone || self.forked.contains(call),
                "seed {seed}: {call} was answered by nobody: {:?}",
                self.caller_of
                    .iter()
                    .filter(|(_, caller)| *caller == call)
                    .map(|(callee, _)| {
                        let name = (callee.clone(), Side::Callee);
                        (self.believed.get(&name), self.promised.contains(callee))
                    })
                    .collect::<Vec<_>>()
            );
        }
    }

    /// A new INVITE at a callee: it may fork, ring, answer, refuse, be down, or keep silent.
    fn ring(&mut self, at: SocketAddr, call: String, invite: &Message) {
        if self.phones.contains_key(&(call.clone(), Side::Callee)) {
            return;
        }
        let caller = header(invite, HeaderName::Other("x-call".to_owned()));
        self.caller_of.insert(call.clone(), caller.clone());
        let phone = Phone::callee(&at.to_string(), invite, &format!("t-{call}"));
        let fork = Phone::callee(&at.to_string(), invite, &format!("u-{call}"));
        let body = match at == addr(OTHER_TRUNK) {
            true => sdp("fd02::2", 6000),
            false => sdp("10.2.0.2", 6000),
        };
        let world = &mut self.world;
        let reliable = invite.lists(&HeaderName::Supported, "100rel");
        match self.rng.random_range(0..14) {
            // The 2xx is a whim: it waits for the PRACK.
            10.. if reliable => {
                let more = "Require: 100rel\nRSeq: 77";
                phone.respond_with(world, invite, 183, &body, more);
                self.pending.insert(call.clone(), invite.clone());
            }
            0 => {}
            1 => phone.respond(world, invite, 503, ""),
            2 => phone.respond(world, invite, 486, ""),
            3 => phone.respond(world, invite, 180, ""),
            4 => {
                self.forked.insert(caller);
                self.promised.insert(call.clone());
                fork.respond(world, invite, 180, "");
                phone.respond(world, invite, 183, &body);
                phone.respond(world, invite, 200, &body);
                fork.respond(world, invite, 200, &body);
            }
            _ => {
                self.promised.insert(call.clone());
                phone.respond(world, invite, 180, "");
                phone.respond(world, invite, 200, &body);
            }
        }
        self.phones.insert((call.clone(), Side::Callee), phone);
        let later = self.within(5_000);
        self.after(later, Due::Whim(call, Side::Callee));
    }

    /// A callee whose reliable response is acknowledged answers for good: all has been said.
    fn answer_invite(&mut self, call: &str) {
        let phone = self.phones.get(&(call.to_owned(), Side::Callee));
        if let (Some(invite), Some(phone)) = (self.pending.remove(call), phone.cloned()) {
            let body = match invite.body.is_empty() {
                true => String::new(),
                false => sdp("10.2.0.2", 6000),
            };
            self.promised.insert(call.to_owned());
            phone.respond(&mut self.world, &invite, 200, &body);
        }
    }

    /// A request within the dialog, or a CANCEL.
    fn answer(
        &mut self,
        call: String,
        side: Side,
        at: SocketAddr,
        method: &Method,
        request: &Message,
    ) {
        let Some(phone) = self.phones.get(&(call.clone(), side)).cloned() else {
            return;
        };
        let host = if at.is_ipv6() {
            "fd02::2"
        } else if side == Side::Caller {
            "10.1.0.2"
        } else {
            "10.2.0.2"
        };
        let offers = *method == Method::Invite || !request.body.is_empty();
        let body = match offers && !matches!(method, Method::Info | Method::Prack) {
            true => described(host, 4000, phone.cseq, "recvonly"),
            false => String::new(),
        };
        let refusable = !matches!(method, Method::Bye | Method::Cancel | Method::Prack);
        let code = match self.chance(20) && refusable {
            true => 488,
            false => 200,
        };
        let body = if code == 200 { body } else { String::new() };
        phone.respond(&mut self.world, request, code, &body);
        if *method == Method::Cancel {
            // Most end the INVITE, as they should.
            let number = header(request, HeaderName::CSeq).replace("CANCEL", "INVITE");
            let mut invite = request.clone();
            invite.headers.set(HeaderName::CSeq, number);
            // Whoever has answered does not take it back, and whoever ends it will not answer.
            if !self.promised.contains(&call) && self.chance(90) {
                self.pending.remove(&call);
                phone.respond(&mut self.world, &invite, 487, "");
            }
        }
    }

    fn read_response(&mut self, call: String, side: Side, response: &Message) {
        let Some(mut phone) = self.phones.get(&(call.clone(), side)).cloned() else {
            return;
        };
        let is_invite = header(response, HeaderName::CSeq).ends_with("INVITE");
        let code = response.code().map_or(0, |code| code.as_u16());
        if code >= 200 {
            self.settled.insert(branch(response));
        }
        // Whoever is told that there is no such call has none any more (RFC 5057 §5.1).
        if code == 481 {
            self.believes(&call, side).over = true;
        }
        if code == 100 || (code < 200 && !is_invite) {
            return;
        }
        if is_invite && code >= 200 {
            let offered = !response.body.is_empty() && code == 200;
            let host = if side == Side::Caller {
                "10.1.0.2"
            } else {
                "10.2.0.2"
            };
            // An ACK answers the offer of a 2xx to an INVITE that had none; elsewhere it is ignored.
            let body = if offered {
                sdp(host, 4000)
            } else {
                String::new()
            };
            phone.ack(&mut self.world, response, &body);
            let first = self.settled.insert(format!("first {call} {side:?}"));
            if code == 200 && first && side == Side::Caller {
                self.believes(&call, side).up = true;
            }
            if code == 200 && first {
                let later = self.within(5_000);
                self.after(later, Due::Whim(call.clone(), side));
            }
        } else if is_invite {
            phone.learn(response);
            // Each is acknowledged once; what is repeated after that is acknowledged by the same PRACK.
            if let Ok(rseq) = response.rseq()
                && self.settled.insert(format!("heard {call} {rseq}"))
            {
                // An offer is answered.
                let offered = !response.body.is_empty() && self.late.contains(&call);
                let body = match offered {
                    true => sdp("10.1.0.2", 4000),
                    false => String::new(),
                };
                phone.prack(&mut self.world, response, &body);
            }
        }
        self.phones.insert((call, side), phone);
    }
}

/// Whether a request is in the dialog of the phone whose tags begin like this.
fn is_of(message: &Message, start: &str) -> bool {
    header(message, HeaderName::To).contains(&format!("tag={start}"))
}

fn branch(message: &Message) -> String {
    let via = header(message, HeaderName::Via);
    let branch = via.split("branch=").nth(1).unwrap_or_default();
    branch.split(';').next().unwrap_or_default().to_owned()
}

/// The name of a 2xx to an INVITE: its dialog's tags and its number, as its ACK repeats them.
fn two_hundred(message: &Message) -> String {
    let number = header(message, HeaderName::CSeq);
    let number = number.split(' ').next().unwrap_or_default();
    format!("2xx {} {number}", header(message, HeaderName::CallId))
}

/// What a phone sends again until it is answered: requests but ACK until a final response, and a 2xx to
/// INVITE until its ACK.
fn repeated(bytes: &[u8]) -> Option<String> {
    let message = Message::parse(bytes).expect("phones speak SIP");
    let is_invite = header(&message, HeaderName::CSeq).ends_with("INVITE");
    match message.method() {
        Some(Method::Ack) => None,
        Some(_) => Some(branch(&message)),
        None if is_invite && message.code().is_some_and(|code| code.is_success()) => {
            Some(two_hundred(&message))
        }
        None if message.rseq().is_ok() => {
            Some(format!("reliable {}", header(&message, HeaderName::CallId)))
        }
        None => None,
    }
}

/// So many calls, begun within a minute; how many were answered.
fn simulate(seed: u64, calls: usize, weather: Weather) -> u64 {
    let mut network = Network::new(seed, weather);
    for number in 0..calls {
        let at = network.within(60_000);
        network.after(at, Due::Dial(number));
    }
    network.run();
    // What nobody has ended by then, an operator does; nobody answers any more.
    network.world.wire = None;
    for call in network.world.agent.calls() {
        network.world.handle(Input::HangUp(call.id));
    }
    network.world.advance(Duration::from_secs(600));
    for (at, message) in network.world.take_mail() {
        if message.method() == Some(&Method::Bye) {
            let call = header(&message, HeaderName::CallId);
            let side = match at.ip() == addr("10.1.0.2:0").ip() {
                true => Side::Caller,
                false => Side::Callee,
            };
            network.believes(&call, side).over = true;
        }
    }
    network.world.assert_clean();
    network.assert_agreement(seed);
    let counters = network.world.agent.counters();
    // A CANCEL that overtakes its INVITE settles both for the phone: such a call never comes.
    let offered = counters.calls_offered;
    assert!(
        offered <= calls as u64 && offered * 10 > calls as u64 * 9,
        "seed {seed}"
    );
    let failed: u64 = counters.calls_failed.values().sum();
    let ended: u64 = counters.calls_ended.values().sum();
    assert_eq!(failed + ended, offered, "seed {seed}: {counters:?}");
    assert_eq!(counters.calls_answered, ended, "seed {seed}");
    // What is lost is sent again, and only that.
    let repeats = counters.provisionals_repeated > 0;
    assert_eq!(repeats, weather.lost > 0, "seed {seed}");
    counters.calls_answered
}

#[test]
fn five_thousand_calls_in_any_order_leave_nothing_behind() {
    let fair = Weather {
        lost: 0,
        twice: 0,
        delay: 20,
    };
    for seed in 0..5 {
        let answered = simulate(seed, 1_000, fair);
        assert!(answered > 300, "seed {seed}: only {answered} were answered");
    }
}

#[test]
fn five_thousand_calls_over_a_bad_network_leave_nothing_behind() {
    let foul = Weather {
        lost: 15,
        twice: 15,
        delay: 900,
    };
    for seed in 0..50 {
        let answered = simulate(seed, 100, foul);
        assert!(answered > 10, "seed {seed}: only {answered} were answered");
    }
}
