//! What is wrong with a configuration file, and how it is shown: file:line:column, the offending line
//! with carets, and what was expected instead.
//!
//! ```text
//! tandem.toml:12:1: error: unknown key `devise` in [[media]]
//!    12 | devise = "in0"
//!       | ^^^^^^
//!       = expected: one of `addresses`, `device`, … (did you mean `device`?)
//! ```

use std::fmt;
use std::ops::Range;

use serde::Serialize;

use super::kind::SECRET_KEYS;
use super::source::Source;

/// Whether the file can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// It cannot.
    Error,
    /// It can, but the operator should look.
    Warning,
}

/// One thing that is wrong, at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Diagnostic {
    /// Whether it forbids using the file.
    pub(crate) severity: Severity,
    /// The offending bytes.
    pub(crate) span: Range<usize>,
    /// What is wrong, as a clause without a full stop.
    pub(crate) message: String,
    /// What would be right.
    pub(crate) expected: String,
    /// The other place that this one clashes with, and what is there.
    pub(crate) other: Option<(Range<usize>, String)>,
    /// Where it really is, when the offending bytes only name the file that it is in.
    pub(crate) elsewhere: Option<Place>,
    /// What follows the offending bytes may be a secret.
    pub(crate) hides_value: bool,
}

/// A place in a file. Lines and columns count from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The file.
    pub(crate) file: String,
    /// The line.
    pub(crate) line: usize,
    /// The first offending character.
    pub(crate) column: usize,
    /// How many offend.
    pub(crate) width: usize,
    /// The line's text.
    pub(crate) text: String,
}

impl Place {
    fn hide_what_follows(&mut self) {
        let shown = self.column - 1 + self.width;
        let hidden = |(place, c): (usize, char)| if place < shown { c } else { star(c) };
        self.text = self.text.chars().enumerate().map(hidden).collect();
    }
}

impl Diagnostic {
    /// An error.
    pub(crate) fn error(
        span: Range<usize>,
        message: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Self {
            severity: Severity::Error,
            span,
            message: message.into(),
            expected: expected.into(),
            other: None,
            elsewhere: None,
            hides_value: false,
        }
    }

    /// A warning.
    pub(crate) fn warning(
        span: Range<usize>,
        message: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(span, message, expected)
        }
    }

    /// The same, in another file that the configuration names here.
    pub(crate) fn elsewhere(self, place: Place) -> Self {
        Self {
            elsewhere: Some(place),
            ..self
        }
    }

    /// The same, without showing what follows on the line.
    pub(crate) fn hiding_the_value(self) -> Self {
        Self {
            hides_value: true,
            ..self
        }
    }

    /// The same, pointing also at the place that it clashes with.
    pub(crate) fn clashing_with(self, span: Range<usize>, what: impl Into<String>) -> Self {
        Self {
            other: Some((span, what.into())),
            ..self
        }
    }
}

/// Everything that is wrong with one file, in the file's order.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    source: Source,
    diagnostics: Vec<Diagnostic>,
}

impl Report {
    /// A report on a file.
    pub(crate) fn new(source: Source, mut diagnostics: Vec<Diagnostic>) -> Self {
        diagnostics.sort_by_key(|diagnostic| diagnostic.span.start);
        Self {
            source,
            diagnostics,
        }
    }

    /// The file's text.
    pub(crate) fn text(&self) -> &str {
        self.source.text()
    }

    /// Whether the file can be used.
    pub(crate) fn is_usable(&self) -> bool {
        self.count(Severity::Error) == 0
    }

    /// How many findings of a severity there are.
    pub(crate) fn count(&self, severity: Severity) -> usize {
        let of_it = |diagnostic: &&Diagnostic| diagnostic.severity == severity;
        self.diagnostics.iter().filter(of_it).count()
    }

    /// The findings as they are.
    #[cfg(test)]
    pub(crate) fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// The findings with their places, for `--json`.
    pub(crate) fn findings(&self) -> Vec<Finding<'_>> {
        let finding = |diagnostic| Finding::new(&self.source, diagnostic);
        self.diagnostics.iter().map(finding).collect()
    }
}

/// One finding, as `tandem check --json` prints it.
#[derive(Debug, Serialize)]
pub(crate) struct Finding<'a> {
    severity: Severity,
    file: &'a str,
    line: usize,
    column: usize,
    message: &'a str,
    expected: &'a str,
}

