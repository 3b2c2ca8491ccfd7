//! The loop against a simulated relay, on virtual time: a server of known capacity with a bounded queue.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::atomic::AtomicBool;

use super::{Control, Load, Outcome, Plan, Speed, Wire};
use crate::churn::{Feed, Fresh};
use crate::ndr::Search;
use crate::packet::build::{Link, Outgoing};
use crate::packet::{FRESH_TRIAL, FlowNumber, HEADERS_V4, Side, Stamp, sum};
use crate::report::{Limit, Trial};
use crate::streams::{Content, Stream};
use crate::trial;
use crate::verify::{Expectations, Rules};

const PAYLOAD: usize = 60;
const RUN: u32 = 9;
const PARTY: [u8; 6] = [2, 0, 0, 0, 0, 2];
const RELAY: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// What a look at the clock costs.
const LOOK: u64 = 500;
const QUEUE: u64 = 1000;

/// A frame on its way back.
struct Relayed {
    at: u64,
    to: Side,
    frame: Vec<u8>,
}

/// The wire, the relay and the time.
struct Simulation {
    now: u64,
    /// What sending costs the generator, in nanoseconds a packet.
    send_cost: u64,
    /// The generator is held up once for so long after this time.
    stall: Option<(u64, u64)>,
    /// What relaying costs the relay, in nanoseconds a packet.
    service: u64,
    /// How long a packet takes beside that.
    delay: u64,
    /// When the relay has nothing left to do.
    free_at: u64,
    own_drops: u64,
    /// First packets of new sessions that the relay will still lose.
    lost_fresh: u32,
    /// Of each flow, as the relay sends them.
    headers: Vec<Vec<u8>>,
    relayed: VecDeque<Relayed>,
}

fn streams(count: u16) -> Vec<Stream> {
    let address = |net: u8, host: u8, port: u16| ([10, net, 0, host], port).into();
    let stream = |index: u16| Stream {
        a: address(1, 2, 20_000 + index),
        relay_a: address(1, 1, 30_000 + index),
        relay_b: address(2, 1, 40_000 + index),
        b: address(2, 2, 50_000 + index),
        content: Content::Rtp,
    };
    (0..count).map(stream).collect()
}

/// The flows as those know them who send them with these MAC addresses.
fn outgoing(streams: &[Stream], side: Side, relayed: bool) -> Vec<Outgoing> {
    let (own, next_hop) = if relayed {
        (RELAY, PARTY)
    } else {
        (PARTY, RELAY)
    };
    let link = Link {
        own,
        next_hop,
        dscp: 46,
    };
    let flow = |(number, stream): (usize, &Stream)| {
        let addresses = match (side, relayed) {
            (Side::A, false) => (stream.a, stream.relay_a),
            (Side::A, true) => (stream.relay_b, stream.b),
            (Side::B, false) => (stream.b, stream.relay_b),
            (Side::B, true) => (stream.relay_a, stream.a),
        };
        let number = FlowNumber::of(number as u32, side);
        Outgoing::new(number, Content::Rtp, addresses, &link, PAYLOAD)
    };
    streams.iter().enumerate().map(flow).collect()
}

impl Simulation {
    /// A generator that is fast and a relay that carries so many packets a second.
    fn new(streams: &[Stream], capacity: u64) -> Self {
        let mut headers = Vec::new();
        let relayed = Side::BOTH.map(|side| outgoing(streams, side, true));
        for stream in 0..streams.len() {
            for side in &relayed {
                let mut frame = vec![0; 1500];
                side[stream].clone().write_next(&mut frame, 0, 0, 0);
                frame.truncate(HEADERS_V4);
                headers.push(frame);
            }
        }
        Self {
            now: 1_000_000,
            send_cost: 100,
            stall: None,
            service: 1_000_000_000 / capacity,
            delay: 5_000,
            free_at: 0,
            own_drops: 0,
            lost_fresh: 0,
            headers,
            relayed: VecDeque::new(),
        }
    }

