//! What RTCP that passes through says of how media is received (RFC 3550 §6.4): noted by the worker that forwards it,
//! read by others meanwhile.
//!
//! ```text
//!   a line of 8 words for each slot; all 0 until RTCP has come
//!   0  reports | their stream's SSRC     1  fraction lost | lost in all | jitter     2  round trip + 1     3  when the last came
//!   4  1 + the party's SSRC                  5 to 7  its last sender reports: name | when it passed
//! ```
//!
//! A block that comes from a party is about what is sent to it, so it is kept with the flow that faces that party. The
//! round trip is the one between the relay and the party: a block names the sender report that its receiver heard last,
//! and says how long it has had it; when that report passed here stands with the flow that faces its sender. It is known
//! where both ways come to one worker.
//!
//! Few flows' lines are ever written, and none on the way of RTP: memory for them comes zeroed from the kernel when it is
//! first used.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use contract::Timestamp;

use crate::flow_table::Slot;
use crate::report::Reception;
use crate::storage;
use crate::wire::rtcp::Block;

/// One slot's words.
pub type Line = [AtomicU64; 8];

const REPORTS: usize = 0;
const LOSS_AND_JITTER: usize = 1;
const ROUND_TRIP: usize = 2;
const LAST: usize = 3;
const SENDER: usize = 4;
/// A receiver answers the last sender report it had: with three, one that crosses it on the way is no harm.
const SENT: [usize; 3] = [5, 6, 7];

/// A longer round trip than this is none: a clock that jumped, or a report about another's.
const LONGEST_ROUND_TRIP: i32 = 30 << 16;
/// How much a receiver's own rounding may take off a round trip of nothing: 1 ms.
const ROUNDING: i32 = 66;

/// The lines of a worker's flows, by slot.
#[derive(Debug)]
pub struct Receptions(Box<[Line]>);

impl Receptions {
    /// For so many slots.
    pub fn new(slots: usize) -> Self {
        Self(storage::zeroed_words(slots))
    }

    /// Another flow is in the slot.
    pub fn forget(&self, slot: Slot) {
        let Some(line) = self.0.get(slot.index()) else {
            return;
        };
        // Who has said nothing needs no memory.
        if line.iter().any(|word| word.load(Ordering::Relaxed) != 0) {
            line.iter()
                .for_each(|word| word.store(0, Ordering::Relaxed));
        }
    }

    /// The party's RTCP goes by this SSRC, and this sender report of its passes, if it is one.
    pub fn note_sender(&self, slot: Slot, sender: u32, sent: Option<u32>, now: Timestamp) {
        let Some(line) = self.0.get(slot.index()) else {
            return;
        };
        line[SENDER].store(1 + u64::from(sender), Ordering::Relaxed);
        let Some(name) = sent else {
            return;
        };
        let [first, second, third] = SENT.map(|at| &line[at]);
        third.store(second.load(Ordering::Relaxed), Ordering::Relaxed);
        second.store(first.load(Ordering::Relaxed), Ordering::Relaxed);
        let passed = u64::from(name) << 32 | u64::from(short(now));
        first.store(passed, Ordering::Relaxed);
    }

    /// The SSRC of the party's RTCP, once it is known.
    pub fn sender(&self, slot: Slot) -> Option<u32> {
        let word = self.0.get(slot.index())?[SENDER].load(Ordering::Relaxed);
        Some(word.checked_sub(1)? as u32)
    }

    /// How long the way to a party and back is, by its block about the stream of the party that `sender` faces.
    pub fn round_trip(&self, sender: Slot, block: &Block, now: Timestamp) -> Option<Duration> {
        let line = self.0.get(sender.index())?;
        if block.last_sender_report == 0 {
            return None;
        }
        let mut sent = SENT.iter().map(|at| line[*at].load(Ordering::Relaxed));
        let passed = sent.find(|word| (word >> 32) as u32 == block.last_sender_report)? as u32;
        let took = short(now).wrapping_sub(passed).wrapping_sub(block.delay) as i32;
        if !(-ROUNDING..=LONGEST_ROUND_TRIP).contains(&took) {
            return None;
        }
        let took = took.max(0).unsigned_abs();
        Some(Duration::from_nanos(
            (u64::from(took) * 1_000_000_000) >> 16,
        ))
    }

