//! Reliable provisional responses (RFC 3262): acknowledged end to end, or by us for the side that does not.

use std::time::Duration;

use controlplane::b2bua::CallState;
use controlplane::settings::{EarlyMedia, ReliableProvisional};
use controlplane::sip::{HeaderName, Message};

use crate::phone::{Phone, expect, header, media_of, sdp};
use crate::world::{CALLEE, TRANSACTION, Workers, World, addr, settings_with};

pub(crate) const SUPPORTED: &str = "Supported: 100rel\r\n";
pub(crate) const REQUIRED: &str = "Require: 100rel\r\n";
const T1: Duration = Duration::from_millis(500);

/// A call that is with the callee, by an INVITE with these headers and this offer.
pub(crate) fn dial(world: &mut World, more: &str, offer: &str) -> (Phone, Phone, Message) {
    let mut caller = Phone::caller("reliable");
    caller.invite_with(world, "900", offer, more);
    caller.expect(world, "100");
    let invite = expect(world, addr(CALLEE), "INVITE");
    let callee = Phone::callee(CALLEE, &invite, "callee");
    (caller, callee, invite)
}

/// The caller's own offer.
pub(crate) fn offer() -> String {
    sdp("10.1.0.2", 4000)
}

/// The callee's.
pub(crate) fn theirs() -> String {
    sdp("10.2.0.2", 6000)
}

/// A reliable response of a callee.
pub(crate) fn say(
    world: &mut World,
    callee: &Phone,
    invite: &Message,
    code: u16,
    rseq: u32,
    body: &str,
) {
    let more = format!("Require: 100rel\nRSeq: {rseq}");
    callee.respond_with(world, invite, code, body, &more);
}

/// Whether the caller is to acknowledge it.
pub(crate) fn is_reliable(response: &Message) -> bool {
    let required = response.lists(&HeaderName::Require, "100rel");
    assert_eq!(required, response.rseq().is_ok());
    required
}

/// The callee takes a PRACK for this RSeq.
pub(crate) fn take_prack(world: &mut World, callee: &Phone, rseq: u32) -> Message {
    let prack = callee.expect(world, "PRACK");
    assert_eq!(header(&prack, HeaderName::RAck), format!("{rseq} 1 INVITE"));
    callee.respond(world, &prack, 200, "");
    prack
}

/// Talks, hangs up, and leaves nothing.
pub(crate) fn talk_and_end(world: &mut World, mut caller: Phone, callee: &Phone) {
    world.advance(Duration::from_secs(1));
    assert_eq!(world.state(), CallState::Established);
    caller.request(world, "BYE", "");
    caller.expect(world, "200");
    callee.take_bye(world);
    world.assert_quiet();
    world.assert_clean();
}

/// The callee answers with this body; the caller acknowledges. Gives the caller's 2xx.
pub(crate) fn answer(
    world: &mut World,
    caller: &mut Phone,
    callee: &Phone,
    invite: &Message,
    body: &str,
) -> Message {
    callee.respond(world, invite, 200, body);
    callee.expect(world, "ACK");
    let answer = caller.expect(world, "200");
    caller.ack(world, &answer, "");
    answer
}

#[test]
fn both_ends_acknowledge_and_each_leg_has_its_own_numbers() {
    let mut world = World::new();
    let (mut caller, callee, invite) = dial(&mut world, SUPPORTED, &offer());
    assert!(invite.lists(&HeaderName::Supported, "100rel"));
    say(&mut world, &callee, &invite, 183, 9_000, &theirs());
    let progress = caller.expect(&mut world, "183");
    assert!(is_reliable(&progress));
    assert_ne!(progress.rseq(), Ok(9_000));
    let (address, port) = media_of(&progress);
    let egress = world.flow(&address, port).rtp.expect("RTP");
    assert_eq!(egress.destination, Some(addr("10.2.0.2:6000")));
    // The PRACK is the caller's: until it comes, both repeat.
    callee.expect_nothing(&mut world);
    world.advance(T1);
    assert_eq!(caller.expect(&mut world, "183").rseq(), progress.rseq());
    say(&mut world, &callee, &invite, 183, 9_000, &theirs());
    world.assert_quiet();

    caller.learn(&progress);
    caller.prack(&mut world, &progress, "");
    caller.expect_nothing(&mut world);
    take_prack(&mut world, &callee, 9_000);
    caller.expect(&mut world, "200");
    say(&mut world, &callee, &invite, 180, 9_001, "");
    let ringing = caller.expect(&mut world, "180");
    assert_eq!(ringing.rseq().map(|rseq| rseq - 1), progress.rseq());
    caller.prack(&mut world, &ringing, "");
    take_prack(&mut world, &callee, 9_001);
    caller.expect(&mut world, "200");
    // All has been said: the 2xx brings no description on either leg, and the media stays.
    let answer = answer(&mut world, &mut caller, &callee, &invite, "");
    assert!(answer.body.is_empty());
    let egress = world.flow(&address, port).rtp.expect("RTP");
    assert_eq!(egress.destination, Some(addr("10.2.0.2:6000")));
    talk_and_end(&mut world, caller, &callee);
}

