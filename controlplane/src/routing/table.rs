//! What the prefixes of a number lead to: trunks in an order, or trunks by their rates.
//!
//! Made by `table_file` from a file, and shared: a table of a million prefixes is not copied. Refuses to
//! know which trunks are well.

use std::sync::Arc;

use super::cost::Cost;
use super::prefixes::{Prefix, Prefixes};
use crate::settings::{Choice, TrunkId};

/// What kind of table a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableKind {
    /// The longest prefix decides, and names its trunks in order.
    Prefixes,
    /// Each trunk has a rate for the longest of its own prefixes; the cheapest comes first.
    Rates,
}

/// Prefixes and what they lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteTable {
    kind: TableKind,
    prefixes: Prefixes,
    /// Those of one prefix side by side, the last marked.
    offers: Vec<Offer>,
    prefix_count: usize,
}

/// A trunk that a prefix leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) cost: Cost,
    pub(super) trunk: TrunkId,
    /// 0: none.
    pub(super) weight: u16,
    /// Whether no other of the same prefix follows.
    pub(super) is_last: bool,
}

/// A trunk that a table gives for a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The trunk, and its share among those beside it.
    pub choice: Choice,
    /// The prefix that it is for; `None` without a table.
    pub prefix: Option<Prefix>,
    /// Its rate; `None` in a table without rates.
    pub cost: Option<Cost>,
}

impl From<Choice> for Found {
    fn from(choice: Choice) -> Self {
        Self {
            choice,
            prefix: None,
            cost: None,
        }
    }
}

impl RouteTable {
    /// A table of offers, sorted by prefix, those of one prefix in the order of trying.
    pub(super) fn of_sorted(kind: TableKind, rows: &[(Prefix, Offer)]) -> Arc<Self> {
        let mut offers: Vec<Offer> = Vec::with_capacity(rows.len());
        let mut entries: Vec<(Prefix, u32)> = Vec::new();
        for (prefix, offer) in rows {
            if entries.last().is_none_or(|(last, _)| last != prefix) {
                if let Some(last) = offers.last_mut() {
                    last.is_last = true;
                }
                let at = u32::try_from(offers.len()).unwrap_or(u32::MAX - 1);
                entries.push((*prefix, at));
            }
            offers.push(*offer);
        }
        if let Some(last) = offers.last_mut() {
            last.is_last = true;
        }
        Arc::new(Self {
            kind,
            prefixes: Prefixes::of_sorted(&entries),
            offers,
            prefix_count: entries.len(),
        })
    }

    /// What kind of table it is.
    pub const fn kind(&self) -> TableKind {
        self.kind
    }

    /// How many prefixes are in it.
    pub const fn len(&self) -> usize {
        self.prefix_count
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.prefix_count == 0
    }

    /// What the table occupies, in bytes.
    pub fn memory(&self) -> usize {
        self.prefixes.memory() + self.offers.capacity() * size_of::<Offer>()
    }

    /// The trunks that a number may go to. By prefixes: those of the longest. By rates: each trunk at the rate
    /// of its own longest prefix, the cheapest first, and of equal ones in the file's order.
    pub fn find(&self, number: Prefix) -> Vec<Found> {
        match self.kind {
            TableKind::Prefixes => match self.prefixes.longest(number) {
                Some((len, at)) => self.offers_at(number, len, at).collect(),
                None => Vec::new(),
            },
            TableKind::Rates => self.find_rates(number),
        }
    }

    fn find_rates(&self, number: Prefix) -> Vec<Found> {
        let mut found: Vec<Found> = Vec::new();
        let matches: Vec<_> = self.prefixes.of(number).collect();
        for (len, at) in matches.into_iter().rev() {
            for offer in self.offers_at(number, len, at) {
                let trunk = offer.choice.trunk;
                if found.iter().all(|known| known.choice.trunk != trunk) {
                    found.push(offer);
                }
            }
        }
        found.sort_by_key(|offer| offer.cost);
        found
    }

    fn offers_at(&self, number: Prefix, len: usize, at: u32) -> impl Iterator<Item = Found> + '_ {
        let offers = self.offers.get(at as usize..).unwrap_or_default();
        let last = offers.iter().position(|offer| offer.is_last);
        let offers = offers.get(..=last.unwrap_or(0)).unwrap_or_default();
        let prefix = number.truncated(len);
        offers.iter().map(move |offer| Found {
            choice: Choice {
                trunk: offer.trunk,
                weight: (offer.weight > 0).then_some(offer.weight),
            },
            prefix: Some(prefix),
            cost: (self.kind == TableKind::Rates).then_some(offer.cost),
        })
    }
}
