//! Bencode: what rtpengine and its clients speak.
//!
//! ```text
//!   string      LENGTH ':' BYTES              list        'l' VALUE* 'e'
//!   integer     'i' ['-'] DIGITS 'e'          dictionary  'd' (string VALUE)* 'e'
//! ```
//!
//! Keys come in any order, as rtpengine takes them. A number may not begin with a zero that means nothing (`i05e`,
//! `07:command`): two readers could not disagree about it. Reading costs no more than the bytes do, whatever they say.

use super::value::{Dictionary, Value};
use super::{MOST_VALUES, NESTED};

/// Why bytes are no dictionary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// They are the beginning of one.
    Incomplete,
    /// They are not.
    Malformed,
}

/// Reads the dictionary that the bytes begin with, and says how many it takes.
pub fn read(bytes: &[u8]) -> Result<(Dictionary, usize), Problem> {
    let mut reader = Reader {
        bytes,
        at: 0,
        values: 0,
    };
    match reader.value(0)? {
        Value::Dictionary(dictionary) => Ok((dictionary, reader.at)),
        _ => Err(Problem::Malformed),
    }
}

/// Writes a dictionary, its keys in the order that they have.
pub fn write(dictionary: &Dictionary, to: &mut Vec<u8>) {
    to.push(b'd');
    for (key, value) in dictionary.entries() {
        write_bytes(key, to);
        write_value(value, to);
    }
    to.push(b'e');
}

fn write_value(value: &Value, to: &mut Vec<u8>) {
    match value {
        Value::Bytes(bytes) => write_bytes(bytes, to),
        Value::Integer(number) => to.extend_from_slice(format!("i{number}e").as_bytes()),
        Value::List(list) => {
            to.push(b'l');
            list.iter().for_each(|value| write_value(value, to));
            to.push(b'e');
        }
        Value::Dictionary(dictionary) => write(dictionary, to),
    }
}

