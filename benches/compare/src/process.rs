//! Programs that the comparison starts: each is known by its id, and ended by it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::error::Error;

/// How long a program may take to end before it is killed.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(10);

/// A program that runs in the background; ended when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    output: PathBuf,
    errors: PathBuf,
}

impl Process {
    /// Starts a program whose stdout and stderr go to files of a directory, named after it.
    pub(crate) fn start(name: &str, command: &mut Command, logs: &Path) -> Result<Self, Error> {
        let output = logs.join(format!("{name}.out"));
        let errors = logs.join(format!("{name}.err"));
        let create = |path: &Path| File::create(path).map_err(|error| Error::file(path, &error));
        let child = command
            .stdin(Stdio::null())
            .stdout(create(&output)?)
            .stderr(create(&errors)?)
            .spawn()
            .map_err(|error| Error::Program(format!("{name} cannot be started: {error}")))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            output,
            errors,
        })
    }

    /// Its process id. What `ip netns exec` starts takes the place of `ip` itself.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to stdout so far.
    pub(crate) fn output(&self) -> String {
        fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// The end of what it wrote to stderr.
    pub(crate) fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.errors).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("; ")
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>, Error> {
        let ended = self.child.try_wait();
        ended.map_err(|error| Error::system(&self.name, error))
    }

    /// Fails if it has ended.
    pub(crate) fn must_run(&mut self) -> Result<(), Error> {
        match self.ended()? {
            None => Ok(()),
            Some(status) => Err(self.failed(status)),
        }
    }

    /// Waits until it has ended by itself, at most so long.
    pub(crate) fn finish(
        &mut self,
        patience: Duration,
        stop: &Arc<AtomicBool>,
    ) -> Result<ExitStatus, Error> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            if Instant::now() > deadline {
                return Err(Error::Program(format!(
                    "{} has not ended after {} s: {}",
                    self.name,
                    patience.as_secs(),
                    self.last_words()
                )));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// What to say of its end.
    pub(crate) fn failed(&self, status: ExitStatus) -> Error {
        Error::Program(format!("{}: {status}: {}", self.name, self.last_words()))
    }

    /// Asks it to end, and ends it if it does not.
    pub(crate) fn end(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        if let Ok(id) = i32::try_from(self.child.id()) {
            let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
        }
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(LOOK);
        }
        // It may have ended since.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// Runs a program that must succeed; gives its stdout.
pub(crate) fn run(command: &mut Command) -> Result<String, Error> {
    let spelt = || {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let words: Vec<_> = words
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        words.join(" ")
    };
    let spelt = spelt();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Error::Program(format!("{spelt}: {error}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::Program(format!(
        "{spelt}: {}: {}",
        output.status,
        said.trim()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_program_is_ended_though_it_does_not_want_to() {
        let logs = tempfile::tempdir().expect("a directory");
        let mut stubborn = shell("trap '' TERM; echo ready; while :; do sleep 0.1; done");
        let process = Process::start("stubborn", &mut stubborn, logs.path()).expect("started");
        while process.output().is_empty() {
            std::thread::sleep(LOOK);
        }
        let id = process.id();
        drop(process);
        assert!(!Path::new(&format!("/proc/{id}")).exists());
    }

    #[test]
    fn the_last_words_of_a_failure_are_told() {
        let logs = tempfile::tempdir().expect("a directory");
        let mut failing = shell("echo no such device >&2; exit 3");
        let mut process = Process::start("failing", &mut failing, logs.path()).expect("started");
        let stop = Arc::new(AtomicBool::new(false));
        let status = process.finish(PATIENCE, &stop).expect("it ends");
        let said = process.failed(status).to_string();
        assert!(said.contains("exit status: 3: no such device"), "{said}");
        assert!(process.must_run().is_err());
        let said = run(&mut shell("echo gone >&2; exit 1")).expect_err("a failure");
        assert!(said.to_string().contains("gone"), "{said}");
    }

    #[test]
    fn an_interruption_ends_the_wait() {
        let logs = tempfile::tempdir().expect("a directory");
        let mut process =
            Process::start("sleep", &mut shell("exec sleep 60"), logs.path()).expect("started");
        let stop = Arc::new(AtomicBool::new(true));
        let interrupted = process.finish(PATIENCE, &stop);
        assert!(matches!(interrupted, Err(Error::Interrupted)));
    }
}
