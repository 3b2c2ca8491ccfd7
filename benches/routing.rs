//! What a table of a million prefixes costs: to load, to search, and to hold.
//!
//! The numbers are drawn with a seed: prefixes of five to nine digits below some two hundred country codes, and
//! numbers of twelve digits that begin with one of them. The searches of one round go all over the table, so that its
//! lower levels come from memory, as they do for calls.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write;
use std::hint::black_box;

use controlplane::routing::{Prefix, RouteTable, TableKind, table_file};
use controlplane::settings::TrunkId;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const PREFIXES: usize = 1_000_000;
const NUMBERS: usize = 65_536;
const TRUNKS: [&str; 4] = ["carrier-a", "carrier-b", "carrier-c", "carrier-d"];

fn prefixes(rng: &mut StdRng) -> Vec<String> {
    let countries: Vec<u32> = (0..200).map(|_| rng.random_range(20..=999)).collect();
    let mut found = BTreeSet::new();
    while found.len() < PREFIXES {
        let country = countries[rng.random_range(0..countries.len())];
        let length = rng.random_range(3..=6_u32);
        let rest = rng.random_range(0..10_u32.pow(length));
        found.insert(format!(
            "{country}{rest:0length$}",
            length = length as usize
        ));
    }
    found.into_iter().collect()
}

fn numbers(prefixes: &[String], rng: &mut StdRng) -> Vec<Prefix> {
    let mut number = || {
        let prefix = &prefixes[rng.random_range(0..prefixes.len())];
        let rest: u64 = rng.random_range(0..1_000_000_000_000);
        let digits = format!("{prefix}{rest:012}");
        Prefix::of_user(&digits[..12])
    };
    (0..NUMBERS).map(|_| number()).collect()
}

fn file(kind: TableKind, prefixes: &[String], rng: &mut StdRng) -> String {
    let mut text = match kind {
        TableKind::Prefixes => "prefix,trunks\n".to_owned(),
        TableKind::Rates => "prefix,trunk,cost\n".to_owned(),
    };
    for prefix in prefixes {
        let trunk = TRUNKS[rng.random_range(0..TRUNKS.len())];
        let written = match kind {
            TableKind::Prefixes => writeln!(text, "{prefix},{trunk}"),
            TableKind::Rates => {
                let cost = rng.random_range(1..100_000);
                writeln!(text, "{prefix},{trunk},0.{cost:06}")
            }
        };
        written.expect("a string takes all");
    }
    text
}

fn load(kind: TableKind, text: &str) -> std::sync::Arc<RouteTable> {
    let trunks: HashMap<&str, TrunkId> = TRUNKS.into_iter().zip((0..).map(TrunkId)).collect();
    table_file::read(kind, text.as_bytes(), &trunks).expect("the file is right")
}

fn tables(criterion: &mut Criterion) {
    let mut rng = StdRng::seed_from_u64(4930);
    let prefixes = prefixes(&mut rng);
    let numbers = numbers(&prefixes, &mut rng);
    for (kind, name) in [
        (TableKind::Prefixes, "prefixes"),
        (TableKind::Rates, "rates"),
    ] {
        let text = file(kind, &prefixes, &mut rng);
        let table = load(kind, &text);
        assert_eq!(table.len(), PREFIXES);
        println!(
            "{name}: {PREFIXES} prefixes of {} bytes occupy {} bytes",
            text.len(),
            table.memory()
        );
        let mut group = criterion.benchmark_group(name);
        group.sample_size(10);
        group.bench_function("load 1,000,000", |bencher| {
            bencher.iter_batched(
                || (),
                |()| load(kind, black_box(&text)),
                BatchSize::PerIteration,
            );
        });
        group.throughput(Throughput::Elements(NUMBERS as u64));
        group.bench_function("search 65,536 numbers", |bencher| {
            bencher.iter(|| {
                let found = numbers
                    .iter()
                    .map(|number| table.find(black_box(*number)).len());
                found.sum::<usize>()
            });
        });
        group.finish();
    }
}

criterion_group!(benches, tables);
criterion_main!(benches);
