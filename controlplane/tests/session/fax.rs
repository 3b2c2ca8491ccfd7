//! Fax over UDPTL (ITU-T T.38 Annex D): a call that goes over from audio to image and back, in both usual forms, and
//! what becomes of it when a side will not.

use contract::{Event, FlowEntry, Payload};
use controlplane::sdp::Profile;
use controlplane::session::{ErrorClass, SessionError, SessionId, Side, StreamState};

use crate::rig::{MEDIA_TIMEOUT, Rig, at, line, media_ports, sdp};

const AUDIO: &str = "m=audio 5000 RTP/AVP 8";
const AUDIO_OF_B: &str = "m=audio 6000 RTP/AVP 8";
/// As gateways write it, in a mixture of cases and with a space too many.
const T38: &str = "a=T38FaxVersion:0\na=T38MaxBitRate:14400\na=T38FaxRateManagement:transferredTCF\n\
    a=T38FaxMaxBuffer:262\na=T38FaxMaxDatagram:90 \na=T38FaxUdpEC:t38UDPRedundancy\na=t38FaxTranscodingMMR";

fn fax(port: u16) -> String {
    format!("m=image {port} udptl t38\n{T38}")
}

/// A call from 192.0.2.1:5000 to 198.51.100.1:6000; the relay's port towards A, and towards B.
fn call(rig: &mut Rig) -> (SessionId, u16, u16) {
    let id = rig.open();
    let towards_b = rig.offer(id, Side::A, &sdp("192.0.2.1", AUDIO));
    let towards_a = rig.answer(id, Side::B, &sdp("198.51.100.1", AUDIO_OF_B));
    rig.confirm(id);
    (id, media_ports(&towards_a)[0], media_ports(&towards_b)[0])
}

/// B, whose fax machine was called, asks for this, and A answers with that.
fn go_over(rig: &mut Rig, id: SessionId, offer: &str, answer: &str) -> (Vec<u8>, Vec<u8>) {
    let towards_a = rig.offer(id, Side::B, &sdp("198.51.100.1", offer));
    let towards_b = rig.answer(id, Side::A, &sdp("192.0.2.1", answer));
    rig.confirm(id);
    (towards_a, towards_b)
}

fn goes_to(entry: FlowEntry) -> Option<std::net::SocketAddr> {
    entry.rtp.expect("a way").destination
}

#[test]
fn audio_turns_to_fax_in_its_place_and_back_at_the_same_ports() {
    let mut rig = Rig::new(2);
    let (id, a, b) = call(&mut rig);
    let (towards_a, towards_b) = go_over(&mut rig, id, &fax(6100), &fax(5100));
    assert_eq!(
        (media_ports(&towards_a), media_ports(&towards_b)),
        (vec![a], vec![b])
    );
    for body in [&towards_a, &towards_b] {
        let text = String::from_utf8_lossy(body).into_owned();
        for attribute in T38.lines() {
            assert!(
                text.contains(&format!("\r\n{attribute}\r\n")),
                "{attribute}: {text}"
            );
        }
        assert!(
            text.contains(" udptl t38\r\n") && !text.contains("rtcp"),
            "{text}"
        );
    }
    // One flow each way, for any datagram, and none for RTCP.
    assert_eq!(rig.flow_count(), 2);
    let (from_a, from_b) = (rig.entry("10.1.0.1", a), rig.entry("10.2.0.1", b));
    for entry in [from_a, from_b] {
        assert_eq!((entry.payload, entry.rtcp), (Payload::Datagrams, None));
        assert_eq!(entry.latch.latched, None);
    }
    assert_eq!(goes_to(from_a), Some(at("198.51.100.1:6100")));
    assert_eq!(goes_to(from_b), Some(at("192.0.2.1:5100")));
    assert_eq!(from_b.latch.signalled, Some(at("198.51.100.1:6100")));
    let view = rig.engine.describe(id).expect("open");
    let stream = &view.streams[0];
    assert_eq!((&*stream.media, stream.profile), ("image", Profile::Udptl));
    assert_eq!(stream.state, StreamState::Active);
    assert_eq!(stream.parties[0].codecs, "t38");
    assert_eq!(
        (stream.parties[0].local_rtcp, stream.parties[0].remote_rtcp),
        (None, None)
    );

    let (towards_a, _) = go_over(&mut rig, id, AUDIO_OF_B, AUDIO);
    assert_eq!(media_ports(&towards_a), [a]);
    assert_eq!(rig.flow_count(), 4);
    let back = rig.entry("10.1.0.1", a);
    assert_eq!(
        (back.payload, goes_to(back)),
        (Payload::Rtp, Some(at("198.51.100.1:6000")))
    );
    assert_eq!(rig.entry("10.1.0.1", a + 1).payload, Payload::Rtp);
    rig.engine.close(rig.now, id);
    rig.assert_clean();
}

