//! Calls and the trunks' service: what calls say of the peers that they meet, what they hold of the trunks'
//! limits, and the OPTIONS that ask peers whether they are well.

use std::time::Duration;

use crate::dialog::MAX_FORWARDS;
use crate::routing::Target;
use crate::settings::TrunkId;
use crate::sip::typed::{NameAddr, Uri};
use crate::sip::{HeaderName, Message, Method, StatusCode};
use crate::transaction::{ClientKey, Path};
use crate::trunks::{Evidence, Lease, Limit, Way};

use super::B2bua;
use super::call::Call;
use super::context::Context;
use super::index::Owner;
use super::passing;

/// What a call without a session description is taken for until there is one: a telephone call with G.711.
const ASSUMED_BANDWIDTH: u64 = 80_000;

/// What a call holds of the trunks' limits.
#[derive(Debug, Default)]
pub(super) struct Leases {
    /// Of the caller's trunk.
    pub(super) inbound: Option<Lease>,
    /// Of the trunk that is being tried, or that has answered.
    pub(super) outbound: Option<Lease>,
}

impl Call {
    /// Takes a place on the target's trunk, in the place of the one that was tried before.
    pub(super) fn lease_target(&mut self, cx: &mut Context, target: Target) -> Result<(), Limit> {
        self.release_target(cx);
        let bandwidth = cx.bandwidth_of(&self.caller.invite);
        let ledger = cx.trunks.ledger_mut();
        let lease = ledger.lease(target.trunk, Way::Out, bandwidth, cx.now)?;
        self.leases.outbound = Some(lease);
        Ok(())
    }

    /// Gives the place on the target's trunk back.
    pub(super) fn release_target(&mut self, cx: &mut Context) {
        if let Some(lease) = self.leases.outbound.take() {
            cx.trunks.ledger_mut().release(lease);
        }
    }

    /// Gives everything back: the call is over.
    pub(super) fn release_trunks(&mut self, cx: &mut Context) {
        self.release_target(cx);
        if let Some(lease) = self.leases.inbound.take() {
            cx.trunks.ledger_mut().release(lease);
        }
    }

    /// Counts the media that offer and answer amount to now.
    pub(super) fn measure_media(&mut self, cx: &mut Context) {
        let Some(bandwidth) = self
            .session
            .and_then(|session| cx.engine.bandwidth(session))
        else {
            return;
        };
        let ledger = cx.trunks.ledger_mut();
        let leases = [&mut self.leases.inbound, &mut self.leases.outbound];
        for lease in leases.into_iter().flatten() {
            ledger.resize(lease, bandwidth);
        }
    }

    /// The target has said something, be it 100: it is there, and waits for nobody's patience but timer C's.
    pub(super) fn heard_target(&mut self, cx: &mut Context, response: &Message) {
        cx.patience.clear(self.id);
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        let evidence = evidence_of(response);
        if attempt.heard && evidence == Evidence::Success {
            return;
        }
        attempt.heard = true;
        cx.trunks.witness(attempt.target, evidence, cx.now);
    }

    /// The target has been silent, or cannot be reached.
    pub(super) fn blame_target(&self, cx: &mut Context) {
        if let Some(attempt) = self.attempt.as_ref().filter(|attempt| !attempt.heard) {
            cx.trunks.witness(attempt.target, Evidence::Failure, cx.now);
        }
    }
}

/// What a response to an INVITE says of the peer. 503 says that it does not serve; every other answer, that it
/// is there: a 408 or 500 may be that of somebody behind it.
pub(super) fn evidence_of(response: &Message) -> Evidence {
    match response.code() {
        Some(StatusCode::SERVICE_UNAVAILABLE) => {
            retry_after(response).map_or(Evidence::Failure, Evidence::RetryAfter)
        }
        _ => Evidence::Success,
    }
}

