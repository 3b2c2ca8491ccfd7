//! The second door and connections that no proxy would make: closed and counted, while everybody else is answered.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use crate::lab::network::at;
use crate::lab::ng::Asker;
use crate::lab::ng_door::{CONNECTIONS, Door, MAY_NOT};
use crate::lab::turn::Turn;

#[test]
fn who_may_not_ask_gets_no_answer() {
    let _turn = Turn::shared();
    let door = Door::new();
    let stranger = &door.network.callee;
    let mut asker = Asker::new(stranger, at(MAY_NOT, 0), at("10.1.0.1", 2223));
    let ping = json!({"command": "ping"});
    assert_eq!(asker.try_ask(&ping, Duration::from_millis(500)), None);
    assert_eq!(door.of_listener("udp", "refused"), 1);
    for port in [2224, 2225] {
        let to = at("10.1.0.1", port);
        let stream = stranger.within(|| TcpStream::connect(to));
        let mut stream = stream.expect("it listens");
        let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
        let _ = stream.write_all(b"c d7:command4:pinge");
        let said = assert_closed(&mut stream, b"a stranger");
        assert!(said.is_empty(), "{said}");
    }
    assert_eq!(door.of_listener("tcp", "refused"), 1);
    assert_eq!(door.of_listener("http", "refused"), 1);
    door.assert_answers();
}

#[test]
fn streams_of_nonsense_and_endless_requests_are_closed() {
    let _turn = Turn::shared();
    let door = Door::new();
    let endless = [&b"c d1:a100000:"[..], &vec![b'x'; 200_000]].concat();
    for nonsense in [&b"\0\0\0\0 \0\0"[..], &vec![b'x'; 100_000], &endless] {
        let mut stream = door.connect(2224);
        // It may be closed amid what is sent.
        let _ = stream.write_all(nonsense);
        assert_closed(&mut stream, &nonsense[..nonsense.len().min(20)]);
    }
    for (request, status) in [
        (
            "POST /ng HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n".to_owned(),
            "413",
        ),
        (
            "POST /ng HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n".to_owned(),
            "400",
        ),
        ("NONSENSE\r\n\r\n".to_owned(), "400"),
        (
            format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(100_000)),
            "4",
        ),
    ] {
        let mut stream = door.connect(2225);
        let _ = stream.write_all(request.as_bytes());
        let said = assert_closed(&mut stream, &request.as_bytes()[..10]);
        assert!(
            said.is_empty() || said.starts_with(&format!("HTTP/1.1 {status}")),
            "{said}"
        );
    }
    door.assert_answers();
    assert!(door.of_listener("tcp", "malformed") + door.of_listener("tcp", "too_large") >= 3);
    assert!(door.of_listener("http", "malformed") + door.of_listener("http", "too_large") >= 3);
    door.await_of_listener("tcp", "connections/open", 0);
    door.await_of_listener("http", "connections/open", 0);
}

/// Masked with zeros, which leaves the payload as it is.
fn frame(first: u8, length: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    frame.extend(length);
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// A WebSocket of whoever may ask.
fn web_socket(door: &Door) -> TcpStream {
    let mut stream = door.connect(2225);
    let upgrade = "GET /ng HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Protocol: ng.rtpengine.com\r\n\r\n";
    stream.write_all(upgrade.as_bytes()).expect("it is open");
    let mut said = Vec::new();
    let mut byte = [0];
    while !said.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("a response");
        said.push(byte[0]);
    }
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(said.starts_with("HTTP/1.1 101 "), "{said}");
    stream
}

const PING: &[u8] = b"c d7:command4:pinge";
const PONG: &[u8] = b"c d6:result4:ponge";