#[test]
fn we_acknowledge_for_a_caller_that_does_not() {
    let mut world = World::new();
    let (mut caller, callee, invite) = dial(&mut world, "", &offer());
    say(&mut world, &callee, &invite, 183, 7, &theirs());
    let prack = callee.expect(&mut world, "PRACK");
    assert_eq!(header(&prack, HeaderName::RAck), "7 1 INVITE");
    assert!(prack.body.is_empty());
    let progress = caller.expect(&mut world, "183");
    assert!(!is_reliable(&progress) && !progress.body.is_empty());
    // Ours is lost: it is repeated by its transaction, whatever the callee repeats.
    say(&mut world, &callee, &invite, 183, 7, &theirs());
    world.assert_quiet();
    world.advance(T1);
    take_prack(&mut world, &callee, 7);
    // One out of order is not heard before the one that is missing.
    say(&mut world, &callee, &invite, 180, 9, "");
    world.assert_quiet();
    say(&mut world, &callee, &invite, 180, 8, "");
    take_prack(&mut world, &callee, 8);
    caller.expect(&mut world, "180");
    assert_eq!(
        world.agent.counters().messages_dropped["rseq_out_of_order"],
        1
    );
    // The callee has answered for good; the caller has not heard it for good.
    let answer = answer(&mut world, &mut caller, &callee, &invite, "");
    assert_eq!(media_of(&answer), media_of(&progress));
    talk_and_end(&mut world, caller, &callee);
}

#[test]
fn we_repeat_for_a_caller_that_requires_it() {
    let mut world = World::new();
    let (mut caller, callee, invite) = dial(&mut world, REQUIRED, &offer());
    callee.respond(&mut world, &invite, 180, "");
    let ringing = caller.expect(&mut world, "180");
    assert!(is_reliable(&ringing));
    // T1, doubled each time: after 0.5, 1.5, 3.5 s.
    for wait in [1, 2, 4] {
        world.advance(wait * T1 - Duration::from_millis(1));
        caller.expect_nothing(&mut world);
        world.advance(Duration::from_millis(1));
        let again = caller.expect(&mut world, "180");
        assert_eq!(again.to_bytes(), ringing.to_bytes());
    }
    assert_eq!(world.agent.counters().provisionals_repeated, 3);
    // The next waits for the PRACK of the first.
    callee.respond(&mut world, &invite, 183, &theirs());
    caller.expect_nothing(&mut world);
    caller.learn(&ringing);
    let mut stranger = ringing.clone();
    stranger.headers.set(HeaderName::RSeq, "1");
    caller.prack(&mut world, &stranger, "");
    caller.expect(&mut world, "481");
    caller.prack(&mut world, &ringing, "");
    caller.expect(&mut world, "200");
    let progress = caller.expect(&mut world, "183");
    assert_eq!(progress.rseq().map(|rseq| rseq - 1), ringing.rseq());
    media_of(&progress);
    // It has been acknowledged already.
    caller.prack(&mut world, &ringing, "");
    caller.expect(&mut world, "481");
    caller.prack(&mut world, &progress, "");
    caller.expect(&mut world, "200");
    world.advance(TRANSACTION);
    world.assert_quiet();
    // The callee gave its answer plainly: only the 2xx makes it final, and the caller knows it.
    let answer = answer(&mut world, &mut caller, &callee, &invite, &theirs());
    assert!(answer.body.is_empty());
    talk_and_end(&mut world, caller, &callee);
}

