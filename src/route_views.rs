//! `tandem route`: an INVITE made from what was asked, and the answer as it is shown.

use controlplane::agent::Agent;
use controlplane::b2bua::{DryAttempt, DryRun};
use controlplane::routing::{PassedOver, Skipped};
use controlplane::settings::{Settings, TrunkId};
use controlplane::sip::Message;
use jiff::Timestamp;

use crate::admin::protocol::RouteQuery;
use crate::admin::views::{PassedOverRoute, Route, RouteCandidate, SkippedTrunk};

/// More headers than this are not asked about.
const MOST_HEADERS: usize = 64;

/// The answer to what was asked, or one sentence why there is none. `now`: when nothing else is said.
pub(crate) fn answer(
    agent: &mut Agent,
    query: &RouteQuery,
    now: Timestamp,
) -> Result<Route, String> {
    let at = match &query.at {
        None => now,
        Some(text) => read_time(text)?,
    };
    let settings = agent.settings();
    let from = trunk(settings, &query.from)?;
    let invite = invite(settings, from, query)?;
    let run = agent.dry_run(from, &invite, at);
    Ok(view(agent.settings(), query, at, &run))
}

/// A point in time: in UTC or with an offset (RFC 3339), or local in a zone (RFC 9557).
pub(crate) fn read_time(text: &str) -> Result<Timestamp, String> {
    let zoned = || {
        text.parse::<jiff::ZonedDateTime>()
            .map(|zoned| zoned.timestamp())
    };
    text.parse().or_else(|_| zoned()).map_err(|_| {
        format!(
            "{text:?} is no time: \"2026-12-24T12:00:00Z\", \"2026-12-24T12:00:00+01:00\" or \
             \"2026-12-24T12:00[Europe/Berlin]\""
        )
    })
}

fn trunk(settings: &Settings, name: &str) -> Result<TrunkId, String> {
    let mut trunks = (0..).map(TrunkId).zip(&settings.trunks);
    let found = trunks.find(|(_, trunk)| trunk.name == name && !trunk.retired);
    found.map(|(id, _)| id).ok_or_else(|| {
        let names = settings.trunks.iter().filter(|trunk| !trunk.retired);
        let names: Vec<_> = names.map(|trunk| trunk.name.as_str()).collect();
        format!(
            "there is no trunk named {name:?} (there are {})",
            names.join(", ")
        )
    })
}

/// An INVITE such as the trunk would send.
fn invite(settings: &Settings, from: TrunkId, query: &RouteQuery) -> Result<Message, String> {
    let trunk = settings.trunks.get(usize::from(from.0));
    let listener = trunk
        .and_then(|trunk| trunk.listeners.first())
        .and_then(|id| settings.listeners.get(usize::from(id.0)));
    let listener = listener.map_or_else(
        || "tandem.invalid".to_owned(),
        |l| l.announced().to_string(),
    );
    let uri = match query.uri.contains(':') {
        true => query.uri.clone(),
        false => format!("sip:{}@{listener}", query.uri),
    };
    if query.uri.chars().any(char::is_control) {
        return Err("the URI holds a control character".to_owned());
    }
    if query.headers.len() > MOST_HEADERS {
        return Err(format!("more than {MOST_HEADERS} headers"));
    }
    let mut lines = vec![
        format!("INVITE {uri} SIP/2.0"),
        "Via: SIP/2.0/UDP caller.invalid;branch=z9hG4bKdryrun".to_owned(),
        "Max-Forwards: 70".to_owned(),
        "Call-ID: dry-run".to_owned(),
        "CSeq: 1 INVITE".to_owned(),
        "Contact: <sip:caller.invalid>".to_owned(),
    ];
    let has = |name: &str| {
        let mut names = query
            .headers
            .iter()
            .filter_map(|header| header.split_once(':'));
        names.any(|(known, _)| known.trim().eq_ignore_ascii_case(name))
    };
    if !has("From") && !has("f") {
        lines.push(format!("From: <sip:caller@{listener}>;tag=dry-run"));
    }
    if !has("To") && !has("t") {
        lines.push(format!("To: <{uri}>"));
    }
    for header in &query.headers {
        if header.chars().any(char::is_control) || !header.contains(':') {
            return Err(format!(
                "{header:?} is no header: 'Name: value' is expected"
            ));
        }
        lines.push(header.clone());
    }
    let text = format!("{}\r\nContent-Length: 0\r\n\r\n", lines.join("\r\n"));
    Message::parse(text.as_bytes()).map_err(|error| format!("that makes no INVITE: {error}"))
}

fn view(settings: &Settings, query: &RouteQuery, at: Timestamp, run: &DryRun) -> Route {
    let name = |id: TrunkId| {
        let trunk = settings.trunks.get(usize::from(id.0));
        trunk.map(|trunk| trunk.name.clone()).unwrap_or_default()
    };
    let decision = &run.decision;
    Route {
        from: query.from.clone(),
        uri: query.uri.clone(),
        user: run.user.clone(),
        at: at.to_string(),
        route: decision.route_name().map(str::to_owned),
        passed_over: decision.passed_over.iter().map(passed_over).collect(),
        passed_over_more: decision.passed_over_more as u64,
        candidates: run
            .attempts
            .iter()
            .map(|attempt| candidate(attempt, name(attempt.candidate.trunk)))
            .collect(),
        skipped: decision
            .skipped
            .iter()
            .map(|skipped| skipped_trunk(skipped, name(skipped.trunk)))
            .collect(),
    }
}

fn passed_over(passed: &PassedOver) -> PassedOverRoute {
    PassedOverRoute {
        route: passed.route.to_string(),
        condition: passed.why.name().to_owned(),
        why: passed.why.to_string(),
    }
}

fn candidate(attempt: &DryAttempt, trunk: String) -> RouteCandidate {
    let candidate = &attempt.candidate;
    let request = attempt.request.as_ref();
    let text = request.map(|request| String::from_utf8_lossy(&request.to_bytes()).into_owned());
    RouteCandidate {
        trunk,
        prefix: candidate.prefix.map(|prefix| prefix.to_string()),
        cost: candidate.cost.map(|cost| cost.to_string()),
        weight: candidate.weight,
        peers: attempt.peers.iter().map(ToString::to_string).collect(),
        request: text.map(|text| text.trim_end().lines().map(str::to_owned).collect()),
    }
}

fn skipped_trunk(skipped: &Skipped, trunk: String) -> SkippedTrunk {
    SkippedTrunk {
        trunk,
        reason: skipped.why.name().to_owned(),
        why: skipped.why.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_an_offset_or_a_zone() {
        let read = |text| read_time(text).map(|time| time.as_second());
        assert_eq!(read("1970-01-01T00:01:00Z"), Ok(60));
        assert_eq!(read("1970-01-01T01:01:00+01:00"), Ok(60));
        assert_eq!(read("1970-01-01T01:01[Europe/Berlin]"), Ok(60));
        for wrong in ["", "yesterday", "2026-12-24T12:00", "12:00"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
