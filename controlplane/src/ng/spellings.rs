//! The same request in every spelling that clients have for it reads the same.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::message::{self, Encoding};
use super::parse::Unknown;
use super::request::Request;
use super::value::{Dictionary, Value};

/// One thing that is asked for, apart from how it is spelt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// A flag that stands alone.
    Flag(&'static str),
    /// A word in the list of a key.
    Listed(&'static str, &'static str),
    /// A key with one value.
    Keyed(&'static str, &'static str),
    /// An operation on a codec.
    Codec(&'static str, &'static str),
}

use Wish::{Codec, Flag, Keyed, Listed};

/// Of these any go together.
const FREE: &[Wish] = &[
    Flag("port-latching"),
    Flag("original-sendrecv"),
    Flag("single-codec"),
    Flag("generate-mid"),
    Flag("strip-extmap"),
    Flag("loop-protect"),
    Flag("inject-DTMF"),
    Flag("SIP-source-address"),
    Flag("reset"),
    Flag("trickle-ICE"),
    Listed("replace", "origin"),
    Listed("replace", "session-connection"),
    Listed("replace", "session-name"),
    Listed("replace", "zero-address"),
    Listed("replace", "SDP-version"),
    Listed("SDES", "off"),
    Keyed("TOS", "184"),
    Keyed("ptime", "30"),
    Keyed("address-family", "IP6"),
    Keyed("media-address", "2001:db8::1"),
    Keyed("transport-protocol", "RTP/AVPF"),
    Keyed("via-branch", "z9hG4bK7"),
    Keyed("set-label", "one"),
    Keyed("record-call", "yes"),
    Keyed("metadata", "who:they|what:that"),
    Keyed("DTLS", "off"),
    Codec("strip", "PCMA"),
    Codec("strip", "telephone_event"),
    Codec("mask", "all"),
    Codec("except", "opus/48000/2"),
    Codec("offer", "G722"),
    Codec("offer", "PCMU"),
];

/// Of each of these one at the most.
const EXCLUSIVE: [&[Wish]; 5] = [
    &[
        Flag("asymmetric"),
        Flag("strict-source"),
        Flag("media-handover"),
    ],
    &[Flag("no-rtcp-attribute"), Flag("full-rtcp-attribute")],
    &[
        Listed("rtcp-mux", "offer"),
        Listed("rtcp-mux", "require"),
        Listed("rtcp-mux", "demux"),
        Listed("rtcp-mux", "accept"),
        Listed("rtcp-mux", "reject"),
    ],
    &[
        Keyed("ICE", "remove"),
        Keyed("ICE", "force-relay"),
        Keyed("ICE", "optional"),
    ],
    &[
        Keyed("all", "all"),
        Keyed("all", "none"),
        Keyed("all", "flows"),
    ],
];

fn wishes() -> impl Strategy<Value = Vec<Wish>> {
    let free = subsequence(FREE, 0..=FREE.len());
    let exclusive = EXCLUSIVE.map(|each| prop::option::of(select(each)));
    (free, exclusive).prop_map(|(free, exclusive)| {
        free.into_iter()
            .chain(exclusive.into_iter().flatten())
            .collect()
    })
}

impl Wish {
    /// As one word among flags.
    fn word(self) -> String {
        match self {
            Flag(flag) => flag.to_owned(),
            Listed(key, word) => format!("{key}-{word}"),
            Keyed(key, value) => format!("{key}={value}"),
            Codec(operation, codec) => format!("codec-{operation}-{codec}"),
        }
    }
}

