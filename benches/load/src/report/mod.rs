//! What a run found, as plain data: what `--json` prints, and what tables and plots are made of.
//!
//! Fields stay: new ones may come, none changes its meaning.
//!
//! ```text
//!   sent = received + lost                 each packet that was sent has one of the two fates
//!   received ⊇ reordered, corrupt, wrong_*   an arrival that is faulty counts as one kind of fault, the first
//!                                          of: wrong_address, corrupt, wrong_checksum, wrong_ttl, wrong_dscp
//!   duplicated, unknown                    frames beside these
//! ```

mod console;
pub mod deliver;
pub mod table;

use serde::{Deserialize, Serialize};

pub use console::Console;

/// One run of the tool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Run {
    /// `tandem-load`.
    pub tool: String,
    /// The tool's version.
    pub version: String,
    /// The subcommand: `rtp`.
    pub command: String,
    /// Where it ran.
    pub machine: Machine,
    /// What was sent.
    pub packets: Packets,
    /// One trial after the other; a plain run is one trial.
    pub trials: Vec<Trial>,
    /// The no-drop rate: the highest rate of a trial that passed, 0 when none did. Only with `--find-ndr`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ndr_pps: Option<u64>,
    /// What kept the no-drop rate from being higher. Only with `--find-ndr`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ndr_limited_by: Option<Limit>,
    /// Sessions opened and closed while relaying. Only with `--churn`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub churn: Option<Churn>,
    /// Whether it ended before it was done (Ctrl-C).
    pub interrupted: bool,
}

/// The machine that made the load.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// Cores that the tool may run on.
    pub cores: usize,
    /// The kernel's release.
    pub kernel: String,
    /// The devices of both sides; one when they are the same.
    pub devices: Vec<Device>,
    /// The cores that generate and verify.
    pub load_cores: Vec<usize>,
}

/// A network device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Device {
    /// The kernel's name of it.
    pub name: String,
    /// Its driver.
    pub driver: String,
    /// `zero-copy`, `copy` or `generic`.
    pub xdp_mode: String,
    /// The queues in use.
    pub queues: Vec<u32>,
}

/// What the packets are like.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Packets {
    /// Bytes of UDP payload.
    pub payload: usize,
    /// Bytes of the frame that A sends, from the MAC addresses to the payload's end.
    pub frame: usize,
    /// `ipv4`, `ipv6`, or `mixed`.
    pub family: String,
    /// `rtp`, `rtcp`, or `mixed`.
    pub content: String,
    /// Streams; each goes both ways.
    pub streams: usize,
}

/// One stretch of sending at one rate, the wait for what was still under way included.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Trial {
    /// Packets a second asked for, both directions together; 0 is as fast as they go.
    pub rate_pps: u64,
    /// How long it sent, in seconds.
    pub seconds: f64,
    /// Packets that were to be sent; as many as `sent` when as fast as they go.
    pub asked: u64,
    /// Packets handed to the device.
    pub sent: u64,
    /// Of these, how many arrived, in whatever condition.
    pub received: u64,
    /// Of these, how many did not.
    pub lost: u64,
    /// Frames that repeat one that had arrived.
    pub duplicated: u64,
    /// Packets that arrived after a later one of their stream's direction (RFC 4737 §3).
    pub reordered: u64,
    /// Packets whose payload was not what was sent.
    pub corrupt: u64,
    /// Packets with another MAC address, IP address or port than the stream says.
    pub wrong_address: u64,
    /// Packets with a wrong IPv4 header or UDP checksum.
    pub wrong_checksum: u64,
    /// Packets with another TTL or hop limit than expected.
    pub wrong_ttl: u64,
    /// Packets with another DSCP than expected.
    pub wrong_dscp: u64,
    /// Frames that are no packet of this run.
    pub unknown: u64,
    /// Packets of an earlier trial that arrived in this one.
    pub stragglers: u64,
    /// Packets whose UDP checksum was left unfinished, where that is accepted.
    pub unfinished_checksums: u64,
    /// Packets that left later than scheduled by more than [`LATE_NS`].
    pub late_sends: u64,
    /// Packets that came back and found no room in the tool's own rings: losses that are not the relay's.
    pub own_drops: u64,
    /// Whether the generator could not send what was asked in time, or not receive it: the trial says nothing of the relay.
    pub generator_short: bool,
    /// `sent` by `seconds`.
    pub sent_pps: f64,
    /// `received` by `seconds`.
    pub received_pps: f64,
    /// From the time at which a packet was due to be sent, to its being read by the sink.
    pub latency_ns: Latency,
    /// The same from A to B alone.
    pub latency_a_to_b_ns: Latency,
    /// The same from B to A alone.
    pub latency_b_to_a_ns: Latency,
    /// Which attempt this was at its rate, from 1; more than 1 only with `--retries`.
    pub attempt: u32,
    /// Everything asked for was sent in time, and arrived once and unharmed (reordered or not).
    pub passed: bool,
}

