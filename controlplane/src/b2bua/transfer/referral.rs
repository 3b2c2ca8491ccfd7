//! REFER (RFC 3515): what it asks for, and how it passes from one leg to the other without telling one side's addresses.

use crate::session::Side;
use crate::sip::typed::{Host, NameAddr, Uri};
use crate::sip::{HeaderName, Message, Method, StatusCode};
use crate::transaction::ServerKey;

use super::super::call::Call;
use super::super::context::Context;
use super::super::{passing, setup};
use super::named::Named;
use super::replaces::Replaces;

/// The media type of NOTIFY's account of a transfer.
pub(super) const FRAGMENT: &str = "message/sipfrag";

/// The longest status line of a fragment that passes.
const LONGEST_LINE: usize = 256;

/// What a REFER asks for.
#[derive(Debug)]
pub(super) struct Referral {
    /// Whom to call: without the headers that came with it.
    pub(super) target: Uri,
    /// Who says so, where it is said.
    pub(super) by: Option<NameAddr>,
    /// The transferor wants to hear of it.
    pub(super) subscribes: bool,
}

impl Referral {
    /// Reads it.
    ///
    /// # Errors
    /// 400 without one Refer-To (RFC 3515 §2.4.2); 416 when it leads to no scheme of ours; 603 when it asks for
    /// anything but a call.
    pub(super) fn read(request: &Message) -> Result<Self, StatusCode> {
        let values = request.headers.values(&HeaderName::ReferTo);
        let [value] = &values[..] else {
            return Err(StatusCode::BAD_REQUEST);
        };
        let target = NameAddr::parse(value).map_err(|_| StatusCode::BAD_REQUEST)?;
        let target = target.uri;
        if !matches!(target.scheme().as_str(), "sip" | "tel") {
            return Err(StatusCode::UNSUPPORTED_URI_SCHEME);
        }
        let method = target.parameter("method");
        if method.is_some_and(|method| method != Method::Invite.as_str()) {
            return Err(StatusCode::DECLINE);
        }
        let by = request.headers.value(&HeaderName::ReferredBy);
        Ok(Self {
            target,
            by: by.and_then(|by| NameAddr::parse(&by).ok()),
            subscribes: !request.lists(&HeaderName::from(super::REFER_SUB), "false"),
        })
    }

    /// The name of the dialog that the target is to replace.
    ///
    /// # Errors
    /// 400 when it cannot be read.
    pub(super) fn replaces(request: &Message) -> Result<Option<Replaces>, StatusCode> {
        let value = request.headers.value(&HeaderName::ReferTo);
        let uri = value.and_then(|value| NameAddr::parse(&value).ok());
        let Some(header) = uri.and_then(|refer_to| refer_to.uri.header("replaces")) else {
            return Ok(None);
        };
        let replaces = Replaces::parse(header.as_bytes());
        replaces.map(Some).ok_or(StatusCode::BAD_REQUEST)
    }
}

impl Call {
    /// Passes a REFER on: whom it names is to be called by way of us, and the dialog that it names is the one that
    /// the other party knows.
    pub(super) fn pass_refer(
        &mut self,
        cx: &mut Context,
        (from, place): (Side, usize),
        key: ServerKey,
        mut request: Message,
        (referral, named): (&Referral, Named),
    ) {
        let to = from.other();
        let trunk = self.trunk(to);
        let Some(pair) = self.pairs.get(place) else {
            return cx.refuse(key, &request, StatusCode::NO_SUCH_CALL);
        };
        let listener = cx.path_of(trunk, pair.dialog(to)).listener;
        let Some((host, port, transport)) = cx.own_host(listener) else {
            return cx.refuse(key, &request, StatusCode::SERVER_INTERNAL_ERROR);
        };
        let mut uri = setup::addressed_to(&referral.target, &host, Some(port));
        if let Some(transport) = transport {
            uri = uri.with_parameter("transport", transport);
        }
        let refer_to = match named {
            Named::Dialog(known) => format!("<{uri}?Replaces={}>", known.name.escaped()),
            Named::Foreign(name) => format!("<{uri}?Replaces={}>", name.escaped()),
            Named::Nothing => format!("<{uri}>"),
        };
        request.headers.set(HeaderName::ReferTo, refer_to);
        request.headers.remove(&HeaderName::ReferredBy);
        if let Some(by) = &referral.by {
            let by = setup::hidden(by.clone(), &host, Some(port));
            request.headers.push(HeaderName::ReferredBy, by.to_bytes());
        }
        cx.counters.referrals_passed += 1;
        self.begin_relay(cx, from, place, key, request);
    }
}

