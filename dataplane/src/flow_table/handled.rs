//! The few flows to whose packets more is done than forwarding them.
//!
//! Which slot has such an entry is a number of its own, in memory that comes with its use, and the entries are in a pool:
//! a relay that only relays has none of it.

use contract::{Handling, Timestamp};

use super::{GateKind, Slot};
use crate::pressing::Pressing;
use crate::storage::Pool;

/// What is done to a flow's packets, and how far it is.
#[derive(Clone, Copy, Debug)]
pub struct Treatment {
    /// The control plane's word.
    pub handling: Handling,
    /// How far key presses are.
    pub pressing: Pressing,
    /// What is decided about sources, in the place of the one in [`super::Hot`].
    pub gate: GateKind,
}

/// Slots' treatments.
#[derive(Debug)]
pub struct Handled {
    /// By slot: the place in the pool, and one more; 0 without one.
    places: Box<[u32]>,
    pool: Pool<Treatment>,
}

impl Handled {
    /// None yet. The pool has room for every slot.
    pub const fn new(places: Box<[u32]>, pool: Pool<Treatment>) -> Self {
        Self { places, pool }
    }

    /// A slot's, if it has one.
    pub fn get(&self, slot: Slot) -> Option<&Treatment> {
        self.pool.get(self.place(slot)?)
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut Treatment> {
        self.pool.get_mut(self.place(slot)?)
    }

    /// Takes over the control plane's word.
    pub fn set(&mut self, slot: Slot, handling: &Handling, now: Timestamp) {
        if handling.is_none() {
            self.forget(slot);
            return;
        }
        if self.get(slot).is_none() {
            let treatment = Treatment {
                handling: *handling,
                pressing: Pressing::default(),
                gate: GateKind::Ask,
            };
            let (Some(at), Some(place)) =
                (self.pool.put(treatment), self.places.get_mut(slot.index()))
            else {
                return;
            };
            *place = at + 1;
        }
        if let Some(treatment) = self.get_mut(slot) {
            treatment.handling = *handling;
            treatment.pressing.update(handling.press.as_ref(), now);
        }
    }

    /// The slot has none any more.
    pub fn forget(&mut self, slot: Slot) {
        if let Some(at) = self.place(slot) {
            self.pool.free(at);
            self.places[slot.index()] = 0;
        }
    }

    fn place(&self, slot: Slot) -> Option<u32> {
        self.places.get(slot.index())?.checked_sub(1)
    }
}
