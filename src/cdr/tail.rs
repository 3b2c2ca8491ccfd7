//! The end of a file of records, and what comes after it: for `tandem cdr tail`.
//!
//! Follows the name: when the file under it is another one, that is read from its beginning.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use serde_json::{Map, Value};

use super::Format;

/// Bytes read at a time from the end.
const BLOCK: u64 = 65_536;

/// Bytes that are looked at for the last lines, at the most.
const LONGEST: u64 = 256 << 20;

/// Why records cannot be shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TailError {
    /// The file could not be read.
    #[error("cannot read {}: {_1}", _0.display())]
    File(PathBuf, io::Error),
}

/// A file that is being followed.
#[derive(Debug)]
pub(crate) struct Tail {
    path: PathBuf,
    format: Format,
    file: Option<File>,
    inode: u64,
    /// Names of the columns of CSV.
    names: Vec<String>,
    /// The beginning of a line whose end has not come.
    partial: Vec<u8>,
}

impl Tail {
    /// Follows the file of this name.
    pub(crate) fn new(path: PathBuf, format: Format) -> Self {
        Self {
            path,
            format,
            file: None,
            inode: 0,
            names: Vec::new(),
            partial: Vec::new(),
        }
    }

    /// The last records, and nothing for a file that is not there yet.
    pub(crate) fn last(&mut self, count: usize) -> Result<Vec<Value>, TailError> {
        let read = self.read_last(count);
        read.map_err(|error| TailError::File(self.path.clone(), error))
    }

    /// The records that have come since.
    pub(crate) fn more(&mut self) -> Result<Vec<Value>, TailError> {
        let read = self.read_more();
        read.map_err(|error| TailError::File(self.path.clone(), error))
    }

    fn read_last(&mut self, count: usize) -> io::Result<Vec<Value>> {
        if !self.open()? {
            return Ok(Vec::new());
        }
        let Some(file) = &mut self.file else {
            return Ok(Vec::new());
        };
        let length = file.seek(SeekFrom::End(0))?;
        let (mut from, mut blocks, mut lines) = (length, Vec::new(), 0);
        let wanted = count.saturating_add(1);
        while from > 0 && lines <= wanted && length - from < LONGEST {
            let block = from.min(BLOCK);
            from -= block;
            file.seek(SeekFrom::Start(from))?;
            let mut before = vec![0; block as usize];
            file.read_exact(&mut before)?;
            lines += before.iter().filter(|&&byte| byte == b'\n').count();
            blocks.push(before);
        }
        blocks.reverse();
        let mut bytes = blocks.concat();
        if from > 0 {
            // It begins within a line.
            let end = bytes.iter().position(|&byte| byte == b'\n');
            bytes.drain(..=end.unwrap_or(bytes.len() - 1));
        }
        file.seek(SeekFrom::Start(length))?;
        let mut records = self.take(&bytes);
        records.drain(..records.len().saturating_sub(count));
        Ok(records)
    }

    fn read_more(&mut self) -> io::Result<Vec<Value>> {
        let mut records = Vec::new();
        let mut bytes = Vec::new();
        if let Some(file) = &mut self.file {
            file.read_to_end(&mut bytes)?;
            records = self.take(&bytes);
        }
        let inode = std::fs::metadata(&self.path).map(|meta| meta.ino());
        if self.file.is_none() || inode.is_ok_and(|inode| inode != self.inode) {
            self.file = None;
            self.partial.clear();
            if self.open()?
                && let Some(file) = &mut self.file
            {
                bytes.clear();
                file.seek(SeekFrom::Start(0))?;
                file.read_to_end(&mut bytes)?;
                records.extend(self.take(&bytes));
            }
        }
        Ok(records)
    }

    /// Opens the file if it is there, and reads the names of its columns.
    fn open(&mut self) -> io::Result<bool> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        self.inode = file.metadata()?.ino();
        if self.format == Format::Csv {
            let mut reader = csv::Reader::from_reader(file.try_clone()?.take(BLOCK));
            let names = reader.headers().map_err(io::Error::other)?;
            self.names = names.iter().map(str::to_owned).collect();
        }
        self.file = Some(file);
        Ok(true)
    }

    /// The records of whole lines; what is none is left out.
    fn take(&mut self, bytes: &[u8]) -> Vec<Value> {
        self.partial.extend(bytes);
        let whole = self.partial.iter().rposition(|&byte| byte == b'\n');
        let Some(whole) = whole else {
            return Vec::new();
        };
        let rest = self.partial.split_off(whole + 1);
        let lines = std::mem::replace(&mut self.partial, rest);
        match self.format {
            Format::Json => {
                let lines = lines.split(|&byte| byte == b'\n');
                lines
                    .filter_map(|line| serde_json::from_slice(line).ok())
                    .collect()
            }
            Format::Csv => self.rows(&lines),
        }
    }

    fn rows(&self, lines: &[u8]) -> Vec<Value> {
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .from_reader(lines);
        let rows = reader.records().filter_map(Result::ok);
        let rows = rows.filter(|row| row.iter().ne(self.names.iter().map(String::as_str)));
        let object = |row: csv::StringRecord| {
            let cells = self.names.iter().cloned().zip(row.iter().map(cell));
            Value::Object(cells.collect::<Map<_, _>>())
        };
        rows.map(object).collect()
    }
}

/// A cell as the value that JSON would have.
fn cell(text: &str) -> Value {
    match text {
        "" => Value::Null,
        text => match text.parse::<u64>() {
            Ok(number) if number.to_string() == text => Value::from(number),
            _ => Value::from(text),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::lines::tests::{now, record};
    use super::*;
    use std::fs;
    use std::io::Write;

    fn calls(records: &[Value]) -> Vec<u64> {
        records
            .iter()
            .filter_map(|record| record["call"].as_u64())
            .collect()
    }

    #[test]
    fn the_last_lines_are_found_and_what_follows_too_across_a_rotation() {
        for format in [Format::Json, Format::Csv] {
            let directory = tempfile::tempdir().expect("a directory");
            let path = directory.path().join("calls");
            let mut tail = Tail::new(path.clone(), format);
            assert_eq!(tail.last(5).expect("nothing is there"), Vec::<Value>::new());
            let mut text = format.heading();
            for id in 0..300 {
                text.extend(format.line(&record(id), now(), "h"));
            }
            fs::write(&path, &text).expect("it is ours");
            let mut tail = Tail::new(path.clone(), format);
            assert_eq!(calls(&tail.last(3).expect("a file")), [297, 298, 299]);
            let mut all = Tail::new(path.clone(), format);
            assert_eq!(all.last(1000).expect("a file").len(), 300);
            let mut file = fs::OpenOptions::new()
                .append(true)
                .open(&path)
                .expect("ours");
            let line = format.line(&record(300), now(), "h");
            let (half, rest) = line.split_at(line.len() / 2);
            file.write_all(half).expect("there is room");
            assert_eq!(calls(&tail.more().expect("a file")), [0; 0]);
            file.write_all(rest).expect("there is room");
            fs::rename(&path, directory.path().join("old")).expect("ours");
            let mut text = format.heading();
            text.extend(format.line(&record(301), now(), "h"));
            fs::write(&path, &text).expect("it is ours");
            assert_eq!(calls(&tail.more().expect("both files")), [300, 301]);
            assert_eq!(calls(&tail.more().expect("a file")), [0; 0]);
        }
    }
}
