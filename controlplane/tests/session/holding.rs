//! Hold in every spelling, from either side, and the way back: ports and flows stay, nobody is sent what they asked
//! not to be, and a held party may be silent.

use controlplane::session::{SessionId, Side, StreamState};

use crate::rig::{MEDIA_TIMEOUT, Rig, at, media_ports, sdp};

/// How a party says that it holds: its address, its line, what the other answers, and whether the holder is still
/// expected to send (music).
struct Spelling {
    name: &'static str,
    unspecified: bool,
    attribute: &'static str,
    answer: &'static str,
    sends: bool,
}

const SPELLINGS: [Spelling; 7] = [
    spelling("sendonly", false, "\na=sendonly", "\na=recvonly", true),
    spelling("inactive", false, "\na=inactive", "\na=inactive", false),
    spelling(
        "sendonly, answered inactive",
        false,
        "\na=sendonly",
        "\na=inactive",
        false,
    ),
    spelling("an unspecified address", true, "", "", false),
    spelling(
        "that and sendonly",
        true,
        "\na=sendonly",
        "\na=recvonly",
        false,
    ),
    spelling(
        "that and inactive",
        true,
        "\na=inactive",
        "\na=inactive",
        false,
    ),
    // Whom nobody told of directions.
    spelling(
        "sendonly, answered without",
        false,
        "\na=sendonly",
        "",
        true,
    ),
];

const fn spelling(
    name: &'static str,
    unspecified: bool,
    attribute: &'static str,
    answer: &'static str,
    sends: bool,
) -> Spelling {
    Spelling {
        name,
        unspecified,
        attribute,
        answer,
        sends,
    }
}

/// Where a side is.
fn home(side: Side) -> (&'static str, &'static str) {
    match side {
        Side::A => ("192.0.2.1", "m=audio 5000 RTP/AVP 8"),
        Side::B => ("198.51.100.1", "m=audio 6000 RTP/AVP 8"),
    }
}

/// The relay's address that faces a side.
fn local(side: Side) -> &'static str {
    match side {
        Side::A => "10.1.0.1",
        Side::B => "10.2.0.1",
    }
}

fn exchange(rig: &mut Rig, id: SessionId, from: Side, offer: Vec<u8>, answer: Vec<u8>) -> [u16; 2] {
    let towards_other = rig.offer(id, from, &offer);
    let towards_from = rig.answer(id, from.other(), &answer);
    rig.confirm(id);
    [
        media_ports(&towards_from)[0],
        media_ports(&towards_other)[0],
    ]
}

fn body(side: Side, attribute: &str) -> Vec<u8> {
    let (address, media) = home(side);
    sdp(address, &format!("{media}{attribute}"))
}

/// Holds, checks, resumes, checks.
fn walk(spelling: &Spelling, holder: Side) {
    let mut rig = Rig::new(2);
    let id = rig.open();
    let other = holder.other();
    let ports = exchange(&mut rig, id, holder, body(holder, ""), body(other, ""));
    let before = [
        rig.entry(local(holder), ports[0]),
        rig.entry(local(other), ports[1]),
    ];
    let (_, media) = home(holder);
    let hold = match spelling.unspecified {
        true => sdp("0.0.0.0", &format!("{media}{}", spelling.attribute)),
        false => body(holder, spelling.attribute),
    };
    let name = spelling.name;
    let held = exchange(&mut rig, id, holder, hold, body(other, spelling.answer));
    assert_eq!(held, ports, "{name}: the ports stay");
    let from_holder = rig.entry(local(holder), ports[0]);
    let from_other = rig.entry(local(other), ports[1]);
    assert_eq!(rig.flow_count(), 4, "{name}");
    let destination = from_other.rtp.expect("RTP").destination;
    match spelling.unspecified {
        true => assert_eq!(destination, None, "{name}: nothing goes to nowhere"),
        false => assert_eq!(
            destination,
            before[1].rtp.expect("RTP").destination,
            "{name}"
        ),
    }
    let expected = spelling.sends.then_some(MEDIA_TIMEOUT);
    assert_eq!(from_holder.idle_after, expected, "{name}: the holder");
    assert_eq!(from_other.idle_after, None, "{name}: the held");
    let state = |rig: &Rig| rig.engine.describe(id).expect("open").streams[0].state;
    assert_eq!(state(&rig), StreamState::Held, "{name}");

    let resumed = exchange(&mut rig, id, holder, body(holder, ""), body(other, ""));
    assert_eq!(resumed, ports, "{name}: the ports stay");
    for (at, side) in [holder, other].into_iter().enumerate() {
        let entry = rig.entry(local(side), ports[at]);
        assert_eq!(
            (entry.rtp, entry.idle_after),
            (before[at].rtp, before[at].idle_after),
            "{name}"
        );
        assert_eq!(entry.latch.signalled, before[at].latch.signalled, "{name}");
    }
    assert_eq!(state(&rig), StreamState::Active, "{name}");
    rig.engine.close(rig.now, id);
    rig.assert_clean();
}

