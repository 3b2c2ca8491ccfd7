//! The tables of `docs/ng.md` against the parser: each word has the status that the page says, and no word that the parser
//! knows is missing there.

use super::ignored::{IGNORED_FLAGS, IGNORED_KEYS};
use super::json;
use super::parse::{COMMANDS, Unknown};
use super::request::{PlayMedia, Request, RequestError, Sound};
use super::value::{Dictionary, Value};

const PAGE: &str = include_str!("../../../docs/ng.md");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Supported,
    Ignored,
    Refused,
}

/// A row of a table: the words of its first column, the samples of its second if it has four, and its status.
struct Row {
    words: Vec<&'static str>,
    samples: Vec<&'static str>,
    status: Status,
}

/// The rows of the section with this heading.
fn rows(heading: &str) -> Vec<Row> {
    let mut sections = PAGE.split("\n## ");
    let section = sections.find(|section| section.lines().next() == Some(heading));
    let lines = section.expect("the section is there").lines();
    let rows: Vec<_> = lines
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let cells: Vec<_> = line.trim_matches('|').split(" | ").collect();
            let status = match cells[cells.len() - 2].trim() {
                "supported" => Status::Supported,
                "ignored" => Status::Ignored,
                "refused" => Status::Refused,
                other => panic!("{line}: {other} is no status"),
            };
            Row {
                words: spans(cells[0]),
                samples: if cells.len() == 4 {
                    spans(cells[1])
                } else {
                    Vec::new()
                },
                status,
            }
        })
        .collect();
    assert!(!rows.is_empty(), "{heading}");
    rows
}

