//! Requests outside dialogs: what is refused before it becomes a call, and why (RFC 3261 §8.2).

use crate::dialog::target_of;
use crate::settings::TrunkId;
use crate::sip::typed::Uri;
use crate::sip::{HeaderName, Message, Method, StatusCode};
use crate::transaction::{Path, ServerKey};

use super::context::Context;
use super::passing;
use super::transfer::REPLACES;

/// What a request is refused with.
#[derive(Debug)]
pub(super) struct Refusal {
    code: StatusCode,
    /// What the response says besides.
    says: Vec<(HeaderName, Vec<u8>)>,
}

impl Refusal {
    fn with(code: StatusCode, name: HeaderName, value: impl Into<Vec<u8>>) -> Self {
        Self {
            code,
            says: vec![(name, value.into())],
        }
    }

    /// With which status code.
    pub(super) const fn code(&self) -> StatusCode {
        self.code
    }

    /// 405 with the methods that we take.
    pub(super) fn method_not_allowed() -> Self {
        let code = StatusCode::METHOD_NOT_ALLOWED;
        Self::with(code, HeaderName::Allow, passing::ALLOW)
    }

    /// 420 or 421: the trunk does without the option, or not.
    pub(super) fn extension(code: StatusCode, option: &str) -> Self {
        let name = match code {
            StatusCode::EXTENSION_REQUIRED => HeaderName::Require,
            _ => HeaderName::Unsupported,
        };
        Self::with(code, name, option)
    }

    /// 422 with the shortest session interval that is taken, in seconds.
    pub(super) fn interval(least: u64) -> Self {
        let code = StatusCode::INTERVAL_TOO_SMALL;
        Self::with(code, HeaderName::MinSe, least.to_string())
    }

    /// 489 with the event package that we know.
    pub(super) fn bad_event(known: &str) -> Self {
        let name = HeaderName::from("Allow-Events");
        Self::with(StatusCode::BAD_EVENT, name, known)
    }

    /// Answers the request.
    pub(super) fn send(self, cx: &mut Context, key: ServerKey, request: &Message) {
        let tag = cx.tokens.tag();
        let mut response = cx.own_response(request, self.code, Some(&tag));
        for (name, value) in self.says {
            response.headers.push(name, value);
        }
        cx.refuse_with(key, response);
    }
}

impl From<StatusCode> for Refusal {
    fn from(code: StatusCode) -> Self {
        Self {
            code,
            says: Vec::new(),
        }
    }
}

/// What holds for every request, within dialogs and without: a method that we take, no extension that
/// we lack, no body that we cannot read.
pub(super) fn check(message: &Message) -> Result<(), Refusal> {
    match message.method() {
        Some(
            Method::Invite
            | Method::Ack
            | Method::Cancel
            | Method::Bye
            | Method::Options
            | Method::Info
            | Method::Message
            | Method::Notify
            | Method::Refer
            | Method::Subscribe
            | Method::Prack
            | Method::Update,
        ) => {}
        Some(Method::Other(_)) => {
            let code = StatusCode::NOT_IMPLEMENTED;
            return Err(Refusal::with(code, HeaderName::Allow, passing::ALLOW));
        }
        _ => return Err(Refusal::method_not_allowed()),
    }
    let invites = message.method() == Some(&Method::Invite);
    if message.headers.contains(&HeaderName::Replaces) && !invites {
        return Err(StatusCode::BAD_REQUEST.into());
    }
    for name in [HeaderName::Require, HeaderName::ProxyRequire] {
        let mut foreign = passing::foreign_options(&message.headers, &name);
        // Whether it may be required is its trunk's to say.
        if invites && name == HeaderName::Require {
            foreign.retain(|option| !option.eq_ignore_ascii_case(REPLACES.as_bytes()));
        }
        if !foreign.is_empty() {
            let list = foreign.join(&b", "[..]);
            return Err(Refusal::with(
                StatusCode::BAD_EXTENSION,
                HeaderName::Unsupported,
                list,
            ));
        }
    }
    check_body(message)
}

