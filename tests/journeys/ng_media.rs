//! The second door's commands about media, as those hear who talk: real packets through a real relay.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::lab::network::{Host, Network, at};
use crate::lab::ng::Asker;
use crate::lab::relay::{Relay, Setup};
use crate::lab::turn::Turn;

/// A step of audio: 20 ms of G.711.
const STEP: u32 = 160;
/// How long nothing must come to be nothing.
const SILENCE: Duration = Duration::from_millis(300);

/// Somebody with a socket who sends RTP.
struct Talker {
    socket: UdpSocket,
    address: SocketAddr,
    to: SocketAddr,
    sequence: u16,
    timestamp: u32,
}

impl Talker {
    fn new(host: &Host, address: SocketAddr) -> Self {
        Self {
            socket: host.udp(address),
            address,
            to: address,
            sequence: 100,
            timestamp: 7000,
        }
    }

    fn sdp(&self, more: &str) -> String {
        let (ip, port) = (self.address.ip(), self.address.port());
        format!(
            "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 8 101\r\n\
             a=rtpmap:101 telephone-event/8000\r\n{more}"
        )
    }

    fn packet(&mut self, payload_type: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x80, payload_type];
        packet.extend(self.sequence.to_be_bytes());
        packet.extend(self.timestamp.to_be_bytes());
        packet.extend([1, 2, 3, self.address.port() as u8]);
        packet.extend(payload);
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(STEP);
        packet
    }

    /// Sends so many packets of audio, and gives them.
    fn talk(&mut self, count: usize) -> Vec<Vec<u8>> {
        let packets: Vec<_> = (0..count)
            .map(|index| self.packet(8, &[index as u8; STEP as usize]))
            .collect();
        for packet in &packets {
            self.socket.send_to(packet, self.to).expect("sent");
            std::thread::sleep(Duration::from_millis(2));
        }
        packets
    }

    /// What comes: so many packets, or whatever comes before it is silent.
    fn hear(&self, count: usize) -> Vec<Vec<u8>> {
        let mut heard = Vec::new();
        let mut buffer = [0; 2048];
        let wait = if count == 0 {
            SILENCE
        } else {
            Duration::from_secs(2)
        };
        let _ = self.socket.set_read_timeout(Some(wait));
        while heard.len() < count.max(1) {
            match self.socket.recv(&mut buffer) {
                Ok(length) => heard.push(buffer[..length].to_vec()),
                Err(_) => break,
            }
        }
        heard
    }

    /// The other one talks, and this one hears exactly what is expected.
    #[track_caller]
    fn hears_all_of(&self, other: &mut Self, count: usize) {
        let said = other.talk(count);
        assert_eq!(self.hear(count), said);
    }
}

/// A call through a relay that records, plays and forwards, until its end.
struct Scene {
    asker: Asker,
    a: Talker,
    b: Talker,
    relay: Relay,
    network: Network,
    directory: TempDir,
}

impl Scene {
    #[track_caller]
    fn new() -> Self {
        let directory = TempDir::new().expect("a directory");
        let recordings = directory.path().display();
        let network = Network::new(2);
        let setup = Setup::ng().under("[ng]", &format!("recording_directory = \"{recordings}\"\n"));
        let relay = Relay::start(&network, &setup);
        let control = at("127.0.0.1", 2223);
        let asker = Asker::new(&network.relay, at("127.0.0.1", 0), control);
        let a = Talker::new(&network.caller, at("10.1.0.2", 4000));
        let b = Talker::new(&network.callee, at("10.2.0.2", 6000));
        let mut scene = Self {
            asker,
            a,
            b,
            relay,
            network,
            directory,
        };
        let offer =
            json!({"from-tag": "a", "sdp": scene.a.sdp(""), "direction": ["inside", "outside"]});
        scene.b.to = media_of(&scene.ok("offer", offer));
        let answer = json!({"from-tag": "a", "to-tag": "b", "sdp": scene.b.sdp("")});
        scene.a.to = media_of(&scene.ok("answer", answer));
        scene.b.hears_all_of(&mut scene.a, 5);
        scene.a.hears_all_of(&mut scene.b, 5);
        scene
    }

