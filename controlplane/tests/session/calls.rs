//! What offers and answers make of flows and of the bodies that are sent on.

use contract::{Event, Homes, WorkerId};
use controlplane::session::{ErrorClass, Family, SessionError, Side, StreamState};

use crate::rig::{MEDIA_TIMEOUT, Rig, at, leg, line, link, media_ports, sdp, settings};

const AUDIO: &str = "m=audio 5000 RTP/AVP 8 101\na=rtpmap:101 telephone-event/8000";

/// A call from 192.0.2.1:5000 to 198.51.100.1:6000; the relay's port towards A, and towards B.
fn call(rig: &mut Rig) -> (controlplane::session::SessionId, u16, u16) {
    let id = rig.open();
    let towards_b = rig.offer(id, Side::A, &sdp("192.0.2.1", AUDIO));
    let towards_a = rig.answer(id, Side::B, &sdp("198.51.100.1", "m=audio 6000 RTP/AVP 8"));
    rig.confirm(id);
    (id, media_ports(&towards_a)[0], media_ports(&towards_b)[0])
}

#[test]
fn a_call_has_four_flows_that_lead_to_each_other() {
    let mut rig = Rig::new(2);
    let (id, a, b) = call(&mut rig);
    assert_eq!((a % 2, b % 2, rig.flow_count()), (0, 0, 4));
    let from_a = rig.entry("10.1.0.1", a);
    let egress = from_a.rtp.expect("RTP");
    assert_eq!(egress.source.socket_addr(), at(&format!("10.2.0.1:{b}")));
    assert_eq!(egress.destination, Some(at("198.51.100.1:6000")));
    assert_eq!((egress.link, from_a.rtcp), (Some(link(9)), None));
    assert_eq!(from_a.latch.signalled, Some(at("192.0.2.1:5000")));
    assert_eq!(from_a.idle_after, Some(MEDIA_TIMEOUT));
    let control = rig.entry("10.2.0.1", b + 1);
    let egress = control.rtcp.expect("RTCP");
    assert_eq!(
        egress.source.socket_addr(),
        at(&format!("10.1.0.1:{}", a + 1))
    );
    assert_eq!(egress.destination, Some(at("192.0.2.1:5001")));
    assert_eq!((control.rtp, control.idle_after), (None, None));
    let view = rig.engine.describe(id).expect("open");
    assert_eq!(view.streams[0].state, StreamState::Active);
    assert_eq!(
        view.streams[0].parties[0].codecs,
        "8 PCMA/8000, 101 telephone-event/8000"
    );
    assert_eq!(rig.engine.flows(id).len(), 4);
    rig.engine.close(rig.now, id);
    rig.assert_clean();
}

#[test]
fn both_legs_of_a_call_meet_at_one_worker_where_the_homes_are_known() {
    let mut rig = Rig::with(settings((20_000, 20_999)), 4, 1);
    let home = |port: u16| WorkerId((port / 2).wrapping_mul(40_503) >> 5 & 3);
    let mut homes = Homes::default();
    for address in ["10.1.0.1", "10.2.0.1"] {
        let address = address.parse().expect("an address");
        homes.set(address, 20_000, (20_000..21_000).map(home));
    }
    let meet = |rig: &mut Rig| {
        let mut met = 0;
        for _ in 0..100 {
            let (id, a, b) = call(rig);
            met += u32::from(home(a) == home(b));
            rig.engine.close(rig.now, id);
            rig.settle();
        }
        met
    };
    let by_chance = meet(&mut rig);
    assert!((10..45).contains(&by_chance), "{by_chance} of 100");
    rig.engine.set_homes(homes);
    assert_eq!(meet(&mut rig), 100);
    rig.engine.set_homes(Homes::default());
    assert!(meet(&mut rig) < 45);
}

