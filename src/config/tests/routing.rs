//! Routes, schedules, and how trunks differ.

use super::*;

#[test]
fn routes_lead_to_shares_and_hold_at_times() {
    let routes = "[[schedule]]\nname = \"office\"\nzone = \"Europe/Berlin\"\ndays = [\"mon-fri\"]\n\
        hours = [\"08:00-18:00\"]\nexcept = [\"12-24..12-26\"]\n\n\
        [[route]]\nname = \"shared\"\nwhen = \"office\"\n\
        to = [{ trunk = \"callees\", weight = 3 }, \"callers\"]\n\n[[route]]\nfrom = \"callers\"";
    let text = changed("[[route]]\nfrom = \"callers\"", routes);
    let checked = check_text(&text, Some(&host()));
    assert_eq!(checked.report.to_string(), "");
    let config = checked.config.expect("it has no error");
    let route = &config.control.routes[0];
    assert_eq!(route.name, "shared");
    let schedule = route.when.as_ref().expect("a schedule");
    let at = |text: &str| text.parse().expect("a time");
    assert!(schedule.holds(at("2026-11-24T07:00:00Z")));
    assert!(!schedule.holds(at("2026-12-25T09:00:00Z")));
    let RouteTo::Trunks(trunks) = &route.to else {
        panic!("{route:?}");
    };
    let weights: Vec<_> = trunks.iter().map(|choice| choice.weight).collect();
    assert_eq!(weights, [Some(3), None]);
}

#[test]
fn routes_that_are_wrong_say_why() {
    let route = "[[route]]\nfrom = \"callers\"\nto = [\"callees\"]";
    findings(
        route,
        "[[route]]\nfrom = \"callers\"",
        &["[[route]] leads nowhere / one of `to`"],
    );
    findings(
        route,
        "[[route]]\nto = [\"callees\"]\nrates = \"/nowhere.csv\"",
        &[
            "[[route]] leads to two things / one of `to`",
            "cannot read /nowhere.csv",
        ],
    );
    findings(
        route,
        "[[route]]\nto = [{ trunk = \"callees\" }]",
        &["a trunk of `to` lacks `weight`"],
    );
    findings(
        route,
        "[[route]]\nto = [{ trunk = \"callees\", weight = 0, share = 1 }]",
        &["`weight` is 0", "unknown key in a trunk of `to`: `share`"],
    );
    findings(route, "[[route]]\nto = []", &["`to` is empty"]);
    findings(
        route,
        "[[route]]\nwhen = \"ofice\"\nto = [\"callees\"]",
        &["there is no [[schedule]] named \"ofice\""],
    );
    let schedule = "[[schedule]]\nname = \"s\"\nzone = \"Mars\"\ndays = [\"monday\"]\nhours = [\"8-18\"]\n\
        dates = [\"2026-02-30\"]\n[[route]]\nto = [\"callees\"]";
    findings(
        route,
        schedule,
        &[
            "`zone` is \"Mars\" / a time zone",
            "`days` is \"monday\" / a day such as",
            "`hours` is \"8-18\" / hours such as",
            "`dates` is \"2026-02-30\" / a date such as",
        ],
    );
}

#[test]
fn a_trunk_says_how_its_messages_differ() {
    let trunk = "name = \"callees\"";
    let rules = "name = \"callees\"\ntrusted = true\n\
        inbound = { request_user = [{ match = \"00(.*)\", replace = \"+$1\" }], responses = { 604 = 404 }, causes = { 34 = 503 } }\n\
        outbound = { caller_id = \"withhold\", headers_deny = [\"X-A\"], causes = { 503 = 42 }, say_cause = true }\n\
        codecs = { allow = [\"PCMA\", \"opus/48000\"], ptime = \"20ms\" }";
    let checked = check_text(&changed(trunk, rules), Some(&host()));
    assert_eq!(checked.report.to_string(), "");
    let config = checked.config.expect("it has no error");
    let rules = &config.control.trunks[1].normalisation;
    assert_eq!(rules.trust, controlplane::settings::Trust::Trusted);
    assert_eq!(rules.routed_user("0049".to_owned()), "+49");
    assert_eq!(rules.inbound.responses[&604], 404);
    assert_eq!(rules.inbound.causes.to_code[&34], 503);
    assert_eq!(rules.outbound.causes.to_cause[&503], 42);
    assert_eq!(rules.codecs.allow[1].to_string(), "opus/48000");
    assert_eq!(rules.codecs.ptime, Some(Duration::from_millis(20)));
    let other = &config.control.trunks[0].normalisation;
    assert_eq!(other.trust, controlplane::settings::Trust::Untrusted);
}

#[test]
fn rules_that_are_wrong_say_why() {
    let wrong = |rules: &str, expected: &[&str]| {
        let to = format!("name = \"callees\"\n{rules}");
        findings("name = \"callees\"", &to, expected);
    };
    wrong(
        "trusted = \"yes\"",
        &["`trusted` is a string / true or false"],
    );
    wrong("inbound = 1", &["`inbound` is no table"]);
    wrong(
        "inbound = { request_user = [{ match = \"(\", replace = \"x\" }] }",
        &["`match` is no regular expression: unclosed group"],
    );
    wrong(
        "inbound = { request_user = [{ match = \"(.)\", replace = \"$1x\" }] }",
        &["`replace` names $1x, which `match` does not capture / a capture of `match`"],
    );
    wrong(
        "outbound = { headers_deny = [\"Via\"] }",
        &["`headers_deny` is \"Via\", which has rules of its own or none"],
    );
    wrong(
        "outbound = { headers_add = [{ name = \"X-A\", value = \"a\\nB: c\" }] }",
        &["`value` has a control character"],
    );
    wrong(
        "inbound = { responses = { 200 = 503 } }",
        &["`responses` has `200`"],
    );
    wrong(
        "inbound = { responses = { 404 = 200 } }",
        &["`responses` is 200"],
    );
    wrong(
        "inbound = { say_cause = true }",
        &["unknown key in [trunk.inbound]: `say_cause`"],
    );
    wrong(
        "codecs = { allow = [\"PCMA/x\"] }",
        &["`allow` is \"PCMA/x\""],
    );
}
