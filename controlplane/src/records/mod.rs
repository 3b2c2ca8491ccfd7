//! What is left of a call when it is over: one record each, also of calls that failed and of INVITEs that
//! were refused.
//!
//! Plain data. `b2bua` fills it in while the call lives, the event loop adds what the dataplane counted for
//! each flow before it was removed, and the binary writes it down (`docs/cdr.md` has the fields for people).

pub mod mos;
pub mod q850;

use std::net::SocketAddr;
use std::time::Duration;

use contract::{FlowKey, Timestamp};

use crate::b2bua::CallId;
use crate::session::{SessionView, Side, StreamView};

/// One call, from its INVITE to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallRecord {
    /// The call's number; INVITEs that were refused have one too.
    pub id: CallId,
    /// The leg that the INVITE came from.
    pub caller: LegRecord,
    /// The leg of the last target tried; `None` when none was.
    pub callee: Option<LegRecord>,
    /// Where the call was offered, in order, [`MOST_TRIES`] at the most.
    pub tries: Vec<Try>,
    /// Its INVITE came.
    pub started: Timestamp,
    /// The first 18x came.
    pub ringing: Option<Timestamp>,
    /// The 2xx came.
    pub answered: Option<Timestamp>,
    /// How it ended.
    pub release: Release,
    /// Its media, as they were last agreed on; `None` when there were none.
    pub media: Option<SessionView>,
    /// What each flow that it had carried.
    pub flows: Vec<FlowRecord>,
}

/// Targets of one call that a record names.
pub const MOST_TRIES: usize = 16;

/// Flows of one call that a record counts apart. Later ones are added to the last of their kind.
pub const MOST_FLOWS: usize = 64;

/// One leg of a call, by its signalling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegRecord {
    /// The trunk's name; empty when no trunk knows the sender.
    pub trunk: String,
    /// Its Call-ID.
    pub call_id: String,
    /// Our address.
    pub local: Option<SocketAddr>,
    /// Theirs.
    pub remote: SocketAddr,
    /// The Request-URI: as it came, or as it was sent.
    pub uri: String,
    /// The From URI: as it came, or as it was sent.
    pub from: String,
    /// The To URI: as it came, or as it was sent.
    pub to: String,
}

/// One target that a call was offered to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Try {
    /// The trunk's name.
    pub trunk: String,
    /// The peer.
    pub peer: SocketAddr,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing, when the call ended.
    Pending,
    /// A final response.
    Code(u16),
    /// No response in time.
    Timeout,
    /// It could not be reached.
    Unreachable,
}

/// Who ended a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Releaser {
    /// The caller.
    Caller,
    /// The callee.
    Callee,
    /// We ourselves.
    Tandem,
}

impl Releaser {
    /// The name in records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Callee => "callee",
            Self::Tandem => "tandem",
        }
    }
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// When: its final failure or its first BYE.
    pub at: Timestamp,
    /// Who ended it.
    pub by: Releaser,
    /// Why, in a word of ours.
    pub cause: &'static str,
    /// The status code that the caller got; of an answered call, the one that the Reason names.
    pub code: Option<u16>,
    /// The Q.850 cause: by the Reason, or else by RFC 3398.
    pub q850: Option<u8>,
    /// The Reason header that came, as it came.
    pub reason: Option<Box<str>>,
}

/// Which packets a flow carried, from its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowRecord {
    /// Who sent them.
    pub from: Side,
    /// Where they arrived.
    pub key: FlowKey,
    /// Whether RTP was expected there, with or without RTCP; if not, RTCP alone.
    pub rtp: bool,
    /// What was counted.
    pub measured: Measured,
}

/// What the dataplane counted for one flow, all workers together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// Packets accepted.
    pub packets: u64,
    /// Bytes of UDP payload in them.
    pub bytes: u64,
    /// Packets dropped because they came from another source than the party's.
    pub wrong_source: u64,
    /// What is known of the stream's quality.
    pub quality: Option<Quality>,
    /// When the last packet was accepted.
    pub last_packet: Option<Timestamp>,
}

