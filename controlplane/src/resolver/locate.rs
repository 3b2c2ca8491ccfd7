//! Locating SIP servers (RFC 3263 §4): from a name, through NAPTR, SRV and addresses, to the places to
//! try.
//!
//! ```text
//!   name ── no port, no transport ──► NAPTR ──► SRV of each service that it names ─┐
//!    │                                  └ none ► SRV of each transport that we have ┤
//!    ├── a transport, no port ─────────────────► SRV of that transport ─────────────┤
//!    │                                             └ none ► default port ┐          ▼
//!    └── a port ────────────────────────────────────────────────────────►└──► A and AAAA
//! ```
//!
//! A pure function over what is known of the questions: it says what it found so far and which questions
//! it leads to. Whoever drives it asks these and calls it again.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use rand::Rng;
use rand::seq::SliceRandom;

use super::destination::{of_naptr, service_of};
use super::record::{Data, Pointer, Question, RecordType, Service};
use super::select::{Weighed, in_order};
use super::{Destination, DomainName, Family, Location, Ways};
use crate::settings::Transport;

/// Servers of one destination whose addresses are asked for. A carrier has a dozen; what is beyond this is
/// left out.
const MOST_SERVERS: usize = 32;

/// What is known of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Knowledge {
    /// These records; none when there are none.
    Records(Vec<Data>),
    /// Nobody would say, and it is too early to ask again.
    Failed,
    /// This has to be asked: the question itself, or that of its last alias.
    Unasked(Question),
}

/// What a walk through the records came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Walk {
    /// Where to send, as far as it is known.
    pub(super) plan: Plan,
    /// Every question that was looked at.
    pub(super) questions: BTreeSet<Question>,
    /// Those of them that have to be asked: the plan is not whole without.
    pub(super) unasked: BTreeSet<Question>,
    /// Some question failed.
    pub(super) failed: bool,
}

/// The servers of a destination: what the order of trying is drawn from, anew for each call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    services: Vec<Offered>,
}

/// A service over one transport. All servers of one are tried before those of the next.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Offered {
    transport: Transport,
    servers: Vec<Server>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Server {
    priority: u16,
    weight: u16,
    port: u16,
    /// The preferred family first.
    addresses: Vec<Vec<IpAddr>>,
}

impl Weighed for Server {
    fn priority(&self) -> u16 {
        self.priority
    }

    fn weight(&self) -> u16 {
        self.weight
    }
}

impl Plan {
    /// Without any server.
    pub const fn new() -> Self {
        Self {
            services: Vec::new(),
        }
    }

    /// The places to try, in an order drawn by priority and weight; addresses of one server and family
    /// take turns, since a set has no order. Each place once.
    pub fn order(&self, rng: &mut impl Rng) -> Vec<Location> {
        let mut order: Vec<Location> = Vec::new();
        for service in &self.services {
            for mut server in in_order(service.servers.clone(), rng) {
                for family in &mut server.addresses {
                    family.shuffle(rng);
                }
                for address in server.addresses.into_iter().flatten() {
                    let location = Location {
                        transport: service.transport,
                        address: SocketAddr::new(address, server.port),
                    };
                    if !order.contains(&location) {
                        order.push(location);
                    }
                }
            }
        }
        order
    }

    /// Every place, in no order that means anything.
    pub fn locations(&self) -> impl Iterator<Item = Location> {
        self.services.iter().flat_map(|service| {
            service.servers.iter().flat_map(move |server| {
                let addresses = server.addresses.iter().flatten();
                addresses.map(move |&address| Location {
                    transport: service.transport,
                    address: SocketAddr::new(address, server.port),
                })
            })
        })
    }

    /// Whether a server has this address.
    pub fn holds(&self, address: IpAddr) -> bool {
        self.locations()
            .any(|location| location.address.ip() == address)
    }

    /// Whether there is no place to try.
    pub fn is_empty(&self) -> bool {
        self.locations().next().is_none()
    }
}

/// Walks from a destination as far as what is known leads.
pub(super) fn walk(
    destination: &Destination,
    ways: &Ways,
    know: impl FnMut(&Question, &mut BTreeSet<Question>) -> Knowledge,
) -> Walk {
    let mut walker = Walker {
        ways,
        know,
        walk: Walk::default(),
    };
    walker.start(destination);
    walker.walk
}

struct Walker<'a, K> {
    ways: &'a Ways,
    know: K,
    walk: Walk,
}

