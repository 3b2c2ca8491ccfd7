//! Every row of the two tables, compared with the documentation and walked.

use std::fmt::Debug;
use std::time::Duration;

use contract::Timestamp;

use super::receiving::Incoming;
use super::sending::{Due, Outcome, Outgoing, Progress};
use super::table::{RECEIVING, ReceiveTrigger, Receiving, Row, SENDING, SendTrigger, Sending};
use crate::settings::SipTimers;
use crate::sip::typed::RAck;
use crate::sip::{HeaderName, Message, Method};

const INVITE_NUMBER: u32 = 7;
const T1: Duration = Duration::from_millis(500);

fn response(code: u16) -> Message {
    let text = format!("SIP/2.0 {code} X\r\nContent-Length: 0\r\n\r\n");
    Message::parse(text.as_bytes()).expect("a message")
}

fn progress(describes: bool) -> Progress {
    Progress {
        response: response(183),
        describes,
        owed: None,
    }
}

fn rack(rseq: u32) -> RAck {
    RAck {
        rseq,
        cseq: INVITE_NUMBER,
        method: Method::Invite,
    }
}

fn rows_of<S: Debug, T: Debug>(table: &[Row<S, T>]) -> Vec<String> {
    let line = |row: &Row<S, T>| {
        let Row {
            state,
            trigger,
            next,
            action,
        } = row;
        format!("| `{state:?}` | `{trigger:?}` | `{next:?}` | {action} |")
    };
    table.iter().map(line).collect()
}

#[test]
fn the_documentation_has_the_same_rows() {
    let text = include_str!("../../../../docs/provisionals.md");
    let written: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    assert_eq!(written, [rows_of(SENDING), rows_of(RECEIVING)].concat());
}

/// The machine on its way to a state, with what is sent counted.
struct Bench {
    machine: Outgoing,
    now: Timestamp,
    timers: SipTimers,
}

impl Bench {
    fn at(state: Sending) -> Self {
        let mut bench = Self {
            machine: Outgoing::new(41),
            now: Timestamp::ZERO,
            timers: SipTimers::default(),
        };
        match state {
            Sending::Idle => {}
            Sending::Waiting => bench.say(true),
            Sending::Holding => {
                bench.say(true);
                assert!(bench.machine.answer(response(200)).is_none());
            }
            Sending::Answered => {
                bench.say(false);
                assert!(bench.machine.answer(response(200)).is_some());
            }
            Sending::Over => unreachable!("no row begins there"),
        }
        assert_eq!(bench.machine.state(), state);
        bench
    }

    fn say(&mut self, describes: bool) {
        let sent = self
            .machine
            .provisional(self.now, &self.timers, progress(describes));
        let Outcome::Send(sent) = sent else {
            unreachable!("nothing waits: {sent:?}")
        };
        assert!(sent.lists(&HeaderName::Require, "100rel"));
        assert_eq!(sent.rseq(), Ok(42));
    }

    /// Pulls the trigger, and checks what is said to come of it.
    fn pull(&mut self, row: &Row<Sending, SendTrigger>) {
        let machine = &mut self.machine;
        match row.trigger {
            SendTrigger::Provisional if row.state == Sending::Idle => self.say(true),
            SendTrigger::Provisional => {
                let kept = machine.provisional(self.now, &self.timers, progress(false));
                assert!(matches!(kept, Outcome::Kept));
            }
            SendTrigger::Prack => {
                assert!(machine.prack(&rack(43), INVITE_NUMBER).is_none());
                assert!(machine.prack(&rack(42), INVITE_NUMBER + 1).is_none());
                assert!(machine.prack(&rack(42), INVITE_NUMBER).is_some());
                assert!(machine.prack(&rack(42), INVITE_NUMBER).is_none(), "once");
                assert_eq!(machine.deadline(), None);
                let held = machine.take_answer();
                assert_eq!(held.is_some(), row.state == Sending::Holding);
            }
            SendTrigger::Again => {
                assert_eq!(machine.deadline(), Some(self.now + T1));
                assert!(machine.on_time(self.now).is_none());
                self.now = self.now + T1;
                let due = machine.on_time(self.now);
                assert!(matches!(due, Some(Due::Again(again)) if again.rseq() == Ok(42)));
                assert_eq!(machine.deadline(), Some(self.now + 2 * T1));
            }
            SendTrigger::GiveUp => {
                self.now = self.now + 64 * T1;
                assert!(matches!(machine.on_time(self.now), Some(Due::GiveUp)));
                assert_eq!(machine.deadline(), None);
            }
            SendTrigger::Answer if row.state == Sending::Waiting => {
                *self = Self::at(Sending::Idle);
                self.say(false);
                assert!(self.machine.answer(response(200)).is_some());
                assert_eq!(self.machine.deadline(), None);
            }
            SendTrigger::Answer => assert!(machine.answer(response(200)).is_some()),
            SendTrigger::AnswerWaits => {
                assert!(machine.answer(response(200)).is_none());
                assert!(machine.take_answer().is_none());
            }
        }
    }
}

#[test]
fn every_row_towards_a_caller_is_walked() {
    for row in SENDING {
        let mut bench = Bench::at(row.state);
        bench.pull(row);
        assert_eq!(bench.machine.state(), row.next, "{row:?}");
    }
}

#[test]
fn every_row_from_a_callee_is_walked() {
    for row in RECEIVING {
        let mut machine = Incoming::default();
        if row.state == Receiving::Following {
            assert_eq!(machine.take(900), ReceiveTrigger::First);
        }
        assert_eq!(machine.state(), row.state);
        let rseq = match row.trigger {
            ReceiveTrigger::First => 5,
            ReceiveTrigger::Next => 901,
            ReceiveTrigger::Repeated => 900,
            ReceiveTrigger::Gap => 902,
        };
        assert_eq!(machine.take(rseq), row.trigger);
        assert_eq!(machine.state(), row.next, "{row:?}");
    }
}

#[test]
fn a_sequence_does_not_wrap() {
    let mut machine = Incoming::default();
    machine.take(u32::MAX);
    assert_eq!(machine.take(1), ReceiveTrigger::Repeated);
}

#[test]
fn the_interval_doubles_without_bound_until_64_t1() {
    let mut bench = Bench::at(Sending::Waiting);
    let mut sent = Vec::new();
    while let Some(due) = bench.machine.deadline() {
        bench.now = due;
        match bench.machine.on_time(due) {
            Some(Due::Again(_)) => sent.push(due.since(Timestamp::ZERO).as_millis()),
            Some(Due::GiveUp) => assert_eq!(due, Timestamp::ZERO + 64 * T1),
            None => unreachable!("something was due"),
        }
    }
    assert_eq!(sent, [500, 1_500, 3_500, 7_500, 15_500, 31_500]);
}

#[test]
fn what_waits_is_bounded_and_leaves_in_order() {
    let mut bench = Bench::at(Sending::Waiting);
    let mut kept = 0;
    loop {
        let progress = progress(kept == 0);
        match bench
            .machine
            .provisional(bench.now, &bench.timers, progress)
        {
            Outcome::Kept => kept += 1,
            Outcome::Send(_) => unreachable!("one waits"),
            Outcome::Dropped => break,
        }
    }
    assert_eq!(kept, 8);
    for rseq in 42..50 {
        assert!(bench.machine.prack(&rack(rseq), INVITE_NUMBER).is_some());
        let next = bench.machine.next(bench.now, &bench.timers).expect("one");
        assert_eq!(next.rseq(), Ok(rseq + 1));
    }
}
