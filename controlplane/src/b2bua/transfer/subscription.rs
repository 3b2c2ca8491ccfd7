//! The subscription that a REFER makes (RFC 3515 §2.4): the transferor hears how far its transfer is, may ask for it to go
//! on, and may end it (RFC 6665 §4.1).

use crate::session::Side;
use crate::settings::Refer;
use crate::sip::{HeaderName, Message, Method, StatusCode};
use crate::transaction::ServerKey;

use super::super::admission::Refusal;
use super::super::call::Call;
use super::super::context::Context;
use super::referral;

/// How long a subscription to a transfer lasts, in seconds: longer than a target may ring.
const LASTS: u32 = 900;

/// The event package.
const PACKAGE: &str = "refer";

/// What a NOTIFY says of the subscription.
#[derive(Clone, Copy)]
enum State {
    /// For so many seconds more.
    Active(u32),
    /// The transfer is over.
    NoResource,
    /// The transferor wants to hear no more.
    Ended,
}

impl State {
    fn text(self) -> String {
        match self {
            Self::Active(seconds) => format!("active;expires={seconds}"),
            Self::NoResource => "terminated;reason=noresource".to_owned(),
            Self::Ended => "terminated;reason=timeout".to_owned(),
        }
    }
}

impl Call {
    /// Tells the transferor how far its transfer is (RFC 3515 §2.4.5).
    pub(super) fn notify_transferor(&mut self, cx: &mut Context, code: StatusCode) {
        let state = match code.is_final() {
            true => State::NoResource,
            false => State::Active(LASTS),
        };
        self.notify(cx, code, state);
    }

    fn notify(&mut self, cx: &mut Context, code: StatusCode, state: State) {
        let Some(transfer) = &mut self.transfer else {
            return;
        };
        transfer.told = code;
        let (by, Some(number)) = (transfer.by, transfer.notices) else {
            return;
        };
        let trunk = self.trunk(by);
        if self.farewell.departed == Some(by) {
            return;
        }
        let Some(pair) = self.pairs.first_mut() else {
            return;
        };
        let mut notify = pair.dialog_mut(by).request(Method::Notify);
        let listener = cx.path_of(trunk, pair.dialog(by)).listener;
        cx.introduce(&mut notify, listener);
        let headers = &mut notify.headers;
        headers.push(HeaderName::Event, format!("{PACKAGE};id={number}"));
        headers.push(HeaderName::SubscriptionState, state.text());
        let kind = format!("{};version=2.0", referral::FRAGMENT);
        headers.push(HeaderName::ContentType, kind);
        notify.body = format!("SIP/2.0 {} {}\r\n", code.as_u16(), code.reason()).into();
        if cx
            .request_within(Some(self.id), trunk, pair.dialog(by), notify)
            .is_err()
        {
            cx.drop_of(self.id, "notify_unsent");
        }
    }

    /// SUBSCRIBE within the dialog: of the subscription that a REFER has made it may be said how long it lasts. Where
    /// REFER passes, the subscription is the other party's, and so is the answer.
    pub(in crate::b2bua) fn on_subscribe(
        &mut self,
        cx: &mut Context,
        (side, place): (Side, usize),
        key: ServerKey,
        request: Message,
    ) {
        let policy = cx.transfer_policy(self.trunk(side)).refer;
        if policy == Refer::Off {
            return Refusal::method_not_allowed().send(cx, key, &request);
        }
        let Some((package, number)) = event_of(&request) else {
            return cx.refuse(key, &request, StatusCode::BAD_REQUEST);
        };
        if !package.eq_ignore_ascii_case(PACKAGE) {
            return Refusal::bad_event(PACKAGE).send(cx, key, &request);
        }
        if policy == Refer::Pass {
            return self.begin_relay(cx, side, place, key, request);
        }
        let notices = self
            .transfer
            .as_ref()
            .filter(|transfer| transfer.by == side)
            .and_then(|transfer| transfer.notices.zip(Some(transfer.told)));
        let (known, told) = match notices {
            Some((known, told)) if number.is_none_or(|number| number == known) => (known, told),
            _ => return cx.refuse(key, &request, StatusCode::NO_SUCH_CALL),
        };
        tracing::debug!(call = self.id.0, refer = known, "SUBSCRIBE");
        let asked = expires_of(&request).unwrap_or(LASTS).min(LASTS);
        let mut response = request.response(StatusCode::OK, None);
        if let Some(pair) = self.pairs.get(place) {
            cx.introduce(&mut response, pair.dialog(side).path().listener);
        }
        response
            .headers
            .push(HeaderName::Expires, asked.to_string());
        cx.respond(key, response);
        // Each SUBSCRIBE is answered by a NOTIFY with the present state (RFC 6665 §4.2.1.3).
        match asked {
            0 => {
                self.notify(cx, told, State::Ended);
                if let Some(transfer) = &mut self.transfer {
                    transfer.notices = None;
                }
            }
            seconds => self.notify(cx, told, State::Active(seconds)),
        }
    }
}

/// The package of an Event and its `id`, if that is a number.
fn event_of(request: &Message) -> Option<(String, Option<u32>)> {
    let value = request.headers.value(&HeaderName::Event)?;
    let text = std::str::from_utf8(&value).ok()?;
    let mut parts = text.split(';').map(str::trim);
    let package = parts.next().filter(|package| !package.is_empty())?;
    let id = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        let is_id = name.trim().eq_ignore_ascii_case("id");
        is_id.then(|| value.trim().parse().unwrap_or(u32::MAX))
    });
    Some((package.to_owned(), id))
}

fn expires_of(request: &Message) -> Option<u32> {
    let value = request.headers.value(&HeaderName::Expires)?;
    std::str::from_utf8(&value).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_a_package_and_may_have_a_number() {
        let read = |event: &str| {
            let text =
                format!("SUBSCRIBE sip:a@10.0.0.1 SIP/2.0\r\n{event}Content-Length: 0\r\n\r\n");
            event_of(&Message::parse(text.as_bytes()).expect("a message"))
        };
        assert_eq!(read(""), None);
        assert_eq!(read("Event: ;id=1\r\n"), None);
        assert_eq!(read("o: refer\r\n"), Some(("refer".into(), None)));
        assert_eq!(
            read("Event: Refer; x=1 ;ID= 7\r\n"),
            Some(("Refer".into(), Some(7)))
        );
        assert_eq!(
            read("Event: refer;id=x\r\n"),
            Some(("refer".into(), Some(u32::MAX)))
        );
    }
}
