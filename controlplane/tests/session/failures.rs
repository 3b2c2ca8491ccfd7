//! What is refused, what fails, and that nothing of it is left behind.

use std::time::Duration;

use contract::{Command, Refusal, WorkerId};
use controlplane::installer::{RESOLVE_WITHIN, TicketFailure};
use controlplane::sdp::SdpError;
use controlplane::session::{ErrorClass, Family, SessionError, Side};
use controlplane::settings::MediaGroupId;

use crate::rig::{Rig, leg, link, media_ports, sdp, settings};

const AUDIO: &str = "m=audio 5000 RTP/AVP 8";

#[test]
fn exhausted_ports_are_a_counted_refusal_that_takes_nothing() {
    let mut rig = Rig::with(settings((20_000, 20_003)), 1, 1);
    let id = rig.open();
    let three = format!("{AUDIO}\nm=audio 5002 RTP/AVP 8\nm=audio 5004 RTP/AVP 8");
    let refused = rig
        .engine
        .offer(rig.now, id, Side::A, &sdp("192.0.2.1", &three));
    let error = refused.expect_err("two pairs for three streams");
    assert!(
        matches!(error, SessionError::PortsExhausted(_)) && error.class() == ErrorClass::Exhausted
    );
    assert_eq!(rig.engine.counters().refused["ports_exhausted"], 1);
    assert!(
        rig.engine
            .gauges()
            .ports
            .iter()
            .all(|ports| ports.in_use + ports.resting == 0)
    );
    rig.offer(id, Side::A, &sdp("192.0.2.1", AUDIO));
    rig.engine.close(rig.now, id);
    rig.assert_clean();
}

#[test]
fn sessions_and_streams_are_bounded() {
    let mut rig = Rig::new(1);
    let sessions: Vec<_> = (0..8).map(|_| rig.open()).collect();
    let ninth = rig.engine.open(rig.now, leg(0, None), leg(1, None));
    assert_eq!(ninth, Err(SessionError::TooManySessions));
    let five = [AUDIO; 5].join("\n");
    let refused = rig
        .engine
        .offer(rig.now, sessions[0], Side::A, &sdp("192.0.2.1", &five));
    assert_eq!(refused, Err(SessionError::TooManyStreams(5)));
    assert_eq!(rig.engine.counters().refused.len(), 2);
    sessions
        .into_iter()
        .for_each(|id| rig.engine.close(rig.now, id));
    rig.assert_clean();
}

#[test]
fn answers_are_checked_against_their_offer() {
    let mut rig = Rig::new(1);
    let id = rig.open();
    let answer = |rig: &mut Rig, media: &str| {
        let answer = rig
            .engine
            .answer(rig.now, id, Side::B, &sdp("198.51.100.1", media));
        answer.map(|rewritten| rewritten.sdp)
    };
    assert_eq!(answer(&mut rig, AUDIO), Err(SessionError::NoOffer));
    rig.offer(id, Side::A, &sdp("192.0.2.1", AUDIO));
    let two = format!("{AUDIO}\n{AUDIO}");
    assert_eq!(
        answer(&mut rig, &two),
        Err(SessionError::AnswerCount {
            offered: 1,
            answered: 2
        })
    );
    let video = answer(&mut rig, "m=video 6000 RTP/AVP 96");
    assert_eq!(video, Err(SessionError::MediaMismatch { stream: 1 }));
    let own = rig
        .engine
        .answer(rig.now, id, Side::A, &sdp("192.0.2.1", AUDIO));
    assert_eq!(
        own,
        Err(SessionError::NoOffer),
        "nobody answers their own offer"
    );
    assert_eq!(rig.engine.confirm(rig.now, id), Err(SessionError::NoAnswer));
    assert!(answer(&mut rig, AUDIO).is_ok());
}

#[test]
fn what_cannot_be_relayed_is_not_acceptable() {
    let mut rig = Rig::new(1);
    let id = rig.open();
    let mut offer = |address: &str, media: &str| {
        let refused = rig.engine.offer(rig.now, id, Side::A, &sdp(address, media));
        refused.expect_err("refused")
    };
    let fax = offer("192.0.2.1", "m=image 5000 tcptl t38");
    assert_eq!(
        (fax.clone(), fax.class()),
        (SessionError::NothingToRelay, ErrorClass::NotAcceptable)
    );
    let multicast = offer("224.0.0.1", AUDIO);
    assert_eq!(
        multicast,
        SessionError::Sdp(SdpError::BadAddress { line: 4 })
    );
    assert_eq!(multicast.class(), ErrorClass::NotAcceptable);
    assert_eq!(
        offer("192.0.2.1", "m=audio x RTP/AVP 8").class(),
        ErrorClass::Malformed
    );
    rig.engine.close(rig.now, id);
    rig.assert_clean();
}

#[test]
fn a_family_that_the_group_lacks_is_refused() {
    let mut settings = settings((20_000, 20_099));
    settings.media_groups[0]
        .addresses
        .retain(|address| address.is_ipv4());
    let mut rig = Rig::with(settings, 1, 1);
    let id = rig.open();
    let refused = rig
        .engine
        .offer(rig.now, id, Side::A, &sdp("2001:db8::1", AUDIO));
    let error = SessionError::NoSuchFamily {
        group: MediaGroupId(0),
        family: Family::V6,
    };
    assert_eq!(refused, Err(error));
    rig.offer(id, Side::A, &sdp("192.0.2.1", AUDIO));
}

