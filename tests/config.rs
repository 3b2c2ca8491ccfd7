//! `tandem check`: what an operator sees of a wrong file, word for word, and what is checked against
//! the machine. Needs root for the latter: a namespace of its own.

mod namespace;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use namespace::Namespace;
use serde_json::Value;

const TANDEM: &str = env!("CARGO_BIN_EXE_tandem");
const EXAMPLE: &str = include_str!("../examples/tandem.toml");

/// A configuration file in a directory that goes with it.
struct File {
    directory: tempfile::TempDir,
}

impl File {
    fn new(text: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("tandem.toml"), text).expect("the directory is ours");
        Self { directory }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("tandem.toml")
    }

    /// Checks the file from its own directory, so that the name in the findings is short.
    fn check(&self, options: &[&str]) -> Output {
        Command::new(TANDEM)
            .current_dir(self.directory.path())
            .args(["check", "-c", "tandem.toml"])
            .args(options)
            .output()
            .expect("tandem can be started")
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const WRONG: &str = r#"
[appliance]
drain_timeout = 30
[workers]
cores = [0]
idle = "spni"
[[device]]
name = "in0"
mod = "best"
[[media]]
name = "inside"
device = "in9"
addresses = ["10.1.0.1", "fd01:::1"]
ports = "20001-29999"
[[media]]
name = "inside"
device = "in0"
addresses = ["10.2.0.1"]
ports = "20000-29999"
[[media]]
name = "third"
device = "in0"
addresses = ["10.2.0.1"]
ports = "29000-30001"
[[listener]]
name = "sip"
address = "10.1.0.1:5060"
[[trunk]]
name = "all"
peers = ["10.1.0.2:5060"]
listeners = ["sip"]
media = "inside"
[[route]]
user = "("
to = ["al"]
"#;

const FINDINGS: &str = r#"tandem.toml:3:17: error: `drain_timeout` is an integer
    3 | drain_timeout = 30
      |                 ^^
      = expected: a duration from 0s to 24h, such as "30s", "500ms" or "1m30s"
tandem.toml:6:8: error: `idle` is "spni" (did you mean `spin`?)
    6 | idle = "spni"
      |        ^^^^^^
      = expected: one of "adaptive", "spin"
tandem.toml:9:1: error: unknown key in [[device]]: `mod`
    9 | mod = "best"
      | ^^^
      = expected: one of `name`, `mode`, `queues`, `checksums`, `steering` (did you mean `mode`?)
tandem.toml:12:10: error: there is no [[device]] named "in9"
   12 | device = "in9"
      |          ^^^^^
      = expected: one of "in0" (did you mean `in0`?)
tandem.toml:13:26: error: `addresses` is "fd01:::1", which is no IP address
   13 | addresses = ["10.1.0.1", "fd01:::1"]
      |                          ^^^^^^^^^^
      = expected: an IPv4 or IPv6 unicast address, such as "192.0.2.1" or "2001:db8::1"
tandem.toml:14:9: error: `ports` begins at 20001, which is odd
   14 | ports = "20001-29999"
      |         ^^^^^^^^^^^^^
      = expected: a range of ports from 1024 up, the first even and the last odd, such as "20000-29999"
tandem.toml:16:8: error: two [[media]] are named "inside"
   16 | name = "inside"
      |        ^^^^^^^^
      = expected: a name of its own
tandem.toml:11:8: note: the first is here
   11 | name = "inside"
      |        ^^^^^^^^
tandem.toml:24:9: error: ports 29000-30001 of 10.2.0.1 overlap with 20000-29999 of the same address
   24 | ports = "29000-30001"
      |         ^^^^^^^^^^^^^
      = expected: ranges that share no port, at addresses of their own
tandem.toml:19:9: note: the other range is here
   19 | ports = "20000-29999"
      |         ^^^^^^^^^^^^^
tandem.toml:34:8: error: `user` is no regular expression: unclosed group
   34 | user = "("
      |        ^^^
      = expected: a regular expression for the whole user part, such as "0049[0-9]+"
tandem.toml:35:7: error: there is no [[trunk]] named "al"
   35 | to = ["al"]
      |       ^^^^
      = expected: one of "all" (did you mean `all`?)
tandem: tandem.toml cannot be used: 10 errors
"#;

#[test]
fn every_error_is_shown_with_its_place_its_line_and_what_was_expected() {
    let output = File::new(WRONG).check(&["--offline"]);
    assert_eq!(stderr(&output), FINDINGS);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stdout(&output), "");
}

