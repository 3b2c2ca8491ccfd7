//! What a registrar's response says.

use std::time::Duration;

use crate::sip::typed::NameAddr;
use crate::sip::{HeaderName, Message};

/// How long the registrar keeps our binding (RFC 3261 §10.2.4): by the Contact of ours that it lists, or by Expires; what we
/// asked for when it says nothing. `None` when it lists Contacts, and ours is not among them.
pub(super) fn granted(response: &Message, contact: &NameAddr, asked: Duration) -> Option<Duration> {
    let values = response.headers.values(&HeaderName::Contact);
    let listed: Vec<_> = values
        .iter()
        .filter_map(|value| NameAddr::parse(value).ok())
        .collect();
    let ours = listed.iter().find(|one| {
        let (one, own) = (&one.uri, &contact.uri);
        one.decoded_user() == own.decoded_user() && one.socket_addr() == own.socket_addr()
    });
    if ours.is_none() && !listed.is_empty() {
        return None;
    }
    let own = ours
        .and_then(|one| one.params.value("expires"))
        .and_then(seconds);
    let all = || number(response, &HeaderName::Expires);
    Some(own.or_else(all).unwrap_or(asked))
}

/// What a 423 says is the least.
pub(super) fn min_expires(response: &Message) -> Option<Duration> {
    number(response, &HeaderName::from("Min-Expires"))
}

/// When a failure says that it is worth trying again. A comment or parameter behind it does not matter.
pub(super) fn retry_after(response: &Message) -> Option<Duration> {
    number(response, &HeaderName::RetryAfter)
}

/// The route of Service-Route (RFC 3608); none where one of its addresses cannot be read.
pub(super) fn service_route(response: &Message) -> Vec<NameAddr> {
    let name = HeaderName::from("Service-Route");
    let values = response.headers.values(&name);
    // The header is a list, which the parser does not know: a comma between brackets separates.
    let text = values.join(&b","[..]);
    let parts = text.split(|&byte| byte == b'>').map(<[u8]>::trim_ascii);
    let parts = parts.map(|part| part.strip_prefix(b",").unwrap_or(part).trim_ascii());
    let addresses: Option<Vec<_>> = parts
        .filter(|part| part.starts_with(b"<"))
        .map(|part| NameAddr::parse(&[part, b">"].concat()).ok())
        .collect();
    addresses.unwrap_or_default()
}

fn number(response: &Message, name: &HeaderName) -> Option<Duration> {
    let value = response.headers.value(name)?;
    seconds(std::str::from_utf8(&value).ok()?)
}

fn seconds(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u32 = text.get(..digits)?.parse().ok()?;
    Some(Duration::from_secs(u64::from(number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(headers: &str) -> Message {
        let text = format!(
            "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a@x>;tag=1\r\nTo: <sip:a@x>;tag=2\r\n\
             Call-ID: c\r\nCSeq: 1 REGISTER\r\n{headers}Content-Length: 0\r\n\r\n"
        );
        Message::parse(text.as_bytes()).expect("a response")
    }

    #[test]
    fn the_binding_that_counts_is_ours() {
        let contact = NameAddr::parse(b"<sip:a@10.0.0.1:5060>").expect("an address");
        let asked = Duration::from_secs(3600);
        let of =
            |headers: &str| granted(&response(headers), &contact, asked).map(|time| time.as_secs());
        assert_eq!(of(""), Some(3600));
        assert_eq!(of("Expires: 600\r\n"), Some(600));
        let others = "Contact: <sip:b@10.0.0.9>;expires=9, <sip:a@10.0.0.1:5060>;expires=120\r\nExpires: 600\r\n";
        assert_eq!(of(others), Some(120));
        assert_eq!(
            of("Contact: <sip:a@10.0.0.1>\r\nExpires: 600\r\n"),
            Some(600)
        );
        assert_eq!(of("Contact: <sip:b@10.0.0.9>;expires=9\r\n"), None);
    }

    #[test]
    fn times_are_read_as_far_as_they_are_numbers() {
        assert_eq!(
            min_expires(&response("Min-Expires: 90\r\n")),
            Some(Duration::from_secs(90))
        );
        let after = |value: &str| retry_after(&response(&format!("Retry-After: {value}\r\n")));
        assert_eq!(
            after("18000;duration=3600"),
            Some(Duration::from_secs(18_000))
        );
        assert_eq!(after("120 (maintenance)"), Some(Duration::from_secs(120)));
        assert_eq!(after("99999999999"), None);
        assert_eq!(after("soon"), None);
    }

    #[test]
    fn a_service_route_keeps_its_order() {
        let route = |headers: &str| -> Vec<String> {
            let route = service_route(&response(headers));
            route.iter().map(|one| one.uri.to_string()).collect()
        };
        let two = "Service-Route: <sip:p1.example;lr>,\t<sip:p2.example;lr>\r\nService-Route: <sip:10.0.0.3;lr>\r\n";
        assert_eq!(
            route(two),
            ["sip:p1.example;lr", "sip:p2.example;lr", "sip:10.0.0.3;lr"]
        );
        assert_eq!(route(""), [""; 0]);
        assert_eq!(route("Service-Route: <nonsense>\r\n"), [""; 0]);
    }
}
