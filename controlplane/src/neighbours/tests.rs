//! Next hops on virtual time: the kernel is what the test says it is.

use std::net::Ipv4Addr;

use contract::{DeviceId, VlanTags};

use super::kernel::{LinkState, Route};
use super::*;

const OURS: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
const ALICE: MacAddress = MacAddress([2, 0, 0, 0, 0, 0xa]);
const BOB: MacAddress = MacAddress([2, 0, 0, 0, 0, 0xb]);
const LINK: u32 = 3;

fn ip(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, last))
}

fn at(millis: u64) -> Timestamp {
    Timestamp::ZERO + Duration::from_millis(millis)
}

fn query(last: u8) -> NextHopQuery {
    NextHopQuery {
        destination: ip(last),
        source: ip(1),
    }
}

fn link(up: bool) -> LinkState {
    LinkState {
        index: LINK,
        name: "in0".to_owned(),
        mac: Some(OURS),
        mtu: 1500,
        up,
        resolution: Resolution::Ask,
        vlan: None,
    }
}

fn direct() -> RouteAnswer {
    Ok(Route {
        link: LINK,
        gateway: None,
        mtu: None,
    })
}

fn resolved(mac: MacAddress) -> NextHop {
    NextHop::Resolved(Link {
        device: DeviceId(0),
        source: OURS,
        destination: mac,
        vlan: VlanTags::None,
        mtu: 1500,
    })
}

fn neighbour(last: u8, state: Reachability) -> Change {
    Change::Neighbour {
        link: LINK,
        address: ip(last),
        state,
    }
}

/// A host with one device, 10.0.0.1/24 on it, and nobody known.
fn host() -> Neighbours {
    let mut neighbours = Neighbours::new(vec!["in0".to_owned()], 100);
    neighbours.change(Change::Link(link(true)), at(0));
    neighbours.change(Change::Address(LINK, ip(1)), at(0));
    neighbours.told_everything(at(0));
    neighbours.on_time(at(1_000));
    neighbours
}

/// Everything that is to be done at `now`.
fn actions(neighbours: &mut Neighbours, now: Timestamp) -> Vec<Action> {
    neighbours.on_time(now);
    std::iter::from_fn(|| neighbours.poll()).collect()
}

#[test]
fn an_unknown_neighbour_is_solicited_and_answered_when_it_speaks() {
    let mut host = host();
    host.resolve(query(2));
    assert_eq!(actions(&mut host, at(1_000)), [Action::AskRoute(query(2))]);
    host.route(query(2), direct(), at(1_001));
    let solicit = Action::Solicit {
        query: query(2),
        link: LINK,
    };
    assert_eq!(actions(&mut host, at(1_001)), [solicit]);
    host.change(neighbour(2, Reachability::Incomplete), at(1_002));
    assert_eq!(actions(&mut host, at(1_002)), []);
    host.change(neighbour(2, Reachability::Confirmed(ALICE)), at(1_003));
    let answer = Action::Answer(query(2), resolved(ALICE));
    assert_eq!(actions(&mut host, at(1_003)), [answer]);
    host.change(neighbour(2, Reachability::Stale(ALICE)), at(30_000));
    assert_eq!(
        actions(&mut host, at(30_000)),
        [solicit],
        "stale: kept alive, and no news to anybody"
    );
    host.resolve(query(2));
    assert_eq!(actions(&mut host, at(30_001)), [answer], "asked again");
}

#[test]
fn a_mac_change_is_news_and_a_failure_of_a_known_neighbour_is_not() {
    let mut host = host();
    host.change(neighbour(2, Reachability::Stale(ALICE)), at(1_000));
    host.resolve(query(2));
    host.poll();
    host.route(query(2), direct(), at(1_000));
    let answers = |host: &mut Neighbours, now| -> Vec<Action> {
        actions(host, now)
            .into_iter()
            .filter(|action| matches!(action, Action::Answer(..)))
            .collect()
    };
    assert_eq!(
        answers(&mut host, at(1_000)),
        [Action::Answer(query(2), resolved(ALICE))],
        "a stale entry is used at once"
    );
    host.change(neighbour(2, Reachability::Failed), at(2_000));
    host.change(
        Change::NeighbourGone {
            link: LINK,
            address: ip(2),
        },
        at(3_000),
    );
    assert_eq!(answers(&mut host, at(3_000)), []);
    host.change(neighbour(2, Reachability::Confirmed(BOB)), at(4_000));
    assert_eq!(
        answers(&mut host, at(4_000)),
        [Action::Answer(query(2), resolved(BOB))]
    );
    host.forget(&query(2));
    host.change(neighbour(2, Reachability::Confirmed(ALICE)), at(5_000));
    assert_eq!(actions(&mut host, at(5_000)), []);
    assert_eq!(host.counts().watched, 0);
    assert_eq!(host.deadline(), None);
}

