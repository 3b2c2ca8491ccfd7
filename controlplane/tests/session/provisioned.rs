//! Sessions without session descriptions: their flows, what they share with the others, what is refused.

use std::time::Duration;

use contract::{Command, Event, LatchPolicy, MacAddress, Refusal, WorkerId};
use controlplane::installer::{RESOLVE_WITHIN, TicketFailure};
use controlplane::session::{Provision, Provisioning, Rtcp, SessionError, SessionId, Side};
use controlplane::settings::MediaGroupId;

use crate::rig::{Rig, WINDOW, at, sdp, settings};

const A: &str = "192.0.2.1:5000";
const B: &str = "198.51.100.1:6000";

fn provision(rtcp: Rtcp) -> Provision {
    Provision {
        groups: [MediaGroupId(0), MediaGroupId(1)],
        parties: [at(A), at(B)],
        rtcp,
        latch: Some(LatchPolicy::Sdp),
        media_timeout: None,
    }
}

/// Opens a session that nothing stands against.
fn open(rig: &mut Rig, provision: &Provision) -> SessionId {
    let id = rig.engine.provision(rig.now, provision).expect("room");
    assert!(rig.provisioned.is_empty(), "no worker has answered");
    rig.settle();
    assert_eq!(rig.provisioned, [(id, Provisioning::Open)]);
    rig.provisioned.clear();
    id
}

#[test]
fn what_one_party_sends_leaves_from_the_port_that_faces_the_other() {
    for (rtcp, flows) in [(Rtcp::None, 2), (Rtcp::Separate, 4), (Rtcp::Mux, 2)] {
        let mut rig = Rig::new(2);
        let id = open(&mut rig, &provision(rtcp));
        let view = rig.engine.provisioned(id).expect("open");
        assert!(view.open && view.parties == [at(A), at(B)]);
        assert_eq!(rig.flow_count(), flows, "{rtcp:?}");
        for (side, party, address) in [(0, A, "10.1.0.1"), (1, B, "10.2.0.1")] {
            let (near, far) = (view.relay[side], view.relay[1 - side]);
            let entry = rig.entry(address, near.port());
            let egress = entry.rtp.expect("RTP");
            assert_eq!(entry.latch.policy, LatchPolicy::Sdp);
            assert_eq!(entry.latch.signalled, Some(at(party)));
            assert_eq!(entry.idle_after, None);
            assert_eq!(egress.source.socket_addr(), far);
            assert_eq!(egress.destination, Some([at(B), at(A)][side]));
            assert!(egress.link.is_some());
            assert_eq!(entry.rtcp.is_some(), rtcp == Rtcp::Mux);
            if rtcp == Rtcp::Separate {
                let control = rig.entry(address, near.port() + 1);
                let egress = control.rtcp.expect("RTCP");
                assert!(control.rtp.is_none());
                assert_eq!(egress.source.port, far.port() + 1);
                let destination = [at(B), at(A)][side];
                assert_eq!(
                    egress.destination.map(|to| to.port()),
                    Some(destination.port() + 1)
                );
            }
        }
        assert_eq!(rig.engine.flows(id).len(), flows);
        assert!(rig.engine.close_provisioned(rig.now, id));
        assert!(!rig.engine.close_provisioned(rig.now, id));
        rig.assert_clean();
        assert!(rig.provisioned.is_empty(), "its end is no news");
    }
}

#[test]
fn it_is_open_when_the_last_worker_has_acknowledged_the_last_flow() {
    let mut rig = Rig::new(2);
    let id = rig
        .engine
        .provision(rig.now, &provision(Rtcp::Separate))
        .expect("room");
    rig.drain();
    while rig.step(0) {}
    while rig.workers[1].mailbox.len() > 1 {
        rig.step(1);
    }
    assert!(rig.provisioned.is_empty());
    assert!(!rig.engine.provisioned(id).expect("being opened").open);
    assert_eq!(rig.engine.commands_under_way(), 1);
    rig.settle();
    assert_eq!(rig.provisioned, [(id, Provisioning::Open)]);
    assert_eq!(rig.engine.commands_under_way(), 0);
}

