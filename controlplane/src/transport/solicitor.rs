//! Makes the kernel resolve a next hop, by sending something that needs it.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::AsFd;

use nix::sys::socket::{setsockopt, sockopt};

/// The discard service (RFC 863): who has one ignores what arrives there.
const DISCARD: u16 = 9;
/// The packet must not travel past the next hop: it is meant for the kernel's own neighbour table. 0
/// is not to be had from a UDP socket of IPv4.
const HOPS: i32 = 1;

/// Sends an empty UDP datagram of hop limit 1 from `source` to `destination`, so that the kernel
/// resolves the next hop by the same route as the media. `link`, an ifindex, is the scope of
/// link-local addresses.
pub fn solicit(source: IpAddr, destination: IpAddr, link: u32) -> io::Result<()> {
    let socket = std::net::UdpSocket::bind(scoped(source, 0, link))?;
    socket.set_nonblocking(true)?;
    match source {
        IpAddr::V4(_) => setsockopt(&socket.as_fd(), sockopt::Ipv4Ttl, &HOPS)?,
        IpAddr::V6(_) => setsockopt(&socket.as_fd(), sockopt::Ipv6Ttl, &HOPS)?,
    }
    socket.send_to(&[], scoped(destination, DISCARD, link))?;
    Ok(())
}

fn scoped(address: IpAddr, port: u16, link: u32) -> SocketAddr {
    match address {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => SocketAddrV6::new(v6, port, 0, link).into(),
        _ => SocketAddr::new(address, port),
    }
}
