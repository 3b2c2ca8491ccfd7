//! Random operations on random sessions, with workers that are slow, full and deaf: no port is ever two
//! sessions', none is lost, and in the end nothing is left.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use contract::{Event, Refusal};
use controlplane::session::{Family, SessionId, Side};
use proptest::prelude::*;

use crate::rig::{Rig, at, leg, link, sdp, settings};

#[derive(Clone, Debug)]
enum Step {
    Open {
        b: Option<Family>,
    },
    Offer {
        session: usize,
        from: Side,
        body: Body,
    },
    Answer {
        session: usize,
        from: Side,
        body: Body,
    },
    Confirm(usize),
    Reject(usize),
    Retarget(usize),
    Close(usize),
    /// A worker looks at some of its commands.
    Work {
        worker: usize,
        commands: usize,
    },
    /// A worker's mailbox takes this many more.
    Mailbox {
        worker: usize,
        capacity: usize,
    },
    Latch {
        worker: usize,
        flow: usize,
        remote: usize,
    },
    Idle {
        worker: usize,
        flow: usize,
        idle: bool,
    },
    NextHop {
        query: usize,
        there: bool,
    },
    Pass(u64),
}

#[derive(Clone, Debug)]
struct Body {
    address: &'static str,
    media: Vec<&'static str>,
}

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::A), Just(Side::B)]
}

fn body() -> impl Strategy<Value = Body> {
    let address = prop::sample::select(vec![
        "192.0.2.1",
        "192.0.2.2",
        "0.0.0.0",
        "2001:db8::1",
        "::",
    ]);
    let media = prop::sample::select(vec![
        "m=audio 5000 RTP/AVP 8",
        "m=audio 5000 RTP/AVP 8\na=rtcp-mux",
        "m=audio 5001 RTP/AVP 8\na=sendonly\na=rtcp:7001 IN IP4 192.0.2.9",
        "m=audio 65535 RTP/AVP 8\na=inactive",
        "m=audio 5004 RTP/AVP 8\nc=IN IP6 2001:db8::4\na=rtcp:7 IN IP4 192.0.2.9",
        "m=audio 0 RTP/AVP 8",
        "m=audio 5006 udptl t38",
        "m=image 5008 udptl t38",
        "m=image 5008 tcptl t38",
        "m=image 0 udptl t38",
    ]);
    (address, prop::collection::vec(media, 1..4))
        .prop_map(|(address, media)| Body { address, media })
}

fn step() -> impl Strategy<Value = Step> {
    let family = prop_oneof![Just(None), Just(Some(Family::V4)), Just(Some(Family::V6))];
    let session = 0_usize..4;
    prop_oneof![
        2 => family.prop_map(|b| Step::Open { b }),
        8 => (session.clone(), side(), body()).prop_map(|(session, from, body)| Step::Offer { session, from, body }),
        8 => (session.clone(), side(), body()).prop_map(|(session, from, body)| Step::Answer { session, from, body }),
        3 => session.clone().prop_map(Step::Confirm),
        2 => session.clone().prop_map(Step::Reject),
        1 => session.clone().prop_map(Step::Retarget),
        2 => session.prop_map(Step::Close),
        12 => (0_usize..2, 1_usize..40).prop_map(|(worker, commands)| Step::Work { worker, commands }),
        2 => (0_usize..2, prop_oneof![Just(0_usize), Just(3), Just(1000)])
            .prop_map(|(worker, capacity)| Step::Mailbox { worker, capacity }),
        4 => (0_usize..2, 0_usize..64, 0_usize..3)
            .prop_map(|(worker, flow, remote)| Step::Latch { worker, flow, remote }),
        2 => (0_usize..2, 0_usize..64, any::<bool>()).prop_map(|(worker, flow, idle)| Step::Idle { worker, flow, idle }),
        2 => (0_usize..8, any::<bool>()).prop_map(|(query, there)| Step::NextHop { query, there }),
        3 => (0_u64..20_000).prop_map(Step::Pass),
    ]
}

fn pick(sessions: &[SessionId], index: usize) -> Option<SessionId> {
    (!sessions.is_empty()).then(|| sessions[index % sessions.len()])
}

