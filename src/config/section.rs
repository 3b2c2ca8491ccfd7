//! Reads one table of the file key by key, notes what is wrong, and knows at the end which keys nobody
//! asked for.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::diagnostic::Diagnostic;
use super::kind::{Kind, SECRET_KEYS};
use super::nearest::did_you_mean;

/// A value and where it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Located<T> {
    /// The value.
    pub(crate) value: T,
    /// Its bytes in the file.
    pub(crate) span: Range<usize>,
}

/// A table being read.
pub(crate) struct Section<'a> {
    /// As the operator writes it: `[[media]]`; empty for the whole file.
    title: &'static str,
    span: Range<usize>,
    table: &'a DeTable<'a>,
    asked: Vec<&'static str>,
    diagnostics: &'a mut Vec<Diagnostic>,
}

impl<'a> Section<'a> {
    /// A table with this header.
    pub(crate) fn new(
        title: &'static str,
        table: &'a Spanned<DeTable<'a>>,
        diagnostics: &'a mut Vec<Diagnostic>,
    ) -> Self {
        Self::over(title, table.span(), table.get_ref(), diagnostics)
    }

    fn over(
        title: &'static str,
        span: Range<usize>,
        table: &'a DeTable<'a>,
        diagnostics: &'a mut Vec<Diagnostic>,
    ) -> Self {
        Self {
            title,
            span,
            table,
            asked: Vec::new(),
            diagnostics,
        }
    }

    /// The header's place.
    pub(crate) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Notes a finding.
    pub(crate) fn note(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// The value of a key that must be there.
    pub(crate) fn required<T: 'static>(
        &mut self,
        key: &'static str,
        kind: &Kind<T>,
    ) -> Option<Located<T>> {
        match self.find(key) {
            Some(value) => self.read(key, kind, value),
            None => {
                self.report_missing(key, kind.expected());
                None
            }
        }
    }

