//! What a process may have: open files, and cores.

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;

use crate::error::Error;

/// Lets this process, and those that it starts, have so many open files.
pub(crate) fn allow_files(count: usize) -> Result<(), Error> {
    let failed = |error| Error::system(format!("{count} open files"), error);
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(failed)?;
    let count = count as u64;
    if soft >= count {
        return Ok(());
    }
    setrlimit(Resource::RLIMIT_NOFILE, count, hard.max(count)).map_err(failed)
}

/// Runs a thread on one core; 0 is the thread that calls.
pub(crate) fn pin(thread: Pid, core: usize) -> Result<(), Error> {
    let mut cores = CpuSet::new();
    cores
        .set(core)
        .and_then(|()| sched_setaffinity(thread, &cores))
        .map_err(|error| Error::system(format!("core {core}"), error))
}
