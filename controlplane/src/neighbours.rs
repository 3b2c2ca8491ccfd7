//! Next hops: which device, VLAN and MAC addresses a packet to a destination leaves with.
//!
//! Media that a worker sends bypasses the kernel, so the control plane asks the kernel in its stead:
//! the routing decision and the neighbour's MAC address become a [`Link`] that a flow entry carries.
//! An answered question stays watched: when a route, a link or a neighbour changes, the answer comes
//! again.
//!
//! ```text
//!   NextHopQuery ─► AskRoute ─► Route (link, gateway) ─► hop (link, address) ─► Solicit ─► MAC ─► Answer
//!        ▲                            ▲                        ▲                             │
//!        └──── Forget                 └─ routing changed       └─ stale, failed, gone        └─ again at a change
//! ```
//!
//! Sans-IO: `netlink` brings [`Change`]s and routing decisions, [`Neighbours::poll`] gives [`Action`]s.
//! It knows nothing of calls, flows or sockets. Routes into a VRF are not followed.

mod hops;
pub mod kernel;
mod links;

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use contract::{Link, MacAddress, Timestamp};

use crate::installer::NextHopQuery;
use hops::{HopKey, Hops};
use kernel::{Change, Reachability, Resolution, RouteAnswer};
use links::{Links, Way};

/// Routing decisions that the kernel is asked for at a time: the answers (some 150 bytes each) always
/// fit the socket's receive buffer, and a batch costs the loop less than a millisecond.
const ASKED_AT_A_TIME: usize = 64;
/// After a route changed, how long to wait for more of the same before asking anew. A routing daemon
/// that loads a table says thousands of things in a second; a call feels less than a tenth of one.
const SETTLING: Duration = Duration::from_millis(20);
/// The least time between two rounds of asking anew.
const LEAST_BETWEEN_ROUNDS: Duration = Duration::from_millis(200);

/// The answer to a [`NextHopQuery`]. While a neighbour is being resolved there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextHop {
    /// Send to this link.
    Resolved(Link),
    /// It cannot be reached now, and why. A later answer may say otherwise.
    Unreachable(Unreachable),
}

impl NextHop {
    /// The link to send to, if there is one.
    pub const fn link(self) -> Option<Link> {
        match self {
            Self::Resolved(link) => Some(link),
            Self::Unreachable(_) => None,
        }
    }
}

/// Why a destination has no next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unreachable {
    /// The kernel has no route to it, or one that says unreachable, blackhole or prohibit.
    NoRoute,
    /// It is one of the host's own addresses.
    OwnAddress,
    /// A broadcast or multicast address, or the unspecified one.
    NotUnicast,
    /// `source` is of the other family, or not an address of the host.
    BadSource,
    /// The route leaves by a device that the dataplane does not serve, or whose link layer is not
    /// Ethernet.
    OtherDevice,
    /// The device is down.
    LinkDown,
    /// Nobody answers for the next hop's address (ARP, neighbour discovery).
    NoNeighbour,
    /// As many destinations are watched as can be.
    TooMany,
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRoute => "no route to it",
            Self::OwnAddress => "it is an address of this host",
            Self::NotUnicast => "not a unicast address",
            Self::BadSource => "the source address is not on this host",
            Self::OtherDevice => "its route leaves by a device that carries no media",
            Self::LinkDown => "the device is down",
            Self::NoNeighbour => "nobody answers for the next hop's address",
            Self::TooMany => "too many destinations are watched",
        })
    }
}

/// What must be done outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask the kernel for its routing decision; [`Neighbours::route`] takes the answer.
    AskRoute(NextHopQuery),
    /// Make the kernel resolve the next hop of `query` by sending it something. `link` is the link that
    /// the packet leaves by: the scope of a link-local destination.
    Solicit {
        /// Whom to send to, and from which address.
        query: NextHopQuery,
        /// The ifindex of the link.
        link: u32,
    },
    /// The answer to a query, or another one than before.
    Answer(NextHopQuery, NextHop),
}

