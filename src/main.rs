//! tandem: a kernel-bypass media relay appliance for telephone carriers.
//!
//! The binary is the only place that sees both planes: it reads the configuration, starts them, joins
//! them, and answers the CLI's questions about them over the admin socket.
//!
//! ```text
//!   main ─► cli ─┬─► startup ─► config, privileges ─► planes (dataplane + control plane) ─► admin ─► answers
//!                └─► client ══ admin socket ══► the running process
//! ```

#![forbid(unsafe_code)]

mod admin;
mod answers;
mod call_views;
mod cdr;
mod cli;
mod config;
mod dns_views;
mod hep;
mod host;
mod log_limit;
mod media;
mod ng_views;
mod numa;
mod planes;
mod privileges;
mod reception;
mod registration_views;
mod reload;
mod route_views;
mod service_views;
mod session_views;
mod startup;
mod status;
mod steering;
mod story_views;
mod trunk_views;
mod witness;

use std::process::ExitCode;

/// Of the control plane: the workers allocate nothing once they run.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use clap::Parser;

fn main() -> ExitCode {
    cli::Cli::parse().execute()
}
