//! The story of each call: every message, decision, change and count in order, kept while the call lives and for
//! a while after.
//!
//! ```text
//!   datagrams in and out ─► glance ─┬─► claimed by Call-ID ─► the call's lines ─► finished calls, bounded
//!                                   └─► unclaimed, until a call begins that they belong to
//!   the b2bua's notes ──────────────────────► the call's lines
//! ```
//!
//! A message is summed up in some thirty bytes; whole messages are kept only where that is switched on.
//! Refuses to know what any of it leads to: nothing here changes what becomes of a call.

mod book;
mod glance;
mod line;
mod media;
mod spell;
#[cfg(test)]
mod tests;

pub(crate) use book::Stories;
pub use book::{Counts, Mirrored, Whose};
pub use glance::{Glance, Start, glance};
pub use line::{Line, Passed, Way, What};
pub use media::digest;
pub use spell::{MessageView, StoryLine, StoryView};
