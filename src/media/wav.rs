//! WAV files: RIFF chunks, of which two are read. G.711 or 16-bit PCM, 8 kHz, one channel.

use super::g711::Law;

/// Samples a second: of G.711, and so of all files.
pub(crate) const RATE: u32 = 8000;

/// `wFormatTag` of the formats that are understood (RFC 2361).
const PCM: u16 = 1;
const A_LAW: u16 = 6;
const MU_LAW: u16 = 7;
/// The format is the first two bytes of a GUID further on, of which the others say that it is one.
const EXTENSIBLE: u16 = 0xfffe;
const GUID_TAIL: [u8; 14] = [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71];

/// Why a file cannot be played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WavError {
    /// It does not begin like one.
    #[error("no WAV file")]
    NoWav,
    /// A chunk is missing.
    #[error("a WAV file without {0}")]
    Without(&'static str),
    /// It is in another format.
    #[error("format {0} of {1} bits: only G.711 and 16-bit PCM can be played")]
    Format(u16, u16),
    /// Another rate, or not one channel.
    #[error("{rate} Hz and {channels} channels: only 8000 Hz and 1 channel can be played")]
    Layout {
        /// Samples a second.
        rate: u32,
        /// Channels.
        channels: u16,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Law(Law),
    Linear,
}

/// A file's audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Audio<'a> {
    encoding: Encoding,
    data: &'a [u8],
}

impl<'a> Audio<'a> {
    /// Finds the audio in a file. A file that was cut off has what is left of it.
    pub(crate) fn read(file: &'a [u8]) -> Result<Self, WavError> {
        let is_wav = file.get(..4) == Some(b"RIFF") && file.get(8..12) == Some(b"WAVE");
        let mut rest = file.get(12..).filter(|_| is_wav).ok_or(WavError::NoWav)?;
        let mut encoding = None;
        while let Some((id, body, following)) = chunk(rest) {
            rest = following;
            match id {
                b"fmt " => encoding = Some(read_format(body)?),
                b"data" => {
                    let encoding = encoding.ok_or(WavError::Without("a format before its data"))?;
                    return Ok(Self {
                        encoding,
                        data: body,
                    });
                }
                _ => {}
            }
        }
        Err(WavError::Without("data"))
    }

    /// How many samples there are.
    pub(crate) fn samples(&self) -> usize {
        match self.encoding {
            Encoding::Law(_) => self.data.len(),
            Encoding::Linear => self.data.len() / 2,
        }
    }

    /// In this law, a byte a sample.
    pub(crate) fn encode(&self, law: Law) -> Vec<u8> {
        match self.encoding {
            Encoding::Law(own) if own == law => self.data.to_vec(),
            Encoding::Law(own) => {
                let samples = self.data.iter().map(|code| own.decode(*code));
                samples.map(|sample| law.encode(sample)).collect()
            }
            Encoding::Linear => {
                let samples = self.data.chunks_exact(2);
                let samples = samples.map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
                samples.map(|sample| law.encode(sample)).collect()
            }
        }
    }
}

/// The first chunk, and what follows it. Chunks begin at even places.
fn chunk(bytes: &[u8]) -> Option<(&[u8; 4], &[u8], &[u8])> {
    let (id, rest) = bytes.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    let body = &rest[..length.min(rest.len())];
    let padded = length.saturating_add(length % 2);
    Some((id, body, rest.get(padded..).unwrap_or_default()))
}