/// What is held, and what has been refused or done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NeighbourCounts {
    /// Queries that are watched now.
    pub watched: usize,
    /// Queries refused because too many were watched.
    pub refused: u64,
    /// Solicitations sent.
    pub solicitations: u64,
    /// Answers that changed after they had been given.
    pub changes: u64,
}

#[derive(Debug, Default)]
struct Watch {
    route: Option<RouteAnswer>,
    hop: Option<HopKey>,
    answer: Option<NextHop>,
    /// It waits in [`Neighbours::to_ask`].
    queued: bool,
}

/// The next hops of everything that the appliance sends media to.
#[derive(Debug)]
pub struct Neighbours {
    links: Links,
    addresses: HashSet<(u32, IpAddr)>,
    /// The kernel's neighbour table.
    table: HashMap<HopKey, Reachability>,
    hops: Hops,
    watched: HashMap<NextHopQuery, Watch>,
    capacity: usize,
    to_ask: VecDeque<NextHopQuery>,
    asked: usize,
    round_at: Option<Timestamp>,
    last_round: Timestamp,
    /// Whether the kernel has told everything: before, a missing link means nothing.
    complete: bool,
    actions: VecDeque<Action>,
    counts: NeighbourCounts,
}

impl Neighbours {
    /// Next hops by way of `devices` (the kernel's names, by [`contract::DeviceId`]), for at most
    /// `capacity` queries at a time.
    pub fn new(devices: Vec<String>, capacity: usize) -> Self {
        Self {
            links: Links::new(devices),
            addresses: HashSet::new(),
            table: HashMap::new(),
            hops: Hops::new(),
            watched: HashMap::new(),
            capacity,
            to_ask: VecDeque::new(),
            asked: 0,
            round_at: None,
            last_round: Timestamp::ZERO,
            complete: false,
            actions: VecDeque::new(),
            counts: NeighbourCounts::default(),
        }
    }

    /// Watches a query until [`Self::forget`]. Asking again repeats the answer.
    pub fn resolve(&mut self, query: NextHopQuery) {
        if let Some(watch) = self.watched.get(&query) {
            if let Some(answer) = watch.answer {
                self.actions.push_back(Action::Answer(query, answer));
            }
            return;
        }
        if let Some(why) = self.refusal(&query) {
            let answer = NextHop::Unreachable(why);
            self.actions.push_back(Action::Answer(query, answer));
            return;
        }
        self.watched.insert(query, Watch::default());
        self.ask(query);
    }

    /// Nobody needs the answer any more.
    pub fn forget(&mut self, query: &NextHopQuery) {
        if let Some(watch) = self.watched.remove(query)
            && let Some(hop) = watch.hop
        {
            self.hops.leave(hop, query);
        }
    }

    /// The kernel begins anew: what it told before no longer counts. Answers stand until
    /// [`Self::told_everything`].
    pub fn begin_again(&mut self) {
        self.links.clear();
        self.addresses.clear();
        self.table.clear();
        self.complete = false;
    }

    /// The kernel has told all of its links, addresses and neighbours.
    pub fn told_everything(&mut self, now: Timestamp) {
        self.complete = true;
        for key in self.hops.keys() {
            match self.table.get(&key) {
                Some(state) => {
                    self.hops.learn(key, *state, now);
                }
                None => self.hops.forgotten(key, now),
            }
        }
        self.ask_all();
        self.evaluate_all(now);
    }

    /// The host's network has changed.
    pub fn change(&mut self, change: Change, now: Timestamp) {
        match change {
            Change::Link(link) => {
                let index = link.index;
                if self.links.set(link) {
                    self.routing_changed(now);
                    self.look_again(index, now);
                    self.evaluate_all(now);
                }
            }
            Change::LinkGone(index) => {
                if self.links.remove(index) {
                    self.routing_changed(now);
                    self.evaluate_all(now);
                }
            }
            Change::Address(link, address) => {
                if self.addresses.insert((link, address)) {
                    self.routing_changed(now);
                }
            }
            Change::AddressGone(link, address) => {
                if self.addresses.remove(&(link, address)) {
                    self.routing_changed(now);
                    self.evaluate_all(now);
                }
            }
            Change::Neighbour {
                link,
                address,
                state,
            } => {
                let key = (link, address);
                self.table.insert(key, state);
                if self.hops.learn(key, state, now) {
                    self.evaluate_users(key, now);
                }
            }
            Change::NeighbourGone { link, address } => {
                self.table.remove(&(link, address));
                self.hops.forgotten((link, address), now);
            }
            Change::Routing => self.routing_changed(now),
        }
    }

