//! The order among servers of one service: by priority, and by weight within a priority (RFC 2782).

use rand::seq::SliceRandom;
use rand::{Rng, RngExt};

/// What decides the order of a server.
pub(super) trait Weighed {
    /// Lower ones go first.
    fn priority(&self) -> u16;
    /// The share among those of one priority.
    fn weight(&self) -> u16;
}

/// Puts servers in the order of trying: those of the lowest priority first, and among these each next one
/// drawn with a chance that is its weight's share of what is left. A weight of 0 is drawn seldom while
/// others have some, but it is drawn.
pub(super) fn in_order<T: Weighed>(mut servers: Vec<T>, rng: &mut impl Rng) -> Vec<T> {
    let mut ordered = Vec::with_capacity(servers.len());
    // A set has no order (RFC 2181 §5): what a name server put first is not to carry it all.
    servers.shuffle(rng);
    // Weight 0 stands first, so that the draw of 0 finds it (RFC 2782, "Weight"); the sort is stable.
    servers.sort_by_key(|server| (server.priority(), server.weight() != 0));
    while let Some(priority) = servers.first().map(Weighed::priority) {
        let of_priority = servers
            .iter()
            .take_while(|each| each.priority() == priority);
        let total: u32 = of_priority.map(|server| u32::from(server.weight())).sum();
        let drawn = rng.random_range(0..=total);
        let mut sum = 0;
        let place = servers.iter().position(|server| {
            sum += u32::from(server.weight());
            sum >= drawn
        });
        ordered.push(servers.remove(place.unwrap_or(0)));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    type Server = (u16, u16, &'static str);

    impl Weighed for Server {
        fn priority(&self) -> u16 {
            self.0
        }
        fn weight(&self) -> u16 {
            self.1
        }
    }

    /// How often each comes first in so many draws.
    fn firsts(servers: &[Server], name: &str, draws: u32) -> u32 {
        let mut rng = StdRng::seed_from_u64(2782);
        let first = |_: &u32| in_order(servers.to_vec(), &mut rng)[0].2 == name;
        (0..draws).filter(first).count() as u32
    }

    #[test]
    fn a_lower_priority_always_goes_first() {
        let servers = [(20, 60_000, "c"), (10, 0, "a"), (10, 1, "b")];
        let mut rng = StdRng::seed_from_u64(1);
        for _ in 0..1000 {
            let order = in_order(servers.to_vec(), &mut rng);
            assert_eq!(order.len(), 3);
            assert_eq!(order[2].2, "c");
        }
    }

    #[test]
    fn weights_are_shares_of_the_first_try() {
        let servers = [(0, 60, "a"), (0, 30, "b"), (0, 10, "c")];
        for (name, weight) in [("a", 60.0), ("b", 30.0), ("c", 10.0)] {
            // The draw is from 0 to the sum, both included (RFC 2782): 0 goes to whoever stands first.
            let share = (weight + 1.0 / 3.0) / 101.0;
            let draws = 100_000;
            let seen = f64::from(firsts(&servers, name, draws)) / f64::from(draws);
            // Five standard deviations of a share of a half are 0.008.
            assert!((seen - share).abs() < 0.008, "{name}: {seen}, not {share}");
        }
    }

    #[test]
    fn the_second_try_is_drawn_from_what_is_left() {
        let servers = [(0, 50, "a"), (0, 30, "b"), (0, 20, "c")];
        let mut rng = StdRng::seed_from_u64(3);
        let (mut after_a, mut b) = (0_u32, 0_u32);
        for _ in 0..100_000 {
            let order = in_order(servers.to_vec(), &mut rng);
            if order[0].2 == "a" {
                after_a += 1;
                b += u32::from(order[1].2 == "b");
            }
        }
        let share = f64::from(b) / f64::from(after_a);
        assert!((share - 30.5 / 51.0).abs() < 0.01, "{share}");
    }

    #[test]
    fn without_weight_a_server_is_drawn_seldom_but_is_drawn() {
        let servers = [(0, 0, "none"), (0, 99, "all")];
        let none = firsts(&servers, "none", 100_000);
        assert!((800..1200).contains(&none), "{none} of 100000, not 1000");
        // All without weight: none is preferred.
        let alike = [(0, 0, "a"), (0, 0, "b")];
        let half = firsts(&alike, "a", 100_000);
        assert!((49_000..51_000).contains(&half), "{half} of 100000");
        let mut rng = StdRng::seed_from_u64(4);
        assert!(in_order(Vec::<Server>::new(), &mut rng).is_empty());
    }
}
