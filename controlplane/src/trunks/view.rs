//! Trunks as the operator sees them: plain data.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use contract::Timestamp;

use super::{Account, HealthState, Trunks, Way};
use crate::settings::{TrunkId, TrunkLimits};

/// One trunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrunkView {
    /// Its name.
    pub name: String,
    /// Calls from it that are up.
    pub calls_in: usize,
    /// Calls to it that are up.
    pub calls_out: usize,
    /// Calls from it that began in the last whole second.
    pub rate_in: u64,
    /// Calls to it that began in the last whole second.
    pub rate_out: u64,
    /// The media of its calls, in bits a second and one direction.
    pub bandwidth: u64,
    /// Its limits.
    pub limits: TrunkLimits,
    /// Calls that met a limit, by its name.
    pub refused: BTreeMap<&'static str, u64>,
    /// Its peers, in the order of priority.
    pub peers: Vec<PeerView>,
}

/// One peer of a trunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerView {
    /// Where it is called.
    pub address: SocketAddr,
    /// Lower ones are called first.
    pub priority: u16,
    /// Its share among those of its priority.
    pub weight: u16,
    /// What is known of it.
    pub state: HealthState,
    /// Since when.
    pub since: Timestamp,
    /// The status code of its last answer to OPTIONS; `None`: there was none.
    pub last_code: Option<u16>,
    /// How long that answer took.
    pub last_rtt: Option<Duration>,
    /// How often it was asked with OPTIONS.
    pub checks: u64,
    /// How often it has failed, at OPTIONS or at calls.
    pub failures: u64,
}

impl Trunks {
    /// Every trunk.
    pub(crate) fn views(&self, now: Timestamp) -> Vec<TrunkView> {
        let trunks = (0..).map(TrunkId).zip(&self.names);
        trunks
            .filter_map(|(id, name)| Some(self.view(id, name, self.ledger.account(id)?, now)))
            .collect()
    }

    fn view(&self, id: TrunkId, name: &str, account: &Account, now: Timestamp) -> TrunkView {
        let mut peers: Vec<PeerView> = self
            .of(id)
            .map(|(target, record)| PeerView {
                address: target.peer,
                priority: record.rank.priority,
                weight: record.rank.weight,
                state: record.health.state(),
                since: record.health.since(),
                last_code: record.last_code,
                last_rtt: record.last_rtt,
                checks: record.checks,
                failures: record.failures,
            })
            .collect();
        peers.sort_by_key(|peer| peer.priority);
        TrunkView {
            name: name.to_owned(),
            calls_in: account.calls_in,
            calls_out: account.calls_out,
            rate_in: account.begun(Way::In, now),
            rate_out: account.begun(Way::Out, now),
            bandwidth: account.bandwidth,
            limits: account.limits().clone(),
            refused: account
                .refused
                .iter()
                .map(|(limit, count)| (limit.name(), *count))
                .collect(),
            peers,
        }
    }
}
