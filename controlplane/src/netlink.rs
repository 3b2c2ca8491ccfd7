//! The kernel's side of next-hop resolution: rtnetlink sockets that tell of links, addresses,
//! neighbours and routes, and that answer for its routing decisions.
//!
//! ```text
//!   monitor   groups: link, neighbour, address, route, rule ──► Notice::Change
//!   requests  dumps of links, addresses, neighbours         ──► Notice::Change … Complete
//!             RTM_GETROUTE (destination, source)            ──► Notice::Route
//! ```
//!
//! The monitor is bound before the first dump, so that nothing falls between them; when it has lost
//! messages (ENOBUFS), everything is dumped again. Its own decoder, not a crate's: one attribute of
//! one driver that a decoder does not know must not cost the whole message. It knows nothing of what
//! the answers are for.

mod decode;
mod wire;

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recvfrom, send,
    setsockopt, socket, sockopt,
};

use crate::installer::NextHopQuery;
use crate::neighbours::Unreachable;
use crate::neighbours::kernel::{Change, RouteAnswer};
use wire::{Message, Request};

/// RTMGRP_LINK, RTMGRP_NEIGH, RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV4_RULE,
/// RTMGRP_IPV6_IFADDR, RTMGRP_IPV6_ROUTE, and the bit of RTNLGRP_IPV6_RULE (19).
const GROUPS: u32 = 0x1 | 0x4 | 0x10 | 0x40 | 0x80 | 0x100 | 0x400 | 1 << 18;
/// Room for a burst of changes: a routing daemon that loads a table, or the loop held up for a while.
/// Without CAP_NET_ADMIN the kernel caps it at `rmem_max`, and a loss costs a new dump.
const RECEIVE_BUFFER: usize = 4 << 20;
/// The kernel fills a dump's datagrams up to 32 KiB when the reader's buffer has room.
const DATAGRAM: usize = 64 << 10;
/// Datagrams read from one socket before the loop looks at its other sockets.
const DATAGRAMS_AT_A_TIME: usize = 32;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_DUMP_INTR: u16 = 0x10;

/// What is dumped, with the length of its family's header (`ifinfomsg`, `ifaddrmsg`, `ndmsg`).
const DUMPS: [(u16, usize); 3] = [
    (decode::RTM_GETLINK, 16),
    (decode::RTM_GETADDR, 8),
    (decode::RTM_GETNEIGH, 12),
];

/// What the kernel says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Something is, or is now, like this.
    Change(Change),
    /// The answer to [`Netlink::ask_route`].
    Route(NextHopQuery, RouteAnswer),
    /// Messages were lost: everything is told from the beginning.
    BeginAgain,
    /// Everything has been told.
    Complete,
    /// Answers to [`Netlink::ask_route`] were lost.
    RoutesLost,
}

/// The two sockets.
#[derive(Debug)]
pub struct Netlink {
    monitor: OwnedFd,
    requests: OwnedFd,
    sequence: u32,
    asked: HashMap<u32, NextHopQuery>,
    dump: Option<Dump>,
    buffer: Vec<u8>,
    overruns: u64,
}

/// A dump under way.
#[derive(Clone, Copy, Debug)]
struct Dump {
    /// Which of [`DUMPS`].
    step: usize,
    sequence: u32,
    /// The step after this one: not the next when something changed in the middle.
    then: usize,
}

impl Netlink {
    /// Opens both sockets in the thread's network namespace and starts the first dump.
    pub fn open() -> io::Result<Self> {
        let mut netlink = Self {
            monitor: open_socket(GROUPS)?,
            requests: open_socket(0)?,
            sequence: 0,
            asked: HashMap::new(),
            dump: None,
            buffer: vec![0; DATAGRAM],
            overruns: 0,
        };
        netlink.start_dump(0)?;
        Ok(netlink)
    }

