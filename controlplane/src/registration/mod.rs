//! Our own registrations at trunks (RFC 3261 §10): bindings that are made, kept alive, and taken back.
//!
//! ```text
//!   settings ─► Registrations ── Order (a REGISTER, and where to) ─► transactions
//!                     ▲◄──────── responses, challenges, silence ────────┘
//! ```
//!
//! Each is a machine that runs on [`TABLE`]. Refuses to know transactions, sockets and clocks: what is to be sent waits in
//! [`Registrations::next_order`], and the owner brings back what came of it.

mod backoff;
mod binding;
mod reading;
mod table;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use contract::Timestamp;

use crate::deadlines::Deadlines;
use crate::routing::Routing;
use crate::settings::{Settings, TrunkId};
use crate::sip::typed::NameAddr;
use crate::sip::{Message, Tokens};
use crate::transaction::Path;

use binding::Binding;

pub use table::{Row, State, TABLE, Trigger};

/// How far apart registrations begin: a registrar is not met by hundreds of REGISTERs at once.
const STAGGER: Duration = Duration::from_millis(20);

/// One registration; its number among all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RegistrationId(pub(crate) usize);

/// A REGISTER to be sent.
#[derive(Clone, Debug)]
pub struct Order {
    /// Whose.
    pub id: RegistrationId,
    /// Which of its requests: whatever comes of an earlier one is of no interest any more.
    pub attempt: u32,
    /// The request, without Via.
    pub request: Message,
    /// Where to.
    pub path: Path,
}

/// What came of a REGISTER.
#[derive(Clone, Copy, Debug)]
pub enum Reply<'a> {
    /// A final response.
    Response(&'a Message),
    /// Silence, or it could not be sent.
    Lost,
}

/// What an operator sees of a registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrationView {
    /// The trunk.
    pub trunk: TrunkId,
    /// The address of record.
    pub aor: String,
    /// Where REGISTERs go now; `None` when no registrar can be reached.
    pub registrar: Option<SocketAddr>,
    /// How far it has come.
    pub state: State,
    /// When the binding ends; `None` without one.
    pub expires: Option<Timestamp>,
    /// When something happens next by itself.
    pub due: Option<Timestamp>,
    /// The last failure: its status code, 408 for silence.
    pub last_failure: Option<u16>,
    /// What has happened.
    pub counts: Counts,
}

/// What has happened to a registration, or to all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// REGISTERs that were sent, repetitions with credentials included.
    pub sent: u64,
    /// 2xx.
    pub accepted: u64,
    /// Rounds that no registrar accepted.
    pub failed: u64,
    /// Challenges that were answered.
    pub challenged: u64,
}

/// All registrations.
#[derive(Debug)]
pub struct Registrations {
    list: Vec<Binding>,
    due: Deadlines<RegistrationId>,
    orders: VecDeque<Order>,
    tokens: Tokens,
    stopped: bool,
}

impl Registrations {
    /// Those of the settings. Each begins once time passes.
    pub fn new(settings: &Settings, routing: &Routing, mut tokens: Tokens) -> Self {
        let mut list = Vec::new();
        let mut due = Deadlines::new();
        for (number, trunk) in (0..).zip(&settings.trunks) {
            for registration in &trunk.registrations {
                let id = RegistrationId(list.len());
                let trunk = TrunkId(number);
                list.push(Binding::new(
                    settings,
                    routing,
                    trunk,
                    registration,
                    &mut tokens,
                ));
                let place = u32::try_from(id.0).unwrap_or(u32::MAX);
                due.set(id, Timestamp::ZERO + STAGGER.saturating_mul(place));
            }
        }
        Self {
            list,
            due,
            orders: VecDeque::new(),
            tokens,
            stopped: false,
        }
    }