#[test]
fn the_body_is_held_back_until_every_worker_forwards() {
    let mut rig = Rig::new(2);
    let id = rig.open();
    let offer = rig
        .engine
        .offer(rig.now, id, Side::A, &sdp("192.0.2.1", AUDIO))
        .expect("valid");
    let ticket = offer.ticket.expect("flows are to be installed");
    rig.drain();
    while rig.step(0) {}
    assert!(rig.ready.is_empty());
    while rig.step(1) {}
    assert_eq!(rig.ready, [ticket]);
    let again = rig
        .engine
        .offer(rig.now, id, Side::A, &sdp("192.0.2.1", AUDIO))
        .expect("valid");
    assert_eq!(again.ticket, None, "nothing has changed");
    assert_eq!(again.sdp, offer.sdp);
}

#[test]
fn origins_hide_the_parties_and_count_changes() {
    let mut rig = Rig::new(1);
    let (id, ..) = call(&mut rig);
    let first = rig.offer(id, Side::A, &sdp("192.0.2.1", AUDIO));
    let origin = line(&first, "o=").expect("o=").to_owned();
    rig.answer(id, Side::B, &sdp("198.51.100.1", "m=audio 6000 RTP/AVP 8"));
    assert!(
        origin.starts_with("o=- ") && origin.ends_with(" 1 IN IP4 10.2.0.1"),
        "{origin}"
    );
    let held = rig.offer(
        id,
        Side::A,
        &sdp("192.0.2.1", &format!("{AUDIO}\na=sendonly")),
    );
    let next = origin.replace(" 1 IN", " 2 IN");
    assert_eq!(
        line(&held, "o="),
        Some(next.as_str()),
        "same session, next version"
    );
}

#[test]
fn a_hold_expects_no_media_and_a_resume_does_again() {
    let mut rig = Rig::new(1);
    let (id, a, b) = call(&mut rig);
    rig.event(
        0,
        Event::Latched {
            flow: rig.entry("10.1.0.1", a).id,
            armed: rig.entry("10.1.0.1", a).latch.armed,
            remote: at("192.0.2.77:7777"),
            next_hop: link(9).destination,
        },
    );
    rig.settle();
    rig.offer(
        id,
        Side::A,
        &sdp("192.0.2.1", &format!("{AUDIO}\na=sendonly")),
    );
    assert!(
        rig.entry("10.2.0.1", b).idle_after.is_some(),
        "in force until the answer"
    );
    rig.answer(
        id,
        Side::B,
        &sdp("198.51.100.1", "m=audio 6000 RTP/AVP 8\na=recvonly"),
    );
    rig.confirm(id);
    assert_eq!(rig.entry("10.2.0.1", b).idle_after, None, "B need not send");
    assert!(
        rig.entry("10.1.0.1", a).idle_after.is_some(),
        "A sends music"
    );
    assert_eq!(
        rig.entry("10.1.0.1", a).latch.latched,
        Some(at("192.0.2.77:7777"))
    );
    rig.offer(
        id,
        Side::A,
        &sdp("192.0.2.1", &format!("{AUDIO}\na=inactive")),
    );
    rig.answer(
        id,
        Side::B,
        &sdp("198.51.100.1", "m=audio 6000 RTP/AVP 8\na=inactive"),
    );
    assert_eq!(rig.entry("10.1.0.1", a).idle_after, None);
    let armed = rig.entry("10.1.0.1", a).latch.armed;
    rig.offer(id, Side::A, &sdp("192.0.2.1", AUDIO));
    rig.answer(id, Side::B, &sdp("198.51.100.1", "m=audio 6000 RTP/AVP 8"));
    let resumed = rig.entry("10.1.0.1", a);
    assert!(resumed.idle_after.is_some() && rig.entry("10.2.0.1", b).idle_after.is_some());
    assert!(
        resumed.latch.armed != armed && resumed.latch.latched.is_none(),
        "back from a hold: armed anew"
    );
}

