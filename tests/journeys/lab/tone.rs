//! Tones: written as a WAV file, and found again in another (16 bits, mono, 8 kHz).

use std::f64::consts::TAU;
use std::path::Path;

const RATE: u32 = 8000;
/// 50 ms: whole periods of every multiple of 20 Hz.
const WINDOW: usize = 400;
/// Below this amplitude it is silence.
const SILENCE: f64 = 200.0;

/// Writes so many seconds of a tone.
pub(crate) fn write_wav(path: &Path, frequency: u32, seconds: u32) {
    let count = RATE * seconds;
    let mut wav = b"RIFF".to_vec();
    wav.extend((36 + 2 * count).to_le_bytes());
    wav.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    wav.extend(RATE.to_le_bytes());
    wav.extend((2 * RATE).to_le_bytes());
    wav.extend(b"\x02\0\x10\0data");
    wav.extend((2 * count).to_le_bytes());
    for number in 0..count {
        let phase = TAU * f64::from(frequency) * f64::from(number) / f64::from(RATE);
        wav.extend(((phase.sin() * 10_000.0) as i16).to_le_bytes());
    }
    std::fs::write(path, wav).expect("the directory can be written to");
}

/// The samples of a file.
#[track_caller]
pub(crate) fn read_wav(path: &Path) -> Vec<i16> {
    let wav = std::fs::read(path).expect("the file is there");
    let data = wav.windows(4).position(|word| word == b"data");
    let data = data.expect("a WAV file has data") + 8;
    wav[data..]
        .chunks_exact(2)
        .map(|sample| i16::from_le_bytes([sample[0], sample[1]]))
        .collect()
}

/// How many seconds of a recording are this tone and nothing else, and how many are anything else than silence.
pub(crate) fn seconds_of(samples: &[i16], frequency: u32) -> (f64, f64) {
    let (mut tone, mut sound) = (0, 0);
    for window in samples.chunks_exact(WINDOW) {
        let energy: f64 = window.iter().map(|s| f64::from(*s).powi(2)).sum();
        if energy < SILENCE.powi(2) * WINDOW as f64 {
            continue;
        }
        sound += 1;
        // Of a pure tone all energy is at its frequency.
        if power(window, frequency) > 0.9 * energy {
            tone += 1;
        }
    }
    let seconds = |windows: u32| f64::from(windows) * WINDOW as f64 / f64::from(RATE);
    (seconds(tone), seconds(sound))
}

/// The energy of a window at one frequency (Goertzel).
fn power(window: &[i16], frequency: u32) -> f64 {
    let turn = TAU * f64::from(frequency) / f64::from(RATE);
    let (mut last, mut before) = (0.0, 0.0);
    for sample in window {
        let next = f64::from(*sample) + 2.0 * turn.cos() * last - before;
        (before, last) = (last, next);
    }
    let square = last * last + before * before - 2.0 * turn.cos() * last * before;
    2.0 * square / window.len() as f64
}
