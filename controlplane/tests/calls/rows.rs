//! Every row of the table of call states, walked.

use std::time::Duration;

use controlplane::agent::Input;
use controlplane::b2bua::{CallState, Row, TABLE, Trigger};
use controlplane::settings::Takeover;
use controlplane::sip::Message;

use crate::phone::{Phone, expect, sdp};
use crate::replacing::{calls, named, replacing};
use crate::world::{CALLEE, CALLER, NO_ANSWER, TRANSACTION, Workers, World, addr, settings};

/// A call in some state, with whatever its phones have received.
struct Stage {
    world: World,
    caller: Phone,
    callee: Option<(Phone, Message)>,
    answer: Option<Message>,
}

impl Stage {
    /// A call that has come as far as the state.
    fn at(state: CallState, row: &Row) -> Self {
        let mut stage = Self {
            world: World::with(replacing(Takeover::Local), 1),
            caller: Phone::caller("row"),
            callee: None,
            answer: None,
        };
        stage.world.workers = Workers::Slow;
        // One target, or three.
        let user = if row.trigger == Trigger::NextTarget {
            "+4930"
        } else {
            "900"
        };
        let offer = sdp("10.1.0.2", 4000);
        // A caller that acknowledges provisional responses, or should.
        let more = match row.trigger {
            Trigger::NoPrack => "Require: 100rel\r\n",
            _ => "",
        };
        let world = &mut stage.world;
        stage.caller.invite_with(world, user, &offer, more);
        if state != CallState::Preparing {
            stage.lead_to(state, row.trigger);
        }
        assert_eq!(stage.world.state(), state);
        stage
    }

    fn lead_to(&mut self, state: CallState, trigger: Trigger) {
        self.world.release();
        let invite = expect(&mut self.world, addr(CALLEE), "INVITE");
        self.callee = Some((Phone::callee(CALLEE, &invite, "callee"), invite));
        if trigger == Trigger::NoPrack {
            self.say(183, &sdp("10.2.0.2", 6000));
            self.world.release();
        }
        match state {
            CallState::Calling => return,
            CallState::Ringing if trigger == Trigger::NoPrack => return,
            CallState::Ringing => return self.say(180, ""),
            CallState::Cancelling => {
                self.say(180, "");
                return self.caller.cancel(&mut self.world);
            }
            _ => {}
        }
        self.say(200, &sdp("10.2.0.2", 6000));
        if state == CallState::Answering {
            return;
        }
        self.world.release();
        while let Some(message) = self.world.next(self.caller.at) {
            self.answer = Some(message);
        }
        if state == CallState::Answered {
            return;
        }
        self.acknowledge();
        if state == CallState::Ending {
            self.caller.request(&mut self.world, "BYE", "");
        }
    }

    fn say(&mut self, code: u16, body: &str) {
        let (callee, invite) = self.callee.clone().expect("an INVITE");
        callee.respond(&mut self.world, &invite, code, body);
    }

    fn acknowledge(&mut self) {
        let answer = self.answer.clone().expect("a 2xx");
        self.caller.ack(&mut self.world, &answer, "");
    }

    fn pull(&mut self, trigger: Trigger) {
        let state = self.world.state();
        match trigger {
            Trigger::FlowsReady => self.world.release(),
            Trigger::FlowsFailed => {
                if state == CallState::Ringing {
                    self.say(183, &sdp("10.2.0.2", 6000));
                }
                self.world.advance(Duration::from_secs(3));
            }
            Trigger::Provisional => self.say(180, ""),
            Trigger::Answer => self.say(200, &sdp("10.2.0.2", 6000)),
            Trigger::PickedUp => {
                let (callee, _) = self.callee.clone().expect("an INVITE");
                let mut new = Phone::caller("new");
                let body = sdp("10.1.0.2", 4100);
                calls(&mut self.world, &mut new, &named(&callee), &body);
                self.world.release();
            }
            Trigger::NextTarget => self.say(503, ""),
            Trigger::Failure => self.say(486, ""),
            Trigger::CallerCancels => self.caller.cancel(&mut self.world),
            Trigger::NoAnswer => self.world.advance(NO_ANSWER),
            Trigger::Ack => self.acknowledge(),
            Trigger::NoAck | Trigger::NoPrack => self.world.advance(TRANSACTION),
            Trigger::Bye => {
                let (mut callee, _) = self.callee.clone().expect("an INVITE");
                callee.request(&mut self.world, "BYE", "");
            }
            Trigger::HangUp => {
                let id = self.world.call().id;
                self.world.handle(Input::HangUp(id));
            }
            Trigger::Done if state == CallState::Cancelling => self.world.advance(TRANSACTION),
            Trigger::Done => {
                let (callee, _) = self.callee.clone().expect("an INVITE");
                callee.expect(&mut self.world, "ACK");
                callee.take_bye(&mut self.world);
            }
        }
    }
}