fn read_format(body: &[u8]) -> Result<Encoding, WavError> {
    let short = |at: usize| -> Result<u16, WavError> {
        let bytes = body.get(at..).and_then(|bytes| bytes.first_chunk::<2>());
        let bytes = bytes.ok_or(WavError::Without("a whole format"))?;
        Ok(u16::from_le_bytes(*bytes))
    };
    let (mut tag, channels, bits) = (short(0)?, short(2)?, short(14)?);
    let rate = u32::from(short(4)?) | u32::from(short(6)?) << 16;
    if tag == EXTENSIBLE && body.get(26..40) == Some(&GUID_TAIL) {
        tag = short(24)?;
    }
    let encoding = match (tag, bits) {
        (PCM, 16) => Encoding::Linear,
        (A_LAW, 8) => Encoding::Law(Law::A),
        (MU_LAW, 8) => Encoding::Law(Law::Mu),
        _ => return Err(WavError::Format(tag, bits)),
    };
    match (rate, channels) {
        (RATE, 1) => Ok(encoding),
        _ => Err(WavError::Layout { rate, channels }),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    fn chunk_of(id: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let length = (body.len() as u32).to_le_bytes();
        let pad: &[u8] = if body.len() % 2 == 1 { &[0] } else { &[] };
        [&id[..], &length, body, pad].concat()
    }

    fn format(tag: u16, channels: u16, rate: u32, bits: u16) -> Vec<u8> {
        let block = channels * bits / 8;
        [
            &tag.to_le_bytes()[..],
            &channels.to_le_bytes(),
            &rate.to_le_bytes(),
            &(rate * u32::from(block)).to_le_bytes(),
            &block.to_le_bytes(),
            &bits.to_le_bytes(),
        ]
        .concat()
    }

    fn riff(chunks: &[Vec<u8>]) -> Vec<u8> {
        let body = [&b"WAVE"[..], &chunks.concat()].concat();
        chunk_of(b"RIFF", &body)
    }

    /// A file of 8 kHz µ-law.
    pub(crate) fn mu_law_file(data: &[u8]) -> Vec<u8> {
        riff(&[
            chunk_of(b"fmt ", &format(MU_LAW, 1, RATE, 8)),
            chunk_of(b"data", data),
        ])
    }

    #[test]
    fn what_can_be_played_among_chunks_that_are_not_known() {
        let data = [0xff, 0x80, 0x00];
        let file = riff(&[
            chunk_of(b"LIST", b"odd"),
            chunk_of(b"fmt ", &[format(MU_LAW, 1, RATE, 8), vec![0, 0]].concat()),
            chunk_of(b"fact", &[3, 0, 0, 0]),
            chunk_of(b"data", &data),
            chunk_of(b"LIST", b"after"),
        ]);
        let audio = Audio::read(&file).expect("it can be played");
        assert_eq!(audio.samples(), 3);
        assert_eq!(audio.encode(Law::Mu), data);
        assert_eq!(audio.encode(Law::A), [0xd5, 0xaa, 0x2a]);
        let linear = [0_i16, 32_124, -32_124].map(i16::to_le_bytes).concat();
        let file = riff(&[
            chunk_of(b"fmt ", &format(PCM, 1, RATE, 16)),
            chunk_of(b"data", &linear),
        ]);
        let audio = Audio::read(&file).expect("it can be played");
        assert_eq!((audio.samples(), audio.encode(Law::Mu)), (3, data.to_vec()));
    }

    #[test]
    fn the_extensible_format_says_another_one() {
        let mut body = format(EXTENSIBLE, 1, RATE, 8);
        body.extend([22, 0, 8, 0, 0, 0, 0, 0, 6, 0]);
        body.extend(GUID_TAIL);
        let file = riff(&[chunk_of(b"fmt ", &body), chunk_of(b"data", &[0xd5])]);
        let audio = Audio::read(&file).expect("A-law");
        assert_eq!(audio.encode(Law::A), [0xd5]);
        body.truncate(30);
        let file = riff(&[chunk_of(b"fmt ", &body), chunk_of(b"data", &[0xd5])]);
        assert_eq!(Audio::read(&file), Err(WavError::Format(EXTENSIBLE, 8)));
    }

    #[test]
    fn what_cannot_be_played_says_why() {
        let with =
            |format: Vec<u8>| riff(&[chunk_of(b"fmt ", &format), chunk_of(b"data", &[0; 4])]);
        for (file, error) in [
            (b"RIFX".to_vec(), WavError::NoWav),
            (riff(&[]), WavError::Without("data")),
            (
                riff(&[chunk_of(b"data", &[])]),
                WavError::Without("a format before its data"),
            ),
            (with(vec![1, 0]), WavError::Without("a whole format")),
            (with(format(PCM, 1, RATE, 8)), WavError::Format(PCM, 8)),
            (
                with(format(PCM, 2, 44_100, 16)),
                WavError::Layout {
                    rate: 44_100,
                    channels: 2,
                },
            ),
        ] {
            assert_eq!(Audio::read(&file), Err(error));
        }
        // One that was cut off has what is left.
        let whole = mu_law_file(&[1, 2, 3, 4]);
        let cut = Audio::read(&whole[..whole.len() - 1]).expect("three samples");
        assert_eq!(cut.encode(Law::Mu), [1, 2, 3]);
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_much(
            format in proptest::collection::vec(any::<u8>(), 0..60),
            ids in proptest::collection::vec(0_usize..4, 0..5),
            lengths in proptest::collection::vec(any::<u32>(), 5),
            tail in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            let mut file = b"RIFF....WAVE".to_vec();
            for (id, length) in ids.iter().zip(lengths) {
                file.extend([b"fmt ", b"data", b"LIST", b"\0\0\0\0"][*id]);
                file.extend((length >> (length % 33).min(31)).to_le_bytes());
                file.extend(&format);
            }
            file.extend(tail);
            if let Ok(audio) = Audio::read(&file) {
                prop_assert_eq!(audio.encode(Law::A).len(), audio.samples());
                prop_assert!(audio.samples() <= file.len());
            }
            for end in 0..file.len().min(64) {
                let _ = Audio::read(&file[..end]);
            }
        }
    }
}
