//! The exchanges of `tests/corpus/ng`: what proxies ask of a relay, in order.
//!
//! ```text
//! # what it shows
//!
//! > offer                       a command; `call-id` is the file's name, `from-tag` is `a` and an answer's `to-tag` `b`,
//! direction: ["inside", ...]    unless a line says otherwise; values are text or JSON; null: there is no such key
//!                               a blank line, and
//! v=0                           the body, up to the next command
//! ```
//!
//! `sdp-lines` is not sent: it says how the lines of the body end (`LF`; `unended`: CRLF, but for the last).

use std::path::Path;

use serde_json::{Map, Value};

/// What is asked one after the other.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// The file's name.
    pub(crate) name: String,
    /// The dictionaries.
    pub(crate) requests: Vec<Value>,
}

/// All of the corpus, by name.
#[track_caller]
pub(crate) fn corpus() -> Vec<Exchange> {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/ng");
    let files = std::fs::read_dir(&place).expect("the corpus is there");
    let mut exchanges: Vec<Exchange> = files
        .map(|entry| entry.expect("an entry of the directory").path())
        .filter(|path| path.extension().is_some_and(|end| end == "ng"))
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("a file of the repository");
            let name = path.file_stem().expect("it has a name").to_string_lossy();
            Exchange {
                requests: requests(&name, &text),
                name: name.into_owned(),
            }
        })
        .collect();
    exchanges.sort_by(|one, other| one.name.cmp(&other.name));
    exchanges
}

#[track_caller]
fn requests(name: &str, text: &str) -> Vec<Value> {
    let (_, text) = text.split_once("\n> ").expect("there is a command");
    text.split("\n> ").map(|text| request(name, text)).collect()
}

#[track_caller]
fn request(name: &str, text: &str) -> Value {
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut head = head.lines();
    let command = head.next().expect("the command is there");
    let mut keys = Map::new();
    keys.insert("call-id".into(), name.into());
    keys.insert("command".into(), command.into());
    if matches!(command, "offer" | "answer") {
        keys.insert("from-tag".into(), "a".into());
    }
    if command == "answer" {
        keys.insert("to-tag".into(), "b".into());
    }
    for line in head {
        let (key, value) = line
            .split_once(": ")
            .unwrap_or_else(|| panic!("{name}: {line}"));
        keys.insert(key.into(), meant(value));
    }
    let lines = keys.remove("sdp-lines");
    if let Some(sdp) = written(body.trim_end(), lines.as_ref().and_then(Value::as_str)) {
        keys.insert("sdp".into(), sdp.into());
    }
    keys.retain(|_, value| !value.is_null());
    keys.into()
}

/// A value in JSON, or else text.
fn meant(value: &str) -> Value {
    serde_json::from_str(value).unwrap_or_else(|_| value.into())
}

fn written(body: &str, lines: Option<&str>) -> Option<String> {
    if body.is_empty() {
        return None;
    }
    let ended = format!("{body}\n");
    Some(match lines {
        Some("LF") => ended,
        Some(_) => body.replace('\n', "\r\n"),
        None => ended.replace('\n', "\r\n"),
    })
}