/// A request that is to be passed on needs a hop more (RFC 3261 §16.3).
pub(super) fn check_hops(message: &Message) -> Result<(), Refusal> {
    match message.max_forwards() {
        Ok(Some(0)) => Err(StatusCode::TOO_MANY_HOPS.into()),
        Ok(_) => Ok(()),
        Err(_) => Err(StatusCode::BAD_REQUEST.into()),
    }
}

/// INVITE, PRACK and UPDATE carry a session description, uncoded, or nothing.
fn check_body(message: &Message) -> Result<(), Refusal> {
    let describes = matches!(
        message.method(),
        Some(Method::Invite | Method::Prack | Method::Update)
    );
    if !describes || message.body.is_empty() {
        return Ok(());
    }
    let code = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    let encodings = message.headers.values(&HeaderName::ContentEncoding);
    if encodings
        .iter()
        .any(|encoding| !encoding.eq_ignore_ascii_case(b"identity"))
    {
        return Err(Refusal::with(code, HeaderName::AcceptEncoding, "identity"));
    }
    if passing::sdp_of(message).is_none() {
        return Err(Refusal::with(code, HeaderName::Accept, passing::SDP));
    }
    Ok(())
}

/// The Request-URI is of a scheme that leads anywhere from here (RFC 3261 §8.2.2.1).
pub(super) fn check_scheme(message: &Message) -> Result<(), Refusal> {
    let scheme = message.uri().map(Uri::scheme).unwrap_or_default();
    match matches!(scheme.as_str(), "sip" | "tel") {
        true => Ok(()),
        false => Err(StatusCode::UNSUPPORTED_URI_SCHEME.into()),
    }
}

/// An answer brings a session description: a caller that takes none (RFC 3261 §20.1) cannot be called back.
fn check_accept(message: &Message) -> Result<(), Refusal> {
    let taken = |value: &Vec<u8>| {
        let media = value.split(|&byte| byte == b';').next().unwrap_or_default();
        let media = media.trim_ascii().to_ascii_lowercase();
        matches!(&media[..], b"application/sdp" | b"application/*" | b"*/*")
    };
    let accept = message.headers.values(&HeaderName::Accept);
    if !message.headers.contains(&HeaderName::Accept) || accept.iter().any(taken) {
        return Ok(());
    }
    let warning = "399 tandem \"A session description is not among what is accepted\"";
    let code = StatusCode::NOT_ACCEPTABLE;
    Err(Refusal::with(code, HeaderName::Warning, warning))
}

/// What holds for an INVITE that begins a call: a trunk that it comes from, an address that we can
/// call, no loop. Gives the trunk and the user that is called.
pub(super) fn check_call(
    cx: &Context,
    message: &Message,
    path: Path,
) -> Result<(TrunkId, String), Refusal> {
    let trunk = cx.trunk_of(path).ok_or(StatusCode::FORBIDDEN)?;
    let uri = message.uri().ok_or(StatusCode::BAD_REQUEST)?;
    check_scheme(message)?;
    check_accept(message)?;
    // Without them its dialog could not be made once the callee answers.
    if target_of(message).is_err() || message.routes(&HeaderName::RecordRoute).is_err() {
        return Err(StatusCode::BAD_REQUEST.into());
    }
    Ok((trunk, uri.decoded_user().unwrap_or_default()))
}

/// The answer to OPTIONS: what we take (RFC 3261 §11.2).
pub(super) fn capabilities(cx: &mut Context, request: &Message, path: Path) -> Message {
    let tag = cx.tokens.tag();
    let mut response = request.response(StatusCode::OK, Some(&tag));
    cx.introduce(&mut response, path.listener);
    let headers = &mut response.headers;
    headers.push(HeaderName::Accept, passing::SDP);
    headers.push(HeaderName::AcceptEncoding, "identity");
    let options = [passing::END_TO_END_OPTIONS, passing::OWN_OPTIONS].concat();
    headers.push(HeaderName::Supported, options.join(", "));
    response
}
