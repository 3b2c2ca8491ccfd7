//! More calls than the control plane can handle: those that are up keep their audio, those that are let in come to their
//! end, answered ones by a BYE, the others are refused with 503, and when it is over it is over.

use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::lab::network::at;
use crate::lab::pair::Pair;
use crate::lab::relay::{Relay, Setup};
use crate::lab::sip::{Message, SENDRECV, audio};
use crate::lab::turn::Turn;

/// Calls a second to begin with; doubled until they are too many.
const FIRST_RATE: u64 = 1_000;
const HIGHEST_RATE: u64 = 64_000;
/// How many seconds of audio each way are heard while it lasts.
const SECONDS: u32 = 5;
const RECOVERY: Duration = Duration::from_secs(5);

/// A number that nobody has time for, and one that is answered.
const BUSY: &str = "7711";
const ANSWERED: &str = "7712";

/// What the callers of the storm have heard: call by call, its final response; the calls that a 100 came for; the BYEs
/// that are not answered yet, with when they were sent last; and how many were.
#[derive(Debug, Default)]
struct Heard {
    finals: HashMap<String, HashSet<u16>>,
    tried: HashSet<String>,
    hanging_up: HashMap<String, (Message, Instant)>,
    hung_up: usize,
}

/// The storm while it lasts.
#[derive(Debug, Default)]
struct Storm {
    rate: AtomicU64,
    over: AtomicBool,
}

/// Ends the threads of a test that fails.
struct Ends<'a>([&'a AtomicBool; 2]);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        for flag in self.0 {
            flag.store(true, Ordering::Relaxed);
        }
    }
}

fn overload(relay: &Relay, field: &str) -> Value {
    let status = relay.json(&["status"]);
    let value = status.pointer(&format!("/overload/{field}"));
    value
        .unwrap_or_else(|| panic!("no {field} in {status}"))
        .clone()
}

fn is_shedding(relay: &Relay) -> bool {
    overload(relay, "shedding") == Value::Bool(true)
}

/// Sends new calls at the storm's rate until it is over, and then listens until nothing comes any more.
fn call(socket: &UdpSocket, storm: &Storm) -> Heard {
    let mut heard = Heard::default();
    let mut number = 0_u64;
    let offer = audio(at("10.1.0.2", 34_000), 1, SENDRECV);
    let mut last = Instant::now();
    let mut owed = 0.0;
    while !storm.over.load(Ordering::Relaxed) {
        let now = Instant::now();
        // What could not be sent in time is not made up for: it would come as a burst.
        let passed = (now - last).min(Duration::from_millis(20));
        owed += passed.as_secs_f64() * storm.rate.load(Ordering::Relaxed) as f64;
        last = now;
        while owed >= 1.0 {
            owed -= 1.0;
            number += 1;
            let _ = socket.send(invite(number, &offer).to_text().as_bytes());
        }
        listen(socket, &mut heard);
        hang_up_again(socket, &mut heard);
        thread::sleep(Duration::from_micros(500));
    }
    let mut quiet = Instant::now();
    let patience = |heard: &Heard| match heard.hanging_up.is_empty() {
        true => Duration::from_secs(1),
        false => Duration::from_secs(5),
    };
    while quiet.elapsed() < patience(&heard) {
        if listen(socket, &mut heard) {
            quiet = Instant::now();
        }
        hang_up_again(socket, &mut heard);
        thread::sleep(Duration::from_millis(1));
    }
    heard
}

fn invite(number: u64, offer: &str) -> Message {
    let user = if number.is_multiple_of(2) {
        ANSWERED
    } else {
        BUSY
    };
    Message::new(format!("INVITE sip:{user}@10.1.0.1:5060 SIP/2.0"))
        .with(
            "Via",
            format!("SIP/2.0/UDP 10.1.0.2:5062;branch=z9hG4bKstorm{number}"),
        )
        .with("Max-Forwards", "70")
        .with("From", format!("<sip:storm@10.1.0.2:5062>;tag=s{number}"))
        .with("To", format!("<sip:{user}@10.1.0.1:5060>"))
        .with("Call-ID", format!("storm-{number}"))
        .with("CSeq", "1 INVITE")
        .with("Contact", "<sip:storm@10.1.0.2:5062>")
        .with_sdp(offer)
}

/// Reads what is there, acknowledges final responses, and hangs up what is answered. Says whether anything was.
fn listen(socket: &UdpSocket, heard: &mut Heard) -> bool {
    let mut buffer = [0; 4096];
    let mut any = false;
    loop {
        let length = match socket.recv(&mut buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return any,
            Err(error) => panic!("storm: {error}"),
        };
        any = true;
        let response = Message::parse(&buffer[..length]);
        let (Some(code), call) = (
            response.status(),
            response.expect_header("Call-ID").to_owned(),
        ) else {
            continue;
        };
        if response.cseq_method() == "BYE" {
            assert_eq!(code, 200, "a BYE is never refused");
            heard.hung_up += usize::from(heard.hanging_up.remove(&call).is_some());
            continue;
        }
        if code < 200 {
            heard.tried.insert(call);
            continue;
        }
        let uri = match code {
            200 => response.contact_uri(),
            _ => "sip:7711@10.1.0.1:5060",
        };
        let request = |method: &str, number: u32| {
            let via = response.expect_header("Via");
            let via = match code {
                200 => via.replace("z9hG4bK", &format!("z9hG4bK{method}")),
                _ => via.to_owned(),
            };
            Message::new(format!("{method} {uri} SIP/2.0"))
                .with("Via", via)
                .copy(&response, &["From", "To", "Call-ID"])
                .with("Max-Forwards", "70")
                .with("CSeq", format!("{number} {method}"))
        };
        let _ = socket.send(request("ACK", 1).to_text().as_bytes());
        if heard.finals.entry(call.clone()).or_default().insert(code) && code == 200 {
            let bye = request("BYE", 2);
            let _ = socket.send(bye.to_text().as_bytes());
            heard.hanging_up.insert(call, (bye, Instant::now()));
        }
    }
}

