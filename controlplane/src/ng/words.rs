//! The words of the protocol: keys with their values, and flags.

use std::net::IpAddr;

use super::ignored::{IGNORED_FLAGS, IGNORED_KEYS};
use super::parse::{Said, Unknown, spelt};
use super::request::{
    AddressFamily, All, Codecs, Ice, Learning, MuxAnswer, MuxOffer, Options, Protocol,
    RtcpAttribute, Sound,
};
use super::value::Value;

/// One key and its value.
pub(super) fn key(key: &[u8], value: &Value, said: &mut Said, unknown: &mut Unknown) {
    match key {
        b"flags" => flags(value, said, unknown),
        b"rtpp-flags" => {
            if let Value::Bytes(text) = value {
                text.split(u8::is_ascii_whitespace)
                    .filter(|word| !word.is_empty())
                    .for_each(|word| flag(word, said, unknown));
            }
        }
        b"replace" => each(value, |word| replace(&spelt(word), said, unknown)),
        b"rtcp-mux" | b"RTCP-mux" => each(value, |word| mux(&spelt(word), said, unknown)),
        b"supports" => each(value, |word| supports(&spelt(word), said)),
        b"SDES" => each(value, |word| sdes(&spelt(word), said)),
        b"direction" | b"interface" => each(value, |word| said.directions.push(word.to_vec())),
        b"from-tags" => each(value, |word| said.parties.from_tags.push(word.to_vec())),
        b"codec" => codecs(value, said, unknown),
        b"received-from" => received_from(value, said),
        b"limit" => limit(value, said),
        b"blob" => said.sound = bytes(value).map(Sound::Blob),
        b"call-id" | b"sdp" | b"from-tag" | b"to-tag" | b"via-branch" | b"label"
        | b"from-label" | b"to-label" | b"set-label" => name(key, value, said),
        // Digits are pressed one after the other; only a number that is none of text is one event.
        b"code" | b"digit" => match value {
            Value::Bytes(keys) => said.code = Some(keys.clone()),
            Value::Integer(event) => said.code = Some(event_key(*event)),
            Value::List(_) | Value::Dictionary(_) => unknown.note(key),
        },
        _ => match number(value) {
            Some(value_number) if takes_number(key, value_number, said) => {}
            _ => match value {
                Value::Bytes(text) => {
                    if !option(key, text, said, unknown) {
                        ignored_or_unknown(key, unknown);
                    }
                }
                _ => ignored_or_unknown(key, unknown),
            },
        },
    }
}

fn ignored_or_unknown(key: &[u8], unknown: &mut Unknown) {
    if !IGNORED_KEYS.iter().any(|known| known.as_bytes() == key) {
        unknown.note(key);
    }
}

/// The words of a list, or of a string between commas or spaces.
fn each(value: &Value, mut take: impl FnMut(&[u8])) {
    match value {
        Value::List(list) => {
            for value in list {
                if let Value::Bytes(word) = value {
                    take(word);
                }
            }
        }
        Value::Bytes(word) => take(word),
        Value::Integer(_) | Value::Dictionary(_) => {}
    }
}

fn bytes(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::Bytes(bytes) => Some(bytes.clone()),
        _ => None,
    }
}

/// A number, be it written as a string.
fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Integer(number) => Some(*number),
        Value::Bytes(text) => std::str::from_utf8(text).ok()?.trim().parse().ok(),
        Value::List(_) | Value::Dictionary(_) => None,
    }
}

fn name(key: &[u8], value: &Value, said: &mut Said) {
    let Some(text) = bytes(value) else {
        // As rtpengine has it: what is no string is not there.
        return;
    };
    let parties = &mut said.parties;
    match key {
        b"call-id" => parties.call_id = text,
        b"sdp" => said.sdp = Some(text),
        b"from-tag" => parties.from_tag = Some(text),
        b"to-tag" => parties.to_tag = Some(text),
        b"via-branch" => parties.via_branch = Some(text).filter(|branch| !branch.is_empty()),
        b"to-label" => parties.to_label = Some(text),
        b"set-label" => parties.set_label = Some(text),
        _ => parties.label = Some(text),
    }
}

