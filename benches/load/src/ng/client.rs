//! One proxy: a window of calls, each with one request under way.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::script::{self, Script, Step};
use super::tally::Tally;

/// When a request without a reply is sent again, and how often it is sent: as proxies do.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
const ATTEMPTS: u32 = 5;

/// How often it is looked for requests to be sent again.
const LOOK: Duration = Duration::from_millis(20);

/// A call under way.
#[derive(Debug)]
struct Call {
    number: u64,
    id: String,
    step: Step,
    cookie: String,
    message: Vec<u8>,
    first: Instant,
    last: Instant,
    attempts: u32,
}

/// One client. Sans-IO: [`run`] moves its datagrams.
#[derive(Debug)]
pub(super) struct Client<'a> {
    script: &'a Script,
    /// Of this client in this trial alone.
    prefix: String,
    /// No call is started from then on.
    until: Instant,
    calls: Vec<Option<Call>>,
    started: u64,
    tally: Tally,
}

impl<'a> Client<'a> {
    pub(super) fn new(script: &'a Script, prefix: String, window: u16, until: Instant) -> Self {
        Self {
            script,
            prefix,
            until,
            calls: (0..window).map(|_| None).collect(),
            started: 0,
            tally: Tally::new(),
        }
    }

    /// Starts its first calls; the requests to be sent.
    fn begin(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let slots = 0..self.calls.len();
        slots.filter_map(|slot| self.start(slot, now)).collect()
    }

    fn is_busy(&self) -> bool {
        self.calls.iter().any(Option::is_some)
    }

    /// Takes a datagram; the request that it leads to.
    fn hear(&mut self, datagram: &[u8], now: Instant) -> Option<Vec<u8>> {
        let Some((slot, reply)) = self.whose(datagram) else {
            self.tally.strays += 1;
            return None;
        };
        let mut call = self.calls.get_mut(slot)?.take()?;
        let step = call.step;
        self.tally.answered(step, now - call.first);
        let next = match script::fault(step, reply) {
            None => step.next(),
            // What could not be is deleted all the same.
            Some(reason) => {
                self.tally.error(step, &reason);
                (step != Step::Delete).then_some(Step::Delete)
            }
        };
        let Some(next) = next else {
            self.tally.calls += 1;
            return self.start(slot, now);
        };
        call.step = next;
        call.cookie = self.cookie(slot, call.number, next);
        call.message = self
            .script
            .message(&call.cookie, &call.id, call.number, next);
        (call.first, call.last, call.attempts) = (now, now, 1);
        let message = call.message.clone();
        *self.calls.get_mut(slot)? = Some(call);
        Some(message)
    }

    /// Gives up what was never answered; the requests to be sent again.
    fn look(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let mut again = Vec::new();
        for slot in &mut self.calls {
            let Some(call) = slot.as_mut().filter(|call| now - call.last >= AGAIN_AFTER) else {
                continue;
            };
            if call.attempts == ATTEMPTS {
                self.tally.lost += 1;
                *slot = None;
                continue;
            }
            (call.last, call.attempts) = (now, call.attempts + 1);
            self.tally.retransmissions += 1;
            again.push(call.message.clone());
        }
        again
    }

    /// The place of a reply's call, and its dictionary.
    fn whose<'d>(&self, datagram: &'d [u8]) -> Option<(usize, &'d [u8])> {
        let space = datagram.iter().position(|byte| *byte == b' ')?;
        let (cookie, rest) = datagram.split_at_checked(space)?;
        let text = std::str::from_utf8(cookie).ok()?;
        let slot: usize = text.rsplit('.').next()?.parse().ok()?;
        let call = self.calls.get(slot)?.as_ref()?;
        (call.cookie == text).then_some((slot, rest.get(1..)?))
    }

    fn start(&mut self, slot: usize, now: Instant) -> Option<Vec<u8>> {
        if now >= self.until {
            return None;
        }
        self.started += 1;
        let number = self.started;
        let (id, step) = (format!("{}.{number}", self.prefix), Step::Offer);
        let cookie = self.cookie(slot, number, step);
        let message = self.script.message(&cookie, &id, number, step);
        *self.calls.get_mut(slot)? = Some(Call {
            number,
            id,
            step,
            cookie,
            message: message.clone(),
            first: now,
            last: now,
            attempts: 1,
        });
        Some(message)
    }

    fn cookie(&self, slot: usize, number: u64, step: Step) -> String {
        format!("{}.{number}.{}.{slot}", self.prefix, step as u8)
    }
}

