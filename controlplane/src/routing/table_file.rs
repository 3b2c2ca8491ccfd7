//! Reads a table of routes: comma-separated text, its first line naming the columns.
//!
//! ```text
//!   prefix,trunks                     prefix,trunk,cost,weight
//!   4930,"carrier-a*3 carrier-b"      4930,carrier-a,0.0081,
//!   49,carrier-c                      49,carrier-b,0.0100,2
//! ```
//!
//! Blank lines and lines that begin with `#` mean nothing. A field may stand in quotes; none needs to hold a
//! comma, so a comma always separates. Our own twenty lines of splitting, since every finding names its column in the file.
//! Everything that is wrong is found in one reading, up to [`MOST_FINDINGS`]. Pure: the caller has read the file.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::cost::Cost;
use super::prefixes::Prefix;
use super::table::{Offer, RouteTable, TableKind};
use crate::settings::TrunkId;

/// No more findings than this are kept of one file: a wrong separator makes one a line.
pub const MOST_FINDINGS: usize = 20;
/// Of a line or a name that a finding quotes, in characters: a file without line ends is one line.
const LONGEST_SHOWN: usize = 200;

/// No more rows than this are taken: their prefixes are numbered by 32 bits, and a machine has an end.
pub const MOST_ROWS: usize = 16_000_000;

/// Something that is wrong with a file, and where. Lines and columns count from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The line.
    pub line: usize,
    /// Its text.
    pub text: String,
    /// The first offending character.
    pub column: usize,
    /// How many characters are wrong; at least 1.
    pub width: usize,
    /// What is wrong.
    pub problem: Problem,
}

/// What can be wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The first line does not name the columns.
    #[error("the first line does not name the column `{0}`")]
    NoColumn(&'static str),
    /// A name in the first line that is no column.
    #[error("there is no column `{0}` in such a file")]
    UnknownColumn(String),
    /// A column that is named twice.
    #[error("the column is there twice")]
    ColumnTwice,
    /// A line of too few or too many fields.
    #[error("{found} fields where the first line names {named} columns")]
    FieldCount {
        /// In the line.
        found: usize,
        /// In the first line.
        named: usize,
    },
    /// Not the digits of a number.
    #[error("not a prefix: up to {longest} of 0 to 9, *, # and a to d", longest = Prefix::LONGEST)]
    Prefix,
    /// No `[[trunk]]` of that name.
    #[error("there is no [[trunk]] named \"{0}\"")]
    UnknownTrunk(String),
    /// A prefix without a trunk.
    #[error("no trunk is named")]
    NoTrunk,
    /// Not a rate.
    #[error("not a cost: a decimal number of at most six places, such as 0.0125")]
    Cost,
    /// Not a weight.
    #[error("not a weight: a whole number from 1 to 65535")]
    Weight,
    /// The prefix, or the prefix for the same trunk, has been there.
    #[error("the same prefix{} is on line {first}", if *.for_trunk { " and trunk" } else { "" })]
    Twice {
        /// The line that it is on first.
        first: usize,
        /// Whether it may be there for another trunk.
        for_trunk: bool,
    },
    /// More than [`MOST_ROWS`] rows.
    #[error("there are more than {MOST_ROWS} rows")]
    TooLong,
}

/// Everything that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings {
    /// The first of them, in the file's order.
    pub list: Vec<Finding>,
    /// How many more there are.
    pub more: usize,
}

/// Reads a table whose trunks have these names.
///
/// # Errors
/// Whatever is wrong with the file.
pub fn read(
    kind: TableKind,
    bytes: &[u8],
    trunks: &HashMap<&str, TrunkId>,
) -> Result<Arc<RouteTable>, Findings> {
    let mut reader = Reader {
        kind,
        trunks,
        columns: None,
        rows: Vec::new(),
        findings: Findings {
            list: Vec::new(),
            more: 0,
        },
    };
    // A spreadsheet's byte order mark.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let is_blank = line.iter().all(u8::is_ascii_whitespace);
        if !is_blank && !line.starts_with(b"#") {
            reader.line(Line {
                number: index + 1,
                text: line,
            });
        }
    }
    reader.finish()
}

/// A line of the file.
#[derive(Clone, Copy)]
struct Line<'a> {
    number: usize,
    text: &'a [u8],
}

