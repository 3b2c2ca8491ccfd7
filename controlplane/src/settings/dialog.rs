//! What a trunk's dialogs may use beyond RFC 3261: reliable provisional responses, session timers, early
//! media. Each leg of a call follows its own trunk.

use std::time::Duration;

/// A trunk's part of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DialogPolicy {
    /// RFC 3262.
    pub reliable_provisional: ReliableProvisional,
    /// RFC 4028.
    pub session_timer: SessionTimer,
    /// Session descriptions before the answer.
    pub early_media: EarlyMedia,
}

/// Whether provisional responses are acknowledged (RFC 3262, `100rel`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ReliableProvisional {
    /// Where the peer asks for it, or answers so.
    #[default]
    Supported,
    /// Always: an INVITE from the trunk that does not support it is refused with 421, one to it requires it.
    Required,
    /// Never: `Require: 100rel` is refused with 420.
    Off,
}

/// Session timers (RFC 4028).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionTimer {
    /// Who wants them.
    pub mode: TimerMode,
    /// The interval that tandem asks for.
    pub expires: Duration,
    /// The shortest interval that is taken; RFC 4028 §4 knows none below 90 s.
    pub min: Duration,
    /// Who is to refresh, where it is tandem's to say.
    pub refresher: Refresher,
}

impl Default for SessionTimer {
    fn default() -> Self {
        Self {
            mode: TimerMode::default(),
            expires: Duration::from_secs(1800),
            min: Duration::from_secs(90),
            refresher: Refresher::default(),
        }
    }
}

/// Who wants session timers on a leg.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TimerMode {
    /// Nobody: the option is neither offered nor taken.
    Off,
    /// The peer may ask for one.
    #[default]
    Accept,
    /// Tandem asks for one, too; where the peer knows none, tandem refreshes for itself.
    Request,
    /// The two peers agree between themselves, where both trunks say so; otherwise as `Accept`.
    Pass,
}

/// Who refreshes a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Refresher {
    /// Tandem.
    #[default]
    Tandem,
    /// The peer, where it can.
    Peer,
}

/// What becomes of session descriptions that come before the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EarlyMedia {
    /// They pass.
    #[default]
    Pass,
    /// The caller hears a tone of its own: a response with a description goes on as 180 without.
    Ring,
    /// They pass with `P-Early-Media` that grants it (RFC 5009), otherwise as `Ring`.
    Authorized,
}
