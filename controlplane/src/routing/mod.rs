//! Who sent this, and whom may it go to: trunks by address, routes by trunk, number and time.
//!
//! Pure functions over the settings: the time and the dice are arguments. Knows no SIP syntax: the caller of
//! [`Routing::decide`] has taken the user part out of the Request-URI already. Which of a trunk's peers is
//! well is not its business.
//!
//! ```text
//!   Query ─► route: the first whose conditions hold ─► trunks in order ─► Decision ─► targets: their peers
//! ```

mod cost;
mod decision;
mod prefixes;
mod schedule;
mod shares;
mod table;
pub mod table_file;

use std::net::SocketAddr;
use std::sync::Arc;

use rand::Rng;
use regex::Regex;

pub use cost::{Cost, NotACost};
pub use decision::{Candidate, Decision, MOST_CANDIDATES, PassedOver, Query, Skip, Skipped, Why};
pub use prefixes::{NotAPrefix, Prefix, Prefixes};
pub use schedule::{Dates, Days, Hours, NotATime, Schedule};
pub use table::{Found, RouteTable, TableKind};

use crate::identity::Identity;
use crate::resolver::{Destination, Family, Location, Plan, Ways};
use crate::settings::{
    Listener, ListenerId, Network, Peer, Route, RouteTo, Settings, Transport, Trunk, TrunkId,
};

/// One place to send a call to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// The trunk.
    pub trunk: TrunkId,
    /// The peer of the trunk.
    pub peer: SocketAddr,
    /// The listener that talks to it.
    pub listener: ListenerId,
    /// The name that led there, if one did.
    pub name: Option<NameId>,
}

/// A peer's name, of any trunk: its place among [`Routing::names`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NameId(pub usize);

/// The routing tables, made from the settings once.
#[derive(Debug)]
pub struct Routing {
    trunks: Vec<Trunk>,
    listeners: Vec<Listener>,
    routes: Vec<CompiledRoute>,
    names: Vec<Named>,
}

/// A peer's name and where it leads now.
#[derive(Debug)]
struct Named {
    trunk: TrunkId,
    destination: Destination,
    priority: u16,
    weight: u16,
    plan: Plan,
}

#[derive(Debug)]
struct CompiledRoute {
    name: Arc<str>,
    from: Option<TrunkId>,
    user: Option<Regex>,
    when: Option<Arc<Schedule>>,
    to: RouteTo,
}

impl Routing {
    /// Compiles the settings' trunks and routes.
    pub fn new(settings: &Settings) -> Self {
        let routes = settings.routes.iter().enumerate();
        let routes = routes
            .map(|(index, route)| CompiledRoute::new(index, route))
            .collect();
        let names = (0_u16..).map(TrunkId).zip(&settings.trunks);
        let names = names.flat_map(|(trunk, of)| {
            of.names.iter().map(move |peer| Named {
                trunk,
                destination: peer.destination.clone(),
                priority: peer.priority,
                weight: peer.weight,
                plan: Plan::default(),
            })
        });
        Self {
            names: names.collect(),
            trunks: settings.trunks.clone(),
            listeners: settings.listeners.clone(),
            routes,
        }
    }

    /// The trunk that a message from `remote` at `listener` belongs to. Over TLS the certificate's names
    /// go before all else, and a trunk that has names is known by nothing else. A peer with this very port
    /// goes before one with any port, these before a peer's name, and that before a network; who connects
    /// comes from any.
    pub fn trunk_of(
        &self,
        listener: ListenerId,
        remote: SocketAddr,
        identity: Option<&Identity>,
    ) -> Option<TrunkId> {
        let of_listener = || {
            self.numbered_trunks()
                .filter(move |(_, trunk)| trunk.listeners.contains(&listener))
        };
        let named = of_listener().find(|(_, trunk)| {
            identity.is_some_and(|identity| identity.is_of(&trunk.name, &trunk.tls))
        });
        if let Some((id, _)) = named {
            return Some(id);
        }
        let transport = self.transport_of(listener)?;
        let by_address = |(_, trunk): &(TrunkId, &Trunk)| {
            transport != Transport::Tls || trunk.tls.names.is_empty()
        };
        let holding = |is_it: &dyn Fn(SocketAddr) -> bool| {
            of_listener()
                .filter(by_address)
                .find(|(_, trunk)| {
                    let known = trunk.peers.iter().chain(&trunk.proxy);
                    known.into_iter().any(|peer| is_it(peer.address))
                })
                .map(|(id, _)| id)
        };
        let any_port = SocketAddr::new(remote.ip(), 0);
        holding(&|peer| peer == remote)
            .or_else(|| holding(&|peer| peer == any_port))
            .or_else(|| match transport.is_reliable() {
                true => holding(&|peer| peer.ip() == remote.ip()),
                false => None,
            })
            .or_else(|| {
                let here = |wanted| of_listener().filter(by_address).any(|(id, _)| id == wanted);
                let mut names = self.names.iter();
                let name = names.find(|name| name.plan.holds(remote.ip()) && here(name.trunk));
                name.map(|name| name.trunk)
            })
            .or_else(|| {
                // The narrowest network that holds the sender; of equally narrow ones the first trunk's.
                let networks = of_listener().filter(by_address).filter_map(|(id, trunk)| {
                    let networks = trunk.access.iter();
                    let holding = networks.filter(|network| network.contains(&remote.ip()));
                    let narrowest = holding.map(Network::prefix_len).max()?;
                    Some((std::cmp::Reverse(narrowest), id))
                });
                networks.min().map(|(_, id)| id)
            })
    }

