//! `tandem top` against a real relay: its figures beside what was really sent, and its screen in a terminal.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::lab::network::at;
use crate::lab::pair::Pair;
use crate::lab::relay::{Relay, Setup, TANDEM};
use crate::lab::rtp::{Party, assert_both_heard_all, talk};
use crate::lab::terminal::Terminal;
use crate::lab::turn::Turn;

const CALLS: u16 = 10;
/// Frames of the lab's G.711: Ethernet, IPv4, UDP, RTP, 160 bytes.
const FRAME_BITS: f64 = 214.0 * 8.0;

/// `tandem top --json`, a line an interval. Killed when dropped.
struct Stream {
    process: Child,
    lines: BufReader<ChildStdout>,
}

impl Stream {
    fn start(relay: &Relay, interval: &str) -> Self {
        let mut process = Command::new(TANDEM)
            .args(["top", "--json", "--interval", interval, "--socket"])
            .arg(relay.socket())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary under test exists");
        let stdout = process.stdout.take().expect("it is piped");
        Self {
            process,
            lines: BufReader::new(stdout),
        }
    }

    #[track_caller]
    fn next(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("it writes UTF-8");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    /// All lines up to one that says what `last` wants, that one included.
    #[track_caller]
    fn until(&mut self, last: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut lines = Vec::new();
        while !lines.last().is_some_and(&last) {
            lines.push(self.next());
            assert!(lines.len() < 200, "{:?}", lines.last());
        }
        lines
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn number(value: &Value, path: &str) -> f64 {
    let number = value.pointer(path).and_then(Value::as_f64);
    number.unwrap_or_else(|| panic!("no number at {path} of {value}"))
}

fn sum(lines: &[Value], path: &str) -> f64 {
    lines.iter().map(|line| number(line, path)).sum()
}

/// The sum over the elements of a list in each line.
fn sum_of(lines: &[Value], list: &str, field: &str) -> f64 {
    let lists = lines.iter().filter_map(|line| line[list].as_array());
    lists
        .flatten()
        .filter_map(|each| each[field].as_f64())
        .sum()
}

/// The count of a reason in each line's drops.
fn dropped_for(lines: &[Value], reason: &str) -> f64 {
    let lists = lines.iter().filter_map(|line| line["drops"].as_array());
    let of_reason = lists.flatten().filter(|drop| drop["reason"] == reason);
    of_reason.filter_map(|drop| drop["count"].as_f64()).sum()
}

/// Calls whose addresses are learnt.
fn talking(pair: &mut Pair) -> Vec<Party> {
    let mut parties = Vec::new();
    for number in 0..CALLS {
        let (_, pair) = pair.call(30_000 + 4 * number);
        parties.extend(pair);
    }
    talk(&mut parties, 5);
    for party in &mut parties {
        party.start_over();
    }
    parties
}

#[test]
fn every_packet_is_in_one_interval_and_every_rate_is_over_its_own_time() {
    let _turn = Turn::alone();
    let mut pair = Pair::new(&Setup::default());
    let mut parties = talking(&mut pair);
    // A stranger at the first call's locked port.
    let mut stranger = Party::g711(&pair.network.caller, at("10.1.0.2", 40_000));
    stranger.towards = parties[0].towards;

    let mut stream = Stream::start(&pair.relay, "500ms");
    let mut lines = vec![stream.next()];
    talk(parties.iter_mut().chain([&mut stranger]), 150);
    let silent = |line: &Value| number(line, "/totals/rx_packets") == 0.0;
    // Lines of the time before the talk are silent too.
    lines.extend(stream.until(|line| !silent(line)));
    lines.extend(stream.until(silent));

    for two in parties.chunks(2) {
        assert_both_heard_all(&two[0], &two[1]);
    }
    let sent: u64 = parties.iter().map(Party::sent).sum();
    let strange = stranger.sent();
    assert_eq!((sent, strange), (u64::from(CALLS) * 2 * 150, 150));
    let (sent, strange) = (sent as f64, strange as f64);
    assert_eq!(sum(&lines, "/totals/rx_packets"), sent + strange);
    assert_eq!(sum(&lines, "/totals/tx_packets"), sent);
    assert_eq!(sum(&lines, "/totals/dropped"), strange);
    assert_eq!(sum(&lines, "/totals/ring_dropped"), 0.0);
    assert_eq!(dropped_for(&lines, "wrong_source"), strange);
    assert_eq!(sum(&lines, "/totals/residence_ns/count"), sent);
    for list in ["workers", "queues", "devices"] {
        assert_eq!(sum_of(&lines, list, "rx_packets"), sent + strange, "{list}");
        assert_eq!(sum_of(&lines, list, "tx_packets"), sent, "{list}");
    }
    // Intervals follow each other without a gap.
    for two in lines.windows(2) {
        let passed = number(&two[1], "/at_ns") - number(&two[0], "/at_ns");
        assert_eq!(passed, number(&two[1], "/interval_ns"));
    }
    for line in &lines {
        let seconds = number(line, "/interval_ns") / 1e9;
        let packets = number(line, "/totals/rx_packets");
        let rate = number(line, "/totals/rx_pps");
        assert!((rate * seconds - packets).abs() < 1.0, "{line}");
        let bits = number(line, "/totals/rx_bps");
        assert!((bits - rate * FRAME_BITS).abs() < FRAME_BITS, "{line}");
        for worker in line["workers"].as_array().into_iter().flatten() {
            let share = |of| number(&worker["cpu"], of);
            let shares = share("/busy") + share("/idle") + share("/asleep");
            assert!((shares - 1.0).abs() < 0.001, "{worker}");
        }
    }
    // In the midst of the talk: what ten calls and a stranger send.
    let nominal = (f64::from(CALLS) * 2.0 + 1.0) * 50.0;
    let rate = |line: &Value| number(line, "/totals/rx_pps");
    let near = |rate: f64| (rate - nominal).abs() < nominal * 0.1;
    assert!(lines.iter().map(rate).any(near), "{nominal}: {lines:?}");
}

#[test]
fn once_prints_one_interval_and_ends() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default());
    let mut parties = talking(&mut pair);
    let relay = &pair.relay;
    std::thread::scope(|scope| {
        let talk = scope.spawn(|| talk(&mut parties, 250));
        // The first packets have come before they are looked for.
        std::thread::sleep(Duration::from_millis(300));
        let before = relay.workers().received();
        let line = relay.json(&["top", "--once", "--interval", "1500ms"]);
        let after = relay.workers().received();
        let packets = number(&line, "/totals/rx_packets");
        assert!(packets > 500.0, "{line}");
        assert!(packets <= (after - before) as f64, "{line}");
        let seconds = number(&line, "/interval_ns") / 1e9;
        assert!((1.5..3.0).contains(&seconds), "{seconds}");
        assert_eq!(number(&line, "/calls/active"), f64::from(CALLS));
        let table = relay.table(&["top", "--once", "--interval", "500ms"]);
        for title in ["WORKER  CORE", "DEVICE  QUEUE", "DEVICE  DRIVER"] {
            assert!(table.contains(title), "{table}");
        }
        assert!(!table.contains('\u{1b}'), "plain text: {table}");
        talk.join().expect("the parties can send");
    });
}

#[test]
fn a_stream_goes_on_over_a_restart() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default());
    let mut stream = Stream::start(&pair.relay, "200ms");
    let first = stream.next();
    pair.relay.kill();
    stream.until(|line| {
        line["error"]
            .as_str()
            .is_some_and(|why| why.contains("no tandem"))
    });
    pair.relay.start_again(&pair.network);
    let lines = stream.until(|line| line.get("totals").is_some());
    let last = lines.last().expect("until gives at least one");
    assert_ne!(last["started_unix_ms"], first["started_unix_ms"]);
    assert!(number(last, "/totals/rx_packets") < 100.0, "{last}");
}

