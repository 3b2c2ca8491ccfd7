//! `tandem sessions`: sessions without SIP, opened for load tests and by scripts.

use std::fs;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use controlplane::provisioning::MOST_SESSIONS;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::client::Client;
use super::duration::spell_seconds;
use super::output::{print, print_json};
use super::table::{Columns, or_dash, spell_counts};
use super::{Failure, Query, flows};
use crate::admin::protocol::{
    DEFAULT_LIMIT, Latch, MOST_CALLS, OpenSessions, Parties, Request, Rtcp,
};
use crate::admin::views::{ClosedSessions, OpenedSession, OpenedSessions, SessionFlows, Sessions};

/// Sessions that are printed as a table after they were opened.
const MOST_PRINTED: usize = 1000;

#[derive(Debug, Args)]
pub(crate) struct SessionsArgs {
    #[command(subcommand)]
    verb: Option<SessionsVerb>,
    #[command(flatten)]
    query: Query,
}

#[derive(Debug, Subcommand)]
enum SessionsVerb {
    /// List the sessions that are no call's, oldest first
    #[command(after_help = "\
Examples:
  tandem sessions list --limit 5000
  tandem sessions list --after 5000      Those with a higher number
  tandem sessions list --json | jq '{streams: [.sessions[] | {a, relay_a, relay_b, b}]}'")]
    List {
        /// List this many at the most, up to 10000
        #[arg(long, value_name = "N", default_value_t = DEFAULT_LIMIT)]
        limit: usize,
        /// List only sessions with a higher number
        #[arg(long, value_name = "ID", default_value_t = 0)]
        after: u64,
    },
    /// Open sessions between parties whose addresses are known
    #[command(after_help = "\
Examples:
  tandem sessions open --a-media inside --b-media outside --a 10.1.0.2:20000 --b 10.2.0.2:20000
  tandem sessions open --a-media inside --b-media outside --latch sdp --rtcp separate \\
      --a 10.1.0.2:20000 --b 10.2.0.2:20000 --count 1000 --streams streams.json
  tandem sessions open --a-media inside --b-media outside --from streams.json --json

Returns when every worker has acknowledged every flow. Exit code 1 when a session was refused.")]
    Open(OpenArgs),
    /// Close sessions that are no call's
    #[command(after_help = "\
Examples:
  tandem sessions close 17 18 19
  tandem sessions close --all")]
    Close {
        /// The sessions' numbers in the list
        #[arg(required_unless_present = "all", value_name = "ID")]
        ids: Vec<u64>,
        /// Close all of them
        #[arg(long, conflicts_with = "ids")]
        all: bool,
    },
    /// Show the flows of a session: addresses, latches, packets by worker
    #[command(after_help = "Example:\n  tandem sessions flows 17")]
    Flows {
        /// The session's number in the list
        id: u64,
    },
}

#[derive(Debug, Args)]
struct OpenArgs {
    /// The [[media]] that faces the A parties
    #[arg(long, value_name = "NAME")]
    a_media: String,
    /// The [[media]] that faces the B parties
    #[arg(long, value_name = "NAME")]
    b_media: String,
    /// Where party A sends RTP from and receives it
    #[arg(long, value_name = "ADDRESS:PORT", required_unless_present = "from")]
    a: Option<SocketAddr>,
    /// Where party B sends RTP from and receives it
    #[arg(long, value_name = "ADDRESS:PORT", required_unless_present = "from")]
    b: Option<SocketAddr>,
    /// Open this many: ports count up by two, and after 65534 addresses by one
    #[arg(long, value_name = "N", default_value_t = 1)]
    count: usize,
    /// Take the parties from a file of streams ("-": stdin), of which `a` and `b` are read
    #[arg(long, value_name = "FILE", conflicts_with_all = ["a", "b", "count"])]
    from: Option<PathBuf>,
    /// Where RTCP goes
    #[arg(long, value_enum, default_value = "none")]
    rtcp: Rtcp,
    /// Whom the flows believe, instead of what the [[media]] says
    #[arg(long, value_enum)]
    latch: Option<Latch>,
    /// Close a session whose party is silent this long, such as 60s (default: never)
    #[arg(long, value_name = "DURATION")]
    media_timeout: Option<String>,
    /// Write the streams to a file, as `tandem-load rtp --streams` reads them
    #[arg(long, value_name = "FILE")]
    streams: Option<PathBuf>,
}

/// A file of streams.
#[derive(Debug, Deserialize)]
struct StreamsRead {
    streams: Vec<StreamRead>,
}

#[derive(Debug, Deserialize)]
struct StreamRead {
    a: SocketAddr,
    b: SocketAddr,
}

#[derive(Debug, Serialize)]
struct StreamWritten {
    a: SocketAddr,
    relay_a: SocketAddr,
    relay_b: SocketAddr,
    b: SocketAddr,
    content: &'static str,
}

