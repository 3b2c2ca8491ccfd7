//! Our registrations as the admin socket's views. Pure.

use contract::Timestamp;
use controlplane::registration::{RegistrationView, State};
use controlplane::settings::Settings;

use crate::admin::views::{Registration, RegistrationCounts, Registrations};

/// All of them.
pub(crate) fn registrations(
    views: &[RegistrationView],
    settings: &Settings,
    now: Timestamp,
) -> Registrations {
    let view = |view: &RegistrationView| {
        let trunk = settings.trunks.get(usize::from(view.trunk.0));
        let left = |at: Timestamp| at.since(now).as_secs_f64();
        Registration {
            trunk: trunk.map(|trunk| trunk.name.clone()).unwrap_or_default(),
            aor: view.aor.clone(),
            registrar: view.registrar.map(|registrar| registrar.to_string()),
            state: view.state.name().to_owned(),
            expires_seconds: view.expires.map(left),
            next_seconds: view.due.map(left),
            last_failure: view.last_failure,
            sent: view.counts.sent,
            accepted: view.counts.accepted,
            failed: view.counts.failed,
            challenged: view.counts.challenged,
        }
    };
    Registrations {
        registrations: views.iter().map(view).collect(),
    }
}

/// How they are, in figures.
pub(crate) fn counts(views: &[RegistrationView]) -> RegistrationCounts {
    let bound =
        |view: &&RegistrationView| matches!(view.state, State::Registered | State::Refreshing);
    RegistrationCounts {
        configured: views.len() as u64,
        registered: views.iter().filter(bound).count() as u64,
        sent: views.iter().map(|view| view.counts.sent).sum(),
        failed: views.iter().map(|view| view.counts.failed).sum(),
    }
}
