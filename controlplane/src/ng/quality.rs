//! How well each stream arrived, by its SSRC: what RTCP that passed has told of it, report by report.
//!
//! It is looked at every few seconds, and when somebody asks. Of reports that came between two looks the last counts.

use std::collections::HashMap;
use std::time::Duration;

use contract::FlowKey;

use super::book::Call;
use super::door::Hands;
use super::value::Dictionary;
use crate::records::{FlowRecord, Quality, mos};
use crate::session::{Side, StreamView};

/// Between two looks: RTCP tells every five seconds (RFC 3550 §6.2).
pub(super) const LOOK: Duration = Duration::from_secs(5);
/// Sources of one dialogue that are told of: a party that changes its SSRC with every packet is no use to anybody.
const MOST_SOURCES: usize = 16;

/// What has been heard of a dialogue's streams.
#[derive(Debug, Default)]
pub(super) struct Heard {
    sources: Vec<Source>,
}

/// One stream, by who sends it.
#[derive(Debug)]
struct Source {
    ssrc: u32,
    /// Reports that there were at the last look.
    reports: u64,
    /// Packets lost, by the last report.
    lost: u64,
    samples: i64,
    /// Of all samples.
    sum: Sample,
    lowest: Sample,
    highest: Sample,
}

/// What one report says, in the protocol's units.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    /// Ten times the score; nothing where the codec is not known.
    mos: Option<i64>,
    /// In µs.
    round_trip: u64,
    /// In ms.
    jitter: u64,
    /// In percent.
    loss: u64,
    /// In seconds since 1970.
    at: i64,
}

/// Takes in what was counted of a call's flows.
pub(super) fn look(call: &mut Call, counted: &HashMap<FlowKey, FlowRecord>, hands: &Hands<'_>) {
    // Most of the time there is nothing to take in, and that is cheap to see.
    if counted
        .values()
        .all(|record| record.measured.quality.is_none())
    {
        return;
    }
    let now = hands.wall.at(hands.now).as_second();
    for dialogue in &mut call.dialogues {
        let view = hands.engine.describe(dialogue.session);
        for stream in view.iter().flat_map(|view| &view.streams) {
            for side in [Side::A, Side::B] {
                let place = usize::from(side == Side::B);
                let codecs = &stream.parties[1 - place].codecs;
                if let Some(quality) = of_party(stream, place, counted) {
                    dialogue.heard.take(&quality, codecs, now);
                }
            }
        }
    }
}

/// What is known of what a party sends.
fn of_party(
    stream: &StreamView,
    place: usize,
    counted: &HashMap<FlowKey, FlowRecord>,
) -> Option<Quality> {
    let local = stream.parties[place].local_rtp?;
    let key = FlowKey {
        address: local.ip(),
        port: local.port(),
    };
    counted.get(&key)?.measured.quality
}

impl Heard {
    fn take(&mut self, quality: &Quality, codecs: &str, now: i64) {
        let Some(ssrc) = quality.ssrc else {
            return;
        };
        let sample = Sample::of(quality, codecs, now);
        let is_full = self.sources.len() >= MOST_SOURCES;
        match self.sources.iter_mut().find(|source| source.ssrc == ssrc) {
            Some(source) if source.reports == quality.reports => {}
            Some(source) => source.add(quality, sample),
            None if is_full => {}
            None => self.sources.push(Source {
                ssrc,
                reports: quality.reports,
                lost: quality.lost,
                samples: 1,
                sum: sample,
                lowest: sample,
                highest: sample,
            }),
        }
    }
}

impl Source {
    fn add(&mut self, quality: &Quality, sample: Sample) {
        (self.reports, self.lost) = (quality.reports, quality.lost);
        self.samples += 1;
        self.sum = Sample {
            mos: self.sum.mos.zip(sample.mos).map(|(sum, mos)| sum + mos),
            round_trip: self.sum.round_trip.saturating_add(sample.round_trip),
            jitter: self.sum.jitter.saturating_add(sample.jitter),
            loss: self.sum.loss.saturating_add(sample.loss),
            at: sample.at,
        };
        if sample.mos < self.lowest.mos {
            self.lowest = sample;
        }
        if sample.mos > self.highest.mos {
            self.highest = sample;
        }
    }

    fn told(&self) -> Dictionary {
        let each = self.samples.unsigned_abs().max(1);
        let average = Sample {
            mos: self.sum.mos.map(|sum| sum / self.samples.max(1)),
            round_trip: self.sum.round_trip / each,
            jitter: self.sum.jitter / each,
            loss: self.sum.loss / each,
            at: self.sum.at,
        };
        Dictionary::new()
            .with("cumulative loss", self.lost)
            .with("average MOS", average.told().with("samples", self.samples))
            .with("lowest MOS", self.lowest.told_with_time())
            .with("highest MOS", self.highest.told_with_time())
    }
}

impl Sample {
    fn of(quality: &Quality, codecs: &str, now: i64) -> Self {
        let first = codecs.split(", ").next().unwrap_or_default();
        let codec = first.split_once(' ').map_or("", |(_, name)| name);
        let score = mos::of_report(codec, quality);
        Self {
            mos: score.map(|mos| (mos * 10.0).round() as i64),
            round_trip: quality.round_trip.map_or(0, |time| time.as_micros() as u64),
            jitter: quality.jitter.map_or(0, |time| time.as_millis() as u64),
            loss: u64::from(quality.fraction_lost) * 100 / 256,
            at: now,
        }
    }

    fn told(self) -> Dictionary {
        let mut told = Dictionary::new();
        if let Some(mos) = self.mos {
            told.push("MOS", mos);
        }
        told.with("round-trip time", self.round_trip)
            .with("jitter", self.jitter)
            .with("packet loss", self.loss)
    }

    fn told_with_time(self) -> Dictionary {
        self.told().with("reported at", self.at)
    }
}

/// Every source of a call that a report was about.
pub(super) fn told(call: &Call) -> Dictionary {
    let mut told = Dictionary::new();
    for source in call
        .dialogues
        .iter()
        .flat_map(|dialogue| &dialogue.heard.sources)
    {
        let name = source.ssrc.to_string();
        if told.get(name.as_bytes()).is_none() {
            told.push(name, source.told());
        }
    }
    told
}
