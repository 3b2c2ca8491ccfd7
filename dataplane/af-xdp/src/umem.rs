//! The memory that packets live in, shared with the kernel and with a successor process.
//!
//! One UMEM serves the sockets of one worker on all its devices and queues: a packet received by one is
//! sent by another without being copied. It lies in a sealed memfd together with all that a successor
//! needs to go on: its geometry, who owns it, which frames are free (the crate's docs draw it).

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process;
use std::ptr::NonNull;
use std::slice;
use std::sync::Weak;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::Error;
use crate::frame::Frame;
use crate::layout::{
    Geometry, HEADER_SIZE, HUGE_PAGE, Header, MAGIC, MAX_SOCKETS, PAGE, SocketRecord, VERSION,
    XDP_HEADROOM,
};
use crate::mapping::{Mapping, create_memfd, file_length, is_sealed};
use crate::socket::{BindMode, RingSizes};

/// What a UMEM is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UmemConfig {
    /// How many frames; they must fill whole pages of 4096 bytes. A UMEM never starves when it has as many
    /// as all the rings of all its sockets together: [`RingSizes::frames`] for each.
    pub frame_count: u32,
    /// Bytes of a frame: 2048 or 4096.
    pub frame_size: u32,
    /// Bytes in front of a received packet, beyond the 256 that the kernel always leaves.
    pub headroom: u32,
    /// Which pages to take.
    pub huge_pages: HugePages,
}

impl Default for UmemConfig {
    fn default() -> Self {
        Self {
            frame_count: 8192,
            frame_size: 4096,
            headroom: 0,
            huge_pages: HugePages::IfAvailable,
        }
    }
}

/// Whether to take the frames from pages of 2 MB, which spare the TLB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HugePages {
    /// Pages of 4 KiB.
    Never,
    /// Pages of 2 MB when enough are free, else of 4 KiB: [`Umem::page_size`] says which.
    IfAvailable,
    /// Pages of 2 MB, or an error.
    Required,
}

/// The pages that a UMEM lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PageSize {
    /// 4 KiB.
    Base,
    /// 2 MB.
    Huge,
}

impl fmt::Display for PageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Base => "4 KiB",
            Self::Huge => "2 MB",
        })
    }
}

/// What the file remembers of a socket for a successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RingRecord {
    pub(crate) sizes: RingSizes,
    pub(crate) need_wakeup: bool,
    pub(crate) tx_budget: Option<u32>,
}

/// Tells the frames of different UMEMs of a process apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UmemId(u32);

impl UmemId {
    fn next() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// A UMEM that this process owns.
///
/// It has no lock: it belongs to one thread at a time, together with its sockets.
pub struct Umem {
    id: UmemId,
    memory: Memory,
    /// What `owner` in the file says while it is ours.
    token: u64,
    /// Sockets bound to this UMEM, for `XDP_SHARED_UMEM`.
    pub(crate) bound: Vec<Weak<OwnedFd>>,
    /// The mode and wakeup rule of the first socket, which all others share.
    pub(crate) mode: Option<(BindMode, bool)>,
}

impl Umem {
    /// Makes a UMEM with all its frames free.
    pub fn create(config: &UmemConfig) -> Result<Self, Error> {
        let geometry = Geometry::new(config)?;
        let (fd, mapping, page_size) = allocate(&geometry, config.huge_pages)?;
        let memory = Memory {
            geometry,
            page_size,
            fd,
            mapping,
        };
        let id = UmemId::next();
        let token = owner_token(id);
        memory.write_header(token);
        Ok(Self::owning(id, memory, token))
    }

    /// Maps the UMEM of another process, given its memfd, without touching it.
    ///
    /// The pages are faulted in here, so that the hand-over itself is short.
    pub fn adopt(fd: OwnedFd) -> Result<Standby, Error> {
        Memory::adopt(fd).map(|memory| Standby { memory })
    }

    fn owning(id: UmemId, memory: Memory, token: u64) -> Self {
        Self {
            id,
            memory,
            token,
            bound: Vec::new(),
            mode: None,
        }
    }

    /// The pages that it lies in.
    pub fn page_size(&self) -> PageSize {
        self.memory.page_size
    }

    /// Bytes of a frame.
    pub fn frame_size(&self) -> usize {
        self.memory.geometry.frame_size as usize
    }

    /// How many frames there are.
    pub fn frame_count(&self) -> u32 {
        self.memory.geometry.frame_count
    }

    /// Bytes in front of a received packet: what was configured and the kernel's own.
    pub fn headroom(&self) -> usize {
        (self.memory.geometry.headroom + XDP_HEADROOM) as usize
    }

    /// How many frames are free: in no ring, not in the kernel, in nobody's hands.
    pub fn free_count(&self) -> u32 {
        self.memory.header().free_count.load(Ordering::Relaxed)
    }

