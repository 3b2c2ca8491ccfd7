//! RTCP (RFC 3550 §6): enough to tell it from RTP on one port (RFC 5761 §4), and what its reports say.
//!
//! ```text
//!   0  V=2 P count    1  packet type    2  length in words, less one    4  SSRC
//!
//!   report block   0  SSRC that it is about   4  fraction lost, 8 bits | packets lost, 24 bits, signed
//!                  8  highest sequence number   12  jitter   16  last sender report   20  delay since
//! ```
//!
//! The first header of a compound is in the clear under SRTCP as well; what its reports say is not.

/// Header and sender's SSRC, in bytes: the least that a compound starts with.
pub const MIN_LEN: usize = 8;

/// Whether the second byte of an RTP or RTCP packet is an RTCP packet type on a shared port: 192 to 223.
#[inline]
pub const fn is_packet_type(second: u8) -> bool {
    second >> 5 == 0b110
}

/// Whether a UDP payload with an RTCP packet type starts with a whole RTCP packet of version 2.
#[inline]
pub fn is_valid(payload: &[u8]) -> bool {
    let Some(header) = payload.first_chunk::<MIN_LEN>() else {
        return false;
    };
    let words = u16::from_be_bytes([header[2], header[3]]);
    header[0] >> 6 == 2 && payload.len() >= 4 * (usize::from(words) + 1)
}

/// Packet types that carry reception reports.
const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
/// Bytes of the header and the sender's SSRC, of the sender's information, of a block.
const HEADER_LEN: usize = 8;
const SENDER_INFO_LEN: usize = 20;
const BLOCK_LEN: usize = 24;

/// A sender report or receiver report (RFC 3550 §6.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report<'a> {
    /// The SSRC of whose it is.
    pub sender: u32,
    /// Of a sender report: the middle 32 bits of its NTP timestamp, by which receivers name it.
    pub sent: Option<u32>,
    /// Whole blocks, as many as announced.
    blocks: &'a [u8],
}

/// What a report says of one stream (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// The SSRC of the stream.
    pub about: u32,
    /// Packets lost since the report before, in 256ths of those expected.
    pub fraction_lost: u8,
    /// Packets lost since the beginning: 24 bits. Duplicates make it negative.
    pub lost: i32,
    /// Interarrival jitter, in units of the stream's RTP clock.
    pub jitter: u32,
    /// Which sender report came last, as [`Report::sent`] names it; 0: none.
    pub last_sender_report: u32,
    /// How long ago that was, in 1/65,536 seconds.
    pub delay: u32,
}

/// The reports of a compound, in order. Other packets are passed over, and so are reports that are shorter than their
/// blocks; it ends at the first packet that is not whole or not of version 2.
pub const fn reports(compound: &[u8]) -> Reports<'_> {
    Reports { rest: compound }
}

/// See [`reports`].
#[derive(Clone, Debug)]
pub struct Reports<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Reports<'a> {
    type Item = Report<'a>;

    fn next(&mut self) -> Option<Report<'a>> {
        loop {
            let header: &[u8; 4] = self.rest.first_chunk()?;
            if header[0] >> 6 != 2 {
                self.rest = &[];
                return None;
            }
            let words = usize::from(u16::from_be_bytes([header[2], header[3]]));
            let (packet, rest) = self.rest.split_at_checked(4 * (words + 1))?;
            self.rest = rest;
            if let Some(report) = Report::new(packet) {
                return Some(report);
            }
        }
    }
}

impl<'a> Report<'a> {
    /// `packet` is as long as its header says.
    fn new(packet: &'a [u8]) -> Option<Self> {
        let (header, rest) = packet.split_first_chunk::<HEADER_LEN>()?;
        let (sent, blocks) = match header[1] {
            SENDER_REPORT => {
                let (information, blocks) = rest.split_first_chunk::<SENDER_INFO_LEN>()?;
                (Some(word(information, 2)), blocks)
            }
            RECEIVER_REPORT => (None, rest),
            _ => return None,
        };
        let count = usize::from(header[0] & 0x1f);
        Some(Self {
            sender: word(header, 4),
            sent,
            blocks: blocks.get(..count * BLOCK_LEN)?,
        })
    }

    /// Its blocks.
    pub fn blocks(&self) -> impl Iterator<Item = Block> + use<'a> {
        self.blocks.chunks_exact(BLOCK_LEN).map(Block::new)
    }
}

impl Block {
    fn new(bytes: &[u8]) -> Self {
        let loss = word(bytes, 4);
        Self {
            about: word(bytes, 0),
            fraction_lost: (loss >> 24) as u8,
            // The sign of 24 bits.
            lost: (loss << 8) as i32 >> 8,
            jitter: word(bytes, 12),
            last_sender_report: word(bytes, 16),
            delay: word(bytes, 20),
        }
    }
}

