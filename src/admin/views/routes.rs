//! `tandem route`: what would become of a call.

use serde::{Deserialize, Serialize};

/// `tandem route`: what would become of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Route {
    /// The trunk that it comes from.
    pub(crate) from: String,
    /// The Request-URI that was asked about.
    pub(crate) uri: String,
    /// The user part that it is routed by.
    pub(crate) user: String,
    /// When, in UTC.
    pub(crate) at: String,
    /// The route that decides; nothing: the call would be refused with 404.
    pub(crate) route: Option<String>,
    /// The routes before it.
    pub(crate) passed_over: Vec<PassedOverRoute>,
    /// How many more there are.
    pub(crate) passed_over_more: u64,
    /// The trunks, in the order of trying.
    pub(crate) candidates: Vec<RouteCandidate>,
    /// Trunks that are not tried.
    pub(crate) skipped: Vec<SkippedTrunk>,
}

/// A route that does not apply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PassedOverRoute {
    /// Its name.
    pub(crate) route: String,
    /// The condition that does not hold: `from`, `user`, `when`, `prefix`.
    pub(crate) condition: String,
    /// The same in words.
    pub(crate) why: String,
}

/// A trunk that is tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RouteCandidate {
    /// Its name.
    pub(crate) trunk: String,
    /// The prefix that the table has for it; empty: any number.
    pub(crate) prefix: Option<String>,
    /// Its rate, a decimal number.
    pub(crate) cost: Option<String>,
    /// Its share among its neighbours.
    pub(crate) weight: Option<u16>,
    /// Its peers, in the order of trying.
    pub(crate) peers: Vec<String>,
    /// The request to the first of them, line by line, without Via and body.
    pub(crate) request: Option<Vec<String>>,
}

/// A trunk that is not tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SkippedTrunk {
    /// Its name.
    pub(crate) trunk: String,
    /// Why: `twice`, `too_many`.
    pub(crate) reason: String,
    /// The same in words.
    pub(crate) why: String,
}
