//! `tandem cdr`: the records of calls that are over.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::output::{print, print_json};
use super::table::Columns;
use super::{Failure, Query};
use crate::admin::protocol::Request;
use crate::admin::views::Status;
use crate::cdr::{Format, Tail};

/// How often a file that is followed is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// The most records that are printed at first.
const MOST: usize = 100_000;

#[derive(Debug, Args)]
pub(super) struct CdrArgs {
    #[command(subcommand)]
    verb: CdrVerb,
    #[command(flatten)]
    query: Query,
}

#[derive(Debug, Subcommand)]
enum CdrVerb {
    /// Print the last records, and follow if asked to
    #[command(after_help = "\
Examples:
  tandem cdr tail                  The last ten
  tandem cdr tail -n 100
  tandem cdr tail -f               Until interrupted; rotated files are followed
  tandem cdr tail -f --json | jq -c '[.ended, .caller_uri, .cause, .sip_code]'")]
    Tail {
        /// Print this many at first
        #[arg(short, long, value_name = "N", default_value_t = 10)]
        number: usize,
        /// Wait for more, and print them as they come
        #[arg(short, long)]
        follow: bool,
        /// Read this file instead of the running tandem's; its name decides the format (.csv, else JSON)
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

pub(super) fn execute(args: &CdrArgs) -> Result<ExitCode, Failure> {
    let CdrVerb::Tail {
        number,
        follow,
        file,
    } = &args.verb;
    let (path, format) = match file {
        Some(path) => (path.clone(), format_of(path)),
        None => running(&args.query)?,
    };
    let mut tail = Tail::new(path, format);
    let records = tail.last((*number).min(MOST))?;
    show(&records, args.query.json, true)?;
    if !*follow {
        return Ok(ExitCode::SUCCESS);
    }
    loop {
        std::thread::sleep(LOOK);
        show(&tail.more()?, args.query.json, false)?;
    }
}

fn format_of(path: &std::path::Path) -> Format {
    match path.extension().is_some_and(|extension| extension == "csv") {
        true => Format::Csv,
        false => Format::Json,
    }
}

/// The file that the running tandem writes.
fn running(query: &Query) -> Result<(PathBuf, Format), Failure> {
    let client = query.client();
    let answer = client.ask(&Request::Status {})?;
    let status: Status = client.understand(answer)?;
    let cdr = status.cdr.ok_or(Failure::NoRecords)?;
    let format = match cdr.format == Format::Csv.name() {
        true => Format::Csv,
        false => Format::Json,
    };
    Ok((cdr.file.into(), format))
}

fn show(records: &[Value], json: bool, heading: bool) -> Result<(), Failure> {
    if json {
        return records.iter().try_for_each(print_json);
    }
    if records.is_empty() && !heading {
        return Ok(());
    }
    let table = render(records);
    // What follows stands under the same columns as well as a terminal's text can.
    let skipped = usize::from(!heading);
    let lines: Vec<_> = table.lines().skip(skipped).collect();
    print(&format!("{}\n", lines.join("\n")))
}

fn render(records: &[Value]) -> String {
    let mut columns = Columns::new(&[
        "ended",
        ">call",
        "from",
        "to",
        "trunks",
        ">seconds",
        "released",
        ">code",
        ">packets from caller",
        ">from callee",
        ">mos",
    ]);
    for record in records {
        let of = |name: &str| plain(&record[name]);
        let duration = record["duration_ms"].as_f64();
        columns.row([
            of("ended"),
            of("call"),
            of("caller_from"),
            of("caller_uri"),
            format!("{} > {}", of("caller_trunk"), of("callee_trunk")),
            duration.map_or_else(|| "-".to_owned(), |ms| format!("{:.1}", ms / 1000.0)),
            format!("{}: {}", of("released_by"), of("cause")),
            of("sip_code"),
            of("caller_packets"),
            of("callee_packets"),
            format!("{} {}", of("caller_mos"), of("callee_mos")),
        ]);
    }
    columns.render()
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        // Only what a terminal shows as it is: the file may have come from elsewhere.
        Value::String(text) => text.chars().filter(|c| !c.is_control()).collect(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn records_are_rows_and_what_is_unknown_a_dash() {
        let text = render(&[json!({
            "ended": "2026-01-01T00:00:00.000Z", "call": 7, "caller_from": "sip:a\u{1b}[2J@x",
            "caller_uri": "sip:b@y", "caller_trunk": "in", "callee_trunk": null,
            "duration_ms": 61_500, "released_by": "caller", "cause": "bye", "sip_code": null,
            "caller_packets": 3000, "callee_packets": 2999, "caller_mos": 4.41,
        })]);
        let row = text.lines().nth(1).expect("a row");
        for part in [
            "sip:a[2J@x",
            "in > -",
            "61.5",
            "caller: bye",
            "3000",
            "4.41 -",
        ] {
            assert!(row.contains(part), "no {part} in {row}");
        }
        assert!(!text.contains('\u{1b}'));
    }
}