fn write_bytes(bytes: &[u8], to: &mut Vec<u8>) {
    to.extend_from_slice(bytes.len().to_string().as_bytes());
    to.push(b':');
    to.extend_from_slice(bytes);
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    values: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Result<u8, Problem> {
        self.bytes.get(self.at).copied().ok_or(Problem::Incomplete)
    }

    fn value(&mut self, depth: usize) -> Result<Value, Problem> {
        self.values += 1;
        if depth > NESTED || self.values > MOST_VALUES {
            return Err(Problem::Malformed);
        }
        match self.peek()? {
            b'0'..=b'9' => Ok(Value::Bytes(self.string()?)),
            b'i' => {
                self.at += 1;
                Ok(Value::Integer(self.integer()?))
            }
            b'l' => {
                self.at += 1;
                let mut list = Vec::new();
                while !self.ends()? {
                    list.push(self.value(depth + 1)?);
                }
                Ok(Value::List(list))
            }
            b'd' => {
                self.at += 1;
                let mut dictionary = Dictionary::new();
                while !self.ends()? {
                    let key = self.string()?;
                    let value = self.value(depth + 1)?;
                    dictionary.push(key, value);
                }
                Ok(Value::Dictionary(dictionary))
            }
            _ => Err(Problem::Malformed),
        }
    }

    /// Whether a list or dictionary ends here.
    fn ends(&mut self) -> Result<bool, Problem> {
        let ends = self.peek()? == b'e';
        self.at += usize::from(ends);
        Ok(ends)
    }

    fn integer(&mut self) -> Result<i64, Problem> {
        let is_negative = self.peek()? == b'-';
        self.at += usize::from(is_negative);
        let number = self.digits(b'e')?;
        let number = match (is_negative, number) {
            (true, 0) => None,
            (true, number) => 0_i64.checked_sub_unsigned(number),
            (false, number) => i64::try_from(number).ok(),
        };
        number.ok_or(Problem::Malformed)
    }

    fn string(&mut self) -> Result<Vec<u8>, Problem> {
        let length = usize::try_from(self.digits(b':')?).map_err(|_| Problem::Malformed)?;
        let end = self.at.checked_add(length).ok_or(Problem::Malformed)?;
        let bytes = self.bytes.get(self.at..end).ok_or(Problem::Incomplete)?;
        self.at = end;
        Ok(bytes.to_vec())
    }

    /// Digits up to, and with, the byte that ends them.
    fn digits(&mut self, end: u8) -> Result<u64, Problem> {
        let start = self.at;
        let mut number = 0_u64;
        loop {
            let byte = self.peek()?;
            self.at += 1;
            let count = self.at - start;
            match byte {
                b'0'..=b'9' => {
                    let first = self.bytes.get(start);
                    if count > 1 && first == Some(&b'0') {
                        return Err(Problem::Malformed);
                    }
                    let digit = u64::from(byte - b'0');
                    let next = number
                        .checked_mul(10)
                        .and_then(|ten| ten.checked_add(digit));
                    number = next.ok_or(Problem::Malformed)?;
                }
                byte if byte == end && count > 1 => return Ok(number),
                _ => return Err(Problem::Malformed),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(dictionary: &Dictionary) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(dictionary, &mut bytes);
        bytes
    }

    #[test]
    fn every_kind_of_value_is_read_and_written() {
        let text = b"d7:command5:offer5:flagsl13:trust-address1:xe1:ni-42e1:zi0e5:innerd0:0:ee";
        let (dictionary, length) = read(text).expect("valid");
        assert_eq!(length, text.len());
        assert_eq!(dictionary.get(b"n"), Some(&Value::Integer(-42)));
        let flags = Value::List(vec!["trust-address".into(), "x".into()]);
        assert_eq!(dictionary.get(b"flags"), Some(&flags));
        assert_eq!(written(&dictionary), text);
        assert_eq!(read(b"d1:ai1eeXYZ").map(|(_, length)| length), Ok(8));
    }

    #[test]
    fn what_is_no_dictionary_is_told_from_the_beginning_of_one() {
        for incomplete in [
            "",
            "d",
            "d7:comm",
            "d7:command4:ping",
            "d1:a",
            "d1:ai4",
            "d1:al",
            "d1",
        ] {
            assert_eq!(
                read(incomplete.as_bytes()),
                Err(Problem::Incomplete),
                "{incomplete}"
            );
        }
        for malformed in [
            "i5e",
            "le",
            "4:ping",
            "d07:commande",
            "d1:ai-0ee",
            "d1:ai05ee",
            "d1:aiee",
            "di1ei2ee",
            "x",
            "d1:ai-ee",
            "d1:ai99999999999999999999ee",
            "d99999999999999999999:",
            "d1:ax",
            "d:ee",
            "d1:ai1-ee",
        ] {
            assert_eq!(
                read(malformed.as_bytes()),
                Err(Problem::Malformed),
                "{malformed}"
            );
        }
    }

    #[test]
    fn the_smallest_number_has_no_opposite() {
        let text = b"d1:ni-9223372036854775808ee";
        let (dictionary, _) = read(text).expect("valid");
        assert_eq!(dictionary.get(b"n"), Some(&Value::Integer(i64::MIN)));
        assert_eq!(written(&dictionary), text);
        assert_eq!(
            read(b"d1:ni-9223372036854775809ee"),
            Err(Problem::Malformed)
        );
    }

    #[test]
    fn depth_and_number_are_bounded() {
        let nested =
            |depth: usize| [b"d1:a".to_vec(), b"l".repeat(depth), b"e".repeat(depth + 1)].concat();
        assert!(read(&nested(NESTED)).is_ok());
        assert_eq!(read(&nested(NESTED + 1)), Err(Problem::Malformed));
        let wide =
            |count: usize| [b"d1:al".to_vec(), b"i1e".repeat(count), b"ee".to_vec()].concat();
        assert!(read(&wide(MOST_VALUES - 2)).is_ok());
        assert_eq!(read(&wide(MOST_VALUES)), Err(Problem::Malformed));
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<Vec<u8>>().prop_map(Value::Bytes),
            any::<i64>().prop_map(Value::Integer),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
                prop::collection::vec((any::<Vec<u8>>(), inner), 0..4).prop_map(|entries| {
                    let mut dictionary = Dictionary::new();
                    entries
                        .into_iter()
                        .for_each(|(key, value)| dictionary.push(key, value));
                    Value::Dictionary(dictionary)
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(value in value()) {
            let dictionary = Dictionary::new().with("v", value);
            let bytes = written(&dictionary);
            prop_assert_eq!(read(&bytes), Ok((dictionary, bytes.len())));
            for end in 0..bytes.len() {
                prop_assert_eq!(read(&bytes[..end]), Err(Problem::Incomplete));
            }
        }

        #[test]
        fn no_bytes_do_harm(bytes: Vec<u8>) {
            let _ = read(&bytes);
            let _ = read(&[b"d1:a".to_vec(), bytes].concat());
        }
    }
}
