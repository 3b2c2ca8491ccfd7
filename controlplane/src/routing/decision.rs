//! What was decided of a call, and why: for the call itself, and for whoever explains it.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use rand::Rng;

use super::cost::Cost;
use super::prefixes::Prefix;
use super::shares;
use super::table::Found;
use crate::settings::{Choice, TrunkId};

/// Trunks of one decision at the most. More attempts than this would take longer than any caller waits.
pub const MOST_CANDIDATES: usize = 16;

/// Routes that are named as passed over, at the most; the rest is counted.
const MOST_PASSED_OVER: usize = 32;

/// What a decision is made from.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// Who calls.
    pub from: TrunkId,
    /// The decoded user part of the Request-URI.
    pub user: &'a str,
    /// When.
    pub at: Timestamp,
}

/// Where a call may go, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// The route that decided: its place in the settings, and its name; `None`: no route applies.
    pub route: Option<(usize, Arc<str>)>,
    /// The routes before it, and which of their conditions did not hold; 32 at the most.
    pub passed_over: Vec<PassedOver>,
    /// How many more there are.
    pub passed_over_more: usize,
    /// The trunks, in the order of trying.
    pub candidates: Vec<Candidate>,
    /// Trunks that the route names and that are not tried.
    pub skipped: Vec<Skipped>,
}

/// A route that did not apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOver {
    /// Its place in the settings.
    pub index: usize,
    /// Its name.
    pub route: Arc<str>,
    /// Which condition did not hold.
    pub why: Why,
}

/// A condition of a route that did not hold: the first of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is for another trunk's calls.
    From,
    /// Its pattern does not match the user part.
    User,
    /// Its schedule does not hold now.
    When,
    /// Its table has no prefix of the number.
    Prefix,
}

/// A trunk to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The trunk.
    pub trunk: TrunkId,
    /// The prefix that the table has for it.
    pub prefix: Option<Prefix>,
    /// Its rate, by the table.
    pub cost: Option<Cost>,
    /// Its share among its neighbours.
    pub weight: Option<u16>,
}

/// A trunk that is not tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The trunk.
    pub trunk: TrunkId,
    /// Why not.
    pub why: Skip,
}

/// Why a trunk of the route is not tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skip {
    /// It stands before in the order.
    Twice,
    /// [`MOST_CANDIDATES`] stand before.
    TooMany,
}

impl Decision {
    /// The name of the route that decided.
    pub fn route_name(&self) -> Option<&str> {
        self.route.as_ref().map(|(_, name)| &**name)
    }

    pub(super) fn pass_over(&mut self, index: usize, route: &Arc<str>, why: Why) {
        if self.passed_over.len() >= MOST_PASSED_OVER {
            self.passed_over_more += 1;
            return;
        }
        self.passed_over.push(PassedOver {
            index,
            route: route.clone(),
            why,
        });
    }

    pub(super) fn take(&mut self, mut found: Vec<Found>, rng: &mut impl Rng) {
        shares::order(&mut found, rng);
        for Found {
            choice: Choice { trunk, weight },
            prefix,
            cost,
        } in found
        {
            let mut candidates = self.candidates.iter();
            let skip = if candidates.any(|known| known.trunk == trunk) {
                Some(Skip::Twice)
            } else if self.candidates.len() >= MOST_CANDIDATES {
                Some(Skip::TooMany)
            } else {
                None
            };
            match skip {
                Some(why) => self.skipped.push(Skipped { trunk, why }),
                None => self.candidates.push(Candidate {
                    trunk,
                    prefix,
                    cost,
                    weight,
                }),
            }
        }
    }
}

impl Why {
    /// A word for it, that stays.
    pub const fn name(self) -> &'static str {
        match self {
            Self::From => "from",
            Self::User => "user",
            Self::When => "when",
            Self::Prefix => "prefix",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::From => "for another trunk's calls",
            Self::User => "the user part does not match",
            Self::When => "outside of its schedule",
            Self::Prefix => "no prefix of the number in its table",
        })
    }
}

impl Skip {
    /// A word for it, that stays.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Twice => "twice",
            Self::TooMany => "too_many",
        }
    }
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Twice => f.write_str("it is tried before"),
            Self::TooMany => write!(f, "{MOST_CANDIDATES} others are tried before"),
        }
    }
}

/// Why the candidate stands where it does.
impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = self.prefix.map(|prefix| match prefix.is_empty() {
            true => "any number".to_owned(),
            false => format!("prefix {prefix}"),
        });
        let cost = self.cost.map(|cost| format!("cost {cost}"));
        let weight = self.weight.map(|weight| format!("weight {weight}"));
        let reasons: Vec<_> = [prefix, cost, weight].into_iter().flatten().collect();
        f.write_str(&reasons.join(", "))
    }
}