/// A callee that says nothing at all is not yet ringing for timer C: silence ends by timer B first.
fn keeps_quiet(row: &Row) -> bool {
    row.state == CallState::Calling && row.trigger == Trigger::NoAnswer
}

#[test]
fn every_row_is_walked() {
    for row in TABLE {
        let mut world = match (row.state, row.trigger) {
            (CallState::Preparing, Trigger::Failure) => {
                no_room_at_all();
                continue;
            }
            _ => {
                let mut stage = Stage::at(row.state, row);
                if keeps_quiet(row) {
                    stage.say(100, "");
                }
                // What has been sent before is not the row's; a callee at the end has yet to answer it.
                match row.state {
                    CallState::Ending => stage.world.clear(addr(CALLER)),
                    _ => drop(stage.world.take_mail()),
                }
                stage.pull(row.trigger);
                let mail = stage.world.take_mail();
                does_what_is_written(row, &mail);
                stage.world
            }
        };
        match row.next {
            CallState::Over => assert_eq!(world.agent.calls(), [], "{row:?}"),
            next => assert_eq!(world.state(), next, "{row:?}"),
        }
        for call in world.agent.calls() {
            world.handle(Input::HangUp(call.id));
        }
        world.workers = Workers::Prompt;
        world.release();
        world.advance(Duration::from_secs(300));
        world.take_mail();
        world.assert_clean();
    }
}

/// The call never gets as far as to a state that can be seen.
fn no_room_at_all() {
    let mut narrow = settings();
    for group in &mut narrow.media_groups {
        group.ports = (20_000, 20_001);
    }
    let mut world = World::with(narrow, 1);
    Phone::caller("one").invite(&mut world, "900", &sdp("10.1.0.2", 4000));
    let mut two = Phone::caller("two");
    two.invite(&mut world, "900", &sdp("10.1.0.2", 4002));
    assert_eq!(world.agent.calls().len(), 1);
    assert_eq!(world.agent.counters().calls_failed[&503], 1);
}

/// What the action of a row says that one side gets: what, and who.
struct Said<'a> {
    what: &'a str,
    to: Vec<std::net::SocketAddr>,
}

/// The messages that the action names without a condition.
fn said(action: &str) -> Vec<Said<'_>> {
    let (caller, callee) = (addr(CALLER), addr(CALLEE));
    let owed = action.contains("to the caller once");
    let clauses = action.split([',', ';']).map(str::trim);
    let clauses = clauses.filter(|clause| {
        let conditions = [" if ", " after ", " once "];
        !conditions
            .iter()
            .any(|condition| clause.contains(condition))
    });
    let spoken = clauses.filter_map(|clause| clause.split_once(" to "));
    let each = spoken.flat_map(|(what, who)| {
        // The rows' BYE is the callee's.
        let mut to = match who {
            "both" => vec![caller, callee],
            "the callee" | "the sender" => vec![callee],
            // Who calls for a place is where the caller is.
            "the newcomer" => vec![caller],
            _ if who == "the other" || who.starts_with("the caller") => vec![caller],
            _ => panic!("who is {who:?}?"),
        };
        to.retain(|at| !(owed && *at == caller));
        let whats: Vec<_> = what.split(" and ").collect();
        whats.into_iter().map(move |what| Said {
            what,
            to: to.clone(),
        })
    });
    each.collect()
}

fn is(message: &Message, what: &str) -> bool {
    let code = message.code().map(|code| code.as_u16());
    match (what, code) {
        ("failure", Some(code)) => code >= 300,
        ("provisional", Some(code)) => (101..200).contains(&code),
        ("2xx", Some(code)) => (200..300).contains(&code),
        (_, Some(code)) => what.split(" or ").any(|known| known == code.to_string()),
        (_, None) => message
            .method()
            .is_some_and(|method| method.as_str() == what),
    }
}

/// Both sides have been sent what the row's action says.
fn does_what_is_written(row: &Row, mail: &[(std::net::SocketAddr, Message)]) {
    for Said { what, to } in said(row.action) {
        for at in to {
            let sent = mail
                .iter()
                .any(|(reached, message)| *reached == at && is(message, what));
            let got: Vec<_> = mail
                .iter()
                .map(|(at, message)| (at, &message.start))
                .collect();
            assert!(sent, "{row:?}: no {what} to {at}, but {got:?}");
        }
    }
    if row.action.starts_with("nothing") {
        // What transactions say and repeat by themselves aside.
        let repeated = ["ACK", "CANCEL", "487"];
        let spoken = mail
            .iter()
            .find(|(_, message)| !repeated.iter().any(|known| is(message, known)));
        assert!(spoken.is_none(), "{row:?}: {spoken:?}");
    }
}

#[test]
fn the_actions_name_messages_that_can_be_looked_for() {
    let named = TABLE.iter().filter(|row| !said(row.action).is_empty());
    // All but what does nothing, and what waits for flows or an ACK first.
    assert!(named.count() >= 25, "{}", TABLE.len());
}
