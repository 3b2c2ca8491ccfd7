//! Trunks in service: peers as tables, checks, failover, limits, networks, overload.

use super::*;
use controlplane::settings::{Check, Failover, Overload, Rate, TrunkLimits};

const PEERS: &str = "peers = [\"10.2.0.2:5060\", \"[fd02::2]:5060\"]";

/// The settings of the example with one piece replaced.
fn settings(from: &str, to: &str) -> controlplane::settings::Settings {
    let checked = check_text(&changed(from, to), Some(&host()));
    let report = checked.report.to_string();
    checked.config.unwrap_or_else(|| panic!("{report}")).control
}

#[test]
fn a_list_of_addresses_is_tried_in_order_and_tables_share() {
    let ranks = |settings: &controlplane::settings::Settings| {
        let peers = settings.trunks[1].peers.iter();
        peers
            .map(|peer| (peer.priority, peer.weight))
            .collect::<Vec<_>>()
    };
    assert_eq!(ranks(&settings(PEERS, PEERS)), [(1, 1), (2, 1)]);
    let tables = "peers = [{ address = \"10.2.0.2:5060\", priority = 5, weight = 30 }, \
                  { address = \"10.2.0.3\" }, \"[fd02::2]:5060\"]";
    let settings = settings(PEERS, tables);
    assert_eq!(ranks(&settings), [(5, 30), (1, 1), (3, 1)]);
    assert_eq!(settings.trunks[1].peers[1].address.port(), 0);
}

#[test]
fn a_trunk_says_how_it_is_served() {
    let service = format!(
        "{PEERS}\naccess = [\"192.0.2.0/24\", \"2001:db8::1\"]\n\
         check = {{ every = \"10s\", timeout = \"1s\", down_after = 2, up_after = 1, down_codes = [503, 500] }}\n\
         failover = {{ after = \"2s\", total = \"6s\", codes = [503] }}\n\
         limits = {{ calls = 100, calls_in = 60, calls_out = 70, rate_in = 10, burst_in = 20, rate_out = 5, bandwidth = \"10M\", code = 480 }}"
    );
    let settings = settings(PEERS, &service);
    let trunk = &settings.trunks[1];
    assert_eq!(trunk.access.len(), 2);
    let check = Check {
        every: Some(Duration::from_secs(10)),
        timeout: Duration::from_secs(1),
        down_after: 2,
        up_after: 1,
        down_codes: vec![503, 500],
        ..Check::default()
    };
    assert_eq!(trunk.check, check);
    let failover = Failover {
        after: Duration::from_secs(2),
        total: Duration::from_secs(6),
        codes: vec![503],
    };
    assert_eq!(trunk.failover, failover);
    let rate = |per_second, burst| Some(Rate { per_second, burst });
    let limits = TrunkLimits {
        calls: Some(100),
        calls_in: Some(60),
        calls_out: Some(70),
        rate_in: rate(10, 20),
        rate_out: rate(5, 5),
        bandwidth: Some(10_000_000),
        code: 480,
    };
    assert_eq!(trunk.limits, limits);
    assert_eq!(
        settings.trunks[0].check,
        Check::default(),
        "nobody is asked unless it is said"
    );
}

#[test]
fn an_empty_check_asks_and_totals_have_sections() {
    let asked = settings(PEERS, &format!("{PEERS}\ncheck = {{}}"));
    let every = asked.trunks[1].check.every;
    assert_eq!(every, Some(Duration::from_secs(30)));
    let sections = "[limits]\nrate = 100\nbandwidth = \"1G\"\ndeny = [\"198.51.100.0/24\"]\n\
                    [overload]\ntarget = \"20ms\"\nfloor = 3\nretry_after = \"9s\"\n";
    let settings = settings("[overload]\ntarget = \"50ms\"", sections);
    let rate = settings.capacity.rate.expect("a rate");
    assert_eq!((rate.per_second, rate.burst), (100, 100));
    assert_eq!(settings.capacity.bandwidth, Some(1_000_000_000));
    assert_eq!(settings.deny.len(), 1);
    let overload = Overload {
        target: Some(Duration::from_millis(20)),
        floor: 3,
        retry_after: 9,
    };
    assert_eq!(settings.overload, overload);
}

