//! What anybody may send, made up: one function for each parser of bytes from the network, and one for the whole
//! control plane. Each takes any bytes and asserts what must hold of them.
//!
//! Two things drive them: `tests/mutations.rs`, the same million mutations of the corpus at each run, and the targets
//! in `targets/`, for libFuzzer (`scripts/fuzz`).

#![forbid(unsafe_code)]

pub mod corpus;
pub mod exchange;
pub mod mutation;
pub mod parsers;