/// How well a stream arrived, where something measured it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quality {
    /// Packets that did not arrive.
    pub lost: u64,
    /// Interarrival jitter (RFC 3550 §6.4.1).
    pub jitter: Option<Duration>,
    /// The time to the other end and back.
    pub round_trip: Option<Duration>,
    /// The SSRC of the stream that was measured.
    pub ssrc: Option<u32>,
    /// Reports that have told so.
    pub reports: u64,
    /// Of 256 packets, those lost since the report before the last.
    pub fraction_lost: u8,
}

/// What went in one direction, over all flows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Direction {
    /// RTP packets; with RTCP where both share a port.
    pub packets: u64,
    /// Bytes of UDP payload in them.
    pub bytes: u64,
    /// RTCP packets at ports of their own.
    pub rtcp_packets: u64,
    /// Packets from others than the party.
    pub wrong_source: u64,
    /// Packets lost; `None` when nothing measured it.
    pub lost: Option<u64>,
    /// The last jitter known.
    pub jitter: Option<Duration>,
    /// The mean opinion score; `None` without a known codec, packets and loss.
    pub mos: Option<f64>,
}

impl CallRecord {
    /// What the party on this side sent.
    pub fn direction(&self, from: Side) -> Direction {
        let mut sum = Direction::default();
        let mut round_trip = None;
        for flow in self.flows.iter().filter(|flow| flow.from == from) {
            let measured = &flow.measured;
            sum.wrong_source = sum.wrong_source.saturating_add(measured.wrong_source);
            if !flow.rtp {
                sum.rtcp_packets = sum.rtcp_packets.saturating_add(measured.packets);
                continue;
            }
            sum.packets = sum.packets.saturating_add(measured.packets);
            sum.bytes = sum.bytes.saturating_add(measured.bytes);
            if let Some(quality) = measured.quality {
                let lost = sum.lost.unwrap_or_default();
                sum.lost = Some(lost.saturating_add(quality.lost));
                sum.jitter = quality.jitter.or(sum.jitter);
                round_trip = quality.round_trip.or(round_trip);
            }
        }
        sum.mos = self.mos(&sum, round_trip);
        sum
    }

    fn mos(&self, sum: &Direction, round_trip: Option<Duration>) -> Option<f64> {
        let quality = Quality {
            lost: sum.lost?,
            jitter: sum.jitter,
            round_trip,
            ..Quality::default()
        };
        let measured = Measured {
            packets: sum.packets,
            quality: Some(quality),
            ..Measured::default()
        };
        mos::of_stream(&self.codec()?, &measured)
    }

    /// The codec of the first audio stream, as in `PCMA/8000`: the first that the answering side named.
    pub fn codec(&self) -> Option<String> {
        let [_, callee] = &self.first_stream()?.parties;
        let first = callee.codecs.split(", ").next()?;
        let name = first.split_once(' ').map(|(_, name)| name);
        name.filter(|name| !name.is_empty()).map(str::to_owned)
    }

    /// The first audio stream, or the first of any kind.
    pub fn first_stream(&self) -> Option<&StreamView> {
        let streams = &self.media.as_ref()?.streams;
        let audio = streams.iter().find(|stream| stream.media == "audio");
        audio.or(streams.first())
    }

    /// How long the call was up: from the answer to the release.
    pub fn duration(&self) -> Option<Duration> {
        self.answered
            .map(|answered| self.release.at.since(answered))
    }

    /// Adds what was counted for a flow.
    pub fn add_flow(&mut self, flow: FlowRecord) {
        add_flow(&mut self.flows, flow);
    }
}