impl<K: FnMut(&Question, &mut BTreeSet<Question>) -> Knowledge> Walker<'_, K> {
    fn start(&mut self, destination: &Destination) {
        let usable = self.usable(destination);
        // Without a service there is nothing that says how: UDP before TCP before TLS.
        let plain = usable.iter().copied().min();
        if let Some(port) = destination.port {
            return self.reach_host(&destination.host, plain, Some(port));
        }
        if destination.transport.is_none() {
            let pointers = self.pointers(&destination.host, &usable);
            if !pointers.is_empty() {
                for (transport, name) in pointers {
                    self.reach_service(transport, name);
                }
                return;
            }
            if !self.walk.unasked.is_empty() {
                return;
            }
        }
        let mut offered = false;
        for &transport in &usable {
            let name = destination.host.with_prefix(service_of(transport));
            offered |= name.is_some_and(|name| self.reach_service(transport, name));
        }
        if !offered && self.walk.unasked.is_empty() {
            self.reach_host(&destination.host, plain, None);
        }
    }

    /// The transports that will do, the preferred first.
    fn usable(&self, destination: &Destination) -> Vec<Transport> {
        let mut usable = self.ways.transports();
        match (destination.secure, destination.transport) {
            (true, _) => usable.retain(|each| *each == Transport::Tls),
            (false, Some(wanted)) => usable.retain(|each| *each == wanted),
            (false, None) => {}
        }
        usable
    }

    /// The services that NAPTR names and that we can use: of the lowest order that has some, by preference.
    fn pointers(
        &mut self,
        host: &DomainName,
        usable: &[Transport],
    ) -> Vec<(Transport, DomainName)> {
        let records = self.look(host.clone(), RecordType::Naptr);
        let usable = |pointer: &Pointer| {
            of_naptr(&pointer.service).filter(|transport| usable.contains(transport))
        };
        let fits = |pointer: &Pointer| {
            pointer.flags == "s" && !pointer.has_regexp && !pointer.replacement.is_root()
        };
        let mut pointers: Vec<(Transport, Pointer)> = records
            .into_iter()
            .filter_map(|data| match data {
                Data::Pointer(pointer) if fits(&pointer) => Some((usable(&pointer)?, pointer)),
                _ => None,
            })
            .collect();
        pointers.sort_by_key(|(_, pointer)| (pointer.order, pointer.preference));
        let first = pointers.first().map(|(_, pointer)| pointer.order);
        pointers
            .into_iter()
            .take_while(|(_, pointer)| Some(pointer.order) == first)
            .map(|(transport, pointer)| (transport, pointer.replacement))
            .collect()
    }

    /// The servers of a service. Says whether it has SRV records, also one that says there is none.
    fn reach_service(&mut self, transport: Transport, name: DomainName) -> bool {
        let mut services: Vec<Service> = self
            .look(name, RecordType::Srv)
            .into_iter()
            .filter_map(|data| match data {
                Data::Service(service) => Some(service),
                _ => None,
            })
            .collect();
        if services.is_empty() {
            return false;
        }
        services.retain(|service| !service.target.is_root());
        // The lowest priorities are kept.
        services.sort_by_key(|service| service.priority);
        services.truncate(MOST_SERVERS);
        let servers = services.into_iter().map(|service| Server {
            priority: service.priority,
            weight: service.weight,
            port: service.port,
            addresses: self.addresses(&service.target, transport),
        });
        let servers = servers.collect();
        self.offer(transport, servers);
        true
    }

    /// The host itself, without SRV.
    fn reach_host(&mut self, host: &DomainName, transport: Option<Transport>, port: Option<u16>) {
        let Some(transport) = transport else {
            return;
        };
        let server = Server {
            priority: 0,
            weight: 0,
            port: port.unwrap_or(transport.default_port()),
            addresses: self.addresses(host, transport),
        };
        self.offer(transport, vec![server]);
    }

    fn offer(&mut self, transport: Transport, servers: Vec<Server>) {
        self.walk.plan.services.push(Offered { transport, servers });
    }

    fn addresses(&mut self, host: &DomainName, transport: Transport) -> Vec<Vec<IpAddr>> {
        let families: Vec<Family> = self.ways.families(transport).collect();
        let of_family = |family| {
            let kind = match family {
                Family::V4 => RecordType::A,
                Family::V6 => RecordType::Aaaa,
            };
            let records = self.look(host.clone(), kind).into_iter();
            let addresses = records.filter_map(|data| match data {
                Data::Address(address) => Some(address),
                _ => None,
            });
            addresses.collect()
        };
        families.into_iter().map(of_family).collect()
    }

    fn look(&mut self, name: DomainName, kind: RecordType) -> Vec<Data> {
        let question = Question { name, kind };
        match (self.know)(&question, &mut self.walk.questions) {
            Knowledge::Records(records) => records,
            Knowledge::Failed => {
                self.walk.failed = true;
                Vec::new()
            }
            Knowledge::Unasked(question) => {
                self.walk.unasked.insert(question);
                Vec::new()
            }
        }
    }
}

#[cfg(test)]
mod tests;
