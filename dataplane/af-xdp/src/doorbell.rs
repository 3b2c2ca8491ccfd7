//! A doorbell between threads: an eventfd that a sleeping thread polls.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::Error;

/// Readable from a [`Doorbell::ring`] to the next [`Doorbell::clear`], however often it rings.
#[derive(Debug)]
pub struct Doorbell {
    fd: OwnedFd,
}

impl Doorbell {
    /// A silent one.
    pub fn new() -> Result<Self, Error> {
        // SAFETY: a plain call.
        let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(Error::last("eventfd"));
        }
        // SAFETY: just made, and nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { fd })
    }

    /// Another handle on the same bell, for the thread that rings it or that hears it.
    pub fn try_clone(&self) -> Result<Self, Error> {
        match self.fd.try_clone() {
            Ok(fd) => Ok(Self { fd }),
            Err(source) => Err(Error::System {
                call: "fcntl(F_DUPFD_CLOEXEC)",
                device: None,
                queue: None,
                source,
            }),
        }
    }

    /// Wakes whoever polls it. From any thread, never blocks.
    pub fn ring(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: the buffer is 8 bytes. The one possible failure, EAGAIN at 2^64 - 2 rings, leaves it ringing.
        unsafe { libc::write(self.fd.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Silences it. Says whether it had been rung.
    pub fn clear(&self) -> bool {
        let mut rings = [0; 8];
        // SAFETY: the buffer is 8 bytes.
        let read = unsafe { libc::read(self.fd.as_raw_fd(), rings.as_mut_ptr().cast(), 8) };
        debug_assert!(read == 8 || io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock);
        read == 8
    }
}

impl AsFd for Doorbell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<Doorbell> for OwnedFd {
    fn from(doorbell: Doorbell) -> Self {
        doorbell.fd
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::poll::wait;
    use std::time::Duration;

    #[test]
    fn it_rings_until_it_is_cleared() {
        let bell = Doorbell::new().expect("an eventfd");
        let ringer = bell.try_clone().expect("a second handle");
        let is_ringing = || wait([bell.as_fd()], Some(Duration::ZERO)).expect("poll") == 1;
        assert!(!is_ringing() && !bell.clear());
        ringer.ring();
        ringer.ring();
        assert!(is_ringing());
        assert!(bell.clear() && !bell.clear() && !is_ringing());
    }

    #[test]
    fn it_wakes_a_sleeper() {
        let bell = Doorbell::new().expect("an eventfd");
        std::thread::scope(|scope| {
            let sleeper = scope.spawn(|| wait([bell.as_fd()], None));
            bell.ring();
            assert_eq!(sleeper.join().expect("no panic").expect("poll"), 1);
        });
    }
}