/// Keys whose values are numbers; whether this is one.
fn takes_number(key: &[u8], number: i64, said: &mut Said) -> bool {
    let small = || u32::try_from(number).ok();
    match key {
        b"TOS" => {
            said.options.tos = match u8::try_from(number) {
                Ok(tos) => Some(Some(tos)),
                Err(_) if number < 0 => Some(None),
                Err(_) => None,
            };
        }
        b"delete-delay" => match small() {
            Some(delay) => said.delay = Some(delay),
            None => said.wrong = Some("Invalid delete-delay value"),
        },
        b"ptime" => said.options.ptime = u16::try_from(number).ok().filter(|ptime| *ptime > 0),
        b"duration" => said.duration = small(),
        b"pause" => said.pause = small(),
        b"volume" => {
            said.volume = u8::try_from(number.unsigned_abs())
                .ok()
                .filter(|volume| *volume <= 63)
        }
        b"repeat-times" => said.repeat = small(),
        b"start-pos" => said.start_ms = u64::try_from(number).unwrap_or_default(),
        b"repeat-duration" => said.repeat_ms = u64::try_from(number).ok(),
        b"db-id" => said.sound = Some(Sound::Database(number)),
        _ => return false,
    }
    true
}

/// The key of an RFC 4733 event; nothing: it is none.
fn event_key(event: i64) -> Vec<u8> {
    let event = usize::try_from(event).ok();
    let key = event.and_then(|event| b"0123456789*#ABCD".get(event));
    key.copied().into_iter().collect()
}

fn limit(value: &Value, said: &mut Said) {
    match number(value) {
        Some(limit) if limit < 0 => said.wrong = Some("invalid limit, must be >= 0"),
        Some(limit) => said.limit = usize::try_from(limit).ok(),
        None => {}
    }
}

/// Keys whose values are words; whether this is one. The same are flags in the form `KEY=VALUE` or `KEY-VALUE`.
fn option(key: &[u8], value: &[u8], said: &mut Said, unknown: &mut Unknown) -> bool {
    let options = &mut said.options;
    let address = || -> Option<IpAddr> { std::str::from_utf8(value).ok()?.trim().parse().ok() };
    match key {
        b"ICE" => match value {
            b"remove" => options.ice = Ice::Remove,
            b"force" => options.ice = Ice::Force,
            b"force-relay" | b"force relay" | b"force_relay" => options.ice = Ice::ForceRelay,
            b"optional" => options.ice = Ice::Optional,
            b"default" => options.ice = Ice::Default,
            _ => unknown.note(value),
        },
        b"address-family" => match value {
            b"IP4" | b"ip4" | b"inet" => options.family = Some(AddressFamily::Ip4),
            b"IP6" | b"ip6" | b"inet6" => options.family = Some(AddressFamily::Ip6),
            _ => unknown.note(value),
        },
        b"transport-protocol" => {
            options.protocol = Some(match value {
                b"accept" => Protocol::Accept,
                name => Protocol::Is(name.to_vec()),
            });
        }
        b"media-address" => match address() {
            Some(address) => options.media_address = Some(address),
            None => unknown.note(value),
        },
        b"address" => said.parties.address = address(),
        b"record-call" | b"record" => match value {
            b"yes" | b"on" | b"true" => options.record = Some(true),
            b"no" | b"off" | b"false" => options.record = Some(false),
            _ => unknown.note(value),
        },
        b"metadata" => options.metadata = Some(value.to_vec()),
        b"drop-traffic" => match value {
            b"start" => options.drop_traffic = Some(true),
            b"stop" => options.drop_traffic = Some(false),
            _ => unknown.note(value),
        },
        b"all" => match All::of(value) {
            Some(all) => said.parties.all = all,
            None => unknown.note(value),
        },
        b"pause" => said.pauses = matches!(value, b"yes" | b"on" | b"true"),
        b"file" => said.sound = Some(Sound::File(value.to_vec())),
        b"call-id" | b"from-tag" | b"to-tag" | b"via-branch" | b"label" | b"from-label"
        | b"to-label" | b"set-label" => name(key, &Value::Bytes(value.to_vec()), said),
        _ => return false,
    }
    true
}

