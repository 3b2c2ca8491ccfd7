//! INVITE with Replaces for a callee that rings: its sender picks the call up.

use controlplane::b2bua::CallState;
use controlplane::settings::{Settings, Takeover};
use controlplane::sip::{HeaderName, Message};

use crate::phone::{Phone, expect, header, sdp};
use crate::replacing::{calls, known_to, named, newcomer, replacing};
use crate::transferring::{hang_up, leads_to};
use crate::world::{CALLEE, TRANSACTION, Workers, World, addr};

fn local() -> Settings {
    replacing(Takeover::Local)
}

/// A call that rings: the caller, the callee, and its INVITE.
fn rings(world: &mut World, offer: &str) -> (Phone, Phone, Message) {
    let mut caller = Phone::caller("rings");
    caller.invite(world, "900", offer);
    caller.expect(world, "100");
    let invite = expect(world, addr(CALLEE), "INVITE");
    let callee = Phone::callee(CALLEE, &invite, "callee");
    callee.respond(world, &invite, 180, "");
    let ringing = caller.expect(world, "180");
    caller.learn(&ringing);
    (caller, callee, invite)
}

/// The callee is cancelled, and says so.
fn is_cancelled(world: &mut World, callee: &Phone, invite: &Message) {
    let cancel = callee.expect(world, "CANCEL");
    callee.respond(world, &cancel, 200, "");
    callee.respond(world, invite, 487, "");
    callee.expect(world, "ACK");
}

/// The callee answers after all.
fn answers(world: &mut World, caller: &mut Phone, callee: &Phone, invite: &Message) {
    callee.respond(world, invite, 200, &sdp("10.2.0.2", 6000));
    callee.expect(world, "ACK");
    let answer = caller.expect(world, "200");
    caller.ack(world, &answer, "");
    assert_eq!(world.state(), CallState::Established);
}

#[test]
fn a_newcomer_picks_a_call_up() {
    for meant_for_the_caller in [false, true] {
        let mut world = World::with(local(), 1);
        let (mut caller, callee, invite) = rings(&mut world, &sdp("10.1.0.2", 4000));
        let mut new = newcomer("new");
        let name = match meant_for_the_caller {
            true => known_to(&caller),
            false => named(&callee),
        };
        let name = format!("{name};early-only");
        calls(&mut world, &mut new, &name, &sdp("fd02::2", 7000));
        is_cancelled(&mut world, &callee, &invite);
        let theirs = new.expect(&mut world, "200");
        let ours = caller.expect(&mut world, "200");
        assert_eq!(leads_to(&world, &theirs), "10.1.0.2:4000");
        assert_eq!(leads_to(&world, &ours), "[fd02::2]:7000");
        assert_ne!(
            header(&ours, HeaderName::To),
            caller.peer,
            "a dialog of its own"
        );
        new.ack(&mut world, &theirs, "");
        caller.ack(&mut world, &ours, "");
        assert_eq!(world.state(), CallState::Established);
        assert_eq!(world.call().to_trunk.as_deref(), Some("others"));
        // They talk to each other now.
        new.request(&mut world, "INVITE", &sdp("fd02::2", 7002));
        new.expect(&mut world, "100");
        let again = caller.expect(&mut world, "INVITE");
        caller.respond(&mut world, &again, 200, &sdp("10.1.0.2", 4002));
        caller.expect(&mut world, "ACK");
        let answer = new.expect(&mut world, "200");
        assert_eq!(leads_to(&world, &answer), "10.1.0.2:4002");
        new.ack(&mut world, &answer, "");
        hang_up(&mut world, caller, &new);
        let record = world.record();
        let tried: Vec<_> = record.tries.iter().map(|tried| &*tried.trunk).collect();
        assert_eq!(tried, ["one", "others"]);
        assert_eq!(record.callee.expect("one").trunk, "others");
    }
}