#[test]
fn a_caller_that_never_acknowledges_gets_504_and_the_callee_a_cancel() {
    let mut world = World::new();
    let (mut caller, callee, invite) = dial(&mut world, REQUIRED, &offer());
    callee.respond(&mut world, &invite, 180, "");
    world.advance(TRANSACTION - Duration::from_millis(1));
    world.clear(caller.at);
    callee.expect_nothing(&mut world);
    world.advance(Duration::from_millis(1));
    let failure = caller.expect(&mut world, "504");
    caller.ack(&mut world, &failure, "");
    let cancel = callee.expect(&mut world, "CANCEL");
    callee.respond(&mut world, &cancel, 200, "");
    callee.respond(&mut world, &invite, 487, "");
    callee.expect(&mut world, "ACK");
    world.assert_quiet();
    assert_eq!(world.agent.counters().calls_failed[&504], 1);
    world.assert_clean();
}

#[test]
fn the_2xx_waits_for_the_prack_of_a_description_and_for_no_other() {
    for described in [true, false] {
        let mut world = World::new();
        let (mut caller, callee, invite) = dial(&mut world, REQUIRED, &offer());
        let body = if described { theirs() } else { String::new() };
        callee.respond(&mut world, &invite, 183, &body);
        let progress = caller.expect(&mut world, "183");
        callee.respond(&mut world, &invite, 200, &theirs());
        callee.expect(&mut world, "ACK");
        caller.learn(&progress);
        if described {
            assert_eq!(world.state(), CallState::Answering);
            world.advance(T1);
            caller.expect(&mut world, "183");
            caller.prack(&mut world, &progress, "");
            caller.expect(&mut world, "200");
        }
        let answer = caller.expect(&mut world, "200");
        assert!(header(&answer, HeaderName::CSeq).ends_with("INVITE"));
        if !described {
            media_of(&answer);
            // Nothing is repeated any more, and the PRACK is still understood.
            caller.prack(&mut world, &progress, "");
            caller.expect(&mut world, "200");
        }
        caller.prack(&mut world, &progress, "");
        caller.expect(&mut world, "481");
        caller.cseq += 1;
        caller.ack(&mut world, &answer, "");
        talk_and_end(&mut world, caller, &callee);
    }
}

#[test]
fn a_2xx_that_waits_in_vain_ends_the_call_on_both_sides() {
    let mut world = World::new();
    let (mut caller, callee, invite) = dial(&mut world, REQUIRED, &offer());
    callee.respond(&mut world, &invite, 183, &theirs());
    callee.respond(&mut world, &invite, 200, &theirs());
    callee.expect(&mut world, "ACK");
    world.advance(TRANSACTION - Duration::from_millis(1));
    world.clear(caller.at);
    world.advance(Duration::from_millis(1));
    let failure = caller.expect(&mut world, "504");
    caller.ack(&mut world, &failure, "");
    callee.take_bye(&mut world);
    world.assert_quiet();
    world.assert_clean();
}

#[test]
fn each_fork_has_numbers_of_its_own() {
    let mut world = World::new();
    let (mut caller, _, invite) = dial(&mut world, REQUIRED, &offer());
    let forks = ["one", "two"].map(|tag| Phone::callee(CALLEE, &invite, tag));
    let mut rang = Vec::new();
    // The second does not wait for the PRACK of the first: it is another dialog's.
    for fork in &forks {
        fork.respond(&mut world, &invite, 180, "");
        rang.push(caller.expect(&mut world, "180"));
    }
    assert_ne!(rang[0].rseq(), rang[1].rseq());
    let mut early = caller.clone();
    early.learn(&rang[0]);
    // The numbers of one mean nothing in the other.
    early.prack(&mut world, &rang[1], "");
    early.expect(&mut world, "481");
    early.prack(&mut world, &rang[0], "");
    early.expect(&mut world, "200");
    caller.cseq = early.cseq;
    caller.learn(&rang[1]);
    caller.prack(&mut world, &rang[1], "");
    caller.expect(&mut world, "200");
    answer(&mut world, &mut caller, &forks[1], &invite, &theirs());
    talk_and_end(&mut world, caller, &forks[1]);
}