    /// Takes a free frame; `None` when all are in use. Its packet is empty and starts after the headroom.
    #[inline]
    pub fn take_frame(&mut self) -> Option<Frame> {
        let index = self.pop()?;
        let offset = u16::try_from(self.headroom()).expect("headroom below a frame's size of 4096");
        Some(self.frame_at(index, offset, 0))
    }

    /// Makes a frame free.
    ///
    /// # Panics
    /// When the frame is another UMEM's.
    #[inline]
    pub fn free_frame(&mut self, frame: Frame) {
        self.check(&frame);
        self.push(frame.index);
    }

    /// The packet in a frame.
    #[inline]
    pub fn packet(&self, frame: &Frame) -> &[u8] {
        &self.chunk(frame)[frame.offset()..][..frame.len()]
    }

    /// The whole frame, headroom included; the packet lies at [`Frame::offset`].
    ///
    /// # Panics
    /// When the frame is another UMEM's.
    #[inline]
    pub fn chunk(&self, frame: &Frame) -> &[u8] {
        self.check(frame);
        let start = self.memory.frame_start(frame.index);
        // SAFETY: the frame is inside the mapping (`frame_start`). Its bytes are ours to read for as long as the
        // `Frame` is borrowed: a frame on a ring or in the kernel has none (`Frame` cannot be
        // copied, `frame_at` makes one only for an index that came off the free list or a ring), and
        // whoever wants to write needs it and the UMEM exclusively.
        unsafe { slice::from_raw_parts(start.as_ptr(), self.frame_size()) }
    }

    /// As [`Umem::chunk`], to write.
    #[inline]
    pub fn chunk_mut(&mut self, frame: &mut Frame) -> &mut [u8] {
        self.check(frame);
        let start = self.memory.frame_start(frame.index);
        // SAFETY: as in `chunk`; UMEM and frame are borrowed exclusively.
        unsafe { slice::from_raw_parts_mut(start.as_ptr(), self.frame_size()) }
    }

    /// Says where the frame's packet lies: after a rewrite moved its start, or when one was made.
    ///
    /// # Panics
    /// When the packet would not fit in the frame.
    #[inline]
    pub fn set_packet(&self, frame: &mut Frame, offset: usize, length: usize) {
        let end = offset.checked_add(length);
        assert!(
            end.is_some_and(|end| end <= self.frame_size()),
            "a packet of {length} bytes at {offset} does not fit in a frame of {}",
            self.frame_size()
        );
        // Both are at most 4096.
        frame.offset = offset as u16;
        frame.length = length as u16;
    }

    /// Asks the cache for the first bytes of the packet, for a frame that will be read soon.
    #[inline]
    pub fn prefetch(&self, frame: &Frame) {
        self.check(frame);
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            let start = self.memory.frame_start(frame.index).as_ptr();
            // SAFETY: inside the mapping; a prefetch reads nothing into the program.
            unsafe { _mm_prefetch(start.add(frame.offset()).cast_const().cast(), _MM_HINT_T0) };
        }
    }

    /// Gives the UMEM up, for a successor to claim. Neither it nor its sockets may be used again, which the
    /// caller sees to by stopping between batches; the frames stay in their rings.
    pub fn release(self) {}

    /// The id that its frames carry.
    #[inline]
    pub(crate) fn id(&self) -> UmemId {
        self.id
    }

    /// What the kernel registers: the frames' address, length, and geometry.
    pub(crate) fn registration(&self) -> (NonNull<u8>, Geometry) {
        (self.memory.frame_start(0), self.memory.geometry)
    }

    /// Takes a free frame's index off the list.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<u32> {
        let header = self.memory.header();
        let count = header.free_count.load(Ordering::Relaxed).checked_sub(1)?;
        // The count first: see the layout's docs.
        header.free_count.store(count, Ordering::Release);
        Some(self.memory.free_list()[count as usize].load(Ordering::Relaxed))
    }

    /// Puts an index on the free list.
    #[inline]
    pub(crate) fn push(&mut self, index: u32) {
        let header = self.memory.header();
        let count = header.free_count.load(Ordering::Relaxed);
        self.memory.free_list()[count as usize].store(index, Ordering::Relaxed);
        header.free_count.store(count + 1, Ordering::Release);
    }

    /// A frame whose index has just come off the free list or a ring.
    #[inline]
    pub(crate) fn frame_at(&self, index: u32, offset: u16, length: u16) -> Frame {
        Frame {
            umem: self.id,
            index,
            offset,
            length,
        }
    }

    /// What was recorded of a socket's rings, if anything.
    pub(crate) fn recorded_rings(&self, ifindex: u32, queue: u32) -> Option<RingRecord> {
        let record = self.memory.record(|record| record.is_of(ifindex, queue))?;
        let value = |field: &AtomicU32| field.load(Ordering::Relaxed);
        Some(RingRecord {
            sizes: RingSizes {
                rx: value(&record.rx),
                tx: value(&record.tx),
                fill: value(&record.fill),
                completion: value(&record.completion),
            },
            need_wakeup: value(&record.need_wakeup) != 0,
            tx_budget: Some(value(&record.tx_budget)).filter(|&budget| budget != 0),
        })
    }

    /// Records a socket's rings for a successor.
    pub(crate) fn record_rings(
        &mut self,
        ifindex: u32,
        queue: u32,
        rings: &RingRecord,
    ) -> Result<(), Error> {
        let memory = &self.memory;
        let record = memory
            .record(|record| record.is_of(ifindex, queue))
            .or_else(|| memory.record(SocketRecord::is_unused));
        let Some(record) = record else {
            return Err(Error::Geometry(format!(
                "one UMEM serves at most {MAX_SOCKETS} sockets"
            )));
        };
        for (field, value) in [
            (&record.queue, queue),
            (&record.rx, rings.sizes.rx),
            (&record.tx, rings.sizes.tx),
            (&record.fill, rings.sizes.fill),
            (&record.completion, rings.sizes.completion),
            (&record.need_wakeup, u32::from(rings.need_wakeup)),
            (&record.tx_budget, rings.tx_budget.unwrap_or(0)),
        ] {
            field.store(value, Ordering::Relaxed);
        }
        record.ifindex.store(ifindex, Ordering::Release);
        Ok(())
    }

    #[inline]
    fn check(&self, frame: &Frame) {
        assert!(frame.umem == self.id, "a frame of another UMEM");
    }
}

