//! How well each stream arrived, by its SSRC: what RTCP that passed has told of it.
//!
//! Only the last report is known, so that the average, the highest and the lowest score are the same.

use std::collections::HashMap;

use contract::FlowKey;

use super::book::Call;
use super::door::Hands;
use super::value::Dictionary;
use crate::records::{FlowRecord, Measured, mos};
use crate::session::Side;

/// Every SSRC of a call that a report was about.
pub(super) fn of(
    call: &Call,
    counted: &HashMap<FlowKey, FlowRecord>,
    hands: &Hands<'_>,
) -> Dictionary {
    let mut told = Dictionary::new();
    for dialogue in &call.dialogues {
        let Some(view) = hands.engine.describe(dialogue.session) else {
            continue;
        };
        for stream in &view.streams {
            for side in [Side::A, Side::B] {
                let place = usize::from(side == Side::B);
                let (speaker, listener) = (&stream.parties[place], &stream.parties[1 - place]);
                let record = speaker.local_rtp.and_then(|local| {
                    let key = FlowKey {
                        address: local.ip(),
                        port: local.port(),
                    };
                    counted.get(&key)
                });
                let Some((ssrc, measured)) = record.and_then(|record| {
                    let measured = record.measured;
                    Some((measured.quality?.ssrc?, measured))
                }) else {
                    continue;
                };
                let name = ssrc.to_string();
                if told.get(name.as_bytes()).is_none() {
                    let now = hands.wall.at(hands.now).as_second();
                    told.push(name, one(&measured, &listener.codecs, now));
                }
            }
        }
    }
    told
}

fn one(measured: &Measured, codecs: &str, now: i64) -> Dictionary {
    let quality = measured.quality.unwrap_or_default();
    let first = codecs.split(", ").next().unwrap_or_default();
    let codec = first.split_once(' ').map_or("", |(_, name)| name);
    let expected = measured.packets.saturating_add(quality.lost).max(1);
    let percent = quality.lost.saturating_mul(100) / expected;
    let mut score = Dictionary::new();
    if let Some(mos) = mos::of_stream(codec, measured) {
        score.push("MOS", (mos * 10.0).round() as i64);
    }
    let micros = quality.round_trip.map_or(0, |time| time.as_micros() as u64);
    score.push("round-trip time", micros);
    let millis = quality.jitter.map_or(0, |time| time.as_millis() as u64);
    score.push("jitter", millis);
    score.push("packet loss", percent);
    let extreme = score.clone().with("reported at", now);
    Dictionary::new()
        .with("cumulative loss", quality.lost)
        .with("average MOS", score.with("samples", 1_i64))
        .with("lowest MOS", extreme.clone())
        .with("highest MOS", extreme)
}
