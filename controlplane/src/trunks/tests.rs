//! Checks, selection and health together, on virtual time.

use super::*;
use crate::settings::{Listener, ListenerId, MediaGroupId, Trunk};
use rand::SeedableRng;
use std::net::SocketAddr;

const TRUNK: TrunkId = TrunkId(0);
const OTHER: TrunkId = TrunkId(1);

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn at(millis: u64) -> Timestamp {
    Timestamp::ZERO + Duration::from_millis(millis)
}

fn id(peer: &str) -> Target {
    target(TRUNK, peer)
}

const A: &str = "10.0.0.1:5060";
const B: &str = "10.0.0.2:5060";

fn trunks(check: Check) -> Trunks {
    let trunk = |name: &str, peers: &[&str]| Trunk {
        check: check.clone(),
        ..Trunk::new(
            name,
            peers.iter().map(|peer| addr(peer)),
            [ListenerId(0)],
            MediaGroupId(0),
        )
    };
    let settings = Settings {
        trunks: vec![trunk("one", &[A, B]), trunk("other", &["10.0.0.9:0"])],
        listeners: vec![Listener::new("here", addr("10.0.0.254:5060"))],
        ..Settings::default()
    };
    let routing = Routing::new(&settings);
    Trunks::new(&settings, &routing, StdRng::seed_from_u64(1), at(0))
}

fn asking() -> Trunks {
    trunks(Check {
        every: Some(Duration::from_secs(30)),
        ..Check::default()
    })
}

fn target(trunk: TrunkId, peer: &str) -> Target {
    Target {
        trunk,
        peer: addr(peer),
        listener: ListenerId(0),
        name: None,
        through: None,
    }
}

fn selected(trunks: &mut Trunks) -> Vec<String> {
    let targets = vec![
        target(TRUNK, A),
        target(TRUNK, B),
        target(OTHER, "10.0.0.9:5060"),
    ];
    let selected = trunks.select(targets);
    selected.iter().map(|each| each.peer.to_string()).collect()
}

fn state(trunks: &Trunks, peer: &str) -> HealthState {
    trunks.peers[&id(peer)].health.state()
}

/// Every peer that is asked until then answers with this; how often each was asked.
fn run(trunks: &mut Trunks, until: Timestamp, code: impl Fn(Target) -> Option<u16>) -> usize {
    let mut asked = 0;
    while let Some(next) = trunks.deadline().filter(|next| *next <= until) {
        while let Some(id) = trunks.due(next) {
            trunks.asked(id, next);
            asked += 1;
            if let Some(code) = code(id) {
                trunks.answered(id, Some(code), None, next);
            }
        }
    }
    asked
}

#[test]
fn peers_are_asked_soon_and_then_again_and_again_with_jitter() {
    let mut trunks = asking();
    assert_eq!(run(&mut trunks, at(1_000), |_| Some(200)), 3);
    assert!(
        [A, B]
            .iter()
            .all(|peer| state(&trunks, peer) == HealthState::Up)
    );
    // In ten minutes some twenty times each, and not at the same time any more.
    let asked = run(&mut trunks, at(601_000), |_| Some(200));
    assert!((54..=66).contains(&asked), "{asked}");
    let next = |peer: &str| trunks.deadlines.of((id(peer), Timer::Check));
    assert_ne!(next(A), next(B));
}

#[test]
fn who_does_not_answer_is_down_and_comes_back() {
    let mut trunks = asking();
    run(&mut trunks, at(1_000), |_| Some(200));
    let b_is_silent = |id: Target| (id.peer != addr(B)).then_some(404);
    run(&mut trunks, at(200_000), b_is_silent);
    assert_eq!(state(&trunks, A), HealthState::Up, "404 is an answer");
    assert_eq!(state(&trunks, B), HealthState::Down);
    assert_eq!(selected(&mut trunks), [A, "10.0.0.9:5060"]);
    let view = &trunks.views(at(200_000))[0].peers[1];
    assert_eq!((view.address, view.last_code), (addr(B), None));
    assert!(view.failures >= 3);
    let mut until = 200_000;
    while state(&trunks, B) == HealthState::Down {
        until += 100;
        run(&mut trunks, at(until), |_| Some(200));
    }
    assert_eq!(state(&trunks, B), HealthState::Recovering);
    assert_eq!(selected(&mut trunks), [A, "10.0.0.9:5060"]);
    run(&mut trunks, at(until + 34_000), |_| Some(200));
    assert_eq!(state(&trunks, B), HealthState::Up);
    assert_eq!(selected(&mut trunks), [A, B, "10.0.0.9:5060"]);
}

