//! Which worker the packets of a local port arrive at, where that is known.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::{FlowKey, WorkerId};

/// The home of each port: the worker that the device hands its packets to.
///
/// An optimisation and no more: every worker has every flow, so that whoever believes a wrong home, or
/// knows none, loses nothing but the nearness of two legs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Homes {
    addresses: HashMap<IpAddr, Ports>,
}

/// The homes of an address's ports: 2 bytes a port.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ports {
    first: u16,
    workers: Box<[u16]>,
}

impl Homes {
    /// Says the homes of an address's ports, from `first` on. What was said of the address before is forgotten.
    pub fn set(
        &mut self,
        address: IpAddr,
        first: u16,
        workers: impl IntoIterator<Item = WorkerId>,
    ) {
        let workers = workers.into_iter().map(|worker| worker.0).collect();
        self.addresses.insert(address, Ports { first, workers });
    }

    /// The worker that packets to this port arrive at, if known.
    pub fn home(&self, key: &FlowKey) -> Option<WorkerId> {
        let ports = self.addresses.get(&key.address)?;
        let index = usize::from(key.port.checked_sub(ports.first)?);
        ports.workers.get(index).copied().map(WorkerId)
    }

    /// Whether no home is known.
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_has_the_home_that_was_said_and_no_other_has_one() {
        let mut homes = Homes::default();
        assert!(homes.is_empty());
        let key = |last, port| FlowKey {
            address: [192, 0, 2, last].into(),
            port,
        };
        homes.set(key(1, 0).address, 100, [3, 5].map(WorkerId));
        assert!(!homes.is_empty());
        assert_eq!(homes.home(&key(1, 100)), Some(WorkerId(3)));
        assert_eq!(homes.home(&key(1, 101)), Some(WorkerId(5)));
        for unknown in [key(1, 99), key(1, 102), key(2, 100)] {
            assert_eq!(homes.home(&unknown), None);
        }
    }
}