/// What was lost in the storm is sent again (timer E of RFC 3261, without its doubling).
fn hang_up_again(socket: &UdpSocket, heard: &mut Heard) {
    for (bye, sent) in heard.hanging_up.values_mut() {
        if sent.elapsed() > Duration::from_millis(500) {
            let _ = socket.send(bye.to_text().as_bytes());
            *sent = Instant::now();
        }
    }
}

/// A callee that is busy or answers, by the number that is called. It answers each INVITE that comes again as it did before.
fn be_called(socket: &UdpSocket, storm: &AtomicBool) {
    let answer = audio(at("10.2.0.2", 34_000), 1, SENDRECV);
    let mut buffer = [0; 4096];
    while !storm.load(Ordering::Relaxed) {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else {
            thread::sleep(Duration::from_micros(200));
            continue;
        };
        let request = Message::parse(&buffer[..length]);
        let answered = request.start.contains(ANSWERED);
        let line = match request.method() {
            Some("INVITE") if !answered => "SIP/2.0 486 Busy Here",
            Some("INVITE" | "BYE") => "SIP/2.0 200 OK",
            _ => continue,
        };
        let mut response =
            Message::new(line).copy(&request, &["Via", "From", "To", "Call-ID", "CSeq"]);
        if request.method() == Some("INVITE") {
            for (name, value) in &mut response.headers {
                if name.eq_ignore_ascii_case("To") {
                    value.push_str(";tag=called");
                }
            }
            if answered {
                response = response
                    .with("Contact", "<sip:called@10.2.0.2:5070>")
                    .with_sdp(&answer);
            }
        }
        let _ = socket.send_to(response.to_text().as_bytes(), from);
    }
}

#[test]
fn too_many_calls_are_refused_and_nobody_else_notices() {
    let _turn = Turn::alone();
    let setup = Setup::default().set("log", "\"warn\"");
    let mut pair = Pair::new(&setup);
    let (established, mut parties) = pair.call(30_000);
    Pair::assert_audio(&mut parties);
    let callers = pair.network.caller.udp(at("10.1.0.2", 5062));
    callers.connect(at("10.1.0.1", 5060)).expect("UDP connects");
    let called = pair.network.callee.udp(at("10.2.0.2", 5070));
    for socket in [&callers, &called] {
        socket.set_nonblocking(true).expect("a socket of our own");
    }
    let storm = Storm::default();
    storm.rate.store(FIRST_RATE, Ordering::Relaxed);
    let at_rest = AtomicBool::new(false);

    let heard = thread::scope(|scope| {
        let _ends = Ends([&storm.over, &at_rest]);
        let callee = scope.spawn(|| be_called(&called, &at_rest));
        let caller = scope.spawn(|| call(&callers, &storm));
        let sustained = raise_until_shedding(&pair.relay, &storm);
        storm.rate.store(sustained * 3, Ordering::Relaxed);
        for _ in 0..SECONDS {
            Pair::assert_audio(&mut parties);
        }
        storm.over.store(true, Ordering::Relaxed);
        let over = Instant::now();
        while is_shedding(&pair.relay) {
            assert!(
                over.elapsed() < RECOVERY,
                "{}",
                pair.relay.json(&["status"])
            );
            thread::sleep(Duration::from_millis(100));
        }
        let heard = caller.join().expect("the caller's thread");
        at_rest.store(true, Ordering::Relaxed);
        callee.join().expect("the callee's thread");
        heard
    });

    let codes: HashSet<u16> = heard.finals.values().flatten().copied().collect();
    assert_eq!(codes, HashSet::from([200, 486, 503]), "refusals are 503");
    assert!(
        heard.finals.values().all(|codes| codes.len() == 1),
        "no call has two answers"
    );
    let lost: Vec<_> = heard
        .tried
        .iter()
        .filter(|call| !heard.finals.contains_key(*call))
        .collect();
    assert!(lost.is_empty(), "let in and never answered: {lost:?}");
    let ended_with = |code| {
        let all = heard.finals.values();
        all.filter(|codes| codes.contains(&code)).count()
    };
    for code in [200, 486] {
        let count = ended_with(code);
        assert!(count > 50, "{count} of {}: {code}", heard.finals.len());
    }
    assert!(heard.hanging_up.is_empty(), "{:?}", heard.hanging_up.keys());
    assert_eq!(heard.hung_up, ended_with(200), "each answered call ends");
    pair.relay.expect_gauge("calls", 1, Duration::from_secs(5));
    Pair::assert_audio(&mut parties);
    pair.finish(established);
}

/// Doubles the rate until calls are refused; the rate that is let in then.
#[track_caller]
fn raise_until_shedding(relay: &Relay, storm: &Storm) -> u64 {
    let mut rate = FIRST_RATE;
    while rate <= HIGHEST_RATE {
        storm.rate.store(rate, Ordering::Relaxed);
        let until = Instant::now() + Duration::from_millis(1_500);
        while Instant::now() < until {
            if is_shedding(relay) {
                // It has found its rate a moment later.
                thread::sleep(Duration::from_secs(1));
                let let_in = overload(relay, "calls_per_second").as_f64();
                return let_in.map_or(rate, |rate| rate as u64).clamp(100, rate);
            }
            thread::sleep(Duration::from_millis(50));
        }
        rate *= 2;
    }
    panic!(
        "{HIGHEST_RATE} calls a second were not too many: {}",
        relay.json(&["status"])
    );
}