#[test]
fn json_gives_the_same_findings() {
    let output = File::new(WRONG).check(&["--offline", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let value: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    assert_eq!(value["usable"], false);
    assert_eq!(value["errors"], 10);
    let finding = &value["findings"][2];
    assert_eq!(finding["file"], "tandem.toml");
    assert_eq!(
        (&finding["line"], &finding["column"]),
        (&9.into(), &1.into())
    );
    assert_eq!(finding["message"], "unknown key in [[device]]: `mod`");
    assert_eq!(finding["severity"], "error");
}

#[test]
fn a_right_file_is_summed_up() {
    let output = File::new(EXAMPLE).check(&["--offline"]);
    assert_eq!(stderr(&output), "");
    assert!(stdout(&output).starts_with("tandem.toml: 2 workers on 2 devices, "));
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn every_example_is_right() {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let files = fs::read_dir(place).expect("the directory is there");
    let paths = files.map(|entry| entry.expect("it can be read").path());
    let examples: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .collect();
    assert!(examples.len() >= 3, "{examples:?}");
    for example in examples {
        let text = fs::read_to_string(&example).expect("a file of the repository");
        let output = File::new(&text).check(&["--offline"]);
        assert_eq!(stderr(&output), "", "{}", example.display());
        assert_eq!(output.status.code(), Some(0));
    }
}

#[test]
fn a_file_that_is_not_toml_is_shown_where_it_breaks() {
    let output = File::new("[workers]\ncores = [0\n").check(&["--offline"]);
    let text = stderr(&output);
    assert!(text.starts_with("tandem.toml:2:"), "{text}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_file_that_cannot_be_read_is_one_sentence() {
    let file = File::new("");
    fs::remove_file(file.path()).expect("it is there");
    let output = file.check(&[]);
    let expected = "tandem: cannot read tandem.toml: No such file or directory (os error 2)\n";
    assert_eq!(stderr(&output), expected);
    assert_eq!(output.status.code(), Some(1));
    fs::write(file.path(), [0xff, 0xfe, 0x00]).expect("the directory is ours");
    let output = file.check(&[]);
    assert!(stderr(&output).contains("valid UTF-8"));
    assert_eq!(output.status.code(), Some(1));
}

/// The example, its first route by a table in `routes.csv`.
fn with_table(key: &str, table: &str) -> File {
    let to = "from = \"callers\"\nto = [\"callees\"]";
    assert!(EXAMPLE.contains(to));
    let by_table = format!("from = \"callers\"\n{key} = \"routes.csv\"");
    let file = File::new(&EXAMPLE.replacen(to, &by_table, 1));
    fs::write(file.directory.path().join("routes.csv"), table).expect("the directory is ours");
    file
}

#[test]
fn what_is_wrong_with_a_table_is_shown_in_the_table() {
    let file = with_table(
        "rates",
        "prefix,trunk,cost\n49,callees,0.01\n4x,callees,0.02\n33,nobody,cheap\n",
    );
    let output = file.check(&["--offline"]);
    let text = stderr(&output);
    for piece in [
        "routes.csv:3:1: error: not a prefix: up to 24 of 0 to 9, *, # and a to d\n    3 | 4x,callees,0.02\n      | ^^\n",
        "routes.csv:4:4: error: there is no [[trunk]] named \"nobody\"\n    4 | 33,nobody,cheap\n      |    ^^^^^^\n",
        "      = expected: lines such as 4930,carrier-a,0.0125 under prefix,trunk,cost\ntandem.toml:",
        ": note: the file is named here\n",
        "cannot be used: 2 errors\n",
    ] {
        assert!(text.contains(piece), "{piece} in {text}");
    }
    let output = file.check(&["--offline", "--json"]);
    let value: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    let finding = &value["findings"][0];
    assert_eq!(finding["file"], "routes.csv");
    assert_eq!(
        (&finding["line"], &finding["column"]),
        (&3.into(), &1.into())
    );
}

#[test]
fn a_right_table_is_summed_up() {
    let output =
        with_table("prefixes", "prefix,trunks\n49,callees\n4930,callees\n").check(&["--offline"]);
    assert_eq!(stderr(&output), "");
    let text = stdout(&output);
    assert!(
        text.contains("2 routes with 2 prefixes in 1 tables of "),
        "{text}"
    );
}

fn check_in(namespace: &Namespace, path: &Path) -> Output {
    namespace
        .command(TANDEM)
        .args(["check", "-c"])
        .arg(path)
        .output()
        .expect("tandem can be started")
}

#[test]
fn the_example_fits_the_machine_that_it_describes() {
    let namespace = Namespace::new();
    let output = check_in(&namespace, &File::new(EXAMPLE).path());
    assert_eq!(stderr(&output), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn addresses_devices_queues_and_cores_are_looked_for_on_the_machine() {
    let namespace = Namespace::new();
    namespace.ip("addr del fd02::1/64 dev out0");
    namespace.ip("addr del 10.2.0.1/24 dev out0");
    let text = EXAMPLE
        .replace("name = \"in0\"", "name = \"in7\"")
        .replace("device = \"in0\"", "device = \"in7\"")
        .replace("queues = \"all\"", "")
        .replace("name = \"out0\"", "name = \"out0\"\nqueues = [0, 5]")
        .replace("cores = [0, 1]", "cores = [0, 8000]");
    let output = check_in(&namespace, &File::new(&text).path());
    let text = stderr(&output);
    for sentence in [
        "core 8000 is not one that tandem may run on",
        "this host has no device in7",
        "device out0 has no queue 5",
        "10.2.0.1 is not an address of this host",
        "fd02::1 is not an address of this host",
        "= expected: one of in0, in0-peer, lo, out0, out0-peer (did you mean `in0`?)",
        "= expected: one of ::1, fd01::1 (`ip address`)",
    ] {
        assert!(text.contains(sentence), "{sentence:?} is missing:\n{text}");
    }
    assert!(!text.contains(" 10.1.0.1 is not"), "{text}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn more_workers_than_queues_are_refused() {
    let namespace = Namespace::new();
    let one_queue = EXAMPLE.replace("queues = \"all\"", "queues = [1]");
    let output = check_in(&namespace, &File::new(&one_queue).path());
    let text = stderr(&output);
    assert!(
        text.contains("2 workers cannot share 1 queue of device in0: each needs one of its own"),
        "{text}"
    );
    assert!(
        text.contains("warning: no worker serves queue 0 of in0"),
        "{text}"
    );
    assert_eq!(output.status.code(), Some(1));
}
