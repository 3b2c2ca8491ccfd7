//! REFER: passed from one party to the other, or carried out by tandem.

use std::time::Duration;

use controlplane::b2bua::CallState;
use controlplane::settings::{Refer, Route, Settings, TimerMode, TrunkId};
use controlplane::sip::{HeaderName, Message};
use controlplane::story::Whose;
use controlplane::trunks::HealthState;
use regex::Regex;

use crate::phone::{Phone, expect, header, media_of, sdp};
use crate::world::{
    CALLEE, CALLER, INSIDE, OTHER_TRUNK, OUTSIDE, TRANSACTION, Workers, World, addr, settings,
};

/// Users that begin with 8 lead to the trunk over IPv6, those that begin with 7 to both trunks.
pub(crate) fn referring(refer: Refer) -> Settings {
    let mut settings = settings();
    for trunk in &mut settings.trunks {
        trunk.transfer.refer = refer;
    }
    let route = |pattern: &str, to: &[u16]| {
        let pattern = Regex::new(pattern).expect("a pattern");
        let to = to.iter().copied().map(TrunkId);
        Route::new(Some(TrunkId(0)), Some(pattern), to)
    };
    settings.routes.insert(0, route("8.*", &[2]));
    settings.routes.insert(0, route("7.*", &[3, 2]));
    settings
}

fn world(refer: Refer) -> World {
    World::with(referring(refer), 1)
}

/// A call that is up: the caller and the callee.
pub(crate) fn up(world: &mut World, name: &str) -> (Phone, Phone) {
    let mut caller = Phone::caller(name);
    caller.invite(world, "+4930", &sdp("10.1.0.2", 4000));
    caller.expect(world, "100");
    let invite = expect(world, addr(CALLEE), "INVITE");
    let callee = Phone::callee(CALLEE, &invite, &format!("callee-{name}"));
    callee.respond(world, &invite, 200, &sdp("10.2.0.2", 6000));
    callee.expect(world, "ACK");
    let answer = caller.expect(world, "200");
    caller.ack(world, &answer, "");
    assert_eq!(world.state(), CallState::Established);
    (caller, callee)
}

/// The transferor asks for a transfer, which is accepted; the first NOTIFY is answered.
pub(crate) fn refer(world: &mut World, by: &mut Phone, to: &str) {
    by.request_with(world, "REFER", "", &format!("Refer-To: <{to}>\r\n"));
    by.expect(world, "202");
    hears(world, by, "100 Trying", "active;expires=900");
}

/// The transferor is told how far it is, and answers.
pub(crate) fn hears(world: &mut World, by: &Phone, line: &str, state: &str) {
    let notify = by.expect(world, "NOTIFY");
    assert_eq!(notify.body, format!("SIP/2.0 {line}\r\n").as_bytes());
    assert_eq!(header(&notify, HeaderName::SubscriptionState), state);
    assert!(header(&notify, HeaderName::Event).starts_with("refer"));
    by.respond(world, &notify, 200, "");
}

pub(crate) const OVER: &str = "terminated;reason=noresource";

/// The target takes its INVITE with this offer.
pub(crate) fn target(world: &mut World, at: &str, media: (&str, u16)) -> (Phone, Message) {
    let invite = expect(world, addr(at), "INVITE");
    assert!(invite.body.is_empty(), "it is to make the offer");
    let phone = Phone::callee(at, &invite, "target");
    phone.respond(world, &invite, 200, &sdp(media.0, media.1));
    (phone, invite)
}

/// Where packets that arrive at what a message announces go on to.
pub(crate) fn leads_to(world: &World, message: &Message) -> String {
    let (address, port) = media_of(message);
    let egress = world.flow(&address, port).rtp.expect("RTP");
    egress.destination.expect("a destination").to_string()
}

pub(crate) fn hang_up(world: &mut World, mut one: Phone, other: &Phone) {
    one.request(world, "BYE", "");
    one.expect(world, "200");
    other.take_bye(world);
    world.assert_quiet();
    world.assert_clean();
}

#[test]
fn by_default_nobody_transfers() {
    let mut world = World::new();
    let (mut caller, callee) = up(&mut world, "off");
    caller.request_with(&mut world, "REFER", "", "Refer-To: <sip:8@10.1.0.1>\r\n");
    let answer = caller.expect(&mut world, "405");
    assert!(!header(&answer, HeaderName::Allow).contains("REFER"));
    hang_up(&mut world, caller, &callee);
}