#[test]
fn sessions_of_both_kinds_share_limits_ports_and_counters() {
    let mut rig = Rig::with(settings((20_000, 20_003)), 1, 1);
    rig.open();
    let call = rig.open();
    rig.offer(call, Side::A, &sdp("192.0.2.1", "m=audio 5000 RTP/AVP 8"));
    open(&mut rig, &provision(Rtcp::None));
    let third = rig.engine.provision(rig.now, &provision(Rtcp::None));
    assert_eq!(third, Err(SessionError::PortsExhausted(MediaGroupId(0))));
    let free = |rig: &Rig, group: usize| rig.engine.gauges().ports[group].free;
    // Each group has two addresses of two pairs: that of the other family stays.
    assert_eq!((free(&rig, 0), free(&rig, 1)), (2, 2));
    assert_eq!(rig.engine.counters().refused["ports_exhausted"], 1);
    for _ in 0..5 {
        rig.open();
    }
    let ninth = rig.engine.provision(rig.now, &provision(Rtcp::None));
    assert_eq!(ninth, Err(SessionError::TooManySessions));
    let gauges = rig.engine.gauges();
    assert_eq!((gauges.sessions, gauges.provisioned), (8, 1));
}

#[test]
fn what_cannot_be_is_refused_and_takes_nothing() {
    let mut rig = Rig::new(1);
    let ask = |change: &dyn Fn(&mut Provision)| {
        let mut asked = provision(Rtcp::Separate);
        change(&mut asked);
        asked
    };
    let unknown = ask(&|asked| asked.groups[1] = MediaGroupId(7));
    let cases = [
        (unknown, "unknown_group"),
        (ask(&|asked| asked.parties[0].set_port(0)), "bad_party"),
        // Its RTCP would need another port.
        (ask(&|asked| asked.parties[1].set_port(65_535)), "bad_party"),
        (
            ask(&|asked| asked.parties[0] = at("224.0.0.1:5000")),
            "bad_party",
        ),
        (
            ask(&|asked| asked.parties[0] = at("255.255.255.255:5000")),
            "bad_party",
        ),
        (
            ask(&|asked| asked.parties[1] = at("[::]:5000")),
            "bad_party",
        ),
        (
            ask(&|asked| asked.parties[1] = at("[fe80::1%3]:5000")),
            "bad_party",
        ),
    ];
    for (asked, reason) in cases {
        let refused = rig.engine.provision(rig.now, &asked);
        assert_eq!(refused.expect_err(reason).name(), reason, "{asked:?}");
    }
    let mut settings = settings((20_000, 20_003));
    settings.media_groups[1].addresses.pop();
    let mut four = Rig::with(settings, 1, 1);
    let six = ask(&|asked| asked.parties[1] = at("[2001:db8::1]:5000"));
    let refused = four.engine.provision(four.now, &six);
    assert_eq!(
        refused.expect_err("no such address").name(),
        "no_such_family"
    );
    for rig in [&mut rig, &mut four] {
        assert_eq!(rig.engine.counters().opened, 0);
        // What was taken for party A before party B was refused is free at once.
        let ports = rig.engine.gauges().ports;
        assert!(ports.iter().all(|ports| ports.in_use + ports.resting == 0));
        rig.assert_clean();
    }
}

#[test]
fn a_party_that_cannot_be_reached_is_refused_after_a_while() {
    let mut rig = Rig::new(1);
    rig.resolves = false;
    let id = rig
        .engine
        .provision(rig.now, &provision(Rtcp::None))
        .expect("room");
    rig.settle();
    let way = rig.watched[0];
    rig.engine
        .next_hop_resolved(rig.now, way, Some(crate::rig::link(9)));
    rig.engine.next_hop_resolved(rig.now, rig.watched[1], None);
    rig.settle();
    assert!(rig.provisioned.is_empty(), "the neighbour may yet answer");
    rig.pass(RESOLVE_WITHIN);
    assert_eq!(rig.provisioned, [(id, Provisioning::NoNextHop)]);
    assert_eq!(rig.engine.counters().refused["no_next_hop"], 1);
    rig.assert_clean();
}

#[test]
fn a_session_that_a_worker_refuses_leaves_nothing() {
    let mut rig = Rig::new(2);
    rig.workers[1].capacity = 3;
    let id = rig
        .engine
        .provision(rig.now, &provision(Rtcp::Separate))
        .expect("room");
    rig.settle();
    let why = TicketFailure::Refused(WorkerId(1), Refusal::TableFull);
    assert_eq!(rig.provisioned, [(id, Provisioning::Failed(why))]);
    rig.assert_clean();

    let mut rig = Rig::new(1);
    rig.workers[0].mailbox_capacity = 1;
    rig.engine
        .provision(rig.now, &provision(Rtcp::None))
        .expect("room");
    rig.settle();
    let why = TicketFailure::MailboxFull(WorkerId(0));
    assert_eq!(rig.provisioned[0].1, Provisioning::Failed(why));
    rig.pass(Duration::from_secs(1));
    rig.assert_clean();
}