#[test]
fn an_unspecified_address_holds_in_either_family() {
    let mut rig = Rig::new(1);
    let id = rig
        .engine
        .open(rig.now, leg(0, None), leg(1, Some(Family::V6)))
        .expect("room");
    let towards_b = rig.offer(id, Side::A, &sdp("192.0.2.1", AUDIO));
    rig.answer(id, Side::B, &sdp("2001:db8::1", "m=audio 6000 RTP/AVP 8"));
    rig.confirm(id);
    let held = rig.offer(id, Side::A, &sdp("0.0.0.0", AUDIO));
    assert_eq!(line(&held, "c="), Some("c=IN IP6 ::"));
    rig.answer(id, Side::B, &sdp("2001:db8::1", "m=audio 6000 RTP/AVP 8"));
    rig.confirm(id);
    let from_b = rig.entry("fd02::1", media_ports(&towards_b)[0]);
    assert_eq!(
        (from_b.rtp.expect("RTP").destination, from_b.idle_after),
        (None, None)
    );
    assert_eq!(
        rig.engine.describe(id).expect("open").streams[0].state,
        StreamState::Held
    );
}

#[test]
fn families_are_bridged_and_an_answer_may_use_another_than_it_was_offered() {
    let mut rig = Rig::new(1);
    let id = rig.open();
    let towards_b = rig.offer(id, Side::A, &sdp("192.0.2.1", AUDIO));
    assert_eq!(line(&towards_b, "c="), Some("c=IN IP4 10.2.0.1"));
    let towards_a = rig.answer(id, Side::B, &sdp("2001:db8::1", "m=audio 6000 RTP/AVP 8"));
    assert_eq!(line(&towards_a, "c="), Some("c=IN IP4 10.1.0.1"));
    let egress = rig
        .entry("10.1.0.1", media_ports(&towards_a)[0])
        .rtp
        .expect("RTP");
    assert_eq!(egress.destination, Some(at("[2001:db8::1]:6000")));
    assert_eq!(egress.source.address.to_string(), "fd02::1");
    // B was told to send to IPv4, and does; what comes back to the port that A's media leaves from also
    // finds its way.
    for (address, port) in [
        ("10.2.0.1", media_ports(&towards_b)[0]),
        ("fd02::1", egress.source.port),
    ] {
        let back = rig.entry(address, port).rtp.expect("RTP");
        assert_eq!(back.destination, Some(at("192.0.2.1:5000")));
    }
    rig.engine.close(rig.now, id);
    rig.assert_clean();
}

#[test]
fn mux_is_bridged_to_separate_rtcp() {
    let mut rig = Rig::new(1);
    let id = rig.open();
    let offer = sdp("192.0.2.1", &format!("{AUDIO}\na=rtcp-mux"));
    let towards_b = rig.offer(id, Side::A, &offer);
    assert!(line(&towards_b, "a=rtcp-mux").is_some());
    let towards_a = rig.answer(
        id,
        Side::B,
        &sdp("198.51.100.1", "m=audio 6000 RTP/AVP 8\na=rtcp:6007"),
    );
    let (a, b) = (media_ports(&towards_a)[0], media_ports(&towards_b)[0]);
    assert!(
        line(&towards_a, "a=rtcp-mux").is_some(),
        "muxed with A on our own account"
    );
    assert_eq!(
        line(&towards_a, "a=rtcp:"),
        Some(format!("a=rtcp:{a}").as_str())
    );
    assert_eq!(rig.flow_count(), 3);
    let from_a = rig.entry("10.1.0.1", a);
    assert_eq!(
        from_a.rtcp.expect("muxed").destination,
        Some(at("198.51.100.1:6007"))
    );
    assert_eq!(from_a.rtcp.expect("muxed").source.port, b + 1);
    let control = rig.entry("10.2.0.1", b + 1).rtcp.expect("RTCP");
    assert_eq!(
        (control.source.port, control.destination),
        (a, Some(at("192.0.2.1:5000")))
    );
    assert_eq!(rig.entry("10.2.0.1", b).rtcp, None);
}

