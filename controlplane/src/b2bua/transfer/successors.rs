//! Who a party is that has taken another's place, for those who are called in its name later.

use crate::session::Side;
use crate::sip::typed::NameAddr;
use crate::sip::{Header, HeaderName, Message};

use super::super::call::Call;

/// What is passed on of who a party is, besides its name.
const OF_THE_PARTY: [&str; 2] = ["Privacy", "P-Asserted-Identity"];

/// Who has taken the places of the two who made the call.
#[derive(Debug, Default)]
pub(in crate::b2bua) struct Successors {
    caller: Option<Box<Party>>,
    callee: Option<Box<Party>>,
}

/// A party by name.
#[derive(Debug)]
pub(super) struct Party {
    /// As a From or To has it.
    pub(super) name: Vec<u8>,
    /// What it says of its identity.
    pub(super) says: Vec<Header>,
}

impl Successors {
    fn of(&mut self, side: Side) -> &mut Option<Box<Party>> {
        match side {
            Side::A => &mut self.caller,
            Side::B => &mut self.callee,
        }
    }

    /// The newcomer on this side is whom its INVITE names: its sender or, where the tag in From is ours, its target.
    pub(super) fn take(&mut self, side: Side, invite: &Message, own_tag: &str) {
        let ours = invite.from().is_ok_and(|from| from.tag() == Some(own_tag));
        let (name, says) = match ours {
            true => (invite.to(), Vec::new()),
            false => (invite.from(), said_in(invite)),
        };
        let party = |name: NameAddr| Party {
            name: name.to_bytes(),
            says,
        };
        *self.of(side) = name.ok().map(party).map(Box::new);
    }
}

fn said_in(invite: &Message) -> Vec<Header> {
    let names = OF_THE_PARTY.map(HeaderName::from);
    let fields = names.iter().flat_map(|name| invite.headers.all(name));
    fields.cloned().collect()
}

impl Call {
    /// Who is on this side now.
    pub(super) fn party(&self, side: Side) -> Option<Party> {
        let successor = match side {
            Side::A => &self.successors.caller,
            Side::B => &self.successors.callee,
        };
        if let Some(party) = successor {
            return Some(Party {
                name: party.name.clone(),
                says: party.says.clone(),
            });
        }
        let invite = &self.caller.invite;
        let (name, says) = match side {
            Side::A => (invite.from(), said_in(invite)),
            Side::B => (invite.to(), Vec::new()),
        };
        Some(Party {
            name: name.ok()?.to_bytes(),
            says,
        })
    }
}
