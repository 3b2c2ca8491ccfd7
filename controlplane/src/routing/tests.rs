//! Trunks by address, routes by trunk and user, targets in order.

use super::*;
use crate::identity::Identity;
use crate::settings::{Choice, Listener, MediaGroupId, Route};
use crate::settings::{Network, Transport};
use rand::SeedableRng;
use rand::rngs::StdRng;

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn trunk(name: &str, peers: &[&str], listeners: &[u16]) -> Trunk {
    let peers = peers.iter().map(|peer| addr(peer));
    let listeners = listeners.iter().copied().map(ListenerId);
    Trunk::new(name, peers, listeners, MediaGroupId(0))
}

fn route(from: Option<u16>, user: Option<&str>, to: &[u16]) -> Route {
    let user = user.map(|pattern| Regex::new(pattern).expect("a pattern"));
    Route::new(from.map(TrunkId), user, to.iter().copied().map(TrunkId))
}

fn settings(routes: Vec<Route>) -> Settings {
    let listener = |name: &str, address: &str| Listener::new(name, addr(address));
    Settings {
        listeners: vec![
            listener("four", "10.0.0.1:5060"),
            listener("six", "[fd00::1]:5060"),
            listener("other", "10.9.0.1:5060"),
        ],
        trunks: vec![
            trunk("any-port", &["10.0.0.2:0"], &[0]),
            trunk("callees", &["10.0.0.2:5080", "[fd00::2]:0"], &[0, 1]),
            trunk("one-family", &["[fd00::3]:5060"], &[0]),
        ],
        routes,
        ..Settings::default()
    }
}

fn query(from: u16, user: &str) -> Query<'_> {
    Query {
        from: TrunkId(from),
        user,
        at: jiff::Timestamp::UNIX_EPOCH,
    }
}

fn targets(routing: &Routing, from: u16, user: &str) -> Vec<Target> {
    let mut rng = StdRng::seed_from_u64(1);
    let decision = routing.decide(&query(from, user), &mut rng);
    routing.targets(&decision.candidates, |_| Vec::new())
}

fn first_trunk(routing: &Routing, from: u16, user: &str) -> Option<u16> {
    targets(routing, from, user)
        .first()
        .map(|target| target.trunk.0)
}

#[test]
fn a_peer_with_this_port_goes_before_one_with_any_port() {
    let routing = Routing::new(&settings(Vec::new()));
    let trunk_of = |listener, remote| routing.trunk_of(ListenerId(listener), addr(remote), None);
    assert_eq!(trunk_of(0, "10.0.0.2:5080"), Some(TrunkId(1)));
    assert_eq!(trunk_of(0, "10.0.0.2:9999"), Some(TrunkId(0)));
    assert_eq!(trunk_of(0, "10.0.0.3:5080"), None);
}

#[test]
fn a_peer_goes_before_a_network_and_a_narrow_network_before_a_wide_one() {
    let network = |text: &str| text.parse::<Network>().expect("a network");
    let mut settings = settings(Vec::new());
    settings.trunks[0].access = vec![network("10.0.0.0/8"), network("fd00::/16")];
    settings.trunks[1].access = vec![network("10.0.1.0/24"), network("10.0.0.0/8")];
    let routing = Routing::new(&settings);
    let trunk_of = |listener, remote| routing.trunk_of(ListenerId(listener), addr(remote), None);
    assert_eq!(trunk_of(0, "10.0.0.2:5080"), Some(TrunkId(1)));
    assert_eq!(trunk_of(0, "10.0.1.2:5080"), Some(TrunkId(1)));
    assert_eq!(trunk_of(0, "10.7.1.2:5080"), Some(TrunkId(0)));
    assert_eq!(trunk_of(0, "11.7.1.2:5080"), None);
    assert_eq!(trunk_of(2, "10.7.1.2:5080"), None, "not its listener");
}

#[test]
fn a_peer_is_unknown_at_a_listener_that_its_trunk_does_not_use() {
    let routing = Routing::new(&settings(Vec::new()));
    let remote = addr("10.0.0.2:5080");
    assert_eq!(routing.trunk_of(ListenerId(2), remote, None), None);
}

