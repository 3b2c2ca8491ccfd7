//! What a listener would think of a stream: the mean opinion score by the E-model (ITU-T G.107), with
//! its default values for everything that a relay cannot know (echo, noise, loudness).
//!
//! ```text
//!   R = 93.2 − Id(delay) − Ie,eff(codec, loss)        MOS = 1 + 0.035 R + R (R − 60) (100 − R) 7·10⁻⁶
//! ```
//!
//! Loss counts as random. For wideband codecs there is no score: their scale is another one (G.107.1).

use std::time::Duration;

use super::{Measured, Quality};

/// R of a connection without any impairment, by the defaults of G.107.
const BEST: f64 = 93.2;

/// How a codec takes loss: equipment impairment and robustness (G.113 Appendix I).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Codec {
    /// Ie: the impairment without loss.
    impairment: f64,
    /// Bpl: the greater, the better loss is concealed.
    robustness: f64,
}

impl Codec {
    /// The codec of an `rtpmap` name, as in `PCMA/8000`; `None` when nothing is known of it.
    pub fn of(name: &str) -> Option<Self> {
        let name = name.split('/').next().unwrap_or_default();
        let (impairment, robustness) = match name.to_ascii_uppercase().as_str() {
            // With the loss concealment of G.711 Appendix I, as phones have it.
            "PCMA" | "PCMU" => (0.0, 25.1),
            "G729" => (11.0, 19.0),
            "G723" => (15.0, 16.1),
            "GSM-EFR" | "AMR" => (5.0, 10.0),
            _ => return None,
        };
        Some(Self {
            impairment,
            robustness,
        })
    }
}

/// The score of a stream of this codec (as in `PCMA/8000`) that was counted so; `None` without a known codec, packets
/// and loss.
pub fn of_stream(codec: &str, measured: &Measured) -> Option<f64> {
    let quality = measured.quality?;
    let codec = Codec::of(codec)?;
    if measured.packets == 0 {
        return None;
    }
    let expected = measured.packets.saturating_add(quality.lost);
    let loss = quality.lost as f64 / expected as f64;
    Some(mos(codec, mouth_to_ear(&quality), loss))
}

/// The score of a stream of this codec between the last two reports of it.
pub fn of_report(codec: &str, quality: &Quality) -> Option<f64> {
    let loss = f64::from(quality.fraction_lost) / 256.0;
    Some(mos(Codec::of(codec)?, mouth_to_ear(quality), loss))
}

/// In ms.
fn mouth_to_ear(quality: &Quality) -> f64 {
    let millis = |time: Option<Duration>| time.map_or(0.0, |time| time.as_secs_f64() * 1000.0);
    // A receiver holds packets back for about twice the jitter, and one packet is 20 ms of sound.
    millis(quality.round_trip) / 2.0 + 2.0 * millis(quality.jitter) + 20.0
}

/// The score, from 1 to 4.5: `delay_ms` is the one-way delay, mouth to ear; `loss` the share of packets
/// lost, from 0 to 1.
pub fn mos(codec: Codec, delay_ms: f64, loss: f64) -> f64 {
    score(BEST - delay_impairment(delay_ms) - equipment_impairment(codec, loss))
}

/// Id of G.107 without echo, as G.107's simplification for networks has it: a slope, steeper beyond 177.3 ms.
fn delay_impairment(delay_ms: f64) -> f64 {
    let delay = delay_ms.max(0.0);
    0.024 * delay + 0.11 * (delay - 177.3).max(0.0)
}

/// Ie,eff: from Ie without loss towards 95 with it.
fn equipment_impairment(codec: Codec, loss: f64) -> f64 {
    let percent = loss.clamp(0.0, 1.0) * 100.0;
    let share = percent / (percent + codec.robustness);
    codec.impairment + (95.0 - codec.impairment) * share
}

fn score(r: f64) -> f64 {
    if r <= 0.0 {
        return 1.0;
    }
    let r = r.min(100.0);
    (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, delay: f64, loss: f64) -> f64 {
        let codec = Codec::of(name).expect("a known codec");
        (mos(codec, delay, loss) * 100.0).round() / 100.0
    }

    #[test]
    fn known_values_come_out() {
        // R = 93.2 is 4.41; G.729 loses 11 of it: 82.2 is 4.10.
        assert_eq!(of("PCMA/8000", 0.0, 0.0), 4.41);
        assert_eq!(of("G729/8000", 0.0, 0.0), 4.1);
        // 5 % of G.711: Ie,eff = 95 * 5 / 30.1 = 15.8, R = 77.4.
        assert_eq!(of("pcmu/8000", 0.0, 0.05), 3.92);
        assert_eq!(of("PCMU", 0.0, 1.0), 1.18);
        assert_eq!(Codec::of("opus/48000/2"), None);
        assert_eq!(Codec::of("telephone-event/8000"), None);
    }

    #[test]
    fn more_delay_and_more_loss_never_sound_better() {
        for name in ["PCMA", "G729", "G723", "AMR"] {
            let mut before = 5.0;
            for step in 0..=100 {
                let now = of(name, f64::from(step) * 10.0, f64::from(step) / 100.0);
                assert!(
                    now <= before && (1.0..=4.5).contains(&now),
                    "{name} {step}: {now}"
                );
                before = now;
            }
        }
    }
}
