//! A network between a proxy and a relay that loses, doubles and reorders datagrams, both ways, by a seed.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::UdpSocket;

use super::rtp::Noise;

/// Of a hundred datagrams each way so many are lost, so many come twice, and so many are overtaken.
const LOST: usize = 5;
const DOUBLED: usize = 5;
const OVERTAKEN: usize = 10;

/// By how many others a datagram is overtaken at the most: enough that one may arrive after all that followed from it.
const HELD: usize = 400;

/// The proxy's end.
#[derive(Debug)]
pub(crate) struct LossyWire {
    socket: UdpSocket,
    noise: Noise,
    out: Way,
    back: Way,
}

#[derive(Debug, Default)]
struct Way {
    /// What is held back, and until how many have passed.
    held: Vec<(u64, Vec<u8>)>,
    passed: u64,
    ready: VecDeque<Vec<u8>>,
}

impl Way {
    fn take(&mut self, message: Vec<u8>, noise: &mut Noise) {
        self.passed += 1;
        let chance = noise.below(100);
        let held = LOST + DOUBLED + OVERTAKEN;
        if chance >= LOST && (chance < LOST + DOUBLED || chance >= held) {
            self.ready.push_back(message.clone());
        }
        if (LOST..held).contains(&chance) {
            let until = self.passed + 1 + noise.below(HELD) as u64;
            self.held.push((until, message));
        }
        let passed = self.passed;
        let due = self.held.extract_if(.., |(until, _)| *until <= passed);
        self.ready.extend(due.map(|(_, message)| message));
    }
}

impl LossyWire {
    /// Over a socket that is connected to the relay.
    pub(crate) fn new(socket: UdpSocket, seed: u64) -> Self {
        socket.set_nonblocking(true).expect("a socket of ours");
        Self {
            socket,
            noise: Noise(seed),
            out: Way::default(),
            back: Way::default(),
        }
    }

    /// Sends a message, or loses it, or sends it later, or twice.
    pub(crate) fn send(&mut self, message: &[u8]) {
        self.out.take(message.to_vec(), &mut self.noise);
        for message in self.out.ready.drain(..) {
            // A full buffer loses it, too.
            let _ = self.socket.send(&message);
        }
    }

    /// What has arrived, if anything has.
    #[track_caller]
    pub(crate) fn receive(&mut self) -> Option<Vec<u8>> {
        let mut buffer = [0; 65_536];
        while self.back.ready.is_empty() {
            match self.socket.recv(&mut buffer) {
                Ok(length) => self.back.take(buffer[..length].to_vec(), &mut self.noise),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) => panic!("the relay is gone: {error}"),
            }
        }
        self.back.ready.pop_front()
    }

    /// Sends all that is held back: the last doubles.
    pub(crate) fn flush(&mut self) {
        for (_, message) in self.out.held.drain(..) {
            let _ = self.socket.send(&message);
        }
    }
}
