//! Overload: when more comes than can be handled, new calls are refused before they cost anything, so that the
//! calls that are up, and those that were let in, go on as if nothing were.
//!
//! ```text
//!   datagram of a trunk ─► an INVITE that begins a call? ─► controller: let it in? ─► transactions
//!                              │ no: pass                      │ no
//!                              ▼                               ▼
//!                          BYE, ACK, CANCEL …            503 with Retry-After, no state
//! ```
//!
//! Only INVITEs without a To tag are ever refused here. One that was refused stays refused when it is sent
//! again, and one that has its transaction passes, so that no call is answered in two ways. Sans-IO: the loop
//! says how long datagrams have waited ([`Gate::observe`]). docs/overload.md tells the operator.

mod controller;
mod glance;
mod memory;
mod queues;

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::time::Duration;

use contract::Timestamp;

use self::controller::Controller;
use self::glance::Glance;
use self::memory::Memory;
use crate::settings::{ListenerId, Overload};
use crate::sip::typed::Via;
use crate::transaction::Path;

/// Our tag in what is refused: no state means the same for every retransmission (RFC 3261 §8.2.7).
const TAG: &str = "overload";

/// What becomes of a datagram.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It goes on.
    Pass,
    /// It is answered with these bytes, and that is all. What it was, when it is refused for the first time.
    Refuse(SocketAddr, Vec<u8>, Option<Shed>),
    /// The ACK of a refusal: nobody waits for it.
    Drop,
}

/// What a record says of an INVITE that was refused: from the glance, so that the rest of it is never read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shed {
    pub(crate) call_id: String,
    /// The Request-URI.
    pub(crate) uri: String,
    /// The URI of From.
    pub(crate) from: String,
    /// The URI of To.
    pub(crate) to: String,
}

/// What has been done, and what is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OverloadView {
    /// Whether new calls are being refused now, beyond a rate.
    pub shedding: bool,
    /// That rate, in thousandths of a call a second; 0 while nothing is refused.
    pub rate_millis: u64,
    /// How long the last datagram that was looked at had waited.
    pub waited: Duration,
    /// INVITEs refused since the start, each time that they came.
    pub refused: u64,
    /// ACKs of those, since the start.
    pub acks: u64,
    /// How often shedding has begun since the start.
    pub episodes: u64,
}

/// Stands before the transactions.
#[derive(Debug)]
pub(crate) struct Gate {
    settings: Overload,
    controller: Controller,
    refused: Memory,
    /// Keyed, so that nobody can make two calls look like one.
    hasher: RandomState,
    view: OverloadView,
}

impl Gate {
    pub(crate) fn new(settings: Overload) -> Self {
        Self {
            settings,
            controller: Controller::new(settings.target, settings.floor),
            refused: Memory::default(),
            hasher: RandomState::new(),
            view: OverloadView::default(),
        }
    }

    /// Takes new settings; what goes on goes on by them.
    pub(crate) fn reconfigure(&mut self, settings: Overload) {
        self.settings = settings;
        self.controller.reconfigure(settings.target, settings.floor);
    }

    /// A datagram of a listener that is handled now has waited so long.
    pub(crate) fn observe(&mut self, listener: ListenerId, waited: Duration, now: Timestamp) {
        self.view.waited = waited;
        self.controller.observe(listener, waited, now);
    }

    /// The table of transactions is all but full.
    pub(crate) fn crowd(&mut self, now: Timestamp) {
        self.controller.crowd(now);
    }

    /// What becomes of a datagram of a trunk. `has_transaction` says whether the INVITE with this top Via has
    /// a transaction already.
    pub(crate) fn judge(
        &mut self,
        path: Path,
        bytes: &[u8],
        now: Timestamp,
        has_transaction: impl FnOnce(&Via) -> bool,
    ) -> Verdict {
        self.refused.forget(now);
        let shedding = self.controller.is_shedding(now);
        if !shedding && self.refused.is_empty() {
            if glance::is_invite(bytes) {
                self.controller.count();
            }
            return Verdict::Pass;
        }
        if glance::acknowledges(bytes, TAG) {
            self.view.acks += 1;
            return Verdict::Drop;
        }
        // What cannot be read at a glance is read in full, and costs what it costs.
        let Some(glance) = glance::new_call(bytes) else {
            return Verdict::Pass;
        };
        let Some(mut via) = glance.top_via() else {
            return Verdict::Pass;
        };
        let name = self.name(&via, &glance);
        let again = self.refused.contains(name);
        if !again {
            if has_transaction(&via) || self.controller.admit(now) {
                return Verdict::Pass;
            }
            self.refused.insert(name, now);
        }
        via.note_source(path.remote);
        self.view.refused += 1;
        let back = via.response_address().unwrap_or(path.remote);
        let response = glance.refusal(&via, TAG, self.settings.retry_after);
        Verdict::Refuse(back, response, (!again).then(|| glance.shed()))
    }

    /// What an INVITE has in common with its retransmissions.
    fn name(&self, via: &Via, glance: &Glance<'_>) -> u64 {
        self.hasher.hash_one((via.branch(), glance.call_id()))
    }

    pub(crate) fn view(&self, now: Timestamp) -> OverloadView {
        let rate_millis = self.controller.rate_millis(now);
        OverloadView {
            shedding: rate_millis > 0,
            rate_millis,
            episodes: self.controller.episodes(),
            ..self.view
        }
    }
}

#[cfg(test)]
mod tests;