#[test]
fn a_caller_transfers_its_callee() {
    let mut world = world(Refer::Local);
    let (mut caller, mut callee) = up(&mut world, "blind");
    let said = "Referred-By: <sip:alice@10.1.0.2>\r\n";
    let asks = format!("Refer-To: <sip:8001@10.1.0.1>\r\n{said}");
    caller.request_with(&mut world, "REFER", "", &asks);
    let accepted = caller.expect(&mut world, "202");
    let allow = accepted.headers.values(&HeaderName::Allow);
    assert!(allow.contains(&b"REFER".to_vec()));
    hears(&mut world, &caller, "100 Trying", "active;expires=900");
    let (target, invite) = target(&mut world, OTHER_TRUNK, ("fd02::2", 7000));
    let uri = invite.uri().expect("a request").to_string();
    assert_eq!(uri, "sip:8001@[fd02::2]:5060");
    assert!(header(&invite, HeaderName::From).contains("+4930"));
    let by = header(&invite, HeaderName::ReferredBy);
    assert!(by.contains("alice@[fd02::1]"), "{by}");
    // Until both have agreed the call goes on as it was.
    caller.expect_nothing(&mut world);
    let again = callee.expect(&mut world, "INVITE");
    assert_eq!(leads_to(&world, &again), "[fd02::2]:7000");
    callee.respond(&mut world, &again, 200, &sdp("10.2.0.2", 6002));
    callee.expect(&mut world, "ACK");
    let ack = target.expect(&mut world, "ACK");
    assert_eq!(leads_to(&world, &ack), "10.2.0.2:6002");
    hears(&mut world, &caller, "200 OK", OVER);
    caller.take_bye(&mut world);
    assert_eq!(world.state(), CallState::Established);
    assert_eq!(world.call().from_trunk, "others");
    // They talk to each other now, within their dialogs.
    let mut found = target.clone();
    found.cseq = 200;
    found.request_with(&mut world, "INFO", "x", "Content-Type: text/plain\r\n");
    let info = callee.expect(&mut world, "INFO");
    callee.respond(&mut world, &info, 200, "");
    found.expect(&mut world, "200");
    callee.request(&mut world, "INVITE", &sdp("10.2.0.2", 6004));
    callee.expect(&mut world, "100");
    let again = found.expect(&mut world, "INVITE");
    found.respond(&mut world, &again, 200, &sdp("fd02::2", 7002));
    found.expect(&mut world, "ACK");
    let answer = callee.expect(&mut world, "200");
    callee.ack(&mut world, &answer, "");
    assert_eq!(world.agent.counters().transfers_made, 1);
    hang_up(&mut world, callee, &found);
    // It is still the call of who called, with both whom it was sent to.
    let record = world.record();
    assert_eq!(record.caller.trunk, "callers");
    let tried: Vec<_> = record.tries.iter().map(|tried| &*tried.trunk).collect();
    assert_eq!(tried, ["callees", "others"]);
}

#[test]
fn a_callee_transfers_its_caller() {
    let mut world = world(Refer::Local);
    let (caller, mut callee) = up(&mut world, "back");
    refer(&mut world, &mut callee, &format!("sip:back@{OUTSIDE}"));
    let (mut target, invite) = target(&mut world, CALLER, ("10.1.0.9", 7000));
    assert!(header(&invite, HeaderName::From).contains("alice"));
    let again = caller.expect(&mut world, "INVITE");
    let session = |message: &Message| {
        let body = String::from_utf8_lossy(&message.body).into_owned();
        let origin = body.lines().find_map(|line| line.strip_prefix("o="));
        let words: Vec<_> = origin.expect("o=").split(' ').map(str::to_owned).collect();
        (words[1].clone(), words[2].clone())
    };
    assert_eq!(
        session(&again).1,
        "2",
        "the description goes on in the next version"
    );
    caller.respond(&mut world, &again, 200, &sdp("10.1.0.2", 4002));
    caller.expect(&mut world, "ACK");
    let ack = target.expect(&mut world, "ACK");
    assert_eq!(leads_to(&world, &ack), "10.1.0.2:4002");
    hears(&mut world, &callee, "200 OK", OVER);
    callee.take_bye(&mut world);
    assert_eq!(world.call().to_trunk.as_deref(), Some("callers"));
    target.cseq = 300;
    hang_up(&mut world, target, &caller);
}

