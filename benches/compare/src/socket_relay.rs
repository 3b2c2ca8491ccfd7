//! A relay as it is usually written, written well: one UDP socket for each port, one thread, epoll, and as few
//! system calls as that design allows.
//!
//! ```text
//!   epoll (edge-triggered) ─► recvmmsg from socket n ─► send or sendmmsg on socket n^1 ─► next ready socket
//!                                                       (2i faces A, 2i+1 faces B)
//! ```
//!
//! - Sockets are connected: the kernel drops what comes from elsewhere, and a packet that is sent needs no look-up
//!   of route and neighbour.
//! - Edge-triggered, so that no system call is spent to learn that a socket is empty: a short batch says so. A
//!   full one puts the socket at the end of the queue of those that are ready, so that one stream cannot starve
//!   the others.
//! - An idle relay looks for [`SPIN`] before it sleeps.

use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice, IoSliceMut};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, recvmmsg, send, sendmmsg, setsockopt, sockopt};
use serde::Serialize;
use tandem_load::streams::Stream;

use crate::error::Error;
use crate::limits::{allow_files, pin};
use crate::signals;
use crate::streams;

/// Packets taken from a socket at a time. At 1,000 streams a socket seldom holds more than one; in overload 32
/// spread the system call's price to nothing, and more only push the buffers out of the cache.
const BATCH: usize = 32;
/// The longest packet, as tandem has it: a frame of 2 KB.
const LONGEST: usize = 2048;
/// Sockets that epoll reports at a time.
const EVENTS: usize = 1024;
/// How long it looks before it sleeps, as tandem's workers do: waking up costs some 5 us, of which the sender's
/// core pays most.
const SPIN: Duration = Duration::from_micros(50);
/// How long it sleeps before it looks whether it is to end.
const NAP: Duration = Duration::from_millis(100);

/// Relay streams with UDP sockets: epoll, recvmmsg, sendmmsg, one thread
#[derive(Debug, Args)]
pub(crate) struct SocketRelay {
    /// The stream file: whose packets go where
    #[arg(long, value_name = "FILE")]
    streams: PathBuf,
    /// The core to run on
    #[arg(long, value_name = "N")]
    core: Option<usize>,
    /// Bytes that may wait in each socket (SO_RCVBUF, as the kernel counts them)
    #[arg(long, value_name = "BYTES", default_value_t = 212_992)]
    receive_buffer: usize,
    /// The DSCP of what is sent
    #[arg(long, value_name = "DSCP", default_value_t = 46,
        value_parser = clap::value_parser!(u8).range(0..=63))]
    dscp: u8,
    /// Print the counters as one JSON object at the end
    #[arg(long)]
    json: bool,
}

/// What became of the packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Counters {
    /// Read from sockets.
    received: u64,
    /// Written to sockets.
    sent: u64,
    /// Read, but the kernel took them not.
    unsent: u64,
    /// Longer than [`LONGEST`].
    too_long: u64,
    /// Errors that a socket had stored, such as a port that is unreachable.
    errors: u64,
    /// Calls of recvmmsg.
    batches: u64,
    /// Waits in epoll.
    sleeps: u64,
}

impl SocketRelay {
    /// Relays until SIGINT or SIGTERM.
    pub(crate) fn run(&self) -> Result<(), Error> {
        let streams = streams::read(&self.streams)?;
        allow_files(2 * streams.len() + 64)?;
        if let Some(core) = self.core {
            pin(nix::unistd::Pid::from_raw(0), core)?;
        }
        let stop = signals::stop()?;
        let mut relay = Relay::new(&streams, self.receive_buffer, self.dscp)?;
        eprintln!("relaying {} streams", streams.len());
        relay.run(&stop)?;
        let counters = relay.counters;
        if self.json {
            let text = serde_json::to_string(&counters)
                .map_err(|error| Error::system("counters", error))?;
            terminal::output::print(&format!("{text}\n"))
                .map_err(|error| Error::system("stdout", error))?;
        } else {
            eprintln!("{counters:?}");
        }
        Ok(())
    }
}

