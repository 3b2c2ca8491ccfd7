//! G.711: a byte a sample, to and from 16-bit linear (ITU-T G.711, with the samples left-justified).

/// The two laws.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Law {
    /// µ-law: payload type 0.
    Mu,
    /// A-law: payload type 8.
    A,
}

impl Law {
    /// The law of a static payload type of RTP.
    pub(crate) const fn of_payload_type(payload_type: u8) -> Option<Self> {
        match payload_type {
            0 => Some(Self::Mu),
            8 => Some(Self::A),
            _ => None,
        }
    }

    /// The byte of silence.
    pub(crate) const fn silence(self) -> u8 {
        match self {
            Self::Mu => 0xff,
            Self::A => 0xd5,
        }
    }

    /// What a byte means.
    pub(crate) const fn decode(self, code: u8) -> i16 {
        match self {
            Self::Mu => decode_mu(code),
            Self::A => decode_a(code),
        }
    }

    /// The byte that comes nearest.
    pub(crate) const fn encode(self, sample: i16) -> u8 {
        match self {
            Self::Mu => encode_mu(sample),
            Self::A => encode_a(sample),
        }
    }
}

/// What µ-law adds before it looks for the segment.
const BIAS: i32 = 0x84;
/// The largest magnitude of µ-law.
const CLIP: i32 = 32_635;

const fn decode_mu(code: u8) -> i16 {
    let code = !code;
    let step = ((code as i32 & 0xf) << 3) + BIAS;
    let magnitude = (step << (code >> 4 & 7)) - BIAS;
    match code & 0x80 {
        0 => magnitude as i16,
        _ => -magnitude as i16,
    }
}

const fn encode_mu(sample: i16) -> u8 {
    let magnitude = (sample as i32).abs();
    let magnitude = BIAS + if magnitude > CLIP { CLIP } else { magnitude };
    // From 7, the bias, to 14, the clip.
    let segment = magnitude.ilog2() - 7;
    let step = (magnitude >> (segment + 3)) as u8 & 0xf;
    let sign = if sample < 0 { 0x80 } else { 0 };
    !(sign | (segment as u8) << 4 | step)
}

const fn decode_a(code: u8) -> i16 {
    let code = code ^ 0x55;
    let step = (code as i32 & 0xf) << 4;
    let magnitude = match code >> 4 & 7 {
        0 => step + 8,
        segment => (step + 0x108) << (segment - 1),
    };
    match code & 0x80 {
        0 => -magnitude as i16,
        _ => magnitude as i16,
    }
}

const fn encode_a(sample: i16) -> u8 {
    let (sign, magnitude) = match sample < 0 {
        true => (0, !sample as i32),
        false => (0x80, sample as i32),
    };
    let code = match magnitude < 0x100 {
        true => (magnitude >> 4) as u8,
        false => {
            let segment = magnitude.ilog2() - 7;
            (segment as u8) << 4 | (magnitude >> (segment + 3)) as u8 & 0xf
        }
    };
    (sign | code) ^ 0x55
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        for (law, code, sample) in [
            (Law::Mu, 0xff, 0),
            (Law::Mu, 0x80, 32_124),
            (Law::Mu, 0x00, -32_124),
            (Law::A, 0xd5, 8),
            (Law::A, 0x55, -8),
            (Law::A, 0xaa, 32_256),
            (Law::A, 0x2a, -32_256),
        ] {
            assert_eq!(law.decode(code), sample, "{law:?} {code:#x}");
            assert_eq!(law.encode(sample), code, "{law:?} {sample}");
        }
        assert_eq!(Law::of_payload_type(8), Some(Law::A));
        assert_eq!(Law::of_payload_type(9), None);
    }

    #[test]
    fn every_code_comes_back_and_every_sample_is_near() {
        for law in [Law::Mu, Law::A] {
            for code in 0..=u8::MAX {
                let again = law.encode(law.decode(code));
                // Minus nothing is nothing.
                assert!(again == code || (law == Law::Mu && code == 0x7f), "{code}");
            }
            for sample in i16::MIN..=i16::MAX {
                let error = (i32::from(law.decode(law.encode(sample))) - i32::from(sample)).abs();
                assert!(
                    error <= 16 + i32::from(sample).abs() / 30,
                    "{law:?} {sample}"
                );
            }
        }
    }
}
