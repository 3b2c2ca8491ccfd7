//! A UMEM's file, mapped: its header, free list and frames, whoever owns them.
//!
//! Here offsets become pointers; who may use them when is [`crate::Umem`]'s business.

use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::Error;
use crate::layout::{Geometry, HEADER_SIZE, HUGE_PAGE, Header, MAGIC, PAGE, SocketRecord, VERSION};
use crate::mapping::{Mapping, create_memfd, file_length, is_sealed};
use crate::umem::{HugePages, PageSize, UmemConfig};

/// The mapped file, whoever owns it.
pub(crate) struct Memory {
    pub(crate) geometry: Geometry,
    pub(crate) page_size: PageSize,
    pub(crate) fd: OwnedFd,
    mapping: Mapping,
}

impl Memory {
    /// A fresh one: all frames free, owned by `token`.
    pub(crate) fn create(geometry: Geometry, wanted: HugePages, token: u64) -> Result<Self, Error> {
        let (fd, mapping, page_size) = allocate(&geometry, wanted)?;
        let memory = Self {
            geometry,
            page_size,
            fd,
            mapping,
        };
        memory.write_header(token);
        Ok(memory)
    }

    /// Another process's, checked for what can be checked while that one goes on.
    pub(crate) fn adopt(fd: OwnedFd) -> Result<Self, Error> {
        let refuse = |what: &str| Error::NotAdoptable(format!("the file is no UMEM: {what}"));
        if !is_sealed(fd.as_fd()) {
            return Err(refuse("it is not sealed against truncation"));
        }
        let length = file_length(fd.as_fd())?;
        if length < HEADER_SIZE {
            return Err(refuse("too short"));
        }
        let mapping = Mapping::file(fd.as_fd(), length)?;
        // SAFETY: the mapping is at least a header long and page-aligned; every bit pattern is a `Header`.
        let header = unsafe { mapping.start().cast::<Header>().as_ref() };
        if (header.magic, header.version) != (MAGIC, VERSION) {
            return Err(refuse("wrong magic number or version"));
        }
        let config = UmemConfig {
            frame_count: header.frame_count,
            frame_size: header.frame_size,
            headroom: header.headroom.min(PAGE as u32),
            huge_pages: HugePages::Never,
        };
        let geometry = Geometry::new(&config)?;
        let page_size = match header.page_size as usize {
            HUGE_PAGE => PageSize::Huge,
            _ => PageSize::Base,
        };
        if geometry.frames_offset as u64 != header.frames_offset || geometry.length > length {
            return Err(refuse("its sizes contradict each other"));
        }
        let memory = Self {
            geometry,
            page_size,
            fd,
            mapping,
        };
        memory.check_free_list()?;
        Ok(memory)
    }

    /// A list that names a frame twice, or one that does not exist, would break the rule that a frame
    /// is in one place.
    fn check_free_list(&self) -> Result<(), Error> {
        let refuse = |what: &str| Err(Error::NotAdoptable(format!("the free list {what}")));
        let count = self.header().free_count.load(Ordering::Acquire) as usize;
        let Some(free) = self.free_list().get(..count) else {
            return refuse("is longer than the UMEM has frames");
        };
        // A live owner may pop and push meanwhile: that can only be judged once it has let go, so the
        // check here is for bounds; `Umem::pop` and the rings check each index again.
        if free
            .iter()
            .any(|entry| entry.load(Ordering::Relaxed) >= self.geometry.frame_count)
        {
            return refuse("names a frame that does not exist");
        }
        Ok(())
    }

    /// Keeps each frame of the free list once: a predecessor that was stopped between publishing a ring
    /// and lowering the count may have left one twice. Only the owner may do this.
    pub(crate) fn drop_duplicates(&self) {
        let count = self.header().free_count.load(Ordering::Acquire) as usize;
        let mut seen = vec![false; self.geometry.frame_count as usize];
        let mut kept = 0;
        let list = self.free_list();
        for entry in list.iter().take(count) {
            let index = entry.load(Ordering::Relaxed);
            if let Some(seen @ false) = seen.get_mut(index as usize) {
                *seen = true;
                list[kept].store(index, Ordering::Relaxed);
                kept += 1;
            }
        }
        // As many as `frame_count` at the most, a u32.
        self.header()
            .free_count
            .store(kept as u32, Ordering::Release);
    }