/// Refusals are answers like any other here: what matters is what they leave behind.
fn take(rig: &mut Rig, sessions: &mut Vec<SessionId>, step: &Step) {
    let now = rig.now;
    let text = |body: &Body| sdp(body.address, &body.media.join("\n"));
    match step {
        Step::Open { b } => sessions.extend(rig.engine.open(now, leg(0, None), leg(1, *b)).ok()),
        Step::Offer {
            session,
            from,
            body,
        } => {
            if let Some(id) = pick(sessions, *session) {
                let _ = rig.engine.offer(now, id, *from, &text(body));
            }
        }
        Step::Answer {
            session,
            from,
            body,
        } => {
            if let Some(id) = pick(sessions, *session) {
                let _ = rig.engine.answer(now, id, *from, &text(body));
            }
        }
        Step::Confirm(session) => {
            pick(sessions, *session).map(|id| rig.engine.confirm(now, id).ok());
        }
        Step::Reject(session) => {
            pick(sessions, *session).map(|id| rig.engine.reject_offer(now, id).ok());
        }
        Step::Retarget(session) => {
            pick(sessions, *session)
                .map(|id| rig.engine.retarget(now, id, Side::B, leg(0, None)).ok());
        }
        Step::Close(session) => {
            if let Some(id) = pick(sessions, *session) {
                rig.engine.close(now, id);
                sessions.retain(|other| *other != id);
            }
        }
        Step::Pass(millis) => {
            let end = now + Duration::from_millis(*millis);
            while let Some(deadline) = rig.engine.deadline().filter(|deadline| *deadline <= end) {
                rig.now = deadline.max(rig.now);
                rig.engine.on_time(rig.now);
                rig.drain();
            }
            rig.now = end;
        }
        _ => take_of_workers(rig, step),
    }
    rig.drain();
}

fn take_of_workers(rig: &mut Rig, step: &Step) {
    let flow_of = |rig: &Rig, worker: usize, index: usize| {
        let flows = &rig.workers[worker].flows;
        flows.values().nth(index % flows.len().max(1)).copied()
    };
    match step {
        Step::Work { worker, commands } => {
            for _ in 0..*commands {
                let Some(command) = rig.workers[*worker].mailbox.pop_front() else {
                    break;
                };
                let event = rig.workers[*worker].carry_out(command);
                let only_full =
                    !matches!(event, Event::Refused(_, why) if why != Refusal::TableFull);
                assert!(only_full, "{command:?}: {event:?}");
                rig.event(*worker, event);
            }
        }
        Step::Mailbox { worker, capacity } => rig.workers[*worker].mailbox_capacity = *capacity,
        Step::Latch {
            worker,
            flow,
            remote,
        } => {
            if let Some(entry) = flow_of(rig, *worker, *flow) {
                let v4 = ["192.0.2.1:5000", "192.0.2.50:50", "192.0.2.51:51"];
                let v6 = [
                    "[2001:db8::1]:5000",
                    "[2001:db8::50]:50",
                    "[2001:db8::51]:51",
                ];
                let remotes = if entry.key.address.is_ipv4() { v4 } else { v6 };
                rig.event(
                    *worker,
                    Event::Latched {
                        flow: entry.id,
                        armed: entry.latch.armed,
                        remote: at(remotes[*remote]),
                        next_hop: link(9).destination,
                    },
                );
            }
        }
        Step::Idle { worker, flow, idle } => {
            if let Some(entry) = flow_of(rig, *worker, *flow) {
                let event = if *idle {
                    Event::Idle(entry.id)
                } else {
                    Event::Active(entry.id)
                };
                rig.event(*worker, event);
            }
        }
        Step::NextHop { query, there } => {
            if let Some(query) = rig.watched.get(*query).copied() {
                rig.engine
                    .next_hop_resolved(rig.now, query, there.then(|| link(7)));
            }
        }
        _ => {}
    }
}

/// What must hold at any time.
fn check(rig: &Rig, sessions: &[SessionId]) {
    let mut owners = HashMap::new();
    for id in sessions {
        for flow in rig.engine.flows(*id) {
            assert_eq!(
                owners.insert(flow.key, *id),
                None,
                "{} is two sessions'",
                flow.key
            );
        }
        assert!(rig.engine.describe(*id).is_some());
    }
    let gauges = rig.engine.gauges();
    assert_eq!(gauges.sessions, sessions.len());
    for ports in &gauges.ports {
        assert_eq!(
            ports.free + ports.in_use + ports.resting,
            2 * 12,
            "{ports:?}"
        );
    }
    let names: Vec<_> = rig
        .workers
        .iter()
        .map(|w| w.flows.values().map(|f| f.id))
        .collect();
    for names in names {
        let names: Vec<_> = names.collect();
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_shared_nothing_is_lost(seed: u64, steps in prop::collection::vec(step(), 1..120)) {
        let mut rig = Rig::with(settings((20_000, 20_023)), 2, seed);
        rig.workers[1].capacity = 30;
        let mut sessions = Vec::new();
        for step in &steps {
            take(&mut rig, &mut sessions, step);
            check(&rig, &sessions);
        }
        // Workers come back to their senses: those flows are in force that are wanted, and only those.
        for worker in &mut rig.workers {
            worker.mailbox_capacity = 10_000;
        }
        rig.settle();
        rig.pass(Duration::from_secs(3));
        let wanted: Vec<_> = sessions.iter().flat_map(|id| rig.engine.flows(*id)).collect();
        for held in rig.workers.iter().flat_map(|worker| worker.flows.values()) {
            prop_assert!(wanted.iter().any(|flow| flow.entry == Some(*held)), "not wanted: {held:?}");
        }
        for id in sessions.drain(..) {
            rig.engine.close(rig.now, id);
        }
        rig.settle();
        rig.pass(Duration::from_secs(3));
        rig.assert_clean();
    }
}
