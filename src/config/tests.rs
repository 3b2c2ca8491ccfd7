//! The whole check, from text to settings and findings, against a machine that the example fits.

use super::*;
use crate::host::{EphemeralPorts, HostDevice};
use contract::{DeviceId, LatchPolicy, QueueId};
use controlplane::settings::RouteTo;
use dataplane::settings::{IdlePolicy, ReceivedChecksums, Steering, XdpMode};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const EXAMPLE: &str = include_str!("../../examples/tandem.toml");

/// A machine that the example fits.
fn host() -> Host {
    let device = |queues, unfinished_checksums| HostDevice {
        queues,
        unfinished_checksums,
        numa_node: None,
    };
    let devices = [("in0", device(2, false)), ("out0", device(4, true))];
    let addresses = ["10.1.0.1", "fd01::1", "10.2.0.1", "fd02::1", "fe80::7"];
    let held = |(address, device): (&str, &str)| {
        let address = address.parse().expect("an address");
        (address, BTreeSet::from([device.to_owned()]))
    };
    Host {
        holders: [("10.1.0.1", "in0"), ("10.2.0.1", "out0"), ("fd02::1", "lo")]
            .map(held)
            .into(),
        devices: devices.map(|(name, d)| (name.to_owned(), d)).into(),
        addresses: addresses
            .map(|a| a.parse().expect("an address"))
            .into_iter()
            .collect(),
        cores: [0, 1, 2].into(),
        core_nodes: BTreeMap::new(),
        name_servers: vec!["192.0.2.53:53".parse().expect("an address")],
        ephemeral: EphemeralPorts {
            range: Some((32_768, 60_999)),
            reserved: Vec::new(),
        },
    }
}

fn check_text(text: &str, host: Option<&Host>) -> Checked {
    check(Source::new("t.toml", text), host, &Numbering::default())
}

/// The example with one piece replaced.
fn changed(from: &str, to: &str) -> String {
    assert!(EXAMPLE.contains(from), "the example has no {from:?}");
    EXAMPLE.replacen(from, to, 1)
}

/// Asserts that this change of the example leads to exactly these findings, in this order: each a part
/// of "message / expected".
#[track_caller]
fn findings(from: &str, to: &str, expected: &[&str]) {
    let checked = check_text(&changed(from, to), Some(&host()));
    let found: Vec<_> = checked
        .report
        .diagnostics()
        .iter()
        .map(|diagnostic| format!("{} / {}", diagnostic.message, diagnostic.expected))
        .collect();
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.contains(expected), "{found:?} lacks {expected:?}");
    }
}

#[test]
fn the_example_is_right_and_says_what_it_seems_to() {
    let checked = check_text(EXAMPLE, Some(&host()));
    assert_eq!(checked.report.to_string(), "");
    let config = checked.config.expect("it has no error");
    assert_eq!(
        config.summary(),
        "2 workers on 2 devices, 40000 media ports at 4 addresses, 4 listeners, 2 trunks, \
         2 routes, media timeout 1m"
    );
    assert_eq!(config.data.workers[1].core, 1);
    let queue = |device, queue| (DeviceId(device), QueueId(queue));
    assert_eq!(
        config.data.workers[1].queues,
        [queue(0, 1), queue(1, 1), queue(1, 3)],
        "queue i goes to worker i modulo their number"
    );
    assert_eq!(config.data.devices[0].mode, XdpMode::Best);
    let checksums = config.data.devices.iter().map(|device| device.checksums);
    assert_eq!(
        checksums.collect::<Vec<_>>(),
        [
            ReceivedChecksums::Finished,
            ReceivedChecksums::MayBeUnfinished
        ]
    );
    assert!(matches!(config.data.idle, IdlePolicy::Adaptive { .. }));
    assert_eq!(
        config.data.frames, 32_768,
        "3 sockets * 2048 * 4, rounded up"
    );
    assert_eq!(config.data.flow_capacity, 40_000);
    let outside = &config.control.media_groups[1];
    assert_eq!(outside.device, DeviceId(1));
    let window = Duration::from_secs(10);
    assert_eq!(outside.latch, LatchPolicy::Learn { window });
    assert_eq!(config.control.trunks[1].listeners.len(), 2);
    assert_eq!(config.control.trunks[0].peers[0].address.port(), 0);
    let RouteTo::Trunks(trunks) = &config.control.routes[1].to else {
        panic!("{:?}", config.control.routes[1]);
    };
    assert_eq!(trunks.len(), 1);
}

