//! Journeys: real SIP and real audio through the binary, on the real kernel, in network namespaces.
//!
//! One test binary, so that the lab is built once. Needs root, and what `scripts/test` installs (iproute2, nftables,
//! sip-tester, dnsmasq-base, tshark, kamailio, baresip-core,
//! rtpengine-daemon), and fails loudly without. `docs/testing.md` says
//! which journey proves what.

mod audio;
mod authentication;
mod churn;
mod dialogs;
mod ends;
mod fax;
mod forks;
mod garbage;
mod lab;
mod limits;
mod nat;
mod negotiation;
mod neighbours;
mod ng;
mod ng_calls;
mod ng_cli;
mod ng_hostile;
mod ng_hostile_streams;
mod ng_loss;
mod ng_media;
mod ng_migrating;
mod ng_services;
mod normalisation;
mod overload;
mod proxies;
mod reception;
mod refusals;
mod registrations;
mod reload;
mod resolution;
mod routes;
mod seen;
mod sessions;
mod silence;
mod sipp;
mod starts;
mod storm;
mod top;
mod transfers;
mod translated;
mod transports;
mod trunks;
mod unanswered;
mod users;
mod variants;
mod wires;
