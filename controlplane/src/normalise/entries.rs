//! Single entries of History-Info and Diversion that are to stay private, whatever the message itself asks for
//! (RFC 7044 §10.1.2, RFC 7544 §3.2).
//!
//! ```text
//!   <sip:b@x;cause=486?Privacy=history>;index=1.1     becomes  <sip:anonymous@anonymous.invalid;cause=486>;index=1.1
//!   <sip:b@x>;reason=user-busy;privacy=full           becomes  <sip:anonymous@anonymous.invalid>;reason=user-busy
//! ```
//!
//! An entry keeps its place and why the call went on: how often and in which order it was diverted is no secret.
//! One that cannot be read may hold a wish that cannot be seen: it is left out.

use crate::sip::typed::{NameAddr, Params, Uri};
use crate::sip::{HeaderName, Headers};

/// Who stays unknown (RFC 3323 §4.1.1.3).
const ANONYMOUS: &str = "sip:anonymous@anonymous.invalid";

/// What an entry of History-Info tells of the way, and not of anybody (RFC 7044 §5).
const OF_HISTORY: [&str; 4] = ["index", "rc", "mp", "np"];

/// What a diversion tells of it, and not of anybody (RFC 5806 §4).
const OF_DIVERSION: [&str; 3] = ["reason", "counter", "limit"];

/// Makes the entries anonymous that ask for it.
pub(super) fn make_anonymous(headers: &mut Headers) {
    each(headers, &HeaderName::HistoryInfo, history);
    each(headers, &HeaderName::Diversion, diversion);
}

/// Whether an entry of History-Info asks for it. Other values than `history` do not count.
pub(super) fn is_private(uri: &Uri) -> bool {
    uri.header_values("Privacy").any(|asked| {
        let mut words = asked.split([';', ',']);
        words.any(|word| word.trim().eq_ignore_ascii_case("history"))
    })
}

/// Whether a diversion asks for it, or a Remote-Party-ID: `full`, `name`, `uri`, or what came later. `off` does not.
pub(super) fn is_private_by_parameter(params: &Params) -> bool {
    let mut asked = params
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("privacy"));
    asked.any(|(_, value)| {
        let value = value.unwrap_or_default();
        let value = value.strip_prefix(b"\"").unwrap_or(value);
        let value = value.strip_suffix(b"\"").unwrap_or(value);
        !value.eq_ignore_ascii_case(b"off")
    })
}

fn each(headers: &mut Headers, name: &HeaderName, change: fn(NameAddr) -> Option<NameAddr>) {
    let values = headers.values(name);
    if values.is_empty() {
        return;
    }
    let kept: Vec<Vec<u8>> = values
        .iter()
        .filter_map(|value| change(NameAddr::parse(value).ok()?))
        .map(|entry| entry.to_bytes())
        .collect();
    match kept.is_empty() {
        true => {
            headers.remove(name);
        }
        false => headers.set(name.clone(), kept.join(&b", "[..])),
    }
}

/// An entry's own Privacy is for whoever carries it out, and goes in any case; why the call went on stays.
fn history(mut entry: NameAddr) -> Option<NameAddr> {
    if is_private(&entry.uri) {
        let mut text = ANONYMOUS.to_owned();
        let cause = entry.uri.parameter("cause");
        if let Some(cause) = cause.and_then(|cause| cause.parse::<u16>().ok()) {
            text.push_str(&format!(";cause={cause}"));
        }
        if let Some(headers) = entry.uri.headers() {
            text.push('?');
            text.push_str(headers);
        }
        entry = nameless(&entry, Uri::parse(text.as_bytes()).ok()?, &OF_HISTORY);
    }
    entry.uri = entry.uri.without_header("Privacy");
    Some(entry)
}

fn diversion(entry: NameAddr) -> Option<NameAddr> {
    if !is_private_by_parameter(&entry.params) {
        return Some(entry);
    }
    let anonymous = Uri::parse(ANONYMOUS.as_bytes()).ok()?;
    Some(nameless(&entry, anonymous, &OF_DIVERSION))
}

/// The same of nobody, with these parameters only.
fn nameless(entry: &NameAddr, uri: Uri, kept: &[&str]) -> NameAddr {
    let mut bare = NameAddr::new(uri);
    for name in kept {
        if let Some(value) = entry.params.value(name) {
            bare.params.set(name, Some(value));
        }
    }
    bare
}
