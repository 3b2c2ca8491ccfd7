//! Every row of the table of transfers, walked; and how long a transfer waits for who is in an exchange of its own.

use std::time::Duration;

use controlplane::b2bua::{CallState, TRANSFER_TABLE, TransferRow, TransferStage, TransferTrigger};
use controlplane::settings::Refer;
use controlplane::sip::Message;

use crate::phone::{Phone, expect, sdp};
use crate::transferring::{hears, refer, referring, target, up};
use crate::world::{CALLEE, CALLER, OTHER_TRUNK, OUTSIDE, Workers, World, addr};

/// A transfer in some stage: its phones, and what they have received.
struct Walk {
    world: World,
    callee: Phone,
    target: Phone,
    invite: Message,
    again: Option<Message>,
}

impl Walk {
    fn at(row: &TransferRow) -> Self {
        let mut world = World::with(referring(Refer::Local), 1);
        let (mut caller, callee) = up(&mut world, "row");
        // One target, or two.
        let (user, at) = match row.trigger {
            TransferTrigger::NextTarget => ("7001", CALLEE),
            _ => ("8001", OTHER_TRUNK),
        };
        refer(&mut world, &mut caller, &format!("sip:{user}@10.1.0.1"));
        let invite = expect(&mut world, addr(at), "INVITE");
        let target = Phone::callee(at, &invite, "target");
        world.workers = Workers::Slow;
        let mut walk = Self {
            world,
            callee,
            target,
            invite,
            again: None,
        };
        walk.lead_to(row.state);
        assert_eq!(walk.stage(), Some(row.state), "{row:?}");
        walk
    }

    fn lead_to(&mut self, stage: TransferStage) {
        let path = [
            TransferStage::Preparing,
            TransferStage::Joining,
            TransferStage::Pausing,
            TransferStage::Connecting,
        ];
        let Some(steps) = path.iter().position(|known| *known == stage) else {
            return;
        };
        self.offers();
        if steps > 0 {
            self.world.release();
            self.again = Some(self.callee.expect(&mut self.world, "INVITE"));
        }
        match stage {
            TransferStage::Pausing => self.says(491, ""),
            TransferStage::Connecting => self.says(200, &sdp("10.2.0.2", 6002)),
            _ => {}
        }
    }

    fn offers(&mut self) {
        self.target
            .respond(&mut self.world, &self.invite, 200, &sdp("fd02::2", 7000));
    }

    /// The party that remains answers the re-INVITE.
    fn says(&mut self, code: u16, body: &str) {
        let again = self.again.clone().expect("a re-INVITE");
        self.callee.respond(&mut self.world, &again, code, body);
    }

    fn pull(&mut self, row: &TransferRow) {
        use {TransferStage as S, TransferTrigger as T};
        match (row.state, row.trigger) {
            (_, T::NextTarget) => self.target.respond(&mut self.world, &self.invite, 503, ""),
            (S::Inviting, T::Answer) => self.offers(),
            (_, T::Answer) => self.says(200, &sdp("10.2.0.2", 6002)),
            (S::Inviting, T::Failure) => {
                self.target.respond(&mut self.world, &self.invite, 486, "");
            }
            (S::Joining, T::Failure) => self.says(488, ""),
            (_, T::Failure) => self.target.request(&mut self.world, "BYE", ""),
            (_, T::Glare) => self.says(491, ""),
            (_, T::Due) => self.world.advance(Duration::from_secs(4)),
            (_, T::FlowsReady) => self.world.release(),
            (_, T::FlowsFailed) => self.world.advance(Duration::from_secs(3)),
            (_, T::CallEnds) => self.callee.request(&mut self.world, "BYE", ""),
        }
    }

    fn stage(&self) -> Option<TransferStage> {
        let id = self.world.call().id;
        self.world.agent.call(id).expect("it is up").transfer
    }
}