#[test]
fn streams_are_rejected_added_and_removed() {
    let mut rig = Rig::new(1);
    let id = rig.open();
    let two = format!("{AUDIO}\nm=audio 5010 RTP/AVP 8\nm=image 5020 tcptl t38");
    let towards_b = rig.offer(id, Side::A, &sdp("192.0.2.1", &two));
    let ports = media_ports(&towards_b);
    assert!(ports[0] != 0 && ports[1] != 0 && ports[0] != ports[1] && ports[2] == 0);
    let answer = "m=audio 6000 RTP/AVP 8\nm=audio 0 RTP/AVP 8\nm=image 0 tcptl t38";
    let towards_a = rig.answer(id, Side::B, &sdp("198.51.100.1", answer));
    assert_eq!(media_ports(&towards_a)[1..], [0, 0]);
    assert_eq!(
        rig.engine.gauges().ports[0].in_use,
        2,
        "another fork may take it"
    );
    rig.confirm(id);
    assert_eq!(
        (rig.engine.gauges().ports[0].in_use, rig.flow_count()),
        (1, 4)
    );
    let towards_b = rig.offer(id, Side::A, &sdp("192.0.2.1", &two));
    assert_eq!(
        media_ports(&towards_b)[0],
        ports[0],
        "a stream keeps its port"
    );
    let answer = "m=audio 6000 RTP/AVP 8\nm=audio 6010 RTP/AVP 8\nm=image 0 tcptl t38";
    rig.answer(id, Side::B, &sdp("198.51.100.1", answer));
    rig.confirm(id);
    assert_eq!(rig.flow_count(), 8);
    let removed = "m=audio 0 RTP/AVP 8\nm=audio 5010 RTP/AVP 8\nm=image 0 tcptl t38";
    rig.offer(id, Side::A, &sdp("192.0.2.1", removed));
    assert_eq!(rig.flow_count(), 8, "in force until the answer");
    rig.answer(
        id,
        Side::B,
        &sdp(
            "198.51.100.1",
            "m=audio 0 RTP/AVP 8\nm=audio 6010 RTP/AVP 8\nm=image 0 tcptl t38",
        ),
    );
    rig.confirm(id);
    assert_eq!(
        (rig.flow_count(), rig.engine.gauges().ports[1].in_use),
        (4, 1)
    );
    let fewer = rig
        .engine
        .offer(rig.now, id, Side::A, &sdp("192.0.2.1", AUDIO));
    assert_eq!(
        fewer,
        Err(SessionError::FewerStreams {
            offered: 1,
            agreed: 3
        })
    );
}

#[test]
fn a_later_answer_replaces_the_former() {
    let mut rig = Rig::new(2);
    let id = rig.open();
    let two = format!("{AUDIO}\nm=video 5010 RTP/AVP 96");
    let towards_b = rig.offer(id, Side::A, &sdp("192.0.2.1", &two));
    let first = rig.answer(
        id,
        Side::B,
        &sdp(
            "198.51.100.1",
            "m=audio 6000 RTP/AVP 8\nm=video 0 RTP/AVP 96",
        ),
    );
    let second = rig.answer(
        id,
        Side::B,
        &sdp(
            "198.51.100.2",
            "m=audio 7000 RTP/AVP 8\nm=video 7010 RTP/AVP 96",
        ),
    );
    assert_eq!(media_ports(&first)[0], media_ports(&second)[0]);
    let audio = rig
        .entry("10.1.0.1", media_ports(&second)[0])
        .rtp
        .expect("RTP");
    assert_eq!(audio.destination, Some(at("198.51.100.2:7000")));
    let video = rig
        .entry("10.1.0.1", media_ports(&second)[1])
        .rtp
        .expect("RTP");
    assert_eq!(video.destination, Some(at("198.51.100.2:7010")));
    let believed = rig.entry("10.2.0.1", media_ports(&towards_b)[0]).latch;
    assert_eq!(believed.signalled, Some(at("198.51.100.2:7000")));
}

