//! INVITE with Replaces (RFC 3891): carried out by tandem, or passed to who is called.

use std::time::Duration;

use controlplane::agent::Input;
use controlplane::b2bua::CallState;
use controlplane::settings::{Refer, Route, Settings, Takeover, TrunkId};
use controlplane::sip::{HeaderName, Message};
use controlplane::story::Whose;

use crate::phone::{Phone, header, sdp};
use crate::transferring::{hang_up, leads_to, referring, up};
use crate::world::{CALLEE, CALLER, OTHER_TRUNK, OUTSIDE_SIX, TRANSACTION, Workers, World, addr};

/// INVITEs with Replaces are dealt with like this, whoever sends them; the trunk over IPv6 may call.
pub(crate) fn replacing(policy: Takeover) -> Settings {
    let mut settings = referring(Refer::Pass);
    for trunk in &mut settings.trunks {
        trunk.transfer.replaces = policy;
    }
    settings
        .routes
        .push(Route::new(Some(TrunkId(2)), None, [TrunkId(3)]));
    settings
}

fn world(policy: Takeover) -> World {
    World::with(replacing(policy), 1)
}

pub(crate) fn tag(text: &str) -> String {
    text.split("tag=").nth(1).expect("a tag").to_owned()
}

/// The name of the dialog that a phone has with tandem: as tandem is asked to replace that phone.
pub(crate) fn named(phone: &Phone) -> String {
    let (to, from) = (tag(&phone.peer), tag(&phone.own));
    format!("{};to-tag={to};from-tag={from}", phone.call_id)
}

/// The same as the phone itself is asked: what its REFER to others names.
pub(crate) fn known_to(phone: &Phone) -> String {
    let (to, from) = (tag(&phone.own), tag(&phone.peer));
    format!("{};to-tag={to};from-tag={from}", phone.call_id)
}

pub(crate) fn newcomer(name: &str) -> Phone {
    Phone::new(OTHER_TRUNK, OUTSIDE_SIX, name)
}

/// The newcomer calls for the place of the dialog with this name.
pub(crate) fn calls(world: &mut World, phone: &mut Phone, name: &str, body: &str) {
    let more = format!("Replaces: {name}\r\nRequire: replaces\r\n");
    phone.invite_with(world, "+4930", body, &more);
    phone.expect(world, "100");
}

/// The party that remains takes what the newcomer offers.
fn agrees(world: &mut World, rest: &Phone, media: (&str, u16)) -> Message {
    let again = rest.expect(world, "INVITE");
    rest.respond(world, &again, 200, &sdp(media.0, media.1));
    rest.expect(world, "ACK");
    again
}

#[test]
fn a_newcomer_takes_the_callers_place() {
    let mut world = world(Takeover::Local);
    let (caller, mut callee) = up(&mut world, "taken");
    let mut new = newcomer("new");
    calls(&mut world, &mut new, &named(&caller), &sdp("fd02::2", 7000));
    caller.expect_nothing(&mut world);
    let again = agrees(&mut world, &callee, ("10.2.0.2", 6002));
    assert_eq!(leads_to(&world, &again), "[fd02::2]:7000");
    let answer = new.expect(&mut world, "200");
    assert_eq!(leads_to(&world, &answer), "10.2.0.2:6002");
    let supported = answer.headers.values(&HeaderName::Supported);
    assert!(supported.contains(&b"replaces".to_vec()));
    caller.take_bye(&mut world);
    new.ack(&mut world, &answer, "");
    assert_eq!(world.state(), CallState::Established);
    assert_eq!(world.call().from_trunk, "others");
    // They talk to each other now, within their dialogs.
    callee.request(&mut world, "INVITE", &sdp("10.2.0.2", 6004));
    callee.expect(&mut world, "100");
    let again = new.expect(&mut world, "INVITE");
    new.respond(&mut world, &again, 200, &sdp("fd02::2", 7002));
    new.expect(&mut world, "ACK");
    let answer = callee.expect(&mut world, "200");
    assert_eq!(leads_to(&world, &answer), "[fd02::2]:7002");
    callee.ack(&mut world, &answer, "");
    let id = world.call().id;
    let story = world.agent.story(Whose::CallId("new")).expect("it is told");
    assert_eq!(story.call, id);
    let told = format!("{:?}", story.lines);
    for note in [
        "INVITE (1 INVITE) from [fd02::2]",
        "INVITE with Replaces",
        "the newcomer has the place",
    ] {
        assert!(told.contains(note), "{note} in {told}");
    }
    hang_up(&mut world, callee, &new);
    let record = world.record();
    assert_eq!(record.caller.trunk, "callers");
    let tried: Vec<_> = record.tries.iter().map(|tried| &*tried.trunk).collect();
    assert_eq!(tried, ["callees", "others"]);
}

