//! The parts of the file that say how trunks are served: `peers` with priority and weight, `access`, `check`,
//! `failover`, `limits` of a `[[trunk]]`, and `[limits]` and `[overload]`.

use std::net::SocketAddr;
use std::time::Duration;

use controlplane::resolver::Destination;
use controlplane::settings::{Capacity, Check, Failover, Network, Overload, Rate, TrunkLimits};
use toml::de::DeValue;

use super::{DAY, SECOND};
use crate::config::diagnostic::Diagnostic;
use crate::config::kind;
use crate::config::section::{Located, Section};

/// The most calls, or calls a second, that a limit may name.
const MOST: u64 = 1_000_000;

/// One of a trunk's `peers`.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) address: Located<SocketAddr>,
    /// Priority and weight, when it is written as a table.
    pub(crate) rank: Option<(u16, u16)>,
}

/// How a trunk is served.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) access: Vec<Located<Network>>,
    pub(crate) check: Check,
    pub(crate) failover: Failover,
    pub(crate) limits: TrunkLimits,
}

/// `[limits]`: what is true of all trunks together.
#[derive(Debug)]
pub(crate) struct Limits {
    pub(crate) capacity: Capacity,
    pub(crate) deny: Vec<Network>,
}

/// One of a trunk's `peers` that is a name.
#[derive(Debug)]
pub(crate) struct NamedPeer {
    pub(crate) name: Located<Destination>,
    /// Priority and weight; without a table its place in the list, and 1.
    pub(crate) rank: (u16, u16),
}

/// `peers`: addresses and names, or tables `{ address = …, priority = …, weight = … }` of them.
pub(super) fn peers(section: &mut Section<'_>) -> (Vec<Peer>, Vec<NamedPeer>) {
    let (mut peers, mut names) = (Vec::new(), Vec::new());
    for (place, (Located { value, span }, rank)) in (1..).zip(listed(section)) {
        match value {
            kind::Peer::Address(value) => peers.push(Peer {
                address: Located { value, span },
                rank: Some(rank.unwrap_or((place, 1))),
            }),
            kind::Peer::Name(value) => names.push(NamedPeer {
                name: Located { value, span },
                rank: rank.unwrap_or((place, 1)),
            }),
        }
    }
    (peers, names)
}

/// A peer, and its priority and weight when it is written as a table.
type Listed = (Located<kind::Peer>, Option<(u16, u16)>);

fn listed(section: &mut Section<'_>) -> Vec<Listed> {
    let address = kind::peer();
    let listed = section.list("peers", &kind::anything(address.expected()));
    let Some(DeValue::Array(elements)) = section.find("peers").map(toml::Spanned::get_ref) else {
        return Vec::new();
    };
    if listed.is_none() {
        return Vec::new();
    }
    let mut peers = Vec::with_capacity(elements.len());
    for element in elements {
        let peer = match element.get_ref() {
            DeValue::Table(_) => section.inline("a table of `peers`", element, |peer| {
                let priority = peer.or_default("priority", &kind::number(0, 65_535), 1);
                let weight = peer.or_default("weight", &kind::number(0, 65_535), 1);
                let rank = (small(priority), small(weight));
                Some((peer.required("address", &address)?, Some(rank)))
            }),
            _ => section
                .read("peers", &address, element)
                .map(|address| (address, None)),
        };
        peers.extend(peer);
    }
    peers
}

/// The rest of what a trunk says of its service.
pub(super) fn service(section: &mut Section<'_>) -> Service {
    let access = match section.place_of_key("access") {
        Some(_) => section.list("access", &kind::network()),
        None => section.absent("access"),
    };
    Service {
        access: access.unwrap_or_default(),
        check: section
            .table("check", "`check` of a [[trunk]]", check)
            .unwrap_or_default(),
        failover: section
            .table("failover", "`failover` of a [[trunk]]", failover)
            .unwrap_or_default(),
        limits: section
            .table("limits", "`limits` of a [[trunk]]", trunk_limits)
            .unwrap_or_default(),
    }
}

fn check(section: &mut Section<'_>) -> Check {
    let default = Check::default();
    let every = kind::duration_or_off(SECOND, DAY);
    let times = kind::number(1, 1_000);
    Check {
        every: section.or_default("every", &every, Some(30 * SECOND)),
        timeout: section.or_default(
            "timeout",
            &kind::duration(Duration::from_millis(100), 32 * SECOND),
            default.timeout,
        ),
        down_after: wide(section.or_default("down_after", &times, default.down_after.into())),
        up_after: wide(section.or_default("up_after", &times, default.up_after.into())),
        down_codes: codes(section, "down_codes", default.down_codes),
        rest: section.or_default("rest", &kind::duration(SECOND, DAY), default.rest),
        longest_retry_after: section.or_default(
            "longest_retry_after",
            &kind::duration(SECOND, DAY),
            default.longest_retry_after,
        ),
    }
}