#[test]
fn who_connects_comes_from_any_port() {
    let mut settings = settings(Vec::new());
    settings.listeners[0].transport = Transport::Tcp;
    let routing = Routing::new(&settings);
    let trunk_of = |remote| routing.trunk_of(ListenerId(0), addr(remote), None);
    settings.trunks.remove(0);
    assert_eq!(trunk_of("10.0.0.2:5080"), Some(TrunkId(1)));
    assert_eq!(trunk_of("10.0.0.2:9999"), Some(TrunkId(0)));
    let routing = Routing::new(&settings);
    let trunk_of = |remote| routing.trunk_of(ListenerId(0), addr(remote), None);
    assert_eq!(trunk_of("10.0.0.2:9999"), Some(TrunkId(0)));
    assert_eq!(trunk_of("10.0.0.3:9999"), None);
}

#[test]
fn a_trunk_with_names_is_known_by_them_alone() {
    let mut settings = settings(Vec::new());
    settings.listeners[0].transport = Transport::Tls;
    settings.trunks[1].tls.names = vec!["sbc.example".to_owned()];
    let routing = Routing::new(&settings);
    let trunk_of = |remote, identity| routing.trunk_of(ListenerId(0), addr(remote), identity);
    let named = |name: &str| Identity {
        names: vec![name.to_owned()],
        by_listener: true,
        by_trunks: Vec::new(),
    };
    let (right, wrong) = (named("sbc.example"), named("other.example"));
    assert_eq!(trunk_of("10.7.7.7:1", Some(&right)), Some(TrunkId(1)));
    assert_eq!(trunk_of("10.7.7.7:1", Some(&wrong)), None);
    // Its address says nothing; that of a trunk without names does.
    assert_eq!(trunk_of("10.0.0.2:5080", Some(&wrong)), Some(TrunkId(0)));
    settings.trunks[0].tls.names = vec!["x.example".to_owned()];
    let routing = Routing::new(&settings);
    let known = routing.trunk_of(ListenerId(0), addr("10.0.0.2:5080"), None);
    assert_eq!(known, None);
}

#[test]
fn a_peer_is_called_over_its_transport_at_that_ones_port() {
    let mut settings = settings(vec![route(None, None, &[0])]);
    settings.listeners[2] = Listener::new("tls", addr("10.0.0.1:5061")).over(Transport::Tls);
    settings.trunks[0].listeners.push(ListenerId(2));
    settings.trunks[0].peers[0].transport = Transport::Tls;
    let targets = targets(&Routing::new(&settings), 0, "x");
    let target = targets.first().expect("a target");
    assert_eq!((target.peer, target.listener.0), (addr("10.0.0.2:5061"), 2));
}

#[test]
fn the_first_route_that_applies_decides() {
    let routing = Routing::new(&settings(vec![
        route(Some(0), Some("1.*"), &[1]),
        route(None, Some("2.*"), &[0]),
        route(Some(0), None, &[0]),
    ]));
    assert_eq!(first_trunk(&routing, 0, "123"), Some(1));
    assert_eq!(first_trunk(&routing, 1, "123"), None);
    assert_eq!(first_trunk(&routing, 1, "23"), Some(0));
    assert_eq!(first_trunk(&routing, 0, "anything"), Some(0));
}

#[test]
fn a_pattern_must_match_the_whole_user() {
    for pattern in ["a|ab", "(?i)A(B)?", "(?x) ab | a # either"] {
        let routing = Routing::new(&settings(vec![route(None, Some(pattern), &[1])]));
        assert_eq!(first_trunk(&routing, 0, "ab"), Some(1), "{pattern}");
        assert_eq!(first_trunk(&routing, 0, "a"), Some(1), "{pattern}");
        assert_eq!(first_trunk(&routing, 0, "abc"), None, "{pattern}");
        assert_eq!(first_trunk(&routing, 0, "ab\n"), None, "{pattern}");
    }
}

#[test]
fn targets_are_every_reachable_peer_in_order() {
    let routing = Routing::new(&settings(vec![route(None, None, &[2, 1, 0])]));
    let targets: Vec<_> = targets(&routing, 0, "x")
        .iter()
        .map(|target| (target.trunk.0, target.peer, target.listener.0))
        .collect();
    assert_eq!(
        targets,
        [
            (1, addr("10.0.0.2:5080"), 0),
            (1, addr("[fd00::2]:5060"), 1),
            (0, addr("10.0.0.2:5060"), 0),
        ]
    );
}