#[test]
fn the_callee_may_offer_first() {
    let mut rig = Rig::new(1);
    let id = rig.open();
    let towards_a = rig.offer(id, Side::B, &sdp("198.51.100.1", "m=audio 6001 RTP/AVP 8"));
    let towards_b = rig.answer(id, Side::A, &sdp("192.0.2.1", AUDIO));
    rig.confirm(id);
    let from_a = rig
        .entry("10.1.0.1", media_ports(&towards_a)[0])
        .rtp
        .expect("RTP");
    assert_eq!(from_a.destination, Some(at("198.51.100.1:6001")));
    let control = rig
        .entry("10.1.0.1", media_ports(&towards_a)[0] + 1)
        .rtcp
        .expect("RTCP");
    assert_eq!(
        control.destination,
        Some(at("198.51.100.1:6002")),
        "the next port, though it is even"
    );
    assert_eq!(from_a.source.port, media_ports(&towards_b)[0]);
}

#[test]
fn a_rejected_offer_leaves_what_was_agreed() {
    let mut rig = Rig::new(1);
    let (id, a, b) = call(&mut rig);
    let before = (rig.entry("10.1.0.1", a), rig.entry("10.2.0.1", b));
    rig.offer(
        id,
        Side::B,
        &sdp(
            "203.0.113.9",
            "m=audio 9000 RTP/AVP 8\nm=video 9010 RTP/AVP 96",
        ),
    );
    assert_eq!((rig.entry("10.1.0.1", a), rig.entry("10.2.0.1", b)), before);
    let glare = rig
        .engine
        .offer(rig.now, id, Side::A, &sdp("192.0.2.1", AUDIO));
    assert_eq!(glare.expect_err("refused").class(), ErrorClass::Glare);
    rig.engine.reject_offer(rig.now, id).expect("pending");
    rig.settle();
    assert_eq!(
        (
            rig.entry("10.1.0.1", a),
            rig.entry("10.2.0.1", b),
            rig.flow_count()
        ),
        (before.0, before.1, 4)
    );
    // Answered in a provisional response, and rejected all the same.
    rig.offer(id, Side::B, &sdp("203.0.113.9", "m=audio 9000 RTP/AVP 8"));
    rig.answer(id, Side::A, &sdp("192.0.2.1", AUDIO));
    assert_eq!(
        rig.entry("10.1.0.1", a).rtp.expect("RTP").destination,
        Some(at("203.0.113.9:9000"))
    );
    rig.engine
        .reject_offer(rig.now, id)
        .expect("answered, not confirmed");
    rig.settle();
    assert_eq!(rig.entry("10.1.0.1", a), before.0);
    assert!(
        rig.entry("10.2.0.1", b).latch.armed > before.1.latch.armed + 1,
        "never a count twice"
    );
    assert_eq!(
        rig.engine.reject_offer(rig.now, id),
        Err(SessionError::NoOffer)
    );
}

#[test]
fn a_party_that_moves_is_believed_anew() {
    let mut rig = Rig::new(2);
    let (id, a, b) = call(&mut rig);
    let before = rig.entry("10.1.0.1", a).latch;
    rig.offer(id, Side::A, &sdp("192.0.2.8", AUDIO));
    rig.answer(id, Side::B, &sdp("198.51.100.1", "m=audio 6000 RTP/AVP 8"));
    let after = rig.entry("10.1.0.1", a).latch;
    assert_eq!(
        (after.signalled, after.latched),
        (Some(at("192.0.2.8:5000")), None)
    );
    assert!(after.armed != before.armed);
    assert_eq!(
        rig.entry("10.2.0.1", b).rtp.expect("RTP").destination,
        Some(at("192.0.2.8:5000"))
    );
}