    fn write_header(&self, token: u64) {
        let geometry = &self.geometry;
        let start = self.mapping.start().cast::<Header>().as_ptr();
        // SAFETY: the mapping is fresh, zeroed, at least a header long, page-aligned, and only ours.
        unsafe {
            (*start).magic = MAGIC;
            (*start).version = VERSION;
            (*start).frame_size = geometry.frame_size;
            (*start).frame_count = geometry.frame_count;
            (*start).headroom = geometry.headroom;
            (*start).frames_offset = geometry.frames_offset as u64;
            (*start).length = geometry.length as u64;
            (*start).page_size = match self.page_size {
                PageSize::Base => PAGE as u64,
                PageSize::Huge => HUGE_PAGE as u64,
            };
        }
        // The stack's top is frame 0: a new UMEM is handed out from its start.
        for (entry, index) in self.free_list().iter().rev().zip(0u32..) {
            entry.store(index, Ordering::Relaxed);
        }
        let header = self.header();
        header
            .free_count
            .store(geometry.frame_count, Ordering::Relaxed);
        header.owner.store(token, Ordering::Release);
    }

    #[inline]
    pub(crate) fn header(&self) -> &Header {
        // SAFETY: the mapping is at least a header long and page-aligned; what changes in it is atomic, the
        // rest was written before anybody else could map the file.
        unsafe { self.mapping.start().cast::<Header>().as_ref() }
    }

    #[inline]
    pub(crate) fn free_list(&self) -> &[AtomicU32] {
        // SAFETY: the geometry puts `frame_count` u32 there, inside the mapping.
        unsafe {
            let start = self.mapping.start().add(HEADER_SIZE).cast::<AtomicU32>();
            slice::from_raw_parts(start.as_ptr(), self.geometry.frame_count as usize)
        }
    }

    /// Where a frame starts.
    ///
    /// # Panics
    /// When there is no such frame.
    #[inline]
    pub(crate) fn frame_start(&self, index: u32) -> NonNull<u8> {
        if index >= self.geometry.frame_count {
            no_frame(index);
        }
        let offset = index as usize * self.geometry.frame_size as usize;
        // SAFETY: `frames_offset` and all frames are inside the mapping, by the geometry.
        unsafe {
            self.mapping
                .start()
                .add(self.geometry.frames_offset + offset)
        }
    }

    /// The frame that starts at an address that [`Memory::frame_start`] gave.
    #[inline]
    pub(crate) fn index_of(&self, start: usize) -> u32 {
        let offset = start - self.frames().addr();
        (offset >> self.geometry.frame_size.trailing_zeros()) as u32
    }

    /// Where the first frame starts. Every address inside the frames may be reached from it.
    #[inline(always)]
    pub(crate) fn frames(&self) -> *mut u8 {
        let start = self.mapping.start().as_ptr();
        start.wrapping_add(self.geometry.frames_offset)
    }

    pub(crate) fn record(&self, wanted: impl Fn(&SocketRecord) -> bool) -> Option<&SocketRecord> {
        self.header().sockets.iter().find(|record| wanted(record))
    }
}

#[cold]
#[inline(never)]
fn no_frame(index: u32) -> ! {
    panic!("no frame {index}");
}

/// A sealed, mapped, zeroed memfd in the pages wanted.
fn allocate(geometry: &Geometry, wanted: HugePages) -> Result<(OwnedFd, Mapping, PageSize), Error> {
    if wanted != HugePages::Never {
        let length = geometry.length.next_multiple_of(HUGE_PAGE);
        // Without enough free pages the mapping fails: huge pages are reserved when mapped.
        let made = create_memfd(length, PageSize::Huge)
            .and_then(|fd| Ok((Mapping::file(fd.as_fd(), length)?, fd)));
        match made {
            Ok((mapping, fd)) => return Ok((fd, mapping, PageSize::Huge)),
            Err(_) if wanted == HugePages::IfAvailable => {}
            Err(_) => {
                return Err(Error::NoHugePages {
                    pages: length / HUGE_PAGE,
                });
            }
        }
    }
    let length = geometry.length.next_multiple_of(PAGE);
    let fd = create_memfd(length, PageSize::Base)?;
    let mapping = Mapping::file(fd.as_fd(), length)?;
    Ok((fd, mapping, PageSize::Base))
}
