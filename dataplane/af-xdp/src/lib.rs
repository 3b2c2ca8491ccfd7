//! AF_XDP sockets for programs that forward packets: one UMEM for many sockets, in a memfd that a successor
//! process can take over, with the XDP program that feeds them.
//!
//! ```text
//!             device a, queue 0          device b, queue 0        one thread owns it all, no locks
//!          ┌──────────────────────┐   ┌──────────────────────┐
//!          │ XDP program          │   │ XDP program          │    media port? ─► xsks[queue], else kernel
//!          └──────┬───────────────┘   └──────┬───────────────┘
//!                 ▼                          ▼
//!   ┌──────── Socket ────────┐   ┌──────── Socket ────────┐
//!   │ fill ─►     RX ─► ┐    │   │ fill ─►     RX ─►      │       receive: RX ─► Frame
//!   │ completion ◄─ TX ◄─────┼───┼─┐  completion ◄─ TX ◄─ │       transmit: Frame ─► TX, of any socket
//!   └───────┬────────────────┘   └─┼──────┬───────────────┘       reclaim: completion ─► free list
//!           ▼                      │      ▼                       refill: free list ─► fill
//!   ┌───────────────────── Umem (sealed memfd) ───────────┐
//!   │ geometry │ owner │ ring sizes │ free list │ frames  │
//!   └─────────────────────────────────────────────────────┘
//! ```
//!
//! * [`Umem`]: the frames. A [`Frame`] is the right to touch one; it moves, and cannot be copied.
//! * [`Socket`]: the rings of one device's queue. Batches, no allocation, no hidden system call.
//! * [`Program`] and [`Link`]: the XDP program, its media ranges, its socket map, its verdicts.
//! * [`RxFlowHash`]: which header fields decide on a packet's queue.
//! * [`Device`], [`Doorbell`], [`wait`], [`numa`]: what a worker needs beside them.
//!
//! Nothing falls back by itself: the mode that was asked for is in force, or there is an [`Error`] that says
//! what to do. The crate does not know what is in a packet, chooses no policy, and reads no clock.
//!
//! ```no_run
//! # fn main() -> Result<(), af_xdp::Error> {
//! use af_xdp::{AttachMode, Device, Program, Socket, SocketConfig, Umem, UmemConfig};
//!
//! let device = Device::by_name("eth1")?;
//! let mut program = Program::load()?;
//! program.set_media_range("192.0.2.1".parse().expect("an address"), 20_000, 29_999)?;
//! let _link = program.attach(&device, AttachMode::Native)?;
//! let mut umem = Umem::create(&UmemConfig::default())?;
//! let mut socket = Socket::open(&device, 0, &mut umem, &SocketConfig::default())?;
//! program.register(&socket)?;
//!
//! let mut batch = Vec::with_capacity(64);
//! loop {
//!     socket.receive(&umem, &mut batch);
//!     for frame in &mut batch {
//!         let start = frame.offset();
//!         let (destination, source) = umem.chunk_mut(frame)[start..start + 12].split_at_mut(6);
//!         destination.swap_with_slice(source); // back to where it came from
//!     }
//!     socket.transmit(&mut batch);
//!     for frame in batch.drain(..) {
//!         umem.free_frame(frame); // the TX ring is full
//!     }
//!     if socket.tx_pending() > 0 && socket.tx_needs_wakeup() {
//!         socket.kick()?;
//!     }
//!     socket.reclaim(&mut umem);
//!     socket.refill(&mut umem);
//! }
//! # }
//! ```
//!
//! # Unsafe code
//!
//! All of it is about four things, each upheld in one place: the memory of a ring or UMEM outlives the
//! pointers into it (the `Socket` and the `Umem` keep the mappings); an index stays in its ring or UMEM
//! (masked at each use, or checked when a [`Frame`] is made of it, of which is then asked no more than whether it is
//! of this UMEM); a frame's bytes are touched by one side at a time (a [`Frame`] exists
//! only while no ring has it); system calls get pointers to live values of the size they are told. What the
//! types cannot see is another process that maps the same memfd: the owner word, claimed by compare-and-swap
//! in [`Standby::claim`], is the agreement between processes.

#![deny(unsafe_op_in_unsafe_fn)]
#![deny(clippy::undocumented_unsafe_blocks)]

mod device;
mod doorbell;
mod error;
mod frame;
mod huge;
mod layout;
mod mapping;
mod memory;
pub mod numa;
mod options;
mod poll;
mod prefetch;
mod program;
mod ring;
mod rss;
mod setup;
mod socket;
mod umem;
mod verdict;

pub use device::Device;
pub use doorbell::Doorbell;
pub use error::Error;
pub use frame::Frame;
pub use huge::wish_huge_pages;
pub use poll::{MAX_WATCHED, wait};
pub use prefetch::prefetch;
pub use program::{AttachMode, Link, PinnedTo, Program, TestVerdict};
pub use rss::{HashFields, HashFunction, Rss, RxFlowHash, UdpOver};
pub use socket::{
    BindMode, BusyPoll, Kick, RingLevels, RingSizes, Socket, SocketConfig, Statistics,
};
pub use umem::{HugePages, PageSize, Standby, Umem, UmemConfig};
pub use verdict::{Verdict, VerdictCounts};
