//! The cache as the packet path sees it: lines that can be asked for before they are needed.

pub use af_xdp::prefetch;
