//! Records as lines: JSON, one object a line, or CSV (RFC 4180) under a line of names.

use controlplane::records::CallRecord;
use serde_json::Value;

use super::Moment;
use super::fields::{FIELDS, values};

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// One JSON object a line.
    Json,
    /// Values between commas; the first line of a file has the names.
    Csv,
}

impl Format {
    /// The name in the configuration.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
        }
    }

    /// What a file begins with.
    pub(super) fn heading(self) -> Vec<u8> {
        match self {
            Self::Json => Vec::new(),
            Self::Csv => csv_line(FIELDS),
        }
    }

    /// One record, its line end included.
    pub(super) fn line(self, record: &CallRecord, moment: Moment, host: &str) -> Vec<u8> {
        let values = values(record, moment, host);
        match self {
            Self::Json => json_line(&values),
            Self::Csv => csv_line(values.iter().map(plain)),
        }
    }
}

fn json_line(values: &[Value]) -> Vec<u8> {
    let mut line = b"{".to_vec();
    for (place, (name, value)) in FIELDS.iter().zip(values).enumerate() {
        let comma = if place > 0 { "," } else { "" };
        line.extend(format!("{comma}\"{name}\":{value}").bytes());
    }
    line.extend(b"}\n");
    line
}

fn csv_line<T: AsRef<[u8]>>(cells: impl IntoIterator<Item = T>) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    // A vector takes everything.
    let _ = writer.write_record(cells);
    writer.into_inner().unwrap_or_default()
}

/// A value as CSV has it: nothing for null, text without JSON's quotes.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use contract::{FlowKey, Timestamp};
    use controlplane::b2bua::CallId;
    use controlplane::records::{
        FlowRecord, LegRecord, Measured, Outcome, Quality, Release, Releaser, Try,
    };
    use controlplane::session::{PartyView, SessionId, SessionView, Side, StreamState, StreamView};
    use std::time::Duration;

    const SECOND: u64 = 1_000_000_000;

    /// An answered call with everything, and a name that needs quoting.
    pub(in crate::cdr) fn record(id: u64) -> CallRecord {
        let leg = |host: &str| LegRecord {
            trunk: "inside".to_owned(),
            call_id: format!("id-{host}"),
            local: Some(([10, 0, 0, 1], 5060).into()),
            remote: ([10, 0, 0, 2], 5060).into(),
            uri: format!("sip:\"x\",y@{host}"),
            from: format!("sip:a@{host}"),
            to: format!("sip:b@{host}"),
        };
        let party = |port| PartyView {
            remote_rtp: Some(([10, 0, 0, 2], port).into()),
            codecs: "8 PCMA/8000, 101 telephone-event/8000".to_owned(),
            ..PartyView::default()
        };
        let flow = |from, port| FlowRecord {
            from,
            key: FlowKey {
                address: [10, 0, 0, 1].into(),
                port,
            },
            rtp: true,
            measured: Measured {
                packets: 90,
                bytes: 15_480,
                wrong_source: 0,
                quality: (from == Side::A).then_some(Quality {
                    lost: 10,
                    jitter: Some(Duration::from_micros(1234)),
                    ..Quality::default()
                }),
                last_packet: None,
            },
        };
        let at = |seconds| Timestamp::from_nanos(seconds * SECOND);
        CallRecord {
            id: CallId(id),
            caller: leg("caller"),
            callee: Some(leg("callee")),
            tries: vec![Try {
                trunk: "outside".to_owned(),
                peer: ([10, 0, 0, 9], 5060).into(),
                outcome: Outcome::Code(200),
            }],
            started: at(1),
            ringing: Some(at(2)),
            answered: Some(at(5)),
            release: Release {
                at: at(65),
                by: Releaser::Caller,
                cause: "bye",
                code: None,
                q850: Some(16),
                reason: None,
            },
            media: Some(SessionView {
                id: SessionId(1),
                streams: vec![StreamView {
                    profile: controlplane::sdp::Profile::Rtp,
                    media: "audio".to_owned(),
                    state: StreamState::Active,
                    parties: [party(4000), party(6000)],
                }],
            }),
            flows: vec![flow(Side::A, 20), flow(Side::B, 30)],
        }
    }

    pub(in crate::cdr) fn now() -> Moment {
        Moment {
            now: Timestamp::from_nanos(66 * SECOND),
            wall: std::time::UNIX_EPOCH + Duration::from_millis(1_700_000_066_250),
        }
    }

    #[test]
    fn a_json_line_has_every_field_and_reads_back() {
        let line = Format::Json.line(&record(7), now(), "relay1");
        let value: Value = serde_json::from_slice(&line).expect("an object");
        assert_eq!(
            value.as_object().map(|object| object.len()),
            Some(FIELDS.len())
        );
        for (name, expected) in [
            ("call", Value::from(7)),
            ("caller_call_id", "id-caller".into()),
            ("caller_uri", "sip:\"x\",y@caller".into()),
            ("callee_uri", "sip:\"x\",y@callee".into()),
            ("targets", "outside 10.0.0.9:5060 200".into()),
            ("received", "2023-11-14T22:13:21.250Z".into()),
            ("answered", "2023-11-14T22:13:25.250Z".into()),
            ("ended", "2023-11-14T22:14:25.250Z".into()),
            ("duration_ms", 60_000.into()),
            ("released_by", "caller".into()),
            ("q850_cause", 16.into()),
            ("sip_code", Value::Null),
            ("caller_media", "10.0.0.2:4000".into()),
            ("callee_media", "10.0.0.2:6000".into()),
            ("codec", "PCMA/8000".into()),
            ("caller_packets", 90.into()),
            ("caller_lost", 10.into()),
            ("caller_loss_percent", 10.0.into()),
            ("caller_jitter_ms", 1.234.into()),
            ("callee_lost", Value::Null),
            ("callee_mos", Value::Null),
            ("host", "relay1".into()),
        ] {
            assert_eq!(value[name], expected, "{name}");
        }
        assert!(
            value["caller_mos"]
                .as_f64()
                .is_some_and(|mos| (3.0..4.0).contains(&mos))
        );
    }

    #[test]
    fn a_csv_line_has_the_same_fields_and_reads_back() {
        let mut text = Format::Csv.heading();
        text.extend(Format::Csv.line(&record(7), now(), "relay1"));
        let mut reader = csv::Reader::from_reader(&text[..]);
        let names: Vec<_> = reader
            .headers()
            .expect("names")
            .iter()
            .map(str::to_owned)
            .collect();
        assert_eq!(names, FIELDS);
        let row = reader
            .records()
            .next()
            .expect("a row")
            .expect("well-formed");
        assert_eq!(row.len(), FIELDS.len());
        let cell = |name| {
            row.get(
                FIELDS
                    .iter()
                    .position(|field| *field == name)
                    .expect("known"),
            )
        };
        assert_eq!(cell("caller_uri"), Some("sip:\"x\",y@caller"));
        assert_eq!(cell("callee_lost"), Some(""));
        assert_eq!(cell("caller_packets"), Some("90"));
    }

    #[test]
    fn the_documentation_has_every_field() {
        let text = include_str!("../../docs/cdr.md");
        let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
        let named: Vec<_> = rows.filter_map(|row| row.split('`').next()).collect();
        assert_eq!(named, FIELDS);
    }
}