#[test]
fn every_row_is_walked() {
    for row in TRANSFER_TABLE {
        let mut walk = Walk::at(row);
        walk.pull(row);
        let counters = walk.world.agent.counters();
        let done = (counters.transfers_made, counters.transfers_failed);
        match row.next {
            TransferStage::Joined => assert_eq!(done, (1, 0), "{row:?}"),
            TransferStage::Failed => assert_eq!(done, (0, 1), "{row:?}"),
            next => assert_eq!(walk.stage(), Some(next), "{row:?}"),
        }
        let ended = row.trigger == TransferTrigger::CallEnds
            || row.state == TransferStage::Connecting && row.next == TransferStage::Failed;
        let state = walk.world.state();
        assert_eq!(state != CallState::Established, ended, "{row:?}: {state:?}");
        for call in walk.world.agent.calls() {
            walk.world
                .handle(controlplane::agent::Input::HangUp(call.id));
        }
        walk.world.workers = Workers::Prompt;
        walk.world.release();
        walk.world.advance(Duration::from_secs(300));
        walk.world.take_mail();
        walk.world.assert_clean();
    }
}

/// When the party that remains is asked again after its 491.
fn waits(seed: u64, rest_is_callee: bool) -> Duration {
    let mut world = World::with(referring(Refer::Local), seed);
    let (mut caller, mut callee) = up(&mut world, "glare");
    let rest = match rest_is_callee {
        true => {
            refer(&mut world, &mut caller, "sip:8001@10.1.0.1");
            target(&mut world, OTHER_TRUNK, ("fd02::2", 7000));
            callee
        }
        false => {
            refer(&mut world, &mut callee, &format!("sip:back@{OUTSIDE}"));
            target(&mut world, CALLER, ("10.1.0.9", 7000));
            caller
        }
    };
    let again = rest.expect(&mut world, "INVITE");
    rest.respond(&mut world, &again, 491, "");
    rest.expect(&mut world, "ACK");
    let step = Duration::from_millis(10);
    let mut waited = Duration::ZERO;
    loop {
        world.advance(step);
        waited += step;
        let next = world.next(rest.at);
        if next.is_some_and(|next| next.method().is_some()) {
            return waited;
        }
        assert!(waited < Duration::from_secs(5), "it is never asked again");
    }
}

#[test]
fn who_owns_the_call_id_waits_longer() {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for seed in 0..20 {
        ours.push(waits(seed, true));
        theirs.push(waits(seed, false));
    }
    let bounds = |waits: &[Duration]| {
        let (least, most) = (waits.iter().min(), waits.iter().max());
        (*least.expect("some"), *most.expect("some"))
    };
    let (least, most) = bounds(&ours);
    assert!(least >= Duration::from_millis(2_100), "{least:?}");
    assert!(most <= Duration::from_millis(4_000), "{most:?}");
    let (least, most) = bounds(&theirs);
    assert!(least >= Duration::from_millis(10), "{least:?}");
    assert!(most <= Duration::from_millis(2_000), "{most:?}");
    // Not always the same.
    assert!(most - least > Duration::from_millis(500));
}

#[test]
fn glare_without_end_is_given_up() {
    let mut world = World::with(referring(Refer::Local), 1);
    let (mut caller, callee) = up(&mut world, "endless");
    refer(&mut world, &mut caller, "sip:8001@10.1.0.1");
    let (target, _) = target(&mut world, OTHER_TRUNK, ("fd02::2", 7000));
    for turn in 1..=3 {
        let again = callee.expect(&mut world, "INVITE");
        // It may have been repeated meanwhile.
        world.clear(callee.at);
        callee.respond(&mut world, &again, 491, "");
        callee.expect(&mut world, "ACK");
        if turn < 3 {
            world.advance(Duration::from_secs(4));
        }
    }
    target.expect(&mut world, "ACK");
    target.take_bye(&mut world);
    callee.expect_nothing(&mut world);
    hears(
        &mut world,
        &caller,
        "491 Request Pending",
        crate::transferring::OVER,
    );
    crate::transferring::hang_up(&mut world, caller, &callee);
}