pub(super) fn execute(args: &SessionsArgs) -> Result<ExitCode, Failure> {
    let client = args.query.client();
    let as_json = args.query.json;
    match &args.verb {
        None => list(&client, as_json, DEFAULT_LIMIT, 0),
        Some(SessionsVerb::List { limit, after }) => list(&client, as_json, *limit, *after),
        Some(SessionsVerb::Open(open)) => open_all(&client, as_json, open),
        Some(SessionsVerb::Close { ids, all }) => {
            let closed = if *all {
                close_all(&client)?
            } else {
                close(&client, ids)?
            };
            match as_json {
                true => print_json(&json!(ClosedSessions { closed }))?,
                false => print(&format!("{closed} sessions closed\n"))?,
            }
            Ok(ExitCode::SUCCESS)
        }
        Some(SessionsVerb::Flows { id }) => {
            let answer = client.ask(&Request::SessionFlows { id: *id })?;
            if as_json {
                print_json(&answer)?;
            } else {
                let view: SessionFlows = client.understand(answer)?;
                print(&flows::render(&view.flows))?;
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn list(client: &Client, as_json: bool, limit: usize, after: u64) -> Result<ExitCode, Failure> {
    let answer = client.ask(&Request::Sessions { limit, after })?;
    match as_json {
        true => print_json(&answer)?,
        false => print(&render_list(&client.understand(answer)?))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn render_list(view: &Sessions) -> String {
    let mut columns = Columns::new(&[
        ">session", "state", ">age", "party a", "relay a", "relay b", "party b", "rtcp", "latch",
        ">timeout",
    ]);
    for session in &view.sessions {
        columns.row([
            session.id.to_string(),
            session.state.clone(),
            spell_seconds(session.age_seconds),
            session.a.to_string(),
            session.relay_a.to_string(),
            session.relay_b.to_string(),
            session.b.to_string(),
            session.rtcp.clone(),
            or_dash(session.latch.as_deref()),
            or_dash(session.media_timeout_seconds.map(spell_seconds)),
        ]);
    }
    let shown = view.sessions.len() as u64;
    let rest = match view.total.saturating_sub(shown) {
        0 => format!("{} sessions\n", view.total),
        rest => format!(
            "{} sessions, {rest} of them not shown (--limit, --after)\n",
            view.total
        ),
    };
    columns.render() + &rest
}

fn open_all(client: &Client, as_json: bool, args: &OpenArgs) -> Result<ExitCode, Failure> {
    let parties = parties(args)?;
    let mut opened = OpenedSessions::default();
    for (batch, sessions) in parties.chunks(MOST_SESSIONS).enumerate() {
        let answer = client.ask(&Request::OpenSessions(OpenSessions {
            a_media: args.a_media.clone(),
            b_media: args.b_media.clone(),
            rtcp: args.rtcp,
            latch: args.latch,
            media_timeout: args.media_timeout.clone(),
            sessions: sessions.to_vec(),
        }))?;
        let answer: OpenedSessions = client.understand(answer)?;
        let first = (batch * MOST_SESSIONS) as u64;
        let moved = |one: OpenedSession| OpenedSession {
            index: one.index + first,
            ..one
        };
        opened
            .sessions
            .extend(answer.sessions.into_iter().map(moved));
        for (why, count) in answer.refused {
            *opened.refused.entry(why).or_default() += count;
        }
    }
    if let Some(path) = &args.streams {
        write_streams(path, &streams(&parties, &opened, args.rtcp))?;
    }
    match as_json {
        true => print_json(&json!(opened))?,
        false => print(&render_opened(&parties, &opened))?,
    }
    if opened.refused.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    Err(Failure::Refused(spell_counts(&opened.refused)))
}

fn render_opened(parties: &[Parties], opened: &OpenedSessions) -> String {
    let mut columns = Columns::new(&[">session", "party a", "relay a", "relay b", "party b"]);
    for (session, parties) in of_request(parties, opened).take(MOST_PRINTED) {
        columns.row([
            session.id.to_string(),
            parties.a.to_string(),
            session.a.to_string(),
            session.b.to_string(),
            parties.b.to_string(),
        ]);
    }
    let count = opened.sessions.len();
    let rest = match count.saturating_sub(MOST_PRINTED) {
        0 => format!("{count} sessions opened\n"),
        rest => format!("{count} sessions opened, {rest} of them not shown (`tandem sessions`)\n"),
    };
    columns.render() + &rest
}

/// What was opened, with what was asked for.
fn of_request<'a>(
    parties: &'a [Parties],
    opened: &'a OpenedSessions,
) -> impl Iterator<Item = (&'a OpenedSession, &'a Parties)> {
    let place = |session: &OpenedSession| usize::try_from(session.index).ok();
    opened
        .sessions
        .iter()
        .filter_map(move |session| Some((session, parties.get(place(session)?)?)))
}

fn streams(parties: &[Parties], opened: &OpenedSessions, rtcp: Rtcp) -> Vec<StreamWritten> {
    let mut streams = Vec::new();
    for (session, parties) in of_request(parties, opened) {
        let contents: &[_] = match rtcp {
            Rtcp::None => &[(0, "rtp")],
            Rtcp::Separate => &[(0, "rtp"), (1, "rtcp")],
            Rtcp::Mux => &[(0, "rtp"), (0, "rtcp")],
        };
        for &(offset, content) in contents {
            let at = |rtp: SocketAddr| SocketAddr::new(rtp.ip(), rtp.port().saturating_add(offset));
            streams.push(StreamWritten {
                a: at(parties.a),
                relay_a: at(session.a),
                relay_b: at(session.b),
                b: at(parties.b),
                content,
            });
        }
    }
    streams
}

fn write_streams(path: &Path, streams: &[StreamWritten]) -> Result<(), Failure> {
    let file = |error| Failure::File(path.to_owned(), error);
    let text = json!({ "streams": streams }).to_string();
    fs::write(path, text + "\n").map_err(file)
}

fn parties(args: &OpenArgs) -> Result<Vec<Parties>, Failure> {
    if let Some(path) = &args.from {
        return read_parties(path).map_err(|error| Failure::File(path.clone(), error));
    }
    let (Some(a), Some(b)) = (args.a, args.b) else {
        // clap has asked for them.
        return Ok(Vec::new());
    };
    let pairs = walk(a).zip(walk(b)).take(args.count);
    let parties: Vec<_> = pairs.map(|(a, b)| Parties { a, b }).collect();
    match parties.len() == args.count {
        true => Ok(parties),
        false => Err(Failure::TooFewAddresses(args.count)),
    }
}

/// An address, then those two ports further on, and after the last port those of the next address.
fn walk(first: SocketAddr) -> impl Iterator<Item = SocketAddr> {
    std::iter::successors(Some(first), move |at| match at.port().checked_add(2) {
        Some(port) if port < u16::MAX => Some(SocketAddr::new(at.ip(), port)),
        _ => Some(SocketAddr::new(next_address(at.ip())?, first.port())),
    })
}

fn next_address(address: IpAddr) -> Option<IpAddr> {
    Some(match address {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits().checked_add(1)?).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits().checked_add(1)?).into(),
    })
}

fn read_parties(path: &Path) -> io::Result<Vec<Parties>> {
    let mut text = String::new();
    match path.as_os_str() == "-" {
        true => io::stdin().read_to_string(&mut text)?,
        false => fs::File::open(path)?.read_to_string(&mut text)?,
    };
    let read: StreamsRead = serde_json::from_str(&text)?;
    let party = |stream: &StreamRead| Parties {
        a: stream.a,
        b: stream.b,
    };
    Ok(read.streams.iter().map(party).collect())
}

fn close(client: &Client, ids: &[u64]) -> Result<u64, Failure> {
    let mut closed = 0;
    for ids in ids.chunks(MOST_SESSIONS) {
        let answer = client.ask(&Request::CloseSessions { ids: ids.to_vec() })?;
        let answer: ClosedSessions = client.understand(answer)?;
        closed += answer.closed;
    }
    Ok(closed)
}

fn close_all(client: &Client) -> Result<u64, Failure> {
    let (mut after, mut closed) = (0, 0);
    loop {
        let answer = client.ask(&Request::Sessions {
            limit: MOST_CALLS,
            after,
        })?;
        let view: Sessions = client.understand(answer)?;
        let ids: Vec<_> = view.sessions.iter().map(|session| session.id).collect();
        let Some(last) = ids.last() else {
            return Ok(closed);
        };
        after = *last;
        closed += close(client, &ids)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parties_count_up_by_ports_then_by_addresses() {
        let first: SocketAddr = "10.1.0.2:65530".parse().expect("an address");
        let walked: Vec<_> = walk(first).take(5).map(|at| at.to_string()).collect();
        let expected = [
            "10.1.0.2:65530",
            "10.1.0.2:65532",
            "10.1.0.2:65534",
            "10.1.0.3:65530",
            "10.1.0.3:65532",
        ];
        assert_eq!(walked, expected);
        let last: SocketAddr = "255.255.255.255:65534".parse().expect("an address");
        assert_eq!(walk(last).count(), 1);
    }

    #[test]
    fn streams_are_of_what_was_opened_and_of_each_content() {
        let at = |text: &str| -> SocketAddr { text.parse().expect("an address") };
        let party = |port| Parties {
            a: SocketAddr::new(at("10.1.0.2:0").ip(), port),
            b: SocketAddr::new(at("10.2.0.2:0").ip(), port),
        };
        let opened = OpenedSessions {
            sessions: vec![OpenedSession {
                id: 7,
                index: 1,
                a: at("10.1.0.1:30000"),
                b: at("10.2.0.1:40000"),
            }],
            refused: [("ports_exhausted".to_owned(), 1)].into(),
        };
        let parties = [party(20_000), party(20_002)];
        let written = streams(&parties, &opened, Rtcp::Separate);
        let text = json!(written).to_string();
        assert_eq!(written.len(), 2, "{text}");
        assert!(text.contains("10.1.0.2:20002") && !text.contains("10.1.0.2:20000"));
        assert!(text.contains("10.2.0.1:40001") && text.contains("rtcp"));
        assert!(render_opened(&parties, &opened).contains("10.2.0.2:20002"));
    }
}
