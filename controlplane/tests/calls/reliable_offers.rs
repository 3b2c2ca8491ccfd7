//! Offers and answers before the 2xx (RFC 6337): in reliable provisional responses, PRACK and UPDATE.

use std::time::Duration;

use controlplane::sip::{HeaderName, Message};

use crate::phone::{Phone, described, header, media_of, sdp};
use crate::reliable::{
    REQUIRED, SUPPORTED, answer, dial, is_reliable, offer, say, take_prack, talk_and_end, theirs,
};
use crate::world::{CALLEE, TRANSACTION, World, addr};

/// A call whose first exchange is over on both legs by a reliable 183.
fn agreed(world: &mut World) -> (Phone, Phone, Message, Message) {
    let (mut caller, callee, invite) = dial(world, SUPPORTED, &offer());
    say(world, &callee, &invite, 183, 50, &theirs());
    let progress = caller.expect(world, "183");
    caller.learn(&progress);
    caller.prack(world, &progress, "");
    take_prack(world, &callee, 50);
    caller.expect(world, "200");
    (caller, callee, invite, progress)
}

/// Where media goes that the caller sends to where this message tells it to.
fn towards_callee(world: &World, told: &Message) -> Option<std::net::SocketAddr> {
    let (address, port) = media_of(told);
    world.flow(&address, port).rtp.expect("RTP").destination
}

#[test]
fn an_offer_in_a_reliable_response_has_its_answer_in_the_prack() {
    let mut world = World::new();
    let (mut caller, callee, invite) = dial(&mut world, SUPPORTED, "");
    assert!(invite.body.is_empty() && invite.lists(&HeaderName::Supported, "100rel"));
    say(&mut world, &callee, &invite, 183, 50, &theirs());
    let progress = caller.expect(&mut world, "183");
    assert!(is_reliable(&progress));
    assert_eq!(media_of(&progress).0, "10.1.0.1");
    caller.learn(&progress);
    // While it is open, nobody offers anything else.
    let mut early = callee.clone();
    early.request(&mut world, "UPDATE", &sdp("10.2.0.2", 6002));
    callee.expect(&mut world, "500");
    caller.prack(&mut world, &progress, &offer());
    let prack = take_prack(&mut world, &callee, 50);
    let (address, port) = media_of(&prack);
    assert_eq!(address, "10.2.0.1");
    caller.expect(&mut world, "200");
    assert_eq!(
        towards_callee(&world, &progress),
        Some(addr("10.2.0.2:6000"))
    );
    let egress = world.flow(&address, port).rtp.expect("RTP");
    assert_eq!(egress.destination, Some(addr("10.1.0.2:4000")));
    let answer = answer(&mut world, &mut caller, &callee, &invite, "");
    assert!(answer.body.is_empty());
    talk_and_end(&mut world, caller, &callee);
}

#[test]
fn a_prack_without_the_answer_that_it_owes_ends_the_call() {
    for (body, code) in [("", "400"), ("v=0\r\nnonsense\r\n", "400")] {
        let mut world = World::new();
        let (mut caller, callee, invite) = dial(&mut world, SUPPORTED, "");
        say(&mut world, &callee, &invite, 183, 50, &theirs());
        let progress = caller.expect(&mut world, "183");
        let mut early = caller.clone();
        early.learn(&progress);
        early.prack(&mut world, &progress, body);
        caller.expect(&mut world, code);
        take_prack(&mut world, &callee, 50);
        let failure = caller.expect(&mut world, "502");
        caller.ack(&mut world, &failure, "");
        let cancel = callee.expect(&mut world, "CANCEL");
        callee.respond(&mut world, &cancel, 200, "");
        callee.respond(&mut world, &invite, 487, "");
        callee.expect(&mut world, "ACK");
        world.assert_quiet();
        world.assert_clean();
    }
}

#[test]
fn no_callee_is_asked_for_an_offer_that_the_caller_cannot_answer() {
    let mut world = World::new();
    let (caller, callee, invite) = dial(&mut world, "", "");
    assert!(!invite.lists(&HeaderName::Supported, "100rel"));
    say(&mut world, &callee, &invite, 183, 50, &theirs());
    let progress = caller.expect(&mut world, "183");
    assert!(progress.body.is_empty() && !is_reliable(&progress));
    callee.expect_nothing(&mut world);
    world.advance(TRANSACTION);
}

