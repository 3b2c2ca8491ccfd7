//! A new configuration for a running tandem: read and checked whole, off the event loop; then taken over in one step,
//! or not at all.
//!
//! ```text
//!   SIGHUP, `tandem reload` ─► begin ─► a thread: read, check, compare ─► doorbell ─► finish: agent.reconfigure
//! ```
//!
//! Calls that are up are not touched. What devices, threads and sockets were made from cannot be taken over: a file
//! that changes it is refused, with what it is.

use std::path::PathBuf;
use std::thread::{self, JoinHandle};

use contract::Timestamp;
use controlplane::agent::Agent;

use crate::admin::doorbell::Doorbell;
use crate::admin::views::Reloaded;
use crate::cli::verdict;
use crate::config::{self, Checked, Difference, Numbering};
use crate::host::Host;

/// Sets which log messages are written, by the configuration's `log`.
pub(crate) type SetLog = Box<dyn Fn(&str)>;

/// Reads the configuration again, one reading at a time.
pub(crate) struct Reloader {
    path: PathBuf,
    /// The text that the process runs by.
    text: String,
    /// Nothing when the command line decides.
    set_log: Option<SetLog>,
    reading: Option<Reading>,
    /// SIGHUP has come while a file was being read: it may have changed since.
    again: bool,
}

struct Reading {
    thread: JoinHandle<Result<(Checked, Difference), String>>,
    asked_by: Option<usize>,
    dry_run: bool,
}

impl Reloader {
    /// For a process that was started from this file and text.
    pub(crate) fn new(path: PathBuf, text: String, set_log: Option<SetLog>) -> Self {
        Self {
            path,
            text,
            set_log,
            reading: None,
            again: false,
        }
    }

    /// Begins to read the file for a client of the admin socket, or for nobody (SIGHUP). The doorbell rings
    /// when it has been read.
    ///
    /// # Errors
    /// One sentence why it has not begun.
    pub(crate) fn begin(
        &mut self,
        agent: &Agent,
        doorbell: &Doorbell,
        asked_by: Option<usize>,
        dry_run: bool,
    ) -> Result<(), String> {
        if self.reading.is_some() {
            self.again |= asked_by.is_none();
            return Err("the configuration is being read already".to_owned());
        }
        let path = self.path.clone();
        let former = self.text.clone();
        let numbering = Numbering::of(agent.settings());
        let ringing = Ringing(doorbell.clone());
        let read = move || {
            let _rings_whatever_happens = ringing;
            let host = Host::read()
                .map_err(|error| format!("cannot read what this machine has: {error}"))?;
            let checked = config::load_again(&path, Some(&host), &numbering)
                .map_err(|error| error.to_string())?;
            let difference = Difference::between(&former, checked.report.text());
            Ok((checked, difference))
        };
        let thread = thread::Builder::new().name("reload".to_owned()).spawn(read);
        let thread = thread.map_err(|error| format!("cannot start a thread: {error}"))?;
        self.reading = Some(Reading {
            thread,
            asked_by,
            dry_run,
        });
        Ok(())
    }

    /// Takes the file over if it has been read. Gives what came of it, and who asked.
    pub(crate) fn finish(
        &mut self,
        agent: &mut Agent,
        doorbell: &Doorbell,
        now: Timestamp,
    ) -> Option<(Option<usize>, Reloaded)> {
        let reading = self
            .reading
            .take_if(|reading| reading.thread.is_finished())?;
        let read = reading.thread.join().unwrap_or_else(|_| {
            Err("the thread that read it has panicked (the log tells where)".to_owned())
        });
        let outcome = match read {
            Ok((checked, difference)) => {
                self.take_over(checked, difference, reading.dry_run, agent, now)
            }
            Err(sentence) => Reloaded::refused(sentence),
        };
        log(&outcome, reading.dry_run);
        if std::mem::take(&mut self.again)
            && let Err(sentence) = self.begin(agent, doorbell, None, false)
        {
            tracing::error!("{sentence}");
        }
        Some((reading.asked_by, outcome))
    }

    fn take_over(
        &mut self,
        checked: Checked,
        difference: Difference,
        dry_run: bool,
        agent: &mut Agent,
        now: Timestamp,
    ) -> Reloaded {
        let text = checked.report.text().to_owned();
        let mut outcome = Reloaded {
            report: checked.report.to_string(),
            ..Reloaded::default()
        };
        let Some(config) = &checked.config else {
            outcome.refused = Some(verdict(&self.path, &checked));
            return outcome;
        };
        let restarts: Vec<_> = difference.restarts().map(ToString::to_string).collect();
        outcome.changes = difference.changes;
        if !restarts.is_empty() {
            let list = restarts.join("; ");
            outcome.refused = Some(format!("this needs a restart: {list}"));
            return outcome;
        }
        if dry_run {
            return outcome;
        }
        if let Err(unlike) = agent.reconfigure(config.control.clone(), now) {
            outcome.refused = Some(format!("this needs a restart: {unlike}"));
            return outcome;
        }
        if let Some(set_log) = &self.set_log {
            set_log(&config.appliance.log);
        }
        self.text = text;
        outcome.applied = true;
        outcome
    }
}

/// Rings when it is dropped: also when the thread panics. The thread counts as finished only a moment later: the loop
/// looks again until it has.
struct Ringing(Doorbell);

impl Drop for Ringing {
    fn drop(&mut self) {
        self.0.ring();
    }
}

impl std::fmt::Debug for Reloader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reloader")
            .field("path", &self.path)
            .field("reading", &self.reading.is_some())
            .finish_non_exhaustive()
    }
}

fn log(outcome: &Reloaded, dry_run: bool) {
    let changes = outcome.changes.len();
    match &outcome.refused {
        Some(why) => tracing::error!(
            "the configuration is not taken over: {why}{}{}",
            if outcome.report.is_empty() { "" } else { "\n" },
            outcome.report.trim_end()
        ),
        None if dry_run => tracing::info!(changes, "the configuration could be taken over"),
        None => {
            tracing::info!(changes, "configuration taken over");
            for change in &outcome.changes {
                tracing::info!("{change}");
            }
        }
    }
}
