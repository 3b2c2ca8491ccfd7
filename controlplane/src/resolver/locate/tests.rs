//! Each ordering rule of RFC 3263 §4, over zones written as text.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::super::record::{Pointer, Service};
use super::*;

/// What the DNS has, one record a line: `NAME A 192.0.2.1`, `NAME SRV 10 60 5060 TARGET`,
/// `NAME NAPTR 10 20 s SIP+D2U TARGET`, `NAME TYPE failed`. What it does not have there is not.
#[derive(Debug, Default)]
struct Zone(BTreeMap<Question, Knowledge>);

fn name(text: &str) -> DomainName {
    match text {
        "." => DomainName::from_labels(std::iter::empty()).expect("the root"),
        _ => DomainName::parse(text).expect("a name"),
    }
}

fn zone(text: &str) -> Zone {
    let mut zone = Zone::default();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<_> = line.split_whitespace().collect();
        let kind = match words[1] {
            "A" => RecordType::A,
            "AAAA" => RecordType::Aaaa,
            "SRV" => RecordType::Srv,
            _ => RecordType::Naptr,
        };
        let question = Question {
            name: name(words[0]),
            kind,
        };
        if words[2] == "failed" {
            zone.0.insert(question, Knowledge::Failed);
            continue;
        }
        let number = |place: usize| words[place].parse().expect("a number");
        let data = match kind {
            RecordType::A | RecordType::Aaaa => {
                Data::Address(words[2].parse().expect("an address"))
            }
            RecordType::Srv => Data::Service(Service {
                priority: number(2),
                weight: number(3),
                port: number(4),
                target: name(words[5]),
            }),
            RecordType::Naptr => Data::Pointer(Pointer {
                order: number(2),
                preference: number(3),
                flags: words[4].into(),
                service: words[5].into(),
                has_regexp: words.get(7).is_some(),
                replacement: name(words[6]),
            }),
        };
        let records = zone.0.entry(question);
        match records.or_insert(Knowledge::Records(Vec::new())) {
            Knowledge::Records(records) => records.push(data),
            _ => panic!("failed and there"),
        }
    }
    zone
}

const UDP: (Transport, Family) = (Transport::Udp, Family::V4);
const UDP_SIX: (Transport, Family) = (Transport::Udp, Family::V6);
const TCP: (Transport, Family) = (Transport::Tcp, Family::V4);
const TLS: (Transport, Family) = (Transport::Tls, Family::V4);

impl Zone {
    fn walk(&self, destination: &Destination, ways: &[(Transport, Family)]) -> Walk {
        let ways = Ways::new(ways.iter().copied());
        walk(destination, &ways, |question, looked_at| {
            looked_at.insert(question.clone());
            let known = self.0.get(question).cloned();
            known.unwrap_or(Knowledge::Records(Vec::new()))
        })
    }

    /// The places in the order of trying, and what was asked for them, in no order.
    fn locate(&self, uri: &str, ways: &[(Transport, Family)]) -> (Vec<String>, Vec<String>) {
        let walk = self.walk(&destination(uri), ways);
        assert!(walk.unasked.is_empty());
        let order = walk.plan.order(&mut StdRng::seed_from_u64(1));
        let spell = |place: &Location| format!("{} {}", place.transport, place.address);
        let asked = walk.questions.iter().map(ToString::to_string);
        (order.iter().map(spell).collect(), asked.collect())
    }

    fn places(&self, uri: &str, ways: &[(Transport, Family)]) -> Vec<String> {
        self.locate(uri, ways).0
    }
}

/// `[sips:]host[:port][;transport=x]`.
fn destination(uri: &str) -> Destination {
    let secure = uri.starts_with("sips:");
    let rest = uri.strip_prefix("sips:").unwrap_or(uri);
    let (host, transport) = rest.split_once(";transport=").unwrap_or((rest, ""));
    let (host, port) = match host.split_once(':') {
        Some((host, port)) => (host, Some(port.parse().expect("a port"))),
        None => (host, None),
    };
    Destination {
        host: name(host),
        port,
        transport: match transport {
            "udp" => Some(Transport::Udp),
            "tcp" => Some(Transport::Tcp),
            "tls" => Some(Transport::Tls),
            _ => None,
        },
        secure,
    }
}

const CARRIER: &str = "
    x.example NAPTR 10 50 s SIPS+D2T _sips._tcp.x.example
    x.example NAPTR 20 50 s SIP+D2T _sip._tcp.x.example
    x.example NAPTR 30 50 s SIP+D2U _sip._udp.y.example
    _sips._tcp.x.example SRV 0 0 5061 tls.x.example
    _sip._tcp.x.example SRV 0 0 5060 tcp.x.example
    _sip._udp.x.example SRV 0 0 5060 wrong.x.example
    _sip._udp.y.example SRV 10 0 5080 second.y.example
    _sip._udp.y.example SRV 5 0 5070 first.y.example
    tls.x.example A 192.0.2.1
    tcp.x.example A 192.0.2.2
    first.y.example A 192.0.2.3
    second.y.example A 192.0.2.4
    x.example A 192.0.2.9
    x.example AAAA 2001:db8::9
