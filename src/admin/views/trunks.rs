//! `tandem trunks`: the trunks and their peers.

use serde::{Deserialize, Serialize};

use super::Counts;

/// `tandem trunks`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Trunks {
    /// Each, in the order of the configuration.
    pub(crate) trunks: Vec<Trunk>,
}

/// One trunk.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Trunk {
    /// Its name.
    pub(crate) name: String,
    /// Calls from it that are up.
    pub(crate) calls_in: u64,
    /// Calls to it that are up, or being tried.
    pub(crate) calls_out: u64,
    /// Calls from it that began in the last whole second.
    pub(crate) calls_per_second_in: u64,
    /// Calls to it that began in the last whole second.
    pub(crate) calls_per_second_out: u64,
    /// The media of its calls, in bits a second and one direction.
    pub(crate) bandwidth_bps: u64,
    /// Its limits.
    pub(crate) limits: TrunkBounds,
    /// Calls that met a limit, by which.
    pub(crate) refused: Counts,
    /// Its peers, by priority.
    pub(crate) peers: Vec<TrunkPeer>,
}

/// The limits of a trunk; `null`: there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TrunkBounds {
    /// Calls, both ways together.
    pub(crate) calls: Option<u64>,
    /// Calls from it.
    pub(crate) calls_in: Option<u64>,
    /// Calls to it.
    pub(crate) calls_out: Option<u64>,
    /// New calls from it.
    pub(crate) rate_in: Option<RateLimit>,
    /// New calls to it.
    pub(crate) rate_out: Option<RateLimit>,
    /// Media, in bits a second.
    pub(crate) bandwidth_bps: Option<u64>,
}

/// So many a second, and so many at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RateLimit {
    /// In the long run.
    pub(crate) per_second: u32,
    /// After a quiet time.
    pub(crate) burst: u32,
}

/// One peer of a trunk.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct TrunkPeer {
    /// Where it is called.
    pub(crate) address: String,
    /// Lower ones are called first.
    pub(crate) priority: u16,
    /// Its share among those of its priority.
    pub(crate) weight: u16,
    /// `unknown`, `up`, `failing`, `down`, `recovering` or `resting`.
    pub(crate) state: String,
    /// How long it has been in that state.
    pub(crate) since_seconds: f64,
    /// The status code of the last answer to OPTIONS; `null` when there was none.
    pub(crate) last_code: Option<u16>,
    /// How long that answer took.
    pub(crate) last_rtt_ms: Option<f64>,
    /// How often it was asked with OPTIONS.
    pub(crate) checks: u64,
    /// How often it has failed, at OPTIONS or at calls.
    pub(crate) failures: u64,
}
