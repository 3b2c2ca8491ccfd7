//! `tandem route`: where a call would go, and what each trunk would be sent.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use controlplane::agent::Agent;
use jiff::Timestamp;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::output::{print, print_json};
use super::table::{Columns, or_dash, properties};
use super::{Failure, Query, verdict};
use crate::admin::protocol::{Request, RouteQuery};
use crate::admin::views::Route;
use crate::{config, route_views};

#[derive(Debug, Args)]
pub(super) struct RouteArgs {
    /// The trunk that the call comes from
    #[arg(value_name = "FROM-TRUNK")]
    from: String,
    /// The Request-URI, or only its user part: a number
    uri: String,
    /// A header of the INVITE, From and To among them; may come several times
    #[arg(long = "header", value_name = "'Name: value'")]
    headers: Vec<String>,
    /// When: "2026-12-24T12:00:00Z" or "2026-12-24T12:00[Europe/Berlin]" [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// Go by this configuration file; without, a running tandem is asked
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    query: Query,
}

pub(super) fn route(args: &RouteArgs) -> Result<ExitCode, Failure> {
    let query = RouteQuery {
        from: args.from.clone(),
        uri: args.uri.clone(),
        headers: args.headers.clone(),
        at: args.at.clone(),
    };
    let view = match &args.config {
        Some(path) => match offline(path, &query)? {
            Some(view) => view,
            None => return Ok(ExitCode::FAILURE),
        },
        None => {
            let client = args.query.client();
            client.understand(client.ask(&Request::Route(query))?)?
        }
    };
    match args.query.json {
        true => {
            let value = serde_json::to_value(&view);
            print_json(&value.map_err(|error| Failure::Output(error.into()))?)?;
        }
        false => print(&render(&view))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// By a file; `None` when it cannot be used, which has then been said.
fn offline(path: &Path, query: &RouteQuery) -> Result<Option<Route>, Failure> {
    let checked = config::load(path, None)?;
    let Some(config) = checked.config else {
        eprint!("{}", checked.report);
        eprintln!("tandem: {}", verdict(path, &checked));
        return Ok(None);
    };
    let mut agent = Agent::new(config.control, 1, StdRng::from_rng(&mut rand::rng()));
    let view = route_views::answer(&mut agent, query, Timestamp::now());
    view.map(Some).map_err(Failure::Question)
}

fn render(view: &Route) -> String {
    let mut text = properties(&[
        ("from", view.from.clone()),
        (
            "number",
            or_dash(Some(view.user.as_str()).filter(|user| !user.is_empty())),
        ),
        ("at", view.at.clone()),
        ("route", or_dash(view.route.as_deref())),
    ]);
    for passed in &view.passed_over {
        text.push_str(&format!("  not {}: {}\n", passed.route, passed.why));
    }
    if view.passed_over_more > 0 {
        text.push_str(&format!("  and {} more\n", view.passed_over_more));
    }
    if view.route.is_none() {
        text.push_str("\nno route: 404\n");
        return text;
    }
    text.push('\n');
    let mut columns = Columns::new(&[">try", "trunk", "prefix", ">cost", ">weight", "peers"]);
    for (number, candidate) in (1..).zip(&view.candidates) {
        columns.row([
            number.to_string(),
            candidate.trunk.clone(),
            or_dash(candidate.prefix.as_deref().map(spell_prefix)),
            or_dash(candidate.cost.as_deref()),
            or_dash(candidate.weight),
            or_dash(Some(candidate.peers.join(", ")).filter(|peers| !peers.is_empty())),
        ]);
    }
    text.push_str(&columns.render());
    for skipped in &view.skipped {
        text.push_str(&format!("not {}: {}\n", skipped.trunk, skipped.why));
    }
    for candidate in &view.candidates {
        text.push_str(&format!("\nto {}\n", candidate.trunk));
        match &candidate.request {
            Some(lines) => lines
                .iter()
                .for_each(|line| text.push_str(&format!("  {line}\n"))),
            None => text.push_str("  nothing: none of its listeners reaches a peer\n"),
        }
    }
    text
}

fn spell_prefix(prefix: &str) -> &str {
    match prefix {
        "" => "any",
        digits => digits,
    }
}
