//! The error queue of a UDP socket (ip(7), IP_RECVERR): which datagrams ICMP said did not arrive.

use std::io::IoSliceMut;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::libc::{self, sock_extended_err};
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt,
};
use nix::sys::time::TimeSpec;

/// Errors taken from a queue before the loop looks at its other sockets. The queue's length is bounded
/// by the socket's receive buffer.
const AT_A_TIME: usize = 64;

/// Makes the kernel keep errors for a socket of this family.
pub(super) fn enable(socket: &impl AsFd, family_of: SocketAddr) -> nix::Result<()> {
    match family_of {
        SocketAddr::V4(_) => setsockopt(socket, sockopt::Ipv4RecvErr, &true),
        SocketAddr::V6(_) => setsockopt(socket, sockopt::Ipv6RecvErr, &true),
    }
}

/// Appends the addresses that could not be reached. Reading the queue also clears the error that the
/// socket would otherwise report at its next call.
pub(super) fn drain(socket: &impl AsRawFd, unreachable: &mut Vec<SocketAddr>) {
    for _ in 0..AT_A_TIME {
        // The datagram that failed comes along, and its time; neither is needed.
        let mut payload = [0; 1];
        let mut parts = [IoSliceMut::new(&mut payload)];
        let mut control = cmsg_space!(TimeSpec, sock_extended_err, libc::sockaddr_in6);
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let message = match recvmsg::<SockaddrStorage>(
            socket.as_raw_fd(),
            &mut parts,
            Some(&mut control),
            flags,
        ) {
            Ok(message) => message,
            Err(Errno::EINTR) => continue,
            Err(_) => return,
        };
        let failed = message.cmsgs().is_ok_and(|mut all| {
            all.any(|each| match each {
                ControlMessageOwned::Ipv4RecvErr(error, _)
                | ControlMessageOwned::Ipv6RecvErr(error, _) => is_final(&error),
                _ => false,
            })
        });
        if failed && let Some(remote) = message.address.as_ref().and_then(socket_addr) {
            unreachable.push(remote);
        }
    }
}

/// Whether the error says that the datagram will not arrive: destination unreachable and parameter
/// problem, but not "fragmentation needed", "packet too big" and "time exceeded" (RFC 3261 §18.4).
fn is_final(error: &sock_extended_err) -> bool {
    const SO_EE_ORIGIN_ICMP: u8 = 2;
    const SO_EE_ORIGIN_ICMP6: u8 = 3;
    const FRAGMENTATION_NEEDED: u8 = 4;

    match (error.ee_origin, error.ee_type) {
        (SO_EE_ORIGIN_ICMP, 3) => error.ee_code != FRAGMENTATION_NEEDED,
        (SO_EE_ORIGIN_ICMP, 12) | (SO_EE_ORIGIN_ICMP6, 1 | 4) => true,
        _ => false,
    }
}

pub(super) fn socket_addr(storage: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = storage.as_sockaddr_in() {
        return Some(SocketAddrV4::from(*v4).into());
    }
    storage
        .as_sockaddr_in6()
        .map(|v6| SocketAddrV6::from(*v6).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_that_end_the_hope_are_final() {
        let error = |ee_origin, ee_type, ee_code| sock_extended_err {
            ee_errno: 0,
            ee_origin,
            ee_type,
            ee_code,
            ee_pad: 0,
            ee_info: 0,
            ee_data: 0,
        };
        assert!(is_final(&error(2, 3, 3)), "port unreachable");
        assert!(is_final(&error(2, 3, 1)), "host unreachable");
        assert!(!is_final(&error(2, 3, 4)), "fragmentation needed");
        assert!(!is_final(&error(2, 11, 0)), "time exceeded");
        assert!(is_final(&error(3, 1, 4)), "port unreachable, IPv6");
        assert!(!is_final(&error(3, 2, 0)), "packet too big");
        assert!(!is_final(&error(1, 3, 3)), "of local origin");
    }
}