#[test]
fn a_full_table_fails_the_ticket_and_leaves_nothing() {
    let mut rig = Rig::new(2);
    rig.workers[1].capacity = 2;
    let id = rig.open();
    let offer = rig
        .engine
        .offer(rig.now, id, Side::A, &sdp("192.0.2.1", AUDIO))
        .expect("valid");
    rig.settle();
    let why = TicketFailure::Refused(WorkerId(1), Refusal::TableFull);
    assert_eq!(rig.failed, [(offer.ticket.expect("flows"), why)]);
    assert!(rig.ready.is_empty());
    assert_eq!(rig.engine.counters().tickets_failed["refused"], 1);
    rig.engine.close(rig.now, id);
    rig.assert_clean();
}

#[test]
fn a_full_mailbox_fails_an_install_and_delays_a_removal() {
    let mut rig = Rig::new(2);
    let id = rig.open();
    rig.offer(id, Side::A, &sdp("192.0.2.1", AUDIO));
    rig.workers[0].mailbox_capacity = 0;
    let other = rig.open();
    let offer = rig
        .engine
        .offer(rig.now, other, Side::A, &sdp("192.0.2.2", AUDIO))
        .expect("valid");
    rig.settle();
    assert_eq!(
        rig.failed,
        [(
            offer.ticket.expect("flows"),
            TicketFailure::MailboxFull(WorkerId(0))
        )]
    );
    rig.engine.close(rig.now, other);
    rig.settle();
    assert_eq!(
        rig.engine.gauges().flows,
        4,
        "what was never there is gone at once"
    );
    rig.engine.close(rig.now, id);
    rig.settle();
    rig.pass(Duration::from_secs(5));
    assert_eq!(
        (rig.workers[0].flows.len(), rig.workers[1].flows.len()),
        (4, 0)
    );
    assert_eq!(
        rig.engine.gauges().ports[0].in_use,
        1,
        "no rest before every worker has let go"
    );
    rig.workers[0].mailbox_capacity = 100;
    rig.pass(Duration::from_secs(1));
    assert!(rig.engine.counters().commands_rejected > 8);
    rig.assert_clean();
}

#[test]
fn a_mailbox_that_stays_full_is_given_up_and_its_ports_never_come_back() {
    let mut rig = Rig::new(1);
    let id = rig.open();
    rig.offer(id, Side::A, &sdp("192.0.2.1", AUDIO));
    rig.workers[0].mailbox_capacity = 0;
    rig.engine.close(rig.now, id);
    rig.settle();
    rig.pass(Duration::from_secs(600));
    let counters = rig.engine.counters();
    assert_eq!(counters.commands_abandoned, 4);
    assert_eq!(rig.engine.deadline(), None, "no more attempts");
    assert_eq!(rig.engine.gauges().ports[0].in_use, 1);
}

#[test]
fn a_worker_that_says_nothing_fails_the_ticket_in_time() {
    let mut rig = Rig::new(1);
    let id = rig.open();
    let offer = rig
        .engine
        .offer(rig.now, id, Side::A, &sdp("192.0.2.1", AUDIO))
        .expect("valid");
    rig.drain();
    let start = rig.now;
    while let Some(deadline) = rig.engine.deadline() {
        rig.now = deadline;
        rig.engine.on_time(deadline);
        rig.drain();
    }
    assert_eq!(
        rig.failed,
        [(offer.ticket.expect("flows"), TicketFailure::TimedOut)]
    );
    assert_eq!(rig.now.since(start), Duration::from_secs(2));
    rig.engine.close(rig.now, id);
    rig.assert_clean();
}

#[test]
fn a_silent_neighbour_delays_the_body_a_little_and_no_more() {
    let mut rig = Rig::new(2);
    rig.resolves = false;
    let id = rig.open();
    let offer = rig
        .engine
        .offer(rig.now, id, Side::A, &sdp("192.0.2.1", AUDIO))
        .expect("valid");
    rig.settle();
    assert!(rig.ready.is_empty());
    rig.pass(RESOLVE_WITHIN);
    assert_eq!(rig.ready, [offer.ticket.expect("flows")]);
    // When it answers after all, and when its address changes later, every entry follows.
    let port = media_ports(&offer.sdp)[0];
    for last in [5, 6] {
        let query = rig.watched[0];
        rig.engine
            .next_hop_resolved(rig.now, query, Some(link(last)));
        rig.settle();
        assert_eq!(
            rig.entry("10.2.0.1", port).rtp.expect("RTP").link,
            Some(link(last))
        );
    }
    let query = rig.watched[0];
    rig.engine.next_hop_resolved(rig.now, query, None);
    rig.settle();
    assert_eq!(rig.entry("10.2.0.1", port).rtp.expect("RTP").link, None);
}

#[test]
fn stale_and_foreign_words_of_workers_are_ignored() {
    let mut rig = Rig::new(1);
    let id = rig.open();
    rig.offer(id, Side::A, &sdp("192.0.2.1", AUDIO));
    let flow = *rig.workers[0].flows.values().next().expect("a flow");
    rig.engine.close(rig.now, id);
    rig.settle();
    use contract::Event::{Active, Idle, Installed, Removed, Updated};
    for event in [
        Installed(flow.id),
        Updated(flow.id),
        Removed(flow.id),
        Idle(flow.id),
        Active(flow.id),
    ] {
        rig.event(0, event);
        rig.engine.on_event(rig.now, WorkerId(999), event);
    }
    rig.engine
        .command_rejected(rig.now, WorkerId(0), Command::Install(flow));
    rig.assert_clean();
}