#[test]
fn a_newcomer_takes_the_callees_place() {
    let mut world = world(Takeover::Local);
    let (caller, callee) = up(&mut world, "away");
    let mut new = newcomer("new");
    calls(&mut world, &mut new, &named(&callee), &sdp("fd02::2", 7000));
    agrees(&mut world, &caller, ("10.1.0.2", 4002));
    let answer = new.expect(&mut world, "200");
    assert_eq!(leads_to(&world, &answer), "10.1.0.2:4002");
    callee.take_bye(&mut world);
    new.ack(&mut world, &answer, "");
    assert_eq!(world.call().to_trunk.as_deref(), Some("others"));
    hang_up(&mut world, new, &caller);
    let record = world.record();
    assert_eq!(record.callee.expect("one").trunk, "others");
}

#[test]
fn a_name_that_is_meant_for_a_party_replaces_the_other() {
    let mut world = world(Takeover::Local);
    let (caller, callee) = up(&mut world, "meant");
    let mut new = newcomer("new");
    let name = known_to(&callee);
    calls(&mut world, &mut new, &name, &sdp("fd02::2", 7000));
    agrees(&mut world, &callee, ("10.2.0.2", 6000));
    let answer = new.expect(&mut world, "200");
    caller.take_bye(&mut world);
    new.ack(&mut world, &answer, "");
    hang_up(&mut world, new, &callee);
}

#[test]
fn a_newcomer_without_description_is_offered_one() {
    let mut world = world(Takeover::Local);
    let (caller, callee) = up(&mut world, "late");
    let mut new = newcomer("new");
    calls(&mut world, &mut new, &named(&caller), "");
    let again = callee.expect(&mut world, "INVITE");
    assert!(again.body.is_empty());
    callee.respond(&mut world, &again, 200, &sdp("10.2.0.2", 6002));
    callee.expect_nothing(&mut world);
    let answer = new.expect(&mut world, "200");
    caller.take_bye(&mut world);
    new.ack(&mut world, &answer, &sdp("fd02::2", 7000));
    let ack = callee.expect(&mut world, "ACK");
    assert_eq!(leads_to(&world, &ack), "[fd02::2]:7000");
    assert_eq!(leads_to(&world, &answer), "10.2.0.2:6002");
    hang_up(&mut world, new, &callee);
}

