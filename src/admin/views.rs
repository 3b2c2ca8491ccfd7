//! The answers of the admin socket, for which the field names are an interface: `--json` prints them,
//! scripts parse them, `docs/operations.md` lists them. Counters count since the start of the process.

mod calls;
mod names;
mod ng;
mod registrations;
mod reload;
mod routes;
mod services;
mod sessions;
mod status;
mod stories;
mod trunks;
mod workers;

use std::collections::BTreeMap;

pub(crate) use calls::*;
pub(crate) use names::*;
pub(crate) use ng::*;
pub(crate) use registrations::*;
pub(crate) use reload::*;
pub(crate) use routes::*;
pub(crate) use services::*;
pub(crate) use sessions::*;
pub(crate) use status::*;
pub(crate) use stories::*;
pub(crate) use trunks::*;
pub(crate) use workers::*;

/// Counts by name.
pub(crate) type Counts = BTreeMap<String, u64>;
