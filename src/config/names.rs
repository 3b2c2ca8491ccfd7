//! The names that sections give themselves, and the references between them.

use std::collections::HashMap;

use super::diagnostic::Diagnostic;
use super::nearest::did_you_mean;
use super::section::Located;

/// The named sections of one sort, in the file's order.
#[derive(Debug)]
pub(crate) struct Names<'f> {
    /// As the operator writes it: `[[media]]`.
    title: &'static str,
    by_name: HashMap<&'f str, (u16, &'f Located<String>)>,
    /// In the file's order, for messages.
    listed: Vec<&'f str>,
}

impl<'f> Names<'f> {
    /// Collects the names, and notes those that come twice. A section's number is its place in the file; one whose
    /// name could not be read keeps its place but has no name.
    pub(crate) fn collect(
        title: &'static str,
        names: impl Iterator<Item = Option<&'f Located<String>>>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Self {
        Self::numbered(title, names.enumerate(), diagnostics)
    }

    /// The same with numbers that are not the places in the file.
    pub(crate) fn numbered(
        title: &'static str,
        names: impl Iterator<Item = (usize, Option<&'f Located<String>>)>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Self {
        let mut collected = Self {
            title,
            by_name: HashMap::new(),
            listed: Vec::new(),
        };
        for (index, name) in names {
            let Some(name) = name else { continue };
            let Ok(index) = u16::try_from(index) else {
                let message = format!("there are more than 65536 {title}");
                diagnostics.push(Diagnostic::error(name.span.clone(), message, "fewer"));
                break;
            };
            collected.add(index, name, diagnostics);
        }
        collected
    }

    fn add(&mut self, index: u16, name: &'f Located<String>, diagnostics: &mut Vec<Diagnostic>) {
        if let Some((_, first)) = self.by_name.get(name.value.as_str()) {
            let message = format!("two {} are named \"{}\"", self.title, name.value);
            let duplicate = Diagnostic::error(name.span.clone(), message, "a name of its own");
            diagnostics.push(duplicate.clashing_with(first.span.clone(), "the first is here"));
            return;
        }
        self.by_name.insert(&name.value, (index, name));
        self.listed.push(&name.value);
    }

    /// Every name and its index.
    pub(crate) fn indices(&self) -> impl Iterator<Item = (&'f str, u16)> + '_ {
        self.by_name
            .iter()
            .map(|(name, (index, _))| (*name, *index))
    }

    /// The index of the section that a reference means; a dangling reference is noted.
    pub(crate) fn find(
        &self,
        reference: &Located<String>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<u16> {
        let name = reference.value.as_str();
        if let Some(&(index, _)) = self.by_name.get(name) {
            return Some(index);
        }
        diagnostics.push(Diagnostic::error(
            reference.span.clone(),
            format!("there is no {} named \"{name}\"", self.title),
            self.one_of(name),
        ));
        None
    }

    /// The same for an optional reference.
    pub(crate) fn find_optional(
        &self,
        reference: Option<&Located<String>>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<u16> {
        self.find(reference?, diagnostics)
    }

    /// The same for a list; a name that comes twice in it is noted.
    pub(crate) fn find_all(
        &self,
        references: &[Located<String>],
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Vec<u16> {
        let mut found = Vec::with_capacity(references.len());
        for reference in references {
            let Some(index) = self.find(reference, diagnostics) else {
                continue;
            };
            if found.contains(&index) {
                let message = format!("\"{}\" comes twice in the list", reference.value);
                let span = reference.span.clone();
                diagnostics.push(Diagnostic::error(span, message, "each name once"));
            } else {
                found.push(index);
            }
        }
        found
    }

    fn one_of(&self, wrong: &str) -> String {
        if self.listed.is_empty() {
            return format!("a {} of that name", self.title);
        }
        let quoted: Vec<_> = self
            .listed
            .iter()
            .map(|name| format!("\"{name}\""))
            .collect();
        let near = did_you_mean(wrong, self.listed.iter().copied());
        format!("one of {}{near}", quoted.join(", "))
    }
}
