//! Where calls go, as the configuration says it.

use std::sync::Arc;

use regex::Regex;

use super::TrunkId;
use crate::routing::{RouteTable, Schedule};

/// A routing rule.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its name in the configuration; empty when it has none.
    pub name: String,
    /// Applies to requests from this trunk; `None`: from any.
    pub from: Option<TrunkId>,
    /// Applies when the whole user part of the Request-URI matches; `None`: always.
    pub user: Option<Regex>,
    /// Applies at these times; `None`: always.
    pub when: Option<Arc<Schedule>>,
    /// Tried in order: the next on timeout, 503 or a network error.
    pub to: RouteTo,
}

/// What a rule leads to.
#[derive(Clone, Debug)]
pub enum RouteTo {
    /// These trunks. Neighbours with a weight share their place: which goes first is drawn.
    Trunks(Vec<Choice>),
    /// What a table says of the number. The rule applies only when it says something.
    Table(Arc<RouteTable>),
}

/// A trunk that a call may go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The trunk.
    pub trunk: TrunkId,
    /// Its share of the calls among its neighbours with a weight; `None`: it keeps its place.
    pub weight: Option<u16>,
}

impl From<TrunkId> for Choice {
    fn from(trunk: TrunkId) -> Self {
        Self {
            trunk,
            weight: None,
        }
    }
}

impl Route {
    /// A rule with defaults for everything that is not said here.
    pub fn new(
        from: Option<TrunkId>,
        user: Option<Regex>,
        to: impl IntoIterator<Item = TrunkId>,
    ) -> Self {
        Self {
            name: String::new(),
            from,
            user,
            when: None,
            to: RouteTo::Trunks(to.into_iter().map(Choice::from).collect()),
        }
    }
}