#[test]
fn who_is_called_later_hears_of_who_has_taken_a_place() {
    let mut world = world(Refer::Local);
    let (mut caller, mut callee) = up(&mut world, "chain");
    refer(&mut world, &mut callee, &format!("sip:back@{OUTSIDE}"));
    let (second, _) = target(&mut world, CALLER, ("10.1.0.9", 7000));
    let again = caller.expect(&mut world, "INVITE");
    caller.respond(&mut world, &again, 200, &sdp("10.1.0.2", 4002));
    caller.expect(&mut world, "ACK");
    second.expect(&mut world, "ACK");
    hears(&mut world, &callee, "200 OK", OVER);
    callee.take_bye(&mut world);
    // Whom the caller sends on now is not the callee that it had called.
    caller.request_with(&mut world, "REFER", "", "Refer-To: <sip:8001@10.1.0.1>\r\n");
    caller.expect(&mut world, "202");
    hears(&mut world, &caller, "100 Trying", "active;expires=900");
    let invite = expect(&mut world, addr(OTHER_TRUNK), "INVITE");
    let from = header(&invite, HeaderName::From);
    assert!(
        from.contains("sip:back@") && !from.contains("+4930"),
        "{from}"
    );
    let third = Phone::callee(OTHER_TRUNK, &invite, "third");
    third.respond(&mut world, &invite, 486, "");
    third.expect(&mut world, "ACK");
    hears(&mut world, &caller, "486 Busy Here", OVER);
    hang_up(&mut world, caller, &second);
}

#[test]
fn sessions_are_kept_while_a_target_rings() {
    let mut world = world(Refer::Local);
    let (mut caller, mut callee) = up(&mut world, "kept");
    refer(&mut world, &mut caller, "sip:8001@10.1.0.1");
    let invite = expect(&mut world, addr(OTHER_TRUNK), "INVITE");
    let target = Phone::callee(OTHER_TRUNK, &invite, "target");
    target.respond(&mut world, &invite, 180, "");
    // It offers nothing, so that it need not wait; and it goes no further.
    let refreshes = "Supported: timer\r\nSession-Expires: 90;refresher=uac\r\n";
    callee.request_with(&mut world, "UPDATE", "", refreshes);
    let answer = callee.expect(&mut world, "200");
    assert_eq!(
        header(&answer, HeaderName::SessionExpires),
        "90;refresher=uac"
    );
    caller.expect_nothing(&mut world);
    // Nor does it end the call that nobody can refresh by re-INVITE now.
    world.advance(Duration::from_secs(100));
    assert_eq!(world.state(), CallState::Established);
    target.respond(&mut world, &invite, 486, "");
    target.expect(&mut world, "ACK");
    hears(&mut world, &caller, "486 Busy Here", OVER);
    callee.request_with(&mut world, "UPDATE", "", refreshes);
    let update = caller.expect(&mut world, "UPDATE");
    caller.respond(&mut world, &update, 200, "");
    callee.expect(&mut world, "200");
    hang_up(&mut world, caller, &callee);
}

#[test]
fn a_target_that_is_busy_leaves_the_call_as_it_was() {
    let mut world = world(Refer::Local);
    let (mut caller, callee) = up(&mut world, "busy");
    refer(&mut world, &mut caller, "sip:8001@10.1.0.1");
    let invite = expect(&mut world, addr(OTHER_TRUNK), "INVITE");
    let target = Phone::callee(OTHER_TRUNK, &invite, "busy");
    target.respond(&mut world, &invite, 486, "");
    target.expect(&mut world, "ACK");
    hears(&mut world, &caller, "486 Busy Here", OVER);
    assert_eq!(world.state(), CallState::Established);
    assert_eq!(world.agent.counters().transfers_failed, 1);
    // And it may be transferred once more.
    refer(&mut world, &mut caller, "sip:404@10.1.0.1");
    hears(&mut world, &caller, "404 Not Found", OVER);
    hang_up(&mut world, caller, &callee);
}

