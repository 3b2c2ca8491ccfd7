//! `tandem route` by a configuration file: what an operator is shown, and what a program gets.

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;

const TANDEM: &str = env!("CARGO_BIN_EXE_tandem");
const EXAMPLE: &str = include_str!("../examples/tandem.toml");

const ROUTES: &str = r#"
[[trunk]]
name = "carrier-a"
peers = ["10.2.0.10:5060", "10.2.0.11:5060"]
listeners = ["outside4"]
media = "outside"
trusted = true

[trunk.outbound]
request_user = [{ match = "[+](.*)", replace = "00$1" }]
headers_add = [{ name = "X-Carrier", value = "a" }]

[[trunk]]
name = "carrier-b"
peers = ["10.2.0.20:5060"]
listeners = ["outside4"]
media = "outside"

[trunk.outbound]
caller_id = "withhold"

[[schedule]]
name = "office"
zone = "Europe/Berlin"
hours = ["08:00-18:00"]

[[route]]
name = "by-rate"
from = "callers"
when = "office"
rates = "rates.csv"

[[route]]
name = "local"
from = "callers"
user = "[0-9]{3}"
to = ["callees"]

"#;

const RATES: &str =
    "prefix,trunk,cost\n49,carrier-a,0.02\n49,carrier-b,0.015\n4930,carrier-a,0.0125\n";

/// Asks in a directory with the example, changed, and the rates.
fn route(arguments: &[&str]) -> Output {
    let directory = tempfile::tempdir().expect("a directory");
    let first = EXAMPLE.find("[[route]]").expect("the example has routes");
    let (before, _) = EXAMPLE.split_at(first);
    let after = EXAMPLE.find("[sip]").expect("the example has bounds");
    let text = format!("{before}{ROUTES}{}", &EXAMPLE[after..]);
    let text = text.replacen(
        "media = \"inside\"\n",
        "media = \"inside\"\ntrusted = true\n",
        1,
    );
    fs::write(directory.path().join("tandem.toml"), text).expect("the directory is ours");
    fs::write(directory.path().join("rates.csv"), RATES).expect("the directory is ours");
    Command::new(TANDEM)
        .current_dir(directory.path())
        .arg("route")
        .args(arguments)
        .args(["-c", "tandem.toml"])
        .output()
        .expect("tandem can be started")
}

fn stdout(output: &Output) -> String {
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const NOON: &str = "2026-11-24T12:00[Europe/Berlin]";
const NIGHT: &str = "2026-11-24T22:00:00+01:00";

#[test]
fn the_decision_and_the_requests_are_shown() {
    let output = route(&[
        "callers",
        "+493012",
        "--at",
        NOON,
        "--header",
        "P-Asserted-Identity: <tel:+49555>",
    ]);
    let text = stdout(&output);
    let mut rest = text.as_str();
    // In this order.
    for piece in [
        "route",
        "by-rate",
        "carrier-a",
        "4930",
        "0.0125",
        "10.2.0.10:5060, 10.2.0.11:5060",
        "carrier-b",
        "49",
        "0.015",
        "10.2.0.20:5060",
        "to carrier-a\n",
        "  INVITE sip:00493012@10.2.0.10:5060 SIP/2.0\n",
        "  P-Asserted-Identity: <tel:+49555>\n",
        "  x-carrier: a\n",
        "to carrier-b\n",
        "  INVITE sip:+493012@10.2.0.20:5060 SIP/2.0\n",
        "  From: \"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=",
    ] {
        let Some((_, after)) = rest.split_once(piece) else {
            panic!("{piece:?} is not where it should be in {text}");
        };
        rest = after;
    }
    assert!(!rest.contains("49555"), "{text}");
}

#[test]
fn what_is_passed_over_has_its_reason() {
    let text = stdout(&route(&["callers", "100", "--at", NIGHT]));
    assert!(
        text.contains("  not by-rate: outside of its schedule\n"),
        "{text}"
    );
    assert!(
        text.contains("INVITE sip:100@10.2.0.2:5060 SIP/2.0"),
        "{text}"
    );
    let text = stdout(&route(&["callers", "33123", "--at", NOON]));
    assert!(
        text.contains("  not by-rate: no prefix of the number in its table\n"),
        "{text}"
    );
    assert!(
        text.contains("  not local: the user part does not match\n"),
        "{text}"
    );
    assert!(text.ends_with("no route: 404\n"), "{text}");
}

#[test]
fn json_has_the_same() {
    let text = stdout(&route(&["callers", "+493012", "--at", NOON, "--json"]));
    let value: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(value["route"], "by-rate");
    assert_eq!(value["user"], "+493012");
    assert_eq!(value["at"], "2026-11-24T11:00:00Z");
    let candidate = &value["candidates"][0];
    assert_eq!(candidate["trunk"], "carrier-a");
    assert_eq!(candidate["prefix"], "4930");
    assert_eq!(candidate["cost"], "0.0125");
    assert_eq!(candidate["peers"][1], "10.2.0.11:5060");
    assert_eq!(
        candidate["request"][0],
        "INVITE sip:00493012@10.2.0.10:5060 SIP/2.0"
    );
    let text = stdout(&route(&["callees", "1", "--json"]));
    let value: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(value["route"], Value::Null);
    assert_eq!(value["passed_over"][0]["condition"], "from");
}

#[test]
fn what_makes_no_sense_is_one_sentence() {
    for (arguments, sentence) in [
        (
            &["nobody", "1"][..],
            "tandem: there is no trunk named \"nobody\" (there are callers, callees, carrier-a, carrier-b)\n",
        ),
        (
            &["callers", "1", "--at", "noon"],
            "tandem: \"noon\" is no time: ",
        ),
        (
            &["callers", "1", "--header", "X"],
            "tandem: \"X\" is no header: ",
        ),
        (&["callers", "sip:a b"], "tandem: that makes no INVITE: "),
    ] {
        let output = route(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.starts_with(sentence), "{said}");
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(output.stdout, b"");
    }
}
