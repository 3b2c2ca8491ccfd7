//! A packet's UDP payload: written by the generator, compared by the sink.

use super::{FlowNumber, mix, sum};
use crate::streams::Content;

/// The stamp's length in bytes.
pub const STAMP_LEN: usize = 32;
const RTP: usize = 12;
const RTCP: usize = 20;
/// PCMA: what a relay expects to see when it looks.
const PAYLOAD_TYPE: u8 = 8;
/// Samples in 20 ms at 8 kHz.
const SAMPLES: u32 = 160;
const RECEIVER_REPORT: u8 = 201;
const APPLICATION_DEFINED: u8 = 204;
/// Between one pair of the pattern's words and the next: 2^64 by the golden ratio, odd.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// What a packet says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The run that it belongs to, chosen at random.
    pub run: u32,
    /// The trial of the run; 0 is the warm-up.
    pub trial: u32,
    /// Its flow.
    pub flow: FlowNumber,
    /// Its number in the flow, through all trials.
    pub sequence: u64,
    /// When it was to be sent.
    pub due: u64,
}

impl Stamp {
    /// Each field by an odd number of its own, so that a change of one always changes the product.
    #[inline]
    fn check(&self) -> u32 {
        let context = u64::from(self.run) << 32 | u64::from(self.trial);
        let hash = mix(context.wrapping_mul(0xff51_afd7_ed55_8ccd)
            ^ self.due.wrapping_mul(0xc4ce_b9fe_1a85_ec53)
            ^ self.place());
        (hash >> 32) as u32
    }

    /// Flow and sequence in one number.
    #[inline]
    fn place(&self) -> u64 {
        u64::from(self.flow.0).wrapping_mul(STEP)
            ^ self.sequence.wrapping_mul(0xd6e8_feb8_6659_fd93)
    }

    #[inline]
    fn bytes(&self) -> [u8; STAMP_LEN] {
        let mut bytes = [0; STAMP_LEN];
        bytes[..4].copy_from_slice(&self.run.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.trial.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.flow.0.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.check().to_be_bytes());
        bytes[16..24].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[24..].copy_from_slice(&self.due.to_be_bytes());
        bytes
    }

    /// The stamp in a UDP payload; `None` when there is none whose check fits.
    #[inline]
    pub fn read(payload: &[u8]) -> Option<Self> {
        let at = match payload.get(1)? {
            &RECEIVER_REPORT => RTCP,
            _ => RTP,
        };
        let bytes: &[u8; STAMP_LEN] = payload.get(at..)?.first_chunk()?;
        let (words, _) = bytes.as_chunks::<4>();
        let word = |at: usize| u32::from_be_bytes(words[at]);
        let long = |at: usize| u64::from(word(at)) << 32 | u64::from(word(at + 1));
        let stamp = Self {
            run: word(0),
            trial: word(1),
            flow: FlowNumber(word(2)),
            sequence: long(4),
            due: long(6),
        };
        (word(3) == stamp.check()).then_some(stamp)
    }
}

/// A whole payload, but for its length.
#[derive(Clone, Copy, Debug)]
pub struct Payload {
    /// RTP or RTCP headers, and the stamp.
    head: [u8; RTCP + STAMP_LEN],
    head_len: usize,
    /// The pattern's first word.
    seed: u64,
}

impl Payload {
    /// A flow's packet of `length` bytes.
    #[inline]
    pub fn new(content: Content, stamp: &Stamp, length: usize) -> Self {
        let mut head = [0; RTCP + STAMP_LEN];
        let source = source(stamp.flow).to_be_bytes();
        let headers = match content {
            Content::Rtp => {
                head[0] = 0x80;
                head[1] = PAYLOAD_TYPE;
                head[2..4].copy_from_slice(&(stamp.sequence as u16).to_be_bytes());
                let timestamp = (stamp.sequence as u32).wrapping_mul(SAMPLES);
                head[4..8].copy_from_slice(&timestamp.to_be_bytes());
                head[8..12].copy_from_slice(&source);
                head[RTP..RTP + STAMP_LEN].copy_from_slice(&stamp.bytes());
                RTP
            }
            Content::Rtcp => {
                // A compound packet starts with a report (RFC 3550 §6.1), here one without blocks.
                head[..4].copy_from_slice(&[0x80, RECEIVER_REPORT, 0, 1]);
                head[4..8].copy_from_slice(&source);
                let words = (length - 8) / 4 - 1;
                head[8..10].copy_from_slice(&[0x80, APPLICATION_DEFINED]);
                head[10..12].copy_from_slice(&(words as u16).to_be_bytes());
                head[12..16].copy_from_slice(&source);
                head[16..20].copy_from_slice(b"tndm");
                head[RTCP..].copy_from_slice(&stamp.bytes());
                RTCP
            }
        };
        Self {
            head,
            head_len: headers + STAMP_LEN,
            seed: mix(stamp.place()),
        }
    }