    /// The names of peers, with the ways by which their trunks can reach them.
    pub fn names(&self) -> impl Iterator<Item = (NameId, &Destination, Ways)> {
        let names = (0..).map(NameId).zip(&self.names);
        names.map(|(id, name)| (id, &name.destination, self.ways(name.trunk)))
    }

    /// What a target's name is.
    pub fn name(&self, id: NameId) -> Option<&Destination> {
        self.names.get(id.0).map(|name| &name.destination)
    }

    /// The trunk whose peer a name is.
    pub fn trunk_of_name(&self, id: NameId) -> Option<TrunkId> {
        self.names.get(id.0).map(|name| name.trunk)
    }

    /// A name leads elsewhere now.
    pub fn set_plan(&mut self, id: NameId, plan: Plan) {
        if let Some(name) = self.names.get_mut(id.0) {
            name.plan = plan;
        }
    }

    /// Where a call may go: the trunks of the first route whose conditions hold, in the order of trying. Those
    /// that share a place by weight are drawn.
    pub fn decide(&self, query: &Query<'_>, rng: &mut impl Rng) -> Decision {
        let mut decision = Decision::default();
        for (index, route) in self.routes.iter().enumerate() {
            match route.trunks(query) {
                Ok(found) => {
                    decision.route = Some((index, route.name.clone()));
                    decision.take(found, rng);
                    break;
                }
                Err(why) => decision.pass_over(index, &route.name, why),
            }
        }
        decision
    }

    /// The places that candidates lead to, in the order of trying: every peer of every trunk that one of the
    /// trunk's listeners reaches. Empty when their names lead nowhere. `locate` gives the places of a name in the
    /// order for this call.
    pub fn targets(
        &self,
        candidates: &[Candidate],
        mut locate: impl FnMut(NameId) -> Vec<Location>,
    ) -> Vec<Target> {
        let mut targets = Vec::new();
        for candidate in candidates {
            self.targets_of(candidate.trunk, &mut locate, &mut targets);
        }
        targets
    }

    /// By which transports and families a trunk's listeners reach something, the first listener's first.
    pub fn ways(&self, trunk: TrunkId) -> Ways {
        let trunk = self.trunks.get(usize::from(trunk.0));
        let listeners = trunk.map_or(&[][..], |trunk| &trunk.listeners);
        Ways::new(listeners.iter().filter_map(|id| {
            let listener = self.listeners.get(usize::from(id.0))?;
            Some((listener.transport, Family::of(listener.address.ip())))
        }))
    }

    /// The listener of the trunk that reaches a place; `None` if it has none.
    pub fn listener_to(&self, trunk: TrunkId, place: &Location) -> Option<ListenerId> {
        self.listener_for(trunk, place.address, place.transport)
    }

    /// The listener of the trunk that reaches an address of this family over this transport; `None` if it
    /// has none.
    pub fn listener_for(
        &self,
        trunk: TrunkId,
        remote: SocketAddr,
        transport: Transport,
    ) -> Option<ListenerId> {
        let listeners = &self.trunks.get(usize::from(trunk.0))?.listeners;
        listeners.iter().copied().find(|id| {
            self.listeners
                .get(usize::from(id.0))
                .is_some_and(|listener| {
                    listener.address.is_ipv4() == remote.is_ipv4()
                        && listener.transport == transport
                })
        })
    }

    /// The listener of the trunk that reaches a peer, and the peer's address with its port.
    pub fn way_to(&self, trunk: TrunkId, peer: &Peer) -> Option<(ListenerId, SocketAddr)> {
        let listener = self.listener_for(trunk, peer.address, peer.transport)?;
        Some((listener, with_port(peer)))
    }