    fn relay(&mut self, mut frame: Vec<u8>) {
        let waiting = self.free_at.saturating_sub(self.now) / self.service;
        if waiting >= QUEUE {
            return;
        }
        self.free_at = self.free_at.max(self.now) + self.service;
        let stamp = Stamp::read(&frame[HEADERS_V4..]).expect("the tool's own packet");
        if stamp.trial == FRESH_TRIAL && self.lost_fresh > 0 {
            self.lost_fresh -= 1;
            return;
        }
        frame[..HEADERS_V4].copy_from_slice(&self.headers[stamp.flow.0 as usize]);
        let udp = HEADERS_V4 - 8;
        frame[udp + 6..udp + 8].fill(0);
        let length = u64::from(((frame.len() - udp) as u16).to_be());
        let pseudo = sum::wide(&frame[26..34]) + length + u64::from(17_u16.to_be());
        let checksum = sum::udp_field(pseudo + sum::wide(&frame[udp..]));
        frame[udp + 6..udp + 8].copy_from_slice(&checksum);
        self.relayed.push_back(Relayed {
            at: self.free_at + self.delay,
            to: stamp.flow.sender().other(),
            frame,
        });
    }
}

impl Wire for Simulation {
    type Error = Infallible;

    fn now(&mut self) -> u64 {
        self.now += LOOK;
        self.now
    }

    fn send(
        &mut self,
        _: Side,
        count: usize,
        mut write: impl FnMut(&mut [u8]) -> usize,
    ) -> Result<usize, Infallible> {
        for _ in 0..count {
            let mut frame = vec![0; 1500];
            let length = write(&mut frame);
            frame.truncate(length);
            self.now += self.send_cost;
            self.relay(frame);
        }
        if let Some((_, length)) = self.stall.take_if(|(at, _)| *at <= self.now) {
            self.now += length;
        }
        Ok(count)
    }

    fn receive(&mut self, side: Side, mut see: impl FnMut(&[u8])) -> Result<usize, Infallible> {
        let mut count = 0;
        while let Some(next) = self.relayed.front() {
            if next.at > self.now || next.to != side {
                break;
            }
            see(&next.frame);
            self.relayed.pop_front();
            count += 1;
        }
        Ok(count)
    }

    fn tend(&mut self) -> Result<(), Infallible> {
        Ok(())
    }

    fn own_drops(&mut self) -> Result<u64, Infallible> {
        Ok(self.own_drops)
    }
}

/// The tool and what it is pointed at.
struct Scene {
    simulation: Simulation,
    load: Load,
    expectations: Expectations,
    trial: u32,
}

impl Scene {
    fn new(capacity: u64) -> Self {
        let streams = streams(50);
        let rules = Rules {
            own: PARTY,
            from: Some(RELAY),
            ttl: Some(64),
            dscp: Some(46),
            unfinished: false,
        };
        Self {
            simulation: Simulation::new(&streams, capacity),
            load: Load::new(Side::BOTH.map(|side| outgoing(&streams, side, false))),
            expectations: Expectations::new(RUN, PAYLOAD, [rules; 2], &streams),
            trial: 0,
        }
    }

    fn run(&mut self, speed: Speed, seconds: f64, stop: &AtomicBool) -> Outcome {
        self.trial += 1;
        let plan = Plan {
            trial: self.trial,
            speed,
            length: (seconds * 1e9) as u64,
            batch: 32,
        };
        let control = Control::new(1, stop);
        let outcome = self.load.run(
            &mut self.simulation,
            &self.expectations,
            &plan,
            &control,
            0,
            None,
        );
        match outcome {
            Ok(outcome) => outcome,
        }
    }

    fn trial(&mut self, rate: u64, seconds: f64) -> Trial {
        let outcome = self.run(Speed::Rate(rate as f64), seconds, &AtomicBool::new(false));
        trial::summary(rate, &[outcome])
    }
}

#[test]
fn a_relay_within_its_capacity_passes() {
    let mut scene = Scene::new(200_000);
    let trial = scene.trial(20_000, 0.5);
    assert_eq!(
        (trial.asked, trial.sent, trial.received),
        (10_000, 10_000, 10_000)
    );
    assert_eq!((trial.seconds, trial.late_sends), (0.5, 0));
    assert!(trial.passed, "{trial:?}");
    assert_eq!(trial.latency_a_to_b_ns.count, 5_000);
    let expected = 5_000 + 5_000;
    assert!(trial.latency_ns.p50.abs_diff(expected) < 5_000, "{trial:?}");
    assert!(trial.latency_ns.max < expected + 15_000, "{trial:?}");
}

