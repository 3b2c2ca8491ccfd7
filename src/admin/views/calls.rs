//! `tandem calls`, `tandem flows`: calls, their legs, streams and flows.

use serde::{Deserialize, Serialize};

/// `tandem calls list`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Calls {
    /// How many are up: more than `calls` has when there are more than the limit.
    pub(crate) total: u64,
    /// The oldest of them.
    pub(crate) calls: Vec<CallLine>,
}

/// One call in the list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CallLine {
    /// Its number, never used again.
    pub(crate) id: u64,
    /// How far it has come.
    pub(crate) state: String,
    /// The caller's URI.
    pub(crate) from: String,
    /// The URI that was called.
    pub(crate) to: String,
    /// The trunk that it came from.
    pub(crate) from_trunk: String,
    /// The trunk that it was last sent to.
    pub(crate) to_trunk: Option<String>,
    /// Seconds since its INVITE.
    pub(crate) age_seconds: f64,
    /// Seconds since the answer.
    pub(crate) talk_seconds: Option<f64>,
}

/// `tandem calls show`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Call {
    /// Its line in the list.
    #[serde(flatten)]
    pub(crate) line: CallLine,
    /// The caller's dialog.
    pub(crate) caller: Leg,
    /// The callee's dialogs: several while it forks.
    pub(crate) callees: Vec<Leg>,
    /// The media streams, in the order of the SDP.
    pub(crate) streams: Vec<Stream>,
}

/// One dialog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Leg {
    /// The trunk.
    pub(crate) trunk: String,
    /// Where its messages come from.
    pub(crate) remote: String,
    /// Its Call-ID.
    pub(crate) call_id: String,
    /// Our tag.
    pub(crate) local_tag: String,
    /// The peer's tag.
    pub(crate) remote_tag: String,
    /// Where requests in the dialog go.
    pub(crate) remote_target: String,
}

/// One media stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stream {
    /// `audio`, `video` …
    pub(crate) media: String,
    /// What its packets are: `rtp`, `srtp` or `udptl` (fax).
    pub(crate) transport: String,
    /// `offered`, `active`, `held` or `rejected`.
    pub(crate) state: String,
    /// Towards the caller.
    pub(crate) caller: StreamParty,
    /// Towards the callee.
    pub(crate) callee: StreamParty,
}

/// One side of a media stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StreamParty {
    /// Where we receive its RTP.
    pub(crate) local_rtp: Option<String>,
    /// Where we receive its RTCP.
    pub(crate) local_rtcp: Option<String>,
    /// Where its SDP says that it receives RTP.
    pub(crate) remote_rtp: Option<String>,
    /// Where its SDP says that it receives RTCP.
    pub(crate) remote_rtcp: Option<String>,
    /// The source that its RTP was latched to.
    pub(crate) latched_rtp: Option<String>,
    /// Its direction as it put it.
    pub(crate) direction: String,
    /// Its formats.
    pub(crate) codecs: String,
    /// Whether every worker has found its RTP silent.
    pub(crate) silent: bool,
}

/// `tandem calls hangup`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HungUp {
    /// The call that is being ended.
    pub(crate) hanging_up: u64,
}

/// `tandem flows`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Flows {
    /// The call.
    pub(crate) call: u64,
    /// Its flows.
    pub(crate) flows: Vec<Flow>,
}

/// `tandem sessions flows`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SessionFlows {
    /// The session.
    pub(crate) session: u64,
    /// Its flows.
    pub(crate) flows: Vec<Flow>,
}

/// One flow: what arrives at one local port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Flow {
    /// The port at which its packets arrive.
    pub(crate) local: String,
    /// `rtp`, `rtcp`, `rtp+rtcp` (muxed), `udptl` (fax), or `removing`.
    pub(crate) carries: String,
    /// The source that signalling gave.
    pub(crate) signalled: Option<String>,
    /// The source that it is locked to.
    pub(crate) latched: Option<String>,
    /// Where its packets leave from.
    pub(crate) leaves_from: Option<String>,
    /// Where its packets go to.
    pub(crate) destination: Option<String>,
    /// The MAC address they go to.
    pub(crate) next_hop: Option<String>,
    /// The device they leave by.
    pub(crate) egress_device: Option<String>,
    /// How many workers have acknowledged it.
    pub(crate) acknowledged: u64,
    /// Packets sent on by all workers.
    pub(crate) packets: u64,
    /// Bytes of UDP payload in them.
    pub(crate) bytes: u64,
    /// Packets dropped for their source.
    pub(crate) wrong_source: u64,
    /// Seconds since the last packet.
    pub(crate) last_seen_seconds: Option<f64>,
    /// What the party reported by RTCP of what is sent to it; absent where no report came, or none that can be read.
    pub(crate) reception: Option<Reception>,
    /// The same by worker.
    pub(crate) workers: Vec<FlowWorker>,
}

/// How a party receives what is sent to it, by its own RTCP reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reception {
    /// Reports so far.
    pub(crate) reports: u64,
    /// The share of packets lost between the last two reports, 0 to 1.
    pub(crate) loss: f64,
    /// Packets lost in all; duplicates make it negative.
    pub(crate) lost: i32,
    /// Jitter in units of the RTP clock.
    pub(crate) jitter_units: u32,
    /// The same in milliseconds, where the clock is known from the session description.
    pub(crate) jitter_ms: Option<f64>,
    /// From the relay to the party and back.
    pub(crate) round_trip_ms: Option<f64>,
    /// Seconds since the last report.
    pub(crate) last_report_seconds: f64,
}

/// What one worker counted for one flow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct FlowWorker {
    /// The worker.
    pub(crate) worker: u16,
    /// Packets sent on.
    pub(crate) packets: u64,
    /// Bytes of UDP payload in them.
    pub(crate) bytes: u64,
    /// Packets dropped for their source.
    pub(crate) wrong_source: u64,
    /// Seconds since the last packet.
    pub(crate) last_seen_seconds: Option<f64>,
    /// The source that it has latched.
    pub(crate) latched: Option<String>,
}
