//! Every row of the table of call states, walked.

use std::time::Duration;

use controlplane::agent::Input;
use controlplane::b2bua::{CallState, Row, TABLE, Trigger};
use controlplane::sip::Message;

use crate::phone::{Phone, expect, sdp};
use crate::world::{CALLEE, NO_ANSWER, TRANSACTION, Workers, World, addr, settings};

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
            world: World::new(),
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
                stage.pull(row.trigger);
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
