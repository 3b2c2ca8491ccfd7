//! Memory mapped from a file descriptor: a memfd, or the rings of a socket.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::{self, NonNull};

use crate::Error;
use crate::umem::PageSize;

/// A shared mapping, unmapped when dropped.
pub(crate) struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: a mapping belongs to the process, not to a thread.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps a whole file and faults its pages in.
    pub(crate) fn file(fd: BorrowedFd<'_>, length: usize) -> Result<Self, Error> {
        Self::at(fd, length, 0).map_err(|source| Error::System {
            call: "mmap(memfd)",
            device: None,
            queue: None,
            source,
        })
    }

    /// Maps `length` bytes from `offset` and faults them in.
    pub(crate) fn at(fd: BorrowedFd<'_>, length: usize, offset: libc::off_t) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_POPULATE;
        // SAFETY: the kernel chooses the address, so nothing of ours is mapped over.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                length,
                protection,
                flags,
                fd.as_raw_fd(),
                offset,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).expect("mmap does not map page 0 unasked");
        Ok(Self { start, length })
    }

    /// Page-aligned; valid for as long as the mapping lives.
    #[inline]
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// The mapped thing of type `T` that starts `offset` bytes in.
    ///
    /// # Panics
    /// When it does not lie in the mapping, or is not aligned.
    pub(crate) fn pointer<T>(&self, offset: u64, count: usize) -> NonNull<T> {
        let offset = usize::try_from(offset).expect("an offset in memory");
        let end = size_of::<T>()
            .checked_mul(count)
            .and_then(|size| size.checked_add(offset));
        assert!(
            end.is_some_and(|end| end <= self.length),
            "outside of the mapping"
        );
        assert!(offset % align_of::<T>() == 0, "not aligned");
        // SAFETY: inside the mapping, as just checked.
        unsafe { self.start.add(offset).cast() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `at` with this length; whoever holds pointers into it upholds that they are not
        // used after it.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

/// A memfd of `length` zero bytes that can neither shrink nor grow: pages that the kernel has pinned
/// cannot be truncated away under it.
pub(crate) fn create_memfd(length: usize, pages: PageSize) -> Result<OwnedFd, Error> {
    let huge = match pages {
        PageSize::Base => 0,
        PageSize::Huge => libc::MFD_HUGETLB | libc::MFD_HUGE_2MB,
    };
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING | huge;
    // SAFETY: the name is a C string.
    let fd = unsafe { libc::memfd_create(c"af-xdp-umem".as_ptr(), flags) };
    if fd < 0 {
        return Err(Error::last("memfd_create"));
    }
    // SAFETY: just made, and nobody else has it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let size = libc::off_t::try_from(length)
        .map_err(|_| Error::Geometry("a UMEM larger than a file can be".into()))?;
    // SAFETY: plain calls on our own descriptor.
    if unsafe { libc::ftruncate(fd.as_raw_fd(), size) } < 0 {
        return Err(Error::last("ftruncate(memfd)"));
    }
    // SAFETY: as above.
    if unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, SEALS) } < 0 {
        return Err(Error::last("fcntl(F_ADD_SEALS)"));
    }
    Ok(fd)
}

const SEALS: libc::c_int = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;

/// Whether a file can neither shrink nor grow; false for what is no memfd.
pub(crate) fn is_sealed(fd: BorrowedFd<'_>) -> bool {
    // SAFETY: a plain call on a descriptor that the caller lends.
    let seals = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GET_SEALS) };
    seals >= 0 && seals & SEALS == SEALS
}

/// A file's size in bytes.
pub(crate) fn file_length(fd: BorrowedFd<'_>) -> Result<usize, Error> {
    let mut stat = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the kernel writes a whole `stat` when it says so.
    let stat = unsafe {
        if libc::fstat(fd.as_raw_fd(), stat.as_mut_ptr()) < 0 {
            return Err(Error::last("fstat(memfd)"));
        }
        stat.assume_init()
    };
    usize::try_from(stat.st_size).map_err(|_| Error::NotAdoptable("a file of negative size".into()))
}