#[test]
fn a_prack_may_offer_and_its_2xx_answers() {
    let mut world = World::new();
    let (mut caller, callee, invite) = dial(&mut world, SUPPORTED, &offer());
    say(&mut world, &callee, &invite, 183, 50, &theirs());
    let progress = caller.expect(&mut world, "183");
    caller.learn(&progress);
    caller.prack(
        &mut world,
        &progress,
        &described("10.1.0.2", 4400, 2, "sendrecv"),
    );
    let prack = callee.expect(&mut world, "PRACK");
    assert_eq!(header(&prack, HeaderName::RAck), "50 1 INVITE");
    let (address, port) = media_of(&prack);
    assert_eq!(address, "10.2.0.1");
    // While it is open, the callee waits, and the caller too.
    let mut early = callee.clone();
    early.request(&mut world, "UPDATE", &sdp("10.2.0.2", 6002));
    callee.expect(&mut world, "491");
    caller.request(&mut world, "UPDATE", &sdp("10.1.0.2", 4402));
    caller.expect(&mut world, "500");
    callee.respond(
        &mut world,
        &prack,
        200,
        &described("10.2.0.2", 6600, 2, "sendrecv"),
    );
    let agreed = caller.expect(&mut world, "200");
    assert_eq!(towards_callee(&world, &agreed), Some(addr("10.2.0.2:6600")));
    let egress = world.flow(&address, port).rtp.expect("RTP");
    assert_eq!(egress.destination, Some(addr("10.1.0.2:4400")));
    let answer = answer(&mut world, &mut caller, &callee, &invite, "");
    assert!(answer.body.is_empty());
    talk_and_end(&mut world, caller, &callee);
}

#[test]
fn an_offer_in_a_prack_that_nobody_can_be_brought_is_refused_and_acknowledges_all_the_same() {
    let mut world = World::new();
    let (mut caller, callee, invite) = dial(&mut world, REQUIRED, &offer());
    callee.respond(&mut world, &invite, 183, &theirs());
    let progress = caller.expect(&mut world, "183");
    caller.learn(&progress);
    caller.prack(
        &mut world,
        &progress,
        &described("10.1.0.2", 4400, 2, "sendrecv"),
    );
    caller.expect(&mut world, "488");
    world.advance(TRANSACTION);
    world.assert_quiet();
    assert_eq!(
        towards_callee(&world, &progress),
        Some(addr("10.2.0.2:6000"))
    );
    answer(&mut world, &mut caller, &callee, &invite, &theirs());
    talk_and_end(&mut world, caller, &callee);
}

#[test]
fn once_agreed_either_side_may_update_before_the_answer() {
    let mut world = World::new();
    let (mut caller, mut callee, invite, _) = agreed(&mut world);
    caller.request(
        &mut world,
        "UPDATE",
        &described("10.1.0.2", 4400, 2, "sendonly"),
    );
    let update = callee.expect(&mut world, "UPDATE");
    callee.respond(
        &mut world,
        &update,
        200,
        &described("10.2.0.2", 6400, 2, "recvonly"),
    );
    let told = caller.expect(&mut world, "200");
    assert_eq!(towards_callee(&world, &told), Some(addr("10.2.0.2:6400")));

    callee.request(
        &mut world,
        "UPDATE",
        &described("10.2.0.2", 6600, 3, "sendrecv"),
    );
    let update = caller.expect(&mut world, "UPDATE");
    caller.respond(
        &mut world,
        &update,
        200,
        &described("10.1.0.2", 4400, 3, "sendrecv"),
    );
    callee.expect(&mut world, "200");
    assert_eq!(towards_callee(&world, &told), Some(addr("10.2.0.2:6600")));

    // One that is refused leaves all as it was, and one that is open crosses the answer without harm.
    callee.request(
        &mut world,
        "UPDATE",
        &described("10.2.0.2", 6800, 4, "sendrecv"),
    );
    let update = caller.expect(&mut world, "UPDATE");
    caller.respond(&mut world, &update, 488, "");
    callee.expect(&mut world, "488");
    assert_eq!(towards_callee(&world, &told), Some(addr("10.2.0.2:6600")));
    callee.request(
        &mut world,
        "UPDATE",
        &described("10.2.0.2", 7000, 5, "sendrecv"),
    );
    let update = caller.expect(&mut world, "UPDATE");
    callee.respond(&mut world, &invite, 200, "");
    callee.expect(&mut world, "ACK");
    let answer = caller.expect(&mut world, "200");
    caller.ack(&mut world, &answer, "");
    caller.respond(
        &mut world,
        &update,
        200,
        &described("10.1.0.2", 4400, 5, "sendrecv"),
    );
    callee.expect(&mut world, "200");
    assert_eq!(towards_callee(&world, &told), Some(addr("10.2.0.2:7000")));
    talk_and_end(&mut world, caller, &callee);
}