#[test]
fn a_latch_spreads_to_every_worker_and_the_signalled_source_wins() {
    let mut rig = Rig::new(2);
    let (_, a, b) = call(&mut rig);
    let entry = rig.entry("10.1.0.1", a);
    let latched = |remote: &str| Event::Latched {
        flow: entry.id,
        armed: entry.latch.armed,
        remote: at(remote),
        next_hop: link(9).destination,
    };
    let sent_to = |rig: &mut Rig| {
        rig.settle();
        rig.entry("10.2.0.1", b).rtp.expect("RTP").destination
    };
    rig.event(1, latched("192.0.2.77:7777"));
    assert_eq!(sent_to(&mut rig), Some(at("192.0.2.77:7777")));
    assert_eq!(
        rig.entry("10.1.0.1", a).latch.latched,
        Some(at("192.0.2.77:7777"))
    );
    rig.event(0, latched("192.0.2.88:8888"));
    assert_eq!(
        sent_to(&mut rig),
        Some(at("192.0.2.77:7777")),
        "the first report holds"
    );
    rig.event(0, latched("192.0.2.1:5000"));
    assert_eq!(
        sent_to(&mut rig),
        Some(at("192.0.2.1:5000")),
        "but for the signalled source"
    );
    rig.event(
        0,
        Event::Latched {
            flow: entry.id,
            armed: entry.latch.armed.wrapping_sub(1),
            remote: at("192.0.2.99:9999"),
            next_hop: link(9).destination,
        },
    );
    assert_eq!(
        sent_to(&mut rig),
        Some(at("192.0.2.1:5000")),
        "a report from before is stale"
    );
    assert_eq!(rig.engine.counters().latches, 2);
}

#[test]
fn silence_of_a_party_on_all_its_streams_ends_the_session_once() {
    let mut rig = Rig::new(2);
    let id = rig.open();
    let two = format!("{AUDIO}\nm=video 5010 RTP/AVP 96");
    rig.offer(id, Side::A, &sdp("192.0.2.1", &two));
    let towards_a = rig.answer(
        id,
        Side::B,
        &sdp(
            "198.51.100.1",
            "m=audio 6000 RTP/AVP 8\nm=video 6010 RTP/AVP 96",
        ),
    );
    let ports = media_ports(&towards_a);
    assert_eq!(
        rig.entry("10.1.0.1", ports[0]).idle_after,
        None,
        "nothing is expected while it rings"
    );
    rig.confirm(id);
    let [audio, video] = [ports[0], ports[1]].map(|port| rig.entry("10.1.0.1", port).id);
    rig.event(0, Event::Idle(audio));
    rig.event(0, Event::Idle(video));
    rig.event(1, Event::Idle(audio));
    assert!(rig.timed_out.is_empty(), "worker 1 still hears video");
    rig.event(0, Event::Active(audio));
    rig.event(1, Event::Idle(video));
    assert!(rig.timed_out.is_empty(), "worker 0 hears audio again");
    rig.event(0, Event::Idle(audio));
    rig.event(0, Event::Idle(audio));
    assert_eq!(rig.timed_out, [id]);
    assert_eq!(rig.engine.counters().media_timeouts, 1);
}

#[test]
fn another_party_takes_the_place_of_one_that_failed() {
    let mut rig = Rig::new(1);
    let id = rig.open();
    rig.offer(id, Side::A, &sdp("192.0.2.1", AUDIO));
    rig.answer(id, Side::B, &sdp("198.51.100.1", "m=audio 6000 RTP/AVP 8"));
    rig.engine
        .retarget(rig.now, id, Side::B, leg(1, Some(Family::V6)))
        .expect("not established");
    rig.settle();
    assert_eq!(
        (rig.flow_count(), rig.engine.gauges().ports[1].resting),
        (0, 1)
    );
    let towards_b = rig.offer(id, Side::A, &sdp("192.0.2.1", AUDIO));
    assert_eq!(line(&towards_b, "c="), Some("c=IN IP6 fd02::1"));
    rig.answer(id, Side::B, &sdp("2001:db8::7", "m=audio 6000 RTP/AVP 8"));
    rig.confirm(id);
    assert_eq!(rig.flow_count(), 4);
    let late = rig.engine.retarget(rig.now, id, Side::B, leg(1, None));
    assert_eq!(late, Err(SessionError::Established));
    rig.engine.close(rig.now, id);
    rig.assert_clean();
}
