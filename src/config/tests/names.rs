//! Peers by name.

use super::*;

#[test]
fn peers_may_be_names_among_addresses() {
    let peers = "peers = [\"a.example\", \"10.1.0.2\", \"fd01::2\", \"b.example:5070\"]";
    let text = changed("peers = [\"10.1.0.2\", \"fd01::2\"]", peers);
    let checked = check_text(&text, Some(&host()));
    let config = checked.config.expect("it can be used");
    let trunk = &config.control.trunks[0];
    assert_eq!(trunk.peers.len(), 2);
    let names = trunk.names.iter();
    let names: Vec<_> = names
        .map(|name| (name.priority, name.destination.to_string()))
        .collect();
    assert_eq!(
        names,
        [
            (1, "a.example".to_owned()),
            (4, "b.example:5070".to_owned())
        ]
    );
    assert_eq!(config.control.dns.servers, host().name_servers);
}

#[test]
fn names_need_a_name_server_and_one_trunk() {
    let name = "peers = [\"sip.example\"]";
    let text = changed("peers = [\"10.1.0.2\", \"fd01::2\"]", name);
    let nobody = Host {
        name_servers: Vec::new(),
        ..host()
    };
    let checked = check_text(&text, Some(&nobody));
    let report = checked.report.to_string();
    assert!(
        report.contains("nobody is there to resolve sip.example"),
        "{report}"
    );
    let dns = "[dns]\nservers = [\"192.0.2.1\", \"[2001:db8::1]:5353\"]\ntimeout = \"300ms\"\n\
               attempts = 3\nmax_stale = \"1h\"\n";
    let checked = check_text(&format!("{text}\n{dns}"), Some(&nobody));
    let dns = checked.config.expect("it can be used").control.dns;
    let servers: Vec<_> = dns.servers.iter().map(ToString::to_string).collect();
    assert_eq!(servers, ["192.0.2.1:53", "[2001:db8::1]:5353"]);
    assert_eq!((dns.timeout, dns.attempts), (Duration::from_millis(300), 3));
    assert_eq!(dns.max_stale, Duration::from_secs(3600));
    findings(
        "peers = [\"10.1.0.2\", \"fd01::2\"]",
        "peers = [\"a.example\", \"A.Example.\", \"10.1.0.300\"]",
        &[
            "a.example comes twice in the list / each peer once",
            "which is no address and port / an address and port",
        ],
    );
    let twin = "[[trunk]]\nname = \"twin\"\npeers = [\"sip.example\"]\n\
                listeners = [\"inside4\"]\nmedia = \"inside\"\n\n[[route]]";
    let text = text.replacen("[[route]]", twin, 1);
    let report = check_text(&text, Some(&host())).report.to_string();
    assert!(
        report.contains("another [[trunk]] has this peer"),
        "{report}"
    );
}