impl AsFd for Umem {
    /// The memfd, to pass to a successor.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memory.fd.as_fd()
    }
}

impl Drop for Umem {
    fn drop(&mut self) {
        // Nobody else writes the word while it holds our token.
        let header = self.memory.header();
        let ours =
            header
                .owner
                .compare_exchange(self.token, 0, Ordering::Release, Ordering::Relaxed);
        debug_assert!(ours.is_ok(), "the UMEM was taken from its owner");
    }
}

impl fmt::Debug for Umem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Umem")
            .field("geometry", &self.memory.geometry)
            .field("page_size", &self.memory.page_size)
            .field("free", &self.free_count())
            .field("sockets", &self.bound.len())
            .finish_non_exhaustive()
    }
}

/// A UMEM that is mapped and checked, and still another's.
pub struct Standby {
    memory: Memory,
}

impl Standby {
    /// The process id of the owner; `None` when the UMEM has been released.
    pub fn owner(&self) -> Option<u32> {
        match self.memory.header().owner.load(Ordering::Acquire) {
            0 => None,
            token => Some((token >> 32) as u32),
        }
    }

    /// Takes the UMEM over once its owner has released it; gives the standby back when it has not.
    pub fn claim(self) -> Result<Umem, Self> {
        let id = UmemId::next();
        let token = owner_token(id);
        let owner = &self.memory.header().owner;
        match owner.compare_exchange(0, token, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => {
                self.memory.drop_duplicates();
                Ok(Umem::owning(id, self.memory, token))
            }
            Err(_) => Err(self),
        }
    }
}

impl fmt::Debug for Standby {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Standby")
            .field("geometry", &self.memory.geometry)
            .field("owner", &self.owner())
            .finish_non_exhaustive()
    }
}

/// The mapped file, whoever owns it.
struct Memory {
    geometry: Geometry,
    page_size: PageSize,
    fd: OwnedFd,
    mapping: Mapping,
}

impl Memory {
    fn adopt(fd: OwnedFd) -> Result<Self, Error> {
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
    fn drop_duplicates(&self) {
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
    fn header(&self) -> &Header {
        // SAFETY: the mapping is at least a header long and page-aligned; what changes in it is atomic, the
        // rest was written before anybody else could map the file.
        unsafe { self.mapping.start().cast::<Header>().as_ref() }
    }

    #[inline]
    fn free_list(&self) -> &[AtomicU32] {
        // SAFETY: the geometry puts `frame_count` u32 there, inside the mapping.
        unsafe {
            let start = self.mapping.start().add(HEADER_SIZE).cast::<AtomicU32>();
            slice::from_raw_parts(start.as_ptr(), self.geometry.frame_count as usize)
        }
    }

    #[inline]
    fn frame_start(&self, index: u32) -> NonNull<u8> {
        assert!(index < self.geometry.frame_count, "no frame {index}");
        let offset = index as usize * self.geometry.frame_size as usize;
        // SAFETY: `frames_offset` and all frames are inside the mapping, by the geometry.
        unsafe {
            self.mapping
                .start()
                .add(self.geometry.frames_offset + offset)
        }
    }

    fn record(&self, wanted: impl Fn(&SocketRecord) -> bool) -> Option<&SocketRecord> {
        self.header().sockets.iter().find(|record| wanted(record))
    }
}

/// Who owns a UMEM: a process, and which of its UMEMs.
fn owner_token(id: UmemId) -> u64 {
    u64::from(process::id()) << 32 | u64::from(id.0)
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
