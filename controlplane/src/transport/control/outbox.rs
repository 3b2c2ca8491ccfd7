//! What waits to be written to one connection: bytes, in order, bounded.

use std::io::{self, Write};

/// Bytes that may wait: sixteen of the largest replies, some thousand ordinary ones. A client that lets more
/// wait does not read, and its connection is ended.
const MOST_BYTES: usize = 1 << 20;

/// No room: the client does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// What waits to be written.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    written: usize,
}

impl Outbox {
    /// Puts bytes behind those that wait.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Full> {
        if self.waiting().saturating_add(bytes.len()) > MOST_BYTES {
            return Err(Full);
        }
        if self.written > 0 {
            self.bytes.drain(..self.written.min(self.bytes.len()));
            self.written = 0;
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// How many bytes wait.
    pub(super) fn waiting(&self) -> usize {
        self.bytes.len().saturating_sub(self.written)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting() == 0
    }

    /// Writes as far as there is room; whether something was.
    pub(super) fn write_to(&mut self, stream: &mut impl Write) -> io::Result<bool> {
        let mut progress = false;
        while let Some(rest) = self.bytes.get(self.written..).filter(|r| !r.is_empty()) {
            match stream.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    progress = true;
                    self.written = self.written.saturating_add(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(progress),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.bytes.clear();
        self.written = 0;
        Ok(progress)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes three bytes at a time, and then no more.
    struct Narrow(Vec<u8>, bool);

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if std::mem::replace(&mut self.1, true) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let taken = bytes.iter().copied().take(3);
            let before = self.0.len();
            self.0.extend(taken);
            Ok(self.0.len() - before)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn bytes_leave_in_order_as_there_is_room() {
        let mut outbox = Outbox::default();
        let mut narrow = Narrow(Vec::new(), false);
        assert_eq!(outbox.push(b"one"), Ok(()));
        assert_eq!(outbox.push(b"two"), Ok(()));
        for _ in 0..2 {
            narrow.1 = false;
            assert!(outbox.write_to(&mut narrow).expect("room"));
        }
        assert!(outbox.is_empty());
        assert_eq!(narrow.0, b"onetwo");
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut outbox = Outbox::default();
        assert_eq!(outbox.push(&vec![0; MOST_BYTES]), Ok(()));
        assert_eq!(outbox.push(b"x"), Err(Full));
        let mut narrow = Narrow(Vec::new(), false);
        assert!(outbox.write_to(&mut narrow).expect("room"));
        assert_eq!(outbox.push(b"abc"), Ok(()));
        assert_eq!(outbox.push(b"x"), Err(Full));
    }
}
