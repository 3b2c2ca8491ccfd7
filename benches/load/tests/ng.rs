//! `tandem-load ng` against a door on loopback that loses, doubles, refuses and keeps what it should not.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::collections::{BTreeSet, HashMap};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};

/// What it does wrong.
#[derive(Clone, Copy, Debug, Default)]
struct Faults {
    /// The first datagram of this many requests is not heard.
    lost: usize,
    /// Each reply comes twice.
    doubles: bool,
    /// Answers are errors.
    refuses_answers: bool,
    /// Deleted calls stay.
    keeps: bool,
}

/// Answers until it is dropped.
struct Door {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Door {
    fn open(faults: Faults) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        let address = socket.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let mut state = State {
                faults,
                ..State::default()
            };
            let mut buffer = [0; 65_536];
            while !stopped.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else {
                    continue;
                };
                for reply in state.take(&buffer[..length]) {
                    socket.send_to(&reply, from).unwrap();
                }
            }
        });
        Self {
            address,
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking());
        }
    }
}

#[derive(Default)]
struct State {
    faults: Faults,
    calls: BTreeSet<String>,
    heard: HashMap<String, usize>,
}

impl State {
    fn take(&mut self, datagram: &[u8]) -> Vec<Vec<u8>> {
        let text = String::from_utf8_lossy(datagram);
        let (cookie, dictionary) = text.split_once(' ').unwrap();
        if dictionary.starts_with('{') {
            let request: Value = serde_json::from_str(dictionary).unwrap();
            let reply = match request["command"].as_str().unwrap() {
                "ping" => json!({"result": "pong"}),
                "list" => {
                    // As many as rtpengine tells unless it is asked for more.
                    let some: Vec<_> = self.calls.iter().take(32).collect();
                    json!({"result": "ok", "calls": some})
                }
                _ => {
                    json!({"statistics": {"interfaces": [{"ports": {"used": 2 * self.calls.len()}}]}})
                }
            };
            return vec![format!("{cookie} {reply}").into_bytes()];
        }
        let first = !self.heard.contains_key(cookie);
        *self.heard.entry(cookie.to_owned()).or_default() += 1;
        if first && self.heard.len() <= self.faults.lost {
            return Vec::new();
        }
        let reply = format!("{cookie} {}", self.reply(dictionary)).into_bytes();
        vec![reply; if self.faults.doubles { 2 } else { 1 }]
    }

    fn reply(&mut self, dictionary: &str) -> &'static str {
        let call = text_of(dictionary, "7:call-id");
        match text_of(dictionary, "7:command").as_str() {
            "offer" => _ = self.calls.insert(call),
            "answer" if self.faults.refuses_answers => {
                return "d12:error-reason7:no room6:result5:errore";
            }
            "delete" if !self.faults.keeps => _ = self.calls.remove(&call),
            _ => {}
        }
        "d6:result2:ok3:sdp21:m=audio 5000 RTP/AVP 4:tagsdee"
    }
}

/// A string after its key, of a dictionary that the tool wrote.
fn text_of(dictionary: &str, key: &str) -> String {
    let (_, rest) = dictionary.split_once(key).unwrap();
    let (length, rest) = rest.split_once(':').unwrap();
    rest[..length.parse().unwrap()].to_owned()
}

fn tool(doors: &[(&str, &Door)], more: &[&str]) -> Output {
    let targets = doors
        .iter()
        .map(|(name, door)| format!("--target={name}={}", door.address));
    Command::new(env!("CARGO_BIN_EXE_tandem-load"))
        .args([
            "ng",
            "--caller",
            "10.1.0.2",
            "--callee",
            "10.2.0.2",
            "--seconds",
            "1",
        ])
        .args(["--json", "--clients", "2", "--window", "2"])
        .args(targets)
        .args(more)
        .output()
        .unwrap()
}

#[track_caller]
fn report(output: &Output) -> Value {
    let error = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no JSON: {error}"))
}

#[test]
fn calls_are_made_and_two_doors_compared() {
    let (one, other) = (Door::open(Faults::default()), Door::open(Faults::default()));
    let output = tool(&[("one", &one), ("other", &other)], &[]);
    assert!(output.status.success(), "{output:?}");
    let run = report(&output);
    for trial in run["trials"].as_array().unwrap() {
        let commands = trial["commands"].as_u64().unwrap();
        assert!(commands > 100, "{trial}");
        assert_eq!(trial["calls"].as_u64().unwrap() * 4, commands, "{trial}");
        assert_eq!(trial["latency_ns"]["count"], commands);
        for none in [
            "lost",
            "retransmissions",
            "strays",
            "sessions_left",
            "ports_left",
        ] {
            assert_eq!(trial[none], 0, "{none}: {trial}");
        }
        assert_eq!(trial["errors"], json!({}));
    }
    assert!(run["ratios"]["other"].as_f64().unwrap() > 0.0, "{run}");
}

#[test]
fn what_is_lost_is_sent_again_and_doubles_are_told_from_replies() {
    let door = Door::open(Faults {
        lost: 3,
        doubles: true,
        ..Faults::default()
    });
    let run = report(&tool(&[("door", &door)], &[]));
    let trial = &run["trials"][0];
    assert_eq!(
        (&trial["retransmissions"], &trial["lost"]),
        (&json!(3), &json!(0)),
        "{trial}"
    );
    assert!(trial["strays"].as_u64().unwrap() > 10, "{trial}");
    assert!(
        trial["latency_ns"]["max"].as_u64().unwrap() >= 1_000_000_000,
        "{trial}"
    );
    assert_eq!(trial["sessions_left"], 0);
}

#[test]
fn errors_and_what_is_left_fail_the_check() {
    let door = Door::open(Faults {
        refuses_answers: true,
        keeps: true,
        ..Faults::default()
    });
    let output = tool(&[("door", &door)], &["--check"]);
    assert_eq!(output.status.code(), Some(1));
    let trial = &report(&output)["trials"][0];
    let errors = trial["errors"]["answer: no room"].as_u64().unwrap();
    // What fails is deleted at once.
    assert_eq!(trial["commands"].as_u64().unwrap(), 3 * errors, "{trial}");
    assert_eq!(trial["by_command_ns"]["query"]["count"], 0);
    assert!(trial["sessions_left"].as_u64().unwrap() > 0);
    let said = String::from_utf8_lossy(&output.stderr);
    for part in [" errors\n", "door: left "] {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn nobody_there_is_said_before_anything_is_measured() {
    let door = Door::open(Faults::default());
    let gone = Door::open(Faults::default());
    let address = gone.address;
    drop(gone);
    let gone = format!("--target=gone={address}");
    let output = tool(&[("door", &door)], &[&gone]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said, format!("tandem-load: {address} does not answer\n"));
}
