//! How a call was diverted: Diversion (RFC 5806) and History-Info (RFC 7044), each made from the other by
//! RFC 7544.
//!
//! ```text
//!   Diversion: <sip:b>;reason=no-answer, <sip:a>;reason=user-busy         the last diversion first
//!   History-Info: <sip:a>;index=1, <sip:b;cause=486>;index=1.1, <sip:c;cause=408>;index=1.1.1
//! ```
//!
//! Headers of the other kind take the place of what was there. What cannot be read is left out.

use super::entries;
use crate::settings::Diversion;
use crate::sip::typed::{NameAddr, Uri};
use crate::sip::{HeaderName, Headers};

/// Diversions that are taken from a message at the most. More are a loop.
const MOST: usize = 20;

/// Reasons of RFC 5806 and the causes of RFC 4458 that stand for them (RFC 7544 §7); what is not listed is
/// `unknown`, 404.
const REASONS: [(&str, u16); 7] = [
    ("unknown", 404),
    ("unconditional", 302),
    ("user-busy", 486),
    ("no-answer", 408),
    ("deflection", 480),
    ("deflection", 487),
    ("unavailable", 503),
];

/// One diversion: from whom, and why.
struct Diverted {
    from: NameAddr,
    cause: u16,
    private: bool,
}

/// Says how the call was diverted in the header that is wanted. `target`: where it goes now.
pub(super) fn convert(headers: &mut Headers, wanted: Diversion, target: Option<&Uri>) {
    let (source, name) = match wanted {
        Diversion::AsItCame => return,
        Diversion::Diversion => (HeaderName::HistoryInfo, HeaderName::Diversion),
        Diversion::HistoryInfo => (HeaderName::Diversion, HeaderName::HistoryInfo),
    };
    if headers.contains(&name) || !headers.contains(&source) {
        headers.remove(&source);
        return;
    }
    let values = match wanted {
        Diversion::Diversion => as_diversion(&from_history(headers)),
        _ => as_history(&from_diversion(headers), target),
    };
    headers.remove(&source);
    if !values.is_empty() {
        headers.set(name, values.join(&b", "[..]));
    }
}

/// The oldest first.
fn from_diversion(headers: &Headers) -> Vec<Diverted> {
    let values = headers.values(&HeaderName::Diversion);
    let addresses = values
        .iter()
        .filter_map(|value| NameAddr::parse(value).ok());
    let mut found: Vec<_> = addresses
        .take(MOST)
        .map(|address| {
            let param = |name| {
                address
                    .params
                    .value(name)
                    .map(|value| value.trim_matches('"'))
            };
            let reason = param("reason").unwrap_or_default();
            let known = REASONS
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(reason));
            Diverted {
                cause: known.map_or(404, |(_, cause)| *cause),
                private: entries::is_private_by_parameter(&address.params),
                from: address,
            }
        })
        .collect();
    found.reverse();
    found
}

/// The oldest first: an entry whose URI says a cause was diverted to by the one before it.
fn from_history(headers: &Headers) -> Vec<Diverted> {
    let values = headers.values(&HeaderName::HistoryInfo);
    let entries: Vec<_> = values
        .iter()
        .filter_map(|value| NameAddr::parse(value).ok())
        .collect();
    let mut found = Vec::new();
    for pair in entries.windows(2) {
        let [from, to] = pair else { continue };
        let cause = to
            .uri
            .parameter("cause")
            .and_then(|cause| cause.parse().ok());
        let known = cause.filter(|cause| REASONS.iter().any(|(_, known)| known == cause));
        if let Some(cause) = known.filter(|_| found.len() < MOST) {
            found.push(Diverted {
                from: from.clone(),
                cause,
                private: entries::is_private(&from.uri),
            });
        }
    }
    found
}

/// The last diversion first (RFC 5806 §3).
fn as_diversion(diverted: &[Diverted]) -> Vec<Vec<u8>> {
    let last_first = diverted.iter().rev();
    last_first
        .map(
            |Diverted {
                 from,
                 cause,
                 private,
             }| {
                let reason = REASONS.iter().find(|(_, known)| known == cause);
                let mut value = NameAddr::new(bare(&from.uri));
                value.display.clone_from(&from.display);
                value
                    .params
                    .set("reason", Some(reason.map_or("unknown", |(name, _)| name)));
                value.params.set("counter", Some("1"));
                value
                    .params
                    .set("privacy", Some(if *private { "full" } else { "off" }));
                value.to_bytes()
            },
        )
        .collect()
}

