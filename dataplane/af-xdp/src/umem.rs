//! The memory that packets live in, shared with the kernel and with a successor process.
//!
//! One UMEM serves the sockets of one worker on all its devices and queues: a packet received by one is
//! sent by another without being copied. It lies in a sealed memfd together with all that a successor
//! needs to go on: its geometry, who owns it, which frames are free (the crate's docs draw it).

use std::fmt;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Weak;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::Error;
use crate::frame::Frame;
use crate::layout::{Geometry, MAX_SOCKETS, SocketRecord, XDP_HEADROOM};
use crate::memory::Memory;
use crate::prefetch::prefetch_address;
use crate::socket::{BindMode, RingSizes};

/// Bytes of a cache line.
const CACHE_LINE: usize = 64;

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

/// A socket bound to a UMEM, for as long as it lives.
pub(crate) struct Bound {
    pub(crate) ifindex: u32,
    pub(crate) queue: u32,
    pub(crate) fd: Weak<OwnedFd>,
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
    pub(crate) bound: Vec<Bound>,
    /// The mode and wakeup rule of the first socket, which all others share.
    pub(crate) mode: Option<(BindMode, bool)>,
}

impl Umem {
    /// Makes a UMEM with all its frames free. The calling thread faults its pages in, so that they come from the
    /// NUMA node that it runs on as long as that has any.
    pub fn create(config: &UmemConfig) -> Result<Self, Error> {
        let geometry = Geometry::new(config)?;
        let id = UmemId::next();
        let token = owner_token(id);
        let memory = Memory::create(geometry, config.huge_pages, token)?;
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

    /// The addresses of its frames in this process.
    pub fn span(&self) -> Range<usize> {
        let start = self.memory.frame_start(0).addr().get();
        start..start + self.memory.geometry.frames_length()
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
        self.push(self.index_of(&frame));
    }

    /// The frame's number in this UMEM.
    ///
    /// # Panics
    /// When the frame is another UMEM's, like all that follows.
    #[inline]
    pub fn index_of(&self, frame: &Frame) -> u32 {
        self.check(frame);
        self.memory.index_of(frame.start)
    }

    /// The packet in a frame.
    #[inline]
    pub fn packet(&self, frame: &Frame) -> &[u8] {
        self.check(frame);
        let start = self.memory.frames().with_addr(frame.start);
        // SAFETY: as in `chunk`; the packet lies within the frame, since `frame_at` and `set_packet`, which alone
        // say where it lies, see to that.
        unsafe { slice::from_raw_parts(start.add(frame.offset()), frame.len()) }
    }

    /// As [`Umem::packet`], to write.
    #[inline]
    pub fn packet_mut(&mut self, frame: &mut Frame) -> &mut [u8] {
        self.check(frame);
        let start = self.memory.frames().with_addr(frame.start);
        // SAFETY: as in `packet`; UMEM and frame are borrowed exclusively.
        unsafe { slice::from_raw_parts_mut(start.add(frame.offset()), frame.len()) }
    }

    /// The whole frame, headroom included; the packet lies at [`Frame::offset`].
    #[inline]
    pub fn chunk(&self, frame: &Frame) -> &[u8] {
        self.check(frame);
        let start = self.memory.frames().with_addr(frame.start);
        // SAFETY: a frame of this UMEM (`check`) starts inside the mapping with a whole frame before its end:
        // `frame_at`, which alone makes one, has it from `frame_start`. Its bytes are ours to read for as long as the
        // `Frame` is borrowed: a frame on a ring or in the kernel has none (`Frame` cannot be
        // copied, `frame_at` makes one only for an index that came off the free list or a ring), and
        // whoever wants to write needs it and the UMEM exclusively.
        unsafe { slice::from_raw_parts(start, self.frame_size()) }
    }

    /// As [`Umem::chunk`], to write.
    #[inline]
    pub fn chunk_mut(&mut self, frame: &mut Frame) -> &mut [u8] {
        self.check(frame);
        let start = self.memory.frames().with_addr(frame.start);
        // SAFETY: as in `chunk`; UMEM and frame are borrowed exclusively.
        unsafe { slice::from_raw_parts_mut(start, self.frame_size()) }
    }

    /// Says where the frame's packet lies: after a rewrite moved its start, or when one was made.
    ///
    /// # Panics
    /// When the packet would not fit in the frame.
    #[inline]
    pub fn set_packet(&self, frame: &mut Frame, offset: usize, length: usize) {
        self.check(frame);
        self.check_extent(offset, length);
        // Both are at most 4096.
        frame.offset = offset as u16;
        frame.length = length as u16;
    }

    /// Asks the cache for the first bytes of the packet, for a frame that will be read soon.
    #[inline(always)]
    pub fn prefetch(&self, frame: &Frame) {
        // Nothing is checked: to ask for memory that is not there is of no consequence.
        prefetch_address(ptr::without_provenance(frame.start + frame.offset()));
    }

    /// Asks the cache for all of the packet, for a frame whose every byte will be read soon.
    #[inline(always)]
    pub fn prefetch_packet(&self, frame: &Frame) {
        let start = frame.start + frame.offset();
        let mut line = start & !(CACHE_LINE - 1);
        while line < start + frame.len() {
            // As in `prefetch`.
            prefetch_address(ptr::without_provenance(line));
            line += CACHE_LINE;
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

    /// A frame whose index has just come off the free list or a ring. What is checked here no access to the frame
    /// checks again.
    ///
    /// # Panics
    /// When there is no such frame, or the packet would not fit in it.
    #[inline]
    pub(crate) fn frame_at(&self, index: u32, offset: u16, length: u16) -> Frame {
        self.check_extent(usize::from(offset), usize::from(length));
        Frame {
            umem: self.id,
            start: self.memory.frame_start(index).addr().get(),
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
        if frame.umem != self.id {
            of_another_umem();
        }
    }

    #[inline]
    fn check_extent(&self, offset: usize, length: usize) {
        let size = self.frame_size();
        if offset.saturating_add(length) > size {
            does_not_fit(offset, length, size);
        }
    }
}

// Apart, so that what they say costs the callers nothing.
#[cold]
#[inline(never)]
fn of_another_umem() -> ! {
    panic!("a frame of another UMEM");
}

#[cold]
#[inline(never)]
fn does_not_fit(offset: usize, length: usize, size: usize) -> ! {
    panic!("a packet of {length} bytes at {offset} does not fit in a frame of {size}");
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

/// Who owns a UMEM: a process, and which of its UMEMs.
fn owner_token(id: UmemId) -> u64 {
    u64::from(process::id()) << 32 | u64::from(id.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::fs::File;

    const CONFIG: UmemConfig = UmemConfig {
        frame_count: 16,
        frame_size: 2048,
        headroom: 64,
        huge_pages: HugePages::Never,
    };

    fn umem() -> Umem {
        Umem::create(&CONFIG).expect("a small UMEM")
    }

    fn memfd(umem: &Umem) -> OwnedFd {
        umem.as_fd()
            .try_clone_to_owned()
            .expect("a second descriptor")
    }

    #[test]
    fn every_frame_is_handed_out_once_and_keeps_its_bytes_to_itself() {
        let mut umem = umem();
        let mut frames = Vec::new();
        while let Some(mut frame) = umem.take_frame() {
            assert_eq!((frame.offset(), frame.len()), (256 + 64, 0));
            let mark = umem.index_of(&frame) as u8 + 1;
            umem.chunk_mut(&mut frame).fill(mark);
            umem.set_packet(&mut frame, 100, 7);
            frames.push(frame);
        }
        let indices: HashSet<_> = frames.iter().map(|frame| umem.index_of(frame)).collect();
        assert_eq!((indices.len(), umem.free_count()), (16, 0));
        for frame in frames.drain(..) {
            assert_eq!(umem.packet(&frame), [umem.index_of(&frame) as u8 + 1; 7]);
            assert!(
                umem.chunk(&frame)
                    .iter()
                    .all(|&byte| byte == umem.index_of(&frame) as u8 + 1)
            );
            umem.free_frame(frame);
        }
        assert_eq!(umem.free_count(), 16);
    }

    #[test]
    #[should_panic(expected = "a frame of another UMEM")]
    fn a_frame_of_another_umem_is_refused() {
        let (mut one, two) = (umem(), umem());
        let frame = one.take_frame().expect("a free frame");
        two.chunk(&frame);
    }

    #[test]
    #[should_panic(expected = "does not fit")]
    fn a_packet_cannot_leave_its_frame() {
        let mut umem = umem();
        let mut frame = umem.take_frame().expect("a free frame");
        umem.set_packet(&mut frame, 2000, 49);
    }

    #[test]
    fn huge_pages_are_taken_or_missed_loudly() {
        let with = |huge_pages| {
            Umem::create(&UmemConfig {
                huge_pages,
                ..CONFIG
            })
        };
        match with(HugePages::Required) {
            Ok(umem) => assert_eq!(umem.page_size(), PageSize::Huge),
            Err(error) => assert!(matches!(error, Error::NoHugePages { pages: 1 }), "{error}"),
        }
        assert!(with(HugePages::IfAvailable).is_ok());
        assert_eq!(umem().page_size(), PageSize::Base);
    }

    #[test]
    fn the_file_cannot_be_truncated_under_the_kernel() {
        let umem = umem();
        let file = File::from(memfd(&umem));
        assert!(file.set_len(0).is_err() && file.set_len(1 << 30).is_err());
    }

    #[test]
    fn a_successor_claims_what_was_released_and_finds_frames_as_they_were() {
        let mut old = umem();
        let mut held = old.take_frame().expect("a free frame");
        old.chunk_mut(&mut held).fill(0xa5);
        let standby = Umem::adopt(memfd(&old)).expect("a UMEM");
        assert_eq!(standby.owner(), Some(process::id()));
        let standby = standby.claim().expect_err("still owned");
        old.free_frame(held);
        old.release();
        assert_eq!(standby.owner(), None);
        let mut new = standby.claim().expect("released");
        assert_eq!(
            (new.free_count(), new.frame_size(), new.headroom()),
            (16, 2048, 320)
        );
        let frame = new.take_frame().expect("a free frame");
        assert!(new.chunk(&frame).iter().all(|&byte| byte == 0xa5));
        assert!(Umem::adopt(memfd(&new)).expect("a UMEM").claim().is_err());
    }

    #[test]
    fn a_frame_that_was_left_twice_on_the_free_list_is_claimed_once() {
        let mut old = umem();
        let frame = old.take_frame().expect("a free frame");
        let index = old.index_of(&frame);
        old.push(index);
        old.pop();
        old.pop();
        old.push(index);
        old.push(index);
        let fd = memfd(&old);
        old.release();
        let mut new = Umem::adopt(fd).expect("a UMEM").claim().expect("released");
        let mut seen = HashSet::new();
        while let Some(index) = new.pop() {
            assert!(seen.insert(index), "frame {index} twice");
        }
        assert_eq!(seen.len(), 15);
    }

    #[test]
    fn what_is_no_umem_is_not_adopted() {
        let refused = |fd: OwnedFd, why: &str| {
            let error = Umem::adopt(fd).expect_err("no UMEM").to_string();
            assert!(error.contains(why), "{error}");
        };
        refused(
            File::open("/dev/null").expect("/dev/null").into(),
            "not sealed",
        );
        let sealed =
            |length| crate::mapping::create_memfd(length, PageSize::Base).expect("a memfd");
        refused(sealed(100), "too short");
        refused(sealed(8192), "magic");
        let old = umem();
        let list_end = u32::MAX.to_ne_bytes();
        let file = File::from(memfd(&old));
        std::os::unix::fs::FileExt::write_all_at(&file, &list_end, 128).expect("a write");
        refused(file.into(), "free list");
    }
}