    /// Takes other settings. What stays as it was goes on; what is gone, or is different now, is taken back, and what is new
    /// begins.
    pub fn reconfigure(&mut self, now: Timestamp, settings: &Settings, routing: &Routing) {
        // What is being taken back is not begun again.
        if self.stopped {
            return;
        }
        let mut wanted: Vec<_> = (0..)
            .map(TrunkId)
            .zip(&settings.trunks)
            .flat_map(|(id, trunk)| trunk.registrations.iter().map(move |one| (id, one)))
            .collect();
        for place in 0..self.list.len() {
            let Some(binding) = self.list.get_mut(place) else {
                continue;
            };
            let kept = wanted
                .iter()
                .position(|(trunk, one)| binding.is_of(settings, *trunk, one));
            match kept {
                Some(kept) => {
                    wanted.swap_remove(kept);
                }
                None => self.stop_one(now, RegistrationId(place)),
            }
        }
        for (trunk, one) in wanted {
            let mut binding = Binding::new(settings, routing, trunk, one, &mut self.tokens);
            let gone = self
                .list
                .iter_mut()
                .enumerate()
                .find(|(_, old)| old.is_gone());
            let id = match gone {
                // Its place is free, so that reloads do not add up.
                Some((place, old)) => {
                    binding.succeed(old);
                    *old = binding;
                    RegistrationId(place)
                }
                None => {
                    self.list.push(binding);
                    RegistrationId(self.list.len() - 1)
                }
            };
            self.due.set(id, now);
        }
    }

    /// Names lead elsewhere now.
    pub fn relocate(&mut self, now: Timestamp, routing: &Routing) {
        for place in 0..self.list.len() {
            self.with(now, RegistrationId(place), |binding, doing| {
                binding.relocate(doing, routing);
            });
        }
    }

    /// Does what is due.
    pub fn on_time(&mut self, now: Timestamp) {
        while let Some(id) = self.due.expire(now) {
            self.with(now, id, Binding::on_due);
        }
    }

    /// When [`Self::on_time`] must be called at the latest.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.due.next()
    }

    /// The next REGISTER that is to be sent.
    pub fn next_order(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    /// What came of a REGISTER.
    pub fn on_reply(&mut self, now: Timestamp, id: RegistrationId, attempt: u32, reply: Reply<'_>) {
        self.with(now, id, |binding, doing| {
            binding.on_reply(doing, attempt, reply)
        });
    }

    /// Takes every binding back.
    pub fn stop(&mut self, now: Timestamp) {
        if std::mem::replace(&mut self.stopped, true) {
            return;
        }
        for place in 0..self.list.len() {
            self.stop_one(now, RegistrationId(place));
        }
    }

    /// Whether nothing is left to be taken back. Only after [`Self::stop`].
    pub fn is_idle(&self) -> bool {
        self.list
            .iter()
            .all(|binding| binding.state() == State::Idle)
    }

    /// The route that requests to the trunk take, as its registrar wants it (RFC 3608).
    pub fn service_route(&self, trunk: TrunkId) -> &[NameAddr] {
        let of_trunk = self.list.iter().filter(|binding| binding.trunk == trunk);
        let mut routes = of_trunk.map(Binding::service_route);
        routes.find(|route| !route.is_empty()).unwrap_or(&[])
    }

    /// What an operator sees. Those that the configuration has no more are left out once they have ended.
    pub fn views(&self) -> Vec<RegistrationView> {
        let shown = self
            .list
            .iter()
            .enumerate()
            .filter(|(_, binding)| !binding.is_gone());
        shown
            .map(|(place, binding)| binding.view(self.due.of(RegistrationId(place))))
            .collect()
    }

    fn stop_one(&mut self, now: Timestamp, id: RegistrationId) {
        self.with(now, id, Binding::stop);
    }

    fn with(
        &mut self,
        now: Timestamp,
        id: RegistrationId,
        act: impl FnOnce(&mut Binding, &mut Doing<'_>),
    ) {
        let Some(binding) = self.list.get_mut(id.0) else {
            return;
        };
        let mut doing = Doing {
            now,
            id,
            due: &mut self.due,
            orders: &mut self.orders,
            tokens: &mut self.tokens,
        };
        act(binding, &mut doing);
    }
}

/// What a binding acts with.
struct Doing<'a> {
    now: Timestamp,
    id: RegistrationId,
    due: &'a mut Deadlines<RegistrationId>,
    orders: &'a mut VecDeque<Order>,
    tokens: &'a mut Tokens,
}

impl Doing<'_> {
    fn wait(&mut self, how_long: Duration) {
        self.due.set(self.id, self.now + how_long);
    }

    fn stop_waiting(&mut self) {
        self.due.clear(self.id);
    }

    /// From 0 to 1000.
    fn luck(&mut self) -> u32 {
        self.tokens.up_to(1000)
    }
}