    /// The value of a key that may be missing.
    pub(crate) fn optional<T: 'static>(
        &mut self,
        key: &'static str,
        kind: &Kind<T>,
    ) -> Option<Located<T>> {
        let value = self.find(key)?;
        self.read(key, kind, value)
    }

    /// The value of a key that may be missing, without its place; `default` when it is missing or wrong.
    pub(crate) fn or_default<T: 'static>(
        &mut self,
        key: &'static str,
        kind: &Kind<T>,
        default: T,
    ) -> T {
        self.optional(key, kind)
            .map_or(default, |located| located.value)
    }

    /// The elements of a list that must be there and have at least one element. `None` when it is missing,
    /// empty or no list; wrong elements are noted and left out.
    pub(crate) fn list<T: 'static>(
        &mut self,
        key: &'static str,
        kind: &Kind<T>,
    ) -> Option<Vec<Located<T>>> {
        let expected = format!("a list, each {}", kind.expected());
        let Some(value) = self.find(key) else {
            self.report_missing(key, &expected);
            return None;
        };
        let problem = match value.get_ref() {
            DeValue::Array(elements) if elements.is_empty() => "is empty",
            DeValue::Array(elements) => return Some(self.elements(key, kind, elements)),
            _ => "is no list",
        };
        self.report(value.span(), key, problem, &expected);
        None
    }

    /// An optional list that is not there: its key is known.
    pub(crate) fn absent<T>(&mut self, key: &'static str) -> Option<T> {
        self.asked.push(key);
        None
    }

    /// A table that stands where a value could, as an element of a list does.
    pub(crate) fn inline<R>(
        &mut self,
        title: &'static str,
        value: &toml::Spanned<DeValue<'_>>,
        read: impl FnOnce(&mut Section<'_>) -> Option<R>,
    ) -> Option<R> {
        let DeValue::Table(table) = value.get_ref() else {
            return None;
        };
        let mut section = Section::over(title, value.span(), table, self.diagnostics);
        let outcome = read(&mut section);
        section.finish();
        outcome
    }

    /// The elements of a list that may be missing; of one that is there but empty or no list, that is noted.
    pub(crate) fn optional_list<T: 'static>(
        &mut self,
        key: &'static str,
        kind: &Kind<T>,
    ) -> Vec<Located<T>> {
        if self.place_of_key(key).is_none() {
            self.asked.push(key);
            return Vec::new();
        }
        self.list(key, kind).unwrap_or_default()
    }

    /// A table that is a value of this section, such as an element of a list; `None` when it is no table.
    pub(crate) fn within<R>(
        &mut self,
        key: &'static str,
        title: &'static str,
        value: &'a Spanned<DeValue<'a>>,
        read: impl FnOnce(&mut Section<'_>) -> R,
    ) -> Option<R> {
        match value.get_ref() {
            DeValue::Table(table) => {
                let mut section = Section::over(title, value.span(), table, self.diagnostics);
                let outcome = read(&mut section);
                section.finish();
                Some(outcome)
            }
            _ => {
                let expected = format!("a table: {title}");
                self.report(value.span(), key, "is no table", &expected);
                None
            }
        }
    }

    /// The value itself, for a key that takes several kinds.
    pub(crate) fn find(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
        self.table.get(key)
    }

    /// Whether the key is there, without asking for it.
    pub(crate) fn place_of_key(&self, key: &str) -> Option<Range<usize>> {
        self.table
            .get_key_value(key)
            .map(|(written, _)| written.span())
    }

    /// A sub-table `[key]`; `None` when there is none.
    pub(crate) fn table<R>(
        &mut self,
        key: &'static str,
        title: &'static str,
        read: impl FnOnce(&mut Section<'_>) -> R,
    ) -> Option<R> {
        let value = self.find(key)?;
        self.within(key, title, value, read)
    }

    /// A sub-table `[key]`, read as if it stood there empty when it is missing.
    pub(crate) fn table_or_empty<R>(
        &mut self,
        key: &'static str,
        title: &'static str,
        read: impl Fn(&mut Section<'_>) -> R,
    ) -> R {
        self.table(key, title, &read).unwrap_or_else(|| {
            let empty = DeTable::new();
            read(&mut Section::over(title, 0..0, &empty, self.diagnostics))
        })
    }

    /// The tables `[[key]]`, of which there must be at least one.
    pub(crate) fn tables<R>(
        &mut self,
        key: &'static str,
        title: &'static str,
        mut read: impl FnMut(&mut Section<'_>) -> R,
    ) -> Vec<R> {
        let expected = format!("at least one {title}");
        let Some(value) = self.find(key) else {
            let message = format!("there is no {title}");
            let end = self.span.end;
            self.note(Diagnostic::error(end..end, message, expected));
            return Vec::new();
        };
        let DeValue::Array(array) = value.get_ref() else {
            self.report(value.span(), key, "is no array of tables", &expected);
            return Vec::new();
        };
        let mut outcomes = Vec::with_capacity(array.len());
        for element in array {
            if let DeValue::Table(table) = element.get_ref() {
                let mut section = Section::over(title, element.span(), table, self.diagnostics);
                outcomes.push(read(&mut section));
                section.finish();
            } else {
                self.report(
                    element.span(),
                    key,
                    "holds something else than tables",
                    &expected,
                );
            }
        }
        outcomes
    }

    /// The tables `[[key]]`, of which there may be none.
    pub(crate) fn optional_tables<R>(
        &mut self,
        key: &'static str,
        title: &'static str,
        read: impl FnMut(&mut Section<'_>) -> R,
    ) -> Vec<R> {
        if self.place_of_key(key).is_none() {
            self.asked.push(key);
            return Vec::new();
        }
        self.tables(key, title, read)
    }

    /// The tables `[[key]]`: at least one, unless there need not be any.
    pub(crate) fn tables_unless<R>(
        &mut self,
        optional: bool,
        key: &'static str,
        title: &'static str,
        read: impl FnMut(&mut Section<'_>) -> R,
    ) -> Vec<R> {
        match optional {
            true => self.optional_tables(key, title, read),
            false => self.tables(key, title, read),
        }
    }

    /// Notes the keys that nobody asked for.
    pub(crate) fn finish(&mut self) {
        for key in self.table.keys() {
            let name: &str = key.get_ref();
            if self.asked.contains(&name) {
                continue;
            }
            let place = match self.title {
                "" => "section".to_owned(),
                title => format!("key in {title}"),
            };
            let known: Vec<_> = self.asked.iter().map(|key| format!("`{key}`")).collect();
            let near = did_you_mean(name, self.asked.iter().copied());
            let unknown = Diagnostic::error(
                key.span(),
                format!("unknown {place}: `{name}`"),
                format!("one of {}{near}", known.join(", ")),
            );
            // A slip in the key of a secret must not show it.
            let is_secret = SECRET_KEYS
                .iter()
                .any(|key| near.contains(&format!("`{key}`")));
            self.diagnostics.push(match is_secret {
                true => unknown.hiding_the_value(),
                false => unknown,
            });
        }
    }

    /// The elements of an array that are of a kind; the others are noted.
    pub(crate) fn elements<T: 'static>(
        &mut self,
        key: &'static str,
        kind: &Kind<T>,
        elements: &'a DeArray<'a>,
    ) -> Vec<Located<T>> {
        let read = |element| self.read(key, kind, element);
        elements.iter().filter_map(read).collect()
    }

    /// Reads a value of one kind, and notes what is wrong with it.
    pub(crate) fn read<T: 'static>(
        &mut self,
        key: &'static str,
        kind: &Kind<T>,
        value: &Spanned<DeValue<'_>>,
    ) -> Option<Located<T>> {
        match kind.parse(value.get_ref()) {
            Ok(read) => Some(Located {
                value: read,
                span: value.span(),
            }),
            Err(problem) => {
                self.report(value.span(), key, &problem, kind.expected());
                None
            }
        }
    }

    fn report(&mut self, span: Range<usize>, key: &str, problem: &str, expected: &str) {
        let message = format!("`{key}` {problem}");
        self.note(Diagnostic::error(span, message, expected));
    }

    fn report_missing(&mut self, key: &str, expected: &str) {
        let message = format!("{} lacks `{key}`", self.title);
        self.note(Diagnostic::error(self.span(), message, expected));
    }
}