#[test]
fn updates_that_cross_before_the_answer_are_told_to_wait() {
    let mut world = World::new();
    let (mut caller, mut callee, invite, _) = agreed(&mut world);
    caller.request(
        &mut world,
        "UPDATE",
        &described("10.1.0.2", 4400, 2, "sendrecv"),
    );
    let update = callee.expect(&mut world, "UPDATE");
    callee.request(
        &mut world,
        "UPDATE",
        &described("10.2.0.2", 6400, 2, "sendrecv"),
    );
    callee.expect(&mut world, "491");
    caller.request(
        &mut world,
        "UPDATE",
        &described("10.1.0.2", 4402, 3, "sendrecv"),
    );
    let wait = caller.expect(&mut world, "500");
    assert!(wait.headers.contains(&HeaderName::RetryAfter));
    callee.respond(&mut world, &update, 491, "");
    caller.expect(&mut world, "491");
    answer(&mut world, &mut caller, &callee, &invite, "");
    talk_and_end(&mut world, caller, &callee);
}

#[test]
fn until_both_legs_agree_nobody_updates() {
    // The callee has answered for good, the caller cannot know.
    let mut world = World::new();
    let (mut caller, mut callee, invite) = dial(&mut world, "", &offer());
    say(&mut world, &callee, &invite, 183, 50, &theirs());
    take_prack(&mut world, &callee, 50);
    caller.expect(&mut world, "183");
    callee.request(
        &mut world,
        "UPDATE",
        &described("10.2.0.2", 6400, 2, "sendrecv"),
    );
    callee.expect(&mut world, "491");
    let answer_ = answer(&mut world, &mut caller, &callee, &invite, "");
    assert_eq!(
        towards_callee(&world, &answer_),
        Some(addr("10.2.0.2:6000"))
    );
    talk_and_end(&mut world, caller, &callee);
    // The other way round.
    let mut world = World::new();
    let (mut caller, callee, invite) = dial(&mut world, REQUIRED, &offer());
    callee.respond(&mut world, &invite, 183, &theirs());
    let progress = caller.expect(&mut world, "183");
    caller.learn(&progress);
    caller.prack(&mut world, &progress, "");
    caller.expect(&mut world, "200");
    caller.request(
        &mut world,
        "UPDATE",
        &described("10.1.0.2", 4400, 2, "sendrecv"),
    );
    caller.expect(&mut world, "491");
    answer(&mut world, &mut caller, &callee, &invite, &theirs());
    talk_and_end(&mut world, caller, &callee);
}

