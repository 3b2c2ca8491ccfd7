//! tandem's control plane: speaks SIP, decides who talks to whom, rewrites SDP, and tells the
//! dataplane what to forward.

#![forbid(unsafe_code)]

pub mod agent;
pub mod b2bua;
pub mod deadlines;
pub mod dialog;
pub mod digest;
pub mod identity;
pub mod installer;
pub mod neighbours;
pub mod netlink;
pub mod ng;
pub mod normalise;
mod overload;
pub mod path;
pub mod provisioning;
pub mod records;
pub mod registration;
pub mod relay_ports;
pub mod resolver;
pub mod routing;
pub mod sdp;
pub mod server;
pub mod session;
pub mod settings;
pub mod sip;
pub mod story;
pub mod transaction;
pub mod transport;
pub mod trunks;
pub mod wall_clock;
