//! Which of a flow's latest packets have arrived: told apart are the first arrival in order, the late one and
//! the repeated one.
//!
//! ```text
//!                 1024 bits
//!      ┌──────────────────────────────┐
//!      │ 1 1 0 1 1 …            1 1 1 │
//!      └──────────────────────────────┘▲
//!       next - 1024                    next: one more than the highest sequence seen
//! ```

const BITS: u64 = 1024;
const WORDS: usize = (BITS / 64) as usize;

/// What an arrival is to the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The first of this sequence, after all of lower sequence that have arrived.
    InOrder,
    /// The first of this sequence, after one of a higher: reordered in the sense of RFC 4737 §3.
    Late,
    /// Of a sequence that has arrived before. So counts what is older than the window too, since it cannot be
    /// told: no repetition may make up for a loss.
    Repeated,
}

/// The window of one flow.
#[derive(Clone, Debug, Default)]
pub struct Window {
    next: u64,
    bits: [u64; WORDS],
}

impl Window {
    /// Counts an arrival.
    #[inline]
    pub fn arrive(&mut self, sequence: u64) -> Arrival {
        if sequence >= self.next {
            self.advance(sequence);
            return Arrival::InOrder;
        }
        if self.next - sequence > BITS {
            return Arrival::Repeated;
        }
        let (word, bit) = place(sequence);
        if self.bits[word] & bit != 0 {
            return Arrival::Repeated;
        }
        self.bits[word] |= bit;
        Arrival::Late
    }

    #[inline]
    fn advance(&mut self, sequence: u64) {
        let skipped = sequence - self.next;
        if skipped >= BITS {
            self.bits = [0; WORDS];
        } else {
            for sequence in self.next..sequence {
                let (word, bit) = place(sequence);
                self.bits[word] &= !bit;
            }
        }
        let (word, bit) = place(sequence);
        self.bits[word] |= bit;
        self.next = sequence.saturating_add(1);
    }
}

#[inline]
const fn place(sequence: u64) -> (usize, u64) {
    ((sequence / 64) as usize % WORDS, 1 << (sequence % 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn it_agrees_with_a_set(jumps in prop::collection::vec(-1100_i64..1100, 1..400), start in 0_u64..5000) {
            let mut window = Window::default();
            let mut seen = BTreeSet::new();
            let mut at = start;
            for jump in jumps {
                at = at.saturating_add_signed(jump / if jump % 3 == 0 { 1 } else { 200 });
                let highest = seen.last().copied();
                let expected = match highest {
                    Some(highest) if seen.contains(&at) || highest + 1 > at + BITS => Arrival::Repeated,
                    Some(highest) if at < highest => Arrival::Late,
                    None | Some(_) => Arrival::InOrder,
                };
                prop_assert_eq!(window.arrive(at), expected, "{} after {:?}", at, highest);
                seen.insert(at);
            }
        }
    }

    #[test]
    fn the_windows_edges() {
        let mut window = Window::default();
        assert_eq!(window.arrive(2000), Arrival::InOrder);
        assert_eq!(window.arrive(977), Arrival::Late);
        assert_eq!(
            window.arrive(976),
            Arrival::Repeated,
            "older than the window"
        );
        assert_eq!(window.arrive(977), Arrival::Repeated);
        assert_eq!(window.arrive(u64::MAX - 1), Arrival::InOrder);
        assert_eq!(window.arrive(u64::MAX - 1), Arrival::Repeated);
    }
}