    /// Writes it, as long as `payload` is. Gives its sum, see [`sum::wide`].
    ///
    /// Each word of the pattern is followed by its complement, whose sum is a zero of ones' complement: only the
    /// last, incomplete pair counts.
    #[inline]
    pub fn write(&self, payload: &mut [u8]) -> u64 {
        let (head, rest) = payload.split_at_mut(self.head_len);
        head.copy_from_slice(&self.head[..self.head_len]);
        let (pairs, last) = rest.as_chunks_mut::<16>();
        let mut word = self.seed;
        for pair in pairs {
            *pair = pair_of(word);
            word = word.wrapping_add(STEP);
        }
        last.copy_from_slice(&pair_of(word)[..last.len()]);
        sum::wide(head) + sum::wide(last)
    }

    /// Whether `payload` is what [`Payload::write`] would have written: its sum, then.
    #[inline]
    pub fn sum_if_equal(&self, payload: &[u8]) -> Option<u64> {
        let (head, rest) = payload.split_at_checked(self.head_len)?;
        let (pairs, last) = rest.as_chunks::<16>();
        let mut word = self.seed;
        let mut differences = 0;
        for pair in pairs {
            differences |= u128::from_ne_bytes(*pair) ^ u128::from_ne_bytes(pair_of(word));
            word = word.wrapping_add(STEP);
        }
        let equal = differences == 0
            && head == &self.head[..self.head_len]
            && last == &pair_of(word)[..last.len()];
        equal.then(|| sum::wide(head) + sum::wide(last))
    }
}

#[inline]
fn pair_of(word: u64) -> [u8; 16] {
    (u128::from(!word) << 64 | u128::from(word)).to_le_bytes()
}

/// A flow's SSRC.
#[inline]
fn source(flow: FlowNumber) -> u32 {
    mix(u64::from(flow.0) + 1) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stamps() -> impl Strategy<Value = Stamp> {
        any::<(u32, u32, u32, u64, u64)>().prop_map(|(run, trial, flow, sequence, due)| Stamp {
            run,
            trial,
            flow: FlowNumber(flow),
            sequence,
            due,
        })
    }

    fn contents() -> impl Strategy<Value = Content> {
        prop_oneof![Just(Content::Rtp), Just(Content::Rtcp)]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_sums_as_its_bytes(
            stamp in stamps(), content in contents(), words in 15_usize..=350, odd in 0_usize..4,
        ) {
            let length = 4 * words + if content == Content::Rtp && words < 350 { odd } else { 0 };
            let payload = Payload::new(content, &stamp, length);
            let mut bytes = vec![0; length];
            let sum = payload.write(&mut bytes);
            let zero_or_all_ones = |sum: u16| sum % 0xffff;
            prop_assert_eq!(
                zero_or_all_ones(sum::fold(sum)),
                zero_or_all_ones(sum::fold(sum::wide(&bytes)))
            );
            prop_assert_eq!(Stamp::read(&bytes), Some(stamp));
            prop_assert_eq!(payload.sum_if_equal(&bytes), Some(sum));
        }

        #[test]
        fn any_changed_bit_is_seen(
            stamp in stamps(), content in contents(), words in 15_usize..=60, at in any::<prop::sample::Index>(),
            bit in 0..8,
        ) {
            let payload = Payload::new(content, &stamp, 4 * words);
            let mut bytes = vec![0; 4 * words];
            payload.write(&mut bytes);
            let at = at.index(bytes.len());
            bytes[at] ^= 1_u8 << bit;
            prop_assert_eq!(payload.sum_if_equal(&bytes), None);
        }

        #[test]
        fn the_next_packet_is_another(stamp in stamps(), content in contents()) {
            let mut bytes = vec![0; 172];
            Payload::new(content, &stamp, 172).write(&mut bytes);
            let next = Stamp { sequence: stamp.sequence.wrapping_add(1), ..stamp };
            let next = Payload::new(content, &next, 172);
            prop_assert_eq!(next.sum_if_equal(&bytes), None);
        }
    }
}
