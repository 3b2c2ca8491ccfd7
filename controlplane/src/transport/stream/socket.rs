//! TCP sockets, made and tuned.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use mio::net::{TcpListener, TcpStream};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, connect, listen, setsockopt,
    socket, sockopt,
};

/// Connections that the kernel holds until they are accepted: those of a burst while the loop is busy.
const BACKLOG: i32 = 1024;
/// Seconds of silence before the kernel asks whether the peer is still there, between its questions, and how
/// many it asks: a peer that is gone is noticed in a minute and a half.
const KEEP_IDLE: u32 = 60;
const KEEP_INTERVAL: u32 = 10;
const KEEP_COUNT: u32 = 3;
/// Milliseconds that what was sent may stay unacknowledged. The kernel's own patience is a quarter of an
/// hour, in which calls would be sent to nobody.
const UNACKNOWLEDGED: u32 = 20_000;

/// A socket that listens at `address`. An IPv6 socket speaks IPv6 only.
pub(in crate::transport) fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = stream_socket(address)?;
    // Connections of an earlier process may still linger at the port.
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    listen(&socket, Backlog::new(BACKLOG)?)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// A socket on its way from one of our addresses to `remote`.
pub(in crate::transport) fn connecting(from: IpAddr, remote: SocketAddr) -> io::Result<TcpStream> {
    let socket = stream_socket(remote)?;
    // The port is chosen at connect: one may serve several destinations.
    setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
    let local = SockaddrStorage::from(SocketAddr::new(from, 0));
    bind(socket.as_raw_fd(), &local)?;
    match connect(socket.as_raw_fd(), &SockaddrStorage::from(remote)) {
        Ok(()) | Err(Errno::EINPROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    tune(&socket)?;
    Ok(TcpStream::from_std(socket.into()))
}

/// Nothing waits to be sent together with something else, and who is gone is noticed.
pub(in crate::transport) fn tune(socket: &impl AsFd) -> io::Result<()> {
    setsockopt(socket, sockopt::TcpNoDelay, &true)?;
    setsockopt(socket, sockopt::KeepAlive, &true)?;
    setsockopt(socket, sockopt::TcpKeepIdle, &KEEP_IDLE)?;
    setsockopt(socket, sockopt::TcpKeepInterval, &KEEP_INTERVAL)?;
    setsockopt(socket, sockopt::TcpKeepCount, &KEEP_COUNT)?;
    setsockopt(socket, sockopt::TcpUserTimeout, &UNACKNOWLEDGED)?;
    Ok(())
}

fn stream_socket(family_of: SocketAddr) -> io::Result<OwnedFd> {
    let family = match family_of {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(family, SockType::Stream, flags, None)?;
    if family_of.is_ipv6() {
        setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
    }
    Ok(socket)
}
