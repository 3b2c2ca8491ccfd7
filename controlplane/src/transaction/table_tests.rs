//! Walks the tables of `docs/sip-transactions.md`, row by row: brings a transaction into the row's
//! state, lets the row's event happen, and looks at what the layer does.

use std::time::Duration;

use contract::Timestamp;

use super::hop::LARGEST_BY_DATAGRAM;
use super::table::{Action, Event, Machine, ROWS, Row, State};
use super::test_bench::{Bench, incoming, outgoing, peer, peer_by_stream, status, words};
use super::timer::Timer;
use super::{ClientKey, Id, ServerKey};
use crate::settings::SipTimers;
use crate::sip::{HeaderName, Message, Method};

const DOC: &str = include_str!("../../../docs/sip-transactions.md");

/// A row of the document, in its own words.
#[derive(Debug, PartialEq, Eq)]
struct DocRow {
    machine: String,
    state: String,
    event: String,
    next: String,
    actions: String,
}

/// The table rows below a heading that names a machine.
fn doc_rows() -> Vec<DocRow> {
    let mut rows = Vec::new();
    let mut machine = None;
    for line in DOC.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            machine = MACHINES.iter().find(|(_, name)| *name == heading);
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let (Some((_, machine)), ["", state, event, next, actions, ""]) = (machine, &cells[..])
        else {
            continue;
        };
        if *state != "State" && !state.starts_with("---") {
            rows.push(DocRow {
                machine: (*machine).to_owned(),
                state: (*state).to_owned(),
                event: (*event).to_owned(),
                next: (*next).to_owned(),
                actions: (*actions).to_owned(),
            });
        }
    }
    rows
}

const MACHINES: [(Machine, &str); 4] = [
    (Machine::InviteClient, "INVITE client transaction"),
    (Machine::Client, "Non-INVITE client transaction"),
    (Machine::InviteServer, "INVITE server transaction"),
    (Machine::Server, "Non-INVITE server transaction"),
];

const STATES: [State; 8] = [
    State::Start,
    State::Calling,
    State::Trying,
    State::Proceeding,
    State::Accepted,
    State::Completed,
    State::Confirmed,
    State::Terminated,
];

fn event_name(event: Event) -> String {
    match event {
        Event::Request => "request".to_owned(),
        Event::Provisional => "1xx".to_owned(),
        Event::Success => "2xx".to_owned(),
        Event::Failure => "3xx-6xx".to_owned(),
        Event::Ack => "ACK".to_owned(),
        Event::Cancel => "cancel".to_owned(),
        Event::Timer(timer) => format!("timer {}", timer.name()),
        Event::TransportError => "transport error".to_owned(),
        Event::FallBack => "fall back".to_owned(),
    }
}

fn action_name(action: Action) -> String {
    match action {
        Action::SendRequest => "send request".to_owned(),
        Action::SendTrying => "send 100".to_owned(),
        Action::SendResponse => "send response".to_owned(),
        Action::Repeat => "repeat response".to_owned(),
        Action::SendAck => "send ACK".to_owned(),
        Action::SendCancel => "send CANCEL if wanted".to_owned(),
        Action::Tell => "tell".to_owned(),
        Action::TellSuccess => "tell, or ACK again".to_owned(),
        Action::TellAck => "tell once".to_owned(),
        Action::TellTimeout => "tell timeout".to_owned(),
        Action::TellUnacknowledged => "tell if no ACK came".to_owned(),
        Action::TellTransportError => "tell transport error".to_owned(),
        Action::Start(timer) => format!("start {}", timer.name()),
        Action::Longer(timer) => format!("restart {} longer", timer.name()),
        Action::Slow(timer) => format!("restart {} at T2", timer.name()),
        Action::Stop(timer) => format!("stop {}", timer.name()),
    }
}

fn in_words(row: &Row) -> DocRow {
    let machine = MACHINES.iter().find(|(machine, _)| *machine == row.machine);
    let actions: Vec<String> = row
        .actions
        .iter()
        .map(|action| action_name(*action))
        .collect();
    DocRow {
        machine: machine
            .map(|(_, name)| (*name).to_owned())
            .unwrap_or_default(),
        state: format!("{:?}", row.state),
        event: event_name(row.event),
        next: format!("{:?}", row.next),
        actions: if actions.is_empty() {
            "nothing".to_owned()
        } else {
            actions.join("; ")
        },
    }
}

