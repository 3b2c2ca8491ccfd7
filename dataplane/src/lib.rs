//! tandem's dataplane: per-core workers that forward RTP through AF_XDP.

#![forbid(unsafe_code)]

pub mod settings;
