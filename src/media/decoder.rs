//! An RTP stream of G.711 as 16-bit samples without gaps: what is missing is silence, what comes late is left out.

use super::g711::Law;

/// A gap of more packets than this is not filled: the stream goes on as if it had begun anew.
const LONGEST_GAP: u16 = 100;
/// RTP's fixed header (RFC 3550 §5.1).
const HEADER: usize = 12;

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decoded {
    /// Its samples follow those of the last one; so many bytes of them.
    Audio(usize),
    /// It came late, or twice.
    Late,
    /// It has another format.
    Unknown,
}

/// What is read of a packet of RTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rtp<'a> {
    /// Who sends it.
    pub(crate) ssrc: u32,
    payload_type: u8,
    sequence: u16,
    payload: &'a [u8],
}

impl<'a> Rtp<'a> {
    /// Reads a packet; `None`: it is none.
    pub(crate) fn read(packet: &'a [u8]) -> Option<Self> {
        let header = packet.first_chunk::<HEADER>()?;
        if header[0] >> 6 != 2 {
            return None;
        }
        let mut start = HEADER + usize::from(header[0] & 0xf) * 4;
        if header[0] & 0x10 != 0 {
            let extension = packet.get(start..)?.first_chunk::<4>()?;
            let words = u16::from_be_bytes([extension[2], extension[3]]);
            start += 4 + usize::from(words) * 4;
        }
        let mut end = packet.len();
        if header[0] & 0x20 != 0 {
            let padding = usize::from(*packet.last()?);
            end = end.checked_sub(padding.max(1))?;
        }
        Some(Self {
            ssrc: u32::from_be_bytes([header[8], header[9], header[10], header[11]]),
            payload_type: header[1] & 0x7f,
            sequence: u16::from_be_bytes([header[2], header[3]]),
            payload: packet.get(start..end)?,
        })
    }
}

/// One stream.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Decoder {
    next: Option<u16>,
    /// Samples of the last packet: so many are missing with each that is lost.
    samples: usize,
}

impl Decoder {
    /// Whether a packet of this format can be decoded.
    pub(crate) fn knows(rtp: &Rtp<'_>) -> bool {
        Law::of_payload_type(rtp.payload_type).is_some()
    }

    /// Appends the packet's samples, little end first, and before them silence for those that are missing.
    pub(crate) fn take(&mut self, rtp: &Rtp<'_>, pcm: &mut Vec<u8>) -> Decoded {
        let Some(law) = Law::of_payload_type(rtp.payload_type) else {
            return Decoded::Unknown;
        };
        let ahead = self.next.map_or(0, |next| rtp.sequence.wrapping_sub(next));
        // Behind, and not so far that the sender must have begun anew.
        if ahead > u16::MAX - LONGEST_GAP {
            return Decoded::Late;
        }
        let before = pcm.len();
        if ahead <= LONGEST_GAP {
            let missing = usize::from(ahead) * self.samples;
            pcm.resize(before + missing * 2, 0);
        }
        let samples = rtp.payload.iter().map(|code| law.decode(*code));
        pcm.extend(samples.flat_map(i16::to_le_bytes));
        self.next = Some(rtp.sequence.wrapping_add(1));
        self.samples = rtp.payload.len();
        Decoded::Audio(pcm.len() - before)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A packet of RTP.
    pub(crate) fn rtp(ssrc: u32, payload_type: u8, sequence: u16, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x80, payload_type];
        packet.extend(sequence.to_be_bytes());
        packet.extend((u32::from(sequence) * 160).to_be_bytes());
        packet.extend(ssrc.to_be_bytes());
        packet.extend(payload);
        packet
    }

    fn feed(decoder: &mut Decoder, sequence: u16, payload: &[u8]) -> (Decoded, Vec<u8>) {
        let packet = rtp(1, 0, sequence, payload);
        let mut pcm = Vec::new();
        let rtp = Rtp::read(&packet).expect("RTP");
        (decoder.take(&rtp, &mut pcm), pcm)
    }

    #[test]
    fn gaps_are_silent_and_late_ones_left_out() {
        let mut decoder = Decoder::default();
        let loud = 32_124_i16.to_le_bytes();
        let two = loud.repeat(2);
        assert_eq!(
            feed(&mut decoder, 65_535, &[0x80; 2]),
            (Decoded::Audio(4), two.clone())
        );
        assert_eq!(
            feed(&mut decoder, 0, &[0x80; 2]),
            (Decoded::Audio(4), two.clone())
        );
        assert_eq!(
            feed(&mut decoder, 65_535, &[0x80; 2]),
            (Decoded::Late, vec![])
        );
        assert_eq!(feed(&mut decoder, 0, &[0x80; 2]).0, Decoded::Late);
        let (decoded, pcm) = feed(&mut decoder, 3, &[0x80; 2]);
        assert_eq!(
            (decoded, &pcm[..8], &pcm[8..]),
            (Decoded::Audio(12), &[0; 8][..], &two[..])
        );
        // Too far ahead, or behind: it has begun anew.
        assert_eq!(feed(&mut decoder, 1000, &[0x80]).0, Decoded::Audio(2));
        assert_eq!(feed(&mut decoder, 500, &[0x80]).0, Decoded::Audio(2));
        assert_eq!(feed(&mut decoder, 501, &[0x80]).0, Decoded::Audio(2));
    }

    #[test]
    fn the_payload_is_between_extension_and_padding() {
        let mut packet = rtp(7, 8, 1, &[]);
        packet[0] |= 0x31;
        // A source that contributes, an extension of one word, two samples, two bytes of padding.
        packet.extend([0, 0, 0, 9, 0xbe, 0xde, 0, 1, 1, 2, 3, 4, 0xd5, 0xd5, 0, 2]);
        let rtp = Rtp::read(&packet).expect("RTP");
        assert_eq!((rtp.ssrc, rtp.payload), (7, &[0xd5, 0xd5][..]));
        let mut pcm = Vec::new();
        assert_eq!(Decoder::default().take(&rtp, &mut pcm), Decoded::Audio(4));
        assert_eq!(pcm, [8, 0, 8, 0]);
        let unknown = Rtp {
            payload_type: 101,
            ..rtp
        };
        assert_eq!(
            Decoder::default().take(&unknown, &mut pcm),
            Decoded::Unknown
        );
    }

    proptest! {
        #[test]
        fn no_packet_is_too_much(packets in proptest::collection::vec(
            proptest::collection::vec(any::<u8>(), 0..40), 0..20,
        )) {
            let mut decoder = Decoder::default();
            for mut packet in packets {
                if let Some(first) = packet.first_mut() {
                    *first = *first & 0x3f | 0x80;
                }
                let mut pcm = Vec::new();
                if let Some(rtp) = Rtp::read(&packet) {
                    decoder.take(&rtp, &mut pcm);
                }
                prop_assert!(pcm.len() <= 2 * 40 * (1 + usize::from(LONGEST_GAP)));
            }
        }
    }
}