#[test]
fn a_silent_target_leads_to_the_next_and_in_the_end_to_a_timeout() {
    let mut world = world(Refer::Local);
    let (mut caller, callee) = up(&mut world, "silent");
    refer(&mut world, &mut caller, "sip:7001@10.1.0.1");
    expect(&mut world, addr(CALLEE), "INVITE");
    world.advance(Duration::from_secs(5));
    world.clear(addr(CALLEE));
    let invite = expect(&mut world, addr(OTHER_TRUNK), "INVITE");
    world.clear(addr(OTHER_TRUNK));
    let target = Phone::callee(OTHER_TRUNK, &invite, "rings");
    target.respond(&mut world, &invite, 180, "");
    world.advance(Duration::from_secs(180));
    hears(&mut world, &caller, "408 Request Timeout", OVER);
    let cancel = target.expect(&mut world, "CANCEL");
    target.respond(&mut world, &cancel, 200, "");
    target.respond(&mut world, &invite, 487, "");
    target.expect(&mut world, "ACK");
    world.clear(addr(CALLEE));
    // What the transfer met is evidence of the peers' health.
    let health = |name: &str| {
        let trunks = world.agent.trunks();
        let found = trunks.into_iter().find(|trunk| trunk.name == name);
        let peers = found.expect("the trunk").peers;
        peers.first().expect("its peer").state
    };
    assert_eq!(health("one"), HealthState::Failing);
    assert_eq!(health("others"), HealthState::Up);
    hang_up(&mut world, caller, &callee);
}

#[test]
fn its_story_is_told() {
    let mut world = world(Refer::Local);
    let (mut caller, callee) = up(&mut world, "story");
    refer(&mut world, &mut caller, "sip:404@10.1.0.1");
    hears(&mut world, &caller, "404 Not Found", OVER);
    let id = world.call().id;
    let story = world.agent.story(Whose::Call(id)).expect("it is up");
    let told = format!("{:?}", story.lines);
    for note in [
        "REFER: the call is being transferred",
        "the transfer has failed",
    ] {
        assert!(told.contains(note), "{note} in {told}");
    }
    hang_up(&mut world, caller, &callee);
}

#[test]
fn a_party_that_refuses_the_target_talks_on_with_the_transferor() {
    let mut world = world(Refer::Local);
    let (mut caller, callee) = up(&mut world, "refuses");
    refer(&mut world, &mut caller, "sip:8001@10.1.0.1");
    let (target, _) = target(&mut world, OTHER_TRUNK, ("fd02::2", 7000));
    let again = callee.expect(&mut world, "INVITE");
    callee.respond(&mut world, &again, 488, "");
    callee.expect(&mut world, "ACK");
    target.expect(&mut world, "ACK");
    target.take_bye(&mut world);
    hears(&mut world, &caller, "488 Not Acceptable Here", OVER);
    // The old media is untouched.
    caller.request(&mut world, "INVITE", &sdp("10.1.0.2", 4004));
    caller.expect(&mut world, "100");
    let again = callee.expect(&mut world, "INVITE");
    let version = String::from_utf8_lossy(&again.body).into_owned();
    let origin = version.lines().nth(1).expect("o=").to_owned();
    assert_eq!(origin.split(' ').nth(2), Some("3"), "{origin}");
    callee.respond(&mut world, &again, 200, &sdp("10.2.0.2", 6000));
    callee.expect(&mut world, "ACK");
    let answer = caller.expect(&mut world, "200");
    assert_eq!(leads_to(&world, &answer), "10.2.0.2:6000");
    caller.ack(&mut world, &answer, "");
    hang_up(&mut world, caller, &callee);
}

#[test]
fn an_exchange_of_the_remaining_party_is_waited_for() {
    let mut world = world(Refer::Local);
    let (mut caller, callee) = up(&mut world, "glare");
    refer(&mut world, &mut caller, "sip:8001@10.1.0.1");
    let (target, _) = target(&mut world, OTHER_TRUNK, ("fd02::2", 7000));
    let again = callee.expect(&mut world, "INVITE");
    callee.respond(&mut world, &again, 491, "");
    callee.expect(&mut world, "ACK");
    callee.expect_nothing(&mut world);
    world.advance(Duration::from_secs(4));
    world.clear(target.at);
    let again = callee.expect(&mut world, "INVITE");
    world.clear(callee.at);
    callee.respond(&mut world, &again, 200, &sdp("10.2.0.2", 6002));
    callee.expect(&mut world, "ACK");
    target.expect(&mut world, "ACK");
    hears(&mut world, &caller, "200 OK", OVER);
    caller.take_bye(&mut world);
    let mut target = target;
    target.cseq = 300;
    hang_up(&mut world, target, &callee);
}