fn failover(section: &mut Section<'_>) -> Failover {
    let default = Failover::default();
    let time = kind::duration(Duration::from_millis(100), 600 * SECOND);
    let after = section.optional("after", &time);
    let total = section.optional("total", &time);
    let (after_time, total_time) = (
        after.as_ref().map_or(default.after, |after| after.value),
        total.as_ref().map_or(default.total, |total| total.value),
    );
    if let (true, Some(place)) = (after_time > total_time, after.or(total)) {
        let message = "a target may be silent for longer than the caller waits in all";
        let expected = "`after` no longer than `total`";
        section.note(Diagnostic::error(place.span, message, expected));
    }
    Failover {
        after: after_time,
        total: total_time,
        codes: codes(section, "codes", default.codes),
    }
}

/// Status codes of failures.
fn codes(section: &mut Section<'_>, key: &'static str, default: Vec<u16>) -> Vec<u16> {
    if section.place_of_key(key).is_none() {
        section.absent::<()>(key);
        return default;
    }
    let listed = section.list(key, &kind::number(300, 699));
    let listed = listed.unwrap_or_default().into_iter();
    listed.map(|code| small(code.value)).collect()
}

fn trunk_limits(section: &mut Section<'_>) -> TrunkLimits {
    let default = TrunkLimits::default();
    let code = section.or_default("code", &kind::number(400, 699), default.code.into());
    TrunkLimits {
        calls: calls(section, "calls"),
        calls_in: calls(section, "calls_in"),
        calls_out: calls(section, "calls_out"),
        rate_in: rate(section, "rate_in", "burst_in"),
        rate_out: rate(section, "rate_out", "burst_out"),
        bandwidth: bandwidth(section),
        code: small(code),
    }
}

fn calls(section: &mut Section<'_>, key: &'static str) -> Option<usize> {
    let calls = section.optional(key, &kind::number(0, MOST))?;
    Some(usize::try_from(calls.value).unwrap_or(usize::MAX))
}

/// A rate and its burst: as many at once as in a second, unless it says otherwise.
fn rate(section: &mut Section<'_>, rate: &'static str, burst: &'static str) -> Option<Rate> {
    let per_second = section.optional(rate, &kind::number(1, MOST));
    let at_once = section.optional(burst, &kind::number(1, MOST));
    let Some(per_second) = per_second else {
        if let Some(lonely) = at_once {
            let message = format!("`{burst}` means nothing without `{rate}`");
            let expected = format!("`{rate}`, calls a second, or no `{burst}`");
            section.note(Diagnostic::error(lonely.span, message, expected));
        }
        return None;
    };
    let at_once = at_once.map_or(per_second.value, |burst| burst.value);
    Some(Rate {
        per_second: wide(per_second.value),
        burst: wide(at_once),
    })
}

fn bandwidth(section: &mut Section<'_>) -> Option<u64> {
    let bandwidth = section.optional("bandwidth", &kind::bit_rate());
    bandwidth.map(|bandwidth| bandwidth.value)
}

/// `[limits]`.
pub(super) fn limits(section: &mut Section<'_>) -> Limits {
    let deny = match section.place_of_key("deny") {
        Some(_) => section.list("deny", &kind::network()),
        None => section.absent("deny"),
    };
    Limits {
        capacity: Capacity {
            rate: rate(section, "rate", "burst"),
            bandwidth: bandwidth(section),
        },
        deny: deny
            .unwrap_or_default()
            .into_iter()
            .map(|network| network.value)
            .collect(),
    }
}

/// `[overload]`.
pub(super) fn overload(section: &mut Section<'_>) -> Overload {
    let default = Overload::default();
    let target = kind::duration_or_off(Duration::from_millis(1), 10 * SECOND);
    let retry_after = Duration::from_secs(default.retry_after.into());
    let retry_after = section.or_default(
        "retry_after",
        &kind::duration(SECOND, 3_600 * SECOND),
        retry_after,
    );
    Overload {
        target: section.or_default("target", &target, default.target),
        floor: wide(section.or_default("floor", &kind::number(1, MOST), default.floor.into())),
        retry_after: wide(retry_after.as_secs()),
    }
}

/// A number that its kind has bounded.
fn small(number: u64) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

/// The same for more room.
fn wide(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
