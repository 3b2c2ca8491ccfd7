//! Which peer of a trunk is called first: by priority, and by chance among equals (RFC 2782's rule for SRV
//! records).

use rand::RngExt;
use rand::rngs::StdRng;

/// A peer's place among the peers of its trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rank {
    /// Lower ones first.
    pub(crate) priority: u16,
    /// The share among those of its priority.
    pub(crate) weight: u16,
}

impl Default for Rank {
    fn default() -> Self {
        Self {
            priority: 1,
            weight: 1,
        }
    }
}

/// Puts things in the order of trying: by priority, then drawn by weight without putting back. Those of weight
/// 0 come after the others of their priority, in the order in which they came.
pub(crate) fn order<T>(rng: &mut StdRng, mut ranked: Vec<(Rank, T)>) -> Vec<T> {
    ranked.sort_by_key(|(rank, _)| rank.priority);
    let mut ordered = Vec::with_capacity(ranked.len());
    while let Some((first, _)) = ranked.first() {
        let priority = first.priority;
        let equals = ranked.partition_point(|(rank, _)| rank.priority <= priority);
        let place = draw(rng, ranked.get(..equals).unwrap_or_default());
        ordered.push(ranked.remove(place).1);
    }
    ordered
}

/// The place of one of them, by weight; no draw where there is no choice.
fn draw<T>(rng: &mut StdRng, equals: &[(Rank, T)]) -> usize {
    let total: u32 = equals.iter().map(|(rank, _)| u32::from(rank.weight)).sum();
    if total == 0 || equals.len() < 2 {
        return 0;
    }
    let mut ticket = rng.random_range(0..total);
    for (place, (rank, _)) in equals.iter().enumerate() {
        match ticket.checked_sub(u32::from(rank.weight)) {
            Some(rest) => ticket = rest,
            None => return place,
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;

    fn rank(priority: u16, weight: u16) -> Rank {
        Rank { priority, weight }
    }

    #[test]
    fn priorities_go_before_weights_and_no_weight_comes_last() {
        let mut rng = StdRng::seed_from_u64(1);
        for _ in 0..100 {
            let peers = vec![
                (rank(2, 60_000), 'd'),
                (rank(1, 0), 'b'),
                (rank(1, 1), 'a'),
                (rank(1, 0), 'c'),
            ];
            assert_eq!(order(&mut rng, peers), ['a', 'b', 'c', 'd']);
        }
    }

    /// The share of each peer being first, over many draws, lies within five standard deviations of its weight's.
    #[test]
    fn shares_follow_the_weights() {
        const DRAWS: u32 = 20_000;
        let mut rng = StdRng::seed_from_u64(7);
        for weights in [vec![1, 1], vec![10, 30, 60], vec![1, 99], vec![5, 5, 5, 5]] {
            let total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
            let mut firsts = vec![0_u32; weights.len()];
            for _ in 0..DRAWS {
                let peers = weights.iter().enumerate();
                let peers = peers.map(|(place, weight)| (rank(1, *weight), place));
                let ordered = order(&mut rng, peers.collect());
                firsts[ordered[0]] += 1;
            }
            for (weight, first) in weights.iter().zip(&firsts) {
                let share = f64::from(*weight) / total;
                let expected = f64::from(DRAWS) * share;
                let deviation = (expected * (1.0 - share)).sqrt();
                let off = (f64::from(*first) - expected).abs();
                assert!(
                    off < 5.0 * deviation,
                    "{first}, not {expected}, of {weights:?}"
                );
            }
        }
    }

    proptest! {
        /// Nobody is lost and nobody comes twice; priorities never fall.
        #[test]
        fn an_order_is_a_permutation(seed: u64, ranks in prop::collection::vec((0_u16..4, 0_u16..9), 0..12)) {
            let mut rng = StdRng::seed_from_u64(seed);
            let peers: Vec<_> = ranks.iter().enumerate()
                .map(|(place, &(priority, weight))| (rank(priority, weight), place))
                .collect();
            let ordered = order(&mut rng, peers);
            let priorities: Vec<u16> = ordered.iter().map(|&place| ranks[place].0).collect();
            prop_assert!(priorities.is_sorted());
            let mut places = ordered;
            places.sort_unstable();
            prop_assert_eq!(places, (0..ranks.len()).collect::<Vec<_>>());
        }
    }
}
