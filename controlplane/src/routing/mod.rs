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
mod peers;
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

use crate::resolver::{Destination, Location, Plan};
use crate::settings::{Listener, ListenerId, Route, RouteTo, Server, Settings, Trunk, TrunkId};

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
    /// Where a call to it is sent instead: to the trunk's proxy.
    pub through: Option<Location>,
}

impl Target {
    /// The same without the proxy: what is known of a peer is known of all ways to it.
    pub const fn itself(self) -> Self {
        Self {
            through: None,
            ..self
        }
    }
}

/// The name of a peer, proxy or registrar of any trunk: its place among [`Routing::names`].
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

/// A name and where it leads now.
#[derive(Debug)]
struct Named {
    trunk: TrunkId,
    destination: Destination,
    role: Role,
    plan: Plan,
}

/// What a name is to its trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Peer { priority: u16, weight: u16 },
    Proxy,
    Registrar,
}

/// The names of a trunk.
fn names_of(trunk: &Trunk) -> impl Iterator<Item = (&Destination, Role)> {
    let peers = trunk.names.iter().map(|peer| {
        let role = Role::Peer {
            priority: peer.priority,
            weight: peer.weight,
        };
        (&peer.destination, role)
    });
    let registrars = trunk.registrations.iter();
    let registrars = registrars.filter_map(|one| Some((one.registrar.as_ref()?, Role::Registrar)));
    let proxy = trunk.proxy.iter().map(|proxy| (proxy, Role::Proxy));
    let servers = proxy.chain(registrars);
    peers.chain(servers.filter_map(|(server, role)| match server {
        Server::Name(destination) => Some((destination, role)),
        Server::Address(_) => None,
    }))
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
            names_of(of).map(move |(destination, role)| Named {
                trunk,
                destination: destination.clone(),
                role,
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

/// The same pattern, for the whole text. The second form is for a pattern in `(?x)` mode that closes
/// with a comment: the line break ends the comment, and is no text in that mode.
fn anchored(pattern: &Regex) -> Regex {
    let text = pattern.as_str();
    Regex::new(&format!(r"\A(?:{text})\z"))
        .or_else(|_| Regex::new(&format!("\\A(?:{text}\n)\\z")))
        .unwrap_or_else(|_| pattern.clone())
}

#[cfg(test)]
mod tests;
