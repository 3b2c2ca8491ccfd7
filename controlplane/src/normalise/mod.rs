//! What a message is changed by on its way from one trunk to another: the rules that the configuration has for
//! each.
//!
//! ```text
//!   from its trunk ─► inbound rules ─► routing ─► outbound rules ─► to its trunk
//! ```
//!
//! Pure functions over [`Message`]. The B2BUA has made the other leg's message already; here its headers
//! and user parts become what the other trunk expects. Rules that come from a trunk's inbound side are applied before
//! those of the other's outbound side, and within each: trust, user parts, identity, privacy, diversion, then
//! headers, so that a header rule sees what leaves. Session descriptions are `session`'s, by the same settings.
//! `docs/normalisation.md` tells operators; refuses to know calls and dialogs.

mod causes;
mod diversion;
mod entries;
mod header_rules;
mod identity;
mod privacy;
#[cfg(test)]
mod tests;
mod user_part;

use crate::settings::{CallerId, Normalisation, Rules, Trust, UserRule};
use crate::sip::typed::NameAddr;
use crate::sip::{HeaderName, Message, StartLine, StatusCode};

pub use header_rules::FIXED;

/// From one trunk to another.
#[derive(Clone, Copy, Debug)]
pub struct Crossing<'a> {
    /// Of the trunk that the message came from.
    pub from: &'a Normalisation,
    /// Of the trunk that it goes to.
    pub to: &'a Normalisation,
}

/// Which requests a message is among.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It begins a dialog: addresses may change.
    Begins,
    /// It is within one, or is a response: addresses stay.
    Within,
}

impl Crossing<'_> {
    /// Changes the INVITE that is to leave; `original` is the one that came.
    pub fn invite(&self, original: &Message, message: &mut Message) {
        self.let_through(original, message);
        identity::take_out(&mut message.headers, self.from.trust);
        apply(&self.from.inbound, message, Stage::Begins);
        apply_outbound(self.to, message, Stage::Begins);
    }

    /// Changes a request within a dialog, or a response, that is to leave; `original` is the one that came.
    pub fn within(&self, original: &Message, message: &mut Message) {
        self.let_through(original, message);
        identity::take_out(&mut message.headers, self.from.trust);
        apply(&self.from.inbound, message, Stage::Within);
        apply_outbound(self.to, message, Stage::Within);
    }

    fn let_through(&self, original: &Message, message: &mut Message) {
        for rules in [&self.from.inbound, &self.to.outbound] {
            header_rules::let_through(
                &rules.headers.allow,
                &original.headers,
                &mut message.headers,
            );
        }
    }
}

impl Normalisation {
    /// The user part by which a call from the trunk is routed: that of the Request-URI, after the trunk's own rules.
    pub fn routed_user(&self, user: String) -> String {
        user_part::rewritten(&self.inbound.request_user, &user).unwrap_or(user)
    }

    /// A failure from the trunk becomes what it stands for, before anybody acts on it: by the cause in its Reason,
    /// or else by its code.
    pub fn understand(&self, response: &mut Message) {
        let Some(code) = response.code().filter(|code| code.is_failure()) else {
            return;
        };
        let rules = &self.inbound;
        let by_code = rules.responses.get(&code.as_u16());
        let meant = causes::code_by_cause(&rules.causes, &response.headers)
            .or_else(|| by_code.and_then(|code| StatusCode::new(*code)));
        set_code(response, meant);
    }

    /// A failure that goes to the trunk: its code becomes what the trunk understands, and says a cause if the
    /// trunk wants one.
    pub fn explain(&self, response: &mut Message) {
        let Some(code) = response.code().filter(|code| code.is_failure()) else {
            return;
        };
        let rules = &self.outbound;
        causes::say(&rules.causes, code.as_u16(), &mut response.headers);
        let other = rules.responses.get(&code.as_u16());
        set_code(response, other.and_then(|code| StatusCode::new(*code)));
    }

    /// BYE to the trunk: says a cause if the trunk wants one.
    pub fn explain_end(&self, request: &mut Message) {
        causes::say_in_request(&self.outbound.causes, &mut request.headers);
    }
}

fn set_code(response: &mut Message, meant: Option<StatusCode>) {
    let Some(code) = meant.filter(|code| code.is_failure()) else {
        return;
    };
    response.start = StartLine::Response {
        code,
        reason: code.reason().into(),
    };
}

fn apply_outbound(to: &Normalisation, message: &mut Message, stage: Stage) {
    let rules = &to.outbound;
    change_addresses(rules, message, stage);
    // What an identity asks for has to be known before it is carried out.
    identity::take_out(&mut message.headers, to.trust);
    if to.trust == Trust::Untrusted {
        privacy::carry_out(&mut message.headers, stage == Stage::Begins);
    }
    change_headers(rules, message, stage);
}

fn apply(rules: &Rules, message: &mut Message, stage: Stage) {
    change_addresses(rules, message, stage);
    change_headers(rules, message, stage);
}

fn change_addresses(rules: &Rules, message: &mut Message, stage: Stage) {
    if stage == Stage::Begins {
        if let StartLine::Request { uri, .. } = &mut message.start
            && let Some(changed) = user_part::in_uri(&rules.request_user, uri)
        {
            *uri = changed;
        }
        change_party(&rules.from_user, message, &HeaderName::From);
        change_party(&rules.to_user, message, &HeaderName::To);
    }
    for name in identity::headers() {
        user_part::in_header(&rules.identity_user, &mut message.headers, &name);
    }
    for name in [HeaderName::Diversion, HeaderName::HistoryInfo] {
        user_part::in_header(&rules.identity_user, &mut message.headers, &name);
    }
    identity::convert(&mut message.headers, rules.identity);
    if rules.caller_id == CallerId::Withhold && stage == Stage::Begins {
        privacy::make_anonymous(&mut message.headers);
        privacy::ask_for(&mut message.headers, &["id"]);
    }
    if stage == Stage::Begins {
        let target = message.uri().cloned();
        diversion::convert(&mut message.headers, rules.diversion, target.as_ref());
    }
}

fn change_headers(rules: &Rules, message: &mut Message, stage: Stage) {
    header_rules::change(&rules.headers, &mut message.headers);
    if stage == Stage::Begins {
        header_rules::add(&rules.headers, &mut message.headers);
    }
}

/// From and To have one address; whoever wants to stay unknown has no number that a rule could change.
fn change_party(rules: &[UserRule], message: &mut Message, name: &HeaderName) {
    if !rules.is_empty() {
        user_part::change_addresses(&mut message.headers, name, |address| {
            let uri = user_part::in_uri(rules, &address.uri)?;
            Some(NameAddr {
                uri,
                ..address.clone()
            })
        });
    }
}