impl Context {
    /// What we are called at a listener: host, port, and the transport where it is not UDP.
    pub(super) fn own_host(
        &self,
        listener: crate::settings::ListenerId,
    ) -> Option<(Host, u16, Option<&'static str>)> {
        use crate::settings::Transport;
        let listener = self.settings.listeners.get(usize::from(listener.0))?;
        let own = listener.announced();
        let transport = match listener.transport {
            Transport::Udp => None,
            other => Some(other.name()),
        };
        Some((Host::from(own.ip()), own.port(), transport))
    }
}

/// Completes a REFER or NOTIFY that passes on the other side's.
pub(in crate::b2bua) fn complete(passes: &Message, into: &mut Message) {
    for name in [HeaderName::ReferTo, HeaderName::ReferredBy] {
        for field in passes.headers.all(&name) {
            into.headers.append(field.clone());
        }
    }
    passing::pass_body(passes, into);
    let is_fragment = into.content_type().is_some_and(|media| media == FRAGMENT);
    if is_fragment {
        trim(&mut into.body);
    }
}

/// Leaves of a fragment what says how far the transfer is: the status line. The headers behind it may name the
/// addresses of a third party.
fn trim(body: &mut Vec<u8>) {
    let end = body.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
    body.truncate(end.unwrap_or(body.len()).min(LONGEST_LINE));
    body.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refer(headers: &str) -> Message {
        let text = format!(
            "REFER sip:a@10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.2;branch=z9hG4bK1\r\n\
             From: <sip:a@10.0.0.2>;tag=a\r\nTo: <sip:b@10.0.0.1>;tag=b\r\nCall-ID: 1\r\n\
             CSeq: 1 REFER\r\n{headers}Content-Length: 0\r\n\r\n"
        );
        Message::parse(text.as_bytes()).expect("a message")
    }

    #[test]
    fn a_referral_needs_one_target_that_can_be_called() {
        for (headers, code) in [
            ("", StatusCode::BAD_REQUEST),
            (
                "Refer-To: <sip:a@h>\r\nRefer-To: <sip:b@h>\r\n",
                StatusCode::BAD_REQUEST,
            ),
            (
                "Refer-To: <http://h>\r\n",
                StatusCode::UNSUPPORTED_URI_SCHEME,
            ),
            (
                "Refer-To: <sips:a@h>\r\n",
                StatusCode::UNSUPPORTED_URI_SCHEME,
            ),
            ("Refer-To: <sip:a@h;method=BYE>\r\n", StatusCode::DECLINE),
            ("r: nonsense\r\n", StatusCode::BAD_REQUEST),
        ] {
            let read = Referral::read(&refer(headers));
            assert_eq!(read.map(|_| ()), Err(code), "{headers}");
        }
        let asked = "r: \"C\" <sip:+49@h;method=INVITE>\r\nb: <sip:a@h>\r\nRefer-Sub: false\r\n";
        let read = Referral::read(&refer(asked)).expect("a referral");
        assert_eq!(read.target.user(), Some("+49"));
        assert!(!read.subscribes && read.by.is_some());
        assert!(Referral::read(&refer("r: <tel:+49>\r\n")).is_ok_and(|read| read.subscribes));
    }

    #[test]
    fn the_dialog_that_is_to_be_replaced_is_read_or_the_request_refused() {
        let read = |value: &str| Referral::replaces(&refer(&format!("Refer-To: <{value}>\r\n")));
        assert_eq!(read("sip:a@h"), Ok(None));
        assert_eq!(read("sip:a@h?Subject=x"), Ok(None));
        let named = read("sip:a@h?Subject=x&replaces=1%40h%3Bto-tag%3Da%3Bfrom-tag%3Db");
        let named = named.expect("it is well-formed").expect("it is there");
        assert_eq!(
            (&*named.call_id, &*named.to_tag, &*named.from_tag),
            ("1@h", "a", "b")
        );
        assert_eq!(read("sip:a@h?Replaces=1"), Err(StatusCode::BAD_REQUEST));
    }

    #[test]
    fn a_fragment_passes_without_what_follows_its_status_line() {
        for (body, passed) in [
            (
                &b"SIP/2.0 200 OK\r\nContact: <sip:c@10.9.9.9>\r\n"[..],
                &b"SIP/2.0 200 OK\r\n"[..],
            ),
            (b"SIP/2.0 100 Trying", b"SIP/2.0 100 Trying\r\n"),
            (b"", b"\r\n"),
        ] {
            let mut body = body.to_vec();
            trim(&mut body);
            assert_eq!(body, passed);
        }
        let mut long = vec![b'x'; 10_000];
        trim(&mut long);
        assert_eq!(long.len(), LONGEST_LINE + 2);
    }
}
