//! `tandem explain` and `tandem trace`: what a call did, line by line, as a ladder, or as packets.

mod ladder;
mod pcap;

use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::output::{print, print_json};
use super::table::Columns;
use super::{Failure, Query};
use crate::admin::protocol::Request;
use crate::admin::views::{Keeping, Story, StoryLine};

/// How to say whose story.
#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// The call's number, or the Call-ID of either leg
    id: String,
    #[command(flatten)]
    query: Query,
}

#[derive(Debug, Args)]
pub(super) struct TraceArgs {
    /// The call's number, or the Call-ID of either leg
    #[arg(required_unless_present = "keep")]
    id: Option<String>,
    /// Write the call's signalling into a file that wireshark reads
    #[arg(long, value_name = "FILE", requires = "id")]
    pcap: Option<PathBuf>,
    /// Keep whole messages of calls from now on, or only what they say in short
    #[arg(long, value_name = "on|off", value_parser = ["on", "off"], conflicts_with = "id")]
    keep: Option<String>,
    #[command(flatten)]
    query: Query,
}

pub(super) fn explain(args: &ExplainArgs) -> Result<ExitCode, Failure> {
    let client = args.query.client();
    let answer = client.ask(&request(&args.id, false))?;
    if args.query.json {
        print_json(&answer)?;
    } else {
        print(&render(&client.understand(answer)?))?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn trace(args: &TraceArgs) -> Result<ExitCode, Failure> {
    let client = args.query.client();
    if let Some(keep) = &args.keep {
        let answer = client.ask(&Request::KeepMessages { keep: keep == "on" })?;
        if args.query.json {
            print_json(&answer)?;
            return Ok(ExitCode::SUCCESS);
        }
        let view: Keeping = client.understand(answer)?;
        print(match view.keep {
            true => "whole messages are kept from now on\n",
            false => "messages are summed up from now on\n",
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    let id = args.id.as_deref().unwrap_or_default();
    let answer = client.ask(&request(id, args.pcap.is_some()))?;
    if let Some(path) = &args.pcap {
        let story = client.understand(answer.clone())?;
        let written = write_pcap(path, &story)?;
        let total = story
            .lines
            .iter()
            .filter(|line| line.message.is_some())
            .count();
        if written == 0 && total > 0 {
            return Err(Failure::NoMessages);
        }
        if !args.query.json {
            print(&format!(
                "{written} of {total} messages are in {}\n",
                path.display()
            ))?;
            return Ok(ExitCode::SUCCESS);
        }
    }
    match args.query.json {
        true => print_json(&answer)?,
        false => print(&ladder::draw(&client.understand(answer)?))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn request(id: &str, messages: bool) -> Request {
    match id.parse() {
        Ok(id) => Request::Story {
            id: Some(id),
            call_id: None,
            messages,
        },
        Err(_) => Request::Story {
            id: None,
            call_id: Some(id.to_owned()),
            messages,
        },
    }
}

fn write_pcap(path: &PathBuf, story: &Story) -> Result<usize, Failure> {
    let failed = |error| Failure::File(path.clone(), error);
    let file = File::create(path).map_err(failed)?;
    pcap::write(BufWriter::new(file), story).map_err(failed)
}

/// When each thing happened, of which kind it is, and what it was.
fn render(story: &Story) -> String {
    let state = if story.ended { "over" } else { "up" };
    let mut text = format!("call {}, {state}, began {}\n", story.call, story.started);
    for (leg, call_id) in ["caller", "callee"].iter().zip(&story.call_ids) {
        text.push_str(&format!("  {leg}'s Call-ID  {call_id}\n"));
    }
    text.push('\n');
    let mut columns = Columns::new(&[">seconds", "kind", "what happened"]);
    let middle = story.lines.len() / 2;
    for (place, line) in story.lines.iter().enumerate() {
        if story.omitted > 0 && place == middle {
            let left_out = format!("({} lines left out)", story.omitted);
            columns.row([String::new(), "...".to_owned(), left_out]);
        }
        columns.row(row(line));
    }
    text + &columns.render()
}

fn row(line: &StoryLine) -> [String; 3] {
    [
        format!("+{:.3}", line.at_seconds),
        line.kind.clone(),
        line.text.clone(),
    ]
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::admin::views::StoryMessage;

    /// A caller, two callees of which one does not answer, and an ended call.
    pub(super) fn story() -> Story {
        let message = |at_seconds, sent, remote: &str, summary: &str, repeated| StoryLine {
            at_seconds,
            kind: if sent { "out" } else { "in" }.to_owned(),
            text: format!("{summary} with {remote}"),
            message: Some(StoryMessage {
                sent,
                local: "10.1.0.1:5060".to_owned(),
                remote: remote.to_owned(),
                transport: "udp".to_owned(),
                summary: summary.to_owned(),
                cseq: "1 INVITE".to_owned(),
                size: 10,
                repeated,
                bytes: Some(hex::encode(format!("{summary} x\r\n\r\n"))),
            }),
        };
        let state = StoryLine {
            at_seconds: 0.5,
            kind: "state".to_owned(),
            text: "calling (by FlowsReady)".to_owned(),
            message: None,
        };
        let (caller, one, two) = ("10.1.0.2:5060", "10.2.0.2:5060", "10.2.0.3:5060");
        Story {
            call: 17,
            ended: true,
            call_ids: vec!["abc".to_owned(), "def".to_owned()],
            started: "2026-01-01T00:00:00.000Z".to_owned(),
            started_unix_us: 1_700_000_000_000_000,
            lines: vec![
                message(0.0, false, caller, "INVITE", false),
                state,
                message(0.001, true, one, "INVITE", false),
                message(0.501, true, one, "INVITE", true),
                message(1.5, true, two, "INVITE", false),
                message(1.6, false, two, "180 Ringing", false),
                message(1.7, true, caller, "180 Ringing", false),
            ],
            omitted: 3,
        }
    }

    #[test]
    fn a_story_is_told_with_times_and_says_what_it_left_out() {
        let text = render(&story());
        assert!(
            text.starts_with("call 17, over, began 2026-01-01T00:00:00.000Z\n"),
            "{text}"
        );
        assert!(text.contains("callee's Call-ID  def\n"));
        assert!(
            text.contains("+0.500  state  calling (by FlowsReady)\n"),
            "{text}"
        );
        assert!(text.contains("(3 lines left out)"));
    }

    #[test]
    fn a_number_is_a_call_and_anything_else_a_call_id() {
        let Request::Story { id, call_id, .. } = request("17", false) else {
            panic!("another request");
        };
        assert_eq!((id, call_id), (Some(17), None));
        let Request::Story { id, call_id, .. } = request("17@host", true) else {
            panic!("another request");
        };
        assert_eq!((id, call_id.as_deref()), (None, Some("17@host")));
    }
}
