//! Who is at an address, and by which of our listeners is it reached: trunks, their peers, and the names that
//! lead to some.

use std::net::SocketAddr;

use super::{NameId, Named, Role, Routing, Target};
use crate::identity::Identity;
use crate::resolver::{Destination, Family, Location, Plan, Ways};
use crate::settings::{ListenerId, Network, Peer, Server, Transport, Trunk, TrunkId};

impl Routing {
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
                .find(|(_, trunk)| trunk.addresses().any(|peer| is_it(peer.address)))
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
                let name = names.find(|name| {
                    name.role != Role::Registrar && name.plan.holds(remote.ip()) && here(name.trunk)
                });
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

    /// Whether another trunk than `owner` is called at this address from the listener.
    pub fn is_of_another(
        &self,
        owner: Option<TrunkId>,
        listener: ListenerId,
        address: SocketAddr,
    ) -> bool {
        let Some(transport) = self.transport_of(listener) else {
            return false;
        };
        let others = self
            .numbered_trunks()
            .filter(|(id, trunk)| Some(*id) != owner && trunk.listeners.contains(&listener));
        others.into_iter().any(|(id, trunk)| {
            let mut here = trunk.called().filter(|peer| peer.transport == transport);
            here.any(|peer| with_port(&peer) == address) || self.located(id).any(|at| at == address)
        })
    }

    /// Where a trunk's names lead: those of its peers, its proxy and its registrars.
    pub fn located(&self, id: TrunkId) -> impl Iterator<Item = SocketAddr> {
        let names = self.names.iter().filter(move |name| name.trunk == id);
        names.flat_map(|named| named.plan.locations().map(|place| place.address))
    }

    /// The names of peers, proxies and registrars, with the ways by which their trunks can reach them.
    pub fn names(&self) -> impl Iterator<Item = (NameId, &Destination, Ways)> {
        let names = (0..).map(NameId).zip(&self.names);
        names.map(|(id, name)| (id, &name.destination, self.ways(name.trunk)))
    }

    /// What a target's name is.
    pub fn name(&self, id: NameId) -> Option<&Destination> {
        self.names.get(id.0).map(|name| &name.destination)
    }

    /// The trunk that a name is of.
    pub fn trunk_of_name(&self, id: NameId) -> Option<TrunkId> {
        self.names.get(id.0).map(|name| name.trunk)
    }

    /// A name leads elsewhere now.
    pub fn set_plan(&mut self, id: NameId, plan: Plan) {
        if let Some(name) = self.names.get_mut(id.0) {
            name.plan = plan;
        }
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

    /// What a listener speaks.
    pub fn transport_of(&self, listener: ListenerId) -> Option<Transport> {
        let listener = self.listeners.get(usize::from(listener.0))?;
        Some(listener.transport)
    }

    /// Appends every peer of a trunk that one of its listeners reaches: addresses, and where names lead.
    pub(super) fn targets_of(
        &self,
        id: TrunkId,
        locate: &mut impl FnMut(NameId) -> Vec<Location>,
        targets: &mut Vec<Target>,
    ) {
        targets.extend(self.addresses_of(id).map(|(target, _)| target));
        for (name, ..) in self.peers_names_of(id) {
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
        let named = self.peers_names_of(id);
        let located = named.flat_map(move |(name, named, (priority, weight))| {
            named.plan.locations().filter_map(move |place| {
                let peer = Peer {
                    address: place.address,
                    transport: place.transport,
                    priority,
                    weight,
                };
                Some((self.target(id, name, &place)?, peer))
            })
        });
        self.addresses_of(id).chain(located)
    }

    /// The places that a proxy or registrar of the trunk is at, the first to be tried first, each with the listener
    /// that reaches it. `locate` orders those of a name.
    pub(crate) fn server_at(
        &self,
        trunk: TrunkId,
        server: &Server,
        locate: impl FnOnce(NameId, &Plan) -> Vec<Location>,
    ) -> Vec<(ListenerId, Location)> {
        let places = match server {
            Server::Address(peer) => vec![Location {
                transport: peer.transport,
                address: with_port(peer),
            }],
            Server::Name(destination) => {
                let mut names = (0..).map(NameId).zip(&self.names);
                let known =
                    names.find(|(_, name)| name.trunk == trunk && name.destination == *destination);
                known.map_or_else(Vec::new, |(id, name)| locate(id, &name.plan))
            }
        };
        let reached = |place: Location| Some((self.listener_to(trunk, &place)?, place));
        places.into_iter().filter_map(reached).collect()
    }

    /// The names of a trunk's peers, with their priorities and weights.
    fn peers_names_of(&self, id: TrunkId) -> impl Iterator<Item = (NameId, &Named, (u16, u16))> {
        let names = (0..).map(NameId).zip(&self.names);
        names.filter_map(move |(number, name)| match name.role {
            Role::Peer { priority, weight } if name.trunk == id => {
                Some((number, name, (priority, weight)))
            }
            _ => None,
        })
    }

    fn target(&self, trunk: TrunkId, name: NameId, place: &Location) -> Option<Target> {
        Some(Target {
            trunk,
            peer: place.address,
            listener: self.listener_to(trunk, place)?,
            name: Some(name),
            through: None,
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
                through: None,
            };
            Some((target, *peer))
        })
    }

    fn numbered_trunks(&self) -> impl Iterator<Item = (TrunkId, &Trunk)> {
        (0_u16..).map(TrunkId).zip(&self.trunks)
    }
}

fn with_port(peer: &Peer) -> SocketAddr {
    match peer.address.port() {
        0 => SocketAddr::new(peer.address.ip(), peer.transport.default_port()),
        _ => peer.address,
    }
}