#[test]
fn fax_in_a_line_of_its_own_silences_the_audio_and_gives_it_back() {
    let mut rig = Rig::new(1);
    let (id, a, b) = call(&mut rig);
    let silent = "m=audio 0 RTP/AVP 8";
    let (towards_a, towards_b) = go_over(
        &mut rig,
        id,
        &format!("{silent}\n{}", fax(6100)),
        &format!("{silent}\n{}", fax(5100)),
    );
    let [audio, image] = media_ports(&towards_a)[..] else {
        panic!("two lines");
    };
    assert_eq!((audio, media_ports(&towards_b)[0]), (0, 0));
    assert!(
        image != a && media_ports(&towards_b)[1] != b,
        "ports of its own"
    );
    assert_eq!(rig.flow_count(), 2);
    assert_eq!(rig.entry("10.1.0.1", image).payload, Payload::Datagrams);
    let states = |rig: &Rig| -> Vec<_> {
        let view = rig.engine.describe(id).expect("open");
        view.streams.iter().map(|stream| stream.state).collect()
    };
    assert_eq!(states(&rig), [StreamState::Rejected, StreamState::Active]);

    let no_fax = "m=image 0 udptl t38";
    let (towards_a, _) = go_over(
        &mut rig,
        id,
        &format!("{AUDIO_OF_B}\n{no_fax}"),
        &format!("{AUDIO}\n{no_fax}"),
    );
    assert_eq!(media_ports(&towards_a)[1], 0);
    assert_eq!(states(&rig), [StreamState::Active, StreamState::Rejected]);
    assert_eq!(rig.flow_count(), 4);
    let audio = rig.entry("10.1.0.1", media_ports(&towards_a)[0]);
    assert_eq!(audio.payload, Payload::Rtp);
    rig.engine.close(rig.now, id);
    rig.assert_clean();
}

#[test]
fn a_refused_switch_leaves_the_audio_as_it_was() {
    for offer in [fax(6100), format!("m=audio 0 RTP/AVP 8\n{}", fax(6100))] {
        let mut rig = Rig::new(1);
        let (id, a, b) = call(&mut rig);
        let before = (rig.entry("10.1.0.1", a), rig.entry("10.2.0.1", b));
        rig.offer(id, Side::B, &sdp("198.51.100.1", &offer));
        // Audio goes on while the other side thinks.
        assert_eq!((rig.entry("10.1.0.1", a), rig.entry("10.2.0.1", b)), before);
        rig.engine.reject_offer(rig.now, id).expect("pending");
        rig.settle();
        assert_eq!((rig.entry("10.1.0.1", a), rig.entry("10.2.0.1", b)), before);
        assert_eq!(rig.flow_count(), 4);
        rig.engine.close(rig.now, id);
        rig.assert_clean();
    }
}

#[test]
fn fax_beside_audio_that_the_answer_declines_leaves_audio_alone() {
    let mut rig = Rig::new(1);
    let (id, a, _) = call(&mut rig);
    let (_, towards_b) = go_over(
        &mut rig,
        id,
        &format!("{AUDIO_OF_B}\n{}", fax(6100)),
        &format!("{AUDIO}\nm=image 0 udptl t38"),
    );
    assert_eq!(media_ports(&towards_b)[1], 0);
    assert_eq!(
        (rig.flow_count(), rig.entry("10.1.0.1", a).payload),
        (4, Payload::Rtp)
    );
    rig.engine.close(rig.now, id);
    rig.assert_clean();
}

#[test]
fn fax_over_tcp_is_offered_on_as_port_0_or_refused() {
    let mut rig = Rig::new(1);
    let (id, a, _) = call(&mut rig);
    let tcp = "m=image 6100 tcptl t38\na=T38FaxVersion:0\na=setup:actpass";
    let alone = rig
        .engine
        .offer(rig.now, id, Side::B, &sdp("198.51.100.1", tcp));
    let refused = alone.expect_err("refused");
    assert_eq!(
        (refused.class(), refused),
        (ErrorClass::NotAcceptable, SessionError::NothingToRelay)
    );
    // Beside audio, or as the second choice.
    let both = format!("{AUDIO_OF_B}\n{tcp}\n{}", fax(6102));
    let declined = format!("{AUDIO}\nm=image 0 tcptl t38\n{}", fax(5102));
    let (towards_a, towards_b) = go_over(&mut rig, id, &both, &declined);
    assert_eq!(line(&towards_a, "m=image"), Some("m=image 0 tcptl t38"));
    assert!(media_ports(&towards_a)[2] != 0 && media_ports(&towards_b)[2] != 0);
    assert_eq!(media_ports(&towards_a)[0], a);
    assert_eq!(rig.flow_count(), 6);
    rig.engine.close(rig.now, id);
    rig.assert_clean();
}

