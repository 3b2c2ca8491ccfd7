//! `tandem calls`: who is talking, and the end of it.

use std::process::ExitCode;

use super::client::Client;
use super::duration::spell_seconds;
use super::output::{print, print_json};
use super::table::{Columns, or_dash, properties};
use super::{CallsArgs, CallsVerb, Failure};
use crate::admin::protocol::{DEFAULT_LIMIT, Request};
use crate::admin::views::{Call, CallLine, Calls, HungUp, Leg, StreamParty};

pub(super) fn execute(args: &CallsArgs) -> Result<ExitCode, Failure> {
    let request = match args.verb {
        None => Request::Calls {
            limit: DEFAULT_LIMIT,
        },
        Some(CallsVerb::List { limit }) => Request::Calls { limit },
        Some(CallsVerb::Show { id }) => Request::Call { id },
        Some(CallsVerb::Hangup { id }) => Request::Hangup { id },
    };
    let client: Client = args.query.client();
    let answer = client.ask(&request)?;
    if args.query.json {
        print_json(&answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    let text = match request {
        Request::Call { .. } => render_call(&client.understand(answer)?),
        Request::Hangup { .. } => {
            let view: HungUp = client.understand(answer)?;
            format!("call {} is being ended\n", view.hanging_up)
        }
        _ => render_list(&client.understand(answer)?),
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn render_list(view: &Calls) -> String {
    let mut columns = Columns::new(&[">call", "state", ">age", ">talking", "from", "to", "trunks"]);
    for call in &view.calls {
        columns.row([
            call.id.to_string(),
            call.state.clone(),
            spell_seconds(call.age_seconds),
            or_dash(call.talk_seconds.map(spell_seconds)),
            call.from.clone(),
            call.to.clone(),
            trunks(call),
        ]);
    }
    let shown = view.calls.len() as u64;
    let rest = match view.total.saturating_sub(shown) {
        0 => format!("{} calls\n", view.total),
        rest => format!("{} calls, {rest} of them not shown (--limit)\n", view.total),
    };
    columns.render() + &rest
}

fn trunks(call: &CallLine) -> String {
    format!(
        "{} > {}",
        call.from_trunk,
        or_dash(call.to_trunk.as_deref())
    )
}

fn render_call(view: &Call) -> String {
    let line = &view.line;
    let talking = line.talk_seconds.map(spell_seconds);
    let mut text = properties(&[
        ("call", format!("{}, {}", line.id, line.state)),
        ("from", line.from.clone()),
        ("to", line.to.clone()),
        ("trunks", trunks(line)),
        ("age", spell_seconds(line.age_seconds)),
        ("talking", or_dash(talking)),
    ]);
    text.push_str("\ncaller\n");
    text.push_str(&render_leg(&view.caller));
    for callee in &view.callees {
        text.push_str("\ncallee\n");
        text.push_str(&render_leg(callee));
    }
    for (number, stream) in view.streams.iter().enumerate() {
        text.push_str(&format!(
            "\nstream {number}: {} over {}, {}\n",
            stream.media, stream.transport, stream.state
        ));
        let mut columns = Columns::new(&[
            "party",
            "our rtp",
            "our rtcp",
            "their rtp",
            "their rtcp",
            "latched",
            "direction",
            "silent",
            "codecs",
        ]);
        columns.row(party_row("caller", &stream.caller));
        columns.row(party_row("callee", &stream.callee));
        text.push_str(&columns.render());
    }
    text
}

fn render_leg(leg: &Leg) -> String {
    properties(&[
        ("  trunk", format!("{} at {}", leg.trunk, leg.remote)),
        ("  call-id", leg.call_id.clone()),
        (
            "  tags",
            format!("ours {}, theirs {}", leg.local_tag, leg.remote_tag),
        ),
        ("  target", leg.remote_target.clone()),
    ])
}

fn party_row(party: &str, view: &StreamParty) -> [String; 9] {
    [
        party.to_owned(),
        or_dash(view.local_rtp.as_deref()),
        or_dash(view.local_rtcp.as_deref()),
        or_dash(view.remote_rtp.as_deref()),
        or_dash(view.remote_rtcp.as_deref()),
        or_dash(view.latched_rtp.as_deref()),
        view.direction.clone(),
        if view.silent { "yes" } else { "no" }.to_owned(),
        view.codecs.clone(),
    ]
}
