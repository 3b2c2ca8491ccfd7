//! A call of the second door is recorded, forwarded, and hears an announcement: by workers, threads and files of a real tandem.

use std::fs;
use std::io::Read as _;
use std::net::{TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::lab::network::{Network, at};
use crate::lab::relay::{Relay, Setup};
use crate::lab::turn::Turn;

const PACKETS: u16 = 50;
const TAKES: &str = "127.0.0.1:9900";
/// What the announcement is made of, in A-law.
const ANNOUNCED: u8 = 0x2a;

fn sdp(address: &str) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\nm=audio 30000 RTP/AVP 8\r\n"
    )
}

fn port(reply: &Value) -> u16 {
    let sdp = reply["sdp"].as_str().unwrap_or_default();
    let line = sdp.lines().find_map(|line| line.strip_prefix("m=audio "));
    let port = line.and_then(|line| line.split(' ').next()?.parse().ok());
    port.unwrap_or_else(|| panic!("no port in {reply}"))
}

/// A second of A-law.
fn announcement() -> Vec<u8> {
    let mut file = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x06\0\x01\0".to_vec();
    file.extend(8000_u32.to_le_bytes());
    file.extend(8000_u32.to_le_bytes());
    file.extend([1, 0, 8, 0]);
    file.extend(b"data");
    file.extend(8000_u32.to_le_bytes());
    file.extend([ANNOUNCED; 8000]);
    file
}

fn rtp(ssrc: u8, sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 8];
    packet.extend(sequence.to_be_bytes());
    packet.extend((u32::from(sequence) * 160).to_be_bytes());
    packet.extend([0, 0, 0, ssrc]);
    packet.extend([0xd5; 160]);
    packet
}

/// What has arrived by now.
fn heard(socket: &UdpSocket) -> Vec<Vec<u8>> {
    let wait = Duration::from_millis(200);
    socket.set_read_timeout(Some(wait)).expect("it is a socket");
    let mut buffer = [0; 2000];
    std::iter::from_fn(|| {
        let length = socket.recv(&mut buffer).ok()?;
        Some(buffer[..length].to_vec())
    })
    .collect()
}

#[test]
fn a_call_is_recorded_forwarded_and_hears_an_announcement() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    let files = tempfile::tempdir().expect("a directory");
    let place = files.path().display();
    fs::write(files.path().join("hello.wav"), announcement()).expect("it is ours");
    let takes = TAKES.parse::<std::net::SocketAddr>().expect("an address");
    let listener = network.relay.within(|| TcpListener::bind(takes));
    let listener = listener.expect("nobody has the port");
    let delay = "delete_delay = \"0s\"";
    let keys = format!(
        "{delay}\nrecording_directory = \"{place}\"\nannouncements = \"{place}\"\nforward_to = \"{TAKES}\""
    );
    let relay = Relay::start(&network, &Setup::ng().replace(delay, &keys));
    let ask = |command: &str, more: Value| {
        let mut request = json!({"command": command, "call-id": "one/call", "from-tag": "a"});
        for (key, value) in more.as_object().expect("a dictionary") {
            request[key] = value.clone();
        }
        let reply = relay.json(&["ng", &request.to_string()]);
        assert_eq!(reply["result"], "ok", "{request}: {reply}");
        reply
    };
    let caller = network.caller.udp(at("10.1.0.2", 30_000));
    let callee = network.callee.udp(at("10.2.0.2", 30_000));
    let offer =
        json!({"sdp": sdp("10.1.0.2"), "direction": ["inside", "outside"], "metadata": "who:they"});
    let to_callee = port(&ask("offer", offer));
    let to_caller = port(&ask(
        "answer",
        json!({"to-tag": "b", "sdp": sdp("10.2.0.2")}),
    ));
    ask("start recording", json!({}));
    ask("start forwarding", json!({}));
    for sequence in 0..PACKETS {
        caller
            .send_to(&rtp(1, sequence), at("10.1.0.1", to_caller))
            .expect("it is sent");
        callee
            .send_to(&rtp(2, sequence), at("10.2.0.1", to_callee))
            .expect("it is sent");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(heard(&callee).len(), usize::from(PACKETS));
    assert_eq!(heard(&caller).len(), usize::from(PACKETS));
    let before = Instant::now();
    let played = ask("play media", json!({"file": "hello.wav"}));
    assert_eq!(played["duration"], 1000, "{played}");
    let heard = heard(&caller);
    assert!(
        before.elapsed() > Duration::from_millis(950),
        "by the clock"
    );
    assert_eq!(heard.len(), 50, "20 ms each");
    assert!(heard.iter().all(|packet| packet[12..] == [ANNOUNCED; 160]));
    assert!(heard[0][1] == 0x88 && heard[1][1] == 8, "marked once");
    let services = relay.json(&["status"])["services"].clone();
    let packets = services["recordings"]["packets"].as_u64().unwrap_or(0);
    assert!(packets >= u64::from(PACKETS) * 2, "{services}");
    assert_eq!(services["plays"]["packets"], 50, "{services}");
    assert_eq!(services["lost_at_tap"], 0, "{services}");
    ask("delete", json!({}));

    let (mut stream, _) = listener.accept().expect("a connection");
    let mut forwarded = Vec::new();
    stream.read_to_end(&mut forwarded).expect("until it ends");
    assert!(
        forwarded.starts_with(b"who:they\0"),
        "{:?}",
        &forwarded[..20.min(forwarded.len())]
    );
    let end = Instant::now() + Duration::from_secs(5);
    let metadata = loop {
        let mut found = fs::read_dir(files.path().join("metadata")).expect("it is there");
        if let Some(Ok(entry)) = found.next() {
            break fs::read_to_string(entry.path()).expect("text");
        }
        assert!(Instant::now() < end, "the recording is not complete");
        std::thread::sleep(Duration::from_millis(10));
    };
    let pcap = fs::metadata(metadata.lines().next().unwrap_or_default()).expect("it is named");
    assert!(
        pcap.len() > u64::from(PACKETS) * 2 * (16 + 28 + 172),
        "{}",
        pcap.len()
    );
    assert!(
        metadata.contains("one%2Fcall") && metadata.contains("who:they"),
        "{metadata}"
    );
    assert!(metadata.contains("lost at the tap: 0\n"), "{metadata}");
}