    /// The kernel's routing decision for a query that [`Action::AskRoute`] asked.
    pub fn route(&mut self, query: NextHopQuery, route: RouteAnswer, now: Timestamp) {
        self.asked = self.asked.saturating_sub(1);
        if let Some(watch) = self.watched.get_mut(&query) {
            watch.route = Some(route);
            self.evaluate(query, now);
        }
    }

    /// Routing decisions that were asked for will not come: they are asked for again, after a pause.
    pub fn routes_lost(&mut self, now: Timestamp) {
        self.asked = 0;
        self.routing_changed(now);
    }

    /// When [`Self::on_time`] is to be called.
    pub fn deadline(&self) -> Option<Timestamp> {
        [self.round_at, self.hops.deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Does what is due.
    pub fn on_time(&mut self, now: Timestamp) {
        if self.round_at.is_some_and(|at| at <= now) {
            self.round_at = None;
            self.last_round = now;
            self.ask_all();
        }
        while let Some(((link, _), query)) = self.hops.solicit(now) {
            self.counts.solicitations += 1;
            self.actions.push_back(Action::Solicit { query, link });
        }
    }

    /// Whether [`Self::poll`] has something to give.
    pub fn has_work(&self) -> bool {
        !self.actions.is_empty() || (self.asked < ASKED_AT_A_TIME && !self.to_ask.is_empty())
    }

    /// The next thing to do outside.
    pub fn poll(&mut self) -> Option<Action> {
        if let Some(action) = self.actions.pop_front() {
            return Some(action);
        }
        while self.asked < ASKED_AT_A_TIME {
            let query = self.to_ask.pop_front()?;
            let Some(watch) = self.watched.get_mut(&query) else {
                continue;
            };
            watch.queued = false;
            self.asked += 1;
            return Some(Action::AskRoute(query));
        }
        None
    }

    /// What is held and what was done.
    pub fn counts(&self) -> NeighbourCounts {
        NeighbourCounts {
            watched: self.watched.len(),
            ..self.counts
        }
    }

    /// The last answer to every watched query, in the order of the queries; `None` while it is being
    /// resolved.
    pub fn answers(&self) -> Vec<(NextHopQuery, Option<NextHop>)> {
        let mut answers: Vec<_> = self
            .watched
            .iter()
            .map(|(query, watch)| (*query, watch.answer))
            .collect();
        answers.sort_by_key(|(query, _)| *query);
        answers
    }

    /// Why a query is not even watched.
    fn refusal(&mut self, query: &NextHopQuery) -> Option<Unreachable> {
        if query.destination.is_ipv4() != query.source.is_ipv4() {
            return Some(Unreachable::BadSource);
        }
        if !is_unicast(query.destination) {
            return Some(Unreachable::NotUnicast);
        }
        if self.watched.len() >= self.capacity {
            self.counts.refused += 1;
            return Some(Unreachable::TooMany);
        }
        None
    }

    /// A link is not what it was: its hops that the kernel has forgotten are solicited at once.
    fn look_again(&mut self, link: u32, now: Timestamp) {
        for key in self.hops.keys() {
            if key.0 == link && !self.table.contains_key(&key) {
                self.hops.forgotten(key, now);
            }
        }
    }

    fn routing_changed(&mut self, now: Timestamp) {
        let at = (now + SETTLING).max(self.last_round + LEAST_BETWEEN_ROUNDS);
        self.round_at.get_or_insert(at);
    }

    fn ask(&mut self, query: NextHopQuery) {
        if let Some(watch) = self.watched.get_mut(&query)
            && !watch.queued
        {
            watch.queued = true;
            self.to_ask.push_back(query);
        }
    }

    fn ask_all(&mut self) {
        let queries: Vec<_> = self.watched.keys().copied().collect();
        for query in queries {
            self.ask(query);
        }
    }

    fn evaluate_all(&mut self, now: Timestamp) {
        let queries: Vec<_> = self.watched.keys().copied().collect();
        for query in queries {
            self.evaluate(query, now);
        }
    }

    fn evaluate_users(&mut self, key: HopKey, now: Timestamp) {
        for query in self.hops.users(key) {
            self.evaluate(query, now);
        }
    }

    /// Works the answer out anew, and says it when it is another one.
    fn evaluate(&mut self, query: NextHopQuery, now: Timestamp) {
        if !self.complete {
            return;
        }
        let Some(answer) = self.find(query, now) else {
            return;
        };
        let Some(watch) = self.watched.get_mut(&query) else {
            return;
        };
        let before = watch.answer.replace(answer);
        if before != Some(answer) {
            self.counts.changes += u64::from(before.is_some());
            self.actions.push_back(Action::Answer(query, answer));
        }
    }

    /// The answer as things stand; `None` while it is open. An answer that was given stands until then:
    /// a route that moves to a router not yet resolved interrupts nothing.
    fn find(&mut self, query: NextHopQuery, now: Timestamp) -> Option<NextHop> {
        let decision = self.watched.get(&query)?.route?;
        let known_source = self
            .addresses
            .iter()
            .any(|(_, address)| *address == query.source);
        let way = match decision {
            _ if !known_source => Err(Unreachable::BadSource),
            Ok(route) => self.links.way(route.link).map(|way| (route, way)),
            Err(why) => Err(why),
        };
        let (route, way) = match way {
            Ok(found) => found,
            Err(why) => {
                // A carrier that comes back finds the hop, and its MAC address, as it was.
                if why != Unreachable::LinkDown {
                    self.move_to(query, None, now);
                }
                return Some(NextHop::Unreachable(why));
            }
        };
        let key = (route.link, route.gateway.unwrap_or(query.destination));
        let mtu = route.mtu.map_or(way.mtu, |path| path.min(way.mtu));
        let mac = match self.fixed_mac(key, &way) {
            Some(mac) => {
                self.move_to(query, None, now);
                mac
            }
            None => {
                self.move_to(query, Some(key), now);
                match self.hops.mac(key) {
                    Some(mac) => mac,
                    None if self.hops.has_failed(key) => {
                        return Some(NextHop::Unreachable(Unreachable::NoNeighbour));
                    }
                    None => return None,
                }
            }
        };
        Some(NextHop::Resolved(Link {
            device: way.device,
            source: way.mac,
            destination: mac,
            vlan: way.vlan,
            mtu: u16::try_from(mtu).unwrap_or(u16::MAX),
        }))
    }

    /// The MAC address where nobody is asked for it (`arp_constructor`): the table's, if an operator
    /// put one there, or what the link's kind says.
    fn fixed_mac(&self, key: HopKey, way: &Way) -> Option<MacAddress> {
        let by_kind = match way.resolution {
            Resolution::Ask => return None,
            Resolution::NoArp => way.mac,
            Resolution::PointToPoint => MacAddress([0xff; 6]),
        };
        match self.table.get(&key) {
            Some(Reachability::Confirmed(mac)) => Some(*mac),
            _ => Some(by_kind),
        }
    }

    /// The query now leaves by `hop`.
    fn move_to(&mut self, query: NextHopQuery, hop: Option<HopKey>, now: Timestamp) {
        let Some(watch) = self.watched.get_mut(&query) else {
            return;
        };
        let before = watch.hop;
        if before == hop {
            return;
        }
        watch.hop = hop;
        if let Some(key) = hop {
            let entry = self.table.get(&key).copied();
            self.hops.join(key, query, entry, now);
        }
        if let Some(key) = before {
            self.hops.leave(key, &query);
        }
    }
}

fn is_unicast(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    !(broadcast || address.is_multicast() || address.is_unspecified())
}

#[cfg(test)]
mod tests;