#[test]
fn an_answer_that_says_down_and_one_that_comes_too_late() {
    let mut trunks = asking();
    run(&mut trunks, at(200_000), |_| Some(503));
    assert_eq!(state(&trunks, A), HealthState::Down);
    let asked = loop {
        let next = trunks.deadline().expect("checks go on");
        if let Some(id) = trunks.due(next) {
            trunks.asked(id, next);
            break (id, next);
        }
    };
    let (id, now) = asked;
    let late = now + Duration::from_secs(5);
    while trunks.deadline().is_some_and(|next| next <= late) {
        let next = trunks.deadline().unwrap_or(late);
        trunks.due(next);
    }
    let before = state(&trunks, A);
    trunks.answered(id, Some(200), None, late);
    assert_eq!(state(&trunks, A), before);
}

#[test]
fn a_peer_that_wants_to_be_left_alone_is_not_asked() {
    let mut trunks = asking();
    run(&mut trunks, at(1_000), |_| Some(200));
    trunks.witness(
        id(A),
        Evidence::RetryAfter(Duration::from_secs(120)),
        at(1_000),
    );
    let before = trunks.peers[&id(A)].checks;
    run(&mut trunks, at(120_999), |_| Some(200));
    assert_eq!(state(&trunks, A), HealthState::Resting);
    assert_eq!(trunks.peers[&id(A)].checks, before);
    assert_eq!(selected(&mut trunks), [B, "10.0.0.9:5060"]);
    run(&mut trunks, at(160_000), |_| Some(200));
    assert_eq!(state(&trunks, A), HealthState::Up);
}

#[test]
fn when_all_are_down_all_are_tried_in_order() {
    let mut trunks = trunks(Check::default());
    for peer in [A, B] {
        for _ in 0..3 {
            trunks.witness(id(peer), Evidence::Failure, at(0));
        }
    }
    assert_eq!(selected(&mut trunks), ["10.0.0.9:5060"]);
    for _ in 0..3 {
        let other = target(OTHER, "10.0.0.9:5060");
        trunks.witness(other, Evidence::Failure, at(0));
    }
    assert_eq!(selected(&mut trunks), [A, B, "10.0.0.9:5060"]);
    // Nobody asks: they are tried again after a rest.
    assert_eq!(trunks.deadline(), Some(at(30_000)));
    assert_eq!(trunks.due(at(30_000)), None);
    assert_eq!(state(&trunks, A), HealthState::Unknown);
    assert_eq!(trunks.deadline(), None);
}

#[test]
fn peers_may_change_and_what_is_known_of_the_others_stays() {
    let mut trunks = asking();
    run(&mut trunks, at(1_000), |_| Some(200));
    let c = "10.0.0.3:5060";
    let second = Peer {
        priority: 2,
        ..Peer::from(addr(A))
    };
    let peers = [(id(A), second), (id(c), Peer::from(addr(c)))];
    trunks.set_peers(TRUNK, peers.into_iter(), at(2_000));
    assert_eq!(state(&trunks, A), HealthState::Up);
    assert_eq!(state(&trunks, c), HealthState::Unknown);
    assert!(!trunks.peers.contains_key(&id(B)));
    assert_eq!(run(&mut trunks, at(3_000), |_| Some(200)), 1);
    let targets = vec![target(TRUNK, A), target(TRUNK, c)];
    assert_eq!(trunks.select(targets)[0].peer, addr(c));
}