    /// Readable when something has changed.
    pub fn monitor(&self) -> BorrowedFd<'_> {
        self.monitor.as_fd()
    }

    /// Readable when an answer is there.
    pub fn requests(&self) -> BorrowedFd<'_> {
        self.requests.as_fd()
    }

    /// How often messages were lost and everything was read again.
    pub fn overruns(&self) -> u64 {
        self.overruns
    }

    /// Asks for the kernel's routing decision. The answer, or [`Notice::RoutesLost`], follows, unless
    /// the kernel does not take the question.
    pub fn ask_route(&mut self, query: NextHopQuery) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        transmit(&self.requests, &route_request(self.sequence, &query))?;
        self.asked.insert(self.sequence, query);
        Ok(())
    }

    /// Reads a bounded number of datagrams from both sockets and appends what they say. Says whether
    /// there may be more.
    pub fn read(&mut self, notices: &mut Vec<Notice>) -> io::Result<bool> {
        let more_changes = self.read_monitor(notices)?;
        let more_answers = self.read_requests(notices)?;
        Ok(more_changes || more_answers)
    }

    fn read_monitor(&mut self, notices: &mut Vec<Notice>) -> io::Result<bool> {
        for _ in 0..DATAGRAMS_AT_A_TIME {
            match receive(&self.monitor, &mut self.buffer) {
                Ok(datagram) => {
                    let changes = wire::messages(datagram).filter_map(|each| decode::change(&each));
                    notices.extend(changes.map(Notice::Change));
                }
                Err(Errno::EAGAIN) => return Ok(false),
                Err(Errno::EINTR) => {}
                Err(Errno::ENOBUFS) => self.begin_again(notices)?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    fn read_requests(&mut self, notices: &mut Vec<Notice>) -> io::Result<bool> {
        for _ in 0..DATAGRAMS_AT_A_TIME {
            let mut buffer = std::mem::take(&mut self.buffer);
            let outcome = match receive(&self.requests, &mut buffer) {
                Ok(datagram) => wire::messages(datagram)
                    .try_for_each(|message| self.answer(&message, notices))
                    .map(|()| true),
                Err(Errno::EAGAIN) => Ok(false),
                Err(Errno::EINTR) => Ok(true),
                Err(Errno::ENOBUFS) => {
                    self.asked.clear();
                    notices.push(Notice::RoutesLost);
                    self.begin_again(notices).map(|()| true)
                }
                Err(error) => Err(error.into()),
            };
            self.buffer = buffer;
            if !outcome? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// One message of the request socket: of a dump, or the answer to a route request.
    fn answer(&mut self, message: &Message<'_>, notices: &mut Vec<Notice>) -> io::Result<()> {
        if let Some(query) = self.asked.get(&message.sequence).copied() {
            let route = match message.kind {
                decode::RTM_NEWROUTE => decode::route(message.body),
                NLMSG_ERROR => Err(Unreachable::NoRoute),
                _ => return Ok(()),
            };
            self.asked.remove(&message.sequence);
            notices.push(Notice::Route(query, route));
            return Ok(());
        }
        let Some(dump) = &mut self.dump else {
            return Ok(());
        };
        if dump.sequence != message.sequence {
            return Ok(());
        }
        if message.flags & NLM_F_DUMP_INTR != 0 {
            dump.then = dump.then.min(dump.step);
        }
        match message.kind {
            NLMSG_DONE | NLMSG_ERROR => {
                let next = dump.then;
                self.dump = None;
                if next >= DUMPS.len() {
                    notices.push(Notice::Complete);
                }
                self.start_dump(next)
            }
            _ => {
                notices.extend(decode::change(message).map(Notice::Change));
                Ok(())
            }
        }
    }

    /// Tells everything from the beginning: at once, or after the dump under way, since a socket holds
    /// one at a time.
    fn begin_again(&mut self, notices: &mut Vec<Notice>) -> io::Result<()> {
        self.overruns += 1;
        notices.push(Notice::BeginAgain);
        match &mut self.dump {
            Some(dump) => {
                dump.then = 0;
                Ok(())
            }
            None => self.start_dump(0),
        }
    }

    fn start_dump(&mut self, step: usize) -> io::Result<()> {
        let Some((kind, header)) = DUMPS.get(step) else {
            return Ok(());
        };
        self.sequence = self.sequence.wrapping_add(1);
        // All zero: AF_UNSPEC, and no filter.
        let header = vec![0; *header];
        let flags = NLM_F_REQUEST | NLM_F_DUMP;
        let request = Request::new(*kind, flags, self.sequence, &header);
        transmit(&self.requests, &request.finish())?;
        self.dump = Some(Dump {
            step,
            sequence: self.sequence,
            then: step + 1,
        });
        Ok(())
    }
}

/// `rtmsg`: family dst_len src_len tos table protocol scope type (u8 each) flags:u32.
fn route_request(sequence: u32, query: &NextHopQuery) -> Vec<u8> {
    const RTA_DST: u16 = 1;
    const RTA_SRC: u16 = 2;

    let (family, bits) = match query.destination {
        IpAddr::V4(_) => (decode::AF_INET, 32),
        IpAddr::V6(_) => (decode::AF_INET6, 128),
    };
    let header = [family, bits, bits, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    Request::new(decode::RTM_GETROUTE, NLM_F_REQUEST, sequence, &header)
        .attribute(RTA_DST, &octets(query.destination))
        .attribute(RTA_SRC, &octets(query.source))
        .finish()
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn open_socket(groups: u32) -> io::Result<OwnedFd> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        SockProtocol::NetlinkRoute,
    )?;
    if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
        setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER)?;
    }
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
    Ok(socket)
}

fn transmit(socket: &OwnedFd, request: &[u8]) -> io::Result<()> {
    send(socket.as_raw_fd(), request, MsgFlags::empty())?;
    Ok(())
}

/// One datagram, which must be the kernel's: empty when it is not.
fn receive<'a>(socket: &OwnedFd, buffer: &'a mut [u8]) -> Result<&'a [u8], Errno> {
    let (length, sender) = recvfrom::<NetlinkAddr>(socket.as_raw_fd(), buffer)?;
    let from_kernel = sender.is_some_and(|sender| sender.pid() == 0);
    let length = if from_kernel { length } else { 0 };
    Ok(buffer.get(..length).unwrap_or_default())
}
