//! Sessions through the engine's door, on virtual time, with workers that keep the contract.

mod calls;
mod ended;
mod failures;
mod fax;
mod holding;
mod properties;
mod provisioned;
mod rig;
mod soup;
