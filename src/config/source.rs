//! A configuration file's text, and where in it a byte is: lines and columns count from 1, columns in
//! characters.

use std::ops::Range;

/// Where a byte of a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    /// From 1.
    pub(crate) line: usize,
    /// From 1, in characters.
    pub(crate) column: usize,
}

/// A file's name and text.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    name: String,
    text: String,
    /// The offset of each line's first byte; never empty.
    line_starts: Vec<usize>,
}

impl Source {
    /// A file of this name and text.
    pub(crate) fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        let after_newlines = text.match_indices('\n').map(|(at, _)| at + 1);
        let line_starts = std::iter::once(0).chain(after_newlines).collect();
        Self {
            name: name.into(),
            text,
            line_starts,
        }
    }

    /// The file's name, as the operator gave it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The whole text.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Where the byte at `offset` is. An offset past the end is the end.
    pub(crate) fn position(&self, offset: usize) -> Position {
        let offset = self.char_boundary(offset);
        let line = self.line_starts.partition_point(|&start| start <= offset);
        let start = self.line_starts[line - 1];
        Position {
            line,
            column: self.text[start..offset].chars().count() + 1,
        }
    }

    /// The text of a line (from 1), without its end. Empty when there is no such line.
    pub(crate) fn line(&self, line: usize) -> &str {
        let Some(&start) = line
            .checked_sub(1)
            .and_then(|index| self.line_starts.get(index))
        else {
            return "";
        };
        self.text[start..].lines().next().unwrap_or("")
    }

    /// How many characters of `span` are on the line that it begins on; at least 1.
    pub(crate) fn width_on_first_line(&self, span: &Range<usize>) -> usize {
        let start = self.char_boundary(span.start);
        let end = self.char_boundary(span.end).max(start);
        let first_line = self.text[start..end].lines().next().unwrap_or("");
        first_line.chars().count().max(1)
    }

    fn char_boundary(&self, offset: usize) -> usize {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: usize, column: usize) -> Position {
        Position { line, column }
    }

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let source = Source::new("f", "a\r\nbé=ü\n\nlast");
        assert_eq!(source.position(0), at(1, 1));
        assert_eq!(source.position(3), at(2, 1));
        let umlaut = source.text().find('ü').expect("it is in the text above");
        assert_eq!(source.position(umlaut), at(2, 4));
        assert_eq!(
            source.position(umlaut + 1),
            at(2, 4),
            "inside of a character"
        );
        assert_eq!(source.position(usize::MAX), at(4, 5));
        assert_eq!(source.line(1), "a");
        assert_eq!(source.line(2), "bé=ü");
        assert_eq!(source.line(3), "");
        assert_eq!(source.line(9), "");
        assert_eq!(source.line(0), "");
    }

    #[test]
    fn a_span_over_several_lines_is_cut_at_the_first() {
        let source = Source::new("f", "ab = [\n1]\n");
        assert_eq!(source.width_on_first_line(&(5..9)), 1);
        assert_eq!(source.width_on_first_line(&(0..2)), 2);
        assert_eq!(source.width_on_first_line(&(50..60)), 1);
    }

    #[test]
    fn an_empty_file_has_one_line() {
        let source = Source::new("f", "");
        assert_eq!(source.position(0), at(1, 1));
        assert_eq!(source.line(1), "");
    }
}
