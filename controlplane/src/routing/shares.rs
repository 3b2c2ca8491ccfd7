//! Trunks that share a place: which goes first is drawn, each as often as its weight says.

use rand::{Rng, RngExt};

use super::table::Found;

/// Puts trunks into the order of trying. Neighbours that have a weight, and the same cost, are drawn without
/// putting back: the first by the weights of all, the next by those of the rest. The others keep their places.
pub(super) fn order(found: &mut [Found], rng: &mut impl Rng) {
    let same = |one: &Found, next: &Found| {
        one.choice.weight.is_some() && next.choice.weight.is_some() && one.cost == next.cost
    };
    for run in found.chunk_by_mut(same) {
        for drawn in 0..run.len().saturating_sub(1) {
            let rest = run.get_mut(drawn..).unwrap_or_default();
            let at = draw(rest, rng);
            if at < rest.len() {
                rest.swap(0, at);
            }
        }
    }
}

fn draw(of: &[Found], rng: &mut impl Rng) -> usize {
    let weight = |found: &Found| u64::from(found.choice.weight.unwrap_or(1));
    let total: u64 = of.iter().map(weight).sum();
    let mut left = rng.random_range(0..total.max(1));
    for (at, found) in of.iter().enumerate() {
        match left.checked_sub(weight(found)) {
            Some(rest) => left = rest,
            None => return at,
        }
    }
    0
}