/// Where the columns are.
#[derive(Clone, Copy)]
struct Columns {
    prefix: usize,
    /// `trunks`, or `trunk`.
    trunks: usize,
    cost: Option<usize>,
    weight: Option<usize>,
    count: usize,
}

struct Row {
    prefix: Prefix,
    offer: Offer,
    line: u32,
}

struct Reader<'r> {
    kind: TableKind,
    trunks: &'r HashMap<&'r str, TrunkId>,
    columns: Option<Columns>,
    rows: Vec<Row>,
    findings: Findings,
}

/// A field's text and its place in the line, without quotes and the white space around it.
type Field<'a> = (&'a [u8], Range<usize>);

/// The text as a terminal may have it: its beginning, and nothing that moves the cursor or paints.
fn shown(text: &[u8]) -> String {
    // A character has four bytes at most; what is cut beyond those is not shown anyway.
    let text = text.get(..4 * LONGEST_SHOWN).unwrap_or(text);
    let harmless = |character: char| match character {
        '\t' => character,
        control if control.is_control() => char::REPLACEMENT_CHARACTER,
        _ => character,
    };
    String::from_utf8_lossy(text)
        .chars()
        .take(LONGEST_SHOWN)
        .map(harmless)
        .collect()
}

impl Reader<'_> {
    fn line(&mut self, line: Line<'_>) {
        let mut fields = [const { 0..0 }; 8];
        let mut count = 0;
        for field in split(line.text) {
            if let Some(place) = fields.get_mut(count) {
                *place = field;
            }
            count += 1;
        }
        let known = fields.get(..count.min(fields.len())).unwrap_or_default();
        let Some(columns) = self.columns else {
            self.head(line, known);
            return;
        };
        if count != columns.count {
            let problem = Problem::FieldCount {
                found: count,
                named: columns.count,
            };
            return self.note(line, 0..line.text.len(), problem);
        }
        if self.rows.len() >= MOST_ROWS {
            return self.note(line, 0..line.text.len(), Problem::TooLong);
        }
        let field = |at: usize| {
            let range = known.get(at).cloned().unwrap_or(0..0);
            (line.text.get(range.clone()).unwrap_or_default(), range)
        };
        let Some(prefix) = self.prefix(line, field(columns.prefix)) else {
            return;
        };
        match self.kind {
            TableKind::Prefixes => self.listed(line, prefix, field(columns.trunks)),
            TableKind::Rates => {
                let cost = columns.cost.map(field);
                let weight = columns.weight.map(field);
                self.rated(line, prefix, field(columns.trunks), cost, weight);
            }
        }
    }

    /// The first line: which columns there are.
    fn head(&mut self, line: Line<'_>, fields: &[Range<usize>]) {
        let mut found: HashMap<&str, usize> = HashMap::new();
        let wanted: &[&'static str] = match self.kind {
            TableKind::Prefixes => &["prefix", "trunks"],
            TableKind::Rates => &["prefix", "trunk", "cost"],
        };
        let optional: &[&'static str] = match self.kind {
            TableKind::Prefixes => &[],
            TableKind::Rates => &["weight"],
        };
        for (at, range) in fields.iter().enumerate() {
            let text = line.text.get(range.clone()).unwrap_or_default();
            let mut known = wanted.iter().chain(optional);
            match known.find(|name| text.eq_ignore_ascii_case(name.as_bytes())) {
                Some(name) => {
                    if found.insert(name, at).is_some() {
                        self.note(line, range.clone(), Problem::ColumnTwice);
                    }
                }
                None => {
                    self.note(line, range.clone(), Problem::UnknownColumn(shown(text)));
                }
            }
        }
        for name in wanted {
            if !found.contains_key(name) {
                self.note(line, 0..line.text.len(), Problem::NoColumn(name));
            }
        }
        let place = |name: &str| found.get(name).copied();
        self.columns = Some(Columns {
            prefix: place("prefix").unwrap_or(0),
            trunks: place("trunks").or_else(|| place("trunk")).unwrap_or(0),
            cost: place("cost"),
            weight: place("weight"),
            count: fields.len(),
        });
    }

    fn prefix(&mut self, line: Line<'_>, (text, range): Field<'_>) -> Option<Prefix> {
        let read = std::str::from_utf8(text).map_or(None, |text| Prefix::parse(text).ok());
        if read.is_none() {
            self.note(line, range, Problem::Prefix);
        }
        read
    }

    /// `trunk*weight trunk …`: those with a weight that stand beside each other share.
    fn listed(&mut self, line: Line<'_>, prefix: Prefix, (text, range): Field<'_>) {
        let before = self.rows.len();
        let mut at = range.start;
        for word in text.split(|byte| *byte == b' ') {
            let place = at..at + word.len();
            at = place.end + 1;
            if word.is_empty() {
                continue;
            }
            let star = word.iter().position(|byte| *byte == b'*');
            let (name, weight) = match star {
                Some(star) => (word.get(..star), word.get(star + 1..)),
                None => (Some(word), None),
            };
            let weight = match weight.map(weight_of) {
                None => 0,
                Some(Some(weight)) => weight,
                Some(None) => return self.note(line, place, Problem::Weight),
            };
            let Some(trunk) = self.trunk(line, (name.unwrap_or_default(), place)) else {
                return;
            };
            self.push(line, prefix, trunk, Cost::default(), weight);
        }
        if self.rows.len() == before {
            self.note(line, range, Problem::NoTrunk);
        }
    }

    fn rated(
        &mut self,
        line: Line<'_>,
        prefix: Prefix,
        trunk: Field<'_>,
        cost: Option<Field<'_>>,
        weight: Option<Field<'_>>,
    ) {
        let Some(trunk) = self.trunk(line, trunk) else {
            return;
        };
        let (text, range) = cost.unwrap_or((b"", 0..line.text.len()));
        let cost = std::str::from_utf8(text).map_or(None, |text| text.parse().ok());
        let Some(cost) = cost else {
            return self.note(line, range, Problem::Cost);
        };
        let weight = match weight.filter(|(text, _)| !text.is_empty()) {
            None => 1,
            Some((text, range)) => match weight_of(text) {
                Some(weight) => weight,
                None => return self.note(line, range, Problem::Weight),
            },
        };
        self.push(line, prefix, trunk, cost, weight);
    }

    fn trunk(&mut self, line: Line<'_>, (name, range): Field<'_>) -> Option<TrunkId> {
        let known = std::str::from_utf8(name).map_or(None, |name| self.trunks.get(name).copied());
        if known.is_none() {
            let problem = match name.is_empty() {
                true => Problem::NoTrunk,
                false => Problem::UnknownTrunk(shown(name)),
            };
            self.note(line, range, problem);
        }
        known
    }

    fn push(&mut self, line: Line<'_>, prefix: Prefix, trunk: TrunkId, cost: Cost, weight: u16) {
        self.rows.push(Row {
            prefix,
            offer: Offer {
                cost,
                trunk,
                weight,
                is_last: false,
            },
            line: u32::try_from(line.number).unwrap_or(u32::MAX),
        });
    }

    fn note(&mut self, line: Line<'_>, range: Range<usize>, problem: Problem) {
        if self.findings.list.len() >= MOST_FINDINGS {
            self.findings.more += 1;
            return;
        }
        let count = |range: Range<usize>| {
            let bytes = line.text.get(range).unwrap_or_default();
            String::from_utf8_lossy(bytes).chars().count()
        };
        self.findings.list.push(Finding {
            line: line.number,
            text: shown(line.text),
            column: count(0..range.start) + 1,
            width: count(range).clamp(1, LONGEST_SHOWN),
            problem,
        });
    }

    fn finish(mut self) -> Result<Arc<RouteTable>, Findings> {
        if self.columns.is_none() {
            let empty = Line {
                number: 1,
                text: b"",
            };
            self.note(empty, 0..0, Problem::NoColumn("prefix"));
        }
        // Rows of one prefix keep the file's order, which is the order of trying without rates.
        self.rows.sort_by_key(|row| row.prefix);
        self.find_doubles();
        if !self.findings.list.is_empty() {
            self.findings.list.sort_by_key(|finding| finding.line);
            return Err(self.findings);
        }
        let rows = std::mem::take(&mut self.rows);
        let rows: Vec<_> = rows.iter().map(|row| (row.prefix, row.offer)).collect();
        Ok(RouteTable::of_sorted(self.kind, &rows))
    }

    fn find_doubles(&mut self) {
        let kind = self.kind;
        let mut found = Vec::new();
        for same in self.rows.chunk_by(|one, next| one.prefix == next.prefix) {
            for (at, row) in same.iter().enumerate() {
                let is_double = |earlier: &&Row| match kind {
                    TableKind::Prefixes => {
                        earlier.line != row.line || earlier.offer.trunk == row.offer.trunk
                    }
                    TableKind::Rates => earlier.offer.trunk == row.offer.trunk,
                };
                let earlier = same.get(..at).unwrap_or_default();
                if let Some(first) = earlier.iter().find(is_double) {
                    found.push((row.line, first.line));
                }
            }
        }
        found.sort_unstable();
        found.dedup_by_key(|(line, _)| *line);
        for (line, first) in found {
            let problem = Problem::Twice {
                first: first as usize,
                for_trunk: kind == TableKind::Rates,
            };
            let line = Line {
                number: line as usize,
                text: b"",
            };
            self.note(line, 0..0, problem);
        }
    }
}