#[test]
fn the_document_shows_the_rows_that_the_code_follows() {
    let code: Vec<DocRow> = ROWS.iter().map(in_words).collect();
    assert_eq!(doc_rows(), code);
}

/// The timers' first durations, in both columns of the document.
#[test]
fn the_document_shows_how_long_each_timer_runs() {
    let base = SipTimers::default();
    let duration = |cell: &str| match cell {
        "T1" => Some(base.t1),
        "T4" => Some(base.t4),
        "64*T1" => Some(base.t1 * 64),
        "0" => Some(Duration::ZERO),
        "not started" => None,
        other => panic!("no duration: {other}"),
    };
    let mut seen = Vec::new();
    for line in DOC.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let ["", name, _, unreliable, reliable, _, ""] = &cells[..] else {
            continue;
        };
        let Some(timer) = Timer::ALL.iter().find(|timer| timer.name() == *name) else {
            continue;
        };
        assert_eq!(timer.first(&base, false), duration(unreliable), "{name}");
        assert_eq!(timer.first(&base, true), duration(reliable), "{name}");
        seen.push(*timer);
    }
    assert_eq!(seen, Timer::ALL);
}

/// One transaction in some state.
struct Subject {
    bench: Bench,
    machine: Machine,
    id: Id,
    /// As it went over the wire.
    request: Message,
    /// The bytes of the last response that the layer sent.
    last: Option<Message>,
    /// The length of the body that our request gets.
    body: usize,
}

const BRANCH: &str = "z9hG4bKrow";

