//! Slots with something to tell the control plane, in the order in which it came up.
//!
//! Each slot is in here once at the most ([`crate::flow_table::Untold::queued`]), so a ring of as many
//! places as there are slots never overflows, however long the event mailbox stays full; what happens to
//! a flow meanwhile is told as its state at the end.

use crate::flow_table::Slot;

/// A ring of slots.
#[derive(Debug)]
pub struct News {
    ring: Box<[u32]>,
    head: usize,
    len: usize,
}

impl News {
    /// An empty ring over this storage, one place for each slot.
    pub const fn new(ring: Box<[u32]>) -> Self {
        Self {
            ring,
            head: 0,
            len: 0,
        }
    }

    /// Appends a slot that is not in here.
    pub fn push(&mut self, slot: Slot) {
        debug_assert!(self.len < self.ring.len(), "a slot is queued once");
        let at = self.head + self.len;
        let at = if at >= self.ring.len() {
            at - self.ring.len()
        } else {
            at
        };
        if let Some(place) = self.ring.get_mut(at) {
            *place = slot.0;
            self.len += 1;
        }
    }

    /// The slot that has waited longest.
    pub fn front(&self) -> Option<Slot> {
        if self.len == 0 {
            return None;
        }
        self.ring.get(self.head).copied().map(Slot)
    }

    /// Takes the front away.
    pub fn pop(&mut self) {
        if self.len > 0 {
            self.len -= 1;
            self.head += 1;
            if self.head == self.ring.len() {
                self.head = 0;
            }
        }
    }

    /// Whether nothing waits.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_come_out_in_order_round_the_end() {
        let mut news = News::new(vec![0; 3].into());
        assert_eq!(news.front(), None);
        for round in 0..5 {
            news.push(Slot(round));
            news.push(Slot(round + 100));
            assert_eq!(news.front(), Some(Slot(round)));
            news.pop();
            assert_eq!(news.front(), Some(Slot(round + 100)));
            news.pop();
            assert!(news.is_empty());
        }
        news.pop();
        assert!(news.is_empty());
    }
}
