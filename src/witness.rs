//! Who is told what calls do: the writer of records, and the collector of messages. Part of the guest in the event
//! loop, which tells them.

use contract::Timestamp;
use controlplane::records::CallRecord;
use controlplane::story::Mirrored;

use crate::admin::views::{Cdr, Collector};
use crate::cdr::{Cdrs, Moment};
use crate::hep::Hep;

/// Both of them, as far as they are configured.
#[derive(Debug, Default)]
pub(crate) struct Witness {
    cdrs: Option<Cdrs>,
    hep: Option<Hep>,
}

impl Witness {
    /// With those that there are.
    pub(crate) fn new(cdrs: Option<Cdrs>, hep: Option<Hep>) -> Self {
        Self { cdrs, hep }
    }

    /// A call is over.
    pub(crate) fn call_ended(&self, record: Box<CallRecord>, now: Timestamp) {
        if let Some(cdrs) = &self.cdrs {
            cdrs.write(record, now);
        }
    }

    /// A SIP message passed.
    pub(crate) fn mirror(&mut self, message: &Mirrored, now: Timestamp) {
        if let Some(hep) = &mut self.hep {
            hep.send(message, Moment::new(now).wall(message.at));
        }
    }

    /// SIGHUP: the file of records may have been moved away.
    pub(crate) fn reopen(&self) {
        if let Some(cdrs) = &self.cdrs {
            cdrs.reopen();
        }
    }

    /// What became of records; `None`: none are written.
    pub(crate) fn cdr(&self) -> Option<Cdr> {
        let cdrs = self.cdrs.as_ref()?;
        let (counts, settings) = (cdrs.counts(), cdrs.settings());
        Some(Cdr {
            file: settings.file.display().to_string(),
            format: settings.format.name().to_owned(),
            queued: counts.queued,
            written: counts.written,
            unsynced: counts.unsynced,
            lost_queue_full: counts.lost_queue_full,
            lost_write_failed: counts.lost_write_failed,
            rotated: counts.rotated,
        })
    }

    /// What became of copies for the collector; `None`: there is none.
    pub(crate) fn collector(&self) -> Option<Collector> {
        let hep = self.hep.as_ref()?;
        let counts = hep.counts();
        Some(Collector {
            address: hep.collector().to_string(),
            sent: counts.sent,
            failed: counts.failed,
            too_long: counts.too_long,
        })
    }
}
