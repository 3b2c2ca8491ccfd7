//! By which way calls to a trunk leave: straight to the peer, or through its outbound proxy, along the route that its
//! registrar wants (RFC 3261 §8.1.2, RFC 3608).

use crate::resolver::WatchId;
use crate::routing::{NameId, Target};
use crate::settings::{Server, Transport};
use crate::sip::typed::{Host, NameAddr, Uri};
use crate::transaction::Path;

use super::context::Context;
use super::setup::ANONYMOUS_HOST;

impl Context {
    /// Each target through every place that its trunk's proxy is at, in the order of trying. A target whose proxy is
    /// nowhere is none.
    pub(super) fn through_proxies(&mut self, targets: Vec<Target>) -> Vec<Target> {
        let Self {
            settings,
            routing,
            resolver,
            ..
        } = self;
        let ways = |target: Target| {
            let trunk = settings.trunks.get(usize::from(target.trunk.0));
            let Some(proxy) = trunk.and_then(|trunk| trunk.proxy.as_ref()) else {
                return vec![target];
            };
            let order = |name: NameId, _: &_| resolver.order(WatchId(name.0));
            let places = routing.server_at(target.trunk, proxy, order);
            let through = |(_, place)| Target {
                through: Some(place),
                ..target
            };
            places.into_iter().map(through).collect()
        };
        targets.into_iter().flat_map(ways).collect()
    }

    /// The listener and address that a call to the target is sent by and to: the proxy, or the first hop of the service
    /// route where that is a literal address, or the peer.
    pub(super) fn way_out(&self, target: Target) -> Path {
        let straight = Path::to(target.listener, target.peer);
        if let Some(place) = target.through {
            let listener = self.routing.listener_to(target.trunk, &place);
            return Path::to(listener.unwrap_or(target.listener), place.address);
        }
        let route = self.registrations.service_route(target.trunk).first();
        let hop = route.and_then(|route| route.uri.socket_addr());
        match hop.filter(|hop| hop.is_ipv4() == target.peer.is_ipv4()) {
            Some(remote) => Path { remote, ..straight },
            None => straight,
        }
    }

    /// The target as an INVITE to it knows it: at the listener that it leaves by. What becomes of it is said of the
    /// target itself.
    pub(super) fn leaving(&self, target: Target) -> Target {
        Target {
            listener: self.way_out(target).listener,
            ..target
        }
    }

    /// The Routes of a call to the target: the proxy as the configuration has it, then the service route.
    pub(super) fn routes_out(&self, target: Target) -> Vec<NameAddr> {
        let trunk = self.settings.trunks.get(usize::from(target.trunk.0));
        let proxy = trunk.and_then(|trunk| trunk.proxy.as_ref());
        let proxy = proxy.zip(target.through).and_then(|(proxy, place)| {
            let uri = match proxy {
                Server::Name(name) => format!("sip:{name};lr"),
                Server::Address(_) => match place.transport {
                    Transport::Udp => format!("sip:{};lr", place.address),
                    other => format!("sip:{};transport={};lr", place.address, other.name()),
                },
            };
            Uri::parse(uri.as_bytes()).ok()
        });
        let service = self.registrations.service_route(target.trunk);
        proxy
            .map(NameAddr::new)
            .into_iter()
            .chain(service.iter().cloned())
            .collect()
    }

    /// The host that the trunk wants to be addressed by.
    pub(super) fn domain_of(&self, target: Target) -> Option<&str> {
        let trunk = self.settings.trunks.get(usize::from(target.trunk.0))?;
        trunk.domain.as_deref()
    }
}

/// The same address at the trunk's domain, if it has one.
pub(super) fn at_domain(uri: Uri, domain: Option<&str>) -> Uri {
    domain
        .and_then(|domain| uri.at_domain(domain))
        .unwrap_or(uri)
}

/// The same name at the trunk's domain, unless it says that it wants to be at none.
pub(super) fn named_at_domain(name: NameAddr, domain: Option<&str>) -> NameAddr {
    let anonymous = matches!(
        name.uri.host(),
        Some(Host::Name(host)) if host.eq_ignore_ascii_case(ANONYMOUS_HOST)
    );
    match name.uri.is_sip() && !anonymous {
        true => NameAddr {
            uri: at_domain(name.uri, domain),
            ..name
        },
        false => name,
    }
}
