//! The sink: looks at every frame that arrives, and counts it as exactly one thing.
//!
//! ```text
//!   no stamp whose check fits ─► of addresses of ours? corrupt : unknown
//!   another run's              ─► unknown
//!   seen before                ─► duplicated
//!   an earlier trial's         ─► straggler
//!   a new session's first      ─► its arrival is noted, or its fault counted
//!   else received, and the first of these that holds:
//!        wrong_address, corrupt, wrong_checksum, wrong_ttl, wrong_dscp, reordered
//! ```
//!
//! What a frame must be follows from its stamp and its flow; see [`crate::packet`]. Nothing here knows how
//! frames arrive.

mod expected;
mod tally;
mod window;

pub use expected::{Expectations, Rules};
pub use tally::{Counts, Tally, histogram};
pub use window::{Arrival, Window};

use crate::packet::{ETHERNET, FRESH_TRIAL, HEADERS_V4, HEADERS_V6, Payload, Side, Stamp, sum};
use expected::Incoming;

/// Where the parts of a frame lie that is UDP over IP.
struct Parts<'a> {
    frame: &'a [u8],
    v4: bool,
    payload: &'a [u8],
}

impl<'a> Parts<'a> {
    #[inline]
    fn of(frame: &'a [u8]) -> Option<Self> {
        let (v4, headers) = match *frame.get(12..15)? {
            [0x08, 0x00, 0x45] => (true, HEADERS_V4),
            [0x86, 0xdd, version] if version >> 4 == 6 => (false, HEADERS_V6),
            _ => return None,
        };
        let protocol = if v4 { ETHERNET + 9 } else { ETHERNET + 6 };
        if *frame.get(protocol)? != 17 {
            return None;
        }
        Some(Self {
            frame,
            v4,
            payload: frame.get(headers..)?,
        })
    }

    #[inline]
    fn field<const N: usize>(&self, at: usize) -> [u8; N] {
        // The headers are there: the payload starts after them.
        self.frame
            .get(at..)
            .and_then(|rest| rest.first_chunk())
            .copied()
            .unwrap_or([0; N])
    }

    #[inline]
    fn udp(&self) -> usize {
        if self.v4 {
            ETHERNET + 20
        } else {
            ETHERNET + 40
        }
    }

    /// Source and destination addresses, at the front.
    #[inline]
    fn addresses(&self) -> [u8; 32] {
        if self.v4 {
            let mut addresses = [0; 32];
            addresses[..8].copy_from_slice(&self.field::<8>(ETHERNET + 12));
            addresses
        } else {
            self.field(ETHERNET + 8)
        }
    }

    #[inline]
    fn ports(&self) -> [u8; 4] {
        self.field(self.udp())
    }

    #[inline]
    fn has_sound_lengths(&self) -> bool {
        let udp_len = 8 + self.payload.len();
        let ip_len = if self.v4 {
            usize::from(u16::from_be_bytes(self.field(ETHERNET + 2))).saturating_sub(20)
        } else {
            usize::from(u16::from_be_bytes(self.field(ETHERNET + 4)))
        };
        let told = usize::from(u16::from_be_bytes(self.field(self.udp() + 4)));
        told == udp_len && ip_len == udp_len
    }

    #[inline]
    fn has_sound_ip_checksum(&self) -> bool {
        !self.v4 || sum::fold(sum::wide(&self.field::<20>(ETHERNET))) == 0xffff
    }

    #[inline]
    fn ttl(&self) -> u8 {
        let at = if self.v4 { ETHERNET + 8 } else { ETHERNET + 7 };
        self.field::<1>(at)[0]
    }

    #[inline]
    fn dscp(&self) -> u8 {
        let [first, second] = self.field(ETHERNET);
        if self.v4 {
            second >> 2
        } else {
            (first << 4 | second >> 4) >> 2
        }
    }
}

/// What was wrong with a frame that is a packet of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Address,
    Payload,
    Checksum,
    Ttl,
    Dscp,
}

/// Counts what arrives, for one thread and one trial.
#[derive(Debug)]
pub struct Verifier<'a> {
    expectations: &'a Expectations,
    trial: u32,
    tally: Tally,
}

impl<'a> Verifier<'a> {
    /// One that counts what belongs to `trial`.
    pub fn new(expectations: &'a Expectations, trial: u32) -> Self {
        Self {
            expectations,
            trial,
            tally: Tally::new(),
        }
    }

