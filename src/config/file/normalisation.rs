//! `[trunk.inbound]`, `[trunk.outbound]`, `[trunk.codecs]`: how a trunk's messages differ from ours. They refer to
//! nothing else in the file, so that they are settings at once.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use controlplane::settings::{
    CallerId, CauseRules, CodecRules, Diversion, HeaderReplacement, HeaderRules, Identity,
    Normalisation, Pattern, Rules, SayCause, Trust, UserRule,
};
use toml::de::DeValue;

use crate::config::diagnostic::Diagnostic;
use crate::config::kind;
use crate::config::section::{Located, Section};

#[derive(Clone, Copy)]
enum Way {
    In,
    Out,
}

/// The trunk's rules, from its section.
pub(super) fn normalisation(trunk: &mut Section<'_>) -> Normalisation {
    let inbound = |section: &mut Section<'_>| rules(section, Way::In);
    let outbound = |section: &mut Section<'_>| rules(section, Way::Out);
    Normalisation {
        trust: match trunk.or_default("trusted", &kind::boolean(), false) {
            true => Trust::Trusted,
            false => Trust::Untrusted,
        },
        inbound: trunk
            .table("inbound", "[trunk.inbound]", inbound)
            .unwrap_or_default(),
        outbound: trunk
            .table("outbound", "[trunk.outbound]", outbound)
            .unwrap_or_default(),
        codecs: Arc::new(
            trunk
                .table("codecs", "[trunk.codecs]", codecs)
                .unwrap_or_default(),
        ),
    }
}

fn rules(section: &mut Section<'_>, way: Way) -> Rules {
    const CALLER_ID: &[(&str, CallerId)] =
        &[("pass", CallerId::Pass), ("withhold", CallerId::Withhold)];
    const IDENTITY: &[(&str, Identity)] = &[
        ("as-it-came", Identity::AsItCame),
        ("p-asserted-identity", Identity::Asserted),
        ("p-preferred-identity", Identity::Preferred),
        ("remote-party-id", Identity::RemoteParty),
    ];
    const DIVERSION: &[(&str, Diversion)] = &[
        ("as-it-came", Diversion::AsItCame),
        ("diversion", Diversion::Diversion),
        ("history-info", Diversion::HistoryInfo),
    ];
    Rules {
        request_user: user_rules(section, "request_user"),
        from_user: user_rules(section, "from_user"),
        to_user: user_rules(section, "to_user"),
        identity_user: user_rules(section, "identity_user"),
        caller_id: section.or_default("caller_id", &kind::word(CALLER_ID), CallerId::Pass),
        identity: section.or_default("identity", &kind::word(IDENTITY), Identity::AsItCame),
        diversion: section.or_default("diversion", &kind::word(DIVERSION), Diversion::AsItCame),
        headers: header_rules(section),
        responses: numbers(section, "responses", 300..=699, 400..=699),
        causes: cause_rules(section, way),
    }
}

fn user_rules(section: &mut Section<'_>, key: &'static str) -> Vec<UserRule> {
    tables_of(section, key, "a rule for a user part", |rule| {
        let pattern = rule.required("match", &kind::pattern());
        let replacement = rule.required("replace", &kind::replacement());
        let (pattern, replacement) = pattern.zip(replacement)?;
        check_captures(rule, &pattern.value, &replacement);
        Some(UserRule {
            pattern: pattern.value,
            replacement: replacement.value,
        })
    })
}

fn header_rules(section: &mut Section<'_>) -> HeaderRules {
    let replacement = |rule: &mut Section<'_>| {
        let name = rule.required("name", &kind::header_name());
        let pattern = rule.required("match", &kind::pattern());
        let replacement = rule.required("replace", &kind::replacement());
        let ((name, pattern), replacement) = name.zip(pattern).zip(replacement)?;
        check_captures(rule, &pattern.value, &replacement);
        Some(HeaderReplacement {
            name: name.value,
            pattern: pattern.value,
            replacement: replacement.value,
        })
    };
    let addition = |rule: &mut Section<'_>| {
        let name = rule.required("name", &kind::header_name());
        let value = rule.required("value", &kind::header_value());
        let (name, value) = name.zip(value)?;
        Some((name.value, value.value))
    };
    HeaderRules {
        allow: values(section.optional_list("headers_allow", &kind::header_name())),
        deny: values(section.optional_list("headers_deny", &kind::header_name())),
        replace: tables_of(
            section,
            "headers_replace",
            "a rule for a header",
            replacement,
        ),
        add: tables_of(section, "headers_add", "a header to add", addition),
    }
}