#[test]
fn the_media_is_the_winners_whatever_another_fork_has_agreed_meanwhile() {
    for body in [String::new(), sdp("10.2.0.3", 6300)] {
        let mut world = World::new();
        let (mut caller, loser, invite, told) = agreed(&mut world);
        let winner = Phone::callee(CALLEE, &invite, "winner");
        let mut early = caller.clone();
        if body.is_empty() {
            say(
                &mut world,
                &winner,
                &invite,
                183,
                900,
                &sdp("10.2.0.3", 6300),
            );
            let progress = early.expect(&mut world, "183");
            early.learn(&progress);
            early.prack(&mut world, &progress, "");
            take_prack(&mut world, &winner, 900);
            early.expect(&mut world, "200");
            assert_eq!(towards_callee(&world, &told), Some(addr("10.2.0.3:6300")));
            caller.cseq = early.cseq;
        }
        // The other moves its media, and leaves an offer open.
        caller.request(
            &mut world,
            "UPDATE",
            &described("10.1.0.2", 4400, 2, "sendrecv"),
        );
        let update = loser.expect(&mut world, "UPDATE");
        loser.respond(
            &mut world,
            &update,
            200,
            &described("10.2.0.2", 6400, 2, "sendrecv"),
        );
        caller.expect(&mut world, "200");
        assert_eq!(towards_callee(&world, &told), Some(addr("10.2.0.2:6400")));
        let mut asking = loser.clone();
        asking.request(
            &mut world,
            "UPDATE",
            &described("10.2.0.2", 6600, 3, "sendrecv"),
        );
        let update = caller.expect(&mut world, "UPDATE");

        winner.respond(&mut world, &invite, 200, &body);
        loser.expect(&mut world, "481");
        winner.expect(&mut world, "ACK");
        let answer = caller.expect(&mut world, "200");
        caller.ack(&mut world, &answer, "");
        caller.respond(&mut world, &update, 481, "");
        assert_eq!(towards_callee(&world, &told), Some(addr("10.2.0.3:6300")));
        let (address, port) = media_of(&invite);
        let egress = world.flow(&address, port).rtp.expect("RTP");
        assert_eq!(egress.destination, Some(addr("10.1.0.2:4000")));
        talk_and_end(&mut world, caller, &winner);
    }
}

#[test]
fn the_offers_of_two_forks_are_each_answered() {
    let mut world = World::new();
    let (mut caller, one, invite) = dial(&mut world, SUPPORTED, "");
    let two = Phone::callee(CALLEE, &invite, "two");
    say(&mut world, &one, &invite, 183, 50, &theirs());
    let first = caller.expect(&mut world, "183");
    say(&mut world, &two, &invite, 183, 70, &sdp("10.2.0.3", 6300));
    let second = caller.expect(&mut world, "183");
    let mut early = caller.clone();
    early.learn(&first);
    early.prack(&mut world, &first, &offer());
    media_of(&take_prack(&mut world, &one, 50));
    early.expect(&mut world, "200");
    assert_eq!(towards_callee(&world, &first), Some(addr("10.2.0.2:6000")));
    caller.cseq = early.cseq;
    caller.learn(&second);
    caller.prack(&mut world, &second, &sdp("10.1.0.2", 4002));
    media_of(&take_prack(&mut world, &two, 70));
    caller.expect(&mut world, "200");
    assert_eq!(towards_callee(&world, &second), Some(addr("10.2.0.3:6300")));
    let mut winning = caller.clone();
    winning.learn(&first);
    one.respond(&mut world, &invite, 200, "");
    one.expect(&mut world, "ACK");
    let answer = caller.expect(&mut world, "200");
    winning.ack(&mut world, &answer, "");
    assert_eq!(towards_callee(&world, &first), Some(addr("10.2.0.2:6000")));
    let (address, port) = media_of(&first);
    assert_eq!(address, "10.1.0.1");
    assert_eq!(media_of(&second).1, port);
    world.advance(Duration::from_secs(1));
    talk_and_end(&mut world, winning, &one);
}

#[test]
fn message_passes_within_the_dialog() {
    let mut world = World::new();
    let (mut caller, callee, invite) = dial(&mut world, "", &offer());
    answer(&mut world, &mut caller, &callee, &invite, &theirs());
    caller.request_with(
        &mut world,
        "MESSAGE",
        "hello",
        "Content-Type: text/plain\r\n",
    );
    let message = callee.expect(&mut world, "MESSAGE");
    assert_eq!(message.body, b"hello");
    assert_eq!(header(&message, HeaderName::ContentType), "text/plain");
    callee.respond(&mut world, &message, 200, "");
    caller.expect(&mut world, "200");
    talk_and_end(&mut world, caller, &callee);
}
