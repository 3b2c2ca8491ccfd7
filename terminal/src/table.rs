//! Aligned tables: columns two blanks apart, numbers to the right, no lines around them.

use std::collections::BTreeMap;

use comfy_table::{Cell, CellAlignment, Table, presets};

/// A table being filled.
#[derive(Debug)]
pub struct Columns {
    table: Table,
    right: Vec<bool>,
}

impl Columns {
    /// Columns with these titles; a title that begins with `>` is a column of numbers.
    pub fn new(titles: &[&str]) -> Self {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        let right: Vec<_> = titles.iter().map(|title| title.starts_with('>')).collect();
        let header = titles.iter().zip(&right).map(|(title, &right)| {
            let title = title.trim_start_matches('>').to_uppercase();
            cell(title, right)
        });
        table.set_header(header.collect::<Vec<_>>());
        Self { table, right }
    }

    /// A row of as many cells as there are columns.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells = cells.into_iter().zip(&self.right);
        let cells: Vec<_> = cells.map(|(text, &right)| cell(text, right)).collect();
        self.table.add_row(cells);
    }

    /// The table's text, each line ended.
    pub fn render(mut self) -> String {
        for column in self.table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        let mut text = String::new();
        for line in self.table.to_string().lines() {
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

fn cell(text: String, right: bool) -> Cell {
    let alignment = if right {
        CellAlignment::Right
    } else {
        CellAlignment::Left
    };
    Cell::new(text).set_alignment(alignment)
}

/// Names and values under each other.
pub fn properties(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let line = |(name, value): &(&str, String)| format!("{name:width$}  {value}\n");
    rows.iter().map(line).collect()
}

/// `name 12, other 3`, without what never happened; `none` for nothing.
pub fn spell_counts(counts: &BTreeMap<String, u64>) -> String {
    let spelt: Vec<_> = counts
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    match spelt.is_empty() {
        true => "none".to_owned(),
        false => spelt.join(", "),
    }
}

/// The value, or a dash.
pub fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_without_trailing_blanks() {
        let mut columns = Columns::new(&["name", ">packets", "state"]);
        columns.row(["a".into(), "1".into(), "up".into()]);
        columns.row(["longer".into(), "12345678".into(), String::new()]);
        assert_eq!(
            columns.render(),
            "NAME     PACKETS  STATE\na              1  up\nlonger  12345678\n"
        );
    }

    #[test]
    fn properties_and_counts() {
        let rows = [("a", "1".to_owned()), ("long", "2".to_owned())];
        assert_eq!(properties(&rows), "a     1\nlong  2\n");
        assert_eq!(
            spell_counts(&[("486".to_owned(), 2), ("503".to_owned(), 0)].into()),
            "486 2"
        );
        assert_eq!(spell_counts(&BTreeMap::new()), "none");
    }
}