#[test]
fn responses_wait_for_their_flows_before_they_are_numbered() {
    let mut world = World::new();
    world.workers = Workers::Slow;
    let mut caller = Phone::caller("slow");
    caller.invite_with(&mut world, "900", &offer(), REQUIRED);
    caller.expect(&mut world, "100");
    world.release();
    let invite = expect(&mut world, addr(CALLEE), "INVITE");
    let callee = Phone::callee(CALLEE, &invite, "callee");
    callee.respond(&mut world, &invite, 183, &theirs());
    callee.respond(&mut world, &invite, 180, "");
    caller.expect_nothing(&mut world);
    world.release();
    let progress = caller.expect(&mut world, "183");
    caller.expect_nothing(&mut world);
    caller.learn(&progress);
    caller.prack(&mut world, &progress, "");
    caller.expect(&mut world, "200");
    let ringing = caller.expect(&mut world, "180");
    caller.prack(&mut world, &ringing, "");
    caller.expect(&mut world, "200");
    world.workers = Workers::Prompt;
    world.release();
    answer(&mut world, &mut caller, &callee, &invite, &theirs());
    talk_and_end(&mut world, caller, &callee);
}

#[test]
fn a_trunk_may_do_without_or_insist() {
    let off = |policy: &mut controlplane::settings::DialogPolicy| {
        policy.reliable_provisional = ReliableProvisional::Off;
    };
    let insist = |policy: &mut controlplane::settings::DialogPolicy| {
        policy.reliable_provisional = ReliableProvisional::Required;
    };
    // A caller's trunk without: what requires it is refused, what offers it is ignored.
    let mut world = World::with(settings_with(off, "callers"), 1);
    let mut caller = Phone::caller("refused");
    caller.invite_with(&mut world, "900", &offer(), REQUIRED);
    caller.expect(&mut world, "100");
    let refusal = caller.expect(&mut world, "420");
    assert_eq!(header(&refusal, HeaderName::Unsupported), "100rel");
    caller.ack(&mut world, &refusal, "");
    let (mut caller, callee, invite) = dial(&mut world, SUPPORTED, &offer());
    say(&mut world, &callee, &invite, 180, 1, "");
    assert!(!is_reliable(&caller.expect(&mut world, "180")));
    take_prack(&mut world, &callee, 1);
    answer(&mut world, &mut caller, &callee, &invite, &theirs());
    talk_and_end(&mut world, caller, &callee);

    // One that insists.
    let mut world = World::with(settings_with(insist, "callers"), 1);
    let mut caller = Phone::caller("unfit");
    caller.invite(&mut world, "900", &offer());
    caller.expect(&mut world, "100");
    let refusal = caller.expect(&mut world, "421");
    assert_eq!(header(&refusal, HeaderName::Require), "100rel");
    caller.ack(&mut world, &refusal, "");
    let (mut caller, callee, invite) = dial(&mut world, SUPPORTED, &offer());
    callee.respond(&mut world, &invite, 180, "");
    let ringing = caller.expect(&mut world, "180");
    assert!(is_reliable(&ringing));
    caller.learn(&ringing);
    caller.prack(&mut world, &ringing, "");
    caller.expect(&mut world, "200");
    answer(&mut world, &mut caller, &callee, &invite, &theirs());
    talk_and_end(&mut world, caller, &callee);
}

#[test]
fn a_callees_trunk_may_do_without_or_insist() {
    let with = |policy| {
        let set = move |dialog: &mut controlplane::settings::DialogPolicy| {
            dialog.reliable_provisional = policy;
        };
        World::with(settings_with(set, "one"), 1)
    };
    let mut world = with(ReliableProvisional::Off);
    let (mut caller, callee, invite) = dial(&mut world, REQUIRED, &offer());
    assert!(!invite.lists(&HeaderName::Supported, "100rel"));
    assert!(!invite.lists(&HeaderName::Require, "100rel"));
    // Nobody asked the callee for that: it is taken as any other.
    say(&mut world, &callee, &invite, 180, 1, "");
    let ringing = caller.expect(&mut world, "180");
    callee.expect_nothing(&mut world);
    caller.learn(&ringing);
    caller.prack(&mut world, &ringing, "");
    caller.expect(&mut world, "200");
    answer(&mut world, &mut caller, &callee, &invite, &theirs());
    talk_and_end(&mut world, caller, &callee);

    let mut world = with(ReliableProvisional::Required);
    let (mut caller, callee, invite) = dial(&mut world, "", &offer());
    assert!(invite.lists(&HeaderName::Require, "100rel"));
    say(&mut world, &callee, &invite, 180, 1, "");
    take_prack(&mut world, &callee, 1);
    caller.expect(&mut world, "180");
    answer(&mut world, &mut caller, &callee, &invite, &theirs());
    talk_and_end(&mut world, caller, &callee);
    // A caller that makes no offer and cannot acknowledge the callee's.
    let mut world = with(ReliableProvisional::Required);
    let mut caller = Phone::caller("mute");
    caller.invite(&mut world, "900", "");
    caller.expect(&mut world, "100");
    let refusal = caller.expect(&mut world, "421");
    assert_eq!(header(&refusal, HeaderName::Require), "100rel");
    caller.ack(&mut world, &refusal, "");
    world.assert_quiet();
    world.assert_clean();
}