/// Runs a client against whoever listens there, until its last call is over; what came of it. When told to stop it
/// starts no more calls.
pub(super) fn run(
    mut client: Client<'_>,
    server: SocketAddr,
    stop: &AtomicBool,
) -> io::Result<Tally> {
    let socket = connect(server)?;
    socket.set_read_timeout(Some(LOOK))?;
    let mut looked = Instant::now();
    for message in client.begin(looked) {
        send(&socket, &message)?;
    }
    let mut buffer = vec![0; 65_536];
    while client.is_busy() {
        let received = socket.recv(&mut buffer);
        let now = Instant::now();
        match received {
            Ok(length) => {
                let datagram = buffer.get(..length).unwrap_or_default();
                if let Some(message) = client.hear(datagram, now) {
                    send(&socket, &message)?;
                }
            }
            Err(error) if may_pass(&error) => {}
            Err(error) => return Err(error),
        }
        if now - looked >= LOOK {
            looked = now;
            if stop.load(Ordering::Relaxed) {
                client.until = now;
            }
            for message in client.look(now) {
                send(&socket, &message)?;
            }
        }
    }
    Ok(client.tally)
}

/// A socket that hears nobody but this one.
pub(super) fn connect(server: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(server)?;
    Ok(socket)
}

/// What is not sent is sent again, as what gets lost is.
fn send(socket: &UdpSocket, message: &[u8]) -> io::Result<()> {
    match socket.send(message) {
        Err(error) if !may_pass(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Nothing there, or nobody: both may change.
pub(super) fn may_pass(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, Interrupted, TimedOut, WouldBlock};
    matches!(
        error.kind(),
        WouldBlock | TimedOut | Interrupted | ConnectionRefused
    )
}

#[cfg(test)]
mod tests {
    use super::super::bencode;
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: super::super::args::NgArgs,
    }

    fn script() -> Script {
        let words = "x --target t=127.0.0.1:1 --caller 10.1.0.2 --callee 10.2.0.2";
        Script::new(&Line::parse_from(words.split(' ')).args)
    }

    fn cookie(message: &[u8]) -> Vec<u8> {
        let space = message.iter().position(|byte| *byte == b' ').expect("one");
        message[..=space].to_vec()
    }

    fn command(message: &[u8]) -> String {
        let dictionary = &message[cookie(message).len()..];
        let command = bencode::find(dictionary, b"command").expect("a command");
        String::from_utf8_lossy(command).into_owned()
    }

    fn reply(message: &[u8], dictionary: &[u8]) -> Vec<u8> {
        [&cookie(message)[..], dictionary].concat()
    }

    const OK: &[u8] = b"d6:result2:ok3:sdp15:m=audio 5000 RT4:tagsdee";

    #[test]
    fn a_call_goes_its_way_and_another_follows_until_the_time_is_over() {
        let (script, now) = (script(), Instant::now());
        let until = now + Duration::from_secs(1);
        let mut client = Client::new(&script, "c".to_owned(), 1, until);
        let mut messages = client.begin(now);
        let mut message = messages.pop().expect("an offer");
        let mut asked = vec![command(&message)];
        for _ in 0..4 {
            message = client.hear(&reply(&message, OK), now).expect("goes on");
            asked.push(command(&message));
        }
        assert_eq!(asked, ["offer", "answer", "query", "delete", "offer"]);
        assert_eq!(client.hear(&reply(b"c.9.0.0 ", OK), now), None);
        for _ in 0..3 {
            message = client.hear(&reply(&message, OK), until).expect("goes on");
        }
        assert_eq!(client.hear(&reply(&message, OK), until), None);
        assert!(!client.is_busy());
        assert_eq!((client.tally.calls, client.tally.strays), (2, 1));
        assert_eq!(client.tally.latency().count, 8);
    }

    #[test]
    fn what_fails_is_deleted_and_what_is_lost_is_given_up() {
        let (script, mut now) = (script(), Instant::now());
        let mut client = Client::new(&script, "c".to_owned(), 1, now + AGAIN_AFTER);
        let offer = client.begin(now).pop().expect("an offer");
        let error = b"d12:error-reason2:no6:result5:errore";
        let message = client.hear(&reply(&offer, error), now).expect("goes on");
        assert_eq!(command(&message), "delete");
        assert_eq!(client.tally.errors["offer: no"], 1);
        assert!(client.look(now + AGAIN_AFTER / 2).is_empty());
        for _ in 1..ATTEMPTS {
            now += AGAIN_AFTER;
            assert_eq!(client.look(now), std::slice::from_ref(&message));
        }
        now += AGAIN_AFTER;
        assert!(client.look(now).is_empty() && !client.is_busy());
        let tally = client.tally;
        assert_eq!((tally.lost, tally.retransmissions), (1, 4));
    }
}
