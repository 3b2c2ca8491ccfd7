//! What was asked before: a request that comes again is not carried out again.
//!
//! Clients send a request again, with the same cookie, when they have heard nothing; networks double datagrams. The
//! reply is remembered for [`REMEMBERED`]; a request that comes again before there is one gets it when it is there.
//! A cookie belongs to the host that sent it: clients on several hosts may count alike.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use contract::Timestamp;

use super::path::ControlPath;

/// For how long a reply is remembered: no client asks again for as long.
pub const REMEMBERED: Duration = Duration::from_secs(30);

/// Requests remembered: a minute of five thousand a second would be more, and then the oldest are forgotten early.
const MOST: usize = 262_144;
/// Bytes of replies remembered.
const MOST_BYTES: usize = 256 << 20;
/// Repetitions of one request, while its reply is awaited, that are answered.
const MOST_WAITING: usize = 8;

/// What is known of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It has not been asked before: carry it out, and tell [`Cookies::answer`].
    First,
    /// It is being carried out: its reply will go to this path, too.
    InFlight,
    /// This was the reply.
    Answered(Vec<u8>),
}

type Key = (IpAddr, Vec<u8>);

/// Requests by their cookies.
#[derive(Debug, Default)]
pub struct Cookies {
    known: HashMap<Key, State>,
    /// Those that are answered, in the order in which they are forgotten.
    order: VecDeque<(Timestamp, Key)>,
    bytes: usize,
    forgotten_early: u64,
}

#[derive(Debug)]
enum State {
    /// Who else waits.
    InFlight(Vec<ControlPath>),
    Answered(Box<[u8]>),
}

impl Cookies {
    /// A request with this cookie has come.
    pub fn ask(&mut self, path: ControlPath, cookie: &[u8]) -> Asked {
        let key = (path.remote.ip(), cookie.to_vec());
        match self.known.get_mut(&key) {
            None => {
                self.known.insert(key, State::InFlight(Vec::new()));
                Asked::First
            }
            Some(State::Answered(reply)) => Asked::Answered(reply.to_vec()),
            Some(State::InFlight(waiting)) => {
                if waiting.len() < MOST_WAITING && !waiting.contains(&path) {
                    waiting.push(path);
                }
                Asked::InFlight
            }
        }
    }

    /// The request of this cookie is answered; who else has asked it meanwhile, by other paths.
    pub fn answer(
        &mut self,
        path: ControlPath,
        cookie: &[u8],
        reply: &[u8],
        now: Timestamp,
    ) -> Vec<ControlPath> {
        let key = (path.remote.ip(), cookie.to_vec());
        let state = State::Answered(reply.into());
        let former = self.known.insert(key.clone(), state);
        self.bytes += reply.len();
        self.order.push_back((now + REMEMBERED, key));
        while self.order.len() > MOST || self.bytes > MOST_BYTES {
            self.forgotten_early += 1;
            self.forget_oldest();
        }
        match former {
            Some(State::InFlight(waiting)) => {
                waiting.into_iter().filter(|other| *other != path).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Forgets what has been remembered for long enough.
    pub fn forget_old(&mut self, now: Timestamp) {
        while self.order.front().is_some_and(|(at, _)| *at <= now) {
            self.forget_oldest();
        }
    }

    /// When [`Self::forget_old`] has something to do. Nothing depends on it but memory, so that many are forgotten at a
    /// time.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.order
            .front()
            .map(|(at, _)| *at + Duration::from_secs(1))
    }

    /// How many requests are remembered.
    pub fn held(&self) -> usize {
        self.known.len()
    }

    /// How many were forgotten before their time for want of room.
    pub const fn forgotten_early(&self) -> u64 {
        self.forgotten_early
    }

    fn forget_oldest(&mut self) {
        let Some((_, key)) = self.order.pop_front() else {
            return;
        };
        if let Some(State::Answered(reply)) = self.known.remove(&key) {
            self.bytes -= reply.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ng::{ControlId, Way};

    fn path(remote: &str) -> ControlPath {
        let remote: std::net::SocketAddr = remote.parse().expect("an address");
        ControlPath {
            listener: ControlId(0),
            remote,
            way: Way::Datagram { local: remote.ip() },
        }
    }

    #[test]
    fn a_reply_is_remembered_for_its_time() {
        let (mut cookies, now) = (Cookies::default(), Timestamp::ZERO);
        let proxy = path("10.0.0.1:4000");
        assert_eq!(cookies.ask(proxy, b"1"), Asked::First);
        assert!(cookies.answer(proxy, b"1", b"1 ok", now).is_empty());
        assert_eq!(cookies.ask(proxy, b"1"), Asked::Answered(b"1 ok".to_vec()));
        let elsewhere = path("10.0.0.1:4001");
        assert_eq!(
            cookies.ask(elsewhere, b"1"),
            Asked::Answered(b"1 ok".to_vec())
        );
        assert_eq!(
            cookies.ask(path("10.0.0.2:4000"), b"1"),
            Asked::First,
            "another host's"
        );
        cookies.forget_old(now + (REMEMBERED - Duration::from_nanos(1)));
        assert_eq!(cookies.held(), 2);
        cookies.forget_old(now + REMEMBERED);
        assert_eq!(cookies.ask(proxy, b"1"), Asked::First);
        assert!(cookies.deadline().is_none() && cookies.bytes == 0);
    }

    #[test]
    fn who_asks_again_meanwhile_gets_the_reply_too() {
        let mut cookies = Cookies::default();
        let (one, two) = (path("10.0.0.1:4000"), path("10.0.0.1:4001"));
        assert_eq!(cookies.ask(one, b"1"), Asked::First);
        for _ in 0..20 {
            assert_eq!(cookies.ask(one, b"1"), Asked::InFlight);
            assert_eq!(cookies.ask(two, b"1"), Asked::InFlight);
        }
        assert_eq!(cookies.answer(one, b"1", b"ok", Timestamp::ZERO), [two]);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut cookies = Cookies::default();
        let proxy = path("10.0.0.1:4000");
        let reply = vec![0; 1 << 20];
        for count in 0..300_u64 {
            let cookie = count.to_be_bytes();
            assert_eq!(cookies.ask(proxy, &cookie), Asked::First);
            cookies.answer(proxy, &cookie, &reply, Timestamp::ZERO);
        }
        assert!(cookies.bytes <= MOST_BYTES);
        assert_eq!((cookies.held(), cookies.forgotten_early()), (256, 44));
    }
}
