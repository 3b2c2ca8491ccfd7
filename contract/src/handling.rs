//! What is done to the packets of a flow beside forwarding them. Most flows have none of it, and pay for none.

use crate::FlowKey;

/// The most digits of one [`Press`].
pub const MAX_DIGITS: usize = 32;
/// The most places that copies of a flow's packets go to.
pub const MAX_COPIES: usize = 4;

/// What a worker does with the packets that a flow has accepted, in this order:
///
/// ```text
///   accepted ─► media, events ─► press ─► tap ─► copies ─► rewrite
///               └─► blocked, dtmf_blocked          └─► as if it had arrived there
/// ```
///
/// Only RTP in the clear is read. RTCP and everything else passes, unless [`Media::Drop`] drops all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handling {
    /// What becomes of the media.
    pub media: Media,
    /// Which payload types are key presses (RFC 4733), and what becomes of them.
    pub events: Events,
    /// Key presses that are put into the stream.
    pub press: Option<Press>,
    /// Who gets a copy of each packet that is passed, as it arrived but with the payload that leaves.
    pub tap: Option<TapId>,
    /// Where each packet that is passed arrives as well: as if its payload had come to these keys from whom their
    /// flows believe. It leaves by their flow's egress for RTP or RTCP, after that flow's tap; nothing else of that
    /// flow's handling is done, so that copies are not copied again.
    pub copies: [Option<FlowKey>; MAX_COPIES],
}

impl Handling {
    /// Whether nothing is done to the flow's packets but forwarding.
    pub fn is_none(&self) -> bool {
        // What the events are matters only to what else is done.
        *self
            == Self {
                events: Events {
                    types: self.events.types,
                    ..Events::default()
                },
                ..Self::default()
            }
    }
}

/// What becomes of a flow's media.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Media {
    /// It is forwarded.
    #[default]
    Pass,
    /// It is dropped ([`crate::DropReason::Blocked`]), and whatever else was accepted with it.
    Drop,
    /// RTP is dropped but for key presses, and so are datagrams that are no RTP's; RTCP passes.
    Block,
    /// RTP is forwarded as silence where that is known: payload types 0, 8 and 9 (G.711 and G.722). RTP of others is
    /// dropped as under [`Media::Block`]; key presses are not media.
    Silence,
}

/// The key presses of a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// The payload types that are telephone-events.
    pub types: PayloadTypes,
    /// Whether they are dropped ([`crate::DropReason::DtmfBlocked`]).
    pub blocked: bool,
}

/// RTP payload types: a set of 0 to 127.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PayloadTypes([u64; 2]);

impl PayloadTypes {
    /// None.
    pub const NONE: Self = Self([0; 2]);

    /// With another; only its 7 low bits count.
    #[must_use]
    pub const fn with(self, payload_type: u8) -> Self {
        let mut types = self.0;
        types[(payload_type >> 6 & 1) as usize] |= 1 << (payload_type & 0x3f);
        Self(types)
    }

    /// Whether it is one of them; only its 7 low bits count.
    pub const fn contains(self, payload_type: u8) -> bool {
        self.0[(payload_type >> 6 & 1) as usize] >> (payload_type & 0x3f) & 1 != 0
    }

    /// Those of both.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self([self.0[0] | other.0[0], self.0[1] | other.0[1]])
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0[0] | self.0[1] == 0
    }
}

impl FromIterator<u8> for PayloadTypes {
    fn from_iter<I: IntoIterator<Item = u8>>(types: I) -> Self {
        types.into_iter().fold(Self::NONE, Self::with)
    }
}

/// Keys that are pressed one after the other, as RFC 4733 events in the place of audio packets that arrive while they
/// last: with their sequence numbers, so that none is added and none is missing. Between two audio passes.
///
/// A flow that gets no audio presses nothing, and a press that could not begin within [`Press::PATIENCE`] never will.
/// It waits while the party itself presses a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Press {
    /// Counts the presses of the flow: another value than before begins this one, in the place of one under way.
    pub count: u32,
    /// What is pressed.
    pub digits: Digits,
    /// The power level, 0 to 63, in dBm0 below 0.
    pub volume: u8,
    /// How long each digit is pressed, in ms. What does not fit the 16 bits of an event's duration is cut off: 8.19 s
    /// at 8 kHz.
    pub duration: u16,
    /// How long audio passes between two, in ms.
    pub pause: u16,
    /// The payload type that the receiver knows them by.
    pub payload_type: u8,
    /// The clock rate of the stream's timestamps, in Hz.
    pub clock_rate: u32,
}

impl Press {
    /// How long a press waits for the first packet whose place it can take.
    pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(3);
}

/// Up to [`MAX_DIGITS`] events, 0 to 15.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Digits {
    count: u8,
    /// Two a byte, the first one low.
    packed: [u8; MAX_DIGITS / 2],
}

impl Digits {
    /// These digits. `None` if they are too many, or one is none.
    pub fn new(digits: &[u8]) -> Option<Self> {
        if digits.len() > MAX_DIGITS || digits.iter().any(|digit| *digit > 15) {
            return None;
        }
        let mut packed = [0; MAX_DIGITS / 2];
        for (index, digit) in digits.iter().enumerate() {
            packed[index / 2] |= digit << (index % 2 * 4);
        }
        Some(Self {
            count: digits.len() as u8,
            packed,
        })
    }

    /// The digit at an index.
    pub fn at(&self, index: usize) -> Option<u8> {
        let byte = self.packed.get(index / 2)?;
        (index < self.len()).then_some(byte >> (index % 2 * 4) & 0xf)
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// Whom a flow's packets are copied to: the control plane's name for a call whose media is recorded or forwarded, and
/// for the side of it that they come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TapId(pub u32);

impl TapId {
    /// The tap of one side of a call: of whoever called, or of whoever was called. Call numbers wrap at 2³¹.
    pub const fn of(call: u32, is_callee: bool) -> Self {
        Self(call << 1 | is_callee as u32)
    }

    /// The name for both sides of its call: that of the caller's.
    #[must_use]
    pub const fn call(self) -> Self {
        Self(self.0 & !1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_kept_and_bounded() {
        let all: Vec<u8> = (0..16).chain((0..16).rev()).collect();
        let digits = Digits::new(&all).expect("thirty-two");
        let read: Vec<u8> = (0..).map_while(|index| digits.at(index)).collect();
        assert_eq!(read, all);
        assert_eq!(Digits::new(&[0; 33]), None);
        assert_eq!(Digits::new(&[16]), None);
        assert_eq!(Digits::new(&[]), Some(Digits::default()));
        assert_eq!(Digits::default().at(0), None);
    }

    #[test]
    fn payload_types_are_a_set() {
        let types: PayloadTypes = [0, 101, 127].into_iter().collect();
        let members: Vec<u8> = (0..128).filter(|each| types.contains(*each)).collect();
        assert_eq!(members, [0, 101, 127]);
        assert!(PayloadTypes::NONE.is_empty() && !types.is_empty());
    }

    #[test]
    fn knowing_the_events_is_not_handling() {
        let mut handling = Handling::default();
        handling.events.types = PayloadTypes::NONE.with(101);
        assert!(handling.is_none());
        handling.events.blocked = true;
        assert!(!handling.is_none());
    }
}