#[test]
fn what_cannot_be_picked_up_rings_on() {
    let mut world = World::with(local(), 1);
    let (mut caller, callee, invite) = rings(&mut world, &sdp("10.1.0.2", 4000));
    let good = named(&callee);
    let other = sdp("fd02::2", 7000)
        .replace("8 PCMA", "18 G729")
        .replace("AVP 8", "AVP 18");
    let two = format!("{}m=audio 7002 RTP/AVP 8\r\n", sdp("fd02::2", 7000));
    let plain = sdp("fd02::2", 7000);
    for (place, (name, body, code)) in [
        (named(&caller), &*plain, "481"),
        (format!("{good}x"), &plain, "481"),
        (good.clone(), "", "488"),
        (good.clone(), &other, "488"),
        (good.clone(), &two, "488"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut new = newcomer(&format!("new-{place}"));
        calls(&mut world, &mut new, &name, body);
        let refusal = new.expect(&mut world, code);
        new.ack(&mut world, &refusal, "");
        callee.expect_nothing(&mut world);
    }
    answers(&mut world, &mut caller, &callee, &invite);
    hang_up(&mut world, caller, &callee);
}

#[test]
fn a_caller_that_leaves_the_offer_to_the_callee_is_not_picked_up() {
    let mut world = World::with(local(), 1);
    let (mut caller, callee, invite) = rings(&mut world, "");
    let mut new = newcomer("new");
    calls(&mut world, &mut new, &named(&callee), &sdp("fd02::2", 7000));
    let refusal = new.expect(&mut world, "488");
    new.ack(&mut world, &refusal, "");
    caller.cancel(&mut world);
    caller.expect(&mut world, "200");
    let cancelled = caller.expect(&mut world, "487");
    caller.ack(&mut world, &cancelled, "");
    is_cancelled(&mut world, &callee, &invite);
    world.assert_quiet();
    world.assert_clean();
}

/// A newcomer waits for its flows, which slow workers have not installed.
fn waits() -> (World, Phone, Phone, Message, Phone) {
    let mut world = World::with(local(), 1);
    let (caller, callee, invite) = rings(&mut world, &sdp("10.1.0.2", 4000));
    world.workers = Workers::Slow;
    let mut new = newcomer("new");
    calls(&mut world, &mut new, &named(&callee), &sdp("fd02::2", 7000));
    new.expect_nothing(&mut world);
    (world, caller, callee, invite, new)
}

fn is_refused(world: &mut World, new: &mut Phone, code: &str) {
    let refusal = new.expect(world, code);
    new.ack(world, &refusal, "");
}

#[test]
fn a_callee_that_answers_first_has_the_call() {
    let (mut world, mut caller, callee, invite, mut new) = waits();
    callee.respond(&mut world, &invite, 200, &sdp("10.2.0.2", 6000));
    is_refused(&mut world, &mut new, "486");
    world.workers = Workers::Prompt;
    world.release();
    callee.expect(&mut world, "ACK");
    let answer = caller.expect(&mut world, "200");
    assert_eq!(leads_to(&world, &answer), "10.2.0.2:6000");
    caller.ack(&mut world, &answer, "");
    hang_up(&mut world, caller, &callee);
}

#[test]
fn whoever_leaves_meanwhile_ends_it() {
    for caller_leaves in [true, false] {
        let (mut world, mut caller, callee, invite, mut new) = waits();
        if caller_leaves {
            caller.peer = format!("<sip:900@{}>", crate::world::INSIDE);
            caller.target = format!("sip:900@{}", crate::world::INSIDE);
            caller.cancel(&mut world);
            caller.expect(&mut world, "200");
            let cancelled = caller.expect(&mut world, "487");
            caller.ack(&mut world, &cancelled, "");
            is_refused(&mut world, &mut new, "487");
            is_cancelled(&mut world, &callee, &invite);
        } else {
            new.cancel(&mut world);
            new.expect(&mut world, "200");
            is_refused(&mut world, &mut new, "487");
            callee.respond(&mut world, &invite, 486, "");
            callee.expect(&mut world, "ACK");
            let busy = caller.expect(&mut world, "486");
            caller.ack(&mut world, &busy, "");
        }
        world.workers = Workers::Prompt;
        world.release();
        world.assert_quiet();
        world.assert_clean();
    }
}

#[test]
fn flows_that_cannot_be_installed_let_it_ring_on() {
    let mut world = World::with(local(), 1);
    let (mut caller, callee, invite) = rings(&mut world, &sdp("10.1.0.2", 4000));
    world.workers = Workers::Refusing(contract::Refusal::TableFull);
    let mut new = newcomer("new");
    calls(&mut world, &mut new, &named(&callee), &sdp("fd02::2", 7000));
    is_refused(&mut world, &mut new, "500");
    world.workers = Workers::Prompt;
    answers(&mut world, &mut caller, &callee, &invite);
    hang_up(&mut world, caller, &callee);
}

#[test]
fn a_callee_whose_answer_crosses_the_cancel_is_acknowledged_and_ended() {
    let mut world = World::with(local(), 1);
    let (mut caller, callee, invite) = rings(&mut world, &sdp("10.1.0.2", 4000));
    let mut new = newcomer("new");
    calls(&mut world, &mut new, &named(&callee), &sdp("fd02::2", 7000));
    let cancel = callee.expect(&mut world, "CANCEL");
    callee.respond(&mut world, &cancel, 200, "");
    callee.respond(&mut world, &invite, 200, &sdp("10.2.0.2", 6000));
    callee.expect(&mut world, "ACK");
    callee.take_bye(&mut world);
    let theirs = new.expect(&mut world, "200");
    new.ack(&mut world, &theirs, "");
    let ours = caller.expect(&mut world, "200");
    caller.ack(&mut world, &ours, "");
    hang_up(&mut world, caller, &new);
}

#[test]
fn two_that_never_acknowledge_get_their_bye_in_the_end() {
    let mut world = World::with(local(), 1);
    let (caller, callee, invite) = rings(&mut world, &sdp("10.1.0.2", 4000));
    let mut new = newcomer("new");
    calls(&mut world, &mut new, &named(&callee), &sdp("fd02::2", 7000));
    is_cancelled(&mut world, &callee, &invite);
    world.advance(TRANSACTION);
    for phone in [&caller, &new] {
        let mut last = None;
        while let Some(message) = world.next(phone.at) {
            last = Some(message);
        }
        let bye = last.expect("it was sent something");
        assert_eq!(bye.method().map(|method| method.as_str()), Some("BYE"));
        phone.respond(&mut world, &bye, 200, "");
    }
    world.assert_quiet();
    world.assert_clean();
    assert_eq!(world.record().release.cause, "no_ack");
}
