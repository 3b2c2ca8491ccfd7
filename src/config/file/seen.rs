//! The sections about what is seen from outside: records, stories, copies for a collector.

use std::net::SocketAddr;
use std::time::Duration;

use controlplane::settings::Explain;

use crate::cdr::{self, Format};
use crate::config::kind;
use crate::config::section::Section;
use crate::hep;

const SECOND: Duration = Duration::from_secs(1);

/// `[cdr]`: `None` without a usable file, which has then been noted.
pub(crate) fn cdr(section: &mut Section<'_>) -> Option<cdr::Settings> {
    const FORMATS: &[(&str, Format)] = &[("json", Format::Json), ("csv", Format::Csv)];
    let every = kind::duration_or_off(60 * SECOND, 7 * 86_400 * SECOND);
    let sync = kind::duration_or_off(Duration::from_millis(10), 3600 * SECOND);
    let file = section.required("file", &kind::file_path());
    let format = section.or_default("format", &kind::word(FORMATS), Format::Json);
    let size = section.optional("rotate_size", &kind::number(10_000, 1 << 40));
    let rotate_every = section.or_default("rotate_every", &every, None);
    let sync = section.or_default("sync", &sync, Some(SECOND));
    Some(cdr::Settings {
        file: file?.value,
        format,
        rotate_size: size.map(|size| size.value),
        rotate_every,
        sync,
    })
}

/// `[explain]`: how much is kept of what calls did.
pub(crate) fn explain(section: &mut Section<'_>) -> Explain {
    const MESSAGES: &[(&str, bool)] = &[("summary", false), ("whole", true)];
    let default = Explain::default();
    let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let calls = section.or_default("calls", &kind::number(0, 1_000_000), default.calls as u64);
    let bytes = section.or_default("bytes", &kind::number(0, 1 << 34), default.bytes as u64);
    let lines = section.or_default("lines", &kind::number(10, 10_000), default.lines as u64);
    Explain {
        calls: count(calls),
        bytes: count(bytes),
        lines: count(lines),
        messages: section.or_default("messages", &kind::word(MESSAGES), default.messages),
    }
}

/// `[hep]`: `None` without a usable collector, which has then been noted.
pub(crate) fn hep(section: &mut Section<'_>) -> Option<hep::Settings> {
    let collector = section.required("collector", &kind::listen_address());
    let id = section.or_default("id", &kind::number(0, u64::from(u32::MAX)), 2001);
    let password = section.optional("password", &kind::shared_secret());
    Some(hep::Settings {
        collector: collector.map(|collector| -> SocketAddr { collector.value })?,
        id: u32::try_from(id).unwrap_or_default(),
        password: password.map(|password| password.value),
    })
}

/// The default of `log_rate`: enough to see what happens, too little to fill a disk.
pub(crate) const LOG_RATE: u32 = 20;