/// How much later than scheduled a packet may leave before it counts as a late send, in nanoseconds: 1 ms. A
/// batch and a look at the rings take a tenth of it; a twentieth of a G.711 packet's 20 ms hurts nobody.
pub const LATE_NS: u64 = 1_000_000;

/// A distribution of times in nanoseconds (HDR histogram, 3 significant digits). All zero when nothing was
/// measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Latency {
    /// How many values.
    pub count: u64,
    /// The smallest.
    pub min: u64,
    /// The mean.
    pub mean: f64,
    /// Half are at most this.
    pub p50: u64,
    /// 90 % are at most this.
    pub p90: u64,
    /// 99 % are at most this.
    pub p99: u64,
    /// 99.9 % are at most this.
    pub p99_9: u64,
    /// The largest.
    pub max: u64,
}

/// What the no-drop rate ended at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// The relay lost or harmed packets above it.
    Relay,
    /// The generator could not send faster: the relay may be able to carry more.
    Generator,
    /// The highest rate that was asked for passed.
    High,
}

/// Sessions that came and went during a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Churn {
    /// Sessions a second asked for.
    pub per_second: f64,
    /// Sessions that the relay opened; those that it opened when the trial was over carried nothing.
    pub opened: u64,
    /// Sessions that it refused, or did not answer for.
    pub refused: u64,
    /// Sessions that it closed.
    pub closed: u64,
    /// Sessions of which a packet was relayed in both directions.
    pub relayed: u64,
    /// Sessions of which none was within a second of the answer.
    pub not_relayed: u64,
    /// Packets of new sessions that had to be sent again until one was relayed.
    pub repeated: u64,
    /// From the request to the relay's answer.
    pub request_to_answer_ns: Latency,
    /// From the request to the first relayed packet of each direction.
    pub request_to_packet_ns: Latency,
    /// From the answer to the first relayed packet of each direction.
    pub answer_to_packet_ns: Latency,
}

/// How far a trial has come.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    /// The trial, from 1.
    pub trial: usize,
    /// Packets a second asked for; 0 is as fast as they go.
    pub rate_pps: u64,
    /// How long it will send, in seconds.
    pub seconds: f64,
    /// How long it has been sending.
    pub elapsed: f64,
    /// Whether it is still warming up: nothing of that counts.
    pub warming_up: bool,
    /// Packets sent so far.
    pub sent: u64,
    /// Frames received so far.
    pub received: u64,
    /// Faults seen so far; losses are known at the end.
    pub faults: u64,
}

/// Who wants to know how a run goes on. Called by the thread that waits, some five times a second.
pub trait Observer {
    /// A trial goes on.
    fn progress(&mut self, progress: &Progress);
    /// A trial is over.
    fn trial(&mut self, trial: &Trial);
}

/// An observer that says nothing.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Observer for Silent {
    fn progress(&mut self, _: &Progress) {}
    fn trial(&mut self, _: &Trial) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_read_as_it_was_written() {
        let run = Run {
            tool: "tandem-load".into(),
            trials: vec![Trial {
                rate_pps: 200_000,
                sent: 7,
                ..Trial::default()
            }],
            ndr_pps: Some(123_456),
            ndr_limited_by: Some(Limit::Generator),
            ..Run::default()
        };
        let text = serde_json::to_string(&run).expect("plain data");
        assert!(text.contains(r#""ndr_limited_by":"generator""#), "{text}");
        assert_eq!(serde_json::from_str::<Run>(&text).expect("the same"), run);
    }

    #[test]
    fn fields_that_are_missing_are_zero_and_unknown_ones_ignored() {
        let text =
            r#"{"tool":"tandem-load","later":1,"trials":[{"sent":3,"latency_ns":{"p99_9":5}}]}"#;
        let run: Run = serde_json::from_str(text).expect("a run");
        assert_eq!(run.trials[0].sent, 3);
        assert_eq!(run.trials[0].latency_ns.p99_9, 5);
        assert_eq!(run.ndr_pps, None);
    }
}
