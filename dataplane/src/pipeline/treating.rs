//! What is done to the packets of a flow beside forwarding them, and the packets that are not received but made: copies of
//! others, and what is injected.
//!
//! ```text
//!   accepted ─► blocked? ─► silence ─► keys that are pressed ─► tap ─► copies ─► new headers
//!   copy or injected payload ─► headers from nowhere ─► tap ─► new headers
//! ```

use contract::{DeviceId, DropReason, Handling, Media, Payload, Press, Timestamp};

use super::Batch;
use super::flows::Flows;
use crate::classify::{Content, Family};
use crate::commands;
use crate::flow_table::{Lane, Slot};
use crate::injection::{HandledTally, Injected};
use crate::port::Frames;
use crate::pressing::{Event, Pressing};
use crate::rewrite::{self, Window};
use crate::tap::Sample;
use crate::wire::rtp;

/// Where the window before the payload of a packet that is made stands in its frame: after the headroom that a driver
/// may want.
const WINDOW_AT: u16 = 256;
/// The bytes of an event (RFC 4733 §2.3).
const EVENT_LEN: usize = 4;

/// The accepted packet of a flow to which more is done.
pub(super) struct Accepted<'a> {
    pub(super) slot: Slot,
    pub(super) family: Family,
    pub(super) content: Content,
    pub(super) frame: &'a mut [u8],
    /// Where the window before its payload starts in the frame.
    pub(super) window: u16,
}

impl Flows {
    /// Does what is to be done, in the packet's place.
    #[cold]
    #[inline(never)]
    pub(super) fn treat(
        &mut self,
        batch: &Batch<'_>,
        accepted: &mut Accepted<'_>,
    ) -> Result<(), DropReason> {
        let slot = accepted.slot;
        let entry = self.table.flow(slot).ok_or(DropReason::NoFlow)?.entry;
        let treatment = self.table.arrays.handled.get_mut(slot);
        let treatment = treatment.ok_or(DropReason::NoFlow)?;
        let handling = treatment.handling;
        // The header of SRTP is in the clear.
        let is_rtp = accepted.content == Content::Rtp && entry.payload != Payload::Datagrams;
        // Of datagrams that are not RTP nothing can be told from media.
        let is_all_media = entry.payload == Payload::Datagrams;
        if handling.media == Media::Drop || handling.media == Media::Block && is_all_media {
            return Err(DropReason::Blocked);
        }
        let tally = &self.services.tally;
        if is_rtp {
            treat_rtp(
                &handling,
                &mut treatment.pressing,
                accepted,
                tally,
                batch.now,
            )?;
        }
        let (window, rest) =
            rewrite::window_and_rest(accepted.frame, accepted.window).ok_or(DropReason::TooBig)?;
        let len = rewrite::payload_len(window).min(rest.len());
        let source = rewrite::remote(accepted.family, window);
        let is_rtp = accepted.content == Content::Rtp;
        let payload = &rest[..len];
        if let Some(tap) = handling.tap {
            tally.tapped.add(1);
            self.services.tap.offer(&Sample {
                at: batch.now,
                tap,
                flow: entry.id,
                key: entry.key,
                source: Some(source),
                is_rtp,
                payload,
            });
        }
        let is_media = is_rtp || accepted.content == Content::Rtcp;
        for to in handling.copies.into_iter().flatten().filter(|_| is_media) {
            if !self.copies.push(to, is_rtp, payload) {
                tally.not_made.add(1);
            }
        }
        Ok(())
    }