#[test]
fn busy_polling_is_off_until_it_is_asked_for() {
    let busy_poll = |line: &str| {
        let text = changed("cores = [0, 1]", &format!("cores = [0, 1]\n{line}"));
        let config = check_text(&text, Some(&host())).config;
        config.map(|config| config.data.busy_poll)
    };
    assert_eq!(busy_poll(""), Some(None));
    assert_eq!(busy_poll("busy_poll = \"off\""), Some(None));
    let asked = Some(Duration::from_micros(64));
    assert_eq!(busy_poll("busy_poll = \"64us\""), Some(asked));
    assert_eq!(busy_poll("busy_poll = \"1s\""), None);
}

#[test]
fn steering_is_the_best_that_the_device_can_unless_it_says_otherwise() {
    let steering = |line: &str| {
        let text = changed("name = \"in0\"", &format!("name = \"in0\"\n{line}"));
        let config = check_text(&text, Some(&host())).config;
        config.map(|config| config.data.devices[0].steering)
    };
    assert_eq!(steering(""), Some(Steering::Best));
    assert_eq!(steering("steering = \"off\""), Some(Steering::Off));
    assert_eq!(
        steering("steering = \"required\""),
        Some(Steering::Required)
    );
    assert_eq!(steering("steering = true"), None);
}

#[test]
fn what_the_example_marks_as_default_is_the_default() {
    let is_default = |line: &&str| !line.contains("(default)");
    let bare: Vec<_> = EXAMPLE.lines().filter(is_default).collect();
    let bare = check_text(&bare.join("\n"), Some(&host()));
    let full = check_text(EXAMPLE, Some(&host()));
    let (bare, full) = (bare.config.expect("right"), full.config.expect("right"));
    assert_eq!(bare.appliance, full.appliance);
    assert_eq!(bare.data, full.data);
    assert_eq!(format!("{:?}", bare.control), format!("{:?}", full.control));
}

#[test]
fn unknown_keys_and_sections() {
    findings(
        "latch_window =",
        "latch_windov =",
        &["unknown key in [[media]]: `latch_windov` / one of `name`, `device`"],
    );
    findings("[calls]", "[cals]", &["unknown section: `cals`"]);
    findings("[[trunk]]", "[trunk]", &["duplicate key / TOML"]);
}

#[test]
fn values_of_the_wrong_type() {
    findings(
        "t1 = \"500ms\"",
        "t1 = 500",
        &["`t1` is an integer / a duration from 10ms to 1m"],
    );
    findings("cores = [0, 1]", "cores = 2", &["`cores` is no list"]);
    findings(
        "cores = [0, 1]",
        "cores = [0, \"1\"]",
        &["`cores` is a string / a whole number"],
    );
    findings("[sip]", "[[sip]]", &["`sip` is no table / a table: [sip]"]);
    findings("queues = \"all\"", "queues = []", &["`queues` is neither"]);
}

#[test]
fn missing_keys_and_sections() {
    findings(
        "name = \"in0\"",
        "",
        &[
            "[[device]] lacks `name` / the kernel's name",
            "there is no [[device]] named \"in0\"",
        ],
    );
    let nothing = check_text("", Some(&host()));
    assert!(nothing.config.is_none());
    assert_eq!(nothing.report.count(Severity::Error), 6);
}

#[test]
fn names_and_references() {
    findings(
        "name = \"outside4\"",
        "name = \"inside4\"",
        &[
            "two [[listener]] are named \"inside4\" / a name of its own",
            "there is no [[listener]] named \"outside4\" / one of \"inside4\", \"inside6\"",
        ],
    );
    findings(
        "to = [\"callees\"]",
        "to = [\"calees\"]",
        &["named \"calees\" / one of \"callers\", \"callees\" (did you mean `callees`?)"],
    );
    findings(
        "to = [\"callees\"]",
        "to = [\"callees\", \"callees\"]",
        &["\"callees\" comes twice in the list"],
    );
    findings(
        "media = \"outside\"",
        "media = \"out0\"",
        &["there is no [[media]] named \"out0\""],
    );
}

#[test]
fn ports_that_clash() {
    findings(
        "addresses = [\"10.2.0.1\", \"fd02::1\"]",
        "addresses = [\"10.1.0.1\"]",
        &[
            "10.1.0.1 is reached through in0: media for it that arrives there is not relayed",
            "ports 20000-29999 of 10.1.0.1 overlap with 20000-29999 of the same address",
        ],
    );
    findings(
        "address = \"10.2.0.1:5060\"",
        "address = \"10.2.0.1:20002\"",
        &["port 20002 lies within the media ports"],
    );
    findings(
        "address = \"10.2.0.1:5060\"",
        "address = \"10.1.0.1:5060\"",
        &["two [[listener]] have the address 10.1.0.1:5060"],
    );
    let expected = [
        "begins at 20001, which is odd",
        "ends at 30000, which is even",
        "ends before it begins",
    ];
    for (range, expected) in ["20001-29999", "20000-30000", "30000-20001"]
        .into_iter()
        .zip(expected)
    {
        let ports = format!("ports = \"{range}\"");
        findings("ports = \"20000-29999\"", &ports, &[expected]);
    }
}