/// `tandem top` in a terminal.
fn top(relay: &Relay, columns: u16, lines: u16) -> Terminal {
    let socket = relay.socket().display().to_string();
    let arguments = ["top", "--interval", "500ms", "--socket", &socket];
    Terminal::start(TANDEM, &arguments, columns, lines)
}

#[test]
fn an_operator_looks_turns_pauses_and_quits() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default());
    let mut parties = talking(&mut pair);
    let mut terminal = top(&pair.relay, 80, 24);
    std::thread::scope(|scope| {
        let talk = scope.spawn(|| talk(&mut parties, 400));
        terminal.expect("10 of 10000 calls up, 40 flows");
        terminal.expect("WORKER  CORE  STATE  BUSY");
        assert_eq!(terminal.is_taken(), [true; 4]);
        let before = terminal.bytes();
        std::thread::sleep(Duration::from_secs(3));
        let each = (terminal.bytes() - before) / 6;
        println!("{each} bytes a refresh of 80x24");
        assert!((20..1_000).contains(&each), "{each} bytes a refresh");
        for (key, title) in [
            ("\t", "IDLE"),
            ("3", "FILL RING"),
            ("4", "TO KERNEL/S"),
            ("5", "none since the start"),
            ("?", "Any key closes this."),
            ("x", "none since the start"),
            ("1", "packets/s"),
        ] {
            // The views that fit no idle column are looked at in a wider terminal. A key in the same instant as a
            // change of size is read only with the next key (crossterm takes one of two events that come together).
            terminal.resize(if title == "IDLE" { 132 } else { 80 }, 24);
            std::thread::sleep(Duration::from_millis(200));
            terminal.press(key);
            terminal.expect(title);
        }
        terminal.press("p");
        terminal.expect("PAUSED");
        let paused = terminal.screen();
        std::thread::sleep(Duration::from_millis(1200));
        assert_eq!(terminal.screen(), paused);
        terminal.press("p");
        terminal.expect("every 500ms");
        terminal.press("q");
        assert!(terminal.wait().success());
        talk.join().expect("the parties can send");
    });
    assert_eq!(terminal.is_taken(), [false; 4]);
    assert!(
        !terminal.screen().contains("tandem"),
        "nothing is left of it"
    );
}

