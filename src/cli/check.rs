//! `tandem check`: everything that is wrong with a configuration file.

use std::process::ExitCode;

use serde_json::json;

use super::output::{print, print_json};
use super::{CheckArgs, Failure};
use crate::config::{self, Checked, Severity};
use crate::host::Host;

pub(super) fn check(args: &CheckArgs) -> Result<ExitCode, Failure> {
    let host = match args.offline {
        true => None,
        false => Some(Host::read().map_err(Failure::Host)?),
    };
    let checked = config::load(&args.config, host.as_ref())?;
    let code = match checked.report.is_usable() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    };
    if args.json {
        print_json(&json!({
            "usable": checked.report.is_usable(),
            "errors": checked.report.count(Severity::Error),
            "warnings": checked.report.count(Severity::Warning),
            "findings": checked.report.findings(),
        }))?;
        return Ok(code);
    }
    eprint!("{}", checked.report);
    match &checked.config {
        Some(config) => print(&format!(
            "{}: {}\n",
            args.config.display(),
            config.summary()
        ))?,
        None => eprintln!("tandem: {}", verdict(&args.config, &checked)),
    }
    Ok(code)
}

/// One line that counts the errors, for `check` and `run`.
pub(crate) fn verdict(path: &std::path::Path, checked: &Checked) -> String {
    let count = checked.report.count(Severity::Error);
    let plural = if count == 1 { "" } else { "s" };
    format!("{} cannot be used: {count} error{plural}", path.display())
}
