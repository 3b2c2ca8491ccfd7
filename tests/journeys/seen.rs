//! What is seen from outside of a real call: its record, its story, its capture file, its copies for a collector.

use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::lab::call::Call;
use crate::lab::network::{Network, at};
use crate::lab::pair::Pair;
use crate::lab::phone::Phone;
use crate::lab::relay::{MEDIA_PORTS, Relay, Setup};
use crate::lab::rtp::{Party, talk};
use crate::lab::sip::{SENDRECV, audio};
use crate::lab::turn::Turn;

const CDR: &str = "[cdr]\nfile = \"DIRECTORY/calls.json\"\n";

fn file(relay: &Relay, name: &str) -> PathBuf {
    relay.config().with_file_name(name)
}

#[test]
fn a_record_counts_what_the_hosts_have_counted() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    network.count_media(MEDIA_PORTS.0, MEDIA_PORTS.1);
    let mut pair = Pair::on(network, &Setup::default().append(CDR));
    let (call, mut parties) = pair.call(30_000);
    talk(&mut parties, 100);
    // One of them says more than the other.
    talk([&mut parties[0]], 37);
    std::thread::sleep(Duration::from_millis(200));
    let relay = &pair.relay;
    let flows = relay.json(&["flows", "1"]);
    let bytes: u64 = flows["flows"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|flow| flow["carries"] == "rtp")
        .filter_map(|flow| flow["bytes"].as_u64())
        .sum();
    let by_caller = pair.network.caller.counted("sent");
    let by_callee = pair.network.callee.counted("sent");
    call.caller_hangs_up(&mut pair.caller, &mut pair.callee);

    let record = pair.relay.records(1).remove(0);
    assert_eq!(record["caller_packets"], by_caller, "{record}");
    assert_eq!(record["callee_packets"], by_callee, "{record}");
    assert!(by_caller >= 137 && by_callee >= 100 && by_caller > by_callee);
    let total = record["caller_bytes"]
        .as_u64()
        .zip(record["callee_bytes"].as_u64());
    assert_eq!(total.map(|(one, other)| one + other), Some(bytes));
    for (field, expected) in [
        ("call", Value::from(1)),
        ("caller_trunk", "callers".into()),
        ("callee_trunk", "callees4".into()),
        ("caller_signalling", "10.1.0.2:5060".into()),
        ("callee_signalling", "10.2.0.2:5060".into()),
        ("caller_media", "10.1.0.2:30000".into()),
        ("caller_media_latched", "10.1.0.2:30000".into()),
        ("callee_media", "10.2.0.2:30000".into()),
        ("codec", "PCMA/8000".into()),
        ("released_by", "caller".into()),
        ("cause", "bye".into()),
        ("q850_cause", 16.into()),
        ("targets", "callees4 10.2.0.2:5060 200".into()),
        ("caller_wrong_source", 0.into()),
    ] {
        assert_eq!(record[field], expected, "{field} of {record}");
    }
    assert!(record["duration_ms"].as_u64().is_some_and(|ms| ms >= 2_000));
    let times = ["received", "ringing", "answered", "ended"].map(|name| record[name].as_str());
    assert!(times.is_sorted() && times[0].is_some(), "{times:?}");

    // The same by the CLI, and in figures.
    let table = pair.relay.table(&["cdr", "tail"]);
    assert!(table.contains("caller: bye"), "{table}");
    let tailed = pair.relay.json(&["cdr", "tail", "-n", "1"]);
    assert_eq!(tailed, record);
    let status = pair.relay.json(&["status"]);
    assert_eq!(status["cdr"]["written"], 1);
    // Within a second, by default, it is on the disk.
    let until = Instant::now() + Duration::from_secs(5);
    while pair.relay.json(&["status"])["cdr"]["unsynced"] != 0 {
        assert!(Instant::now() < until, "the record is not synced");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(status["cdr"]["lost_write_failed"], 0);
    pair.relay.stop();
}

