//! `tandem ng`: one request of rtpengine's control protocol, and its reply.

mod datagrams;

use std::io::Read;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Map, Value};

use super::output::{print, print_json};
use super::{Failure, Query};
use crate::admin::protocol::{LONGEST_REQUEST, Request};

#[derive(Debug, Args)]
pub(super) struct NgArgs {
    /// The request, a JSON object; `-` reads it from stdin
    request: String,
    /// Ask whoever listens for ng over UDP there; without, the running tandem is asked over its admin socket, which
    /// needs no control listener and goes by no list of who may ask
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "socket")]
    to: Option<String>,
    #[command(flatten)]
    query: Query,
}

pub(super) fn ask(args: &NgArgs) -> Result<ExitCode, Failure> {
    let request = match args.request.as_str() {
        "-" => read(std::io::stdin().lock())?,
        given => parse(given)?,
    };
    let reply = match &args.to {
        Some(server) => datagrams::ask(server, &request)?,
        None => args.query.client().ask(&Request::Ng { request })?,
    };
    match args.query.json {
        true => print_json(&reply)?,
        false => print(&format!("{reply:#}\n"))?,
    }
    Ok(match why_not(&reply) {
        Some(why) => {
            eprintln!("tandem: {why}");
            ExitCode::FAILURE
        }
        None => ExitCode::SUCCESS,
    })
}

/// What an error says; `None` when the reply is none.
fn why_not(reply: &Value) -> Option<&str> {
    (reply["result"] == "error").then(|| {
        let reason = reply["error-reason"].as_str();
        reason.unwrap_or("the reply is an error without a reason")
    })
}

fn read(stdin: impl Read) -> Result<Map<String, Value>, Failure> {
    let mut text = String::new();
    let most = LONGEST_REQUEST as u64;
    let read = stdin.take(most + 1).read_to_string(&mut text);
    let length = read.map_err(|error| Failure::Question(format!("cannot read stdin: {error}")))?;
    if length as u64 > most {
        let why = format!("the request is longer than {most} bytes");
        return Err(Failure::Question(why));
    }
    parse(&text)
}

fn parse(text: &str) -> Result<Map<String, Value>, Failure> {
    serde_json::from_str(text).map_err(|error| {
        let example = r#"{"command":"ping"}"#;
        Failure::Question(format!(
            "the request is no JSON object like {example}: {error}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_request_is_a_json_object_of_bounded_length() {
        let read = |text: &str| read(text.as_bytes());
        let request = read("{\"command\":\"ping\"}\n").expect("an object");
        assert_eq!(request["command"], "ping");
        for wrong in ["", "ping", "[]", "{}{}", "{"] {
            let why = parse(wrong).expect_err(wrong).to_string();
            assert!(why.contains("no JSON object"), "{wrong}: {why}");
        }
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(LONGEST_REQUEST));
        let why = read(&long).expect_err("too long").to_string();
        assert!(why.contains("65536"), "{why}");
    }

    #[test]
    fn an_error_is_told_by_its_reason() {
        let error = json!({"result": "error", "error-reason": "Unknown call-id"});
        assert_eq!(why_not(&error), Some("Unknown call-id"));
        assert_eq!(why_not(&json!({"result": "pong"})), None);
        assert!(why_not(&json!({"result": "error"})).is_some());
    }
}
