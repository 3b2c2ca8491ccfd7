//! The messages that mutations begin from: `tests/corpus`.

use std::path::Path;

/// Every file of these folders of `tests/corpus`, in the order of their names.
///
/// # Panics
/// A folder cannot be read, or there is nothing in it.
#[must_use]
pub fn files(folders: &[&str]) -> Vec<Vec<u8>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus");
    let mut files = Vec::new();
    for folder in folders {
        let entries = std::fs::read_dir(corpus.join(folder)).expect("the corpus is there");
        let mut paths: Vec<_> = entries
            .map(|entry| entry.expect("it can be read").path())
            .filter(|path| path.extension().is_some_and(|end| end != "md"))
            .collect();
        paths.sort();
        assert!(!paths.is_empty(), "{folder} is empty");
        files.extend(
            paths
                .iter()
                .map(|path| std::fs::read(path).expect("a file")),
        );
    }
    files
}

/// The folders of SIP messages.
pub const SIP: &[&str] = &["sip/valid", "sip/invalid", "rfc4475", "rfc5118"];

/// The folders of session descriptions.
pub const SDP: &[&str] = &["sdp"];

/// The folder of messages of rtpengine's control protocol.
pub const NG: &[&str] = &["ng-messages"];
