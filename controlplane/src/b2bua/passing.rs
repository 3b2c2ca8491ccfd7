//! What passes from one leg to the other, and what is ours.
//!
//! A header passes only if it is listed here: one that nobody knows may name the other side's
//! addresses. What passes goes byte for byte. `docs/b2bua.md` has the list for people, and a test
//! compares them.

use crate::sip::{Header, HeaderName, Headers, Message, StartLine, StatusCode};

/// The methods that we take, for Allow.
pub(super) const ALLOW: &str =
    "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, MESSAGE, NOTIFY, PRACK, UPDATE";

/// The media type of session descriptions.
pub(super) const SDP: &str = "application/sdp";

/// The extensions that work between the two ends through us, because all they need is that their
/// headers pass: History-Info (RFC 7044), User-to-User (RFC 7433).
pub(super) const END_TO_END_OPTIONS: &[&str] = &["histinfo", "uui"];

/// The extensions that work on each leg for itself: reliable provisional responses (RFC 3262), session timers
/// (RFC 4028).
pub(super) const OWN_OPTIONS: &[&str] = &["100rel", "timer"];

/// The headers that pass in both directions, in lower case; those that begin with `X-` do too.
pub(super) const PASSED: &[&str] = &[
    "accept-language",
    "alert-info",
    "answer-mode",
    "authorization",
    "call-info",
    "content-disposition",
    "content-language",
    "date",
    "diversion",
    "error-info",
    "event",
    "expires",
    "geolocation",
    "geolocation-error",
    "geolocation-routing",
    "history-info",
    "identity",
    "info-package",
    "mime-version",
    "organization",
    "p-asserted-identity",
    "p-charging-vector",
    "p-early-media",
    "p-preferred-identity",
    "priority",
    "privacy",
    "proxy-authenticate",
    "proxy-authorization",
    "reason",
    "recv-info",
    "refer-sub",
    "remote-party-id",
    "retry-after",
    "session-id",
    "subject",
    "subscription-state",
    "user-to-user",
    "www-authenticate",
];

/// Who warns, in a Warning that passes: the real one is a host of the other side (RFC 3261 §20.43 lets a
/// pseudonym stand in its place).
const WARNS: &[u8] = b"far-end";

/// Copies what passes from a message of one leg into one of the other.
pub(super) fn pass(from: &Message, into: &mut Message) {
    for field in from.headers.iter().filter(|field| passes(field.name())) {
        into.headers.append(field.clone());
    }
    let warnings = from.headers.values(&HeaderName::Warning);
    for warning in warnings.iter().filter_map(|value| without_agent(value)) {
        into.headers.push(HeaderName::Warning, warning);
    }
    for name in [HeaderName::Supported, HeaderName::Require] {
        let options = end_to_end(&from.headers, &name);
        if !options.is_empty() {
            into.headers.push(name, options.join(", "));
        }
    }
}

/// Copies what a message says of the session timer, where the two ends agree on one between themselves.
pub(super) fn pass_timer(from: &Message, into: &mut Message) {
    for name in [HeaderName::SessionExpires, HeaderName::MinSe] {
        into.headers.remove(&name);
        copy_all(&from.headers, into, &name);
    }
    for name in [HeaderName::Supported, HeaderName::Require] {
        if from.lists(&name, super::session_timer::OPTION) {
            into.headers.push(name, super::session_timer::OPTION);
        }
    }
}

/// Copies the name of the dialog that an INVITE is to replace (RFC 3891).
pub(super) fn pass_replaces(from: &Message, into: &mut Message) {
    copy_all(&from.headers, into, &HeaderName::Replaces);
    let option = super::transfer::REPLACES;
    if from.lists(&HeaderName::Require, option) {
        into.headers.push(HeaderName::Require, option);
    }
}

/// The response of one leg as an answer to the request of the other: code, reason, what passes, and
/// what explains the code.
pub(super) fn response(request: &Message, tag: Option<&str>, response: &Message) -> Message {
    let code = response.code().unwrap_or(StatusCode::SERVER_INTERNAL_ERROR);
    let mut passed = request.response(code, tag);
    if let StartLine::Response { reason, .. } = &response.start {
        passed.start = StartLine::Response {
            code,
            reason: reason.clone(),
        };
    }
    pass(response, &mut passed);
    for name in explained_by(code) {
        copy_all(&response.headers, &mut passed, name);
    }
    match code {
        // What we allow is what the side that asked may use.
        StatusCode::METHOD_NOT_ALLOWED => passed.headers.push(HeaderName::Allow, ALLOW),
        // Whoever says when it is back in service says it of itself. Coming from us it would say that we
        // are not; without, a 503 is taken as a 500 (RFC 3261 §21.5.4).
        StatusCode::SERVICE_UNAVAILABLE => {
            passed.headers.remove(&HeaderName::RetryAfter);
        }
        _ => {}
    }
    passed
}

/// The headers without which a failure says little: where a redirection leads to, what would be
/// understood instead.
const fn explained_by(code: StatusCode) -> &'static [HeaderName] {
    match code.as_u16() {
        300..=399 | 485 => &[HeaderName::Contact],
        415 => &[HeaderName::Accept, HeaderName::AcceptEncoding],
        420 => &[HeaderName::Unsupported],
        422 => &[HeaderName::MinSe],
        _ => &[],
    }
}

/// A Warning, `code agent "text"`, with our word for the agent; `None` if it is none.
fn without_agent(warning: &[u8]) -> Option<Vec<u8>> {
    let mut parts = warning.splitn(3, |&byte| byte == b' ');
    let (code, _agent, text) = (parts.next()?, parts.next()?, parts.next()?);
    let text = text.trim_ascii_start();
    let well_formed = code.len() == 3 && code.iter().all(u8::is_ascii_digit);
    (well_formed && text.first() == Some(&b'"')).then(|| [code, WARNS, text].join(&b' '))
}

