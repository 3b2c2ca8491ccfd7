//! Where a recording's files are: as rtpengine's `--recording-method=pcap` lays them out.
//!
//! ```text
//!   DIRECTORY/pcaps/CALL-SUFFIX.pcap                       the packets
//!   DIRECTORY/tmp/rtpengine-meta-CALL-SUFFIX.tmp           the metadata, while the recording lasts
//!   DIRECTORY/metadata/rtpengine-meta-CALL-SUFFIX.txt      the metadata, when it is complete
//! ```

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Recordings are what people said to each other: for the owner, and the group that is to hear them.
const MODE: u32 = 0o640;
/// Bytes of a call's name in a file's name, which has 255.
const LONGEST_NAME: usize = 200;

/// The directories, which are there.
#[derive(Clone, Debug)]
pub(crate) struct Directories {
    root: PathBuf,
}

impl Directories {
    /// Makes those that are missing, and makes sure that files can be made in them.
    pub(crate) fn make(root: &Path) -> io::Result<Self> {
        for name in ["pcaps", "tmp", "metadata"] {
            let directory = root.join(name);
            fs::create_dir_all(&directory)?;
            let probe = directory.join(format!(".tandem-{}", std::process::id()));
            create(&probe)?;
            fs::remove_file(&probe)?;
        }
        Ok(Self {
            root: root.to_owned(),
        })
    }

    /// The files of one recording; the suffix tells recordings of a call apart.
    pub(crate) fn files(&self, call_id: &[u8], suffix: u64) -> Files {
        let name = format!("{}-{suffix:016x}", escaped(call_id));
        let below = |name: String| self.root.join(name);
        Files {
            packets: below(format!("pcaps/{name}.pcap")),
            unfinished: below(format!("tmp/rtpengine-meta-{name}.tmp")),
            finished: below(format!("metadata/rtpengine-meta-{name}.txt")),
        }
    }
}

/// The paths of a recording's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Files {
    /// The packets.
    pub(crate) packets: PathBuf,
    /// The metadata while it grows.
    pub(crate) unfinished: PathBuf,
    /// The metadata when it is complete.
    pub(crate) finished: PathBuf,
}

impl Files {
    /// Appends to the metadata.
    pub(crate) fn describe(&self, text: &str) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let file = options.append(true).create(true).mode(MODE);
        file.open(&self.unfinished)?.write_all(text.as_bytes())
    }

    /// The metadata is complete.
    pub(crate) fn finish(&self) -> io::Result<()> {
        fs::rename(&self.unfinished, &self.finished)
    }
}

/// Makes a file that was not there.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(path)
}

/// A name of any bytes as that of a file: what is neither letter, digit nor one of `-._~` as `%XX`.
fn escaped(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name {
        if text.len() > LONGEST_NAME - 3 {
            break;
        }
        match byte {
            b'-' | b'.' | b'_' | b'~' => text.push(char::from(*byte)),
            byte if byte.is_ascii_alphanumeric() => text.push(char::from(*byte)),
            byte => {
                // A string takes all.
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_below_their_directory() {
        assert_eq!(escaped("ab/c @x%é".as_bytes()), "ab%2Fc%20%40x%25%C3%A9");
        assert_eq!(escaped(b"../..\0"), "..%2F..%00");
        assert!(escaped(&[b'/'; 999]).len() <= LONGEST_NAME);
        let root = tempfile::tempdir().expect("a directory");
        let directories = Directories::make(root.path()).expect("they can be made");
        let files = directories.files(b"../x", 0xab);
        let expected = root.path().join("pcaps/..%2Fx-00000000000000ab.pcap");
        assert_eq!(files.packets, expected);
        files.describe("one\n").expect("it can be written");
        files.describe("two\n").expect("it can be written");
        files.finish().expect("it can be moved");
        let text = fs::read_to_string(&files.finished).expect("it is there");
        assert_eq!(
            (text.as_str(), files.unfinished.exists()),
            ("one\ntwo\n", false)
        );
    }

    #[test]
    fn a_directory_that_cannot_be_used_is_noticed_at_once() {
        assert!(Directories::make(Path::new("/dev/null")).is_err());
    }
}
