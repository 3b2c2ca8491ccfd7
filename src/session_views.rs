//! Sessions without SIP, as the admin socket's views; and what is asked of them, as the control plane takes it.

use std::time::Duration;

use contract::{LatchPolicy, Timestamp};
use controlplane::provisioning::{self, Answer, Opened};
use controlplane::session::{self, ProvisionedView};
use serde::Serialize;

use crate::admin::protocol::{Latch, OpenSessions, Rtcp};
use crate::admin::views::{ClosedSessions, OpenedSession, OpenedSessions, SessionLine};
use crate::config::read_duration;

/// The bounds of `media_timeout`, those of the configuration.
const TIMEOUT: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(86_400);

/// The answer to a request that has been carried out.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum Outcome {
    /// To open sessions.
    Opened(OpenedSessions),
    /// To close them.
    Closed(ClosedSessions),
}

/// A request in the control plane's words, or one sentence why it is none.
pub(crate) fn request(open: OpenSessions) -> Result<provisioning::OpenSessions, String> {
    let media_timeout = open.media_timeout.as_deref().map(timeout).transpose()?;
    Ok(provisioning::OpenSessions {
        a_media: open.a_media,
        b_media: open.b_media,
        rtcp: match open.rtcp {
            Rtcp::None => session::Rtcp::None,
            Rtcp::Separate => session::Rtcp::Separate,
            Rtcp::Mux => session::Rtcp::Mux,
        },
        latch: open.latch.map(|Latch::Sdp| LatchPolicy::Sdp),
        media_timeout,
        parties: open.sessions.iter().map(|one| [one.a, one.b]).collect(),
    })
}

fn timeout(text: &str) -> Result<Duration, String> {
    read_duration(text)
        .filter(|timeout| TIMEOUT.contains(timeout))
        .ok_or_else(|| format!("`media_timeout` is {text:?}, not a duration from 1s to 24h"))
}

/// What became of a request.
pub(crate) fn outcome(answer: &Answer) -> Outcome {
    let (sessions, refused) = match answer {
        Answer::Closed { count } => return Outcome::Closed(ClosedSessions { closed: *count }),
        Answer::Opened { sessions, refused } => (sessions, refused),
    };
    let opened = |opened: &Opened| {
        let [a, b] = opened.relay;
        OpenedSession {
            id: opened.id.0,
            index: opened.index as u64,
            a,
            b,
        }
    };
    let refused = refused.iter();
    Outcome::Opened(OpenedSessions {
        sessions: sessions.iter().map(opened).collect(),
        refused: refused
            .map(|(why, count)| ((*why).to_owned(), *count))
            .collect(),
    })
}

/// One session in the list.
pub(crate) fn line(view: &ProvisionedView, now: Timestamp) -> SessionLine {
    let ([a, b], [relay_a, relay_b]) = (view.parties, view.relay);
    let latch = |policy| match policy {
        LatchPolicy::Sdp => "sdp",
        LatchPolicy::Learn { .. } => "learn",
        LatchPolicy::Off => "off",
        LatchPolicy::Follow => "follow",
    };
    SessionLine {
        id: view.id.0,
        state: if view.open { "open" } else { "opening" }.to_owned(),
        a,
        relay_a,
        relay_b,
        b,
        rtcp: view.rtcp.name().to_owned(),
        latch: view.latch.map(|policy| latch(policy).to_owned()),
        media_timeout_seconds: view.media_timeout.map(|timeout| timeout.as_secs_f64()),
        age_seconds: now.since(view.since).as_secs_f64(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use controlplane::session::SessionId;
    use serde_json::{Value, json};

    use super::*;

    fn view() -> ProvisionedView {
        let at = |text: &str| text.parse().expect("an address");
        ProvisionedView {
            id: SessionId(7),
            parties: [at("10.1.0.2:20000"), at("[fd02::2]:20000")],
            relay: [at("10.1.0.1:30000"), at("[fd02::1]:40000")],
            rtcp: session::Rtcp::Separate,
            latch: Some(LatchPolicy::Sdp),
            media_timeout: Some(Duration::from_secs(60)),
            since: Timestamp::ZERO,
            open: true,
        }
    }

    #[test]
    fn the_operations_guide_names_every_field_and_reason() {
        let guide = include_str!("../docs/operations.md");
        let line = json!(line(&view(), Timestamp::from_nanos(1)));
        let fields = line.as_object().into_iter().flatten();
        for (name, _) in fields {
            let named = [format!("`.{name}`"), format!("].{name}`")];
            assert!(
                named.iter().any(|spelling| guide.contains(spelling)),
                "{name}"
            );
        }
        let example: Vec<Value> = guide
            .split("```json\n")
            .nth(1)
            .and_then(|text| text.split("```").next())
            .map(|text| serde_json::Deserializer::from_str(text).into_iter())
            .expect("the guide has an example")
            .collect::<Result<_, _>>()
            .expect("JSON");
        for request in [&example[0], &example[2]] {
            let read: Result<crate::admin::protocol::Request, _> =
                serde_json::from_value(request.clone());
            assert!(read.is_ok(), "{request}: {read:?}");
        }
        let answer = Answer::Opened {
            sessions: vec![Opened {
                index: 0,
                id: SessionId(1),
                relay: ["10.1.0.1:20010", "10.2.0.1:20044"]
                    .map(|text| text.parse().expect("an address")),
            }],
            refused: Default::default(),
        };
        assert_eq!(example[1], json!({ "ok": outcome(&answer) }));
        let closed = Answer::Closed { count: 1 };
        assert_eq!(example[3], json!({ "ok": outcome(&closed) }));
        for reason in provisioning::REASONS {
            assert!(guide.contains(&format!("`{reason}`")), "{reason}");
        }
        let once: BTreeSet<_> = provisioning::REASONS.iter().collect();
        assert_eq!(once.len(), provisioning::REASONS.len());
    }

    #[test]
    fn a_media_timeout_is_spelt_as_in_the_configuration() {
        assert_eq!(timeout("1m30s"), Ok(Duration::from_secs(90)));
        for wrong in ["", "1y", "999ms", "25h", "60"] {
            let sentence = timeout(wrong).expect_err(wrong);
            assert!(sentence.contains("`media_timeout`"), "{sentence}");
        }
    }
}