    fn ask(&mut self, command: &str, mut more: Value) -> Value {
        more["command"] = command.into();
        more["call-id"] = "one".into();
        self.asker.ask(&more)
    }

    #[track_caller]
    fn ok(&mut self, command: &str, more: Value) -> Value {
        let reply = self.ask(command, more);
        assert_eq!(reply["result"], "ok", "{command}: {reply}");
        reply
    }

    /// Nothing is left of the call.
    #[track_caller]
    fn end(mut self) {
        self.ok("delete", json!({"from-tag": "a"}));
        let status = self.relay.json(&["status"]);
        assert_eq!(status["media"]["sessions"], 0, "{}", status["media"]);
        drop(self.network);
    }
}

/// Where a body's first stream is.
#[track_caller]
fn media_of(reply: &Value) -> SocketAddr {
    let sdp = reply["sdp"].as_str().expect("a body");
    let word = |line: &str, index: usize| {
        let found = sdp.lines().find(|each| each.starts_with(line));
        let found = found.and_then(|each| each.split(' ').nth(index));
        found
            .unwrap_or_else(|| panic!("{line} in {sdp}"))
            .to_owned()
    };
    at(&word("c=", 2), word("m=", 1).parse().expect("a port"))
}

/// The payloads of UDP in a file of raw IP packets, with their IP version's source port.
fn pcap(path: &Path) -> Vec<(u16, Vec<u8>)> {
    let bytes = std::fs::read(path).expect("a file");
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four"));
    assert!(matches!(word(0), 0xa1b2_c3d4 | 0xa1b2_3c4d), "pcap");
    assert_eq!(word(20), 101, "raw IP");
    let mut packets = Vec::new();
    let mut at = 24;
    while at < bytes.len() {
        let length = word(at + 8) as usize;
        let packet = &bytes[at + 16..at + 16 + length];
        assert_eq!((packet[0], packet[9]), (0x45, 17), "IPv4 and UDP");
        packets.push((
            u16::from_be_bytes([packet[20], packet[21]]),
            packet[28..].to_vec(),
        ));
        at += 16 + length;
    }
    packets
}

fn only_file(directory: &Path) -> std::path::PathBuf {
    let entries = std::fs::read_dir(directory).expect("a directory");
    let files: Vec<_> = entries.map(|entry| entry.expect("a file").path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].clone()
}

#[test]
fn what_one_says_is_blocked_and_silenced_and_the_other_is_heard() {
    let _turn = Turn::shared();
    let mut scene = Scene::new();
    scene.ok("block media", json!({"from-tag": "a"}));
    scene.a.talk(5);
    assert_eq!(scene.b.hear(0), Vec::<Vec<u8>>::new());
    scene.a.hears_all_of(&mut scene.b, 5);
    scene.ok("unblock media", json!({"from-tag": "a"}));
    scene.b.hears_all_of(&mut scene.a, 5);

    scene.ok("silence media", json!({"from-tag": "a"}));
    let mut silent = scene.a.talk(5);
    silent.iter_mut().for_each(|packet| packet[12..].fill(0xd5));
    assert_eq!(scene.b.hear(5), silent);
    scene.ok("unsilence media", json!({"from-tag": "a"}));

    scene.ok("block DTMF", json!({"from-tag": "a"}));
    let key = scene.a.packet(101, &[1, 10, 0, 160]);
    scene.a.socket.send_to(&key, scene.a.to).expect("sent");
    scene.b.hears_all_of(&mut scene.a, 5);
    let workers = scene.relay.json(&["status"]);
    let drops = &workers["workers"]["drops"];
    assert_eq!(
        (&drops["blocked"], &drops["dtmf_blocked"]),
        (&5.into(), &1.into())
    );
    scene.end();
}