#[test]
fn a_real_call_is_explained_drawn_and_captured() {
    let _turn = Turn::shared();
    let setup = Setup::default().append("[explain]\nmessages = \"whole\"\n");
    let mut pair = Pair::new(&setup);
    let (call, mut parties) = pair.call(30_000);
    talk(&mut parties, 50);
    let live = pair.relay.table(&["explain", "1"]);
    assert!(live.contains("call 1, up, began 20"), "{live}");
    assert!(live.contains(" latch "), "{live}");
    assert!(live.contains("so far: 5"), "{live}");
    let caller_id = pair.relay.json(&["explain", "1"])["call_ids"][0].clone();
    call.callee_hangs_up(&mut pair.caller, &mut pair.callee);

    let call_id = caller_id.as_str().expect("text");
    let story = pair.relay.json(&["explain", call_id]);
    assert_eq!((&story["call"], &story["ended"]), (&1.into(), &true.into()));
    let kinds: Vec<_> = story["lines"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|line| line["kind"].as_str())
        .collect();
    for kind in [
        "in", "out", "sdp", "route", "target", "flows", "state", "latch", "release", "flow",
    ] {
        assert!(kinds.contains(&kind), "no {kind} in {story}");
    }
    let ladder = pair.relay.table(&["trace", "1"]);
    for part in [
        "10.1.0.2:5060",
        "tandem",
        "10.2.0.2:5060",
        "INVITE ─",
        "◄",
        "180 Ringing",
        " BYE ",
    ] {
        assert!(ladder.contains(part), "no {part} in\n{ladder}");
    }
    let pcap = file(&pair.relay, "call.pcap");
    let path = pcap.to_str().expect("UTF-8");
    let said = pair.relay.table(&["trace", "1", "--pcap", path]);
    assert!(said.starts_with("13 of 13 messages"), "{said}");
    let output = Command::new("tshark")
        .args(["-r", path, "-T", "fields", "-e", "ip.src", "-e", "ip.dst"])
        .args([
            "-e",
            "sip.Method",
            "-e",
            "sip.Status-Code",
            "-e",
            "udp.checksum.status",
        ])
        .args(["-o", "udp.check_checksum:TRUE"])
        .output()
        .expect("scripts/test installs tshark");
    assert!(output.status.success(), "{output:?}");
    let read = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<_> = read.lines().collect();
    assert_eq!(lines.len(), 13, "{read}");
    assert_eq!(lines[0], "10.1.0.2\t10.1.0.1\tINVITE\t\t1", "{read}");
    assert!(lines.contains(&"10.2.0.2\t10.2.0.1\t\t180\t1"), "{read}");

    // Switched off, a call has a ladder and no capture.
    pair.relay.table(&["trace", "--keep", "off"]);
    let (call, _) = pair.call(30_100);
    call.caller_hangs_up(&mut pair.caller, &mut pair.callee);
    assert!(pair.relay.table(&["trace", "2"]).contains("INVITE"));
    let refused = pair.relay.ask(&["trace", "2", "--pcap", path]);
    assert!(!refused.status.success());
    let unknown = pair.relay.ask(&["explain", "nobody"]);
    let why = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(why.contains("no call with the Call-ID \"nobody\""), "{why}");
    pair.assert_quiet();
}

