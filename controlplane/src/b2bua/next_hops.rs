//! Where requests within a dialog go when a name says it (RFC 3263): sent at once if the name is known, else
//! once it is resolved.
//!
//! A request waits for its name for a bounded time, and a bounded number of them does. When nothing comes of
//! it, it goes back to where the dialog came from, as good as can be. What waits for one name leaves in the
//! order in which it came: no BYE overtakes the ACK before it.

use crate::agent::Output;
use crate::dialog::Dialog;
use crate::resolver::{
    Config, Destination, DomainName, Location, Lookup, LookupId, News, Resolver, WatchId, Ways,
};
use crate::routing::{NameId, Routing};
use crate::settings::{Transport, TrunkId};
use crate::sip::typed::{Host, NameAddr, Uri};
use crate::sip::{HeaderName, Message, Tokens};
use crate::transaction::{ClientKey, Path, TransactionError};

use super::context::Context;
use super::index::Owner;
use super::setup::Setback;
use super::{B2bua, CallId};

/// Messages that wait for names at a time, of some 2 KB each. Beyond that they go back at once to where their
/// dialogs came from.
const WAITING: usize = 1000;

/// A request or an ACK that waits for the name of its next hop.
#[derive(Debug)]
pub(super) struct Unsent {
    what: What,
    message: Message,
    trunk: TrunkId,
    dialog: Box<Dialog>,
}

#[derive(Clone, Copy, Debug)]
enum What {
    /// Its transaction will have this name.
    Request(ClientKey),
    /// Of a 2xx to this request.
    Ack(ClientKey),
}

/// The way of a request.
enum Way {
    Known(Path),
    Awaited(LookupId),
}

/// A resolver that keeps the peers' names resolved. Their places there are those in `routing`.
pub(super) fn resolver(config: &Config, routing: &Routing, tokens: &mut Tokens) -> Resolver {
    let mut resolver = Resolver::new(config.clone(), tokens.generator());
    resolver.watch_all(watched(routing));
    resolver
}

fn watched(routing: &Routing) -> Vec<(Destination, Ways)> {
    let names = routing.names();
    names.map(|(_, name, ways)| (name.clone(), ways)).collect()
}

impl Context {
    /// The peers' names are others now, or reached by other ways: what is known of those that stay is kept.
    pub(super) fn rename_peers(&mut self) {
        self.resolver.reconfigure(self.settings.dns.clone());
        self.resolver.watch_all(watched(&self.routing));
        let names: Vec<NameId> = self.routing.names().map(|(id, ..)| id).collect();
        for id in names {
            if let Some(plan) = self.resolver.plan(WatchId(id.0)) {
                self.routing.set_plan(id, plan.clone());
            }
            self.follow_peers(id);
        }
        for trunk in (0..).map(TrunkId).take(self.settings.trunks.len()) {
            self.tell_where(trunk);
        }
        self.registrations.relocate(self.now, &self.routing);
    }

    /// Tells the listeners where the names of a trunk's peers lead.
    fn tell_where(&mut self, trunk: TrunkId) {
        let mut addresses: Vec<_> = self.routing.located(trunk).collect();
        addresses.sort_unstable();
        addresses.dedup();
        self.outbox.push_back(Output::Located { trunk, addresses });
    }

    /// The trunk of this name has other peers now.
    fn follow_peers(&mut self, id: NameId) {
        if let Some(trunk) = self.routing.trunk_of_name(id) {
            let peers = self.routing.peers_of(trunk);
            self.trunks.set_peers(trunk, peers, self.now);
        }
    }

    /// Sends a request within a dialog, now or once its next hop is known. What becomes of it is the call's
    /// to hear, if one is named.
    pub(super) fn request_within(
        &mut self,
        call: Option<CallId>,
        trunk: TrunkId,
        dialog: &Dialog,
        mut message: Message,
    ) -> Result<ClientKey, TransactionError> {
        let tag = self.challenges.equip(&mut message);
        let key = match self.way(trunk, dialog) {
            Way::Known(path) => self.transactions.request(self.now, message, path)?,
            Way::Awaited(lookup) => {
                let key = self.transactions.reserve();
                self.hold(lookup, What::Request(key), message, trunk, dialog);
                key
            }
        };
        self.challenges.sent(key, tag);
        if let Some(call) = call {
            self.index.add_client(key, Owner::Call(call));
        }
        Ok(key)
    }

    /// Sends the ACK for a 2xx, now or once its next hop is known. False when its transaction is gone.
    pub(super) fn acknowledge_within(
        &mut self,
        key: ClientKey,
        trunk: TrunkId,
        dialog: &Dialog,
        ack: Message,
    ) -> bool {
        match self.way(trunk, dialog) {
            Way::Known(path) => self.transactions.acknowledge(key, ack, path).is_ok(),
            Way::Awaited(lookup) => {
                self.hold(lookup, What::Ack(key), ack, trunk, dialog);
                true
            }
        }
    }