/// What stands between backticks.
fn spans(cell: &'static str) -> Vec<&'static str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// Whatever any command needs.
fn whole() -> Dictionary {
    Dictionary::new()
        .with("call-id", "call")
        .with("from-tag", "a")
        .with("to-tag", "b")
        .with("sdp", "v=0")
        .with(
            "received-from",
            vec![Value::from("IP4"), "192.0.2.9".into()],
        )
        .with("code", "1")
        .with("file", "sound.wav")
}

/// The contrary of what is the default, so that a default says something.
fn contrary() -> Dictionary {
    let flags = ["asymmetric", "SIP-source-address", "all"].map(Value::from);
    whole()
        .with("flags", flags.to_vec())
        .with("TOS", 8_i64)
        .with("address-family", "IP4")
        .with("pause", "yes")
}

type Read = Result<Request, RequestError>;

/// What each command makes of a dictionary, and the names that it does not know.
fn by_command(dictionary: &Dictionary) -> (Vec<Read>, Vec<Vec<u8>>) {
    let mut unknown = Unknown::default();
    let reads = COMMANDS
        .map(|command| {
            let mut whole = Dictionary::new().with("command", command);
            for (key, value) in dictionary.entries() {
                whole.push(key, value.clone());
            }
            Request::read(&whole, &mut unknown)
        })
        .to_vec();
    (reads, unknown.names().map(<[u8]>::to_vec).collect())
}

/// That a key with each of these values is what the page says that it is.
#[track_caller]
fn assert_is(status: Status, shown: &str, key: &str, values: &[Value]) {
    let mut changes = false;
    let mut refuses = false;
    for base in [whole(), contrary()] {
        let (before, unknown) = by_command(&base);
        assert_eq!(unknown, Vec::<Vec<u8>>::new());
        for value in values {
            let (after, unknown) = by_command(&base.clone().with(key, value.clone()));
            assert_eq!(unknown, Vec::<Vec<u8>>::new(), "{shown} is not known");
            changes |= after != before;
            refuses |= after.iter().zip(&before).any(|(after, before)| {
                let is_refused = matches!(
                    after,
                    Ok(Request::PlayMedia(PlayMedia {
                        source: Sound::Database(_),
                        ..
                    }))
                );
                is_refused || (after.is_err() && before.is_ok())
            });
        }
    }
    match status {
        Status::Supported => assert!(changes, "{shown} changes nothing"),
        Status::Ignored => assert!(!refuses, "{shown} is refused"),
        Status::Refused => assert!(refuses, "{shown} is not refused"),
    }
}

fn sample(text: &str) -> Value {
    let object = format!("{{\"sample\":{text}}}");
    let (dictionary, _) =
        json::read(object.as_bytes()).unwrap_or_else(|_| panic!("{text} is no JSON"));
    dictionary.get(b"sample").expect("it is there").clone()
}

#[test]
fn each_command_is_what_the_page_says() {
    let rows = rows("Commands");
    let named: Vec<_> = rows.iter().flat_map(|row| &row.words).copied().collect();
    assert_eq!(named.len(), COMMANDS.len());
    for row in rows {
        for word in row.words {
            let mut unknown = Unknown::default();
            let read = Request::read(&whole().with("command", word), &mut unknown);
            match (row.status, read) {
                (Status::Supported, Ok(request)) => assert_eq!(request.command(), word),
                (Status::Refused, Err(error)) => assert_ne!(error, RequestError::UnknownCommand),
                (status, read) => panic!("{word} is {status:?}: {read:?}"),
            }
        }
    }
}

#[test]
fn each_key_is_what_the_page_says() {
    let rows = rows("Keys");
    assert!(rows.len() > 60);
    for row in rows {
        let samples: Vec<_> = row.samples.iter().copied().map(sample).collect();
        assert!(!samples.is_empty(), "{:?}", row.words);
        for word in row.words {
            assert_is(row.status, word, word, &samples);
            let spaced = word.replace('-', " ");
            assert_is(row.status, &spaced, &spaced, &samples);
        }
    }
}

#[test]
fn each_flag_is_what_the_page_says() {
    for row in rows("Flags") {
        for word in row.words {
            for word in [word.to_owned(), word.replace('-', " ")] {
                let list = Value::List(vec![word.as_str().into()]);
                assert_is(row.status, &word, "flags", &[list]);
            }
            assert_is(row.status, word, "rtpp-flags", &[word.into()]);
        }
    }
}

#[test]
fn each_word_of_a_list_is_what_the_page_says() {
    for key in ["replace", "rtcp-mux", "SDES", "supports"] {
        for row in rows(&format!("Words of `{key}`")) {
            for word in row.words {
                let list = Value::List(vec![word.into()]);
                assert_is(row.status, word, key, &[list]);
                if key != "supports" {
                    assert_is(
                        row.status,
                        word,
                        "rtpp-flags",
                        &[format!("{key}-{word}").into()],
                    );
                }
            }
        }
    }
    for row in rows("Words of `codec`") {
        for word in row.words {
            let lists = Dictionary::new().with(word, vec![Value::from("PCMA")]);
            assert_is(row.status, word, "codec", &[lists.into()]);
            assert_is(
                row.status,
                word,
                "rtpp-flags",
                &[format!("codec-{word}-PCMA").into()],
            );
        }
    }
}

/// Byte strings in the source of the table of words are the words.
#[test]
fn each_word_that_is_known_is_on_the_page() {
    let source = include_str!("words.rs");
    let literals = source.match_indices("b\"").filter_map(|(at, _)| {
        let is_literal = !source[..at].ends_with(|before: char| before.is_alphanumeric());
        let word = source[at + 2..].split('"').next()?;
        is_literal.then_some(word)
    });
    let ignored = IGNORED_FLAGS.into_iter().chain(IGNORED_KEYS);
    let known: Vec<_> = literals.chain(ignored).chain(COMMANDS).collect();
    assert!(known.len() > 150, "{}", known.len());
    let cells = PAGE.lines().filter(|line| line.starts_with("| `"));
    let on_page: Vec<_> = cells
        .flat_map(spans)
        .map(|span| span.trim_matches('"'))
        .collect();
    for word in known {
        if !word.contains(|letter: char| letter.is_ascii_alphabetic()) {
            continue;
        }
        let is_there = on_page
            .iter()
            .any(|span| *span == word || span.split([' ', '"', ':']).any(|part| part == word));
        assert!(is_there || EVENT_KEYS == word, "{word} is not on the page");
    }
}

/// No word, though it is written like one.
const EVENT_KEYS: &str = "0123456789*#ABCD";
