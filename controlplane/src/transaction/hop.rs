//! Over what a message travels: what our Via says, whether the transport repeats what gets lost, and
//! when a request is too large for datagrams (RFC 3261 §18.1.1).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use contract::Timestamp;

use super::{Path, Transactions};
use crate::settings::{Listener, ListenerId, Transport};
use crate::sip::typed::{self, Via};
use crate::sip::{HeaderName, Message};

/// The largest request that goes by datagram, in bytes: within 200 bytes of a path MTU that is not known
/// (RFC 3261 §18.1.1). Larger ones are cut into fragments, which NATs and firewalls like to lose.
pub(super) const LARGEST_BY_DATAGRAM: usize = 1300;
/// How long a peer that took no connection is sent large requests by datagram at once. Shorter costs each
/// large INVITE the failed attempt; longer is late to notice that the peer has learnt it.
const REFUSAL_HOLDS: Duration = Duration::from_secs(300);
/// Peers whose refusal is remembered.
const REFUSALS: usize = 1024;

/// A listener, as this layer sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// What it speaks.
    pub transport: Transport,
    /// What its Via says.
    pub announced: SocketAddr,
    /// The listener that takes what is too large for this one: one of TCP at the same address.
    pub for_large: Option<ListenerId>,
}

impl Hop {
    /// A listener of its own.
    pub const fn new(transport: Transport, announced: SocketAddr) -> Self {
        Self {
            transport,
            announced,
            for_large: None,
        }
    }

    /// Every listener, by [`ListenerId`].
    pub fn all(listeners: &[Listener]) -> Vec<Self> {
        let hop = |listener: &Listener| Self {
            for_large: match listener.transport {
                Transport::Udp => stream_at(listeners, listener.address),
                Transport::Tcp | Transport::Tls => None,
            },
            ..Self::new(listener.transport, listener.announced())
        };
        listeners.iter().map(hop).collect()
    }
}

/// The TCP listener at this address, one with the same port first.
fn stream_at(listeners: &[Listener], address: SocketAddr) -> Option<ListenerId> {
    let streams = || {
        (0..)
            .map(ListenerId)
            .zip(listeners)
            .filter(|(_, each)| each.transport == Transport::Tcp)
            .map(|(id, each)| (id, each.address))
    };
    let same = streams().find(|(_, other)| *other == address);
    let beside = || streams().find(|(_, other)| other.ip() == address.ip());
    same.or_else(beside).map(|(id, _)| id)
}

/// Peers that took no connection, and until when that is believed.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    until: HashMap<Path, Timestamp>,
}

impl Refusals {
    /// Notes that nothing was to be had at the path. When full, what has run out goes first, then all.
    pub(super) fn note(&mut self, now: Timestamp, path: Path) {
        if self.until.len() >= REFUSALS {
            self.until.retain(|_, until| *until > now);
        }
        if self.until.len() >= REFUSALS {
            self.until.clear();
        }
        self.until.insert(path, now + REFUSAL_HOLDS);
    }

    fn holds(&self, now: Timestamp, path: Path) -> bool {
        self.until.get(&path).is_some_and(|until| *until > now)
    }
}

impl Transactions {
    /// What a listener speaks.
    pub(super) fn transport_of(&self, listener: ListenerId) -> Transport {
        let hop = self.config.listeners.get(usize::from(listener.0));
        hop.map_or(Transport::Udp, |hop| hop.transport)
    }

    pub(super) fn is_reliable(&self, path: Path) -> bool {
        self.transport_of(path.listener).is_reliable()
    }

    /// The path of a request that is too large for `path`, if there is one; `size` is without our Via.
    pub(super) fn path_for_large(&self, now: Timestamp, path: Path, size: usize) -> Option<Path> {
        /// Our Via, at the most: an IPv6 address, a branch of 42 characters.
        const VIA: usize = 140;
        if size + VIA <= LARGEST_BY_DATAGRAM {
            return None;
        }
        let hop = self.config.listeners.get(usize::from(path.listener.0))?;
        let large = Path::to(hop.for_large?, path.remote);
        (!self.refusals.holds(now, large)).then_some(large)
    }

    /// Our Via for a request on this path; `None` if there is no such listener. Over TLS the other side may
    /// send its own requests back over the connection (RFC 5923 §5).
    pub(super) fn our_via(&self, path: Path, branch: &str) -> Option<Via> {
        let hop = self.config.listeners.get(usize::from(path.listener.0))?;
        let transport = match hop.transport {
            Transport::Udp => typed::Transport::Udp,
            Transport::Tcp => typed::Transport::Tcp,
            Transport::Tls => typed::Transport::Tls,
        };
        let mut via = Via::new(transport, hop.announced, branch);
        if hop.transport == Transport::Tls {
            via.params.set("alias", None);
        }
        Some(via)
    }

    /// Makes a request that was meant for one path one for another: the same branch in another Via.
    pub(super) fn redirect(&self, request: &mut Message, path: Path, branch: &str) {
        if let Some(via) = self.our_via(path, branch) {
            request
                .headers
                .replace_first(&HeaderName::Via, via.to_string());
        }
    }

    /// Where responses to a request go, by its Via with the source noted (RFC 3261 §18.2.2): over a stream
    /// to where the request came from and, if that connection is gone, to sent-by's port at the same
    /// address.
    pub(super) fn way_back(&self, path: Path, via: &Via) -> (Path, Option<SocketAddr>) {
        let transport = self.transport_of(path.listener);
        if transport.is_reliable() {
            let port = via.port.unwrap_or_else(|| transport.default_port());
            return (path, Some(SocketAddr::new(path.remote.ip(), port)));
        }
        let remote = via.response_address().unwrap_or(path.remote);
        (Path { remote, ..path }, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_large_goes_by_the_stream_of_the_same_address() {
        let listener = |address: &str, transport| {
            Listener::new("l", address.parse().expect("an address")).over(transport)
        };
        let hops = Hop::all(&[
            listener("10.0.0.1:5060", Transport::Udp),
            listener("10.0.0.2:5060", Transport::Udp),
            listener("10.0.0.1:5062", Transport::Tcp),
            listener("10.0.0.1:5060", Transport::Tcp),
            listener("10.0.0.2:5061", Transport::Tls),
            listener("10.0.0.1:5066", Transport::Udp),
        ]);
        let large: Vec<_> = hops.iter().map(|hop| hop.for_large).collect();
        let (same, beside) = (Some(ListenerId(3)), Some(ListenerId(2)));
        assert_eq!(large, [same, None, None, None, None, beside]);
    }

    #[test]
    fn refusals_are_bounded_and_run_out() {
        let path = |port| Path::to(ListenerId(0), SocketAddr::from(([10, 0, 0, 1], port)));
        let mut refusals = Refusals::default();
        let now = Timestamp::from_nanos(1);
        refusals.note(now, path(1));
        assert!(refusals.holds(now, path(1)) && !refusals.holds(now, path(2)));
        assert!(!refusals.holds(now + REFUSAL_HOLDS, path(1)));
        for port in 0..2 * REFUSALS {
            refusals.note(now, path(u16::try_from(port).expect("a port")));
        }
        assert!(refusals.until.len() <= REFUSALS);
    }
}
