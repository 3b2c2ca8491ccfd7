//! Writing to stdout: text, or JSON on one line.

use terminal::output;

use super::Failure;

/// Writes text as it is.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    output::print(text).map_err(Failure::Output)
}

/// Writes a value as JSON, on one line.
pub(crate) fn print_json(value: &serde_json::Value) -> Result<(), Failure> {
    print(&format!("{value}\n"))
}
