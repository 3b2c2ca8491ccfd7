//! `tandem top`: what happens now, interval by interval.
//!
//! ```text
//!   two snapshots ─► picture ─► tables ─┬─► screen, draw ─► cells ─► terminal
//!                        │              └─► text                    (--once)
//!                        └─► JSON                                   (--json)
//! ```
//!
//! Everything but this module and [`tty`] is pure. tandem is asked anew for each snapshot, so a restart
//! costs one interval.

mod between;
mod draw;
mod picture;
#[cfg(test)]
mod sample;
mod screen;
mod tables;
#[cfg(test)]
mod tests;
mod tty;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use terminal::table::properties;
use terminal::units::{spell_nanos, spell_seconds};

use super::client::{Client, ClientError};
use super::output::{print, print_json};
use super::{Failure, TopArgs};
use crate::admin::protocol::Request;
use crate::config::read_duration;
use picture::{Picture, Snapshot};
use tables::{Table, View, table};

/// Less than this is less than the kernel's counters are fetched in.
const SHORTEST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(3600);

pub(super) fn show(args: &TopArgs) -> Result<ExitCode, Failure> {
    let client = args.query.client();
    match (args.once, args.query.json) {
        (true, json) => once(&client, args.interval, json)?,
        (false, true) => stream(&client, args.interval)?,
        (false, false) => {
            let ask = move || snapshot(&client).map_err(|error| error.to_string());
            tty::run(args.interval, ask).map_err(Failure::Terminal)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `1s`, `500ms`, `1m30s`.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    let interval = read_duration(text).ok_or("expected a duration such as 1s or 500ms")?;
    match (SHORTEST..=LONGEST).contains(&interval) {
        true => Ok(interval),
        false => Err("expected 200ms to 1h".to_owned()),
    }
}

fn snapshot(client: &Client) -> Result<Snapshot, ClientError> {
    let status = client.understand(client.ask(&Request::Status {})?)?;
    let workers = client.understand(client.ask(&Request::Workers {})?)?;
    Ok(Snapshot { status, workers })
}

fn once(client: &Client, interval: Duration, json: bool) -> Result<(), Failure> {
    let before = snapshot(client)?;
    std::thread::sleep(interval);
    let after = snapshot(client)?;
    let picture = Picture::between(&before, &after).ok_or(Failure::Restarted)?;
    match json {
        true => print_json(&json!(picture)),
        false => print(&plain(&picture)),
    }
}

/// A line an interval until the reader has seen enough; an interval without two answers is a line with an
/// `error`.
fn stream(client: &Client, interval: Duration) -> Result<(), Failure> {
    let mut due = Instant::now();
    let mut before = snapshot(client);
    loop {
        due = tty::next_after(due, interval, Instant::now());
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let after = snapshot(client);
        let line = match (&before, &after) {
            (_, Err(error)) => json!({"error": error.to_string()}),
            (Err(_), Ok(_)) => json!({"error": Failure::Restarted.to_string()}),
            (Ok(before), Ok(after)) => match Picture::between(before, after) {
                Some(picture) => json!(picture),
                None => json!({"error": Failure::Restarted.to_string()}),
            },
        };
        if !print_line(&line)? {
            return Ok(());
        }
        before = after;
    }
}

/// `false` when nobody reads any more.
fn print_line(line: &Value) -> Result<bool, Failure> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::Output(error)),
    }
}

/// The picture as text, for scripts: whole tables, numbers in base units.
fn plain(picture: &Picture) -> String {
    let (calls, lost) = (&picture.calls, &picture.totals.lost);
    let stayed = &picture.totals.residence_ns;
    let summary = properties(&[
        (
            "tandem",
            format!(
                "{} {}, up {}, process {}",
                picture.version,
                picture.state,
                spell_seconds(picture.uptime_seconds),
                picture.pid
            ),
        ),
        ("interval", spell_nanos(picture.interval_ns)),
        (
            "calls",
            format!(
                "{} of {} up; a second: {} offered, {} answered, {} failed, {} ended",
                calls.active,
                calls.limit,
                calls.offered_per_second,
                calls.answered_per_second,
                calls.failed_per_second,
                calls.ended_per_second
            ),
        ),
        (
            "media",
            format!(
                "{} flows, {} sessions",
                picture.media.flows, picture.media.sessions
            ),
        ),
        (
            "lost",
            format!(
                "a second: {} by workers, {} at rings",
                lost.dropped_per_second, lost.ring_dropped_per_second
            ),
        ),
        ("residence", super::status::residence(stayed)),
    ]);
    let tables = [View::Workers, View::Queues, View::Devices, View::Drops];
    let tables = tables.map(|view| table(view, picture));
    let tables = tables.iter().filter(|table| !table.rows.is_empty());
    let mut text = vec![summary];
    text.extend(tables.map(Table::plain));
    text.join("\n")
}
