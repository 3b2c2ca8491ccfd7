//! Who proves to whom who they are: callers to us, and we to registrars.

use std::time::Duration;

use crate::digest::{Login, User};

use super::Server;

/// What a trunk's callers are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// Whose credentials.
    pub realm: String,
    /// Who may call. None: nobody.
    pub users: Vec<User>,
    /// Which requests.
    pub scope: Scope,
}

/// Which requests are challenged. ACK and CANCEL never are (RFC 3261 §22.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those outside dialogs: whoever knows the tags of a dialog has been let in.
    Calls,
    /// Those within dialogs as well.
    All,
}

/// An address of record that we bind to ourselves (RFC 3261 §10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The user of the address of record, and of our Contact.
    pub user: String,
    /// Its host, and the Request-URI's.
    pub domain: String,
    /// Where it is sent; `None`: to the trunk's proxy, or else to its peers, in order.
    pub registrar: Option<Server>,
    /// How long a binding is asked for.
    pub expires: Duration,
    /// Who we are to the registrar; `None`: as the trunk's logins say.
    pub login: Option<Login>,
}
