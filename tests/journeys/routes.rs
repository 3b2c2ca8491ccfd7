//! Real calls go where tables, schedules and weights say; the records tell where they went.

use std::collections::HashMap;
use std::time::Duration;

use crate::lab::network::Network;
use crate::lab::relay::{Relay, Setup};
use crate::lab::sipp::Sipp;
use crate::lab::turn::Turn;

const PATIENCE: Duration = Duration::from_secs(30);
const FORMER: &str = "[[route]]\nfrom = \"callers\"\nuser = \"4[0-9]*\"\nto = [\"callees4\"]\n";

/// Calls these numbers, some of which two answering trunks take: `callees4` (port 5060) and `first` (5070). By number, how many
/// calls each trunk had.
fn calls(routes: &str, numbers: &[(&str, u32)]) -> HashMap<(String, String), u32> {
    let setup = Setup::default().replace(FORMER, routes);
    taken(setup, numbers, "callee_trunk")
}

/// The same by another field of the records.
fn taken(setup: Setup, numbers: &[(&str, u32)], by: &str) -> HashMap<(String, String), u32> {
    let _turn = Turn::shared();
    let network = Network::new(2);
    let setup = setup
        .append("[cdr]\nfile = \"DIRECTORY/calls.json\"\n")
        // On a machine that is busy with other journeys some would be shed.
        .append("[overload]\ntarget = \"off\"\n");
    let relay = Relay::start(&network, &setup);
    // As many as come; they end with the journey.
    let many = ["-m", "1000", "-d", "50"];
    let _callees = [5060, 5070]
        .map(|port| Sipp::start(&network.callee, "callee.xml", "10.2.0.2", port, &many));
    let mut all = 0;
    for (number, count) in numbers {
        all += count;
        let count = count.to_string();
        let arguments = [
            "10.1.0.1:5060",
            "-s",
            number,
            "-m",
            &count,
            "-r",
            "20",
            "-d",
            "50",
        ];
        let caller = Sipp::start(&network.caller, "caller.xml", "10.1.0.2", 5060, &arguments);
        caller.succeeds(PATIENCE);
    }
    relay.expect_gauge("calls", 0, PATIENCE);
    assert_eq!(relay.calls("answered"), u64::from(all));
    let mut taken = HashMap::new();
    for record in relay.records(all as usize) {
        let text = |field: &str| record[field].as_str().unwrap_or_default().to_owned();
        let uri = text("caller_uri");
        let number = uri.trim_start_matches("sip:").split('@').next();
        let key = (number.unwrap_or_default().to_owned(), text(by));
        *taken.entry(key).or_insert(0) += 1;
    }
    taken
}

fn went(number: &str, trunk: &str, times: u32) -> ((String, String), u32) {
    ((number.to_owned(), trunk.to_owned()), times)
}

#[test]
fn the_longest_prefix_of_a_table_and_the_lowest_rate_of_another_decide() {
    let files = tempfile::tempdir().expect("the temporary directory can be written to");
    let write = |name: &str, text: &str| {
        std::fs::write(files.path().join(name), text).expect("the directory is ours");
    };
    write("prefixes.csv", "prefix,trunks\n47,callees4\n4712,first\n");
    write(
        "rates.csv",
        "prefix,trunk,cost\n48,callees4,0.02\n48,first,0.03\n4812,first,0.01\n",
    );
    let place = files.path().display();
    let routes = format!(
        "[[route]]\nfrom = \"callers\"\nprefixes = \"{place}/prefixes.csv\"\n\
         [[route]]\nfrom = \"callers\"\nrates = \"{place}/rates.csv\"\n"
    );
    let numbers = [("4711", 1), ("4712", 1), ("4811", 1), ("4812", 1)];
    let expected = [
        went("4711", "callees4", 1),
        went("4712", "first", 1),
        went("4811", "callees4", 1),
        went("4812", "first", 1),
    ];
    assert_eq!(calls(&routes, &numbers), HashMap::from(expected));
}

#[test]
fn a_schedule_that_holds_comes_before_the_default_and_weights_share_the_calls() {
    // One that held on a day long ago, and one that always holds.
    let routes = "
[[schedule]]
name = \"then\"
zone = \"Europe/Berlin\"
dates = [\"2001-01-01\"]

[[schedule]]
name = \"now\"
zone = \"Europe/Berlin\"
days = [\"mon-sun\"]

[[route]]
from = \"callers\"
user = \"41\"
when = \"then\"
to = [\"first\"]

[[route]]
from = \"callers\"
user = \"42\"
when = \"now\"
to = [\"first\"]

[[route]]
from = \"callers\"
user = \"43\"
to = [{ trunk = \"callees4\", weight = 1 }, { trunk = \"first\", weight = 1 }]

[[route]]
from = \"callers\"
to = [\"callees4\"]
";
    let mut taken = calls(routes, &[("41", 1), ("42", 1), ("43", 40)]);
    let mut shared = |trunk| taken.remove(&("43".to_owned(), String::from(trunk)));
    let (one, other) = (shared("callees4"), shared("first"));
    assert_eq!(one.zip(other).map(|(one, other)| one + other), Some(40));
    // Fewer than 8 of 40 comes once in 20,000 times.
    assert!(one.min(other) >= Some(8), "{one:?} and {other:?}");
    let expected = [went("41", "callees4", 1), went("42", "first", 1)];
    assert_eq!(taken, HashMap::from(expected));
}

/// Of the peers of a trunk the one of the first priority has all calls, and equals share them by weight.
#[test]
fn peers_are_called_by_priority_and_weight() {
    let peers = "peers = [\"10.2.0.2:5060\"]";
    let ranked = "peers = [{ address = \"10.2.0.2:5060\", priority = 2 }, \
                  { address = \"10.2.0.2:5070\", priority = 1 }]";
    let equal = "peers = [{ address = \"10.2.0.2:5060\", priority = 1, weight = 1 }, \
                 { address = \"10.2.0.2:5070\", priority = 1, weight = 1 }]";
    // No other trunk may have these peers.
    let setup = |peers_are: &str| {
        Setup::default()
            .replace(peers, peers_are)
            .replace("peers = [\"10.2.0.2:5070\"]", "peers = [\"10.2.0.2:5080\"]")
    };
    let by = "callee_signalling";
    let all = taken(setup(ranked), &[("4711", 3)], by);
    assert_eq!(all, HashMap::from([went("4711", "10.2.0.2:5070", 3)]));
    let shared = taken(setup(equal), &[("4711", 40)], by);
    let of = |peer: &str| shared.get(&("4711".to_owned(), peer.to_owned()));
    let [one, other] = ["10.2.0.2:5060", "10.2.0.2:5070"].map(of);
    assert!(one.min(other) >= Some(&8), "{shared:?}");
}
