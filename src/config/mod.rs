//! The configuration file: read, checked as a whole, and turned into the settings of the two planes.
//!
//! ```text
//!   text ─► TOML with places ─► File (kinds of values) ─► clashes, names, host ─► Settings of both planes
//!              └───────────────────── every finding, in the file's order ──────────────┘
//! ```
//!
//! Nothing is started from a file with an error in it, and all errors are reported at once. The settings
//! that come out need no further checks. `docs/configuration.md` describes the file for operators.

mod against_host;
mod assignment;
mod clashes;
mod diagnostic;
mod difference;
mod file;
mod kind;
mod names;
mod nearest;
mod numbering;
mod resolve;
mod routes;
mod section;
mod source;
mod tables;
#[cfg(test)]
mod tests;
mod transports;

use std::fs::File as FsFile;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use crate::host::Host;

pub(crate) use against_host::spell_ranges;
pub(crate) use diagnostic::{Report, Severity};
pub(crate) use difference::{Change, Difference};
pub(crate) use file::Appliance;
pub(crate) use kind::{is_log_filter, read_duration};
pub(crate) use numbering::Numbering;

use diagnostic::Diagnostic;
use file::File;
use source::Source;

/// No configuration file is longer, in bytes: what is, is something else.
const LONGEST_FILE: u64 = 4 << 20;

/// Everything that the file says.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// For the process as a whole.
    pub(crate) appliance: Appliance,
    /// For the control plane.
    pub(crate) control: controlplane::settings::Settings,
    /// For the dataplane.
    pub(crate) data: dataplane::settings::Settings,
    /// For the writer of records; `None`: none are written.
    pub(crate) cdr: Option<crate::cdr::Settings>,
    /// For the copies of messages; `None`: nobody collects them.
    pub(crate) hep: Option<crate::hep::Settings>,
    /// For the media services.
    pub(crate) media: crate::media::Settings,
}

impl Config {
    /// One line for the operator: what the file amounts to.
    pub(crate) fn summary(&self) -> String {
        resolve::summary(&self.control, &self.data)
    }
}

/// A file, read and checked.
#[derive(Debug)]
pub(crate) struct Checked {
    /// What the file says, if it has no error.
    pub(crate) config: Option<Config>,
    /// What is wrong with it.
    pub(crate) report: Report,
}

/// The file could not be read at all.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}: {error}", path.display())]
pub(crate) struct Unreadable {
    path: PathBuf,
    error: io::Error,
}

/// Reads and checks a file; without a host, only the file itself.
pub(crate) fn load(path: &Path, host: Option<&Host>) -> Result<Checked, Unreadable> {
    load_again(path, host, &Numbering::default())
}

/// The same for a process that runs already, and knows its trunks by numbers.
pub(crate) fn load_again(
    path: &Path,
    host: Option<&Host>,
    numbering: &Numbering,
) -> Result<Checked, Unreadable> {
    let text = read(path).map_err(|error| Unreadable {
        path: path.to_owned(),
        error,
    })?;
    let source = Source::new(path.display().to_string(), text);
    Ok(check(source, host, numbering))
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file = FsFile::open(path)?;
    file.take(LONGEST_FILE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LONGEST_FILE {
        let reason = format!("it is longer than {LONGEST_FILE} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
    }
    Ok(text)
}

/// Checks a file's text.
fn check(source: Source, host: Option<&Host>, numbering: &Numbering) -> Checked {
    let (document, errors) = DeTable::parse_recoverable(source.text());
    if !errors.is_empty() {
        // What the parser made of a broken file is not what the operator meant: only its own findings count.
        let diagnostics = syntax_errors(&source, &errors);
        return Checked {
            config: None,
            report: Report::new(source.clone(), diagnostics),
        };
    }
    let mut diagnostics = Vec::new();
    let file = File::read(&document, &mut diagnostics);
    clashes::check(&file, &mut diagnostics);
    transports::check(&file, &mut diagnostics);
    if let Some(host) = host {
        against_host::check(&file, host, &mut diagnostics);
        transports::check_files(&file, &mut diagnostics);
    }
    let directory = Path::new(source.name()).parent();
    let directory = directory.unwrap_or(Path::new(""));
    let (control, data) = resolve::resolve(&file, directory, host, numbering, &mut diagnostics);
    drop(document);
    let media = file.ng.services();
    let report = Report::new(source, diagnostics);
    let config = report.is_usable().then_some(Config {
        appliance: file.appliance,
        control,
        data,
        cdr: file.cdr,
        hep: file.hep,
        media,
    });
    Checked { config, report }
}

/// The parser's findings: the first on each line, and of a run that says the same (an unclosed bracket is
/// met again on every line below) the first, since the others mostly follow from it.
fn syntax_errors(source: &Source, errors: &[toml::de::Error]) -> Vec<Diagnostic> {
    let mut diagnostics: Vec<_> = errors.iter().map(syntax_error).collect();
    diagnostics.sort_by_key(|diagnostic| diagnostic.span.start);
    diagnostics.dedup_by_key(|diagnostic| source.position(diagnostic.span.start).line);
    diagnostics.dedup_by(|next, kept| next.message == kept.message);
    diagnostics
}

fn syntax_error(error: &toml::de::Error) -> Diagnostic {
    let span = error.span().unwrap_or(0..0);
    match error.message().split_once(", expected ") {
        Some((message, expected)) => Diagnostic::error(span, message, expected),
        None => Diagnostic::error(span, error.message(), "TOML (https://toml.io)"),
    }
}