    /// The party reports this of what is sent to it. A round trip that is not known leaves the one before.
    pub fn note(&self, slot: Slot, block: &Block, round_trip: Option<Duration>, now: Timestamp) {
        let Some(line) = self.0.get(slot.index()) else {
            return;
        };
        let lost = u64::from(block.lost as u32 & 0x00ff_ffff);
        let loss = u64::from(block.fraction_lost) << 24 | lost;
        line[LOSS_AND_JITTER].store(loss << 32 | u64::from(block.jitter), Ordering::Relaxed);
        if let Some(round_trip) = round_trip {
            let nanos = u64::try_from(round_trip.as_nanos()).unwrap_or(u64::MAX);
            line[ROUND_TRIP].store(nanos.saturating_add(1), Ordering::Relaxed);
        }
        line[LAST].store(now.as_nanos(), Ordering::Relaxed);
        let reports = (line[REPORTS].load(Ordering::Relaxed) >> 32).wrapping_add(1);
        let about = u64::from(block.about);
        line[REPORTS].store(reports << 32 | about, Ordering::Release);
    }

    /// What was reported, if anything was. Taken while another is noted it may mix the two.
    pub fn read(&self, slot: Slot) -> Option<Reception> {
        let line = self.0.get(slot.index())?;
        let counted = line[REPORTS].load(Ordering::Acquire);
        let reports = counted >> 32;
        let word = |at: usize| line[at].load(Ordering::Relaxed);
        let (loss, jitter) = (
            (word(LOSS_AND_JITTER) >> 32) as u32,
            word(LOSS_AND_JITTER) as u32,
        );
        (reports > 0).then(|| Reception {
            reports,
            about: counted as u32,
            fraction_lost: (loss >> 24) as u8,
            lost: (loss << 8) as i32 >> 8,
            jitter,
            round_trip: word(ROUND_TRIP).checked_sub(1).map(Duration::from_nanos),
            last: Timestamp::from_nanos(word(LAST)),
        })
    }
}

/// A time in 1/65,536 seconds, as reports count.
fn short(now: Timestamp) -> u32 {
    const SECOND: u64 = 1_000_000_000;
    let nanos = now.as_nanos();
    (((nanos / SECOND) << 16) + ((nanos % SECOND) << 16) / SECOND) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTY: Slot = Slot(1);
    const OTHER: Slot = Slot(2);

    fn at(millis: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_millis(millis)
    }

    fn block(last_sender_report: u32, delay_millis: u64) -> Block {
        Block {
            about: 7,
            fraction_lost: 25,
            lost: -3,
            jitter: 80,
            last_sender_report,
            delay: (delay_millis * 65_536 / 1000) as u32,
        }
    }

    #[test]
    fn nothing_is_known_before_a_report_nor_of_the_next_flow() {
        let all = Receptions::new(4);
        assert_eq!((all.read(PARTY), all.sender(PARTY)), (None, None));
        all.note(PARTY, &block(0, 0), None, at(5));
        all.note_sender(PARTY, 0, Some(9), at(5));
        let read = all.read(PARTY).expect("a report");
        assert_eq!((read.reports, read.fraction_lost, read.lost), (1, 25, -3));
        assert_eq!((read.jitter, read.round_trip, read.last), (80, None, at(5)));
        assert_eq!(all.sender(PARTY), Some(0));
        assert_eq!(all.read(OTHER), None);
        all.forget(PARTY);
        assert_eq!((all.read(PARTY), all.sender(PARTY)), (None, None));
        assert_eq!(all.round_trip(PARTY, &block(9, 0), at(6)), None);
        // A slot that there is not.
        all.note(Slot::NONE, &block(0, 0), None, at(5));
        assert_eq!(all.read(Slot::NONE), None);
    }

    #[test]
    fn the_round_trip_is_what_is_left_of_the_time_since_a_sender_report() {
        let all = Receptions::new(4);
        for (name, time) in [(11, 1_000), (12, 6_000), (13, 11_000)] {
            all.note_sender(OTHER, 7, Some(name), at(time));
        }
        let trip = |name, delay, now| {
            let found = all.round_trip(OTHER, &block(name, delay), at(now))?;
            Some(found.as_millis())
        };
        assert_eq!(
            trip(13, 500, 11_540),
            Some(39),
            "in steps of 15 microseconds"
        );
        assert_eq!(trip(12, 5_000, 11_100), Some(99));
        assert_eq!(trip(11, 10_000, 11_020), Some(19));
        assert_eq!(trip(10, 0, 11_020), None, "not one of the last three");
        assert_eq!(trip(0, 0, 11_020), None, "none at all");
        assert_eq!(trip(13, 600, 11_600), Some(0));
        assert_eq!(trip(13, 700, 11_600), None, "before it was sent");
        assert_eq!(trip(13, 0, 60_000), None, "too long to be true");
    }

    #[test]
    fn the_short_clock_may_wrap() {
        let all = Receptions::new(4);
        let day = 65_536_u64 * 1000;
        all.note_sender(OTHER, 7, Some(1), at(day - 10));
        let found = all.round_trip(OTHER, &block(1, 0), at(day + 10));
        assert_eq!(found.map(|trip| trip.as_millis()), Some(20));
    }
}