/// The word at a place; 0 where there is none.
fn word(bytes: &[u8], at: usize) -> u32 {
    let word = bytes.get(at..).and_then(|rest| rest.first_chunk());
    word.map_or(0, |word| u32::from_be_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A block about 0xb0b: 3/256 lost, -2 in all, jitter 160, of the sender report 0x1234_5678, half a second later.
    const BLOCK: [u8; 24] = [
        0, 0, 0x0b, 0x0b, 3, 0xff, 0xff, 0xfe, 0, 0, 0, 9, 0, 0, 0, 160, 0x12, 0x34, 0x56, 0x78, 0,
        0, 0x80, 0,
    ];

    fn report(kind: u8, blocks: usize) -> Vec<u8> {
        let information = if kind == SENDER_REPORT { 20 } else { 0 };
        let words = (HEADER_LEN + information + BLOCK_LEN * blocks) / 4 - 1;
        let mut packet = vec![0x80 | blocks as u8, kind, 0, words as u8, 0, 0, 0x0a, 0x0a];
        packet.extend(
            &[
                0xaa, 0xbb, 0x12, 0x34, 0x56, 0x78, 0xcc, 0xdd, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3,
            ][..information],
        );
        packet.extend(BLOCK.repeat(blocks));
        packet
    }

    /// A source description: one word of items.
    const DESCRIPTION: [u8; 12] = [0x81, 202, 0, 2, 0, 0, 0x0a, 0x0a, 1, 1, b'x', 0];

    #[test]
    fn a_compound_s_reports_are_read_and_the_rest_passed_over() {
        let compound = [
            &report(SENDER_REPORT, 1)[..],
            &DESCRIPTION,
            &report(RECEIVER_REPORT, 2),
        ]
        .concat();
        let all: Vec<_> = reports(&compound).collect();
        let [sender, receiver] = all[..] else {
            panic!("two reports: {all:?}");
        };
        assert_eq!((sender.sender, sender.sent), (0x0a0a, Some(0x1234_5678)));
        assert_eq!((receiver.sender, receiver.sent), (0x0a0a, None));
        assert_eq!((sender.blocks().count(), receiver.blocks().count()), (1, 2));
        let block = Block {
            about: 0x0b0b,
            fraction_lost: 3,
            lost: -2,
            jitter: 160,
            last_sender_report: 0x1234_5678,
            delay: 0x8000,
        };
        assert!(
            sender
                .blocks()
                .chain(receiver.blocks())
                .all(|each| each == block)
        );
    }

    #[test]
    fn loss_has_the_sign_of_its_24_bits() {
        let lost = |bytes: [u8; 3]| {
            let mut block = BLOCK;
            block[5..8].copy_from_slice(&bytes);
            Block::new(&block).lost
        };
        assert_eq!(lost([0x7f, 0xff, 0xff]), 8_388_607);
        assert_eq!(lost([0x80, 0, 0]), -8_388_608);
        assert_eq!(lost([0, 0, 1]), 1);
    }

    #[test]
    fn what_is_cut_or_lies_about_its_length_says_nothing() {
        let whole = report(SENDER_REPORT, 1);
        for len in 0..whole.len() {
            assert_eq!(reports(&whole[..len]).count(), 0, "{len} bytes");
        }
        let mut more = whole.clone();
        more[0] = 0x82; // two blocks announced
        assert_eq!(reports(&more).count(), 0);
        let mut short = whole.clone();
        short[3] = 1; // it ends after its SSRC
        assert_eq!(reports(&short).count(), 0);
        let mut other = whole.clone();
        other[0] = 0x41; // version 1
        assert_eq!(reports(&other).count(), 0);
        // One that is cut does not take those before it with it.
        let compound = [&whole[..], &whole[..40]].concat();
        assert_eq!(reports(&compound).count(), 1);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..1500)) {
            let read: usize = reports(&bytes).map(|report| HEADER_LEN + report.blocks().count() * BLOCK_LEN).sum();
            prop_assert!(read <= bytes.len());
        }

        #[test]
        fn reports_with_wrong_bytes_are_read_to_an_end(
            changes in prop::collection::vec((0..200_usize, any::<u8>()), 0..8),
            cut in 0..200_usize,
        ) {
            let mut compound = [&report(SENDER_REPORT, 2)[..], &DESCRIPTION, &report(RECEIVER_REPORT, 3)].concat();
            for (at, value) in changes {
                let at = at % compound.len();
                compound[at] = value;
            }
            compound.truncate(cut);
            let read: usize = reports(&compound).map(|report| HEADER_LEN + report.blocks().count() * BLOCK_LEN).sum();
            prop_assert!(read <= compound.len());
        }
    }

    #[test]
    fn the_range_of_rfc_5761() {
        let types: Vec<u8> = (0..=255).filter(|byte| is_packet_type(*byte)).collect();
        assert_eq!(types, (192..=223).collect::<Vec<u8>>());
    }

    #[test]
    fn the_announced_length_must_be_there() {
        let report = [0x80, 201, 0, 1, 1, 2, 3, 4];
        assert!(is_valid(&report));
        assert!(!is_valid(&report[..7]));
        assert!(!is_valid(&[0x80, 201, 0, 2, 1, 2, 3, 4]));
        assert!(!is_valid(&[0x40, 201, 0, 1, 1, 2, 3, 4]));
    }
}
