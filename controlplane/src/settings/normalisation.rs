//! How a trunk's messages differ from ours, as the configuration says it: what is changed when they come in, and
//! before others go out.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use regex::Regex;

use crate::sip::HeaderName;

/// What a trunk's messages are changed by. The default changes nothing but what may not reach a trunk that is
/// not trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Normalisation {
    /// Whether the trunk belongs to our trust domain (RFC 3325 §2.3).
    pub trust: Trust,
    /// For messages from it.
    pub inbound: Rules,
    /// For messages to it.
    pub outbound: Rules,
    /// For session descriptions, both ways.
    pub codecs: Arc<CodecRules>,
}

/// Whether what a trunk asserts is believed, and whether it may know what is private.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// Identities that it asserts are dropped; it is told none, and what callers want kept private is kept so.
    #[default]
    Untrusted,
    /// Identities and wishes for privacy pass both ways: whoever is last to be trusted carries them out.
    Trusted,
}

/// Changes in one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// The user part of the Request-URI of INVITEs: the first rule that matches.
    pub request_user: Vec<UserRule>,
    /// The user part of From, likewise.
    pub from_user: Vec<UserRule>,
    /// The user part of To, likewise.
    pub to_user: Vec<UserRule>,
    /// The user parts of P-Asserted-Identity, P-Preferred-Identity, Remote-Party-ID, Diversion and History-Info.
    pub identity_user: Vec<UserRule>,
    /// Whether the caller is named at all.
    pub caller_id: CallerId,
    /// Which header names the caller besides From.
    pub identity: Identity,
    /// Which header says how a call was diverted.
    pub diversion: Diversion,
    /// Headers that are let through, kept out, changed and added.
    pub headers: HeaderRules,
    /// Failures that become others, by code.
    pub responses: BTreeMap<u16, u16>,
    /// What Reason says of causes.
    pub causes: CauseRules,
}

/// Changes a user part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRule {
    /// The whole user part must match.
    pub pattern: Pattern,
    /// What takes its place; `$1` and `${name}` are what the pattern captured.
    pub replacement: String,
}

/// A regular expression that must match the whole text. Equal where its text is.
#[derive(Clone)]
pub struct Pattern(Regex);

/// Whether the caller is named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CallerId {
    /// As the caller wants it.
    #[default]
    Pass,
    /// Never: as if the caller had asked for `Privacy: user;id`.
    Withhold,
}

/// Which header names the caller besides From.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Identity {
    /// Whichever it came in.
    #[default]
    AsItCame,
    /// P-Asserted-Identity (RFC 3325).
    Asserted,
    /// P-Preferred-Identity (RFC 3325): for a trunk that asserts by itself.
    Preferred,
    /// Remote-Party-ID, which came before the RFC.
    RemoteParty,
}

/// Which header says how a call was diverted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Diversion {
    /// Whichever it came in.
    #[default]
    AsItCame,
    /// Diversion (RFC 5806).
    Diversion,
    /// History-Info (RFC 7044), made by RFC 7544.
    HistoryInfo,
}

/// What becomes of headers. Kept out goes before let through; then values are changed, then headers are added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderRules {
    /// Pass in addition to what passes anyway.
    pub allow: Vec<HeaderName>,
    /// Do not pass.
    pub deny: Vec<HeaderName>,
    /// Values to change, each by every rule for its name, in order.
    pub replace: Vec<HeaderReplacement>,
    /// Requests that begin dialogs get these, besides what they have.
    pub add: Vec<(HeaderName, String)>,
}

/// Changes the value of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderReplacement {
    /// The header.
    pub name: HeaderName,
    /// The whole value must match.
    pub pattern: Pattern,
    /// What takes its place; nothing: the header is left out.
    pub replacement: String,
}

/// Which codecs a trunk's audio streams may have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CodecRules {
    /// Only these; none said: all. `telephone-event` always.
    pub allow: Vec<CodecName>,
    /// Not these, in any stream.
    pub deny: Vec<CodecName>,
    /// These first in offers, in this order.
    pub prefer: Vec<CodecName>,
    /// The packet time that the trunk is asked for.
    pub ptime: Option<Duration>,
}

impl CodecRules {
    /// Whether they change nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A codec: its encoding name, and its clock rate if it matters (RFC 8866 §6.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodecName {
    /// In lower case.
    pub name: String,
    /// In Hz; `None`: any.
    pub rate: Option<u32>,
}

/// What Reason (RFC 3326) says of causes of Q.850, and what they make of a failure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CauseRules {
    /// A cause of Q.850 in a failure's Reason, and the code that the failure then has.
    pub to_code: BTreeMap<u8, u16>,
    /// A failure's code, and the cause of Q.850 that it stands for: before RFC 3398's own.
    pub to_cause: BTreeMap<u16, u8>,
    /// Whether failures and BYE say a cause of Q.850 where they say none.
    pub say_cause: SayCause,
}

/// Whether a cause of Q.850 is said where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SayCause {
    /// No.
    #[default]
    Never,
    /// Yes, that which the code stands for.
    WhereMissing,
}

impl Pattern {
    /// The same expression for the whole text.
    ///
    /// # Errors
    /// It is too large once it is made to match the whole.
    pub fn whole(regex: &Regex) -> Result<Self, regex::Error> {
        let text = regex.as_str();
        // The second form is for a pattern in `(?x)` mode that closes with a comment: the line break ends it.
        Regex::new(&format!(r"\A(?:{text})\z"))
            .or_else(|_| Regex::new(&format!("\\A(?:{text}\n)\\z")))
            .map(Self)
    }

    /// The expression.
    pub const fn regex(&self) -> &Regex {
        &self.0
    }

    /// The replacement with the captures of `text`; `None` when the pattern does not match it.
    pub fn replace(&self, text: &str, replacement: &str) -> Option<String> {
        let captures = self.0.captures(text)?;
        let mut replaced = String::new();
        captures.expand(replacement, &mut replaced);
        Some(replaced)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_str().fmt(f)
    }
}

impl fmt::Display for CodecName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rate {
            Some(rate) => write!(f, "{}/{rate}", self.name),
            None => f.write_str(&self.name),
        }
    }
}