fn received_from(value: &Value, said: &mut Said) {
    // The family's name comes first, and says nothing that the address does not.
    each(value, |word| {
        let text = std::str::from_utf8(word).ok();
        if let Some(address) = text.and_then(|text| text.parse().ok()) {
            said.received_from = Some(address);
        }
    });
}

fn flags(value: &Value, said: &mut Said, unknown: &mut Unknown) {
    match value {
        // `{"flags": {"codec": …}}`: each entry is a key.
        Value::Dictionary(dictionary) => {
            for (name, value) in dictionary.entries() {
                key(&spelt(name), value, said, unknown);
            }
        }
        value => each(value, |word| flag(word, said, unknown)),
    }
}

/// One flag, as it came.
fn flag(word: &[u8], said: &mut Said, unknown: &mut Unknown) {
    // `flags=flags=…` is one string: what bounds dictionaries does not bound it.
    if said.within == MOST_WITHIN {
        return unknown.note(&word[..word.len().min(32)]);
    }
    said.within += 1;
    inner_flag(word, said, unknown);
    said.within -= 1;
}

fn inner_flag(word: &[u8], said: &mut Said, unknown: &mut Unknown) {
    let word = spelt(word);
    if plain(&word, said) {
        return;
    }
    if let Some(equals) = word.iter().position(|byte| *byte == b'=') {
        let (name, value) = (&word[..equals], &word[equals + 1..]);
        return match name {
            b"flags" => flag(value, said, unknown),
            b"replace" | b"rtcp-mux" | b"SDES" => list_word(name, value, said, unknown),
            _ => key(name, &Value::Bytes(value.to_vec()), said, unknown),
        };
    }
    if IGNORED_FLAGS.iter().any(|known| known.as_bytes() == word) {
        return;
    }
    for prefix in PREFIXES {
        let rest = word.strip_prefix(prefix.as_bytes());
        if let Some(rest) = rest.and_then(|rest| rest.strip_prefix(b"-")) {
            return prefixed(prefix.as_bytes(), rest, said, unknown);
        }
    }
    unknown.note(&word);
}

/// Flags within flags: `rtpp-flags` within which `flags` stand is what proxies send.
const MOST_WITHIN: u8 = 4;

/// What may stand before a flag's own word.
const PREFIXES: [&str; 14] = [
    "codec",
    "rtcp-mux",
    "replace",
    "SDES",
    "ICE",
    "DTLS",
    "OSRTP",
    "T.38",
    "T38",
    "direction",
    "from-tags",
    "endpoint-learning",
    "sdp-attr",
    "all",
];

fn prefixed(prefix: &[u8], rest: &[u8], said: &mut Said, unknown: &mut Unknown) {
    match prefix {
        b"codec" => codec_word(rest, said, unknown),
        b"rtcp-mux" | b"replace" | b"SDES" => list_word(prefix, rest, said, unknown),
        b"ICE" | b"all" => {
            let known = option(prefix, rest, said, unknown);
            debug_assert!(known, "an option of its own");
        }
        b"direction" => said.directions.push(rest.to_vec()),
        b"from-tags" => said.parties.from_tags.push(rest.to_vec()),
        // Of the others nothing is done.
        _ => {}
    }
}

fn list_word(name: &[u8], word: &[u8], said: &mut Said, unknown: &mut Unknown) {
    match name {
        b"replace" => replace(word, said, unknown),
        b"rtcp-mux" => mux(word, said, unknown),
        _ => sdes(word, said),
    }
}