#[test]
fn every_spelling_holds_and_resumes_from_either_side() {
    for spelling in &SPELLINGS {
        walk(spelling, Side::A);
        walk(spelling, Side::B);
    }
}

#[test]
fn both_hold_and_each_resumes() {
    let mut rig = Rig::new(1);
    let id = rig.open();
    let ports = exchange(&mut rig, id, Side::A, body(Side::A, ""), body(Side::B, ""));
    exchange(
        &mut rig,
        id,
        Side::A,
        body(Side::A, "\na=sendonly"),
        body(Side::B, "\na=recvonly"),
    );
    // Now B holds as well: nobody sends, nobody receives.
    exchange(
        &mut rig,
        id,
        Side::B,
        body(Side::B, "\na=inactive"),
        body(Side::A, "\na=inactive"),
    );
    assert_eq!(rig.entry("10.1.0.1", ports[0]).idle_after, None);
    assert_eq!(rig.entry("10.2.0.1", ports[1]).idle_after, None);
    // A wants to talk again; B still holds.
    exchange(
        &mut rig,
        id,
        Side::A,
        body(Side::A, "\na=sendrecv"),
        body(Side::B, "\na=sendonly"),
    );
    assert_eq!(rig.entry("10.1.0.1", ports[0]).idle_after, None);
    assert!(rig.entry("10.2.0.1", ports[1]).idle_after.is_some());
    exchange(&mut rig, id, Side::B, body(Side::B, ""), body(Side::A, ""));
    assert!(rig.entry("10.1.0.1", ports[0]).idle_after.is_some());
    assert!(rig.entry("10.2.0.1", ports[1]).idle_after.is_some());
    rig.engine.close(rig.now, id);
    rig.assert_clean();
}

#[test]
fn of_several_early_answers_the_last_leads_until_the_final_one_decides() {
    let mut rig = Rig::new(2);
    let id = rig.open();
    let towards_b = rig.offer(id, Side::A, &body(Side::A, ""));
    let mut ports = Vec::new();
    let forks = ["198.51.100.1", "198.51.100.2", "198.51.100.3"];
    for fork in forks.into_iter().chain(["198.51.100.2"]) {
        let media = "m=audio 6000 RTP/AVP 8\na=sendrecv";
        let towards_a = rig.answer(id, Side::B, &sdp(fork, media));
        ports.push(media_ports(&towards_a)[0]);
        let from_a = rig.entry("10.1.0.1", ports[0]);
        let to = Some(at(&format!("{fork}:6000")));
        assert_eq!(from_a.rtp.expect("RTP").destination, to);
        let from_b = rig.entry("10.2.0.1", media_ports(&towards_b)[0]);
        assert_eq!((from_b.latch.signalled, from_b.latch.latched), (to, None));
        assert_eq!(rig.flow_count(), 4, "one set of flows for all forks");
    }
    assert!(ports.iter().all(|port| *port == ports[0]), "{ports:?}");
    rig.confirm(id);
    rig.engine.close(rig.now, id);
    rig.assert_clean();
}
