//! A thread pinned to a core that does what it is handed, one thing after the other.
//!
//! ```text
//!   control thread ── job: make UMEM and sockets ──► pinned thread     each job's outcome comes back;
//!                  ── job: make the tables ────────►                   memory stays where it was touched
//!                  ── job: serve until told to stop ►
//! ```
//!
//! What a worker needs is made by its own thread, so that every page is first touched, and its ring memory
//! asked for, from the core that will use it: the kernel then takes it from that core's NUMA node.

use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};

use core_affinity::CoreId;

type Job = Box<dyn FnOnce() + Send>;

/// The thread. Dropping it waits for the jobs that were handed out.
#[derive(Debug)]
pub(crate) struct Pinned {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

/// Why there is no such thread.
#[derive(Debug)]
pub(crate) enum NotPinned {
    /// The system gives no thread.
    Thread(io::Error),
    /// The core does not exist, or is not in the process's affinity mask.
    Core,
}

/// The outcome of a job.
#[derive(Debug)]
pub(crate) struct Outcome<T>(Receiver<T>);

impl Pinned {
    /// Starts a thread and pins it.
    pub(crate) fn start(name: String, core: usize) -> Result<Self, NotPinned> {
        let (jobs, handed) = mpsc::channel::<Job>();
        let (tell, is_pinned) = mpsc::channel();
        let live = move || {
            let pinned = to_core(core);
            if tell.send(pinned).is_err() || !pinned {
                return;
            }
            handed.into_iter().for_each(|job| job());
        };
        let thread = thread::Builder::new().name(name).spawn(live);
        let pinned = Self {
            jobs: Some(jobs),
            thread: Some(thread.map_err(NotPinned::Thread)?),
        };
        match is_pinned.recv() {
            Ok(true) => Ok(pinned),
            Ok(false) | Err(_) => Err(NotPinned::Core),
        }
    }

    /// Hands it a job. Does not wait.
    pub(crate) fn hand<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Outcome<T> {
        let (tell, outcome) = mpsc::channel();
        let job = Box::new(move || {
            // Nobody may want to know.
            let _ = tell.send(job());
        });
        if let Some(jobs) = &self.jobs {
            // A thread that has panicked takes no more: the outcome tells.
            let _ = jobs.send(job);
        }
        Outcome(outcome)
    }
}

impl<T> Outcome<T> {
    /// Waits; `None` when the thread has panicked before it came to an end.
    pub(crate) fn wait(self) -> Option<T> {
        self.0.recv().ok()
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // One that has panicked has said so.
            let _ = thread.join();
        }
    }
}

/// Pins the calling thread, and says whether the kernel agreed.
fn to_core(core: usize) -> bool {
    let allowed = core_affinity::get_core_ids().unwrap_or_default();
    allowed.contains(&CoreId { id: core }) && core_affinity::set_for_current(CoreId { id: core })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_done_in_order_on_the_core_and_their_outcomes_come_back() {
        let last = *core_affinity::get_core_ids()
            .expect("the affinity mask")
            .last()
            .expect("a core");
        let pinned = Pinned::start("of-a-test".into(), last.id).expect("an allowed core");
        let first = pinned.hand(|| {
            let cores = core_affinity::get_core_ids();
            (thread::current().name().map(str::to_owned), cores)
        });
        let second = pinned.hand(|| thread::current().id());
        let third = pinned.hand(|| thread::current().id());
        let (name, cores) = first.wait().expect("no panic");
        assert_eq!(name.as_deref(), Some("of-a-test"));
        assert_eq!(cores, Some(vec![last]));
        let second = second.wait().expect("no panic");
        assert_ne!(second, thread::current().id());
        assert_eq!(Some(second), third.wait());
    }

    #[test]
    fn a_core_that_is_not_there_is_refused() {
        let refused = Pinned::start("of-a-test".into(), 100_000);
        assert!(matches!(refused, Err(NotPinned::Core)), "{refused:?}");
    }

    #[test]
    fn a_job_that_panics_has_no_outcome_nor_have_those_after_it() {
        let core = core_affinity::get_core_ids().expect("the affinity mask")[0].id;
        let pinned = Pinned::start("of-a-test".into(), core).expect("an allowed core");
        let first = pinned.hand(|| panic!("of this test"));
        assert_eq!(first.wait(), None::<()>);
        assert_eq!(pinned.hand(|| ()).wait(), None);
    }
}
