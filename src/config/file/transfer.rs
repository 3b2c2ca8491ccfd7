//! A trunk's keys for calls that it sends elsewhere: `redirect`, `refer`, `replaces`.

use controlplane::settings::{Redirect, Refer, Takeover, TransferPolicy};

use crate::config::kind;
use crate::config::section::Section;

/// Reads them.
pub(super) fn read(section: &mut Section<'_>) -> TransferPolicy {
    const REDIRECT: &[(&str, Redirect)] = &[
        ("pass", Redirect::Pass),
        ("follow", Redirect::Follow),
        ("follow-181", Redirect::FollowAloud),
    ];
    const REFER: &[(&str, Refer)] = &[
        ("off", Refer::Off),
        ("pass", Refer::Pass),
        ("local", Refer::Local),
    ];
    const REPLACES: &[(&str, Takeover)] = &[
        ("off", Takeover::Off),
        ("pass", Takeover::Pass),
        ("local", Takeover::Local),
    ];
    TransferPolicy {
        redirect: section.or_default("redirect", &kind::word(REDIRECT), Redirect::default()),
        refer: section.or_default("refer", &kind::word(REFER), Refer::default()),
        replaces: section.or_default("replaces", &kind::word(REPLACES), Takeover::default()),
    }
}
