//! Requests out of a stream: `cookie SP dictionary`, one behind the other, with white space between them or none. Where
//! a dictionary ends is found without understanding it: bencode by its lengths, JSON by its brackets. Sans-IO.

/// Bytes of a cookie: those of clients have some twenty.
const LONGEST_COOKIE: usize = 256;
/// Dictionaries and lists within each other.
const DEEPEST: u32 = 64;

/// Why nothing of a stream can be understood any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FrameError {
    Malformed,
    TooLarge,
}

/// A stream of requests.
#[derive(Debug)]
pub(super) struct Frames {
    buffer: Vec<u8>,
    /// How far it has been looked at.
    seen: usize,
    largest: usize,
    within: Within,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Within {
    Nothing,
    Cookie,
    /// Behind the cookie's space.
    Begin,
    Json {
        depth: u32,
        string: bool,
        escape: bool,
    },
    Bencode {
        depth: u32,
        token: Token,
    },
}

/// What the next byte of bencode belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    None,
    Integer,
    Length(usize),
}

/// What a byte led to.
enum Step {
    Go(Within),
    /// The message ends with it.
    End,
    /// So many bytes behind it mean nothing here.
    Skip(usize, Within),
}

impl Frames {
    pub(super) fn new(largest: usize) -> Self {
        Self {
            buffer: Vec::new(),
            seen: 0,
            largest,
            within: Within::Nothing,
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether a request has begun and not ended.
    pub(super) fn is_within(&self) -> bool {
        self.within != Within::Nothing
    }

    /// The next request; `None` while there is no whole one.
    pub(super) fn next(&mut self) -> Option<Result<Vec<u8>, FrameError>> {
        while let Some(&byte) = self.buffer.get(self.seen) {
            self.seen += 1;
            match step(self.within, byte, self.seen) {
                Ok(Step::Go(Within::Nothing)) => {
                    self.buffer.drain(..self.seen);
                    self.seen = 0;
                }
                Ok(Step::Go(within)) => self.within = within,
                Ok(Step::Skip(count, within)) => {
                    self.seen = self.seen.saturating_add(count);
                    self.within = within;
                }
                Ok(Step::End) => {
                    let rest = self.buffer.split_off(self.seen);
                    let message = std::mem::replace(&mut self.buffer, rest);
                    (self.seen, self.within) = (0, Within::Nothing);
                    return Some(match message.len() > self.largest {
                        true => Err(FrameError::TooLarge),
                        false => Ok(message),
                    });
                }
                Err(error) => return Some(Err(error)),
            }
            if self.seen > self.largest {
                return Some(Err(FrameError::TooLarge));
            }
        }
        None
    }
}

/// What `byte` leads to, which is the `count`th of its message.
fn step(within: Within, byte: u8, count: usize) -> Result<Step, FrameError> {
    let next = match within {
        Within::Nothing if byte.is_ascii_whitespace() => Within::Nothing,
        Within::Cookie if byte == b' ' => Within::Begin,
        Within::Nothing | Within::Cookie if byte.is_ascii_graphic() && count <= LONGEST_COOKIE => {
            Within::Cookie
        }
        Within::Begin if byte == b'{' => Within::Json {
            depth: 1,
            string: false,
            escape: false,
        },
        Within::Begin if byte == b'd' => Within::Bencode {
            depth: 1,
            token: Token::None,
        },
        Within::Nothing | Within::Cookie | Within::Begin => return Err(FrameError::Malformed),
        Within::Json {
            depth,
            string,
            escape,
        } => return json(depth, string, escape, byte),
        Within::Bencode { depth, token } => return bencode(depth, token, byte),
    };
    Ok(Step::Go(next))
}

fn json(depth: u32, string: bool, escape: bool, byte: u8) -> Result<Step, FrameError> {
    let (depth, string, escape) = match byte {
        _ if escape => (depth, string, false),
        b'\\' if string => (depth, string, true),
        b'"' => (depth, !string, false),
        b'{' | b'[' if !string => (deeper(depth)?, string, false),
        b'}' | b']' if !string && depth == 1 => return Ok(Step::End),
        b'}' | b']' if !string => (depth - 1, string, false),
        _ => (depth, string, false),
    };
    Ok(Step::Go(Within::Json {
        depth,
        string,
        escape,
    }))
}

fn bencode(depth: u32, token: Token, byte: u8) -> Result<Step, FrameError> {
    let (depth, token) = match (token, byte) {
        (Token::None, b'd' | b'l') => (deeper(depth)?, Token::None),
        (Token::None, b'e') if depth == 1 => return Ok(Step::End),
        (Token::None, b'e') => (depth - 1, Token::None),
        (Token::None, b'i') => (depth, Token::Integer),
        (Token::None, b'0'..=b'9') => (depth, Token::Length(usize::from(byte - b'0'))),
        (Token::Integer, b'e') => (depth, Token::None),
        (Token::Integer, b'-' | b'0'..=b'9') => (depth, Token::Integer),
        (Token::Length(length), b':') => {
            let token = Token::None;
            return Ok(Step::Skip(length, Within::Bencode { depth, token }));
        }
        (Token::Length(length), b'0'..=b'9') => {
            let length = length.saturating_mul(10);
            let length = length.saturating_add(usize::from(byte - b'0'));
            (depth, Token::Length(length))
        }
        _ => return Err(FrameError::Malformed),
    };
    Ok(Step::Go(Within::Bencode { depth, token }))
}

fn deeper(depth: u32) -> Result<u32, FrameError> {
    match depth < DEEPEST {
        true => Ok(depth + 1),
        false => Err(FrameError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(bytes: &[u8], at_a_time: usize) -> Vec<Result<String, FrameError>> {
        let mut frames = Frames::new(500);
        let mut found = Vec::new();
        for part in bytes.chunks(at_a_time) {
            frames.push(part);
            while let Some(frame) = frames.next() {
                let is_end = frame.is_err();
                found.push(frame.map(|bytes| String::from_utf8(bytes).expect("text")));
                if is_end {
                    return found;
                }
            }
        }
        assert!(!frames.is_within(), "{}", String::from_utf8_lossy(bytes));
        found
    }

    #[test]
    fn requests_are_told_apart_however_they_come() {
        let requests = [
            r#"c1 {"command":"ping"}"#,
            r#"c2 {"a":{"b":["}","]\"{","\\"]}}"#,
            "c3 d7:command4:pinge",
            "1_2 d1:ali-3ei4ed1:b2:eeee1:c0:e",
        ];
        for between in ["", "\n", "\r\n  \r\n"] {
            let stream = requests
                .map(|request| format!("{between}{request}"))
                .concat();
            for at_a_time in [1, 2, 7, 1000] {
                let expected: Vec<_> = requests.iter().map(|r| Ok((*r).to_owned())).collect();
                assert_eq!(frames(stream.as_bytes(), at_a_time), expected);
            }
        }
    }

    #[test]
    fn what_is_no_request_ends_the_stream() {
        let deep = format!("c {}", "[".repeat(100).replacen('[', "{", 1));
        let deep_bencode = format!("c {}", "d1:a".repeat(100));
        let malformed = [
            "hello world",
            "c  d",
            "\u{1}",
            "c d1x",
            "c dx",
            "c di1xe",
            &deep,
            &deep_bencode,
        ];
        for bytes in malformed {
            let found = frames(bytes.as_bytes(), 3);
            assert_eq!(found, [Err(FrameError::Malformed)], "{bytes}");
        }
        let large = [
            format!("c {{\"{}", "x".repeat(600)),
            "c d99999999999999999999999:".to_owned(),
            "c d600:".to_owned(),
        ];
        for bytes in large {
            let found = frames(bytes.as_bytes(), 3);
            assert_eq!(found, [Err(FrameError::TooLarge)], "{bytes}");
        }
    }
}