#[test]
fn peers_that_clash() {
    findings(
        "peers = [\"10.1.0.2\", \"fd01::2\"]",
        "peers = [\"10.1.0.1:5060\"]",
        &["10.1.0.1:5060 is a [[listener]] of this file"],
    );
    findings(
        "listeners = [\"inside4\", \"inside6\"]",
        "listeners = [\"inside4\"]",
        &["no listener of the trunk speaks IPv6, as [fd01::2]:0 does"],
    );
    let twin = "[[trunk]]\nname = \"twin\"\npeers = [\"10.1.0.2\"]\n\
                listeners = [\"inside4\"]\nmedia = \"inside\"\n\n[[route]]";
    findings(
        "[[route]]",
        twin,
        &["another [[trunk]] has this peer at the same listener"],
    );
}

#[test]
fn options_that_exclude_each_other() {
    findings(
        "latch = \"learn\"",
        "latch = \"sdp\"",
        &["`latch_window` means nothing"],
    );
    findings(
        "idle = \"adaptive\"",
        "idle = \"spin\"\nidle_spin = \"1ms\"",
        &["`idle_spin` means nothing"],
    );
    findings(
        "t1 = \"500ms\"",
        "t1 = \"5s\"",
        &["timer T1 (5s) is longer than T2 (4s)"],
    );
    findings(
        "cores = [0, 1]",
        "cores = [0, 1]\nframes = 4096",
        &["4096 frames do not fill the fill rings of 3 sockets"],
    );
}

#[test]
fn warnings_do_not_forbid() {
    let text = changed("ports = \"20000-29999\"", "ports = \"30000-39999\"");
    let checked = check_text(&text, Some(&host()));
    assert_eq!(checked.report.count(Severity::Warning), 1);
    assert_eq!(checked.report.count(Severity::Error), 0);
    assert!(checked.config.is_some());
}

/// The example on a machine with two nodes: cores 0 and 1 on these, the devices on those.
#[test]
fn what_follows_from_a_bracket_that_is_not_closed_is_left_out() {
    findings("cores = [0, 1]", "cores = [0, 1", &["missing comma"]);
}

#[test]
fn several_errors_come_together_in_the_files_order() {
    let text = changed("cores = [0, 1]", "cores = [0, 9]").replace("fd02::1", "fd02:::1");
    let report = check_text(&text, Some(&host())).report.to_string();
    let places: Vec<_> = report
        .lines()
        .filter(|line| line.starts_with("t.toml:"))
        .collect();
    assert_eq!(places.len(), 3, "{report}");
    assert!(places[0].contains("core 9"), "{report}");
    assert!(places[1].contains("`addresses`"), "{report}");
    assert!(places[2].contains("`address`"), "{report}");
}

#[test]
fn a_file_that_is_no_toml_is_reported_where_it_breaks() {
    let text = changed("name = \"out0\"", "name = out0");
    let report = check_text(&text, Some(&host())).report.to_string();
    assert!(report.starts_with("t.toml:37:8: error: "), "{report}");
}

/// The example with other sections about what is seen of calls.
#[test]
fn the_documentation_names_every_key_of_every_section() {
    let documentation = include_str!("../../docs/configuration.md");
    let sections = [
        "[appliance]",
        "[workers]",
        "[[device]]",
        "[[media]]",
        "[[listener]]",
        "[[trunk]]",
        "[trunk.inbound]",
        "[trunk.outbound]",
        "[trunk.codecs]",
        "[[trunk.login]]",
        "[[trunk.register]]",
        "[[user]]",
        "[[route]]",
        "[[schedule]]",
        "[sip]",
        "[limits]",
        "[overload]",
        "[calls]",
        "[cdr]",
        "[explain]",
        "[hep]",
    ];
    let text: String = sections
        .map(|header| format!("{header}\nzz = 1\n"))
        .concat();
    let checked = check_text(&text, None);
    let unknown = |diagnostic: &&Diagnostic| diagnostic.message.contains("`zz`");
    let listed = checked.report.diagnostics().iter().filter(unknown);
    for (header, diagnostic) in sections.iter().zip(listed) {
        let (_, chapter) = documentation
            .split_once(&format!("## `{header}`"))
            .expect("every section has a chapter");
        let chapter = chapter.split("\n## ").next().unwrap_or_default();
        let documented: Vec<_> = chapter
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
            .collect();
        let mut keys: Vec<_> = diagnostic.expected.split('`').skip(1).step_by(2).collect();
        keys.sort_unstable();
        let mut sorted = documented.clone();
        sorted.sort_unstable();
        assert_eq!(keys, sorted, "{header}");
    }
}

mod against_host;
mod authentication;
mod names;
mod routing;
mod seen;
mod service;
mod services;
mod transports;