/// Adds a flow's counts, to those of its kind when there are too many.
pub(crate) fn add_flow(flows: &mut Vec<FlowRecord>, flow: FlowRecord) {
    if flows.len() < MOST_FLOWS {
        return flows.push(flow);
    }
    let mut flows = flows.iter_mut().rev();
    if let Some(known) = flows.find(|known| (known.from, known.rtp) == (flow.from, flow.rtp)) {
        let (sum, more) = (&mut known.measured, flow.measured);
        sum.packets = sum.packets.saturating_add(more.packets);
        sum.bytes = sum.bytes.saturating_add(more.bytes);
        sum.wrong_source = sum.wrong_source.saturating_add(more.wrong_source);
        sum.quality = more.quality.or(sum.quality);
        sum.last_packet = more.last_packet.max(sum.last_packet);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{PartyView, SessionId, StreamState};

    fn flow(from: Side, port: u16, rtp: bool, packets: u64, lost: Option<u64>) -> FlowRecord {
        FlowRecord {
            from,
            key: FlowKey {
                address: [10, 0, 0, 1].into(),
                port,
            },
            rtp,
            measured: Measured {
                packets,
                bytes: packets * 172,
                wrong_source: 1,
                quality: lost.map(|lost| Quality {
                    lost,
                    jitter: Some(Duration::from_millis(2)),
                    ..Quality::default()
                }),
                last_packet: None,
            },
        }
    }

    fn record(codecs: &str) -> CallRecord {
        let party = || PartyView {
            codecs: codecs.to_owned(),
            ..PartyView::default()
        };
        let stream = StreamView {
            media: "audio".to_owned(),
            profile: crate::sdp::Profile::Rtp,
            state: StreamState::Active,
            parties: [party(), party()],
        };
        CallRecord {
            id: CallId(1),
            caller: LegRecord {
                trunk: String::new(),
                call_id: String::new(),
                local: None,
                remote: ([10, 0, 0, 2], 5060).into(),
                uri: String::new(),
                from: String::new(),
                to: String::new(),
            },
            callee: None,
            tries: Vec::new(),
            started: Timestamp::ZERO,
            ringing: None,
            answered: Some(Timestamp::from_nanos(5)),
            release: Release {
                at: Timestamp::from_nanos(7),
                by: Releaser::Caller,
                cause: "normal",
                code: None,
                q850: None,
                reason: None,
            },
            media: Some(SessionView {
                id: SessionId(1),
                streams: vec![stream],
            }),
            flows: Vec::new(),
        }
    }

    #[test]
    fn directions_sum_their_flows_and_know_quality_only_where_it_was_measured() {
        let mut record = record("8 PCMA/8000, 101 telephone-event/8000");
        record.add_flow(flow(Side::A, 20, true, 90, Some(10)));
        record.add_flow(flow(Side::A, 21, false, 3, None));
        record.add_flow(flow(Side::A, 30, true, 10, None));
        record.add_flow(flow(Side::B, 40, true, 50, None));
        let from_a = record.direction(Side::A);
        assert_eq!((from_a.packets, from_a.bytes), (100, 17_200));
        assert_eq!((from_a.rtcp_packets, from_a.wrong_source), (3, 3));
        assert_eq!(from_a.lost, Some(10));
        let mos = from_a.mos.expect("all is known");
        assert!((3.0..4.0).contains(&mos), "{mos}");
        let from_b = record.direction(Side::B);
        assert_eq!((from_b.packets, from_b.lost, from_b.mos), (50, None, None));
        assert_eq!(record.duration(), Some(Duration::from_nanos(2)));
        record.media = None;
        assert_eq!(record.direction(Side::A).mos, None);
    }

    #[test]
    fn more_flows_than_are_kept_apart_are_still_counted() {
        let mut record = record("8 PCMA/8000");
        for port in 0..100 {
            record.add_flow(flow(Side::A, port, true, 1, None));
        }
        assert_eq!(record.flows.len(), MOST_FLOWS);
        assert_eq!(record.direction(Side::A).packets, 100);
    }
}