#[test]
fn a_remaining_party_that_hangs_up_ends_everything() {
    for answered in [false, true] {
        let mut world = world(Refer::Local);
        let (mut caller, mut callee) = up(&mut world, "gone");
        refer(&mut world, &mut caller, "sip:8001@10.1.0.1");
        let invite = expect(&mut world, addr(OTHER_TRUNK), "INVITE");
        let target = Phone::callee(OTHER_TRUNK, &invite, "target");
        target.respond(&mut world, &invite, 180, "");
        if answered {
            target.respond(&mut world, &invite, 200, &sdp("fd02::2", 7000));
            callee.expect(&mut world, "INVITE");
        }
        callee.request(&mut world, "BYE", "");
        callee.expect(&mut world, "200");
        hears(&mut world, &caller, "487 Request Terminated", OVER);
        caller.take_bye(&mut world);
        if answered {
            target.expect(&mut world, "ACK");
            target.take_bye(&mut world);
        } else {
            let cancel = target.expect(&mut world, "CANCEL");
            target.respond(&mut world, &cancel, 200, "");
            // They have crossed: the answer is acknowledged and ended.
            target.respond(&mut world, &invite, 200, &sdp("fd02::2", 7000));
            target.expect(&mut world, "ACK");
            target.take_bye(&mut world);
        }
        world.assert_clean();
    }
}

#[test]
fn a_transferor_that_hangs_up_at_once_leaves_the_transfer_to_go_on() {
    for reached in [true, false] {
        let mut world = world(Refer::Local);
        let (mut caller, mut callee) = up(&mut world, "leaves");
        refer(&mut world, &mut caller, "sip:8001@10.1.0.1");
        caller.request(&mut world, "BYE", "");
        caller.expect(&mut world, "200");
        callee.expect_nothing(&mut world);
        callee.request_with(&mut world, "INFO", "x", "Content-Type: text/plain\r\n");
        callee.expect(&mut world, "491");
        let invite = expect(&mut world, addr(OTHER_TRUNK), "INVITE");
        let mut target = Phone::callee(OTHER_TRUNK, &invite, "target");
        if !reached {
            target.respond(&mut world, &invite, 486, "");
            target.expect(&mut world, "ACK");
            callee.take_bye(&mut world);
            world.assert_quiet();
            world.assert_clean();
            continue;
        }
        target.respond(&mut world, &invite, 200, &sdp("fd02::2", 7000));
        let again = callee.expect(&mut world, "INVITE");
        callee.respond(&mut world, &again, 200, &sdp("10.2.0.2", 6002));
        callee.expect(&mut world, "ACK");
        target.expect(&mut world, "ACK");
        caller.expect_nothing(&mut world);
        target.cseq = 300;
        hang_up(&mut world, target, &callee);
    }
}

#[test]
fn a_target_that_hangs_up_again_is_let_go() {
    let mut world = world(Refer::Local);
    let (mut caller, callee) = up(&mut world, "fickle");
    refer(&mut world, &mut caller, "sip:8001@10.1.0.1");
    let (mut target, _) = target(&mut world, OTHER_TRUNK, ("fd02::2", 7000));
    let again = callee.expect(&mut world, "INVITE");
    callee.respond(&mut world, &again, 100, "");
    target.cseq = 300;
    target.request(&mut world, "BYE", "");
    target.expect(&mut world, "200");
    let cancel = callee.expect(&mut world, "CANCEL");
    callee.respond(&mut world, &cancel, 200, "");
    callee.respond(&mut world, &again, 487, "");
    callee.expect(&mut world, "ACK");
    hears(&mut world, &caller, "487 Request Terminated", OVER);
    world.clear(target.at);
    assert_eq!(world.state(), CallState::Established);
    hang_up(&mut world, caller, &callee);
}

#[test]
fn flows_that_cannot_be_installed_leave_the_call_as_it_was() {
    let mut world = world(Refer::Local);
    let (mut caller, callee) = up(&mut world, "flows");
    refer(&mut world, &mut caller, "sip:8001@10.1.0.1");
    world.workers = Workers::Refusing(contract::Refusal::TableFull);
    let (target, _) = target(&mut world, OTHER_TRUNK, ("fd02::2", 7000));
    callee.expect_nothing(&mut world);
    target.expect(&mut world, "ACK");
    target.take_bye(&mut world);
    hears(&mut world, &caller, "500 Server Internal Error", OVER);
    world.workers = Workers::Prompt;
    hang_up(&mut world, caller, &callee);
}

