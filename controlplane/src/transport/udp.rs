//! One SIP listener over UDP.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::Duration;

use mio::event::Source;
use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, SockaddrStorage, bind,
    recvmsg, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeSpec;

use super::{ListenerCounts, Sent, error_queue};

/// Datagrams that wait for room in the socket's send buffer. Room comes back within a millisecond on
/// a working link; a thousand are what a burst of calls makes meanwhile. Longer queues only delay what
/// SIP retransmits anyway.
const WAITING: usize = 1024;
/// Room for what arrives while the loop is busy: about a thousand SIP messages. Capped by `rmem_max`
/// without CAP_NET_ADMIN.
const RECEIVE_BUFFER: usize = 4 << 20;

/// The outcome of [`UdpListener::receive`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// A datagram from this address fills the first bytes of the buffer.
    Datagram(SocketAddr, usize),
    /// None waits.
    Nothing,
}

/// A UDP socket that speaks for one listener.
#[derive(Debug)]
pub struct UdpListener {
    socket: UdpSocket,
    waiting: VecDeque<(SocketAddr, Vec<u8>)>,
    /// Addresses that ICMP errors, found on the way, said could not be reached.
    unreachable: Vec<SocketAddr>,
    counts: ListenerCounts,
}

impl UdpListener {
    /// Opens a socket at `address`. An IPv6 socket speaks IPv6 only.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        let family = match address {
            SocketAddr::V4(_) => AddressFamily::Inet,
            SocketAddr::V6(_) => AddressFamily::Inet6,
        };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(family, SockType::Datagram, flags, None)?;
        if address.is_ipv6() {
            setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
        }
        if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
            setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER)?;
        }
        error_queue::enable(&socket, address)?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
        Ok(Self {
            socket: UdpSocket::from_std(socket.into()),
            waiting: VecDeque::new(),
            unreachable: Vec::new(),
            counts: ListenerCounts::default(),
        })
    }

    /// Waits for datagrams, and for room to send, under `token`.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.socket.register(registry, token, interest)
    }

    /// Takes one datagram.
    pub fn receive(&mut self, buffer: &mut [u8]) -> Received {
        // An error ends a turn; the next edge or retry finds what it left.
        for _ in 0..2 {
            match self.socket.recv_from(buffer) {
                Ok((length, remote)) => {
                    self.counts.received += 1;
                    return Received::Datagram(remote, length);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    // Usually news of an earlier datagram: the error queue says of which.
                    self.counts.receive_errors += 1;
                    self.read_errors();
                }
            }
        }
        Received::Nothing
    }

    /// Takes one datagram, with the time at which the kernel had it, by its wall clock since 1970.
    pub fn receive_stamped(&mut self, buffer: &mut [u8]) -> (Received, Option<Duration>) {
        let mut control = cmsg_space!(TimeSpec);
        let mut parts = [IoSliceMut::new(buffer)];
        let flags = MsgFlags::MSG_DONTWAIT;
        let fd = self.socket.as_raw_fd();
        let outcome = recvmsg::<SockaddrStorage>(fd, &mut parts, Some(&mut control), flags);
        let message = outcome.ok().and_then(|message| {
            let arrived = message.cmsgs().ok()?.find_map(|each| match each {
                ControlMessageOwned::ScmTimestampns(at) => Some(Duration::from(at)),
                _ => None,
            });
            let remote = message
                .address
                .as_ref()
                .and_then(error_queue::socket_addr)?;
            Some((remote, message.bytes, arrived))
        });
        match message {
            Some((remote, length, arrived)) => {
                self.counts.received += 1;
                (Received::Datagram(remote, length), arrived)
            }
            // Nothing, or an error: the plain way knows what to do about it, and how readiness is told.
            None => (self.receive(buffer), None),
        }
    }

    /// Sends a datagram, or lets it wait behind those that already do.
    pub fn send(&mut self, remote: SocketAddr, bytes: Vec<u8>) -> Sent {
        if self.waiting.is_empty() {
            match self.transmit(remote, &bytes) {
                Ok(()) => return Sent::Accepted,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return self.failure(&error),
            }
        }
        if self.waiting.len() >= WAITING {
            self.counts.overflowed += 1;
            return Sent::Lost;
        }
        self.counts.queued += 1;
        self.waiting.push_back((remote, bytes));
        Sent::Accepted
    }

    /// Sends what waits, as far as there is room now.
    pub fn flush(&mut self) {
        while let Some((remote, bytes)) = self.waiting.pop_front() {
            match self.transmit(remote, &bytes) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.waiting.push_front((remote, bytes));
                    return;
                }
                Err(error) => {
                    if self.failure(&error) == Sent::Failed {
                        self.unreachable.push(remote);
                    }
                }
            }
        }
    }

    /// Reads the error queue.
    pub fn read_errors(&mut self) {
        let before = self.unreachable.len();
        error_queue::drain(&self.socket, &mut self.unreachable);
        let found = self.unreachable.len() - before;
        self.counts.unreachable += found as u64;
    }

    /// The next address that something sent before did not reach.
    pub fn next_unreachable(&mut self) -> Option<SocketAddr> {
        self.unreachable.pop()
    }

    /// Whether there is such an address.
    pub fn has_unreachable(&self) -> bool {
        !self.unreachable.is_empty()
    }

    /// What has been done.
    pub fn counts(&self) -> ListenerCounts {
        self.counts
    }

    /// Where it is bound.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn transmit(&mut self, remote: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        let mut outcome = self.socket.send_to(bytes, remote);
        if let Err(error) = &outcome
            && error.kind() != io::ErrorKind::WouldBlock
        {
            // The error may be that of an earlier datagram, which the socket reports at its next call.
            self.read_errors();
            outcome = self.socket.send_to(bytes, remote);
        }
        outcome?;
        self.counts.sent += 1;
        Ok(())
    }

    /// Counts a failure to send and says what it means.
    fn failure(&mut self, error: &io::Error) -> Sent {
        match error.raw_os_error().map(Errno::from_raw) {
            // A full queue of the device: with IP_RECVERR the kernel says so.
            Some(Errno::ENOBUFS | Errno::ENOMEM) => {
                self.counts.overflowed += 1;
                Sent::Lost
            }
            Some(Errno::EMSGSIZE) => {
                self.counts.oversize += 1;
                Sent::Lost
            }
            _ => {
                self.counts.send_errors += 1;
                Sent::Failed
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;
    use std::time::{Duration, Instant};

    fn local(address: &str) -> UdpListener {
        UdpListener::open(address.parse().expect("an address")).expect("a loopback socket")
    }

    /// Repeats until `wanted` gives something.
    fn within_a_second<T>(mut wanted: impl FnMut() -> Option<T>) -> T {
        let until = Instant::now() + Duration::from_secs(1);
        loop {
            if let Some(found) = wanted() {
                return found;
            }
            assert!(Instant::now() < until, "nothing within a second");
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn exchange(address: &str) {
        let mut a = local(address);
        let mut b = local(address);
        let to_b = b.local_address().expect("bound");
        let biggest = vec![7; if to_b.is_ipv4() { 65_507 } else { 65_487 }];
        assert_eq!(a.send(to_b, biggest.clone()), Sent::Accepted);
        let mut buffer = vec![0; 65_535];
        let (from, length) = within_a_second(|| match b.receive(&mut buffer) {
            Received::Datagram(from, length) => Some((from, length)),
            Received::Nothing => None,
        });
        assert_eq!(from, a.local_address().expect("bound"));
        assert_eq!(buffer.get(..length), Some(&biggest[..]));
        assert_eq!(a.send(to_b, vec![7; 65_600]), Sent::Lost);
        assert_eq!(a.counts().oversize, 1);
        assert_eq!(b.receive(&mut buffer), Received::Nothing);
    }

    #[test]
    fn datagrams_of_any_size_pass_over_ipv4_and_ipv6() {
        exchange("127.0.0.1:0");
        exchange("[::1]:0");
    }

    fn refused(address: &str) {
        let mut listener = local(address);
        let closed = {
            let gone = local(address);
            gone.local_address().expect("bound")
        };
        let alive = local(address).local_address().expect("bound");
        assert_eq!(listener.send(closed, b"OPTIONS".to_vec()), Sent::Accepted);
        let reported = within_a_second(|| {
            listener.read_errors();
            listener.next_unreachable()
        });
        assert_eq!(reported, closed);
        assert_eq!(listener.counts().unreachable, 1);
        // Left unread, the error must not be taken for that of the next datagram.
        assert_eq!(listener.send(closed, b"OPTIONS".to_vec()), Sent::Accepted);
        thread::sleep(Duration::from_millis(20));
        assert_eq!(listener.send(alive, b"OPTIONS".to_vec()), Sent::Accepted);
        assert_eq!(listener.next_unreachable(), Some(closed));
        assert_eq!(listener.counts().send_errors, 0);
    }

    #[test]
    fn a_refused_connection_is_reported_with_its_address() {
        refused("127.0.0.1:0");
        refused("[::1]:0");
    }

    #[test]
    fn no_route_is_a_failure_at_once() {
        let mut listener = local("127.0.0.1:0");
        // A loopback source may not leave the host (RFC 1122 §3.2.1.3).
        let elsewhere = "192.0.2.1:5060".parse().expect("an address");
        assert_eq!(listener.send(elsewhere, b"x".to_vec()), Sent::Failed);
        assert_eq!(listener.counts().send_errors, 1);
    }

    #[test]
    fn what_waits_is_bounded_and_leaves_in_order() {
        let mut a = local("127.0.0.1:0");
        let mut b = local("127.0.0.1:0");
        let to_b = b.local_address().expect("bound");
        a.waiting.push_back((to_b, vec![0]));
        for number in 1..WAITING {
            let bytes = (number as u32).to_be_bytes().to_vec();
            assert_eq!(a.send(to_b, bytes), Sent::Accepted);
        }
        assert_eq!(a.send(to_b, vec![9]), Sent::Lost);
        assert_eq!(a.counts().overflowed, 1);
        a.flush();
        assert!(a.waiting.is_empty());
        let mut buffer = [0; 16];
        assert!(matches!(b.receive(&mut buffer), Received::Datagram(_, 1)));
        for number in 1..WAITING {
            assert!(matches!(b.receive(&mut buffer), Received::Datagram(_, 4)));
            assert_eq!(buffer[..4], (number as u32).to_be_bytes());
        }
    }
}
