//! Proof 6: whatever comes in, tandem stays up, counts it, and running calls lose nothing.

use std::net::UdpSocket;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::lab::call::Call;
use crate::lab::frames::Wire;
use crate::lab::network::{Network, at};
use crate::lab::pair::Pair;
use crate::lab::relay::Setup;
use crate::lab::rtp::{Noise, Party, assert_both_heard_all, talk};
use crate::lab::sip::{SENDRECV, audio};
use crate::lab::turn::Turn;

const SEED: u64 = 6;
const CALLS: u16 = 10;

/// Ten calls talk while `mischief` does its worst; then every packet must have arrived.
fn undisturbed(pair: &mut Pair, mischief: impl FnOnce(&Network, &[Call]) + Send) {
    let mut calls = Vec::new();
    let mut parties: Vec<Party> = Vec::new();
    for number in 0..CALLS {
        let (call, pair) = pair.call(30_000 + 4 * number);
        calls.push(call);
        parties.extend(pair);
    }
    // Everybody is known before the mischief begins.
    talk(&mut parties, 5);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let network = &pair.network;
        let (calls, over) = (&calls, &over);
        let worst = scope.spawn(move || {
            mischief(network, calls);
            over.store(true, Ordering::Relaxed);
        });
        while !over.load(Ordering::Relaxed) && !worst.is_finished() {
            talk(&mut parties, 50);
        }
        worst.join().expect("the mischief went as planned");
    });
    for pair in parties.chunks(2) {
        assert_both_heard_all(&pair[0], &pair[1]);
    }
    for call in calls {
        call.caller_hangs_up(&mut pair.caller, &mut pair.callee);
    }
}

#[test]
fn random_and_truncated_frames_at_media_ports_disturb_nobody() {
    let _turn = Turn::alone();
    let mut pair = Pair::new(&Setup::default());
    undisturbed(&mut pair, |network, calls| {
        let mut wire = Wire::open(&network.caller, &network.relay, "in0");
        let mut noise = Noise(SEED);
        for call in calls {
            truncations(&mut wire, call);
            for _ in 0..400 {
                wire.send(&random_frame(&wire, &mut noise, call));
                std::thread::sleep(Duration::from_micros(200));
            }
        }
    });
    let workers = pair.relay.workers();
    for reason in [
        "not_rtp",
        "wrong_source",
        "no_flow",
        "truncated",
        "bad_udp_checksum",
    ] {
        assert!(workers.dropped_for(reason) > 0, "{reason}: {workers:?}");
    }
}

/// A right frame from the right party, cut at every length.
fn truncations(wire: &mut Wire, call: &Call) {
    let packet = [0x80, 8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0xd5, 0xd5];
    let from = at("10.1.0.2", 29_998);
    let v4 = wire.udp(from, call.caller_sends_to, &packet);
    let port = call.caller_sends_to.port();
    let v6 = wire.udp(at("fd01::2", 29_998), at("fd01::1", port), &packet);
    for frame in [v4, v6] {
        for length in 14..=frame.len() {
            wire.send(&frame[..length]);
        }
    }
}

fn random_frame(wire: &Wire, noise: &mut Noise, call: &Call) -> Vec<u8> {
    let length = noise.below(1400);
    let payload: Vec<u8> = (0..length).map(|_| noise.next() as u8).collect();
    let port = match noise.below(3) {
        0 => 20_000 + noise.below(10_000) as u16,
        _ => call.caller_sends_to.port() + noise.below(2) as u16,
    };
    let source = 40_000 + noise.below(20_000) as u16;
    let mut frame = match noise.below(2) {
        0 => wire.udp(at("10.1.0.2", source), at("10.1.0.1", port), &payload),
        _ => wire.udp(at("fd01::2", source), at("fd01::1", port), &payload),
    };
    // Half of them are damaged behind the MAC addresses, most often in the headers.
    if noise.below(2) == 0 {
        for _ in 0..=noise.below(4) {
            let end = if noise.below(4) == 0 {
                frame.len()
            } else {
                frame.len().min(62)
            };
            let place = 12 + noise.below(end - 12);
            frame[place] = noise.next() as u8;
        }
    }
    frame
}

