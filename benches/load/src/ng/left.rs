//! What is left of the calls when they are over: asked of the target itself.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::client::{connect, may_pass};
use super::execute::NgError;

/// How long what is left may take to go.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a reply may take.
const ANSWER: Duration = Duration::from_secs(1);

/// Sessions and ports in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) sessions: u64,
    pub(super) ports: u64,
}

/// What is left there, as soon as it is nothing, or after a while.
pub(super) fn left(server: SocketAddr, prefix: &str) -> Result<Left, NgError> {
    let socket = connect(server).map_err(NgError::Socket)?;
    socket
        .set_read_timeout(Some(ANSWER / 4))
        .map_err(NgError::Socket)?;
    let end = Instant::now() + PATIENCE;
    let mut number = 0;
    loop {
        number += 1;
        let left = look(&socket, &format!("{prefix}.left.{number}"), server)?;
        if left
            == (Left {
                sessions: 0,
                ports: 0,
            })
            || Instant::now() >= end
        {
            return Ok(left);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Whether it answers at all.
pub(super) fn is_there(server: SocketAddr, prefix: &str) -> Result<(), NgError> {
    let socket = connect(server).map_err(NgError::Socket)?;
    socket
        .set_read_timeout(Some(ANSWER / 4))
        .map_err(NgError::Socket)?;
    ask(&socket, &format!("{prefix}.ping"), "ping", server).map(drop)
}

fn look(socket: &UdpSocket, cookie: &str, server: SocketAddr) -> Result<Left, NgError> {
    let list = ask(socket, &format!("{cookie}.list"), "list", server)?;
    let statistics = ask(
        socket,
        &format!("{cookie}.statistics"),
        "statistics",
        server,
    )?;
    read(&list, &statistics).ok_or(NgError::Untold(server))
}

fn read(list: &Value, statistics: &Value) -> Option<Left> {
    let interfaces = statistics["statistics"]["interfaces"].as_array()?;
    let used = interfaces.iter().map(|each| each["ports"]["used"].as_u64());
    Some(Left {
        sessions: list["calls"].as_array()?.len() as u64,
        ports: used.sum::<Option<u64>>()?,
    })
}

fn ask(
    socket: &UdpSocket,
    cookie: &str,
    command: &str,
    server: SocketAddr,
) -> Result<Value, NgError> {
    let message = format!("{cookie} {{\"command\":\"{command}\"}}");
    let mut buffer = vec![0; 65_536];
    for _ in 0..PATIENCE.as_secs() {
        let again = Instant::now() + ANSWER;
        match socket.send(message.as_bytes()) {
            Err(error) if !may_pass(&error) => return Err(NgError::Socket(error)),
            _ => {}
        }
        while Instant::now() < again {
            match socket.recv(&mut buffer) {
                Ok(length) => {
                    let reply = buffer.get(..length).unwrap_or_default();
                    let reply = reply.strip_prefix(cookie.as_bytes());
                    let read = reply.and_then(|rest| serde_json::from_slice(rest).ok());
                    if let Some(value) = read {
                        return Ok(value);
                    }
                }
                Err(error) if may_pass(&error) => std::thread::sleep(Duration::from_millis(10)),
                Err(error) => return Err(NgError::Socket(error)),
            }
        }
    }
    Err(NgError::Silent(server))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn calls_and_ports_of_all_interfaces_are_counted() {
        let list = json!({"result": "ok", "calls": ["a", "b"]});
        let ports = |used: u64| json!({"ports": {"used": used}});
        let statistics = json!({"statistics": {"interfaces": [ports(4), ports(2)]}});
        let left = read(&list, &statistics).expect("both are told");
        assert_eq!((left.sessions, left.ports), (2, 6));
        assert_eq!(read(&list, &json!({})), None);
        assert_eq!(read(&json!({}), &statistics), None);
    }
}