/// The words of those that are listed under a key.
fn lists(wishes: &[Wish], spell: &dyn Fn(&str) -> String) -> Dictionary {
    let mut told = Dictionary::new();
    for key in ["replace", "SDES", "rtcp-mux"] {
        let words = wishes.iter().filter_map(|wish| match wish {
            Listed(of, word) if *of == key => Some(Value::from(spell(word))),
            _ => None,
        });
        let words: Vec<_> = words.collect();
        if !words.is_empty() {
            told.push(spell(key), words);
        }
    }
    let mut codecs = Dictionary::new();
    for operation in ["strip", "mask", "except", "offer"] {
        let named = wishes.iter().filter_map(|wish| match wish {
            Codec(of, codec) if *of == operation => Some(Value::from(*codec)),
            _ => None,
        });
        let named: Vec<_> = named.collect();
        if !named.is_empty() {
            codecs.push(operation, named);
        }
    }
    if !codecs.is_empty() {
        told.push("codec", codecs);
    }
    for wish in wishes {
        if let Keyed(key, value) = wish {
            told.push(spell(key), *value);
        }
    }
    told
}

fn plain(wishes: &[Wish], spell: &dyn Fn(&str) -> String) -> Vec<Value> {
    let flags = wishes.iter().filter_map(|wish| match wish {
        Flag(flag) => Some(Value::from(spell(flag))),
        _ => None,
    });
    flags.collect()
}

fn base() -> Dictionary {
    Dictionary::new()
        .with("command", "offer")
        .with("call-id", "c")
        .with("from-tag", "a")
        .with(
            "received-from",
            vec![Value::from("IP4"), "192.0.2.9".into()],
        )
        .with("sdp", "v=0\r\n")
}

fn with_all(mut one: Dictionary, other: &Dictionary) -> Dictionary {
    for (key, value) in other.entries() {
        one.push(key, value.clone());
    }
    one
}

/// Each spelling with its name.
fn spellings(wishes: &[Wish]) -> Vec<(&'static str, Dictionary)> {
    let hyphens = |word: &str| word.to_owned();
    let spaces = |word: &str| word.replace('-', " ");
    let words: Vec<_> = wishes.iter().map(|wish| wish.word()).collect();
    let spaced = words.iter().map(|word| Value::from(spaces(word)));
    let keys = |spell: &dyn Fn(&str) -> String| {
        let flags = base().with("flags", plain(wishes, spell));
        with_all(flags, &lists(wishes, spell))
    };
    let within = lists(wishes, &hyphens).with("flags", plain(wishes, &hyphens));
    vec![
        ("keys", keys(&hyphens)),
        ("keys with spaces", keys(&spaces)),
        (
            "a list of flags",
            base().with(
                "flags",
                words.iter().cloned().map(Value::from).collect::<Vec<_>>(),
            ),
        ),
        (
            "a list of flags with spaces",
            base().with("flags", spaced.collect::<Vec<_>>()),
        ),
        (
            "a proxy's text",
            base().with("rtpp-flags", words.join("  ")),
        ),
        ("a dictionary of flags", base().with("flags", within)),
    ]
}

fn read(dictionary: &Dictionary) -> Request {
    let mut unknown = Unknown::default();
    let request = Request::read(dictionary, &mut unknown).expect("it is one");
    let unknown: Vec<_> = unknown.names().map(String::from_utf8_lossy).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    request
}

proptest! {
    #[test]
    fn all_spellings_read_the_same(wishes in wishes()) {
        let spellings = spellings(&wishes);
        let expected = read(&spellings[0].1);
        for (name, dictionary) in &spellings {
            prop_assert_eq!(&read(dictionary), &expected, "{}", name);
            for encoding in [Encoding::Bencode, Encoding::Json] {
                let sealed = message::seal(b"c", encoding, dictionary);
                let opened = message::open(&sealed).expect("it was sealed");
                prop_assert_eq!(&read(&opened.dictionary), &expected, "{} in {:?}", name, encoding);
            }
        }
    }
}

/// Otherwise the spellings would agree on nothing.
#[test]
fn each_wish_makes_a_difference() {
    let nothing = read(&base());
    for wish in FREE.iter().chain(EXCLUSIVE.into_iter().flatten()) {
        let is_default = matches!(
            wish,
            Keyed("all", "none") | Keyed("DTLS", _) | Flag("trickle-ICE")
        );
        for (name, dictionary) in spellings(&[*wish]) {
            assert_eq!(
                read(&dictionary) == nothing,
                is_default,
                "{wish:?} as {name}"
            );
        }
    }
}
