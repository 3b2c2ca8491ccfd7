//! One SIPp process: started in a directory and process group of its own, watched, and ended.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::args::Place;
use super::proc;
use super::scenario::{self, Role, TONE, TONE_FILE};
use super::statistics::Statistics;

const STATISTICS: &str = "stat.csv";
const LOG: &str = "log";
const ERRORS: &str = "errors";
const OUT: &str = "out";

/// Why SIPp could not do its part.
#[derive(Debug, thiserror::Error)]
pub enum SippError {
    /// It could not be started.
    #[error("cannot start {0}: {1} (SIPp is in Debian's package sip-tester)")]
    Start(String, #[source] io::Error),
    /// Its directory could not be used.
    #[error("{}: {}", .0.display(), .1)]
    Directory(PathBuf, #[source] io::Error),
    /// It ended by itself, and not because its calls were over.
    #[error("the {0}'s SIPp ended with {1}: {2}")]
    Died(&'static str, String, String),
    /// It could not be sent a signal.
    #[error("the {0}'s SIPp cannot be signalled: {1}")]
    Signal(&'static str, #[source] rustix::io::Errno),
}

/// How SIPp is started.
#[derive(Clone, Debug)]
pub(super) struct Setup<'a> {
    pub(super) role: Role,
    pub(super) place: Place,
    pub(super) netns: Option<&'a str>,
    pub(super) core: Option<&'a str>,
    pub(super) audio: bool,
    /// Must not exist yet.
    pub(super) directory: PathBuf,
    /// Whom to call, how often: what only one of the roles needs.
    pub(super) more: Vec<String>,
}

/// A running SIPp; killed when dropped.
#[derive(Debug)]
pub(super) struct Sipp {
    process: Child,
    role: Role,
    directory: PathBuf,
    pub(super) statistics: Statistics,
    /// Processor seconds at the last look.
    pub(super) processor_seconds: f64,
    ended: Option<ExitStatus>,
}

impl Sipp {
    pub(super) fn start(setup: &Setup<'_>) -> Result<Self, SippError> {
        let directory = &setup.directory;
        let failed = |error| SippError::Directory(directory.clone(), error);
        fs::create_dir_all(directory).map_err(failed)?;
        let script = scenario::text(setup.role, setup.audio);
        let file = format!("{}.xml", setup.role.name());
        fs::write(directory.join(&file), script).map_err(failed)?;
        fs::write(directory.join(TONE_FILE), TONE).map_err(failed)?;
        let out = File::create(directory.join(OUT)).map_err(failed)?;
        let errors = out.try_clone().map_err(failed)?;
        let mut words = prefix(setup);
        words.push("sipp".to_owned());
        let program = words.remove(0);
        let host = setup.place.host();
        let process = Command::new(&program)
            .args(words)
            .args(["-sf", &file, "-i", &host, "-mi", &host])
            .args(["-p", &setup.place.port.to_string()])
            .args(["-nostdin", "-trace_stat", "-stf", STATISTICS, "-fd", "1"])
            .args([
                "-trace_logs",
                "-log_file",
                LOG,
                "-trace_err",
                "-error_file",
                ERRORS,
            ])
            .args(["-buff_size", "4194304"])
            .args(&setup.more)
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(errors)
            // Ctrl-C is for this program, which then ends SIPp in good order.
            .process_group(0)
            .spawn()
            .map_err(|error| SippError::Start(program, error))?;
        Ok(Self {
            process,
            role: setup.role,
            directory: directory.clone(),
            statistics: Statistics::new(directory.join(STATISTICS)),
            processor_seconds: 0.0,
            ended: None,
        })
    }

    /// The caller's log of responses.
    pub(super) fn log(&self) -> PathBuf {
        self.directory.join(LOG)
    }

    /// Whether it still runs. That it died is an error, that some of its calls failed is not.
    pub(super) fn runs(&mut self) -> Result<bool, SippError> {
        if self.ended.is_none() {
            let seconds = proc::processor_seconds(self.process.id());
            self.processor_seconds = seconds.unwrap_or(0.0).max(self.processor_seconds);
            let ended = self.process.try_wait();
            self.ended =
                ended.map_err(|error| SippError::Directory(self.directory.clone(), error))?;
        }
        match self.ended.map(|status| status.code()) {
            None => Ok(true),
            // All calls ended well; some did not; it was told to end.
            Some(Some(0 | 1 | 97 | 99)) => Ok(false),
            Some(code) => {
                let code = code.map_or("a signal".to_owned(), |code| format!("code {code}"));
                Err(self.died(code))
            }
        }
    }

    /// That it ended, and what it said.
    pub(super) fn died(&self, why: String) -> SippError {
        SippError::Died(self.role.name(), why, self.last_words())
    }

    /// Starts no more calls, and ends when those that are up have ended. Told again, it ends these too.
    pub(super) fn wind_up(&self) -> Result<(), SippError> {
        let Some(pid) = i32::try_from(self.process.id())
            .ok()
            .and_then(Pid::from_raw)
        else {
            return Ok(());
        };
        match kill_process(pid, Signal::USR1) {
            Err(rustix::io::Errno::SRCH) | Ok(()) => Ok(()),
            Err(error) => Err(SippError::Signal(self.role.name(), error)),
        }
    }

    /// What it complained of first, or said last.
    fn last_words(&self) -> String {
        let read = |name: &str| fs::read_to_string(self.directory.join(name)).unwrap_or_default();
        let errors = read(ERRORS);
        let out = read(OUT);
        let word = |line: &&str| !line.trim().is_empty() && !line.starts_with("The following");
        let said = errors.lines().find(word);
        let said = said.or_else(|| out.lines().rev().find(word));
        said.map_or("it said nothing".to_owned(), |line| line.trim().to_owned())
    }
}

impl Drop for Sipp {
    fn drop(&mut self) {
        // Neither can fail for a child that has not been waited for.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What stands before SIPp's own arguments. Each of these programs becomes SIPp, under the same process id.
fn prefix(setup: &Setup<'_>) -> Vec<String> {
    let mut words = Vec::new();
    if let Some(netns) = setup.netns {
        words.extend(["ip", "netns", "exec", netns]);
    }
    if let Some(core) = setup.core {
        words.extend(["taskset", "-c", core]);
    }
    words.into_iter().map(str::to_owned).collect()
}

/// What SIPp calls itself, without what it was built with: `SIPp v3.6.1`.
pub(super) fn version() -> Result<String, SippError> {
    let output = Command::new("sipp").arg("-v").output();
    let output = output.map_err(|error| SippError::Start("sipp".to_owned(), error))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text
        .lines()
        .map(str::trim)
        .find(|line| line.starts_with("SIPp"));
    Ok(line
        .unwrap_or("SIPp")
        .split('-')
        .next()
        .unwrap_or("SIPp")
        .to_owned())
}

/// How many times each response that no caller expected came, by status code: from the errors file, in which
/// SIPp quotes each such message.
pub(super) fn unexpected(directory: &Path) -> std::collections::BTreeMap<String, u64> {
    let mut found = std::collections::BTreeMap::new();
    let text = fs::read(directory.join(ERRORS)).unwrap_or_default();
    for line in String::from_utf8_lossy(&text).lines() {
        let Some((_, rest)) = line.split_once("received 'SIP/2.0 ") else {
            continue;
        };
        let status: String = rest.chars().take_while(char::is_ascii_digit).collect();
        if status.len() == 3 {
            *found.entry(status).or_insert(0) += 1;
        }
    }
    found
}
