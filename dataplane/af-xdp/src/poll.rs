//! Sleeping until one of several file descriptors is readable.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;
use std::time::Duration;

use crate::Error;

/// Descriptors that one [`wait`] can watch.
pub const MAX_WATCHED: usize = 128;

/// Sleeps until one of the descriptors is readable (or broken), or the timeout has passed; `None` waits for
/// ever. Says how many are ready; 0 also when a signal came. Allocates nothing.
///
/// For a socket in copy mode the call also drives its TX ring once, and for any socket it is the wakeup that
/// the fill ring asks for.
pub fn wait<'fd>(
    watched: impl IntoIterator<Item = BorrowedFd<'fd>>,
    timeout: Option<Duration>,
) -> Result<usize, Error> {
    const NOTHING: libc::pollfd = libc::pollfd {
        fd: -1,
        events: 0,
        revents: 0,
    };
    let mut set = [NOTHING; MAX_WATCHED];
    let mut count = 0;
    for fd in watched {
        let Some(slot) = set.get_mut(count) else {
            return Err(Error::Geometry(format!(
                "more than {MAX_WATCHED} descriptors to wait for"
            )));
        };
        slot.fd = fd.as_raw_fd();
        slot.events = libc::POLLIN;
        count += 1;
    }
    let timeout = timeout.map(|timeout| libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::from(timeout.subsec_nanos() as i32),
    });
    let limit = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: `count` entries of `set` are initialised, the timeout is null or alive, no signal mask is given.
    let ready = unsafe { libc::ppoll(set.as_mut_ptr(), count as libc::nfds_t, limit, ptr::null()) };
    if ready >= 0 {
        return Ok(ready.unsigned_abs() as usize);
    }
    let source = io::Error::last_os_error();
    if source.kind() == io::ErrorKind::Interrupted {
        return Ok(0);
    }
    Err(Error::System {
        call: "ppoll",
        device: None,
        queue: None,
        source,
    })
}
