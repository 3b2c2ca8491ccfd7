//! Who the caller is said to be, besides From: P-Asserted-Identity and P-Preferred-Identity (RFC 3325), and
//! Remote-Party-ID, which came before them and lives on.

use super::entries;
use crate::settings::{Identity, Trust};
use crate::sip::typed::NameAddr;
use crate::sip::{HeaderName, Headers};

/// Remote-Party-ID has no variant: its draft never became an RFC.
pub(super) fn remote_party() -> HeaderName {
    HeaderName::from("Remote-Party-ID")
}

/// Every header that names the caller besides From.
pub(super) fn headers() -> [HeaderName; 3] {
    [
        HeaderName::PAssertedIdentity,
        HeaderName::PPreferredIdentity,
        remote_party(),
    ]
}

/// Takes out what is not to be believed, or not to be told (RFC 3325 §5, §9.1). A caller's Remote-Party-ID that wants
/// to stay unknown leaves that wish in Privacy: without it From would still name the caller.
pub(super) fn take_out(headers: &mut Headers, trust: Trust) {
    if trust == Trust::Untrusted {
        let mut parties = values(headers, &remote_party());
        parties.retain(|address| {
            let party = address.params.value("party");
            party.is_none_or(|party| !party.eq_ignore_ascii_case("called"))
        });
        if is_hidden(&parties) {
            super::privacy::ask_for(headers, &["id"]);
        }
        for name in self::headers() {
            headers.remove(&name);
        }
    }
}

/// Names the caller in the header that is wanted, taken from the first of the others that there is.
pub(super) fn convert(headers: &mut Headers, wanted: Identity) {
    let name = match wanted {
        Identity::AsItCame => return,
        Identity::Asserted => HeaderName::PAssertedIdentity,
        Identity::Preferred => HeaderName::PPreferredIdentity,
        Identity::RemoteParty => remote_party(),
    };
    let mut sources = vec![name.clone()];
    sources.extend(self::headers().into_iter().filter(|known| *known != name));
    let found = sources.iter().find_map(|source| {
        let addresses: Vec<NameAddr> = values(headers, source);
        (!addresses.is_empty()).then(|| (source.clone(), addresses))
    });
    let Some((source, addresses)) = found else {
        return;
    };
    let hides = is_hidden(&addresses);
    for other in self::headers().iter().filter(|other| **other != name) {
        headers.remove(other);
    }
    if source == name {
        return;
    }
    let private = hides || super::privacy::asks_for_id(headers);
    let written: Vec<Vec<u8>> = addresses
        .into_iter()
        .map(|address| written(address, wanted, private))
        .collect();
    headers.set(name, written.join(&b", "[..]));
    if hides && wanted != Identity::RemoteParty {
        super::privacy::ask_for(headers, &["id"]);
    }
}

/// Remote-Party-ID is a list by its draft, but not by [`HeaderName::is_list`]: it is read as one that is.
fn values(headers: &Headers, name: &HeaderName) -> Vec<NameAddr> {
    let mut list = Headers::default();
    for value in headers.values(name) {
        list.push(HeaderName::PAssertedIdentity, value);
    }
    let values = list.values(&HeaderName::PAssertedIdentity);
    let addresses = values
        .iter()
        .filter_map(|value| NameAddr::parse(value).ok());
    addresses.collect()
}

/// Whether a Remote-Party-ID wants to stay unknown.
fn is_hidden(addresses: &[NameAddr]) -> bool {
    let mut addresses = addresses.iter();
    addresses.any(|address| entries::is_private_by_parameter(&address.params))
}

fn written(address: NameAddr, wanted: Identity, private: bool) -> Vec<u8> {
    let mut bare = NameAddr::new(address.uri);
    bare.display = address.display;
    if wanted == Identity::RemoteParty {
        bare.params.set("party", Some("calling"));
        bare.params.set("screen", Some("yes"));
        bare.params
            .set("privacy", Some(if private { "full" } else { "off" }));
    }
    bare.to_bytes()
}