/// The oldest first, each with the cause of the diversion before it; the target last.
fn as_history(diverted: &[Diverted], target: Option<&Uri>) -> Vec<Vec<u8>> {
    let mut values = Vec::new();
    let mut index = "1".to_owned();
    let mut cause = None;
    for entry in diverted {
        let mut text = with_cause(&bare(&entry.from.uri), cause);
        if entry.private {
            text.push_str("?Privacy=history");
        }
        values.extend(history_entry(entry.from.display.as_deref(), &text, &index));
        cause = Some(entry.cause);
        index.push_str(".1");
    }
    if let Some(target) = target.filter(|_| !diverted.is_empty()) {
        values.extend(history_entry(None, &with_cause(target, cause), &index));
    }
    values
}

fn history_entry(display: Option<&[u8]>, uri: &str, index: &str) -> Option<Vec<u8>> {
    let mut value = NameAddr::new(Uri::parse(uri.as_bytes()).ok()?);
    value.display = display.map(<[u8]>::to_vec);
    value.params.set("index", Some(index));
    Some(value.to_bytes())
}

/// The URI without headers and without a cause of another time.
fn bare(uri: &Uri) -> Uri {
    let text = uri.without_headers();
    let mut parts = text.split(';');
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for param in parts.filter(|param| !param.to_ascii_lowercase().starts_with("cause=")) {
        kept.push(';');
        kept.push_str(param);
    }
    Uri::parse(kept.as_bytes()).unwrap_or_else(|_| uri.clone())
}

fn with_cause(uri: &Uri, cause: Option<u16>) -> String {
    match cause {
        Some(cause) => format!("{};cause={cause}", bare(uri)),
        None => bare(uri).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(name: HeaderName, value: &str, wanted: Diversion) -> Headers {
        let mut headers = Headers::default();
        headers.push(name, value);
        let target = Uri::parse(b"sip:c@192.0.2.9;user=phone").expect("a URI");
        convert(&mut headers, wanted, Some(&target));
        headers
    }

    fn texts(headers: &Headers, name: &HeaderName) -> Vec<String> {
        let values = headers.values(name).into_iter();
        values
            .map(|value| String::from_utf8(value).expect("text"))
            .collect()
    }

    #[test]
    fn diversion_becomes_history_and_comes_back() {
        let value = "<sip:b@x;user=phone>;reason=no-answer;counter=1;privacy=full, \
                     \"A\" <sip:a@x>;reason=\"user-busy\"";
        let headers = converted(HeaderName::Diversion, value, Diversion::HistoryInfo);
        assert!(!headers.contains(&HeaderName::Diversion));
        let history = texts(&headers, &HeaderName::HistoryInfo);
        assert_eq!(
            history,
            [
                "\"A\" <sip:a@x>;index=1",
                "<sip:b@x;user=phone;cause=486?Privacy=history>;index=1.1",
                "<sip:c@192.0.2.9;user=phone;cause=408>;index=1.1.1",
            ]
        );
        let headers = converted(
            HeaderName::HistoryInfo,
            &history.join(", "),
            Diversion::Diversion,
        );
        assert!(!headers.contains(&HeaderName::HistoryInfo));
        assert_eq!(
            texts(&headers, &HeaderName::Diversion),
            [
                "<sip:b@x;user=phone>;reason=no-answer;counter=1;privacy=full",
                "\"A\" <sip:a@x>;reason=user-busy;counter=1;privacy=off",
            ]
        );
    }

    #[test]
    fn what_was_not_diverted_has_no_diversion() {
        let value = "<sip:a@x>;index=1, <sip:a@192.0.2.1>;index=1.1;rc=1";
        let headers = converted(HeaderName::HistoryInfo, value, Diversion::Diversion);
        assert!(headers.is_empty());
        let headers = converted(HeaderName::Diversion, "nonsense", Diversion::HistoryInfo);
        assert!(headers.is_empty());
        let headers = converted(
            HeaderName::Diversion,
            "<sip:a@x>;reason=follow-me",
            Diversion::AsItCame,
        );
        assert!(headers.contains(&HeaderName::Diversion));
    }
}