#[test]
fn keys_are_heard_in_the_place_of_audio() {
    let _turn = Turn::shared();
    let mut scene = Scene::new();
    scene.ok(
        "play DTMF",
        json!({"from-tag": "a", "code": "5", "duration": 100}),
    );
    let said = scene.a.talk(20);
    let heard = scene.b.hear(20);
    assert_eq!(heard.len(), 20, "none more and none less");
    let sequences = |packets: &[Vec<u8>]| -> Vec<_> {
        packets
            .iter()
            .map(|packet| [packet[2], packet[3]])
            .collect()
    };
    assert_eq!(sequences(&heard), sequences(&said));
    let events: Vec<_> = heard
        .iter()
        .filter(|packet| packet[1] & 0x7f == 101)
        .collect();
    assert_eq!(
        events.len(),
        7,
        "100 ms in steps of 20, and the end twice more"
    );
    assert!(
        events
            .iter()
            .all(|event| event[12] == 5 && event.len() == 16)
    );
    assert_eq!(
        events.iter().filter(|event| event[13] & 0x80 != 0).count(),
        3
    );
    let marked: Vec<_> = events.iter().map(|event| event[1] >> 7).collect();
    assert_eq!(marked, [1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(heard[7..], said[7..], "and audio again");
    scene.end();
}

#[test]
fn a_recording_has_what_both_have_said() {
    let _turn = Turn::shared();
    let mut scene = Scene::new();
    scene.ok("start recording", json!({"metadata": "customer=7"}));
    let from_a = scene.a.talk(20);
    let from_b = scene.b.talk(20);
    assert_eq!((scene.a.hear(20).len(), scene.b.hear(20).len()), (20, 20));
    scene.ok("pause recording", json!({}));
    scene.b.hears_all_of(&mut scene.a, 5);
    scene.ok("start recording", json!({}));
    let more = scene.a.talk(1);
    std::thread::sleep(Duration::from_millis(100));
    scene.ok("stop recording", json!({}));
    scene.a.talk(5);
    let recordings = scene.directory.path();
    let file = only_file(&recordings.join("pcaps"));
    let until = Instant::now() + Duration::from_secs(5);
    while pcap(&file).len() < 41 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50));
    }
    let recorded = pcap(&file);
    let of = |port: u16| -> Vec<Vec<u8>> {
        let of_port = recorded.iter().filter(|(source, _)| *source == port);
        of_port.map(|(_, payload)| payload.clone()).collect()
    };
    assert_eq!(of(4000), [from_a, more].concat());
    assert_eq!(of(6000), from_b);
    let metadata = std::fs::read_to_string(only_file(&recordings.join("metadata")));
    let metadata = metadata.expect("text");
    for expected in ["one", "customer=7"] {
        assert!(metadata.contains(expected), "{expected} in {metadata}");
    }
    scene.end();
}

#[test]
fn a_subscriber_hears_what_the_party_says() {
    let _turn = Turn::shared();
    let mut scene = Scene::new();
    let spy = Talker::new(&scene.network.callee, at("10.2.0.2", 7000));
    let ask = json!({"from-tag": "a", "to-tag": "spy", "direction": ["inside", "outside"]});
    let offered = scene.ok("subscribe request", ask);
    assert_eq!(media_of(&offered).ip(), scene.b.to.ip());
    let answer = json!({"to-tag": "spy", "sdp": spy.sdp("a=recvonly\r\n")});
    scene.ok("subscribe answer", answer);
    let said = scene.a.talk(20);
    assert_eq!(scene.b.hear(20), said);
    assert_eq!(spy.hear(20), said);
    scene.a.hears_all_of(&mut scene.b, 5);
    assert_eq!(
        spy.hear(0),
        Vec::<Vec<u8>>::new(),
        "only whom it subscribes to"
    );
    scene.ok("unsubscribe", json!({"to-tag": "spy"}));
    scene.b.hears_all_of(&mut scene.a, 5);
    assert_eq!(spy.hear(0), Vec::<Vec<u8>>::new());
    scene.end();
}
