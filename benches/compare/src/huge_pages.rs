//! Pages of 2 MB for the frames of tandem and of the load tool, reserved as long as a comparison runs: the kernel's
//! copies in and out of them go through all frames in turn.

use std::fs;
use std::path::Path;

use crate::error::Error;

/// How many: tandem's frames and the load tool's are some 40 MB each.
const WANTED: u64 = 64;
const RESERVED: &str = "/proc/sys/vm/nr_hugepages";

/// The reservation; what it was before comes back when dropped.
#[derive(Debug)]
pub(crate) struct HugePages {
    before: Option<u64>,
    /// How many are reserved now; fewer than were wanted where memory is in too many pieces.
    pub(crate) reserved: u64,
}

impl HugePages {
    /// Reserves what is missing.
    pub(crate) fn reserve() -> Result<Self, Error> {
        let before = read()?;
        if before >= WANTED {
            return Ok(Self {
                before: None,
                reserved: before,
            });
        }
        write(WANTED)?;
        Ok(Self {
            before: Some(before),
            reserved: read()?,
        })
    }
}

impl Drop for HugePages {
    fn drop(&mut self) {
        if let Some(before) = self.before {
            // Failures are not told: it is the end of the run.
            let _ = write(before);
        }
    }
}

fn read() -> Result<u64, Error> {
    let path = Path::new(RESERVED);
    let text = fs::read_to_string(path).map_err(|error| Error::file(path, &error))?;
    text.trim()
        .parse()
        .map_err(|_| Error::file(path, &format!("{text:?} is no number")))
}

fn write(count: u64) -> Result<(), Error> {
    let path = Path::new(RESERVED);
    fs::write(path, count.to_string()).map_err(|error| Error::file(path, &error))
}