#[test]
fn a_cancel_leaves_neither_prack_nor_update_behind() {
    for pending in ["PRACK", "UPDATE"] {
        let mut world = World::new();
        let (mut caller, callee, invite) = dial(&mut world, SUPPORTED, &offer());
        say(&mut world, &callee, &invite, 183, 7, &theirs());
        let progress = caller.expect(&mut world, "183");
        let mut early = caller.clone();
        early.learn(&progress);
        early.prack(&mut world, &progress, "");
        let mut waits = callee.expect(&mut world, "PRACK");
        if pending == "UPDATE" {
            callee.respond(&mut world, &waits, 200, "");
            caller.expect(&mut world, "200");
            early.request(&mut world, "UPDATE", &sdp("10.1.0.2", 4002));
            waits = callee.expect(&mut world, "UPDATE");
        }
        caller.cancel(&mut world);
        let mut codes: Vec<_> = std::iter::from_fn(|| world.next(caller.at))
            .map(|message| {
                (
                    message.code().map(|code| code.as_u16()),
                    header(&message, HeaderName::CSeq),
                )
            })
            .collect();
        codes.sort();
        assert_eq!(codes.len(), 3, "{codes:?}");
        assert!(codes[0].1.ends_with("CANCEL"));
        assert!(codes[1..].iter().all(|(code, _)| *code == Some(487)));
        let failure = world.agent.counters().calls_failed[&487];
        assert_eq!(failure, 1);
        let cancel = callee.expect(&mut world, "CANCEL");
        callee.respond(&mut world, &cancel, 200, "");
        callee.respond(&mut world, &invite, 487, "");
        callee.expect(&mut world, "ACK");
        // What it makes of the other is nobody's concern any more.
        callee.respond(&mut world, &waits, 481, "");
        world.advance(TRANSACTION);
        world.take_mail();
        world.assert_clean();
    }
}

#[test]
fn the_caller_may_hear_a_tone_of_its_own() {
    for (policy, grant, heard) in [
        (EarlyMedia::Pass, "", true),
        (EarlyMedia::Ring, "P-Early-Media: sendrecv", false),
        (EarlyMedia::Authorized, "", false),
        (EarlyMedia::Authorized, "P-Early-Media: sendrecv", true),
        (EarlyMedia::Authorized, "P-Early-Media: inactive", false),
    ] {
        for trunk in ["callers", "one"] {
            let set = move |dialog: &mut controlplane::settings::DialogPolicy| {
                dialog.early_media = policy;
            };
            let mut world = World::with(settings_with(set, trunk), 1);
            let (mut caller, callee, invite) = dial(&mut world, "", &offer());
            let more = format!("Require: 100rel\nRSeq: 4\n{grant}");
            callee.respond_with(&mut world, &invite, 183, &theirs(), &more);
            take_prack(&mut world, &callee, 4);
            let what = if heard { "183" } else { "180" };
            let progress = caller.expect(&mut world, what);
            assert_eq!(progress.body.is_empty(), !heard, "{policy:?} {grant}");
            let passed = progress
                .headers
                .contains(&HeaderName::from("P-Early-Media"));
            assert_eq!(passed, heard && !grant.is_empty());
            // The answer comes with the 2xx.
            let answer = answer(&mut world, &mut caller, &callee, &invite, "");
            let (address, port) = media_of(&answer);
            let egress = world.flow(&address, port).rtp.expect("RTP");
            assert_eq!(egress.destination, Some(addr("10.2.0.2:6000")));
            talk_and_end(&mut world, caller, &callee);
        }
    }
}