#[test]
fn who_wants_to_hear_nothing_hears_nothing_and_no_second_transfer_begins() {
    let mut world = world(Refer::Local);
    let (mut caller, mut callee) = up(&mut world, "quiet");
    let asks = "Refer-To: <sip:8001@10.1.0.1>\r\nRefer-Sub: false\r\n";
    caller.request_with(&mut world, "REFER", "", asks);
    let accepted = caller.expect(&mut world, "202");
    assert_eq!(header(&accepted, HeaderName::from("Refer-Sub")), "false");
    caller.expect_nothing(&mut world);
    for (phone, method) in [(&mut caller, "REFER"), (&mut callee, "INVITE")] {
        let body = if method == "INVITE" {
            sdp("10.2.0.2", 6010)
        } else {
            String::new()
        };
        phone.request_with(
            &mut world,
            method,
            &body,
            "Refer-To: <sip:8002@10.1.0.1>\r\n",
        );
        if method == "INVITE" {
            phone.expect(&mut world, "100");
        }
        let refusal = phone.expect(&mut world, "491");
        if method == "INVITE" {
            phone.ack(&mut world, &refusal, "");
        }
    }
    let invite = expect(&mut world, addr(OTHER_TRUNK), "INVITE");
    let target = Phone::callee(OTHER_TRUNK, &invite, "busy");
    target.respond(&mut world, &invite, 486, "");
    target.expect(&mut world, "ACK");
    hang_up(&mut world, caller, &callee);
}

#[test]
fn what_cannot_be_carried_out_is_refused() {
    let mut world = world(Refer::Local);
    let (mut caller, callee) = up(&mut world, "refused");
    for (asks, code) in [
        ("", "400"),
        ("Refer-To: <sip:a@h>, <sip:b@h>\r\n", "400"),
        ("Refer-To: <http://h/>\r\n", "416"),
        ("Refer-To: <sip:a@h;method=BYE>\r\n", "603"),
        ("Refer-To: <sip:a@h?Replaces=x>\r\n", "400"),
    ] {
        caller.request_with(&mut world, "REFER", "", asks);
        caller.expect(&mut world, code);
    }
    callee.expect_nothing(&mut world);
    hang_up(&mut world, caller, &callee);
    let mut stranger = Phone::caller("outside");
    stranger.target = format!("sip:{INSIDE}");
    stranger.peer = format!("<sip:{INSIDE}>");
    stranger.request_with(&mut world, "REFER", "", "Refer-To: <sip:8@10.1.0.1>\r\n");
    stranger.expect(&mut world, "405");
    world.assert_clean();
}

#[test]
fn a_passed_referral_leads_through_us_and_names_nobody() {
    let mut world = world(Refer::Pass);
    let (mut caller, mut callee) = up(&mut world, "passed");
    let asks = "Refer-To: \"Carol\" <sip:+4950;x=y@pbx.secret.example;user=phone?Subject=secret>\r\n\
                Referred-By: \"Alice\" <sip:alice@10.1.0.2>\r\n";
    caller.request_with(&mut world, "REFER", "", asks);
    let refer = callee.expect(&mut world, "REFER");
    let to = header(&refer, HeaderName::ReferTo);
    assert_eq!(to, "<sip:+4950;x=y@10.2.0.1:5060;user=phone>");
    let by = header(&refer, HeaderName::ReferredBy);
    assert_eq!(by, "\"Alice\" <sip:alice@10.2.0.1:5060>");
    let text = String::from_utf8(refer.to_bytes()).expect("text");
    assert!(
        !text.contains("10.1.0") && !text.contains("secret"),
        "{text}"
    );
    callee.respond(&mut world, &refer, 202, "");
    caller.expect(&mut world, "202");
    let more = "Event: refer\r\nSubscription-State: active;expires=60\r\n\
                Content-Type: message/sipfrag;version=2.0\r\n";
    let body = "SIP/2.0 200 OK\r\nContact: <sip:carol@10.9.9.9>\r\n";
    callee.request_with(&mut world, "NOTIFY", body, more);
    let notify = caller.expect(&mut world, "NOTIFY");
    assert_eq!(notify.body, b"SIP/2.0 200 OK\r\n");
    assert_eq!(header(&notify, HeaderName::Event), "refer");
    assert_eq!(
        header(&notify, HeaderName::ContentType),
        "message/sipfrag;version=2.0"
    );
    caller.respond(&mut world, &notify, 200, "");
    callee.expect(&mut world, "200");
    assert_eq!(world.agent.counters().referrals_passed, 1);
    hang_up(&mut world, caller, &callee);
}

