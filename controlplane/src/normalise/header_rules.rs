//! Rules for headers: let through, kept out, changed, added. A value can never start another header: line ends
//! in it become spaces ([`crate::sip::Header::new`]).

use crate::settings::HeaderRules;
use crate::sip::{Header, HeaderName, Headers};

/// What no rule may name: these are made for each leg, or are changed by rules of their own.
pub const FIXED: &[HeaderName] = &[
    HeaderName::Via,
    HeaderName::From,
    HeaderName::To,
    HeaderName::CallId,
    HeaderName::CSeq,
    HeaderName::Contact,
    HeaderName::Route,
    HeaderName::RecordRoute,
    HeaderName::MaxForwards,
    HeaderName::ContentLength,
    HeaderName::ContentType,
    HeaderName::ContentEncoding,
    HeaderName::Require,
    HeaderName::ProxyRequire,
    HeaderName::Supported,
    HeaderName::Replaces,
    HeaderName::RSeq,
    HeaderName::RAck,
    HeaderName::SessionExpires,
    HeaderName::MinSe,
    HeaderName::Authorization,
    HeaderName::ProxyAuthorization,
    HeaderName::WwwAuthenticate,
    HeaderName::ProxyAuthenticate,
];

/// Copies the headers of `original` that the rules let through and that have not passed by themselves.
pub(super) fn let_through(allowed: &[HeaderName], original: &Headers, into: &mut Headers) {
    for name in allowed {
        if into.contains(name) || FIXED.contains(name) {
            continue;
        }
        let fields: Vec<Header> = original.all(name).cloned().collect();
        fields.into_iter().for_each(|field| into.append(field));
    }
}

/// Keeps out and changes what has passed.
pub(super) fn change(rules: &HeaderRules, headers: &mut Headers) {
    for name in &rules.deny {
        headers.remove(name);
    }
    for rule in &rules.replace {
        let mut changed = false;
        let values: Vec<Vec<u8>> = headers
            .all(&rule.name)
            .filter_map(|field| {
                let value = field.value().into_owned();
                // What is no text matches no pattern.
                let Ok(text) = std::str::from_utf8(&value) else {
                    return Some(value);
                };
                match rule.pattern.replace(text, &rule.replacement) {
                    None => Some(value),
                    Some(replaced) => {
                        changed = true;
                        let replaced = replaced.into_bytes();
                        (!replaced.trim_ascii().is_empty()).then_some(replaced)
                    }
                }
            })
            .collect();
        if changed {
            headers.remove(&rule.name);
            for value in values {
                headers.push(rule.name.clone(), value);
            }
        }
    }
}

/// Adds what the rules add.
pub(super) fn add(rules: &HeaderRules, headers: &mut Headers) {
    for (name, value) in &rules.add {
        headers.push(name.clone(), value);
    }
}