    fn hold(
        &mut self,
        lookup: LookupId,
        what: What,
        message: Message,
        trunk: TrunkId,
        dialog: &Dialog,
    ) {
        let unsent = Unsent {
            what,
            message,
            trunk,
            dialog: Box::new(dialog.clone()),
        };
        self.unsent.insert(lookup, unsent);
    }

    fn way(&mut self, trunk: TrunkId, dialog: &Dialog) -> Way {
        let destination = dialog.next_name().and_then(destination_of);
        let Some(destination) = destination.filter(|_| self.resolver.has_servers()) else {
            return Way::Known(self.path_of(trunk, dialog));
        };
        if self.unsent.len() >= WAITING {
            self.count_dropped("wait_for_name");
            return Way::Known(self.path_of(trunk, dialog));
        }
        let ways = self.routing.ways(trunk);
        match self.resolver.look_up(destination, ways, self.now) {
            Lookup::Later(lookup) => Way::Awaited(lookup),
            Lookup::Now(locations) => Way::Known(self.path_among(trunk, dialog, &locations)),
        }
    }

    /// Of the places that a name has led to, the one that the dialog came from, or else the first that can be
    /// reached and believed; without one, the way back.
    fn path_among(&self, trunk: TrunkId, dialog: &Dialog, locations: &[Location]) -> Path {
        let from = dialog.path().remote;
        let same = locations.iter().find(|place| place.address == from);
        let mut believed = locations
            .iter()
            .filter(|place| dialog.believes(place.address.ip()));
        let own = dialog.path().listener;
        let path = |place: &Location| {
            let same_family = place.address.is_ipv4() == from.is_ipv4();
            let same_transport = self.routing.transport_of(own) == Some(place.transport);
            let listener = match same_family && same_transport {
                true => Some(own),
                false => self.routing.listener_to(trunk, place),
            };
            let remote = place.address;
            listener.map(|listener| Path::to(listener, remote))
        };
        same.and_then(path)
            .or_else(|| believed.find_map(path))
            .unwrap_or_else(|| self.path_of(trunk, dialog))
    }

    /// Sends what has waited. The transaction of a request that cannot be sent, if its call still wants to
    /// hear of it.
    fn release(&mut self, unsent: Unsent, locations: &[Location]) -> Option<ClientKey> {
        let path = self.path_among(unsent.trunk, &unsent.dialog, locations);
        let mut message = unsent.message;
        let guessed = self.path_of(unsent.trunk, &unsent.dialog).listener;
        if path.listener != guessed
            && message.headers.contains(&HeaderName::Contact)
            && let Some(uri) = self.own_uri(path.listener)
        {
            let contact = NameAddr::new(uri).to_bytes();
            message.headers.set(HeaderName::Contact, contact);
        }
        match unsent.what {
            What::Request(key) => {
                let sent = self.transactions.request_as(self.now, key, message, path);
                sent.is_err().then_some(key)
            }
            What::Ack(key) => {
                if self.transactions.acknowledge(key, message, path).is_err() {
                    self.count_dropped("ack_too_late");
                }
                None
            }
        }
    }
}

impl B2bua {
    /// Takes in what the resolver has found out, before anything else is sent.
    pub(super) fn take_news(&mut self) {
        while let Some(news) = self.cx.resolver.poll_news() {
            self.on_news(news);
        }
    }

    fn on_news(&mut self, news: News) {
        match news {
            News::Changed(WatchId(place)) => {
                if let Some(plan) = self.cx.resolver.plan(WatchId(place)) {
                    self.cx.routing.set_plan(NameId(place), plan.clone());
                    self.cx.follow_peers(NameId(place));
                    if let Some(trunk) = self.cx.routing.trunk_of_name(NameId(place)) {
                        self.cx.tell_where(trunk);
                    }
                    self.cx
                        .registrations
                        .relocate(self.cx.now, &self.cx.routing);
                }
            }
            News::Found(lookup, locations) => {
                let Some(unsent) = self.cx.unsent.remove(&lookup) else {
                    return;
                };
                if let Some(key) = self.cx.release(unsent, &locations) {
                    self.on_lost(key, Setback::Unreachable);
                    self.cx.index.remove_client(key);
                    self.cx.challenges.ended(key);
                }
            }
        }
    }
}

/// What a URI with a name asks for; `None` for a name that no DNS can have.
fn destination_of(uri: &Uri) -> Option<Destination> {
    let Some(Host::Name(host)) = uri.host() else {
        return None;
    };
    let transport = match uri.parameter("transport") {
        None => None,
        Some(text) => Some(Transport::named(text)?),
    };
    Some(Destination {
        host: DomainName::parse(&host)?,
        port: uri.port(),
        transport,
        secure: uri.scheme() == "sips",
    })
}
