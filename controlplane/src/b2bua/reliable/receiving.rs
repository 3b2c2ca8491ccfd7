//! The order of a callee's reliable provisional responses within one early dialog (RFC 3262 §4).

use super::table::{ReceiveTrigger, Receiving};

/// Where the sequence is.
#[derive(Debug, Default)]
pub(in crate::b2bua) struct Incoming {
    state: Receiving,
    last: u32,
}

impl Incoming {
    /// Takes the RSeq of a response in; what it is in the sequence.
    pub(in crate::b2bua) fn take(&mut self, rseq: u32) -> ReceiveTrigger {
        let trigger = match self.state {
            Receiving::Fresh => ReceiveTrigger::First,
            Receiving::Following if rseq <= self.last => ReceiveTrigger::Repeated,
            Receiving::Following if Some(rseq) == self.last.checked_add(1) => ReceiveTrigger::Next,
            Receiving::Following => ReceiveTrigger::Gap,
        };
        if let Some(next) = self.state.after(trigger) {
            self.state = next;
        }
        if matches!(trigger, ReceiveTrigger::First | ReceiveTrigger::Next) {
            self.last = rseq;
        }
        trigger
    }

    #[cfg(test)]
    pub(super) fn state(&self) -> Receiving {
        self.state
    }
}
