//! Who a party is that has taken another's place, for those who are called in its name later.

use crate::session::Side;
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
#[derive(Clone, Debug)]
pub(super) struct Party {
    /// As a From or To has it.
    pub(super) name: Vec<u8>,
    /// What it says of its identity.
    pub(super) says: Vec<Header>,
}

impl Party {
    /// Who has sent an INVITE.
    fn calling(invite: &Message) -> Option<Self> {
        let names = OF_THE_PARTY.map(HeaderName::from);
        let says = names.iter().flat_map(|name| invite.headers.all(name));
        Some(Self {
            name: invite.from().ok()?.to_bytes(),
            says: says.cloned().collect(),
        })
    }

    /// Whom an INVITE calls.
    fn called(invite: &Message) -> Option<Self> {
        Some(Self {
            name: invite.to().ok()?.to_bytes(),
            says: Vec::new(),
        })
    }
}

impl Successors {
    /// The newcomer on this side is whom its INVITE names: its sender or, where the tag in From is ours, its target.
    pub(super) fn take(&mut self, side: Side, invite: &Message, own_tag: &str) {
        let ours = invite.from().is_ok_and(|from| from.tag() == Some(own_tag));
        let party = match ours {
            true => Party::called(invite),
            false => Party::calling(invite),
        };
        let place = match side {
            Side::A => &mut self.caller,
            Side::B => &mut self.callee,
        };
        *place = party.map(Box::new);
    }
}

impl Call {
    /// Who is on this side now.
    pub(super) fn party(&self, side: Side) -> Option<Party> {
        let invite = &self.caller.invite;
        let (successor, first) = match side {
            Side::A => (&self.successors.caller, Party::calling(invite)),
            Side::B => (&self.successors.callee, Party::called(invite)),
        };
        successor.as_deref().cloned().or(first)
    }
}
