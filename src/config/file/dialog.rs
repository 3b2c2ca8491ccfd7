//! A trunk's keys for its dialogs: `reliable_provisional`, `session_timer`, `early_media`.

use std::time::Duration;

use controlplane::settings::{
    DialogPolicy, EarlyMedia, Refresher, ReliableProvisional, SessionTimer, TimerMode,
};

use crate::config::diagnostic::Diagnostic;
use crate::config::kind::{self, spell_duration};
use crate::config::section::{Located, Section};

/// What the keys say.
#[derive(Debug)]
pub(crate) struct Dialog {
    reliable_provisional: ReliableProvisional,
    early_media: EarlyMedia,
    timer: Timer,
}

/// `session_timer = { … }`.
#[derive(Debug)]
struct Timer {
    mode: TimerMode,
    expires: Option<Located<Duration>>,
    min: Option<Located<Duration>>,
    refresher: Refresher,
}

/// Reads them.
pub(super) fn read(section: &mut Section<'_>) -> Dialog {
    const RELIABLE: &[(&str, ReliableProvisional)] = &[
        ("supported", ReliableProvisional::Supported),
        ("required", ReliableProvisional::Required),
        ("off", ReliableProvisional::Off),
    ];
    const EARLY: &[(&str, EarlyMedia)] = &[
        ("pass", EarlyMedia::Pass),
        ("ring", EarlyMedia::Ring),
        ("authorized", EarlyMedia::Authorized),
    ];
    Dialog {
        reliable_provisional: section.or_default(
            "reliable_provisional",
            &kind::word(RELIABLE),
            ReliableProvisional::default(),
        ),
        early_media: section.or_default("early_media", &kind::word(EARLY), EarlyMedia::default()),
        timer: section.table_or_empty("session_timer", "session_timer of [[trunk]]", timer),
    }
}

fn timer(section: &mut Section<'_>) -> Timer {
    const MODES: &[(&str, TimerMode)] = &[
        ("off", TimerMode::Off),
        ("accept", TimerMode::Accept),
        ("request", TimerMode::Request),
        ("pass", TimerMode::Pass),
    ];
    const REFRESHERS: &[(&str, Refresher)] =
        &[("tandem", Refresher::Tandem), ("peer", Refresher::Peer)];
    let interval = kind::duration(Duration::from_secs(2), Duration::from_secs(86_400));
    Timer {
        mode: section.or_default("mode", &kind::word(MODES), TimerMode::default()),
        expires: section.optional("expires", &interval),
        min: section.optional("min", &interval),
        refresher: section.or_default("refresher", &kind::word(REFRESHERS), Refresher::default()),
    }
}

impl Dialog {
    /// What they mean; noted when the interval that is asked for is below the shortest that is taken.
    pub(crate) fn resolve(&self, diagnostics: &mut Vec<Diagnostic>) -> DialogPolicy {
        let default = SessionTimer::default();
        let value = |located: &Option<Located<Duration>>, default| {
            located.as_ref().map_or(default, |located| located.value)
        };
        let min = value(&self.timer.min, default.min);
        let expires = value(&self.timer.expires, default.expires.max(min));
        if let Some(asked) = self
            .timer
            .expires
            .as_ref()
            .filter(|asked| asked.value < min)
        {
            diagnostics.push(Diagnostic::error(
                asked.span.clone(),
                "`expires` is shorter than the shortest interval that is taken",
                format!("at least `min`, {}", spell_duration(min)),
            ));
        }
        DialogPolicy {
            reliable_provisional: self.reliable_provisional,
            session_timer: SessionTimer {
                mode: self.timer.mode,
                expires,
                min,
                refresher: self.timer.refresher,
            },
            early_media: self.early_media,
        }
    }
}
