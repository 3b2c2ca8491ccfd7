//! A record as fields: the one list of names, and what each is for a call.

use std::time::{Duration, SystemTime};

use controlplane::records::{CallRecord, Direction, LegRecord, Outcome};
use controlplane::session::{PartyView, Side};
use serde_json::Value;

use super::Moment;

/// The names of the fields, in the order in which they are written.
pub(crate) const FIELDS: [&str; 56] = [
    "call",
    "caller_call_id",
    "callee_call_id",
    "caller_trunk",
    "callee_trunk",
    "caller_from",
    "caller_to",
    "caller_uri",
    "callee_from",
    "callee_to",
    "callee_uri",
    "targets",
    "received",
    "ringing",
    "answered",
    "ended",
    "duration_ms",
    "released_by",
    "cause",
    "sip_code",
    "q850_cause",
    "reason",
    "caller_signalling",
    "caller_signalling_local",
    "callee_signalling",
    "callee_signalling_local",
    "caller_media",
    "caller_media_latched",
    "caller_media_local",
    "callee_media",
    "callee_media_latched",
    "callee_media_local",
    "media",
    "streams",
    "codec",
    "caller_codecs",
    "callee_codecs",
    "flows",
    "caller_packets",
    "caller_bytes",
    "caller_rtcp_packets",
    "caller_wrong_source",
    "caller_lost",
    "caller_loss_percent",
    "caller_jitter_ms",
    "caller_mos",
    "callee_packets",
    "callee_bytes",
    "callee_rtcp_packets",
    "callee_wrong_source",
    "callee_lost",
    "callee_loss_percent",
    "callee_jitter_ms",
    "callee_mos",
    "version",
    "host",
];

/// The version of this list: it grows when a field changes its meaning, not when one is added.
const VERSION: u64 = 1;

/// The values of a record, in the order of [`FIELDS`].
pub(super) fn values(record: &CallRecord, moment: Moment, host: &str) -> Vec<Value> {
    let at = |at| Value::from(spell_time(moment.wall(at)));
    let callee = record.callee.as_ref();
    let mut values = vec![Value::from(record.id.0)];
    values.push(text(&record.caller.call_id));
    values.push(callee.map_or(Value::Null, |leg| text(&leg.call_id)));
    values.push(text(&record.caller.trunk));
    values.push(callee.map_or(Value::Null, |leg| text(&leg.trunk)));
    values.extend(names(Some(&record.caller)));
    values.extend(names(callee));
    values.push(text(&targets(record)));
    values.push(at(record.started));
    values.push(record.ringing.map_or(Value::Null, at));
    values.push(record.answered.map_or(Value::Null, at));
    values.push(at(record.release.at));
    values.push(record.duration().map_or(Value::Null, milliseconds));
    let release = &record.release;
    values.push(text(release.by.name()));
    values.push(text(release.cause));
    values.push(Value::from(release.code));
    values.push(Value::from(release.q850));
    values.push(release.reason.as_deref().map_or(Value::Null, text));
    for leg in [Some(&record.caller), callee] {
        values.push(leg.map_or(Value::Null, |leg| spell(Some(leg.remote))));
        values.push(leg.map_or(Value::Null, |leg| spell(leg.local)));
    }
    media(record, &mut values);
    values.push(Value::from(record.flows.len()));
    values.extend(direction(&record.direction(Side::A)));
    values.extend(direction(&record.direction(Side::B)));
    values.push(Value::from(VERSION));
    values.push(text(host));
    values
}

/// From, To and Request-URI of a leg.
fn names(leg: Option<&LegRecord>) -> [Value; 3] {
    let field = |of: fn(&LegRecord) -> &str| leg.map_or(Value::Null, |leg| text(of(leg)));
    [
        field(|leg| &leg.from),
        field(|leg| &leg.to),
        field(|leg| &leg.uri),
    ]
}

fn media(record: &CallRecord, values: &mut Vec<Value>) {
    let stream = record.first_stream();
    for side in 0..2 {
        let party: Option<&PartyView> = stream.and_then(|stream| stream.parties.get(side));
        values.push(spell(party.and_then(|party| party.remote_rtp)));
        values.push(spell(party.and_then(|party| party.latched_rtp)));
        values.push(spell(party.and_then(|party| party.local_rtp)));
    }
    values.push(stream.map_or(Value::Null, |stream| text(&stream.media)));
    let streams = record.media.as_ref().map_or(0, |media| media.streams.len());
    values.push(Value::from(streams));
    values.push(Value::from(record.codec()));
    for side in 0..2 {
        let party = stream.and_then(|stream| stream.parties.get(side));
        values.push(party.map_or(Value::Null, |party| text(&party.codecs)));
    }
}

fn direction(sum: &Direction) -> [Value; 8] {
    let percent = sum.lost.map(|lost| {
        let expected = sum.packets.saturating_add(lost);
        let share = if expected == 0 {
            0.0
        } else {
            lost as f64 / expected as f64
        };
        rounded(share * 100.0, 1000.0)
    });
    let jitter = sum
        .jitter
        .map(|jitter| rounded(jitter.as_secs_f64() * 1000.0, 1000.0));
    [
        Value::from(sum.packets),
        Value::from(sum.bytes),
        Value::from(sum.rtcp_packets),
        Value::from(sum.wrong_source),
        Value::from(sum.lost),
        Value::from(percent),
        Value::from(jitter),
        Value::from(sum.mos.map(|mos| rounded(mos, 100.0))),
    ]
}

fn rounded(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}

/// `callees 10.2.0.2:5060 503; others [fd02::2]:5060 200`.
fn targets(record: &CallRecord) -> String {
    let each = record.tries.iter().map(|each| {
        let outcome = match each.outcome {
            Outcome::Pending => "-".to_owned(),
            Outcome::Code(code) => code.to_string(),
            Outcome::Timeout => "timeout".to_owned(),
            Outcome::Unreachable => "unreachable".to_owned(),
        };
        format!("{} {} {outcome}", each.trunk, each.peer)
    });
    each.collect::<Vec<_>>().join("; ")
}

/// Text, or null for none.
fn text(text: &str) -> Value {
    match text {
        "" => Value::Null,
        some => Value::from(some),
    }
}

fn spell(address: Option<std::net::SocketAddr>) -> Value {
    Value::from(address.map(|address| address.to_string()))
}

fn milliseconds(duration: Duration) -> Value {
    Value::from(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// RFC 3339, in UTC, with milliseconds.
pub(crate) fn spell_time(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at).to_string()
}