#[test]
fn a_passed_replaces_names_the_dialog_that_the_target_knows() {
    let mut world = world(Refer::Pass);
    let (mut caller, callee) = up(&mut world, "first");
    let mut second = Phone::caller("second");
    second.invite(&mut world, "8001", &sdp("10.1.0.2", 4100));
    second.expect(&mut world, "100");
    let invite = expect(&mut world, addr(OTHER_TRUNK), "INVITE");
    let consulted = Phone::callee(OTHER_TRUNK, &invite, "consulted");
    consulted.respond(&mut world, &invite, 200, &sdp("fd02::2", 7000));
    consulted.expect(&mut world, "ACK");
    let answer = second.expect(&mut world, "200");
    second.ack(&mut world, &answer, "");
    let tag = |text: &str| text.split("tag=").nth(1).expect("a tag").to_owned();
    let named = format!(
        "{}%3Bto-tag%3D{}%3Bfrom-tag%3D{}",
        second.call_id,
        tag(&second.peer),
        tag(&second.own)
    );
    let asks = format!("Refer-To: <sip:8001@10.1.0.1?Replaces={named}>\r\n");
    caller.request_with(&mut world, "REFER", "", &asks);
    let refer = callee.expect(&mut world, "REFER");
    let expected = format!(
        "<sip:8001@10.2.0.1:5060?Replaces={}%3Bto-tag%3Dconsulted%3Bfrom-tag%3D{}>",
        consulted.call_id.replace('@', "%40"),
        tag(&consulted.peer)
    );
    assert_eq!(header(&refer, HeaderName::ReferTo), expected);
    callee.respond(&mut world, &refer, 603, "");
    caller.expect(&mut world, "603");
    for (mut from, to) in [(caller, callee), (second, consulted)] {
        from.request(&mut world, "BYE", "");
        from.expect(&mut world, "200");
        to.take_bye(&mut world);
    }
    world.assert_quiet();
    world.assert_clean();
}

#[test]
fn an_operator_that_ends_a_call_ends_its_transfer() {
    let mut world = world(Refer::Local);
    let (mut caller, callee) = up(&mut world, "operator");
    refer(&mut world, &mut caller, "sip:8001@10.1.0.1");
    expect(&mut world, addr(OTHER_TRUNK), "INVITE");
    let id = world.call().id;
    world.handle(controlplane::agent::Input::HangUp(id));
    hears(&mut world, &caller, "487 Request Terminated", OVER);
    caller.take_bye(&mut world);
    callee.take_bye(&mut world);
    world.advance(TRANSACTION);
    world.clear(addr(OTHER_TRUNK));
    world.assert_clean();
}

#[test]
fn a_target_and_a_party_that_want_longer_sessions_get_them() {
    let mut settings = referring(Refer::Local);
    for trunk in &mut settings.trunks {
        trunk.dialog.session_timer.mode = TimerMode::Request;
    }
    let mut world = World::with(settings, 1);
    let (mut caller, callee) = up(&mut world, "longer");
    refer(&mut world, &mut caller, "sip:8001@10.1.0.1");
    let invite = expect(&mut world, addr(OTHER_TRUNK), "INVITE");
    let target = Phone::callee(OTHER_TRUNK, &invite, "target");
    target.respond_with(&mut world, &invite, 422, "", "Min-SE: 3600");
    target.expect(&mut world, "ACK");
    let invite = target.expect(&mut world, "INVITE");
    let asked = header(&invite, HeaderName::SessionExpires);
    assert_eq!(asked, "3600;refresher=uac");
    target.respond(&mut world, &invite, 200, &sdp("fd02::2", 7000));
    let again = callee.expect(&mut world, "INVITE");
    callee.respond_with(&mut world, &again, 422, "", "Min-SE: 2400");
    callee.expect(&mut world, "ACK");
    let again = callee.expect(&mut world, "INVITE");
    assert_eq!(header(&again, HeaderName::MinSe), "2400");
    callee.respond(&mut world, &again, 200, &sdp("10.2.0.2", 6002));
    callee.expect(&mut world, "ACK");
    target.expect(&mut world, "ACK");
    hears(&mut world, &caller, "200 OK", OVER);
    caller.take_bye(&mut world);
    // What was asked for holds where the other knows nothing of it.
    let id = world.call().id;
    let story = world.agent.story(Whose::Call(id)).expect("it is up");
    let told = format!("{:?}", story.lines);
    for leg in ["caller's leg lasts 3600 s", "callee's leg lasts 2400 s"] {
        assert!(told.contains(leg), "{leg} in {told}");
    }
    let mut target = target;
    target.cseq = 300;
    hang_up(&mut world, target, &callee);
}

