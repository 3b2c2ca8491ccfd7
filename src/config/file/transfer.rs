//! A trunk's keys for calls that it sends elsewhere: `redirect`.

use controlplane::settings::{Redirect, TransferPolicy};

use crate::config::kind;
use crate::config::section::Section;

/// Reads them.
pub(super) fn read(section: &mut Section<'_>) -> TransferPolicy {
    const REDIRECT: &[(&str, Redirect)] = &[
        ("pass", Redirect::Pass),
        ("follow", Redirect::Follow),
        ("follow-181", Redirect::FollowAloud),
    ];
    TransferPolicy {
        redirect: section.or_default("redirect", &kind::word(REDIRECT), Redirect::default()),
    }
}
