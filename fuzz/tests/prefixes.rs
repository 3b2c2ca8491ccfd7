//! A file with a million prefixes, the same at each run: what a search finds is what a map of the same prefixes says,
//! and the table stays small. How fast it is, `cargo bench -p tandem-benches --bench routing` says.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use controlplane::routing::{Prefix, TableKind, table_file};
use controlplane::settings::TrunkId;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const PREFIXES: usize = 1_000_000;
const SEARCHES: usize = 100_000;
const TRUNKS: [&str; 4] = ["a", "b", "c", "d"];

#[test]
fn a_million_prefixes_are_searched_as_a_map_is() {
    let mut rng = StdRng::seed_from_u64(4930);
    let mut expected = BTreeMap::new();
    while expected.len() < PREFIXES {
        let length = rng.random_range(1..=9_u32);
        // None begins with a zero.
        let digits = rng.random_range(10_u64.pow(length - 1)..10_u64.pow(length));
        expected.insert(digits.to_string(), rng.random_range(0..TRUNKS.len()));
    }
    let mut text = "prefix,trunks\n".to_owned();
    for (prefix, trunk) in &expected {
        writeln!(text, "{prefix},{}", TRUNKS[*trunk]).expect("a string takes all");
    }
    let trunks: HashMap<&str, TrunkId> = TRUNKS.into_iter().zip((0..).map(TrunkId)).collect();
    let table = table_file::read(TableKind::Prefixes, text.as_bytes(), &trunks)
        .expect("every line is right");
    assert_eq!(table.len(), PREFIXES);
    assert!(table.memory() < 64 << 20, "{} bytes", table.memory());

    let mut depths = [0; 10];
    for _ in 0..SEARCHES {
        let number = format!("{:012}", rng.random_range(0..1_000_000_000_000_u64));
        let longest = (1..=9)
            .rev()
            .find(|&len| expected.contains_key(&number[..len]));
        let found = table.find(Prefix::of_user(&number));
        let found: Vec<_> = found
            .iter()
            .map(|found| {
                (
                    found.prefix.map(|prefix| prefix.to_string()),
                    found.choice.trunk,
                )
            })
            .collect();
        let wanted: Vec<_> = longest
            .map(|len| {
                let prefix = number[..len].to_owned();
                let trunk = TrunkId(expected[&prefix] as u16);
                (Some(prefix), trunk)
            })
            .into_iter()
            .collect();
        assert_eq!(found, wanted, "{number}");
        depths[longest.unwrap_or(0)] += 1;
    }
    let met = |depth: usize| depths[depth] > 0;
    assert!(met(0) && (5..=9).all(met), "{depths:?}");
}