    /// What a listener speaks.
    pub fn transport_of(&self, listener: ListenerId) -> Option<Transport> {
        let listener = self.listeners.get(usize::from(listener.0))?;
        Some(listener.transport)
    }

    /// Appends every peer of a trunk that one of its listeners reaches: addresses, and where names lead.
    fn targets_of(
        &self,
        id: TrunkId,
        locate: &mut impl FnMut(NameId) -> Vec<Location>,
        targets: &mut Vec<Target>,
    ) {
        targets.extend(self.addresses_of(id).map(|(target, _)| target));
        for (name, _) in self.names_of(id) {
            let located = locate(name);
            targets.extend(
                located
                    .iter()
                    .filter_map(|place| self.target(id, name, place)),
            );
        }
    }

    /// The peers of a trunk that one of its listeners reaches, as targets, with all places of those that are
    /// known by name.
    pub(crate) fn peers_of(&self, id: TrunkId) -> impl Iterator<Item = (Target, Peer)> {
        let located = self.names_of(id).flat_map(move |(name, named)| {
            named.plan.locations().filter_map(move |place| {
                let peer = Peer {
                    address: place.address,
                    transport: place.transport,
                    priority: named.priority,
                    weight: named.weight,
                };
                Some((self.target(id, name, &place)?, peer))
            })
        });
        self.addresses_of(id).chain(located)
    }

    fn names_of(&self, id: TrunkId) -> impl Iterator<Item = (NameId, &Named)> {
        let names = (0..).map(NameId).zip(&self.names);
        names.filter(move |(_, name)| name.trunk == id)
    }

    fn target(&self, trunk: TrunkId, name: NameId, place: &Location) -> Option<Target> {
        Some(Target {
            trunk,
            peer: place.address,
            listener: self.listener_to(trunk, place)?,
            name: Some(name),
        })
    }

    fn addresses_of(&self, id: TrunkId) -> impl Iterator<Item = (Target, Peer)> {
        let peers = self
            .trunks
            .get(usize::from(id.0))
            .map_or(&[][..], |trunk| &trunk.peers);
        peers.iter().filter_map(move |peer| {
            let listener = self.listener_for(id, peer.address, peer.transport)?;
            let target = Target {
                trunk: id,
                peer: with_port(peer),
                listener,
                name: None,
            };
            Some((target, *peer))
        })
    }

    fn numbered_trunks(&self) -> impl Iterator<Item = (TrunkId, &Trunk)> {
        (0_u16..).map(TrunkId).zip(&self.trunks)
    }
}

impl CompiledRoute {
    fn new(index: usize, route: &Route) -> Self {
        let name = match route.name.as_str() {
            "" => format!("route-{}", index + 1),
            name => name.to_owned(),
        };
        Self {
            name: name.into(),
            from: route.from,
            user: route.user.as_ref().map(anchored),
            when: route.when.clone(),
            to: route.to.clone(),
        }
    }

    /// The trunks that the route gives, or which condition does not hold.
    fn trunks(&self, query: &Query<'_>) -> Result<Vec<Found>, Why> {
        if self.from.is_some_and(|trunk| trunk != query.from) {
            return Err(Why::From);
        }
        let user = self.user.as_ref();
        if user.is_some_and(|pattern| !pattern.is_match(query.user)) {
            return Err(Why::User);
        }
        let when = self.when.as_ref();
        if when.is_some_and(|schedule| !schedule.holds(query.at)) {
            return Err(Why::When);
        }
        match &self.to {
            RouteTo::Trunks(choices) => Ok(choices.iter().copied().map(Found::from).collect()),
            RouteTo::Table(table) => match table.find(Prefix::of_user(query.user)) {
                found if found.is_empty() => Err(Why::Prefix),
                found => Ok(found),
            },
        }
    }
}

fn with_port(peer: &Peer) -> SocketAddr {
    match peer.address.port() {
        0 => SocketAddr::new(peer.address.ip(), peer.transport.default_port()),
        _ => peer.address,
    }
}

/// The same pattern, for the whole text. The second form is for a pattern in `(?x)` mode that closes
/// with a comment: the line break ends the comment, and is no text in that mode.
fn anchored(pattern: &Regex) -> Regex {
    let text = pattern.as_str();
    Regex::new(&format!(r"\A(?:{text})\z"))
        .or_else(|_| Regex::new(&format!("\\A(?:{text}\n)\\z")))
        .unwrap_or_else(|_| pattern.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Choice, Listener, MediaGroupId, Route};
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
        let trunk_of =
            |listener, remote| routing.trunk_of(ListenerId(listener), addr(remote), None);
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
        let trunk_of =
            |listener, remote| routing.trunk_of(ListenerId(listener), addr(remote), None);
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
}