#[test]
fn a_decision_says_why() {
    let table = "prefix,trunks\n4930,callees one-family callees\n";
    let wrong = table_file::read(TableKind::Prefixes, table.as_bytes(), &names());
    assert!(wrong.is_err(), "a trunk twice");
    let table = "prefix,trunk,cost\n4930,callees,0.02\n49,one-family,0.01\n";
    let table = table_file::read(TableKind::Rates, table.as_bytes(), &names()).expect("valid");
    let never = Schedule {
        dates: vec!["1999-01-01".parse().expect("a date")],
        ..Schedule::always("never", Schedule::zone("UTC").expect("a zone"))
    };
    let routes = vec![
        route(Some(1), None, &[0]),
        route(None, Some("1.*"), &[0]),
        Route {
            when: Some(Arc::new(never)),
            ..route(None, None, &[0])
        },
        Route {
            name: "cheapest".into(),
            to: RouteTo::Table(table),
            ..route(None, None, &[])
        },
        route(None, None, &[1, 0, 1]),
    ];
    let routing = Routing::new(&settings(routes));
    let mut rng = StdRng::seed_from_u64(1);
    let decision = routing.decide(&query(0, "+493012"), &mut rng);
    let names: Vec<_> = decision
        .passed_over
        .iter()
        .map(|p| (&*p.route, p.why))
        .collect();
    assert_eq!(
        names,
        [
            ("route-1", Why::From),
            ("route-2", Why::User),
            ("route-3", Why::When)
        ]
    );
    assert_eq!(decision.route_name(), Some("cheapest"));
    let candidates: Vec<_> = decision
        .candidates
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        candidates,
        [
            "prefix 49, cost 0.01, weight 1",
            "prefix 4930, cost 0.02, weight 1"
        ]
    );

    let decision = routing.decide(&query(0, "33"), &mut rng);
    assert_eq!(
        decision.passed_over.last().map(|p| p.why),
        Some(Why::Prefix)
    );
    let trunks: Vec<_> = decision.candidates.iter().map(|c| c.trunk.0).collect();
    assert_eq!(trunks, [1, 0]);
    let skipped: Vec<_> = decision
        .skipped
        .iter()
        .map(|s| (s.trunk.0, s.why))
        .collect();
    assert_eq!(skipped, [(1, Skip::Twice)]);
}

fn names() -> std::collections::HashMap<&'static str, TrunkId> {
    let names = ["any-port", "callees", "one-family"];
    names.into_iter().zip((0..).map(TrunkId)).collect()
}

#[test]
fn neighbours_with_a_weight_share_the_calls_and_the_others_keep_their_places() {
    let choice = |trunk, weight| Choice {
        trunk: TrunkId(trunk),
        weight,
    };
    let mut shared = route(None, None, &[]);
    shared.to = RouteTo::Trunks(vec![
        choice(0, Some(3)),
        choice(1, Some(1)),
        choice(2, None),
    ]);
    let routing = Routing::new(&settings(vec![shared]));
    let mut rng = StdRng::seed_from_u64(7);
    let mut first = [0; 3];
    for _ in 0..4_000 {
        let decision = routing.decide(&query(0, "x"), &mut rng);
        let order: Vec<_> = decision.candidates.iter().map(|c| c.trunk.0).collect();
        assert_eq!(order.len(), 3);
        assert_eq!(order[2], 2);
        first[usize::from(order[0])] += 1;
    }
    assert!((2_800..3_200).contains(&first[0]), "{first:?}");
    assert_eq!(first[0] + first[1], 4_000);
}

#[test]
fn the_address_of_another_trunk_is_told_from_ones_own() {
    let mut settings = settings(Vec::new());
    settings.trunks[0].proxy = Some(addr("10.0.0.9:5090").into());
    let routing = Routing::new(&settings);
    let foreign = |owner: Option<u16>, listener: u16, at: &str| {
        routing.is_of_another(owner.map(TrunkId), ListenerId(listener), addr(at))
    };
    assert!(foreign(Some(0), 0, "10.0.0.2:5080"));
    assert!(!foreign(Some(1), 0, "10.0.0.2:5080"));
    assert!(foreign(None, 0, "10.0.0.2:5080"));
    assert!(
        foreign(Some(1), 0, "10.0.0.2:5060"),
        "a peer with any port is called at the usual one"
    );
    assert!(foreign(Some(1), 0, "10.0.0.9:5090"), "its outbound proxy");
    assert!(!foreign(Some(1), 0, "10.0.0.2:5081"));
    assert!(
        !foreign(Some(0), 2, "10.0.0.2:5080"),
        "the trunk is not at that listener"
    );
}
