//! `statistics`: figures of the whole relay, under rtpengine's names where it has one for what is counted here.

use super::counters::Counters;
use super::value::{Dictionary, Value};
use crate::session;

/// What all workers have counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Packets received.
    pub packets: u64,
    /// Bytes of frames.
    pub bytes: u64,
    /// Packets dropped.
    pub dropped: u64,
    /// Since the start, in seconds.
    pub uptime: u64,
}

/// The reply's dictionaries.
pub(super) fn told(
    totals: &Totals,
    counters: &Counters,
    sessions: &session::Counters,
    held: &session::Gauges,
    calls: usize,
) -> Dictionary {
    let of = |name: &str| counters.commands.get(name).copied().unwrap_or_default();
    let current = Dictionary::new()
        .with("sessionsown", calls as u64)
        .with("sessionsforeign", 0_u64)
        .with("sessionstotal", calls as u64)
        .with("transcodedmedia", 0_u64)
        .with("media_userspace", 0_u64)
        .with("media_kernel", held.flows as u64)
        .with("media_mixed", 0_u64);
    let refused: u64 = sessions.refused.values().sum();
    let total = Dictionary::new()
        .with("uptime", totals.uptime.to_string())
        .with("managedsessions", counters.calls)
        .with("rejectedsessions", counters.limited.saturating_add(refused))
        .with("timeoutsessions", counters.media_timeouts)
        .with("silenttimeoutsessions", counters.silent_timeouts)
        .with("finaltimeoutsessions", counters.final_timeouts)
        .with("offertimeoutsessions", counters.offer_timeouts)
        .with("regularterminatedsessions", counters.deleted)
        .with("forcedterminatedsessions", 0_u64)
        .with("relayedpackets_user", 0_u64)
        .with("relayedpackets_kernel", totals.packets)
        .with("relayedpackets", totals.packets)
        .with("relayedpacketerrors", totals.dropped)
        .with("relayedbytes", totals.bytes);
    let mut commands = Dictionary::new();
    for (name, count) in &counters.commands {
        commands.push(*name, *count);
    }
    let control = Dictionary::new()
        .with("totalpingcount", of("ping"))
        .with("totaloffercount", of("offer"))
        .with("totalanswercount", of("answer"))
        .with("totaldeletecount", of("delete"))
        .with("totalquerycount", of("query"))
        .with("totallistcount", of("list"))
        .with("commands", commands);
    let ports = held.ports.iter().map(|ports| {
        let counted = Dictionary::new()
            .with("used", ports.in_use as u64)
            .with("free", ports.free as u64)
            .with("resting", ports.resting as u64);
        let group = u64::from(ports.group.0);
        let interface = Dictionary::new()
            .with("media", group)
            .with("ports", counted);
        Value::Dictionary(interface)
    });
    let interfaces: Vec<Value> = ports.collect();
    Dictionary::new()
        .with("interfaces", interfaces)
        .with("currentstatistics", current)
        .with("totalstatistics", total)
        .with("controlstatistics", control)
}