#[test]
fn audio_is_no_answer_to_fax_nor_fax_to_audio() {
    let mut rig = Rig::new(1);
    let (id, a, _) = call(&mut rig);
    let before = rig.entry("10.1.0.1", a);
    rig.offer(id, Side::B, &sdp("198.51.100.1", &fax(6100)));
    for wrong in [AUDIO, "m=image 5000 RTP/AVP 8"] {
        let answer = rig
            .engine
            .answer(rig.now, id, Side::A, &sdp("192.0.2.1", wrong));
        assert_eq!(
            answer,
            Err(SessionError::MediaMismatch { stream: 1 }),
            "{wrong}"
        );
    }
    let two = format!("{}\n{AUDIO}", fax(5100));
    let answer = rig
        .engine
        .answer(rig.now, id, Side::A, &sdp("192.0.2.1", &two));
    let count = SessionError::AnswerCount {
        offered: 1,
        answered: 2,
    };
    assert_eq!(answer, Err(count));
    assert_eq!(rig.entry("10.1.0.1", a), before);
    // A rejection may name any transport (RFC 3264 §6: it is ignored).
    rig.answer(id, Side::A, &sdp("192.0.2.1", "m=image 0 RTP/AVP 0"));
}

#[test]
fn a_new_call_may_begin_as_fax() {
    let mut rig = Rig::new(1);
    let id = rig.open();
    let towards_b = rig.offer(id, Side::A, &sdp("192.0.2.1", &fax(5100)));
    let towards_a = rig.answer(id, Side::B, &sdp("2001:db8::1", &fax(6100)));
    rig.confirm(id);
    let from_a = rig.entry("10.1.0.1", media_ports(&towards_a)[0]);
    assert_eq!(goes_to(from_a), Some(at("[2001:db8::1]:6100")));
    // B was told IPv4, and receives in IPv6: one port in each family.
    assert_eq!(rig.flow_count(), 3);
    assert_ne!(media_ports(&towards_b)[0], 0);
    rig.engine.close(rig.now, id);
    rig.assert_clean();
}

/// Every worker finds the flow at this port idle, or hears it again.
fn idle(rig: &mut Rig, address: &str, port: u16, idle: bool) {
    let id = rig.entry(address, port).id;
    let event = match idle {
        true => Event::Idle(id),
        false => Event::Active(id),
    };
    rig.event(0, event);
}

#[test]
fn only_when_both_machines_are_silent_nobody_is_left() {
    let mut rig = Rig::new(1);
    let (id, a, b) = call(&mut rig);
    go_over(&mut rig, id, &fax(6100), &fax(5100));
    assert_eq!(rig.entry("10.1.0.1", a).idle_after, Some(MEDIA_TIMEOUT));
    // B receives a page of many minutes, and says nothing.
    idle(&mut rig, "10.2.0.1", b, true);
    assert_eq!(rig.timed_out, []);
    idle(&mut rig, "10.2.0.1", b, false);
    idle(&mut rig, "10.1.0.1", a, true);
    assert_eq!(rig.timed_out, []);
    idle(&mut rig, "10.2.0.1", b, true);
    assert_eq!(rig.timed_out, [id]);
}

#[test]
fn a_nat_s_address_is_kept_where_fax_uses_the_port_of_audio_and_learnt_anew_elsewhere() {
    let mut rig = Rig::new(1);
    let (id, a, _) = call(&mut rig);
    let latched = rig.entry("10.1.0.1", a);
    let nat = at("192.0.2.77:7777");
    rig.event(
        0,
        Event::Latched {
            flow: latched.id,
            armed: latched.latch.armed,
            remote: nat,
            next_hop: crate::rig::link(9).destination,
        },
    );
    rig.settle();
    assert_eq!(rig.entry("10.1.0.1", a).latch.latched, Some(nat));
    go_over(&mut rig, id, &fax(6000), &fax(5000));
    assert_eq!(rig.entry("10.1.0.1", a).latch.latched, Some(nat));
    go_over(&mut rig, id, AUDIO_OF_B, AUDIO);
    go_over(&mut rig, id, &fax(6000), &fax(5100));
    let moved = rig.entry("10.1.0.1", a).latch;
    assert_eq!(
        (moved.latched, moved.signalled),
        (None, Some(at("192.0.2.1:5100")))
    );
}