    /// Writes a packet that was not received: a payload that arrives at a key, from whom the flow there believes.
    pub(super) fn make<F: Frames>(
        &self,
        memory: &mut F,
        packet: &mut F::Packet,
        made: &Injected,
        now: Timestamp,
    ) -> Result<DeviceId, DropReason> {
        let slot = self.table.at_key(&made.key).ok_or(DropReason::NoFlow)?;
        let content = match made.is_rtp {
            true => Content::Rtp,
            false => Content::Rtcp,
        };
        let hot = self.table.hot(slot).ok_or(DropReason::NoFlow)?;
        let lane = hot.lane(content)?;
        let payload = made.payload();
        let (frame, ..) = memory.frame_mut(packet);
        let (window, rest) =
            rewrite::window_and_rest(frame, WINDOW_AT).ok_or(DropReason::TooBig)?;
        let place = rest.get_mut(..payload.len()).ok_or(DropReason::TooBig)?;
        place.copy_from_slice(payload);
        rewrite::arrive_from_nowhere(window, payload);
        let treatment = self.table.arrays.handled.get(slot);
        let tap = treatment.and_then(|treatment| treatment.handling.tap);
        if let Some((tap, flow)) = tap.zip(self.table.id(slot)) {
            self.services.tally.tapped.add(1);
            self.services.tap.offer(&Sample {
                at: now,
                tap,
                flow,
                key: made.key,
                source: None,
                is_rtp: made.is_rtp,
                payload,
            });
        }
        let apart = match lane {
            Lane::Apart => Some(commands::prepare_apart(&self.table, slot)),
            Lane::Main | Lane::Closed => None,
        };
        let (headers, front) = match &apart {
            Some((headers, front)) => (headers, front),
            None => (hot.headers(), self.table.front(slot)),
        };
        let adjustment = |window: &Window| headers.adjustment(Family::V4, window);
        let extent = rewrite::apply(headers, front, Family::V4, adjustment, window, rest)?;
        memory.set_extent(packet, usize::from(WINDOW_AT) + extent.skip, extent.len);
        Ok(headers.device)
    }
}

/// Silences a packet of RTP, or makes it a key press.
fn treat_rtp(
    handling: &Handling,
    pressing: &mut Pressing,
    accepted: &mut Accepted<'_>,
    tally: &HandledTally,
    now: Timestamp,
) -> Result<(), DropReason> {
    let (window, rest) =
        rewrite::window_and_rest(accepted.frame, accepted.window).ok_or(DropReason::TooBig)?;
    let len = rewrite::payload_len(window);
    let packet = rest.get_mut(..len).ok_or(DropReason::TooBig)?;
    let start = rtp::payload_at(packet).filter(|start| *start <= len);
    let start = start.ok_or(DropReason::NotRtp)?;
    let payload_type = packet[1] & 0x7f;
    if handling.events.types.contains(payload_type) {
        let end = packet.get(start + 1).is_some_and(|byte| byte & 0x80 != 0);
        pressing.own_key(end, now);
        return match handling.events.blocked {
            true => Err(DropReason::DtmfBlocked),
            false => Ok(()),
        };
    }
    if handling.media == Media::Block {
        return Err(DropReason::Blocked);
    }
    let word = |at: usize| {
        let word = packet.get(at..at + 4).and_then(|bytes| bytes.first_chunk());
        word.map_or(0, |bytes| u32::from_be_bytes(*bytes))
    };
    let (timestamp, ssrc) = (word(4), word(8));
    let pressed = handling.press.and_then(|press| {
        let event = pressing.audio(&press, ssrc, timestamp, now)?;
        Some((press, event))
    });
    if let Some((press, event)) = pressed {
        tally.pressed.add(1);
        rewrite::change_payload(accepted.family, window, rest, |rest, _| {
            write_event(rest, start, &press, &event)
        });
        return Ok(());
    }
    if handling.media == Media::Silence {
        let silence = silence_of(payload_type).ok_or(DropReason::Blocked)?;
        tally.silenced.add(1);
        rewrite::change_payload(accepted.family, window, rest, |rest, len| {
            let padding = match rest[0] & 0x20 {
                0 => 0,
                _ => usize::from(rest[len - 1]),
            };
            let end = len.saturating_sub(padding).max(start);
            rest[start..end].fill(silence);
            len
        });
    }
    Ok(())
}

/// The byte that is silence: of G.711 and G.722 by their static payload types (RFC 3551).
const fn silence_of(payload_type: u8) -> Option<u8> {
    match payload_type {
        0 => Some(0xff),
        8 => Some(0xd5),
        9 => Some(0xfa),
        _ => None,
    }
}

/// Makes an audio packet an event, and gives its new length.
fn write_event(packet: &mut [u8], start: usize, press: &Press, event: &Event) -> usize {
    let Some(written) = packet.get_mut(start..start + EVENT_LEN) else {
        return start;
    };
    written[0] = event.digit;
    written[1] = u8::from(event.end) << 7 | press.volume & 0x3f;
    written[2..].copy_from_slice(&event.duration.to_be_bytes());
    // No padding; the marker stands on the first packet.
    packet[0] &= !0x20;
    packet[1] = u8::from(event.first) << 7 | press.payload_type & 0x7f;
    packet[4..8].copy_from_slice(&event.timestamp.to_be_bytes());
    start + EVENT_LEN
}
