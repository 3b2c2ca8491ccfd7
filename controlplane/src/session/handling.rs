//! What is done to the media of a session beside relaying it: by side, until a door says otherwise.
//!
//! A door says what it wants of what a party sends; which flows that concerns, and by which payload types the parties
//! know a key press, is known here.

use contract::{
    Digits, Events, FlowKey, Handling, MAX_COPIES, Media, Payload, PayloadTypes, Press, TapId,
};

use super::Side;
use super::media_stream::MediaStream;
use super::party::Component;
use crate::sdp::Spoken;

/// What is done to what one party sends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SideHandling {
    /// Its media is not forwarded, but for key presses.
    pub blocked: bool,
    /// Nothing of it is forwarded.
    pub dropped: bool,
    /// Its audio is forwarded as silence.
    pub silenced: bool,
    /// Its key presses are not forwarded.
    pub dtmf_blocked: bool,
    /// Keys that it seems to press.
    pub press: Option<KeyPresses>,
    /// Who gets copies.
    pub tap: Option<TapId>,
    /// Where its streams arrive as well.
    pub copies: Vec<StreamCopy>,
}

/// Keys that a party seems to press, as [`Press`] has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyPresses {
    /// Counts the presses of the party.
    pub count: u32,
    /// What is pressed.
    pub digits: Digits,
    /// 0 to 63, in dBm0 below 0.
    pub volume: u8,
    /// Of each, in ms.
    pub duration: u16,
    /// Between two, in ms.
    pub pause: u16,
}

/// A stream of one session that also arrives at another's ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamCopy {
    /// Which, by its place.
    pub stream: usize,
    /// Where its RTP and its RTCP arrive.
    pub to: [FlowKey; 2],
}

/// How one audio stream reaches a party.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receiver {
    /// What arrives here goes to it.
    pub key: FlowKey,
    /// What it understands.
    pub spoken: Spoken,
}

/// What is done to both.
#[derive(Clone, Debug, Default)]
pub(super) struct SidesHandling([SideHandling; 2]);

impl SidesHandling {
    pub(super) const fn of(&self, side: Side) -> &SideHandling {
        &self.0[side.index()]
    }

    pub(super) const fn of_mut(&mut self, side: Side) -> &mut SideHandling {
        &mut self.0[side.index()]
    }

    pub(super) fn is_none(&self) -> bool {
        self.0.iter().all(|side| *side == SideHandling::default())
    }

    /// What is done to the packets of a component of a stream that the party on this side sends.
    pub(super) fn plan(
        &self,
        (index, stream): (usize, &MediaStream),
        side: Side,
        component: Component,
        payload: Payload,
    ) -> Handling {
        let asked = self.of(side);
        let mut copies = [None; MAX_COPIES];
        let here = asked.copies.iter().filter(|copy| copy.stream == index);
        for (place, copy) in copies.iter_mut().zip(here) {
            *place = Some(match component {
                Component::Rtp => copy.to[0],
                Component::Rtcp => copy.to[1],
            });
        }
        let is_rtp = payload != Payload::Datagrams && component == Component::Rtp;
        let is_audible = payload == Payload::Rtp && is_rtp;
        let spoken = |side: Side| {
            let remote = stream.party(side).remote.as_ref();
            remote.map(|remote| remote.spoken).unwrap_or_default()
        };
        let (sender, receiver) = (spoken(side), spoken(side.other()));
        let press = asked.press.filter(|_| is_audible && stream.is_audio());
        let press = press.zip(receiver.event);
        Handling {
            media: match asked {
                _ if asked.dropped => Media::Drop,
                _ if asked.blocked => Media::Block,
                _ if asked.silenced && is_audible => Media::Silence,
                // What is encrypted cannot be silenced but by not forwarding it.
                _ if asked.silenced && is_rtp => Media::Block,
                _ => Media::Pass,
            },
            events: Events {
                types: match is_rtp {
                    true => sender.events.union(receiver.events),
                    false => PayloadTypes::NONE,
                },
                blocked: asked.dtmf_blocked && is_rtp,
            },
            press: press.map(|(keys, (payload_type, clock_rate))| Press {
                count: keys.count,
                digits: keys.digits,
                volume: keys.volume,
                duration: keys.duration,
                pause: keys.pause,
                payload_type,
                clock_rate,
            }),
            tap: asked.tap,
            copies,
        }
    }
}
