//! Rules for user parts: the first whose pattern matches the whole gives the new one.

use crate::settings::UserRule;
use crate::sip::typed::{NameAddr, Uri};
use crate::sip::{HeaderName, Headers};

/// The user part after the rules, decoded; `None` when no rule matches, or nothing is left.
pub(super) fn rewritten(rules: &[UserRule], user: &str) -> Option<String> {
    let mut rules = rules.iter();
    let replaced = rules.find_map(|rule| rule.pattern.replace(user, &rule.replacement))?;
    (!replaced.is_empty()).then_some(replaced)
}

/// The URI after the rules; `None` when it stays as it is.
pub(super) fn in_uri(rules: &[UserRule], uri: &Uri) -> Option<Uri> {
    let user = uri.decoded_user()?;
    uri.with_user(&rewritten(rules, &user)?)
}

/// Applies the rules to every address of a header; values that are no addresses stay.
pub(super) fn in_header(rules: &[UserRule], headers: &mut Headers, name: &HeaderName) {
    if rules.is_empty() {
        return;
    }
    change_addresses(headers, name, |address| {
        let uri = in_uri(rules, &address.uri)?;
        Some(NameAddr {
            uri,
            ..address.clone()
        })
    });
}

/// Changes the addresses of a header one by one; `None` from `change` leaves one as it is.
pub(super) fn change_addresses(
    headers: &mut Headers,
    name: &HeaderName,
    change: impl Fn(&NameAddr) -> Option<NameAddr>,
) {
    let mut changed = false;
    let values: Vec<Vec<u8>> = headers
        .values(name)
        .into_iter()
        .map(|value| {
            let address = NameAddr::parse(&value).ok();
            match address.and_then(|address| change(&address)) {
                Some(address) => {
                    changed = true;
                    address.to_bytes()
                }
                None => value,
            }
        })
        .collect();
    if changed {
        headers.set(name.clone(), values.join(&b", "[..]));
    }
}