#[test]
fn what_cannot_be_replaced_is_refused_and_stays_as_it_was() {
    let mut world = world(Takeover::Local);
    let (mut caller, callee) = up(&mut world, "stays");
    let good = named(&caller);
    for (place, (more, code)) in [
        (format!("Replaces: {good}, {good}\r\n"), "400"),
        (format!("Replaces: {good}\r\nReplaces: {good}\r\n"), "400"),
        (format!("Replaces: {good}\r\nJoin: {good}\r\n"), "400"),
        ("Replaces: x;to-tag=1\r\n".into(), "400"),
        ("Replaces: x;to-tag=1;from-tag=2\r\n".into(), "481"),
        (format!("Replaces: {good}x\r\n"), "481"),
        (format!("Replaces: {good};early-only\r\n"), "486"),
        (format!("Replaces: {good}\r\nRequire: gruu\r\n"), "420"),
        (format!("Replaces: {good}\r\nMax-Forwards: 0\r\n"), "483"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut new = newcomer(&format!("new-{place}"));
        new.invite_with(&mut world, "+4930", &sdp("fd02::2", 7000), &more);
        new.expect(&mut world, "100");
        let refusal = new.expect(&mut world, code);
        new.ack(&mut world, &refusal, "");
        assert_eq!(
            world
                .records
                .pop()
                .expect("a record")
                .release
                .code
                .map(|code| code.to_string())
                .as_deref(),
            Some(code)
        );
    }
    // In any other request it has no meaning.
    caller.request_with(&mut world, "INFO", "", &format!("Replaces: {good}\r\n"));
    caller.expect(&mut world, "400");
    // A party that is in an exchange of its own is not disturbed.
    caller.request(&mut world, "INVITE", &sdp("10.1.0.2", 4004));
    caller.expect(&mut world, "100");
    let again = callee.expect(&mut world, "INVITE");
    let mut new = newcomer("glare");
    calls(&mut world, &mut new, &good, &sdp("fd02::2", 7000));
    let refusal = new.expect(&mut world, "491");
    new.ack(&mut world, &refusal, "");
    callee.respond(&mut world, &again, 200, &sdp("10.2.0.2", 6000));
    callee.expect(&mut world, "ACK");
    let answer = caller.expect(&mut world, "200");
    caller.ack(&mut world, &answer, "");
    // One that has just ended is not wanted back.
    caller.request(&mut world, "BYE", "");
    caller.expect(&mut world, "200");
    let mut new = newcomer("over");
    calls(&mut world, &mut new, &good, &sdp("fd02::2", 7000));
    let refusal = new.expect(&mut world, "603");
    new.ack(&mut world, &refusal, "");
    callee.take_bye(&mut world);
    world.assert_quiet();
    world.assert_clean();
}

#[test]
fn a_trunk_that_may_not_replace_makes_a_call_of_its_own() {
    let mut world = world(Takeover::Off);
    let (caller, callee) = up(&mut world, "off");
    let mut new = newcomer("required");
    calls(&mut world, &mut new, &named(&caller), &sdp("fd02::2", 7000));
    let refusal = new.expect(&mut world, "420");
    assert_eq!(header(&refusal, HeaderName::Unsupported), "replaces");
    new.ack(&mut world, &refusal, "");
    let mut new = newcomer("ignored");
    let more = format!("Replaces: {}\r\n", named(&caller));
    new.invite_with(&mut world, "+4930", &sdp("fd02::2", 7000), &more);
    new.expect(&mut world, "100");
    let invite = callee.expect(&mut world, "INVITE");
    assert!(!invite.headers.contains(&HeaderName::Replaces));
    let called = Phone::callee(CALLEE, &invite, "new");
    called.respond(&mut world, &invite, 486, "");
    called.expect(&mut world, "ACK");
    let refusal = new.expect(&mut world, "486");
    new.ack(&mut world, &refusal, "");
    hang_up(&mut world, caller, &callee);
}

#[test]
fn a_name_that_passes_is_the_one_that_the_callee_knows() {
    let mut world = world(Takeover::Pass);
    let (mut caller, callee) = up(&mut world, "passes");
    for (place, (name, passed)) in [
        (named(&caller), known_to(&callee)),
        (known_to(&callee), known_to(&callee)),
        (
            "foreign;to-tag=1;from-tag=2".into(),
            "foreign;to-tag=1;from-tag=2".into(),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let mut new = newcomer(&format!("new-{place}"));
        calls(&mut world, &mut new, &name, &sdp("fd02::2", 7000));
        let invite = callee.expect(&mut world, "INVITE");
        assert_eq!(header(&invite, HeaderName::Replaces), passed);
        assert!(invite.lists(&HeaderName::Require, "replaces"));
        let called = Phone::callee(CALLEE, &invite, &format!("new-{place}"));
        called.respond(&mut world, &invite, 200, &sdp("10.2.0.2", 6010));
        called.expect(&mut world, "ACK");
        let answer = new.expect(&mut world, "200");
        new.ack(&mut world, &answer, "");
        new.request(&mut world, "BYE", "");
        new.expect(&mut world, "200");
        called.take_bye(&mut world);
    }
    caller.request(&mut world, "OPTIONS", "");
    let able = caller.expect(&mut world, "200");
    assert!(able.lists(&HeaderName::Supported, "replaces"));
    hang_up(&mut world, caller, &callee);
}

#[test]
fn a_party_that_refuses_the_newcomer_talks_on() {
    let mut world = world(Takeover::Local);
    let (mut caller, callee) = up(&mut world, "refuses");
    let mut new = newcomer("new");
    calls(&mut world, &mut new, &named(&caller), &sdp("fd02::2", 7000));
    let again = callee.expect(&mut world, "INVITE");
    callee.respond(&mut world, &again, 488, "");
    callee.expect(&mut world, "ACK");
    let refusal = new.expect(&mut world, "488");
    new.ack(&mut world, &refusal, "");
    caller.request(&mut world, "INVITE", &sdp("10.1.0.2", 4004));
    caller.expect(&mut world, "100");
    agrees(&mut world, &callee, ("10.2.0.2", 6000));
    let answer = caller.expect(&mut world, "200");
    assert_eq!(leads_to(&world, &answer), "10.2.0.2:6000");
    caller.ack(&mut world, &answer, "");
    assert_eq!(world.agent.counters().transfers_failed, 1);
    hang_up(&mut world, caller, &callee);
}

#[test]
fn flows_that_cannot_be_installed_leave_the_call_as_it_was() {
    let mut world = world(Takeover::Local);
    let (caller, callee) = up(&mut world, "flows");
    world.workers = Workers::Refusing(contract::Refusal::TableFull);
    let mut new = newcomer("new");
    calls(&mut world, &mut new, &named(&caller), &sdp("fd02::2", 7000));
    let refusal = new.expect(&mut world, "500");
    new.ack(&mut world, &refusal, "");
    world.workers = Workers::Prompt;
    hang_up(&mut world, caller, &callee);
}

#[test]
fn a_newcomer_that_cancels_is_let_go_unless_all_have_agreed() {
    for agreed in [false, true] {
        let mut world = world(Takeover::Local);
        let (caller, callee) = up(&mut world, "cancels");
        let mut new = newcomer("new");
        calls(&mut world, &mut new, &named(&caller), &sdp("fd02::2", 7000));
        let again = callee.expect(&mut world, "INVITE");
        callee.respond(&mut world, &again, 100, "");
        new.cancel(&mut world);
        new.expect(&mut world, "200");
        let cancel = callee.expect(&mut world, "CANCEL");
        callee.respond(&mut world, &cancel, 200, "");
        if agreed {
            callee.respond(&mut world, &again, 200, &sdp("10.2.0.2", 6002));
            callee.expect(&mut world, "ACK");
            let answer = new.expect(&mut world, "200");
            caller.take_bye(&mut world);
            new.ack(&mut world, &answer, "");
            hang_up(&mut world, new, &callee);
        } else {
            callee.respond(&mut world, &again, 487, "");
            callee.expect(&mut world, "ACK");
            let refusal = new.expect(&mut world, "487");
            new.ack(&mut world, &refusal, "");
            hang_up(&mut world, caller, &callee);
        }
    }
}

#[test]
fn a_newcomer_that_has_not_acknowledged_gets_its_bye_afterwards() {
    for acknowledges in [true, false] {
        let mut world = world(Takeover::Local);
        let (caller, mut callee) = up(&mut world, "owed");
        let mut new = newcomer("new");
        calls(&mut world, &mut new, &named(&caller), &sdp("fd02::2", 7000));
        agrees(&mut world, &callee, ("10.2.0.2", 6002));
        let answer = new.expect(&mut world, "200");
        caller.take_bye(&mut world);
        callee.request(&mut world, "BYE", "");
        callee.expect(&mut world, "200");
        new.expect_nothing(&mut world);
        if acknowledges {
            new.ack(&mut world, &answer, "");
        } else {
            world.advance(TRANSACTION);
            while let Some(again) = world.next(new.at) {
                if again.method().is_some() {
                    new.respond(&mut world, &again, 200, "");
                    break;
                }
            }
            world.assert_clean();
            continue;
        }
        new.take_bye(&mut world);
        world.assert_quiet();
        world.assert_clean();
    }
}

#[test]
fn a_newcomer_that_never_acknowledges_ends_the_call() {
    for body in [&*sdp("fd02::2", 7000), ""] {
        let mut world = world(Takeover::Local);
        let (caller, callee) = up(&mut world, "silent");
        let mut new = newcomer("new");
        calls(&mut world, &mut new, &named(&caller), body);
        let again = callee.expect(&mut world, "INVITE");
        callee.respond(&mut world, &again, 200, &sdp("10.2.0.2", 6002));
        caller.take_bye(&mut world);
        if !body.is_empty() {
            callee.expect(&mut world, "ACK");
        }
        world.advance(TRANSACTION);
        callee.take_bye(&mut world);
        world.clear(new.at);
        world.assert_clean();
        assert_eq!(world.record().release.cause, "no_ack");
    }
}

#[test]
fn a_party_that_hangs_up_meanwhile_ends_it_all() {
    for replaced in [false, true] {
        let mut world = world(Takeover::Local);
        let (mut caller, mut callee) = up(&mut world, "gone");
        let mut new = newcomer("new");
        calls(&mut world, &mut new, &named(&caller), &sdp("fd02::2", 7000));
        let again = callee.expect(&mut world, "INVITE");
        let (gone, other) = match replaced {
            true => (&mut caller, &callee),
            false => (&mut callee, &caller),
        };
        gone.request(&mut world, "BYE", "");
        gone.expect(&mut world, "200");
        let refusal = new.expect(&mut world, "487");
        new.ack(&mut world, &refusal, "");
        other.take_bye(&mut world);
        callee.respond(&mut world, &again, 487, "");
        callee.expect(&mut world, "ACK");
        world.assert_quiet();
        world.assert_clean();
    }
}

#[test]
fn its_own_session_timer_is_agreed_with_the_newcomer() {
    let mut world = world(Takeover::Local);
    let (caller, callee) = up(&mut world, "timer");
    let mut new = newcomer("new");
    let more = format!(
        "Replaces: {}\r\nSupported: timer\r\nSession-Expires: 600;refresher=uas\r\n",
        named(&caller)
    );
    new.invite_with(&mut world, "+4930", &sdp("fd02::2", 7000), &more);
    new.expect(&mut world, "100");
    agrees(&mut world, &callee, ("10.2.0.2", 6000));
    let answer = new.expect(&mut world, "200");
    assert_eq!(
        header(&answer, HeaderName::SessionExpires),
        "600;refresher=uas"
    );
    caller.take_bye(&mut world);
    new.ack(&mut world, &answer, "");
    // Silence of the media would end it sooner.
    world.advance(Duration::from_secs(50));
    let id = world.call().id;
    world.handle(Input::HangUp(id));
    new.take_bye(&mut world);
    callee.take_bye(&mut world);
    world.assert_clean();
}

#[test]
fn a_caller_may_take_its_own_place_from_another_phone() {
    let mut world = world(Takeover::Local);
    let (caller, callee) = up(&mut world, "moves");
    let mut new = Phone::caller("moved");
    calls(
        &mut world,
        &mut new,
        &named(&caller),
        &sdp("10.1.0.9", 4100),
    );
    agrees(&mut world, &callee, ("10.2.0.2", 6000));
    caller.take_bye(&mut world);
    let answer = new.expect(&mut world, "200");
    new.ack(&mut world, &answer, "");
    assert_eq!(new.at, addr(CALLER));
    hang_up(&mut world, new, &callee);
}
