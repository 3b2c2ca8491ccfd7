//! `tandem registrations`: what we register.

use serde::{Deserialize, Serialize};

/// `tandem registrations`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Registrations {
    /// In the configuration's order.
    pub(crate) registrations: Vec<Registration>,
}

/// One registration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Registration {
    /// The trunk.
    pub(crate) trunk: String,
    /// The address of record.
    pub(crate) aor: String,
    /// Where REGISTERs go now.
    pub(crate) registrar: Option<String>,
    /// How far it has come.
    pub(crate) state: String,
    /// Until the registrar forgets the binding; nothing without one.
    pub(crate) expires_seconds: Option<f64>,
    /// Until something happens by itself: a refresh, the next attempt.
    pub(crate) next_seconds: Option<f64>,
    /// The last failure's status code since the last success; 408 is silence.
    pub(crate) last_failure: Option<u16>,
    /// REGISTERs sent.
    pub(crate) sent: u64,
    /// Accepted.
    pub(crate) accepted: u64,
    /// Rounds that no registrar accepted.
    pub(crate) failed: u64,
    /// Challenges that were answered.
    pub(crate) challenged: u64,
}