/// Flags that stand alone; whether this is one.
fn plain(word: &[u8], said: &mut Said) -> bool {
    let options: &mut Options = &mut said.options;
    match word {
        b"trust-address" => said.by_source = false,
        b"SIP-source-address" | b"sip-source-address" => said.by_source = true,
        b"asymmetric" => options.learning = Learning::Asymmetric,
        b"strict-source" => options.learning = Learning::StrictSource,
        b"media-handover" => options.learning = Learning::MediaHandover,
        b"symmetric" => options.learning = Learning::AsConfigured,
        b"port-latching" => options.port_latching = true,
        b"no-rtcp-attribute" | b"no-RTCP-attribute" => options.rtcp_attribute = RtcpAttribute::No,
        b"full-rtcp-attribute" | b"full-RTCP-attribute" => {
            options.rtcp_attribute = RtcpAttribute::Full
        }
        b"original-sendrecv" => options.original_sendrecv = true,
        b"inactive" => options.inactive = true,
        b"single-codec" => options.single_codec = true,
        b"generate-mid" => options.generate_mid = true,
        b"strip-extmap" => options.strip_extmap = true,
        b"loop-protect" => options.loop_protect = true,
        b"reset" => options.reset = true,
        b"record-call" => options.record = Some(true),
        b"inject-DTMF" | b"inject-dtmf" => options.inject_dtmf = true,
        b"all" => said.parties.all = All::All,
        b"fatal" => said.fatal = true,
        b"pause" => said.pauses = true,
        b"replace-origin" => options.replace.origin = true,
        b"replace-session-connection" => options.replace.session_connection = true,
        // The interfaces of rtpproxy.
        b"internal" | b"external" => said.directions.push(word.to_vec()),
        _ => return false,
    }
    true
}

fn replace(word: &[u8], said: &mut Said, unknown: &mut Unknown) {
    let replace = &mut said.options.replace;
    match word {
        b"origin" => replace.origin = true,
        b"session-connection" => replace.session_connection = true,
        b"username" => replace.username = true,
        b"session-name" => replace.session_name = true,
        b"SDP-version" | b"sdp-version" => replace.version = true,
        b"force-increment-sdp-ver" => replace.force_version = true,
        b"zero-address" => replace.zero_address = true,
        _ => unknown.note(word),
    }
}

fn mux(word: &[u8], said: &mut Said, unknown: &mut Unknown) {
    let mux = &mut said.options.mux;
    match word {
        b"offer" => mux.towards_receiver = MuxOffer::Offer,
        b"require" => mux.towards_receiver = MuxOffer::Require,
        b"demux" => {
            mux.towards_receiver = MuxOffer::Demux;
            mux.towards_sender = MuxAnswer::Accept;
        }
        b"accept" => mux.towards_sender = MuxAnswer::Accept,
        b"reject" => mux.towards_sender = MuxAnswer::Reject,
        _ => unknown.note(word),
    }
}

fn supports(word: &[u8], said: &mut Said) {
    if word == b"load-limit" {
        said.options.supports_load_limit = true;
    }
}

fn sdes(word: &[u8], said: &mut Said) {
    if matches!(word, b"off" | b"no" | b"disable") {
        said.options.sdes_off = true;
    }
}

fn codecs(value: &Value, said: &mut Said, unknown: &mut Unknown) {
    let Value::Dictionary(dictionary) = value else {
        return each(value, |word| codec_word(word, said, unknown));
    };
    for (operation, list) in dictionary.entries() {
        let operation = spelt(operation);
        each(list, |codec| {
            match codec_list(&operation, &mut said.options.codecs) {
                Some(list) => list.push(codec.to_vec()),
                None if operation == b"set" => {}
                None => unknown.note(&operation),
            }
        });
    }
}

/// `strip-PCMU`, `offer-opus/48000/2`.
fn codec_word(word: &[u8], said: &mut Said, unknown: &mut Unknown) {
    let split = word.iter().position(|byte| matches!(byte, b'-' | b'='));
    let (operation, codec) = match split {
        Some(at) => (&word[..at], &word[at + 1..]),
        None => return unknown.note(word),
    };
    match codec_list(operation, &mut said.options.codecs) {
        Some(list) => list.push(codec.to_vec()),
        None if operation == b"set" => {}
        None => unknown.note(word),
    }
}

fn codec_list<'c>(operation: &[u8], codecs: &'c mut Codecs) -> Option<&'c mut Vec<Vec<u8>>> {
    Some(match operation {
        b"strip" => &mut codecs.strip,
        b"mask" | b"consume" => &mut codecs.mask,
        b"except" => &mut codecs.except,
        b"offer" => &mut codecs.offer,
        b"accept" => &mut codecs.accept,
        b"transcode" => &mut codecs.transcode,
        _ => return None,
    })
}
