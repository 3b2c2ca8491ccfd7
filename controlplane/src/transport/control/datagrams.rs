//! A control listener over UDP. It may be bound to all of the host's addresses: a reply leaves from the one that was
//! asked, which the kernel says of each datagram (IP_PKTINFO, IPV6_RECVPKTINFO).

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;

use mio::event::Source;
use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use nix::cmsg_space;
use nix::errno::Errno;
use nix::libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType,
    SockaddrStorage, bind, recvmsg, sendmsg, setsockopt, socket, sockopt,
};

use super::{ControlArrival, ControlCounts};
use crate::ng::{ControlId, ControlPath, Way};
use crate::settings::ControlListener;
use crate::transport::error_queue;

/// Replies that wait for room in the socket's send buffer: a burst's worth. Longer queues only delay what clients
/// ask for again anyway.
const WAITING: usize = 1024;
/// Room for what arrives while the loop is busy: some thousand requests. Capped by `rmem_max` without
/// CAP_NET_ADMIN.
const RECEIVE_BUFFER: usize = 4 << 20;
/// Datagrams that are dropped in one go before the others get their turn.
const DROPPED_AT_A_TIME: usize = 64;

/// A UDP socket of the second door.
#[derive(Debug)]
pub struct ControlDatagrams {
    id: ControlId,
    settings: ControlListener,
    socket: UdpSocket,
    waiting: VecDeque<(SocketAddr, IpAddr, Vec<u8>)>,
    counts: ControlCounts,
}

/// One datagram: from whom, to which of our addresses, how long, and whether it was cut off.
type Datagram = (SocketAddr, IpAddr, usize, bool);

impl ControlDatagrams {
    /// Opens a socket where the settings say. An IPv6 socket speaks IPv6 only.
    pub fn open(id: ControlId, settings: &ControlListener) -> io::Result<Self> {
        let address = settings.address;
        let family = match address {
            SocketAddr::V4(_) => AddressFamily::Inet,
            SocketAddr::V6(_) => AddressFamily::Inet6,
        };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(family, SockType::Datagram, flags, None)?;
        if address.is_ipv6() {
            setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
            setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        } else {
            setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        }
        if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
            setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER)?;
        }
        bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
        Ok(Self {
            id,
            settings: settings.clone(),
            socket: UdpSocket::from_std(socket.into()),
            waiting: VecDeque::new(),
            counts: ControlCounts::default(),
        })
    }

    /// Waits for datagrams, and for room to send, under `token`.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.socket.register(registry, token, interest)
    }

    /// Takes one datagram. What is dropped costs no answer.
    pub fn receive(&mut self, buffer: &mut [u8]) -> ControlArrival {
        for _ in 0..DROPPED_AT_A_TIME {
            let (remote, local, length, cut) = match self.take(buffer) {
                Ok(datagram) => datagram,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return ControlArrival::Nothing;
                }
                Err(_) => {
                    self.counts.receive_errors += 1;
                    continue;
                }
            };
            if !self.settings.admits(remote.ip()) {
                self.counts.refused += 1;
            } else if cut || length > self.settings.largest_request {
                self.counts.too_large += 1;
            } else if length == 0 {
                self.counts.malformed += 1;
            } else {
                self.counts.requests += 1;
                let bytes = buffer.get(..length).unwrap_or_default().to_vec();
                let path = ControlPath {
                    listener: self.id,
                    remote,
                    way: Way::Datagram { local },
                };
                return ControlArrival::Request(path, bytes);
            }
        }
        ControlArrival::Working
    }

    /// Sends a reply from one of our addresses, or lets it wait behind those that already do.
    pub fn reply(&mut self, remote: SocketAddr, local: IpAddr, bytes: Vec<u8>) {
        if self.waiting.is_empty() {
            match self.transmit(remote, local, &bytes) {
                Ok(()) => {
                    self.counts.replies += 1;
                    return;
                }
                Err(Errno::EAGAIN) => {}
                Err(error) => return self.count_failure(error),
            }
        }
        if self.waiting.len() >= WAITING {
            self.counts.overflowed += 1;
            return;
        }
        self.counts.replies += 1;
        self.waiting.push_back((remote, local, bytes));
    }

    /// Sends what waits, as far as there is room now.
    pub fn flush(&mut self) {
        while let Some((remote, local, bytes)) = self.waiting.pop_front() {
            match self.transmit(remote, local, &bytes) {
                Ok(()) => {}
                Err(Errno::EAGAIN) => {
                    self.waiting.push_front((remote, local, bytes));
                    return;
                }
                Err(error) => {
                    self.counts.replies = self.counts.replies.saturating_sub(1);
                    self.count_failure(error);
                }
            }
        }
    }

    /// What has been done.
    pub fn counts(&self) -> ControlCounts {
        self.counts
    }

    /// Where it is bound.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn take(&self, buffer: &mut [u8]) -> io::Result<Datagram> {
        let bound = self.settings.address.ip();
        self.socket.try_io(|| {
            let mut control = cmsg_space!(in_pktinfo, in6_pktinfo);
            let mut parts = [IoSliceMut::new(buffer)];
            let message = recvmsg::<SockaddrStorage>(
                self.socket.as_raw_fd(),
                &mut parts,
                Some(&mut control),
                MsgFlags::MSG_DONTWAIT,
            )?;
            let local = message.cmsgs()?.find_map(|each| match each {
                ControlMessageOwned::Ipv4PacketInfo(info) => {
                    Some(Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr)).into())
                }
                ControlMessageOwned::Ipv6PacketInfo(info) => {
                    Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into())
                }
                _ => None,
            });
            let remote = message.address.as_ref().and_then(error_queue::socket_addr);
            let remote = remote.ok_or(io::ErrorKind::InvalidData)?;
            let cut = message.flags.contains(MsgFlags::MSG_TRUNC);
            Ok((remote, local.unwrap_or(bound), message.bytes, cut))
        })
    }

    fn transmit(&self, remote: SocketAddr, local: IpAddr, bytes: &[u8]) -> Result<(), Errno> {
        let parts = [IoSlice::new(bytes)];
        let fd = self.socket.as_raw_fd();
        let to = SockaddrStorage::from(remote);
        let send = |control: ControlMessage<'_>| {
            sendmsg(fd, &parts, &[control], MsgFlags::MSG_DONTWAIT, Some(&to))
        };
        match local {
            IpAddr::V4(local) => send(ControlMessage::Ipv4PacketInfo(&in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: in_addr {
                    s_addr: u32::from(local).to_be(),
                },
                ipi_addr: in_addr { s_addr: 0 },
            })),
            IpAddr::V6(local) => send(ControlMessage::Ipv6PacketInfo(&in6_pktinfo {
                ipi6_addr: in6_addr {
                    s6_addr: local.octets(),
                },
                ipi6_ifindex: 0,
            })),
        }
        .map(|_| ())
    }

    fn count_failure(&mut self, error: Errno) {
        *match error {
            // A full queue of the device.
            Errno::ENOBUFS | Errno::ENOMEM => &mut self.counts.overflowed,
            Errno::EMSGSIZE => &mut self.counts.oversize,
            _ => &mut self.counts.send_errors,
        } += 1;
    }
}