struct Relay {
    /// Stream i has 2i, which faces A, and 2i+1, which faces B.
    sockets: Vec<UdpSocket>,
    poll: Poll,
    events: Events,
    /// Sockets that may hold packets, each once.
    ready: VecDeque<usize>,
    is_ready: Vec<bool>,
    buffers: Box<[[u8; LONGEST]; BATCH]>,
    headers: MultiHeaders<()>,
    counters: Counters,
}

impl Relay {
    fn new(streams: &[Stream], receive_buffer: usize, dscp: u8) -> Result<Self, Error> {
        let poll = Poll::new().map_err(|error| Error::system("epoll", error))?;
        let mut sockets = Vec::with_capacity(2 * streams.len());
        for stream in streams {
            for (local, remote) in [(stream.relay_a, stream.a), (stream.relay_b, stream.b)] {
                let socket = open(local, remote, receive_buffer, dscp)
                    .map_err(|error| Error::system(format!("a socket at {local}"), error))?;
                poll.registry()
                    .register(
                        &mut SourceFd(&socket.as_raw_fd()),
                        Token(sockets.len()),
                        Interest::READABLE,
                    )
                    .map_err(|error| Error::system("epoll_ctl", error))?;
                sockets.push(socket);
            }
        }
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS),
            ready: VecDeque::with_capacity(sockets.len()),
            is_ready: vec![false; sockets.len()],
            sockets,
            buffers: Box::new([[0; LONGEST]; BATCH]),
            headers: MultiHeaders::preallocate(BATCH, None),
            counters: Counters::default(),
        })
    }

    fn run(&mut self, stop: &Arc<AtomicBool>) -> Result<(), Error> {
        let mut busy = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            let patience = if !self.ready.is_empty() || busy.elapsed() < SPIN {
                Duration::ZERO
            } else {
                self.counters.sleeps += 1;
                NAP
            };
            match self.poll.poll(&mut self.events, Some(patience)) {
                Err(error) if error.kind() != ErrorKind::Interrupted => {
                    return Err(Error::system("epoll_wait", error));
                }
                _ => {}
            }
            for event in &self.events {
                let socket = event.token().0;
                if !std::mem::replace(&mut self.is_ready[socket], true) {
                    self.ready.push_back(socket);
                }
            }
            if self.ready.is_empty() {
                continue;
            }
            // Those that get ready meanwhile wait for the next round.
            for _ in 0..self.ready.len() {
                let Some(socket) = self.ready.pop_front() else {
                    break;
                };
                if self.relay(socket) {
                    self.ready.push_back(socket);
                } else {
                    self.is_ready[socket] = false;
                }
            }
            busy = Instant::now();
        }
        Ok(())
    }

    /// Takes a batch from a socket and sends it on. Whether there may be more.
    fn relay(&mut self, socket: usize) -> bool {
        let from = self.sockets[socket].as_raw_fd();
        let to = self.sockets[socket ^ 1].as_raw_fd();
        let mut lengths = [0; BATCH];
        let mut count = 0;
        {
            let mut slices = self
                .buffers
                .each_mut()
                .map(|buffer| [IoSliceMut::new(buffer)]);
            let received = recvmmsg(
                from,
                &mut self.headers,
                &mut slices,
                MsgFlags::MSG_DONTWAIT,
                None,
            );
            self.counters.batches += 1;
            match received {
                Ok(messages) => {
                    for message in messages {
                        lengths[count] = if message.flags.contains(MsgFlags::MSG_TRUNC) {
                            self.counters.too_long += 1;
                            0
                        } else {
                            message.bytes
                        };
                        count += 1;
                    }
                }
                Err(Errno::EAGAIN) => return false,
                Err(Errno::EINTR) => return true,
                // An error that was stored is told once; packets may stand behind it.
                Err(_) => {
                    self.counters.errors += 1;
                    return true;
                }
            }
        }
        self.counters.received += count as u64;
        self.send(to, &lengths[..count]);
        count == BATCH
    }

    fn send(&mut self, to: i32, lengths: &[usize]) {
        let mut sent = 0;
        if let [length] = lengths {
            sent =
                usize::from(send(to, &self.buffers[0][..*length], MsgFlags::MSG_DONTWAIT).is_ok());
        } else {
            let slices: [[IoSlice<'_>; 1]; BATCH] = std::array::from_fn(|index| {
                let length = lengths.get(index).copied().unwrap_or(0);
                [IoSlice::new(&self.buffers[index][..length])]
            });
            let addresses: [Option<()>; BATCH] = [None; BATCH];
            while sent < lengths.len() {
                let rest = sendmmsg(
                    to,
                    &mut self.headers,
                    &slices[sent..lengths.len()],
                    &addresses[sent..lengths.len()],
                    [],
                    MsgFlags::MSG_DONTWAIT,
                );
                match rest {
                    Ok(messages) => sent += messages.count(),
                    Err(_) => break,
                }
            }
        }
        self.counters.sent += sent as u64;
        self.counters.unsent += (lengths.len() - sent) as u64;
    }
}