#[test]
fn closed_before_it_was_open_it_says_so_once() {
    let mut rig = Rig::new(1);
    let id = rig
        .engine
        .provision(rig.now, &provision(Rtcp::Mux))
        .expect("room");
    assert!(rig.engine.close_provisioned(rig.now, id));
    rig.settle();
    assert_eq!(rig.provisioned, [(id, Provisioning::Closed)]);
    rig.assert_clean();
}

#[test]
fn without_a_latch_of_its_own_it_learns_as_its_group_does() {
    let mut rig = Rig::new(2);
    let mut asked = provision(Rtcp::Separate);
    asked.latch = None;
    let id = open(&mut rig, &asked);
    let [a, b] = rig.engine.provisioned(id).expect("open").relay;
    let entry = rig.entry("10.1.0.1", a.port());
    assert_eq!(entry.latch.policy, LatchPolicy::Learn { window: WINDOW });
    let moved = at("192.0.2.1:5555");
    let latched = Event::Latched {
        flow: entry.id,
        armed: entry.latch.armed,
        remote: moved,
        next_hop: MacAddress::default(),
    };
    rig.event(0, latched);
    rig.settle();
    // Every worker believes it now, and sends there; RTCP goes on as it was.
    let entry = rig.entry("10.1.0.1", a.port());
    assert_eq!(entry.latch.latched, Some(moved));
    let back = rig.entry("10.2.0.1", b.port()).rtp.expect("RTP");
    assert_eq!(back.destination, Some(moved));
    let control = rig.entry("10.2.0.1", b.port() + 1).rtcp.expect("RTCP");
    assert_eq!(control.destination, Some(at("192.0.2.1:5001")));
    assert_eq!(rig.engine.counters().latches, 1);
    rig.event(1, latched);
    assert_eq!(rig.engine.counters().latches, 1, "known by now");
    rig.engine.close_provisioned(rig.now, id);
    rig.assert_clean();
}

#[test]
fn silence_ends_it_only_when_that_was_asked_for() {
    let mut rig = Rig::new(2);
    let forever = open(&mut rig, &provision(Rtcp::None));
    let mut asked = provision(Rtcp::Separate);
    asked.media_timeout = Some(Duration::from_secs(7));
    let id = open(&mut rig, &asked);
    let [a, _] = rig.engine.provisioned(id).expect("open").relay;
    let entry = rig.entry("10.1.0.1", a.port());
    assert_eq!(entry.idle_after, asked.media_timeout);
    assert_eq!(rig.entry("10.1.0.1", a.port() + 1).idle_after, None);
    rig.event(0, Event::Idle(entry.id));
    assert!(rig.engine.provisioned(id).is_some(), "worker 1 hears it");
    rig.event(1, Event::Idle(entry.id));
    assert!(rig.engine.provisioned(id).is_none());
    assert_eq!(rig.engine.counters().media_timeouts, 1);
    assert!(rig.timed_out.is_empty(), "it is no call");
    rig.settle();
    assert!(rig.engine.provisioned(forever).is_some());
    rig.engine.close_provisioned(rig.now, forever);
    rig.assert_clean();
}

#[test]
fn a_next_hop_that_changes_reaches_every_session_behind_it() {
    let mut rig = Rig::new(2);
    for _ in 0..3 {
        open(&mut rig, &provision(Rtcp::Separate));
    }
    assert_eq!(rig.watched.len(), 2, "one a destination, not one a flow");
    let way = rig.watched[0];
    let other = crate::rig::link(77);
    rig.engine.next_hop_resolved(rig.now, way, Some(other));
    let mut updates = 0;
    rig.drain();
    for worker in &rig.workers {
        let of_kind = |command: &&Command| matches!(command, Command::Update(_));
        updates += worker.mailbox.iter().filter(of_kind).count();
    }
    assert_eq!(updates, 3 * 2 * 2, "RTP and RTCP, at two workers");
}

#[test]
fn the_list_is_in_order_and_bounded() {
    let mut rig = Rig::new(1);
    let ids: Vec<_> = (0..5)
        .map(|_| open(&mut rig, &provision(Rtcp::None)))
        .collect();
    let list = |after, limit| -> Vec<SessionId> {
        let views = rig.engine.provisioned_after(after, limit);
        views.map(|view| view.id).collect()
    };
    assert_eq!(list(SessionId(0), 10), ids);
    assert_eq!(list(SessionId(0), 2), ids[..2]);
    assert_eq!(list(ids[1], 2), ids[2..4]);
    assert!(list(SessionId(u64::MAX), 2).is_empty());
}