/// A replacement that names a capture that is not there would put nothing in its place: `$1x` is a capture
/// named `1x`.
fn check_captures(rule: &mut Section<'_>, pattern: &Pattern, replacement: &Located<String>) {
    if let Some(name) = kind::unknown_capture(pattern, &replacement.value) {
        let message = format!("`replace` names ${name}, which `match` does not capture");
        let expected = "a capture of `match`; \"${1}x\" is the first one and an x";
        rule.note(Diagnostic::error(
            replacement.span.clone(),
            message,
            expected,
        ));
    }
}

fn cause_rules(section: &mut Section<'_>, way: Way) -> CauseRules {
    let cause = |number: u16| u8::try_from(number).ok();
    match way {
        Way::In => {
            let causes = numbers(section, "causes", 1..=127, 400..=699).into_iter();
            CauseRules {
                to_code: causes
                    .filter_map(|(from, code)| Some((cause(from)?, code)))
                    .collect(),
                ..CauseRules::default()
            }
        }
        Way::Out => {
            let causes = numbers(section, "causes", 300..=699, 1..=127).into_iter();
            CauseRules {
                to_code: BTreeMap::new(),
                to_cause: causes
                    .filter_map(|(code, to)| Some((code, cause(to)?)))
                    .collect(),
                say_cause: match section.or_default("say_cause", &kind::boolean(), false) {
                    true => SayCause::WhereMissing,
                    false => SayCause::Never,
                },
            }
        }
    }
}

fn codecs(section: &mut Section<'_>) -> CodecRules {
    let ptime = kind::duration(Duration::from_millis(5), Duration::from_millis(200));
    CodecRules {
        allow: values(section.optional_list("allow", &kind::codec())),
        deny: values(section.optional_list("deny", &kind::codec())),
        prefer: values(section.optional_list("prefer", &kind::codec())),
        ptime: section.optional("ptime", &ptime).map(|ptime| ptime.value),
    }
}

fn values<T>(list: Vec<Located<T>>) -> Vec<T> {
    list.into_iter().map(|located| located.value).collect()
}

/// A list of tables, each read on its own.
fn tables_of<T>(
    section: &mut Section<'_>,
    key: &'static str,
    title: &'static str,
    mut read: impl FnMut(&mut Section<'_>) -> Option<T>,
) -> Vec<T> {
    let Some(value) = section.find(key) else {
        return Vec::new();
    };
    let DeValue::Array(elements) = value.get_ref() else {
        let message = format!("`{key}` is no list");
        let expected = format!("a list of tables, each {title}");
        section.note(Diagnostic::error(value.span(), message, expected));
        return Vec::new();
    };
    elements
        .iter()
        .filter_map(|element| section.within(key, title, element, &mut read).flatten())
        .collect()
}

/// A table from numbers to numbers: `{ 404 = 503 }`.
fn numbers(
    section: &mut Section<'_>,
    key: &'static str,
    from: RangeInclusive<u16>,
    to: RangeInclusive<u16>,
) -> BTreeMap<u16, u16> {
    let expected = format!(
        "a table from {}–{} to {}–{}",
        from.start(),
        from.end(),
        to.start(),
        to.end(),
    );
    let Some(value) = section.find(key) else {
        return BTreeMap::new();
    };
    let DeValue::Table(table) = value.get_ref() else {
        let message = format!("`{key}` is no table");
        section.note(Diagnostic::error(value.span(), message, expected));
        return BTreeMap::new();
    };
    let number = kind::number(u64::from(*to.start()), u64::from(*to.end()));
    let mut map = BTreeMap::new();
    for (name, value) in table.iter() {
        let code = name.get_ref().parse().ok();
        let Some(code) = code.filter(|code| from.contains(code)) else {
            let message = format!("`{key}` has `{}`", name.get_ref());
            section.note(Diagnostic::error(name.span(), message, expected.clone()));
            continue;
        };
        if let Some(meant) = section.read(key, &number, value)
            && let Ok(meant) = u16::try_from(meant.value)
        {
            map.insert(code, meant);
        }
    }
    map
}
