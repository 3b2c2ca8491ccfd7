//! Our registrations' REGISTERs: sent as transactions, and what comes of them brought back.

use crate::registration::{RegistrationView, Reply};
use crate::sip::Message;
use crate::transaction::ClientKey;

use super::B2bua;
use super::index::Owner;

impl B2bua {
    /// Sends what registrations have to send. Whether there was something.
    pub(super) fn send_registers(&mut self) -> bool {
        let mut sent = false;
        let cx = &mut self.cx;
        while let Some(order) = cx.registrations.next_order() {
            sent = true;
            match cx.transactions.request(cx.now, order.request, order.path) {
                Ok(key) => {
                    let owner = Owner::Registration(order.id, order.attempt);
                    cx.index.add_client(key, owner);
                }
                Err(_) => cx
                    .registrations
                    .on_reply(cx.now, order.id, order.attempt, Reply::Lost),
            }
        }
        sent
    }

    /// A REGISTER has been answered, or has not. Whether it was one.
    pub(super) fn on_register(&mut self, key: ClientKey, response: Option<&Message>) -> bool {
        let Some(&Owner::Registration(id, attempt)) = self.cx.index.owner(key) else {
            return false;
        };
        let reply = response.map_or(Reply::Lost, Reply::Response);
        self.cx
            .registrations
            .on_reply(self.cx.now, id, attempt, reply);
        true
    }

    /// Our registrations.
    pub(crate) fn registrations(&self) -> Vec<RegistrationView> {
        self.cx.registrations.views()
    }
}