#[test]
fn a_neighbour_that_nobody_answers_for_is_unreachable_until_it_answers() {
    let mut host = host();
    host.change(neighbour(2, Reachability::Failed), at(500));
    host.resolve(query(2));
    host.poll();
    host.route(query(2), direct(), at(1_000));
    let solicited = actions(&mut host, at(1_000));
    assert!(
        matches!(solicited[..], [Action::Solicit { .. }]),
        "a failure from before the question is not its answer: {solicited:?}"
    );
    host.change(neighbour(2, Reachability::Failed), at(4_000));
    let nobody = NextHop::Unreachable(Unreachable::NoNeighbour);
    assert_eq!(
        actions(&mut host, at(4_000)),
        [Action::Answer(query(2), nobody)]
    );
    assert_eq!(host.deadline(), Some(at(5_000)), "it is tried again");
    host.change(neighbour(2, Reachability::Confirmed(ALICE)), at(4_500));
    assert_eq!(
        actions(&mut host, at(4_500)),
        [Action::Answer(query(2), resolved(ALICE))]
    );
}

#[test]
fn a_route_that_moves_to_an_unresolved_router_interrupts_nothing() {
    let mut host = host();
    host.change(neighbour(2, Reachability::Confirmed(ALICE)), at(1_000));
    host.resolve(query(2));
    host.poll();
    host.route(query(2), direct(), at(1_000));
    actions(&mut host, at(1_000));

    host.change(Change::Routing, at(2_000));
    host.change(Change::Routing, at(2_001));
    let settled = host.deadline().expect("a round is due");
    assert_eq!(settled, at(2_000) + SETTLING);
    assert_eq!(actions(&mut host, settled), [Action::AskRoute(query(2))]);
    let by_router = Ok(Route {
        link: LINK,
        gateway: Some(ip(254)),
        mtu: Some(1400),
    });
    host.route(query(2), by_router, settled);
    let solicit = Action::Solicit {
        query: query(2),
        link: LINK,
    };
    assert_eq!(actions(&mut host, settled), [solicit]);
    host.change(neighbour(2, Reachability::Confirmed(BOB)), at(3_000));
    assert_eq!(
        actions(&mut host, at(3_000)),
        [],
        "the destination's own entry matters no more"
    );
    host.change(neighbour(254, Reachability::Confirmed(BOB)), at(3_000));
    let answer = actions(&mut host, at(3_000));
    let [Action::Answer(_, NextHop::Resolved(found))] = answer[..] else {
        panic!("one answer: {answer:?}");
    };
    assert_eq!((found.destination, found.mtu), (BOB, 1400));
}

#[test]
fn what_cannot_be_reached_is_said_with_its_reason() {
    let mut host = host();
    let mut say = |destination: IpAddr, source: IpAddr, route: Option<RouteAnswer>| {
        let query = NextHopQuery {
            destination,
            source,
        };
        host.resolve(query);
        if let Some(route) = route {
            actions(&mut host, at(1_000));
            host.route(query, route, at(1_000));
        }
        match actions(&mut host, at(1_000))[..] {
            [Action::Answer(_, NextHop::Unreachable(why))] => why,
            ref other => panic!("{other:?}"),
        }
    };
    let other_device = Ok(Route {
        link: 77,
        gateway: None,
        mtu: None,
    });
    let v6 = IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, 1]);
    assert_eq!(
        say(ip(9), ip(1), Some(Err(Unreachable::NoRoute))),
        Unreachable::NoRoute
    );
    assert_eq!(
        say(ip(1), ip(1), Some(Err(Unreachable::OwnAddress))),
        Unreachable::OwnAddress
    );
    assert_eq!(
        say(ip(8), ip(1), Some(other_device)),
        Unreachable::OtherDevice
    );
    assert_eq!(
        say(ip(8), ip(7), Some(direct())),
        Unreachable::BadSource,
        "10.0.0.7 is not the host's"
    );
    assert_eq!(say(v6, ip(1), None), Unreachable::BadSource);
    let group = IpAddr::from([224, 0, 0, 1]);
    assert_eq!(say(group, ip(1), None), Unreachable::NotUnicast);
}

