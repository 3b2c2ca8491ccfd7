//! What the first pass over a batch leaves for the second.

use contract::DropReason;

use crate::classify::{Content, Family};
use crate::flow_table::Slot;
use crate::rewrite;

/// What was found of a packet: 8 bytes.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Found {
    /// The flow's, if it is for one.
    pub(super) slot: Slot,
    /// Where the window before the UDP payload starts in the frame.
    pub(super) window: u16,
    /// The bit of its [`Content`] if it is RTP that came as IPv4, else 0: what most packets are, and a flow's line
    /// tells in one bit whether such are forwarded in the usual way.
    pub(super) usual: u8,
    kind: Kind,
}

const _: () = assert!(size_of::<Found>() == 8, "a batch's fill eight cache lines");

/// Family and content, or why it is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind(u8);

impl Kind {
    const MEDIA: u8 = 1 << 7;
    const V6: u8 = 1 << 6;

    const fn media(family: Family, content: Content) -> Self {
        let family = match family {
            Family::V4 => 0,
            Family::V6 => Self::V6,
        };
        Self(Self::MEDIA | family | content as u8)
    }

    #[inline(always)]
    fn read(self) -> Result<(Family, Content), DropReason> {
        if self.0 & Self::MEDIA == 0 {
            let reason = DropReason::ALL.get(usize::from(self.0));
            return Err(reason.copied().unwrap_or(DropReason::NotMedia));
        }
        let family = match self.0 & Self::V6 {
            0 => Family::V4,
            _ => Family::V6,
        };
        let content = match self.0 & 0x0f {
            1 => Content::Rtp,
            2 => Content::Rtcp,
            4 => Content::Stun,
            _ => Content::Unknown,
        };
        Ok((family, content))
    }
}

impl Found {
    /// Nothing yet.
    pub(super) const NOTHING: Self = Self::dropped(DropReason::Truncated);

    /// Nothing but a reason.
    #[inline(always)]
    pub(super) const fn dropped(reason: DropReason) -> Self {
        Self {
            slot: Slot(0),
            window: 0,
            usual: 0,
            kind: Kind(reason as u8),
        }
    }

    /// A packet for a flow, whose UDP payload starts there in the frame.
    #[inline(always)]
    pub(super) const fn media(
        slot: Slot,
        payload: usize,
        family: Family,
        content: Content,
    ) -> Self {
        let usual = match family {
            Family::V4 => content as u8 & Content::Rtp as u8,
            Family::V6 => 0,
        };
        Self {
            slot,
            window: rewrite::window_before(payload),
            usual,
            kind: Kind::media(family, content),
        }
    }

    /// As [`Found::media`] of RTP that came as IPv4, written where it stands: a whole one would be put together first.
    #[inline(always)]
    pub(super) const fn set_usual(&mut self, slot: Slot, payload: usize) {
        self.slot = slot;
        self.window = rewrite::window_before(payload);
        self.usual = Content::Rtp as u8;
        self.kind = Kind::media(Family::V4, Content::Rtp);
    }

    /// What the packet is, or why it is dropped.
    #[inline(always)]
    pub(super) fn read(&self) -> Result<(Family, Content), DropReason> {
        self.kind.read()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_read_again() {
        for reason in DropReason::ALL {
            let found = Found::dropped(*reason);
            assert_eq!((found.read(), found.usual), (Err(*reason), 0));
        }
        for family in [Family::V4, Family::V6] {
            for content in [Content::Rtp, Content::Rtcp, Content::Stun, Content::Unknown] {
                let found = Found::media(Slot(7), 300, family, content);
                assert_eq!(found.read(), Ok((family, content)));
                let is_usual = family == Family::V4 && content == Content::Rtp;
                assert_eq!(found.usual, if is_usual { content as u8 } else { 0 });
            }
        }
    }
}