#[test]
fn what_is_wrong_is_said_where_it_stands() {
    let under = |lines: &str| format!("{PEERS}\n{lines}");
    findings(
        PEERS,
        "peers = [{ priority = 1, wieght = 3 }]",
        &["lacks `address`", "`wieght`"],
    );
    findings(
        PEERS,
        "peers = [{ address = \"10.2.0\" }]",
        &["`address` is \"10.2.0\""],
    );
    findings(PEERS, "peers = []", &["`peers` is empty"]);
    findings(
        PEERS,
        &under("check = { evry = \"1s\" }"),
        &["unknown key in `check` of a [[trunk]]: `evry`"],
    );
    findings(
        PEERS,
        &under("failover = { after = \"20s\" }"),
        &["longer than the caller waits"],
    );
    findings(
        PEERS,
        &under("failover = { codes = [200] }"),
        &["`codes` is 200"],
    );
    findings(
        PEERS,
        &under("limits = { burst_in = 3 }"),
        &["`burst_in` means nothing without `rate_in`"],
    );
    findings(
        PEERS,
        &under("access = [\"10.0.0.1/8\"]"),
        &["the network is 10.0.0.0/8"],
    );
    findings(
        PEERS,
        &under("access = [\"10.0.0.0/8\", \"10.0.0.0/8\"]"),
        &["10.0.0.0/8 comes twice"],
    );
}

#[test]
fn networks_tell_trunks_apart_at_a_listener() {
    let twin = "[[trunk]]\nname = \"twin\"\npeers = [\"10.2.0.9\"]\naccess = [\"10.9.0.0/16\"]\n\
                listeners = [\"outside4\"]\nmedia = \"outside\"\n\n[[route]]\n";
    let text = changed(PEERS, &format!("{PEERS}\naccess = [\"10.9.0.0/16\"]"));
    let text = text.replacen("[[route]]\n", twin, 1);
    let checked = check_text(&text, Some(&host()));
    let found = checked.report.to_string();
    assert!(
        found.contains("another [[trunk]] has this network"),
        "{found}"
    );
}

#[test]
fn what_a_trunk_may_do_with_calls() {
    use controlplane::settings::{Redirect, Refer, Takeover};
    let text = changed(
        "media = \"inside\"\n\n[[trunk]]",
        "media = \"inside\"\nredirect = \"follow-181\"\nrefer = \"local\"\nreplaces = \"pass\"\n\n[[trunk]]",
    );
    let checked = check_text(&text, Some(&host()));
    assert_eq!(checked.report.to_string(), "");
    let trunks = checked.config.expect("it has no error").control.trunks;
    assert_eq!(trunks[0].transfer.redirect, Redirect::FollowAloud);
    assert_eq!(trunks[0].transfer.refer, Refer::Local);
    assert_eq!(trunks[0].transfer.replaces, Takeover::Pass);
    assert_eq!(trunks[1].transfer, Default::default());
    findings(
        "media = \"inside\"\n\n[[trunk]]",
        "media = \"inside\"\nredirect = \"yes\"\n\n[[trunk]]",
        &["`redirect`"],
    );
}

#[test]
fn what_a_trunk_says_of_its_dialogs() {
    use controlplane::settings::{EarlyMedia, Refresher, ReliableProvisional, TimerMode};
    let more = "media = \"inside\"\nreliable_provisional = \"required\"\nearly_media = \"ring\"\n\
                session_timer = { mode = \"request\", expires = \"10m\", min = \"2m\", refresher = \"peer\" }\n\n[[trunk]]";
    let text = changed("media = \"inside\"\n\n[[trunk]]", more);
    let checked = check_text(&text, Some(&host()));
    assert_eq!(checked.report.to_string(), "");
    let trunks = checked.config.expect("it has no error").control.trunks;
    let said = trunks[0].dialog;
    assert_eq!(said.reliable_provisional, ReliableProvisional::Required);
    assert_eq!(said.early_media, EarlyMedia::Ring);
    assert_eq!(said.session_timer.mode, TimerMode::Request);
    assert_eq!(said.session_timer.refresher, Refresher::Peer);
    assert_eq!(said.session_timer.expires.as_secs(), 600);
    assert_eq!(said.session_timer.min.as_secs(), 120);
    assert_eq!(trunks[1].dialog, Default::default());
    findings(
        "media = \"inside\"\n\n[[trunk]]",
        "media = \"inside\"\nsession_timer = { expires = \"1m\", mod = 1 }\n\n[[trunk]]",
        &[
            "`expires` is shorter than the shortest interval that is taken / at least `min`, 1m30s",
            "unknown key in session_timer of [[trunk]]: `mod`",
        ],
    );
}
