//! A small carrier in network namespaces: hosts, scripted phones, audio that accounts for every packet,
//! and tandem in the middle.

pub(crate) mod allowed;
pub(crate) mod authority;
pub(crate) mod baresip;
pub(crate) mod call;
pub(crate) mod compared;
pub(crate) mod exchanges;
pub(crate) mod frames;
pub(crate) mod kamailio;
pub(crate) mod line;
pub(crate) mod lossy;
pub(crate) mod name_server;
pub(crate) mod network;
pub(crate) mod ng;
pub(crate) mod ng_door;
pub(crate) mod pair;
pub(crate) mod phone;
pub(crate) mod relay;
pub(crate) mod rtp;
pub(crate) mod rtpengine;
pub(crate) mod sip;
pub(crate) mod sipp;
pub(crate) mod tap;
pub(crate) mod terminal;
pub(crate) mod tone;
pub(crate) mod turn;
pub(crate) mod views;
