//! Whether two pipelines on two cores do twice the work of one: nothing is shared, so nothing but the machine's
//! own caches and memory may hold them back.
//!
//! Rounds of one alone and of both at a time, by turns, so that whatever else the machine does disturbs both
//! alike. Each thread is pinned, and makes its own tables.

#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use dataplane::port::BATCH;
use tandem_benches::{Scene, Shape};

const USAGE: &str = "usage: cargo bench -p tandem-benches --bench parallel -- [--json]";
const FLOWS: [usize; 2] = [1_000, 400_000];
const ROUNDS: usize = 9;
/// How long a turn lasts.
const TURN: Duration = Duration::from_millis(200);

/// Packets a second of one alone, and of both together.
type Round = (f64, f64);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|each| each == "--help") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let json = arguments.iter().any(|each| each == "--json");
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let &[one, two, ..] = cores.as_slice() else {
        eprintln!("parallel: needs two cores");
        return ExitCode::FAILURE;
    };
    for flows in FLOWS {
        let mut rounds = measure(flows, [one, two]);
        rounds.sort_by(|a, b| (a.1 / a.0).total_cmp(&(b.1 / b.0)));
        let ratio = |round: Option<&Round>| round.map_or(0.0, |(one, both)| both / one);
        let (least, median, most) = (
            ratio(rounds.first()),
            ratio(rounds.get(ROUNDS / 2)),
            ratio(rounds.last()),
        );
        let (alone, both) = rounds[ROUNDS / 2];
        if json {
            println!(
                "{{\"bench\":\"parallel\",\"flows\":{flows},\"rounds\":{ROUNDS},\"one_pps\":{alone:.0},\
                 \"both_pps\":{both:.0},\"ratio\":{{\"min\":{least:.3},\"median\":{median:.3},\"max\":{most:.3}}}}}"
            );
        } else {
            println!(
                "{flows:>7} flows each: one {:.1} Mpps, both {:.1} Mpps, {median:.2} times ({least:.2} to {most:.2} \
                 in {ROUNDS} rounds)",
                alone / 1e6,
                both / 1e6
            );
        }
    }
    ExitCode::SUCCESS
}

fn measure(flows: usize, cores: [core_affinity::CoreId; 2]) -> Vec<Round> {
    let barrier = Barrier::new(2);
    thread::scope(|scope| {
        let second = scope.spawn(|| {
            core_affinity::set_for_current(cores[1]);
            let mut scene = Scene::new(flows, Shape::PLAIN, 2);
            let turn = |scene: &mut Scene| {
                barrier.wait();
                // The first one's turn alone.
                barrier.wait();
                let rate = turn(scene);
                barrier.wait();
                rate
            };
            (0..ROUNDS).map(|_| turn(&mut scene)).collect::<Vec<_>>()
        });
        core_affinity::set_for_current(cores[0]);
        let mut scene = Scene::new(flows, Shape::PLAIN, 2);
        let mut firsts = Vec::new();
        for _ in 0..ROUNDS {
            barrier.wait();
            let alone = turn(&mut scene);
            barrier.wait();
            let beside = turn(&mut scene);
            barrier.wait();
            firsts.push((alone, beside));
        }
        let seconds = second.join().expect("a benchmark's thread");
        let rounds = firsts.into_iter().zip(seconds);
        rounds
            .map(|((alone, beside), second)| (alone, beside + second))
            .collect()
    })
}

/// Packets a second by the median batch, the making of the packets apart: what interrupts a batch, another
/// process for one, does not count.
fn turn(scene: &mut Scene) -> f64 {
    let begin = Instant::now();
    let mut spent = Vec::new();
    while begin.elapsed() < TURN {
        scene.prepare(false);
        for _ in 0..2 {
            let start = Instant::now();
            scene.process();
            spent.push(start.elapsed());
            scene.next_batch();
        }
    }
    let middle = spent.len() / 2;
    let (_, median, _) = spent.select_nth_unstable(middle);
    BATCH as f64 / median.as_secs_f64()
}
