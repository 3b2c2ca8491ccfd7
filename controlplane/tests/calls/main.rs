//! Calls through the agent's door on virtual time: SIP text in, SIP text and commands out, no kernel.

mod accounts;
mod cancelling;
mod early;
mod ending;
mod failover;
mod fax;
mod name_server;
mod names;
mod network;
mod phone;
mod plain;
mod reconfiguring;
mod refusals;
mod reliable;
mod reliable_offers;
mod renegotiating;
mod ringing;
mod rows;
mod service;
mod session_timers;
mod sessions;
mod stories;
mod streams;
mod torture;
mod trunks;
mod world;
