//! The next hops that installed entries need, and which ports need each.

use std::collections::{BTreeSet, HashMap, VecDeque};

use contract::{FlowKey, Link};

use super::{NextHopQuery, Output};

#[derive(Debug, Default)]
pub(super) struct NextHops {
    hops: HashMap<NextHopQuery, Hop>,
    /// What each port needs, at most two.
    used: HashMap<FlowKey, Vec<NextHopQuery>>,
}

#[derive(Debug, Default)]
struct Hop {
    /// `None` until the first answer; then the link, if there is one.
    answer: Option<Option<Link>>,
    users: BTreeSet<FlowKey>,
}

impl NextHops {
    pub(super) fn len(&self) -> usize {
        self.hops.len()
    }

    /// The port needs these and no others.
    pub(super) fn use_for(
        &mut self,
        key: FlowKey,
        queries: &[NextHopQuery],
        outputs: &mut VecDeque<Output>,
    ) {
        for query in queries {
            let hop = self.hops.entry(*query).or_insert_with(|| {
                outputs.push_back(Output::Resolve(*query));
                Hop::default()
            });
            hop.users.insert(key);
        }
        let former = match queries {
            [] => self.used.remove(&key),
            _ => self.used.insert(key, queries.to_vec()),
        };
        for query in former
            .into_iter()
            .flatten()
            .filter(|query| !queries.contains(query))
        {
            let Some(hop) = self.hops.get_mut(&query) else {
                continue;
            };
            hop.users.remove(&key);
            if hop.users.is_empty() {
                self.hops.remove(&query);
                outputs.push_back(Output::Forget(query));
            }
        }
    }

    /// The ports that the answer concerns. An answer that nobody waits for concerns none.
    pub(super) fn answer(&mut self, query: NextHopQuery, link: Option<Link>) -> Vec<FlowKey> {
        match self.hops.get_mut(&query) {
            Some(hop) if hop.answer != Some(link) => {
                hop.answer = Some(link);
                hop.users.iter().copied().collect()
            }
            _ => Vec::new(),
        }
    }

    pub(super) fn link(&self, query: NextHopQuery) -> Option<Link> {
        self.hops.get(&query)?.answer?
    }

    /// Whether the links to every next hop that the port needs are known. "No way there at present" does
    /// not count: the neighbour may still be being asked.
    pub(super) fn are_known(&self, key: FlowKey) -> bool {
        let queries = self.used.get(&key).map(Vec::as_slice).unwrap_or_default();
        queries.iter().all(|query| self.link(*query).is_some())
    }
}
