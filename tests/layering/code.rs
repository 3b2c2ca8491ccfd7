//! Rust source reduced to its code: comments and the insides of literals are blanked, so that a rule
//! about code is not broken by a sentence. A scanner, not a parser.

/// Source text with comments and literals blanked; lines keep their numbers.
pub(crate) struct Code(String);

impl Code {
    pub(crate) fn new(source: &str) -> Self {
        Self(blanked(source))
    }

    /// Without what follows the file's test module, which stands last.
    pub(crate) fn without_tests(source: &str) -> Self {
        let code = blanked(source);
        let end = code.find("#[cfg(test)]\nmod ").unwrap_or(code.len());
        Self(code.get(..end).unwrap_or_default().to_owned())
    }

    /// The lines, numbered from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.0
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line))
    }

    /// The identifiers and keywords, with their line.
    pub(crate) fn words(&self) -> Vec<(usize, String)> {
        let mut words = Vec::new();
        for (number, line) in self.lines() {
            let split = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            words.extend(
                split
                    .filter(|word| !word.is_empty())
                    .map(|word| (number, word.to_owned())),
            );
        }
        words
    }
}

/// The modules named as `crate::NAME` or in `crate::{NAME…, NAME…}`, with their line. Of a group, every
/// word counts.
pub(crate) fn modules_used(code: &Code) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let text = &code.0;
    for (at, start) in text.match_indices("crate::") {
        let number = text.get(..at).unwrap_or_default().matches('\n').count() + 1;
        let rest = text.get(at + start.len()..).unwrap_or_default();
        let end = if rest.starts_with('{') {
            rest.find(';').unwrap_or(rest.len())
        } else {
            let ends = |c: char| !c.is_alphanumeric() && c != '_';
            rest.find(ends).unwrap_or(rest.len())
        };
        let names = rest.get(..end).unwrap_or_default();
        let names = names.split(|c: char| !c.is_alphanumeric() && c != '_');
        found.extend(
            names
                .filter(|name| !name.is_empty())
                .map(|name| (number, name.to_owned())),
        );
    }
    found
}

/// What the scanner stands in.
#[derive(Clone, Copy, PartialEq)]
enum Within {
    Code,
    Line,
    Block(u32),
    Text,
    /// A raw string that this many `#` close.
    Raw(usize),
}

fn blanked(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut within = Within::Code;
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let (length, next, keep) = step(within, rest, first);
        let (taken, after) = rest.split_at(length);
        for c in taken.chars() {
            out.push(if keep || c == '\n' { c } else { ' ' });
        }
        within = next;
        rest = after;
    }
    out
}

/// One step: how many bytes it takes, where it leads, and whether they are code.
fn step(within: Within, rest: &str, first: char) -> (usize, Within, bool) {
    let one = first.len_utf8();
    match within {
        Within::Code if rest.starts_with("//") => (2, Within::Line, false),
        Within::Code if rest.starts_with("/*") => (2, Within::Block(1), false),
        Within::Code if first == '"' => (1, Within::Text, false),
        Within::Code => match (raw_string(rest), character(rest)) {
            (Some((length, hashes)), _) => (length, Within::Raw(hashes), false),
            (None, Some(length)) => (length, Within::Code, false),
            (None, None) => (word_length(rest).unwrap_or(one), Within::Code, true),
        },
        Within::Line if first == '\n' => (1, Within::Code, true),
        Within::Block(1) if rest.starts_with("*/") => (2, Within::Code, false),
        Within::Block(depth) if rest.starts_with("*/") => (2, Within::Block(depth - 1), false),
        Within::Block(depth) if rest.starts_with("/*") => (2, Within::Block(depth + 1), false),
        Within::Text if first == '\\' => {
            let escaped = rest.chars().nth(1).map_or(0, char::len_utf8);
            (1 + escaped, Within::Text, false)
        }
        Within::Text if first == '"' => (1, Within::Code, false),
        Within::Raw(hashes) if closes(rest, hashes) => (1 + hashes, Within::Code, false),
        _ => (one, within, false),
    }
}

/// `r"`, `r#"`, `br#"`: its length and how many `#`.
fn raw_string(rest: &str) -> Option<(usize, usize)> {
    let opening = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = opening.bytes().take_while(|byte| *byte == b'#').count();
    let quoted = opening.as_bytes().get(hashes) == Some(&b'"');
    quoted.then_some((rest.len() - opening.len() + hashes + 1, hashes))
}

fn closes(rest: &str, hashes: usize) -> bool {
    let Some(after) = rest.strip_prefix('"') else {
        return false;
    };
    after
        .bytes()
        .take(hashes)
        .filter(|byte| *byte == b'#')
        .count()
        == hashes
}

/// A character literal's length; `None` for a lifetime.
fn character(rest: &str) -> Option<usize> {
    let inside = rest.strip_prefix('\'')?;
    let mut chars = inside.char_indices();
    let (_, first) = chars.next()?;
    if first == '\\' {
        let closing = inside.get(2..)?.find('\'')?;
        return Some(1 + 2 + closing + 1);
    }
    let (at, second) = chars.next()?;
    (second == '\'').then_some(1 + at + 1)
}

/// An identifier is taken whole, so that the `r` that ends one opens no raw string.
fn word_length(rest: &str) -> Option<usize> {
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
    let length = end.unwrap_or(rest.len());
    (length > 0).then_some(length)
}

#[test]
fn comments_and_literals_are_blanked_and_code_is_not() {
    let source = concat!(
        "let a = \"unsafe \\\" unsafe\"; // unsafe\n",
        "/* unsafe /* unsafe */ unsafe */ let c = '\"';\n",
        "let r = r#\"unsafe \" unsafe\"#; fn f<'a>(x: &'a str) {}\n",
        "let n = '\\''; for_unsafe(br\"unsafe\", var\"\"); unsafe {}\n",
    );
    let code = Code::new(source);
    let found: Vec<_> = code
        .words()
        .into_iter()
        .filter(|(_, word)| word == "unsafe")
        .collect();
    assert_eq!(found, [(4, "unsafe".to_owned())]);
    assert!(code.words().contains(&(3, "str".to_owned())));
    assert_eq!(code.lines().count(), 4);
}

#[test]
fn modules_are_found_in_paths_and_groups() {
    let code =
        Code::new("use crate::sdp::Line;\nuse crate::{sip, a::{b}};\nlet x = 1; fn sdp() {}\n");
    let names: Vec<_> = modules_used(&code)
        .into_iter()
        .map(|(_, name)| name)
        .collect();
    assert_eq!(names, ["sdp", "sip", "a", "b"]);
}
