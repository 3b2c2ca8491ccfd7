//! The next hops that installed entries need, and which ports need each.
//!
//! What is kept of a port is a pair of places in the lists of its hops, and in the lists its number: a hundred
//! thousand calls may all leave by one router, whose change must find them all, and each must leave the list
//! without a search.

use std::collections::{HashMap, VecDeque};

use contract::Link;
use slab::Slab;

use super::flow_map::Number;
use super::{NextHopQuery, Output};

#[derive(Debug, Default)]
pub(super) struct NextHops {
    hops: Slab<Hop>,
    by_query: HashMap<NextHopQuery, u32>,
    /// What each port needs, by its number.
    used: Vec<[Use; 2]>,
}

#[derive(Debug)]
struct Hop {
    query: NextHopQuery,
    /// `None` until the first answer; then the link, if there is one.
    answer: Option<Option<Link>>,
    users: Vec<User>,
}

/// A place in a hop's list of users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Use {
    hop: u32,
    place: u32,
}

/// A port that needs a hop, and which of its two it is.
#[derive(Clone, Copy, Debug)]
struct User {
    port: Number,
    which: u8,
}

const NO_HOP: u32 = u32::MAX;
const UNUSED: Use = Use {
    hop: NO_HOP,
    place: 0,
};

impl NextHops {
    pub(super) fn len(&self) -> usize {
        self.hops.len()
    }

    /// The port needs these, at most two, and no others.
    pub(super) fn use_for(
        &mut self,
        port: Number,
        queries: [Option<NextHopQuery>; 2],
        outputs: &mut VecDeque<Output>,
    ) {
        let place = port.0 as usize;
        if self.used.len() <= place {
            self.used.resize(place + 1, [UNUSED; 2]);
        }
        let [first, second] = queries;
        let second = second.filter(|second| first != Some(*second));
        let wanted =
            [first, second].map(|query| query.map_or(NO_HOP, |query| self.hop(query, outputs)));
        let former = self.used[place].map(|used| used.hop);
        if former == wanted {
            return;
        }
        (0..2).for_each(|which| self.leave(port, which));
        for (which, hop) in (0..).zip(wanted) {
            self.join(port, which, hop);
        }
        for hop in former {
            self.drop_if_unused(hop, outputs);
        }
    }

    /// The ports that the answer concerns. An answer that nobody waits for concerns none.
    pub(super) fn answer(&mut self, query: NextHopQuery, link: Option<Link>) -> Vec<Number> {
        let hop = self.by_query.get(&query);
        match hop.and_then(|hop| self.hops.get_mut(*hop as usize)) {
            Some(hop) if hop.answer != Some(link) => {
                hop.answer = Some(link);
                hop.users.iter().map(|user| user.port).collect()
            }
            _ => Vec::new(),
        }
    }

    pub(super) fn link(&self, query: NextHopQuery) -> Option<Link> {
        let hop = self.by_query.get(&query)?;
        self.hops.get(*hop as usize)?.answer?
    }

    /// Whether the links to every next hop that the port needs are known. "No way there at present" does
    /// not count: the neighbour may still be being asked.
    pub(super) fn are_known(&self, port: Number) -> bool {
        let used = self.used.get(port.0 as usize);
        let hops = used.into_iter().flatten().filter(|used| used.hop != NO_HOP);
        hops.map(|used| self.hops.get(used.hop as usize))
            .all(|hop| hop.is_some_and(|hop| hop.answer.flatten().is_some()))
    }

    fn hop(&mut self, query: NextHopQuery, outputs: &mut VecDeque<Output>) -> u32 {
        let hops = &mut self.hops;
        *self.by_query.entry(query).or_insert_with(|| {
            outputs.push_back(Output::Resolve(query));
            // At most two a port, of which there are fewer than 2^31.
            hops.insert(Hop {
                query,
                answer: None,
                users: Vec::new(),
            }) as u32
        })
    }

    fn join(&mut self, port: Number, which: u8, hop: u32) {
        let Some(joined) = self.hops.get_mut(hop as usize) else {
            return;
        };
        self.used[port.0 as usize][usize::from(which)] = Use {
            hop,
            place: joined.users.len() as u32,
        };
        joined.users.push(User { port, which });
    }

    fn leave(&mut self, port: Number, which: u8) {
        let used = &mut self.used[port.0 as usize][usize::from(which)];
        let Use { hop, place } = std::mem::replace(used, UNUSED);
        let Some(left) = self.hops.get_mut(hop as usize) else {
            return;
        };
        left.users.swap_remove(place as usize);
        if let Some(moved) = left.users.get(place as usize) {
            self.used[moved.port.0 as usize][usize::from(moved.which)].place = place;
        }
    }

    fn drop_if_unused(&mut self, hop: u32, outputs: &mut VecDeque<Output>) {
        let unused = |hop: &Hop| hop.users.is_empty().then_some(hop.query);
        if let Some(query) = self.hops.get(hop as usize).and_then(unused) {
            self.hops.remove(hop as usize);
            self.by_query.remove(&query);
            outputs.push_back(Output::Forget(query));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;

    fn query(last: u8) -> NextHopQuery {
        NextHopQuery {
            destination: IpAddr::from([192, 0, 2, last]),
            source: IpAddr::from([10, 0, 0, 1]),
        }
    }

    proptest! {
        /// Against the plainest oracle: what each port needs.
        #[test]
        fn every_port_is_found_by_what_it_needs(
            steps in prop::collection::vec((0_u32..12, prop::option::of(0_u8..5), prop::option::of(0_u8..5)), 1..200)
        ) {
            let mut hops = NextHops::default();
            let mut needs: BTreeMap<u32, BTreeSet<u8>> = BTreeMap::new();
            let mut watched = BTreeSet::new();
            for (port, first, second) in steps {
                let mut outputs = VecDeque::new();
                hops.use_for(Number(port), [first.map(query), second.map(query)], &mut outputs);
                needs.insert(port, first.into_iter().chain(second).collect());
                for output in outputs {
                    match output {
                        Output::Resolve(query) => prop_assert!(watched.insert(query)),
                        Output::Forget(query) => prop_assert!(watched.remove(&query)),
                        other => prop_assert!(false, "{:?}", other),
                    }
                }
                let needed: BTreeSet<_> = needs.values().flatten().map(|last| query(*last)).collect();
                prop_assert_eq!(&watched, &needed);
                prop_assert_eq!(hops.len(), needed.len());
            }
            for last in 0..5 {
                let found: BTreeSet<_> = hops.answer(query(last), None).iter().map(|port| port.0).collect();
                let users = needs.iter().filter(|(_, needs)| needs.contains(&last));
                prop_assert_eq!(found, users.map(|(port, _)| *port).collect::<BTreeSet<_>>());
            }
        }
    }
}
