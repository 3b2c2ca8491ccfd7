//! `tandem dns`: names and what they lead to.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::Counts;

/// What is known of names, now and since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DnsCounts {
    /// Name servers.
    pub(crate) servers: u64,
    /// Names of peers that are kept resolved.
    pub(crate) names: u64,
    /// Those of them that stand as they should.
    pub(crate) resolved: u64,
    /// Questions whose answers are kept.
    pub(crate) records: u64,
    /// Questions on their way to the name servers.
    pub(crate) asking: u64,
    /// What the resolver counted, by its name; what never happened is left out.
    pub(crate) events: Counts,
}

/// `tandem dns`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Dns {
    /// The name servers, in the order of asking.
    pub(crate) servers: Vec<SocketAddr>,
    /// The peers' names.
    pub(crate) names: Vec<DnsName>,
    /// Every question that is known, by name.
    pub(crate) records: Vec<DnsRecord>,
}

/// A peer's name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct DnsName {
    /// The trunk.
    pub(crate) trunk: String,
    /// The name, as the configuration has it.
    pub(crate) name: String,
    /// `unknown`, `resolved`, `stale`, `nowhere` or `failed`.
    pub(crate) state: String,
    /// Seconds since all of its answers held; absent: never.
    pub(crate) age_seconds: Option<f64>,
    /// Where it leads, in no order: transport, address and port.
    pub(crate) places: Vec<String>,
}

/// What is kept of one question.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct DnsRecord {
    /// The name.
    pub(crate) name: String,
    /// `A`, `AAAA`, `SRV` or `NAPTR`.
    pub(crate) kind: String,
    /// The records, as in a zone file; `no such name`, `no records`.
    pub(crate) values: Vec<String>,
    /// `fresh`, `stale`, `failed` or `expired`.
    pub(crate) state: String,
    /// The TTL, as far as it is believed; absent: there was no answer.
    pub(crate) ttl_seconds: Option<f64>,
    /// Seconds since the answer.
    pub(crate) age_seconds: Option<f64>,
    /// Failures since then.
    pub(crate) failures: u64,
    /// Why the last one failed.
    pub(crate) failure: Option<String>,
}