impl Subject {
    fn method(machine: Machine) -> &'static str {
        match machine {
            Machine::InviteClient | Machine::InviteServer => "INVITE",
            Machine::Client | Machine::Server => "OPTIONS",
        }
    }

    fn new(machine: Machine) -> Self {
        Self {
            bench: Bench::new(),
            machine,
            id: 1,
            request: outgoing(Self::method(machine)),
            last: None,
            body: 0,
        }
    }

    /// The same over a reliable transport.
    fn by_stream(machine: Machine) -> Self {
        let mut subject = Self::new(machine);
        subject.bench.path = peer_by_stream();
        subject
    }

    fn is_client(&self) -> bool {
        matches!(self.machine, Machine::InviteClient | Machine::Client)
    }

    /// Brings the transaction into the state by the shortest way.
    fn reach(&mut self, state: State) {
        let way: &[Event] = match (self.machine, state) {
            (_, State::Start) => &[],
            (_, State::Calling | State::Trying) => &[Event::Request],
            (Machine::InviteServer, State::Proceeding) => &[Event::Request],
            (_, State::Proceeding) => &[Event::Request, Event::Provisional],
            (_, State::Accepted) => &[Event::Request, Event::Success],
            (_, State::Completed) => &[Event::Request, Event::Failure],
            (_, State::Confirmed) => &[Event::Request, Event::Failure, Event::Ack],
            (_, State::Terminated) => panic!("a terminated transaction is not there"),
        };
        for event in way {
            self.happen(*event);
        }
        assert_eq!(self.state(), state);
    }

    fn state(&self) -> State {
        let layer = &self.bench.layer;
        let client = layer.clients.get(&self.id).map(|client| client.state);
        let server = layer.servers.get(&self.id).map(|server| server.state);
        client.or(server).unwrap_or(State::Start)
    }

    /// Lets the event happen; what the layer says to it.
    fn happen(&mut self, event: Event) -> Vec<String> {
        match event {
            Event::Request => self.request(),
            Event::Provisional => self.response(180),
            Event::Success => self.response(200),
            Event::Failure => self.response(486),
            Event::Ack => self.ack(),
            Event::Cancel => {
                let key = ClientKey(self.id);
                let _ = self.bench.layer.cancel(self.bench.now, key, Vec::new());
            }
            Event::Timer(timer) => {
                self.bench.until_timer(self.id, timer);
                self.bench.layer.on_time(self.bench.now);
            }
            Event::TransportError => {
                let path = self.bench.path;
                self.bench.layer.transport_failed(self.bench.now, path);
            }
            Event::FallBack => {
                let stream = peer_by_stream();
                self.bench.layer.transport_failed(self.bench.now, stream);
            }
        }
        let heard = self.bench.heard();
        for occurrence in &heard {
            if let super::Occurrence::Transmit { bytes, path, .. } = occurrence {
                assert_eq!(path.remote, peer().remote);
                let message = super::test_bench::parse(bytes);
                match message.method() {
                    Some(Method::Invite | Method::Options) => self.request = message,
                    Some(_) => {}
                    None => self.last = Some(message),
                }
            }
        }
        words(&heard)
    }

    fn request(&mut self) {
        let method = Self::method(self.machine);
        if self.is_client() {
            let mut request = outgoing(method);
            request.body = vec![b'x'; self.body];
            let sent = self
                .bench
                .layer
                .request(self.bench.now, request, self.bench.path);
            assert_eq!(sent, Ok(ClientKey(self.id)));
        } else {
            let text = incoming(method, BRANCH);
            self.bench.receive(&text);
            self.request = Message::parse(text.as_bytes()).expect("a request");
        }
    }

    fn response(&mut self, code: u16) {
        let response = self.request.response(status(code), Some("to1"));
        if self.is_client() {
            self.bench.receive_message(&response);
        } else {
            let _ = self
                .bench
                .layer
                .respond(self.bench.now, ServerKey(self.id), response);
        }
    }

    /// The ACK of whatever the layer answered last.
    fn ack(&mut self) {
        let answered = self.last.clone();
        let answered = answered.unwrap_or_else(|| self.request.response(status(486), Some("to1")));
        let mut ack = self.request.ack_for_failure(&answered);
        if answered.code() == Some(status(200)) {
            let via = "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKanother";
            ack.headers.set(HeaderName::Via, via);
        }
        self.bench.receive_message(&ack);
    }

    /// What the actions of the row lead to that can be heard.
    fn expected(&self, row: &Row) -> Vec<String> {
        let code = match row.event {
            Event::Provisional => "180",
            Event::Success => "200",
            _ => "486",
        };
        let method = Self::method(self.machine);
        let mut expected: Vec<String> = Vec::new();
        for action in row.actions {
            expected.push(match action {
                Action::SendRequest => format!("send {method}"),
                Action::SendTrying => "send 100".to_owned(),
                Action::SendResponse => format!("send {code}"),
                Action::Repeat => {
                    let last = self.last.as_ref().and_then(Message::code);
                    format!("send {}", last.expect("a response to repeat"))
                }
                Action::SendAck => "send ACK".to_owned(),
                Action::SendCancel => "send CANCEL".to_owned(),
                Action::Tell | Action::TellSuccess if self.is_client() => {
                    format!("response {code}")
                }
                Action::Tell | Action::TellSuccess => "request".to_owned(),
                Action::TellAck => "ack".to_owned(),
                Action::TellTimeout => "timeout".to_owned(),
                Action::TellUnacknowledged => "unacknowledged".to_owned(),
                Action::TellTransportError => "transport error".to_owned(),
                Action::Start(_) | Action::Longer(_) | Action::Slow(_) | Action::Stop(_) => {
                    continue;
                }
            });
        }
        if row.next == State::Terminated {
            expected.push("ended".to_owned());
        }
        expected
    }

    /// Looks at the timers that the row names.
    fn check_timers(&self, row: &Row, running: &[(Timer, Option<Timestamp>)]) {
        let base = SipTimers::default();
        let after = |timer| self.bench.due(self.id, timer);
        for action in row.actions {
            match action {
                Action::Start(timer) => {
                    let first = timer.first(&base, false).expect("runs over UDP");
                    assert_eq!(after(*timer), Some(self.bench.now + first), "{row:?}");
                }
                Action::Longer(timer) => {
                    let second = timer.next(&base, base.t1);
                    assert_eq!(after(*timer), Some(self.bench.now + second), "{row:?}");
                }
                Action::Slow(timer) => {
                    assert_eq!(after(*timer), Some(self.bench.now + base.t2), "{row:?}");
                }
                Action::Stop(timer) => {
                    let ran = running.iter().find(|(known, _)| known == timer);
                    // The wait for a cancelled INVITE runs only if it was cancelled.
                    let optional = *timer == Timer::Cancelled;
                    assert!(
                        optional || ran.is_some_and(|(_, due)| due.is_some()),
                        "{row:?}"
                    );
                    assert_eq!(after(*timer), None, "{row:?}");
                }
                _ => {}
            }
        }
        if row.next == State::Terminated {
            assert!(
                Timer::ALL.iter().all(|timer| after(*timer).is_none()),
                "{row:?}"
            );
        }
    }
}

