//! The writer's thread.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

use super::file::RecordFile;
use super::{Counts, Order, Settings};

/// How long a file that cannot be written is left alone.
const RETRY: Duration = Duration::from_secs(1);

/// How long a file that cannot be put aside grows on before that is tried again: each try costs a sync.
const ROTATE_AGAIN: Duration = Duration::from_secs(60);

/// How often an idle writer looks whether the file is too old.
const LOOK: Duration = Duration::from_secs(1);

pub(super) struct Writer {
    settings: Settings,
    counts: Arc<Counts>,
    host: String,
    file: Option<RecordFile>,
    /// When the file may be tried again.
    retry: Option<Instant>,
    /// Until then a file that could not be put aside goes on as it is.
    rotate_at: Option<Instant>,
    /// When what is written must reach the disk.
    sync_at: Option<Instant>,
}

impl Writer {
    pub(super) fn new(settings: Settings, counts: Arc<Counts>) -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Self {
            settings,
            counts,
            host: host.trim().to_owned(),
            file: None,
            retry: None,
            rotate_at: None,
            sync_at: None,
        }
    }

    /// Until the other end is gone.
    pub(super) fn run(mut self, inbox: &Receiver<Order>) {
        self.open();
        loop {
            let now = Instant::now();
            let patience = self
                .sync_at
                .map_or(LOOK, |at| at.saturating_duration_since(now).min(LOOK));
            match inbox.recv_timeout(patience) {
                Ok(Order::Write(record, moment)) => {
                    let line = self.settings.format.line(&record, moment, &self.host);
                    self.counts.queued.fetch_sub(1, Ordering::Relaxed);
                    self.write(&line);
                }
                Ok(Order::Reopen) => {
                    self.sync();
                    self.file = None;
                    self.retry = None;
                    self.open();
                }
                Err(RecvTimeoutError::Timeout) => self.rotate_if_due(0),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if self.sync_at.is_some_and(|at| at <= Instant::now()) {
                self.sync();
            }
        }
        self.sync();
    }

    fn write(&mut self, line: &[u8]) {
        self.rotate_if_due(line.len());
        self.open();
        let Some(file) = &mut self.file else {
            self.counts
                .lost_write_failed
                .fetch_add(1, Ordering::Relaxed);
            return;
        };
        match file.append(line) {
            Ok(()) => {
                self.counts.written.fetch_add(1, Ordering::Relaxed);
                self.counts.unsynced.fetch_add(1, Ordering::Relaxed);
                let sync = self.settings.sync;
                self.sync_at = self.sync_at.or_else(|| Some(Instant::now() + sync?));
            }
            Err(error) => {
                self.counts
                    .lost_write_failed
                    .fetch_add(1, Ordering::Relaxed);
                self.fail("written", &error);
            }
        }
    }

    fn open(&mut self) {
        let now = Instant::now();
        if self.file.is_some() || self.retry.is_some_and(|at| at > now) {
            return;
        }
        match RecordFile::open(&self.settings, SystemTime::now()) {
            Ok(file) => {
                self.file = Some(file);
                if self.retry.take().is_some() {
                    tracing::info!(file = %self.settings.file.display(), "records are written again");
                }
            }
            Err(error) => self.fail("opened", &error),
        }
    }

    fn rotate_if_due(&mut self, more: usize) {
        if self.rotate_at.is_some_and(|at| at > Instant::now()) {
            return;
        }
        let now = SystemTime::now();
        let Some(file) = self
            .file
            .take_if(|file| file.is_full(&self.settings, more, now))
        else {
            return;
        };
        self.sync_at = None;
        match file.put_aside(&self.settings, now) {
            Ok(name) => {
                self.rotate_at = None;
                self.counts.unsynced.store(0, Ordering::Relaxed);
                self.counts.rotated.fetch_add(1, Ordering::Relaxed);
                tracing::info!(file = %name.display(), "records put aside");
            }
            Err(error) => {
                let file = self.settings.file.display();
                tracing::error!(%file, %error, "the file of records cannot be put aside: it grows on");
                self.rotate_at = Some(Instant::now() + ROTATE_AGAIN);
            }
        }
        self.retry = None;
        self.open();
    }

    fn sync(&mut self) {
        self.sync_at = None;
        match self.file.as_ref().map(RecordFile::sync) {
            Some(Ok(())) => self.counts.unsynced.store(0, Ordering::Relaxed),
            Some(Err(error)) => self.fail("synced", &error),
            None => {}
        }
    }

    fn fail(&mut self, what: &str, error: &io::Error) {
        let file = self.settings.file.display();
        tracing::error!(%file, %error, "the file of records cannot be {what}: calls go on without");
        self.file = None;
        self.retry = Some(Instant::now() + RETRY);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::path::Path;

    use contract::Timestamp;

    use super::super::lines::tests::record;
    use super::super::{Cdrs, Format, Settings};
    use super::*;

    fn settings(directory: &Path, format: Format) -> Settings {
        Settings {
            file: directory.join("calls"),
            format,
            rotate_size: None,
            rotate_every: None,
            sync: Some(Duration::from_millis(10)),
        }
    }

    fn write(cdrs: &Cdrs, ids: std::ops::Range<u64>) {
        for id in ids {
            cdrs.write(Box::new(record(id)), Timestamp::from_nanos(1 << 40));
        }
    }

    fn wait(what: impl Fn() -> bool) {
        let until = Instant::now() + Duration::from_secs(10);
        while !what() {
            assert!(Instant::now() < until, "not within ten seconds");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn files(directory: &Path) -> Vec<std::path::PathBuf> {
        let entries = fs::read_dir(directory).expect("a directory");
        let mut files: Vec<_> = entries
            .map(|entry| entry.expect("an entry").path())
            .collect();
        files.sort();
        files
    }

    #[test]
    fn every_record_is_a_line_of_a_file_that_not_everybody_may_read() {
        let directory = tempfile::tempdir().expect("a directory");
        let settings = settings(directory.path(), Format::Json);
        let cdrs = Cdrs::start(settings.clone()).expect("a thread");
        write(&cdrs, 0..100);
        wait(|| cdrs.counts().written == 100);
        drop(cdrs);
        let text = fs::read_to_string(&settings.file).expect("the file");
        assert_eq!(text.lines().count(), 100);
        for (id, line) in text.lines().enumerate() {
            assert!(line.starts_with(&format!("{{\"call\":{id},")), "{line}");
        }
        let mode = fs::metadata(&settings.file)
            .expect("the file")
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777 & !0o640, 0, "{mode:o}");
    }

    #[test]
    fn a_long_file_is_put_aside_and_no_record_is_lost_or_cut() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut settings = settings(directory.path(), Format::Csv);
        settings.rotate_size = Some(10_000);
        let cdrs = Cdrs::start(settings).expect("a thread");
        write(&cdrs, 0..100);
        wait(|| cdrs.counts().written == 100);
        assert!(cdrs.counts().rotated > 3, "{:?}", cdrs.counts());
        drop(cdrs);
        let mut calls = Vec::new();
        for file in files(directory.path()) {
            assert!(fs::metadata(&file).expect("a file").size() <= 10_000);
            let mut reader = csv::Reader::from_path(&file).expect("a file");
            for row in reader.records() {
                let row = row.expect("a whole row");
                calls.push(
                    row.get(0)
                        .and_then(|call| call.parse::<u64>().ok())
                        .expect("a number"),
                );
            }
        }
        calls.sort_unstable();
        assert_eq!(calls, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn a_file_that_cannot_be_put_aside_grows_on() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut settings = settings(directory.path(), Format::Json);
        // With the time at its end the name would be longer than a file system takes.
        settings.file = directory.path().join("c".repeat(250));
        settings.rotate_size = Some(1_000);
        let cdrs = Cdrs::start(settings.clone()).expect("a thread");
        write(&cdrs, 0..20);
        wait(|| cdrs.counts().written == 20);
        let counts = cdrs.counts();
        assert_eq!((counts.rotated, counts.lost_write_failed), (0, 0));
        drop(cdrs);
        assert_eq!(files(directory.path()), [settings.file.clone()]);
        let text = fs::read_to_string(settings.file).expect("the file");
        assert_eq!(text.lines().count(), 20);
    }

    #[test]
    fn a_file_of_an_earlier_period_is_put_aside() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut settings = settings(directory.path(), Format::Json);
        settings.rotate_every = Some(Duration::from_secs(1));
        let cdrs = Cdrs::start(settings.clone()).expect("a thread");
        write(&cdrs, 0..1);
        wait(|| cdrs.counts().rotated == 1);
        write(&cdrs, 1..2);
        drop(cdrs);
        let lines: usize = files(directory.path())
            .iter()
            .map(|file| fs::read_to_string(file).expect("a file").lines().count())
            .sum();
        assert_eq!(lines, 2);
    }

    #[test]
    fn a_file_that_was_moved_away_is_made_anew() {
        let directory = tempfile::tempdir().expect("a directory");
        let settings = settings(directory.path(), Format::Json);
        let cdrs = Cdrs::start(settings.clone()).expect("a thread");
        write(&cdrs, 0..1);
        wait(|| cdrs.counts().written == 1);
        let moved = directory.path().join("moved");
        fs::rename(&settings.file, &moved).expect("it is ours");
        cdrs.reopen();
        write(&cdrs, 1..2);
        drop(cdrs);
        let lines = |file| fs::read_to_string(file).expect("a file").lines().count();
        assert_eq!((lines(moved), lines(settings.file)), (1, 1));
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_tried_again() {
        // A device that is always full.
        let full = Settings {
            file: "/dev/full".into(),
            ..settings(Path::new("/"), Format::Json)
        };
        let cdrs = Cdrs::start(full).expect("a thread");
        write(&cdrs, 0..10);
        wait(|| cdrs.counts().lost_write_failed == 10);
        assert_eq!((cdrs.counts().written, cdrs.counts().queued), (0, 0));
        // A directory that appears later.
        let directory = tempfile::tempdir().expect("a directory");
        let later = directory.path().join("later");
        let cdrs = Cdrs::start(settings(&later, Format::Json)).expect("a thread");
        write(&cdrs, 0..1);
        wait(|| cdrs.counts().lost_write_failed == 1);
        fs::create_dir(&later).expect("it is ours");
        std::thread::sleep(RETRY);
        write(&cdrs, 1..2);
        wait(|| cdrs.counts().written == 1);
    }

    #[test]
    fn a_writer_that_does_not_keep_up_costs_records_and_no_time() {
        let (orders, inbox) = std::sync::mpsc::sync_channel(4);
        let cdrs = Cdrs {
            orders: Some(orders),
            counts: Arc::default(),
            thread: None,
            settings: settings(Path::new("/"), Format::Json),
        };
        write(&cdrs, 0..10);
        assert_eq!(cdrs.counts().lost_queue_full, 6);
        assert_eq!(cdrs.counts().queued, 4);
        drop(inbox);
    }
}
