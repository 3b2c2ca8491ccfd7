//! SIPp's statistics file (`-trace_stat`): a header, then a row a second, fields between semicolons.
//!
//! Columns are found by name. Of the pairs `Name(P)`, `Name(C)`, periodic and since the start, only the latter
//! are used: what a row adds follows from the row before.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::tail::Tail;

/// SIPp's counters at one time, since it was started.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Row {
    /// Seconds since 1970.
    pub(super) time: f64,
    pub(super) created: u64,
    pub(super) up: u64,
    pub(super) successful: u64,
    pub(super) failed: u64,
    pub(super) retransmissions: u64,
    /// Failed calls by SIPp's name of the reason, such as `MaxUDPRetrans`, without what never happened.
    pub(super) failures: BTreeMap<String, u64>,
}

/// The file, and its latest row.
#[derive(Debug)]
pub(super) struct Statistics {
    tail: Tail,
    columns: Vec<String>,
    /// The latest row; zeros before there is one.
    pub(super) last: Row,
}

impl Statistics {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            tail: Tail::new(path),
            columns: Vec::new(),
            last: Row::default(),
        }
    }

    /// The rows that came since the last time.
    pub(super) fn rows(&mut self) -> std::io::Result<Vec<Row>> {
        let mut rows = Vec::new();
        let columns = &mut self.columns;
        self.tail.lines(|line| {
            if columns.is_empty() {
                columns.extend(line.split(';').map(str::to_owned));
            } else {
                rows.extend(row(columns, line));
            }
        })?;
        if let Some(last) = rows.last() {
            self.last = last.clone();
        }
        Ok(rows)
    }
}

/// A row; `None` if it is not one.
fn row(columns: &[String], line: &str) -> Option<Row> {
    let mut row = Row::default();
    for (name, value) in columns.iter().zip(line.split(';')) {
        if name == "CurrentTime" {
            // 2026-11-23 <tab> 09:13:23.965896 <tab> 1795425203.965896
            row.time = value.rsplit('\t').next()?.parse().ok()?;
            continue;
        }
        let Ok(number) = value.parse::<u64>() else {
            continue;
        };
        match name.as_str() {
            "TotalCallCreated" => row.created = number,
            "CurrentCall" => row.up = number,
            "SuccessfulCall(C)" => row.successful = number,
            "FailedCall(C)" => row.failed = number,
            "Retransmissions(C)" => row.retransmissions = number,
            _ => {
                let reason = name
                    .strip_prefix("Failed")
                    .and_then(|name| name.strip_suffix("(C)"));
                if let (Some(reason), true) = (reason, number > 0) {
                    row.failures.insert(reason.to_owned(), number);
                }
            }
        }
    }
    (row.time > 0.0).then_some(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "StartTime;LastResetTime;CurrentTime;ElapsedTime(P);TargetRate;CallRate(C);\
        TotalCallCreated;CurrentCall;SuccessfulCall(P);SuccessfulCall(C);FailedCall(P);FailedCall(C);\
        FailedMaxUDPRetrans(P);FailedMaxUDPRetrans(C);FailedUnexpectedMessage(P);FailedUnexpectedMessage(C);\
        Retransmissions(P);Retransmissions(C);";

    fn line(second: u32, created: u32) -> String {
        let time = format!("2026-11-23\t09:13:2{second}.965896\t179542520{second}.965896");
        format!("{time};{time};{time};00:00:01;200;199.5;{created};40;1;150;0;9;0;2;3;7;1;5;\n")
    }

    #[test]
    fn rows_are_read_as_they_come() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("stat.csv");
        let mut statistics = Statistics::new(path.clone());
        assert_eq!(statistics.rows().expect("no file yet"), []);
        std::fs::write(
            &path,
            format!("{HEADER}\n{}{}2026", line(3, 199), line(4, 400)),
        )
        .expect("written");
        let rows = statistics.rows().expect("read");
        assert_eq!(rows.len(), 2, "the third is not complete");
        assert_eq!(rows[0].created, 199);
        assert_eq!(statistics.last, rows[1]);
        let last = &rows[1];
        assert_eq!(last.time, 1_795_425_204.965_896);
        let counts = [
            last.created,
            last.up,
            last.successful,
            last.failed,
            last.retransmissions,
        ];
        assert_eq!(counts, [400, 40, 150, 9, 5]);
        let failures = [
            ("MaxUDPRetrans".to_owned(), 2),
            ("UnexpectedMessage".to_owned(), 7),
        ];
        assert_eq!(last.failures, failures.into());
    }

    #[test]
    fn what_is_no_row_is_left_out() {
        let columns: Vec<_> = HEADER.split(';').map(str::to_owned).collect();
        for text in ["", "x", "a;b;c;d", ";;\t;;", "a;b;2026\t09\tnever;0"] {
            assert_eq!(row(&columns, text), None, "{text}");
        }
    }
}
