//! What is known of names, as the admin socket's views. Pure: what the resolver says goes in.

use std::time::Duration;

use contract::Timestamp;
use controlplane::agent::Agent;
use controlplane::resolver::{NameState, NameView, RecordView, Resolver};

use crate::admin::views::{Dns, DnsCounts, DnsName, DnsRecord};

/// Everything that is known.
pub(crate) fn dns(agent: &Agent, now: Timestamp) -> Dns {
    let resolver = agent.resolver();
    // The resolver has the names in the order of the trunks and their lists.
    let trunks = agent.settings().trunks.iter();
    let trunks = trunks.flat_map(|trunk| trunk.names.iter().map(|_| trunk.name.as_str()));
    let names = trunks.zip(resolver.names(now));
    Dns {
        servers: resolver.servers().to_vec(),
        names: names.map(|(trunk, view)| name(trunk, view)).collect(),
        records: resolver.records(now).map(record).collect(),
    }
}

/// The same in figures.
pub(crate) fn counts(resolver: &Resolver, now: Timestamp) -> DnsCounts {
    let names: Vec<_> = resolver.names(now).collect();
    let resolved = names
        .iter()
        .filter(|name| name.state == NameState::Resolved);
    let events = resolver.counters().named();
    let happened = events.iter().filter(|(_, count)| *count > 0);
    DnsCounts {
        servers: resolver.servers().len() as u64,
        resolved: resolved.count() as u64,
        names: names.len() as u64,
        records: resolver.known() as u64,
        asking: resolver.asking() as u64,
        events: happened
            .map(|(name, count)| ((*name).to_owned(), *count))
            .collect(),
    }
}

fn name(trunk: &str, view: NameView) -> DnsName {
    let places = view.locations.iter();
    DnsName {
        trunk: trunk.to_owned(),
        name: view.name,
        state: view.state.name().to_owned(),
        age_seconds: seconds(view.age),
        places: places
            .map(|place| format!("{} {}", place.transport, place.address))
            .collect(),
    }
}

fn record(view: RecordView) -> DnsRecord {
    DnsRecord {
        name: view.question.name.to_string(),
        kind: view.question.kind.to_string(),
        values: view.values,
        state: view.state.to_owned(),
        ttl_seconds: seconds(view.ttl),
        age_seconds: seconds(view.age),
        failures: view.failures.into(),
        failure: view.why.map(|why| why.to_string()),
    }
}

fn seconds(duration: Option<Duration>) -> Option<f64> {
    duration.map(|duration| duration.as_secs_f64())
}
