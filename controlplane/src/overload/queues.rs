//! The standing queue, as in CoDel (RFC 8289): of the times that datagrams of a listener had waited, the shortest
//! within an interval; of the listeners, the longest. A burst that is worked off within the interval is none, and a
//! quiet listener says nothing for a flooded one.

use std::time::Duration;

use crate::settings::ListenerId;

/// So many datagrams of a listener must have said the same. A single one may have come just before a pause.
const LEAST: u32 = 2;

/// The waits of one interval.
#[derive(Debug, Default)]
pub(super) struct Queues {
    /// By listener.
    list: Vec<Queue>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Queue {
    shortest: Duration,
    seen: u32,
}

impl Queues {
    /// A datagram has waited so long.
    pub(super) fn observe(&mut self, listener: ListenerId, waited: Duration) {
        let place = usize::from(listener.0);
        if self.list.len() <= place {
            self.list.resize(place + 1, Queue::default());
        }
        if let Some(queue) = self.list.get_mut(place) {
            queue.shortest = match queue.seen {
                0 => waited,
                _ => queue.shortest.min(waited),
            };
            queue.seen = queue.seen.saturating_add(1);
        }
    }

    /// How long the longest standing queue is.
    pub(super) fn standing(&self) -> Duration {
        let known = self.list.iter().filter(|queue| queue.seen >= LEAST);
        known.map(|queue| queue.shortest).max().unwrap_or_default()
    }

    /// Another interval begins.
    pub(super) fn clear(&mut self) {
        self.list.fill(Queue::default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn a_quiet_listener_says_nothing_for_a_flooded_one() {
        let mut queues = Queues::default();
        for millis in [90, 80, 120] {
            queues.observe(ListenerId(1), MS(millis));
            queues.observe(ListenerId(0), Duration::ZERO);
        }
        assert_eq!(queues.standing(), MS(80));
        queues.observe(ListenerId(1), MS(1));
        assert_eq!(queues.standing(), MS(1));
        queues.clear();
        assert_eq!(queues.standing(), Duration::ZERO);
    }

    #[test]
    fn a_single_datagram_says_nothing() {
        let mut queues = Queues::default();
        queues.observe(ListenerId(0), MS(300));
        assert_eq!(queues.standing(), Duration::ZERO);
        queues.observe(ListenerId(0), MS(200));
        assert_eq!(queues.standing(), MS(200));
    }
}
