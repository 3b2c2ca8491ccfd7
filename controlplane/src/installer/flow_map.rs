//! The ports with flows: found by port and by a flow's name, and numbered for those who keep lists of them.

use std::collections::HashMap;

use contract::{FlowId, FlowKey};
use slab::Slab;

use super::flow::Flow;

/// A port with a flow, for as long as it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Number(pub(super) u32);

/// Every port with a flow, wanted or not yet gone.
#[derive(Debug, Default)]
pub(super) struct FlowMap {
    flows: Slab<Flow>,
    by_key: HashMap<FlowKey, Number>,
    /// Flows that some worker may still name.
    by_name: HashMap<FlowId, Number>,
}

impl FlowMap {
    pub(super) fn len(&self) -> usize {
        self.flows.len()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.flows.is_empty() && self.by_key.is_empty() && self.by_name.is_empty()
    }

    pub(super) fn number(&self, key: FlowKey) -> Option<Number> {
        self.by_key.get(&key).copied()
    }

    pub(super) fn get(&self, key: FlowKey) -> Option<&Flow> {
        self.flows.get(self.number(key)?.0 as usize)
    }

    pub(super) fn get_mut(&mut self, key: FlowKey) -> Option<&mut Flow> {
        let number = self.number(key)?;
        self.flows.get_mut(number.0 as usize)
    }

    /// The port of a number.
    pub(super) fn key(&self, number: Number) -> Option<FlowKey> {
        self.flows.get(number.0 as usize).map(|flow| flow.key)
    }

    /// The port that has, or had, the flow of this name.
    pub(super) fn named(&self, id: FlowId) -> Option<FlowKey> {
        self.key(*self.by_name.get(&id)?)
    }

    /// The flow at the port, made by `new` if there is none.
    pub(super) fn ensure(&mut self, key: FlowKey, new: impl FnOnce() -> Flow) -> Number {
        let flows = &mut self.flows;
        // There are fewer ports than numbers: 2^16 for each address, of which there are hundreds.
        let number = || Number(flows.insert(new()) as u32);
        *self.by_key.entry(key).or_insert_with(number)
    }

    /// From now on workers may name the flow at the port so.
    pub(super) fn name(&mut self, id: FlowId, number: Number) {
        self.by_name.insert(id, number);
    }

    pub(super) fn forget_name(&mut self, id: FlowId) {
        self.by_name.remove(&id);
    }

    /// Takes a port with all its names out.
    pub(super) fn remove(&mut self, key: FlowKey) {
        let Some(number) = self.by_key.remove(&key) else {
            return;
        };
        if let Some(flow) = self.flows.try_remove(number.0 as usize) {
            flow.every_name().for_each(|id| self.forget_name(id));
        }
    }
}