#[test]
fn a_link_that_goes_down_and_comes_back_keeps_the_mac() {
    let mut host = host();
    host.change(neighbour(2, Reachability::Confirmed(ALICE)), at(1_000));
    host.resolve(query(2));
    host.poll();
    host.route(query(2), direct(), at(1_000));
    actions(&mut host, at(1_000));
    let gone = Change::NeighbourGone {
        link: LINK,
        address: ip(2),
    };
    host.change(Change::Link(link(false)), at(2_000));
    host.change(gone, at(2_000));
    let down = NextHop::Unreachable(Unreachable::LinkDown);
    assert!(actions(&mut host, at(2_000)).contains(&Action::Answer(query(2), down)));
    host.change(Change::Link(link(true)), at(9_000));
    let back = actions(&mut host, at(9_000));
    assert!(back.contains(&Action::Answer(query(2), resolved(ALICE))));
    assert!(
        back.contains(&Action::Solicit {
            query: query(2),
            link: LINK
        }),
        "and asks whether it is still true: {back:?}"
    );
}

#[test]
fn nothing_is_concluded_from_a_state_told_by_half() {
    let mut host = host();
    host.change(neighbour(2, Reachability::Confirmed(ALICE)), at(1_000));
    host.resolve(query(2));
    host.poll();
    host.route(query(2), direct(), at(1_000));
    actions(&mut host, at(1_000));
    host.begin_again();
    host.route(query(2), direct(), at(2_000));
    assert_eq!(actions(&mut host, at(2_000)), []);
    host.change(Change::Link(link(true)), at(2_001));
    host.change(Change::Address(LINK, ip(1)), at(2_001));
    host.change(neighbour(2, Reachability::Confirmed(BOB)), at(2_001));
    host.told_everything(at(2_002));
    let done = actions(&mut host, at(2_002));
    assert!(done.contains(&Action::Answer(query(2), resolved(BOB))));
    assert!(!done.contains(&Action::Answer(
        query(2),
        NextHop::Unreachable(Unreachable::OtherDevice)
    )));
}

#[test]
fn questions_to_the_kernel_and_watched_queries_are_bounded() {
    let mut host = Neighbours::new(vec!["in0".to_owned()], 90);
    host.change(Change::Link(link(true)), at(0));
    host.change(Change::Address(LINK, ip(1)), at(0));
    host.told_everything(at(0));
    for last in 2..=101 {
        host.resolve(query(last));
    }
    let done = actions(&mut host, at(0));
    let asked = |actions: &[Action]| {
        actions
            .iter()
            .filter(|action| matches!(action, Action::AskRoute(_)))
            .count()
    };
    let too_many = NextHop::Unreachable(Unreachable::TooMany);
    assert_eq!(asked(&done), ASKED_AT_A_TIME);
    assert!(done.contains(&Action::Answer(query(101), too_many)));
    assert_eq!(host.counts().refused, 10);
    assert_eq!(actions(&mut host, at(1)), []);
    host.route(query(2), Err(Unreachable::NoRoute), at(1));
    assert_eq!(asked(&actions(&mut host, at(1))), 1);
    host.routes_lost(at(2));
    let round = host.deadline().expect("a round is due");
    assert_eq!(asked(&actions(&mut host, round)), ASKED_AT_A_TIME);
}

#[test]
fn where_nobody_is_asked_the_link_says_the_mac() {
    let mut host = host();
    let mut tunnel = link(true);
    tunnel.resolution = Resolution::PointToPoint;
    host.change(Change::Link(tunnel), at(1_000));
    host.resolve(query(2));
    actions(&mut host, at(2_000));
    host.route(query(2), direct(), at(2_000));
    let answer = Action::Answer(query(2), resolved(MacAddress([0xff; 6])));
    assert_eq!(actions(&mut host, at(2_000)), [answer]);
}
