//! The file that records are in: appended to, put aside when it is long or old enough, never half a line long.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Settings;

/// Records say who has talked to whom: for the owner, and the group that settles accounts.
const MODE: u32 = 0o640;

/// Files of one second that are told apart by a number.
const MOST_OF_A_SECOND: u32 = 1000;

/// An open file.
#[derive(Debug)]
pub(super) struct RecordFile {
    file: File,
    length: u64,
    /// The period of time that it belongs to.
    period: u64,
    /// The length of a file without records.
    empty: u64,
}

impl RecordFile {
    /// Opens the file at its end; a new one begins with the heading.
    pub(super) fn open(settings: &Settings, now: SystemTime) -> io::Result<Self> {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(MODE)
            .open(&settings.file)?;
        let meta = file.metadata()?;
        let heading = settings.format.heading();
        let mut opened = Self {
            file,
            length: meta.len(),
            period: period(settings, meta.modified().unwrap_or(now)),
            empty: heading.len() as u64,
        };
        if opened.length == 0 {
            opened.period = period(settings, now);
            opened.append(&heading)?;
        }
        Ok(opened)
    }

    /// Whether it must be put aside before so many more bytes.
    pub(super) fn is_full(&self, settings: &Settings, more: usize, now: SystemTime) -> bool {
        let has_records = self.length > self.empty;
        let too_long = settings
            .rotate_size
            .is_some_and(|most| self.length.saturating_add(more as u64) > most);
        has_records && (too_long || self.period != period(settings, now))
    }

    /// Appends bytes, all or none.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all(bytes) {
            // A full disk takes the beginning of a line. What cannot be cut off is cut off by the reader.
            let _ = self.file.set_len(self.length);
            return Err(error);
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Brings what was written to the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Puts it aside under its name and the time. Gives the new name.
    pub(super) fn put_aside(self, settings: &Settings, now: SystemTime) -> io::Result<PathBuf> {
        self.sync()?;
        let stamp = humantime::format_rfc3339_seconds(now).to_string();
        let stamp: String = stamp.chars().filter(|c| !"-:".contains(*c)).collect();
        for number in 0..MOST_OF_A_SECOND {
            let mut name = settings.file.clone().into_os_string();
            name.push(format!(".{stamp}"));
            if number > 0 {
                name.push(format!("-{number}"));
            }
            let name = PathBuf::from(name);
            if !fs::exists(&name)? {
                fs::rename(&settings.file, &name)?;
                return Ok(name);
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

/// The number of the period that a moment is in; always the same when files have no age.
fn period(settings: &Settings, at: SystemTime) -> u64 {
    let Some(every) = settings.rotate_every else {
        return 0;
    };
    let since = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    since.as_secs() / every.as_secs().max(1)
}