fn open(
    local: std::net::SocketAddr,
    remote: std::net::SocketAddr,
    receive_buffer: usize,
    dscp: u8,
) -> std::io::Result<UdpSocket> {
    let socket = UdpSocket::bind(local)?;
    socket.connect(remote)?;
    socket.set_nonblocking(true)?;
    // The kernel doubles what it is told.
    setsockopt(&socket, sockopt::RcvBufForce, &(receive_buffer / 2))?;
    let tos = i32::from(dscp) << 2;
    if local.is_ipv4() {
        setsockopt(&socket, sockopt::Ipv4Tos, &tos)?;
    } else {
        setsockopt(&socket, sockopt::Ipv6TClass, &tos)?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::mpsc::channel;
    use std::thread;

    use super::*;
    use tandem_load::streams::Content;

    fn party() -> (UdpSocket, SocketAddr) {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket
            .set_read_timeout(Some(Duration::from_secs(5)))
            .expect("a timeout");
        let address = socket.local_addr().expect("its address");
        (socket, address)
    }

    fn free_port() -> SocketAddr {
        party().1
    }

    #[test]
    fn packets_go_both_ways_in_order_and_strangers_are_not_heard() {
        let ((party_a, a), (party_b, b)) = (party(), party());
        let (relay_a, relay_b) = (free_port(), free_port());
        let stream = Stream {
            a,
            relay_a,
            relay_b,
            b,
            content: Content::Rtp,
        };
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let (opened, is_open) = channel();
        let (start, started) = channel();
        let thread = thread::spawn(move || {
            let mut relay = Relay::new(&[stream], 1 << 20, 46).expect("a relay");
            opened.send(()).expect("the test waits");
            started.recv().expect("the test says when");
            relay.run(&stopped).expect("it relays");
            relay.counters
        });
        is_open.recv().expect("a relay");
        let (stranger, _) = party();
        stranger.send_to(b"stranger", relay_a).expect("sent");
        // More than one batch waits before it starts.
        for number in 0..3 * BATCH as u32 {
            party_a
                .send_to(&number.to_be_bytes(), relay_a)
                .expect("sent");
        }
        party_b.send_to(b"back", relay_b).expect("sent");
        start.send(()).expect("it waits");
        let mut packet = [0; LONGEST];
        for number in 0..3 * BATCH as u32 {
            let (length, from) = party_b.recv_from(&mut packet).expect("a packet");
            assert_eq!(
                (&packet[..length], from),
                (&number.to_be_bytes()[..], relay_b)
            );
        }
        let (length, from) = party_a.recv_from(&mut packet).expect("a packet");
        assert_eq!((&packet[..length], from), (&b"back"[..], relay_a));
        stop.store(true, Ordering::Relaxed);
        let counters = thread.join().expect("it ends");
        let all = 3 * BATCH as u64 + 1;
        assert_eq!((counters.received, counters.sent), (all, all));
        assert_eq!(counters.unsent + counters.errors, 0);
    }
}