fn weight_of(text: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(text).ok()?;
    let weight = text.parse().ok()?;
    (weight > 0 && !text.starts_with('+')).then_some(weight)
}

/// Where the fields of a line are, without quotes and white space.
fn split(line: &[u8]) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut at = Some(0);
    std::iter::from_fn(move || {
        let start = at?;
        let rest = line.get(start..).unwrap_or_default();
        let comma = rest.iter().position(|byte| *byte == b',');
        let end = comma.map_or(line.len(), |comma| start + comma);
        at = comma.map(|_| end + 1);
        Some(bare(line, start..end))
    })
}

fn bare(line: &[u8], range: Range<usize>) -> Range<usize> {
    let trim = |Range { mut start, mut end }: Range<usize>| {
        let is_space = |at: usize| line.get(at).is_some_and(u8::is_ascii_whitespace);
        while start < end && is_space(start) {
            start += 1;
        }
        while start < end && is_space(end - 1) {
            end -= 1;
        }
        start..end
    };
    let range = trim(range);
    match line.get(range.clone()) {
        Some([b'"', .., b'"']) => trim(range.start + 1..range.end - 1),
        _ => range,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(kind: TableKind, text: &str) -> Result<Arc<RouteTable>, Findings> {
        let trunks = [("a", TrunkId(0)), ("b", TrunkId(1)), ("c", TrunkId(2))];
        read(kind, text.as_bytes(), &trunks.into_iter().collect())
    }

    fn found(table: &RouteTable, number: &str) -> Vec<(u16, Option<u16>, String, Option<String>)> {
        let found = table.find(Prefix::of_user(number));
        found
            .iter()
            .map(|found| {
                let Choice { trunk, weight } = found.choice;
                let cost = found.cost.map(|cost| cost.to_string());
                let prefix = found.prefix.map(|prefix| prefix.to_string());
                (trunk.0, weight, prefix.unwrap_or_default(), cost)
            })
            .collect()
    }

    use crate::settings::Choice;

    #[test]
    fn the_longest_prefix_names_its_trunks_in_order() {
        let text = "\u{feff}trunks, prefix\r\n# comment\r\n\r\n\"b*3 a*1 c\",4930\r\nc,+49\r\n";
        let table = read_text(TableKind::Prefixes, text).expect("valid");
        assert_eq!(table.len(), 2);
        let place = |trunk, weight, prefix: &str| (trunk, weight, prefix.to_owned(), None);
        assert_eq!(
            found(&table, "+493012"),
            [
                place(1, Some(3), "4930"),
                place(0, Some(1), "4930"),
                place(2, None, "4930")
            ]
        );
        assert_eq!(found(&table, "4931"), [place(2, None, "49")]);
        assert_eq!(found(&table, "1"), []);
    }

    #[test]
    fn each_trunk_has_the_rate_of_its_own_longest_prefix() {
        let text = "prefix,trunk,cost,weight\n49,a,0.02,\n49,b,0.005,2\n4930,a,0.01,\n4930,c,0.01,3\n,c,9,\n";
        let table = read_text(TableKind::Rates, text).expect("valid");
        let rate = |trunk, weight, prefix: &str, cost: &str| {
            (
                trunk,
                Some(weight),
                prefix.to_owned(),
                Some(cost.to_owned()),
            )
        };
        assert_eq!(
            found(&table, "49301"),
            [
                rate(1, 2, "49", "0.005"),
                rate(0, 1, "4930", "0.01"),
                rate(2, 3, "4930", "0.01")
            ]
        );
        assert_eq!(found(&table, "1"), [rate(2, 1, "", "9")]);
    }

    fn problems(kind: TableKind, text: &str) -> Vec<(usize, usize, usize, Problem)> {
        let findings = read_text(kind, text).expect_err("something is wrong");
        let place = |f: &Finding| (f.line, f.column, f.width, f.problem.clone());
        findings.list.iter().map(place).collect()
    }

    #[test]
    fn what_is_wrong_has_its_place() {
        let text =
            "prefix,trunks\n4x9,a\n1,nobody a\n2,\n3,a*0\n4,a,b\n5, \"b*2 ü\"\n6,a\n6,b\n7,a a\n";
        let unknown = |name: &str| Problem::UnknownTrunk(name.to_owned());
        let twice = |first| Problem::Twice {
            first,
            for_trunk: false,
        };
        assert_eq!(
            problems(TableKind::Prefixes, text),
            [
                (2, 1, 3, Problem::Prefix),
                (3, 3, 6, unknown("nobody")),
                (4, 3, 1, Problem::NoTrunk),
                (5, 3, 3, Problem::Weight),
                (6, 1, 5, Problem::FieldCount { found: 3, named: 2 }),
                (7, 9, 1, unknown("ü")),
                (9, 1, 1, twice(8)),
                (10, 1, 1, twice(10)),
            ]
        );
        let text = "prefix,trunk,cost\n1,a,x\n2,b,-1\n3,,1\n4,c,1\n4,a,1\n4,c,2\n";
        let twice = Problem::Twice {
            first: 5,
            for_trunk: true,
        };
        assert_eq!(
            problems(TableKind::Rates, text),
            [
                (2, 5, 1, Problem::Cost),
                (3, 5, 2, Problem::Cost),
                (4, 3, 1, Problem::NoTrunk),
                (7, 1, 1, twice),
            ]
        );
    }

    #[test]
    fn the_first_line_names_the_columns() {
        let no = Problem::NoColumn;
        assert_eq!(problems(TableKind::Prefixes, ""), [(1, 1, 1, no("prefix"))]);
        assert_eq!(
            problems(TableKind::Rates, "prefix,trunk,price,trunk\n"),
            [
                (1, 14, 5, Problem::UnknownColumn("price".to_owned())),
                (1, 20, 5, Problem::ColumnTwice),
                (1, 1, 24, no("cost")),
            ]
        );
    }

    #[test]
    fn a_finding_quotes_little_and_nothing_that_a_terminal_obeys() {
        let text = format!(
            "prefix,trunk,cost\n1,\u{1b}[2J{},1\n",
            "é".repeat(1_000_000)
        );
        let findings = read_text(TableKind::Rates, &text).expect_err("it is wrong");
        let finding = findings.list.first().expect("one");
        assert!(
            finding.text.starts_with("1,\u{fffd}[2Jé"),
            "{}",
            finding.text
        );
        assert_eq!(finding.text.chars().count(), LONGEST_SHOWN);
        assert_eq!((finding.column, finding.width), (3, LONGEST_SHOWN));
        let Problem::UnknownTrunk(name) = &finding.problem else {
            panic!("{:?}", finding.problem);
        };
        assert_eq!(name.chars().count(), LONGEST_SHOWN);
    }

    #[test]
    fn findings_have_an_end() {
        let text = format!("prefix,trunks\n{}", "x,a\n".repeat(50));
        let findings = read_text(TableKind::Prefixes, &text).expect_err("it is wrong");
        assert_eq!((findings.list.len(), findings.more), (MOST_FINDINGS, 30));
    }

    proptest::proptest! {
        #[test]
        fn nothing_in_a_file_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            for kind in [TableKind::Prefixes, TableKind::Rates] {
                let _ = read(kind, &bytes, &HashMap::new());
                let mut headed = b"prefix,trunk,cost,weight\n".to_vec();
                headed.extend_from_slice(&bytes);
                let _ = read(kind, &headed, &[("a", TrunkId(0))].into_iter().collect());
            }
        }
    }
}