";

#[test]
fn naptr_decides_the_transport_among_those_that_we_have() {
    let zone = zone(CARRIER);
    assert_eq!(
        zone.places("x.example", &[UDP, TCP, TLS]),
        ["tls 192.0.2.1:5061"]
    );
    assert_eq!(
        zone.places("x.example", &[UDP, TCP]),
        ["tcp 192.0.2.2:5060"]
    );
    // What NAPTR names counts, not what the transport's own SRV would be called; and no higher order is
    // looked at once one fits.
    let (places, asked) = zone.locate("x.example", &[UDP]);
    assert_eq!(places, ["udp 192.0.2.3:5070", "udp 192.0.2.4:5080"]);
    assert_eq!(
        asked,
        [
            "_sip._udp.y.example SRV",
            "first.y.example A",
            "second.y.example A",
            "x.example NAPTR"
        ]
    );
}

#[test]
fn naptr_of_one_order_goes_by_preference() {
    let zone = zone(
        "
        x.example NAPTR 10 20 s SIP+D2U u.x.example
        x.example NAPTR 10 10 s SIP+D2T t.x.example
        x.example NAPTR 10 5 s SIP+D2S s.x.example
        x.example NAPTR 10 1 u SIP+D2U a.x.example
        x.example NAPTR 10 1 s SIP+D2U a.x.example !^.*$!sip:x@y!
        u.x.example SRV 0 0 5060 gw.x.example
        t.x.example SRV 0 0 5060 gw.x.example
        gw.x.example A 192.0.2.1
        ",
    );
    let places = zone.places("x.example", &[UDP, TCP]);
    assert_eq!(places, ["tcp 192.0.2.1:5060", "udp 192.0.2.1:5060"]);
}

#[test]
fn without_naptr_each_transport_of_ours_is_looked_for() {
    let zone = zone(
        "
        _sip._udp.x.example SRV 0 0 5060 u.x.example
        _sip._tcp.x.example SRV 0 0 5062 t.x.example
        u.x.example A 192.0.2.1
        t.x.example A 192.0.2.2
        ",
    );
    let both = ["tcp 192.0.2.2:5062", "udp 192.0.2.1:5060"];
    assert_eq!(zone.places("x.example", &[TCP, UDP]), both);
    assert_eq!(zone.places("x.example", &[UDP]), both[1..]);
    let (places, asked) = zone.locate("x.example", &[TLS]);
    assert!(places.is_empty());
    assert!(
        asked.contains(&"_sips._tcp.x.example SRV".to_owned()),
        "{asked:?}"
    );
}

#[test]
fn naptr_with_nothing_for_us_is_as_good_as_none() {
    let zone = zone(
        "
        x.example NAPTR 10 50 s SIP+D2W _sip._ws.x.example
        _sip._udp.x.example SRV 0 0 5060 u.x.example
        u.x.example A 192.0.2.1
        ",
    );
    assert_eq!(zone.places("x.example", &[UDP]), ["udp 192.0.2.1:5060"]);
}

#[test]
fn without_services_the_host_itself_is_called_at_the_default_port() {
    let zone = zone("x.example A 192.0.2.1");
    let all = [TLS, TCP, UDP];
    assert_eq!(zone.places("x.example", &all), ["udp 192.0.2.1:5060"]);
    assert_eq!(
        zone.places("x.example", &[TLS, TCP]),
        ["tcp 192.0.2.1:5060"]
    );
    assert_eq!(zone.places("sips:x.example", &all), ["tls 192.0.2.1:5061"]);
    assert_eq!(zone.places("nowhere.example", &all), [""; 0]);
}

#[test]
fn a_port_leads_to_the_host_alone() {
    let (places, asked) = zone(CARRIER).locate("x.example:5099", &[TCP, UDP]);
    assert_eq!(places, ["udp 192.0.2.9:5099"]);
    assert_eq!(asked, ["x.example A"]);
    let sips = zone(CARRIER).places("sips:x.example:5099", &[TCP, TLS]);
    assert_eq!(sips, ["tls 192.0.2.9:5099"]);
    let tcp = zone(CARRIER).places("x.example:5099;transport=tcp", &[UDP, TCP]);
    assert_eq!(tcp, ["tcp 192.0.2.9:5099"]);
}

#[test]
fn a_transport_leads_to_its_own_services() {
    let (places, asked) = zone(CARRIER).locate("x.example;transport=tcp", &[UDP, TCP]);
    assert_eq!(places, ["tcp 192.0.2.2:5060"]);
    assert!(!asked.contains(&"x.example NAPTR".to_owned()), "{asked:?}");
    // One that we do not have leads nowhere.
    assert_eq!(
        zone(CARRIER).places("x.example;transport=tcp", &[UDP]),
        [""; 0]
    );
    let plain = zone("x.example A 192.0.2.1");
    let places = plain.places("x.example;transport=tcp", &[UDP, TCP]);
    assert_eq!(places, ["tcp 192.0.2.1:5060"]);
}