#[test]
fn a_targets_failure_is_understood_as_its_trunk_says() {
    let mut settings = referring(Refer::Local);
    // Where 486 is as good as 503 the next is called.
    let rules = &mut settings.trunks[3].normalisation.inbound;
    rules.responses = [(486, 503)].into();
    let mut world = World::with(settings, 1);
    let (mut caller, callee) = up(&mut world, "understood");
    refer(&mut world, &mut caller, "sip:7001@10.1.0.1");
    let invite = callee.expect(&mut world, "INVITE");
    let first = Phone::callee(CALLEE, &invite, "first");
    first.respond(&mut world, &invite, 486, "");
    first.expect(&mut world, "ACK");
    let invite = expect(&mut world, addr(OTHER_TRUNK), "INVITE");
    let second = Phone::callee(OTHER_TRUNK, &invite, "second");
    second.respond(&mut world, &invite, 486, "");
    second.expect(&mut world, "ACK");
    hears(&mut world, &caller, "486 Busy Here", OVER);
    hang_up(&mut world, caller, &callee);
}

#[test]
fn a_target_that_cannot_be_reached_is_recorded_so() {
    let mut world = world(Refer::Local);
    let (mut caller, callee) = up(&mut world, "unreachable");
    world.unreachable.push(addr(OTHER_TRUNK));
    refer(&mut world, &mut caller, "sip:8001@10.1.0.1");
    hears(&mut world, &caller, "503 Service Unavailable", OVER);
    hang_up(&mut world, caller, &callee);
    let outcome = world.record().tries[1].outcome;
    assert_eq!(outcome, controlplane::records::Outcome::Unreachable);
}

#[test]
fn a_passed_subscription_has_the_number_that_each_side_knows() {
    let mut world = world(Refer::Pass);
    let (mut caller, mut callee) = up(&mut world, "numbers");
    // One number is tandem's alone.
    caller.request(&mut world, "OPTIONS", "");
    caller.expect(&mut world, "200");
    caller.request_with(&mut world, "REFER", "", "Refer-To: <sip:1@10.1.0.1>\r\n");
    let near = caller.cseq;
    let refer = callee.expect(&mut world, "REFER");
    let far = refer.cseq().expect("a number").number;
    assert_ne!(near, far);
    callee.respond(&mut world, &refer, 202, "");
    caller.expect(&mut world, "202");
    for (id, passed) in [(far, near), (far + 50, far + 50)] {
        let more = format!(
            "Event: refer;id={id}\r\nSubscription-State: active;expires=60\r\n\
             Content-Type: message/sipfrag\r\n"
        );
        callee.request_with(&mut world, "NOTIFY", "SIP/2.0 100 Trying\r\n", &more);
        let notify = caller.expect(&mut world, "NOTIFY");
        let event = header(&notify, HeaderName::Event);
        assert_eq!(event, format!("refer;id={passed}"));
        caller.respond(&mut world, &notify, 200, "");
        callee.expect(&mut world, "200");
    }
    let more = format!("Event: refer;id={near}\r\nExpires: 0\r\n");
    caller.request_with(&mut world, "SUBSCRIBE", "", &more);
    let ends = callee.expect(&mut world, "SUBSCRIBE");
    assert_eq!(header(&ends, HeaderName::Event), format!("refer;id={far}"));
    assert_eq!(header(&ends, HeaderName::Expires), "0");
    callee.respond_with(&mut world, &ends, 200, "", "Expires: 0");
    let ended = caller.expect(&mut world, "200");
    assert_eq!(header(&ended, HeaderName::Expires), "0");
    hang_up(&mut world, caller, &callee);
}

#[test]
fn a_target_that_waited_longer_than_its_transaction_leaves_nothing_behind() {
    let mut world = world(Refer::Local);
    let (mut caller, mut callee) = up(&mut world, "patient");
    refer(&mut world, &mut caller, "sip:8001@10.1.0.1");
    let (target, _) = target(&mut world, OTHER_TRUNK, ("fd02::2", 7000));
    let again = callee.expect(&mut world, "INVITE");
    callee.respond(&mut world, &again, 100, "");
    world.advance(TRANSACTION);
    callee.request(&mut world, "BYE", "");
    callee.expect(&mut world, "200");
    world.advance(TRANSACTION);
    for at in [caller.at, callee.at, target.at] {
        world.clear(at);
    }
    world.assert_clean();
}
