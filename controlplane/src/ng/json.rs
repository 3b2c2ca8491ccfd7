//! JSON, in which rtpengine takes the same dictionaries.
//!
//! `true` and `false` are the strings `yes` and `no`, as clients mean them; `null` is the empty string; a number with a
//! fraction is what stands before the point. Strings that are not UTF-8 are written with U+FFFD in the place of what
//! is not.

use serde_json::{Map, Number, Value as Json};

use super::bencode::Problem;
use super::value::{Dictionary, Value};
use super::{MOST_VALUES, NESTED};

/// Reads the dictionary that the bytes begin with, and says how many it takes.
pub fn read(bytes: &[u8]) -> Result<(Dictionary, usize), Problem> {
    let mut stream = serde_json::Deserializer::from_slice(bytes).into_iter::<Json>();
    let json = match stream.next() {
        None => return Err(Problem::Incomplete),
        Some(Err(error)) if error.is_eof() => return Err(Problem::Incomplete),
        Some(Err(_)) => return Err(Problem::Malformed),
        Some(Ok(json)) => json,
    };
    let mut values = 0;
    match value(json, 0, &mut values)? {
        Value::Dictionary(dictionary) => Ok((dictionary, stream.byte_offset())),
        _ => Err(Problem::Malformed),
    }
}

fn value(json: Json, depth: usize, values: &mut usize) -> Result<Value, Problem> {
    *values += 1;
    if depth > NESTED || *values > MOST_VALUES {
        return Err(Problem::Malformed);
    }
    Ok(match json {
        Json::Null => Value::Bytes(Vec::new()),
        Json::Bool(true) => "yes".into(),
        Json::Bool(false) => "no".into(),
        Json::Number(number) => Value::Integer(integer(&number)?),
        Json::String(text) => text.into(),
        Json::Array(list) => {
            let list = list.into_iter().map(|json| value(json, depth + 1, values));
            Value::List(list.collect::<Result<_, _>>()?)
        }
        Json::Object(entries) => {
            let mut dictionary = Dictionary::new();
            for (key, json) in entries {
                dictionary.push(key, value(json, depth + 1, values)?);
            }
            Value::Dictionary(dictionary)
        }
    })
}

fn integer(number: &Number) -> Result<i64, Problem> {
    let whole = number.as_i64();
    let cut = || {
        let float = number.as_f64()?.trunc();
        // Between these every whole number is one.
        (float.abs() < 9.0e15).then_some(float as i64)
    };
    whole.or_else(cut).ok_or(Problem::Malformed)
}

/// Writes a dictionary, its keys in the order that they have.
pub fn write(dictionary: &Dictionary, to: &mut Vec<u8>) {
    // A map of strings to values is always JSON.
    let _ = serde_json::to_writer(to, &object(dictionary));
}

/// The dictionary as JSON.
pub fn object(dictionary: &Dictionary) -> Json {
    let mut map = Map::new();
    for (key, value) in dictionary.entries() {
        map.insert(String::from_utf8_lossy(key).into_owned(), of(value));
    }
    Json::Object(map)
}

fn of(value: &Value) -> Json {
    match value {
        Value::Bytes(bytes) => Json::String(String::from_utf8_lossy(bytes).into_owned()),
        Value::Integer(number) => Json::Number((*number).into()),
        Value::List(list) => Json::Array(list.iter().map(of).collect()),
        Value::Dictionary(dictionary) => object(dictionary),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_kind_of_value_is_read() {
        let text =
            br#" {"a":"x","n":-5,"f":2.9,"t":true,"u":false,"z":null,"l":["y",{"k":1}]} rest"#;
        let (dictionary, length) = read(text).expect("valid");
        assert_eq!(length, text.len() - 5);
        let expected = [
            ("a", "x".into()),
            ("n", (-5_i64).into()),
            ("f", 2_i64.into()),
            ("t", "yes".into()),
        ];
        for (key, value) in expected {
            assert_eq!(dictionary.get(key.as_bytes()), Some(&value), "{key}");
        }
        assert_eq!(dictionary.get(b"z"), Some(&"".into()));
        let mut bytes = Vec::new();
        write(&dictionary, &mut bytes);
        assert!(
            bytes.starts_with(br#"{"a":"x","#) || bytes.contains(&b'a'),
            "{bytes:?}"
        );
        assert_eq!(
            read(&bytes).map(|(again, _)| again.get(b"l").cloned()),
            Ok(dictionary.get(b"l").cloned())
        );
    }

    #[test]
    fn what_is_no_dictionary_is_told_from_the_beginning_of_one() {
        for incomplete in ["", " ", "{", "{\"a\"", "{\"a\":1", "{\"a\":\"x"] {
            assert_eq!(
                read(incomplete.as_bytes()),
                Err(Problem::Incomplete),
                "{incomplete}"
            );
        }
        for malformed in [
            "[1]",
            "5",
            "{a}",
            "{\"a\":1e400}",
            "\"x\"",
            "nope",
            "{\"a\":99999999999999999999}",
        ] {
            assert_eq!(
                read(malformed.as_bytes()),
                Err(Problem::Malformed),
                "{malformed}"
            );
        }
        let deep = format!(
            "{{\"a\":{}{}}}",
            "[".repeat(NESTED + 1),
            "]".repeat(NESTED + 1)
        );
        assert_eq!(read(deep.as_bytes()), Err(Problem::Malformed));
        let endless = format!("{{\"a\":{}", "[".repeat(60_000));
        assert_eq!(read(endless.as_bytes()), Err(Problem::Malformed));
    }

    #[test]
    fn what_is_not_utf_8_is_written_as_far_as_it_is() {
        let dictionary = Dictionary::new().with("k", vec![b'a', 0xff]);
        let mut bytes = Vec::new();
        write(&dictionary, &mut bytes);
        assert_eq!(
            String::from_utf8(bytes).expect("text"),
            "{\"k\":\"a\u{fffd}\"}"
        );
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(bytes: Vec<u8>) {
            let _ = read(&bytes);
            let _ = read(&[b"{\"a\":".to_vec(), bytes].concat());
        }
    }
}