#[test]
fn ten_thousand_mutated_messages_disturb_nobody() {
    let _turn = Turn::alone();
    // Calls of mutated INVITEs ring where nobody answers; soon they are given up.
    let setup = Setup::default()
        .set("t1", "\"50ms\"")
        .set("port_rest", "\"1s\"")
        .append(
            "[[trunk]]
            name = \"vandals\"
            peers = [\"10.1.0.3\"]
            listeners = [\"inside4\"]
            media = \"inside\"

            [[trunk]]
            name = \"victims\"
            peers = [\"10.2.0.2:5090\"]
            listeners = [\"outside4\"]
            media = \"outside\"

            [[route]]
            from = \"vandals\"
            to = [\"victims\"]

            # All are to be looked at, also where the machine is slow.
            [overload]
            target = \"off\"",
        );
    let mut pair = Pair::new(&setup);
    pair.network.caller.ip("address add 10.1.0.3/24 dev up0");
    // Counted down also on panic, so that the answering thread always ends.
    let answering = Arc::new(());
    let watch = Arc::downgrade(&answering);
    let victim = pair.network.callee.udp(at("10.2.0.2", 5090));
    std::thread::scope(|scope| {
        scope.spawn(|| answer_with_nonsense(&victim, &watch));
        let _answering = answering;
        undisturbed(&mut pair, |network, _| {
            let sender = network.caller.udp(at("10.1.0.3", 5099));
            let (own, foreign) = (own_messages(), foreign_messages());
            let mut noise = Noise(SEED);
            for number in 0..10_000 {
                let corpus = if number % 2 == 0 { &own } else { &foreign };
                let message = mutated(corpus, &mut noise);
                // ICMP errors of earlier ones are of no interest here.
                let _ = sender.send_to(&message, at("10.1.0.1", 5060));
                if number % 5 == 0 {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        });
    });
    // Enough of them were still messages to reach the calls and the session engine.
    assert!(
        pair.relay.calls("offered") > 500,
        "{}",
        pair.relay.json(&["status"])
    );
    assert!(
        pair.relay.calls("answered") > 200,
        "{}",
        pair.relay.json(&["status"])
    );
    assert!(
        pair.relay.parse_errors() > 500,
        "{}",
        pair.relay.json(&["status"])
    );
    let (call, mut parties) = pair.call(31_000);
    Pair::assert_audio(&mut parties);
    call.caller_hangs_up(&mut pair.caller, &mut pair.callee);
}

/// Messages that are right: of every method, and INVITEs with every body of the corpus.
fn own_messages() -> Vec<Vec<u8>> {
    let sdp = audio(at("10.1.0.2", 33_000), 1, SENDRECV).into_bytes();
    let sdp6 = audio(at("fd01::2", 33_000), 1, SENDRECV).into_bytes();
    let mut all = vec![
        own_message("INVITE", &sdp),
        own_message("INVITE", &sdp6),
        own_message("INVITE", b""),
        own_message("UPDATE", &sdp),
        own_message("INFO", b"Signal=1"),
    ];
    for method in ["BYE", "CANCEL", "ACK", "OPTIONS", "FROBNICATE"] {
        all.push(own_message(method, b""));
    }
    let bodies = files("sdp");
    all.extend(bodies.iter().map(|body| own_message("INVITE", body)));
    all
}

fn own_message(method: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "{method} sip:7711@10.1.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.1.0.3:5099;branch=z9hG4bKm1;rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:m@10.1.0.3:5099>;tag=m1\r\nTo: <sip:7711@10.1.0.1>\r\n\
         Call-ID: m1@10.1.0.3\r\nCSeq: 1 {method}\r\nContact: <sip:m@10.1.0.3:5099>\r\n\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// The messages of the parser's corpus, right and wrong ones, as far as a datagram holds them.
fn foreign_messages() -> Vec<Vec<u8>> {
    let mut all = [files("sip/valid"), files("sip/invalid")].concat();
    all.retain(|message| message.len() < 60_000);
    all
}

/// All files of a folder of the corpus.
fn files(folder: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/corpus")
        .join(folder);
    let mut paths: Vec<_> = std::fs::read_dir(&folder)
        .expect("the corpus has this folder")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    assert!(paths.len() >= 10, "{} is whole", folder.display());
    let read = |path| std::fs::read(path).expect("files of the corpus can be read");
    paths.iter().map(read).collect()
}

fn mutated(corpus: &[Vec<u8>], noise: &mut Noise) -> Vec<u8> {
    let mut message = corpus[noise.below(corpus.len())].clone();
    // Calls and transactions of their own, as far as the corpus uses these names.
    let name = format!("m{}", noise.below(5000));
    if let Ok(text) = String::from_utf8(message.clone()) {
        message = text.replace("m1", &name).into_bytes();
    }
    for _ in 0..noise.below(5) {
        if message.is_empty() {
            break;
        }
        let place = noise.below(message.len());
        match noise.below(6) {
            0 => message[place] = noise.next() as u8,
            1 => message[place] ^= 1 << noise.below(8),
            2 => drop(message.drain(place..(place + 1 + noise.below(20)).min(message.len()))),
            3 => message.truncate(place),
            4 => {
                let piece = message[place..(place + noise.below(60)).min(message.len())].to_vec();
                let at = noise.below(message.len());
                message.splice(at..at, piece);
            }
            _ => {
                let other = &corpus[noise.below(corpus.len())];
                let from = noise.below(other.len());
                message.truncate(place);
                message.extend(other.iter().skip(from));
            }
        }
    }
    message
}

/// Answers each INVITE with a 200 whose SDP is damaged.
fn answer_with_nonsense(socket: &UdpSocket, answering: &Weak<()>) {
    let mut noise = Noise(SEED + 1);
    let mut buffer = vec![0; 65536];
    let patience = Some(Duration::from_millis(100));
    socket.set_read_timeout(patience).expect("not zero");
    while answering.strong_count() > 0 {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if text.starts_with("SIP/2.0") || text.starts_with("ACK") {
            continue;
        }
        let mut answer = "SIP/2.0 200 OK\r\n".to_owned();
        for line in text.lines() {
            let name = line.split(':').next().unwrap_or_default();
            if ["Via", "From", "To", "Call-ID", "CSeq"].contains(&name) {
                answer.push_str(line);
                answer.push_str(if name == "To" { ";tag=n\r\n" } else { "\r\n" });
            }
        }
        let mut sdp = audio(at("10.2.0.2", 33_000), 1, SENDRECV).into_bytes();
        for _ in 0..noise.below(4) {
            let place = noise.below(sdp.len());
            sdp[place] = noise.next() as u8;
        }
        answer.push_str("Contact: <sip:n@10.2.0.2:5090>\r\nContent-Type: application/sdp\r\n");
        answer.push_str(&format!("Content-Length: {}\r\n\r\n", sdp.len()));
        let mut answer = answer.into_bytes();
        answer.extend(sdp);
        let _ = socket.send_to(&answer, from);
    }
}

#[test]
fn oversize_datagrams_disturb_nobody() {
    let _turn = Turn::alone();
    let mut pair = Pair::new(&Setup::default());
    undisturbed(&mut pair, |network, calls| {
        let sender = network.caller.udp(at("10.1.0.2", 5099));
        let mut noise = Noise(SEED);
        for length in [1473, 4096, 9000, 65_000, 65_507] {
            let bytes: Vec<u8> = (0..length).map(|_| noise.next() as u8).collect();
            let mut invite = b"INVITE sip:7711@10.1.0.1 SIP/2.0\r\n".to_vec();
            invite.extend(&bytes[invite.len()..]);
            for call in calls {
                // At the media port these are fragments, which are the kernel's.
                for (payload, port) in [
                    (&bytes, call.caller_sends_to.port()),
                    (&bytes, 5060),
                    (&invite, 5060),
                ] {
                    let _ = sender.send_to(payload, at("10.1.0.1", port));
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    });
    assert!(pair.relay.parse_errors() > 0);
    pair.assert_quiet();
}