/// A target that says nothing, and a stranger at the caller's port.
#[test]
fn a_story_tells_of_timers_and_of_what_was_dropped() {
    let _turn = Turn::shared();
    let first = "peers = [\"10.2.0.2:5070\"]";
    let setup = Setup::default()
        .replace(
            first,
            &format!("{first}\nfailover = {{ after = \"500ms\" }}"),
        )
        .replace("latch_window = \"10s\"\n", "")
        .set("latch", "\"sdp\"");
    let mut pair = Pair::new(&setup);
    let silent = Phone::new(
        &pair.network.callee,
        at("10.2.0.2", 5070),
        at("10.2.0.1", 5060),
    );
    let mut parties = pair.parties(30_000);
    let (one, other) = (parties[0].address(), parties[1].address());
    let call = Call::establish(&mut pair.caller, &mut pair.callee, "7711", one, other);
    parties[0].towards = Some(call.caller_sends_to);
    parties[1].towards = Some(call.callee_sends_to);
    let mut stranger = Party::g711(&pair.network.caller, at("10.1.0.2", 30_300));
    stranger.towards = Some(call.caller_sends_to);
    let [one, other] = &mut parties;
    talk([one, other, &mut stranger], 25);
    let live = pair.relay.table(&["explain", "1"]);
    let dropped = "25 dropped from another source (wrong_source)";
    assert!(live.contains(dropped), "{live}");
    call.caller_hangs_up(&mut pair.caller, &mut pair.callee);
    pair.relay.expect_gauge("flows", 0, Duration::from_secs(5));
    let story = pair.relay.table(&["explain", "1"]);
    for told in [
        "note     the target has been silent for too long",
        "first at 10.2.0.2:5070",
        "callees4 at 10.2.0.2:5060",
        dropped,
    ] {
        assert!(story.contains(told), "no {told} in\n{story}");
    }
    drop(silent);
}

/// The file is moved away, as logrotate does; what follows is in a new one.
#[test]
fn records_as_csv_go_on_in_a_new_file_after_sighup() {
    let _turn = Turn::shared();
    let csv = "[cdr]\nfile = \"DIRECTORY/calls.csv\"\nformat = \"csv\"\n";
    let mut pair = Pair::new(&Setup::default().append(csv));
    let [current, former] = ["calls.csv", "calls.csv.1"].map(|name| file(&pair.relay, name));
    let records = |path: &PathBuf| {
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            if text.lines().count() == 2 {
                return text;
            }
            assert!(Instant::now() < until, "two lines are expected: {text}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let (call, _) = pair.call(30_000);
    call.caller_hangs_up(&mut pair.caller, &mut pair.callee);
    let first = records(&current);
    std::fs::rename(&current, &former).expect("the directory is ours");
    pair.relay.signal(Signal::HUP);
    let until = Instant::now() + Duration::from_secs(10);
    while !current.exists() {
        assert!(Instant::now() < until, "SIGHUP opens the file anew");
        std::thread::sleep(Duration::from_millis(50));
    }
    let (call, _) = pair.call(30_100);
    call.callee_hangs_up(&mut pair.caller, &mut pair.callee);
    let second = records(&current);
    assert_eq!(records(&former), first, "nothing is added");
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let (first, second) = (lines(&first), lines(&second));
    assert_eq!(first[0], second[0], "the names of the fields");
    let names: Vec<_> = first[0].split(',').collect();
    let place = names.iter().position(|name| *name == "released_by");
    let place = place.expect("a field of this name");
    // No field before it has a comma in this call.
    let by = |line: &str| line.split(',').nth(place).map(str::to_owned);
    assert_eq!(by(&first[1]).as_deref(), Some("caller"), "{first:?}");
    assert_eq!(by(&second[1]).as_deref(), Some("callee"), "{second:?}");
}

#[test]
fn a_refused_call_has_a_record_and_a_story() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default().append(CDR));
    let mut dialog = pair.caller.dialog("9");
    let offer = audio(at("10.1.0.2", 31_000), 1, SENDRECV);
    let request = pair.caller.request(&mut dialog, "INVITE").with_sdp(&offer);
    pair.caller.send(&request);
    let refusal = pair.caller.expect_response(404, "INVITE");
    pair.caller
        .send(&pair.caller.ack_refusal(&request, &refusal));
    let record = pair.relay.records(1).remove(0);
    assert_eq!(record["cause"], "no_route");
    assert_eq!(record["sip_code"], 404);
    assert_eq!(record["callee_uri"], Value::Null);
    let story = pair.relay.table(&["explain", "1"]);
    assert!(
        story.contains("by tandem: no_route, 404, Q.850 1"),
        "{story}"
    );
}