#[test]
fn frames_that_no_web_socket_sends_end_it() {
    let _turn = Turn::shared();
    let door = Door::new();
    let mut sound = web_socket(&door);
    let ping = frame(0x82, &[0x80 | PING.len() as u8], PING);
    let hostile = [
        ("not masked", [&[0x82, PING.len() as u8][..], PING].concat()),
        ("a reserved opcode", frame(0x83, &[0x80], b"")),
        ("reserved bits", frame(0xf2, &[0x80], b"")),
        ("the rest of nothing", frame(0x80, &[0x83], b"abc")),
        ("a ping in pieces", frame(0x09, &[0x83], b"abc")),
        ("a long ping", frame(0x89, &[0xfe, 0, 200], &[b'x'; 200])),
        (
            "eight exabytes",
            frame(0x82, &[0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255], b"x"),
        ),
        ("no text", frame(0x81, &[0x82], b"\xff\xfe")),
        ("a close that says half a code", frame(0x88, &[0x81], b"x")),
        ("no frame", b"\x00\x01\x02GET / HTTP/1.1\r\n\r\n".to_vec()),
    ];
    let count = hostile.len() as u64;
    for (what, bytes) in hostile {
        let mut stream = web_socket(&door);
        stream.write_all(&bytes).expect("it is open");
        assert_closed(&mut stream, what.as_bytes());
    }
    // Pieces without end: each is small, together they are too large.
    let mut stream = web_socket(&door);
    let mut piece = frame(0x02, &[0xfe, 0x10, 0], &[b'x'; 0x1000]);
    while stream.write_all(&piece).is_ok() {
        piece[0] = 0;
    }
    assert_closed(&mut stream, b"pieces without end");
    // What is no request is answered or dropped as in a datagram, and the WebSocket goes on.
    sound
        .write_all(&frame(0x82, &[0x85], b"c xyz"))
        .expect("it is open");
    sound
        .write_all(&frame(0x82, &[0x84], b"wxyz"))
        .expect("it is open");
    sound.write_all(&ping).expect("it is open");
    let mut said = Vec::new();
    let mut buffer = [0; 1024];
    while !said.ends_with(PONG) {
        let length = sound.read(&mut buffer).expect("a reply");
        assert_ne!(length, 0, "{}", said.escape_ascii());
        said.extend(&buffer[..length]);
    }
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(said.contains("Invalid NG data format"), "{said}");
    assert_eq!(
        door.of_listener("http", "connections/web_sockets"),
        count + 2
    );
    assert!(door.of_listener("http", "malformed") + door.of_listener("http", "too_large") >= count);
    drop(sound);
    door.await_of_listener("http", "connections/open", 0);
}

#[test]
fn one_connection_more_than_there_is_room_for_is_closed() {
    let _turn = Turn::shared();
    let door = Door::new();
    let held: Vec<_> = (0..CONNECTIONS).map(|_| door.connect(2224)).collect();
    door.await_of_listener("tcp", "connections/open", CONNECTIONS as u64);
    for _ in 0..50 {
        assert_closed(&mut door.connect(2224), b"one too many");
    }
    assert_eq!(door.of_listener("tcp", "connections/turned_away"), 50);
    for mut stream in held {
        assert_eq!(asked(&mut stream), PONG);
    }
    door.await_of_listener("tcp", "connections/open", 0);
    assert_eq!(asked(&mut door.connect(2224)), PONG);
}

/// What a ping over this connection is answered with.
#[track_caller]
fn asked(stream: &mut TcpStream) -> Vec<u8> {
    stream.write_all(PING).expect("it is open");
    let mut said = vec![0; PONG.len()];
    stream.read_exact(&mut said).expect("a reply");
    said
}

/// A request may come in single bytes; whoever waits for one of them waits alone.
#[test]
fn slow_senders_and_who_never_reads_hold_up_nobody() {
    let _turn = Turn::shared();
    let door = Door::new();
    let mut slow: Vec<_> = (0..CONNECTIONS - 1).map(|_| door.connect(2224)).collect();
    let mut deaf = door.connect(2224);
    let pause = Duration::from_millis(20);
    let _ = deaf.set_write_timeout(Some(pause));
    let pings = PING.repeat(1_000);
    for byte in PING {
        for stream in &mut slow {
            stream.write_all(&[*byte]).expect("it is open");
        }
        // Until neither side's buffers hold more, or it is closed for that.
        let _ = deaf.write_all(&pings);
        let asked_at = std::time::Instant::now();
        door.assert_answers();
        let took = asked_at.elapsed();
        assert!(took < Duration::from_secs(1), "{took:?}");
        std::thread::sleep(pause);
    }
    for stream in &mut slow {
        let mut said = vec![0; PONG.len()];
        stream.read_exact(&mut said).expect("a reply");
        assert_eq!(said, PONG);
    }
    drop((slow, deaf));
    door.await_of_listener("tcp", "connections/open", 0);
}

/// Until the other side has closed; what it said before.
#[track_caller]
fn assert_closed(stream: &mut TcpStream, shown: &[u8]) -> String {
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{}: {error}", String::from_utf8_lossy(shown)),
    }
    String::from_utf8_lossy(&said).into_owned()
}
