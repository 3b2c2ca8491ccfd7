//! As much of bencode as a proxy needs: dictionaries of strings, numbers and lists are written, and strings of a reply's
//! dictionary found.

/// How deep a reply may be: what is deeper is not understood.
const DEEPEST: usize = 32;

/// A value of a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    /// Text.
    Text(&'a str),
    /// A number.
    Number(u32),
    /// Texts.
    List(&'a [&'a str]),
}

/// Writes a dictionary.
pub(super) fn write(entries: &[(&str, Value<'_>)], out: &mut Vec<u8>) {
    out.push(b'd');
    for (key, value) in entries {
        text(key, out);
        match value {
            Value::Text(value) => text(value, out),
            Value::Number(number) => out.extend_from_slice(format!("i{number}e").as_bytes()),
            Value::List(list) => {
                out.push(b'l');
                list.iter().for_each(|value| text(value, out));
                out.push(b'e');
            }
        }
    }
    out.push(b'e');
}

fn text(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(text.len().to_string().as_bytes());
    out.push(b':');
    out.extend_from_slice(text.as_bytes());
}

/// The bytes of a dictionary's value, as they are written; of a string, the string. `None` if there is no such key, or
/// nothing that can be understood as far as there.
pub(super) fn find<'d>(dictionary: &'d [u8], key: &[u8]) -> Option<&'d [u8]> {
    let mut rest = dictionary.strip_prefix(b"d")?;
    while rest.first()? != &b'e' {
        let name = string(&mut rest)?;
        let before = rest;
        let value = skip(&mut rest, DEEPEST)?;
        if name == key {
            return Some(value.unwrap_or(&before[..before.len() - rest.len()]));
        }
    }
    None
}

/// Passes by a value; of a string, says it.
fn skip<'d>(rest: &mut &'d [u8], depth: usize) -> Option<Option<&'d [u8]>> {
    let depth = depth.checked_sub(1)?;
    match rest.first()? {
        b'i' => {
            let end = rest.iter().position(|byte| *byte == b'e')?;
            *rest = rest.get(end + 1..)?;
            Some(None)
        }
        b'l' | b'd' => {
            *rest = rest.get(1..)?;
            while rest.first()? != &b'e' {
                skip(rest, depth)?;
            }
            *rest = rest.get(1..)?;
            Some(None)
        }
        _ => string(rest).map(Some),
    }
}

fn string<'d>(rest: &mut &'d [u8]) -> Option<&'d [u8]> {
    let colon = rest.iter().take(8).position(|byte| *byte == b':')?;
    let length: usize = std::str::from_utf8(&rest[..colon]).ok()?.parse().ok()?;
    let (value, after) = rest.get(colon + 1..)?.split_at_checked(length)?;
    *rest = after;
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_found() {
        let mut bytes = Vec::new();
        let flags = ["trust-address", "x"];
        write(
            &[
                ("flags", Value::List(&flags)),
                ("delete-delay", Value::Number(0)),
                ("sdp", Value::Text("v=0\r\n")),
            ],
            &mut bytes,
        );
        let text = b"d5:flagsl13:trust-address1:xe12:delete-delayi0e3:sdp5:v=0\r\ne";
        assert_eq!(bytes, text);
        assert_eq!(find(&bytes, b"sdp"), Some(&b"v=0\r\n"[..]));
        assert_eq!(find(&bytes, b"delete-delay"), Some(&b"i0e"[..]));
        assert_eq!(find(&bytes, b"flags"), Some(&b"l13:trust-address1:xe"[..]));
        assert_eq!(find(&bytes, b"result"), None);
    }

    #[test]
    fn nonsense_is_not_understood() {
        let deep = [b"d1:a".repeat(40), b"1:b".to_vec(), b"e".repeat(40)].concat();
        let long = b"d1:a99999999999999999999:xe";
        for wrong in [
            &b""[..],
            b"d",
            b"l1:ae",
            b"d1:a",
            b"d1:ai1",
            b"d9:a1:be",
            &deep,
            long,
        ] {
            assert_eq!(find(wrong, b"result"), None);
        }
    }
}