#[test]
fn g711_is_one_packet_of_each_stream_every_20_ms() {
    let mut scene = Scene::new(200_000);
    let streams = 50;
    let trial = scene.trial(2 * crate::pace::G711_PPS * streams, 1.0);
    assert_eq!(trial.received, 100 * streams);
    // Sequences are of each flow: 50 packets a second make its next one 50.
    for flow in scene.load.flows_of(Side::A) {
        assert_eq!(flow.sent(), 50);
    }
}

#[test]
fn an_overloaded_relay_delivers_what_it_can() {
    let mut scene = Scene::new(100_000);
    let trial = scene.trial(200_000, 0.2);
    assert!(!trial.passed && !trial.generator_short, "{trial:?}");
    assert_eq!(trial.sent, 40_000);
    assert!(trial.received.abs_diff(20_000 + QUEUE) < 100, "{trial:?}");
    assert_eq!(trial.sent, trial.received + trial.lost);
}

#[test]
fn flat_out_sends_as_fast_as_it_can() {
    let mut scene = Scene::new(1_000_000_000);
    let outcome = scene.run(Speed::FlatOut, 0.05, &AtomicBool::new(false));
    let trial = trial::summary(0, &[outcome]);
    assert_eq!((trial.lost, trial.asked), (0, trial.sent));
    // 100 ns a packet and some looks at the clock.
    assert!((5e6..8e6).contains(&trial.sent_pps), "{trial:?}");
}

#[test]
fn a_generator_that_was_held_up_is_seen_in_the_latencies() {
    let mut scene = Scene::new(1_000_000);
    scene.simulation.stall = Some((50_000_000, 50_000_000));
    let trial = scene.trial(20_000, 0.5);
    assert_eq!(trial.sent, 10_000, "nothing is left out");
    // 1,000 packets were due in those 50 ms, of which the last ms is not late.
    assert!(trial.late_sends.abs_diff(980) < 5, "{trial:?}");
    assert!(trial.generator_short && !trial.passed);
    // Of all packets 9 % waited for more than 5 ms, though each left at once after the stall.
    assert!(trial.latency_ns.p90 > 100_000 || trial.latency_ns.p99 > 40_000_000);
    assert!(
        (49_000_000..52_000_000).contains(&trial.latency_ns.max),
        "{trial:?}"
    );
}

#[test]
fn a_generator_that_is_too_slow_is_short() {
    let mut scene = Scene::new(1_000_000);
    scene.simulation.send_cost = 20_000;
    let trial = scene.trial(100_000, 0.5);
    assert!(trial.generator_short && !trial.passed);
    assert!(trial.sent < trial.asked && trial.lost == 0, "{trial:?}");
}

#[test]
fn what_its_own_sockets_dropped_is_not_the_relays_loss() {
    let mut scene = Scene::new(1_000_000);
    assert_eq!(scene.trial(1_000, 0.1).own_drops, 0);
    scene.simulation.own_drops = 7;
    let before = scene.trial(1_000, 0.1);
    assert_eq!(before.own_drops, 0, "they were before this trial");
}

#[test]
fn packets_that_come_in_the_next_trial_are_not_counted_twice() {
    let mut scene = Scene::new(1_000_000);
    scene.simulation.delay = 350_000_000;
    let first = scene.trial(1_000, 0.2);
    // Sending took 200 ms and waiting 200 ms more.
    assert!(first.received.abs_diff(50) <= 1, "{first:?}");
    assert_eq!(first.received + first.lost, 200);
    scene.simulation.delay = 1_000;
    // The late ones stand before these in the queue of the simulated wire.
    let second = scene.trial(1_000, 0.4);
    assert_eq!(
        (second.received, second.stragglers),
        (400, first.lost),
        "{second:?}"
    );
    assert!(second.passed);
}

#[test]
fn an_ended_trial_tells_what_it_saw() {
    let mut scene = Scene::new(1_000_000);
    let outcome = scene.run(Speed::Rate(1e5), 3600.0, &AtomicBool::new(true));
    assert!(outcome.stopped);
    assert_eq!(outcome.sent, outcome.tally.counts.received);
    assert!(outcome.took < 1_000_000);
}

