//! The headers of a media packet as bytes: where each field is, and nothing of what it means to us.
//!
//! Each view checks its length once, when it is made, and its accessors cannot fail after that. All
//! multi-byte fields are read in network byte order and given in host byte order. This module knows
//! neither flows nor sockets.

pub mod checksum;
pub mod ethernet;
pub mod ipv4;
pub mod ipv6;
pub mod rtcp;
pub mod rtp;
pub mod stun;
pub mod udp;
pub mod udptl;
