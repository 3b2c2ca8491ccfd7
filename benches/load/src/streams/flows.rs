//! Streams from what `tandem flows ID --json` prints: one JSON object for each call, one after the other.
//!
//! A flow is one direction of a stream. Two flows make a stream when each arrives where the other leaves from:
//!
//! ```text
//!   signalled ──► local    leaves_from ──► destination      the flow from A
//!   destination ◄── leaves_from   local ◄── signalled       its counterpart from B
//! ```

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use serde::Deserialize;

use super::{Content, Stream, StreamsError, check, malformed, read, unusable};

/// Which side a party is on, for files that do not say it.
pub trait Sides {
    /// Whether a party's address belongs to A's device.
    fn is_a(&self, party: IpAddr) -> bool;
}

impl<F: Fn(IpAddr) -> bool> Sides for F {
    fn is_a(&self, party: IpAddr) -> bool {
        self(party)
    }
}

/// A call's flows; fields that do not matter here are skipped.
#[derive(Deserialize)]
struct Call {
    flows: Vec<Flow>,
}

#[derive(Clone, Deserialize)]
struct Flow {
    local: SocketAddr,
    carries: String,
    signalled: Option<SocketAddr>,
    latched: Option<SocketAddr>,
    leaves_from: Option<SocketAddr>,
    destination: Option<SocketAddr>,
}

impl Flow {
    fn source(&self) -> Option<SocketAddr> {
        self.latched.or(self.signalled)
    }
}

/// Reads the flows of calls, and pairs them to streams; flows that go one way only, or nowhere yet, are left out.
pub fn from_flows(file: &Path, sides: &impl Sides) -> Result<Vec<Stream>, StreamsError> {
    let text = read(file)?;
    let mut flows = Vec::new();
    for call in serde_json::Deserializer::from_str(&text).into_iter::<Call>() {
        flows.extend(call.map_err(|error| malformed(file, &error))?.flows);
    }
    let streams = paired(&flows, sides);
    check(&streams).map_err(|reason| {
        let unpaired = "has two flows of a stream, each with source and destination";
        match streams.is_empty() {
            true => unusable(file, format!("no call in it {unpaired}")),
            false => unusable(file, reason),
        }
    })?;
    Ok(streams)
}

fn paired(flows: &[Flow], sides: &impl Sides) -> Vec<Stream> {
    let by_local: HashMap<SocketAddr, &Flow> =
        flows.iter().map(|flow| (flow.local, flow)).collect();
    let mut streams = Vec::new();
    for flow in flows {
        let (Some(a), Some(relay_b), Some(b)) = (flow.source(), flow.leaves_from, flow.destination)
        else {
            continue;
        };
        let Some(back) = by_local.get(&relay_b) else {
            continue;
        };
        let goes_back = back.leaves_from == Some(flow.local) && back.destination == Some(a);
        // Of the two of a pair the one from A's side speaks for both; should both parties be on one side (one
        // device), the one with the smaller address does.
        let b_is_a = sides.is_a(b.ip());
        let speaks = match (sides.is_a(a.ip()), b_is_a) {
            (true, true) | (false, false) => flow.local < relay_b,
            (is_a, _) => is_a,
        };
        if !goes_back || !speaks || flow.carries == "removing" {
            continue;
        }
        let content = match flow.carries.as_str() {
            "rtcp" => Content::Rtcp,
            _ => Content::Rtp,
        };
        streams.push(Stream {
            a,
            relay_a: flow.local,
            relay_b,
            b,
            content,
        });
    }
    streams
}

#[cfg(test)]
mod tests {
    use super::super::tests::file;
    use super::*;

    fn call(content: &str, port: u16) -> String {
        format!(
            r#"{{"call":1,"flows":[
            {{"local":"10.1.0.1:{port}","carries":"{content}","signalled":"10.1.0.2:6000","latched":null,
              "leaves_from":"10.2.0.1:{port}","destination":"10.2.0.2:7000","next_hop":"02:00:00:00:00:01",
              "egress_device":"out0","acknowledged":1,"workers":[]}},
            {{"local":"10.2.0.1:{port}","carries":"{content}","signalled":"10.2.0.9:1","latched":"10.2.0.2:7000",
              "leaves_from":"10.1.0.1:{port}","destination":"10.1.0.2:6000"}},
            {{"local":"10.9.0.1:1","carries":"rtp","signalled":null,"latched":null,"leaves_from":null,
              "destination":null}}]}}"#
        )
    }

    #[test]
    fn flows_of_calls_are_paired() {
        let file = file(&(call("rtp", 30_000) + "\n" + &call("rtcp", 30_001)));
        let b_side = |party: IpAddr| party != "10.1.0.2".parse::<IpAddr>().expect("an address");
        let a_side = |party: IpAddr| !b_side(party);
        let streams = from_flows(file.path(), &a_side).expect("two calls");
        let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
        assert_eq!(streams.len(), 2);
        assert_eq!(streams[0].a, address("10.1.0.2:6000"));
        assert_eq!(streams[0].relay_a, address("10.1.0.1:30000"));
        assert_eq!(streams[0].relay_b, address("10.2.0.1:30000"));
        assert_eq!(streams[0].b, address("10.2.0.2:7000"));
        assert_eq!(streams[1].content, Content::Rtcp);
        let turned = from_flows(file.path(), &b_side).expect("two calls");
        assert_eq!(turned[0].a, address("10.2.0.2:7000"));
    }

    #[test]
    fn a_file_without_a_pair_says_so() {
        let file = file(r#"{"call":1,"flows":[]}"#);
        let error = from_flows(file.path(), &|_: IpAddr| true).expect_err("no flows");
        assert!(
            error
                .to_string()
                .ends_with("each with source and destination"),
            "{error}"
        );
    }
}