#[test]
fn calls_go_on_when_records_cannot_be_written_and_are_written_again_when_they_can() {
    let _turn = Turn::shared();
    // The directory is not there yet.
    let cdr = "[cdr]\nfile = \"DIRECTORY/later/calls.json\"\n";
    let mut pair = Pair::new(&Setup::default().append(cdr));
    let (call, mut parties) = pair.call(30_000);
    Pair::assert_audio(&mut parties);
    call.caller_hangs_up(&mut pair.caller, &mut pair.callee);
    let lost = |pair: &Pair| pair.relay.json(&["status"])["cdr"]["lost_write_failed"].clone();
    let until = Instant::now() + Duration::from_secs(5);
    while lost(&pair) != 1 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(lost(&pair), 1, "{}", pair.relay.log());
    std::fs::create_dir(file(&pair.relay, "later")).expect("it is ours");
    // SIGHUP opens the file at once.
    pair.relay.signal(Signal::HUP);
    let path = file(&pair.relay, "later/calls.json");
    let until = Instant::now() + Duration::from_secs(5);
    while !path.exists() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50));
    }
    let (call, mut parties) = pair.call(30_100);
    Pair::assert_audio(&mut parties);
    call.caller_hangs_up(&mut pair.caller, &mut pair.callee);
    pair.relay.stop();
    let text = std::fs::read_to_string(&path).expect("the file");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(pair.relay.log().contains("calls go on without"));
}

#[test]
fn a_full_disk_costs_records_and_no_call() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default().append("[cdr]\nfile = \"/dev/full\"\n"));
    for port in [30_000, 30_100] {
        let (call, mut parties) = pair.call(port);
        Pair::assert_audio(&mut parties);
        call.caller_hangs_up(&mut pair.caller, &mut pair.callee);
    }
    pair.assert_quiet();
    // The second may be lost to the pause after the first.
    let until = Instant::now() + Duration::from_secs(5);
    let cdr = |pair: &Pair| pair.relay.json(&["status"])["cdr"].clone();
    while cdr(&pair)["lost_write_failed"] != 2 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50));
    }
    let counted = cdr(&pair);
    assert_eq!(
        (&counted["lost_write_failed"], &counted["written"]),
        (&2.into(), &0.into())
    );
    pair.relay.stop();
    assert!(pair.relay.log().contains("calls go on without"));
}

#[test]
fn a_collector_gets_every_message() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    let collector: UdpSocket = network.callee.udp(at("10.2.0.2", 9060));
    let patience = Some(Duration::from_secs(5));
    collector
        .set_read_timeout(patience)
        .expect("it is a socket");
    let hep = "[hep]\ncollector = \"10.2.0.2:9060\"\nid = 7\npassword = \"pass\"\n";
    let mut pair = Pair::on(network, &Setup::default().append(hep));
    let (call, _) = pair.call(30_000);
    call.caller_hangs_up(&mut pair.caller, &mut pair.callee);
    let mut buffer = [0; 4096];
    let mut texts = Vec::new();
    for _ in 0..13 {
        let length = collector.recv(&mut buffer).expect("a packet");
        let packet = &buffer[..length];
        assert_eq!(&packet[..4], b"HEP3");
        let find = |kind: u16| {
            let mut rest = &packet[6..];
            while rest.len() >= 6 {
                let length = usize::from(u16::from_be_bytes([rest[4], rest[5]]));
                if u16::from_be_bytes([rest[2], rest[3]]) == kind {
                    return rest[6..length].to_vec();
                }
                rest = &rest[length..];
            }
            panic!("no chunk {kind}");
        };
        assert_eq!(find(0x11), b"1", "the call's number");
        assert_eq!(find(0x0e), b"pass");
        assert_eq!(find(0x0c), [0, 0, 0, 7]);
        let text = String::from_utf8(find(0x0f)).expect("text");
        texts.push((find(3), text));
    }
    assert!(texts[0].1.starts_with("INVITE sip:4711@"));
    assert_eq!(texts[0].0, [10, 1, 0, 2]);
    let status = pair.relay.json(&["status"]);
    assert_eq!(status["collector"]["sent"], 13, "{status}");
    // A collector that has gone disturbs nobody.
    drop(collector);
    let (call, mut parties) = pair.call(30_200);
    Pair::assert_audio(&mut parties);
    pair.finish(call);
}