/// The seconds of Retry-After, without its comment and parameters (RFC 3261 §20.33); none for 0.
pub(super) fn retry_after(response: &Message) -> Option<Duration> {
    let value = response.headers.value(&HeaderName::RetryAfter)?;
    let digits = value.iter().take_while(|byte| byte.is_ascii_digit());
    let text: Vec<u8> = digits.copied().collect();
    let seconds: u32 = std::str::from_utf8(&text).ok()?.parse().ok()?;
    (seconds > 0).then(|| Duration::from_secs(u64::from(seconds)))
}

impl Context {
    /// The media of the call that an INVITE begins, in bits a second: worked out only where it matters for
    /// letting the call in.
    pub(super) fn bandwidth_of(&self, invite: &Message) -> u64 {
        if !self.trunks.ledger().watches_bandwidth() {
            return 0;
        }
        let Some(sdp) = passing::sdp_of(invite) else {
            return ASSUMED_BANDWIDTH;
        };
        self.engine.bandwidth_of(sdp).unwrap_or(ASSUMED_BANDWIDTH)
    }

    /// Lets a call in from a trunk, or says with which code it is refused.
    pub(super) fn lease_caller(
        &mut self,
        trunk: TrunkId,
        invite: &Message,
    ) -> Result<Lease, StatusCode> {
        let (bandwidth, now) = (self.bandwidth_of(invite), self.now);
        let ledger = self.trunks.ledger_mut();
        let lease = ledger.lease(trunk, Way::In, bandwidth, now);
        lease.map_err(|limit| {
            let name = self.trunk_name(trunk);
            tracing::debug!(trunk = name, limit = limit.name(), "call refused");
            let code = StatusCode::new(self.trunks.ledger().code(trunk));
            code.unwrap_or(StatusCode::SERVICE_UNAVAILABLE)
        })
    }
}

impl B2bua {
    /// Asks the peers that are due.
    pub(super) fn check_peers(&mut self) {
        while let Some(id) = self.cx.trunks.due(self.cx.now) {
            let cx = &mut self.cx;
            let path = Path::to(id.listener, id.peer);
            let options = question(cx, path);
            match cx.transactions.request(cx.now, options, path) {
                Ok(key) => {
                    cx.trunks.asked(id, cx.now);
                    cx.index.add_client(key, Owner::Check(id));
                }
                // No room, which is no fault of the peer's.
                Err(_) => cx.count_dropped("check_unsent"),
            }
        }
    }

    /// A response to an OPTIONS of ours.
    pub(super) fn on_check_response(&mut self, id: Target, response: &Message) {
        let Some(code) = response.code().filter(|code| code.is_final()) else {
            return;
        };
        let cx = &mut self.cx;
        let rest = retry_after(response).filter(|_| code == StatusCode::SERVICE_UNAVAILABLE);
        cx.trunks.answered(id, Some(code.as_u16()), rest, cx.now);
    }

    /// An OPTIONS of ours was lost. True when the transaction was one.
    pub(super) fn on_check_lost(&mut self, key: ClientKey) -> bool {
        let cx = &mut self.cx;
        let Some(id) = cx.index.check(key) else {
            return false;
        };
        cx.trunks.answered(id, None, None, cx.now);
        true
    }
}

/// OPTIONS outside a dialog (RFC 3261 §11), to whoever is at the address.
fn question(cx: &mut Context, path: Path) -> Message {
    let uri = Uri::sip(None, path.remote);
    let mut options = Message::request(Method::Options, uri.clone());
    let (tag, call_id) = (cx.tokens.tag(), cx.tokens.call_id());
    let own = cx
        .own_uri(path.listener)
        .unwrap_or_else(|| Uri::sip(None, path.remote));
    let headers = &mut options.headers;
    headers.push(HeaderName::MaxForwards, MAX_FORWARDS.to_string());
    headers.push(
        HeaderName::From,
        NameAddr::new(own).with_tag(&tag).to_bytes(),
    );
    headers.push(HeaderName::To, NameAddr::new(uri).to_bytes());
    headers.push(HeaderName::CallId, call_id);
    headers.push(HeaderName::CSeq, "1 OPTIONS");
    headers.push(HeaderName::Accept, passing::SDP);
    cx.introduce(&mut options, path.listener);
    options
}
