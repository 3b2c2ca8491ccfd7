//! Who sent this, and whom may it go to: trunks by address, routes by trunk and user.
//!
//! Pure functions over the settings. Knows no SIP syntax: the caller of [`Routing::targets`] has taken
//! the user part out of the Request-URI already.

use std::net::SocketAddr;

use regex::Regex;

use crate::settings::{ListenerId, Settings, Trunk, TrunkId};

/// The port of a peer that the configuration names without one (RFC 3261 §19.1.2).
const SIP_PORT: u16 = 5060;

/// One place to send a call to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The trunk.
    pub trunk: TrunkId,
    /// The peer of the trunk.
    pub peer: SocketAddr,
    /// The listener that talks to it.
    pub listener: ListenerId,
}

/// The routing tables, made from the settings once.
#[derive(Debug)]
pub struct Routing {
    trunks: Vec<Trunk>,
    /// The address of each listener.
    listeners: Vec<SocketAddr>,
    routes: Vec<CompiledRoute>,
}

#[derive(Debug)]
struct CompiledRoute {
    from: Option<TrunkId>,
    user: Option<Regex>,
    to: Vec<TrunkId>,
}

impl Routing {
    /// Compiles the settings' trunks and routes.
    pub fn new(settings: &Settings) -> Self {
        let routes = settings
            .routes
            .iter()
            .map(|route| CompiledRoute {
                from: route.from,
                user: route.user.as_ref().map(anchored),
                to: route.to.clone(),
            })
            .collect();
        Self {
            trunks: settings.trunks.clone(),
            listeners: settings
                .listeners
                .iter()
                .map(|listener| listener.address)
                .collect(),
            routes,
        }
    }

    /// The trunk that a message from `remote` at `listener` belongs to. A peer with this very port goes
    /// before one with any port.
    pub fn trunk_of(&self, listener: ListenerId, remote: SocketAddr) -> Option<TrunkId> {
        let of_listener = || {
            self.numbered_trunks()
                .filter(move |(_, trunk)| trunk.listeners.contains(&listener))
        };
        let holding = |wanted: SocketAddr| {
            of_listener()
                .find(|(_, trunk)| trunk.peers.iter().any(|peer| peer.address == wanted))
                .map(|(id, _)| id)
        };
        holding(remote).or_else(|| holding(SocketAddr::new(remote.ip(), 0)))
    }

    /// Where a call from `from` to `user` may go, in the order of trying: every peer of every trunk of
    /// the first route that applies. Empty when none does.
    pub fn targets(&self, from: TrunkId, user: &str) -> Vec<Target> {
        let Some(route) = self.routes.iter().find(|route| route.applies(from, user)) else {
            return Vec::new();
        };
        route
            .to
            .iter()
            .flat_map(|&id| self.targets_of(id))
            .collect()
    }

    /// The listener of the trunk that reaches an address of this family; `None` if it has none.
    pub fn listener_for(&self, trunk: TrunkId, remote: SocketAddr) -> Option<ListenerId> {
        let listeners = &self.trunks.get(usize::from(trunk.0))?.listeners;
        listeners.iter().copied().find(|id| {
            self.listeners
                .get(usize::from(id.0))
                .is_some_and(|address| address.is_ipv4() == remote.is_ipv4())
        })
    }

    fn targets_of(&self, id: TrunkId) -> impl Iterator<Item = Target> {
        let peers = self
            .trunks
            .get(usize::from(id.0))
            .map_or(&[][..], |trunk| &trunk.peers);
        peers.iter().filter_map(move |peer| {
            let listener = self.listener_for(id, peer.address)?;
            Some(Target {
                trunk: id,
                peer: with_port(peer.address),
                listener,
            })
        })
    }

    fn numbered_trunks(&self) -> impl Iterator<Item = (TrunkId, &Trunk)> {
        (0_u16..).map(TrunkId).zip(&self.trunks)
    }
}

impl CompiledRoute {
    fn applies(&self, from: TrunkId, user: &str) -> bool {
        self.from.is_none_or(|trunk| trunk == from)
            && self
                .user
                .as_ref()
                .is_none_or(|pattern| pattern.is_match(user))
    }
}

fn with_port(peer: SocketAddr) -> SocketAddr {
    match peer.port() {
        0 => SocketAddr::new(peer.ip(), SIP_PORT),
        _ => peer,
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
    use crate::settings::{Listener, MediaGroupId, Route};

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

    fn first_trunk(routing: &Routing, from: u16, user: &str) -> Option<u16> {
        routing
            .targets(TrunkId(from), user)
            .first()
            .map(|target| target.trunk.0)
    }

    #[test]
    fn a_peer_with_this_port_goes_before_one_with_any_port() {
        let routing = Routing::new(&settings(Vec::new()));
        let trunk_of = |listener, remote| routing.trunk_of(ListenerId(listener), addr(remote));
        assert_eq!(trunk_of(0, "10.0.0.2:5080"), Some(TrunkId(1)));
        assert_eq!(trunk_of(0, "10.0.0.2:9999"), Some(TrunkId(0)));
        assert_eq!(trunk_of(0, "10.0.0.3:5080"), None);
    }

    #[test]
    fn a_peer_is_unknown_at_a_listener_that_its_trunk_does_not_use() {
        let routing = Routing::new(&settings(Vec::new()));
        let remote = addr("10.0.0.2:5080");
        assert_eq!(routing.trunk_of(ListenerId(2), remote), None);
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
        let targets: Vec<_> = routing
            .targets(TrunkId(0), "x")
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
}