/// Puts the Record-Route of the request into a response that makes a dialog (RFC 3261 §12.1.1).
pub(super) fn record_routes(request: &Message, response: &mut Message) {
    copy_all(&request.headers, response, &HeaderName::RecordRoute);
}

/// Gives a message a body that has been rewritten.
pub(super) fn set_sdp(message: &mut Message, sdp: Vec<u8>) {
    message.headers.set(HeaderName::ContentType, SDP);
    message.body = sdp;
}

/// Copies a body that nobody here understands, with its type.
pub(super) fn pass_body(from: &Message, into: &mut Message) {
    if from.body.is_empty() {
        return;
    }
    copy_all(&from.headers, into, &HeaderName::ContentType);
    copy_all(&from.headers, into, &HeaderName::ContentEncoding);
    into.body.clone_from(&from.body);
}

/// The session description that a message carries.
pub(super) fn sdp_of(message: &Message) -> Option<&[u8]> {
    let is_sdp = message.content_type().is_some_and(|media| media == SDP);
    (is_sdp && !message.body.is_empty()).then_some(&message.body[..])
}

/// The values of a header of option tags that we neither pass nor provide.
pub(super) fn foreign_options(headers: &Headers, name: &HeaderName) -> Vec<Vec<u8>> {
    let mut options = headers.values(name);
    options
        .retain(|option| !is_one_of(END_TO_END_OPTIONS, option) && !is_one_of(OWN_OPTIONS, option));
    options
}

fn end_to_end(headers: &Headers, name: &HeaderName) -> Vec<String> {
    let options = headers.values(name);
    let ours = options
        .iter()
        .filter(|option| is_one_of(END_TO_END_OPTIONS, option));
    ours.map(|option| String::from_utf8_lossy(option).into_owned())
        .collect()
}

fn is_one_of(options: &[&str], option: &[u8]) -> bool {
    options
        .iter()
        .any(|known| option.eq_ignore_ascii_case(known.as_bytes()))
}

fn passes(name: &HeaderName) -> bool {
    let name = name.as_str().to_ascii_lowercase();
    name.starts_with("x-") || PASSED.binary_search(&name.as_str()).is_ok()
}

fn copy_all(from: &Headers, into: &mut Message, name: &HeaderName) {
    let fields: Vec<Header> = from.all(name).cloned().collect();
    for field in fields {
        into.headers.append(field);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_and_names_nothing_of_a_single_leg() {
        assert!(PASSED.is_sorted());
        for own in [
            HeaderName::Via,
            HeaderName::From,
            HeaderName::To,
            HeaderName::CallId,
            HeaderName::CSeq,
            HeaderName::Contact,
            HeaderName::Route,
            HeaderName::RecordRoute,
            HeaderName::MaxForwards,
            HeaderName::ContentLength,
            HeaderName::ContentType,
            HeaderName::Allow,
            HeaderName::Supported,
            HeaderName::Require,
            HeaderName::RSeq,
            HeaderName::RAck,
            HeaderName::Replaces,
            HeaderName::UserAgent,
            HeaderName::Server,
            HeaderName::Warning,
        ] {
            assert!(!passes(&own), "{own}");
        }
        assert!(passes(&HeaderName::from("X-Carrier")));
    }

    #[test]
    fn the_documentation_has_the_same_list() {
        let text = include_str!("../../../docs/b2bua.md");
        let list = text
            .lines()
            .find_map(|line| line.strip_prefix("Passed: "))
            .expect("the list");
        let written: Vec<String> = list
            .trim_end_matches('.')
            .split(", ")
            .map(|name| name.trim_matches('`').to_ascii_lowercase())
            .collect();
        assert_eq!(written, PASSED);
    }

    #[test]
    fn who_warns_is_not_told() {
        let without = |warning: &str| {
            let warning = without_agent(warning.as_bytes())?;
            String::from_utf8(warning).ok()
        };
        for (warning, passed) in [
            (
                r#"370 10.2.0.9:5060 "Insufficient "bandwidth""#,
                Some(r#"370 far-end "Insufficient "bandwidth""#),
            ),
            (r#"399 [fd02::9]  "x""#, Some(r#"399 far-end "x""#)),
            ("399 10.2.0.9 unquoted", None),
            (r#"99 10.2.0.9 "x""#, None),
            (r#""399 10.2.0.9 x""#, None),
            ("399 10.2.0.9", None),
        ] {
            assert_eq!(without(warning).as_deref(), passed, "{warning}");
        }
    }

    #[test]
    fn what_passes_is_untouched_and_options_are_filtered() {
        let text = "INVITE sip:a@10.0.0.1 SIP/2.0\r\n\
            P-Asserted-Identity :  \"A\"\r\n <sip:a@x>\r\n\
            s: hello\r\n\
            User-Agent: secret\r\n\
            Supported: 100rel, histinfo, replaces\r\n\
            X-Id: 7\r\n\
            Content-Length: 0\r\n\r\n";
        let from = Message::parse(text.as_bytes()).expect("a message");
        let uri = from.uri().expect("a request").clone();
        let mut into = Message::request(crate::sip::Method::Invite, uri);
        pass(&from, &mut into);
        let text = String::from_utf8(into.to_bytes()).expect("text");
        for line in [
            "P-Asserted-Identity :  \"A\"\r\n <sip:a@x>\r\n",
            "s: hello\r\n",
            "X-Id: 7\r\n",
            "Supported: histinfo\r\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert!(!text.contains("secret") && !text.contains("replaces"));
        assert_eq!(
            foreign_options(&from.headers, &HeaderName::Supported),
            [b"replaces".to_vec()]
        );
    }
}