    /// What was counted so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// What was counted.
    pub fn into_tally(self) -> Tally {
        self.tally
    }

    /// Looks at a frame that `side` received, at `now`.
    #[inline]
    pub fn see(&mut self, side: Side, frame: &[u8], now: u64) {
        self.tally.counts.frames += 1;
        let Some(parts) = Parts::of(frame) else {
            self.tally.counts.unknown += 1;
            return;
        };
        match Stamp::read(parts.payload) {
            Some(stamp) => self.see_stamped(side, &parts, &stamp, now),
            None => self.see_unstamped(side, &parts),
        }
    }

    /// A damaged stamp does not say whose it is; the addresses still do.
    #[cold]
    fn see_unstamped(&mut self, side: Side, parts: &Parts<'_>) {
        let ours = self
            .expectations
            .is_expected(side, parts.addresses(), parts.ports());
        if ours {
            self.tally.counts.received += 1;
            self.tally.counts.corrupt += 1;
        } else {
            self.tally.counts.unknown += 1;
        }
    }

    #[inline]
    fn see_stamped(&mut self, side: Side, parts: &Parts<'_>, stamp: &Stamp, now: u64) {
        let flow = match self.expectations.flow(stamp.flow) {
            Some(flow) if stamp.run == self.expectations.run() => flow,
            _ => {
                self.tally.counts.unknown += 1;
                return;
            }
        };
        let mut flow = flow
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let arrival = flow.window.arrive(stamp.sequence);
        let counts = &mut self.tally.counts;
        if arrival == Arrival::Repeated {
            counts.duplicated += 1;
            return;
        }
        let is_fresh = stamp.trial == FRESH_TRIAL;
        if stamp.trial != self.trial && !is_fresh {
            counts.stragglers += 1;
            return;
        }
        counts.received += u64::from(!is_fresh);
        let latency = now.saturating_sub(stamp.due);
        match self.expectations.fault(side, parts, stamp, &flow, counts) {
            Some(Fault::Address) => counts.wrong_address += 1,
            Some(Fault::Payload) => counts.corrupt += 1,
            Some(Fault::Checksum) => counts.wrong_checksum += 1,
            Some(Fault::Ttl) => counts.wrong_ttl += 1,
            Some(Fault::Dscp) => counts.wrong_dscp += 1,
            None if is_fresh => self.expectations.note_arrival(stamp.flow, now),
            None if arrival == Arrival::Late => counts.reordered += 1,
            None => {}
        }
        drop(flow);
        if is_fresh {
            return;
        }
        self.tally.latency(stamp.flow.sender(), latency);
    }
}

impl Expectations {
    /// The first thing that is wrong with a packet of ours.
    #[inline]
    fn fault(
        &self,
        side: Side,
        parts: &Parts<'_>,
        stamp: &Stamp,
        flow: &Incoming,
        counts: &mut Counts,
    ) -> Option<Fault> {
        let rules = self.rules(flow.receiver);
        let addressed = self.serves(side, flow.receiver)
            && parts.addresses() == flow.addresses
            && parts.ports() == flow.ports
            && parts.v4 == flow.v4
            && parts.field::<6>(0) == rules.own
            && rules.from.is_none_or(|mac| parts.field::<6>(6) == mac);
        if !addressed {
            return Some(Fault::Address);
        }
        let payload = Payload::new(flow.content, stamp, self.payload_len());
        let sum = match payload.sum_if_equal(parts.payload) {
            Some(sum) if parts.payload.len() == self.payload_len() && parts.has_sound_lengths() => {
                sum
            }
            _ => return Some(Fault::Payload),
        };
        let checksum = parts.field::<2>(parts.udp() + 6);
        if checksum != sum::udp_field(flow.sum + sum) {
            if !rules.unfinished || checksum != sum::fold(flow.pseudo_sum).to_ne_bytes() {
                return Some(Fault::Checksum);
            }
            counts.unfinished_checksums += 1;
        }
        if !parts.has_sound_ip_checksum() {
            return Some(Fault::Checksum);
        }
        if rules.ttl.is_some_and(|ttl| parts.ttl() != ttl) {
            return Some(Fault::Ttl);
        }
        if rules.dscp.is_some_and(|dscp| parts.dscp() != dscp) {
            return Some(Fault::Dscp);
        }
        None
    }
}

#[cfg(test)]
mod tests;
