//! The tool on the real kernel: two namespaces, two veth pairs, and a relay that does wrong on purpose and counts it.
//! Needs root.
//!
//! ```text
//!   tandemload-PID-N-load   a0 10.1.0.2 ─── in0  10.1.0.1   tandemload-PID-N-relay
//!                           b0 10.2.0.2 ─── out0 10.2.0.1
//! ```

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod netns;
mod relay;

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use netns::Netns;
use relay::{Done, Fault, Relay};
use rustix::process::{Pid, Signal, kill_process};
use tandem_load::report::{Run, Trial};
use tandem_load::streams::{Content, Stream, StreamFile};

const STREAMS: u16 = 20;

fn streams(content: Content) -> Vec<Stream> {
    let address = |net: u8, host: u8, port: u16| ([10, net, 0, host], port).into();
    let stream = |index: u16| Stream {
        a: address(1, 2, 20_000 + 2 * index),
        relay_a: address(1, 1, 30_000 + 2 * index),
        relay_b: address(2, 1, 40_000 + 2 * index),
        b: address(2, 2, 50_000 + 2 * index),
        content,
    };
    (0..STREAMS).map(stream).collect()
}

/// The tool in its namespace, with a stream file; `arguments` say the rest.
fn tool(netns: &Netns, streams: &[Stream], arguments: &str) -> (tempfile::NamedTempFile, Command) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let text = serde_json::to_string(&StreamFile {
        streams: streams.to_vec(),
    });
    file.write_all(text.unwrap().as_bytes()).unwrap();
    let mut command = Command::new("ip");
    command
        .args(["netns", "exec", &netns.of("load")])
        .arg(env!("CARGO_BIN_EXE_tandem-load"))
        .args([
            "rtp",
            "--a-device",
            "a0",
            "--b-device",
            "b0",
            "--json",
            "--streams",
        ])
        .arg(file.path())
        .args(arguments.split(' '))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    (file, command)
}

fn report(output: &Output) -> Run {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

/// One trial through a relay with these faults: what the tool found, and what the relay did.
fn measured(streams: &[Stream], faults: &[Fault], arguments: &str) -> (Run, Done) {
    let netns = Netns::new();
    let relay = Relay::start(&netns, streams, faults);
    let (_file, mut command) = tool(&netns, streams, arguments);
    let run = report(&command.output().unwrap());
    (run, relay.stop())
}

/// What the tool counted of each fault, in the order of [`Fault::ALL`].
fn found(trial: &Trial) -> [u64; 7] {
    [
        trial.lost,
        trial.duplicated,
        trial.reordered,
        trial.corrupt,
        trial.wrong_checksum,
        trial.wrong_ttl,
        trial.wrong_address,
    ]
}

#[test]
fn a_faultless_relay_is_found_faultless() {
    for content in [Content::Rtp, Content::Rtcp] {
        let streams = streams(content);
        let (run, done) = measured(&streams, &[], "--rate 4000 --seconds 1 --warmup 0");
        let trial = &run.trials[0];
        assert_eq!((trial.asked, trial.sent), (4_000, 4_000), "{trial:?}");
        assert_eq!(trial.received, 4_000, "{trial:?} {done:?}");
        assert_eq!(found(trial), [0; 7], "{trial:?}");
        assert_eq!((done.relayed, trial.unknown), (4_000, 0));
        assert_eq!(trial.latency_ns.count, 4_000);
        assert!(trial.latency_ns.min > 0 && trial.latency_ns.p99 < 1_000_000_000);
        assert_eq!(run.machine.devices[0].xdp_mode, "copy");
    }
}

#[test]
fn each_fault_is_told_and_counted_exactly() {
    let streams = streams(Content::Rtp);
    let arguments = "--rate 4000 --seconds 2 --warmup 0 --payload 400";
    let (run, done) = measured(&streams, &Fault::ALL, arguments);
    let trial = &run.trials[0];
    assert_eq!(trial.sent, 8_000);
    assert!(done.faults.iter().all(|count| *count >= 7), "{done:?}");
    assert_eq!(found(trial), done.faults, "{trial:?}");
    assert_eq!(trial.received, 8_000 - trial.lost);
    assert!(!trial.passed && trial.unknown == 0);
}

#[test]
fn one_fault_is_not_taken_for_another() {
    let streams = streams(Content::Rtp);
    for (index, fault) in Fault::ALL.into_iter().enumerate() {
        let (run, done) = measured(&streams, &[fault], "--rate 2000 --seconds 0.5 --warmup 0");
        let mut expected = [0; 7];
        expected[index] = done.faults[index];
        assert!(expected[index] > 0, "{fault:?}");
        assert_eq!(found(&run.trials[0]), expected, "{fault:?}");
    }
}

#[test]
fn an_interrupted_run_tells_what_it_measured() {
    let netns = Netns::new();
    let streams = streams(Content::Rtp);
    let relay = Relay::start(&netns, &streams, &[]);
    let (_file, mut command) = tool(&netns, &streams, "--rate 2000 --seconds 600 --warmup 0");
    // `ip netns exec` becomes the tool.
    let child = command.spawn().unwrap();
    thread::sleep(Duration::from_millis(1500));
    let pid = Pid::from_raw(child.id() as i32).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let run = report(&child.wait_with_output().unwrap());
    assert!(run.interrupted);
    let trial = &run.trials[0];
    assert!(trial.sent > 500 && trial.sent < 600_000, "{trial:?}");
    assert_eq!((trial.sent, trial.lost), (trial.received, 0));
    assert!(trial.seconds < 60.0);
    relay.stop();
}

#[test]
fn the_search_lists_its_trials() {
    let streams = streams(Content::Rtp);
    // One in a hundred is lost, and no trial has fewer than two hundred, so that no rate passes.
    let arguments = "--find-ndr --low 400 --high 800 --resolution 50% --trial 0.5 --retries 2";
    let (run, _) = measured(&streams, &[Fault::Lose], arguments);
    assert_eq!(run.ndr_pps, Some(0), "{:?}", run.trials);
    let attempts: Vec<_> = run.trials.iter().map(|trial| trial.attempt).collect();
    assert!(attempts.starts_with(&[1, 2, 3, 1, 2, 3]), "{attempts:?}");
    assert_eq!(run.trials[0].rate_pps, 800);
    assert_eq!(run.trials.last().unwrap().rate_pps, 400);
}

#[test]
fn what_cannot_be_is_said() {
    let netns = Netns::new();
    let streams = streams(Content::Rtp);
    let failure = |streams: &[Stream], arguments: &str| {
        let (_file, mut command) = tool(&netns, streams, arguments);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let two = failure(&streams, "--rate 10 --core 0,1");
    assert!(two.contains("2 cores need as many queues"), "{two}");
    let mut nobody = streams.clone();
    nobody[0].relay_a = "10.1.0.77:30000".parse().unwrap();
    let silent = failure(&nobody, "--rate 10");
    assert!(silent.contains("10.1.0.77, the next hop to"), "{silent}");
    assert!(silent.contains("--next-hop-a"), "{silent}");
}
