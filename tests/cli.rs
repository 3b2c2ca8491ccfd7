//! The command line against a running tandem on real devices: what it says, how it starts, why it does
//! not, and how it ends. Needs root: namespaces of its own.

mod namespace;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use namespace::Namespace;
use serde_json::Value;

const TANDEM: &str = env!("CARGO_BIN_EXE_tandem");
const EXAMPLE: &str = include_str!("../examples/tandem.toml");

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

fn tandem(arguments: &[&str]) -> Output {
    Command::new(TANDEM)
        .args(arguments)
        .output()
        .expect("tandem can be started")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A namespace, a configuration that fits it, and a directory for both sockets and file.
struct Site {
    namespace: Namespace,
    directory: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        Self::with(|example| example)
    }

    /// A site with the example's text changed.
    fn with(change: impl FnOnce(String) -> String) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("admin.sock");
        let socket = socket.to_str().expect("temporary directories are UTF-8");
        let example = EXAMPLE.replace("/run/tandem/admin.sock", socket);
        let site = Self {
            namespace: Namespace::new(),
            directory,
        };
        fs::write(site.config(), change(example)).expect("the directory is ours");
        site
    }

    fn config(&self) -> PathBuf {
        self.directory.path().join("tandem.toml")
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("admin.sock")
    }

    fn run_command(&self) -> Command {
        let mut command = self.namespace.command(TANDEM);
        command.args(["run", "-c"]).arg(self.config());
        command
    }

    /// Starts tandem and waits until it answers.
    fn start(&self) -> Running {
        self.start_by(self.run_command())
    }

    fn start_by(&self, mut command: Command) -> Running {
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("tandem can be started");
        let logs = lines(child.stderr.take().expect("it is piped"));
        let mut seen = String::new();
        let end = Instant::now() + PATIENCE;
        while !seen.contains("ready") {
            let left = end.saturating_duration_since(Instant::now());
            match logs.recv_timeout(left) {
                Ok(line) => seen.push_str(&format!("{line}\n")),
                Err(_) => {
                    // It has ended, or hangs: what it said tells why.
                    let _ = child.kill();
                    let _ = child.wait();
                    panic!("tandem is not ready:\n{seen}");
                }
            }
        }
        Running { child, _logs: logs }
    }

    /// Runs tandem, which must fail at once with one sentence; gives the sentence.
    #[track_caller]
    fn refuses(&self, mut command: Command) -> String {
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("tandem can be started");
        let status = wait(&mut child);
        let mut text = String::new();
        let mut pipe = child.stderr.take().expect("it is piped");
        pipe.read_to_string(&mut text).expect("it writes UTF-8");
        assert_eq!(status, Some(1), "{text}");
        let sentences: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with("tandem: "))
            .collect();
        assert_eq!(sentences.len(), 1, "not one sentence: {text}");
        assert!(!text.contains("panicked"), "{text}");
        sentences[0].to_owned()
    }

    fn ask(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(TANDEM);
        command
            .args(arguments)
            .arg("--socket")
            .arg(self.socket())
            .output()
            .expect("tandem can be started")
    }

    #[track_caller]
    fn ask_json(&self, arguments: &[&str]) -> Value {
        let output = self.ask(&[arguments, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let text = stdout(&output);
        assert_eq!(text.lines().count(), 1, "JSON is one line");
        serde_json::from_str(&text).expect("JSON")
    }
}

/// A running tandem; killed when dropped.
struct Running {
    child: Child,
    /// Held, so that its stderr stays open.
    _logs: Receiver<String>,
}

impl Running {
    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        namespace::run(Command::new("kill").args(["-s", signal, &pid]));
    }

    /// Its exit code.
    fn end(&mut self) -> Option<i32> {
        wait(&mut self.child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait(child: &mut Child) -> Option<i32> {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().expect("it is our child") {
            return status.code();
        }
        if Instant::now() > end {
            let _ = child.kill();
            panic!("it does not end");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn lines(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines() {
            let Ok(line) = line else { break };
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

#[test]
fn wrong_usage_is_exit_code_2() {
    for wrong in [
        &["top", "--interval", "1"][..],
        &["top", "--interval", "100ms"],
        &["frob"],
        &[],
        &["run"],
        &["calls", "show"],
        &["calls", "show", "x"],
        &["flows"],
        &["ng"],
        &["ng", "{}", "--to", "127.0.0.1:2223", "--socket", "/tmp/s"],
    ] {
        assert_eq!(tandem(wrong).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn help_completions_and_the_manual_need_no_running_tandem() {
    let help = tandem(&["calls", "--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(stdout(&help).contains("Examples:\n  tandem calls"));
    for shell in ["bash", "zsh", "fish"] {
        let script = tandem(&["completions", shell]);
        assert_eq!(script.status.code(), Some(0));
        assert!(stdout(&script).contains("hangup"), "{shell}");
    }
    let manual = tandem(&["man"]);
    assert_eq!(manual.status.code(), Some(0));
    assert!(stdout(&manual).starts_with(".ie "), "it is roff");
    assert!(stdout(&manual).contains("TANDEM CALLS HANGUP"));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let mut child = Command::new(TANDEM)
        .arg("man")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("tandem can be started");
    drop(child.stdout.take());
    assert_eq!(wait(&mut child), Some(0));
}

#[test]
fn without_a_running_tandem_the_verbs_say_so() {
    for verb in [
        &["status"][..],
        &["calls"],
        &["calls", "hangup", "1"],
        &["registrations"],
        &["workers"],
        &["ng", "{\"command\":\"ping\"}"],
        &["flows", "1"],
        &["top", "--once"],
    ] {
        let output = tandem(&[verb, &["--socket", "/nonexistent/admin.sock"]].concat());
        assert_eq!(output.status.code(), Some(1), "{verb:?}");
        assert_eq!(
            stderr(&output),
            "tandem: no tandem is running with the admin socket /nonexistent/admin.sock \
             (`--socket` names another)\n"
        );
    }
}

#[test]
fn status_and_workers_of_a_running_tandem() {
    let site = Site::new();
    let running = site.start();
    let mode = fs::metadata(site.socket()).expect("it is there");
    assert_eq!(mode.permissions().mode() & 0o7777, 0o660);

    let status = site.ask_json(&["status"]);
    assert_eq!(status["pid"], running.child.id());
    assert_eq!(status["state"], "running");
    assert_eq!(status["calls"]["active"], 0);
    assert_eq!(status["calls"]["limit"], 10_000);
    assert_eq!(status["listeners"].as_array().map(Vec::len), Some(4));
    assert_eq!(status["listeners"][0]["address"], "10.1.0.1:5060");
    assert_eq!(status["media"]["ports_in_use"], 0);
    assert_eq!(status["media"]["ports_free"], 20_000, "in pairs");
    assert_eq!(status["devices"][0]["name"], "in0");
    assert_eq!(status["devices"][0]["driver"], "veth");
    assert_eq!(status["devices"][1]["xdp_mode"], "copy");
    assert_eq!(status["workers"]["count"], 2);
    assert_eq!(status["workers"]["running"], 2);

    let workers = site.ask_json(&["workers"]);
    assert_eq!(workers["workers"][1]["core"], 1);
    let sockets = workers["workers"][1]["sockets"].as_array();
    let queues: Vec<_> = sockets
        .expect("a list")
        .iter()
        .map(|socket| (socket["device"].as_str(), socket["queue"].as_u64()))
        .collect();
    assert_eq!(queues, [(Some("in0"), Some(1)), (Some("out0"), Some(1))]);
    assert_eq!(workers["totals"]["rx_packets"], 0);

    assert_eq!(site.ask_json(&["calls"])["total"], 0);
    let table = stdout(&site.ask(&["workers"]));
    assert!(table.starts_with("WORKER  CORE  STATE"), "{table}");
    let no_call = site.ask(&["calls", "hangup", "7"]);
    assert_eq!(no_call.status.code(), Some(1));
    let expected = "tandem: there is no call 7 (`tandem calls` lists those that are up)\n";
    assert_eq!(stderr(&no_call), expected);
}

#[test]
fn an_ng_request_needs_no_control_listener_and_an_error_is_exit_code_1() {
    let site = Site::new();
    let _running = site.start();
    assert_eq!(site.ask_json(&["status"])["ng"], Value::Null);
    let pong = site.ask(&["ng", r#"{"command":"ping"}"#]);
    assert_eq!(pong.status.code(), Some(0), "{}", stderr(&pong));
    assert_eq!(stdout(&pong), "{\n  \"result\": \"pong\"\n}\n");

    let query = r#"{"command":"query","call-id":"nobody"}"#;
    let unknown = site.ask(&["ng", query, "--json"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert_eq!(stderr(&unknown), "tandem: Unknown call-id\n");
    let reply: Value = serde_json::from_str(&stdout(&unknown)).expect("JSON");
    assert_eq!(reply["result"], "error");

    let wrong = site.ask(&["ng", "ping"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(stderr(&wrong).contains("no JSON object"), "{wrong:?}");

    let status = site.ask_json(&["status"]);
    assert_eq!(status["ng"]["commands"]["ping"], 1, "{}", status["ng"]);
    assert_eq!(status["ng"]["errors"]["query"], 1, "{}", status["ng"]);
    assert_eq!(status["ng"]["listeners"], Value::Array(Vec::new()));
}

#[test]
fn an_ng_request_comes_from_stdin_too() {
    let site = Site::new();
    let _running = site.start();
    let mut child = Command::new(TANDEM)
        .args(["ng", "-", "--json", "--socket"])
        .arg(site.socket())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("tandem can be started");
    let mut pipe = child.stdin.take().expect("it is piped");
    pipe.write_all(b"{\"command\": \"ping\"}\n")
        .expect("it reads");
    drop(pipe);
    let output = child.wait_with_output().expect("it is our child");
    assert_eq!(stdout(&output), "{\"result\":\"pong\"}\n");
}

/// Objects whose keys are names of what was counted, not fields.
const COUNTS: [&str; 13] = [
    "commands",
    "errors",
    "unsent",
    "failed",
    "ended",
    "requests_refused",
    "messages_dropped",
    "parse_errors",
    "events",
    "refused",
    "installs_failed",
    "verdicts",
    "drops",
];

/// The names of all fields of a value, at any depth.
fn fields(value: &Value, names: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                names.push(name.clone());
                if !(COUNTS.contains(&name.as_str()) && value.is_object()) {
                    fields(value, names);
                }
            }
        }
        Value::Array(elements) => elements.iter().for_each(|element| fields(element, names)),
        _ => {}
    }
}

#[test]
fn the_operations_guide_names_every_field() {
    let guide = include_str!("../docs/operations.md");
    let listener = "\n[[ng_listener]]\nname = \"proxies\"\naddress = \"127.0.0.1:2223\"\n\
                    [[ng_listener]]\nname = \"web\"\naddress = \"127.0.0.1:2225\"\ntransport = \"http\"\n";
    let site = Site::with(|example| example + listener);
    let _running = site.start();
    let mut names = Vec::new();
    for verb in [
        &["status"][..],
        &["workers"],
        &["calls"],
        &["sessions"],
        &["trunks"],
        &["top", "--once"],
    ] {
        fields(&site.ask_json(verb), &mut names);
    }
    assert!(names.iter().any(|name| name == "rx_fill_ring_empty_descs"));
    for name in names {
        let spellings = [
            format!("`{name}`"),
            format!(".{name}`"),
            format!("`{name}."),
            format!("`{name}[]"),
            format!(".{name}[]"),
        ];
        let named = spellings.iter().any(|spelling| guide.contains(spelling));
        assert!(named, "docs/operations.md does not name {name}");
    }
}

#[test]
fn a_tandem_without_calls_ends_at_once_and_leaves_nothing() {
    for signal in ["TERM", "INT"] {
        let site = Site::new();
        let mut running = site.start();
        running.signal(signal);
        assert_eq!(running.end(), Some(0), "SIG{signal}");
        assert!(!site.socket().exists());
        // The programs are detached and the ports are free: it can start again.
        site.start();
    }
}

#[test]
fn a_second_instance_is_refused_and_a_dead_ones_socket_replaced() {
    let site = Site::new();
    let mut first = site.start();
    let sentence = site.refuses(site.run_command());
    let expected = format!(
        "tandem: another tandem is running (process {}) with the admin socket {}",
        first.child.id(),
        site.socket().display()
    );
    assert_eq!(sentence, expected);
    first.child.kill().expect("it is our child");
    first.end();
    assert!(site.socket().exists(), "a killed process leaves its socket");
    let second = site.start();
    assert_eq!(site.ask_json(&["status"])["pid"], second.child.id());
}

#[test]
fn a_missing_capability_is_named() {
    let site = Site::new();
    for capability in ["net_admin", "net_raw", "bpf", "perfmon"] {
        let mut command = site.namespace.command("setpriv");
        // CAP_SYS_ADMIN would include the last two.
        command
            .arg(format!("--bounding-set=-{capability},-sys_admin"))
            .args([TANDEM, "run", "-c"])
            .arg(site.config());
        let sentence = site.refuses(command);
        let expected = format!(
            "tandem: missing CAP_{}: run tandem as root",
            capability.to_uppercase()
        );
        assert!(sentence.starts_with(&expected), "{sentence}");
    }
}

#[test]
fn the_documented_capabilities_suffice() {
    let site = Site::new();
    let mut command = site.namespace.command("setpriv");
    command
        .arg("--bounding-set=-all,+net_admin,+net_raw,+bpf,+perfmon,+ipc_lock,+net_bind_service")
        .args(["--inh-caps=-all", TANDEM, "run", "-c"])
        .arg(site.config());
    let mut running = site.start_by(command);
    running.signal("TERM");
    assert_eq!(running.end(), Some(0));
}

#[test]
fn a_sip_port_in_use_is_named() {
    let site = Site::new();
    let other = Site::new();
    // Another tandem in the same namespace, with an admin socket of its own.
    fs::write(
        other.config(),
        fs::read_to_string(site.config())
            .expect("it was written")
            .replace(
                &site.directory.path().display().to_string(),
                &other.directory.path().display().to_string(),
            ),
    )
    .expect("the directory is ours");
    let _first = site.start();
    let mut command = site.namespace.command(TANDEM);
    command.args(["run", "-c"]).arg(other.config());
    let sentence = site.refuses(command);
    let expected = "tandem: listener inside4: 10.1.0.1:5060 is in use by another process";
    assert!(sentence.starts_with(expected), "{sentence}");
}

#[test]
fn another_xdp_program_is_named_with_its_device() {
    let site = Site::new();
    let object = concat!(env!("CARGO_MANIFEST_DIR"), "/bpf/redirect.bpf.o");
    site.namespace
        .ip(&format!("link set dev out0 xdp obj {object} sec xdp"));
    let sentence = site.refuses(site.run_command());
    assert!(sentence.contains("out0"), "{sentence}");
    assert!(sentence.contains("XDP program"), "{sentence}");
    // in0 came first: its program must be gone again.
    site.namespace.ip("link set dev out0 xdp off");
    site.start();
}

#[test]
fn a_mode_that_the_device_cannot_do_is_refused_with_its_name() {
    let site = Site::with(|text| text.replace("mode = \"best\"", "mode = \"zero-copy\""));
    let sentence = site.refuses(site.run_command());
    assert!(sentence.contains("in0"), "{sentence}");
    assert!(sentence.contains("zero-copy"), "{sentence}");
}

#[test]
fn a_wrong_configuration_is_shown_and_refused() {
    let site = Site::with(|text| text.replace("name = \"out0\"", "name = \"out7\""));
    let sentence = site.refuses(site.run_command());
    assert!(sentence.ends_with("cannot be used: 2 errors"), "{sentence}");
}

/// One request over the admin socket, as any program may send it; empty when it hangs up instead of
/// answering.
fn exchange(socket: &Path, request: &str) -> String {
    let mut stream = UnixStream::connect(socket).expect("it listens");
    // A client that is turned away may find the other end closed already, with the reason still to be read.
    let _ = stream.write_all(request.as_bytes());
    let mut response = String::new();
    let _ = BufReader::new(stream).read_line(&mut response);
    response
}

#[test]
fn the_admin_socket_survives_its_clients() {
    let site = Site::new();
    let _running = site.start();
    let socket = site.socket();
    let wrong = exchange(&socket, "{\"verb\":\"reboot\"}\n");
    assert!(
        wrong.starts_with("{\"error\":\"this is no request: "),
        "{wrong}"
    );
    assert_eq!(exchange(&socket, &"x".repeat(10_000)), "");

    // One that asks without end and never reads; the others are still answered.
    let mut greedy = UnixStream::connect(&socket).expect("it listens");
    greedy.set_nonblocking(true).expect("it is a socket");
    let requests = "{\"verb\":\"workers\"}\n".repeat(50);
    while greedy.write(requests.as_bytes()).is_ok() {}
    assert_eq!(site.ask_json(&["status"])["state"], "running");

    // As many clients as there may be, and one more.
    let connect = |_| UnixStream::connect(&socket).expect("it listens");
    let idle: Vec<_> = (0..15).map(connect).collect();
    let refused = exchange(&socket, "");
    assert!(
        refused.starts_with("{\"error\":\"16 clients are connected already"),
        "{refused}"
    );
    drop((idle, greedy));
    let end = Instant::now() + PATIENCE;
    while !exchange(&socket, "{\"verb\":\"status\"}\n").starts_with("{\"ok\":") {
        assert!(Instant::now() < end, "gone clients keep their places");
        std::thread::sleep(Duration::from_millis(20));
    }
}