#[test]
fn the_search_finds_the_capacity() {
    for (capacity, send_cost, limit) in [
        (150_000, 100, Limit::Relay),
        (1_000_000, 10_000, Limit::Generator),
    ] {
        let mut scene = Scene::new(capacity);
        scene.simulation.send_cost = send_cost;
        let search = Search {
            low: 1_000,
            high: 400_000,
            resolution: 0.01,
            retries: 0,
        };
        let found = search.run(|rate, _| Ok::<_, Infallible>(Some(scene.trial(rate, 0.5))));
        let found = found.expect("infallible");
        assert_eq!(found.limit, Some(limit));
        let true_rate = if limit == Limit::Relay {
            capacity
        } else {
            100_000
        };
        // A queue of 1,000 hides an excess of 2,000 a second for half a second; grace gives 4 %.
        let range = (true_rate * 97 / 100)..(true_rate * 105 / 100);
        assert!(range.contains(&found.rate), "{found:?} of {true_rate}");
    }
}

/// A trial of a second, in which one session is opened beside the 50 streams. The relay loses its first `lost` packets.
fn with_a_new_session(lost: u32) -> (Outcome, crate::report::Churn) {
    let streams = streams(51);
    let mut scene = Scene::new(1_000_000);
    scene.simulation = Simulation::new(&streams, 1_000_000);
    scene.simulation.lost_fresh = lost;
    scene.expectations = scene.expectations.with_slots(1, &streams[0]);
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    let links = [Link {
        own: PARTY,
        next_hop: RELAY,
        dscp: 46,
    }; 2];
    let mut feed = Feed::new(receiver, links, PAYLOAD, 50);
    let now = scene.simulation.now;
    let fresh = Fresh::new(0, streams[50], now - 600_000, now - 200_000);
    sender.send(fresh).expect("the feed hears");
    let stop = AtomicBool::new(false);
    let control = Control::new(1, &stop);
    let plan = Plan {
        trial: 1,
        speed: Speed::Rate(1_000.0),
        length: 1_000_000_000,
        batch: 32,
    };
    let (simulation, expectations) = (&mut scene.simulation, &scene.expectations);
    let outcome = scene.load.run(
        simulation,
        expectations,
        &plan,
        &control,
        0,
        Some(&mut feed),
    );
    let mut churn = crate::report::Churn::default();
    feed.add_to(&mut churn);
    match outcome {
        Ok(outcome) => (outcome, churn),
    }
}

#[test]
fn a_new_sessions_first_packets_are_timed_and_not_counted_among_the_others() {
    let (outcome, churn) = with_a_new_session(0);
    assert_eq!(
        (outcome.sent, outcome.tally.counts.received),
        (1_000, 1_000)
    );
    assert_eq!(
        (churn.relayed, churn.not_relayed, churn.repeated),
        (1, 0, 0)
    );
    assert!(
        churn.request_to_answer_ns.max.abs_diff(400_000) < 1_000,
        "{churn:?}"
    );
    assert_eq!(churn.answer_to_packet_ns.count, 2, "one of each direction");
    let (after_request, after_answer) = (churn.request_to_packet_ns, churn.answer_to_packet_ns);
    assert!(
        (200_000..230_000).contains(&after_answer.min),
        "{after_answer:?}"
    );
    assert!(after_request.max.abs_diff(after_answer.max + 400_000) < 1_000);
}

#[test]
fn a_first_packet_that_is_lost_is_sent_again() {
    let (outcome, churn) = with_a_new_session(3);
    assert_eq!(outcome.tally.counts.received, 1_000);
    assert_eq!(
        (churn.relayed, churn.not_relayed, churn.repeated),
        (1, 0, 3)
    );
    assert!(churn.answer_to_packet_ns.max > 20_000_000, "{churn:?}");
}

#[test]
fn a_session_that_carries_nothing_is_given_up() {
    let (outcome, churn) = with_a_new_session(u32::MAX);
    assert_eq!(outcome.tally.counts.received, 1_000);
    assert_eq!((churn.relayed, churn.not_relayed), (0, 1));
    assert_eq!(churn.answer_to_packet_ns.count, 0);
}
