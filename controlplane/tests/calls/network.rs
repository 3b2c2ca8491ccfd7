//! Many calls at once between phones of their own will, over a network that loses, repeats and
//! reorders. Whatever happens, in the end nothing is left.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

use contract::Timestamp;
use controlplane::agent::Input;
use controlplane::b2bua::CallState;
use controlplane::sip::{HeaderName, Message, Method};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::beliefs::{Beliefs, Side, end_of};
use crate::phone::{Phone, described, header, sdp};
use crate::world::{Datagram, NO_ANSWER, OTHER_TRUNK, TRANSACTION, World, addr, settings};

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
    /// The callees that have said 200, by their Call-ID, and the number of the INVITE that they said it to.
    promised: HashMap<String, u32>,
    beliefs: Beliefs,
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
            promised: HashMap::new(),
            beliefs: Beliefs::new(weather.lost > 0),
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
            self.beliefs.sends(&message);
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

    /// Runs until nothing is left to happen but what tandem does by itself.
    fn run(&mut self) {
        while let Some((&(at, _), _)) = self.due.first_key_value() {
            self.run_until(at);
        }
    }

    /// Lets time pass until then, for the phones, the network and tandem.
    fn run_until(&mut self, end: Timestamp) {
        loop {
            let agent = self.world.settle();
            let first = self.due.first_key_value().map(|(&key, _)| key);
            let first = first.filter(|(at, _)| *at <= end);
            let at = first.map_or(end, |(at, _)| at);
            if let Some(until) = agent.filter(|until| *until < at) {
                self.world.now = until;
                self.world.handle(Input::Time);
            } else if let Some(key) = first {
                let due = self.due.remove(&key).expect("the first");
                self.world.now = at;
                self.happen(due);
            } else {
                self.world.now = end;
                return;
            }
            self.collect();
        }
    }

    fn run_for(&mut self, time: Duration) {
        self.run_until(self.world.now + time);
    }

    /// All that was under way arrives or is given up, and nobody does anything new: who believes to be up, is.
    fn rest(&mut self, seed: u64) {
        self.run_for(NO_ANSWER + TRANSACTION * 2);
        let unsettled = |network: &Self| -> HashSet<_> {
            let calls = network.world.agent.calls().into_iter();
            let calls = calls.filter(|call| call.state != CallState::Established);
            calls.map(|call| call.id).collect()
        };
        // Session timers end calls at any time, but none takes so long.
        let before = unsettled(self);
        self.run_for(TRANSACTION + Duration::from_secs(8));
        let stuck: Vec<_> = unsettled(self).intersection(&before).copied().collect();
        assert!(
            stuck.is_empty(),
            "seed {seed}: {stuck:?} neither rise nor end"
        );
        self.beliefs.assert_in_step(&self.world.agent, seed);
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Arrival((from, to, bytes)) => {
                let message = Message::parse(&bytes).expect("phones speak SIP");
                self.beliefs.hears(&message);
                self.world.deliver(from, to, bytes);
            }
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
        // A request that overtakes the BYE before it would be the one that counts.
        if self.beliefs.of(&(call.clone(), side)).over {
            return;
        }
        let world = &mut self.world;
        let host = match side {
            Side::Caller => "10.1.0.2",
            _ => "10.2.0.2",
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
                    let belief = self.beliefs.of(&(call.clone(), side));
                    belief.over = true;
                    belief.hasty = !belief.up;
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
                let number = message.cseq().map(|cseq| cseq.number).ok();
                if side == Side::Callee && self.promised.get(&call).copied() == number {
                    let end = end_of(message, HeaderName::To);
                    self.beliefs.of(&end).up = true;
                }
                self.settled.insert(two_hundred(message));
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
                if method == Method::Bye {
                    let end = end_of(message, HeaderName::To);
                    self.beliefs.of(&end).over = true;
                }
                self.answer(call, side, at, &method, message);
            }
        }
    }

    /// A new INVITE at a callee: it may fork, ring, answer, refuse, be down, or keep silent.
    fn ring(&mut self, at: SocketAddr, call: String, invite: &Message) {
        if self.phones.contains_key(&(call.clone(), Side::Callee)) {
            return;
        }
        let caller = header(invite, HeaderName::Other("x-call".to_owned()));
        self.beliefs.caller_of.insert(call.clone(), caller);
        let phone = Phone::callee(&at.to_string(), invite, &format!("t-{call}"));
        let fork = Phone::callee(&at.to_string(), invite, &format!("u-{call}"));
        let body = match at == addr(OTHER_TRUNK) {
            true => sdp("fd02::2", 6000),
            false => sdp("10.2.0.2", 6000),
        };
        let number = invite.cseq().expect("a number").number;
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
                self.promised.insert(call.clone(), number);
                fork.respond(world, invite, 180, "");
                phone.respond(world, invite, 183, &body);
                phone.respond(world, invite, 200, &body);
                fork.respond(world, invite, 200, &body);
            }
            _ => {
                self.promised.insert(call.clone(), number);
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
            let number = invite.cseq().expect("a number").number;
            self.promised.insert(call.to_owned(), number);
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
            if !self.promised.contains_key(&call) && self.chance(90) {
                self.pending.remove(&call);
                phone.respond(&mut self.world, &invite, 487, "");
            }
        }
    }

    fn read_response(&mut self, call: String, side: Side, response: &Message) {
        let Some(mut phone) = self.phones.get(&(call.clone(), side)).cloned() else {
            return;
        };
        let number = header(response, HeaderName::CSeq);
        let is_invite = number.ends_with("INVITE");
        let code = response.code().map_or(0, |code| code.as_u16());
        if code >= 200 {
            self.settled.insert(branch(response));
        }
        // Whoever is told that there is no such call has none any more; CANCEL and PRACK ask for a transaction (RFC
        // 5057 §5.1), and early dialogs of other forks end by themselves.
        let of_transaction = ["CANCEL", "PRACK"]
            .iter()
            .any(|method| number.ends_with(method));
        if code == 481 && !of_transaction && header(response, HeaderName::To) == phone.peer {
            self.beliefs.of(&(call.clone(), side)).over = true;
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
            let first = self
                .settled
                .insert(format!("first {call} {side:?} {number}"));
            if side == Side::Caller && number == "1 INVITE" {
                let belief = self.beliefs.of(&(call.clone(), side));
                belief.up |= code == 200;
                belief.refused |= code != 200;
            }
            if code == 200 && first {
                let later = self.within(5_000);
                self.after(later, Due::Whim(call.clone(), side));
            }
        } else if is_invite {
            // What comes late from another fork is acknowledged, but the dialog that is up stays.
            let is_up = self.beliefs.of(&(call.clone(), side)).up;
            let confirmed = is_up.then(|| (phone.peer.clone(), phone.target.clone()));
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
            if let Some((peer, target)) = confirmed {
                phone.peer = peer;
                phone.target = target;
            }
        }
        self.phones.insert((call, side), phone);
    }
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
    let (call, _) = end_of(message, HeaderName::To);
    let to = header(message, HeaderName::To);
    let tag = to.split("tag=").nth(1).unwrap_or_default();
    format!("2xx {call} {tag} {number}")
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
    network.rest(seed);
    // What nobody has ended by then, an operator does; nobody answers any more.
    network.world.wire = None;
    for call in network.world.agent.calls() {
        network.world.handle(Input::HangUp(call.id));
    }
    network.world.advance(Duration::from_secs(600));
    for (_, message) in network.world.take_mail() {
        if message.method() == Some(&Method::Bye) {
            let end = end_of(&message, HeaderName::To);
            network.beliefs.of(&end).over = true;
        }
    }
    network.world.assert_clean();
    network.beliefs.assert_agreement(seed);
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