#[test]
fn the_terminal_is_given_back_whatever_ends_it() {
    let _turn = Turn::shared();
    let pair = Pair::new(&Setup::default());
    for way in ["Ctrl-C", "SIGTERM", "SIGHUP", "SIGINT"] {
        let mut terminal = top(&pair.relay, 80, 24);
        terminal.expect("calls up");
        assert_eq!(terminal.is_taken(), [true; 4], "{way}");
        match way {
            "Ctrl-C" => terminal.press("\u{3}"),
            "SIGTERM" => terminal.signal(Signal::TERM),
            "SIGHUP" => terminal.signal(Signal::HUP),
            _ => terminal.signal(Signal::INT),
        }
        assert!(terminal.wait().success(), "{way}");
        // What it wrote last may still be on its way to the emulator.
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(terminal.is_taken(), [false; 4], "{way}");
    }
}

#[test]
fn the_screen_survives_a_restart_of_tandem() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default());
    let mut terminal = top(&pair.relay, 80, 24);
    terminal.expect(&format!("process {}", pair.relay.pid().as_raw_nonzero()));
    terminal.expect("calls up");
    pair.relay.kill();
    terminal.expect("not reachable: no tandem is running");
    pair.relay.start_again(&pair.network);
    terminal.expect(&format!("process {}", pair.relay.pid().as_raw_nonzero()));
    assert!(!terminal.screen().contains("not reachable"));
    terminal.press("q");
    assert!(terminal.wait().success());
}

#[test]
fn without_a_terminal_it_says_what_needs_none() {
    let output = Command::new(TANDEM)
        .arg("top")
        .stdin(Stdio::null())
        .output()
        .expect("the binary under test exists");
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty(), "no escape codes into a file");
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "tandem: cannot use the terminal: stdout is no terminal: `--once` or `--json` need none\n"
    );
}
