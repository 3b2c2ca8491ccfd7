//! The controller against a server with one queue, on virtual time.

use super::*;

const TARGET: Duration = Duration::from_millis(50);
const L: ListenerId = ListenerId(0);

fn at(millis: u64) -> Timestamp {
    Timestamp::ZERO + Duration::from_millis(millis)
}

/// A server with one queue: a new call costs it so long, a refusal next to nothing.
struct Plant {
    controller: Controller,
    now: u64,
    /// Work that waits, in microseconds.
    backlog: u64,
    let_in: u64,
    refused: u64,
    longest: u64,
}

impl Plant {
    const CALL: u64 = 1_000;
    const REFUSAL: u64 = 10;

    fn new() -> Self {
        Self {
            controller: Controller::new(Some(TARGET), 10),
            now: 0,
            backlog: 0,
            let_in: 0,
            refused: 0,
            longest: 0,
        }
    }

    /// So many calls a second, for so long.
    fn run(&mut self, per_second: u64, millis: u64) {
        (self.let_in, self.refused, self.longest) = (0, 0, 0);
        let end = self.now + millis;
        let mut owed = 0;
        while self.now < end {
            self.now += 1;
            let now = at(self.now);
            self.backlog = self.backlog.saturating_sub(1_000);
            owed += per_second;
            while owed >= 1_000 {
                owed -= 1_000;
                let waited = Duration::from_micros(self.backlog);
                self.controller.observe(L, waited, now);
                let shedding = self.controller.is_shedding(now);
                if !shedding {
                    self.controller.count();
                }
                let let_in = !shedding || self.controller.admit(now);
                self.let_in += u64::from(let_in);
                self.refused += u64::from(!let_in);
                self.backlog += if let_in { Self::CALL } else { Self::REFUSAL };
            }
            self.longest = self.longest.max(self.backlog);
        }
    }
}

#[test]
fn what_can_be_handled_is_never_refused() {
    let mut plant = Plant::new();
    plant.run(900, 20_000);
    assert_eq!((plant.refused, plant.controller.episodes()), (0, 0));
}

#[test]
fn a_burst_that_is_worked_off_is_no_overload() {
    let mut plant = Plant::new();
    plant.run(500, 1_000);
    plant.backlog += 90_000;
    plant.run(100, 1_000);
    assert_eq!(plant.refused, 0);
}

#[test]
fn at_three_times_the_rate_most_of_what_can_be_handled_is_let_in_and_waits_little() {
    let mut plant = Plant::new();
    plant.run(800, 2_000);
    plant.run(3_000, 3_000);
    plant.run(3_000, 20_000);
    let per_second = plant.let_in / 20;
    assert!((700..=1_000).contains(&per_second), "{per_second} a second");
    assert!(plant.longest < 200_000, "{} us", plant.longest);
    assert_eq!(plant.let_in + plant.refused, 60_000);
}

#[test]
fn it_is_over_within_five_seconds() {
    let mut plant = Plant::new();
    plant.run(3_000, 10_000);
    plant.run(800, 5_000);
    plant.run(800, 5_000);
    assert_eq!(plant.refused, 0);
    assert_eq!(plant.controller.rate_millis(at(plant.now)), 0);
    assert_eq!(plant.controller.episodes(), 1);
}

#[test]
fn a_few_are_let_in_even_when_nothing_moves() {
    let mut controller = Controller::new(Some(TARGET), 10);
    let mut let_in = 0;
    for millis in 0..20_000 {
        controller.observe(L, Duration::from_secs(2), at(millis));
        let admitted = controller.admit(at(millis));
        let_in += u32::from(admitted && millis >= 10_000);
    }
    assert!((95..=105).contains(&let_in), "{let_in}");
    assert_eq!(controller.rate_millis(at(20_000)), 10_000);
    assert_eq!(controller.rate_millis(at(22_000)), 0, "nothing came since");
}

#[test]
fn a_table_that_is_all_but_full_is_overload_too_and_off_is_off() {
    let mut controller = Controller::new(Some(TARGET), 10);
    controller.crowd(at(50));
    assert!(controller.is_shedding(at(150)));
    let mut controller = Controller::new(None, 10);
    controller.crowd(at(50));
    assert!(!controller.is_shedding(at(150)));
    assert!(controller.admit(at(150)));
}

#[test]
fn a_pause_of_the_thread_is_no_overload() {
    let mut plant = Plant::new();
    plant.run(700, 5_000);
    // Others had the core for 300 ms: all that came meanwhile has waited.
    plant.backlog += 300_000;
    plant.run(700, 5_000);
    assert_eq!((plant.refused, plant.controller.episodes()), (0, 0));
}

#[test]
fn one_interval_in_which_little_moved_does_not_set_the_rate() {
    let mut plant = Plant::new();
    plant.run(900, 5_000);
    // A queue that does not move, and hardly a call that was let in.
    let from = plant.now;
    for millis in from..from + 400 {
        plant
            .controller
            .observe(L, Duration::from_millis(200), at(millis));
    }
    plant.now += 400;
    let rate = plant.controller.rate_millis(at(plant.now));
    assert!((400_000..900_000).contains(&rate), "{rate}");
}

#[test]
fn what_may_come_at_once_follows_the_rate() {
    let mut plant = Plant::new();
    plant.run(3_000, 3_000);
    let at_once = |controller: &mut Controller, now: u64| {
        let admitted = (0..1_000).take_while(|_| controller.admit(at(now)));
        admitted.count()
    };
    // After a rest the bucket is full: a tenth of a second of the rate.
    let now = plant.now + 400;
    assert!(plant.controller.is_shedding(at(now)));
    let high = at_once(&mut plant.controller, now);
    assert!((60..=110).contains(&high), "{high}");
    for millis in now..now + 3_000 {
        plant
            .controller
            .observe(L, Duration::from_secs(2), at(millis));
        plant.controller.admit(at(millis));
    }
    let low = at_once(&mut plant.controller, now + 3_200);
    assert!(low <= 3, "{low}");
}

#[test]
fn the_rate_does_not_climb_far_beyond_what_is_asked_for() {
    let mut plant = Plant::new();
    plant.run(3_000, 3_000);
    // Calls cost nothing any more, and some are refused all the time: it cannot end.
    let from = plant.now;
    for millis in from..from + 60_000 {
        let now = at(millis);
        plant.controller.observe(L, Duration::ZERO, now);
        plant.controller.admit(now);
        if millis % 90 == 0
            && let Some(shedding) = &mut plant.controller.shedding
        {
            shedding.calm = 0;
        }
    }
    let rate = plant.controller.rate_millis(at(from + 60_000));
    // It began at 3,000: what had come until then. Without a bound it would be ten times that.
    assert!((1_900_000..=3_000_000).contains(&rate), "{rate}");
}
