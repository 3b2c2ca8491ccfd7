//! Who comes from rtpengine: each of its options has a row in `docs/migrating-from-rtpengine.md`, and the example starts.

use std::process::Command;

use serde_json::json;

use crate::lab::network::{Network, at};
use crate::lab::ng::Asker;
use crate::lab::relay::{Relay, Setup};
use crate::lab::turn::Turn;

const PAGE: &str = include_str!("../../docs/migrating-from-rtpengine.md");

#[test]
fn each_option_of_rtpengine_has_a_row() {
    let help = Command::new("rtpengine").arg("--help").output();
    let help = help.expect("rtpengine is there").stdout;
    let help = String::from_utf8(help).expect("text");
    let options: Vec<_> = help
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("--"))
        .map(|word| word.split('=').next().unwrap_or_default())
        .filter(|option| !["help", "version"].contains(option))
        .collect();
    assert!(options.len() > 100, "{help}");
    let rows = PAGE.lines().filter(|line| line.starts_with("| `"));
    let first = rows.filter_map(|line| line.split(" | ").next());
    let named: Vec<_> = first
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .map(|span| span.split(' ').next().unwrap_or_default())
        .collect();
    let missing: Vec<_> = options
        .iter()
        .filter(|option| !named.contains(option))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    let unknown: Vec<_> = named
        .iter()
        .filter(|name| !options.contains(name))
        .collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn the_example_starts_and_answers() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    let _relay = Relay::start(
        &network,
        &Setup::of_example(include_str!("../../examples/ng.toml")),
    );
    let ping = json!({"command": "ping"});
    let mut asker = Asker::new(&network.relay, at("127.0.0.1", 0), at("127.0.0.1", 2223));
    assert_eq!(asker.ask(&ping), json!({"result": "pong"}));
}
