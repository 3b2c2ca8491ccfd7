//! A request over UDP: asked again until it is answered, as proxies do it.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use crate::cli::Failure;

/// What Kamailio waits and how often it asks, unless its configuration says otherwise.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
const ATTEMPTS: u32 = 5;

/// The reply of whoever listens there.
pub(super) fn ask(server: &str, request: &Map<String, Value>) -> Result<Value, Failure> {
    let failed = |why: String| Failure::Question(format!("{server}: {why}"));
    let address = resolve(server).map_err(|error| failed(error.to_string()))?;
    let cookie = format!("{:016x}", rand::random::<u64>());
    let message = format!("{cookie} {}", Value::Object(request.clone()));
    let reply = exchange(address, message.as_bytes(), &cookie, AGAIN_AFTER);
    let reply = reply.map_err(|error| failed(error.to_string()))?;
    let reply = reply.ok_or_else(|| failed(format!("nobody answers, asked {ATTEMPTS} times")))?;
    serde_json::from_slice(&reply).map_err(|error| failed(format!("the reply is no JSON: {error}")))
}

fn resolve(server: &str) -> io::Result<SocketAddr> {
    let none = || io::Error::other("this name has no address");
    server.to_socket_addrs()?.next().ok_or_else(none)
}

/// The dictionary that answers; `None` if none came.
fn exchange(
    server: SocketAddr,
    message: &[u8],
    cookie: &str,
    again_after: Duration,
) -> io::Result<Option<Vec<u8>>> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(server)?;
    let mut buffer = vec![0; 65_536];
    for _ in 0..ATTEMPTS {
        match socket.send(message) {
            // What came of the time before: nobody listened then.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            sent => _ = sent?,
        }
        let again = Instant::now() + again_after;
        while let Some(left) = again.checked_duration_since(Instant::now()) {
            socket.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
            match socket.recv(&mut buffer) {
                Ok(length) => {
                    let datagram = buffer.get(..length).unwrap_or_default();
                    if let Some(dictionary) = answered(cookie, datagram) {
                        return Ok(Some(dictionary.to_vec()));
                    }
                }
                Err(error) if may_pass(&error) => {}
                // Nobody listens; somebody may in a second.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    std::thread::sleep(again.saturating_duration_since(Instant::now()));
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(None)
}

fn may_pass(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted)
}

/// The dictionary of a message with this cookie.
fn answered<'d>(cookie: &str, datagram: &'d [u8]) -> Option<&'d [u8]> {
    datagram.strip_prefix(cookie.as_bytes())?.strip_prefix(b" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(50);

    #[test]
    fn it_asks_again_with_the_same_cookie_and_takes_no_other_answer() {
        let server = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let address = server.local_addr().expect("an address");
        let answering = std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            let (length, _) = server.recv_from(&mut buffer).expect("the lost one");
            let first = buffer[..length].to_vec();
            let (length, client) = server.recv_from(&mut buffer).expect("again");
            assert_eq!(first, &buffer[..length]);
            for reply in ["c0 {\"wrong\":1}", "c {\"result\":\"pong\"}"] {
                server.send_to(reply.as_bytes(), client).expect("sent");
            }
        });
        let reply = exchange(address, b"c {\"command\":\"ping\"}", "c", SOON).expect("a socket");
        assert_eq!(reply.as_deref(), Some(&b"{\"result\":\"pong\"}"[..]));
        answering.join().expect("both were asked alike");
    }

    #[test]
    fn nobody_answers() {
        let unused = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let address = unused.local_addr().expect("an address");
        let silent = exchange(address, b"c {}", "c", Duration::from_millis(2));
        assert_eq!(silent.expect("a socket"), None);
        drop(unused);
        let absent = exchange(address, b"c {}", "c", Duration::from_millis(2));
        assert_eq!(absent.expect("a socket"), None);
        assert!(resolve("no port").is_err());
    }
}