/// Whether the row is about an INVITE that the user has taken back.
fn is_cancelled(row: &Row) -> bool {
    row.event == Event::Timer(Timer::Cancelled)
        || (row.event != Event::Cancel && row.actions.contains(&Action::SendCancel))
        || row.actions.contains(&Action::Stop(Timer::Cancelled))
}

#[test]
fn every_row_of_the_document_happens() {
    let doc = doc_rows();
    assert!(!doc.is_empty());
    for told in &doc {
        let row = ROWS.iter().find(|row| in_words(row) == *told);
        let row = row.expect("the document's rows are the code's");
        let mut subject = Subject::new(row.machine);
        if row.event == Event::FallBack {
            subject.body = LARGEST_BY_DATAGRAM;
        }
        subject.reach(row.state);
        if is_cancelled(row) {
            subject.happen(Event::Cancel);
        }
        let running: Vec<_> = Timer::ALL
            .iter()
            .map(|timer| (*timer, subject.bench.due(subject.id, *timer)))
            .collect();
        let expected = subject.expected(row);
        let before = subject.last.clone();
        let heard = subject.happen(row.event);
        assert_eq!(heard, expected, "{told:?}");
        if row.next != State::Terminated {
            assert_eq!(subject.state(), row.next, "{told:?}");
        }
        if row.actions.contains(&Action::Repeat) {
            assert_eq!(subject.last, before, "a repetition is the same bytes");
        }
        subject.check_timers(row, &running);
    }
}

/// Over a stream nothing is repeated but the 2xx, and a machine that only absorbs repetitions ends at
/// once: the states that it would wait in are never reached.
#[test]
fn every_row_starts_the_timers_of_the_reliable_column() {
    let base = SipTimers::default();
    let mut walked = 0;
    for row in ROWS {
        let absorbs = |state| match row.machine {
            Machine::InviteServer => state == State::Confirmed,
            _ => state == State::Completed,
        };
        let repeats = matches!(row.event, Event::Timer(Timer::A | Timer::E | Timer::G));
        if absorbs(row.state) || repeats || row.event == Event::FallBack {
            continue;
        }
        let mut subject = Subject::by_stream(row.machine);
        subject.reach(row.state);
        if is_cancelled(row) {
            subject.happen(Event::Cancel);
        }
        let mut expected = subject.expected(row);
        let ends = |action: &Action| match action {
            Action::Start(timer) => timer.first(&base, true) == Some(Duration::ZERO),
            _ => false,
        };
        let over = row.actions.iter().any(ends);
        if over {
            expected.push("ended".to_owned());
        }
        assert_eq!(subject.happen(row.event), expected, "{row:?}");
        for action in row.actions {
            if let Action::Start(timer) = action {
                let first = timer.first(&base, true).filter(|first| !first.is_zero());
                let due = first.map(|first| subject.bench.now + first);
                assert_eq!(subject.bench.due(subject.id, *timer), due, "{row:?}");
            }
        }
        assert!(!over || subject.state() == State::Start, "{row:?}");
        walked += 1;
    }
    assert!(walked > 30, "{walked} rows");
}

#[test]
fn nothing_happens_that_is_no_row_of_the_document() {
    let outside = [
        Event::Request,
        Event::Provisional,
        Event::Success,
        Event::Failure,
        Event::Ack,
        Event::Cancel,
        Event::TransportError,
    ];
    let doc = doc_rows();
    assert!(!doc.is_empty());
    for (machine, name) in MACHINES {
        for state in STATES {
            let is_state = doc
                .iter()
                .any(|row| row.machine == name && row.state == format!("{state:?}"));
            if !is_state || state == State::Start {
                continue;
            }
            for event in outside {
                let is_row = |row: &&DocRow| {
                    row.machine == name
                        && row.state == format!("{state:?}")
                        && row.event == event_name(event)
                };
                let is_client = matches!(machine, Machine::InviteClient | Machine::Client);
                // A client is given its request once, and no ACK; only an INVITE client can cancel.
                let makes_sense = match event {
                    Event::Request => !is_client,
                    Event::Ack => machine == Machine::InviteServer && state != State::Proceeding,
                    Event::Cancel => machine == Machine::InviteClient,
                    _ => true,
                };
                if doc.iter().any(|row| is_row(&row)) || !makes_sense {
                    continue;
                }
                let mut subject = Subject::new(machine);
                subject.reach(state);
                assert_eq!(subject.happen(event), [""; 0], "{name} {state:?} {event:?}");
                assert_eq!(subject.state(), state, "{name} {event:?}");
            }
        }
    }
}