#[test]
fn sips_takes_tls_alone() {
    let zone = zone(CARRIER);
    assert_eq!(
        zone.places("sips:x.example", &[UDP, TCP, TLS]),
        ["tls 192.0.2.1:5061"]
    );
    assert_eq!(zone.places("sips:x.example", &[UDP, TCP]), [""; 0]);
}

#[test]
fn a_service_that_is_not_offered_does_not_lead_to_the_host() {
    let zone = zone(
        "
        _sip._udp.x.example SRV 0 0 0 .
        x.example A 192.0.2.1
        ",
    );
    assert_eq!(zone.places("x.example", &[UDP]), [""; 0]);
}

#[test]
fn every_address_of_a_server_is_tried_before_the_next_server() {
    let zone = zone(
        "
        _sip._udp.x.example SRV 10 0 5060 one.x.example
        _sip._udp.x.example SRV 20 0 5060 two.x.example
        one.x.example A 192.0.2.1
        one.x.example AAAA 2001:db8::1
        two.x.example A 192.0.2.2
        two.x.example AAAA 2001:db8::2
        ",
    );
    let four_first = [
        "udp 192.0.2.1:5060",
        "udp [2001:db8::1]:5060",
        "udp 192.0.2.2:5060",
        "udp [2001:db8::2]:5060",
    ];
    assert_eq!(zone.places("x.example", &[UDP, UDP_SIX]), four_first);
    let six_first = zone.places("x.example", &[UDP_SIX, UDP]);
    assert_eq!(six_first[0], four_first[1]);
    let (places, asked) = zone.locate("x.example", &[UDP]);
    assert_eq!(places, [four_first[0], four_first[2]]);
    assert!(
        asked.iter().all(|asked| !asked.contains("AAAA")),
        "{asked:?}"
    );
}

#[test]
fn addresses_of_one_name_take_turns() {
    let zone = zone(
        "
        x.example A 192.0.2.1
        x.example A 192.0.2.2
        ",
    );
    let walk = zone.walk(&destination("x.example"), &[UDP]);
    let mut rng = StdRng::seed_from_u64(1);
    let first = |_: &u32| walk.plan.order(&mut rng)[0].address.to_string() == "192.0.2.1:5060";
    let firsts = (0..1000).filter(first).count();
    assert!((400..600).contains(&firsts), "{firsts} of 1000");
}

#[test]
fn a_server_without_address_is_left_out_and_a_place_comes_once() {
    let zone = zone(
        "
        _sip._udp.x.example SRV 10 0 5060 gone.x.example
        _sip._udp.x.example SRV 20 0 5060 one.x.example
        _sip._udp.x.example SRV 30 0 5060 same.x.example
        gone.x.example A failed
        one.x.example A 192.0.2.1
        same.x.example A 192.0.2.1
        ",
    );
    assert_eq!(zone.places("x.example", &[UDP]), ["udp 192.0.2.1:5060"]);
    assert!(zone.walk(&destination("x.example"), &[UDP]).failed);
}

#[test]
fn a_failed_naptr_does_not_hide_the_services() {
    let zone = zone(
        "
        x.example NAPTR failed
        _sip._udp.x.example SRV 0 0 5060 one.x.example
        one.x.example A 192.0.2.1
        ",
    );
    assert_eq!(zone.places("x.example", &[UDP]), ["udp 192.0.2.1:5060"]);
}

#[test]
fn what_is_not_known_yet_is_named_level_by_level() {
    let mut zone = zone(CARRIER);
    let mut ask = |known: &[&str]| {
        for text in known {
            let (owner, _) = text.split_once(' ').expect("a question");
            zone.0.retain(|question, _| question.name.as_str() != owner);
        }
        let ways = Ways::new([UDP]);
        let walk = walk(&destination("x.example"), &ways, |question, looked_at| {
            looked_at.insert(question.clone());
            let known = zone.0.get(question).cloned();
            known.unwrap_or(Knowledge::Unasked(question.clone()))
        });
        let unasked = walk.unasked.iter().map(ToString::to_string);
        unasked.collect::<Vec<_>>()
    };
    assert_eq!(ask(&[]), [""; 0]);
    assert_eq!(ask(&["first.y.example A"]), ["first.y.example A"]);
    assert_eq!(
        ask(&["_sip._udp.y.example SRV"]),
        ["_sip._udp.y.example SRV"]
    );
    // What would follow if there were none is not asked before that is known.
    assert_eq!(ask(&["x.example NAPTR"]), ["x.example NAPTR"]);
}

#[test]
fn no_more_servers_than_bounded_are_looked_at_and_the_best_are_kept() {
    let mut text = String::new();
    for number in 1..=60 {
        text += &format!("_sip._udp.x.example SRV {number} 0 5060 s{number}.x.example\n");
        text += &format!("s{number}.x.example A 192.0.2.{number}\n");
    }
    let places = zone(&text).places("x.example", &[UDP]);
    assert_eq!(places.len(), MOST_SERVERS);
    assert_eq!(places[0], "udp 192.0.2.1:5060");
}