impl<'a> Finding<'a> {
    fn new(source: &'a Source, diagnostic: &'a Diagnostic) -> Self {
        let position = source.position(diagnostic.span.start);
        let (file, line, column) = match &diagnostic.elsewhere {
            Some(place) => (place.file.as_str(), place.line, place.column),
            None => (source.name(), position.line, position.column),
        };
        Self {
            severity: diagnostic.severity,
            file,
            line,
            column,
            message: &diagnostic.message,
            expected: &diagnostic.expected,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for diagnostic in &self.diagnostics {
            let severity = match diagnostic.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            };
            let mut here = place_in(&self.source, &diagnostic.span);
            if diagnostic.hides_value {
                here.hide_what_follows();
            }
            let place = diagnostic.elsewhere.as_ref().unwrap_or(&here);
            write_place(f, place, severity, &diagnostic.message)?;
            writeln!(f, "      = expected: {}", diagnostic.expected)?;
            if diagnostic.elsewhere.is_some() {
                write_place(f, &here, "note", "the file is named here")?;
            }
            if let Some((span, what)) = &diagnostic.other {
                write_place(f, &place_in(&self.source, span), "note", what)?;
            }
        }
        Ok(())
    }
}

fn place_in(source: &Source, span: &Range<usize>) -> Place {
    let at = source.position(span.start);
    Place {
        file: source.name().to_owned(),
        line: at.line,
        column: at.column,
        width: source.width_on_first_line(span),
        text: without_secrets(source.line(at.line)),
    }
}

/// Writes `file:line:column: label: text`, the line, and carets under what offends.
fn write_place(f: &mut fmt::Formatter<'_>, place: &Place, label: &str, text: &str) -> fmt::Result {
    let Place {
        file, line, column, ..
    } = place;
    writeln!(f, "{file}:{line}:{column}: {label}: {text}")?;
    // Tabs stay tabs, so that the carets stand under the characters that they mean.
    let indent = |c| if c == '\t' { '\t' } else { ' ' };
    let padding: String = place.text.chars().take(column - 1).map(indent).collect();
    let carets = "^".repeat(place.width);
    writeln!(f, "{line:>5} | {}", place.text)?;
    writeln!(f, "      | {padding}{carets}")
}

/// The line as it may be shown: what follows a key that holds a secret is starred, in the same width.
fn without_secrets(line: &str) -> String {
    let ends_in_word = |text: &str| text.ends_with(|c: char| c.is_alphanumeric() || c == '_');
    let value_of = |name: &'static str| {
        line.match_indices(name).find_map(|(at, _)| {
            let (before, rest) = line.split_at(at);
            let rest = rest.strip_prefix(name)?;
            let rest = rest.trim_start_matches(['"', '\'']).trim_start();
            let value = line.len() - rest.strip_prefix('=')?.len();
            (!ends_in_word(before)).then_some(value)
        })
    };
    let secret = SECRET_KEYS.into_iter().filter_map(value_of).min();
    let (shown, hidden) = line.split_at(secret.unwrap_or(line.len()));
    shown.chars().chain(hidden.chars().map(star)).collect()
}

fn star(c: char) -> char {
    if c.is_whitespace() { c } else { '*' }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        for (line, shown) in [
            ("password = \"hush\" # 7", "password = ****** * *"),
            ("  ha1='00ff'", "  ha1=******"),
            ("x = { \"password\" = 5 }", "x = { \"password\" = * *"),
            ("password_file = \"/etc/x\"", "password_file = \"/etc/x\""),
            (
                "{ realm = \"alpha1\", ha1 = \"00ff\" }",
                "{ realm = \"alpha1\", ha1 = ****** *",
            ),
            (
                "{ password_file = \"/x\", password = \"hush\" }",
                "{ password_file = \"/x\", password = ****** *",
            ),
            ("name = \"password\"", "name = \"password\""),
        ] {
            assert_eq!(without_secrets(line), shown);
        }
    }

    #[test]
    fn findings_come_in_the_files_order_with_line_and_carets() {
        let source = Source::new("t.toml", "[a]\n\tport = 1\nname = \"x\"\n");
        let late = Diagnostic::error(21..24, "two", "other").clashing_with(1..2, "the first");
        let early = Diagnostic::warning(5..9, "one", "a name");
        let report = Report::new(source, vec![late, early]);
        assert!(!report.is_usable());
        assert_eq!(report.count(Severity::Warning), 1);
        assert_eq!(
            report.to_string(),
            concat!(
                "t.toml:2:2: warning: one\n",
                "    2 | \tport = 1\n",
                "      | \t^^^^\n",
                "      = expected: a name\n",
                "t.toml:3:8: error: two\n",
                "    3 | name = \"x\"\n",
                "      |        ^^^\n",
                "      = expected: other\n",
                "t.toml:1:2: note: the first\n",
                "    1 | [a]\n",
                "      |  ^\n",
            )
        );
    }
}
