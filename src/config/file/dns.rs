//! `[dns]`: how names are resolved.

use std::net::SocketAddr;
use std::time::Duration;

use super::super::kind;
use super::super::section::{Located, Section};

/// The section.
#[derive(Debug)]
pub(crate) struct Dns {
    /// In the order of asking; empty: those of the machine.
    pub(crate) servers: Vec<Located<SocketAddr>>,
    pub(crate) timeout: Duration,
    pub(crate) attempts: u32,
    pub(crate) max_stale: Duration,
}

pub(super) fn dns(section: &mut Section<'_>) -> Dns {
    let default = controlplane::resolver::Config::default();
    let timeout = kind::duration(Duration::from_millis(100), Duration::from_secs(30));
    let max_stale = kind::duration(Duration::ZERO, Duration::from_secs(7 * 86_400));
    let attempts = section.or_default("attempts", &kind::number(1, 5), default.attempts.into());
    let listed = section.find("servers").is_some();
    let servers = listed.then(|| section.list("servers", &kind::name_server()));
    Dns {
        servers: servers.flatten().unwrap_or_default(),
        timeout: section.or_default("timeout", &timeout, default.timeout),
        attempts: u32::try_from(attempts).unwrap_or(default.attempts),
        max_stale: section.or_default("max_stale", &max_stale, default.max_stale),
    }
}
