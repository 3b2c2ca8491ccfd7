//! A file that another process still writes, read line by line as it grows.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

/// Bytes of one line at most: SIPp's statistics have some 2,000. A longer line is dropped.
const LONGEST: usize = 64 * 1024;

/// A file and how much of it has been read.
#[derive(Debug)]
pub(super) struct Tail {
    path: PathBuf,
    file: Option<File>,
    partial: Vec<u8>,
}

impl Tail {
    /// A file that need not be there yet.
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            file: None,
            partial: Vec::new(),
        }
    }

    /// Hands over the lines that were completed since the last time.
    pub(super) fn lines(&mut self, mut take: impl FnMut(&str)) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => match File::open(&self.path) {
                Ok(file) => none.insert(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(error),
            },
        };
        let mut chunk = vec![0; 64 * 1024];
        loop {
            let read = file.read(&mut chunk)?;
            if read == 0 {
                return Ok(());
            }
            for part in chunk[..read].split_inclusive(|byte| *byte == b'\n') {
                self.partial.extend_from_slice(part);
                if part.ends_with(b"\n") {
                    take(String::from_utf8_lossy(&self.partial).trim_end());
                    self.partial.clear();
                } else if self.partial.len() > LONGEST {
                    self.partial.clear();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn lines_come_once_and_whole() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("log");
        let mut tail = Tail::new(path.clone());
        let mut seen = Vec::new();
        let mut read = |tail: &mut Tail| {
            tail.lines(|line| seen.push(line.to_owned())).expect("read");
            std::mem::take(&mut seen)
        };
        assert!(read(&mut tail).is_empty(), "not there yet");
        let mut file = File::create(&path).expect("a file");
        file.write_all(b"one\ntw").expect("written");
        assert_eq!(read(&mut tail), ["one"]);
        file.write_all(b"o\n\nthree\n").expect("written");
        assert_eq!(read(&mut tail), ["two", "", "three"]);
        assert!(read(&mut tail).is_empty());
    }
}
